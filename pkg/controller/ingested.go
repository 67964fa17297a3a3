package controller

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/report"
)

// answers are what the hub has to say to agents and has not said yet. Every replica keeps
// them, so that a new leader goes on where the old one stopped. Safe for concurrent use.
type answers struct {
	news chan struct{} // holds one token while somebody should look

	mu     sync.Mutex
	wanted map[string]report.Ingested // by cluster
}

func newAnswers() *answers {
	return &answers{news: make(chan struct{}, 1), wanted: make(map[string]report.Ingested)}
}

// compare notes whether the answer that stands in a cluster's status is the right one. No
// answer is due while there is no report.
func (a *answers) compare(cluster string, right, found *report.Ingested) {
	if right == nil || (found != nil && *found == *right) {
		a.drop(cluster)
		return
	}
	a.mu.Lock()
	a.wanted[cluster] = *right
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
}

func (a *answers) drop(cluster string) {
	a.mu.Lock()
	delete(a.wanted, cluster)
	a.mu.Unlock()
}

// settle drops an answer that has been written, unless there is a newer one.
func (a *answers) settle(cluster string, written report.Ingested) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wanted[cluster] == written {
		delete(a.wanted, cluster)
	}
}

func (a *answers) pending() map[string]report.Ingested {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.wanted)
}

// Intervals of the writer. Every write of a ManagedClusterAddOn goes to everybody who
// watches it, so answers to one cluster are gathered for a moment.
const (
	answerInterval   = 2 * time.Second
	answerRetryLimit = time.Minute
)

// ingestedWriter writes the hub's answers into condition InventoryIngested. Only the leader
// runs it.
//
// The apply holds our one condition and nothing else. Of the cached add-on it takes the
// transition time of that condition, never what belongs to others.
type ingestedWriter struct {
	client  client.Client
	answers *answers
	now     func() time.Time
}

func newIngestedWriter(c client.Client, a *answers) *ingestedWriter {
	return &ingestedWriter{client: c, answers: a, now: time.Now}
}

// NeedLeaderElection is true: replicas would answer the same, each at its own time.
func (*ingestedWriter) NeedLeaderElection() bool { return true }

// Start writes answers until ctx ends.
func (w *ingestedWriter) Start(ctx context.Context) error {
	wait := answerInterval
	timer := time.NewTimer(wait) // what the last leader left undone
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.answers.news:
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		case <-timer.C:
		}
		if w.flush(ctx) {
			wait = answerInterval
			continue
		}
		wait = min(2*wait, answerRetryLimit)
		timer.Reset(wait)
	}
}

// flush writes what is pending and tells whether all of it could be written.
func (w *ingestedWriter) flush(ctx context.Context) bool {
	all := true
	for cluster, answer := range w.answers.pending() {
		err := w.write(ctx, cluster, answer)
		switch {
		case err == nil || apierrors.IsNotFound(err): // nobody is left to answer
			w.answers.settle(cluster, answer)
		case ctx.Err() != nil:
			return false
		default:
			all = false
			slog.WarnContext(ctx, "answer to report not written", "managedCluster", cluster, "error", err)
		}
	}
	return all
}

func (w *ingestedWriter) write(ctx context.Context, cluster string, answer report.Ingested) error {
	var addon addonv1beta1.ManagedClusterAddOn
	if err := w.client.Get(ctx, types.NamespacedName{Namespace: cluster, Name: report.AddOnName}, &addon); err != nil {
		return err
	}
	current := meta.FindStatusCondition(addon.Status.Conditions, report.KindInventory.IngestedType())
	entry := answer.Condition(current, w.now())
	object := report.ApplyObject(cluster, []metav1.Condition{entry})
	return w.client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(report.FieldManagerHubInventory), client.ForceOwnership)
}
