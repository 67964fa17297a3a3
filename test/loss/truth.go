package loss

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Change is one thing that the generator did. It is what must be announced, no more and
// no less.
type Change struct {
	Number int    // from 1
	Kind   string // objectType
	Object string
	Type   int // notificationEventType
	Prior  int // number of the change that made the state before; 0 when there was none
}

// truth is the world that replicas observe: objects, each with the number of the change
// that made it what it is. Replicas follow it over HTTP, as a hub follows managed clusters.
type truth struct {
	mu      sync.Mutex
	version uint64
	objects map[string]object // by name; those that are gone stay, with Number 0
	moved   chan struct{}
	journal []Change
}

// object is one object as replicas see it.
type object struct {
	Kind    string
	Name    string
	Number  int // of the change that made it so; 0: it is gone
	Version uint64
}

// state is the answer to a replica.
type state struct {
	Version uint64
	Objects []object
}

func newTruth() *truth { return &truth{objects: make(map[string]object), moved: make(chan struct{})} }

// apply makes the next change to an object: creation, then modifications, now and then a
// deletion.
func (t *truth) apply(kind, name string, remove bool) Change {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.objects[name]
	c := Change{Number: len(t.journal) + 1, Kind: kind, Object: name, Prior: before.Number}
	t.version++
	after := object{Kind: kind, Name: name, Number: c.Number, Version: t.version}
	switch {
	case before.Number == 0:
		c.Type = 0
	case remove:
		c.Type, after.Number = 2, 0
	default:
		c.Type = 1
	}
	t.objects[name] = after
	t.journal = append(t.journal, c)
	close(t.moved)
	t.moved = make(chan struct{})
	return c
}

func (t *truth) changes() []Change {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Change(nil), t.journal...)
}

// ServeHTTP answers with what changed after a version. It waits a while for something to.
func (t *truth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64) // 0 is everything
	t.mu.Lock()
	version, moved := t.version, t.moved
	t.mu.Unlock()
	if version <= after {
		timer := time.NewTimer(time.Second)
		defer timer.Stop()
		select {
		case <-moved:
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	t.mu.Lock()
	answer := state{Version: t.version}
	for _, o := range t.objects {
		if o.Version > after {
			answer.Objects = append(answer.Objects, o)
		}
	}
	t.mu.Unlock()
	_ = json.NewEncoder(w).Encode(answer) // the replica may be dead; it asks again
}

// generator makes changes. It changes an object again only when the change before has
// been seen by a subscriber, since a hub that was down reports only the last of several.
type generator struct {
	truth   *truth
	random  *rand.Rand
	objects int
	pause   time.Duration // between two changes, on average
	seen    func(Change) bool
}

// kindOf makes every fourth object a pool.
func kindOf(i int) string {
	if i%4 == 0 {
		return "ResourcePoolInfo"
	}
	return "ResourceInfo"
}

func (g *generator) run(ctx context.Context, changes int) error {
	under := make(map[int]Change) // by object: the change that nobody has seen yet
	for n := 0; n < changes; {
		i := g.random.IntN(g.objects)
		if c, waiting := under[i]; waiting {
			if g.seen(c) {
				delete(under, i)
			} else if len(under) == g.objects {
				if err := wait(ctx, time.Millisecond); err != nil {
					return fmt.Errorf("after %d changes: %w", n, err)
				}
				continue
			} else {
				continue
			}
		}
		under[i] = g.truth.apply(kindOf(i), fmt.Sprintf("object-%03d", i), g.random.IntN(8) == 0)
		n++
		if err := wait(ctx, time.Duration(g.random.ExpFloat64()*float64(g.pause))); err != nil {
			return fmt.Errorf("after %d changes: %w", n, err)
		}
	}
	return nil
}

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
