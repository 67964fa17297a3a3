package e2e

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// The steps that tests are made of. Each waits for what it says, or ends the test.

func eventually(ctx context.Context, t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	if err := cloud.Eventually(ctx, what, check); err != nil {
		t.Fatal(err)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// snapshots returns the machines of a set by node name. Sets differ in the identity of
// their machines and in their names: r610 of set 0 is r610-2 of set 1.
func snapshots(ctx context.Context, set int) (map[string]machines.Machine, error) {
	dir := filepath.Join(cloud.Env.Dir(), "machines", fmt.Sprint(set))
	list, err := machines.SnapshotSet(ctx, dir, set)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]machines.Machine, len(list))
	for _, m := range list {
		byName[m.Name] = m
	}
	return byName, nil
}

// Sets of machines, so that no two managed clusters claim the same one. Sets 0 and 1 are
// those of edge and core; the virtual machine of set 0 is the only one of its type.
const (
	setOfEdge = iota
	setOfCore
	setOfDark
	setOfToggled
	setOfRogue
	setOfTuned
	setOfLeaving
	setOfNewcomer
)

// joinCluster joins a managed cluster, enables the add-on, and returns when the servers are
// there with what their probes have found: the agent's first report may come before theirs.
// Its kubelet lives until life ends.
func joinCluster(life, ctx context.Context, name string, nodes ...machines.Machine) error {
	defer mayBeEarly(name)()
	if _, err := cloud.AddSpoke(life, name, nodes...); err != nil {
		return err
	}
	if err := cloud.EnableAddOn(ctx, name); err != nil {
		return err
	}
	return cloud.Eventually(ctx, "the servers of "+name, func(ctx context.Context) error {
		if err := hasServers(ctx, name, len(nodes)); err != nil {
			return err
		}
		return haveElements(ctx, name)
	})
}

// join gives a test a managed cluster of its own.
func join(ctx context.Context, t *testing.T, name string, nodes ...machines.Machine) *ocloud.Spoke {
	t.Helper()
	if err := joinCluster(ctx, ctx, name, nodes...); err != nil {
		t.Fatal(err)
	}
	return cloud.Spoke(name)
}

func hasServers(ctx context.Context, cluster string, want int) error {
	servers, err := cloud.Servers(ctx, cluster)
	if err == nil && len(servers) != want {
		err = fmt.Errorf("servers of %s: %v, want %d", cluster, slices.Sorted(maps.Keys(servers)), want)
	}
	return err
}

func haveElements(ctx context.Context, cluster string) error {
	servers, err := cloud.Servers(ctx, cluster)
	for node, s := range servers {
		if len(s.Elements) == 0 {
			return fmt.Errorf("%s of %s has no elements: %w", node, cluster, ocloud.ErrNotYet)
		}
	}
	return err
}

func servers(ctx context.Context, t *testing.T, cluster string) map[string]ocloud.Resource {
	t.Helper()
	var all map[string]ocloud.Resource
	eventually(ctx, t, "an answer", func(ctx context.Context) (err error) {
		all, err = cloud.Servers(ctx, cluster)
		return err
	})
	return all
}

// eventuallyServer waits until a server is as it should be; holds says what is wrong.
func eventuallyServer(ctx context.Context, t *testing.T, cluster, node, what string, holds func(ocloud.Resource) error) ocloud.Resource {
	t.Helper()
	var server ocloud.Resource
	eventually(ctx, t, fmt.Sprintf("%s of %s: %s", node, cluster, what), func(ctx context.Context) error {
		all, err := cloud.Servers(ctx, cluster)
		if err != nil {
			return err
		}
		var found bool
		if server, found = all[node]; !found {
			return fmt.Errorf("not among %v: %w", slices.Sorted(maps.Keys(all)), ocloud.ErrNotYet)
		}
		return holds(server)
	})
	return server
}

// is compares two texts of a server.
func is(name, got, want string) error {
	if got != want {
		return fmt.Errorf("%s is %q, want %q", name, got, want)
	}
	return nil
}

func adminState(want string) func(ocloud.Resource) error {
	return func(s ocloud.Resource) error { return is("adminState", s.Extensions.AdminState, want) }
}

func operationalState(want string) func(ocloud.Resource) error {
	return func(s ocloud.Resource) error { return is("operationalState", s.Extensions.OperationalState, want) }
}

func disks(want int) func(ocloud.Resource) error { return count("storage", want) }

// resourceIDs are the ids of all servers and elements of a managed cluster, by what they
// name.
func resourceIDs(servers map[string]ocloud.Resource) map[string]string {
	ids := map[string]string{}
	for node, s := range servers {
		ids[node] = s.ID
		for _, e := range s.Elements {
			ids[node+" "+e.Extensions.Class+"|"+e.Extensions.Slot] = e.ID
		}
	}
	return ids
}

func sameIDs(t *testing.T, when string, got, want map[string]ocloud.Resource) {
	t.Helper()
	if got, want := resourceIDs(got), resourceIDs(want); !maps.Equal(got, want) {
		t.Errorf("%s: resourceIds = %v, want %v", when, got, want)
	}
}

// eventuallySameIDs waits until every server and element of a managed cluster is there under its
// name again, after its probes have begun anew.
func eventuallySameIDs(ctx context.Context, t *testing.T, when, cluster string, want map[string]ocloud.Resource) {
	t.Helper()
	eventually(ctx, t, "the resourceIds of "+cluster+", "+when, func(ctx context.Context) error {
		servers, err := cloud.Servers(ctx, cluster)
		if got, want := resourceIDs(servers), resourceIDs(want); err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("resourceIds are %v, want %v: %w", got, want, ocloud.ErrNotYet)
		}
		return err
	})
}

// cordon makes a node take no new work, or again; the smallest change of a node that a
// client of the API sees.
func cordon(ctx context.Context, t *testing.T, s *ocloud.Spoke, node string, on bool) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, on)
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	if err := s.Client().Patch(ctx, object, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatal(err)
	}
}

// cordonAndBack shows that a change still arrives, and undoes it.
func cordonAndBack(ctx context.Context, t *testing.T, cluster, node string) {
	t.Helper()
	s := cloud.Spoke(cluster)
	cordon(ctx, t, s, node, true)
	eventuallyServer(ctx, t, cluster, node, "cordoned", adminState("LOCKED"))
	cordon(ctx, t, s, node, false)
	eventuallyServer(ctx, t, cluster, node, "uncordoned", adminState("UNLOCKED"))
}

// change lets something happen to the machine of a node.
func change(t *testing.T, s *ocloud.Spoke, node string, what machines.Change) {
	t.Helper()
	m := s.Machine(node)
	if err := m.Change(what); err != nil {
		t.Fatal(err)
	}
}

// headOf is the head of the report that stands on the hub.
func headOf(ctx context.Context, t *testing.T, cluster string) report.Head {
	t.Helper()
	return must[report.Report](t)(cloud.Report(ctx, cluster)).Head
}

// acknowledged waits for the hub's answer to the report that stands there.
func acknowledged(ctx context.Context, t *testing.T, cluster string) {
	t.Helper()
	eventually(ctx, t, "the hub's answer to "+cluster, func(ctx context.Context) error {
		addon, err := cloud.AddOn(ctx, cluster)
		if err != nil {
			return err
		}
		rep, err := cloud.Report(ctx, cluster)
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(addon.Status.Conditions, report.KindInventory.IngestedType())
		if c == nil {
			return fmt.Errorf("no condition %s: %w", report.KindInventory.IngestedType(), ocloud.ErrNotYet)
		}
		want := report.Answer(rep.Head, nil).String()
		return is("answer", fmt.Sprint(c.Status, " ", c.Message), "True "+want)
	})
}

// restarted waits until a pod of a kubelet has one process more behind it, and is ready.
func restarted(ctx context.Context, t *testing.T, k *kubelet.Kubelet, was kubelet.PodInfo) kubelet.PodInfo {
	t.Helper()
	var now kubelet.PodInfo
	eventually(ctx, t, "the restart of "+was.Name, func(context.Context) error {
		pods := k.Pods()
		i := slices.IndexFunc(pods, func(p kubelet.PodInfo) bool { return p.Name == was.Name })
		if i < 0 {
			return fmt.Errorf("pod %s is gone", was.Name)
		}
		if now = pods[i]; now.Restarts <= was.Restarts || !now.Ready {
			return fmt.Errorf("%d restarts, %s, ready: %t", now.Restarts, now.State, now.Ready)
		}
		return nil
	})
	return now
}

// otherConditions are the conditions of an add-on that are not ours, by type.
func otherConditions(ctx context.Context, t *testing.T, cluster string) map[string]string {
	t.Helper()
	addon, err := cloud.AddOn(ctx, cluster)
	if err != nil {
		t.Fatal(err)
	}
	others := map[string]string{}
	for _, c := range addon.Status.Conditions {
		if !isOurs(c) {
			others[c.Type] = fmt.Sprint(c.Status, " ", c.Reason)
		}
	}
	return others
}
