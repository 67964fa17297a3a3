package alert

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/report"
)

const (
	// bytesPerSecond is what rewriting the add-on may cost the hub. A status is written,
	// and sent to those who watch it, as a whole.
	bytesPerSecond = 20_000

	// countsInterval is how often figures alone, such as how many alerts were dropped, are
	// a reason to write.
	countsInterval = 5 * time.Minute
)

// ReporterOptions say what a Reporter works with.
type ReporterOptions struct {
	Cluster     string // name of the managed cluster
	Journal     *Standby
	Hub         client.Client // reads of the add-on come from a cache that watches it
	Rules       Rules         // nil: not known
	Clock       clock.PassiveClock
	MinInterval time.Duration        // least time between two writes
	Skew        func() time.Duration // how far our clock is ahead of the hub's; nil: not known
}

// Reporter keeps the alerts report of a managed cluster up to date, and tells the journal
// what the hub has confirmed. It writes at once when nothing was written for a while.
//
// That the hub has confirmed transitions is no reason to take them out of the report: they
// do no harm there, and a write for each confirmation would be as many writes again. Only a
// report of several parts is made smaller.
type Reporter struct {
	o       ReporterOptions
	encoder *report.AlertsEncoder
	seed    maphash.Seed

	next    time.Time // when the next write is allowed
	checked uint64    // fingerprint of the report that was found intact
	page    string    // that was written last
	counts  counts    // that were written last
	counted time.Time
	rules   string // whose body is written
}

// counts are figures that do not belong to a transition.
type counts struct{ compacted, dropped uint64 }

// NewReporter returns a Reporter.
func NewReporter(o ReporterOptions) (*Reporter, error) {
	e, err := report.NewAlertsEncoder()
	if err != nil {
		return nil, err
	}
	return &Reporter{o: o, encoder: e, seed: maphash.MakeSeed()}, nil
}

// Reconcile brings the report up to date, or says when that may be done. There is one
// report per cluster, so the request says nothing.
func (r *Reporter) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	journal := r.o.Journal.journal.Load()
	if journal == nil {
		return reconcile.Result{}, nil // whoever opens it brings us back
	}
	var addon addonv1beta1.ManagedClusterAddOn
	err := r.o.Hub.Get(ctx, client.ObjectKey{Namespace: r.o.Cluster, Name: report.AddOnName}, &addon)
	switch {
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, nil // when it comes, it brings us back
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("ManagedClusterAddOn %s/%s on the hub: %w", r.o.Cluster, report.AddOnName, err)
	}
	conditions := addon.Status.Conditions
	answer, answered := report.FindAlertsIngested(conditions)
	if answered {
		if err := journal.Acknowledge(ctx, answer); err != nil {
			return reconcile.Result{}, err
		}
	}
	if err := r.reportRules(ctx, journal.Epoch(), conditions, answer); err != nil {
		return reconcile.Result{}, err
	}
	return r.reportAlerts(ctx, journal, conditions, answer)
}

func (r *Reporter) reportAlerts(ctx context.Context, journal *Journal, conditions []metav1.Condition, answer report.AlertsIngested) (reconcile.Result, error) {
	state, err := journal.State(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if answer.Epoch != state.Epoch {
		answer.Page = ""
	}
	if answer.Page == "" {
		r.page = ""
	}
	now := r.o.Clock.Now()
	if !r.outdated(state, conditions, answer.Page, now) {
		return reconcile.Result{RequeueAfter: r.untilCounts(state, now)}, nil
	}
	if wait := r.next.Sub(now); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	encoded, err := r.encode(ctx, journal, answer.Page)
	if err != nil {
		return reconcile.Result{}, err
	}
	update := r.encoder.Compose(conditions, report.Stamp{Epoch: state.Epoch, Now: now}, encoded)
	if update.Changed {
		if err := r.apply(ctx, update.Entries, report.FieldManagerAlerts, "alerts"); err != nil {
			return reconcile.Result{}, err
		}
		r.next = now.Add(r.pause(conditions, update.Entries))
		slog.InfoContext(ctx, "alerts reported", "head", update.Entries[0].Message)
	}
	journal.Published(state.Epoch, encoded.Head.Last)
	r.page, r.counts, r.counted = answer.Page, countsOf(state), now
	return reconcile.Result{}, nil
}

func countsOf(s State) counts { return counts{s.Compacted, s.Dropped} }

// untilCounts is when figures alone have to be written, 0 when they are.
func (r *Reporter) untilCounts(s State, now time.Time) time.Duration {
	if countsOf(s) == r.counts {
		return 0
	}
	return max(time.Second, r.counted.Add(countsInterval).Sub(now))
}

// outdated tells whether there is something to say that the report does not.
func (r *Reporter) outdated(s State, conditions []metav1.Condition, page string, now time.Time) bool {
	head, found := report.FindAlertsHead(conditions)
	if !found {
		return s.End > 0 || s.Open > 0 || s.Dropped > 0 || r.rulesHash() != report.RulesUnknown
	}
	switch {
	case head.Epoch != s.Epoch, head.End != s.End, head.Rules != r.rulesHash():
		return true
	case s.First != 0 && (s.First < head.First || s.First > head.Last): // the window moves on, or back
		return true
	case s.First == 0 && head.Last != 0 && head.Parts > 1:
		return true
	case page != "" && page != r.page:
		return true
	case countsOf(s) != r.counts && now.Sub(r.counted) >= countsInterval:
		return true
	}
	fingerprint := report.KindAlerts.Fingerprint(r.seed, conditions)
	if fingerprint == r.checked {
		return false
	}
	if !r.encoder.Intact(conditions) {
		return true
	}
	r.checked = fingerprint
	return false
}

func (r *Reporter) encode(ctx context.Context, journal *Journal, page string) (report.EncodedAlerts, error) {
	j, err := journal.Report(ctx)
	if err != nil {
		return report.EncodedAlerts{}, err
	}
	j.Page, j.Rules = page, r.rulesHash()
	if r.o.Skew != nil {
		j.Alerts.SkewMS = r.o.Skew().Milliseconds()
	}
	encoded, err := r.encoder.Encode(j)
	if err != nil {
		return report.EncodedAlerts{}, fmt.Errorf("alerts report: %w", err)
	}
	return encoded, nil
}

// pause is how long the hub is to be spared after a write.
func (r *Reporter) pause(conditions, written []metav1.Condition) time.Duration {
	bytes := 0
	for _, c := range conditions {
		if !report.KindAlerts.Has(c.Type) {
			bytes += len(c.Message)
		}
	}
	for _, c := range written {
		bytes += len(c.Message)
	}
	return max(r.o.MinInterval, time.Duration(bytes)*time.Second/bytesPerSecond)
}

func (r *Reporter) rulesHash() string {
	if r.o.Rules != nil {
		if hash := r.o.Rules.Hash(); hash != "" {
			return hash
		}
	}
	return report.RulesUnknown
}

// reportRules writes the alerting rules while the hub asks for them, and only the ones that
// it asks for.
func (r *Reporter) reportRules(ctx context.Context, epoch string, conditions []metav1.Condition, answer report.AlertsIngested) error {
	written := report.HasRules(conditions)
	switch {
	case answer.Need == "" && written:
		r.rules = ""
		return r.apply(ctx, nil, report.FieldManagerRules, "rules")
	case answer.Need == "" || answer.Need != r.rulesHash() || written && r.rules == answer.Need:
		return nil
	}
	body, err := r.o.Rules.Body()
	if err != nil {
		return err
	}
	encoded, err := r.encoder.EncodeRules(body)
	if err != nil {
		return err
	}
	if encoded.Head().SHA256 != answer.Need {
		return nil // they have changed just now, and the report is about to say so
	}
	update := r.encoder.ComposeRules(conditions, report.Stamp{Epoch: epoch, Now: r.o.Clock.Now()}, encoded)
	if update.Changed {
		if err := r.apply(ctx, update.Entries, report.FieldManagerRules, "rules"); err != nil {
			return err
		}
		slog.InfoContext(ctx, "alerting rules reported", "head", update.Entries[0].Message)
	}
	r.rules = answer.Need
	return nil
}

func (r *Reporter) apply(ctx context.Context, entries []metav1.Condition, manager, what string) error {
	object := client.ApplyConfigurationFromUnstructured(report.ApplyObject(r.o.Cluster, entries))
	if err := r.o.Hub.Status().Apply(ctx, object, client.FieldOwner(manager), client.ForceOwnership); err != nil {
		return fmt.Errorf("%s report to ManagedClusterAddOn %s/%s: %w", what, r.o.Cluster, report.AddOnName, err)
	}
	return nil
}
