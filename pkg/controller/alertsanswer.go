package controller

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

// alertAnswers writes condition AlertsIngested: how far the alerts of each agent are
// durable. It is a promise that the agent forgets them by, so it is made only after the
// store has kept its own. Only the leader runs it.
type alertAnswers struct {
	client client.Client
	alarms Alarms
	now    func() time.Time
	news   chan struct{} // holds one token while somebody should look

	mu     sync.Mutex
	wanted map[string]report.AlertsIngested // by cluster
}

func newAlertAnswers(c client.Client, alarms Alarms) *alertAnswers {
	return &alertAnswers{client: c, alarms: alarms, now: time.Now, news: make(chan struct{}, 1), wanted: make(map[string]report.AlertsIngested)}
}

// compare notes whether the answer that stands in a cluster's status is the right one.
func (w *alertAnswers) compare(cluster string, right, found *report.AlertsIngested) {
	if right == nil || found != nil && *found == *right {
		w.drop(cluster)
		return
	}
	w.mu.Lock()
	w.wanted[cluster] = *right
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *alertAnswers) drop(cluster string) {
	w.mu.Lock()
	delete(w.wanted, cluster)
	w.mu.Unlock()
}

// settle drops an answer that has been written, unless there is a newer one.
func (w *alertAnswers) settle(cluster string, written report.AlertsIngested) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted[cluster] == written {
		delete(w.wanted, cluster)
	}
}

func (w *alertAnswers) pending() map[string]report.AlertsIngested {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.wanted)
}

// NeedLeaderElection is true: nobody else knows what is durable.
func (*alertAnswers) NeedLeaderElection() bool { return true }

// Start writes answers until ctx ends. Those of answerInterval are gathered.
func (w *alertAnswers) Start(ctx context.Context) error {
	wait := answerInterval
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.news:
		}
		for done := false; !done; {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-timer.C:
			}
			if done = w.flush(ctx); done {
				wait = answerInterval
			} else {
				wait = min(2*wait, answerRetryLimit)
			}
		}
	}
}

// answersAtOnce bounds the writes that are under way.
const answersAtOnce = 8

// flush writes what is pending and tells whether all of it could be written. What is
// pending is taken before waiting for the store: what is applied meanwhile may not be
// durable when it says it is.
func (w *alertAnswers) flush(ctx context.Context) bool {
	pending := w.pending()
	if len(pending) == 0 {
		return true
	}
	if err := w.alarms.AwaitDurable(ctx); err != nil {
		if ctx.Err() == nil {
			slog.WarnContext(ctx, "answers to alerts have to wait: what was stored is not durable", "error", err)
		}
		return false
	}
	var group errgroup.Group
	group.SetLimit(answersAtOnce)
	for cluster, answer := range pending {
		group.Go(func() error {
			err := w.write(ctx, cluster, answer)
			if err == nil || apierrors.IsNotFound(err) { // nobody is left to answer
				w.settle(cluster, answer)
				return nil
			}
			if ctx.Err() == nil {
				slog.WarnContext(ctx, "answer to alerts not written", "managedCluster", cluster, "error", err)
			}
			return err
		})
	}
	return group.Wait() == nil
}

// write applies our one condition and nothing else. Of the cached add-on it takes the
// transition time of that condition, never what belongs to others.
func (w *alertAnswers) write(ctx context.Context, cluster string, answer report.AlertsIngested) error {
	var addon addonv1beta1.ManagedClusterAddOn
	if err := w.client.Get(ctx, types.NamespacedName{Namespace: cluster, Name: report.AddOnName}, &addon); err != nil {
		return err
	}
	current := meta.FindStatusCondition(addon.Status.Conditions, report.KindAlerts.IngestedType())
	entry := answer.Condition(current, w.now())
	object := report.ApplyObject(cluster, []metav1.Condition{entry})
	return w.client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(report.FieldManagerHubAlerts), client.ForceOwnership)
}

// alertsAgain makes the reconciler look at every managed cluster anew when a term begins:
// the store may have lost what it had, and clusters may have gone while nobody led.
type alertsAgain struct {
	reader client.Reader
	alarms Alarms
	events chan event.GenericEvent
	term   *store.Term // in which everything was looked at last
}

func newAlertsAgain(reader client.Reader, alarms Alarms) *alertsAgain {
	return &alertsAgain{reader: reader, alarms: alarms, events: make(chan event.GenericEvent)}
}

// NeedLeaderElection is true, as for the reconciler.
func (*alertsAgain) NeedLeaderElection() bool { return true }

// Start looks for a new term until ctx ends.
func (a *alertsAgain) Start(ctx context.Context) error {
	ticker := time.NewTicker(notYet)
	defer ticker.Stop()
	for {
		if term := a.alarms.Term(); term != nil && term != a.term {
			if err := a.everything(ctx); err == nil {
				a.term = term
			} else if ctx.Err() == nil {
				slog.WarnContext(ctx, "managed clusters with alarms are not known", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (a *alertsAgain) everything(ctx context.Context) error {
	var clusters clusterv1.ManagedClusterList
	if err := a.reader.List(ctx, &clusters, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	names := make(map[string]bool, len(clusters.Items))
	for i := range clusters.Items {
		names[clusters.Items[i].Name] = true
	}
	open, err := a.alarms.OpenClusters(ctx)
	if err != nil {
		return err
	}
	for _, name := range open {
		names[name] = true
	}
	delete(names, "") // alarms of the O-Cloud itself
	for name := range names {
		addon := &addonv1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: report.AddOnName}}
		select {
		case a.events <- event.GenericEvent{Object: addon}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
