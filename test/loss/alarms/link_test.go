package alarms

import (
	"net"
	"sync"
	"testing"
	"time"
)

// link carries connections to a server, and can fail on the way.
type link struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	cond   sync.Cond
	cut    bool // nothing comes through, and connections are reset
	hung   bool // nothing comes through, and nobody is told
	opened map[net.Conn]bool
}

func newLink(t testing.TB, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, target: target, opened: make(map[net.Conn]bool)}
	l.cond.L = &l.mu
	go l.accept()
	t.Cleanup(func() {
		listener.Close()
		l.sever()
		l.heal()
	})
	return l
}

func (l *link) address() string { return l.listener.Addr().String() }

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.carry(near)
	}
}

func (l *link) carry(near net.Conn) {
	if !l.enter(near) {
		reset(near)
		return
	}
	defer l.leave(near)
	far, err := net.DialTimeout("tcp", l.target, 5*time.Second)
	if err != nil {
		reset(near)
		return
	}
	if !l.enter(far) {
		reset(near)
		reset(far)
		return
	}
	defer l.leave(far)
	var both sync.WaitGroup
	both.Go(func() { l.pump(far, near) })
	both.Go(func() { l.pump(near, far) })
	both.Wait()
}

func (l *link) enter(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	l.opened[c] = true
	return true
}

func (l *link) leave(c net.Conn) {
	l.mu.Lock()
	delete(l.opened, c)
	l.mu.Unlock()
	c.Close()
}

// pump copies until one of the two ends. What has been read when the link is cut is lost.
func (l *link) pump(to, from net.Conn) {
	defer reset(to)
	defer reset(from)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !l.pass() {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while the link hangs, and tells whether it is there.
func (l *link) pass() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.hung && !l.cut {
		l.cond.Wait()
	}
	return !l.cut
}

// sever cuts the link.
func (l *link) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.opened {
		reset(c)
	}
	l.cond.Broadcast()
}

// hang lets nothing through.
func (l *link) hang() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hung = true
}

func (l *link) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.hung = false, false
	l.cond.Broadcast()
}

// reset closes a connection so that the other side hears of it at once.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}
