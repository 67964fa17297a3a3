package child

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Thread is an operating system thread that starts processes, which end with it. The kernel
// sends a child's death signal when the *thread* that started it ends, and Go ends threads
// as it likes: so one thread lives as long as its children may.
type Thread struct {
	starts chan func()
	closed chan struct{}
	once   sync.Once
}

// ErrClosed means that a thread has ended.
var ErrClosed = errors.New("the thread that starts processes has ended")

// NewThread returns a thread that lives until Close, or as long as this process.
func NewThread() *Thread {
	t := &Thread{starts: make(chan func()), closed: make(chan struct{})}
	go onOwnThread(t.serve)
	return t
}

func (t *Thread) serve() {
	for {
		select {
		case start := <-t.starts:
			start()
		case <-t.closed:
			return
		}
	}
}

// onOwnThread runs f on a thread that ends with it. The process's main thread would not:
// Go parks it instead, and whatever it started would live on.
func onOwnThread(f func()) {
	runtime.LockOSThread() // and never unlock: an ending goroutine takes its thread along
	if syscall.Gettid() != os.Getpid() {
		f()
		return
	}
	taken := make(chan struct{})
	go func() {
		runtime.LockOSThread() // another thread, as long as we hold the main one
		close(taken)
		f()
	}()
	<-taken
	runtime.UnlockOSThread()
}

// Start starts a process that is killed when the thread ends, and is in a group of its own:
// a Ctrl-C reaches us, and we stop our children in order. The caller waits for its end.
func (t *Thread) Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	result := make(chan error, 1)
	select {
	case t.starts <- func() { result <- cmd.Start() }:
		return <-result
	case <-t.closed:
		return ErrClosed
	}
}

// Close ends the thread, and with it every child that still lives. It is safe to call twice.
func (t *Thread) Close() { t.once.Do(func() { close(t.closed) }) }
