package subscription

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/store"
)

// renderAlarm shows an event of an alarm in the form that a test's consumer reads; its
// value is the sequence.
func renderAlarm(e *store.Event, version, baseURL string) (Shown, error) {
	return Shown{Type: int(e.Type), State: e.Post, Body: func(n Notification) []byte {
		return fmt.Appendf(nil, `{"notificationId":%q,"notificationEventType":%d,"objectRef":"%s/%s/%s","postObjectState":{"value":%d}}`,
			n.ID, e.Type, baseURL, version, e.ID[:4], n.Sequence)
	}}, nil
}

// runWithAlarms starts an engine for two services.
func (w *world) runWithAlarms() {
	w.t.Helper()
	alarms := *alarmService()
	alarms.Render = renderAlarm
	e, err := New(testOptions(), Parts{
		Store: w.store, Client: http.DefaultClient, BaseURL: "https://o2ims.example.net",
		Services: []Service{{Name: "inventory", Versions: []string{"v2"}, Kinds: testKinds}, alarms},
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
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("engine ended with %v", err)
		}
	}
	w.eventually("leads", func() bool { _, leads := e.Announced("inventory"); return leads }, func() string { return "no" })
}

// alarm writes an alarm and the events of its life so far.
func (w *world) alarm(id uuid.UUID, read uint64, types ...store.EventType) {
	w.t.Helper()
	document, err := json.Marshal(map[string]any{"objectId": id.String(), "perceivedSeverity": 1})
	if err != nil {
		w.t.Fatal(err)
	}
	raised := time.UnixMilli(1000)
	open := &store.OpenAlarm{Origin: store.FromAgent, Fingerprint: "0000000000000001", Starts: 1000, ID: id}
	b := store.AlarmBatch{Cluster: "edge-1", Writes: []store.AlarmWrite{{
		ID: id, Read: read, Version: read + uint64(len(types)), Raised: raised, After: store.AlarmState{Open: open}, Document: document,
	}}}
	for _, kind := range types {
		b.Events = append(b.Events, store.AlarmEvent{Type: kind})
	}
	term := w.engine.Term()
	if term == nil {
		w.t.Fatal("the engine leads and has no term")
	}
	if err := term.WriteAlarms(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
}

func TestAlarmsAreDeliveredByTheSameEngine(t *testing.T) {
	w, c, other := newWorld(t), newConsumer(t), newConsumer(t)
	w.runWithAlarms()
	first, second := uuid.MustParse("aaaa0000-0000-4000-8000-000000000000"), uuid.MustParse("bbbb0000-0000-4000-8000-000000000000")
	w.alarm(first, 0, 0) // before anybody subscribes
	sub := w.subscribe(c.URL, func(s *store.Subscription) { s.Service, s.EventFilter = "monitoring", []string{"NEW", "CLEAR"} })
	inventory := w.subscribe(other.URL, nil)
	w.alarm(first, 1, 1)
	w.alarm(second, 0, 0, 2)
	w.model.set("ResourceInfo", "r1", 1)
	c.want(t, "0 bbbb ->1", "2 bbbb ->2")
	other.want(t, "0 r1 ->1")
	w.progress(inventory.ID, func(p store.Progress) bool { return p.Delivered == 1 && p.Filtered >= 3 && p.Dropped == 0 })
	w.progress(sub.ID, func(p store.Progress) bool { return p.Delivered == 2 && p.Dropped == 0 })
	w.stop()
	if w.engine.Term() != nil {
		t.Error("an engine that was stopped has a term")
	}

	// The sequence goes on after a restart, and a change of the subscription takes effect.
	w.runWithAlarms()
	defer w.stop()
	changed := sub
	changed.EventFilter = []string{"ACKNOWLEDGE"}
	stored, err := w.store.Subscription(t.Context(), sub.ID)
	if err != nil {
		t.Fatal(err)
	}
	changed.Created = stored.Created
	if err := w.store.ReplaceSubscription(t.Context(), stored, changed); err != nil {
		t.Fatal(err)
	}
	w.alarm(first, 2, 1, 3)
	c.want(t, "0 bbbb ->1", "2 bbbb ->2", "3 aaaa ->3")
	if got, err := w.store.Subscription(t.Context(), sub.ID); err != nil || !slices.Equal(got.EventFilter, changed.EventFilter) {
		t.Errorf("subscription %+v, %v", got, err)
	}
	if err := w.store.ReplaceSubscription(t.Context(), stored, changed); err != nil {
		t.Errorf("the same change again: %v", err)
	}
}
