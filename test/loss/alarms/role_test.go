package alarms

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/o2ims/o2ims/pkg/agent"
	"github.com/o2ims/o2ims/pkg/manager"
)

// roleVariable makes the test's own program a manager or an agent, with the command line
// that these have.
const roleVariable = "O2IMS_LOSS_ROLE"

const (
	roleManager = "manager"
	roleAgent   = "agent"
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	go func() { // end with whoever started us, whatever became of it
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	if err := play(role, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, role, "ends:", err)
		os.Exit(1)
	}
}

// play runs a service as the command o2ims does.
func play(role string, args []string) error {
	handler := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})
	slog.SetDefault(slog.New(handler))
	ctrllog.SetLogger(logr.FromSlogHandler(handler))
	klog.SetSlogLogger(slog.New(handler))
	switch role {
	case roleManager:
		return serve(args, &manager.Options{}, manager.Run)
	case roleAgent:
		return serve(args, &agent.Options{}, agent.Run)
	}
	return fmt.Errorf("there is no role %q", role)
}

// options are the settings of one service.
type options[T any] interface {
	*T
	AddFlags(*pflag.FlagSet)
	Validate() error
}

func serve[T any, O options[T]](args []string, o O, run func(context.Context, T) error) error {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	return run(context.Background(), *o)
}

// unit is a process that is started again whenever it ends, as a kubelet does it.
type unit struct {
	name, role string
	args       []string
	log        *tail

	mu      sync.Mutex
	cmd     *exec.Cmd
	stdin   io.Closer
	ended   chan struct{} // this process has
	retired bool          // not to be started again
	kills   int           // that we asked for and that have not been noticed yet
	alone   int           // how often it ended by itself
	gone    chan struct{} // the unit is
}

func startUnit(name, role string, args []string) (*unit, error) {
	u := &unit{name: name, role: role, args: args, log: &tail{name: name}, gone: make(chan struct{})}
	if err := u.spawn(); err != nil {
		return nil, err
	}
	go u.keep()
	return u, nil
}

func (u *unit) spawn() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, u.args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+u.role, "GOMAXPROCS=2")
	cmd.Stdout, cmd.Stderr = u.log, u.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it ends with its standard input
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", u.name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cmd, u.stdin, u.ended = cmd, stdin, ended
	return nil
}

func (u *unit) keep() {
	defer close(u.gone)
	for {
		<-u.current()
		u.mu.Lock()
		if u.kills > 0 {
			u.kills--
		} else {
			u.alone++
			u.log.note(endedAlone)
		}
		retired := u.retired
		u.mu.Unlock()
		if retired {
			return
		}
		pause := time.Duration(20+rand.IntN(200)) * time.Millisecond
		if wait(context.Background(), pause) != nil || u.spawn() != nil {
			return
		}
	}
}

func (u *unit) current() chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ended
}

// kill ends the process as a power cut would.
func (u *unit) kill() {
	u.mu.Lock()
	u.kills++
	process := u.cmd.Process
	u.mu.Unlock()
	u.log.note("killed")
	_ = process.Signal(syscall.SIGKILL) // gone already is what we want
}

// signal freezes the process, or lets it go on. It tells whether there is one.
func (u *unit) signal(s syscall.Signal) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.log.note(s.String())
	return u.cmd.Process.Signal(s) == nil
}

// retire says that the process, once it has ended, is not started again.
func (u *unit) retire() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.retired = true
}

func (u *unit) stop() {
	u.retire()
	u.kill()
	<-u.gone
}

func (u *unit) endedAlone() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.alone
}

// What we note in between.
const (
	noteMark   = "---- "
	endedAlone = "ended by itself"
)

// tail keeps the end of what a process said.
type tail struct {
	name  string
	mu    sync.Mutex
	lines []string
}

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	scanner := bufio.NewScanner(strings.NewReader(string(p)))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if line := scanner.Text(); !strings.Contains(line, `msg="request served"`) {
			b.lines = append(b.lines, line)
		}
	}
	if len(b.lines) > 20000 {
		b.lines = append([]string(nil), b.lines[len(b.lines)-10000:]...)
	}
	return len(p), nil
}

func (b *tail) note(text string) {
	_, _ = fmt.Fprintf(b, "time=%s %s%s\n", time.Now().Format(time.RFC3339Nano), noteMark, text)
}

// journals tells whether the process that runs, an agent, has opened the journal.
func (b *tail) journals() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range slices.Backward(b.lines) {
		switch {
		case strings.Contains(line, "alert journal open"):
			return true
		case strings.Contains(line, noteMark+"killed"), strings.Contains(line, noteMark+endedAlone):
			return false // what is before was another process
		}
	}
	return false
}

func (b *tail) last(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.name + " said:\n" + strings.Join(b.lines[max(0, len(b.lines)-n):], "\n") + "\n"
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
