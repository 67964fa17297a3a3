package alarms

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"
)

// chaos does harm.
type chaos struct {
	w      *world
	random *rand.Rand
	long   bool // there is time for what takes long

	slow sync.WaitGroup // harm that goes on while other harm is done

	mu     sync.Mutex
	counts map[string]int
	faults []string
}

type harm struct {
	name string
	do   func(context.Context)
	slow bool // only where there is time
}

func (c *chaos) harms() []harm {
	w := c.w
	return []harm{
		{"manager killed", func(context.Context) { c.anyOf(w.replicas).kill() }, false},
		{"all managers killed", c.killManagers, false},
		{"manager frozen", func(ctx context.Context) { c.freeze(ctx, c.anyOf(w.replicas)) }, false},
		{"agent killed", c.killAgent, false},
		{"agent killed", c.killAgent, false},
		{"agent frozen and replaced", c.replaceAgent, false},
		{"redis killed", c.killRedis, false},
		{"redis hung", c.hangRedis, false},
		{"redis and managers killed", func(ctx context.Context) { w.redis.Kill(); c.killManagers(ctx); c.restartRedis(ctx) }, false},
		{"link to redis cut", func(ctx context.Context) { c.sever(ctx, w.managersToRedis) }, false},
		{"link managers-hub cut", func(ctx context.Context) { c.sever(ctx, w.managersToHub) }, false},
		{"link agents-hub cut", func(ctx context.Context) { c.sever(ctx, w.agentsToHub) }, false},
		{"link agents-hub hung", func(ctx context.Context) { c.hang(ctx, w.agentsToHub) }, false},
		{"link agents-spoke cut", func(ctx context.Context) { c.sever(ctx, w.agentsToSpoke) }, false},
		{"link agents-spoke hung", func(ctx context.Context) { c.hang(ctx, w.agentsToSpoke) }, false},
		{"SMO restarted", c.restartSMO, false},
		{"apiserver killed", c.killAPIServer, true},
	}
}

// run does harm until ctx ends, then makes good.
func (c *chaos) run(ctx context.Context) {
	harms := c.harms()
	for wait(ctx, time.Duration(50+c.random.IntN(700))*time.Millisecond) == nil {
		h := harms[c.random.IntN(len(harms))]
		if h.slow && !c.long {
			continue
		}
		c.count(h.name)
		h.do(context.WithoutCancel(ctx))
	}
	c.slow.Wait()
}

func (c *chaos) anyOf(units []*unit) *unit { return units[c.random.IntN(len(units))] }

// while waits for up to most.
func (c *chaos) while(ctx context.Context, most time.Duration) {
	_ = wait(ctx, time.Duration(c.random.Int64N(int64(most)))) // never ends early
}

func (c *chaos) killManagers(context.Context) {
	for _, m := range c.w.replicas {
		m.kill()
	}
}

func (c *chaos) killAgent(context.Context) { c.w.agent(c.random.IntN(clusters)).kill() }

// freeze stops a process for so long that another may take over, and lets it go on. It has
// to find out.
func (c *chaos) freeze(ctx context.Context, u *unit) {
	long := leaseDuration + time.Duration(c.random.Int64N(int64(leaseDuration)))
	u.signal(syscall.SIGSTOP)
	c.slow.Go(func() {
		_ = wait(ctx, long) // never ends early
		u.signal(syscall.SIGCONT)
	})
}

// replaceAgent freezes an agent, starts another, which takes over, and lets the first go
// on, while alerts are sent to both. It has to end.
func (c *chaos) replaceAgent(ctx context.Context) {
	i := c.random.IntN(clusters)
	long := leaseDuration + time.Duration(c.random.Int64N(int64(2*leaseDuration)))
	old, err := c.w.succeed(i)
	if err != nil {
		c.fault("agent: %v", err)
		return
	}
	if old == nil { // somebody does that already
		return
	}
	successor := c.w.agent(i)
	c.slow.Go(func() {
		_ = wait(ctx, long) // never ends early
		mustEnd := old.log.journals() && successor.log.journals()
		old.signal(syscall.SIGCONT)
		patience := leaseDuration
		if mustEnd {
			patience = 20 * time.Second
		}
		select {
		case <-old.gone:
		case <-time.After(patience):
			if mustEnd {
				c.fault("%s goes on though another took over", old.name)
			}
			old.kill() // one of the two did not get as far as leading
			<-old.gone
		}
		c.w.spokes[i].closeFirstDoor()
	})
}

func (c *chaos) killRedis(ctx context.Context) {
	c.w.redis.Kill()
	c.restartRedis(ctx)
}

func (c *chaos) restartRedis(ctx context.Context) {
	c.while(ctx, 700*time.Millisecond)
	if err := c.w.redis.Restart(ctx); err != nil {
		c.fault("redis: %v", err)
	}
}

func (c *chaos) hangRedis(ctx context.Context) {
	_ = c.w.redis.Signal(syscall.SIGSTOP)
	c.while(ctx, 1800*time.Millisecond)
	_ = c.w.redis.Signal(syscall.SIGCONT)
}

func (c *chaos) sever(ctx context.Context, l *link) {
	l.sever()
	c.while(ctx, 1500*time.Millisecond)
	l.heal()
}

func (c *chaos) hang(ctx context.Context, l *link) {
	l.hang()
	c.while(ctx, 1500*time.Millisecond)
	if c.random.IntN(2) == 0 {
		l.sever() // what was on its way is lost
		c.while(ctx, 100*time.Millisecond)
	}
	l.heal()
}

func (c *chaos) restartSMO(ctx context.Context) {
	s := c.w.smos[c.random.IntN(len(c.w.smos))]
	if s == c.w.smos[dead] {
		return
	}
	s.down()
	c.while(ctx, time.Second)
	if err := s.up(); err != nil {
		c.fault("%v", err)
	}
}

func (c *chaos) killAPIServer(ctx context.Context) {
	_ = c.w.env.Hub.StopAPIServer(ctx) // never fails
	c.while(ctx, 2*time.Second)
	if err := c.w.env.Hub.StartAPIServer(ctx); err != nil {
		c.fault("apiserver: %v", err)
	}
}

func (c *chaos) count(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[name]++
}

func (c *chaos) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

func (c *chaos) interruptions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.counts {
		n += k
	}
	return n
}

func (c *chaos) tally() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Trim(fmt.Sprint(c.counts), "map[]")
}
