package child

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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mainGaveTo is the thread on which onOwnThread ran what the main thread asked for.
var mainGaveTo int

func init() { runtime.LockOSThread() } // TestMain runs on the main thread

func TestMain(m *testing.M) {
	thread := make(chan int, 1)
	onOwnThread(func() { thread <- syscall.Gettid() })
	mainGaveTo = <-thread
	os.Exit(m.Run())
}

func TestOnOwnThreadAvoidsTheMainThread(t *testing.T) {
	if mainGaveTo == os.Getpid() {
		t.Errorf("ran on the main thread, %d, which outlives what it runs", mainGaveTo)
	}
}

// run runs a script.
func run(t *testing.T, thread *Thread, script string) *Process {
	t.Helper()
	p, err := thread.Run(exec.Command("/bin/sh", "-c", script), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// serve runs a script that does not end by itself, and returns when it has said that it is
// ready.
func serve(t *testing.T, thread *Thread, script string) *Process {
	t.Helper()
	p := run(t, thread, script)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := p.Await(ctx, 5*time.Millisecond, func(context.Context) error {
		text, err := os.ReadFile(p.logFile)
		if err == nil && !bytes.Contains(text, []byte("ready\n")) {
			err = errors.New("it has not said so")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// echo is a process that says what it is told.
type echo struct {
	*Process
	in  io.Writer
	out io.Reader
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	cmd := exec.Command("/bin/cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	t.Cleanup(func() { out.Close() })
	cmd.Stdout = said
	e := &echo{in: in, out: out}
	// Whoever asks has a thread that ends with the question, as Go's threads may.
	asked := make(chan int, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		e.Process, err = Run(cmd, filepath.Join(t.TempDir(), "log"))
		asked <- syscall.Gettid()
	}()
	thread := fmt.Sprintf("/proc/self/task/%d", <-asked)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Kill)
	eventually(t, "the end of the thread", func() bool { _, err := os.Stat(thread); return err != nil })
	return e
}

// check fails the test unless the process answers: one that was killed never does.
func (e *echo) check(t *testing.T) {
	t.Helper()
	const text = "here\n"
	_, err := io.WriteString(e.in, text)
	answer := make([]byte, len(text))
	if err == nil {
		_, err = io.ReadFull(e.out, answer)
	}
	if err != nil || string(answer) != text {
		t.Errorf("the process said %q, %v; want %q", answer, err, text)
	}
}

func gone(pid int) bool {
	state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || bytes.Contains(state, []byte(") Z ")) // ended, and its parent has not looked yet
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("waited 20 s for %s", what)
		case <-tick.C:
		}
	}
}

const parentVariable = "O2IMS_TEST_CHILD_PARENT"

// TestEndsWithUs starts this test as a child that starts a program and is killed.
func TestEndsWithUs(t *testing.T) {
	if log := os.Getenv(parentVariable); log != "" {
		if _, err := Run(exec.Command("/bin/sh", "-c", "echo $$ ready; exec sleep 600"), log); err != nil {
			t.Fatal(err)
		}
		<-t.Context().Done() // killed before
		return
	}
	log := filepath.Join(t.TempDir(), "log")
	parent := exec.Command(os.Args[0], "-test.run", "^TestEndsWithUs$")
	parent.Env = append(os.Environ(), parentVariable+"="+log)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = parent.Process.Kill() }) // gone already is what we want
	var pid int
	eventually(t, "the child's program", func() bool {
		text, err := os.ReadFile(log)
		if err != nil {
			return false
		}
		_, err = fmt.Sscanf(string(text), "%d ready\n", &pid)
		return err == nil
	})
	if gone(pid) {
		t.Fatal("the program does not run")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed, as we wanted
	eventually(t, "the program's end", func() bool { return gone(pid) })
}

func TestOutlivesTheThreadThatAsked(t *testing.T) { newEcho(t).check(t) }

func TestCloseEndsAll(t *testing.T) {
	thread := NewThread()
	p := serve(t, thread, "echo ready; exec sleep 600")
	thread.Close()
	thread.Close()
	<-p.Done()
	if _, err := thread.Run(exec.Command("/bin/true"), filepath.Join(t.TempDir(), "log")); !errors.Is(err, ErrClosed) {
		t.Errorf("start after Close: %v, want ErrClosed", err)
	}
}

func TestStop(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		grace        time.Duration
		how          string
	}{
		{"in order", "trap 'exit 3' TERM; echo ready; while :; do sleep 600 & wait; done", time.Minute, "exit status 3"},
		{"by force", "trap '' TERM; echo ready; while :; do sleep 600; done", time.Millisecond, "signal: killed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := serve(t, untilWeEnd(), tc.script)
			p.Stop(tc.grace)
			if got, want := fmt.Sprint(p.Ended()), "/bin/sh ended: "+tc.how; got != want {
				t.Errorf("after Stop: %q, want %q", got, want)
			}
			p.Stop(time.Minute) // once more does nothing
		})
	}
}

// Whoever is signalled, all that it started is.
func TestKillEndsTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "grandchild")
	p := serve(t, untilWeEnd(), "sleep 600 & echo $! >"+file+"; echo ready; wait")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || gone(grandchild) {
		t.Fatalf("process %q of the child does not run: %v", text, err)
	}
	p.Kill()
	eventually(t, "the end of the child's child", func() bool { return gone(grandchild) })
}

// The id of a process that has ended may be another's.
func TestSignalToOneThatIsGone(t *testing.T) {
	other := newEcho(t)
	p := &Process{cmd: &exec.Cmd{Process: other.cmd.Process}, logFile: other.logFile, done: make(chan struct{})}
	close(p.done)
	if err := p.Signal(syscall.SIGKILL); err == nil {
		t.Error("a signal was sent")
	}
	p.Stop(time.Minute)
	p.Kill()
	other.check(t)
}

func TestAwaitOfOneThatEnds(t *testing.T) {
	p := run(t, untilWeEnd(), "echo no such flag >&2; exit 3")
	err := p.Await(t.Context(), time.Millisecond, func(context.Context) error { return errors.New("nobody listens") })
	if err == nil {
		t.Fatal("it is there")
	}
	for _, want := range []string{"/bin/sh ended: exit status 3", "nobody listens", "no such flag", p.logFile} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestLogTail(t *testing.T) {
	p := run(t, untilWeEnd(), "echo before; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo after >&2")
	<-p.Done()
	tail := p.LogTail()
	if strings.Contains(tail, "before") || !strings.HasSuffix(tail, "line 1999\nafter") || len(tail) > tailSize+200 {
		t.Errorf("the tail has %d characters and ends with %q", len(tail), tail[max(0, len(tail)-40):])
	}
}
