package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/o2ims/o2ims/test/child"
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
	spec   ProcessSpec
	dir    string
	thread *child.Thread
	ready  chan struct{} // closed when it was ready once
	stop   chan struct{} // closed to end it
	once   sync.Once     // closes stop
	done   chan struct{} // closed when it has ended for good

	mu  sync.Mutex
	run *child.Process // the latest
}

const restartPause = time.Second

// startProcess runs a program with its output appended to dir/logs/<name>.log, and waits
// until it is ready. A program that ends before is an error with the end of its log.
func startProcess(ctx context.Context, thread *child.Thread, dir string, spec ProcessSpec) (*Process, error) {
	p := &Process{
		spec: spec, dir: dir, thread: thread,
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
		if err := p.current().Ended(); err != nil {
			return final(err)
		}
		return spec.Ready(ctx)
	})
	if err != nil {
		p.Stop(0)
		return nil, fmt.Errorf("%s: not ready: %w\n%s", spec.Name, err, p.current().LogTail())
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
	cmd := exec.Command(p.spec.Path, p.spec.Args...)
	cmd.Dir = scratch
	// Neither proxies nor kubeconfigs nor Go settings of whoever started us may leak in.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + scratch, "TMPDIR=" + scratch}, p.spec.Env...)
	run, err := p.thread.Run(cmd, p.LogFile())
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run = run
	return nil
}

// supervise waits for the program's end, and starts it again while that is wanted.
func (p *Process) supervise() {
	defer close(p.done)
	for {
		<-p.current().Done()
		if !p.mayRestart() {
			return
		}
		select {
		case <-p.stop:
			return
		case <-time.After(restartPause):
		}
		if p.spawn() != nil {
			return
		}
		// Stop may have come between the pause and the new process, and ended the old one.
		select {
		case <-p.stop:
			p.current().Kill()
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

// Stop ends the process: SIGTERM to its whole group, and SIGKILL after the grace period,
// at once where there is none. It returns when the process is gone; a second call does nothing.
func (p *Process) Stop(grace time.Duration) {
	p.once.Do(func() { close(p.stop) })
	if run := p.current(); grace > 0 {
		run.Stop(grace)
	} else {
		run.Kill()
	}
	<-p.done
}

// Done is closed when the process has ended and will not be started again.
func (p *Process) Done() <-chan struct{} { return p.done }

// PID is the process's current id: it changes with a restart.
func (p *Process) PID() int { return p.current().PID() }

// LogFile is where the output of the process goes.
func (p *Process) LogFile() string { return filepath.Join(p.dir, "logs", p.spec.Name+".log") }

func (p *Process) current() *child.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

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
