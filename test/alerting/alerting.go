// Package alerting runs a real Alertmanager and a real Prometheus for tests: on 127.0.0.1, on
// ports and in folders of their own. They can be killed and started again.
package alerting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/o2ims/o2ims/test/child"
	"github.com/o2ims/o2ims/test/port"
)

// ErrMissing means that a program is not on this machine.
var ErrMissing = errors.New("not installed: apt-get install --no-install-recommends prometheus-alertmanager prometheus")

// Server is a running Alertmanager or Prometheus.
type Server struct {
	URL string // http://127.0.0.1:port

	name, path string
	args       []string
	dir        string

	mu      sync.Mutex
	process *child.Process // the latest
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
	port, err := port.Keep()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "alertmanager.yml")
	if err := write(file, config); err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	s := &Server{
		URL: "http://" + address, name: "alertmanager", dir: dir,
		args: append([]string{
			"--config.file=" + file, "--storage.path=" + filepath.Join(dir, "alertmanager"),
			"--web.listen-address=" + address, "--cluster.listen-address=", "--log.level=debug",
		}, args...),
	}
	if s.path, err = program("prometheus-alertmanager", "alertmanager"); err != nil {
		return nil, err
	}
	return s.start(ctx)
}

// StartPrometheus runs a Prometheus with a configuration in YAML, and returns when it is
// ready. dir keeps its data, its configuration, which rule_files may be relative to, and
// its log.
func StartPrometheus(ctx context.Context, dir, config string, args ...string) (*Server, error) {
	port, err := port.Keep()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := write(file, config); err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	s := &Server{
		URL: "http://" + address, name: "prometheus", dir: dir,
		args: append([]string{
			"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "prometheus"),
			"--web.listen-address=" + address, "--web.enable-lifecycle",
		}, args...),
	}
	if s.path, err = program("prometheus"); err != nil {
		return nil, err
	}
	return s.start(ctx)
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

func (s *Server) start(ctx context.Context) (*Server, error) {
	if err := s.Restart(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Restart starts the server on the same port and data, after Kill or Stop, and returns
// when it is ready.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.spawn(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := s.running().Await(ctx, 20*time.Millisecond, func(ctx context.Context) error { return get(ctx, s.URL+"/-/ready") })
	if err != nil {
		s.Kill()
	}
	return err
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
func (s *Server) Kill() { s.running().Kill() }

// Stop ends the server in order. It is safe to call twice.
func (s *Server) Stop() { s.running().Stop(20 * time.Second) }

// PID is the process of the server.
func (s *Server) PID() int { return s.running().PID() }

// Log is the end of what the server wrote.
func (s *Server) Log() string { return s.running().LogTail() }

func (s *Server) spawn() error {
	cmd := exec.Command(s.path, s.args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GOMAXPROCS=1"} // no proxies
	process, err := child.Run(cmd, filepath.Join(s.dir, s.name+".log"))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = process
	return nil
}

func (s *Server) running() *child.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
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
