package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// TestNodesComeChangeAndGo follows a machine from the day it joins a cluster to the day
// it leaves, as a client of the API sees it.
func TestNodesComeChangeAndGo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const newcomer = "ryzen-8"
	spoke := cloud.Spoke(core)
	before := servers(ctx, t, core)
	set := must[map[string]machines.Machine](t)(snapshots(ctx, setOfNewcomer))

	if err := spoke.AddMachine(ctx, set[newcomer]); err != nil {
		t.Fatal(err)
	}
	joined := eventuallyServer(ctx, t, core, newcomer, "there, with all that its probe found", func(s ocloud.Resource) error {
		for _, holds := range []func(ocloud.Resource) error{count("processor", 1), count("storage", 3), count("port", 4), count("memory", 4)} {
			if err := holds(s); err != nil {
				return err
			}
		}
		return is("globalAssetId", s.AssetID, "SYNTHETIC-0024")
	})

	keeps := func(s ocloud.Resource) error { return is("resourceId", s.ID, joined.ID) }
	for _, step := range []struct {
		what   string
		change machines.Change
		holds  func(ocloud.Resource) error
	}{
		{"a memory module more", machines.AddDIMM(machines.Module{Locator: "DIMM_5", GiB: 16, Vendor: "SYNTHETIC", Serial: "S-5", Type: 0x1a}), count("memory", 5)},
		{"a disk less", machines.RemoveDisk("sdb"), count("storage", 2)},
		{"another serial number", machines.SetSerial("SYNTHETIC-9999"), func(s ocloud.Resource) error {
			return is("globalAssetId", s.AssetID, "SYNTHETIC-9999")
		}},
		{"a cable less", machines.SetLink("enp3s0", false), linkOf("enp3s0", "down")},
		{"the cable again", machines.SetLink("enp3s0", true), linkOf("enp3s0", "up")},
	} {
		change(t, spoke, newcomer, step.change)
		eventuallyServer(ctx, t, core, newcomer, step.what, func(s ocloud.Resource) error {
			if err := step.holds(s); err != nil {
				return err
			}
			return keeps(s)
		})
	}
	cordonAndBack(ctx, t, core, newcomer)

	// The names that were given are remembered in a ConfigMap and in the report. One of them
	// is enough.
	memory := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ocloud.AgentNamespace, Name: "o2ims-identity"}}
	if err := spoke.Client().Delete(ctx, memory); err != nil {
		t.Fatal(err)
	}
	agent := spoke.Agents()[0]
	if err := spoke.Kubelet.Kill(agent.Namespace, agent.Name); err != nil {
		t.Fatal(err)
	}
	restarted(ctx, t, spoke.Kubelet, agent)
	cordonAndBack(ctx, t, core, newcomer)
	if err := keeps(servers(ctx, t, core)[newcomer]); err != nil {
		t.Errorf("without ConfigMap o2ims-identity: %v", err)
	}

	if err := spoke.RemoveNode(ctx, newcomer); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "the server to go", func(ctx context.Context) error { return hasServers(ctx, core, len(before)) })
	sameIDs(t, "of the others", servers(ctx, t, core), before)
	eventually(ctx, t, "what the probe left to go", func(ctx context.Context) error {
		err := spoke.Client().Get(ctx, client.ObjectKey{Namespace: ocloud.AgentNamespace, Name: "o2ims-probe-" + newcomer}, &corev1.ConfigMap{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("ConfigMap: %w", err)
		}
		return nil
	})
}

func count(class string, want int) func(ocloud.Resource) error {
	return func(s ocloud.Resource) error {
		if got := len(s.ElementsOf(class)); got != want {
			return fmt.Errorf("%d of class %s, want %d", got, class, want)
		}
		return nil
	}
}

func linkOf(port, want string) func(ocloud.Resource) error {
	return func(s ocloud.Resource) error {
		for _, e := range s.ElementsOf("port") {
			if e.Extensions.Port.Name == port {
				return is("link of "+port, e.Extensions.Port.Link, want)
			}
		}
		return fmt.Errorf("no port %s", port)
	}
}
