package store

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/o2ims/o2ims/pkg/fault"
)

// migration brings the data from one version to the next. Another replica may run it at
// the same time or have been stopped amid it, so it must do no harm when repeated.
type migration func(ctx context.Context, s *Store) error

// migrations[i] leads from version i+1 to i+2. The version of the data that we write is
// one more than there are migrations.
var migrations []migration

// migrate brings the data up to the version that the given steps lead to.
func (s *Store) migrate(ctx context.Context, steps []migration) error {
	ours := len(steps) + 1
	for {
		text, err := s.text(ctx, scriptVersion, []string{keySchema, keySeq}, ours)
		if err != nil {
			return fmt.Errorf("schema version: %w", err)
		}
		theirs, err := strconv.Atoi(text)
		switch {
		case err != nil || theirs < 1:
			return fmt.Errorf("schema version %q is not one of ours: %w", text, fault.Conflict)
		case theirs > ours:
			return fmt.Errorf("the data in redis are of version %d, and this program knows %d: it is older than the one that wrote them: %w", theirs, ours, fault.Conflict)
		case theirs == ours:
			return nil
		}
		slog.InfoContext(ctx, "data in Redis are brought to the next version", "from", theirs, "to", theirs+1)
		if err := steps[theirs-1](ctx, s); err != nil {
			return fmt.Errorf("migration of the data in redis from version %d: %w", theirs, err)
		}
		if _, err := s.text(ctx, scriptVersionReached, []string{keySchema}, theirs, theirs+1); err != nil {
			return fmt.Errorf("schema version: %w", err)
		}
	}
}

// scriptVersion returns the version of the data; an empty store gets ours, ARGV[1].
var scriptVersion = newScript("version", `
local version = redis.call('GET', KEYS[1])
if version then return version end
if redis.call('EXISTS', KEYS[2]) == 1 then return '1' end -- written before there was a version
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]`)

// scriptVersionReached moves from version ARGV[1] to ARGV[2], unless another replica did.
var scriptVersionReached = newScript("version-reached", `
if (redis.call('GET', KEYS[1]) or '1') == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])`)
