package controller

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

// The real intake does what the reconciler needs.
var _ Alarms = (*alarm.Ingest)(nil)

const storeID = "0d9b1d52-8f0f-4c64-9b07-5a2f6a3d6f10"

// intake applies reports in memory.
type intake struct {
	mu       sync.Mutex
	term     *store.Term
	down     error
	calls    []string // in order, each "what cluster"
	applied  map[string]uint64
	again    time.Duration
	rules    map[string]bool
	open     []string
	volatile bool // nothing becomes durable
	full     bool // there is no room for rules
	writes   int  // of each report
}

func newIntake() *intake {
	return &intake{term: &store.Term{}, applied: make(map[string]uint64), rules: make(map[string]bool)}
}

func (i *intake) note(what, cluster string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls = append(i.calls, what+" "+cluster)
	return i.down
}

func (i *intake) Apply(_ context.Context, r alarm.Report) (alarm.Result, error) {
	if err := i.note("apply", r.Cluster); err != nil {
		return alarm.Result{}, err
	}
	i.applied[r.Cluster] = max(i.applied[r.Cluster], r.Head.Last)
	return alarm.Result{Again: i.again, Writes: i.writes, Answer: report.AlertsIngested{
		Store: storeID, Epoch: r.Head.Epoch, Seq: i.applied[r.Cluster], Reason: report.ReasonIngested,
	}}, nil
}

func (i *intake) Detach(_ context.Context, cluster string) error { return i.note("detach", cluster) }

func (i *intake) Rules(_ context.Context, _, hash string) (string, error) {
	if hash == report.RulesUnknown || i.rules[hash] {
		return "", nil
	}
	return hash, nil
}

func (i *intake) SetRules(_ context.Context, hash string, _ []report.RuleGroup) error {
	if i.full {
		return fault.TooLarge
	}
	i.rules[hash] = true
	return nil
}

func (i *intake) AwaitDurable(context.Context) error {
	if i.volatile {
		return fault.Unavailable
	}
	return nil
}

func (i *intake) OpenClusters(context.Context) ([]string, error) { return i.open, nil }
func (i *intake) StoreID() string                                { return storeID }

func (i *intake) Term() *store.Term {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.term
}

func (i *intake) lead(t *store.Term) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.term = t
}

func (i *intake) took() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	calls := i.calls
	i.calls = nil
	return calls
}

// alertConditions is the alerts report of so many alerts that fired.
func alertConditions(t testing.TB, cluster string, fired int, rules string) []metav1.Condition {
	t.Helper()
	a := report.Alerts{Cluster: cluster, Texts: []report.AlertText{{Labels: map[string]string{"alertname": "A"}}}}
	for n := range fired {
		e := report.Episode{Fingerprint: fmt.Sprintf("%016x", n), Starts: 1000}
		a.Transitions = append(a.Transitions, report.Transition{Type: report.Fired, Seq: uint64(n + 1), Via: "webhook", Observed: 1000, Episode: e})
		a.Active.Alerts = append(a.Active.Alerts, report.OpenAlert{Opened: uint64(n + 1), Episode: e})
	}
	enc, err := report.NewAlertsEncoder()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := enc.Encode(report.Journal{Alerts: a, End: uint64(fired), Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return enc.Compose(nil, report.Stamp{Epoch: epoch, Now: newClock().now()}, encoded).Entries
}

// alertsWorld is a hub with an intake of alerts.
type alertsWorld struct {
	t       testing.TB
	hub     client.WithWatch
	clock   *clock
	intake  *intake
	applied *recorder
	alerts  *AlertsReconciler
}

func newAlertsWorld(t testing.TB, objects ...client.Object) *alertsWorld {
	t.Helper()
	decoder, err := report.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	w := &alertsWorld{t: t, clock: newClock(), intake: newIntake(), applied: &recorder{}}
	w.hub = w.applied.over(newHub(t, objects...))
	answers := newAlertAnswers(w.hub, w.intake)
	answers.now = w.clock.now
	w.alerts = newAlertsReconciler(w.hub, w.hub, w.intake, decoder, answers)
	w.alerts.now, w.alerts.grace = w.clock.now, time.Hour
	return w
}

func (w *alertsWorld) reconcile(cluster string) reconcile.Result {
	w.t.Helper()
	result, err := w.alerts.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: cluster, Name: report.AddOnName}})
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

func (w *alertsWorld) want(what string, calls ...string) {
	w.t.Helper()
	if got := w.intake.took(); !slices.Equal(got, calls) {
		w.t.Errorf("%s: calls %q, want %q", what, got, calls)
	}
}

// said are the messages of the answers that were written.
func (w *alertsWorld) said() (messages []string) {
	w.t.Helper()
	w.alerts.answers.flush(w.t.Context())
	for _, a := range w.applied.taken() {
		if a.fieldManager != "o2ims-hub-alerts" || !a.force {
			w.t.Errorf("applied %+v", a)
		}
		conditions := a.status["conditions"].([]any)
		if len(conditions) != 1 {
			w.t.Errorf("applied %d conditions, want ours alone", len(conditions))
		}
		messages = append(messages, conditions[0].(map[string]any)["reason"].(string)+" "+conditions[0].(map[string]any)["message"].(string))
	}
	return messages
}

func TestAlertsAreTakenInOnceAndAnswered(t *testing.T) {
	w := newAlertsWorld(t, managedCluster("edge-1"), addonOf("edge-1", alertConditions(t, "edge-1", 3, report.RulesUnknown)...))
	w.reconcile("edge-1")
	w.reconcile("edge-1")
	w.want("the same report twice", "apply edge-1")
	want := []string{"Ingested store=" + storeID + " epoch=" + epoch + " seq=3"}
	if got := w.said(); !reflect.DeepEqual(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
	if got := w.said(); got != nil {
		t.Errorf("answered again: %q", got)
	}
	w.intake.term = &store.Term{}
	w.reconcile("edge-1")
	w.want("another term", "apply edge-1")
}

func TestNothingIsConfirmedThatIsNotDurable(t *testing.T) {
	w := newAlertsWorld(t, managedCluster("edge-1"), addonOf("edge-1", alertConditions(t, "edge-1", 3, report.RulesUnknown)...))
	w.intake.volatile = true
	w.reconcile("edge-1")
	if got := w.said(); got != nil {
		t.Errorf("answers %q before anything is durable", got)
	}
	w.intake.volatile = false
	if got := w.said(); len(got) != 1 {
		t.Errorf("answers %q, want one", got)
	}
}

func TestAlertsWait(t *testing.T) {
	w := newAlertsWorld(t, managedCluster("edge-1"), addonOf("edge-1", alertConditions(t, "edge-1", 1, report.RulesUnknown)...))
	term := w.intake.term
	for _, tc := range []struct {
		name  string
		set   func()
		calls []string
		again bool
	}{
		{"for a term", func() { w.intake.term = nil }, nil, true},
		{"for the inventory", func() { w.intake.term, w.alerts.ready = term, func() bool { return false } }, nil, true},
		{"for Redis", func() {
			w.alerts.ready, w.intake.down = func() bool { return true }, fmt.Errorf("redis: %w", fault.Unavailable)
		}, []string{"apply edge-1"}, true},
		{"for another leader to stop", func() { w.intake.down = store.ErrFenced }, []string{"apply edge-1"}, true},
		{"no more", func() { w.intake.down = nil }, []string{"apply edge-1"}, false},
	} {
		tc.set()
		if got := w.reconcile("edge-1"); (got.RequeueAfter > 0) != tc.again {
			t.Errorf("%s: result %+v", tc.name, got)
		}
		w.want(tc.name, tc.calls...)
	}
}

func TestAlertsAreLookedAtAgain(t *testing.T) {
	w := newAlertsWorld(t, managedCluster("edge-1"), addonOf("edge-1", alertConditions(t, "edge-1", 1, report.RulesUnknown)...))
	w.intake.again = 30 * time.Second
	if got := w.reconcile("edge-1"); got.RequeueAfter != 30*time.Second {
		t.Errorf("result %+v", got)
	}
	w.reconcile("edge-1")
	w.want("before the time has come", "apply edge-1")
	w.clock.t = w.clock.t.Add(30 * time.Second)
	w.intake.again = 0
	if got := w.reconcile("edge-1"); got.RequeueAfter != 0 {
		t.Errorf("result %+v", got)
	}
	w.want("when it has", "apply edge-1")
}

func TestBadAlertsAreRefused(t *testing.T) {
	good := alertConditions(t, "edge-1", 3, report.RulesUnknown)
	standing := report.AlertsIngested{Store: storeID, Epoch: epoch, Seq: 2, Reason: report.ReasonIngested}.Condition(nil, newClock().now())
	for _, tc := range []struct {
		name       string
		conditions []metav1.Condition
		want       string // empty: no answer
	}{
		{"none", nil, ""},
		{"of another cluster", alertConditions(t, "edge-2", 3, report.RulesUnknown), "OtherCluster store=" + storeID + " epoch=" + epoch + " seq=0"},
		{"truncated", good[:len(good)-1], "Malformed store=" + storeID + " epoch=" + epoch + " seq=0"},
		{"truncated, and something was confirmed before", append(slices.Clone(good[:len(good)-1]), standing), "Malformed store=" + storeID + " epoch=" + epoch + " seq=2"},
		{"no head", good[1:], "Malformed store=" + storeID + " epoch=00000000-0000-0000-0000-000000000000 seq=0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newAlertsWorld(t, managedCluster("edge-1"), addonOf("edge-1", tc.conditions...))
			w.reconcile("edge-1")
			w.want("refused")
			got := append(w.said(), "")[0]
			if got != tc.want {
				t.Errorf("answer %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAlertsOfAClusterThatIsGone(t *testing.T) {
	w := newAlertsWorld(t, managedCluster("edge-1"))
	w.reconcile("edge-2")
	w.want("detached", "detach edge-2")
	if got := w.reconcile("edge-1"); got.RequeueAfter != time.Hour {
		t.Errorf("no add-on: result %+v", got)
	}
	w.want("no add-on, within the grace period")
	w.clock.t = w.clock.t.Add(time.Hour)
	w.reconcile("edge-1")
	w.want("no add-on, after it", "detach edge-1")

	// A cache that does not know the cluster yet.
	w.alerts.reader = newHub(t)
	if got := w.reconcile("edge-1"); got.RequeueAfter == 0 {
		t.Errorf("not in the cache: result %+v", got)
	}
	w.want("not in the cache")
}

func TestRulesAreAskedFor(t *testing.T) {
	groups := []report.RuleGroup{{Name: "g", Rules: []report.AlertRule{{Alert: "A", Expr: "up == 0"}}}}
	body, hash, err := report.CanonicalRules(groups)
	if err != nil {
		t.Fatal(err)
	}
	conditions := alertConditions(t, "edge-1", 1, hash)
	w := newAlertsWorld(t, managedCluster("edge-1"), addonOf("edge-1", conditions...))
	w.reconcile("edge-1")
	answer := "Ingested store=" + storeID + " epoch=" + epoch + " seq=1"
	if got := w.said(); !slices.Equal(got, []string{answer + " need=" + hash}) {
		t.Errorf("answers %q", got)
	}
	enc, err := report.NewAlertsEncoder()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := enc.EncodeRules(body)
	if err != nil {
		t.Fatal(err)
	}
	var addon addonv1beta1.ManagedClusterAddOn
	if err := w.hub.Get(t.Context(), types.NamespacedName{Namespace: "edge-1", Name: report.AddOnName}, &addon); err != nil {
		t.Fatal(err)
	}
	addon.Status.Conditions = append(conditions, enc.ComposeRules(nil, report.Stamp{Epoch: epoch, Now: w.clock.now()}, encoded).Entries...)
	if err := w.hub.Status().Update(t.Context(), &addon); err != nil {
		t.Fatal(err)
	}
	w.reconcile("edge-1")
	if got := w.said(); !slices.Equal(got, []string{answer}) || !w.intake.rules[hash] {
		t.Errorf("answers %q, rules %v", got, w.intake.rules)
	}
}

// Rules for which there is no room are not asked for again and again, and their alarms are
// taken in all the same.
func TestRulesWithoutRoom(t *testing.T) {
	groups := []report.RuleGroup{{Name: "g", Rules: []report.AlertRule{{Alert: "A", Expr: "up == 0"}}}}
	body, hash, err := report.CanonicalRules(groups)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := report.NewAlertsEncoder()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := enc.EncodeRules(body)
	if err != nil {
		t.Fatal(err)
	}
	conditions := alertConditions(t, "edge-1", 1, hash)
	conditions = append(conditions, enc.ComposeRules(nil, report.Stamp{Epoch: epoch, Now: newClock().now()}, encoded).Entries...)
	w := newAlertsWorld(t, managedCluster("edge-1"), addonOf("edge-1", conditions...))
	w.intake.full = true
	for range 2 {
		w.reconcile("edge-1")
		w.intake.lead(&store.Term{})
	}
	if got, want := w.said(), []string{"Ingested store=" + storeID + " epoch=" + epoch + " seq=1"}; !slices.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
}

// A cluster that floods the store has to wait, and is taken in afterwards.
func TestAFloodHasToWait(t *testing.T) {
	w := newAlertsWorld(t, managedCluster("edge-1"), addonOf("edge-1", alertConditions(t, "edge-1", 1, report.RulesUnknown)...))
	w.intake.writes = writesAtOnce + 1000*writesPerSecond
	w.reconcile("edge-1")
	w.want("a storm", "apply edge-1")
	w.intake.lead(&store.Term{}) // it would be looked at again
	if wait := w.reconcile("edge-1").RequeueAfter; wait != 1000*time.Second {
		t.Errorf("wait %s, want 1000s", wait)
	}
	w.want("more")
	w.clock.t = w.clock.t.Add(1001 * time.Second)
	w.reconcile("edge-1")
	w.want("later", "apply edge-1")
}

func TestCurrentHead(t *testing.T) {
	w := newAlertsWorld(t, addonOf("edge-1", alertConditions(t, "edge-1", 2, report.RulesUnknown)...))
	if head, err := w.alerts.currentHead(t.Context(), "edge-1"); err != nil || head.Epoch != epoch || head.Last != 2 {
		t.Errorf("head %+v, %v", head, err)
	}
	if _, err := w.alerts.currentHead(t.Context(), "edge-2"); err == nil {
		t.Error("head of an add-on that is not")
	}
}

func TestEverythingIsLookedAtInANewTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIntake()
		i.open, i.term = []string{"", "gone", "edge-1"}, nil
		a := newAlertsAgain(newHub(t, managedCluster("edge-1"), managedCluster("edge-2")), i)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- a.Start(ctx) }()
		time.Sleep(time.Minute)
		for range 2 {
			i.lead(&store.Term{})
			got := make(map[string]bool)
			for range 3 {
				got[(<-a.events).Object.GetNamespace()] = true
			}
			if want := map[string]bool{"edge-1": true, "edge-2": true, "gone": true}; !reflect.DeepEqual(got, want) {
				t.Errorf("looked at %v, want %v", got, want)
			}
			time.Sleep(time.Minute)
			select {
			case e := <-a.events:
				t.Errorf("looked at %s again", e.Object.GetNamespace())
			default:
			}
		}
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestAlertAnswersAreGatheredAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAlertsWorld(t, addonOf("edge-1"))
		answers := w.alerts.answers
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- answers.Start(ctx) }()
		w.applied.err = errors.New("apiserver is down")
		for seq := range uint64(3) {
			answers.compare("edge-1", &report.AlertsIngested{Store: storeID, Epoch: epoch, Seq: seq + 1, Reason: report.ReasonIngested}, nil)
			time.Sleep(time.Second / 2)
		}
		time.Sleep(time.Minute)
		w.applied.mu.Lock()
		w.applied.err = nil
		w.applied.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if got := w.applied.taken(); len(got) != 1 {
			t.Errorf("applied %+v, want the last answer alone", got)
		}
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestFleetHealth(t *testing.T) {
	joined := condition(clusterv1.ManagedClusterConditionJoined, "Joined", "")
	silent := condition(clusterv1.ManagedClusterConditionAvailable, "ManagedClusterLeaseUpdateStopped", "lease")
	silent.Status = metav1.ConditionUnknown
	degraded := condition("Degraded", "Bad", "journal is full")
	unwell := condition("Available", "ProbeUnavailable", "no lease")
	unwell.Status = metav1.ConditionFalse
	cluster := func(name string, conditions ...metav1.Condition) *clusterv1.ManagedCluster {
		mc := managedCluster(name)
		mc.Status.Conditions = conditions
		return mc
	}
	hub := newHub(t, cluster("new"), cluster("well", joined), cluster("gone-quiet", joined, silent), cluster("agent-quiet", joined), cluster("bad", joined),
		addonOf("well", condition("Available", "Lease", "")), addonOf("agent-quiet", unwell), addonOf("bad", degraded))
	fleet, err := Fleet{hub}.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	since := newClock().now()
	want := map[string]alarm.Health{
		"well":        {Cluster: "well"},
		"gone-quiet":  {Cluster: "gone-quiet", Silent: since, Why: "condition ManagedClusterConditionAvailable of the ManagedCluster is Unknown: lease"},
		"agent-quiet": {Cluster: "agent-quiet", Silent: since, Why: "condition Available of the ManagedClusterAddOn is False: no lease"},
		"bad":         {Cluster: "bad", Degraded: since, DegradedMessage: "journal is full"},
	}
	if len(fleet) != len(want) {
		t.Errorf("%d clusters, want %d", len(fleet), len(want))
	}
	for _, got := range fleet {
		got.Silent, got.Degraded = utc(got.Silent), utc(got.Degraded)
		if got != want[got.Cluster] {
			t.Errorf("health %+v, want %+v", got, want[got.Cluster])
		}
	}
}

func utc(at time.Time) time.Time {
	if at.IsZero() {
		return time.Time{}
	}
	return at.UTC()
}
