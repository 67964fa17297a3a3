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
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/o2ims/o2ims/test/child"
	"github.com/o2ims/o2ims/test/port"
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
	process *child.Process // the latest
}

// ErrMissing means that there is no redis-server on this machine.
var ErrMissing = errors.New("redis-server is not installed: apt-get install redis-server")

// Start runs a server and returns when it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, ErrMissing
	}
	port, err := port.Keep()
	if err != nil {
		return nil, err
	}
	s := &Server{Port: port, options: o}
	if err := s.Restart(ctx); err != nil {
		return nil, err
	}
	return s, nil
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
	err := s.running().Await(ctx, 5*time.Millisecond, func(ctx context.Context) error { return s.answers(ctx, client) })
	if err != nil {
		s.Kill()
	}
	return err
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
	cmd := exec.Command("redis-server", args...)
	cmd.Dir = s.options.Dir
	process, err := child.Run(cmd, filepath.Join(s.options.Dir, fmt.Sprintf("redis-%d.log", s.Port)))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = process
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
func (s *Server) Kill() { s.running().Kill() }

// Stop ends the server in order. It is safe to call twice.
func (s *Server) Stop() { s.running().Stop(10 * time.Second) }

// Signal sends the server a signal, such as SIGSTOP to make it hang.
func (s *Server) Signal(sig syscall.Signal) error { return s.running().Signal(sig) }

func (s *Server) running() *child.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}
