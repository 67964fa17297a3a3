package intake

import (
	"time"

	"github.com/o2ims/o2ims/pkg/alert"
)

const (
	// missesToResolve is in how many polls in a row an alert must be missing.
	missesToResolve = 2

	// usualValidity is Alertmanager's resolve_timeout, and more than the four minutes
	// that Prometheus gives its alerts: how long an alert of which nobody told its end is
	// believed without news.
	usualValidity = 5 * time.Minute
)

// sighting is what polls know of one open alert, all by our own clock.
type sighting struct {
	seen   time.Time // beginning of the last poll that listed it; zero: none did
	ends   time.Time // its endsAt at that time
	misses int       // polls in a row that did not list it
	gone   time.Time // when the first of these was answered
}

// round is one poll of every Alertmanager, all of which answered in full.
type round struct {
	began    time.Time            // before the first question
	answered time.Time            // after the last answer
	up       time.Time            // when the youngest of them started
	listed   map[string]time.Time // endsAt of the alerts they listed, by fingerprint
}

// absences decides what it means that open alerts are missing from a poll. It returns what
// to remember for the next one, and the alerts that are over.
//
// An Alertmanager lists no alert that has ended; but neither does it list one that it has
// forgotten because it restarted, until Prometheus, which repeats each alert within its
// validity, has sent it again. So absence counts when it was seen twice, the alert's last
// known endsAt has passed, and every Alertmanager has been up for longer than the alert's
// validity. An alert that another intake spoke of while the poll was under way is as new
// as the poll, and was not missing.
func absences(known map[string]sighting, open []alert.Open, r round) (next map[string]sighting, over []alert.Alert) {
	next = make(map[string]sighting, len(open))
	for i := range open {
		o := &open[i]
		if ends, ok := r.listed[o.Fingerprint]; ok {
			next[o.Fingerprint] = sighting{seen: r.began, ends: ends}
			continue
		}
		s := known[o.Fingerprint]
		if !o.Seen.Before(r.began) {
			s.misses, s.gone = 0, time.Time{}
			next[o.Fingerprint] = s
			continue
		}
		s.misses++
		if s.misses == 1 {
			s.gone = r.answered
		}
		next[o.Fingerprint] = s
		ends, validity := s.end(o.Seen)
		if s.misses < missesToResolve || r.answered.Before(ends) || r.answered.Before(r.up.Add(validity)) {
			continue
		}
		over = append(over, alert.Alert{Labels: o.Labels, Starts: o.Starts, Ends: latest(s.gone, o.Starts), Estimated: true})
	}
	return next, over
}

// end is until when the alert is believed, and for how long it was when it was last spoken
// of: by a poll, or, when that was later, by another intake, which tells no end.
func (s sighting) end(spokenOf time.Time) (ends time.Time, validity time.Duration) {
	validity = s.ends.Sub(s.seen)
	if s.seen.IsZero() || validity <= 0 {
		validity = usualValidity
	}
	if s.seen.IsZero() || spokenOf.After(s.seen) {
		return latest(s.ends, spokenOf.Add(validity)), validity
	}
	return s.ends, validity
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
