package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// tenure is the engine while it leads. What it knows of the store is read when it begins,
// and given up as a whole when it turns out to be wrong.
type tenure struct {
	store      *store.Store
	term       *store.Term
	options    Options
	client     Doer
	baseURL    string
	filterMode FilterMode
	metrics    *engineMetrics
	services   map[string]*Service
	sources    []Source
	queues     map[string]*queue

	window    *window
	saver     *saver
	announced map[string]*atomic.Uint64 // by source: version + 1, 0 for none

	group *errgroup.Group
	ctx   context.Context // ends when the tenure is to end
	hard  context.Context // ends when what is under way must be broken off, too

	mu      sync.Mutex
	workers map[uuid.UUID]*running
}

// running is a worker at work, or one that is suspended.
type running struct {
	worker *worker
	stop   context.CancelFunc // breaks off what is under way
	done   chan struct{}
}

func newTenure(ctx context.Context, e *Engine, term *store.Term) (*tenure, error) {
	newest, err := persist(ctx, "stream not read", func() (uint64, error) { return e.parts.Store.Newest(ctx) })
	if err != nil {
		return nil, err
	}
	t := &tenure{
		store: e.parts.Store, term: term, options: e.options, client: e.parts.Client, baseURL: e.parts.BaseURL,
		filterMode: FilterMode(e.options.FilterMode), metrics: e.metrics, sources: e.parts.Sources, queues: e.queues,
		services: make(map[string]*Service), announced: make(map[string]*atomic.Uint64),
		window: newWindow(e.parts.Store, e.options.WindowBytes, newest), saver: newSaver(term),
		workers: make(map[uuid.UUID]*running),
	}
	for i := range e.parts.Services {
		t.services[e.parts.Services[i].Name] = &e.parts.Services[i]
	}
	for _, source := range t.sources {
		t.announced[source.Name()] = &atomic.Uint64{}
	}
	return t, nil
}

// farewell is how long an attempt that is under way may go on, and its success be saved,
// when we are told to stop. Without it, an orderly hand-over to another replica would
// repeat a notification for every busy subscription.
const farewell = 3 * time.Second

// run leads until ctx ends or something says that we must not go on.
func (t *tenure) run(ctx context.Context) error {
	t.group, t.ctx = errgroup.WithContext(ctx)
	hard, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	t.hard = hard
	stop := context.AfterFunc(t.ctx, func() {
		if ctx.Err() == nil { // not told to stop, but wrong about something
			breakOff()
			return
		}
		if wait(hard, farewell) == nil {
			breakOff()
		}
	})
	defer stop()

	newest, _ := t.window.newest()
	saved := make(chan struct{}) // closed when the saver has ended
	var saveErr error
	go func() {
		defer close(saved)
		saveErr = t.saver.run(hard)
	}()
	t.group.Go(func() error {
		select {
		case <-saved:
			return saveErr
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	})
	t.group.Go(func() error {
		if err := t.startWorkers(t.ctx); err != nil {
			return err
		}
		return t.follow(t.ctx, newest)
	})
	t.group.Go(func() error { return t.announce(t.ctx) })
	t.group.Go(func() error { return t.retain(t.ctx) })
	err := t.group.Wait()
	breakOff()
	<-saved
	for _, q := range t.queues {
		q.record(false)
	}
	return err
}

// startWorkers starts a worker for every subscription there is. Those made from now on are
// in the stream.
func (t *tenure) startWorkers(ctx context.Context) error {
	subs, err := persist(ctx, "subscriptions not read", func() ([]store.Subscription, error) { return t.store.Subscriptions(ctx, "") })
	if err != nil {
		return err
	}
	ids := make([]uuid.UUID, len(subs))
	for i := range subs {
		ids[i] = subs[i].ID
	}
	progress, err := persist(ctx, "cursors not read", func() (map[uuid.UUID]store.Progress, error) { return t.store.ProgressOf(ctx, ids...) })
	if err != nil {
		return err
	}
	for _, sub := range subs {
		if p, found := progress[sub.ID]; found {
			t.start(sub, p)
		}
	}
	slog.InfoContext(ctx, "delivery of notifications begins", "subscriptions", len(progress))
	return nil
}

// start lets a worker go on from where its subscription stands.
func (t *tenure) start(sub store.Subscription, p store.Progress) {
	service, known := t.services[sub.Service]
	if !known {
		slog.Warn("subscription of a service that is not served here", "subscriptionId", sub.ID, "service", sub.Service)
		return
	}
	w := &worker{tenure: t, sub: sub, service: service, status: p.Status, cursor: p.Cursor, told: p.Delivered}
	var err error
	if w.wants, err = service.wants(&sub, t.filterMode); err != nil {
		// It was accepted once, so we have become stricter. Too much is better than nothing.
		slog.Error("filter of a subscription cannot be understood any more and is ignored", "subscriptionId", sub.ID, "error", err)
	}
	ctx, stopSoon := context.WithCancel(t.ctx)
	hard, stopNow := context.WithCancel(t.hard)
	w.hard = hard
	stop := func() { stopSoon(); stopNow() }
	r := &running{worker: w, stop: stop, done: make(chan struct{})}
	t.mu.Lock()
	t.workers[sub.ID] = r
	t.mu.Unlock()
	t.group.Go(func() error {
		defer close(r.done)
		defer stop()
		err := w.run(ctx)
		if errors.Is(err, context.Canceled) && t.ctx.Err() == nil {
			return nil // stopped alone
		}
		if err != nil {
			return fmt.Errorf("subscription %s: %w", sub.ID, err)
		}
		return nil
	})
}

// restart makes the worker of one subscription go by what is stored of it now: it may be
// new, have been resumed, or be gone.
func (t *tenure) restart(ctx context.Context, id uuid.UUID) error {
	t.mu.Lock()
	old := t.workers[id]
	delete(t.workers, id)
	t.mu.Unlock()
	if old != nil {
		old.stop()
		<-old.done
	}
	sub, err := persist(ctx, "subscription not read", func() (store.Subscription, error) { return t.store.Subscription(ctx, id) })
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	progress, err := persist(ctx, "cursor not read", func() (map[uuid.UUID]store.Progress, error) { return t.store.ProgressOf(ctx, id) })
	if err != nil {
		return err
	}
	if p, found := progress[id]; found {
		t.start(sub, p)
	}
	return nil
}

// Each read of the stream takes at most followLimit events and waits at most
// followPatience for the first.
const (
	followLimit    = 256
	followPatience = time.Second
)

// follow brings new events into the window. With a store that is durable only after a
// delay it holds them back for so long: what a consumer hears of must not be lost again.
func (t *tenure) follow(ctx context.Context, after uint64) error {
	released := make(chan release, 1024)
	t.group.Go(func() error { return t.releaseDurable(ctx, released) })
	for {
		events, err := persist(ctx, "stream not followed", func() ([]store.Event, error) {
			return t.store.AwaitEvents(ctx, after, followLimit, followPatience)
		})
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(events) == 0 {
			continue
		}
		after = events[len(events)-1].Seq
		if err := t.heed(ctx, events); err != nil {
			return err
		}
		t.window.add(events)
		select {
		case released <- release{after, time.Now().Add(t.store.Durability(ctx).Delay())}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release is when events up to tail may be delivered.
type release struct {
	tail uint64
	at   time.Time
}

func (t *tenure) releaseDurable(ctx context.Context, releases <-chan release) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-releases:
			if d := time.Until(r.at); d > 0 {
				if err := wait(ctx, d); err != nil {
					return err
				}
			}
			t.window.advance(r.tail)
		}
	}
}

// heed acts on what the stream says about subscriptions.
func (t *tenure) heed(ctx context.Context, events []store.Event) error {
	for _, e := range events {
		if e.Type != store.SubscriptionChanged && e.Type != store.SubscriptionDeleted {
			continue
		}
		id, err := uuid.Parse(e.ID)
		if err != nil {
			continue // nothing of ours
		}
		if err := t.restart(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// retainInterval is how often events are trimmed.
const retainInterval = 5 * time.Second

// retain removes events that everybody has got, and those that retention ends for.
func (t *tenure) retain(ctx context.Context) error {
	ticker := time.NewTicker(retainInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		_, err := persist(ctx, "events not trimmed", func() (int64, error) { return t.trim(ctx) })
		if err != nil {
			return err
		}
	}
}

func (t *tenure) trim(ctx context.Context) (int64, error) {
	state, err := t.store.Stream(ctx)
	if err != nil || state.First == nil {
		return 0, err
	}
	needed, err := t.lowestCursor(ctx)
	if err != nil {
		return 0, err
	}
	keepFrom := needed + 1
	if surplus := state.Length - int64(t.options.RetainEvents); surplus > 0 {
		keepFrom = max(keepFrom, state.First.Seq+uint64(surplus))
	}
	expired, err := t.expired(ctx, *state.First, state.Newest)
	if err != nil {
		return 0, err
	}
	keepFrom = max(keepFrom, expired)
	if keepFrom <= state.First.Seq {
		return 0, nil
	}
	return t.term.Trim(ctx, keepFrom)
}

// lowestCursor is up to where every subscription has got, as it is stored. What is in
// memory may be ahead of it, and would be lost with us.
func (t *tenure) lowestCursor(ctx context.Context) (uint64, error) {
	// Taken before the subscriptions are read: one that is made after that begins later.
	lowest, _ := t.window.newest()
	subs, err := t.store.Subscriptions(ctx, "")
	if err != nil {
		return 0, err
	}
	ids := make([]uuid.UUID, len(subs))
	for i := range subs {
		ids[i] = subs[i].ID
	}
	progress, err := t.store.ProgressOf(ctx, ids...)
	if err != nil {
		return 0, err
	}
	for _, p := range progress {
		lowest = min(lowest, p.Cursor)
	}
	return lowest, nil
}

// expired returns the sequence of the first event that is not older than retention
// allows. It halves the range between the oldest and the newest event.
func (t *tenure) expired(ctx context.Context, first store.Event, newest uint64) (uint64, error) {
	before := time.Now().Add(-t.options.RetainFor)
	if !first.Time.Before(before) {
		return 0, nil
	}
	low, high := first.Seq, newest+1 // low is expired; high is not, or is beyond the newest
	for high-low > 1 {
		middle := low + (high-low)/2
		events, err := t.store.Events(ctx, middle, 1)
		if err != nil {
			return 0, err
		}
		if len(events) > 0 && events[0].Time.Before(before) {
			low = middle
		} else {
			high = middle
		}
	}
	return high, nil
}
