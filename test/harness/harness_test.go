package harness_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness"
)

// TestEnvironment starts a hub and two spokes once, and asks of them what other tests
// rely on. The parts run in order: the later ones take the environment apart.
func TestEnvironment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a hub and two managed clusters")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // a first run builds Kubernetes and OCM
	defer cancel()
	start := time.Now()
	env, err := harness.Start(ctx, harness.Options{Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		start := time.Now()
		env.Stop()
		t.Logf("stopped in %s", since(start))
	}()
	t.Logf("hub ready after %s", since(start))
	addTwo(ctx, t, env)
	t.Logf("hub and two managed clusters ready after %s", since(start))

	for _, part := range []struct {
		name string
		run  func(context.Context, *testing.T, *harness.Env)
	}{
		{"clusters join their sets", testClusterSets},
		{"clusteradm sees the clusters", testClusteradm},
		{"clusteradm enables an add-on in both API versions", testAddon},
		{"the work agent applies what its role allows", testWork},
		{"nodes come and go", testNodes},
		{"an apiserver stops and comes back", testOutage},
		{"a cluster is detached", testDetach},
	} {
		ok := t.Run(part.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			part.run(ctx, t, env)
		})
		if !ok {
			return // the next part would fail for the same reason, two minutes later
		}
	}
}

// addTwo adds edge-1 to the default set and edge-2 to a set of its own, side by side.
func addTwo(ctx context.Context, t *testing.T, env *harness.Env) {
	t.Helper()
	errs := make(chan error)
	for name, set := range map[string]string{"edge-1": "", "edge-2": "north"} {
		go func() {
			_, err := env.AddManagedCluster(ctx, name, harness.ClusterOptions{ClusterSet: set})
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

func testClusterSets(ctx context.Context, t *testing.T, env *harness.Env) {
	for name, want := range map[string]string{"edge-1": "default", "edge-2": "north"} {
		var cluster clusterv1.ManagedCluster
		if err := env.Hub.Client().Get(ctx, client.ObjectKey{Name: name}, &cluster); err != nil {
			t.Fatal(err)
		}
		if got := cluster.Labels[clusterv1beta2.ClusterSetLabel]; got != want {
			t.Errorf("cluster set of %s = %q, want %q", name, got, want)
		}
	}
}

func testClusteradm(ctx context.Context, t *testing.T, env *harness.Env) {
	out, err := env.Clusteradm(ctx, "get", "clusters")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"edge-1", "edge-2"} {
		if !strings.Contains(out, name) {
			t.Errorf("clusteradm get clusters does not show %s:\n%s", name, out)
		}
	}
}

// testAddon shows that the conversion webhook serves: v1alpha1 is what is stored and what
// clusteradm writes, v1beta1 what we read.
func testAddon(ctx context.Context, t *testing.T, env *harness.Env) {
	const addon, managedCluster = "test-addon", "edge-1"
	hub := env.Hub.Client()
	definition := &addonv1beta1.ClusterManagementAddOn{ObjectMeta: metav1.ObjectMeta{Name: addon}}
	definition.Spec.InstallStrategy.Type = addonv1beta1.AddonInstallStrategyManual
	if err := hub.Create(ctx, definition); err != nil {
		t.Fatal(err)
	}
	if out, err := env.Clusteradm(ctx, "addon", "enable", "--names", addon, "--clusters", managedCluster); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	key := client.ObjectKey{Namespace: managedCluster, Name: addon}
	for _, version := range []client.Object{&addonv1beta1.ManagedClusterAddOn{}, &addonv1alpha1.ManagedClusterAddOn{}} {
		if err := hub.Get(ctx, key, version); err != nil {
			t.Errorf("%T: %v", version, err)
		}
	}
}

// testWork shows that the klusterlet works with its own rights: a ConfigMap is applied,
// a Node, which its role leaves out, is not.
func testWork(ctx context.Context, t *testing.T, env *harness.Env) {
	const managedCluster = "edge-1"
	hub := env.Hub.Client()
	configMap := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "open-cluster-management-agent-addon", Name: "from-the-hub"},
		Data:       map[string]string{"answer": "42"},
	}
	node := &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: "from-the-hub"}}
	work := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: managedCluster, Name: "test"}}
	for _, object := range []runtime.Object{configMap, node} {
		work.Spec.Workload.Manifests = append(work.Spec.Workload.Manifests,
			workv1.Manifest{RawExtension: runtime.RawExtension{Object: object}})
	}
	if err := hub.Create(ctx, work); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, func() error {
		return env.Cluster(managedCluster).Client().Get(ctx, client.ObjectKeyFromObject(configMap), &corev1.ConfigMap{})
	})
	want := map[string]metav1.ConditionStatus{"ConfigMap": metav1.ConditionTrue, "Node": metav1.ConditionFalse}
	eventually(ctx, t, func() error {
		if err := hub.Get(ctx, client.ObjectKeyFromObject(work), work); err != nil {
			return err
		}
		for kind, status := range want {
			if got := appliedStatus(work, kind); got != status {
				return fmt.Errorf("applied condition of the %s = %q, want %q", kind, got, status)
			}
		}
		return nil
	})
	if err := hub.Delete(ctx, work); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, func() error { return gone(ctx, hub, work) })
}

func appliedStatus(work *workv1.ManifestWork, kind string) metav1.ConditionStatus {
	for _, manifest := range work.Status.ResourceStatus.Manifests {
		if c := meta.FindStatusCondition(manifest.Conditions, workv1.ManifestApplied); manifest.ResourceMeta.Kind == kind && c != nil {
			return c.Status
		}
	}
	return ""
}

func testNodes(ctx context.Context, t *testing.T, env *harness.Env) {
	spoke := env.Cluster("edge-2")
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "edge-2-a"},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{SystemUUID: "4c4c4544-0042-3510-8052-b4c04f4d3333"}},
	}
	if err := spoke.AddNode(ctx, node); err != nil {
		t.Fatal(err)
	}
	var got corev1.Node
	if err := spoke.Client().Get(ctx, client.ObjectKeyFromObject(node), &got); err != nil {
		t.Fatal(err)
	}
	if got.Status.NodeInfo.SystemUUID != node.Status.NodeInfo.SystemUUID || len(got.Spec.Taints) != 0 {
		t.Errorf("node = UUID %q, taints %v; want UUID %q and no taints",
			got.Status.NodeInfo.SystemUUID, got.Spec.Taints, node.Status.NodeInfo.SystemUUID)
	}
	if err := spoke.RemoveNode(ctx, node.Name); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, func() error { return gone(ctx, spoke.Client(), node) })
}

func testOutage(ctx context.Context, t *testing.T, env *harness.Env) {
	spoke := env.Cluster("edge-1")
	before := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "survives"}}
	if err := spoke.Client().Create(ctx, before); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := spoke.StopAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("apiserver stopped in %s", since(start))
	if err := spoke.Client().Get(ctx, client.ObjectKeyFromObject(before), before); err == nil {
		t.Error("the apiserver answers although it is stopped")
	}
	start = time.Now()
	if err := spoke.StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("apiserver back after %s", since(start))
	if err := spoke.Client().Get(ctx, client.ObjectKeyFromObject(before), before); err != nil {
		t.Errorf("after the outage: %v", err)
	}
	if err := env.WaitAvailable(ctx, spoke.Name); err != nil {
		t.Error(err)
	}
}

func testDetach(ctx context.Context, t *testing.T, env *harness.Env) {
	start := time.Now()
	if err := env.Detach(ctx, "edge-1"); err != nil {
		t.Fatal(err)
	}
	t.Logf("edge-1 detached in %s", since(start))
	if env.Cluster("edge-1") != nil {
		t.Error("the environment still has edge-1")
	}
	if err := env.WaitAvailable(ctx, "edge-2"); err != nil {
		t.Errorf("the other cluster: %v", err)
	}
}

func gone(ctx context.Context, c client.Client, object client.Object) error {
	err := c.Get(ctx, client.ObjectKeyFromObject(object), object)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s is still there", object.GetName())
}

// eventually tries until there is no error, and fails with the last one when ctx ends.
func eventually(ctx context.Context, t *testing.T, try func() error) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-ticker.C:
		}
	}
}

func since(start time.Time) time.Duration { return time.Since(start).Round(10 * time.Millisecond) }
