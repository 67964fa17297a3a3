package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// TestDisableAndEnable takes the add-on away and gives it back: the machines stay, under
// their names. Taken away for longer than the grace period, the machines go, too.
func TestDisableAndEnable(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const toggled = "toggled"
	mayBeRefused(t, toggled)
	set := must[map[string]machines.Machine](t)(snapshots(ctx, setOfToggled))
	spoke := join(ctx, t, toggled, set["r610-4"], set["ryzen-4"])
	before := servers(ctx, t, toggled)

	disable(ctx, t, spoke)
	server := eventuallyServer(ctx, t, toggled, "r610-4", "not known", operationalState("UNKNOWN"))
	if got := server.Extensions.Reporting.State; got != "AddOnDisabled" {
		t.Errorf("reporting state is %q, want AddOnDisabled", got)
	}
	sameIDs(t, "disabled", servers(ctx, t, toggled), before)

	if err := cloud.EnableAddOn(ctx, toggled); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"r610-4", "ryzen-4"} {
		eventuallyServer(ctx, t, toggled, node, "known again", operationalState("ENABLED"))
	}
	sameIDs(t, "enabled again", servers(ctx, t, toggled), before)

	disable(ctx, t, spoke)
	eventually(ctx, t, "the end of the grace period", func(ctx context.Context) error {
		return hasServers(ctx, toggled, 0)
	})
	if managers := names(ctx, t, "deploymentManagers"); !slices.Contains(managers, toggled) {
		t.Errorf("deployment managers %v: without the add-on a managed cluster is one all the same", managers)
	}
}

// disable takes the add-on away and waits until nothing of it runs.
func disable(ctx context.Context, t *testing.T, s *ocloud.Spoke) {
	t.Helper()
	if err := cloud.DisableAddOn(ctx, s.Name); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "agent and probes to leave "+s.Name, func(ctx context.Context) error {
		if pods := s.Kubelet.Pods(); len(pods) > 0 {
			return fmt.Errorf("there are %+v", pods)
		}
		for _, o := range []client.Object{&appsv1.Deployment{}, &appsv1.DaemonSet{}} {
			for _, name := range []string{"o2ims-agent", "o2ims-probe"} {
				err := s.Client().Get(ctx, client.ObjectKey{Namespace: ocloud.AgentNamespace, Name: name}, o)
				if !apierrors.IsNotFound(err) {
					return fmt.Errorf("%T %s: %w", o, name, err)
				}
			}
		}
		if _, err := cloud.AddOn(ctx, s.Name); !apierrors.IsNotFound(err) {
			return fmt.Errorf("ManagedClusterAddOn: %w", err)
		}
		return nil
	})
}

// names lists the records of a collection by name.
func names(ctx context.Context, t *testing.T, collection string) []string {
	t.Helper()
	var list []struct {
		Name string `json:"name"`
	}
	if err := cloud.Get(ctx, ocloud.InventoryV1+"/"+collection, &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range list {
		names = append(names, r.Name)
	}
	return names
}

// TestDetach removes a managed cluster from the hub: all that came from it goes, and
// nothing else does.
func TestDetach(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const leaving = "leaving"
	mayBeRefused(t, leaving)
	set := must[map[string]machines.Machine](t)(snapshots(ctx, setOfLeaving))
	join(ctx, t, leaving, set["p100-7"], set["r610-7"])

	const itsType = "QEMU/Standard PC (Q35 + ICH9, 2009)" // no other machine of the run is one
	others := servers(ctx, t, edge)
	if types := names(ctx, t, "resourceTypes"); !slices.Contains(types, itsType) {
		t.Fatalf("resource types %q", types)
	}
	if err := cloud.Detach(ctx, leaving); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "what came from "+leaving+" to go", func(ctx context.Context) error {
		for collection, name := range map[string]string{"deploymentManagers": leaving, "resourcePools": leaving, "resourceTypes": itsType} {
			if slices.Contains(names(ctx, t, collection), name) {
				return fmt.Errorf("%s still has %s", collection, name)
			}
		}
		return nil
	})
	sameIDs(t, "in another cluster", servers(ctx, t, edge), others)
	if types := names(ctx, t, "resourceTypes"); !slices.Contains(types, "Dell Inc./PowerEdge R610") {
		t.Errorf("resource types %q: one that others use has gone", types)
	}
}
