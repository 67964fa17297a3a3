package kubelet

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pods in the tables below.
var (
	oldReady    = podView{hash: "old", placed: true, ready: true, available: true, node: "a"}
	oldBroken   = podView{hash: "old", placed: true, node: "a"}
	oldLeaving  = podView{hash: "old", placed: true, stopping: true, node: "a"}
	newReady    = podView{hash: "new", placed: true, ready: true, available: true, node: "a"}
	newStarting = podView{hash: "new", placed: true, node: "a"}
)

func on(node string, p podView) podView {
	p.node = node
	return p
}

func TestDeploymentPlan(t *testing.T) {
	rolling := func(replicas, surge, unavailable int) rollout {
		return rollout{replicas: replicas, surge: surge, unavailable: unavailable}
	}
	for _, tc := range []struct {
		name  string
		r     rollout
		pods  []podView
		start int
		stop  []int
	}{
		{name: "from nothing", r: rolling(3, 1, 0), start: 3},
		{name: "as wanted", r: rolling(1, 1, 0), pods: []podView{newReady}},
		{name: "scaled down, the useless goes", r: rolling(1, 1, 0), pods: []podView{newReady, newStarting}, stop: []int{1}},
		{name: "scaled to none", r: rolling(0, 0, 1), pods: []podView{newReady}, stop: []int{0}},
		{name: "new first", r: rolling(1, 1, 0), pods: []podView{oldReady}, start: 1},
		{name: "old stays until new is ready", r: rolling(1, 1, 0), pods: []podView{oldReady, newStarting}},
		{name: "old goes", r: rolling(1, 1, 0), pods: []podView{oldReady, newReady}, stop: []int{0}},
		{name: "no surge: old first", r: rolling(2, 0, 1), pods: []podView{oldReady, oldReady}, stop: []int{0}},
		{name: "a broken old pod is not missed", r: rolling(2, 1, 0), pods: []podView{oldReady, oldBroken}, start: 1, stop: []int{1}},
		{name: "recreate: old goes", r: rollout{replicas: 1, recreate: true}, pods: []podView{oldReady}, stop: []int{0}},
		{name: "recreate: waits for its end", r: rollout{replicas: 1, recreate: true}, pods: []podView{oldLeaving}},
		{name: "recreate: then new", r: rollout{replicas: 1, recreate: true}, start: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start, stop := tc.r.plan("new", tc.pods)
			if start != tc.start || !slices.Equal(stop, tc.stop) {
				t.Errorf("start %d, stop %v; want %d, %v", start, stop, tc.start, tc.stop)
			}
		})
	}
}

func TestDaemonSetPlan(t *testing.T) {
	for _, tc := range []struct {
		name  string
		r     daemonRollout
		nodes []string
		pods  []podView
		start []string
		stop  []int
	}{
		{name: "one on each", r: daemonRollout{unavailable: 1}, nodes: []string{"a", "b"}, pods: []podView{newReady}, start: []string{"b"}},
		{name: "node gone", r: daemonRollout{unavailable: 1}, nodes: []string{"b"}, pods: []podView{newReady, on("b", newReady)}, stop: []int{0}},
		{name: "two on one", r: daemonRollout{unavailable: 1}, nodes: []string{"a"}, pods: []podView{newReady, newReady}, stop: []int{1}},
		{name: "waits for the old one's end", r: daemonRollout{unavailable: 1}, nodes: []string{"a"}, pods: []podView{oldLeaving}},
		{name: "one node at a time", r: daemonRollout{unavailable: 1}, nodes: []string{"a", "b"}, pods: []podView{oldReady, on("b", oldReady)}, stop: []int{0}},
		{name: "not while one is down", r: daemonRollout{unavailable: 1}, nodes: []string{"a", "b"}, pods: []podView{newStarting, on("b", oldReady)}},
		{name: "a broken old pod at once", r: daemonRollout{unavailable: 1}, nodes: []string{"a", "b"}, pods: []podView{oldBroken, on("b", newStarting)}, stop: []int{0}},
		{name: "on delete", r: daemonRollout{onDelete: true, unavailable: 1}, nodes: []string{"a"}, pods: []podView{oldReady}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start, stop := tc.r.plan(tc.nodes, "new", tc.pods)
			if !slices.Equal(start, tc.start) || !slices.Equal(stop, tc.stop) {
				t.Errorf("start %v, stop %v; want %v, %v", start, stop, tc.start, tc.stop)
			}
		})
	}
}

func TestDeploymentStatus(t *testing.T) {
	now, before := metav1.Unix(2000, 0), metav1.Unix(1000, 0)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Generation: 7},
		Spec:       appsv1.DeploymentSpec{Replicas: ptr[int32](2)},
		Status: appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue},
			{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionFalse, LastTransitionTime: before, LastUpdateTime: before},
		}},
	}
	s := deploymentStatus(d, "new", []podView{newReady, newStarting, oldLeaving}, "", now)
	if s.ObservedGeneration != 7 || s.Replicas != 2 || s.UpdatedReplicas != 2 || s.ReadyReplicas != 1 || s.AvailableReplicas != 1 || s.UnavailableReplicas != 1 {
		t.Errorf("counts = %+v", s)
	}
	conditions := func(s appsv1.DeploymentStatus) string {
		var list []string
		for _, c := range s.Conditions {
			list = append(list, string(c.Type)+"="+string(c.Status)+"/"+c.Reason)
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	if got, want := conditions(s), "Available=False/MinimumReplicasUnavailable Progressing=True/ReplicaSetUpdated"; got != want {
		t.Errorf("conditions = %s, want %s", got, want)
	}
	if got := s.Conditions[0].LastTransitionTime; got != before {
		t.Errorf("the time of an unchanged condition moved to %s", got)
	}

	d.Status = deploymentStatus(d, "new", []podView{newReady, newReady}, "", now)
	if got, want := conditions(d.Status), "Available=True/MinimumReplicasAvailable Progressing=True/NewReplicaSetAvailable"; got != want {
		t.Errorf("conditions = %s, want %s", got, want)
	}
	refused := deploymentStatus(d, "new", nil, "violates PodSecurity", now)
	if got := conditions(refused); !strings.Contains(got, "ReplicaFailure=True/FailedCreate") {
		t.Errorf("conditions after a refusal = %s", got)
	}
}

func TestDaemonSetStatus(t *testing.T) {
	d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
	s := daemonSetStatus(d, "new", []string{"a", "b", "c"}, []podView{newReady, on("b", oldReady), on("gone", newReady)})
	want := appsv1.DaemonSetStatus{
		ObservedGeneration: 3, DesiredNumberScheduled: 3, CurrentNumberScheduled: 2, UpdatedNumberScheduled: 1,
		NumberReady: 2, NumberAvailable: 2, NumberUnavailable: 1, NumberMisscheduled: 1,
	}
	if s.String() != want.String() {
		t.Errorf("got %s, want %s", s.String(), want.String())
	}
}

func TestRefusedBy(t *testing.T) {
	node := func(labels map[string]string, taints ...corev1.Taint) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "edge-1", Labels: labels}, Spec: corev1.NodeSpec{Taints: taints}}
	}
	requires := func(key string, op corev1.NodeSelectorOperator, values ...string) *corev1.Affinity {
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}},
		}}}
	}
	master := corev1.Taint{Key: "master", Effect: corev1.TaintEffectNoSchedule}
	for _, tc := range []struct {
		name string
		node *corev1.Node
		spec corev1.PodSpec
		want string
	}{
		{name: "free", node: node(nil)},
		{name: "selector", node: node(map[string]string{"role": "worker"}), spec: corev1.PodSpec{NodeSelector: map[string]string{"role": "worker"}}},
		{name: "another selector", node: node(nil), spec: corev1.PodSpec{NodeSelector: map[string]string{"role": "worker"}}, want: "affinity/selector"},
		{name: "affinity", node: node(map[string]string{"cores": "8"}), spec: corev1.PodSpec{Affinity: requires("cores", corev1.NodeSelectorOpGt, "4")}},
		{name: "another affinity", node: node(map[string]string{"arch": "arm64"}), spec: corev1.PodSpec{Affinity: requires("arch", corev1.NodeSelectorOpNotIn, "arm64")}, want: "affinity/selector"},
		{name: "taint", node: node(nil, master), want: "untolerated taint {master: }"},
		{name: "tolerated", node: node(nil, master), spec: corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "master", Operator: corev1.TolerationOpExists}}}},
		{name: "all tolerated", node: node(nil, master), spec: corev1.PodSpec{Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}}},
		{name: "another value", node: node(nil, corev1.Taint{Key: "k", Value: "v", Effect: corev1.TaintEffectNoExecute}), spec: corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "k", Value: "w"}}}, want: "untolerated taint {k: v}"},
		{name: "preference", node: node(nil, corev1.Taint{Key: "k", Effect: corev1.TaintEffectPreferNoSchedule})},
		{name: "cordoned", node: &corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true}}, want: "unschedulable"},
		{name: "cordoned, a daemon's pod", node: &corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true}}, spec: corev1.PodSpec{Tolerations: daemonTolerations(false)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := refusedBy(tc.node, &tc.spec)
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("refusedBy = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	nodes := []*corev1.Node{
		{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "b"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Spec: corev1.NodeSpec{Unschedulable: true}},
	}
	if got, _ := choose(nodes, &corev1.PodSpec{}, map[string]int{"a": 2, "b": 1}); got == nil || got.Name != "b" {
		t.Errorf("got %v, want b, which has fewer pods", got)
	}
	_, why := choose(nodes[2:], &corev1.PodSpec{}, nil)
	if want := "0/1 nodes are available: 1 node(s) had untolerated taint"; !strings.HasPrefix(why, want) {
		t.Errorf("got %q, want %q…", why, want)
	}
}

func TestNextDelay(t *testing.T) {
	for _, tc := range []struct{ last, ran, want time.Duration }{
		{0, 0, time.Second},
		{time.Second, 0, 2 * time.Second},
		{8 * time.Second, 30 * time.Second, 10 * time.Second},
		{10 * time.Second, time.Second, 10 * time.Second},
		{10 * time.Second, time.Minute, time.Second},
	} {
		if got := nextDelay(tc.last, tc.ran); got != tc.want {
			t.Errorf("after %s and a run of %s: %s, want %s", tc.last, tc.ran, got, tc.want)
		}
	}
}

func TestTally(t *testing.T) {
	probe := &corev1.Probe{SuccessThreshold: 2, FailureThreshold: 3}
	var tl tally
	for i, step := range []struct {
		ok   bool
		want verdict
	}{
		{false, undecided}, {true, undecided}, {true, passed}, {true, passed},
		{false, undecided}, {false, undecided}, {false, failed}, {true, undecided},
	} {
		if got := tl.count(step.ok, probe); got != step.want {
			t.Errorf("answer %d (%t): verdict %d, want %d", i, step.ok, got, step.want)
		}
	}
}
