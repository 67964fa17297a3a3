package oidcprovider

import (
	"bufio"
	"context"
	"encoding/json"
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

// Signals that the provider knows.
const (
	reload    = syscall.SIGHUP
	terminate = syscall.SIGTERM
	kill      = syscall.SIGKILL
)

const (
	startTimeout = 60 * time.Second // a machine that compiles on all its cores is slow
	stopTimeout  = 10 * time.Second
)

// process is a running hack/oidc/provider.mjs.
type process struct {
	cmd     *exec.Cmd
	logFile string
	news    chan news     // each configuration that came into force
	done    chan struct{} // closed when the process has ended
}

// news is a line that the provider prints when a configuration is in force.
type news struct {
	Configuration int    `json:"configuration"`
	Address       string `json:"address"`
}

func spawn(node string, args []string, dir string) (*process, error) {
	p := &process{logFile: filepath.Join(dir, "provider.log"), news: make(chan news, 64), done: make(chan struct{})}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	p.cmd = exec.Command(node, args...)
	p.cmd.Dir = dir
	p.cmd.Stderr = log
	// No proxies, and no NODE_OPTIONS of whoever started us.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NODE_ENV=production"}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := spawner().start(p.cmd); err != nil {
		return nil, err
	}
	go p.follow(stdout)
	return p, nil
}

// follow reads what the provider says until its end.
func (p *process) follow(stdout io.Reader) {
	defer close(p.done)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var n news
		if json.Unmarshal(lines.Bytes(), &n) == nil {
			p.news <- n
		}
	}
	_ = p.cmd.Wait() // how it ended is in its log
}

// wait returns the address of the provider once a configuration is in force.
func (p *process) wait(ctx context.Context, configuration int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		select {
		case n := <-p.news:
			if n.Configuration == configuration {
				return n.Address, nil
			}
		case <-p.done:
			return "", fmt.Errorf("%s ended:\n%s", p.cmd.Path, p.logTail())
		case <-ctx.Done():
			return "", fmt.Errorf("configuration %d is not in force: %w\n%s", configuration, ctx.Err(), p.logTail())
		}
	}
}

func (p *process) signal(s syscall.Signal) error {
	select {
	case <-p.done: // its id may be somebody else's by now
		return fmt.Errorf("%s has ended:\n%s", p.cmd.Path, p.logTail())
	default:
		return p.cmd.Process.Signal(s)
	}
}

func (p *process) end(s syscall.Signal) {
	if p.signal(s) != nil {
		return
	}
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill() // gone already is what we want
		<-p.done
	}
}

// logTail is the end of the log.
func (p *process) logTail() string {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	const size = 4000
	return string(text[max(0, len(text)-size):])
}

// starter starts children from one thread that lives as long as the process does: the
// kernel sends a child's death signal when the thread that started it ends.
type starter chan func()

var spawner = sync.OnceValue(func() starter {
	s := make(starter)
	go func() {
		runtime.LockOSThread()
		for f := range s {
			f()
		}
	}()
	return s
})

func (s starter) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s <- func() { result <- cmd.Start() }
	return <-result
}
