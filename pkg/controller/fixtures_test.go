package controller

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/report"
)

// The real read model does what the reconcilers need.
var _ Inventory = (*inventory.Model)(nil)

// ledger is a read model that remembers what it was told of clusters and reports.
type ledger struct {
	*inventory.Model // for the rest

	mu        sync.Mutex
	clusters  map[string]inventory.ClusterFacts
	reports   map[string]report.Inventory
	reporting map[string]inventory.Reporting
	sets      map[string]int // calls of SetReport and SetCluster
}

func newLedger() *ledger {
	return &ledger{
		clusters: map[string]inventory.ClusterFacts{}, reports: map[string]report.Inventory{},
		reporting: map[string]inventory.Reporting{}, sets: map[string]int{},
	}
}

func (l *ledger) SetCluster(f inventory.ClusterFacts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clusters[f.Name] = f
	l.sets["cluster "+f.Name]++
}

func (l *ledger) RemoveCluster(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.clusters, name)
}

func (l *ledger) SetReport(cluster string, inv report.Inventory, _ report.Head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports[cluster] = inv
	l.sets["report "+cluster]++
}

func (l *ledger) SetReporting(cluster string, r inventory.Reporting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reporting[cluster] = r
}

func (l *ledger) RemoveReport(cluster string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.reports, cluster)
	delete(l.reporting, cluster)
}

func (l *ledger) nodes(cluster string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.reports[cluster].Nodes)
}

// clock is a time that tests move.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time { return c.t }

const epoch = "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11"

// machines makes an inventory of small machines.
func machines(cluster string, nodes int) report.Inventory {
	inv := report.Inventory{Cluster: cluster, V: report.Version}
	for n := range nodes {
		inv.Nodes = append(inv.Nodes, hardware.Machine{
			Name: fmt.Sprintf("%s-%d", cluster, n), Key: fmt.Sprintf("sn:dell|%s-%d", cluster, n), Server: hardware.Server{Vendor: "Dell Inc."},
			Elements: []hardware.Element{{Class: hardware.Processor, Slot: "socket/0"}},
		})
	}
	return inv
}

// reportConditions is the report of an inventory, as the agent writes it over current.
func reportConditions(t testing.TB, inv report.Inventory, current []metav1.Condition, now time.Time) []metav1.Condition {
	t.Helper()
	enc, err := report.NewEncoder(report.DefaultInventoryParts)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := enc.Encode(inv)
	if err != nil {
		t.Fatal(err)
	}
	return enc.Compose(current, report.Stamp{Epoch: epoch, Now: now}, encoded).Entries
}

// frameOf is a report whose body is any text, with a head that fits it.
func frameOf(t testing.TB, body string, nodes, resources int) []metav1.Condition {
	t.Helper()
	f, err := report.NewFrame([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	head := report.Head{
		Envelope: report.Envelope{
			V: 1, Epoch: epoch, Seq: 99, Observed: newClock().now(),
			Parts: len(f.Parts), Raw: f.Raw, Bytes: f.Bytes, SHA256: f.SHA256,
		},
		Nodes: nodes, Resources: resources, Detail: report.DetailFull,
	}
	conditions := []metav1.Condition{condition(report.KindInventory.HeadType(), report.HeadReported, head.String())}
	for i, part := range f.Parts {
		conditions = append(conditions, condition(report.KindInventory.PartType(i), "Data", part))
	}
	return conditions
}

func condition(conditionType, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: conditionType, Status: metav1.ConditionTrue, Reason: reason, Message: message,
		LastTransitionTime: metav1.NewTime(newClock().now()),
	}
}

func addonOf(cluster string, conditions ...metav1.Condition) *addonv1beta1.ManagedClusterAddOn {
	return &addonv1beta1.ManagedClusterAddOn{
		ObjectMeta: metav1.ObjectMeta{Name: report.AddOnName, Namespace: cluster, CreationTimestamp: metav1.NewTime(newClock().now())},
		Status:     addonv1beta1.ManagedClusterAddOnStatus{Conditions: conditions},
	}
}

func managedCluster(name string) *clusterv1.ManagedCluster {
	return &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func newHub(t testing.TB, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&addonv1beta1.ManagedClusterAddOn{}, &clusterv1.ManagedCluster{}).Build()
}

// world is a hub with a report reconciler.
type world struct {
	t       testing.TB
	hub     client.WithWatch
	clock   *clock
	ledger  *ledger
	reports *ReportReconciler
}

func newWorld(t testing.TB, objects ...client.Object) *world {
	t.Helper()
	decoder, err := report.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, hub: newHub(t, objects...), clock: newClock(), ledger: newLedger()}
	w.reports = newReportReconciler(w.hub, w.ledger, decoder, 24*time.Hour)
	w.reports.now = w.clock.now
	return w
}

func (w *world) reconcile(cluster string) reconcile.Result {
	w.t.Helper()
	result, err := w.reports.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: cluster, Name: report.AddOnName}})
	if err != nil {
		w.t.Fatalf("Reconcile(%s): %v", cluster, err)
	}
	return result
}

// write replaces the conditions of a cluster's add-on and reconciles.
func (w *world) write(cluster string, conditions []metav1.Condition) {
	w.t.Helper()
	addon := w.addon(cluster)
	addon.Status.Conditions = conditions
	if err := w.hub.Status().Update(context.Background(), addon); err != nil {
		w.t.Fatal(err)
	}
	w.reconcile(cluster)
}

func (w *world) addon(cluster string) *addonv1beta1.ManagedClusterAddOn {
	w.t.Helper()
	var addon addonv1beta1.ManagedClusterAddOn
	if err := w.hub.Get(context.Background(), types.NamespacedName{Namespace: cluster, Name: report.AddOnName}, &addon); err != nil {
		w.t.Fatal(err)
	}
	return &addon
}

func (w *world) delete(o client.Object) {
	w.t.Helper()
	if err := w.hub.Delete(context.Background(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.hub.Create(context.Background(), o); err != nil {
		w.t.Fatal(err)
	}
}

// valueOf reads a counter or a gauge.
func valueOf(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}
