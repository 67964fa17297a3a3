package intake

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/o2ims/o2ims/pkg/alert"
)

// chunk is how many alerts go to the recorder at once.
const chunk = 500

// poller compares the book with what Alertmanagers list: the one way to learn of alerts
// that ended unheard, and of those that are silenced or inhibited, which are never sent.
type poller struct {
	alertmanagers []alertmanager // of all who send to us
	recorder      alert.Recorder
	interval      time.Duration
	now           func() time.Time

	poke    chan struct{} // of capacity 1: poll at once
	known   map[string]sighting
	failing bool
}

// soonAgain is when a poll that failed is repeated first; then it takes twice as long each
// time, up to the interval.
const soonAgain = time.Second

// run polls until ctx ends: at once, then at intervals that vary by a tenth, so that a
// fleet does not poll in step.
func (p *poller) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	again := soonAgain
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.poke:
		}
		err := p.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !p.failing:
			slog.WarnContext(ctx, "alerts not polled", "error", err)
		case err == nil && p.failing:
			slog.InfoContext(ctx, "alerts are polled again")
		}
		p.failing = err != nil
		wait := p.interval
		if p.failing {
			wait = min(again, wait)
			again = min(2*again, p.interval)
		} else {
			again = soonAgain
		}
		timer.Reset(time.Duration(float64(wait) * (0.9 + 0.2*rand.Float64())))
	}
}

// soon makes run poll at once.
func (p *poller) soon() {
	select {
	case p.poke <- struct{}{}:
	default: // it will anyway
	}
}

// poll asks every Alertmanager. Alerts that are listed are recorded even when another one
// does not answer; that alerts are missing counts only when all answered in full.
func (p *poller) poll(ctx context.Context) error {
	r := round{began: p.now(), listed: make(map[string]time.Time)}
	var failed error
	for _, a := range p.alertmanagers {
		if err := p.ask(ctx, a, &r); err != nil {
			failed = fmt.Errorf("Alertmanager %s: %w", a, err)
		}
	}
	if failed != nil {
		return failed
	}
	r.answered = p.now()
	next, over := absences(p.known, p.recorder.Open(), r)
	for len(over) > 0 {
		n := min(len(over), chunk)
		if err := p.record(ctx, r.began, over[:n]); err != nil {
			return err
		}
		over = over[n:]
	}
	p.known = next
	return nil
}

// ask records what one Alertmanager lists, a chunk at a time.
func (p *poller) ask(ctx context.Context, a alertmanager, r *round) error {
	started, err := a.started(ctx, p.now)
	if err != nil {
		return err
	}
	r.up = latest(r.up, started)
	var alerts []alert.Alert
	flush := func() error {
		if len(alerts) == 0 {
			return nil
		}
		err := p.record(ctx, r.began, alerts)
		alerts = nil // the recorder may have kept it
		return err
	}
	err = a.alerts(ctx, p.now, func(l listed) error {
		fp := alert.Fingerprint(l.alert.Labels)
		if ends, twice := r.listed[fp]; twice {
			r.listed[fp] = latest(ends, l.ends)
			return nil // what the other replica said will do
		}
		r.listed[fp] = l.ends
		if alerts = append(alerts, l.alert); len(alerts) < chunk {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// record records by the time at which the poll began: what others heard since is newer.
func (p *poller) record(ctx context.Context, began time.Time, alerts []alert.Alert) error {
	return p.recorder.Record(ctx, alert.Observation{Via: alert.ViaPoll, At: began, Alerts: alerts})
}
