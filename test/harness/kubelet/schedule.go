package kubelet

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// refusedBy says why a node does not admit a pod, in the scheduler's words; "" when it
// does. Resources are not counted.
func refusedBy(node *corev1.Node, spec *corev1.PodSpec) string {
	if spec.NodeName != "" && spec.NodeName != node.Name {
		return "node(s) didn't match the requested node name"
	}
	if !labels.SelectorFromSet(spec.NodeSelector).Matches(labels.Set(node.Labels)) || !affinityMatches(node, spec.Affinity) {
		return "node(s) didn't match Pod's node affinity/selector"
	}
	taints := node.Spec.Taints
	if node.Spec.Unschedulable {
		taints = append(slices.Clone(taints), corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	for _, taint := range taints {
		if taint.Effect != corev1.TaintEffectPreferNoSchedule && !tolerated(taint, spec.Tolerations) {
			return fmt.Sprintf("node(s) had untolerated taint {%s: %s}", taint.Key, taint.Value)
		}
	}
	return ""
}

func tolerated(taint corev1.Taint, tolerations []corev1.Toleration) bool {
	return slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool {
		if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
			return false
		}
		if t.Operator == corev1.TolerationOpExists {
			return true
		}
		return t.Key != "" && t.Value == taint.Value
	})
}

// affinityMatches looks at the required node affinity: terms are alternatives, the
// expressions of one term all hold.
func affinityMatches(node *corev1.Node, affinity *corev1.Affinity) bool {
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	terms := affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	return slices.ContainsFunc(terms, func(term corev1.NodeSelectorTerm) bool {
		if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
			return false // an empty term matches nothing
		}
		return expressionsMatch(term.MatchExpressions, node.Labels) &&
			expressionsMatch(term.MatchFields, map[string]string{metav1.ObjectNameField: node.Name})
	})
}

func expressionsMatch(expressions []corev1.NodeSelectorRequirement, values map[string]string) bool {
	operators := map[corev1.NodeSelectorOperator]selection.Operator{
		corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
		corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
		corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
	}
	for _, e := range expressions {
		requirement, err := labels.NewRequirement(e.Key, operators[e.Operator], e.Values)
		if err != nil || !requirement.Matches(labels.Set(values)) {
			return false
		}
	}
	return true
}

// daemonTolerations are those that the DaemonSet controller adds to each of its pods.
func daemonTolerations(hostNetwork bool) []corev1.Toleration {
	tolerate := func(key string, effect corev1.TaintEffect) corev1.Toleration {
		return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: effect}
	}
	all := []corev1.Toleration{
		tolerate(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute),
		tolerate(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute),
		tolerate(corev1.TaintNodeDiskPressure, corev1.TaintEffectNoSchedule),
		tolerate(corev1.TaintNodeMemoryPressure, corev1.TaintEffectNoSchedule),
		tolerate(corev1.TaintNodePIDPressure, corev1.TaintEffectNoSchedule),
		tolerate(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule),
	}
	if hostNetwork {
		all = append(all, tolerate(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule))
	}
	return all
}

// choose picks the node with the fewest pods among those that admit the pod. The second
// value says why there is none.
func choose(nodes []*corev1.Node, spec *corev1.PodSpec, podsOn map[string]int) (*corev1.Node, string) {
	var best *corev1.Node
	reasons := map[string]int{}
	for _, n := range nodes {
		if why := refusedBy(n, spec); why != "" {
			reasons[why]++
			continue
		}
		if best == nil || podsOn[n.Name] < podsOn[best.Name] {
			best = n
		}
	}
	if best != nil {
		return best, ""
	}
	var texts []string
	for why, count := range reasons {
		texts = append(texts, fmt.Sprintf("%d %s", count, why))
	}
	slices.Sort(texts)
	return nil, fmt.Sprintf("0/%d nodes are available: %s", len(nodes), strings.Join(texts, ", "))
}
