// Package proxy runs real nginx and real HAProxy for tests: on ports of 127.0.0.1, with
// configuration and log in folders of their own.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/o2ims/o2ims/test/child"
	"github.com/o2ims/o2ims/test/port"
)

// ErrMissing means that a program is not on this machine.
var ErrMissing = errors.New("not installed: apt-get install --no-install-recommends nginx haproxy")

// Program is a proxy that can be run.
type Program struct {
	name    string
	version []string // arguments that make it tell its version

	// args run it in the foreground, as one process: as several, it would leave some behind
	// when we are killed.
	args func(dir, file string) []string

	frame string // around a configuration, %s; a second %s before it is the folder
}

// Nginx takes what is in its http block.
var Nginx = Program{
	name: "nginx", version: []string{"-v"},
	args: func(dir, file string) []string {
		return []string{"-p", dir, "-c", file, "-e", "stderr", "-g", "daemon off; master_process off;"}
	},
	frame: `pid %[1]s/nginx.pid;
error_log stderr info;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
%[2]s
}
`,
}

// HAProxy takes all after its global section.
var HAProxy = Program{
	name: "haproxy", version: []string{"-v"},
	args: func(_, file string) []string { return []string{"-db", "-f", file} },
	frame: `# in %[1]s
global
  log stderr local0
  nbthread 1
%[2]s
`,
}

// String is the program's name.
func (p Program) String() string { return p.name }

// Version is what the program says of its version, on one line.
func (p Program) Version(ctx context.Context) (string, error) {
	path, err := p.path()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, p.version...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", p, err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line, nil
}

// path also looks where Debian puts servers, which an ordinary user's PATH leaves out.
func (p Program) path() (string, error) {
	for _, name := range []string{p.name, "/usr/sbin/" + p.name} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", p, ErrMissing)
}

// Server is a running proxy.
type Server struct {
	Address string // 127.0.0.1:port

	process *child.Process
}

// Start runs a proxy and returns when it has answered a TLS handshake. configuration is given
// the host:port to listen on. dir is made where it is missing. The caller stops the proxy; it
// also ends with this process.
func Start(ctx context.Context, p Program, dir string, configuration func(listen string) string) (*Server, error) {
	path, err := p.path()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	number, err := port.Keep()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", number)
	file := filepath.Join(dir, p.name+".conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, p.frame, dir, configuration(address)), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(path, p.args(dir, file)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	process, err := child.Run(cmd, filepath.Join(dir, p.name+".log"))
	if err != nil {
		return nil, err
	}
	s := &Server{Address: address, process: process}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := process.Await(ctx, 5*time.Millisecond, s.shakesHands); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// shakesHands tells whether the proxy answers a TLS handshake.
func (s *Server) shakesHands(ctx context.Context) error {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // whoever it is
	connection, err := dialer.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	return connection.Close()
}

// Stop ends the proxy, which has nothing to save. It is safe to call twice.
func (s *Server) Stop() { s.process.Kill() }

// PID is the process of the proxy.
func (s *Server) PID() int { return s.process.PID() }

// Log is the end of what the proxy wrote.
func (s *Server) Log() string { return s.process.LogTail() }
