package alarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// Detach clears every alarm of a managed cluster that is gone. Its journal stays: should it
// come back, nothing of it is repeated.
func (i *Ingest) Detach(ctx context.Context, cluster string) error {
	in := i.intake(cluster)
	in.mu.Lock()
	defer in.mu.Unlock()
	for range patience {
		err := i.detach(ctx, cluster)
		if errors.Is(err, store.ErrAlarmsMoved) {
			continue
		}
		if err != nil {
			return fmt.Errorf("alarms of %s, which is detached: %w", cluster, err)
		}
		i.mu.Lock()
		delete(i.clusters, cluster)
		i.mu.Unlock()
		return nil
	}
	return fmt.Errorf("alarms of %s, which is detached: changed by others all the time: %w", cluster, fault.Unavailable)
}

func (i *Ingest) detach(ctx context.Context, cluster string) error {
	term, err := i.lead()
	if err != nil {
		return err
	}
	journal, err := i.store.AlarmJournal(ctx, cluster)
	if err != nil {
		return err
	}
	open, err := i.store.AllOpenAlarms(ctx, cluster)
	if err != nil {
		return err
	}
	at := i.now().UTC().Truncate(time.Millisecond)
	for part := range slices.Chunk(open, batchTransitions) {
		if err := i.endAll(ctx, term, cluster, part, at, journal); err != nil {
			return err
		}
		if journal, err = i.store.AlarmJournal(ctx, cluster); err != nil {
			return err
		}
	}
	if err := term.ForgetAlarmRules(ctx, cluster); err != nil {
		return err
	}
	return term.TidyAlarmRules(ctx)
}

func (i *Ingest) endAll(ctx context.Context, term *store.Term, cluster string, open []store.OpenAlarm, at time.Time, before store.Journal) error {
	b := newBatch(cluster)
	ids := make([]uuid.UUID, len(open))
	for n := range open {
		ids[n] = open[n].ID
	}
	if err := b.read(ctx, i.store, ids); err != nil {
		return err
	}
	for _, id := range ids {
		if r := b.record(id); r.Version > 0 && r.Active() {
			end(&r, at, ClearedByDetach, true)
			b.put(r, Event{true, EventClear})
		}
	}
	out := b.write()
	after := before
	after.Exact, after.Watchdogs, after.WatchdogEnded = false, 0, 0
	out.Before = &before
	if after != before {
		out.After = &after
	}
	if err := term.WriteAlarms(ctx, out); err != nil {
		return err
	}
	i.meters.wrote(&out)
	return nil
}
