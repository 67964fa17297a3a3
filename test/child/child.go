// Package child runs programs for tests and demos. They end with whoever started them,
// however that ends, so that nothing is left running; what they say is kept in a file.
package child

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Process is a program that was started. Its methods may be called concurrently.
type Process struct {
	cmd     *exec.Cmd
	logFile string
	done    chan struct{}
}

// untilWeEnd is the thread of what ends with this process and not before.
var untilWeEnd = sync.OnceValue(NewThread)

// Run starts a program that ends with this process at the latest, as [Thread.Run] does.
func Run(cmd *exec.Cmd, logFile string) (*Process, error) { return untilWeEnd().Run(cmd, logFile) }

// Run starts a program. Of standard output and error, what cmd leaves open is appended to
// a file.
func (t *Thread) Run(cmd *exec.Cmd, logFile string) (*Process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if cmd.Stderr == nil {
		cmd.Stderr = log
	}
	if err := t.Start(cmd); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, logFile: logFile, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	return p, nil
}

// PID is the process's id, and that of its group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended says how the process ended; nil while it runs.
func (p *Process) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %s", p.cmd.Path, p.cmd.ProcessState)
	default:
		return nil
	}
}

// Signal sends a signal to the process and all that it started. To one that has ended it
// sends nothing, since its id may be somebody else's by now; the error is that of Ended.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.Ended(); err != nil {
		return err
	}
	return syscall.Kill(-p.PID(), sig)
}

// Stop asks the process to end with SIGTERM, and ends it when the grace period is over. It
// returns when the process is gone; one that is gone already is left alone.
func (p *Process) Stop(grace time.Duration) {
	if p.Signal(syscall.SIGTERM) == nil {
		select {
		case <-p.done:
		case <-time.After(grace):
		}
	}
	p.Kill()
}

// Kill ends the process as a power cut would, and returns when it is gone.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL) // gone already is what we want
	<-p.done
}

// Await asks until there is no error, at the given interval and at once the first time.
// When ctx or the process ends before, the error says what was wrong last, and how the log
// ends.
func (p *Process) Await(ctx context.Context, interval time.Duration, ask func(context.Context) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; last: %w\n%s", p.cmd.Path, ctx.Err(), err, p.LogTail())
		case <-p.done:
			return fmt.Errorf("%w; last: %w\n%s", p.Ended(), err, p.LogTail())
		case <-tick.C:
		}
	}
}

const tailSize = 8000

// LogTail is the end of the log, and where all of it is.
func (p *Process) LogTail() string {
	f, err := os.Open(p.logFile)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailSize {
		_, _ = f.Seek(-tailSize, io.SeekEnd) // otherwise all of it
	}
	tail, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s ends with:\n%s", p.logFile, bytes.TrimSpace(tail))
}
