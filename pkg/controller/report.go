package controller

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/report"
)

// ReportReconciler projects the inventory reports of managed clusters into the read model.
//
// When the add-on is disabled, OCM deletes the ManagedClusterAddOn and with it the report.
// The machines stay in the read model for a grace period, which counts from the deletion
// timestamp, or from when we saw that the add-on was gone. The read model is memory, and
// nothing on the hub holds the machines any more: when the manager restarts within the
// grace period, the machines of disabled add-ons are gone at once. Keeping them would take
// a store of reports, which is what we do without.
type ReportReconciler struct {
	reader    client.Reader
	inventory Inventory
	decoder   *report.Decoder
	grace     time.Duration
	now       func() time.Time
	seed      maphash.Seed
	answers   *answers
	meters    *meters
	done      func(item)

	mu       sync.Mutex
	clusters map[string]*reported
}

// newReportReconciler returns a reconciler that keeps the machines of disabled add-ons for
// a grace period.
func newReportReconciler(reader client.Reader, inv Inventory, decoder *report.Decoder, grace time.Duration) *ReportReconciler {
	unregistered, err := newMeters(prometheus.NewRegistry())
	if err != nil {
		panic(err) // names are constants: this cannot be
	}
	return &ReportReconciler{
		reader: reader, inventory: inv, decoder: decoder, grace: grace, now: time.Now, seed: maphash.MakeSeed(),
		answers: newAnswers(), meters: unregistered, done: func(item) {}, clusters: make(map[string]*reported),
	}
}

// reported is what we know of the reports of one cluster. The work queue hands a cluster to
// one worker at a time, so it needs no lock.
type reported struct {
	fingerprint uint64 // of the report that was looked at last
	looked      bool
	head        report.Head // of the report in use
	inUse       bool
	trouble     string // why the newest report is not in use
	answer      *report.Ingested
	reporting   inventory.Reporting
	disabled    time.Time // since when the add-on is disabled; zero while it is not
}

func (r *ReportReconciler) setUp(mgr manager.Manager, workers int) error {
	everywhere, again := false, true
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == report.AddOnName })
	toReport := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetName(), Name: report.AddOnName}}}
	})
	comingAndGoing := predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
	return builder.ControllerManagedBy(mgr).Named("report").
		For(&addonv1beta1.ManagedClusterAddOn{}, builder.WithPredicates(ours)).
		Watches(&clusterv1.ManagedCluster{}, toReport, builder.WithPredicates(comingAndGoing)).
		WithOptions(controller.Options{
			NeedLeaderElection: &everywhere, SkipNameValidation: &again, MaxConcurrentReconciles: workers,
		}).
		Complete(r)
}

// Reconcile projects the latest report of one managed cluster into the read model. It
// reads the report whole, so it is safe to repeat, skip or reorder; it runs on every
// replica.
func (r *ReportReconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	cluster := req.Namespace // on the hub, a managed cluster's namespace bears its name
	result, err := r.project(ctx, cluster)
	if err == nil {
		r.done(item{reportItem, cluster})
	}
	return result, err
}

func (r *ReportReconciler) project(ctx context.Context, cluster string) (reconcile.Result, error) {
	var mc clusterv1.ManagedCluster
	err := r.reader.Get(ctx, types.NamespacedName{Name: cluster}, &mc)
	if apierrors.IsNotFound(err) { // detached: no grace
		r.remove(cluster)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}

	var addon addonv1beta1.ManagedClusterAddOn
	err = r.reader.Get(ctx, types.NamespacedName{Namespace: cluster, Name: report.AddOnName}, &addon)
	switch {
	case apierrors.IsNotFound(err):
		state, known := r.lookUp(cluster)
		if !known {
			return reconcile.Result{}, nil // there never was an add-on
		}
		return r.disable(ctx, cluster, state, r.now()), nil
	case err != nil:
		return reconcile.Result{}, err
	}
	state := r.state(cluster)
	r.look(ctx, cluster, &addon, state)
	if going := addon.DeletionTimestamp; going != nil {
		return r.disable(ctx, cluster, state, going.Time), nil
	}
	state.disabled = time.Time{}
	r.setReporting(cluster, state, reportingOf(&addon, state.trouble))
	r.answers.compare(cluster, state.answer, ingestedIn(&addon))
	return reconcile.Result{}, nil
}

// look takes in the report, unless it is the one that was looked at last: most events of an
// add-on are about something else.
func (r *ReportReconciler) look(ctx context.Context, cluster string, addon *addonv1beta1.ManagedClusterAddOn, state *reported) {
	fingerprint := report.Fingerprint(r.seed, addon.Status.Conditions)
	if state.looked && fingerprint == state.fingerprint {
		return
	}
	r.ingest(ctx, cluster, addon, state)
	state.fingerprint, state.looked = fingerprint, true
}

// ingest reads a report that we have not seen. Retrying cannot mend a bad one; the agent's
// next write can.
func (r *ReportReconciler) ingest(ctx context.Context, cluster string, addon *addonv1beta1.ManagedClusterAddOn, state *reported) {
	start := r.now()
	rep, err := r.decoder.Decode(cluster, addon.Status.Conditions)
	wasBad := state.trouble != ""
	switch {
	case errors.Is(err, fault.NotFound): // the agent's first write brings us back
		state.answer, state.trouble = nil, ""
		if state.inUse {
			state.trouble = err.Error()
		}
	case err != nil:
		answer := report.Answer(rep.Head, err)
		state.answer, state.trouble = &answer, err.Error()
		r.meters.rejected.WithLabelValues(answer.Reason).Inc()
		slog.WarnContext(ctx, "report not used", "managedCluster", cluster, "reason", answer.Reason, "error", err, "lastGoodKept", state.inUse)
	default:
		answer := report.Answer(rep.Head, nil)
		state.answer, state.trouble = &answer, ""
		if rep.Reason == report.HeadCollectFailed {
			state.trouble = "the agent cannot read the hardware at the moment; this is its last report"
		}
		if addon.DeletionTimestamp == nil {
			// first, so that the read model need not make every server of a new cluster twice
			r.setReporting(cluster, state, reportingOf(addon, state.trouble))
		}
		r.inventory.SetReport(cluster, rep.Inventory, rep.Head)
		r.meters.decoded(start, r.now())
		r.meters.ingested.Inc()
		r.meters.use(state.head, rep.Head)
		state.head, state.inUse = rep.Head, true
		slog.DebugContext(ctx, "report ingested", "managedCluster", cluster, "seq", rep.Head.Seq, "nodes", rep.Head.Nodes, "resources", rep.Head.Resources)
	}
	r.countTrouble(wasBad, state.trouble != "")
}

func (r *ReportReconciler) countTrouble(before, after bool) {
	switch {
	case after && !before:
		r.meters.unusable.Inc()
	case before && !after:
		r.meters.unusable.Dec()
	}
}

// disable keeps the machines of a cluster without add-on until the grace period is over. It
// says when to come back.
func (r *ReportReconciler) disable(ctx context.Context, cluster string, state *reported, since time.Time) reconcile.Result {
	if state.disabled.IsZero() {
		state.disabled = since
		slog.InfoContext(ctx, "add-on disabled", "managedCluster", cluster, "since", since, "removalGrace", r.grace)
	}
	r.answers.drop(cluster)
	left := r.grace - r.now().Sub(state.disabled)
	if left <= 0 {
		r.remove(cluster)
		return reconcile.Result{}
	}
	r.setReporting(cluster, state, inventory.Reporting{AddOn: inventory.Disabled, Since: state.disabled, ReportErr: state.trouble})
	return reconcile.Result{RequeueAfter: left}
}

// remove forgets the reports of a cluster.
func (r *ReportReconciler) remove(cluster string) {
	if state, known := r.lookUp(cluster); known {
		r.meters.use(state.head, report.Head{})
		r.countTrouble(state.trouble != "", false)
	}
	r.mu.Lock()
	delete(r.clusters, cluster)
	r.mu.Unlock()
	r.answers.drop(cluster)
	r.inventory.RemoveReport(cluster)
}

func (r *ReportReconciler) setReporting(cluster string, state *reported, reporting inventory.Reporting) {
	if state.reporting != reporting {
		state.reporting = reporting
		r.inventory.SetReporting(cluster, reporting)
	}
}

func (r *ReportReconciler) lookUp(cluster string) (state *reported, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, known = r.clusters[cluster]
	return state, known
}

// state returns what is known of a cluster's reports, from now on at least that it has an
// add-on.
func (r *ReportReconciler) state(cluster string) *reported {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, known := r.clusters[cluster]
	if !known {
		state = &reported{}
		r.clusters[cluster] = state
	}
	return state
}

// reportingOf is the state of an add-on that is enabled. It began when condition Available
// last changed, or, without that condition, when the add-on was created.
func reportingOf(addon *addonv1beta1.ManagedClusterAddOn, trouble string) inventory.Reporting {
	r := inventory.Reporting{AddOn: inventory.Enabled, Since: addon.CreationTimestamp.Time, ReportErr: trouble}
	if c := meta.FindStatusCondition(addon.Status.Conditions, addonv1beta1.ManagedClusterAddOnConditionAvailable); c != nil {
		r.AddOnAvailable, r.Since = string(c.Status), c.LastTransitionTime.Time
	}
	return r
}

// ingestedIn is the hub's answer as it stands in the status, if there is a proper one.
func ingestedIn(addon *addonv1beta1.ManagedClusterAddOn) *report.Ingested {
	c := meta.FindStatusCondition(addon.Status.Conditions, report.KindInventory.IngestedType())
	if c == nil {
		return nil
	}
	a, err := report.ParseIngested(*c)
	if err != nil {
		return nil
	}
	return &a
}
