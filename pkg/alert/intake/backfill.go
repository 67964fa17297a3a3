package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/fault"
)

// Bounds of a backfill: how much of a long hole is asked for, how finely, and how much of
// it at a time.
const (
	backfillLongest = 24 * time.Hour
	backfillOverlap = 2 * time.Minute // before the hole: an episode that began there began exactly
	backfillLeast   = 5 * time.Second // of a hole that is worth a question
	backfillFine    = time.Second
	backfillStep    = 10 * time.Second
	backfillCoarse  = 5 * time.Minute // Prometheus' lookback: beyond it, steps would miss episodes
	backfillPoints  = 360             // per question

	backfillFirst   = 5 * time.Second        // what intakes wait for it at start
	backfillSoon    = 250 * time.Millisecond // first retry; each next waits twice as long
	backfillLate    = 30 * time.Second
	backfillGivesUp = time.Hour
)

// backfiller asks a Prometheus which alerts fired while nobody here was listening.
//
// When alerts fired is known exactly, when they ended only to a step; so ends are
// estimated. An alert that still fires is left to the poll where there is one, which knows
// its annotations.
type backfiller struct {
	prometheus prometheus
	recorder   alert.Recorder
	stillToo   bool // tell of alerts that still fire, too
	now        func() time.Time
}

// run fills the hole that began at from. It tries for an hour: Prometheus may have been
// away together with us.
func (b *backfiller) run(ctx context.Context, from time.Time) {
	deadline := b.now().Add(backfillGivesUp)
	for wait := backfillSoon; ctx.Err() == nil; wait = min(2*wait, backfillLate) {
		n, err := b.fill(ctx, from)
		if err == nil {
			slog.InfoContext(ctx, "alerts of own downtime looked up", "since", from, "episodes", n)
			return
		}
		if ctx.Err() != nil {
			return
		}
		slog.WarnContext(ctx, "alerts of own downtime not looked up", "since", from, "error", err)
		if b.now().After(deadline) {
			return
		}
		pause(ctx, wait)
	}
}

// fill asks once, and returns how many episodes it recorded.
func (b *backfiller) fill(ctx context.Context, from time.Time) (int, error) {
	from, to := from.Truncate(time.Millisecond), b.now()
	if to.Sub(from) < backfillLeast {
		return 0, nil
	}
	if to.Sub(from) > backfillLongest {
		slog.WarnContext(ctx, "own downtime is longer than is looked up", "since", from, "lookedUp", backfillLongest)
		from = to.Add(-backfillLongest)
	}
	labelling, err := b.prometheus.labelling(ctx)
	if err != nil {
		return 0, fmt.Errorf("Prometheus: %w", err)
	}
	step, err := b.step(ctx)
	if err != nil {
		return 0, fmt.Errorf("Prometheus: %w", err)
	}
	for ; ; step *= 2 {
		found, err := b.ask(ctx, from.Add(-backfillOverlap), to, step)
		if errors.Is(err, fault.TooLarge) && step*2 <= backfillCoarse {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("Prometheus: %w", err)
		}
		alerts := b.alerts(found, labelling, from)
		for part := range slices.Chunk(alerts, chunk) {
			if err := b.recorder.Record(ctx, alert.Observation{Via: alert.ViaBackfill, At: to, Alerts: part}); err != nil {
				return 0, err
			}
		}
		return len(alerts), nil
	}
}

// step is fine enough that no episode falls between two points: the shortest lasts from one
// evaluation to the next.
func (b *backfiller) step(ctx context.Context) (time.Duration, error) {
	interval, err := b.prometheus.evaluationInterval(ctx)
	if err != nil || interval == 0 {
		return backfillStep, err
	}
	return min(max(interval.Truncate(time.Millisecond), backfillFine), backfillStep), nil
}

// ask returns what fired between two times, question by question.
func (b *backfiller) ask(ctx context.Context, from, to time.Time, step time.Duration) (*firings, error) {
	f := &firings{step: step, first: from, series: make(map[string]*firing)}
	for ; !from.After(to); from = from.Add(step * backfillPoints) {
		end := from.Add(step * (backfillPoints - 1))
		if end.After(to) {
			end = to
		}
		f.last = from.Add(end.Sub(from) / step * step)
		if err := b.prometheus.firing(ctx, from, end, step, f.add); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// alerts turns what fired into what is to be recorded, in order of time.
func (b *backfiller) alerts(f *firings, l labelling, hole time.Time) []alert.Alert {
	open := make(map[string]alert.Open)
	for _, o := range b.recorder.Open() {
		open[o.Fingerprint] = o
	}
	var found []alert.Alert
	for _, s := range f.series {
		labels, sent := l.apply(s.labels)
		if !sent {
			continue
		}
		o, isOpen := open[alert.Fingerprint(labels)]
		for n, r := range s.runs {
			a := alert.Alert{Labels: labels, Starts: r.starts}
			if isOpen && (r.cut || !r.starts.After(o.Starts)) {
				a.Starts = o.Starts // it goes on since then
			}
			switch still := n == len(s.runs)-1 && r.last.Equal(f.last); {
			case still && (!b.stillToo || isOpen && a.Starts.Equal(o.Starts)):
				continue
			case still:
			case !r.last.Add(f.step).After(hole):
				continue // over before we went away
			default:
				a.Ends, a.Estimated = r.sample.Add(f.step), true
			}
			found = append(found, a)
		}
	}
	slices.SortStableFunc(found, func(a, b alert.Alert) int { return a.Starts.Compare(b.Starts) })
	return found
}

// firings are runs of points, by time series.
type firings struct {
	step        time.Duration
	first, last time.Time // of the grid
	series      map[string]*firing
}

// firing is when one alert fired.
type firing struct {
	labels map[string]string // before relabelling
	runs   []run
}

// run is a time without a gap in which an alert fired.
type run struct {
	starts time.Time // its first sample
	cut    bool      // it may have begun before that
	last   time.Time // on the grid
	sample time.Time // the last one
}

// add takes the points of one series, which come in order of time.
func (f *firings) add(labels map[string]string, points []point) error {
	key := alert.Fingerprint(labels)
	s := f.series[key]
	if s == nil {
		s = &firing{labels: labels}
		f.series[key] = s
	}
	for _, p := range points {
		if n := len(s.runs); n > 0 && p.at.Sub(s.runs[n-1].last) <= f.step {
			s.runs[n-1].last, s.runs[n-1].sample = p.at, p.sample
			continue
		}
		s.runs = append(s.runs, run{starts: p.sample, cut: p.at.Equal(f.first), last: p.at, sample: p.sample})
	}
	return nil
}

// pause waits, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
