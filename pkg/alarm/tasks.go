package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
)

// The states of a task that has ended, and what a task may do.
const (
	taskCompleted = "COMPLETED"
	taskFailed    = "FAILED"

	operationPurge = "PURGE"
)

// maxPurgeIDs is how many records one request may name.
const maxPurgeIDs = 10_000

// purgeAtOnce is how long a request waits for its purge. What is not done by then is the
// Keeper's to end.
const purgeAtOnce = 2 * time.Second

func (a *API) listTasks(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := v.tasks.ListQuery(r)
		if err != nil {
			return err
		}
		list, err := a.parts.Records.Tasks(r.Context())
		if err != nil {
			return err
		}
		return q.List(w, sorted(list, v.tasks.ID))
	}
}

func (a *API) getTask(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, "operationOccurrenceId")
		if err != nil {
			return err
		}
		q, err := v.tasks.Query(r)
		if err != nil {
			return err
		}
		t, err := a.parts.Records.Task(r.Context(), id)
		if err != nil {
			return err
		}
		return q.Object(w, t)
	}
}

// purge answers POST /alarms/purge. The task is stored before it begins, so that it is
// ended even when this process is not there to do it.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, taskOperations.
func (a *API) purge(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var request purgeRequest
		if err := rest.ReadJSON(w, r, &request); err != nil {
			return err
		}
		if err := request.validate(); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
		params, err := json.Marshal(request)
		if err != nil {
			return err
		}
		now := a.now()
		task := Task{ID: uuid.New(), State: taskProcessing, Entered: now, Started: now, Params: params}
		if err := a.collides(r.Context(), request); err != nil {
			return err
		}
		if err := a.parts.Records.PutTask(r.Context(), task); err != nil {
			return err
		}
		slog.InfoContext(r.Context(), "purge begins", "operationOccurrenceId", task.ID, "user", user(r))
		ctx, cancel := context.WithTimeout(r.Context(), purgeAtOnce)
		defer cancel()
		if err := endPurge(ctx, a.parts.Records, task, a.now); err != nil {
			slog.InfoContext(r.Context(), "purge goes on", "operationOccurrenceId", task.ID, "reason", err)
		}
		w.Header().Set("Location", a.baseURL(r)+v.base()+"/taskOperations/"+task.ID.String())
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
}

// endPurge does what a task asks for. An error says that it has not ended.
func endPurge(ctx context.Context, records Records, task Task, now func() time.Time) error {
	var request purgeRequest
	err := json.Unmarshal(task.Params, &request)
	if err == nil {
		err = request.validate()
	}
	removed := 0
	if err == nil {
		removed, err = records.Purge(ctx, request.purge())
	}
	task.State, task.Entered = taskCompleted, now()
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, fault.Unavailable) {
			return err
		}
		task.State, task.Problem = taskFailed, "the records could not be removed"
	}
	slog.InfoContext(ctx, "purge ended", "operationOccurrenceId", task.ID, "operationState", task.State, "records", removed, "error", err)
	return records.PutTask(ctx, task)
}

func (p *purgeRequest) validate() error {
	c := p.PurgeConditions
	switch {
	case len(p.AlarmRecordID) == 0 && c == nil:
		return fmt.Errorf("neither alarmRecordId nor purgeConditions says which records: %w", fault.Invalid)
	case len(p.AlarmRecordID) > maxPurgeIDs:
		return fmt.Errorf("%d of alarmRecordId, more than %d: %w", len(p.AlarmRecordID), maxPurgeIDs, fault.Invalid)
	case c == nil:
		return nil
	case c.EndWindowTime == nil:
		return fmt.Errorf("purgeConditions: endWindowTime is missing: %w", fault.Invalid)
	case c.StartWindowTime != nil && c.StartWindowTime.After(*c.EndWindowTime):
		return fmt.Errorf("purgeConditions: startWindowTime is after endWindowTime: %w", fault.Invalid)
	}
	return nil
}

// purge is what to remove: never what is active, or what nobody acknowledged.
func (p *purgeRequest) purge() Purge {
	purge := Purge{IDs: p.AlarmRecordID, Acknowledged: true}
	if c := p.PurgeConditions; c != nil {
		if c.StartWindowTime != nil {
			purge.From = c.StartWindowTime.UTC()
		}
		// Times of records are whole milliseconds, and the end belongs to the window.
		purge.To = c.EndWindowTime.UTC().Truncate(time.Millisecond).Add(time.Millisecond)
	}
	return purge
}

// collides tells whether another task may be at work on some of the same records.
func (a *API) collides(ctx context.Context, request purgeRequest) error {
	tasks, err := a.parts.Records.Tasks(ctx)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		var other purgeRequest
		if t.State != taskProcessing || json.Unmarshal(t.Params, &other) != nil {
			continue
		}
		if request.overlaps(other) {
			return fmt.Errorf("purge: task %s is at work on the same records: %w", t.ID, fault.Conflict)
		}
	}
	return nil
}

// overlaps errs on the side of yes: when a record was cleared is not looked up.
func (p *purgeRequest) overlaps(q purgeRequest) bool {
	if p.AlarmRecordID != nil && q.AlarmRecordID != nil {
		return slices.ContainsFunc(p.AlarmRecordID, func(id uuid.UUID) bool { return slices.Contains(q.AlarmRecordID, id) })
	}
	a, b := p.PurgeConditions, q.PurgeConditions
	if a == nil || b == nil {
		return true
	}
	return !after(a.StartWindowTime, b.EndWindowTime) && !after(b.StartWindowTime, a.EndWindowTime)
}

// after tells whether a window that begins at start begins after end.
func after(start, end *time.Time) bool { return start != nil && end != nil && start.After(*end) }

// EndTasks ends tasks that their requests could not wait for, until ctx ends. It is for the
// leader. What fails is logged and tried again.
func EndTasks(ctx context.Context, records Records, now func() time.Time) error {
	ticker := time.NewTicker(taskInterval)
	defer ticker.Stop()
	for {
		if err := endTasks(ctx, records, now); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "tasks not ended", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// How often tasks are looked at, and how long a request may be at work on its own.
const (
	taskInterval = 2 * time.Second
	taskGrace    = purgeAtOnce + 3*time.Second
)

func endTasks(ctx context.Context, records Records, now func() time.Time) error {
	tasks, err := records.Tasks(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, t := range tasks {
		if t.State != taskProcessing || now().Sub(t.Started) < taskGrace {
			continue
		}
		if err := endPurge(ctx, records, t, now); err != nil {
			faults = append(faults, fmt.Errorf("task %s: %w", t.ID, err))
		}
	}
	return errors.Join(faults...)
}
