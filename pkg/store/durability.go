package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Policy says when Redis writes to its disk what it has acknowledged.
type Policy string

// The policies, from the safest down.
const (
	Always   Policy = "always"   // before it acknowledges
	EverySec Policy = "everysec" // within everySec
	Whenever Policy = "no"       // when the operating system likes
	NoAOF    Policy = "off"      // not at all, or in snapshots
	InMemory Policy = "embedded" // never
	NotKnown Policy = "unknown"  // it does not tell us
)

// everySec is when everysec has surely written: Redis lets a slow disk lag one second
// before it makes clients wait.
const everySec = 2 * time.Second

// Delay is how long what Redis acknowledged may still be lost with it: so long we wait
// before we acknowledge it to others. Where nothing ever becomes durable, waiting would
// not help. What is not known counts as everysec, the setting that most managed Redis have.
func (p Policy) Delay() time.Duration {
	switch p {
	case EverySec, NotKnown:
		return everySec
	default:
		return 0
	}
}

// Durable tells whether acknowledged writes survive a crash of Redis in the end.
func (p Policy) Durable() bool { return p == Always || p == EverySec || p == NotKnown }

// durability remembers the policy.
type durability struct {
	mu       sync.Mutex
	policy   Policy // "" before it was asked for the first time
	detected time.Time
}

// detectAgainAfter bounds how long we go by an old answer: an administrator may change
// the setting of a running server, and a fail-over may lead to one with another.
const detectAgainAfter = time.Minute

// Durability tells how durable the store is. An answer is good for a minute.
func (s *Store) Durability(ctx context.Context) Policy {
	s.durability.mu.Lock()
	known := s.durability.policy != "" && time.Since(s.durability.detected) < detectAgainAfter
	s.durability.mu.Unlock()
	if !known {
		s.durability.detect(ctx, s)
	}
	s.durability.mu.Lock()
	defer s.durability.mu.Unlock()
	return s.durability.policy
}

func (d *durability) detect(ctx context.Context, s *Store) {
	policy, err := s.askPolicy(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.detected = time.Now()
	if errors.Is(err, fault.Unavailable) && d.policy != "" && policy == "" {
		return // an outage changes no setting
	}
	if policy == "" {
		policy = NotKnown
	}
	if policy == d.policy {
		return
	}
	d.policy = policy
	attrs := []any{"redis", s.address, "appendfsync", policy, "acknowledgementDelay", policy.Delay().String()}
	switch {
	case policy == Always:
		slog.InfoContext(ctx, "Redis writes to its disk before it acknowledges", attrs...)
	case policy == NotKnown:
		slog.WarnContext(ctx, "Redis does not tell how durable it is: acknowledgements wait as for everysec", append(attrs, "error", err)...)
	case policy == EverySec:
		slog.WarnContext(ctx, "Redis writes to its disk every second: acknowledgements wait until that is done; appendfsync always saves the wait", attrs...)
	case policy == InMemory: // has been said
	default:
		slog.WarnContext(ctx, "Redis may lose what it acknowledged: subscriptions and undelivered notifications do not survive its crash; set appendonly yes and appendfsync always", attrs...)
	}
}

// askPolicy returns "" and an error when Redis does not tell.
func (s *Store) askPolicy(ctx context.Context) (Policy, error) {
	if s.embedded != nil {
		return InMemory, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	settings, err := s.client.ConfigGet(ctx, "append*").Result()
	if err != nil {
		if meaning, yes := unavailable(err); yes && meaning != "redis does not permit our user this command" {
			return "", fmt.Errorf("%s: %w", meaning, fault.Unavailable)
		}
		return NotKnown, err // CONFIG is often renamed or forbidden
	}
	if settings["appendonly"] != "yes" {
		if settings["appendonly"] == "" {
			return NotKnown, errors.New("redis does not know the setting appendonly")
		}
		return NoAOF, nil
	}
	switch fsync := Policy(settings["appendfsync"]); fsync {
	case Always, EverySec, Whenever:
		return fsync, nil
	default:
		return NotKnown, fmt.Errorf("appendfsync is %q", fsync)
	}
}

// AwaitDurable returns when everything that Redis acknowledged before the call is as
// durable as it gets, which is what a client may be told: on its disk, and on the
// replicas that the options ask for. An error wraps fault.Unavailable; the writes are
// then done all the same, but may not last.
func (s *Store) AwaitDurable(ctx context.Context) error {
	if err := s.awaitReplicas(ctx); err != nil {
		return err
	}
	delay := s.Durability(ctx).Delay()
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitReplicas returns when the replicas that the options ask for have everything. WAIT
// looks only at what its own connection wrote, so a write of no meaning goes before it on
// the same one: replication keeps the order.
func (s *Store) awaitReplicas(ctx context.Context) error {
	n := s.options.WaitReplicas
	if n == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.options.Timeout)
	defer cancel()
	p := s.client.Pipeline()
	p.Set(ctx, keyBarrier, 1, 0)
	wait := redis.NewIntCmd(ctx, "WAIT", n, (s.options.Timeout * 2 / 3).Milliseconds())
	_ = p.Process(ctx, wait) // queued; Exec reports
	if _, err := p.Exec(ctx); err != nil {
		return s.observe("wait", err)
	}
	if have := wait.Val(); have < int64(n) {
		return s.observe("wait", fmt.Errorf("%d of %d replicas of redis have what was written: %w", have, n, fault.Unavailable))
	}
	return nil
}
