package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/o2ims/o2ims/test/harness/machines"
)

// TestTheMachineItRunsOn follows the main thread: the probe reads this machine, the
// agent reports it, the hub serves it.
func TestTheMachineItRunsOn(t *testing.T) {
	ctx := t.Context()
	machine := machines.Local("local-1")
	join(ctx, t, "local", machine)

	server := eventuallyServer(ctx, t, "local", "local-1")
	facts := machine.Facts()
	if got := elementsOf(server, "processor"); len(got) == 0 || got[0].Extensions["model"] != facts.Processor {
		t.Errorf("processors = %+v, want model %q", got, facts.Processor)
	}
	if got, want := len(elementsOf(server, "storage")), len(facts.Disks); got != want {
		t.Errorf("%d disks, want %d: %+v", got, want, facts.Disks)
	}
	if got, want := len(elementsOf(server, "port")), len(facts.NICs); got != want {
		t.Errorf("%d ports, want %d: %+v", got, want, facts.NICs)
	}
}

func eventually(ctx context.Context, t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	if err := cloud.Eventually(ctx, what, check); err != nil {
		t.Fatal(err)
	}
}

func join(ctx context.Context, t *testing.T, cluster string, nodes ...machines.Machine) {
	t.Helper()
	if _, err := cloud.AddSpoke(ctx, cluster, nodes...); err != nil {
		t.Fatal(err)
	}
	if err := cloud.EnableAddOn(ctx, cluster); err != nil {
		t.Fatal(err)
	}
}

// resource is what these tests read of a Resource.
type resource struct {
	ID         string         `json:"resourceId"`
	PoolID     string         `json:"resourcePoolId"`
	TypeID     string         `json:"resourceTypeId"`
	AssetID    string         `json:"globalAssetId"`
	Elements   []resource     `json:"elements"`
	Extensions map[string]any `json:"extensions"`
}

const apiV1 = "/o2ims-infrastructureInventory/v1"

// serversOf returns the servers in the default pool of a managed cluster by node name.
func serversOf(ctx context.Context, cluster string) (map[string]resource, error) {
	var pools []struct {
		ID   string `json:"resourcePoolId"`
		Name string `json:"name"`
	}
	if err := cloud.Get(ctx, apiV1+"/resourcePools", &pools); err != nil {
		return nil, err
	}
	servers := map[string]resource{}
	for _, p := range pools {
		if p.Name != cluster {
			continue
		}
		var list []resource
		if err := cloud.Get(ctx, apiV1+"/resourcePools/"+p.ID+"/resources?all_fields", &list); err != nil {
			return nil, err
		}
		for _, r := range list {
			servers[nodeName(r)] = r
		}
	}
	return servers, nil
}

func nodeName(r resource) string {
	node, _ := r.Extensions["node"].(map[string]any)
	name, _ := node["name"].(string)
	return name
}

func eventuallyServer(ctx context.Context, t *testing.T, cluster, node string) resource {
	t.Helper()
	var server resource
	eventually(ctx, t, "server "+node+" of "+cluster, func(ctx context.Context) error {
		servers, err := serversOf(ctx, cluster)
		if err != nil {
			return err
		}
		var found bool
		if server, found = servers[node]; !found {
			return fmt.Errorf("%d servers, %s is not among them", len(servers), node)
		}
		return nil
	})
	return server
}

func elementsOf(r resource, class string) []resource {
	var list []resource
	for _, e := range r.Elements {
		if e.Extensions["class"] == class {
			list = append(list, e)
		}
	}
	return list
}
