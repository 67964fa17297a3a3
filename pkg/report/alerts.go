package report

import "fmt"

// Alerts is the body of an alerts report: what the agent's journal holds that the hub has
// not confirmed, and which alerts are open. Texts stand once, in Texts, and are referred to
// by their index. Times are milliseconds of Unix time by the managed cluster's clock, 0
// where there is none; the order of things is told by sequence only.
type Alerts struct {
	// Active is the set of open alerts, or a page of it.
	Active ActiveSet `json:"active"`

	Cluster string `json:"cluster"` // name of the managed cluster

	// Compacted counts the transitions of this epoch that were merged into others because
	// the journal was full.
	Compacted uint64 `json:"compacted,omitempty"`

	// Dropped counts, by reason, alerts of this epoch that an intake could not take, such
	// as one with too many labels.
	Dropped map[string]uint64 `json:"dropped,omitempty"`

	// SkewMS is how far the managed cluster's clock is ahead of the hub's apiserver's.
	SkewMS int64 `json:"skewMs,omitempty"`

	// Texts are what alerts say.
	Texts []AlertText `json:"texts"`

	// Transitions are the oldest that the hub has not confirmed, by ascending sequence
	// without gaps: each one's From, or Seq, is the Seq before it plus one.
	Transitions []Transition `json:"transitions"`

	V int `json:"v"`
}

// AlertText is what an alert says, as Alertmanager has it.
type AlertText struct {
	Annotations  map[string]string `json:"annotations,omitempty"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
	Labels       map[string]string `json:"labels"`
}

// Episode is one time that an alert was open: from its firing to its end. Fingerprint and
// Starts identify it within its managed cluster, whatever epoch the journal is in: of two
// episodes with one fingerprint the later always starts later.
type Episode struct {
	Fingerprint string `json:"fp"`     // 16 hexadecimal digits, of the labels
	Starts      int64  `json:"starts"` // when the alert fired, Unix milliseconds
}

func (e Episode) String() string { return fmt.Sprintf("%s|%d", e.Fingerprint, e.Starts) }

// TransitionType says what happened to an episode.
type TransitionType string

// The types of transition.
const (
	Fired    TransitionType = "f" // the episode began
	Resolved TransitionType = "r" // it ended
	Updated  TransitionType = "u" // its annotations, its generatorURL or its suppression changed

	// CompactedTransitions stands for several transitions of one episode, with the state after the
	// last of them: open unless Ends is set.
	CompactedTransitions TransitionType = "c"
)

// Transition is one entry of the journal.
type Transition struct {
	Count     uint64         `json:"count,omitempty"`     // transitions it stands for; 0: one
	Ends      int64          `json:"ends,omitempty"`      // when the episode ended; 0: it has not
	Estimated bool           `json:"estimated,omitempty"` // Ends is a guess
	From      uint64         `json:"from,omitempty"`      // first sequence it stands for; 0: Seq
	Observed  int64          `json:"obs"`                 // when an intake saw it
	Seq       uint64         `json:"seq"`                 // 1, 2, 3 … in one epoch
	Suppress  bool           `json:"suppressed,omitempty"`
	Text      int            `json:"text"` // index into Texts
	Type      TransitionType `json:"type"`
	Via       string         `json:"via"` // intake: webhook, push, poll or backfill
	Episode
}

// First is the first sequence that a transition stands for.
func (t *Transition) First() uint64 {
	if t.From != 0 {
		return t.From
	}
	return t.Seq
}

// ActiveSet is the set of open alerts once all transitions up to AlertsHead.End have
// happened. When it is too large for a report, there is a page of it: all whose fingerprint
// is greater than After and, unless Through is empty, not greater than Through.
type ActiveSet struct {
	After   string      `json:"after,omitempty"`
	Alerts  []OpenAlert `json:"alerts"` // ascending by fingerprint
	Count   int         `json:"count"`  // of the whole set
	SHA256  string      `json:"sha256"` // of the whole set, see ActiveDigest
	Through string      `json:"through,omitempty"`
}

// Whole tells whether the set is there in full.
func (s *ActiveSet) Whole() bool { return s.After == "" && s.Through == "" }

// OpenAlert is an episode that has not ended.
type OpenAlert struct {
	Opened   uint64 `json:"open"` // sequence of the transition that began it
	Suppress bool   `json:"suppressed,omitempty"`
	Text     int    `json:"text"` // index into Texts
	Episode
}

// AlertsHead is the head of an alerts report. Its Envelope.Epoch is that of the journal.
type AlertsHead struct {
	Envelope

	Firing   int    // open alerts
	Critical int    // of these, with severity critical
	First    uint64 // first sequence among the transitions; 0: there are none
	Last     uint64 // last of them; 0: there are none
	End      uint64 // newest sequence of the journal; when it is Last, or there are no transitions, the active set is that of the report's end
	Rules    string // SHA-256 of the cluster's alerting rules, 64 hexadecimal digits; "-": not known
}

// AlertsIngested is the hub's answer to alerts reports: condition AlertsIngested.
type AlertsIngested struct {
	Store string // UUID of the hub's store: another one has none of what was confirmed before
	Epoch string // of the journal
	Seq   uint64 // every transition up to it is durable

	Need string // SHA-256 of rules whose body the hub asks for; empty: none
	Page string // fingerprint after which a page of the active set shall begin; "-": from the beginning; empty: none

	Reason string // ReasonIngested, or why the report could not be used
}
