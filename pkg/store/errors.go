package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/o2ims/o2ims/pkg/fault"
)

var (
	// ErrFenced means that another leader has taken over: nothing was written, and nothing
	// of this term ever will be again.
	ErrFenced = fmt.Errorf("another leader has taken over: %w", fault.Conflict)

	// ErrRewound means that Redis has forgotten something that it had acknowledged, as
	// after a crash without AOF or a fail-over. Nothing was written. What is remembered of
	// the store must be read anew.
	ErrRewound = fmt.Errorf("redis lost what it had acknowledged: %w", fault.Conflict)
)

// replies are the errors of Redis that say "not now", by their first word.
var replies = []struct{ word, meaning string }{
	{"LOADING", "redis is loading its data"},
	{"BUSY", "redis is busy with a script"},
	{"READONLY", "redis is a read-only replica"},
	{"MASTERDOWN", "redis is a replica that lost its master"},
	{"NOREPLICAS", "redis has too few replicas to accept writes"},
	{"OOM", "redis is out of memory (maxmemory)"},
	{"MISCONF", "redis cannot write to its disk"},
	{"NOAUTH", "redis wants credentials, and we have none"},
	{"WRONGPASS", "redis refuses our user name or password"},
	{"NOPERM", "redis does not permit our user this command"},
	{"CLUSTERDOWN", "redis cluster is down"},
	{"TRYAGAIN", "redis cluster is moving our keys"},
}

// unavailable tells whether an error means "not now", and says it in words. The cause
// stays in the chain for the log.
func unavailable(err error) (string, bool) {
	text := err.Error()
	for _, r := range replies {
		// A script reports the error of a command that it calls with a prefix.
		if strings.HasPrefix(text, r.word+" ") || strings.Contains(text, ": "+r.word+" ") || strings.Contains(text, "-"+r.word+" ") {
			return r.meaning, true
		}
	}
	if strings.Contains(text, "invalid password") { // ERR invalid password, of Redis before 6
		return "redis refuses our user name or password", true
	}
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "redis does not answer in time", true
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "redis cannot be reached", true
	case errors.Is(err, redis.ErrClosed):
		return "the connection to redis is closed", true
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted):
		return "all connections to redis are in use", true
	case strings.Contains(text, "all sentinels specified in configuration are unreachable"):
		return "no Sentinel can be reached", true
	case strings.HasPrefix(text, "redis: "):
		return "the redis client cannot serve", true
	default:
		return "", false
	}
}

// explain turns an error of the client into one of ours.
func explain(err error) error {
	if err == nil || errors.Is(err, redis.Nil) || errors.Is(err, context.Canceled) {
		return err
	}
	if meaning, yes := unavailable(err); yes {
		return fmt.Errorf("%s: %w: %w", meaning, err, fault.Unavailable)
	}
	return err
}
