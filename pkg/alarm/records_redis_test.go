package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

func acknowledge(user string, at time.Time) func(*Record) (Event, error) {
	return func(r *Record) (Event, error) {
		if !r.Acknowledged.IsZero() {
			return Event{}, fmt.Errorf("acknowledged already: %w", fault.Conflict)
		}
		r.Acknowledged, r.AcknowledgedBy = at, user
		return Event{true, EventAcknowledge}, nil
	}
}

func TestRecordsUpdate(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	e := s.add(report.Fired, 1)
	talk(t, h, s)
	id := RecordID("edge-1", e)
	r, err := h.records.Update(t.Context(), id, acknowledge("smo", noon))
	if err != nil || r.Version != 2 || r.AcknowledgedBy != "smo" {
		t.Fatalf("record %+v, %v", r, err)
	}
	if _, err := h.records.Update(t.Context(), id, acknowledge("smo", noon)); !errors.Is(err, fault.Conflict) {
		t.Errorf("acknowledged twice: %v, want a conflict", err)
	}
	if _, err := h.records.Update(t.Context(), uuid.New(), acknowledge("smo", noon)); !errors.Is(err, fault.NotFound) {
		t.Errorf("a record that is not: %v, want not found", err)
	}
	s.add(report.Resolved, 1)
	talk(t, h, s)
	if r := h.record(t, "edge-1", e); r.Active() || r.Acknowledged.IsZero() || r.Version != 3 {
		t.Errorf("record after the alert ended: %+v", r)
	}
	wantTold(t, h.store, "NEW "+id.String(), "ACKNOWLEDGE "+id.String(), "CLEAR "+id.String())
}

// TestRecordsUpdateRaces lets clients and reports change the same records.
func TestRecordsUpdateRaces(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	const n = 8
	for i := range n {
		s.add(report.Fired, i)
	}
	talk(t, h, s)
	var ids []uuid.UUID
	for _, o := range s.open {
		ids = append(ids, RecordID("edge-1", o.Episode))
	}
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			if _, err := h.records.Update(t.Context(), id, acknowledge("smo", noon)); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range n {
		s.add(report.Updated, i)
		talk(t, h, s)
	}
	wg.Wait()
	for _, id := range ids {
		if r, err := h.records.Record(t.Context(), id); err != nil || r.Version != 3 || r.Acknowledged.IsZero() || !r.Suppressed {
			t.Errorf("record %+v, %v", r, err)
		}
	}
	if got := len(told(t, h.store)); got != 3*n {
		t.Errorf("%d events, want %d", got, 3*n)
	}
}

func TestRecordsPage(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	for i := range 25 {
		s.add(report.Fired, i)
		if i%5 != 0 {
			s.clock -= 1000 // several in one millisecond
		}
	}
	talk(t, h, s)
	if n, err := h.records.Count(t.Context()); err != nil || n != 25 {
		t.Errorf("count %d, %v", n, err)
	}
	var all []Record
	var after Place
	for {
		page, err := h.records.Page(t.Context(), after, 7)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if len(page) < 7 {
			break
		}
		after = Place{page[6].Raised, page[6].ID}
	}
	sorted := slices.IsSortedFunc(all, func(a, b Record) int {
		if c := a.Raised.Compare(b.Raised); c != 0 {
			return c
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	if len(all) != 25 || !sorted {
		t.Errorf("%d records, sorted: %t", len(all), sorted)
	}
}

func TestRecordsPurge(t *testing.T) {
	for _, tc := range []struct {
		name  string
		purge func(spoke *spoke, ids []uuid.UUID) Purge
		want  int
	}{
		{"all that are cleared", func(*spoke, []uuid.UUID) Purge { return Purge{} }, 6},
		{"acknowledged ones", func(*spoke, []uuid.UUID) Purge { return Purge{Acknowledged: true} }, 3},
		{"chosen", func(_ *spoke, ids []uuid.UUID) Purge { return Purge{IDs: ids[:8]} }, 4},
		{"chosen and acknowledged", func(_ *spoke, ids []uuid.UUID) Purge { return Purge{IDs: ids[:8], Acknowledged: true} }, 1},
		{"none chosen", func(*spoke, []uuid.UUID) Purge { return Purge{IDs: []uuid.UUID{}} }, 0},
		{"before the last", func(s *spoke, _ []uuid.UUID) Purge { return Purge{To: millis(s.clock)} }, 5},
		{"the last", func(s *spoke, _ []uuid.UUID) Purge { return Purge{From: millis(s.clock)} }, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, s := newHub(t, store.Embedded), newSpoke("edge-1")
			var ids []uuid.UUID
			for i := range 10 {
				ids = append(ids, RecordID("edge-1", s.add(report.Fired, i)))
			}
			for i := 4; i < 10; i++ {
				s.add(report.Resolved, i)
			}
			talk(t, h, s)
			for _, id := range append(ids[:2:2], ids[7:]...) {
				if _, err := h.records.Update(t.Context(), id, acknowledge("smo", noon)); err != nil {
					t.Fatal(err)
				}
			}
			removed, err := h.records.Purge(t.Context(), tc.purge(s, ids))
			left, _ := h.records.Count(t.Context())
			if err != nil || removed != tc.want || left != 10-tc.want {
				t.Errorf("%d removed, %d left, %v, want %d removed", removed, left, err, tc.want)
			}
			if page, err := h.records.Page(t.Context(), Place{}, 100); err != nil || len(page) != left {
				t.Errorf("%d records in order, %v, want %d", len(page), err, left)
			}
		})
	}
}

func TestRecordsRetention(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	s.add(report.Fired, 1)
	s.add(report.Resolved, 1)
	s.add(report.Fired, 2)
	talk(t, h, s)
	h.records.now = func() time.Time { return millis(s.clock).AddDate(0, 0, 3) }
	for _, step := range []struct{ days, left int }{{5, 2}, {1, 1}} {
		if err := h.records.removeOld(t.Context(), step.days); err != nil {
			t.Fatal(err)
		}
		if n, _ := h.records.Count(t.Context()); n != step.left {
			t.Errorf("%d records are left after %d days of retention, want %d", n, step.days, step.left)
		}
	}
}

func TestRecordsRetain(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	s.add(report.Fired, 1)
	s.add(report.Resolved, 1)
	talk(t, h, s)
	days := func(n int) {
		t.Helper()
		_, err := h.records.SetConfiguration(t.Context(), func(c *Configuration) error { c.RetentionDays = n; return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	days(36500)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	looked := make(chan struct{}, 100)
	h.records.now = func() time.Time { looked <- struct{}{}; return millis(s.clock).AddDate(0, 0, 30) }
	go func() { ended <- h.records.Retain(ctx) }()
	<-looked
	if n, _ := h.records.Count(t.Context()); n != 1 {
		t.Errorf("%d records while they are young enough, want 1", n)
	}
	days(1)
	<-looked // long before the next time comes by itself
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for n := 1; n > 0; <-ticker.C {
		var err error
		if n, err = h.records.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRecordsConfiguration(t *testing.T) {
	h := newHub(t, store.Embedded)
	if c, err := h.records.Configuration(t.Context()); err != nil || c.RetentionDays != 15 || c.Version != 0 {
		t.Fatalf("configuration %+v, %v", c, err)
	}
	set := func(days int) func(*Configuration) error {
		return func(c *Configuration) error {
			c.RetentionDays, c.Extensions = days, map[string]json.RawMessage{"by": json.RawMessage(`"smo"`)}
			return nil
		}
	}
	if c, err := h.records.SetConfiguration(t.Context(), set(3)); err != nil || c.Version != 1 {
		t.Fatalf("configuration %+v, %v", c, err)
	}
	if len(h.records.lowered) != 1 {
		t.Error("nobody was told that the period is shorter")
	}
	refused := errors.New("refused")
	if _, err := h.records.SetConfiguration(t.Context(), func(*Configuration) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	other := NewRedisRecords(h.store, Configuration{})
	if c, err := other.Configuration(t.Context()); err != nil || c.RetentionDays != 3 || c.Version != 1 || string(c.Extensions["by"]) != `"smo"` {
		t.Errorf("another replica reads %+v, %v", c, err)
	}
}

func TestRecordsTasks(t *testing.T) {
	h := newHub(t, store.Embedded)
	h.records.now = func() time.Time { return noon }
	tasks := []Task{
		{ID: uuid.New(), State: "PROCESSING", Entered: noon.Add(-48 * time.Hour)},
		{ID: uuid.New(), State: "COMPLETED", Entered: noon.Add(-23 * time.Hour), Params: json.RawMessage(`{}`)},
		{ID: uuid.New(), State: "FAILED", Entered: noon.Add(-25 * time.Hour)},
	}
	for _, task := range tasks {
		if err := h.records.PutTask(t.Context(), task); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := h.records.Tasks(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("tasks %+v, %v, want those that go on or ended within a day", list, err)
	}
	if _, err := h.records.Task(t.Context(), tasks[2].ID); !errors.Is(err, fault.NotFound) {
		t.Errorf("task that ended long ago: %v, want not found", err)
	}
	if got, err := h.records.Task(t.Context(), tasks[1].ID); err != nil || got.State != "COMPLETED" || string(got.Params) != `{}` {
		t.Errorf("task %+v, %v", got, err)
	}
}
