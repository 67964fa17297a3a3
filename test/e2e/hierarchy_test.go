package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/test/ocloud"
)

// hierarchyClient is the administrator of the hub, with our own resources.
func hierarchyClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := apiv1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return must[client.Client](t)(client.New(cloud.Env.Hub.RESTConfig(), client.Options{Scheme: scheme}))
}

// TestTheHubRefusesHierarchyThatMakesNoSense asks the hub's apiserver, which checks our
// resources by the rules in their definitions.
func TestTheHubRefusesHierarchyThatMakesNoSense(t *testing.T) {
	t.Parallel()
	hub := hierarchyClient(t)
	for _, tc := range []struct {
		name, kind, spec string
		refused          string // what the answer says; empty: it is taken
	}{
		{"address", "Location", `{address: 1 Main St}`, ""},
		{"coordinate", "Location", `{coordinate: {latitude: "45.4215", longitude: "-75.6972", altitude: "70"}}`, ""},
		{"civic address", "Location", `{civicAddress: [{caType: 3, caValue: Ottawa}], globalLocationId: "CA Ottawa/1", displayName: Ottawa, extensions: {a: b}}`, ""},
		{"nowhere", "Location", `{description: somewhere}`, "at least one of coordinate, civicAddress and address is required"},
		{"no coordinate", "Location", `{coordinate: {latitude: north, longitude: "0"}}`, "spec.coordinate.latitude"},
		{"beyond the pole", "Location", `{coordinate: {latitude: "90.5", longitude: "0"}}`, "latitude must be between -90 and 90"},
		{"around the world", "Location", `{coordinate: {latitude: "0", longitude: "181"}}`, "longitude must be between -180 and 180"},
		{"civic type", "Location", `{civicAddress: [{caType: 256, caValue: x}]}`, "caType"},
		{"white space", "Location", `{address: x, globalLocationId: " a"}`, "globalLocationId must have no control characters"},
		{"dot", "Location", `{address: x, globalLocationId: ".."}`, "globalLocationId must have no control characters"},
		{"site", "OCloudSite", `{locationRef: {name: ottawa}}`, ""},
		{"site nowhere", "OCloudSite", `{}`, "spec.locationRef"},
		{"site at no name", "OCloudSite", `{locationRef: {name: ""}}`, "spec.locationRef.name"},
		{"pool", "ResourcePool", `{siteRef: {name: dc1}, priority: 3, selectors: [{clusters: {names: [a], clusterSets: [b], labelSelector: {}}, nodes: {names: [n1], labelSelector: {matchLabels: {a: b}}}}]}`, ""},
		{"pool without selectors", "ResourcePool", `{siteRef: {name: dc1}}`, ""},
		{"pool without site", "ResourcePool", `{selectors: []}`, "spec.siteRef"},
		{"empty selector", "ResourcePool", `{siteRef: {name: dc1}, selectors: [{}]}`, "a selector must have clusters or nodes"},
		{"empty clusters", "ResourcePool", `{siteRef: {name: dc1}, selectors: [{clusters: {}}]}`, "clusters must have at least one of names, clusterSets and labelSelector"},
		{"empty nodes", "ResourcePool", `{siteRef: {name: dc1}, selectors: [{nodes: {}}]}`, "nodes must have at least one of names and labelSelector"},
		{"priority", "ResourcePool", `{siteRef: {name: dc1}, priority: 1001}`, "spec.priority"},
		{"another inventory", "Inventory", `{}`, "there is one Inventory, and its name is default"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiv1alpha1.GroupVersion.String(), "kind": tc.kind}}
			var spec map[string]any
			if err := yaml.Unmarshal([]byte(tc.spec), &spec); err != nil {
				t.Fatal(err)
			}
			o.Object["spec"] = spec
			o.SetName("refused-" + strings.ReplaceAll(tc.name, " ", "-"))
			err := hub.Create(t.Context(), o, client.DryRunAll)
			if (tc.refused == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("the hub says %v, want %q", err, tc.refused)
			}
		})
	}
}

// TestTheInventoryResource: the leader makes it, its spec is followed, and who the O-Cloud
// is cannot be changed by accident.
func TestTheInventoryResource(t *testing.T) {
	ctx, hub := t.Context(), hierarchyClient(t)
	inv := eventuallyInventory(ctx, t, hub, "ready", func(i *apiv1alpha1.Inventory) error {
		if i.Status.DeploymentManagers < 2 || i.Status.Resources < 5 || i.Status.ResourcePools < 2 || i.Status.ResourceTypes < 5 {
			return fmt.Errorf("counts %+v", i.Status)
		}
		return condition(i.Status.Conditions, i.Generation, apiv1alpha1.ConditionReady, apiv1alpha1.ReasonReady)
	})
	id := inv.Status.OCloudID

	rename := func(change func(*apiv1alpha1.InventorySpec)) error {
		i := &apiv1alpha1.Inventory{}
		if err := hub.Get(ctx, client.ObjectKey{Name: apiv1alpha1.InventoryName}, i); err != nil {
			return err
		}
		before := i.DeepCopy()
		change(&i.Spec)
		return hub.Patch(ctx, i, client.MergeFrom(before))
	}
	if err := rename(func(s *apiv1alpha1.InventorySpec) { s.Name, s.OCloudID = "North", id }); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "the new name", func(ctx context.Context) error {
		var info struct {
			Name string `json:"name"`
			ID   string `json:"oCloudId"`
		}
		if err := cloud.Get(ctx, ocloud.InventoryV1, &info); err != nil {
			return err
		}
		return is("O-Cloud", info.Name+" "+info.ID, "North "+id)
	})
	for name, change := range map[string]func(*apiv1alpha1.InventorySpec){
		"another oCloudId": func(s *apiv1alpha1.InventorySpec) { s.OCloudID = "0a7a1f0e-7b1c-4d8e-9d5a-3a5f1d1c9b11" },
		"no oCloudId":      func(s *apiv1alpha1.InventorySpec) { s.OCloudID = "" },
	} {
		if err := rename(change); err == nil || !strings.Contains(err.Error(), "oCloudId cannot be changed or removed once it is set") {
			t.Errorf("%s: the hub says %v", name, err)
		}
	}
	for name, change := range map[string]func(*apiv1alpha1.InventorySpec){
		"globalCloudId must be a UUID": func(s *apiv1alpha1.InventorySpec) { s.GlobalCloudID = "north" },
		"externalURL must be":          func(s *apiv1alpha1.InventorySpec) { s.ExternalURL = "https://north.example/path" },
	} {
		if err := rename(change); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the hub says %v", name, err)
		}
	}

	if err := hub.Delete(ctx, &inv); err != nil {
		t.Fatal(err)
	}
	eventuallyInventory(ctx, t, hub, "made anew", func(i *apiv1alpha1.Inventory) error {
		if i.UID == inv.UID || i.Spec.Name != "" {
			return fmt.Errorf("it is still the one named %q: %w", i.Spec.Name, ocloud.ErrNotYet)
		}
		return condition(i.Status.Conditions, i.Generation, apiv1alpha1.ConditionReady, apiv1alpha1.ReasonReady)
	})
}

func eventuallyInventory(ctx context.Context, t *testing.T, hub client.Client, what string, holds func(*apiv1alpha1.Inventory) error) apiv1alpha1.Inventory {
	t.Helper()
	var inv apiv1alpha1.Inventory
	eventually(ctx, t, "the Inventory, "+what, func(ctx context.Context) error {
		inv = apiv1alpha1.Inventory{}
		if err := hub.Get(ctx, client.ObjectKey{Name: apiv1alpha1.InventoryName}, &inv); err != nil {
			return err
		}
		return holds(&inv)
	})
	return inv
}

// condition tells what is wrong with a condition that should have a reason.
func condition(conditions []metav1.Condition, generation int64, conditionType, reason string) error {
	c := meta.FindStatusCondition(conditions, conditionType)
	if c == nil {
		return fmt.Errorf("no condition %s: %w", conditionType, ocloud.ErrNotYet)
	}
	if c.ObservedGeneration != generation {
		return fmt.Errorf("condition %s is about generation %d, not %d: %w", conditionType, c.ObservedGeneration, generation, ocloud.ErrNotYet)
	}
	return is(conditionType, c.Reason, reason)
}

// apiPool is a resource pool as the API shows it.
type apiPool struct {
	ID               string `json:"resourcePoolId"`
	Name             string `json:"name"`
	GlobalLocationID string `json:"globalLocationId"`
	Location         string `json:"location"`
}

// nodesByPool returns all nodes of the O-Cloud, as cluster/node: resourceId, by pool.
func nodesByPool(ctx context.Context) (map[string]map[string]string, map[string]apiPool, error) {
	var list []apiPool
	if err := cloud.Get(ctx, ocloud.InventoryV1+"/resourcePools?all_fields", &list); err != nil {
		return nil, nil, err
	}
	nodes, pools := map[string]map[string]string{}, map[string]apiPool{}
	for _, p := range list {
		var servers []struct {
			ID         string `json:"resourceId"`
			Extensions struct {
				Cluster string `json:"clusterName"`
				Node    struct {
					Name string `json:"name"`
				} `json:"node"`
			} `json:"extensions"`
		}
		if err := cloud.Get(ctx, ocloud.InventoryV1+"/resourcePools/"+p.ID+"/resources", &servers); err != nil {
			return nil, nil, err
		}
		pools[p.Name], nodes[p.Name] = p, map[string]string{}
		for _, s := range servers {
			nodes[p.Name][s.Extensions.Cluster+"/"+s.Extensions.Node.Name] = s.ID
		}
	}
	return nodes, pools, nil
}

// TestPoolsOfTheAdministrator follows a pool with nodes of two managed clusters through
// conflict, loss of its site and loss of its location, to its end. Nodes are somewhere, and
// have the same resourceId, all the time.
func TestPoolsOfTheAdministrator(t *testing.T) {
	ctx, hub := t.Context(), hierarchyClient(t)
	apply := func(o client.Object) {
		t.Helper()
		o.SetResourceVersion("")
		o.SetUID("")
		if err := hub.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(o client.Object) {
		t.Helper()
		if err := hub.Delete(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	location := &apiv1alpha1.Location{ObjectMeta: metav1.ObjectMeta{Name: "ottawa"},
		Spec: apiv1alpha1.LocationSpec{GlobalLocationID: "CA-OTT-1", Address: "1 Main St, Ottawa"}}
	site := &apiv1alpha1.OCloudSite{ObjectMeta: metav1.ObjectMeta{Name: "ottawa-1"},
		Spec: apiv1alpha1.OCloudSiteSpec{LocationRef: apiv1alpha1.ObjectName{Name: "ottawa"}}}
	newPool := func(name string, nodes ...string) *apiv1alpha1.ResourcePool {
		return &apiv1alpha1.ResourcePool{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: apiv1alpha1.ResourcePoolSpec{SiteRef: apiv1alpha1.ObjectName{Name: site.Name}, Selectors: []apiv1alpha1.ResourcePoolSelector{{
				Clusters: &apiv1alpha1.ClusterSelector{Names: []string{edge, core}},
				Nodes:    &apiv1alpha1.NodeSelector{Names: nodes},
			}}}}
	}
	dells, rival := newPool("dells", edgeDell, coreDell), newPool("zz-rival", coreDell)
	t.Cleanup(func() {
		for _, o := range []client.Object{rival, dells, site, location} {
			if err := hub.Delete(context.WithoutCancel(ctx), o); err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		}
	})

	before, _, err := nodesByPool(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, nodes := range before {
		maps.Copy(all, nodes)
	}
	inPool := func(what string, want []string, holds func(apiPool) error) {
		t.Helper()
		eventually(ctx, t, what, func(ctx context.Context) error {
			nodes, pools, err := nodesByPool(ctx)
			if err != nil {
				return err
			}
			now := map[string]string{}
			for _, of := range nodes {
				maps.Copy(now, of)
			}
			if !maps.Equal(now, all) {
				return fmt.Errorf("nodes are %v, and were %v", now, all)
			}
			if err := is("nodes of dells", fmt.Sprint(slices.Sorted(maps.Keys(nodes["dells"]))), fmt.Sprint(want)); err != nil {
				return err
			}
			return holds(pools["dells"])
		})
	}
	at := func(id, address string) func(apiPool) error {
		return func(p apiPool) error { return is("place of dells", p.GlobalLocationID+" "+p.Location, id+" "+address) }
	}
	both := []string{core + "/" + coreDell, edge + "/" + edgeDell}
	gone := func(p apiPool) error { return is("pool", p.Name, "") }
	poolIs := func(p *apiv1alpha1.ResourcePool, ready, conflict string, resources, clusters int32) *apiv1alpha1.ResourcePool {
		t.Helper()
		var now apiv1alpha1.ResourcePool
		eventually(ctx, t, fmt.Sprintf("status of pool %s: %s, %s", p.Name, ready, conflict), func(ctx context.Context) error {
			now = apiv1alpha1.ResourcePool{}
			if err := hub.Get(ctx, client.ObjectKeyFromObject(p), &now); err != nil {
				return err
			}
			if now.Status.Resources != resources || now.Status.ManagedClusters != clusters {
				return fmt.Errorf("counts %+v", now.Status)
			}
			if err := condition(now.Status.Conditions, now.Generation, apiv1alpha1.ConditionReady, ready); err != nil {
				return err
			}
			return condition(now.Status.Conditions, now.Generation, apiv1alpha1.ConditionConflict, conflict)
		})
		return &now
	}
	siteIs := func(ready string, pools, resources int32) {
		t.Helper()
		eventually(ctx, t, "status of the site: "+ready, func(ctx context.Context) error {
			var now apiv1alpha1.OCloudSite
			if err := hub.Get(ctx, client.ObjectKeyFromObject(site), &now); err != nil {
				return err
			}
			if now.Status.ResourcePools != pools || now.Status.Resources != resources {
				return fmt.Errorf("counts %+v", now.Status)
			}
			return condition(now.Status.Conditions, now.Generation, apiv1alpha1.ConditionReady, ready)
		})
	}

	apply(dells)
	poolIs(dells, apiv1alpha1.ReasonSiteNotFound, apiv1alpha1.ReasonNoConflict, 0, 0)
	apply(site)
	inPool("a pool over two managed clusters", both, at("unspecified", "unspecified"))
	siteIs(apiv1alpha1.ReasonLocationNotFound, 1, 2)
	apply(location)
	inPool("a pool at a location", both, at("CA-OTT-1", "1 Main St, Ottawa"))
	siteIs(apiv1alpha1.ReasonReady, 1, 2)
	shown := poolIs(dells, apiv1alpha1.ReasonReady, apiv1alpha1.ReasonNoConflict, 2, 2)
	eventually(ctx, t, "the location of the managed clusters", func(ctx context.Context) error {
		var managers []struct {
			Name      string   `json:"name"`
			Locations []string `json:"supportedLocations"`
		}
		if err := cloud.Get(ctx, ocloud.InventoryV1+"/deploymentManagers", &managers); err != nil {
			return err
		}
		for _, m := range managers {
			if m.Name == edge || m.Name == core {
				if err := is("supportedLocations of "+m.Name, fmt.Sprint(m.Locations), "[CA-OTT-1 unspecified]"); err != nil {
					return err
				}
			}
		}
		return nil
	})

	apply(rival)
	poolIs(rival, apiv1alpha1.ReasonReady, apiv1alpha1.ReasonNodesClaimed, 0, 0)
	conflict := meta.FindStatusCondition(poolIs(dells, apiv1alpha1.ReasonReady, apiv1alpha1.ReasonNodesClaimed, 2, 2).Status.Conditions, apiv1alpha1.ConditionConflict)
	if conflict.Status != metav1.ConditionTrue || !strings.Contains(conflict.Message, "zz-rival") || !strings.Contains(conflict.Message, core+"/"+coreDell) {
		t.Errorf("conflict: %+v", conflict)
	}
	remove(rival)
	poolIs(dells, apiv1alpha1.ReasonReady, apiv1alpha1.ReasonNoConflict, 2, 2)

	remove(location)
	inPool("without its location", both, at("unspecified", "unspecified"))
	siteIs(apiv1alpha1.ReasonLocationNotFound, 1, 2)
	remove(site)
	inPool("without its site", nil, gone)
	poolIs(dells, apiv1alpha1.ReasonSiteNotFound, apiv1alpha1.ReasonNoConflict, 0, 0)
	apply(site)
	inPool("with its site again", both, at("unspecified", "unspecified"))
	if again := poolIs(dells, apiv1alpha1.ReasonReady, apiv1alpha1.ReasonNoConflict, 2, 2); again.Status.ResourcePoolID != shown.Status.ResourcePoolID {
		t.Errorf("resourcePoolId = %s, then %s", shown.Status.ResourcePoolID, again.Status.ResourcePoolID)
	}
	remove(dells)
	inPool("without the pool", nil, gone)
	after, _, err := nodesByPool(ctx)
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("nodes are %v, and were %v (error %v)", after, before, err)
	}
}
