package controller

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/report"
)

const cloudID = "262c8f17-52b5-4614-9e56-812ae21fa8a7"

func TestOverlay(t *testing.T) {
	flags := inventory.OCloud{ID: cloudID, GlobalCloudID: "g", Name: "n", Description: "d", ServiceURI: "https://a", Extensions: map[string]string{"a": "b"}}
	all := apiv1alpha1.InventorySpec{OCloudID: "1", GlobalCloudID: "2", Name: "3", Description: "4", ExternalURL: "5", Extensions: map[string]string{"6": "7"}}
	for _, tc := range []struct {
		name string
		spec apiv1alpha1.InventorySpec
		want inventory.OCloud
	}{
		{"nothing", apiv1alpha1.InventorySpec{}, flags},
		{"everything", all, inventory.OCloud{ID: "1", GlobalCloudID: "2", Name: "3", Description: "4", ServiceURI: "5", Extensions: map[string]string{"6": "7"}}},
		{"no extensions", apiv1alpha1.InventorySpec{Extensions: map[string]string{}}, inventory.OCloud{
			ID: cloudID, GlobalCloudID: "g", Name: "n", Description: "d", ServiceURI: "https://a", Extensions: map[string]string{}}},
	} {
		if got := overlay(flags, tc.spec); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// administered is a hub with a real read model, a reconciler and a status writer.
type administered struct {
	t         *testing.T
	hub       client.WithWatch
	model     *inventory.Model
	hierarchy *HierarchyReconciler
	statuses  *statusWriter
	writes    []string // what was written: verb, kind and name
	looked    int      // how often done was called
}

func newAdministered(t *testing.T, objects ...client.Object) *administered {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	a := &administered{t: t}
	note := func(verb string, o client.Object) {
		gvk, err := a.hub.GroupVersionKindFor(o)
		if err != nil {
			t.Fatal(err)
		}
		a.writes = append(a.writes, verb+" "+gvk.Kind+" "+o.GetName())
	}
	a.hub = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&apiv1alpha1.Inventory{}, &apiv1alpha1.Location{}, &apiv1alpha1.OCloudSite{}, &apiv1alpha1.ResourcePool{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				note("create", o)
				return c.Create(ctx, o, opts...)
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				note("patch "+sub+" of", o)
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	model, err := inventory.New(inventory.Options{OCloudID: cloudID, Name: "north", Description: "north", ServiceURI: "https://o2ims.example.net"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"c1", "c2"} {
		model.SetCluster(inventory.ClusterFacts{Name: name, UID: name, Accepted: true, Available: "True"})
		model.SetReport(name, machines(name, 2), report.Head{Detail: report.DetailFull})
	}
	a.model = model
	a.hierarchy = newHierarchyReconciler(a.hub, model, func(i item) {
		if i == (item{kind: hierarchyItem}) {
			a.looked++
		}
	})
	a.statuses = newStatusWriter(a.hub, model, newFirstPass(a.hub), a.hierarchy.generation.Load)
	a.hierarchy.changed = a.statuses.change
	return a
}

// settle reconciles and writes, as the leader does, and returns what was written.
func (a *administered) settle() []string {
	a.t.Helper()
	a.writes = nil
	if _, err := a.hierarchy.Reconcile(context.Background(), theHierarchy); err != nil {
		a.t.Fatal(err)
	}
	if err := a.statuses.write(context.Background(), a.model.Status()); err != nil {
		a.t.Fatal(err)
	}
	return a.writes
}

func (a *administered) get(name string, o client.Object) {
	a.t.Helper()
	if err := a.hub.Get(context.Background(), client.ObjectKey{Name: name}, o); err != nil {
		a.t.Fatal(err)
	}
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Generation: 3} }

// TestTheLeaderWritesStatus follows a small hierarchy through the writer: everything is
// written once, and then only what is news.
func TestTheLeaderWritesStatus(t *testing.T) {
	location := &apiv1alpha1.Location{ObjectMeta: named("ottawa"), Spec: apiv1alpha1.LocationSpec{Address: "1 Main St"}}
	site := &apiv1alpha1.OCloudSite{ObjectMeta: named("dc1"), Spec: apiv1alpha1.OCloudSiteSpec{LocationRef: apiv1alpha1.ObjectName{Name: "ottawa"}}}
	newPool := func(name string) *apiv1alpha1.ResourcePool {
		return &apiv1alpha1.ResourcePool{ObjectMeta: named(name), Spec: apiv1alpha1.ResourcePoolSpec{SiteRef: apiv1alpha1.ObjectName{Name: "dc1"},
			Selectors: []apiv1alpha1.ResourcePoolSelector{{Nodes: &apiv1alpha1.NodeSelector{Names: []string{"c1-0", "c2-0"}}}}}}
	}
	a := newAdministered(t, location, site, newPool("p"))

	if got, want := strings.Join(a.settle(), ", "), "create Inventory default, patch status of Location ottawa, patch status of OCloudSite dc1, patch status of ResourcePool p"; got != want {
		t.Errorf("first: %s, want %s", got, want)
	}
	if got, want := strings.Join(a.settle(), ", "), "patch status of Inventory default"; got != want {
		t.Errorf("then: %s, want %s", got, want)
	}
	if got := a.settle(); len(got) > 0 {
		t.Errorf("without news: %v", got)
	}
	if a.looked != 3 {
		t.Errorf("the hierarchy was reported as looked at %d times", a.looked)
	}

	var inv apiv1alpha1.Inventory
	a.get("default", &inv)
	if s := inv.Status; s.OCloudID != cloudID || s.DeploymentManagers != 2 || s.Resources != 4 || s.ResourcePools != 3 || s.OCloudSites != 2 || s.Locations != 2 ||
		!meta.IsStatusConditionTrue(s.Conditions, apiv1alpha1.ConditionReady) {
		t.Errorf("Inventory: %+v", s)
	}
	var p apiv1alpha1.ResourcePool
	a.get("p", &p)
	if s := p.Status; s.ObservedGeneration != 3 || s.Resources != 2 || s.ManagedClusters != 2 || s.ResourcePoolID != inventory.PoolID(cloudID, "dc1", "p").String() ||
		!meta.IsStatusConditionTrue(s.Conditions, apiv1alpha1.ConditionReady) || !meta.IsStatusConditionFalse(s.Conditions, apiv1alpha1.ConditionConflict) {
		t.Errorf("pool: %+v", s)
	}
	since := p.Status.Conditions[0].LastTransitionTime

	if err := a.hub.Create(context.Background(), newPool("q")); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(a.settle(), ", "), "patch status of Inventory default, patch status of OCloudSite dc1, patch status of ResourcePool p, patch status of ResourcePool q"; got != want {
		t.Errorf("a second pool: %s, want %s", got, want)
	}
	a.get("p", &p)
	if c := meta.FindStatusCondition(p.Status.Conditions, apiv1alpha1.ConditionConflict); c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "c1/c1-0, c2/c2-0") {
		t.Errorf("conflict: %+v", c)
	}
	if got := p.Status.Conditions[0]; got.Type != apiv1alpha1.ConditionReady || got.LastTransitionTime != since {
		t.Errorf("Ready has moved: %+v", got)
	}

	if err := a.hub.Delete(context.Background(), site); err != nil {
		t.Fatal(err)
	}
	a.settle()
	a.get("p", &p)
	if c := meta.FindStatusCondition(p.Status.Conditions, apiv1alpha1.ConditionReady); c.Status != metav1.ConditionFalse || c.Reason != apiv1alpha1.ReasonSiteNotFound {
		t.Errorf("without its site: %+v", c)
	}
	if p.Status.ResourcePoolID != "" || p.Status.Resources != 0 {
		t.Errorf("without its site: %+v", p.Status)
	}
}

func TestTheInventoryOverridesFlags(t *testing.T) {
	inv := &apiv1alpha1.Inventory{ObjectMeta: named("default"), Spec: apiv1alpha1.InventorySpec{Name: "ours"}}
	a := newAdministered(t, inv)
	a.settle()
	if o := a.model.OCloud(); o.Name != "ours" || o.Description != "north" || o.ID != cloudID {
		t.Errorf("O-Cloud: %+v", o)
	}
	a.get("default", inv)
	if inv.Status.ObservedGeneration != 3 {
		t.Errorf("status: %+v", inv.Status)
	}
	if err := a.hub.Delete(context.Background(), inv); err != nil {
		t.Fatal(err)
	}
	a.settle()
	if o := a.model.OCloud(); o.Name != "north" {
		t.Errorf("after its deletion: %+v", o)
	}
	bad := &apiv1alpha1.Inventory{ObjectMeta: named("default"), Spec: apiv1alpha1.InventorySpec{OCloudID: "north"}}
	a.get("default", inv) // made anew
	inv.Spec = bad.Spec
	if err := a.hub.Update(context.Background(), inv); err != nil {
		t.Fatal(err)
	}
	if a.settle(); a.model.OCloud().ID != cloudID {
		t.Errorf("an oCloudId that is no UUID: O-Cloud %+v", a.model.OCloud())
	}
}
