package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// TestHubAPIServerIsDown stops the hub's apiserver. What is in memory is served to those
// who were let in a moment ago; of all others nobody can tell, and the answer is "try
// again". Afterwards everything goes on by itself.
func TestHubAPIServerIsDown(t *testing.T) {
	ctx := t.Context()
	before := servers(ctx, t, edge)
	leader, follower, _ := replicas(ctx, t)
	client := caller{account: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ocloud.Namespace, Name: "test-client"}}}
	known, unknown := client.token(ctx, t, apiAudience), client.token(ctx, t, apiAudience)
	path := must[string](t)(cloud.PoolPath(ctx, edge)) + "/resources"
	want := ask(ctx, t, follower, http.MethodGet, path, known)
	if want.status != http.StatusOK {
		t.Fatalf("%d %s", want.status, want.body)
	}

	smo := listenToAlarms(ctx, t)
	door := agentDoor(ctx, t, cloud.Spoke(edge))
	healed := mayBeRefused("hub")
	for _, cluster := range []string{edge, core} { // their agents ask the hub, too
		defer mayBeRefused(cluster)()
	}
	if err := cloud.Env.Hub.StopAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // whatever happens, for the tests that follow
		if err := cloud.Env.Hub.StartAPIServer(context.Background()); err != nil {
			t.Error(err)
		}
	})
	eventually(ctx, t, "the leader to give up", func(context.Context) error {
		for _, p := range cloud.Managers() {
			if p.Name == leader.Name && p.Restarts > leader.Restarts {
				return nil
			}
		}
		return fmt.Errorf("%s is still there", leader.Name)
	})
	for _, tc := range []struct {
		name, path, token string
		want              int
	}{
		{"a caller who was let in a moment ago", path, known, http.StatusOK},
		{"the same, elsewhere", path + "/" + before[edgeDell].ID, known, http.StatusServiceUnavailable},
		{"a new token", path, unknown, http.StatusServiceUnavailable},
		{"nonsense for a token", path, "nonsense", http.StatusServiceUnavailable},
		{"no token", path, "", http.StatusUnauthorized},
	} {
		got := ask(ctx, t, follower, http.MethodGet, tc.path, tc.token)
		if got.status != tc.want || (tc.want == http.StatusOK && got.body != want.body) {
			t.Errorf("%s: %d %s; want %d", tc.name, got.status, got.body, tc.want)
		}
		if got.status == http.StatusServiceUnavailable && got.header.Get("Retry-After") == "" {
			t.Errorf("%s: no header Retry-After", tc.name)
		}
	}

	// The agents' link is cut as well. They take alerts all the same.
	unheard := []fired{pushAndEnd(ctx, t, door, "DuringOutage-1"), pushAndEnd(ctx, t, door, "DuringOutage-2")}
	if err := cloud.Env.Hub.StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	replicas(ctx, t)
	for _, cluster := range []string{edge, core} {
		if err := cloud.Env.WaitAvailable(ctx, cluster); err != nil {
			t.Fatal(err)
		}
	}
	healed()
	cordonAndBack(ctx, t, edge, edgeDell)
	acknowledged(ctx, t, edge)
	sameIDs(t, "afterwards", servers(ctx, t, edge), before)
	sameBytes(ctx, t)
	for _, f := range unheard {
		f.isInHistory(ctx, t)
		smo.hears(ctx, t, f.name, toldNew, toldClear)
	}
}

// TestSpokeAPIServerIsDown stops a managed cluster's apiserver, and pulls a disk
// meanwhile. The inventory keeps everything, says that it does not know, and is right
// when the cluster is back.
func TestSpokeAPIServerIsDown(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const dark = "dark"
	set := must[map[string]machines.Machine](t)(snapshots(ctx, setOfDark))
	spoke := join(ctx, t, dark, set["ryzen-3"])
	before := servers(ctx, t, dark)

	mayBeRefused(dark)
	if err := spoke.StopAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	change(t, spoke, "ryzen-3", machines.RemoveDisk("sdc"))
	// OCM asks the apiserver for its health once a minute.
	eventuallyServer(ctx, t, dark, "ryzen-3", "not known", operationalState("UNKNOWN"))
	sameIDs(t, "while the cluster is down", servers(ctx, t, dark), before)
	down := eventuallyAlarm(ctx, t, "O2IMSClusterUnavailable;"+dark, "that is open", alarmRecord.open)
	leadsSomewhere(ctx, t, down)

	if err := spoke.StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	cordon(ctx, t, spoke, "ryzen-3", true)
	eventuallyServer(ctx, t, dark, "ryzen-3", "cordoned and without disk sdc", func(s ocloud.Resource) error {
		for _, holds := range []func(ocloud.Resource) error{operationalState("ENABLED"), adminState("LOCKED"), disks(2)} {
			if err := holds(s); err != nil {
				return err
			}
		}
		return is("resourceId", s.ID, before["ryzen-3"].ID)
	})
	eventuallyAlarm(ctx, t, "O2IMSClusterUnavailable;"+dark, "that is cleared", alarmRecord.cleared)
}
