package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/test/redisserver"
)

// direct is a client beside the store, to do to Redis what an administrator would.
func direct(t testing.TB, s *redisserver.Server) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	return c
}

func command(t testing.TB, c *redis.Client, args ...any) {
	t.Helper()
	if err := c.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// wantUnavailable checks that a failure is one to try again after, and says why.
func wantUnavailable(t testing.TB, what string, err error, reason string) {
	t.Helper()
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), reason) {
		t.Errorf("%s: %v, want unavailable and %q", what, err, reason)
	}
}

func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func TestWrongPassword(t *testing.T) {
	server := startRedis(t, redisserver.Options{Password: "right"})
	right := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(right, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := server.Addr()
	for _, tc := range []struct {
		name    string
		options store.Options
		reason  string // empty: it works
	}{
		{"none", store.Options{URL: "redis://" + addr}, "credentials"},
		{"wrong", store.Options{URL: "redis://:wrong@" + addr}, "refuses"},
		{"wrong user", store.Options{URL: "redis://nobody:right@" + addr}, "refuses"},
		{"in the URL", store.Options{URL: "redis://:right@" + addr}, ""},
		{"in a file", store.Options{URL: "redis://:wrong@" + addr, PasswordFile: right}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.options.Timeout = time.Second
			s, err := store.Open(tc.options)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			err = s.Prepare(t.Context())
			if tc.reason == "" {
				if err != nil {
					t.Errorf("Prepare: %v", err)
				}
				return
			}
			wantUnavailable(t, "Prepare", err, tc.reason)
			if strings.Contains(err.Error(), "wrong@") {
				t.Errorf("the error gives the password away: %v", err)
			}
		})
	}
}

func TestOutOfMemory(t *testing.T) {
	server := startRedis(t, redisserver.Options{})
	s := prepared(t, server.URL())
	term := lead(t, s)
	announce(t, term, change("a", `{"v":1}`))
	admin := direct(t, server)
	command(t, admin, "CONFIG", "SET", "maxmemory", "1")

	_, err := term.Announce(t.Context(), "inventory", []store.Change{change("a", `{"v":2}`), change("b", "")})
	wantUnavailable(t, "Announce", err, "out of memory")
	sub := store.Subscription{ID: uuid.New(), Service: "inventory", Callback: "https://smo/"}
	wantUnavailable(t, "CreateSubscription", s.CreateSubscription(t.Context(), sub, 10), "out of memory")
	if _, err := s.Subscription(t.Context(), sub.ID); !errors.Is(err, fault.NotFound) {
		t.Errorf("a subscription that was refused: %v, want not found", err)
	}

	command(t, admin, "CONFIG", "SET", "maxmemory", "0")
	announce(t, term, change("a", `{"v":2}`))
	wantEvents(t, s, 0, `1 0 ResourceInfo a >{"v":1}`, `2 1 ResourceInfo a {"v":1}>{"v":2}`)
}

func TestReadOnly(t *testing.T) {
	server, master := startRedis(t, redisserver.Options{}), startRedis(t, redisserver.Options{})
	s := prepared(t, server.URL())
	term := lead(t, s)
	announce(t, term, change("a", `{"v":1}`))
	admin := direct(t, server)
	command(t, admin, "CONFIG", "SET", "replica-serve-stale-data", "yes")
	command(t, admin, "REPLICAOF", "127.0.0.1", fmt.Sprint(master.Port))
	_, err := term.Announce(t.Context(), "inventory", []store.Change{change("a", `{"v":2}`)})
	wantUnavailable(t, "Announce", err, "read-only")
}

// TestDownAndBack kills Redis and starts it again on the same data: with appendfsync
// always nothing that it acknowledged is gone, and the term goes on.
func TestDownAndBack(t *testing.T) {
	server := startRedis(t, redisserver.Options{})
	s := prepared(t, server.URL())
	term := lead(t, s)
	announce(t, term, change("a", `{"v":1}`))
	server.Kill()
	_, err := term.Announce(t.Context(), "inventory", []store.Change{change("a", `{"v":2}`)})
	wantUnavailable(t, "Announce", err, "reached")
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	announce(t, term, change("a", `{"v":2}`))
	wantEvents(t, s, 0, `1 0 ResourceInfo a >{"v":1}`, `2 1 ResourceInfo a {"v":1}>{"v":2}`)
}

func TestHung(t *testing.T) {
	server := startRedis(t, redisserver.Options{})
	s, err := store.Open(store.Options{URL: server.URL(), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = s.Newest(t.Context())
	wantUnavailable(t, "Newest", err, "in time")
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %s to notice", d)
	}
	if err := server.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "after it went on", func() error { return s.Ping(t.Context()) })
}

// TestTruncatedAOF cuts off the end of what Redis wrote, as a power cut with everysec
// does. The leader must notice that what it announced is gone, not go on as if it were not.
func TestTruncatedAOF(t *testing.T) {
	dir := t.TempDir()
	server := startRedis(t, redisserver.Options{Dir: dir, Args: []string{"--aof-load-truncated", "yes"}})
	s := prepared(t, server.URL())
	sub := subscribe(t, s, "https://smo/a")
	term := lead(t, s)
	announce(t, term, change("a", `{"v":1}`))
	if _, err := term.Move(t.Context(), []store.Step{{ID: sub.ID, From: 0, To: 2, Delivered: 1, Filtered: 1}}); err != nil {
		t.Fatal(err)
	}
	kept := aofSize(t, dir)
	announce(t, term, change("a", `{"v":2}`), change("b", `{"v":1}`))
	if _, err := term.Move(t.Context(), []store.Step{{ID: sub.ID, From: 2, To: 4, Delivered: 2}}); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := os.Truncate(aof(t, dir), kept+20); err != nil { // amid the announcement
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}

	if err := term.Check(t.Context()); !errors.Is(err, store.ErrRewound) {
		t.Errorf("Check = %v, want ErrRewound", err)
	}
	if _, err := term.Announce(t.Context(), "inventory", []store.Change{change("c", `{}`)}); !errors.Is(err, store.ErrRewound) {
		t.Errorf("Announce = %v, want ErrRewound", err)
	}
	if _, err := term.Move(t.Context(), []store.Step{{ID: sub.ID, From: 4, To: 5, Delivered: 1}}); !errors.Is(err, store.ErrRewound) {
		t.Errorf("Move = %v, want ErrRewound", err)
	}
	wantEvents(t, s, 2, `2 0 ResourceInfo a >{"v":1}`) // state and stream agree: both or neither
	digests, err := s.Digests(t.Context(), "inventory")
	if err != nil || len(digests) != 1 || digests["ResourceInfo/a"] != store.DigestOf([]byte(`{"v":1}`)) {
		t.Errorf("digests = %v, %v, want those of what is in the stream", digests, err)
	}
	again := lead(t, s)
	announce(t, again, change("a", `{"v":2}`), change("b", `{"v":1}`))
	wantEvents(t, s, 3, `3 1 ResourceInfo a {"v":1}>{"v":2}`, `4 0 ResourceInfo b >{"v":1}`)
}

func aof(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatalf("AOF files: %v, %v", files, err)
	}
	return files[0]
}

func aofSize(t testing.TB, dir string) int64 {
	t.Helper()
	info, err := os.Stat(aof(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestFlushed(t *testing.T) {
	server := startRedis(t, redisserver.Options{})
	s := prepared(t, server.URL())
	term := lead(t, s)
	announce(t, term, change("a", `{}`))
	command(t, direct(t, server), "FLUSHALL")
	if err := term.Check(t.Context()); !errors.Is(err, store.ErrRewound) {
		t.Errorf("Check = %v, want ErrRewound: nobody has taken over", err)
	}
}

func TestDurabilityIsDetected(t *testing.T) {
	for _, tc := range []struct {
		fsync string
		args  []string
		want  store.Policy
		delay time.Duration
	}{
		{"always", nil, store.Always, 0},
		{"everysec", nil, store.EverySec, 2 * time.Second},
		{"no", nil, store.Whenever, 0},
		{"always", []string{"--appendonly", "no"}, store.NoAOF, 0},
		{"always", []string{"--rename-command", "CONFIG", "secret-config"}, store.NotKnown, 2 * time.Second},
	} {
		s := prepared(t, startRedis(t, redisserver.Options{Fsync: tc.fsync, Args: tc.args}).URL())
		if got := s.Durability(t.Context()); got != tc.want || got.Delay() != tc.delay {
			t.Errorf("%s %v: %s with delay %s, want %s with %s", tc.fsync, tc.args, got, got.Delay(), tc.want, tc.delay)
		}
	}
}

// TestEverySecDelaysAcknowledgement checks that a client is not told too early.
func TestEverySecDelaysAcknowledgement(t *testing.T) {
	s := prepared(t, startRedis(t, redisserver.Options{Fsync: "everysec"}).URL())
	began := time.Now()
	subscribe(t, s, "https://smo/a")
	if d := time.Since(began); d < 2*time.Second {
		t.Errorf("acknowledged after %s, want 2s", d)
	}
}

// TestClockJump makes the leader's clock jump into the past: the order stays.
func TestClockJump(t *testing.T) {
	server := startRedis(t, redisserver.Options{})
	s := prepared(t, server.URL())
	term := lead(t, s)
	announce(t, term, change("a", `{"v":1}`))
	// An entry of the far future, as one announced while the clock was wrong.
	admin := direct(t, server)
	command(t, admin, "INCR", "{o2}:seq")
	command(t, admin, "XADD", "{o2}:events", "2-0", "s", "inventory", "o", "ResourceInfo/f", "t", "0", "m", "99999999999999", "p", "", "n", `{}`)
	announce(t, term, change("a", `{"v":2}`))
	wantEvents(t, s, 0, `1 0 ResourceInfo a >{"v":1}`, `2 0 ResourceInfo f >{}`, `3 1 ResourceInfo a {"v":1}>{"v":2}`)
}

func TestNewerSchemaIsRefused(t *testing.T) {
	server := startRedis(t, redisserver.Options{})
	prepared(t, server.URL())
	command(t, direct(t, server), "SET", "{o2}:schema", "99")
	if err := open(t, server.URL()).Prepare(t.Context()); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "older") {
		t.Errorf("Prepare = %v, want conflict", err)
	}
}

// TestSentinelFailover kills the master of two servers under three Sentinels. What was
// acknowledged with --redis-wait-replicas=1 is on the replica that takes over.
func TestSentinelFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	master := startRedis(t, redisserver.Options{})
	replica := startRedis(t, redisserver.Options{Args: []string{"--replicaof", "127.0.0.1", fmt.Sprint(master.Port)}})
	var sentinels []string
	for range 3 {
		sentinel := startRedis(t, redisserver.Options{Sentinel: true, Args: []string{
			fmt.Sprintf("sentinel monitor o2 127.0.0.1 %d 2", master.Port),
			"sentinel down-after-milliseconds o2 500", "sentinel failover-timeout o2 3000",
		}})
		sentinels = append(sentinels, sentinel.Addr())
	}
	watcher := redis.NewSentinelClient(&redis.Options{Addr: sentinels[0]})
	defer watcher.Close()
	eventually(t, "Sentinels know each other and the replica", func() error {
		others, err1 := watcher.Sentinels(t.Context(), "o2").Result()
		replicas, err2 := watcher.Replicas(t.Context(), "o2").Result()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if len(others) != 2 || len(replicas) != 1 || strings.Contains(replicas[0]["flags"], "down") || replicas[0]["master-link-status"] != "ok" {
			return fmt.Errorf("%d other Sentinels, replicas %v", len(others), replicas)
		}
		return nil
	})

	s, err := store.Open(store.Options{URL: "redis+sentinel://" + strings.Join(sentinels, ",") + "/o2", Timeout: 2 * time.Second, WaitReplicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	term := lead(t, s)
	announce(t, term, change("a", `{"v":1}`))
	sub := subscribe(t, s, "https://smo/a") // waits for the replica
	master.Kill()
	began := time.Now()
	eventually(t, "fail-over", func() error {
		_, err := term.Announce(context.WithoutCancel(t.Context()), "inventory", []store.Change{change("a", `{"v":2}`)})
		if err != nil && !errors.Is(err, fault.Unavailable) {
			t.Fatalf("Announce: %v, want unavailable until the replica takes over", err)
		}
		return err
	})
	t.Logf("the replica took over within %s", time.Since(began).Round(time.Millisecond))
	if _, err := s.Subscription(t.Context(), sub.ID); err != nil {
		t.Errorf("what was acknowledged is not on the replica: %v", err)
	}
	wantEvents(t, s, 3, `3 1 ResourceInfo a {"v":1}>{"v":2}`)
	if err := s.AwaitDurable(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("AwaitDurable without a replica: %v, want unavailable", err)
	}
	_ = replica
}
