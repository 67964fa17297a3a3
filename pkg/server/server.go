// Package server is the manager's HTTP server: TLS, the order in which a request is
// judged, health, metrics and the access log. The APIs are mounted on it.
//
// A request below the prefix of an API is authenticated and authorised before it is known
// whether its path exists, so that a stranger cannot find out what does. What lies outside
// every prefix does not exist for anybody. Only /healthz and /readyz are anonymous; they
// are on a plain port as well, for kubelets and load balancers.
package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/rest"
)

// timeouts bound how long a connection can be held by a client that is slow, or pretends to
// be. They hold for both ports and for all that is mounted.
type timeouts struct {
	header time.Duration // until the header of a request is read, and for a TLS handshake
	read   time.Duration // until all of a request is read
	write  time.Duration // until the answer is written, from the end of the header
	idle   time.Duration // between two requests
}

var defaultTimeouts = timeouts{header: 5 * time.Second, read: 10 * time.Second, write: 30 * time.Second, idle: 120 * time.Second}

const (
	shutdownTimeout = 10 * time.Second
	maxHeaderBytes  = 192 << 10 // beyond rest's limits, where net/http breaks off without a problem

	// maxStreams is how many requests one HTTP/2 connection may have under way. One that
	// begins many and resets them at once (CVE-2023-44487) has no more of them running, and
	// loses its connection when more queue up.
	maxStreams = 100
)

// Mount is one API: what lies below Prefix is served by what Routes registers, to callers
// who may.
type Mount struct {
	Prefix string // such as /o2ims-infrastructureInventory, without a slash at its end
	Alias  string // another spelling of Prefix, whose requests are taken as if they had it; empty: none
	Routes func(*mux.Router)

	MaxBodyBytes int64 // of a request; 0: rest.MaxBodyBytes

	// Retries5xxOnly says that clients take a 429 for a refusal for good, as Alertmanager does
	// with that of a webhook: what it wanted to tell would be lost. Who sends too many requests
	// here is answered 503, with the same Retry-After.
	Retries5xxOnly bool
}

// Check is one condition of readiness. Ready returns nil, or why the process cannot serve
// yet; it is shown to whoever asks, without authentication.
type Check struct {
	Name  string
	Ready func() error
}

// Parts are what the server is put together from.
type Parts struct {
	Mounts  []Mount
	Checks  []Check
	Gate    *auth.Gate
	Metrics *prometheus.Registry

	// Secrets is where a certificate of our own is kept; nil with Options.CertFile.
	Secrets corev1client.SecretInterface

	// ClientCAs returns the CAs of client certificates that are in force; another pool takes
	// effect with the next request. nil, or a nil pool: clients are asked for none.
	ClientCAs func() *x509.CertPool

	// TrustedProxy tells whether an address is that of a proxy that is trusted to say, in
	// X-Forwarded-For, who called it. nil: none is.
	TrustedProxy func(netip.Addr) bool

	// Hidden tells whether a path is one of a service or version that is switched off. For
	// callers that are known it does not exist. nil: none is.
	Hidden func(path string) bool

	// Now tells the time; nil stands for time.Now.
	Now func() time.Time
}

// Server serves the APIs.
type Server struct {
	options Options
	parts   Parts
	router  *mux.Router
	metrics requestMetrics
	certs   certificates
	gzip    gzipWriters
	clients clientCertificates
	limits  *limiter
	times   timeouts

	stopping atomic.Bool

	api, health net.Listener // after Listen
}

// New returns a server that does not listen yet.
func New(o Options, p Parts) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	p.Gate.Identify(rest.RequestID, func(r *http.Request) string { return originOf(r, p.TrustedProxy).String() })
	s := &Server{
		options: o, parts: p, metrics: newRequestMetrics(p.Metrics),
		clients: clientCertificates{cas: p.ClientCAs, now: p.Now},
		limits:  newLimiter(o.Limits, p.Now, p.Metrics),
		times:   defaultTimeouts,
	}
	switch {
	case o.CertFile != "":
		s.certs = &certificateFiles{certFile: o.CertFile, keyFile: o.KeyFile}
	case p.Secrets != nil:
		s.certs = &ownCertificate{secrets: p.Secrets, name: o.CertSecret, names: certificateNames(o), now: p.Now}
	default:
		return nil, errors.New("server: neither certificate files nor a place for Secrets")
	}
	// Another path is another resource, never a redirect; and %2F is part of an identifier.
	s.router = mux.NewRouter().SkipClean(true).UseEncodedPath()
	for _, m := range p.Mounts {
		m.Routes(s.router)
	}
	s.router.Handle(metricsPath, promhttp.HandlerFor(p.Metrics, promhttp.HandlerOpts{ErrorLog: logAt(slog.LevelError)}))
	return s, nil
}

const metricsPath = "/metrics"

// canonical returns the request with the prefix of its API spelled as the API is mounted.
func (s *Server) canonical(r *http.Request) *http.Request {
	for _, m := range s.parts.Mounts {
		left, below := strings.CutPrefix(r.URL.Path, m.Alias)
		if m.Alias == "" || !below || left != "" && left[0] != '/' {
			continue
		}
		u := *r.URL
		u.Path = m.Prefix + left
		if raw, escaped := strings.CutPrefix(u.RawPath, m.Alias); escaped {
			u.RawPath = m.Prefix + raw
		}
		same := *r
		same.URL = &u
		return &same
	}
	return r
}

// guarded tells whether a path is one that only known callers may ask for.
func (s *Server) guarded(path string) bool {
	return path == metricsPath || s.mountOf(path) != nil
}

// mountOf returns the API that a path is below, nil for one that is below none.
func (s *Server) mountOf(path string) *Mount {
	for i := range s.parts.Mounts {
		m := &s.parts.Mounts[i]
		if left, below := strings.CutPrefix(path, m.Prefix); below && (left == "" || left[0] == '/') {
			return m
		}
	}
	return nil
}

// maxBodyBytes is how long the body of a request may be.
func (s *Server) maxBodyBytes(path string) int64 {
	if m := s.mountOf(path); m != nil && m.MaxBodyBytes > 0 {
		return m.MaxBodyBytes
	}
	return rest.MaxBodyBytes
}

// Listen opens both ports. Run does it when nobody has; a caller that wants to know the
// addresses before does it first.
func (s *Server) Listen() error {
	var err error
	if s.api, err = net.Listen("tcp", net.JoinHostPort(s.options.BindAddress, strconv.Itoa(s.options.Port))); err != nil {
		return fmt.Errorf("API port: %w", err)
	}
	if s.health, err = net.Listen("tcp", net.JoinHostPort(s.options.BindAddress, strconv.Itoa(s.options.HealthPort))); err != nil {
		return errors.Join(fmt.Errorf("health port: %w", err), s.api.Close())
	}
	return nil
}

// APIAddress is the host:port of the APIs, after Listen.
func (s *Server) APIAddress() string { return s.api.Addr().String() }

// HealthAddress is the host:port of health, after Listen.
func (s *Server) HealthAddress() string { return s.health.Addr().String() }

// Run serves until ctx ends, then lets requests finish for a while. The plain port is up
// from the first moment: without a certificate the process is alive, but not ready.
func (s *Server) Run(ctx context.Context) error {
	if s.api == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	health := s.httpServer(s.healthHandler())
	api := s.httpServer(s.Handler())
	api.TLSConfig = s.tlsConfig()

	var group sync.WaitGroup
	serve := func(what string, f func() error) {
		group.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	serve("health server", func() error { return health.Serve(s.health) })
	group.Go(func() { s.certs.keep(ctx) })
	serve("API server", func() error { return api.ServeTLS(s.api, "", "") })
	slog.InfoContext(ctx, "serving", "apis", s.APIAddress(), "health", s.HealthAddress())

	<-ctx.Done()
	s.stopping.Store(true)
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	// The plain port goes last: until then it says that we are not ready any more.
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer done()
	err = errors.Join(err, stop(grace, api), stop(grace, health))
	group.Wait()
	return err
}

// stop lets requests finish and then cuts off those that do not.
func stop(grace context.Context, s *http.Server) error {
	if err := s.Shutdown(grace); err != nil {
		return s.Close()
	}
	return nil
}

// tlsConfig is how connections to the APIs are made.
func (s *Server) tlsConfig() *tls.Config {
	config := BaseTLS(s.options.TLSMinVersion)
	config.GetCertificate = s.certs.get
	s.clients.ask(config)
	return config
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.times.header,
		ReadTimeout:       s.times.read,
		WriteTimeout:      s.times.write,
		IdleTimeout:       s.times.idle,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ConnContext:       connContext,
		ErrorLog:          logAt(slog.LevelDebug), // strangers who speak no TLS
	}
}

// healthHandler serves /healthz (the process lives) and /readyz (it can answer).
func (s *Server) healthHandler() http.Handler {
	h := http.NewServeMux()
	h.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	h.HandleFunc("GET /readyz", s.readyz)
	return h
}

func (s *Server) running() error {
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	return nil
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	checks := append([]Check{{"server", s.running}, {"certificate", s.certs.ready}}, s.parts.Checks...)
	var waiting strings.Builder
	for _, c := range checks {
		if err := c.Ready(); err != nil {
			fmt.Fprintf(&waiting, "%s: %v\n", c.Name, err)
		}
	}
	if waiting.Len() > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, waiting.String())
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}
