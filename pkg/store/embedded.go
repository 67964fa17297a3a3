package store

import (
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// embedded is a Redis in this process. It forgets everything when it ends.
type embedded struct {
	server *miniredis.Miniredis
	done   chan struct{}
	once   sync.Once
}

func startEmbedded() (*embedded, error) {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("embedded redis: %w", err)
	}
	e := &embedded{server: server, done: make(chan struct{})}
	go e.tick()
	return e, nil
}

// tick lets time pass in it, which it does not by itself. The time is that of the
// monotonic clock, so a jump of the wall clock expires nothing.
func (e *embedded) tick() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-e.done:
			return
		case now := <-ticker.C:
			e.server.FastForward(now.Sub(last))
			last = now
		}
	}
}

func (e *embedded) stop() {
	e.once.Do(func() {
		close(e.done)
		e.server.Close()
	})
}
