package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
)

// Handler is all that the API port serves.
func (s *Server) Handler() http.Handler {
	health := s.healthHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
			health.ServeHTTP(w, r)
			return
		}
		s.serve(w, r)
	})
}

// request is one request on its way through the server.
type request struct {
	id       string
	trace    string // of the W3C trace it is part of, else its own id
	path     string // as the client wrote it, escaped and without query
	template string // of the path, such as /…/resourcePools/{resourcePoolId}
	vars     map[string]string
	method   string
	began    time.Time
	origin   origin

	caller auth.Identity
	known  bool // the caller proved who it is
}

// otherTemplate stands in metrics for all paths that do not exist.
const otherTemplate = "other"

// begin takes a request in.
func (s *Server) begin(r *http.Request) *request {
	id := uuid.NewString()
	return &request{
		id: id, trace: traceID(r, id), path: r.URL.EscapedPath(),
		template: otherTemplate, method: knownMethod(r.Method), began: s.parts.Now(),
		origin: originOf(r, s.parts.TrustedProxy),
	}
}

// serve answers one request, logs and counts it.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	req := s.begin(r)
	ctx, told := rest.WithAudit(rest.WithRequestID(r.Context(), req.id))
	r = rest.Normalize(s.canonical(r)).WithContext(ctx)
	r.Body = http.MaxBytesReader(w, r.Body, s.maxBodyBytes(r.URL.Path))

	var match mux.RouteMatch
	found := s.router.Match(r, &match) && match.MatchErr == nil
	if found {
		req.vars = decoded(match.Vars)
		r = mux.SetURLVars(r, req.vars)
		if template, err := match.Route.GetPathTemplate(); err == nil {
			req.template = template
		}
	}

	out := &recorder{ResponseWriter: w}
	out.Header().Set("X-Request-Id", req.id)
	out.Header().Set("X-Content-Type-Options", "nosniff")
	out.Header().Set("Cache-Control", "no-store")
	defer func() {
		cause := recover()
		if cause != nil {
			s.recovered(out, r, cause)
		}
		s.finished(r.Context(), req, out, told)
		if cause != nil && out.broken {
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
	}()

	if err := rest.CheckSize(r); err != nil {
		rest.WriteProblem(out, r, err)
		return
	}
	if !s.guarded(r.URL.Path) {
		rest.WriteProblem(out, r, errNoSuchPath)
		return
	}
	r = s.clients.judge(out, r)
	ctx, err := s.admit(r, req)
	if err != nil {
		rest.WriteProblem(out, r, s.understood(r.URL.Path, err))
		return
	}
	if !found || s.hidden(r.URL.Path) {
		rest.WriteProblem(out, r, errNoSuchPath)
		return
	}
	body := &compressor{ResponseWriter: out, writers: &s.gzip, request: r}
	match.Handler.ServeHTTP(body, r.WithContext(ctx))
	body.end()
}

// admit finds out who sends a request, whether it sends too many, and whether it may send
// this one; in this order, so that who sends too many costs the apiserver nothing.
func (s *Server) admit(r *http.Request, req *request) (context.Context, error) {
	ctx, err := s.authenticate(r, req)
	if err != nil {
		return nil, err
	}
	req.caller, req.known = auth.IdentityOf(ctx)
	if err := s.limits.admit(req.caller.Name); err != nil {
		return nil, err
	}
	return ctx, s.parts.Gate.Authorize(r.WithContext(ctx), req.method, req.template)
}

// understood returns the error of a request that was not admitted as one that makes its client
// come back.
func (s *Server) understood(path string, err error) error {
	wait, _ := fault.RetryAfter(err)
	if m := s.mountOf(path); m == nil || !m.Retries5xxOnly || !errors.Is(err, fault.RateLimited) {
		return err
	}
	return fault.WithRetryAfter(fmt.Errorf("%v: %w", err, fault.Unavailable), wait)
}

func (s *Server) authenticate(r *http.Request, req *request) (context.Context, error) {
	if s.parts.Gate.JudgesItself(r) {
		return s.parts.Gate.Authenticate(r, req.method, req.template)
	}
	shown := credentialsOf(r)
	from := sourceOf(req.origin, shown)
	end, err := s.limits.try(from, shown)
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, err := s.parts.Gate.Authenticate(r, req.method, req.template)
	switch {
	case err == nil:
		s.limits.known(shown)
	case errors.Is(err, fault.Unauthenticated):
		s.limits.refused(from, shown)
	}
	return ctx, err
}

// hidden tells whether a path is switched off.
func (s *Server) hidden(path string) bool { return s.parts.Hidden != nil && s.parts.Hidden(path) }

// decoded returns path parameters as they are meant.
func decoded(vars map[string]string) map[string]string {
	for name, value := range vars {
		if text, err := url.PathUnescape(value); err == nil {
			vars[name] = text
		}
	}
	return vars
}

var errNoSuchPath = fmt.Errorf("path: %w", fault.NotFound)

// recovered answers a request whose handler panicked.
func (s *Server) recovered(out *recorder, r *http.Request, cause any) {
	if err, ok := cause.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		slog.ErrorContext(r.Context(), "handler panicked", "correlationId", rest.RequestID(r.Context()), "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
	}
	if out.status == 0 {
		rest.WriteProblem(out, r, fmt.Errorf("panic: %v", cause))
		return
	}
	out.broken = true
}

func (s *Server) finished(ctx context.Context, req *request, out *recorder, told *rest.Audit) {
	status := out.status
	if status == 0 {
		status = http.StatusOK
	}
	duration := s.parts.Now().Sub(req.began)
	durationMs := float64(duration.Microseconds()) / 1000
	s.metrics.duration.WithLabelValues(req.method, req.template, strconv.Itoa(status)).Observe(duration.Seconds())
	slog.InfoContext(ctx, "request served", "method", req.method, "path", req.template, "status", status,
		"bytes", out.bytes, "durationMs", durationMs, "user", req.caller.Name, "traceId", req.trace, "correlationId", req.id)
	if audited(req, told) {
		s.audit(ctx, req, told, status, durationMs)
	}
}

// knownMethod keeps strangers from making up labels.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	default:
		return "other"
	}
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the answer begins
	bytes  int64
	broken bool // the handler stopped amid its answer
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type requestMetrics struct{ duration *prometheus.HistogramVec }

func newRequestMetrics(r prometheus.Registerer) requestMetrics {
	m := requestMetrics{duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "o2ims_http_request_duration_seconds",
		Help:    "How long requests took, by template of the path.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"method", "path", "code"})}
	r.MustRegister(m.duration)
	return m
}

// logAt is for code that only knows package log.
func logAt(level slog.Level) *log.Logger {
	return slog.NewLogLogger(slog.Default().Handler(), level)
}
