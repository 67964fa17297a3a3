// Package simulator is an SMO for people who build or integrate one: it receives what we
// send, shows it, keeps a journal, and can be made to behave badly.
//
// It checks what it can see by itself: that the prior state of an object is the state it
// was told before, and which notifications come twice. O-Clouds register with it; it can
// want a token and a client certificate of those who send.
package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Simulator is an SMO. It is an http.Handler.
type Simulator struct {
	options Options
	access  *access
	out     io.Writer

	mu      sync.Mutex
	random  *rand.Rand
	journal *os.File
	entries []Entry
	streams map[string]*stream // by path
	clouds  map[string]*Registration
}

// stream is what one callback was told.
type stream struct {
	taken  map[string]bool            // by notificationId
	states map[string]json.RawMessage // by objectRef, as taken last

	sequence uint64 // of the last notification about an alarm; 0: there was none
}

// New returns a simulator that prints to out. Close it.
func New(o Options, out io.Writer) (*Simulator, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	access, err := o.newAccess()
	if err != nil {
		return nil, err
	}
	s := &Simulator{
		options: o, access: access, out: out, random: rand.New(rand.NewPCG(o.Seed, 0)),
		streams: make(map[string]*stream), clouds: make(map[string]*Registration),
	}
	if o.Journal == "" {
		return s, nil
	}
	if err := s.load(o.Journal); err != nil {
		return nil, err
	}
	journal, err := os.OpenFile(o.Journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	s.journal = journal
	return s, nil
}

// Close closes the journal.
func (s *Simulator) Close() error {
	if s.journal == nil {
		return nil
	}
	return s.journal.Close()
}

// Entries returns what was received so far, in order.
func (s *Simulator) Entries() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Entry(nil), s.entries...)
}

// maxBodyBytes bounds a notification.
const maxBodyBytes = 16 << 20

// ServeHTTP takes notifications at any path, and registrations at theirs. Any other GET
// than of the journal and of registrations says that somebody is there.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	base := s.options.RegistrationPath
	registration := base != "" && (r.URL.Path == base || strings.HasPrefix(r.URL.Path, base+"/"))
	switch {
	case r.Method == http.MethodGet && r.URL.Path == journalPath:
		s.serveJournal(w)
	case r.Method == http.MethodGet && registration:
		s.serveRegistrations(w, strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, base), "/"))
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodPost && (r.Method != http.MethodDelete || !registration):
		problem(w, http.StatusMethodNotAllowed, "")
	default:
		s.admit(w, r, registration)
	}
}

// admit takes what somebody sends who may.
func (s *Simulator) admit(w http.ResponseWriter, r *http.Request, registration bool) {
	who, err := s.access.check(r)
	if err != nil {
		s.printf("%s %s refused: %v\n", r.Method, r.URL.Path, err)
		err.answer(w)
		return
	}
	body, readErr := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if readErr != nil {
		problem(w, http.StatusBadRequest, "the body cannot be read")
		return
	}
	if !s.delay(r.Context()) {
		return
	}
	if registration {
		s.serveRegistration(w, r, who, body)
		return
	}
	e, readErr := read(body)
	if readErr != nil {
		s.printf("not a notification: %v: %.200s\n", readErr, body)
		problem(w, http.StatusBadRequest, "not a notification: "+readErr.Error())
		return
	}
	e.Path = r.URL.Path
	readErr = s.receive(&e)
	finish(w, e.Status, readErr)
}

// delay waits as told, or until the sender has gone.
func (s *Simulator) delay(ctx context.Context) bool {
	if s.options.Delay <= 0 {
		return true
	}
	timer := time.NewTimer(s.options.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// finish answers with what was decided, once it is in the journal.
func finish(w http.ResponseWriter, status int, err error) {
	switch {
	case err != nil:
		slog.Error("not journalled", "error", err)
		problem(w, http.StatusInternalServerError, "")
	case status == 0:
		panic(http.ErrAbortHandler) // breaks the connection off
	case status >= 400:
		problem(w, status, "told to")
	default:
		w.WriteHeader(status)
	}
}

func (s *Simulator) printf(format string, args ...any) {
	if !s.options.Quiet {
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprintf(s.out, format, args...)
	}
}

// Run serves until ctx ends.
func Run(ctx context.Context, o Options, out io.Writer) error {
	s, err := New(o, out)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	scheme := "http"
	if o.TLS {
		scheme = "https"
		if listener, err = o.secure(listener); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	fmt.Fprintf(out, "SMO at %s://%s, registration at %s, journal at %s, seed %d\n", scheme, listener.Addr(), o.RegistrationPath, journalPath, s.options.Seed)
	server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // what is under way is the sender's to repeat
	defer stopped()
	err = server.Serve(listener)
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.Close())
}
