package alarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

// Ingest turns alerts into alarm records, on the replica that leads. What it writes
// carries the leader's term, so of two that believe to lead only one writes.
//
// A report is applied in batches. Each is one script: it checks that the journal of the
// managed cluster and every record are as they were read, and writes records, events and
// how far the journal got, or nothing. So a crash at any point, a second try and a second
// leader repeat nothing and leave nothing out; computing the records inside the script was
// the alternative, and it would have put the mapping into Lua.
type Ingest struct {
	store   *store.Store
	term    func() *store.Term
	mapper  *Mapper
	options IngestOptions
	now     func() time.Time
	meters  *ingestMeters

	mu       sync.Mutex
	clusters map[string]*intake
}

// intake is what is known of one cluster's reports beside what is stored.
type intake struct {
	mu sync.Mutex // one report of a cluster at a time

	// A hole in the journal, and since when the agent has been told of it.
	hole      hole
	holeSince time.Time

	page   string // Page of the answer: what is asked for now
	passed string // digest of the active set when all pages had been compared

	reported reportedCounts
}

// hole is where transitions are missing.
type hole struct {
	epoch          string
	applied, first uint64
}

// reportedCounts are the agent's counters that have gone into our metrics.
type reportedCounts struct {
	epoch     string
	compacted uint64
	dropped   uint64
}

// NewIngest returns an Ingest. term returns the term in which this process leads, nil
// while it does not.
func NewIngest(o IngestOptions, s *store.Store, term func() *store.Term, m *Mapper) *Ingest {
	i := &Ingest{store: s, term: term, mapper: m, options: o, now: time.Now, clusters: make(map[string]*intake)}
	i.meters = newIngestMeters(o.Registerer)
	return i
}

// errFollower says that another replica does this.
var errFollower = fmt.Errorf("this replica does not lead: %w", fault.Unavailable)

func (i *Ingest) lead() (*store.Term, error) {
	if t := i.term(); t != nil {
		return t, nil
	}
	return nil, errFollower
}

func (i *Ingest) intake(cluster string) *intake {
	i.mu.Lock()
	defer i.mu.Unlock()
	in, known := i.clusters[cluster]
	if !known {
		in = &intake{}
		i.clusters[cluster] = in
	}
	return in
}

// Report is an alerts report as it was found.
type Report struct {
	Cluster string
	Head    report.AlertsHead
	Alerts  report.Alerts

	// Current reads the report's head anew, past every cache. It is asked before the
	// journal turns to another epoch: a cache that lags behind shows one that is over.
	Current func(ctx context.Context) (report.AlertsHead, error)
}

// Result is what became of a report.
type Result struct {
	Answer report.AlertsIngested // to be written once it is durable
	Again  time.Duration         // when to apply the same report again; 0: not before there is another
	Writes int                   // how many records were written
}

// Apply takes a report in. Doing so again changes nothing. An error wraps
// fault.Unavailable when the report should be applied again a little later, or is
// store.ErrFenced; batches that went before it stay applied.
func (i *Ingest) Apply(ctx context.Context, r Report) (Result, error) {
	in := i.intake(r.Cluster)
	in.mu.Lock()
	defer in.mu.Unlock()
	for range patience {
		result, err := i.apply(ctx, in, &r)
		if errors.Is(err, store.ErrAlarmsMoved) {
			i.meters.retries.Inc()
			continue // a client, or we in another term, was faster
		}
		if err != nil {
			return Result{}, fmt.Errorf("alerts of %s: %w", r.Cluster, err)
		}
		return result, nil
	}
	return Result{}, fmt.Errorf("alerts of %s: records are changed by others all the time: %w", r.Cluster, fault.Unavailable)
}

func (i *Ingest) apply(ctx context.Context, in *intake, r *Report) (Result, error) {
	term, err := i.lead()
	if err != nil {
		return Result{}, err
	}
	stored, err := i.store.AlarmJournal(ctx, r.Cluster)
	if err != nil {
		return Result{}, err
	}
	a := &application{ingest: i, term: term, in: in, report: r, stored: stored, journal: turned(stored, r.Head.Epoch)}
	if stored.Epoch != "" && stored.Epoch != r.Head.Epoch {
		over, err := a.isOver(ctx)
		if err != nil || over {
			return Result{Answer: a.answer(), Again: time.Second}, err
		}
		slog.InfoContext(ctx, "journal of alerts begins anew", "managedCluster", r.Cluster, "epoch", r.Head.Epoch, "before", stored.Epoch)
	}
	if wait := a.mindHole(ctx); wait > 0 {
		return Result{Answer: a.answer(), Again: wait}, nil
	}
	if err := a.transitions(ctx); err != nil {
		return Result{}, err
	}
	if a.journal.Applied == r.Head.End {
		if err := a.reconcile(ctx); err != nil {
			return Result{}, err
		}
	}
	i.count(in, r)
	return Result{Answer: a.answer(), Writes: a.writes}, nil
}

// turned is a journal in the epoch of a report.
func turned(j store.Journal, epoch string) store.Journal {
	if j.Epoch == epoch {
		return j
	}
	t := j
	t.Epoch, t.Applied, t.PriorEpoch, t.PriorApplied, t.Exact = epoch, 0, j.Epoch, j.Applied, false
	if j.PriorEpoch == epoch {
		t.Applied = j.PriorApplied
	}
	return t
}

// application is one report on its way into the store.
type application struct {
	ingest *Ingest
	term   *store.Term
	in     *intake
	report *Report

	stored  store.Journal // as it is stored
	journal store.Journal // as it will be
	gap     *store.Gap
	writes  int // records that were written
}

// answer says how far we are.
func (a *application) answer() report.AlertsIngested {
	return report.AlertsIngested{
		Store: a.ingest.store.ID(), Epoch: a.journal.Epoch, Seq: a.journal.Applied,
		Page: a.in.page, Reason: report.ReasonIngested,
	}
}

// isOver tells whether the report's epoch is not the agent's any more. The answer then
// speaks of the epoch that is.
func (a *application) isOver(ctx context.Context) (bool, error) {
	current, err := a.report.Current(ctx)
	if err != nil {
		return false, fmt.Errorf("current report: %w: %w", err, fault.Unavailable)
	}
	if current.Epoch != a.report.Head.Epoch {
		a.journal = a.stored
		return true, nil
	}
	return false, nil
}

// mindHole finds out whether transitions are missing between what is applied and the
// report. The agent may still have them: when the store lost something it had confirmed,
// our answer takes that back, and the agent sends it again. It is given time to; what has
// not come by then is lost, and counted.
func (a *application) mindHole(ctx context.Context) time.Duration {
	head := &a.report.Head
	first := head.First
	if first == 0 {
		first = head.End + 1
	}
	if first <= a.journal.Applied+1 {
		a.in.hole, a.in.holeSince = hole{}, time.Time{}
		return 0
	}
	now := a.ingest.now()
	if h := (hole{head.Epoch, a.journal.Applied, first}); a.in.hole != h {
		// A hole that becomes smaller is being filled, so the time begins anew.
		a.in.hole, a.in.holeSince = h, now
		slog.WarnContext(ctx, "transitions of alerts are missing, the agent is asked for them", "managedCluster", a.report.Cluster,
			"epoch", head.Epoch, "first", a.journal.Applied+1, "last", first-1)
	}
	if left := a.ingest.options.GapGrace - now.Sub(a.in.holeSince); left > 0 {
		return left
	}
	a.gap = &store.Gap{Cluster: a.report.Cluster, Epoch: head.Epoch, First: a.journal.Applied + 1, Last: first - 1, Time: now.UTC().Truncate(time.Millisecond)}
	a.journal.Gaps++
	a.journal.Lost += first - 1 - a.journal.Applied
	a.journal.Applied = first - 1
	a.journal.Exact = false
	return 0
}

// Bounds of one batch: Redis does nothing else while it is written.
const (
	batchTransitions = 256
	batchBytes       = 1 << 20
)

// transitions applies those of the report that have not been.
func (a *application) transitions(ctx context.Context) error {
	pending := a.report.Alerts.Transitions
	for len(pending) > 0 && pending[0].Seq <= a.journal.Applied {
		pending = pending[1:]
	}
	for len(pending) > 0 {
		b := newBatch(a.report.Cluster)
		part := pending[:min(len(pending), batchTransitions)]
		ids := make([]uuid.UUID, len(part))
		for i := range part {
			ids[i] = RecordID(a.report.Cluster, part[i].Episode)
		}
		if err := b.read(ctx, a.ingest.store, ids); err != nil {
			return err
		}
		n := 0
		for n < len(part) && b.size < batchBytes {
			a.transition(b, &part[n])
			n++
		}
		if err := a.write(ctx, b); err != nil {
			return err
		}
		pending = pending[n:]
	}
	if a.journal != a.stored { // another epoch, or a gap, and nothing else
		return a.write(ctx, newBatch(a.report.Cluster))
	}
	return nil
}

// transition brings one entry of the agent's journal into a batch.
func (a *application) transition(b *batch, t *report.Transition) {
	a.journal.Applied = t.Seq
	if dropInjected(t) {
		return
	}
	text := &a.report.Alerts.Texts[t.Text]
	r := b.record(RecordID(a.report.Cluster, t.Episode))
	merged := uint64(0)
	if t.Type == report.CompactedTransitions {
		merged = max(t.Count, 1)
		a.journal.Compacted += merged
	}
	ended := t.Ends != 0
	switch {
	case r.Version == 0:
		r = a.ingest.mapper.raise(news{a.report.Cluster, t.Episode, text, t.Via, t.Suppress, a.ingest.now()})
		r.Compacted = merged
		b.put(r, Event{true, EventNew})
		if ended {
			r = b.record(r.ID)
			end(&r, millis(t.Ends), ClearedByAlert, t.Estimated)
			b.put(r, Event{true, EventClear})
		}
	case !r.Active() || r.Manual:
		// A late duplicate, or one that only the consumer ends.
	default:
		a.goOn(b, r, t, text, merged)
	}
}

// goOn applies a transition to an alarm that is active.
func (a *application) goOn(b *batch, r Record, t *report.Transition, text *report.AlertText, merged uint64) {
	r.Compacted += merged
	adopted := r.Via == ViaHub
	if adopted { // the hub's Alertmanager was faster; from now on the agent says when it ends
		r.Via = t.Via
	}
	suppressed := t.Suppress
	if t.Type == report.Resolved { // says nothing of it
		suppressed = r.Suppressed
	}
	differs := a.ingest.mapper.refresh(&r, text, suppressed, millis(t.Observed))
	switch {
	case t.Ends != 0:
		end(&r, millis(t.Ends), ClearedByAlert, t.Estimated)
		b.put(r, Event{true, EventClear})
	case differs:
		b.put(r, Event{true, EventChange})
	case adopted || merged > 0:
		b.put(r, Event{})
	}
}

// write carries out a batch and moves the journal.
func (a *application) write(ctx context.Context, b *batch) error {
	b.countWatchdogs(&a.journal)
	out := b.write()
	out.Before, out.After, out.Gap = &a.stored, &a.journal, a.gap
	if a.journal == a.stored {
		out.After = nil
	}
	if err := a.term.WriteAlarms(ctx, out); err != nil {
		return err
	}
	a.writes += len(out.Writes)
	a.ingest.meters.wrote(&out)
	if g := a.gap; g != nil {
		slog.ErrorContext(ctx, "transitions of alerts are lost", "managedCluster", g.Cluster, "epoch", g.Epoch, "first", g.First, "last", g.Last)
		a.gap = nil
	}
	a.stored = a.journal
	return nil
}

// count adds what the agent counted since we looked last.
func (i *Ingest) count(in *intake, r *Report) {
	dropped := uint64(0)
	for _, n := range r.Alerts.Dropped {
		dropped += n
	}
	last := in.reported
	if last.epoch != r.Head.Epoch {
		last = reportedCounts{}
	}
	i.meters.compacted.Add(plausible(r.Alerts.Compacted - min(last.compacted, r.Alerts.Compacted)))
	i.meters.dropped.Add(plausible(dropped - min(last.dropped, dropped)))
	in.reported = reportedCounts{r.Head.Epoch, r.Alerts.Compacted, dropped}
}

// AwaitDurable returns when everything that was applied before is durable.
func (i *Ingest) AwaitDurable(ctx context.Context) error { return i.store.AwaitDurable(ctx) }

// OpenClusters returns the managed clusters that have open alarms, in no order; the empty
// name stands for the O-Cloud itself.
func (i *Ingest) OpenClusters(ctx context.Context) ([]string, error) {
	return i.store.OpenAlarmClusters(ctx)
}

// StoreID is the UUID of the store, empty until it is known.
func (i *Ingest) StoreID() string { return i.store.ID() }

// Term is the term in which this process leads, nil while it does not.
func (i *Ingest) Term() *store.Term { return i.term() }
