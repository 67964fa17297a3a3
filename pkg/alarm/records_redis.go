package alarm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// RedisRecords keeps alarms in Redis. It implements Records.
type RedisRecords struct {
	store    *store.Store
	defaults atomic.Pointer[Configuration]
	lowered  chan struct{} // holds one token when the period has become shorter
	now      func() time.Time
}

var _ Records = (*RedisRecords)(nil)

// NewRedisRecords returns the records of a store. The configuration is as given until a
// client sets another.
func NewRedisRecords(s *store.Store, defaults Configuration) *RedisRecords {
	r := &RedisRecords{store: s, lowered: make(chan struct{}, 1), now: time.Now}
	r.defaults.Store(&defaults)
	return r
}

// SetDefaults replaces the configuration that holds until a client sets another.
func (r *RedisRecords) SetDefaults(c Configuration) {
	if before := r.defaults.Swap(&c); c.RetentionDays < before.RetentionDays {
		r.retainAnew()
	}
}

// retainAnew makes Retain look soon: the period has become shorter.
func (r *RedisRecords) retainAnew() {
	select {
	case r.lowered <- struct{}{}:
	default:
	}
}

// recordOf reads a stored alarm.
func recordOf(a store.Alarm) (Record, error) {
	var r Record
	if err := json.Unmarshal(a.Document, &r); err != nil {
		return Record{}, fmt.Errorf("stored alarm %s: %w", a.ID, err)
	}
	r.Version = a.Version
	return r, nil
}

// encodeRecord returns a record as it is stored.
func encodeRecord(r *Record) []byte {
	b, err := json.Marshal(r)
	if err != nil { // texts, numbers and times of this millennium always can
		panic(err)
	}
	return b
}

// Record implements Records.
func (r *RedisRecords) Record(ctx context.Context, id uuid.UUID) (Record, error) {
	a, err := r.store.Alarm(ctx, id)
	if err != nil {
		return Record{}, err
	}
	return recordOf(a)
}

// Page implements Records.
func (r *RedisRecords) Page(ctx context.Context, after Place, limit int) ([]Record, error) {
	list := make([]Record, 0, min(limit, 1024))
	place := store.AlarmPlace(after)
	for len(list) < limit {
		alarms, next, more, err := r.store.AlarmsAfter(ctx, place, limit-len(list))
		if err != nil {
			return nil, err
		}
		for _, a := range alarms {
			record, err := recordOf(a)
			if err != nil {
				return nil, err
			}
			list = append(list, record)
		}
		if !more {
			break
		}
		place = next
	}
	return list, nil
}

// Count implements Records.
func (r *RedisRecords) Count(ctx context.Context) (int, error) { return r.store.CountAlarms(ctx) }

// patience bounds how often a change is tried again because others are faster.
const patience = 50

// Update implements Records. It returns when the change is durable.
func (r *RedisRecords) Update(ctx context.Context, id uuid.UUID, change func(*Record) (Event, error)) (Record, error) {
	for range patience {
		before, err := r.Record(ctx, id)
		if err != nil {
			return Record{}, err
		}
		after := before
		event, err := change(&after)
		if err != nil {
			return Record{}, err
		}
		after.Version = before.Version + 1
		b := newBatch(before.Cluster)
		b.hold(id, before)
		b.put(after, event)
		err = r.store.WriteAlarms(ctx, b.write())
		if errors.Is(err, store.ErrAlarmsMoved) && !r.isOurs(ctx, after) {
			continue
		}
		if err != nil && !errors.Is(err, store.ErrAlarmsMoved) {
			return Record{}, err
		}
		return after, r.store.AwaitDurable(ctx)
	}
	return Record{}, fmt.Errorf("alarm %s is changed by others all the time: %w", id, fault.Unavailable)
}

// isOurs tells whether a change that is refused was made all the same: the client of Redis
// sends a script again when the first answer was lost.
func (r *RedisRecords) isOurs(ctx context.Context, written Record) bool {
	stored, err := r.store.Alarm(ctx, written.ID)
	return err == nil && bytes.Equal(stored.Document, encodeRecord(&written))
}

// purgeStep bounds one step of a purge.
const purgeStep = 500

// Purge implements Records.
func (r *RedisRecords) Purge(ctx context.Context, p Purge) (int, error) {
	if p.To.IsZero() {
		p.To = farFuture
	}
	if p.IDs != nil {
		return r.purgeChosen(ctx, p)
	}
	removed := 0
	var after *store.ClearedAlarm
	for {
		part, err := r.store.ClearedAlarms(ctx, p.From, p.To, after, purgeStep)
		if err != nil || len(part) == 0 {
			return removed, err
		}
		after = &part[len(part)-1]
		if p.Acknowledged {
			if part, err = r.acknowledged(ctx, part); err != nil {
				return removed, err
			}
		}
		n, err := r.store.RemoveAlarms(ctx, part)
		removed += n
		if err != nil {
			return removed, err
		}
	}
}

var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func (r *RedisRecords) acknowledged(ctx context.Context, part []store.ClearedAlarm) ([]store.ClearedAlarm, error) {
	ids := make([]uuid.UUID, len(part))
	for i := range part {
		ids[i] = part[i].ID
	}
	alarms, err := r.store.Alarms(ctx, ids)
	if err != nil {
		return nil, err
	}
	var kept []store.ClearedAlarm
	for i, a := range alarms {
		if a.Version == 0 {
			continue
		}
		record, err := recordOf(a)
		if err != nil {
			return nil, err
		}
		if !record.Acknowledged.IsZero() {
			kept = append(kept, part[i])
		}
	}
	return kept, nil
}

func (r *RedisRecords) purgeChosen(ctx context.Context, p Purge) (removed int, err error) {
	for ids := range slices.Chunk(p.IDs, purgeStep) {
		alarms, err := r.store.Alarms(ctx, ids)
		if err != nil {
			return removed, err
		}
		var chosen []store.ClearedAlarm
		for _, a := range alarms {
			if a.Version == 0 {
				continue
			}
			record, err := recordOf(a)
			if err != nil {
				return removed, err
			}
			if p.matches(&record) {
				chosen = append(chosen, store.ClearedAlarm{ID: record.ID, Raised: record.Raised, Cleared: record.Cleared})
			}
		}
		n, err := r.store.RemoveAlarms(ctx, chosen)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func (p *Purge) matches(r *Record) bool {
	return !r.Active() && !r.Cleared.Before(p.From) && r.Cleared.Before(p.To) && (!p.Acknowledged || !r.Acknowledged.IsZero())
}

// Configuration implements Records.
func (r *RedisRecords) Configuration(ctx context.Context) (Configuration, error) {
	version, document, err := r.store.AlarmSettings(ctx)
	if err != nil || version == 0 {
		return *r.defaults.Load(), err
	}
	var c Configuration
	if err := json.Unmarshal(document, &c); err != nil {
		return Configuration{}, fmt.Errorf("stored alarmServiceConfiguration: %w", err)
	}
	c.Version = version
	return c, nil
}

// SetConfiguration implements Records.
func (r *RedisRecords) SetConfiguration(ctx context.Context, change func(*Configuration) error) (Configuration, error) {
	for range patience {
		before, err := r.Configuration(ctx)
		if err != nil {
			return Configuration{}, err
		}
		after := before
		if err := change(&after); err != nil {
			return Configuration{}, err
		}
		after.Version = before.Version + 1
		document, err := json.Marshal(after)
		if err != nil {
			return Configuration{}, fmt.Errorf("alarmServiceConfiguration: %w: %w", err, fault.Invalid)
		}
		err = r.store.SetAlarmSettings(ctx, before.Version, document)
		if errors.Is(err, store.ErrAlarmsMoved) {
			continue
		}
		if err != nil {
			return Configuration{}, err
		}
		if after.RetentionDays < before.RetentionDays {
			r.retainAnew()
		}
		return after, nil
	}
	return Configuration{}, fmt.Errorf("alarmServiceConfiguration is changed by others all the time: %w", fault.Unavailable)
}

// keepTasks is how long a task is kept after it ended.
const keepTasks = 24 * time.Hour

// Tasks implements Records.
func (r *RedisRecords) Tasks(ctx context.Context) ([]Task, error) {
	documents, err := r.store.AlarmTasks(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Task, 0, len(documents))
	var ended []uuid.UUID
	for id, document := range documents {
		var t Task
		if err := json.Unmarshal(document, &t); err != nil {
			return nil, fmt.Errorf("stored task %s: %w", id, err)
		}
		if r.expired(&t) {
			ended = append(ended, id)
			continue
		}
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Task) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list, r.store.ForgetAlarmTasks(ctx, ended...)
}

func (r *RedisRecords) expired(t *Task) bool {
	return t.State != taskProcessing && r.now().Sub(t.Entered) > keepTasks
}

// taskProcessing is the state of a task that has not ended.
const taskProcessing = "PROCESSING"

// Task implements Records.
func (r *RedisRecords) Task(ctx context.Context, id uuid.UUID) (Task, error) {
	list, err := r.Tasks(ctx)
	if err != nil {
		return Task{}, err
	}
	for _, t := range list {
		if t.ID == id {
			return t, nil
		}
	}
	return Task{}, fmt.Errorf("taskOperation %s: %w", id, fault.NotFound)
}

// PutTask implements Records.
func (r *RedisRecords) PutTask(ctx context.Context, t Task) error {
	document, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("taskOperation %s: %w: %w", t.ID, err, fault.Invalid)
	}
	return r.store.PutAlarmTask(ctx, t.ID, document)
}
