package subscription

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/o2ims/o2ims/pkg/store"
)

// announcer announces the objects of one source. It remembers the digest of whatever is
// announced, so that what did not change costs the store nothing.
type announcer struct {
	tenure  *tenure
	source  Source
	queue   *queue
	digests map[string]store.Digest // by kind/id
	version uint64                  // of the model, up to which everything has been announced
}

// batchChanges is how many objects are announced at once.
const batchChanges = 256

// checkInterval is how soon an idle leader notices that it was fenced, or that the store
// lost something.
const checkInterval = 2 * time.Second

// announce announces what every source holds and then what changes, one source after the
// other: the store adds events of one writer only.
func (t *tenure) announce(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	announcers := make([]*announcer, len(t.sources))
	for i, source := range t.sources {
		a := &announcer{tenure: t, source: source, queue: t.queues[source.Name()]}
		if err := a.begin(ctx); err != nil {
			return err
		}
		announcers[i] = a
		t.group.Go(func() error { return forward(ctx, a.queue.wake, wake) })
	}
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		for _, a := range announcers {
			if err := a.drain(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-ticker.C:
			_, err := persist(ctx, "term not checked", func() (struct{}, error) { return struct{}{}, t.term.Check(ctx) })
			if err != nil {
				return err
			}
		}
	}
}

func forward(ctx context.Context, from <-chan struct{}, to chan<- struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-from:
		}
		select {
		case to <- struct{}{}:
		default: // it is awake
		}
	}
}

// begin announces how the model differs from what was announced last, by us or by another
// leader before.
func (a *announcer) begin(ctx context.Context) error {
	name := a.source.Name()
	digests, err := persist(ctx, "what was announced is not known", func() (map[string]store.Digest, error) {
		return a.tenure.store.Digests(ctx, name)
	})
	if err != nil {
		return err
	}
	a.digests = digests
	a.queue.record(true) // before the model is read, so that nothing falls between
	version, objects, err := a.source.Objects(ctx)
	if err != nil {
		return fmt.Errorf("source %s: %w", name, err)
	}
	gone := make(map[string]struct{}, len(digests))
	for object := range digests {
		gone[object] = struct{}{}
	}
	total := 0
	batch := make([]store.Change, 0, batchChanges)
	flush := func() error {
		n, err := a.flush(ctx, batch)
		total += n
		batch = batch[:0]
		return err
	}
	for object := range objects {
		delete(gone, object.Kind+"/"+object.ID)
		c := a.change(object)
		if !a.differs(c) {
			continue
		}
		if batch = append(batch, c); len(batch) == batchChanges {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	names := make([]string, 0, len(gone))
	for object := range gone {
		names = append(names, object)
	}
	slices.Sort(names)
	for _, object := range names {
		kind, id := store.SplitObject(object)
		if batch = append(batch, store.Change{Kind: kind, ID: id}); len(batch) == batchChanges {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	slog.InfoContext(ctx, "differences announced", "source", name, "objects", len(a.digests), "events", total)
	a.reached(version)
	return nil
}

// drain announces all that the model handed over meanwhile.
func (a *announcer) drain(ctx context.Context) error {
	for {
		entries, version := a.queue.take(batchChanges)
		changes := make([]store.Change, 0, len(entries))
		for _, e := range entries {
			if e.version <= a.version {
				continue // was part of what Objects returned
			}
			if c := a.change(e.object); a.differs(c) || pending(changes, c) {
				changes = append(changes, c)
			}
		}
		if _, err := a.flush(ctx, changes); err != nil {
			return err
		}
		a.reached(max(version, a.version))
		if len(entries) == 0 {
			return nil
		}
	}
}

// pending tells whether an object is in a batch that has not been announced: then its
// digest is not the one that the next state must differ from.
func pending(batch []store.Change, c store.Change) bool {
	return slices.ContainsFunc(batch, func(other store.Change) bool { return other.Kind == c.Kind && other.ID == c.ID })
}

func (a *announcer) change(o Object) store.Change {
	c := store.Change{Kind: o.Kind, ID: o.ID}
	if o.Render != nil {
		c.Document, c.Digest = o.Render().encode()
	}
	return c
}

// differs tells whether a state is not the one that was announced last.
func (a *announcer) differs(c store.Change) bool {
	known, found := a.digests[c.Kind+"/"+c.ID]
	if c.Document == nil {
		return found
	}
	return !found || known != c.Digest
}

// flush announces a batch, however long the store is not to be had.
func (a *announcer) flush(ctx context.Context, batch []store.Change) (int, error) {
	if len(batch) == 0 {
		return 0, nil
	}
	n, err := persist(ctx, "changes not announced", func() (int, error) {
		return a.tenure.term.Announce(ctx, a.source.Name(), batch)
	})
	if err != nil {
		return n, err
	}
	for _, c := range batch {
		if c.Document == nil {
			delete(a.digests, c.Kind+"/"+c.ID)
		} else {
			a.digests[c.Kind+"/"+c.ID] = c.Digest
		}
	}
	a.tenure.metrics.events.WithLabelValues(a.source.Name()).Add(float64(n))
	return n, nil
}

func (a *announcer) reached(version uint64) {
	a.version = version
	a.tenure.announced[a.source.Name()].Store(version + 1)
}
