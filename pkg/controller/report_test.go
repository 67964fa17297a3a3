package controller

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/report"
)

func TestAReportBecomesTheInventory(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1", condition("Available", "Lease", "")))
	w.reconcile("edge-1")
	if _, found := w.ledger.reports["edge-1"]; found {
		t.Error("there is an inventory before the first report")
	}
	if got := w.ledger.reporting["edge-1"]; got.AddOn != inventory.Enabled || got.AddOnAvailable != "True" || got.ReportErr != "" {
		t.Errorf("reporting %+v", got)
	}
	if len(w.reports.answers.pending()) != 0 {
		t.Error("the hub answers before there is a report")
	}

	w.write("edge-1", reportConditions(t, machines("edge-1", 3), nil, w.clock.now()))
	if got := w.ledger.nodes("edge-1"); got != 3 {
		t.Errorf("%d nodes, want 3", got)
	}
	if got := w.reports.answers.pending()["edge-1"]; got.Reason != report.ReasonIngested || got.Epoch != epoch || got.Seq != 1 {
		t.Errorf("answer %+v", got)
	}
	if got := valueOf(t, w.reports.meters.resources); got != 6 {
		t.Errorf("o2ims_report_resources is %v, want 6", got)
	}
}

// expectant is a read model that expects to know of a cluster's reporting before its report.
type expectant struct {
	*ledger
	early []string // clusters whose report came before
}

func (e *expectant) SetReport(cluster string, inv report.Inventory, head report.Head) {
	e.mu.Lock()
	_, known := e.reporting[cluster]
	e.mu.Unlock()
	if !known {
		e.early = append(e.early, cluster)
	}
	e.ledger.SetReport(cluster, inv, head)
}

// The other way round, the read model would make every server twice when the manager starts.
func TestTheReadModelKnowsOfTheReportingBeforeTheReport(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1"))
	model := &expectant{ledger: w.ledger}
	w.reports.inventory = model
	w.write("edge-1", reportConditions(t, machines("edge-1", 3), nil, w.clock.now()))
	if w.ledger.nodes("edge-1") != 3 || len(model.early) != 0 {
		t.Errorf("%d nodes, want 3; reports that came too early: %v", w.ledger.nodes("edge-1"), model.early)
	}
}

func TestWhatDoesNotConcernTheReportIsNotDecodedAgain(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1"))
	conditions := reportConditions(t, machines("edge-1", 3), nil, w.clock.now())
	w.write("edge-1", conditions)
	w.reconcile("edge-1")
	w.write("edge-1", append([]metav1.Condition{condition("Available", "Lease", "")}, conditions...))
	if got := w.ledger.sets["report edge-1"]; got != 1 {
		t.Errorf("the report was ingested %d times, want once", got)
	}
	if got := w.ledger.reporting["edge-1"].AddOnAvailable; got != "True" {
		t.Errorf("the add-on is available: %q, want True", got)
	}
	w.write("edge-1", reportConditions(t, machines("edge-1", 4), conditions, w.clock.now()))
	if got := w.ledger.sets["report edge-1"]; got != 2 || w.ledger.nodes("edge-1") != 4 {
		t.Errorf("the report was ingested %d times and has %d nodes, want 2, 4", got, w.ledger.nodes("edge-1"))
	}
}

// hostile are reports that no agent of ours would write.
func hostile(t testing.TB) map[string]struct {
	reason     string
	conditions []metav1.Condition
} {
	type attack = struct {
		reason     string
		conditions []metav1.Condition
	}
	good := func() []metav1.Condition { return reportConditions(t, machines("edge-1", 5), nil, newClock().now()) }
	head := func(old, new string) []metav1.Condition {
		c := good()
		c[0].Message = strings.Replace(c[0].Message, old, new, 1)
		return c
	}
	digest := func() string { _, d, _ := strings.Cut(good()[0].Message, "sha256="); return d }()
	twice := machines("edge-1", 5)
	twice.Nodes[4].Key = twice.Nodes[0].Key
	million := `{"cluster":"edge-1","nodes":[{"elements":[` + strings.Repeat("{},", 999_999) + `{}],"key":"k","name":"n","server":{}}],"v":1}`
	bomb := strings.Repeat(" ", 20<<20)

	return map[string]attack{
		"bomb": {report.ReasonTooLarge, frameOf(t, bomb, 1, 1)},
		"bomb with a modest head": {report.ReasonCorrupt, func() []metav1.Condition {
			c := frameOf(t, bomb, 1, 1)
			c[0].Message = strings.Replace(c[0].Message, "raw=20971520", "raw=1000", 1)
			return c
		}()},
		"wrong length":             {report.ReasonCorrupt, head(" raw=", " raw=1")},
		"wrong hash":               {report.ReasonCorrupt, head(digest, strings.Repeat("0", 64))},
		"future version":           {report.ReasonFutureVersion, head("v=1", "v=2")},
		"duplicate ids":            {report.ReasonDuplicateIdentity, reportConditions(t, twice, nil, newClock().now())},
		"another cluster's report": {report.ReasonOtherCluster, reportConditions(t, machines("edge-2", 5), nil, newClock().now())},
		"a million elements":       {report.ReasonTooLarge, frameOf(t, million, 1, 1_000_001)},
		"nonsense":                 {report.ReasonMalformed, []metav1.Condition{condition(report.KindInventory.HeadType(), "Reported", "<html>")}},
		"a missing part":           {report.ReasonMalformed, good()[:1]},
		"zstd of nothing":          {report.ReasonMalformed, frameOf(t, "null", 0, 0)},
	}
}

func TestHostileReportsHarmNobody(t *testing.T) {
	for name, attack := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, managedCluster("edge-1"), managedCluster("edge-2"), addonOf("edge-1"), addonOf("edge-2"))
			w.write("edge-1", reportConditions(t, machines("edge-1", 3), nil, w.clock.now()))
			w.write("edge-2", reportConditions(t, machines("edge-2", 4), nil, w.clock.now()))
			neighbour := w.ledger.reporting["edge-2"]

			w.write("edge-1", attack.conditions)
			w.reconcile("edge-1")
			if got := w.ledger.nodes("edge-1"); got != 3 {
				t.Errorf("the attacker's cluster has %d nodes, want the last good 3", got)
			}
			if got := w.ledger.nodes("edge-2"); got != 4 || w.ledger.reporting["edge-2"] != neighbour {
				t.Errorf("the neighbour has %d nodes, reporting %+v", got, w.ledger.reporting["edge-2"])
			}
			if got := w.ledger.reporting["edge-1"]; got.ReportErr == "" || got.AddOn != inventory.Enabled {
				t.Errorf("reporting %+v, want an error", got)
			}
			if got := w.reports.answers.pending()["edge-1"]; got.Reason != attack.reason {
				t.Errorf("answer %+v, want reason %s", got, attack.reason)
			}
			if got := valueOf(t, w.reports.meters.rejected.WithLabelValues(attack.reason)); got != 1 {
				t.Errorf("%v rejections counted, want 1", got)
			}
			if got := valueOf(t, w.reports.meters.unusable); got != 1 {
				t.Errorf("o2ims_reports_unusable is %v, want 1", got)
			}

			w.write("edge-1", reportConditions(t, machines("edge-1", 6), nil, w.clock.now()))
			if got := w.ledger.reporting["edge-1"]; got.ReportErr != "" || w.ledger.nodes("edge-1") != 6 {
				t.Errorf("after a good report: %+v, %d nodes", got, w.ledger.nodes("edge-1"))
			}
			if got := valueOf(t, w.reports.meters.unusable); got != 0 {
				t.Errorf("o2ims_reports_unusable is %v, want 0", got)
			}
		})
	}
}

func TestAWipedReportLeavesTheLastGoodOne(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1"))
	w.write("edge-1", reportConditions(t, machines("edge-1", 3), nil, w.clock.now()))
	w.write("edge-1", nil)
	if got := w.ledger.reporting["edge-1"]; got.ReportErr == "" || w.ledger.nodes("edge-1") != 3 {
		t.Errorf("reporting %+v, %d nodes, want an error and the last good report", got, w.ledger.nodes("edge-1"))
	}
}

func TestCollectFailedShowsTheLastReportAndSaysSo(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1"))
	enc, err := report.NewEncoder(16)
	if err != nil {
		t.Fatal(err)
	}
	first := reportConditions(t, machines("edge-1", 3), nil, w.clock.now())
	w.write("edge-1", enc.ComposeCollectFailed(first, report.Stamp{Epoch: epoch, Now: w.clock.now()}).Entries)
	if got := w.ledger.reporting["edge-1"]; got.ReportErr == "" || w.ledger.nodes("edge-1") != 3 {
		t.Errorf("reporting %+v, %d nodes", got, w.ledger.nodes("edge-1"))
	}
	if got := w.reports.answers.pending()["edge-1"]; got.Reason != report.ReasonIngested {
		t.Errorf("answer %+v, want it ingested", got)
	}
}

func TestADisabledAddOnKeepsItsMachinesForAWhile(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1"))
	w.write("edge-1", reportConditions(t, machines("edge-1", 3), nil, w.clock.now()))
	gone := w.clock.now()
	w.delete(w.addon("edge-1"))

	if got := w.reconcile("edge-1").RequeueAfter; got != 24*time.Hour {
		t.Errorf("requeue after %s, want 24h", got)
	}
	if got := w.ledger.reporting["edge-1"]; got.AddOn != inventory.Disabled || !got.Since.Equal(gone) || w.ledger.nodes("edge-1") != 3 {
		t.Errorf("reporting %+v, %d nodes, want disabled since %s, 3", got, w.ledger.nodes("edge-1"), gone)
	}
	if len(w.reports.answers.pending()) != 0 {
		t.Error("there is an answer to nobody")
	}

	w.clock.t = gone.Add(23 * time.Hour)
	if got := w.reconcile("edge-1").RequeueAfter; got != time.Hour || w.ledger.nodes("edge-1") != 3 {
		t.Errorf("requeue after %s with %d nodes, want 1h, 3", got, w.ledger.nodes("edge-1"))
	}
	w.clock.t = gone.Add(24 * time.Hour)
	if got := w.reconcile("edge-1"); got.RequeueAfter != 0 || w.ledger.nodes("edge-1") != 0 {
		t.Errorf("result %+v with %d nodes, want it over", got, w.ledger.nodes("edge-1"))
	}
	if got := valueOf(t, w.reports.meters.nodes); got != 0 {
		t.Errorf("o2ims_report_nodes is %v, want 0", got)
	}

	w.create(addonOf("edge-1"))
	w.write("edge-1", reportConditions(t, machines("edge-1", 3), nil, w.clock.now()))
	if got := w.ledger.reporting["edge-1"]; got.AddOn != inventory.Enabled || w.ledger.nodes("edge-1") != 3 {
		t.Errorf("enabled again: %+v, %d nodes", got, w.ledger.nodes("edge-1"))
	}
}

func TestEnablingAgainEndsTheGracePeriod(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1"))
	w.write("edge-1", reportConditions(t, machines("edge-1", 3), nil, w.clock.now()))
	w.delete(w.addon("edge-1"))
	w.reconcile("edge-1")
	w.create(addonOf("edge-1"))
	w.reconcile("edge-1")
	w.clock.t = w.clock.t.Add(48 * time.Hour)
	w.reconcile("edge-1")
	if got := w.ledger.reporting["edge-1"]; got.AddOn != inventory.Enabled || w.ledger.nodes("edge-1") != 3 {
		t.Errorf("reporting %+v, %d nodes, want the machines kept", got, w.ledger.nodes("edge-1"))
	}
	w.delete(w.addon("edge-1"))
	if got := w.reconcile("edge-1").RequeueAfter; got != 24*time.Hour {
		t.Errorf("disabled a second time: requeue after %s, want 24h", got)
	}
}

// An add-on that is being deleted counts as disabled from its deletion timestamp on, also
// for a manager that has just started.
func TestAnAddOnThatIsGoing(t *testing.T) {
	going := addonOf("edge-1", reportConditions(t, machines("edge-1", 3), nil, newClock().now())...)
	since := metav1.NewTime(newClock().now().Add(-time.Hour))
	going.DeletionTimestamp, going.Finalizers = &since, []string{"addon.open-cluster-management.io/addon-pre-delete"}
	w := newWorld(t, managedCluster("edge-1"), going)
	if got := w.reconcile("edge-1").RequeueAfter; got != 23*time.Hour {
		t.Errorf("requeue after %s, want 23h", got)
	}
	if got := w.ledger.reporting["edge-1"]; got.AddOn != inventory.Disabled || !got.Since.Equal(since.Time) || w.ledger.nodes("edge-1") != 3 {
		t.Errorf("reporting %+v, %d nodes", got, w.ledger.nodes("edge-1"))
	}
}

func TestADetachedClusterGoesAtOnce(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1"))
	conditions := reportConditions(t, machines("edge-1", 3), nil, w.clock.now())
	w.write("edge-1", conditions)
	w.delete(managedCluster("edge-1"))
	if got := w.reconcile("edge-1"); got.RequeueAfter != 0 || w.ledger.nodes("edge-1") != 0 {
		t.Errorf("result %+v with %d nodes, want nothing left", got, w.ledger.nodes("edge-1"))
	}
	// The same cluster comes back with the same report.
	w.create(managedCluster("edge-1"))
	w.reconcile("edge-1")
	if got := w.ledger.nodes("edge-1"); got != 3 {
		t.Errorf("attached again: %d nodes, want 3", got)
	}
}

func TestAClusterThatNeverHadTheAddOn(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"))
	if got := w.reconcile("edge-1"); got.RequeueAfter != 0 || len(w.ledger.reporting) != 0 {
		t.Errorf("result %+v, reporting %v, want nothing said", got, w.ledger.reporting)
	}
}

func TestAnswersStopWhenTheyStandThere(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1"))
	conditions := reportConditions(t, machines("edge-1", 3), nil, w.clock.now())
	w.write("edge-1", conditions)
	answer := w.reports.answers.pending()["edge-1"]
	w.write("edge-1", append(conditions, answer.Condition(nil, w.clock.now())))
	if got := w.reports.answers.pending(); len(got) != 0 {
		t.Errorf("pending %v, want none", got)
	}
	w.write("edge-1", conditions) // somebody wiped it
	if got := w.reports.answers.pending()["edge-1"]; got != answer {
		t.Errorf("pending %v, want %v again", got, answer)
	}
}

func TestMetersRegister(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := newMeters(reg); err != nil {
		t.Fatal(err)
	}
	if _, err := newMeters(reg); err == nil {
		t.Error("the same metrics were registered twice without an error")
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n := len(f.GetMetric()); f.GetName() == "o2ims_reports_rejected_total" && n != len(report.Reasons()) {
			t.Errorf("%d series of rejections, want one for each of %d reasons", n, len(report.Reasons()))
		}
	}
	if len(families) != 6 {
		t.Errorf("%d metrics, want 6", len(families))
	}
}

func TestCachedAddOnsKeepTheirConditions(t *testing.T) {
	var seen bool
	for object, o := range CacheOptions("o2ims") {
		if _, ok := object.(*addonv1beta1.ManagedClusterAddOn); !ok {
			continue
		}
		seen = true
		if o.Field.String() != "metadata.name=o2ims" {
			t.Errorf("field selector %s", o.Field)
		}
		addon := addonOf("edge-1", condition("Available", "Lease", ""), condition(report.KindInventory.PartType(0), "Data", "AAAA"))
		addon.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}}
		got, err := o.Transform(addon)
		if err != nil {
			t.Fatal(err)
		}
		if a := got.(*addonv1beta1.ManagedClusterAddOn); len(a.ManagedFields) != 0 || len(a.Status.Conditions) != 2 || a.Status.Conditions[1].Message != "AAAA" {
			t.Errorf("transformed add-on %+v", a)
		}
	}
	if !seen {
		t.Error("no options for add-ons")
	}
}

func TestErrorsOfTheHubAreRetried(t *testing.T) {
	w := newWorld(t, managedCluster("edge-1"), addonOf("edge-1"))
	looked := 0
	w.reports.done = func(item) { looked++ }
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.reports.reader = failing{w.hub, context.Canceled}
	if _, err := w.reports.project(ctx, "edge-1"); err == nil {
		t.Error("an error of the hub was swallowed")
	}
	if looked != 0 {
		t.Error("a cluster counts as looked at though it could not be read")
	}
}

// failing is a hub that cannot be read.
type failing struct {
	client.Reader
	err error
}

func (f failing) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return f.err
}
