package subscription

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// saver writes the steps of all workers. While one write is under way, further steps
// gather and go together in the next: a thousand workers that step at once cost a few
// scripts, each with one wait for the disk.
type saver struct {
	term *store.Term

	mu      sync.Mutex
	pending []*saving
	wake    chan struct{}
}

// saving is a step on its way.
type saving struct {
	step store.Step
	done chan error // nil, errDeleted, or why the term ends
}

// errDeleted means that the subscription does not exist any more.
var errDeleted = errors.New("the subscription was deleted")

func newSaver(t *store.Term) *saver { return &saver{term: t, wake: make(chan struct{}, 1)} }

// save returns when the step is stored. However long the store is not to be had, it is
// tried again; an error ends the worker.
func (s *saver) save(ctx context.Context, step store.Step) error {
	waiting := &saving{step: step, done: make(chan error, 1)}
	s.mu.Lock()
	s.pending = append(s.pending, waiting)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
	select {
	case err := <-waiting.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes until ctx ends or the term does.
func (s *saver) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		}
		s.mu.Lock()
		batch := s.pending
		s.pending = nil
		s.mu.Unlock()
		if err := s.write(ctx, batch); err != nil {
			return err
		}
	}
}

func (s *saver) write(ctx context.Context, batch []*saving) error {
	steps := make([]store.Step, len(batch))
	for i, waiting := range batch {
		steps[i] = waiting.step
	}
	gone, err := persist(ctx, "cursors not saved", func() ([]uuid.UUID, error) { return s.term.Move(ctx, steps) })
	if err != nil {
		return err
	}
	deleted := make(map[uuid.UUID]bool, len(gone))
	for _, id := range gone {
		deleted[id] = true
	}
	for _, waiting := range batch {
		if deleted[waiting.step.ID] {
			waiting.done <- errDeleted
		} else {
			waiting.done <- nil
		}
	}
	return nil
}

// storePause is how long to wait before the store is asked again.
const storePause = 200 * time.Millisecond

// persist calls try until it succeeds or fails for another reason than that the store is
// not to be had at the moment. It says so once.
func persist[T any](ctx context.Context, complaint string, try func() (T, error)) (T, error) {
	for attempt := 0; ; attempt++ {
		result, err := try()
		if err == nil || !errors.Is(err, fault.Unavailable) {
			if err == nil && attempt > 0 {
				slog.InfoContext(ctx, "Redis is back", "after", complaint)
			}
			return result, err
		}
		if attempt == 0 {
			slog.WarnContext(ctx, complaint, "error", err)
		}
		if err := wait(ctx, storePause); err != nil {
			return result, err
		}
	}
}

// wait returns after d, or earlier with an error when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
