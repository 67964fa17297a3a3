package controller

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

// Alarms takes in what agents report of alerts; see alarm.Ingest. It is safe for
// concurrent use. While this process does not lead, or Redis cannot be reached, errors wrap
// fault.Unavailable.
type Alarms interface {
	// Apply takes a report in; doing so again changes nothing.
	Apply(ctx context.Context, r alarm.Report) (alarm.Result, error)

	// Detach clears every alarm of a managed cluster that is gone.
	Detach(ctx context.Context, cluster string) error

	// Rules notes which alerting rules a managed cluster has; need is their hash again
	// when their body is not known.
	Rules(ctx context.Context, cluster, hash string) (need string, err error)

	// SetRules stores the body of alerting rules under its hash. The error wraps
	// fault.TooLarge when it is more than is kept.
	SetRules(ctx context.Context, hash string, groups []report.RuleGroup) error

	// AwaitDurable returns when everything that was applied before is durable.
	AwaitDurable(ctx context.Context) error

	// OpenClusters returns the managed clusters that have open alarms, in no order.
	OpenClusters(ctx context.Context) ([]string, error)

	// StoreID is the UUID of the store, empty until it is known.
	StoreID() string

	// Term is the term in which this process leads, nil while it does not.
	Term() *store.Term
}

// AlertsReconciler takes alerts reports into the store and answers them. Only the leader
// runs it: where the read model is memory that every replica has, alarms are in Redis, and
// there is one.
type AlertsReconciler struct {
	reader  client.Reader // cached
	current client.Reader // past the cache
	alarms  Alarms
	decoder *report.Decoder
	answers *alertAnswers
	ready   func() bool
	grace   time.Duration
	now     func() time.Time
	seed    maphash.Seed

	mu       sync.Mutex
	clusters map[string]*alertState
}

// alertState is what we know of the alerts reports of one cluster. The work queue hands a
// cluster to one worker at a time, so it needs no lock.
type alertState struct {
	fingerprint uint64 // of the reports that were looked at last
	term        *store.Term
	answer      *report.AlertsIngested
	again       time.Time // when to look again whatever comes; zero: not
	refused     string    // hash of rules whose report cannot be used
	disabled    time.Time // since when there is no add-on; zero while there is

	owed   float64   // writes beyond the rate
	repaid time.Time // until when owed was reckoned
}

// What one managed cluster may have written: a storm at once, and a rate for good. Alarms
// are kept for weeks in a store that all clusters share. Who writes more has to wait, and
// loses nothing: its journal keeps what is not confirmed.
const (
	writesAtOnce    = 50_000
	writesPerSecond = 100
)

// wait is how long the cluster has to wait for the store to be its turn again.
func (s *alertState) wait(now time.Time) time.Duration {
	s.owed = max(0, s.owed-now.Sub(s.repaid).Seconds()*writesPerSecond)
	s.repaid = now
	if s.owed <= writesAtOnce {
		return 0
	}
	return time.Duration((s.owed - writesAtOnce) / writesPerSecond * float64(time.Second))
}

// SetUpAlerts adds the intake of alerts reports to the manager, whose cache must have been
// made with CacheOptions. ready tells whether the inventory is known: alarms refer to it.
func SetUpAlerts(mgr manager.Manager, alarms Alarms, ready func() bool, o Options) error {
	decoder, err := report.NewDecoder()
	if err != nil {
		return err
	}
	answers := newAlertAnswers(mgr.GetClient(), alarms)
	r := newAlertsReconciler(mgr.GetClient(), mgr.GetAPIReader(), alarms, decoder, answers)
	r.ready, r.grace = ready, o.RemovalGrace
	again := newAlertsAgain(mgr.GetCache(), alarms)
	if err := r.setUp(mgr, o.ReportWorkers, again.events); err != nil {
		return fmt.Errorf("intake of alerts: %w", err)
	}
	for _, runnable := range []manager.Runnable{answers, again} {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("intake of alerts: %w", err)
		}
	}
	return nil
}

func newAlertsReconciler(reader, current client.Reader, alarms Alarms, decoder *report.Decoder, answers *alertAnswers) *AlertsReconciler {
	return &AlertsReconciler{
		reader: reader, current: current, alarms: alarms, decoder: decoder, answers: answers,
		ready: func() bool { return true }, now: time.Now, seed: maphash.MakeSeed(), clusters: make(map[string]*alertState),
	}
}

func (r *AlertsReconciler) setUp(mgr manager.Manager, workers int, again <-chan event.GenericEvent) error {
	leader, anew := true, true
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == report.AddOnName })
	toReport := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetName(), Name: report.AddOnName}}}
	})
	comingAndGoing := predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
	return builder.ControllerManagedBy(mgr).Named("alerts").
		For(&addonv1beta1.ManagedClusterAddOn{}, builder.WithPredicates(ours)).
		Watches(&clusterv1.ManagedCluster{}, toReport, builder.WithPredicates(comingAndGoing)).
		WatchesRawSource(source.Channel(again, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{
			NeedLeaderElection: &leader, SkipNameValidation: &anew, MaxConcurrentReconciles: workers,
		}).
		Complete(r)
}

// notYet is when to try again what cannot be done at the moment.
const notYet = 500 * time.Millisecond

// Reconcile takes in the latest alerts report of one managed cluster. A report is good for
// any number of tries, so what cannot be done now is simply done later.
func (r *AlertsReconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if r.alarms.Term() == nil || !r.ready() {
		return reconcile.Result{RequeueAfter: notYet}, nil
	}
	cluster := req.Namespace
	again, err := r.look(ctx, cluster)
	switch {
	case errors.Is(err, fault.Unavailable), errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrRewound):
		slog.DebugContext(ctx, "alerts not taken in yet", "managedCluster", cluster, "error", err)
		return reconcile.Result{RequeueAfter: notYet}, nil
	case err != nil:
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

func (r *AlertsReconciler) look(ctx context.Context, cluster string) (again time.Duration, err error) {
	var mc clusterv1.ManagedCluster
	err = r.reader.Get(ctx, types.NamespacedName{Name: cluster}, &mc)
	if apierrors.IsNotFound(err) {
		return 0, r.detach(ctx, cluster)
	}
	if err != nil {
		return 0, err
	}
	state := r.state(cluster)
	var addon addonv1beta1.ManagedClusterAddOn
	err = r.reader.Get(ctx, types.NamespacedName{Namespace: cluster, Name: report.AddOnName}, &addon)
	switch {
	case apierrors.IsNotFound(err):
		return r.disable(ctx, cluster, state)
	case err != nil:
		return 0, err
	}
	state.disabled = time.Time{}
	return r.take(ctx, cluster, &addon, state)
}

// detach clears what a managed cluster leaves behind. It asks the hub itself: a cache that
// has not heard of the cluster yet would end all its alarms.
func (r *AlertsReconciler) detach(ctx context.Context, cluster string) error {
	var mc clusterv1.ManagedCluster
	err := r.current.Get(ctx, types.NamespacedName{Name: cluster}, &mc)
	if err == nil {
		return fmt.Errorf("managed cluster %s: not in the cache yet: %w", cluster, fault.Unavailable)
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	if err := r.alarms.Detach(ctx, cluster); err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.clusters, cluster)
	r.mu.Unlock()
	r.answers.drop(cluster)
	return nil
}

// disable keeps the alarms of a cluster without add-on until the grace period is over: from
// then on nobody would ever end them.
func (r *AlertsReconciler) disable(ctx context.Context, cluster string, state *alertState) (time.Duration, error) {
	r.answers.drop(cluster)
	state.term = nil
	if state.disabled.IsZero() {
		state.disabled = r.now()
	}
	if left := r.grace - r.now().Sub(state.disabled); left > 0 {
		return left, nil
	}
	return 0, r.alarms.Detach(ctx, cluster)
}

// take applies a report, unless it is the one that was applied last in this term: most
// events of an add-on are about something else.
func (r *AlertsReconciler) take(ctx context.Context, cluster string, addon *addonv1beta1.ManagedClusterAddOn, state *alertState) (time.Duration, error) {
	conditions := addon.Status.Conditions
	term := r.alarms.Term()
	fingerprint := report.KindAlerts.Fingerprint(r.seed, conditions) ^ 31*report.KindRules.Fingerprint(r.seed, conditions)
	due := !state.again.IsZero() && !r.now().Before(state.again)
	if state.term != term || state.fingerprint != fingerprint || due {
		if wait := state.wait(r.now()); wait > 0 {
			slog.WarnContext(ctx, "managed cluster has too many changes of alerts, they are taken in later", "managedCluster", cluster, "wait", wait)
			return max(wait, notYet), nil
		}
		if err := r.ingest(ctx, cluster, addon, state); err != nil {
			return 0, err
		}
		state.fingerprint, state.term = fingerprint, term
	}
	var found *report.AlertsIngested
	if a, there := report.FindAlertsIngested(conditions); there {
		found = &a
	}
	r.answers.compare(cluster, state.answer, found)
	if state.again.IsZero() {
		return 0, nil
	}
	return max(state.again.Sub(r.now()), time.Millisecond), nil
}

func (r *AlertsReconciler) ingest(ctx context.Context, cluster string, addon *addonv1beta1.ManagedClusterAddOn, state *alertState) error {
	conditions := addon.Status.Conditions
	head, alerts, err := r.decoder.DecodeAlerts(cluster, conditions)
	switch {
	case errors.Is(err, fault.NotFound): // the agent's first write brings us back
		state.answer, state.again = nil, time.Time{}
		return nil
	case err != nil: // its next write can mend it
		slog.WarnContext(ctx, "alerts report not used", "managedCluster", cluster, "reason", report.ReasonOf(err), "error", err)
		state.answer, state.again = r.refusal(head, err, conditionsAnswer(addon)), time.Time{}
		return nil
	}
	result, err := r.alarms.Apply(ctx, alarm.Report{
		Cluster: cluster, Head: head, Alerts: alerts,
		Current: func(ctx context.Context) (report.AlertsHead, error) { return r.currentHead(ctx, cluster) },
	})
	if err != nil {
		return err
	}
	state.owed += float64(result.Writes)
	if result.Answer.Need, err = r.rules(ctx, cluster, head.Rules, addon, state); err != nil {
		return err
	}
	state.answer, state.again = &result.Answer, time.Time{}
	if result.Again > 0 {
		state.again = r.now().Add(result.Again)
	}
	return nil
}

// refusal is the answer to a report that cannot be used. What was confirmed stays so.
func (r *AlertsReconciler) refusal(head report.AlertsHead, err error, standing report.AlertsIngested) *report.AlertsIngested {
	a := standing
	if a.Store != r.alarms.StoreID() || head.Epoch != "" && a.Epoch != head.Epoch {
		a = report.AlertsIngested{Epoch: head.Epoch}
	}
	a.Store, a.Reason = r.alarms.StoreID(), report.ReasonOf(err)
	return &a
}

func conditionsAnswer(addon *addonv1beta1.ManagedClusterAddOn) report.AlertsIngested {
	a, _ := report.FindAlertsIngested(addon.Status.Conditions)
	return a
}

// rules takes in alerting rules, if their report is there, and returns the hash of those
// whose body we still need.
func (r *AlertsReconciler) rules(ctx context.Context, cluster, hash string, addon *addonv1beta1.ManagedClusterAddOn, state *alertState) (string, error) {
	need, err := r.alarms.Rules(ctx, cluster, hash)
	if err != nil || need == "" {
		return "", err
	}
	head, groups, err := r.decoder.DecodeRules(cluster, addon.Status.Conditions)
	switch {
	case errors.Is(err, fault.NotFound), err == nil && head.SHA256 != need:
		if state.refused == need {
			return "", nil
		}
		return need, nil
	case err == nil:
		err = r.alarms.SetRules(ctx, need, groups)
		if err == nil || errors.Is(err, fault.Unavailable) || errors.Is(err, fault.Conflict) {
			return "", err
		}
	}
	// Asking again would bring the same.
	if state.refused != need {
		slog.WarnContext(ctx, "alerting rules not used", "managedCluster", cluster, "rules", need, "error", err)
	}
	state.refused = need
	return "", nil
}

// currentHead reads the head of the alerts report past the cache.
func (r *AlertsReconciler) currentHead(ctx context.Context, cluster string) (report.AlertsHead, error) {
	var addon addonv1beta1.ManagedClusterAddOn
	if err := r.current.Get(ctx, types.NamespacedName{Namespace: cluster, Name: report.AddOnName}, &addon); err != nil {
		return report.AlertsHead{}, err
	}
	for i := range addon.Status.Conditions {
		if c := &addon.Status.Conditions[i]; c.Type == report.KindAlerts.HeadType() {
			return report.ParseAlertsHead(c.Message)
		}
	}
	return report.AlertsHead{}, nil
}

func (r *AlertsReconciler) state(cluster string) *alertState {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, known := r.clusters[cluster]
	if !known {
		state = &alertState{}
		r.clusters[cluster] = state
	}
	return state
}
