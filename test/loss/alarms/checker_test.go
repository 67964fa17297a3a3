package alarms

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/o2ims/o2ims/pkg/smo/simulator"
)

// episode is one time that an alert fired, by what identifies it to its sender.
type episode struct {
	cluster, alert string
	starts         int64 // Unix milliseconds
}

func (e episode) String() string {
	return fmt.Sprintf("%s/%s of %s", e.cluster, e.alert, time.UnixMilli(e.starts).UTC().Format("15:04:05.000"))
}

// expectation is what the generator's journal says of an episode.
type expectation struct {
	acked     bool         // something of it was
	revisions map[int]bool // that were sent: whether they were acknowledged
	old       map[int]bool // revisions that were acknowledged before we look
	highest   int          // revision that was acknowledged
	most      int          // that was sent
	ended     bool         // a resolve was sent
	endAcked  bool
	ends      int64
}

// expect sums up the journal. What was sent first before since counts as not acknowledged.
func expect(acts []act, since time.Time) map[episode]*expectation {
	all := make(map[episode]*expectation)
	for _, a := range acts {
		key := episode{a.Cluster, a.Alert, a.Starts.UnixMilli()}
		e := all[key]
		if e == nil {
			e = &expectation{revisions: make(map[int]bool), old: make(map[int]bool), highest: -1}
			all[key] = e
		}
		e.most = max(e.most, a.Revision)
		acked := a.Acked && a.Begun.After(since) && (a.Kind == resolve || !e.old[a.Revision])
		if a.Kind != resolve && a.Acked && !acked {
			e.old[a.Revision] = true // what comes after is a repetition
		}
		if a.Kind == resolve {
			e.ended, e.endAcked, e.ends = true, acked, a.Ends.UnixMilli()
		} else {
			e.revisions[a.Revision] = e.revisions[a.Revision] || acked
		}
		if acked {
			e.acked, e.highest = true, max(e.highest, a.Revision)
		}
	}
	return all
}

// record is an alarmEventRecord as far as we look at it. A notification has the same
// attributes, in the names of either version.
type record struct {
	ID         string    `json:"alarmEventRecordId"`
	Raised     time.Time `json:"alarmRaisedTime"`
	Cleared    time.Time `json:"alarmClearedTime"`
	Severity   int       `json:"perceivedSeverity"`
	Type       int       `json:"notificationEventType"`
	Extensions struct {
		NotificationID string            `json:"notificationId"`
		Sequence       uint64            `json:"sequence"`
		Cluster        string            `json:"cluster"`
		Source         string            `json:"source"`
		ClearedBy      string            `json:"clearedBy"`
		Estimated      bool              `json:"estimated"`
		Labels         map[string]string `json:"labels"`
		Annotations    map[string]string `json:"annotations"`
	} `json:"extensions"`
}

func (r *record) episode() episode {
	return episode{r.Extensions.Cluster, r.Extensions.Labels["alert"], r.Raised.UnixMilli()}
}

func (r *record) revision() int {
	n, err := strconv.Atoi(r.Extensions.Annotations["revision"])
	if err != nil {
		return -1
	}
	return n
}

// Severity of an alarm that is cleared, and the types of notifications, as the standard
// numbers them.
const (
	severityCleared = 5

	typeNew    = 0
	typeChange = 1
	typeClear  = 2
)

// verdict is what the checker found out.
type verdict struct {
	faults  []string // that nothing excuses
	missing []string // that a compaction could excuse
}

const mostFaults = 15 // that are worth reading

func (v *verdict) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

func (v *verdict) lack(format string, args ...any) {
	v.missing = append(v.missing, fmt.Sprintf(format, args...))
}

// judgeHistory compares the history with what must and may be in it.
func judgeHistory(records []record, want map[episode]*expectation) verdict {
	var v verdict
	found := make(map[episode]bool)
	ids := make(map[string]bool)
	for i := range records {
		r := &records[i]
		key := r.episode()
		e := want[key]
		switch {
		case ids[r.ID]:
			v.fault("history: alarm %s is listed twice", r.ID)
			continue
		case found[key]:
			v.fault("history: %s has two records", key)
			continue
		case e == nil:
			v.fault("history: %s was never sent", key)
			continue
		}
		ids[r.ID], found[key] = true, true
		judgeRecord(&v, r, e)
	}
	for key, e := range want {
		if e.acked && !found[key] {
			v.lack("history: %s is missing", key)
		}
	}
	return v
}

func judgeRecord(v *verdict, r *record, e *expectation) {
	key, x := r.episode(), &r.Extensions
	if x.Source == "reconcile" || x.ClearedBy == "reconcile" {
		v.fault("history: a transition of %s was lost, and found by comparing what is open (source %q, cleared by %q)", key, x.Source, x.ClearedBy)
	}
	isCleared := !r.Cleared.IsZero()
	if isCleared != (r.Severity == severityCleared) {
		v.fault("history: %s has severity %d and was cleared at %s", key, r.Severity, r.Cleared)
	}
	switch {
	case isCleared != e.ended:
		v.fault("history: %s is cleared: %t, want %t", key, isCleared, e.ended)
	case e.endAcked && (r.Cleared.UnixMilli() != e.ends || x.Estimated):
		v.fault("history: %s was cleared at %s (estimated: %t), want %s", key, r.Cleared, x.Estimated, time.UnixMilli(e.ends).UTC())
	}
	if n := r.revision(); n < e.highest || n > e.most {
		v.fault("history: %s has revision %d, want %d to %d", key, n, e.highest, e.most)
	}
}

// told is a notification as a subscriber took it.
type told struct {
	id string
	record
}

// toldOf reads what a subscriber took, in order, duplicates included.
func toldOf(entries []simulator.Entry) ([]told, error) {
	var list []told
	for _, e := range entries {
		if !e.Taken {
			continue
		}
		var r record
		if err := json.Unmarshal(e.Body, &r); err != nil {
			return nil, fmt.Errorf("notification %s: %w", e.NotificationID, err)
		}
		list = append(list, told{r.Extensions.NotificationID, r})
	}
	return list, nil
}

// once leaves out what a subscriber had taken already, and counts that. late are those
// after which others had come.
func once(taken []told) (first []told, duplicates, late int) {
	seen := make(map[string]bool)
	for i, n := range taken {
		if seen[n.id] {
			duplicates++
			if taken[i-1].id != n.id {
				late++
			}
			continue
		}
		seen[n.id] = true
		first = append(first, n)
	}
	return first, duplicates, late
}

// wishes are what a subscriber wants to be told of.
type wishes struct {
	cluster string // of one cluster only; empty: of all
	noClear bool   // not of ends
	partial bool   // it subscribed when alerts were firing already
}

func (w wishes) cares(e episode) bool { return w.cluster == "" || w.cluster == e.cluster }

// judgeTold compares what a subscriber was told, once each, with what it must and may hear.
func judgeTold(name string, list []told, want map[episode]*expectation, w wishes) verdict {
	var v verdict
	order := make(map[[2]string]*progress)
	heard := make(map[episode]*hearing)
	for i := range list {
		n := &list[i]
		key := n.episode()
		if got := n.Extensions.Sequence; got != uint64(i+1) {
			v.fault("%s: notification %d of %s has sequence %d", name, i+1, key, got)
		}
		if want[key] == nil || !w.cares(key) || w.noClear && n.Type == typeClear {
			v.fault("%s: a notification of type %d about %s, which is none of its business", name, n.Type, key)
			continue
		}
		alert := [2]string{key.cluster, key.alert}
		p := order[alert]
		if p == nil {
			p = &progress{unknown: w.partial}
			order[alert] = p
		}
		if why := p.step(key.starts, n.Type, w); why != "" {
			v.fault("%s: type %d about %s: %s", name, n.Type, key, why)
		}
		h := heard[key]
		if h == nil {
			h = &hearing{revisions: make(map[int]int)}
			heard[key] = h
		}
		h.hear(n)
	}
	for key, e := range want {
		if w.cares(key) {
			judgeHeard(&v, name, key, e, heard[key], w)
		}
	}
	return v
}

// progress is how far the story of one alert has been told.
type progress struct {
	unknown bool // nothing was told of it yet, and it may have begun before
	open    bool
	starts  int64
}

// step tells why a notification does not follow on the ones before; empty: it does.
func (p *progress) step(starts int64, kind int, w wishes) (why string) {
	switch {
	case kind == typeNew && p.open && !w.noClear:
		why = "another episode has not ended"
	case kind == typeNew && starts <= p.starts:
		why = "a later episode has been told of"
	case kind != typeNew && !p.unknown && (!p.open || starts != p.starts):
		why = "it is not the episode that is open"
	}
	p.unknown, p.open, p.starts = false, kind != typeClear, starts
	return why
}

// hearing is what was told of an episode.
type hearing struct {
	news, ends int
	revisions  map[int]int // how often, by NEW or CHANGE
	cleared    time.Time
}

func (h *hearing) hear(n *told) {
	switch n.Type {
	case typeNew:
		h.news++
		h.revisions[n.revision()]++
	case typeChange:
		h.revisions[n.revision()]++
	case typeClear:
		h.ends++
		h.cleared = n.Cleared
	}
}

func judgeHeard(v *verdict, name string, key episode, e *expectation, h *hearing, w wishes) {
	if h == nil {
		if e.acked && !(w.noClear && onlyEnd(e)) {
			v.lack("%s: was told nothing of %s", name, key)
		}
		return
	}
	if h.news > 1 || h.news == 0 && !w.partial {
		v.fault("%s: was told %d times that %s began", name, h.news, key)
	}
	for revision, acked := range e.revisions {
		switch times := h.revisions[revision]; {
		case times > 1:
			v.fault("%s: was told %d times of revision %d of %s", name, times, revision, key)
		case times == 0 && acked:
			v.lack("%s: was not told of revision %d of %s", name, revision, key)
		}
	}
	for revision := range h.revisions {
		if _, sent := e.revisions[revision]; !sent {
			v.fault("%s: was told of revision %d of %s, which was never sent", name, revision, key)
		}
	}
	switch {
	case w.noClear:
	case h.ends > 1, h.ends == 1 && !e.ended:
		v.fault("%s: was told %d times that %s ended", name, h.ends, key)
	case h.ends == 0 && e.endAcked:
		v.lack("%s: was not told that %s ended", name, key)
	case h.ends == 1 && e.endAcked && h.cleared.UnixMilli() != e.ends:
		v.fault("%s: was told that %s ended at %s, want %s", name, key, h.cleared, time.UnixMilli(e.ends).UTC())
	}
}

// onlyEnd tells whether nothing but the end of an episode was acknowledged since the
// subscription.
func onlyEnd(e *expectation) bool {
	for _, acked := range e.revisions {
		if acked {
			return false
		}
	}
	return true
}

// sameOrder tells whether two subscribers took what both took in the same order. Both lists
// have each notification once.
func sameOrder(a, b []told) error {
	in := make(map[string]int, len(b))
	for i, n := range b {
		in[n.id] = i
	}
	last := -1
	for _, n := range a {
		i, both := in[n.id]
		if !both {
			continue
		}
		if i < last {
			return fmt.Errorf("notification %s about %s comes before another here and after it there", n.id, n.episode())
		}
		last = i
	}
	return nil
}
