// Package simulator is an SMO for people who build or integrate one: it receives what we
// send, shows it, keeps a journal, and can be made to behave badly.
//
// It checks what it can see by itself: that the prior state of an object is the state it
// was told before, and which notifications come twice.
package simulator

import (
	"bufio"
	"bytes"
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

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Options are the settings of the simulator, one flag each.
type Options struct {
	Listen string // host:port

	TLS      bool
	CertFile string // with TLS; without them, a certificate is made
	KeyFile  string
	CAOut    string // where to write the certificate to trust

	Status      int           // answer to a notification
	FailRate    float64       // share of notifications that are refused, in varying ways
	LostAckRate float64       // share that are taken, but whose sender does not hear of it
	Delay       time.Duration // before each answer
	Seed        uint64        // of what is random

	Journal          string // file, a line of JSON for each notification; empty for none
	RegistrationPath string
	Quiet            bool
}

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Listen, "listen", "127.0.0.1:9090", "host:port to listen on")
	f.BoolVar(&o.TLS, "tls", false, "serve with TLS, with a certificate of its own unless one is given")
	f.StringVar(&o.CertFile, "tls-cert-file", "", "certificate in PEM")
	f.StringVar(&o.KeyFile, "tls-key-file", "", "private key in PEM")
	f.StringVar(&o.CAOut, "tls-ca-out", "", "write the certificate that clients must trust to this file")
	f.IntVar(&o.Status, "status", http.StatusNoContent, "HTTP status that answers a notification")
	f.Float64Var(&o.FailRate, "fail-rate", 0, "share of notifications to refuse, from 0 to 1")
	f.Float64Var(&o.LostAckRate, "lost-ack-rate", 0, "share of notifications to take without the sender hearing of it, from 0 to 1")
	f.DurationVar(&o.Delay, "delay", 0, "how long to wait before each answer")
	f.Uint64Var(&o.Seed, "seed", 0, "of what is random; 0 takes one by chance and prints it")
	f.StringVar(&o.Journal, "journal", "", "file to append every notification to, a line of JSON each")
	f.StringVar(&o.RegistrationPath, "registration-path", "/registration", "path at which an O-Cloud registers")
	f.BoolVar(&o.Quiet, "quiet", false, "do not print notifications")
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var faults []error
	bad := func(flag string, value any, want string) {
		faults = append(faults, fmt.Errorf("--%s is %v, want %s: %w", flag, value, want, fault.Invalid))
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		bad("listen", o.Listen, "host:port")
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		bad("tls-cert-file", o.CertFile, "it together with --tls-key-file")
	}
	if !o.TLS && (o.CertFile != "" || o.CAOut != "") {
		bad("tls", o.TLS, "true when a certificate is given or wanted")
	}
	if o.Status < 200 || o.Status > 599 {
		bad("status", o.Status, "200 to 599")
	}
	for flag, rate := range map[string]float64{"fail-rate": o.FailRate, "lost-ack-rate": o.LostAckRate} {
		if rate < 0 || rate > 1 {
			bad(flag, rate, "0 to 1")
		}
	}
	return errors.Join(faults...)
}

// Entry is one line of the journal: a notification, and what became of it.
type Entry struct {
	Time           time.Time       `json:"time"`
	Path           string          `json:"path"` // of the callback
	NotificationID string          `json:"notificationId"`
	ConsumerID     string          `json:"consumerSubscriptionId,omitempty"`
	Type           int             `json:"notificationEventType"`
	ObjectRef      string          `json:"objectRef,omitempty"`
	Status         int             `json:"status"`              // that was answered; 0 when the connection was broken off
	Taken          bool            `json:"taken"`               // it counts as received
	Duplicate      bool            `json:"duplicate,omitempty"` // it was taken before
	Break          bool            `json:"break,omitempty"`     // its prior state is not what was taken last of this object, or its sequence does not follow
	Body           json.RawMessage `json:"body"`
}

// Simulator is an SMO. It is an http.Handler.
type Simulator struct {
	options Options
	out     io.Writer

	mu      sync.Mutex
	random  *rand.Rand
	journal *os.File
	entries []Entry
	streams map[string]*stream // by path
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
	s := &Simulator{options: o, out: out, random: rand.New(rand.NewPCG(o.Seed, 0)), streams: make(map[string]*stream)}
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

// load goes on from a journal of an earlier run.
func (s *Simulator) load(file string) error {
	entries, err := ReadJournal(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Taken {
			s.take(&e)
		}
		s.entries = append(s.entries, e)
	}
	return nil
}

// ReadJournal reads a journal. A last line that is cut off is left out.
func ReadJournal(file string) ([]Entry, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	var entries []Entry
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("journal: line %d: %w", len(entries)+1, err)
		}
		entries = append(entries, e)
	}
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

// ServeHTTP takes notifications at any path. A GET says that somebody is there.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/journal":
		s.serveJournal(w)
		return
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.URL.Path == s.options.RegistrationPath {
		s.printf("registration: %s\n", body)
		w.WriteHeader(http.StatusOK)
		return
	}
	e, err := read(body)
	if err != nil {
		s.printf("not a notification: %v: %.200s\n", err, body)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	e.Path = r.URL.Path
	if s.options.Delay > 0 {
		timer := time.NewTimer(s.options.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	if err := s.receive(&e); err != nil {
		slog.Error("notification not journalled", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if e.Status == 0 {
		panic(http.ErrAbortHandler) // breaks the connection off
	}
	w.WriteHeader(e.Status)
}

func (s *Simulator) serveJournal(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/jsonl")
	encoder := json.NewEncoder(w)
	for _, e := range s.Entries() {
		if encoder.Encode(e) != nil {
			return // the client is gone
		}
	}
}

// notification is what we look at of a body.
type notification struct {
	NotificationID string          `json:"notificationId"`
	ConsumerID     string          `json:"consumerSubscriptionId"`
	Type           *int            `json:"notificationEventType"`
	ObjectRef      string          `json:"objectRef"`
	Prior          json.RawMessage `json:"priorObjectState"`
	Post           json.RawMessage `json:"postObjectState"`
	Resync         json.RawMessage `json:"resync"`

	// Of notifications about alarms. What the standard has no attribute for is in their
	// extensions.
	AlarmID    string `json:"alarmEventRecordId"`
	Severity   int    `json:"perceivedSeverity"`
	Extensions struct {
		NotificationID string            `json:"notificationId"`
		Sequence       uint64            `json:"sequence"`
		Resync         json.RawMessage   `json:"resync"`
		Labels         map[string]string `json:"labels"`
	} `json:"extensions"`
}

// aboutAlarm tells whether the notification is about an alarm, or about some that were lost.
func (n *notification) aboutAlarm() bool {
	return n.AlarmID != "" || n.Extensions.NotificationID != ""
}

func read(body []byte) (Entry, error) {
	n, err := parse(body)
	if err != nil {
		return Entry{}, err
	}
	return Entry{
		Time: time.Now().UTC(), NotificationID: n.NotificationID, ConsumerID: n.ConsumerID,
		Type: *n.Type, ObjectRef: n.ObjectRef, Body: json.RawMessage(body),
	}, nil
}

func parse(body []byte) (notification, error) {
	var n notification
	if err := json.Unmarshal(body, &n); err != nil {
		return n, err
	}
	if n.aboutAlarm() {
		n.NotificationID, n.Resync = n.Extensions.NotificationID, n.Extensions.Resync
		if n.Resync != nil {
			n.Type = new(int)
		}
	}
	if n.NotificationID == "" || n.Type == nil {
		return n, errors.New("it lacks notificationId or notificationEventType")
	}
	return n, nil
}

// receive decides what becomes of a notification and journals it.
func (s *Simulator) receive(e *Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Status = s.options.Status
	chance := s.random.Float64()
	switch {
	case chance < s.options.FailRate:
		e.Status = []int{http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusNotFound, http.StatusTooManyRequests, 0}[s.random.IntN(5)]
	case chance < s.options.FailRate+s.options.LostAckRate:
		e.Status, e.Taken = 0, true
	}
	if e.Status >= 200 && e.Status < 300 {
		e.Taken = true
	}
	if e.Taken {
		s.take(e)
	}
	s.entries = append(s.entries, *e)
	s.print(e)
	if s.journal == nil {
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = s.journal.Write(append(line, '\n'))
	return err
}

// take notes that a notification counts as received, and compares it with what was before.
func (s *Simulator) take(e *Entry) {
	st := s.streams[e.Path]
	if st == nil {
		st = &stream{taken: make(map[string]bool), states: make(map[string]json.RawMessage)}
		s.streams[e.Path] = st
	}
	if e.Duplicate = st.taken[e.NotificationID]; e.Duplicate {
		return
	}
	st.taken[e.NotificationID] = true
	n, err := parse(e.Body)
	if err != nil || n.Resync != nil {
		clear(st.states) // after a gap, anything may come
		return
	}
	if n.aboutAlarm() {
		e.Break = n.Extensions.Sequence != st.sequence+1 && st.sequence != 0
		st.sequence = n.Extensions.Sequence
		return
	}
	if last, known := st.states[n.ObjectRef]; known {
		e.Break = !bytes.Equal(last, n.Prior)
	}
	st.states[n.ObjectRef] = n.Post
}

// print shows a notification: what happened to what, and which attributes differ.
func (s *Simulator) print(e *Entry) {
	if s.options.Quiet {
		return
	}
	n, err := parse(e.Body)
	verbs := map[int]string{0: "created", 1: "modified", 2: "deleted"}
	if err == nil && n.aboutAlarm() {
		verbs = map[int]string{0: "NEW", 1: "CHANGE", 2: "CLEAR", 3: "ACKNOWLEDGE"}
	}
	remark := ""
	switch {
	case e.Status == 0 && e.Taken:
		remark = "  taken, and the connection broken off"
	case e.Status == 0:
		remark = "  refused by breaking the connection off"
	case !e.Taken:
		remark = fmt.Sprintf("  refused with %d", e.Status)
	case e.Duplicate:
		remark = "  for the second time"
	case e.Break:
		remark = "  (!) it does not follow on what was told before"
	}
	fmt.Fprintf(s.out, "%s  %s  %-8s %s%s\n", e.Time.Format("15:04:05.000"), e.Path, verbs[e.Type], e.ObjectRef, remark)
	if err != nil || !e.Taken || e.Duplicate {
		return
	}
	if n.Resync != nil {
		fmt.Fprintf(s.out, "    events are missing, read everything anew: %s\n", n.Resync)
	}
	if n.AlarmID != "" {
		fmt.Fprintf(s.out, "    perceivedSeverity %d %v\n", n.Severity, n.Extensions.Labels)
	}
	for _, line := range differences(n.Prior, n.Post) {
		fmt.Fprintf(s.out, "    %s\n", line)
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
	fmt.Fprintf(out, "SMO at %s://%s, registration at %s, journal at /journal, seed %d\n", scheme, listener.Addr(), o.RegistrationPath, s.options.Seed)
	server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // what is under way is the sender's to repeat
	defer stopped()
	err = server.Serve(listener)
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.Close())
}

// differences lists the attributes that differ, as path: before → after, in the order of
// their names. Of an object that came or went it lists a few.
func differences(prior, post json.RawMessage) []string {
	before, after := flatten(prior), flatten(post)
	var lines []string
	for _, name := range union(before, after) {
		b, had := before[name]
		a, has := after[name]
		switch {
		case had && has && a == b:
		case had && has:
			lines = append(lines, fmt.Sprintf("%s: %s → %s", name, b, a))
		case has:
			lines = append(lines, fmt.Sprintf("%s: %s", name, a))
		default:
			lines = append(lines, fmt.Sprintf("%s: %s → gone", name, b))
		}
	}
	const most = 12
	if (prior == nil || post == nil) && len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("… and %d attributes more", len(lines)-most))
	}
	return lines
}

// flatten returns the plain values of an object by path, printed as JSON.
func flatten(state json.RawMessage) map[string]string {
	flat := make(map[string]string)
	var value any
	if len(state) == 0 || json.Unmarshal(state, &value) != nil {
		return flat
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, child := range v {
				walk(strings.TrimPrefix(path+"/"+name, "/"), child)
			}
		case []any:
			for i, child := range v {
				walk(fmt.Sprintf("%s/%d", path, i), child)
			}
		default:
			text, err := json.Marshal(v)
			if err == nil {
				flat[path] = string(text)
			}
		}
	}
	walk("", value)
	return flat
}
