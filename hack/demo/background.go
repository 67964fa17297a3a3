package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func pidFile(dir string) string   { return filepath.Join(dir, "pid") }
func logFile(dir string) string   { return filepath.Join(dir, "demo.log") }
func readyFile(dir string) string { return filepath.Join(dir, "ready") }

func writePID(dir string) error {
	return os.WriteFile(pidFile(dir), []byte(strconv.Itoa(os.Getpid())), 0o644)
}

// runningDemo returns the process of a demo that runs. A number left behind by one that
// was killed may belong to another program by now, so its name is looked at, too.
func runningDemo(dir string) (int, bool) {
	text, err := os.ReadFile(pidFile(dir))
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid == os.Getpid() {
		return 0, false
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return pid, err == nil && strings.TrimSpace(string(command)) == "demo"
}

// up starts `demo run` in a session of its own and shows what it says until it is ready.
func up(ctx context.Context, spokes int) error {
	dir, err := demoDir()
	if err != nil {
		return err
	}
	if pid, running := runningDemo(dir); running {
		return fmt.Errorf("a demo runs already as process %d: make demo-down stops it", pid)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(logFile(dir))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self, "run", "--clusters", strconv.Itoa(spokes))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return follow(ctx, dir, ended)
}

// follow copies the log to the screen until the demo is ready or has ended.
func follow(ctx context.Context, dir string, ended <-chan error) error {
	log, err := os.Open(logFile(dir))
	if err != nil {
		return err
	}
	defer log.Close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		ready := exists(readyFile(dir))
		if _, err := io.Copy(os.Stdout, log); err != nil {
			return err
		}
		if ready {
			fmt.Println("the demo runs in the background; make demo-down stops it")
			return nil
		}
		select {
		case err := <-ended:
			_, copyErr := io.Copy(os.Stdout, log)
			return errors.Join(fmt.Errorf("it did not start, see %s: %w", logFile(dir), err), copyErr)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), down(context.WithoutCancel(ctx)))
		case <-tick.C:
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// down stops the demo that runs in the background and waits for its end.
func down(ctx context.Context) error {
	dir, err := demoDir()
	if err != nil {
		return err
	}
	pid, running := runningDemo(dir)
	if !running {
		fmt.Println("no demo is running")
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	fmt.Printf("stopping the demo, process %d\n", pid)
	for {
		if _, running := runningDemo(dir); !running {
			fmt.Println("stopped; nothing is left running")
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
