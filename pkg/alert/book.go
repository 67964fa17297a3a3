package alert

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/o2ims/o2ims/pkg/report"
)

// What the book remembers of alerts that are not open.
const (
	// TombstoneAge is how long the end of an episode is remembered, by the clock of the
	// agent. Prometheus repeats for 15 minutes that an alert is resolved; a backfill
	// may look back for hours.
	TombstoneAge = 24 * time.Hour

	// MaxTombstones is how many are remembered, the youngest. They are as many as alerts can
	// be open: when a storm ends, senders repeat the end of each for a while, and one that
	// is not remembered would be written down as a new episode every time, in place of
	// another that is then forgotten.
	MaxTombstones = MaxOpen

	// lateFiring is how long after the end of an episode a message that the same episode
	// fires is taken for one that was under way. After that somebody really says so
	// again: then the end was wrong, and silence would lose an alert.
	lateFiring = 5 * time.Minute

	// latePoll is the same for a poll, which asks for the state of now. It may ask an
	// Alertmanager that has not heard of the end yet.
	latePoll = time.Minute

	// backfillSlack is how far the times of a backfill may be off: it sees samples.
	backfillSlack = time.Minute
)

// Names of intakes, as in Observation.Via.
const (
	ViaWebhook  = "webhook"
	ViaPush     = "push"
	ViaPoll     = "poll"
	ViaBackfill = "backfill"
)

// Book makes episodes of what intakes hear. An alert is its labels. Of one alert at most
// one episode is open; intakes repeat themselves and each other, come late and disagree
// about times, and still every episode begins once and ends once:
//
//   - That an alert fires opens an episode, unless one is open, or the message is one of
//     an episode that has ended meanwhile.
//   - That it is resolved ends the open episode, whatever start it tells. When the start
//     is later than that of the open one, there were two: the open one has ended without
//     our hearing of it, and another came and went.
//   - That it is resolved while none is open is an episode that we missed, unless it is
//     the one that ended last.
//
// Order is that of arrival. Times of senders are data, and are compared only with each
// other. The book is a value without clock or input; it is not safe for concurrent use.
type Book struct {
	open  map[string]*episode
	ended map[string]tombstone
	texts map[string]*report.AlertText // what each alert said last, so that equal texts are in memory once

	undo []before // what to restore on rollback, newest last
}

// episode is one that is open. It is never changed, but for when it was seen.
type episode struct {
	report.Episode

	opened     uint64 // sequence of the transition that began it
	text       *report.AlertText
	suppressed bool

	via  string
	seen int64 // Unix milliseconds
}

// tombstone is the last episode of an alert that ended.
type tombstone struct {
	Starts    int64 `json:"s"`
	Ends      int64 `json:"e"`
	Closed    int64 `json:"c"`           // when we heard of it
	Estimated bool  `json:"g,omitempty"` // Ends is a guess
}

// before is what the book said of a fingerprint.
type before struct {
	fingerprint string
	open        *episode
	ended       tombstone
	hadEnded    bool
}

// entry is a transition with what the alert says. It is never changed.
type entry struct {
	report.Transition // Text means nothing here
	text              *report.AlertText
}

// NewBook returns an empty Book.
func NewBook() *Book {
	return &Book{
		open: make(map[string]*episode), ended: make(map[string]tombstone), texts: make(map[string]*report.AlertText),
	}
}

// Observe returns the transitions that follow from an observation, numbered on from last,
// and notes them. Alerts that cannot be taken are counted by reason.
func (b *Book) Observe(o Observation, last uint64) (entries []*entry, dropped map[string]uint64) {
	for i := range o.Alerts {
		text, reason := textOf(&o.Alerts[i])
		if reason == "" {
			var steps []step
			s := sightingOf(o, &o.Alerts[i], text)
			if known := b.texts[s.fingerprint]; known != nil && sameText(known, text) && maps.Equal(known.Labels, text.Labels) {
				s.text = known
			}
			steps, reason = b.decide(s)
			for _, s := range steps {
				last++
				e := s.entry(last)
				b.note(e)
				entries = append(entries, e)
			}
		}
		if reason != "" {
			if dropped == nil {
				dropped = make(map[string]uint64)
			}
			dropped[reason]++
		}
	}
	return entries, dropped
}

// sighting is what one observation says of one alert, times in Unix milliseconds.
type sighting struct {
	fingerprint  string
	text         *report.AlertText
	starts, ends int64 // 0: not told
	firing       bool
	at           int64
	via          string
	suppressed   bool
	estimated    bool
}

func sightingOf(o Observation, a *Alert, text *report.AlertText) sighting {
	s := sighting{
		fingerprint: Fingerprint(text.Labels), text: text, at: max(1, o.At.UnixMilli()), via: o.Via,
		starts: milli(a.Starts), ends: milli(a.Ends), firing: a.Ends.IsZero(),
		suppressed: a.Suppressed, estimated: a.Estimated,
	}
	if !s.firing && s.ends == 0 { // an end before all calendars
		s.ends, s.estimated = s.at, true
	}
	return s
}

// milli is 0 for a time that nobody can mean.
func milli(t time.Time) int64 {
	if t.Year() < 1971 || t.Year() > 9999 {
		return 0
	}
	return t.UnixMilli()
}

// step is a transition to be.
type step struct {
	sighting
	kind       report.TransitionType
	starts     int64 // of the episode
	ends       int64
	estimated  bool
	suppressed bool
}

func (s step) entry(seq uint64) *entry {
	return &entry{text: s.text, Transition: report.Transition{
		Ends: s.ends, Estimated: s.estimated, Observed: s.at, Seq: seq, Suppress: s.suppressed, Type: s.kind, Via: s.via,
		Episode: report.Episode{Fingerprint: s.fingerprint, Starts: s.starts},
	}}
}

// decide says what follows from a sighting.
func (b *Book) decide(s sighting) (steps []step, dropped string) {
	open, isOpen := b.open[s.fingerprint]
	switch {
	case s.firing && isOpen:
		return b.stillFiring(s, open), ""
	case s.firing:
		if b.lateFiring(s) {
			return nil, ""
		}
		if len(b.open) >= MaxOpen {
			return nil, DroppedTooManyOpen
		}
		return []step{b.fired(s, s.starts, 0)}, ""
	case isOpen && s.via == ViaPoll && (s.at < open.seen || s.starts != open.Starts):
		return nil, "" // missed by a poll that began before somebody else saw it, or another episode
	case isOpen:
		return b.resolvedOpen(s, open), ""
	}
	if b.lateResolved(s) {
		return nil, ""
	}
	f := b.fired(s, cmp.Or(s.starts, min(s.at, s.ends)), 0)
	return []step{f, ended(s, f.starts, s.ends, s.estimated)}, ""
}

// stillFiring says what changed. Who pushes or fills back knows nothing of silences, and
// samples have no annotations.
func (b *Book) stillFiring(s sighting, open *episode) []step {
	open.seen, open.via = max(open.seen, s.at), s.via
	if s.via == ViaBackfill {
		return nil
	}
	suppressed := s.suppressed
	if s.via == ViaPush {
		suppressed = open.suppressed
	}
	if suppressed == open.suppressed && sameText(s.text, open.text) {
		return nil
	}
	return []step{{sighting: s, kind: report.Updated, starts: open.Starts, suppressed: suppressed}}
}

// lateFiring tells whether a message is about the episode that ended last, and was under
// way when it ended.
func (b *Book) lateFiring(s sighting) bool {
	t, found := b.ended[s.fingerprint]
	if !found || s.starts == 0 || t.Estimated || s.starts > t.Ends || !s.notAfter(t.Starts) {
		return false
	}
	late := lateFiring
	if s.via == ViaPoll {
		late = latePoll
	}
	return s.at < t.Closed+late.Milliseconds()
}

// lateResolved tells whether the episode that ended last is the one that is meant.
func (b *Book) lateResolved(s sighting) bool {
	t, found := b.ended[s.fingerprint]
	if !found {
		return false
	}
	if s.starts == 0 {
		return s.ends <= t.Ends || s.at < t.Closed+lateFiring.Milliseconds()
	}
	return s.notAfter(t.Starts) || s.starts <= t.Ends && (s.ends <= t.Ends || s.via == ViaBackfill)
}

// resolvedOpen ends the open episode, unless the message is about the one before it.
func (b *Book) resolvedOpen(s sighting, open *episode) []step {
	if t, found := b.ended[s.fingerprint]; found && s.starts != 0 && s.notAfter(t.Starts) && (s.ends <= t.Ends || s.ends < open.Starts) {
		return nil
	}
	if s.starts == 0 || s.notAfter(open.Starts) {
		return []step{ended(s, open.Starts, s.ends, s.estimated)}
	}
	first := ended(s, open.Starts, s.starts, true)
	first.text, first.suppressed = open.text, open.suppressed
	second := b.fired(s, s.starts, open.Starts)
	return []step{first, second, ended(s, second.starts, s.ends, s.estimated)}
}

// notAfter tells whether the alert started no later than an episode did, as far as the
// sighting's time can be trusted: some senders leave out the fractions of a second.
func (s sighting) notAfter(starts int64) bool {
	slack := int64(0)
	if s.via == ViaBackfill {
		slack = backfillSlack.Milliseconds()
	}
	return s.starts <= starts+slack || starts%1000 == 0 && s.starts/1000 == starts/1000
}

// fired begins an episode later than all before it.
func (b *Book) fired(s sighting, starts, after int64) step {
	if t, found := b.ended[s.fingerprint]; found {
		after = max(after, t.Starts)
	}
	starts = max(cmp.Or(starts, s.at), after+1)
	return step{sighting: s, kind: report.Fired, starts: starts, suppressed: s.suppressed}
}

func ended(s sighting, starts, ends int64, estimated bool) step {
	return step{sighting: s, kind: report.Resolved, starts: starts, ends: ends, estimated: estimated, suppressed: s.suppressed}
}

// note brings the book to the state after a transition: one that was decided just now, or
// one from a journal that is read again.
func (b *Book) note(e *entry) {
	fp := e.Fingerprint
	b.remember(fp)
	b.texts[fp] = e.text
	open := b.open[fp]
	t, hadEnded := b.ended[fp]
	if e.Ends != 0 {
		if open != nil && open.Starts <= e.Starts {
			delete(b.open, fp)
		}
		if !hadEnded || t.Starts <= e.Starts {
			b.ended[fp] = tombstone{Starts: e.Starts, Ends: e.Ends, Closed: e.Observed, Estimated: e.Estimated}
		}
		return
	}
	next := &episode{
		Episode: e.Episode, opened: e.First(), text: e.text, suppressed: e.Suppress, via: e.Via, seen: e.Observed,
	}
	if open != nil && open.Episode == e.Episode {
		next.opened = open.opened
	}
	b.open[fp] = next
}

// replace puts another episode in the place of the one that is open.
func (b *Book) replace(fp string, e *episode) {
	b.remember(fp)
	b.open[fp] = e
}

func (b *Book) remember(fp string) {
	t, hadEnded := b.ended[fp]
	b.undo = append(b.undo, before{fp, b.open[fp], t, hadEnded})
}

// commit forgets how to go back.
func (b *Book) commit() { b.undo = b.undo[:0] }

// rollback restores the book as it was at the last commit.
func (b *Book) rollback() {
	for _, u := range slices.Backward(b.undo) {
		if u.open == nil {
			delete(b.open, u.fingerprint)
		} else {
			b.open[u.fingerprint] = u.open
		}
		if u.hadEnded {
			b.ended[u.fingerprint] = u.ended
		} else {
			delete(b.ended, u.fingerprint)
		}
	}
	b.commit()
}

// bury forgets tombstones that are too old or too many. That is not undone.
func (b *Book) bury(now int64) {
	oldest := now - TombstoneAge.Milliseconds()
	if len(b.ended) > MaxTombstones+MaxTombstones/10 {
		all := make([]int64, 0, len(b.ended))
		for _, t := range b.ended {
			all = append(all, t.Closed)
		}
		slices.Sort(all)
		oldest = max(oldest, all[len(all)-MaxTombstones])
	}
	maps.DeleteFunc(b.ended, func(_ string, t tombstone) bool { return t.Closed < oldest })
	if len(b.texts) > len(b.open)+len(b.ended) {
		maps.DeleteFunc(b.texts, func(fp string, _ *report.AlertText) bool {
			_, ended := b.ended[fp]
			return !ended && b.open[fp] == nil
		})
	}
}

// episodes returns the open ones, ascending by fingerprint.
func (b *Book) episodes() []*episode {
	return slices.SortedFunc(maps.Values(b.open), func(x, y *episode) int { return cmp.Compare(x.Fingerprint, y.Fingerprint) })
}
