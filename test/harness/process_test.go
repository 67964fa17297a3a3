package harness

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/o2ims/o2ims/test/child"
)

// shell runs a script as a process of a throw-away environment.
func shell(t *testing.T, script string, change func(*ProcessSpec)) (*Process, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	thread := child.NewThread()
	t.Cleanup(thread.Close)
	spec := ProcessSpec{Name: "script", Path: "/bin/sh", Args: []string{"-c", script}}
	if change != nil {
		change(&spec)
	}
	p, err := startProcess(ctx, thread, t.TempDir(), spec)
	if err == nil {
		t.Cleanup(func() { p.Stop(0) })
	}
	return p, err
}

func TestProcessThatEndsBeforeItIsReady(t *testing.T) {
	_, err := shell(t, "echo no such flag >&2; exit 3", func(s *ProcessSpec) {
		s.Restart = true
		s.Ready = func(context.Context) error { return errors.New("nobody listens") }
	})
	if err == nil {
		t.Fatal("started")
	}
	for _, want := range []string{"script", "exit status 3", "no such flag"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestProcessIsStartedAgain(t *testing.T) {
	p, err := shell(t, "exec sleep 60", func(s *ProcessSpec) { s.Restart = true })
	if err != nil {
		t.Fatal(err)
	}
	first := p.PID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err = poll(t.Context(), 10*time.Millisecond, func() error {
		if p.PID() == first {
			return errors.New("the same process")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Stop(0)
	if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("after Stop, the process is there: %v", err)
	}
}

func TestStopEndsTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "child")
	script := "trap '' TERM; sleep 60 & echo $! >" + file + ".part; mv " + file + ".part " + file + "; wait; wait"
	p, err := shell(t, script, func(s *ProcessSpec) {
		s.Ready = func(context.Context) error { _, err := os.Stat(file); return err }
	})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	p.Stop(100 * time.Millisecond) // the shell ignores SIGTERM
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("Stop took %s", took)
	}
	select {
	case <-p.Done():
	default:
		t.Error("Stop returned before the end")
	}
}

func TestProcessInheritsNothing(t *testing.T) {
	t.Setenv("KUBECONFIG", "/home/somebody/.kube/config")
	p, err := shell(t, `echo "KUBECONFIG=$KUBECONFIG GOGC=$GOGC"`, func(s *ProcessSpec) { s.Env = []string{"GOGC=50"} })
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	log, err := os.ReadFile(p.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(log), "KUBECONFIG= GOGC=50\n"; got != want {
		t.Errorf("the process saw %q, want %q", got, want)
	}
}

func TestPrepareDirKeepsWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(precious, []byte("years"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := prepareDir(dir); err == nil {
		t.Error("a folder with somebody's files was taken")
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	ours := filepath.Join(dir, "environment")
	for range 2 { // new, then left over from before
		if _, err := prepareDir(ours); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(ours, "old"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
