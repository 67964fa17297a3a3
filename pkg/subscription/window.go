package subscription

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"github.com/o2ims/o2ims/pkg/store"
)

// window is the part of the stream that is in memory, shared by all workers. Recent
// events enter as they are announced; older ones are read in blocks when a worker that
// lags needs one, and leave when the memory is needed for others.
type window struct {
	store  *store.Store
	budget int

	mu      sync.Mutex
	events  map[uint64]*list.Element // of *event, the latest use in front
	order   *list.List
	bytes   int
	loading map[uint64]*load // by first sequence of the block
	tail    uint64           // newest event that may be delivered
	moved   chan struct{}    // closed when tail moves
}

// load is one read that several workers may wait for.
type load struct {
	done   chan struct{}
	events map[uint64]*event
	first  uint64 // of the events that were there, 0 for none
	err    error
}

// trimmedError says that an event is gone by retention.
type trimmedError struct{ next uint64 } // the oldest event that is kept

func (e trimmedError) Error() string { return fmt.Sprintf("events before %d are gone", e.next) }

const blockSize = 32

func newWindow(s *store.Store, budget int, tail uint64) *window {
	return &window{
		store: s, budget: budget, tail: tail,
		events: make(map[uint64]*list.Element), order: list.New(),
		loading: make(map[uint64]*load), moved: make(chan struct{}),
	}
}

// newest returns the sequence of the newest event that may be delivered, and what is
// closed when there is a newer one.
func (w *window) newest() (uint64, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tail, w.moved
}

// add takes events that were just announced.
func (w *window) add(events []store.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		w.keep(newEvent(e, w.store.ID()))
	}
}

// advance lets workers see everything up to tail.
func (w *window) advance(tail uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if tail <= w.tail {
		return
	}
	w.tail = tail
	close(w.moved)
	w.moved = make(chan struct{})
}

// keep makes room for an event.
func (w *window) keep(e *event) {
	if _, known := w.events[e.Seq]; known {
		return
	}
	w.events[e.Seq] = w.order.PushFront(e)
	w.bytes += e.cost()
	for w.bytes > w.budget && w.order.Len() > 1 {
		last := w.order.Back()
		old := w.order.Remove(last).(*event)
		delete(w.events, old.Seq)
		w.bytes -= old.cost()
	}
}

// at returns an event that is not newer than newest. The error is a trimmedError when it
// is gone, store.ErrRewound when the store has lost it, or wraps fault.Unavailable.
func (w *window) at(ctx context.Context, seq uint64) (*event, error) {
	for {
		w.mu.Lock()
		if element, known := w.events[seq]; known {
			w.order.MoveToFront(element)
			w.mu.Unlock()
			return element.Value.(*event), nil
		}
		first := (seq-1)/blockSize*blockSize + 1
		l, underway := w.loading[first]
		if !underway {
			l = &load{done: make(chan struct{})}
			w.loading[first] = l
		}
		w.mu.Unlock()
		if !underway {
			w.load(ctx, first, l)
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if e, found := l.events[seq]; found {
			return e, nil
		}
		if underway { // it may have begun before the event was there, or its reader was stopped
			continue
		}
		if l.err != nil {
			return nil, l.err
		}
		return nil, w.missing(ctx, seq, l)
	}
}

func (w *window) load(ctx context.Context, first uint64, l *load) {
	defer close(l.done)
	events, err := w.store.Events(ctx, first, blockSize)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.loading, first)
	if err != nil {
		l.err = err
		return
	}
	l.events = make(map[uint64]*event, len(events))
	for i, e := range events {
		shared := newEvent(e, w.store.ID())
		l.events[e.Seq] = shared
		w.keep(shared)
		if i == 0 {
			l.first = e.Seq
		}
	}
}

// missing says why an event is not in the stream, of which l was read just now.
func (w *window) missing(ctx context.Context, seq uint64, l *load) error {
	newest, err := w.store.Newest(ctx)
	switch {
	case err != nil:
		return err
	case newest < seq:
		return store.ErrRewound
	case l.first == 0:
		return trimmedError{newest + 1}
	case l.first > seq:
		return trimmedError{l.first}
	default: // somebody removed it by hand
		return trimmedError{seq + 1}
	}
}
