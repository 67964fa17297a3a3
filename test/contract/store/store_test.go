// Package store_test holds the store to its word, on the embedded Redis and on a real one.
package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/test/redisserver"
)

// startRedis runs a server for a test.
func startRedis(t testing.TB, o redisserver.Options) *redisserver.Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := redisserver.Start(t.Context(), o)
	if errors.Is(err, redisserver.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(options(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func prepared(t testing.TB, url string) *store.Store {
	t.Helper()
	s := open(t, url)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func options(url string) store.Options {
	return store.Options{URL: url, Timeout: 2e9}
}

// both runs a test on the embedded Redis and on a real one.
func both(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Run("embedded", func(t *testing.T) { test(t, prepared(t, store.Embedded)) })
	t.Run("redis-server", func(t *testing.T) { test(t, prepared(t, startRedis(t, redisserver.Options{}).URL())) })
}

func lead(t testing.TB, s *store.Store) *store.Term {
	t.Helper()
	term, err := s.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return term
}

func change(id, document string) store.Change {
	c := store.Change{Kind: "ResourceInfo", ID: id}
	if document != "" {
		c.Document = []byte(document)
		c.Digest = store.DigestOf(c.Document)
	}
	return c
}

func announce(t testing.TB, term *store.Term, changes ...store.Change) int {
	t.Helper()
	n, err := term.Announce(t.Context(), "inventory", changes)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func describe(events []store.Event) []string {
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%d %d %s %s %s>%s", e.Seq, e.Type, e.Kind, e.ID, e.Prior, e.Post))
	}
	return lines
}

func wantEvents(t *testing.T, s *store.Store, from uint64, want ...string) {
	t.Helper()
	got, err := s.Events(t.Context(), from, 1000)
	if err != nil {
		t.Fatal(err)
	}
	lines := describe(got)
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("events from %d:\n got %q\nwant %q", from, lines, want)
	}
}

func TestAnnounceWhatDiffers(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store) {
		term := lead(t, s)
		if n := announce(t, term, change("a", `{"v":1}`), change("b", `{"v":1}`)); n != 2 {
			t.Errorf("first announcement: %d events, want 2", n)
		}
		if n := announce(t, term, change("a", `{"v":1}`), change("c", "")); n != 0 {
			t.Errorf("announcement of what is known: %d events, want 0", n)
		}
		announce(t, term, change("a", `{"v":2}`), change("b", ""), change("a", `{"v":3}`))
		wantEvents(t, s, 0,
			`1 0 ResourceInfo a >{"v":1}`,
			`2 0 ResourceInfo b >{"v":1}`,
			`3 1 ResourceInfo a {"v":1}>{"v":2}`,
			`4 2 ResourceInfo b {"v":1}>`,
			`5 1 ResourceInfo a {"v":2}>{"v":3}`)

		digests, err := s.Digests(t.Context(), "inventory")
		if err != nil || len(digests) != 1 || digests["ResourceInfo/a"] != store.DigestOf([]byte(`{"v":3}`)) {
			t.Errorf("digests = %v, %v, want that of a alone", digests, err)
		}
		document, err := s.Document(t.Context(), "inventory", "ResourceInfo", "a")
		if err != nil || string(document) != `{"v":3}` {
			t.Errorf("document of a = %s, %v", document, err)
		}
		if _, err := s.Document(t.Context(), "inventory", "ResourceInfo", "b"); !errors.Is(err, fault.NotFound) {
			t.Errorf("document of b: %v, want not found", err)
		}
	})
}

// TestAnnounceMany checks batches beyond the bounds of one script, and large documents.
func TestAnnounceMany(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store) {
		term := lead(t, s)
		large := make([]byte, 200_000)
		for i := range large {
			large[i] = "0123456789abcdef"[(i*i+i/7)%16]
		}
		var changes []store.Change
		for i := range 1500 {
			changes = append(changes, change(fmt.Sprintf("%04d", i), fmt.Sprintf(`{"n":%d}`, i)))
		}
		changes = append(changes, change("large", `{"text":"`+string(large)+`"}`))
		if n := announce(t, term, changes...); n != len(changes) {
			t.Fatalf("%d events, want %d", n, len(changes))
		}
		last, err := s.Events(t.Context(), 1501, 10)
		if err != nil || len(last) != 1 || string(last[0].Post) != string(changes[1500].Document) {
			t.Fatalf("the large document did not come back whole: %v", err)
		}
		digests, err := s.Digests(t.Context(), "inventory")
		if err != nil || len(digests) != len(changes) {
			t.Errorf("%d digests, %v, want %d", len(digests), err, len(changes))
		}

		removed, err := term.Trim(t.Context(), 1400)
		if err != nil || removed != 1399 {
			t.Errorf("Trim(1400) removed %d, %v, want 1399", removed, err)
		}
		state, err := s.Stream(t.Context())
		if err != nil || state.Newest != 1501 || state.Length != 102 || state.First == nil || state.First.Seq != 1400 {
			t.Errorf("stream = %+v, %v, want 1400 to 1501", state, err)
		}
		if removed, err := term.Trim(t.Context(), 9999); err != nil || removed != 102 {
			t.Errorf("Trim of all removed %d, %v, want 102", removed, err)
		}
		if n := announce(t, term, change("after", `{}`)); n != 1 {
			t.Errorf("announcement after trimming: %d events, want 1", n)
		}
		wantEvents(t, s, 1, `1502 0 ResourceInfo after >{}`)
	})
}

// TestFencing checks that a leader whose time is over can change nothing.
func TestFencing(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store) {
		sub := subscribe(t, s, "https://smo/a")
		old := lead(t, s)
		announce(t, old, change("a", `{"v":1}`))
		next := lead(t, s)
		ctx := t.Context()
		_, announceErr := old.Announce(ctx, "inventory", []store.Change{change("a", `{"v":2}`)})
		_, moveErr := old.Move(ctx, []store.Step{{ID: sub.ID, From: 1, To: 2, Delivered: 1}})
		_, trimErr := old.Trim(ctx, 2)
		for name, err := range map[string]error{"Announce": announceErr, "Move": moveErr, "Trim": trimErr, "Check": old.Check(ctx)} {
			if !errors.Is(err, store.ErrFenced) {
				t.Errorf("%s of the old leader: %v, want ErrFenced", name, err)
			}
		}
		wantEvents(t, s, 2, `2 0 ResourceInfo a >{"v":1}`)
		if err := next.Check(ctx); err != nil {
			t.Errorf("Check of the new leader: %v", err)
		}
		announce(t, next, change("a", `{"v":2}`))
	})
}

func subscribe(t testing.TB, s *store.Store, callback string) store.Subscription {
	t.Helper()
	sub := store.Subscription{ID: uuid.New(), Service: "inventory", Version: "v2", Callback: callback}
	if err := s.CreateSubscription(t.Context(), sub, 100); err != nil {
		t.Fatal(err)
	}
	return sub
}

func TestSubscriptions(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		term := lead(t, s)
		announce(t, term, change("a", `{}`))
		empty, consumer := "", "3F20D850-AF4F-A84F-FB5A-0AD585410361"
		first := store.Subscription{ID: uuid.New(), Service: "inventory", Version: "v1", Callback: "https://smo/a", Filter: &empty, ConsumerID: &consumer, Creator: "smo"}
		if err := s.CreateSubscription(ctx, first, 2); err != nil {
			t.Fatal(err)
		}
		if err := s.CreateSubscription(ctx, first, 2); err != nil {
			t.Errorf("the same request sent twice by the client: %v, want success", err)
		}
		twin := first
		twin.ID = uuid.New()
		twin.Filter = nil // means the same as an empty one
		if err := s.CreateSubscription(ctx, twin, 2); !errors.Is(err, fault.Conflict) {
			t.Errorf("an equal subscription: %v, want conflict", err)
		}
		other := first
		other.ID, other.Callback = uuid.New(), "https://smo/b"
		if err := s.CreateSubscription(ctx, other, 2); err != nil {
			t.Fatal(err)
		}
		third := first
		third.ID, third.Callback = uuid.New(), "https://smo/c"
		if err := s.CreateSubscription(ctx, third, 2); !errors.Is(err, fault.TooLarge) {
			t.Errorf("one too many: %v, want too large", err)
		}

		got, err := s.Subscription(ctx, first.ID)
		if err != nil || *got.Filter != "" || *got.ConsumerID != consumer || got.Creator != "smo" {
			t.Errorf("Subscription = %+v, %v", got, err)
		}
		all, err := s.Subscriptions(ctx, "inventory")
		if err != nil || len(all) != 2 || all[0].ID.String() > all[1].ID.String() {
			t.Errorf("Subscriptions = %+v, %v", all, err)
		}
		if none, err := s.Subscriptions(ctx, "cluster"); err != nil || len(none) != 0 {
			t.Errorf("Subscriptions of another service = %+v, %v", none, err)
		}
		progress, err := s.ProgressOf(ctx, first.ID, other.ID, uuid.New())
		if err != nil || len(progress) != 2 || progress[first.ID].Cursor != 1 || progress[other.ID].Start != 2 {
			t.Errorf("progress = %+v, %v, want those of two, beginning at the newest event", progress, err)
		}

		if err := s.DeleteSubscription(ctx, first); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteSubscription(ctx, first); !errors.Is(err, fault.NotFound) {
			t.Errorf("second delete: %v, want not found", err)
		}
		if err := s.CreateSubscription(ctx, twin, 2); err != nil {
			t.Errorf("an equal one after the delete: %v, want success", err)
		}
	})
}

func TestMove(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		sub, other := subscribe(t, s, "https://smo/a"), subscribe(t, s, "https://smo/b")
		term := lead(t, s)
		step := store.Step{ID: sub.ID, From: 0, To: 5, Delivered: 3, Filtered: 2}
		second := store.Step{ID: other.ID, From: 1, To: 4, Dropped: 3, Status: store.Status{Resync: &store.Range{First: 2, Last: 4}}}
		for _, again := range []string{"first", "repeated"} {
			gone, err := term.Move(ctx, []store.Step{step, second, {ID: uuid.New(), From: 1, To: 2, Delivered: 1}})
			if err != nil || len(gone) != 1 {
				t.Fatalf("%s Move: gone %v, %v, want one gone", again, gone, err)
			}
		}
		p, err := s.ProgressOf(ctx, sub.ID, other.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got := p[sub.ID]; got.Cursor != 5 || got.Delivered != 3 || got.Filtered != 2 || got.Dropped != 0 {
			t.Errorf("progress = %+v: a step saved twice counts once", got)
		}
		if got := p[other.ID]; got.Dropped != 3 || got.Status.Resync == nil || got.Status.Resync.Last != 4 {
			t.Errorf("progress = %+v", got)
		}
		if _, err := term.Move(ctx, []store.Step{{ID: sub.ID, From: 7, To: 8, Delivered: 1}}); !errors.Is(err, store.ErrRewound) {
			t.Errorf("step from a cursor that Redis does not have: %v, want ErrRewound", err)
		}
	})
}

func TestResume(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		sub := subscribe(t, s, "https://smo/a")
		term := lead(t, s)
		if _, err := term.Move(ctx, []store.Step{{ID: sub.ID, From: 0, To: 0, Status: store.Status{Suspended: true, Failures: 9, Reason: "410"}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Resume(ctx, sub.ID); err != nil {
			t.Fatal(err)
		}
		p, err := s.ProgressOf(ctx, sub.ID)
		if err != nil || p[sub.ID].Status.Suspended || p[sub.ID].Status.Failures != 0 {
			t.Errorf("progress after Resume = %+v, %v", p, err)
		}
		if err := s.Resume(ctx, uuid.New()); !errors.Is(err, fault.NotFound) {
			t.Errorf("Resume of none: %v, want not found", err)
		}
		entries, err := s.Events(ctx, 0, 10)
		if err != nil || len(entries) != 2 || entries[1].Type != store.SubscriptionChanged || entries[1].ID != sub.ID.String() {
			t.Errorf("entries = %v, %v, want one for creation and one for resumption", describe(entries), err)
		}
	})
}

// TestAwaitEvents checks that a waiting reader hears of an event, and only of later ones.
func TestAwaitEvents(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store) {
		term := lead(t, s)
		announce(t, term, change("a", `{"v":1}`))
		type result struct {
			events []store.Event
			err    error
		}
		heard := make(chan result, 1)
		go func() {
			events, err := s.AwaitEvents(context.WithoutCancel(t.Context()), 1, 10, 5e9)
			heard <- result{events, err}
		}()
		announce(t, term, change("a", `{"v":2}`))
		if r := <-heard; r.err != nil || len(r.events) != 1 || r.events[0].Seq != 2 {
			t.Errorf("AwaitEvents(1) = %v, %v, want event 2", describe(r.events), r.err)
		}
		if events, err := s.AwaitEvents(t.Context(), 2, 10, 1e6); err != nil || len(events) != 0 {
			t.Errorf("AwaitEvents(2) = %v, %v, want none", describe(events), err)
		}
	})
}

func TestNotificationID(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store) {
		term := lead(t, s)
		announce(t, term, change("a", `{"v":1}`), change("b", `{"v":1}`))
		read := func() []store.Event {
			events, err := s.Events(t.Context(), 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			return events
		}
		first, again := read(), read()
		if first[0].NotificationID(s.ID()) != again[0].NotificationID(s.ID()) {
			t.Error("the same event has two identifiers")
		}
		if first[0].NotificationID(s.ID()) == first[1].NotificationID(s.ID()) {
			t.Error("two events have one identifier")
		}
		usurper := first[0]
		usurper.Post = []byte(`{"v":9}`)
		if first[0].NotificationID(s.ID()) == usurper.NotificationID(s.ID()) {
			t.Error("another event under a number that was lost has the identifier of the one that was lost")
		}
	})
}
