// Package oldhub shows what becomes of o2ims on a hub that is too old for it. It has a hub
// of its own, and so is apart from test/e2e, whose tests share one.
package oldhub

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/ocloud"
)

// edge is a managed cluster.
const edge = "edge"

// TestOldHubIsRefused installs o2ims on a hub whose ManagedClusterAddOns keep their
// conditions in an atomic list, as before OCM 1.2. A report would delete the conditions of
// others there, so nothing is deployed, and whoever looks learns why. An upgrade mends it.
func TestOldHubIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a hub")
	}
	ctx := t.Context()
	old, err := ocloud.Start(ctx, ocloud.Options{BeforeInstall: func(ctx context.Context, env *harness.Env) error {
		return setListType(ctx, env.Hub.Client(), "atomic")
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(old.Stop)
	hub := old.Env.Hub.Client()
	// Nobody has to be behind a managed cluster to see whether something is deployed to it.
	if err := hub.Create(ctx, &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: edge}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true},
	}); err != nil {
		t.Fatal(err)
	}
	wait := func(what string, check func(context.Context) error) {
		t.Helper()
		if err := old.Eventually(ctx, what, check); err != nil {
			t.Fatal(err)
		}
	}
	wait("a namespace for the managed cluster", func(ctx context.Context) error {
		return hub.Get(ctx, client.ObjectKey{Name: edge}, &corev1.Namespace{})
	})
	if err := old.EnableAddOn(ctx, edge); err != nil {
		t.Fatal(err)
	}
	const why = "status.conditions of ManagedClusterAddOn v1beta1 is not a map keyed by type"
	wait("an Event that says why", func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := hub.List(ctx, &events); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Regarding.Kind == "ClusterManagementAddOn" && e.Regarding.Name == "o2ims" && e.Reason == "HubRefused" && strings.Contains(e.Note, why) {
				return nil
			}
		}
		return fmt.Errorf("not among %d events: %w", len(events.Items), ocloud.ErrNotYet)
	})
	manager := old.Managers()[0]
	if log, err := old.Hub().Logs(manager.Namespace, manager.Name); err != nil || !strings.Contains(log, why) {
		t.Errorf("the log does not say why: %v", err)
	}
	var managers []any
	if err := old.Get(ctx, ocloud.InventoryV1+"/deploymentManagers", &managers); err != nil || len(managers) != 1 {
		t.Errorf("deployment managers = %v, %v: the API has to serve", managers, err)
	}
	if n := works(ctx, t, hub); n != 0 {
		t.Fatalf("%d ManifestWorks on a hub that cannot carry reports", n)
	}

	if err := setListType(ctx, hub, "map"); err != nil {
		t.Fatal(err)
	}
	if err := old.Hub().Kill(manager.Namespace, manager.Name); err != nil { // it would look again within a minute
		t.Fatal(err)
	}
	wait("the add-on on an upgraded hub", func(ctx context.Context) error {
		if works(ctx, t, hub) == 0 {
			return fmt.Errorf("ManifestWork: %w", ocloud.ErrNotYet)
		}
		response, err := old.Do(ctx, http.MethodGet, "/readyz", "", nil)
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
}

func works(ctx context.Context, t *testing.T, hub client.Client) int {
	t.Helper()
	var list workv1.ManifestWorkList
	if err := hub.List(ctx, &list); err != nil {
		t.Fatal(err)
	}
	return len(list.Items)
}

// setListType changes the schema of status.conditions of ManagedClusterAddOn v1beta1.
func setListType(ctx context.Context, hub client.Client, kind string) error {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := hub.Get(ctx, client.ObjectKey{Name: "managedclusteraddons.addon.open-cluster-management.io"}, &crd); err != nil {
		return err
	}
	before := crd.DeepCopy()
	for i, v := range crd.Spec.Versions {
		if v.Name != "v1beta1" {
			continue
		}
		conditions := v.Schema.OpenAPIV3Schema.Properties["status"].Properties["conditions"]
		conditions.XListType, conditions.XListMapKeys = &kind, nil
		if kind == "map" {
			conditions.XListMapKeys = []string{"type"}
		}
		crd.Spec.Versions[i].Schema.OpenAPIV3Schema.Properties["status"].Properties["conditions"] = conditions
	}
	return hub.Patch(ctx, &crd, client.MergeFrom(before))
}
