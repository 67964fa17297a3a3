package kubelet

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/o2ims/o2ims/pkg/fault"
)

// tally counts the answers of one probe.
type tally struct{ successes, failures int32 }

// verdict is what a tally means once a threshold is reached.
type verdict int

const (
	undecided verdict = iota
	passed
	failed
)

// count adds an answer, and says whether it settles the matter.
func (t *tally) count(ok bool, p *corev1.Probe) verdict {
	if ok {
		t.successes, t.failures = t.successes+1, 0
		if t.successes >= max(p.SuccessThreshold, 1) {
			return passed
		}
		return undecided
	}
	t.successes, t.failures = 0, t.failures+1
	if t.failures >= max(p.FailureThreshold, 1) {
		return failed
	}
	return undecided
}

// probe runs a container's probes until ctx ends: the startup probe first, then
// liveness and readiness side by side. A startup or liveness probe that fails for good
// sends why.
func (c *container) probe(ctx context.Context, dead chan<- string) {
	report := func(kind string) func(verdict, error) bool {
		return func(v verdict, err error) bool {
			if v != failed {
				return kind == "startup" && v == passed
			}
			select {
			case dead <- fmt.Sprintf("%s probe failed: %v", kind, err):
			default:
			}
			return true
		}
	}
	if c.spec.StartupProbe != nil {
		alive := false
		c.repeat(ctx, schedule{c.spec.StartupProbe, 0}, func(v verdict, err error) bool {
			alive = v == passed
			return report("startup")(v, err)
		})
		if !alive {
			return
		}
	}
	if c.spec.ReadinessProbe == nil {
		c.setReady(true)
	} else {
		settled := make(chan struct{})
		go func() {
			defer close(settled)
			c.repeat(ctx, eager(c.spec.ReadinessProbe), func(v verdict, _ error) bool {
				if v != undecided && ctx.Err() == nil {
					c.setReady(v == passed)
				}
				return false
			})
		}()
		defer func() { <-settled }()
	}
	if c.spec.LivenessProbe != nil {
		c.repeat(ctx, schedule{c.spec.LivenessProbe, 0}, report("liveness"))
	}
}

// schedule is when a probe is asked: at its own interval, and at another before it has
// passed for the first time.
type schedule struct {
	probe  *corev1.Probe
	before time.Duration // 0: no other
}

// eager finds out early that a container has become ready, which spares whoever waits
// for it up to a period. Failures before that have no consequence.
func eager(p *corev1.Probe) schedule { return schedule{p, 200 * time.Millisecond} }

// repeat asks a probe and hands on what the answers mean, until told to end.
func (c *container) repeat(ctx context.Context, s schedule, then func(verdict, error) (end bool)) {
	pause(ctx, time.Duration(s.probe.InitialDelaySeconds)*time.Second)
	var t tally
	for ctx.Err() == nil {
		err := c.ask(ctx, s.probe)
		if ctx.Err() != nil {
			return
		}
		v := t.count(err == nil, s.probe)
		if then(v, err) {
			return
		}
		if v == passed {
			s.before = 0
		}
		pause(ctx, cmp.Or(s.before, time.Duration(max(s.probe.PeriodSeconds, 1))*time.Second))
	}
}

// ask probes once.
func (c *container) ask(ctx context.Context, p *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	if p.TCPSocket != nil {
		address, err := c.address(p.TCPSocket.Host, p.TCPSocket.Port)
		if err != nil {
			return err
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return c.askHTTP(ctx, p.HTTPGet)
}

func (c *container) askHTTP(ctx context.Context, get *corev1.HTTPGetAction) error {
	address, err := c.address(get.Host, get.Port)
	if err != nil {
		return err
	}
	url := strings.ToLower(string(get.Scheme)) + "://" + address + "/" + strings.TrimPrefix(get.Path, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for _, h := range get.HTTPHeaders {
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			req.Host = h.Value
			continue
		}
		req.Header.Add(h.Name, h.Value)
	}
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,                                  // a probe asks the process, not a connection
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // as the kubelet: a probe carries no secret
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // 3xx is success
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("GET %s: status %d: %w", url, resp.StatusCode, fault.Unavailable)
	}
	return nil
}

// address is where a probe goes: the pod, unless it names a host.
func (c *container) address(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = c.pod.object.Status.PodIP
	}
	number, err := containerPort(port, c.spec)
	return net.JoinHostPort(host, strconv.Itoa(int(number))), err
}

// containerPort resolves a port's number or name.
func containerPort(port intstr.IntOrString, containers ...*corev1.Container) (int32, error) {
	if port.Type == intstr.Int {
		return port.IntVal, nil
	}
	for _, c := range containers {
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				return p.ContainerPort, nil
			}
		}
	}
	return 0, fmt.Errorf("port %q: %w", port.StrVal, fault.NotFound)
}
