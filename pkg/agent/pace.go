package agent

import "time"

// pace decides when a report may be written: the first at once, then a while after the
// change that caused it, so that changes that come together travel together, and never
// more often than the hub is to be asked.
type pace struct {
	debounce    time.Duration
	minInterval time.Duration

	pendingSince time.Time // when the oldest change that is not reported was noticed
	lastWrite    time.Time
}

// wait returns how long the work of finding out what changed may be put off: nothing
// could be written before that anyway.
func (p *pace) wait(now time.Time) time.Duration {
	if p.pendingSince.IsZero() {
		return 0
	}
	return max(0, p.due().Sub(now))
}

// changed notes that the report is out of date, and returns how long it has to stay so.
func (p *pace) changed(now time.Time) time.Duration {
	if p.pendingSince.IsZero() {
		p.pendingSince = now
	}
	return max(0, p.due().Sub(now))
}

func (p *pace) due() time.Time {
	if p.lastWrite.IsZero() {
		return p.pendingSince
	}
	due := p.pendingSince.Add(p.debounce)
	if next := p.lastWrite.Add(p.minInterval); next.After(due) {
		due = next
	}
	return due
}

// written notes that everything is reported.
func (p *pace) written(now time.Time) { p.pendingSince, p.lastWrite = time.Time{}, now }

// settled notes that what was pending has undone itself.
func (p *pace) settled() { p.pendingSince = time.Time{} }
