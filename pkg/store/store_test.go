package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestParseURL(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want target
		bad  bool
	}{
		{in: "embedded", want: target{embedded: true}},
		{in: "redis://localhost", want: target{addrs: []string{"localhost:6379"}}},
		{in: "redis://r:7000/3", want: target{addrs: []string{"r:7000"}, db: 3}},
		{in: "rediss://user:p%40ss@r:7000", want: target{addrs: []string{"r:7000"}, tls: true, username: "user", password: "p@ss"}},
		{in: "redis://:p@ss@r:7000", want: target{addrs: []string{"r:7000"}, password: "p@ss"}},
		{in: "redis://[::1]:7000", want: target{addrs: []string{"[::1]:7000"}}},
		{in: "redis://[::1]", want: target{addrs: []string{"[::1]:6379"}}},
		{in: "redis+sentinel://a:26379,b:26379/o2", want: target{addrs: []string{"a:26379", "b:26379"}, master: "o2"}},
		{in: "rediss+sentinel://u:p@a:26379,b:26379/o2/1?sentinel_password=s&sentinel_username=w", want: target{
			addrs: []string{"a:26379", "b:26379"}, master: "o2", db: 1, tls: true, username: "u", password: "p", sentinelUsername: "w", sentinelPassword: "s"}},
		{in: "redis+cluster://a:1,b:2,c:3", want: target{addrs: []string{"a:1", "b:2", "c:3"}, cluster: true}},
		{in: "", bad: true},
		{in: "localhost:6379", bad: true},
		{in: "http://localhost", bad: true},
		{in: "redis+magic://localhost", bad: true},
		{in: "redis://", bad: true},
		{in: "redis://a:1,b:2", bad: true},
		{in: "redis://a:0", bad: true},
		{in: "redis://a:70000", bad: true},
		{in: "redis://a/x", bad: true},
		{in: "redis://a/-1", bad: true},
		{in: "redis://u:secret%@a", bad: true},
		{in: "redis+sentinel://a:1", bad: true},
		{in: "redis+cluster://a:1/2", bad: true},
	} {
		got, err := parseURL(tc.in)
		if errors.Is(err, fault.Invalid) != tc.bad {
			t.Errorf("parseURL(%q): %v, want invalid: %t", tc.in, err, tc.bad)
			continue
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("parseURL(%q) = %+v, want %+v", tc.in, got, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") || strings.Contains(got.String(), "p@ss") {
			t.Errorf("parseURL(%q) gives the password away: %v, %s", tc.in, err, got)
		}
	}
}

type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}

func TestExplain(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string // part of the text; empty: not "unavailable"
	}{
		{redisError("LOADING Redis is loading the dataset in memory"), "loading"},
		{redisError("READONLY You can't write against a read only replica."), "read-only"},
		{redisError("OOM command not allowed when used memory > 'maxmemory'."), "out of memory"},
		{redisError("ERR Error running script: -OOM command not allowed"), "out of memory"},
		{redisError("MISCONF Redis is configured to save RDB snapshots"), "disk"},
		{redisError("NOREPLICAS Not enough good replicas to write."), "replicas"},
		{redisError("NOAUTH Authentication required."), "credentials"},
		{redisError("WRONGPASS invalid username-password pair"), "refuses"},
		{redisError("NOPERM this user has no permissions"), "permit"},
		{redisError("CLUSTERDOWN The cluster is down"), "cluster"},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, "reached"},
		{io.EOF, "reached"},
		{context.DeadlineExceeded, "in time"},
		{redis.ErrClosed, "closed"},
		{redisError("ERR unknown command"), ""},
		{errors.New("something of ours"), ""},
		{redis.Nil, ""},
		{context.Canceled, ""},
	} {
		got := explain(tc.err)
		if !errors.Is(got, tc.err) {
			t.Errorf("explain(%v) = %v loses the cause", tc.err, got)
		}
		if errors.Is(got, fault.Unavailable) != (tc.want != "") || !strings.Contains(got.Error(), tc.want) {
			t.Errorf("explain(%v) = %v, want unavailable and %q", tc.err, got, tc.want)
		}
	}
}

func TestPolicies(t *testing.T) {
	for _, tc := range []struct {
		policy  Policy
		delay   time.Duration
		durable bool
	}{
		{Always, 0, true}, {EverySec, 2 * time.Second, true}, {NotKnown, 2 * time.Second, true},
		{Whenever, 0, false}, {NoAOF, 0, false}, {InMemory, 0, false},
	} {
		if tc.policy.Delay() != tc.delay || tc.policy.Durable() != tc.durable {
			t.Errorf("%s: delay %s, durable %t", tc.policy, tc.policy.Delay(), tc.policy.Durable())
		}
	}
}

func opened(t *testing.T) *Store {
	t.Helper()
	s, err := Open(Options{URL: Embedded, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestMigration checks the way from an old version to the newest, also when a step fails
// the first time.
func TestMigration(t *testing.T) {
	s := opened(t)
	ctx := t.Context()
	if err := s.migrate(ctx, nil); err != nil {
		t.Fatal(err)
	}
	var ran []int
	broken := true
	steps := []migration{
		func(context.Context, *Store) error { ran = append(ran, 1); return nil },
		func(context.Context, *Store) error {
			ran = append(ran, 2)
			if broken {
				return fmt.Errorf("no luck: %w", fault.Unavailable)
			}
			return nil
		},
	}
	if err := s.migrate(ctx, steps); !errors.Is(err, fault.Unavailable) {
		t.Errorf("migration with a step that fails: %v", err)
	}
	broken = false
	if err := s.migrate(ctx, steps); err != nil {
		t.Fatal(err)
	}
	if err := s.migrate(ctx, steps); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(ran) != "[1 2 2]" {
		t.Errorf("steps ran %v, want each until it succeeded once", ran)
	}
	if err := s.migrate(ctx, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("data of a newer version: %v, want conflict", err)
	}
}

func TestIDIsKept(t *testing.T) {
	s := opened(t)
	for range 2 {
		if err := s.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first := s.ID()
	s.id.Store(nil)
	if err := s.Prepare(t.Context()); err != nil || s.ID() != first || first == "" {
		t.Errorf("id = %q, %v, want %q as before", s.ID(), err, first)
	}
}

func TestPack(t *testing.T) {
	for _, document := range [][]byte{{}, []byte(`{}`), []byte(`{"v2":{"state":"` + strings.Repeat("long ", 1000) + `"}}`)} {
		packed := pack(document)
		got, err := unpack(string(packed))
		if err != nil || !bytes.Equal(got, document) {
			t.Errorf("a document of %d bytes comes back as %d bytes, %v", len(document), len(got), err)
		}
		if len(document) > 1000 && len(packed) > len(document)/4 {
			t.Errorf("%d bytes are packed to %d", len(document), len(packed))
		}
	}
}

// FuzzUnpack checks that damaged records are errors, not crashes.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte(`{"a":1}`))
	f.Add(pack(bytes.Repeat([]byte("abc"), 500)))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		document, err := unpack(string(packed))
		if err == nil && len(document) > maxDocumentBytes {
			t.Errorf("%d bytes came out", len(document))
		}
	})
}

func TestOptionsValidate(t *testing.T) {
	for _, o := range []Options{
		{URL: "nonsense", Timeout: time.Second},
		{URL: Embedded},
		{URL: Embedded, Timeout: time.Second, WaitReplicas: -1},
		{URL: "redis+cluster://a:1", Timeout: time.Second, WaitReplicas: 1},
	} {
		if err := o.Validate(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v, want invalid", o, err)
		}
	}
}
