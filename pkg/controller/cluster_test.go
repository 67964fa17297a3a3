package controller

import (
	"context"
	"reflect"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/inventory"
)

func TestFactsOf(t *testing.T) {
	created := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	mc := &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{
			Name: "edge-1", UID: "uid-1", CreationTimestamp: created,
			Labels: map[string]string{"cluster.open-cluster-management.io/clusterset": "north", "clusterID": "c1"},
		},
		Spec: clusterv1.ManagedClusterSpec{
			HubAcceptsClient:            true,
			ManagedClusterClientConfigs: []clusterv1.ClientConfig{{URL: "https://edge-1:6443", CABundle: []byte("ca")}, {URL: "https://other"}},
		},
		Status: clusterv1.ManagedClusterStatus{
			Conditions:    []metav1.Condition{{Type: clusterv1.ManagedClusterConditionAvailable, Status: metav1.ConditionFalse}},
			Version:       clusterv1.ManagedClusterVersion{Kubernetes: "v1.35.4"},
			ClusterClaims: []clusterv1.ManagedClusterClaim{{Name: "id.k8s.io", Value: "k"}},
			Capacity:      clusterv1.ResourceList{"memory": resource.MustParse("64Gi")},
			Allocatable:   clusterv1.ResourceList{"cpu": resource.MustParse("15500m")},
		},
	}
	want := inventory.ClusterFacts{
		Name: "edge-1", UID: "uid-1", ClusterID: "c1", Created: created.Time, ClusterSet: "north",
		ServiceURI: "https://edge-1:6443", CABundle: []byte("ca"), Labels: mc.Labels, Claims: map[string]string{"id.k8s.io": "k"},
		Capacity: map[string]string{"memory": "64Gi"}, Allocatable: map[string]string{"cpu": "15500m"},
		KubernetesVersion: "v1.35.4", Available: "False", Accepted: true,
	}
	if got := factsOf(mc); !reflect.DeepEqual(got, want) {
		t.Errorf("factsOf() = %+v, want %+v", got, want)
	}
}

func TestClusterID(t *testing.T) {
	claim := func(name, value string) clusterv1.ManagedClusterClaim {
		return clusterv1.ManagedClusterClaim{Name: name, Value: value}
	}
	for _, tc := range []struct {
		name   string
		labels map[string]string
		claims []clusterv1.ManagedClusterClaim
		want   string
	}{
		{"label", map[string]string{"clusterID": "l"}, []clusterv1.ManagedClusterClaim{claim("id.openshift.io", "o")}, "l"},
		{"OpenShift before Kubernetes", nil, []clusterv1.ManagedClusterClaim{claim("id.k8s.io", "k"), claim("id.openshift.io", "o")}, "o"},
		{"Kubernetes", nil, []clusterv1.ManagedClusterClaim{claim("id.k8s.io", "k")}, "k"},
		{"neither", nil, nil, "uid-1"},
	} {
		mc := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{UID: "uid-1", Labels: tc.labels}}
		mc.Status.ClusterClaims = tc.claims
		if got := factsOf(mc); got.ClusterID != tc.want || got.Available != "Unknown" {
			t.Errorf("%s: cluster id %q, available %q, want %q, Unknown", tc.name, got.ClusterID, got.Available, tc.want)
		}
	}
}

func TestManagedClustersComeChangeAndGo(t *testing.T) {
	ctx := context.Background()
	hub, l := newHub(t, managedCluster("edge-1")), newLedger()
	looked := 0
	r := newManagedClusterReconciler(hub, l, func(item) { looked++ })
	run := func() {
		t.Helper()
		if _, err := r.Reconcile(ctx, reconcile.Request{NamespacedName: types.NamespacedName{Name: "edge-1"}}); err != nil {
			t.Fatal(err)
		}
	}
	run()
	run()
	if got := l.sets["cluster edge-1"]; got != 1 {
		t.Errorf("an unchanged cluster was set %d times, want once", got)
	}
	mc := &clusterv1.ManagedCluster{}
	if err := hub.Get(ctx, types.NamespacedName{Name: "edge-1"}, mc); err != nil {
		t.Fatal(err)
	}
	mc.Labels = map[string]string{"region": "ottawa"}
	if err := hub.Update(ctx, mc); err != nil {
		t.Fatal(err)
	}
	run()
	if got := l.clusters["edge-1"].Labels["region"]; got != "ottawa" {
		t.Errorf("label region is %q, want ottawa", got)
	}
	if err := hub.Delete(ctx, mc); err != nil {
		t.Fatal(err)
	}
	run()
	if len(l.clusters) != 0 || looked != 4 {
		t.Errorf("clusters %v after %d looks, want none after 4", l.clusters, looked)
	}
}
