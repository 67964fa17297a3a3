package alarm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/test/redisserver"
)

// startRedis runs a real Redis that writes to its disk before it acknowledges.
func startRedis(t testing.TB) *redisserver.Server {
	t.Helper()
	s, err := redisserver.Start(t.Context(), redisserver.Options{Dir: t.TempDir()})
	if errors.Is(err, redisserver.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func TestIngestRandomOnRedis(t *testing.T) {
	server := startRedis(t)
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			flush(t, server)
			ingestAtRandom(t, newHub(t, server.URL()), seed, 300)
		})
	}
}

func flush(t testing.TB, server *redisserver.Server) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true})
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// retry applies a report until it goes: what is in the way passes.
func retry(ctx context.Context, h *hub, r Report, lead func() error) (Result, error) {
	for {
		result, err := h.ingest.Apply(ctx, r)
		switch {
		case err == nil:
			return result, nil
		case errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrRewound):
			if err := lead(); err != nil && !errors.Is(err, fault.Unavailable) {
				return Result{}, err
			}
		case !errors.Is(err, fault.Unavailable):
			return Result{}, err
		}
		if ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
	}
}

// TestIngestWhileRedisDies kills Redis again and again while an agent's alerts are taken in.
func TestIngestWhileRedisDies(t *testing.T) {
	server := startRedis(t)
	h, s := newHub(t, server.URL()), newSpoke("edge-1")
	h.ingest.options.GapGrace = 0 // any gap is a failure
	lead := func() error {
		term, err := h.store.Lead(t.Context())
		if err == nil {
			h.leading = term
		}
		return err
	}
	s.window = 20
	var want []string
	for i := range 600 {
		n := i % 40
		kind, event := report.Fired, "NEW "
		if _, open := s.open[fingerprint(n)]; open {
			kind, event = report.Resolved, "CLEAR "
		}
		want = append(want, event+RecordID("edge-1", s.add(kind, n)).String())
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		pauses := rand.New(rand.NewPCG(1, 1))
		for range 6 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(5+pauses.IntN(40)) * time.Millisecond):
			}
			server.Kill()
			if err := server.Restart(t.Context()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for s.acked < s.end() {
		r, err := retry(t.Context(), h, s.report(), lead)
		if err != nil {
			t.Fatal(err)
		}
		s.heed(r.Answer)
	}
	stop()
	wg.Wait()
	if got := told(t, h.store); !slices.Equal(got, want) {
		t.Errorf("%d events, want %d in the order in which they happened", len(got), len(want))
	}
	if gaps, err := h.store.AlarmGaps(t.Context()); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %v, %v", gaps, err)
	}
}

// TestIngestTwoLeaders lets two processes believe to lead, each taking the lead from the
// other all the time.
func TestIngestTwoLeaders(t *testing.T) {
	server := startRedis(t)
	s := newSpoke("edge-1")
	var want []string
	for i := range 300 {
		want = append(want, "NEW "+RecordID("edge-1", s.add(report.Fired, i)).String())
	}
	var wg sync.WaitGroup
	first := newHub(t, server.URL())
	for _, h := range []*hub{first, newHub(t, server.URL())} {
		wg.Go(func() {
			lead := func() (err error) { h.leading, err = h.store.Lead(t.Context()); return err }
			own := *s
			own.window = 7
			for own.acked < own.end() {
				r, err := retry(t.Context(), h, own.report(), lead)
				if err != nil {
					t.Error(err)
					return
				}
				own.acked = r.Answer.Seq
			}
		})
	}
	wg.Wait()
	if got := told(t, first.store); !slices.Equal(got, want) {
		t.Errorf("%d events, want %d in the order in which they happened", len(got), len(want))
	}
}

// TestIngestStoreLost empties Redis under a running hub.
func TestIngestStoreLost(t *testing.T) {
	server := startRedis(t)
	h, s := newHub(t, server.URL()), newSpoke("edge-1")
	e := s.add(report.Fired, 1)
	s.add(report.Fired, 2)
	s.add(report.Resolved, 2)
	talk(t, h, s)
	before := h.store.ID()
	flush(t, server)
	if _, err := h.ingest.Apply(t.Context(), s.report()); err != nil && !errors.Is(err, store.ErrRewound) {
		t.Errorf("Apply on an empty store: %v, want rewound", err)
	}
	if err := h.store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.store.ID() == before {
		t.Error("the store has the identity of the one that is lost")
	}
	h.lead(t)
	talk(t, h, s) // the answer takes back what was confirmed, and the agent sends it again
	if n := len(told(t, h.store)); n != 3 {
		t.Errorf("%d events in the new store, want 3", n)
	}
	if r := h.record(t, "edge-1", e); !r.Active() {
		t.Errorf("record %+v", r)
	}
	if gaps, err := h.store.AlarmGaps(t.Context()); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %v, %v", gaps, err)
	}
}

// TestIngestStoreRolledBack gives Redis the data of a while ago, as a fail-over to a
// replica that lagged would.
func TestIngestStoreRolledBack(t *testing.T) {
	dir, saved := t.TempDir(), t.TempDir()
	server, err := redisserver.Start(t.Context(), redisserver.Options{Dir: dir})
	if errors.Is(err, redisserver.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	h, s := newHub(t, server.URL()), newSpoke("edge-1")
	for i := range 5 {
		s.add(report.Fired, i)
	}
	talk(t, h, s)
	server.Stop()
	if err := os.CopyFS(saved+"/data", os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		s.add(report.Resolved, i)
	}
	talk(t, h, s)
	server.Kill()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(saved+"/data")); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.lead(t)
	talk(t, h, s)
	events := told(t, h.store)
	if len(events) != 10 {
		t.Errorf("%d events, want 10: %q", len(events), events)
	}
	open, err := h.store.AllOpenAlarms(t.Context(), "edge-1")
	if err != nil || len(open) != 0 {
		t.Errorf("open alarms %v, %v", open, err)
	}
}
