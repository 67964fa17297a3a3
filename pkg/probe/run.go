package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// linkQuiet is how long the network has to be quiet before a change of it is looked at:
// a link that comes up reports several times within a second.
const linkQuiet = 2 * time.Second

// requestTimeout bounds one conversation with the apiserver.
const requestTimeout = 30 * time.Second

// Run inspects this machine at every interval, and soon after a network link changed,
// and writes what it found for the agent. It returns when ctx ends.
func Run(ctx context.Context, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	cfg := Config{NodeName: o.NodeName, HostRoot: o.HostRoot, PCIIDs: o.PCIIDs}
	if o.Once {
		return once(ctx, o, cfg)
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	l := &loop{
		collect:  func(ctx context.Context) []hardware.Observation { return Collect(ctx, cfg) },
		publish:  (&publisher{client: client, namespace: o.Namespace, node: o.NodeName}).put,
		interval: o.Interval,
		clock:    clock.RealClock{},
		changed:  make(chan struct{}, 1),
		log:      slog.With("node", o.NodeName),
	}
	if err := watchLinks(ctx, l.notify); err != nil {
		l.log.WarnContext(ctx, "link changes show at the next interval only", "error", err)
	}
	if err := serveHealth(ctx, o.HealthAddress, &l.ready); err != nil {
		return err
	}
	l.log.InfoContext(ctx, "node probe started", "hostRoot", o.HostRoot, "interval", o.Interval, "namespace", o.Namespace)
	l.run(ctx)
	return nil
}

// once prints what would be written.
func once(ctx context.Context, o Options, cfg Config) error {
	if cfg.NodeName == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("node name: %w", err)
		}
		cfg.NodeName = name
	}
	out := o.Out
	if out == nil {
		out = os.Stdout
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(Collect(ctx, cfg))
}

func (o *Options) client() (kubernetes.Interface, error) {
	var cfg *rest.Config
	var err error
	if o.Kubeconfig == "" {
		cfg, err = rest.InClusterConfig()
	} else {
		cfg, err = clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("credentials of the cluster: %w", err)
	}
	cfg.Timeout = requestTimeout
	cfg.UserAgent = "o2ims-probe"
	return kubernetes.NewForConfig(cfg)
}

// loop looks, writes and waits.
type loop struct {
	collect  func(context.Context) []hardware.Observation
	publish  func(context.Context, []hardware.Observation) (written bool, err error)
	interval time.Duration
	clock    clock.Clock
	changed  chan struct{} // of capacity one: something about the network changed
	log      *slog.Logger
	ready    atomic.Bool // the last observations were written

	troubles []string // what the last observations could not read
}

// notify makes the loop look soon. It never blocks.
func (l *loop) notify() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *loop) run(ctx context.Context) {
	retry := l.backoff()
	for {
		pause := wait.Jitter(l.interval, 0.1) // many nodes start at once
		switch err := l.look(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			pause = min(pause, retry.Step())
			l.log.ErrorContext(ctx, "observations not written", "error", err, "retryIn", pause.Round(time.Millisecond))
		default:
			retry = l.backoff()
		}
		if !l.wait(ctx, pause) {
			return
		}
	}
}

// backoff starts at a second and ends at the interval, which run imposes.
func (l *loop) backoff() wait.Backoff {
	return wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.5, Steps: 10}
}

// look inspects the machine once and writes what changed.
func (l *loop) look(ctx context.Context) error {
	observations := l.collect(ctx)
	l.sayTroubles(ctx, observations)
	written, err := l.publish(ctx, observations)
	l.ready.Store(err == nil)
	if written {
		l.log.InfoContext(ctx, "observations written", "elements", countElements(observations))
	}
	return err
}

// sayTroubles logs what could not be read, once per change of it.
func (l *loop) sayTroubles(ctx context.Context, observations []hardware.Observation) {
	var troubles []string
	for _, o := range observations {
		if o.Err != "" {
			troubles = append(troubles, o.Source+": "+o.Err)
		}
		for _, what := range o.Missing {
			troubles = append(troubles, o.Source+": "+what)
		}
	}
	switch {
	case slices.Equal(troubles, l.troubles):
	case len(troubles) == 0:
		l.log.InfoContext(ctx, "everything could be read")
	default:
		l.log.WarnContext(ctx, "not everything could be read", "missing", troubles)
	}
	l.troubles = troubles
}

func countElements(observations []hardware.Observation) int {
	n := 0
	for _, o := range observations {
		n += len(o.Machine.Elements)
	}
	return n
}

// wait waits for the pause to end, or for the network to have been quiet for a while
// after a change. It returns false when ctx ended.
func (l *loop) wait(ctx context.Context, pause time.Duration) bool {
	timer := l.clock.NewTimer(pause)
	defer timer.Stop()
	var quiet clock.Timer
	var quietC <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C(): // a network that never rests does not hold us up
			return true
		case <-quietC:
			return true
		case <-l.changed:
			if quiet != nil {
				quiet.Stop()
			}
			quiet = l.clock.NewTimer(linkQuiet)
			quietC = quiet.C()
		}
	}
}

// serveHealth serves liveness and readiness until ctx ends. Without an address it does
// nothing: the probe is on the host's network, where every port may be somebody else's.
func serveHealth(ctx context.Context, address string, ready *atomic.Bool) error {
	if address == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("health address: %w", err)
	}
	server := &http.Server{Handler: healthHandler(ready), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			slog.ErrorContext(ctx, "health server stopped", "error", err)
		}
	}()
	return nil
}

func healthHandler(ready *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "the last observations were not written", http.StatusServiceUnavailable)
		}
	})
	return mux
}
