package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// left are the numbers of the records that are there, of the first n.
func (w *apiWorld) left(n int) map[int]bool {
	w.t.Helper()
	left := map[int]bool{}
	for i := 1; i <= n; i++ {
		_, err := w.records.Record(w.t.Context(), numbered(i))
		left[i] = err == nil
	}
	return left
}

// purgeable tells whether the nth record is cleared and acknowledged.
func purgeable(n int) bool { return n%15 == 0 }

func TestPurge(t *testing.T) {
	id := func(n int) string { return `"` + numbered(n).String() + `"` }
	for _, tc := range []struct {
		name, body string
		gone       func(n int) bool // of those that may go
	}{
		{"by id", `{"alarmRecordId":[` + id(15) + `,` + id(30) + `,` + id(1) + `,` + id(3) + `,` + id(5) + `,` + id(999) + `]}`, func(n int) bool { return n <= 30 }},
		{"everything", `{"purgeConditions":{"endWindowTime":"2999-01-01T00:00:00Z"}}`, func(int) bool { return true }},
		{"up to a moment, which belongs to it", `{"purgeConditions":{"endWindowTime":"2026-09-01T08:01:30Z"}}`, func(n int) bool { return n <= 30 }},
		{"with a fraction, elsewhere", `{"purgeConditions":{"endWindowTime":"2026-09-01T10:01:44.9999+02:00"}}`, func(n int) bool { return n < 45 }},
		{"from a moment", `{"purgeConditions":{"startWindowTime":"2026-09-01T08:01:30Z","endWindowTime":"2026-09-02T00:00:00Z"}}`, func(n int) bool { return n >= 30 }},
		{"by id within a window", `{"alarmRecordId":[` + id(15) + `,` + id(45) + `],"purgeConditions":{"startWindowTime":"2026-09-01T08:01:30Z","endWindowTime":"2026-09-02T00:00:00Z"}}`, func(n int) bool { return n == 45 }},
		{"nothing", `{"purgeConditions":{"endWindowTime":"1999-01-01T00:00:00Z"}}`, func(int) bool { return false }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onBackends(t, func(t *testing.T, w *apiWorld) {
				w.fill(records(60)...)
				answer := w.ask(http.MethodPost, "/v2/alarms/purge", tc.body, 202, "")
				if text := bodyOf(t, answer); text != "" {
					t.Errorf("202 with body %s", text)
				}
				for n, there := range w.left(60) {
					if want := !purgeable(n) || !tc.gone(n); there != want {
						t.Errorf("record %d is there: %t, want %t", n, there, want)
					}
				}
				path, ours := strings.CutPrefix(answer.Header.Get("Location"), "https://o2ims.example.net"+BasePath)
				if !ours || !strings.HasPrefix(path, "/v2/taskOperations/") {
					t.Fatalf("Location = %s", answer.Header.Get("Location"))
				}
				var task taskView
				if err := json.Unmarshal([]byte(bodyOf(t, w.ask(http.MethodGet, path, "", 200, `"operation":"PURGE"`))), &task); err != nil {
					t.Fatal(err)
				}
				if task.OperationState != taskCompleted || !task.StartTime.Equal(w.now) || task.OperationParams == nil || task.Error != nil {
					t.Errorf("task = %+v", task)
				}
				list := bodyOf(t, w.ask(http.MethodGet, "/v1/taskOperations", "", 200, task.ID.String()))
				if strings.Contains(list, "operationParams") {
					t.Errorf("list has operationParams: %s", list)
				}
				w.ask(http.MethodGet, "/v1/taskOperations?all_fields", "", 200, "operationParams")
				w.ask(http.MethodGet, "/v1/taskOperations?filter=(eq,operationState,FAILED)", "", 200, "[]")
			})
		})
	}
}

func TestPurgeRefuses(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		for _, tc := range []struct{ body, want string }{
			{`{}`, "neither"},
			{`{"alarmRecordId":[]}`, "neither"},
			{`{"alarmRecordId":["x"]}`, "body"},
			{`{"alarmRecordId":"` + numbered(1).String() + `"}`, "body"},
			{`{"purgeConditions":{}}`, "endWindowTime is missing"},
			{`{"purgeConditions":{"startWindowTime":"2026-09-01T08:01:30Z"}}`, "endWindowTime is missing"},
			{`{"purgeConditions":{"startWindowTime":"2026-09-02T00:00:00Z","endWindowTime":"2026-09-01T00:00:00Z"}}`, "after"},
			{`{"purgeConditions":{"endWindowTime":"now"}}`, "body"},
			{`{"alarmRecordId":["` + strings.Repeat(numbered(1).String()+`","`, maxPurgeIDs) + numbered(1).String() + `"]}`, "more than"},
			{`{"all":true}`, "all"},
			{`<purge/>`, "body"},
		} {
			w.ask(http.MethodPost, "/v1/alarms/purge", tc.body, 400, tc.want)
		}
		w.ask(http.MethodGet, "/v1/taskOperations", "", 200, "[]")
		w.ask(http.MethodGet, "/v1/taskOperations/x", "", 400, "operationOccurrenceId")
		w.ask(http.MethodGet, "/v1/taskOperations/"+numbered(1).String(), "", 404, numbered(1).String())
		w.ask(http.MethodDelete, "/v1/taskOperations/"+numbered(1).String(), "", 405, "")
	})
}

// TestPurgeConflicts: two tasks may not be at work on the same records, and may on others.
func TestPurgeConflicts(t *testing.T) {
	const ids, others = `{"alarmRecordId":["0b6d0c0e-5f1b-5f0e-9f43-000000000001"]}`, `{"alarmRecordId":["0b6d0c0e-5f1b-5f0e-9f43-000000000002"]}`
	const early, late = `{"purgeConditions":{"endWindowTime":"2026-09-01T00:00:00Z"}}`, `{"purgeConditions":{"startWindowTime":"2026-09-01T00:00:00.001Z","endWindowTime":"2026-09-02T00:00:00Z"}}`
	const touching = `{"purgeConditions":{"startWindowTime":"2026-09-01T00:00:00Z","endWindowTime":"2026-09-02T00:00:00Z"}}`
	for _, tc := range []struct {
		running, wanted string
		status          int
	}{
		{ids, ids, 409}, {ids, others, 202}, {ids, early, 409}, {early, ids, 409},
		{early, late, 202}, {late, early, 202}, {early, touching, 409}, {touching, early, 409}, {early, early, 409},
	} {
		onBackends(t, func(t *testing.T, w *apiWorld) {
			running := Task{ID: uuid.New(), State: taskProcessing, Entered: w.now, Started: w.now, Params: json.RawMessage(tc.running)}
			if err := w.records.PutTask(t.Context(), running); err != nil {
				t.Fatal(err)
			}
			want := ""
			if tc.status == 409 {
				want = running.ID.String()
			}
			w.ask(http.MethodPost, "/v2/alarms/purge", tc.wanted, tc.status, want)
		})
	}
}

// stuck are records that cannot be purged.
type stuck struct {
	filled
	err error
}

func (s *stuck) Purge(ctx context.Context, p Purge) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.filled.Purge(ctx, p)
}

// TestTasksAreEnded: a task that its request could not end is ended later, by whoever leads.
func TestTasksAreEnded(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		w.fill(records(15)...)
		away := &stuck{w.records, errRecordsDown}
		w = newAPIWorld(t, away, w.store, nil)
		answer := w.ask(http.MethodPost, "/v2/alarms/purge", `{"alarmRecordId":["`+numbered(15).String()+`"]}`, 202, "")
		path := strings.TrimPrefix(answer.Header.Get("Location"), "https://o2ims.example.net"+BasePath)
		w.ask(http.MethodGet, path, "", 200, `"operationState":"PROCESSING"`)
		later := w.now.Add(taskGrace)
		look := func(at time.Time) error { return endTasks(t.Context(), away, func() time.Time { return at }) }
		if err := look(later); !errors.Is(err, errRecordsDown) {
			t.Errorf("endTasks = %v, want why it cannot", err)
		}
		w.ask(http.MethodGet, path, "", 200, `"operationState":"PROCESSING"`)
		away.err = nil
		if err := look(w.now); err != nil || !w.left(15)[15] {
			t.Errorf("endTasks = %v while the request may still be at work; record left: %v", err, w.left(15)[15])
		}
		if err := look(later); err != nil || w.left(15)[15] {
			t.Errorf("endTasks = %v, record left: %v", err, w.left(15)[15])
		}
		w.ask(http.MethodGet, path, "", 200, `"operationState":"COMPLETED","stateEnteredTime":"`+later.Format(time.RFC3339))
	})
}

func TestTaskThatFailed(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		w.fill(records(15)...)
		away := &stuck{w.records, errors.New("a fault of ours: secret")}
		w = newAPIWorld(t, away, w.store, nil)
		answer := w.ask(http.MethodPost, "/v1/alarms/purge", `{"alarmRecordId":["`+numbered(15).String()+`"]}`, 202, "")
		path := strings.TrimPrefix(answer.Header.Get("Location"), "https://o2ims.example.net"+BasePath)
		text := bodyOf(t, w.ask(http.MethodGet, path, "", 200, `"error":{"title":"Internal Server Error","status":500,"detail":"the records could not be removed"}`))
		if strings.Contains(text, "secret") || !strings.Contains(text, taskFailed) {
			t.Errorf("task = %s", text)
		}
	})
}
