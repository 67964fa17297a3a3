// Package redisserver runs real Redis servers for tests: on 127.0.0.1, on ports and in
// folders of their own, with the AOF that production has. They can be killed and started
// again on what is left of their data.
package redisserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options say how a server is run.
type Options struct {
	Dir      string   // for its data and its log; it survives a restart
	Fsync    string   // appendfsync; "" is always
	Password string   // "" for none
	Args     []string // of redis-server, after ours, such as --maxmemory 10mb
	Sentinel bool     // run as a Sentinel; Args is then its configuration, a line each
}

// Server is a redis-server.
type Server struct {
	Port int

	options Options
	mu      sync.Mutex
	cmd     *exec.Cmd
	done    chan struct{}
}

// ErrMissing means that there is no redis-server on this machine.
var ErrMissing = errors.New("redis-server is not installed: apt-get install redis-server")

// Start runs a server and returns when it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, ErrMissing
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Port: port, options: o}
	return s, s.Restart(ctx)
}

// Addr is where the server listens.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// URL is what --redis-url takes.
func (s *Server) URL() string {
	if s.options.Password != "" {
		return "redis://:" + s.options.Password + "@" + s.Addr()
	}
	return "redis://" + s.Addr()
}

// Restart starts the server on the same port and data, after Kill or Stop, and returns
// when it has loaded them.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.spawn(); err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: s.Addr(), Password: s.options.Password, DialTimeout: time.Second, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.answers(ctx, client)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis-server: %w", err)
		case <-s.ended():
			return fmt.Errorf("redis-server ended: %w\n%s", err, s.logTail())
		case <-tick.C:
		}
	}
}

// answers tells whether the server serves. The client would complain aloud of a port that
// nobody listens on yet.
func (s *Server) answers(ctx context.Context, client *redis.Client) error {
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return err
	}
	_ = connection.Close() // it has said what we wanted to know
	return client.Ping(ctx).Err()
}

func (s *Server) spawn() error {
	args, err := s.arguments()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command("redis-server", args...)
	cmd.Dir = s.options.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := start(cmd); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd, s.done = cmd, done
	return nil
}

func (s *Server) arguments() ([]string, error) {
	common := []string{"--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--dir", s.options.Dir}
	if s.options.Sentinel {
		file := filepath.Join(s.options.Dir, "sentinel.conf")
		var conf bytes.Buffer
		fmt.Fprintf(&conf, "port %d\nbind 127.0.0.1\ndir %s\n", s.Port, s.options.Dir)
		for _, line := range s.options.Args {
			fmt.Fprintln(&conf, line)
		}
		if _, err := os.Stat(file); err == nil {
			return []string{file, "--sentinel"}, nil // it has written to it since
		}
		return []string{file, "--sentinel"}, os.WriteFile(file, conf.Bytes(), 0o644)
	}
	fsync := s.options.Fsync
	if fsync == "" {
		fsync = "always"
	}
	args := append(common, "--save", "", "--appendonly", "yes", "--appendfsync", fsync)
	if s.options.Password != "" {
		args = append(args, "--requirepass", s.options.Password)
	}
	return append(args, s.options.Args...), nil
}

// Kill ends the server as a power cut would, without a chance to write anything.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server in order. It is safe to call twice.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Signal sends the server a signal, such as SIGSTOP to make it hang.
func (s *Server) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Signal(sig)
}

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	cmd, done := s.cmd, s.done
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	select {
	case <-done:
		return
	default:
	}
	_ = cmd.Process.Signal(sig) // gone already is what we want
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-done
	}
}

func (s *Server) ended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

func (s *Server) logFile() string {
	return filepath.Join(s.options.Dir, fmt.Sprintf("redis-%d.log", s.Port))
}

func (s *Server) logTail() string {
	text, _ := os.ReadFile(s.logFile())
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return string(text)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// start starts children from one thread that lives as long as the process does: the
// kernel sends a child's death signal when the thread that started it ends.
func start(cmd *exec.Cmd) error {
	spawner.Do(func() {
		requests = make(chan func())
		go func() {
			runtime.LockOSThread()
			for request := range requests {
				request()
			}
		}()
	})
	result := make(chan error, 1)
	requests <- func() { result <- cmd.Start() }
	return <-result
}

var (
	spawner  sync.Once
	requests chan func()
)
