package kubelet

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// podView is what the controllers know of a pod.
type podView struct {
	node, hash string
	placed     bool
	stopping   bool
	ready      bool
	available  bool // ready for minReadySeconds
}

// rollout is how a Deployment wants its pods.
type rollout struct {
	replicas           int
	recreate           bool
	surge, unavailable int // pods above and below replicas while templates change
}

func rolloutOf(d *appsv1.Deployment) rollout {
	r := rollout{replicas: 1, recreate: d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType}
	if d.Spec.Replicas != nil {
		r.replicas = int(*d.Spec.Replicas)
	}
	if d.DeletionTimestamp != nil {
		r.replicas = 0
	}
	var surge, unavailable *intstr.IntOrString
	if u := d.Spec.Strategy.RollingUpdate; u != nil {
		surge, unavailable = u.MaxSurge, u.MaxUnavailable
	}
	r.surge = scaled(surge, "25%", r.replicas, true)
	r.unavailable = scaled(unavailable, "25%", r.replicas, false)
	if r.surge == 0 && r.unavailable == 0 {
		r.unavailable = 1
	}
	return r
}

// scaled is a number or a share of a total; an unreadable one, which the apiserver does
// not admit, counts as 0.
func scaled(value *intstr.IntOrString, absent string, total int, up bool) int {
	fallback := intstr.Parse(absent)
	n, err := intstr.GetScaledValueFromIntOrPercent(cmp.Or(value, &fallback), total, up)
	if err != nil {
		return 0
	}
	return n
}

// plan says how many pods of the current template to start, and which pods, by index,
// to stop.
func (r rollout) plan(hash string, pods []podView) (start int, stop []int) {
	var current, old []int
	leaving := 0 // pods of other templates that are on their way out
	for i, p := range pods {
		switch {
		case p.stopping && p.hash != hash:
			leaving++
		case p.stopping:
		case p.hash == hash:
			current = append(current, i)
		default:
			old = append(old, i)
		}
	}
	if surplus := len(current) - r.replicas; surplus > 0 {
		slices.SortStableFunc(current, func(a, b int) int { return compareUsefulness(pods[a], pods[b]) })
		stop = append(stop, current[:surplus]...)
		current = current[surplus:]
	}
	if r.recreate {
		if len(old)+leaving > 0 {
			return 0, append(stop, old...)
		}
		return r.replicas - len(current), stop
	}
	start = max(0, min(r.replicas-len(current), r.replicas+r.surge-len(current)-len(old)))
	available := 0
	for _, i := range append(slices.Clone(current), old...) {
		if pods[i].available {
			available++
		}
	}
	spare := available - (r.replicas - r.unavailable)
	for _, i := range old {
		switch {
		case !pods[i].available: // nobody misses it
			stop = append(stop, i)
		case spare > 0:
			spare--
			stop = append(stop, i)
		}
	}
	return start, stop
}

// compareUsefulness puts the pod first that is missed least.
func compareUsefulness(a, b podView) int {
	worth := func(p podView) int {
		switch {
		case p.ready:
			return 2
		case p.placed:
			return 1
		}
		return 0
	}
	return cmp.Compare(worth(a), worth(b))
}

// daemonRollout is how a DaemonSet replaces its pods.
type daemonRollout struct {
	onDelete    bool // the old pods stay until somebody removes them
	unavailable int  // nodes that may be without an available pod meanwhile
}

func daemonRolloutOf(d *appsv1.DaemonSet, nodes int) daemonRollout {
	r := daemonRollout{onDelete: d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType}
	var unavailable *intstr.IntOrString
	if u := d.Spec.UpdateStrategy.RollingUpdate; u != nil {
		unavailable = u.MaxUnavailable
	}
	r.unavailable = max(1, scaled(unavailable, "1", nodes, true))
	return r
}

// plan says on which of the nodes to start a pod, and which pods, by index, to stop. A
// node's new pod comes when its old one is gone.
func (r daemonRollout) plan(nodes []string, hash string, pods []podView) (start []string, stop []int) {
	occupied := map[string]bool{}
	byNode := map[string][]int{}
	for i, p := range pods {
		switch {
		case !p.stopping && (!slices.Contains(nodes, p.node) || len(byNode[p.node]) > 0):
			stop = append(stop, i)
		case !p.stopping:
			byNode[p.node] = append(byNode[p.node], i)
		}
		occupied[p.node] = true
	}
	down := 0
	for _, node := range nodes {
		if !occupied[node] {
			start = append(start, node)
		}
		if own := byNode[node]; len(own) == 0 || !pods[own[0]].available {
			down++
		}
	}
	if r.onDelete {
		return start, stop
	}
	for _, node := range nodes {
		own := byNode[node]
		if len(own) == 0 || pods[own[0]].hash == hash {
			continue
		}
		switch {
		case !pods[own[0]].available:
			stop = append(stop, own[0])
		case down < r.unavailable:
			down++
			stop = append(stop, own[0])
		}
	}
	return start, stop
}
