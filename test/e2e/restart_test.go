package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// TestManagersAreKilled kills the leader and a follower with SIGKILL. The other replica
// answers throughout, somebody leads again, and the inventory is what it was.
func TestManagersAreKilled(t *testing.T) {
	ctx := t.Context()
	before := servers(ctx, t, edge)
	for _, role := range []string{"leader", "follower"} {
		t.Run(role, func(t *testing.T) {
			leader, follower, holder := replicas(ctx, t)
			victim, other := leader, follower
			if role == "follower" {
				victim, other = follower, leader
			}
			asked := keepAsking(ctx, t, other)
			killed := time.Now()
			if err := cloud.Hub().Kill(ocloud.Namespace, victim.Name); err != nil {
				t.Fatal(err)
			}
			noticed := noticed(ctx, t, victim)
			restarted(ctx, t, cloud.Hub(), victim)
			if role == "leader" {
				eventually(ctx, t, "another holder of the Lease", func(ctx context.Context) error {
					if _, now, err := cloud.Leader(ctx); err != nil || now == holder {
						return fmt.Errorf("%s holds it: %w", now, errors.Join(err, ocloud.ErrNotYet))
					}
					return nil
				})
			}
			asked.stop(t, killed, noticed)
			if _, _, now := replicas(ctx, t); role == "follower" && now != holder {
				t.Errorf("the Lease went from %s to %s, though its holder lived", holder, now)
			}
			cordonAndBack(ctx, t, edge, edgeDell)
			acknowledged(ctx, t, edge) // only a leader writes that
			sameIDs(t, "afterwards", servers(ctx, t, edge), before)
			sameBytes(ctx, t)
		})
	}
}

// replicas waits for two ready managers, one of which leads.
func replicas(ctx context.Context, t *testing.T) (leader, follower kubelet.PodInfo, holder string) {
	t.Helper()
	eventually(ctx, t, "a leader and a follower", func(ctx context.Context) (err error) {
		if leader, holder, err = cloud.Leader(ctx); err != nil {
			return err
		}
		pods := cloud.Managers()
		if len(pods) != 2 || !pods[0].Ready || !pods[1].Ready {
			return fmt.Errorf("managers: %+v", pods)
		}
		follower = pods[0]
		if follower.Name == leader.Name {
			follower = pods[1]
		}
		return nil
	})
	return leader, follower, holder
}

// asking asks for the inventory without a pause, at one replica and through the Service.
type asking struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu             sync.Mutex
	atPod, through tally
}

type tally struct {
	asked    int
	failures []failure
}

type failure struct {
	began, ended time.Time
	err          error
}

func (t *tally) count(began time.Time, err error) {
	t.asked++
	if err != nil {
		t.failures = append(t.failures, failure{began, time.Now(), err})
	}
}

const poolsPath = ocloud.InventoryV1 + "/resourcePools"

func keepAsking(ctx context.Context, t *testing.T, pod kubelet.PodInfo) *asking {
	t.Helper()
	token := must[string](t)(cloud.Token(ctx, "test-client"))
	a := &asking{}
	ctx, a.cancel = context.WithCancel(ctx)
	ask := func(count *tally, send func(context.Context) (*http.Response, error)) {
		for ctx.Err() == nil {
			began := time.Now()
			response, err := send(context.WithoutCancel(ctx))
			if err == nil {
				response.Body.Close()
				if response.StatusCode != http.StatusOK {
					err = fmt.Errorf("answered %s", response.Status)
				}
			}
			a.mu.Lock()
			count.count(began, err)
			a.mu.Unlock()
			pause(ctx, 20*time.Millisecond)
		}
	}
	a.done.Go(func() {
		ask(&a.atPod, func(ctx context.Context) (*http.Response, error) {
			return cloud.DoAt(ctx, pod, http.MethodGet, poolsPath, token)
		})
	})
	a.done.Go(func() {
		ask(&a.through, func(ctx context.Context) (*http.Response, error) {
			return cloud.Do(ctx, http.MethodGet, poolsPath, token, nil)
		})
	})
	t.Cleanup(a.cancel)
	return a
}

// pause keeps a bounded load from becoming a flood.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// noticed waits until the kubelet has seen that the process of a pod has died, from when on the
// Service leads elsewhere. How long that takes is the machine's affair.
func noticed(ctx context.Context, t *testing.T, was kubelet.PodInfo) time.Time {
	t.Helper()
	eventually(ctx, t, "the kubelet to see that "+was.Name+" has died", func(context.Context) error {
		for _, p := range cloud.Managers() {
			if p.Name == was.Name && p.Ready && p.Restarts == was.Restarts && p.PID == was.PID {
				return fmt.Errorf("process %d: %w", p.PID, ocloud.ErrNotYet)
			}
		}
		return nil
	})
	return time.Now()
}

// stop ends the questions. The replica that lived has answered all of them; through the
// Service, those may be lost that went to the one that died before that was noticed.
func (a *asking) stop(t *testing.T, killed, noticed time.Time) {
	t.Helper()
	a.cancel()
	a.done.Wait()
	if len(a.atPod.failures) > 0 || a.atPod.asked == 0 {
		t.Errorf("%d requests to the replica that lives, failed: %v", a.atPod.asked, a.atPod.failures)
	}
	for _, f := range a.through.failures {
		if f.ended.Before(killed) || f.began.After(noticed) {
			t.Errorf("%d requests through the Service; one failed that began %s and ended %s after the kill, which was noticed after %s: %v",
				a.through.asked, f.began.Sub(killed), f.ended.Sub(killed), noticed.Sub(killed), f.err)
		}
	}
}

// sameBytes compares what both replicas serve.
func sameBytes(ctx context.Context, t *testing.T) {
	t.Helper()
	pool := must[string](t)(cloud.PoolPath(ctx, edge))
	for _, path := range []string{
		ocloud.InventoryV1, ocloud.InventoryV1 + "/deploymentManagers", poolsPath,
		ocloud.InventoryV1 + "/resourceTypes", pool + "/resources", pool + "/resources?all_fields",
	} {
		eventually(ctx, t, "the same answer to "+path+" of both replicas", func(ctx context.Context) error {
			pods := cloud.Managers()
			if len(pods) != 2 {
				return fmt.Errorf("%d managers", len(pods))
			}
			first, err := cloud.BodyAt(ctx, pods[0], path)
			if err != nil {
				return err
			}
			second, err := cloud.BodyAt(ctx, pods[1], path)
			if err != nil {
				return err
			}
			return is("answer", first, second)
		})
	}
}

// TestAgentsAndProbesAreKilled kills every agent of the fleet at the same time, and
// probes, while a machine changes. Agents that restart write nothing by themselves, so
// that a hub survives the restart of a whole fleet; what changed meanwhile arrives.
func TestAgentsAndProbesAreKilled(t *testing.T) {
	ctx := t.Context()
	before := servers(ctx, t, edge)
	nodes := map[string]string{edge: edgeDell, core: coreDell}
	heads, holders := map[string]string{}, map[string]string{}
	for cluster := range nodes {
		heads[cluster] = headOf(ctx, t, cluster).String()
		holders[cluster] = agentHolder(ctx, t, cluster)
	}
	quiet := probeResult(ctx, t, edge, edgeDell)

	for cluster := range nodes {
		s := cloud.Spoke(cluster)
		for _, agent := range s.Agents() {
			if err := s.Kubelet.Kill(agent.Namespace, agent.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	spoke := cloud.Spoke(edge)
	for _, node := range []string{edgeDell, edgeRyzen} {
		probe, _ := spoke.Probe(node)
		if err := spoke.Kubelet.Kill(probe.Namespace, probe.Name); err != nil {
			t.Fatal(err)
		}
	}
	change(t, spoke, edgeRyzen, machines.RemoveDisk("sdc"))

	eventuallyServer(ctx, t, edge, edgeRyzen, "without disk sdc", disks(2))
	if got := probeResult(ctx, t, edge, edgeDell).ResourceVersion; got != quiet.ResourceVersion {
		t.Errorf("the killed probe of %s wrote what was there already: %s, before %s", edgeDell, got, quiet.ResourceVersion)
	}
	after := servers(ctx, t, edge)
	gone := before[edgeRyzen].ElementsOf("storage")
	for key, id := range resourceIDs(after) {
		if want := resourceIDs(before)[key]; id != want {
			t.Errorf("%s has resourceId %s, before %q", key, id, want)
		}
	}
	if lost := len(resourceIDs(before)) - len(resourceIDs(after)); lost != 1 {
		t.Errorf("%d resources went, want one of %v", lost, gone)
	}

	// In core nothing changed. That its agent wrote nothing at first shows in the number of
	// its next report: it is the first of this agent's life.
	eventually(ctx, t, "an agent of "+core+" that leads again", func(ctx context.Context) error {
		if now := agentHolder(ctx, t, core); now == holders[core] {
			return fmt.Errorf("%s still holds the Lease", now)
		}
		return nil
	})
	cordon(ctx, t, cloud.Spoke(core), coreDell, true)
	eventuallyServer(ctx, t, core, coreDell, "cordoned", adminState("LOCKED"))
	if got := headOf(ctx, t, core); got.Seq != 1 {
		t.Errorf("after a restart and one change the report is %s, before %s: want seq=1", got, heads[core])
	}
	cordon(ctx, t, cloud.Spoke(core), coreDell, false)
	eventuallyServer(ctx, t, core, coreDell, "uncordoned", adminState("UNLOCKED"))
}

func agentHolder(ctx context.Context, t *testing.T, cluster string) string {
	t.Helper()
	return must[string](t)(ocloud.LeaseHolder(ctx, cloud.Spoke(cluster).Client(), ocloud.AgentNamespace, "o2ims-agent"))
}

// probeResult is the ConfigMap in which a probe leaves what it found.
func probeResult(ctx context.Context, t *testing.T, cluster, node string) *corev1.ConfigMap {
	t.Helper()
	var cm corev1.ConfigMap
	key := client.ObjectKey{Namespace: ocloud.AgentNamespace, Name: "o2ims-probe-" + node}
	if err := cloud.Spoke(cluster).Client().Get(ctx, key, &cm); err != nil {
		t.Fatal(err)
	}
	return &cm
}
