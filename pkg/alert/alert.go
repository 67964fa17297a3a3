// Package alert is the alarm path on a managed cluster: intakes hear of alerts, the book
// makes episodes of them, the journal keeps every transition until the hub has it.
//
// An intake may answer 200 only after Record has returned nil: from then on the transition
// is in the journal and cannot get lost.
package alert

import (
	"context"
	"time"
)

// Alert is what an intake heard of one alert.
type Alert struct {
	Labels       map[string]string
	Annotations  map[string]string
	GeneratorURL string

	Starts time.Time // when it fired, as the sender says; zero: not known
	Ends   time.Time // when it was resolved; zero: it is firing

	Suppressed bool // silenced or inhibited
	Estimated  bool // Ends is a guess
}

// Observation is one thing an intake has to say.
type Observation struct {
	Via string // webhook, push, poll or backfill
	At  time.Time

	Alerts []Alert
}

// Recorder takes what intakes hear. It is safe for concurrent use.
type Recorder interface {
	// Record returns nil once every transition that follows from the observation is
	// durable. Otherwise the error wraps fault.Unavailable, and the observation can be
	// repeated. Alerts that can never be taken are counted by reason and left out.
	Record(ctx context.Context, o Observation) error

	// Open returns the episodes that are open, in no order.
	Open() []Open
}

// Open is an alert that is open in the book.
type Open struct {
	Fingerprint string
	Labels      map[string]string
	Starts      time.Time // of the episode
	Seen        time.Time // by any intake, last
	Via         string    // intake that saw it last
}
