package alarm

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// memoryRecords keeps records in memory, by the rules of Records. It notes what is asked of it.
type memoryRecords struct {
	mu      sync.Mutex
	records []Record // ascending by place
	config  Configuration
	tasks   map[uuid.UUID]Task
	events  []EventType
	down    bool
	read    int // records that Page returned
}

var errRecordsDown = fmt.Errorf("records: %w", fault.Unavailable)

func newMemoryRecords() *memoryRecords {
	return &memoryRecords{config: Configuration{RetentionDays: 1}, tasks: make(map[uuid.UUID]Task)}
}

func comparePlaces(a, b Place) int {
	if c := a.Raised.Compare(b.Raised); c != 0 {
		return c
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

func (r *Record) place() Place { return Place{r.Raised, r.ID} }

func (m *memoryRecords) fill(_ context.Context, records ...Record) error {
	m.records = append(m.records, records...)
	slices.SortFunc(m.records, func(a, b Record) int { return comparePlaces(a.place(), b.place()) })
	return nil
}

// enter locks m unless it is down.
func (m *memoryRecords) enter() (leave func(), err error) {
	m.mu.Lock()
	if m.down {
		m.mu.Unlock()
		return nil, errRecordsDown
	}
	return m.mu.Unlock, nil
}

func (m *memoryRecords) index(id uuid.UUID) int {
	return slices.IndexFunc(m.records, func(r Record) bool { return r.ID == id })
}

func (m *memoryRecords) Record(_ context.Context, id uuid.UUID) (Record, error) {
	leave, err := m.enter()
	if err != nil {
		return Record{}, err
	}
	defer leave()
	if i := m.index(id); i >= 0 {
		return m.records[i], nil
	}
	return Record{}, fmt.Errorf("alarm %s: %w", id, fault.NotFound)
}

func (m *memoryRecords) Page(_ context.Context, after Place, limit int) ([]Record, error) {
	leave, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	i, found := slices.BinarySearchFunc(m.records, after, func(r Record, p Place) int { return comparePlaces(r.place(), p) })
	if found {
		i++
	}
	page := m.records[i:min(len(m.records), i+limit)]
	m.read += len(page)
	return slices.Clone(page), nil
}

func (m *memoryRecords) Count(context.Context) (int, error) {
	leave, err := m.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	return len(m.records), nil
}

func (m *memoryRecords) Update(_ context.Context, id uuid.UUID, change func(*Record) (Event, error)) (Record, error) {
	leave, err := m.enter()
	if err != nil {
		return Record{}, err
	}
	defer leave()
	i := m.index(id)
	if i < 0 {
		return Record{}, fmt.Errorf("alarm %s: %w", id, fault.NotFound)
	}
	r := m.records[i]
	e, err := change(&r)
	if err != nil {
		return Record{}, err
	}
	r.Version++
	m.records[i] = r
	if e.Tell {
		m.events = append(m.events, e.Type)
	}
	return r, nil
}

func (m *memoryRecords) Purge(ctx context.Context, p Purge) (int, error) {
	leave, err := m.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	before := len(m.records)
	m.records = slices.DeleteFunc(m.records, func(r Record) bool {
		return !r.Active() && (p.IDs == nil || slices.Contains(p.IDs, r.ID)) && !r.Cleared.Before(p.From) &&
			(p.To.IsZero() || r.Cleared.Before(p.To)) && (!p.Acknowledged || r.acknowledged())
	})
	return before - len(m.records), ctx.Err()
}

func (m *memoryRecords) Configuration(context.Context) (Configuration, error) {
	leave, err := m.enter()
	if err != nil {
		return Configuration{}, err
	}
	defer leave()
	return m.config, nil
}

func (m *memoryRecords) SetConfiguration(_ context.Context, change func(*Configuration) error) (Configuration, error) {
	leave, err := m.enter()
	if err != nil {
		return Configuration{}, err
	}
	defer leave()
	c := m.config
	if err := change(&c); err != nil {
		return Configuration{}, err
	}
	c.Version++
	m.config = c
	return c, nil
}

func (m *memoryRecords) Tasks(context.Context) ([]Task, error) {
	leave, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	var list []Task
	for _, t := range m.tasks {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Task) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list, nil
}

func (m *memoryRecords) Task(_ context.Context, id uuid.UUID) (Task, error) {
	leave, err := m.enter()
	if err != nil {
		return Task{}, err
	}
	defer leave()
	t, found := m.tasks[id]
	if !found {
		return Task{}, fmt.Errorf("task %s: %w", id, fault.NotFound)
	}
	return t, nil
}

func (m *memoryRecords) PutTask(_ context.Context, t Task) error {
	leave, err := m.enter()
	if err != nil {
		return err
	}
	defer leave()
	m.tasks[t.ID] = t
	return nil
}

// redisBacked is the records that the manager has.
type redisBacked struct{ *RedisRecords }

func (r redisBacked) fill(ctx context.Context, records ...Record) error {
	for part := range slices.Chunk(records, 200) {
		b := newBatch(part[0].Cluster)
		ids := make([]uuid.UUID, len(part))
		for i := range part {
			ids[i] = part[i].ID
		}
		if err := b.read(ctx, r.store, ids); err != nil {
			return err
		}
		for _, record := range part {
			b.put(record, Event{})
		}
		if err := r.store.WriteAlarms(ctx, b.write()); err != nil {
			return err
		}
	}
	return nil
}

func newAPIStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{URL: store.Embedded, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
