package smo

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const callers = 8

// load is callers that call all the time, none of whom may fail.
type load struct {
	t      *testing.T
	client *Client
	target func() string
	body   string
	status int // wanted

	mu   sync.Mutex
	some *sync.Cond
	done int
	err  error
}

func newLoad(t *testing.T, c *Client, target func() string) *load {
	l := &load{t: t, client: c, target: target, body: "notification", status: http.StatusOK}
	l.some = sync.NewCond(&l.mu)
	return l
}

// begin calls until the test ends.
func (l *load) begin() {
	ctx, cancel := context.WithCancel(l.t.Context())
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				l.note(ctx, l.call(ctx))
			}
		})
	}
	l.t.Cleanup(func() { cancel(); all.Wait() })
}

func (l *load) call(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.target(), strings.NewReader(l.body))
	if err != nil {
		return err
	}
	response, err := l.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != l.status {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

func (l *load) note(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.some.Broadcast()
	switch {
	case err == nil:
		l.done++
	case ctx.Err() == nil && l.err == nil:
		l.err = err
	}
}

// goesOn returns when calls that began after now have succeeded, and fails when any failed.
func (l *load) goesOn(phase string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for want := l.done + 4*callers; l.done < want && l.err == nil; {
		l.some.Wait()
	}
	if l.err != nil {
		l.t.Fatalf("%s: a call failed: %v", phase, l.err)
	}
}

// until waits for a condition that nobody signals.
func until(t *testing.T, met func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !met(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it does not come about")
		}
	}
}

func configure(t *testing.T, c *Client, s Settings) {
	t.Helper()
	if err := c.Configure(s); err != nil {
		t.Fatal(err)
	}
}
