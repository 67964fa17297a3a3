package alarm

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

// reconcile compares the open alarms with the alerts that the agent has open. It is for
// when everything before has been applied: what differs then was missed, in a gap or
// because the store is new.
func (a *application) reconcile(ctx context.Context) error {
	set := &a.report.Alerts.Active
	open, err := a.ingest.store.OpenAlarms(ctx, a.report.Cluster, store.FromAgent, set.After, set.Through)
	if err != nil {
		return err
	}
	extra := make(map[uuid.UUID]bool, len(open))
	for _, o := range open {
		extra[o.ID] = true
	}
	var missing []*report.OpenAlert
	for i := range set.Alerts {
		alert := &set.Alerts[i]
		id := RecordID(a.report.Cluster, alert.Episode)
		if !extra[id] {
			missing = append(missing, alert)
		}
		delete(extra, id)
	}
	var ends []uuid.UUID // in the order of the index, so that equal reports make equal events
	for _, o := range open {
		if extra[o.ID] {
			ends = append(ends, o.ID)
		}
	}
	if err := a.endMissed(ctx, ends); err != nil {
		return err
	}
	if err := a.raiseMissed(ctx, missing); err != nil {
		return err
	}
	return a.turnPage(ctx)
}

func (a *application) endMissed(ctx context.Context, ids []uuid.UUID) error {
	at := a.report.Head.Observed.UTC().Truncate(time.Millisecond)
	for part := range slices.Chunk(ids, batchTransitions) {
		b := newBatch(a.report.Cluster)
		if err := b.read(ctx, a.ingest.store, part); err != nil {
			return err
		}
		for _, id := range part {
			r := b.record(id)
			if r.Version == 0 || !r.Active() || r.Manual {
				continue
			}
			end(&r, at, ClearedByReconcile, true)
			b.put(r, Event{true, EventClear})
		}
		if err := a.write(ctx, b); err != nil {
			return err
		}
		a.ingest.meters.reconciled.Add(float64(len(part)))
	}
	return nil
}

func (a *application) raiseMissed(ctx context.Context, alerts []*report.OpenAlert) error {
	at := a.report.Head.Observed.UTC().Truncate(time.Millisecond)
	for part := range slices.Chunk(alerts, batchTransitions) {
		b := newBatch(a.report.Cluster)
		ids := make([]uuid.UUID, len(part))
		for i, alert := range part {
			ids[i] = RecordID(a.report.Cluster, alert.Episode)
		}
		if err := b.read(ctx, a.ingest.store, ids); err != nil {
			return err
		}
		for i, alert := range part {
			text := &a.report.Alerts.Texts[alert.Text]
			switch r := b.record(ids[i]); {
			case r.Version == 0:
				b.put(a.ingest.mapper.raise(news{a.report.Cluster, alert.Episode, text, viaReconcile, alert.Suppress, a.ingest.now()}), Event{true, EventNew})
			case r.Active() && originOf(&r) != store.FromAgent: // heard of from elsewhere first
				r.Via = viaReconcile
				b.put(r, Event{})
			case !r.Active() && r.ClearedBy != ClearedByConsumer:
				reopen(&r, at)
				r.Via = viaReconcile
				a.ingest.mapper.refresh(&r, text, alert.Suppress, at)
				b.put(r, Event{true, EventNew})
			}
		}
		if err := a.write(ctx, b); err != nil {
			return err
		}
		a.ingest.meters.reconciled.Add(float64(len(part)))
	}
	return nil
}

// viaReconcile is the intake of alarms that were found among the open alerts of an agent.
const viaReconcile = "reconcile"

// turnPage decides which page of the active set to ask for. Once all of it has been
// compared, transitions keep the open alarms exact, and pages are asked for only when the
// numbers do not agree.
func (a *application) turnPage(ctx context.Context) error {
	set := &a.report.Alerts.Active
	complete := set.Whole()
	switch {
	case complete:
		a.in.page = ""
	case a.in.page != "":
		asked := a.in.page
		if asked == report.PageFromStart {
			asked = ""
		}
		if set.After == asked { // the page that we asked for
			a.in.page, complete = set.Through, set.Through == ""
		}
		if complete {
			a.in.passed = set.SHA256
		}
	case !a.journal.Exact:
		a.in.page = report.PageFromStart
	default:
		open, err := a.ingest.store.OpenAlarms(ctx, a.report.Cluster, store.FromAgent, "", "")
		if err != nil {
			return err
		}
		if len(open) != set.Count && a.in.passed != set.SHA256 {
			slog.WarnContext(ctx, "open alarms are not as many as the agent has", "managedCluster", a.report.Cluster, "open", len(open), "agent", set.Count)
			a.in.page = report.PageFromStart
		}
	}
	if complete && !a.journal.Exact {
		a.journal.Exact = true
		return a.write(ctx, newBatch(a.report.Cluster))
	}
	return nil
}
