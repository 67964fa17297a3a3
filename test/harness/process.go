package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// ProcessSpec says how to run a program as part of an environment.
type ProcessSpec struct {
	Name string   // unique in the environment: names the log and the scratch folder
	Path string   // of the program
	Args []string // without the program's name
	Env  []string // KEY=value, beside PATH, HOME and a TMPDIR of its own; nothing else is inherited

	// Restart starts the program again when it ends by itself after it was ready once, as a
	// kubelet does it with a container. Without it, its end is final and Done is closed.
	Restart bool

	// Ready is called until it returns nil; StartProcess returns then. Nil means ready at once.
	Ready func(context.Context) error
}

// Process is a running program that an environment looks after.
type Process struct {
	spec    ProcessSpec
	dir     string
	spawner *spawner
	ready   chan struct{} // closed when it was ready once
	stop    chan struct{} // closed to end it
	done    chan struct{} // closed when it has ended for good

	mu      sync.Mutex
	cmd     *exec.Cmd
	exitErr error
	stopped bool
}

const restartPause = time.Second

// startProcess runs a program with its output appended to dir/logs/<name>.log, and waits
// until it is ready. A program that ends before is an error with the end of its log.
func startProcess(ctx context.Context, spawner *spawner, dir string, spec ProcessSpec) (*Process, error) {
	p := &Process{
		spec: spec, dir: dir, spawner: spawner,
		ready: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := p.spawn(); err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	go p.supervise()
	if spec.Ready == nil {
		close(p.ready)
		return p, nil
	}
	err := poll(ctx, 50*time.Millisecond, func() error {
		select {
		case <-p.done:
			return final(fmt.Errorf("ended: %w", p.err()))
		default:
			return spec.Ready(ctx)
		}
	})
	if err != nil {
		p.Stop(0)
		return nil, fmt.Errorf("%s: not ready: %w\n%s", spec.Name, err, p.logTail())
	}
	close(p.ready)
	return p, nil
}

func (p *Process) spawn() error {
	scratch := filepath.Join(p.dir, "tmp", p.spec.Name)
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.LogFile()), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(p.spec.Path, p.spec.Args...)
	cmd.Dir = scratch
	cmd.Stdout, cmd.Stderr = log, log
	// Neither proxies nor kubeconfigs nor Go settings of whoever started us may leak in.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + scratch, "TMPDIR=" + scratch}, p.spec.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // Ctrl-C reaches us, and we stop the children in order
		Pdeathsig: syscall.SIGKILL, // and when we die without a chance to, so do they
	}
	if err := p.spawner.start(cmd); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd = cmd
	return nil
}

// supervise waits for the program's end, and starts it again while that is wanted.
func (p *Process) supervise() {
	defer close(p.done)
	for {
		err := p.current().Wait()
		p.mu.Lock()
		p.exitErr = err
		p.mu.Unlock()
		if !p.mayRestart() {
			return
		}
		select {
		case <-p.stop:
			return
		case <-time.After(restartPause):
		}
		if err := p.spawn(); err != nil {
			p.mu.Lock()
			p.exitErr = err
			p.mu.Unlock()
			return
		}
		// Stop may have come between the pause and the new process, and signalled the old one.
		select {
		case <-p.stop:
			p.signal(syscall.SIGKILL)
		default:
		}
	}
}

// mayRestart is false for a program that ends before it ever worked: its arguments are
// wrong, or what it needs is missing, and trying again would only hide that.
func (p *Process) mayRestart() bool {
	select {
	case <-p.ready:
		return p.spec.Restart
	default:
		return false
	}
}

// Stop ends the process: SIGTERM to its whole group, and SIGKILL after the grace period.
// It returns when the process is gone; a second call does nothing.
func (p *Process) Stop(grace time.Duration) {
	p.mu.Lock()
	if !p.stopped {
		p.stopped = true
		close(p.stop)
	}
	p.mu.Unlock()
	if grace > 0 {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
			return
		case <-time.After(grace):
		}
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// Done is closed when the process has ended and will not be started again.
func (p *Process) Done() <-chan struct{} { return p.done }

// PID is the process's current id: it changes with a restart.
func (p *Process) PID() int { return p.current().Process.Pid }

// LogFile is where the output of the process goes.
func (p *Process) LogFile() string { return filepath.Join(p.dir, "logs", p.spec.Name+".log") }

func (p *Process) signal(sig syscall.Signal) {
	select {
	case <-p.done: // its id may be somebody else's by now
	default:
		_ = syscall.Kill(-p.PID(), sig) // gone already is what we want
	}
}

func (p *Process) current() *exec.Cmd {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd
}

func (p *Process) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exitErr == nil {
		return errors.New("exit status 0")
	}
	return p.exitErr
}

// logTail is the end of the log, for an error message.
func (p *Process) logTail() string {
	const size = 2000
	f, err := os.Open(p.LogFile())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > size {
		_, _ = f.Seek(-size, io.SeekEnd)
	}
	tail, _ := io.ReadAll(f)
	return fmt.Sprintf("%s ends with:\n%s", p.LogFile(), bytes.TrimSpace(tail))
}

// spawner starts children from one operating system thread that lives until close. The
// kernel sends a child's death signal when the *thread* that started it ends, and Go
// ends threads as it likes.
type spawner struct {
	requests chan func()
	closed   chan struct{}
	once     sync.Once
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func()), closed: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // never unlocked: no child of ours may die with a thread that ends
		for {
			select {
			case run := <-s.requests:
				run()
			case <-s.closed:
				return
			}
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	select {
	case s.requests <- func() { result <- cmd.Start() }:
		return <-result
	case <-s.closed:
		return errors.New("the environment is stopped")
	}
}

// close ends the thread, and with it every child that still lives.
func (s *spawner) close() { s.once.Do(func() { close(s.closed) }) }

// finalError is one that trying again cannot mend.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func final(err error) error { return finalError{err} }

// poll calls try until it returns nil, at the given interval and at once the first time.
// When ctx ends first, or the error is final, it returns what was wrong last.
func poll(ctx context.Context, interval time.Duration, try func() error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if f := (finalError{}); errors.As(err, &f) {
			return f.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", ctx.Err(), err)
		case <-ticker.C:
		}
	}
}
