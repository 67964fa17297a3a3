package intake

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/fault"
)

// Paths that senders post to.
const (
	WebhookPath = "/alerts/v1/webhook" // what Alertmanager's webhook_configs send
	PushPath    = "/api/v2/alerts"     // what Prometheus sends to an Alertmanager
	healthyPath = "/-/healthy"
)

// Limits on connections and requests.
const (
	maxBodyBytes      = 16 << 20
	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second // waiting for the journal included
	idleTimeout       = 5 * time.Minute
	shutdownTimeout   = 5 * time.Second

	// inFlightBytes bounds the bodies that are being read or waited for: a storm of small
	// ones passes side by side, large ones queue. leastBytes is what a request costs us
	// however small its body is.
	inFlightBytes = 32 << 20
	leastBytes    = 16 << 10
	queueTimeout  = 10 * time.Second
)

// parser reads a body of one kind; see parseWebhook.
type parser func(r io.Reader, now time.Time) (message, error)

// receiver takes what senders post and answers them.
//
// 200 is given only when the recorder has everything that could be taken. What cannot be
// taken costs no other alert of the same body. 503 is given for whatever a retry can mend,
// and a 4xx only for what none can: so Alertmanager, which retries on 5xx alone, neither
// gives up what could still arrive nor repeats what never will.
type receiver struct {
	recorder  alert.Recorder
	admission admission
	drops     *drops
	truncated func() // called when a sender left alerts out
	now       func() time.Time
	inFlight  *semaphore.Weighted
}

func (s *receiver) handler() http.Handler {
	h := http.NewServeMux()
	h.HandleFunc("POST "+WebhookPath, s.taking(alert.ViaWebhook, parseWebhook))
	h.HandleFunc("POST "+PushPath, s.taking(alert.ViaPush, parsePush))
	h.HandleFunc("GET "+healthyPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "OK\n") })
	return h
}

func (s *receiver) taking(via string, parse parser) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := s.now() // before the body: what it says was true by then
		err := s.admission.admit(r)
		if err == nil {
			err = s.take(w, r, via, parse, began)
		}
		answer(w, r, via, err)
	}
}

func (s *receiver) take(w http.ResponseWriter, r *http.Request, via string, parse parser, began time.Time) error {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return fmt.Errorf("Content-Encoding %q: %w", encoding, errUnsupported)
	}
	weight := weigh(r.ContentLength)
	waiting, cancel := context.WithTimeout(r.Context(), queueTimeout)
	defer cancel()
	if err := s.inFlight.Acquire(waiting, weight); err != nil {
		return fmt.Errorf("too many alerts at once: %w", fault.Unavailable)
	}
	defer s.inFlight.Release(weight)

	body := &source{reader: http.MaxBytesReader(w, r.Body, maxBodyBytes)}
	m, err := parse(body, began)
	err = s.verdict(&m, err, body.err)
	s.drops.add(r.Context(), via, m.dropped, m.cause)
	if len(m.alerts) > 0 {
		if err := s.recorder.Record(r.Context(), alert.Observation{Via: via, At: began, Alerts: m.alerts}); err != nil {
			return fmt.Errorf("%d alerts not recorded: %w: %w", len(m.alerts), err, fault.Unavailable)
		}
	}
	if m.truncated > 0 {
		slog.WarnContext(r.Context(), "sender left alerts out; set max_alerts to 0", "via", via, "truncatedAlerts", m.truncated)
		s.truncated()
	}
	return err
}

// verdict tells trouble on the way, which a retry mends, from a body that is bad in itself.
func (s *receiver) verdict(m *message, parsed, read error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(read, &tooLarge):
		m.drop(reasonBodyTooLarge, read)
		return fmt.Errorf("a body beyond %d bytes: %w", tooLarge.Limit, fault.TooLarge)
	case read != nil:
		return fmt.Errorf("body: %w: %w", read, fault.Unavailable)
	case parsed != nil:
		m.drop(reasonBodyMalformed, parsed)
		return parsed
	}
	return nil
}

func weigh(length int64) int64 {
	if length < 0 { // chunked: it can be anything
		length = maxBodyBytes
	}
	return min(max(length, leastBytes), maxBodyBytes)
}

// source remembers why reading failed, which a JSON decoder does not tell reliably.
type source struct {
	reader io.Reader
	err    error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// errUnsupported means that the body is encoded as we do not decode.
var errUnsupported = errors.New("unsupported encoding")

// answers are tried in order. Whatever is none of these is our own trouble, and as such may
// pass.
var answers = []struct {
	kind   error
	status int
}{
	{fault.Unavailable, http.StatusServiceUnavailable},
	{fault.Unauthenticated, http.StatusUnauthorized},
	{fault.Forbidden, http.StatusForbidden},
	{fault.TooLarge, http.StatusRequestEntityTooLarge},
	{errUnsupported, http.StatusUnsupportedMediaType},
	{fault.Invalid, http.StatusBadRequest},
}

func answer(w http.ResponseWriter, r *http.Request, via string, err error) {
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	status := http.StatusServiceUnavailable
	for _, a := range answers {
		if errors.Is(err, a.kind) {
			status = a.status
			break
		}
	}
	switch status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	slog.WarnContext(r.Context(), "alerts refused", "via", via, "status", status, "sender", r.RemoteAddr, "error", err)
	http.Error(w, http.StatusText(status), status)
}

// serve answers on listener until ctx ends, then lets requests finish for a while.
func (s *receiver) serve(ctx context.Context, listener net.Listener, config *tls.Config) error {
	server := &http.Server{
		Handler:           s.handler(),
		TLSConfig:         config,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug), // strangers who speak no TLS
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("alerts server: %w", err)
	case <-ctx.Done():
	}
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer done()
	if err := server.Shutdown(grace); err != nil {
		return server.Close()
	}
	return nil
}
