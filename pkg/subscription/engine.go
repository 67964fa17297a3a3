package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// Doer calls a consumer. That of pkg/smo checks where a call goes.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Parts are what an engine works with.
type Parts struct {
	Store    *store.Store
	Client   Doer
	Services []Service
	Sources  []Source

	// BaseURL is https://host[:port] by which consumers reach us, so that an objectRef
	// resolves.
	BaseURL string

	Registerer prometheus.Registerer // nil: no metrics
}

// Engine announces what changes and delivers it, on the replica that leads.
type Engine struct {
	options Options
	parts   Parts
	metrics *engineMetrics
	queues  map[string]*queue // by source
	now     atomic.Pointer[tenure]
}

// New returns an engine that does nothing until Run.
func New(o Options, p Parts) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	p.BaseURL = strings.TrimSuffix(p.BaseURL, "/")
	e := &Engine{options: o, parts: p, queues: make(map[string]*queue)}
	for _, source := range p.Sources {
		name := source.Name()
		if !slices.ContainsFunc(p.Services, func(s Service) bool { return s.Name == name }) {
			return nil, fmt.Errorf("source %q belongs to no service: %w", name, fault.Invalid)
		}
		e.queues[name] = newQueue()
	}
	e.metrics = newEngineMetrics(e, p.Registerer)
	return e, nil
}

// Changed hands over the objects of a source that are different in a version of its model,
// in order. Versions ascend. It returns at once and must be called on every replica: where
// nobody leads it does nothing, since a new leader compares everything.
func (e *Engine) Changed(source string, version uint64, objects ...Object) {
	if q, known := e.queues[source]; known {
		q.put(version, objects)
	}
}

// Announced returns the version of a source's model up to which everything has been
// announced in this term, and false when we do not lead or have not got there.
func (e *Engine) Announced(source string) (uint64, bool) {
	t := e.now.Load()
	if t == nil {
		return 0, false
	}
	version, known := t.announced[source]
	if !known || version.Load() == 0 {
		return 0, false
	}
	return version.Load() - 1, true
}

// Term returns the term in which we lead now, in which others may write what only the
// leader may; nil when we do not lead. One that has ended refuses to write.
func (e *Engine) Term() *store.Term {
	if t := e.now.Load(); t != nil {
		return t.term
	}
	return nil
}

// restartPause is how long to wait before a new term after one that broke off.
const restartPause = time.Second

// Run leads until ctx ends: call it where a Lease is held. It returns an error that wraps
// store.ErrFenced when another process has begun to lead meanwhile. Whatever else goes
// wrong ends a term of the engine, and another begins from what is stored.
func (e *Engine) Run(ctx context.Context) error {
	for {
		err := e.lead(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, store.ErrFenced), errors.Is(err, fault.Conflict) && !errors.Is(err, store.ErrRewound):
			return fmt.Errorf("delivery of notifications: %w", err)
		}
		slog.ErrorContext(ctx, "delivery of notifications begins anew", "error", err)
		e.metrics.restarts.Inc()
		if err := wait(ctx, restartPause); err != nil {
			return nil
		}
	}
}

// lead is one term.
func (e *Engine) lead(ctx context.Context) error {
	_, err := persist(ctx, "Redis not ready", func() (struct{}, error) { return struct{}{}, e.parts.Store.Prepare(ctx) })
	if err != nil {
		return err
	}
	term, err := persist(ctx, "term not begun", func() (*store.Term, error) { return e.parts.Store.Lead(ctx) })
	if err != nil {
		return err
	}
	t, err := newTenure(ctx, e, term)
	if err != nil {
		return err
	}
	e.now.Store(t)
	defer e.now.Store(nil)
	return t.run(ctx)
}
