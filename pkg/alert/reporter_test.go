package alert

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/report"
)

// rulesOf are rules that a test can change.
type rulesOf struct{ groups []report.RuleGroup }

func (r *rulesOf) Hash() string {
	_, digest, _ := report.CanonicalRules(r.groups)
	return digest
}

func (r *rulesOf) Body() ([]byte, error) {
	body, _, err := report.CanonicalRules(r.groups)
	return body, err
}

// spoke is a reporter between a journal and an add-on.
type spoke struct {
	*world
	*Reporter
	journal *Journal
	hub     client.Client

	applied map[string]int // by field manager
	fails   error
}

func newSpoke(t *testing.T, rules Rules) *spoke {
	t.Helper()
	s := &spoke{world: newWorld(t), applied: map[string]int{}}
	s.journal = s.world.open(nil)
	scheme := runtime.NewScheme()
	if err := addonv1beta1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	addon := &addonv1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "edge-1", Name: report.AddOnName}}
	kinds := map[string]report.Kind{report.FieldManagerAlerts: report.KindAlerts, report.FieldManagerRules: report.KindRules}
	s.hub = fake.NewClientBuilder().WithScheme(scheme).WithObjects(addon).WithStatusSubresource(addon).
		WithInterceptorFuncs(interceptor.Funcs{
			// As the apiserver does for one field manager: the fake client knows no map lists.
			SubResourceApply: func(_ context.Context, _ client.Client, _ string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
				if s.fails != nil {
					return s.fails
				}
				var all client.SubResourceApplyOptions
				all.ApplyOpts(opts)
				s.applied[all.FieldManager]++
				kind := kinds[all.FieldManager]
				s.edit(func(conditions []metav1.Condition) []metav1.Condition {
					others := slices.DeleteFunc(conditions, func(c metav1.Condition) bool { return kind.Has(c.Type) })
					return append(others, conditionsOf(t, o)...)
				})
				return nil
			},
		}).Build()
	standby := &Standby{}
	standby.Use(s.journal)
	r, err := NewReporter(ReporterOptions{
		Cluster: "edge-1", Journal: standby, Hub: s.hub, Rules: rules, Clock: s.clock, MinInterval: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Reporter = r
	return s
}

func conditionsOf(t *testing.T, o runtime.ApplyConfiguration) []metav1.Condition {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	var addon addonv1beta1.ManagedClusterAddOn
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &addon); err != nil {
		t.Fatal(err)
	}
	return addon.Status.Conditions
}

func (s *spoke) conditions() []metav1.Condition {
	s.tb.Helper()
	var addon addonv1beta1.ManagedClusterAddOn
	if err := s.hub.Get(context.Background(), client.ObjectKey{Namespace: "edge-1", Name: report.AddOnName}, &addon); err != nil {
		s.tb.Fatal(err)
	}
	return addon.Status.Conditions
}

func (s *spoke) edit(change func([]metav1.Condition) []metav1.Condition) {
	s.tb.Helper()
	var addon addonv1beta1.ManagedClusterAddOn
	if err := s.hub.Get(context.Background(), client.ObjectKey{Namespace: "edge-1", Name: report.AddOnName}, &addon); err != nil {
		s.tb.Fatal(err)
	}
	addon.Status.Conditions = change(addon.Status.Conditions)
	if err := s.hub.Status().Update(context.Background(), &addon); err != nil {
		s.tb.Fatal(err)
	}
}

// answers is what the hub says; seq 0 stands for all that is reported.
func (s *spoke) answers(a report.AlertsIngested) {
	head, _ := report.FindAlertsHead(s.conditions())
	a.Store, a.Epoch, a.Reason = storeID, s.journal.Epoch(), report.ReasonIngested
	if a.Seq == 0 {
		a.Seq = head.Last
	}
	s.edit(func(conditions []metav1.Condition) []metav1.Condition {
		conditions = slices.DeleteFunc(conditions, func(c metav1.Condition) bool { return c.Type == report.KindAlerts.IngestedType() })
		return append(conditions, a.Condition(nil, s.clock.Now()))
	})
}

// run reconciles once, and wants so many writes of the alerts in all.
func (s *spoke) run(writes int) time.Duration {
	s.tb.Helper()
	result, err := s.Reconcile(context.Background(), reconcile.Request{})
	if err != nil {
		s.tb.Fatal(err)
	}
	if got := s.applied[report.FieldManagerAlerts]; got != writes {
		s.tb.Errorf("%d writes, want %d", got, writes)
	}
	return result.RequeueAfter
}

func (s *spoke) decoded() (report.AlertsHead, report.Alerts) {
	s.tb.Helper()
	d, err := report.NewDecoder()
	if err != nil {
		s.tb.Fatal(err)
	}
	head, alerts, err := d.DecodeAlerts("edge-1", s.conditions())
	if err != nil {
		s.tb.Fatal(err)
	}
	return head, alerts
}

func TestReporterWritesOnlyWhatIsNew(t *testing.T) {
	s := newSpoke(t, nil)
	s.run(0) // nothing to say, ever
	mustRecord(t, s.journal, firing(1, 0))
	s.run(1) // at once
	s.run(1)
	mustRecord(t, s.journal, firing(2, 0))
	if wait := s.run(1); wait <= 0 || wait > 5*time.Second {
		t.Errorf("wait %s, want up to 5s", wait)
	}
	s.clock.Step(5 * time.Second)
	s.run(2)
	s.answers(report.AlertsIngested{})
	s.clock.Step(time.Minute)
	s.run(2) // that it was confirmed is nothing to report
	if state := mustState(t, s.journal); state.First != 0 {
		t.Errorf("state %+v", state)
	}
	mustRecord(t, s.journal, resolved(1, 0, 500))
	s.run(3)
	head, alerts := s.decoded()
	if head.First != 3 || head.Last != 3 || head.Firing != 1 || head.Critical != 1 || !alerts.Active.Whole() || len(alerts.Transitions) != 1 {
		t.Errorf("head %s", head)
	}
}

func TestReporterTriesAgain(t *testing.T) {
	s := newSpoke(t, nil)
	mustRecord(t, s.journal, firing(1, 0))
	s.fails = errInjected
	if _, err := s.Reconcile(context.Background(), reconcile.Request{}); !errors.Is(err, errInjected) {
		t.Fatalf("error %v", err)
	}
	s.fails = nil
	s.run(1)
}

func TestReporterMendsDamage(t *testing.T) {
	for name, damage := range map[string]func([]metav1.Condition) []metav1.Condition{
		"no report": func([]metav1.Condition) []metav1.Condition { return nil },
		"no part": func(c []metav1.Condition) []metav1.Condition {
			return slices.DeleteFunc(c, func(c metav1.Condition) bool { return c.Type == report.KindAlerts.PartType(0) })
		},
		"another part": func(c []metav1.Condition) []metav1.Condition { c[len(c)-1].Message = "AAAA"; return c },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpoke(t, nil)
			mustRecord(t, s.journal, firing(1, 0))
			s.run(1)
			s.run(1)
			s.edit(damage)
			s.clock.Step(time.Minute)
			s.run(2)
			s.decoded()
		})
	}
}

func TestReporterDrainsABacklogAndSlimsDown(t *testing.T) {
	skipUnderRace(t)
	s := newSpoke(t, nil)
	bulky(t, s.journal, 0, 8000)
	reconciled := func() int {
		t.Helper()
		if _, err := s.Reconcile(context.Background(), reconcile.Request{}); err != nil {
			t.Fatal(err)
		}
		s.clock.Step(time.Minute)
		return s.applied[report.FieldManagerAlerts]
	}
	writes := reconciled()
	for i := 0; mustState(t, s.journal).First != 0 && i < 50; i++ {
		s.answers(report.AlertsIngested{})
		writes = reconciled()
	}
	if writes != 3 { // two windows, and the active set alone
		t.Errorf("%d writes, want 3", writes)
	}
	head, _ := s.decoded()
	if head.Last != 0 || head.End != 8000 || head.Firing != 8000 {
		t.Errorf("head %s, want no transitions any more", head)
	}
	s.run(writes)
}

func TestReporterPausesLongerAfterLargeReports(t *testing.T) {
	skipUnderRace(t)
	s := newSpoke(t, nil)
	bulky(t, s.journal, 0, 4000)
	s.edit(func([]metav1.Condition) []metav1.Condition {
		return []metav1.Condition{{Type: report.KindInventory.PartType(0), Message: string(make([]byte, 100_000))}}
	})
	s.run(1)
	s.answers(report.AlertsIngested{})
	if wait := s.run(1); wait < 6*time.Second {
		t.Errorf("wait %s after a report of some 200 kB", wait)
	}
}

func TestReporterAnswersAskedPages(t *testing.T) {
	skipUnderRace(t)
	s := newSpoke(t, nil)
	bulky(t, s.journal, 0, 9000)
	total, page, writes := 0, report.PageFromStart, 0
	for range 20 {
		s.answers(report.AlertsIngested{Seq: mustState(t, s.journal).End, Page: page})
		s.clock.Step(time.Minute)
		writes++
		s.run(writes)
		s.run(writes)
		_, alerts := s.decoded()
		total += len(alerts.Active.Alerts)
		if page = alerts.Active.Through; page == "" {
			break
		}
	}
	if total != 9000 {
		t.Errorf("%d alerts on all pages, want 9000", total)
	}
}

func TestReporterReportsAgainToANewStore(t *testing.T) {
	s := newSpoke(t, nil)
	mustRecord(t, s.journal, firing(1, 0), firing(2, 0))
	s.run(1)
	s.answers(report.AlertsIngested{})
	s.run(1)
	mustRecord(t, s.journal, firing(3, 0))
	s.clock.Step(time.Minute)
	s.run(2)
	s.answers(report.AlertsIngested{Seq: 1})
	s.clock.Step(time.Minute)
	s.run(3)
	if head, _ := s.decoded(); head.First != 2 || head.Last != 3 {
		t.Errorf("head %s, want the transitions from 2", head)
	}
}

func TestReporterSendsRulesOnlyWhenAsked(t *testing.T) {
	rules := &rulesOf{groups: []report.RuleGroup{{Name: "node", Rules: []report.AlertRule{{Alert: "NodeDown", Expr: "up == 0"}}}}}
	s := newSpoke(t, rules)
	s.run(1)
	head, _ := s.decoded()
	if head.Rules != rules.Hash() || report.HasRules(s.conditions()) {
		t.Fatalf("head %s", head)
	}
	wrote := func(want int) {
		t.Helper()
		s.run(1)
		if got := s.applied[report.FieldManagerRules]; got != want {
			t.Errorf("%d writes of rules, want %d", got, want)
		}
	}
	s.answers(report.AlertsIngested{Need: mustDigest("others")})
	wrote(0)
	s.answers(report.AlertsIngested{Need: rules.Hash()})
	wrote(1)
	wrote(1)
	d, _ := report.NewDecoder()
	if h, groups, err := d.DecodeRules("edge-1", s.conditions()); err != nil || h.SHA256 != rules.Hash() || len(groups) != 1 {
		t.Errorf("rules %+v, error %v", groups, err)
	}
	s.answers(report.AlertsIngested{})
	wrote(2)
	if report.HasRules(s.conditions()) {
		t.Error("the rules stay though nobody asks for them")
	}
	wrote(2)
}

func mustDigest(text string) string { return digest([]byte(text)) }

func TestReporterWithoutAJournal(t *testing.T) {
	s := newSpoke(t, nil)
	mustRecord(t, s.journal, firing(1, 0))
	s.o.Journal.Use(nil)
	s.run(0)
	if err := s.o.Journal.Record(context.Background(), firing(1, 0)); err == nil || len(s.o.Journal.Open()) != 0 {
		t.Error("a standby takes alerts")
	}
}
