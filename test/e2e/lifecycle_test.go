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
	mayBeRefused(toggled)
	set := must[map[string]machines.Machine](t)(snapshots(ctx, setOfToggled))
	spoke := join(ctx, t, toggled, set["r610-4"], set["ryzen-4"])
	before := servers(ctx, t, toggled)
	fire(ctx, t, spoke, "OnToggled")

	disable(ctx, t, spoke)
	server := eventuallyServer(ctx, t, toggled, "r610-4", "not known", operationalState("UNKNOWN"))
	if got := server.Extensions.Reporting.State; got != "AddOnDisabled" {
		t.Errorf("reporting state is %q, want AddOnDisabled", got)
	}
	sameIDs(t, "disabled", servers(ctx, t, toggled), before)
	eventuallyAlarm(ctx, t, "OnToggled", "that is still open", alarmRecord.open)

	if err := cloud.EnableAddOn(ctx, toggled); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"r610-4", "ryzen-4"} {
		eventuallyServer(ctx, t, toggled, node, "known again", operationalState("ENABLED"))
	}
	eventuallySameIDs(ctx, t, "enabled again", toggled, before)

	disable(ctx, t, spoke)
	eventually(ctx, t, "the end of the grace period", func(ctx context.Context) error {
		return hasServers(ctx, toggled, 0)
	})
	eventuallyAlarm(ctx, t, "OnToggled", "that nobody could ever end, and so is cleared", alarmRecord.cleared)
	lists(ctx, t, "deploymentManagers", toggled, true) // with or without the add-on
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
func names(ctx context.Context, collection string) ([]string, error) {
	var list []struct {
		Name string `json:"name"`
	}
	if err := cloud.Get(ctx, ocloud.InventoryV1+"/"+collection, &list); err != nil {
		return nil, err
	}
	var names []string
	for _, r := range list {
		names = append(names, r.Name)
	}
	return names, nil
}

// lists waits until a collection has a record of this name, or has none.
func lists(ctx context.Context, t *testing.T, collection, name string, want bool) {
	t.Helper()
	eventually(ctx, t, fmt.Sprintf("%s with %q: %t", collection, name, want), func(ctx context.Context) error {
		found, err := names(ctx, collection)
		if err == nil && slices.Contains(found, name) != want {
			err = fmt.Errorf("there are %q", found)
		}
		return err
	})
}

// TestDetach removes a managed cluster from the hub: all that came from it goes, and
// nothing else does.
func TestDetach(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const leaving = "leaving"
	mayBeRefused(leaving)
	set := must[map[string]machines.Machine](t)(snapshots(ctx, setOfLeaving))
	spoke := join(ctx, t, leaving, set["p100-7"], set["r610-7"])
	fire(ctx, t, spoke, "OnLeaving")

	const itsType = "QEMU/Standard PC (Q35 + ICH9, 2009)" // no other machine of the run is one
	others := servers(ctx, t, edge)
	lists(ctx, t, "resourceTypes", itsType, true)
	if err := cloud.Detach(ctx, leaving); err != nil {
		t.Fatal(err)
	}
	eventuallyAlarm(ctx, t, "OnLeaving", "that is cleared", alarmRecord.cleared)
	lists(ctx, t, "deploymentManagers", leaving, false)
	lists(ctx, t, "resourcePools", leaving, false)
	lists(ctx, t, "resourceTypes", itsType, false)
	sameIDs(t, "in another cluster", servers(ctx, t, edge), others)
	lists(ctx, t, "resourceTypes", "Dell Inc./PowerEdge R610", true) // others are of that type, too
}
