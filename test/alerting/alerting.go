// Package alerting runs a real Alertmanager and a real Prometheus for tests: on 127.0.0.1, on
// ports and in folders of their own. They can be killed and started again.
package alerting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrMissing means that a program is not on this machine.
var ErrMissing = errors.New("not installed: apt-get install --no-install-recommends prometheus-alertmanager prometheus")

// Server is a running Alertmanager or Prometheus.
type Server struct {
	URL string // http://127.0.0.1:port

	name, path string
	args       []string
	dir        string
	health     string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// Receiver is where an Alertmanager sends notifications.
type Receiver struct {
	URL       string // https://…/alerts/v1/webhook
	CAFile    string // PEM of whoever signed the receiver's certificate
	TokenFile string // bearer token to show; "" for none
}

// Config is a configuration of an Alertmanager that sends everything to one receiver, as
// docs/alertmanager.md recommends it.
func (r Receiver) Config() string {
	var text strings.Builder
	fmt.Fprintf(&text, `route:
  receiver: o2ims
  group_by: ['...']
  group_wait: 0s
  group_interval: 5s
  repeat_interval: 1h
receivers:
- name: o2ims
  webhook_configs:
  - url: %s
    send_resolved: true
    max_alerts: 0
`, r.URL)
	text.WriteString("    http_config:\n      follow_redirects: false\n")
	if r.TokenFile != "" {
		fmt.Fprintf(&text, "      authorization:\n        credentials_file: %s\n", r.TokenFile)
	}
	if r.CAFile != "" {
		fmt.Fprintf(&text, "      tls_config:\n        ca_file: %s\n", r.CAFile)
	}
	return text.String()
}

// StartAlertmanager runs an Alertmanager with a configuration in YAML, and returns when it
// is ready. dir keeps its data, its configuration and its log.
func StartAlertmanager(ctx context.Context, dir, config string, args ...string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "alertmanager.yml")
	if err := write(file, config); err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	s := &Server{
		URL: "http://" + address, name: "alertmanager", dir: dir, health: "/-/ready",
		args: append([]string{
			"--config.file=" + file, "--storage.path=" + filepath.Join(dir, "alertmanager"),
			"--web.listen-address=" + address, "--cluster.listen-address=", "--log.level=debug",
		}, args...),
	}
	if s.path, err = program("prometheus-alertmanager", "alertmanager"); err != nil {
		return nil, err
	}
	return s, s.Restart(ctx)
}

// StartPrometheus runs a Prometheus with a configuration in YAML, and returns when it is
// ready. dir keeps its data, its configuration, which rule_files may be relative to, and
// its log.
func StartPrometheus(ctx context.Context, dir, config string, args ...string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := write(file, config); err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	s := &Server{
		URL: "http://" + address, name: "prometheus", dir: dir, health: "/-/ready",
		args: append([]string{
			"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "prometheus"),
			"--web.listen-address=" + address, "--web.enable-lifecycle",
		}, args...),
	}
	if s.path, err = program("prometheus"); err != nil {
		return nil, err
	}
	return s, s.Restart(ctx)
}

// Amtool runs amtool against an Alertmanager and returns what it printed.
func Amtool(ctx context.Context, s *Server, args ...string) (string, error) {
	path, err := program("amtool")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--alertmanager.url=" + s.URL}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("amtool %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Restart starts the server on the same port and data, after Kill or Stop, and returns
// when it is ready.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.spawn(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := get(ctx, s.URL+s.health)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			s.Kill()
			return fmt.Errorf("%s: %w\n%s", s.name, err, s.Log())
		case <-s.ended():
			return fmt.Errorf("%s ended: %w\n%s", s.name, err, s.Log())
		case <-tick.C:
		}
	}
}

// Reload makes a Prometheus or an Alertmanager read its configuration and rules again.
func (s *Server) Reload(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/-/reload", nil)
	if err != nil {
		return err
	}
	return do(request)
}

// Kill ends the server as a power cut would.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server in order. It is safe to call twice.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// PID is the process of the server.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Log is the end of what the server wrote.
func (s *Server) Log() string {
	text, _ := os.ReadFile(s.logFile()) // nothing to tell when there is none
	if len(text) > 8000 {
		text = text[len(text)-8000:]
	}
	return string(text)
}

func (s *Server) logFile() string { return filepath.Join(s.dir, s.name+".log") }

func (s *Server) spawn() error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(s.path, s.args...)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GOMAXPROCS=1"} // no proxies
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := spawner().start(cmd); err != nil {
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
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-done
	}
}

func (s *Server) ended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// program finds a program by the first of its names that is there.
func program(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", names[0], ErrMissing)
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return do(request)
}

func do(request *http.Request) error {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", request.Method, request.URL, response.Status, bytes.TrimSpace(said))
	}
	return nil
}

func write(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
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
