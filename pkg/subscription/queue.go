package subscription

import "sync"

// queue holds what a model handed over until it is announced. A model never waits for the
// store: beyond longest, only the last state of each object is kept.
type queue struct {
	mu        sync.Mutex
	recording bool
	entries   []queued
	version   uint64 // of the last entry ever
	coalesced uint64 // entries that a later state replaced
	crowded   int    // entries beyond which they are coalesced
	wake      chan struct{}
}

// queued is one object of one version of the model.
type queued struct {
	object  Object
	version uint64
}

// longest is beyond any burst that a store in good order cannot follow.
const longest = 20_000

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1), crowded: longest} }

// record begins to keep what is put, and forgets what was.
func (q *queue) record(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.recording, q.entries, q.version = on, nil, 0
}

// put takes the objects that are different in a version of the model.
func (q *queue) put(version uint64, objects []Object) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.recording {
		return
	}
	for _, o := range objects {
		q.entries = append(q.entries, queued{o, version})
	}
	q.version = version
	if len(q.entries) > q.crowded {
		q.coalesce()
	}
	select {
	case q.wake <- struct{}{}:
	default: // it is awake
	}
}

// coalesce keeps the last state of each object, in the order of those. The next time is
// when there are twice as many entries, so that it costs little per entry.
func (q *queue) coalesce() {
	type name struct{ kind, id string }
	last := make(map[name]int, len(q.entries))
	for i, e := range q.entries {
		last[name{e.object.Kind, e.object.ID}] = i
	}
	kept := make([]queued, 0, len(last))
	for i, e := range q.entries {
		if last[name{e.object.Kind, e.object.ID}] == i {
			kept = append(kept, e)
		}
	}
	q.coalesced += uint64(len(q.entries) - len(kept))
	q.entries = kept
	q.crowded = max(longest, 2*len(kept))
}

// take returns up to limit entries in order and the version up to which nothing else is
// waiting, which is that of the model when there are no more.
func (q *queue) take(limit int) (entries []queued, version uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(limit, len(q.entries))
	entries = append(entries, q.entries[:n]...)
	clear(q.entries[:n]) // lets go of what the closures hold
	q.entries = q.entries[n:]
	if len(q.entries) == 0 {
		q.entries = nil
		return entries, q.version
	}
	return entries, q.entries[0].version - 1
}

func (q *queue) length() (waiting int, coalesced uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries), q.coalesced
}
