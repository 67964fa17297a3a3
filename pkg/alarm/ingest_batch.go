package alarm

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/store"
)

// Intakes at which an alarm can be reported first, beside those of an agent.
const (
	ViaHub   = "hub"   // an Alertmanager of the hub
	ViaWatch = "watch" // our own watch over the fleet
)

// originOf tells who says when an alarm ends.
func originOf(r *Record) store.Origin {
	switch r.Via {
	case ViaHub:
		return store.FromHub
	case ViaWatch:
		return store.FromWatch
	default:
		return store.FromAgent
	}
}

// stateOf is what the indices know of a record.
func stateOf(r *Record) store.AlarmState {
	switch {
	case r.Version == 0:
		return store.AlarmState{}
	case r.Active():
		return store.AlarmState{Open: &store.OpenAlarm{Origin: originOf(r), Fingerprint: r.Fingerprint, Starts: r.Raised.UnixMilli(), ID: r.ID}}
	default:
		return store.AlarmState{Cleared: r.Cleared}
	}
}

// slot is one record on its way from how it was read to how it is written.
type slot struct{ before, after Record }

// batch gathers changes of one cluster's alarms that are written together. A record may
// change several times, and every time have its event.
type batch struct {
	cluster string
	index   map[uuid.UUID]int
	slots   []slot // one for each record that was read or is new
	events  []store.AlarmEvent
	size    int // bytes of the events, about
}

func newBatch(cluster string) *batch {
	return &batch{cluster: cluster, index: make(map[uuid.UUID]int)}
}

// read brings records into the batch. Those that do not exist have version 0.
func (b *batch) read(ctx context.Context, s *store.Store, ids []uuid.UUID) error {
	var missing []uuid.UUID
	for _, id := range ids {
		if _, known := b.index[id]; !known {
			b.index[id] = -1
			missing = append(missing, id)
		}
	}
	alarms, err := s.Alarms(ctx, missing)
	if err != nil {
		return err
	}
	for _, a := range alarms {
		var r Record
		if a.Version > 0 {
			if r, err = recordOf(a); err != nil {
				return err
			}
		}
		b.hold(a.ID, r)
	}
	return nil
}

func (b *batch) hold(id uuid.UUID, r Record) {
	b.index[id] = len(b.slots)
	b.slots = append(b.slots, slot{r, r})
}

// record is a record as it is after what is in the batch so far; its version is 0 when
// there is none. It must have been read.
func (b *batch) record(id uuid.UUID) Record { return b.slots[b.index[id]].after }

// put notes what becomes of a record that was read, and what is told of it.
func (b *batch) put(r Record, e Event) {
	i := b.index[r.ID]
	s := &b.slots[i]
	r.Version = s.after.Version + 1
	s.after = r
	document := encodeRecord(&r)
	b.size += len(document)
	if e.Tell {
		b.events = append(b.events, store.AlarmEvent{Write: i, Type: store.EventType(e.Type), Document: document})
	}
}

// changed tells whether there is anything to write.
func (b *batch) changed() bool { return b.size > 0 }

// write returns the change. However often a record changed, it is written once.
func (b *batch) write() store.AlarmBatch {
	out := store.AlarmBatch{Cluster: b.cluster, Events: b.events}
	place := make([]int, len(b.slots))
	for i := range b.slots {
		s := &b.slots[i]
		if s.after.Version == s.before.Version {
			continue
		}
		place[i] = len(out.Writes)
		out.Writes = append(out.Writes, store.AlarmWrite{
			ID: s.after.ID, Read: s.before.Version, Version: s.after.Version, Raised: s.after.Raised,
			Before: stateOf(&s.before), After: stateOf(&s.after), Document: encodeRecord(&s.after),
		})
	}
	// Most events show the record as it is written, which then need not be sent twice.
	for e := range out.Events {
		event := &out.Events[e]
		event.Write = place[event.Write]
		if string(event.Document) == string(out.Writes[event.Write].Document) {
			event.Document = nil
		}
	}
	return out
}

func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
