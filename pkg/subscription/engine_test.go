package subscription

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// model is a source whose objects a test sets.
type model struct {
	mu      sync.Mutex
	version uint64
	objects map[string]Object // by kind/id
	order   []string
	changed func(source string, version uint64, objects ...Object)
}

func newModel() *model { return &model{objects: make(map[string]Object)} }

func (m *model) Name() string { return "inventory" }

func (m *model) Objects(context.Context) (uint64, iter.Seq[Object], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Object
	for _, name := range m.order {
		if o, there := m.objects[name]; there {
			all = append(all, o)
		}
	}
	return m.version, slices.Values(all), nil
}

// set changes an object in both versions; a nil value removes it.
func (m *model) set(kind, id string, value any) {
	o := Object{Kind: kind, ID: id}
	if value != nil {
		o.Render = func() Document { return twoVersions(kind, id, value) }
	}
	m.put(o)
}

func (m *model) put(o Object) {
	m.mu.Lock()
	m.version++
	name := o.Kind + "/" + o.ID
	if o.Render == nil {
		delete(m.objects, name)
	} else {
		if !slices.Contains(m.order, name) {
			m.order = append(m.order, name)
		}
		m.objects[name] = o
	}
	version, changed := m.version, m.changed
	if changed != nil {
		changed("inventory", version, o)
	}
	m.mu.Unlock()
}

func twoVersions(kind, id string, value any) Document {
	d := Document{}
	for _, version := range []string{"v1", "v2"} {
		state, err := json.Marshal(map[string]any{"id": id, "value": value, "version": version})
		if err != nil {
			panic(err)
		}
		d[version] = View{Ref: "/o2ims-infrastructureInventory/" + version + "/" + kind + "/" + id, State: state}
	}
	return d
}

// consumer is an SMO that remembers what it was sent.
type consumer struct {
	*httptest.Server
	mu     sync.Mutex
	got    []note
	answer func(n int, w http.ResponseWriter, r *http.Request) // nil: 204
	count  int
	wake   chan struct{}
}

type note struct {
	ID         string          `json:"notificationId"`
	ConsumerID *string         `json:"consumerSubscriptionId"`
	Type       int             `json:"notificationEventType"`
	Ref        string          `json:"objectRef"`
	Prior      json.RawMessage `json:"priorObjectState"`
	Post       json.RawMessage `json:"postObjectState"`
	Resync     *struct{ FirstEvent, LastEvent uint64 }
}

// String is what tests compare: the type, the object and its value before and after.
func (n note) String() string {
	value := func(state json.RawMessage) string {
		var v struct{ Value any }
		if state == nil || json.Unmarshal(state, &v) != nil {
			return "-"
		}
		return fmt.Sprint(v.Value)
	}
	return fmt.Sprintf("%d %s %s>%s", n.Type, n.Ref[strings.LastIndexByte(n.Ref, '/')+1:], value(n.Prior), value(n.Post))
}

func newConsumer(t testing.TB) *consumer {
	c := &consumer{wake: make(chan struct{}, 1)}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

func (c *consumer) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var n note
	if err != nil || json.Unmarshal(body, &n) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.count++
	attempt, answer := c.count, c.answer
	c.mu.Unlock()
	status := http.StatusNoContent
	if answer != nil {
		recorder := httptest.NewRecorder()
		answer(attempt, recorder, r)
		status = recorder.Code
		for name, values := range recorder.Header() {
			w.Header()[name] = values
		}
	}
	if status < 300 {
		c.mu.Lock()
		c.got = append(c.got, n)
		c.mu.Unlock()
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	w.WriteHeader(status)
}

func (c *consumer) notes() []note {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// await returns what arrived when there are n notifications.
func (c *consumer) await(t testing.TB, n int) []note {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		if got := c.notes(); len(got) >= n {
			return got
		}
		select {
		case <-c.wake:
		case <-deadline:
			t.Fatalf("%d notifications arrived, want %d: %v", len(c.notes()), n, c.notes())
		}
	}
}

func (c *consumer) want(t testing.TB, want ...string) []note {
	t.Helper()
	got := c.await(t, len(want))
	var lines []string
	for _, n := range got {
		lines = append(lines, n.String())
	}
	if !slices.Equal(lines, want) {
		t.Fatalf("notifications:\n got %q\nwant %q", lines, want)
	}
	return got
}

// world is a store, a model and the engine between them.
type world struct {
	t      testing.TB
	store  *store.Store
	model  *model
	engine *Engine
	stop   func()
}

func testOptions() Options {
	return Options{
		RequestTimeout: 20 * time.Second, FirstRetry: time.Millisecond, LongestRetry: 5 * time.Millisecond, SuspendAfter: time.Hour,
		RetainFor: time.Hour, RetainEvents: 1000, MaxSubscriptions: 5000, WindowBytes: 4 << 20,
		FilterMode: string(Exclude), CallbackCheck: string(CheckOff), DuplicateStatus: 400, DeleteSubscriptions: string(RemovalAny),
	}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s, err := store.Open(store.Options{URL: store.Embedded, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	return &world{t: t, store: s, model: newModel()}
}

// run starts an engine, which the test's end or w.stop stops.
func (w *world) run(change func(*Options)) {
	w.t.Helper()
	o := testOptions()
	if change != nil {
		change(&o)
	}
	e, err := New(o, Parts{
		Store: w.store, Client: http.DefaultClient, BaseURL: "https://o2ims.example.net",
		Services: []Service{{Name: "inventory", Versions: []string{"v1", "v2"}, Kinds: testKinds, RootKind: "CloudInfo", RootID: "cloud"}},
		Sources:  []Source{w.model},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.engine = e
	w.model.mu.Lock()
	w.model.changed = e.Changed
	w.model.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("engine ended with %v", err)
		}
	})
	w.t.Cleanup(w.stop)
	w.eventually("leads", func() bool { _, leads := e.Announced("inventory"); return leads }, func() string { return "no" })
}

// testKinds are the objectTypes of the model, whose objects have the attributes of twoVersions.
func testKinds(version string) Kinds {
	check := func(path []string) error {
		if slices.Contains([]string{"id", "value", "version"}, path[0]) {
			return nil
		}
		return fmt.Errorf("attribute %s: %w", strings.Join(path, "/"), fault.Invalid)
	}
	kinds := Kinds{"ResourceInfo": check, "ResourcePoolInfo": check, "CloudInfo": check}
	if version == "v2" {
		kinds["OCloudSiteInfo"] = check
	}
	return kinds
}

func (w *world) subscribe(callback string, change func(*store.Subscription)) store.Subscription {
	w.t.Helper()
	sub := store.Subscription{ID: uuid.New(), Service: "inventory", Version: "v2", Callback: callback, Created: time.Now()}
	if change != nil {
		change(&sub)
	}
	if err := w.store.CreateSubscription(context.Background(), sub, 5000); err != nil {
		w.t.Fatal(err)
	}
	return sub
}

// progress waits until the stored progress of a subscription is as it should be.
func (w *world) progress(id uuid.UUID, want func(store.Progress) bool) store.Progress {
	w.t.Helper()
	var p store.Progress
	w.eventually("progress", func() bool {
		all, err := w.store.ProgressOf(context.Background(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		p = all[id]
		return want(p)
	}, func() string { return fmt.Sprintf("%+v", p) })
	return p
}

func (w *world) eventually(what string, holds func() bool, describe func() string) {
	w.t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			w.t.Fatalf("%s: %s", what, describe())
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestChangesArriveInOrder(t *testing.T) {
	w := newWorld(t)
	c := newConsumer(t)
	w.model.set("ResourceInfo", "a", 1)
	w.run(nil)
	w.subscribe(c.URL, func(s *store.Subscription) { s.ConsumerID = ptr("3F20D850-AF4F-A84F-FB5A-0AD585410361") })
	for i := 2; i <= 50; i++ {
		w.model.set("ResourceInfo", "a", i)
	}
	w.model.set("ResourceInfo", "b", 1)
	w.model.set("ResourceInfo", "a", nil)

	// Whether the first values are announced before the subscription is a race; what comes is a chain.
	w.eventually("deletion", func() bool { n := c.notes(); return len(n) > 0 && n[len(n)-1].Type == 2 }, func() string { return fmt.Sprint(c.notes()) })
	got := c.notes()
	prior := "1"
	if got[0].Type == 0 {
		prior = "-"
	}
	seen := make(map[string]bool)
	for _, n := range got {
		if seen[n.ID] {
			t.Errorf("notificationId %s came twice", n.ID)
		}
		seen[n.ID] = true
		if n.ConsumerID == nil || *n.ConsumerID != "3F20D850-AF4F-A84F-FB5A-0AD585410361" {
			t.Errorf("consumerSubscriptionId = %v", n.ConsumerID)
		}
		text := n.String()
		if strings.Contains(text, " a ") {
			want := fmt.Sprintf(" a %s>", prior)
			if !strings.Contains(text, want) {
				t.Errorf("notification %q does not follow on value %s", text, prior)
			}
			prior = text[strings.IndexByte(text, '>')+1:]
		}
	}
	last := got[len(got)-1]
	if last.Ref != "https://o2ims.example.net/o2ims-infrastructureInventory/v2/ResourceInfo/a" || last.Post != nil || last.Prior == nil {
		t.Errorf("deletion = %+v", last)
	}
}

func TestRestartAnnouncesTheDifferenceOnce(t *testing.T) {
	w := newWorld(t)
	c := newConsumer(t)
	w.model.set("ResourceInfo", "stays", 1)
	w.model.set("ResourceInfo", "changes", 1)
	w.model.set("ResourceInfo", "goes", 1)
	w.subscribe(c.URL, nil)
	w.run(nil)
	c.want(t, "0 stays ->1", "0 changes ->1", "0 goes ->1")
	w.stop()

	w.model.set("ResourceInfo", "changes", 2)
	w.model.set("ResourceInfo", "goes", nil)
	w.model.set("ResourceInfo", "comes", 1)
	w.run(nil)
	first := []string{"0 stays ->1", "0 changes ->1", "0 goes ->1", "1 changes 1>2", "0 comes ->1", "2 goes 1>-"}
	c.want(t, first...)
	w.stop()

	w.run(nil) // nothing differs
	w.model.set("ResourceInfo", "stays", 2)
	c.want(t, append(first, "1 stays 1>2")...)
}

// TestRetryWaitsAsLongAsTheConsumerAsks has a consumer that wants longer pauses than ours.
func TestRetryWaitsAsLongAsTheConsumerAsks(t *testing.T) {
	w := newWorld(t)
	c := newConsumer(t)
	var mu sync.Mutex
	var at []time.Time
	c.answer = func(_ int, rw http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if at = append(at, time.Now()); len(at) == 1 {
			rw.Header().Set("Retry-After", "1")
			rw.WriteHeader(http.StatusTooManyRequests)
		}
	}
	w.run(nil)
	sub := w.subscribe(c.URL, nil)
	w.model.set("ResourceInfo", "a", 1)
	w.progress(sub.ID, func(p store.Progress) bool { return p.Delivered == 1 })
	mu.Lock()
	defer mu.Unlock()
	if len(at) != 2 || at[1].Sub(at[0]) < time.Second {
		t.Errorf("called at %v, want twice, a second apart", at)
	}
}

func TestRetryKeepsOrderAndIdentifier(t *testing.T) {
	w := newWorld(t)
	c := newConsumer(t)
	var mu sync.Mutex
	attempts := map[string]int{}
	c.answer = func(n int, rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch n % 5 {
		case 0:
			rw.WriteHeader(http.StatusOK)
		case 1:
			rw.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			rw.WriteHeader(http.StatusNotFound)
		case 3:
			rw.Header().Set("Location", "/elsewhere")
			rw.WriteHeader(http.StatusTemporaryRedirect)
		case 4:
			rw.WriteHeader(http.StatusAccepted)
		}
		attempts[fmt.Sprint(n)]++
	}
	w.run(nil)
	sub := w.subscribe(c.URL, nil)
	w.progress(sub.ID, func(p store.Progress) bool { return true })
	for i := range 10 {
		w.model.set("ResourceInfo", "a", i)
	}
	want := []string{"0 a ->0"}
	for i := 1; i < 10; i++ {
		want = append(want, fmt.Sprintf("1 a %d>%d", i-1, i))
	}
	c.want(t, want...)
	p := w.progress(sub.ID, func(p store.Progress) bool { return p.Delivered == 10 })
	if p.Cursor-p.Start != p.Delivered+p.Filtered+p.Dropped || p.Status.Failures != 0 {
		t.Errorf("progress = %+v: not every event is accounted for", p)
	}
}

func TestGoneSuspendsAndResumeGoesOn(t *testing.T) {
	w := newWorld(t)
	c := newConsumer(t)
	c.answer = func(n int, rw http.ResponseWriter, _ *http.Request) {
		if n == 2 {
			rw.WriteHeader(http.StatusGone)
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	}
	w.run(nil)
	sub := w.subscribe(c.URL, nil)
	other := newConsumer(t)
	w.subscribe(other.URL, nil)
	for i := range 4 {
		w.model.set("ResourceInfo", "a", i)
	}
	p := w.progress(sub.ID, func(p store.Progress) bool { return p.Status.Suspended })
	if !strings.Contains(p.Status.Reason, "410") {
		t.Errorf("reason = %q", p.Status.Reason)
	}
	other.want(t, "0 a ->0", "1 a 0>1", "1 a 1>2", "1 a 2>3")
	if err := w.store.Resume(context.Background(), sub.ID); err != nil {
		t.Fatal(err)
	}
	c.want(t, "0 a ->0", "1 a 0>1", "1 a 1>2", "1 a 2>3")
}

func TestSuspensionAfterLongFailure(t *testing.T) {
	w := newWorld(t)
	c := newConsumer(t)
	c.answer = func(_ int, rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadRequest) }
	const long = time.Second // a busy machine may take a good part of it for the first attempt
	w.run(func(o *Options) { o.SuspendAfter = long })
	sub := w.subscribe(c.URL, nil)
	w.model.set("ResourceInfo", "a", 1)
	p := w.progress(sub.ID, func(p store.Progress) bool { return p.Status.Suspended })
	if p.Status.Failures < 2 || p.Status.FailingFor < long || p.Delivered != 0 {
		t.Errorf("progress = %+v, want several failures over %s", p, long)
	}
}

// TestDeadSubscriberDelaysNobody holds one consumer's request open all the time.
func TestDeadSubscriberDelaysNobody(t *testing.T) {
	w := newWorld(t)
	dead, well := newConsumer(t), newConsumer(t)
	release := make(chan struct{})
	defer close(release)
	dead.answer = func(_ int, rw http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
	w.run(func(o *Options) { o.RequestTimeout = time.Hour })
	w.subscribe(dead.URL, nil)
	w.subscribe(well.URL, nil)
	for i := range 100 {
		w.model.set("ResourceInfo", "a", i)
	}
	if got := well.await(t, 100); len(got) != 100 {
		t.Errorf("%d notifications, want 100", len(got))
	}
	if n := len(dead.notes()); n != 0 {
		t.Errorf("the dead one acknowledged %d", n)
	}
}

func TestRetentionDropsAndSaysSo(t *testing.T) {
	w := newWorld(t)
	c := newConsumer(t)
	c.answer = func(n int, rw http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			rw.WriteHeader(http.StatusGone)
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	}
	w.model.set("CloudInfo", "cloud", "whole")
	w.run(func(o *Options) { o.RetainEvents = 5 })
	sub := w.subscribe(c.URL, nil)
	for i := range 30 {
		w.model.set("ResourceInfo", "a", i)
	}
	w.progress(sub.ID, func(p store.Progress) bool { return p.Status.Suspended })
	w.eventually("announced", func() bool { v, ok := w.engine.Announced("inventory"); return ok && v == 31 }, func() string { return "" })
	if _, err := w.engine.now.Load().trim(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.stop() // and with it what is in memory
	w.run(nil)
	if err := w.store.Resume(context.Background(), sub.ID); err != nil {
		t.Fatal(err)
	}
	w.progress(sub.ID, func(p store.Progress) bool { return p.Dropped > 0 && p.Status.Resync == nil && p.Delivered >= 5 })
	got := c.notes()
	if got[0].Resync == nil || got[0].Resync.LastEvent < 20 || got[0].Type != 1 || got[0].String() != "1 cloud whole>whole" {
		t.Errorf("first notification = %s %+v, want a resync notice about the O-Cloud", got[0], got[0].Resync)
	}
	if last := got[len(got)-1]; last.String() != "1 a 28>29" {
		t.Errorf("last notification = %s, want the last change", last)
	}
}

func TestFilterAndVersions(t *testing.T) {
	w := newWorld(t)
	all, v1, without := newConsumer(t), newConsumer(t), newConsumer(t)
	w.run(nil)
	w.subscribe(all.URL, func(s *store.Subscription) { s.Filter = ptr("[]") })
	w.subscribe(v1.URL, func(s *store.Subscription) { s.Version = "v1" })
	filtered := w.subscribe(without.URL, func(s *store.Subscription) { s.Filter = ptr("(eq,objectType,ResourceInfo)") })
	w.model.set("ResourceInfo", "a", 1)
	w.model.put(Object{Kind: "OCloudSiteInfo", ID: "s", Render: func() Document {
		return Document{"v2": twoVersions("OCloudSiteInfo", "s", 1)["v2"]}
	}})
	w.model.set("ResourcePoolInfo", "p", 1)
	all.want(t, "0 a ->1", "0 s ->1", "0 p ->1")
	got := v1.want(t, "0 a ->1", "0 p ->1")
	if !strings.Contains(string(got[0].Post), `"v1"`) || !strings.Contains(got[0].Ref, "/v1/") {
		t.Errorf("v1 was told %s about %s", got[0].Post, got[0].Ref)
	}
	without.want(t, "0 s ->1", "0 p ->1")
	p := w.progress(filtered.ID, func(p store.Progress) bool { return p.Delivered == 2 })
	if p.Cursor-p.Start != p.Delivered+p.Filtered {
		t.Errorf("progress = %+v: not every event is accounted for", p)
	}
}

func TestDeletedSubscriptionHearsNothingMore(t *testing.T) {
	w := newWorld(t)
	deleted, other := newConsumer(t), newConsumer(t)
	w.run(nil)
	sub := w.subscribe(deleted.URL, nil)
	w.subscribe(other.URL, nil)
	w.model.set("ResourceInfo", "a", 1)
	deleted.want(t, "0 a ->1")
	if err := w.store.DeleteSubscription(context.Background(), sub); err != nil {
		t.Fatal(err)
	}
	w.model.set("ResourceInfo", "a", 2)
	other.want(t, "0 a ->1", "1 a 1>2")
	if n := len(deleted.notes()); n != 1 {
		t.Errorf("%d notifications after the delete, want none more", n-1)
	}
}

// TestNewLeaderFencesTheOld checks that an engine ends when another has taken over.
func TestNewLeaderFencesTheOld(t *testing.T) {
	w := newWorld(t)
	e, err := New(testOptions(), Parts{Store: w.store, Client: http.DefaultClient, Services: []Service{{Name: "inventory"}}, Sources: []Source{w.model}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context()) }()
	w.eventually("leads", func() bool { _, ok := e.Announced("inventory"); return ok }, func() string { return "" })
	if _, err := w.store.Lead(context.Background()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), store.ErrFenced.Error()) {
			t.Errorf("Run = %v, want ErrFenced", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the old leader goes on")
	}
}
