package report

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Encoding is how a body becomes text. There is one; the head names it for the reader's
// sake.
const Encoding = "zstd+base64"

// maxHeadBytes bounds what we look at when somebody else wrote the head.
const maxHeadBytes = 4096

// Envelope is what the heads of all kinds have in common.
type Envelope struct {
	V        int       // schema version
	Epoch    string    // UUID of one run of the agent
	Seq      uint64    // counts the reports of one epoch
	Observed time.Time // when the content was seen first, UTC
	Parts    int       // how many conditions carry the body; 0: there is no body
	Raw      int       // bytes of the body's JSON
	Bytes    int       // bytes of the zstd frame
	SHA256   string    // of the body's JSON, 64 hexadecimal digits
}

// Head is the head of an inventory report.
type Head struct {
	Envelope

	Nodes     int    // machines
	Resources int    // machines and their elements
	Detail    Detail // what had to be left out
}

// Complete tells whether the report has everything the agent knows. What an incomplete
// report lacks is not gone.
func (h Head) Complete() bool { return h.Detail == DetailFull }

// field is one kind-specific entry of a head.
type field struct{ key, value string }

func (h Head) fields() []field {
	return []field{
		{"nodes", strconv.Itoa(h.Nodes)},
		{"resources", strconv.Itoa(h.Resources)},
		{"detail", string(h.Detail)},
	}
}

// String prints the head as it stands in the condition's message.
func (h Head) String() string { return h.print(h.fields()) }

func (e Envelope) print(fields []field) string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=%d epoch=%s seq=%d observed=%s", e.V, e.Epoch, e.Seq, e.Observed.UTC().Format(time.RFC3339Nano))
	for _, f := range fields {
		b.WriteString(" " + f.key + "=" + f.value)
	}
	fmt.Fprintf(&b, " enc=%s parts=%d raw=%d bytes=%d sha256=%s", Encoding, e.Parts, e.Raw, e.Bytes, e.SHA256)
	return b.String()
}

// ParseHead reads the message of the head of an inventory report, such as
//
//	v=1 epoch=6f0c6c0e-… seq=7 observed=2026-11-22T10:00:00Z nodes=1 resources=24 detail=full enc=zstd+base64 parts=1 raw=12168 bytes=2816 sha256=9f2b…
//
// Keys it does not know are passed over. An error wraps fault.Invalid and names the key;
// ReasonOf tells a version we cannot read yet from nonsense.
func ParseHead(message string) (Head, error) {
	l, err := parseLine(message)
	if err != nil {
		return Head{}, fmt.Errorf("head of the inventory report: %w", err)
	}
	h := Head{
		Envelope:  l.envelope(),
		Nodes:     l.count("nodes"),
		Resources: l.count("resources"),
		Detail:    Detail(l.text("detail")),
	}
	if !h.Detail.known() {
		l.fail("detail", "is none of the known levels")
	}
	if err := l.err(); err != nil {
		return Head{}, fmt.Errorf("head of the inventory report: %w", err)
	}
	return h, nil
}

// line is a message in the form key=value, each read at most once. Reading a key that is
// missing or wrong is remembered, so that callers ask once, at the end.
type line struct {
	values map[string]string
	faults []error
}

func parseLine(message string) (*line, error) {
	if len(message) > maxHeadBytes {
		return nil, reject(ReasonMalformed, "%d bytes are too long for a head", len(message))
	}
	l := &line{values: make(map[string]string, 16)}
	for pair := range strings.SplitSeq(message, " ") {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return nil, reject(ReasonMalformed, "%q is not of the form key=value", pair)
		}
		if _, again := l.values[key]; again {
			return nil, reject(ReasonMalformed, "key %q stands there twice", key)
		}
		l.values[key] = value
	}
	return l, nil
}

func (l *line) fail(key, why string) {
	l.faults = append(l.faults, fmt.Errorf("key %q (value %q) %s", key, l.values[key], why))
}

// err returns the first fault: those that follow are often its echo.
func (l *line) err() error {
	if len(l.faults) == 0 {
		return nil
	}
	var r *rejection
	if errors.As(l.faults[0], &r) {
		return r
	}
	return reject(ReasonMalformed, "%v", l.faults[0])
}

// envelope reads the common keys. A version we cannot read is the first thing to say: its
// head may look different.
func (l *line) envelope() Envelope {
	v := l.count("v")
	if len(l.faults) == 0 {
		if err := checkVersion(v); err != nil {
			l.faults = append(l.faults, err)
		}
	}
	e := Envelope{
		V:        v,
		Epoch:    l.uuid("epoch"),
		Seq:      l.number("seq", 64),
		Observed: l.time("observed"),
		Parts:    l.count("parts"),
		Raw:      l.count("raw"),
		Bytes:    l.count("bytes"),
		SHA256:   l.digest("sha256"),
	}
	if enc := l.text("enc"); enc != Encoding {
		l.fail("enc", "is not "+Encoding)
	}
	return e
}

func (l *line) text(key string) string {
	value, found := l.values[key]
	if !found {
		l.faults = append(l.faults, fmt.Errorf("key %q is missing", key))
	}
	return value
}

// number accepts only the form in which we print numbers.
func (l *line) number(key string, bits int) uint64 {
	text := l.text(key)
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil || strconv.FormatUint(n, 10) != text {
		l.fail(key, "is not a number in range")
	}
	return n
}

func (l *line) count(key string) int { return int(l.number(key, 31)) }

func (l *line) uuid(key string) string {
	text := l.text(key)
	if u, err := uuid.Parse(text); err != nil || u.String() != text {
		l.fail(key, "is not a UUID in lower case")
	}
	return text
}

// time accepts UTC only: another offset would print differently.
func (l *line) time(key string) time.Time {
	text := l.text(key)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !strings.HasSuffix(text, "Z") {
		l.fail(key, "is not a time of RFC 3339 in UTC")
	}
	return t
}

func (l *line) digest(key string) string {
	text := l.text(key)
	if len(text) != 64 || strings.Trim(text, "0123456789abcdef") != "" {
		l.fail(key, "is not 64 lower-case hexadecimal digits")
	}
	return text
}

// checkVersion accepts the version that we write and the one before, so that hub and
// agents need not be upgraded at the same moment.
func checkVersion(v int) error {
	switch {
	case v > Version:
		return reject(ReasonFutureVersion, "version %d is newer than %d", v, Version)
	case v < max(1, Version-1):
		return reject(ReasonOldVersion, "version %d is older than %d", v, max(1, Version-1))
	}
	return nil
}

// Reasons with which the hub refuses a report. They stand in condition InventoryIngested,
// and label a metric.
const (
	ReasonMalformed         = "Malformed"         // not of the form of a report
	ReasonFutureVersion     = "FutureVersion"     // upgrade the hub first
	ReasonOldVersion        = "OldVersion"        // upgrade the agent
	ReasonCorrupt           = "Corrupt"           // lengths or digest do not agree
	ReasonTooLarge          = "TooLarge"          // beyond a limit, at the agent or here
	ReasonOtherCluster      = "OtherCluster"      // about another cluster than it is reported for
	ReasonDuplicateIdentity = "DuplicateIdentity" // two machines or elements of one name
	ReasonCollectFailed     = "CollectFailed"     // the agent could not read the cluster
)

// rejection is an error that knows its reason.
type rejection struct {
	reason string
	kind   error
	text   string
}

func (r *rejection) Error() string { return r.text + ": " + r.kind.Error() }
func (r *rejection) Unwrap() error { return r.kind }

func reject(reason, format string, args ...any) error {
	return &rejection{reason: reason, kind: fault.Invalid, text: fmt.Sprintf(format, args...)}
}

// ReasonOf tells why a report was refused, in one of the Reason constants.
func ReasonOf(err error) string {
	var r *rejection
	if errors.As(err, &r) {
		return r.reason
	}
	return ReasonMalformed
}

// Reasons returns all reasons, in ascending order.
func Reasons() []string {
	all := []string{
		ReasonMalformed, ReasonFutureVersion, ReasonOldVersion, ReasonCorrupt, ReasonTooLarge,
		ReasonOtherCluster, ReasonDuplicateIdentity, ReasonCollectFailed,
	}
	slices.Sort(all)
	return all
}
