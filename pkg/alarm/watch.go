package alarm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

// WatchOptions are the settings of the watch over the fleet, one flag each.
type WatchOptions struct {
	SilenceAfter time.Duration // silent or unavailable for so long, a managed cluster has an alarm
	StartGrace   time.Duration // after a start of the hub, in which nobody counts as silent

	FleetWindow  time.Duration // clusters that fall silent within it do so at once
	FleetPercent int           // part of the fleet from which on there is one alarm for all of them
	FleetAtLeast int           // and how many clusters that must be
}

// AddFlags registers the settings with their defaults.
func (o *WatchOptions) AddFlags(f *pflag.FlagSet) {
	f.DurationVar(&o.SilenceAfter, "alarm-silence-after", time.Minute, "how long the hub has to know that a managed cluster is silent or not available before that is an alarm")
	f.DurationVar(&o.StartGrace, "alarm-start-grace", 5*time.Minute, "how long after a start of the hub no managed cluster counts as silent")
	f.DurationVar(&o.FleetWindow, "alarm-fleet-window", 5*time.Minute, "managed clusters that fall silent within this time do so at once")
	f.IntVar(&o.FleetPercent, "alarm-fleet-percent", 20, "when this part of the fleet falls silent at once, in percent, there is one alarm for all of it")
	f.IntVar(&o.FleetAtLeast, "alarm-fleet-at-least", 5, "how many managed clusters that must be at least")
}

// Validate reports everything that is wrong with o.
func (o *WatchOptions) Validate() error {
	var faults []error
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"alarm-silence-after", o.SilenceAfter}, {"alarm-start-grace", o.StartGrace}, {"alarm-fleet-window", o.FleetWindow}} {
		if d.value < 0 {
			faults = append(faults, fmt.Errorf("--%s %s is negative: %w", d.flag, d.value, fault.Invalid))
		}
	}
	if o.FleetPercent < 1 || o.FleetPercent > 100 {
		faults = append(faults, fmt.Errorf("--alarm-fleet-percent %d is not between 1 and 100: %w", o.FleetPercent, fault.Invalid))
	}
	if o.FleetAtLeast < 2 {
		faults = append(faults, fmt.Errorf("--alarm-fleet-at-least %d is less than 2: %w", o.FleetAtLeast, fault.Invalid))
	}
	return errors.Join(faults...)
}

// Health is what the hub knows of one managed cluster beside its alerts.
type Health struct {
	Cluster string

	// Silent is since when nothing is heard of it: the klusterlet or the add-on's agent
	// does not renew its Lease. Zero: it speaks.
	Silent time.Time
	Why    string // words for a person; empty while it speaks

	// Unavailable is since when its klusterlet, which speaks, says that the cluster's
	// apiserver does not answer. Zero: it does not say so.
	Unavailable        time.Time
	UnavailableMessage string

	// Degraded is since when its add-on says so. Zero: it does not.
	Degraded        time.Time
	DegradedMessage string
}

// own names one of our own alarms.
type own struct {
	cluster string // empty: the O-Cloud
	name    string // such as O2IMSClusterSilent
}

// wish is one of our own alarms that should be open.
type wish struct {
	own
	since   time.Time
	summary string
}

// watchdogs are when the last Watchdog of a cluster ended, for those that have none now
// and had one.
type watchdogs map[string]time.Time

// decide says which of our own alarms should be open. open are those that are; started is
// when the hub began to watch.
//
// When many managed clusters fall silent within the window, the hub or its network is the
// likelier cause, and one alarm says so in place of theirs. It stands until fewer than half
// as many as it took are silent; those that still are then have their own. A cluster that
// had its own alarm before keeps it.
func decide(o *WatchOptions, fleet []Health, dogs watchdogs, open map[own]bool, started, now time.Time) []wish {
	var wishes, due []wish // due: silent for long enough, and without an alarm
	var pending, recent int
	var first time.Time // of those that are pending
	starting := now.Sub(started) < o.StartGrace
	for i := range fleet {
		h := &fleet[i]
		silent := wish{own{h.Cluster, alertClusterSilent}, h.Silent, h.Why}
		if !h.Silent.IsZero() && now.Sub(h.Silent) <= o.SilenceAfter+o.FleetWindow {
			recent++
		}
		switch {
		case h.Silent.IsZero():
		case open[silent.own]:
			wishes = append(wishes, silent)
		case !starting:
			pending++
			if first.IsZero() || h.Silent.Before(first) {
				first = h.Silent
			}
			if now.Sub(h.Silent) >= o.SilenceAfter {
				due = append(due, silent)
			}
		}
		wishes = append(wishes, o.others(h, dogs, open, starting, now)...)
	}
	all, many := own{"", alertFleetSilent}, o.fleet(len(fleet))
	switch {
	case open[all] && starting: // what was known before the start stands until there is news
		return append(wishes, wish{all, started, ""})
	case pending >= (many+1)/2 && (open[all] || recent >= many && len(due) > 0):
		summary := fmt.Sprintf("%d of %d managed clusters fell silent at once.", pending, len(fleet))
		return append(wishes, wish{all, first, summary})
	default:
		return append(wishes, due...)
	}
}

// fleet is how many of so many clusters are a large part.
func (o *WatchOptions) fleet(clusters int) int {
	return max(o.FleetAtLeast, int(math.Ceil(float64(clusters)*float64(o.FleetPercent)/100)))
}

// others are the alarms of one cluster beside its silence. While it is silent, nothing new
// is said of it.
func (o *WatchOptions) others(h *Health, dogs watchdogs, open map[own]bool, starting bool, now time.Time) []wish {
	var wishes []wish
	quiet := starting || !h.Silent.IsZero()
	unavailable := own{h.Cluster, alertClusterUnavailable}
	if !h.Unavailable.IsZero() && (open[unavailable] || !quiet && now.Sub(h.Unavailable) >= o.SilenceAfter) {
		wishes = append(wishes, wish{unavailable, h.Unavailable, h.UnavailableMessage})
	}
	degraded := own{h.Cluster, alertAddOnDegraded}
	if !h.Degraded.IsZero() && (open[degraded] || !quiet) {
		wishes = append(wishes, wish{degraded, h.Degraded, h.DegradedMessage})
	}
	missing := own{h.Cluster, alertWatchdog}
	if ended, is := dogs[h.Cluster]; is && (open[missing] || !quiet) {
		wishes = append(wishes, wish{missing, ended, "The alert Watchdog has ended."})
	}
	return wishes
}

// Fleet tells how the managed clusters are. Implementations answer from memory.
type Fleet interface {
	Health(ctx context.Context) ([]Health, error)
}

// Watch raises and clears our own alarms: those that nobody can report, because whoever
// would is silent. Only the leader runs it.
type Watch struct {
	ingest  *Ingest
	fleet   Fleet
	options WatchOptions
	now     func() time.Time
	started time.Time

	mu   sync.Mutex
	term *store.Term
	open map[own]uuid.UUID // as far as this term knows
}

// NewWatch returns a watch over a fleet.
func NewWatch(o WatchOptions, i *Ingest, f Fleet) *Watch {
	return &Watch{ingest: i, fleet: f, options: o, now: time.Now}
}

// watchInterval is how often the fleet is looked at.
const watchInterval = 5 * time.Second

// Run watches until ctx ends: call it where a Lease is held.
func (w *Watch) Run(ctx context.Context) error {
	w.started = w.now()
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errFollower) {
			slog.WarnContext(ctx, "watch over the managed clusters is held up", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Look looks at the fleet once.
func (w *Watch) Look(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	term, err := w.ingest.lead()
	if err != nil {
		return err
	}
	if err := w.learn(ctx, term); err != nil {
		return err
	}
	fleet, err := w.fleet.Health(ctx)
	if err != nil {
		return err
	}
	journals, err := w.ingest.store.AlarmJournals(ctx)
	if err != nil {
		return err
	}
	open := make(map[own]bool, len(w.open))
	for o := range w.open {
		open[o] = true
	}
	wishes := decide(&w.options, fleet, missingDogs(journals), open, w.started, w.now())
	if err := w.carryOut(ctx, term, wishes); err != nil {
		w.term = nil // what is open must be read anew
		return err
	}
	return nil
}

func missingDogs(journals map[string]store.Journal) watchdogs {
	dogs := make(watchdogs)
	for cluster, j := range journals {
		if j.Watchdogs == 0 && j.WatchdogEnded != 0 {
			dogs[cluster] = millis(j.WatchdogEnded)
		}
	}
	return dogs
}

// learn finds out, once in a term, which of our own alarms are open.
func (w *Watch) learn(ctx context.Context, term *store.Term) error {
	if w.term == term {
		return nil
	}
	clusters, err := w.ingest.store.OpenAlarmClusters(ctx)
	if err != nil {
		return err
	}
	all := make(map[own]uuid.UUID)
	for _, cluster := range clusters {
		open, err := w.ingest.store.OpenAlarms(ctx, cluster, store.FromWatch, "", "")
		if err != nil {
			return err
		}
		for _, o := range open {
			r, err := w.ingest.store.Alarm(ctx, o.ID)
			if err != nil {
				return err
			}
			record, err := recordOf(r)
			if err != nil {
				return err
			}
			all[own{cluster, record.Labels[nameLabel]}] = o.ID
		}
	}
	w.term, w.open = term, all
	return nil
}

// carryOut raises what is wished for and not open, and clears what is open and not wished
// for, cluster by cluster.
func (w *Watch) carryOut(ctx context.Context, term *store.Term, wishes []wish) error {
	wished := make(map[own]wish, len(wishes))
	todo := make(map[string]bool)
	for _, want := range wishes {
		wished[want.own] = want
		if _, open := w.open[want.own]; !open {
			todo[want.cluster] = true
		}
	}
	for o := range w.open {
		if _, want := wished[o]; !want {
			todo[o.cluster] = true
		}
	}
	for _, cluster := range slices.Sorted(maps.Keys(todo)) {
		if err := w.settle(ctx, term, cluster, wished); err != nil {
			return fmt.Errorf("own alarms of %q: %w", cluster, err)
		}
	}
	return nil
}

// settle brings our own alarms of one cluster to what is wished.
func (w *Watch) settle(ctx context.Context, term *store.Term, cluster string, wished map[own]wish) error {
	now := w.now().UTC().Truncate(time.Millisecond)
	b := newBatch(cluster)
	opened, ended := make(map[own]uuid.UUID), []own{}
	for _, name := range ownAlarms {
		o := own{cluster, name}
		want, is := wished[o]
		id, open := w.open[o]
		switch {
		case is && !open:
			n := want.news(now)
			id = RecordID(cluster, n.episode)
			if err := b.read(ctx, w.ingest.store, []uuid.UUID{id}); err != nil {
				return err
			}
			r := b.record(id)
			switch {
			case r.Version == 0:
				b.put(w.ingest.mapper.raise(n), Event{true, EventNew})
			case !r.Active():
				reopen(&r, now)
				b.put(r, Event{true, EventNew})
			}
			opened[o] = id
		case open && !is:
			if err := b.read(ctx, w.ingest.store, []uuid.UUID{id}); err != nil {
				return err
			}
			if r := b.record(id); r.Version > 0 && r.Active() {
				end(&r, now, ClearedByAlert, false)
				b.put(r, Event{true, EventClear})
			}
			ended = append(ended, o)
		}
	}
	if b.changed() {
		out := b.write()
		if err := term.WriteAlarms(ctx, out); err != nil {
			return err
		}
		w.ingest.meters.wrote(&out)
	}
	maps.Copy(w.open, opened)
	for _, o := range ended {
		delete(w.open, o)
	}
	return nil
}

// news is the alarm as an alert, which nobody sent.
func (w *wish) news(now time.Time) news {
	labels := map[string]string{nameLabel: w.name, report.SeverityLabel: ownSeverity(w.name)}
	if w.cluster != "" {
		labels["managed_cluster"] = w.cluster
	}
	starts := w.since
	if starts.IsZero() {
		starts = now
	}
	sum := sha256.Sum256([]byte(w.cluster + "|" + w.name))
	return news{
		cluster: w.cluster, via: ViaWatch, received: now,
		episode: report.Episode{Fingerprint: hex.EncodeToString(sum[:8]), Starts: starts.UnixMilli()},
		text:    &report.AlertText{Labels: labels, Annotations: map[string]string{"summary": w.summary}},
	}
}

// watchdogName is the alert that always fires where alerting works.
const watchdogName = "Watchdog"

// countWatchdogs notes in a journal which of a batch's alarms are Watchdogs that began or
// ended.
func (b *batch) countWatchdogs(j *store.Journal) {
	for i := range b.slots {
		s := &b.slots[i]
		if s.after.Labels[nameLabel] != watchdogName || originOf(&s.after) != store.FromAgent {
			continue
		}
		was := s.before.Version > 0 && s.before.Active() && originOf(&s.before) == store.FromAgent
		is := s.after.Version > 0 && s.after.Active()
		switch {
		case is && !was:
			j.Watchdogs++
			j.WatchdogEnded = 0
		case was && !is:
			j.Watchdogs = max(j.Watchdogs, 1) - 1
			if j.Watchdogs == 0 {
				j.WatchdogEnded = s.after.Cleared.UnixMilli()
			}
		}
	}
}

func describe(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ": ")
}

// silence is since when and why a managed cluster is silent, from the conditions of OCM:
// available is that of the ManagedCluster, addOn that of the ManagedClusterAddOn. An absent
// condition, nil, says nothing.
func silence(available, addOn *ConditionState) (since time.Time, why string) {
	bad := make([]*ConditionState, 0, 2)
	if available != nil && available.Status == "Unknown" {
		bad = append(bad, available)
	}
	if addOn != nil && addOn.Status != "True" {
		bad = append(bad, addOn)
	}
	if len(bad) == 0 {
		return time.Time{}, ""
	}
	worst := slices.MinFunc(bad, func(a, b *ConditionState) int { return cmp.Compare(a.Since.UnixNano(), b.Since.UnixNano()) })
	return worst.Since, describe(worst.Of+" is "+worst.Status, worst.Message)
}

// ConditionState is a condition as far as the watch goes by it.
type ConditionState struct {
	Of      string // such as "condition Available of the ManagedCluster"
	Status  string
	Message string
	Since   time.Time
}

// HealthOf judges a managed cluster by OCM's conditions; nil: there is none. hasAddOn is
// false where the add-on is not enabled: then its silence is none.
func HealthOf(cluster string, available, addOn, degraded *ConditionState, hasAddOn bool) Health {
	h := Health{Cluster: cluster}
	if !hasAddOn {
		addOn, degraded = nil, nil
	}
	if available != nil && available.Status == "False" {
		h.Unavailable, h.UnavailableMessage = available.Since, available.Message
		addOn = nil // without an apiserver the agent has no Lease to renew
	}
	h.Silent, h.Why = silence(available, addOn)
	if degraded != nil && degraded.Status == "True" {
		h.Degraded, h.DegradedMessage = degraded.Since, degraded.Message
	}
	return h
}
