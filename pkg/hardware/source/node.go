package source

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// Nodes reads Node objects: the machine's role in its cluster, its capacity, what runs
// on it. It is the one source that every cluster has, and a machine without a Node is
// no part of the cluster.
type Nodes struct{ Reader client.Reader }

// Observe implements Source.
func (n Nodes) Observe(ctx context.Context) (map[string][]hardware.Observation, error) {
	var nodes corev1.NodeList
	if err := n.Reader.List(ctx, &nodes); err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	observations := make(map[string][]hardware.Observation, len(nodes.Items))
	for i := range nodes.Items {
		observations[nodes.Items[i].Name] = []hardware.Observation{observeNode(&nodes.Items[i])}
	}
	return observations, nil
}

// Watches implements Source. A kubelet updates its Node every few minutes to say that
// it lives; only what we read of a Node counts as a change.
func (Nodes) Watches() []Watch {
	return []Watch{{Object: &corev1.Node{}, Filter: predicate.Funcs{UpdateFunc: nodeChanged}}}
}

func nodeChanged(e event.UpdateEvent) bool {
	before, okBefore := e.ObjectOld.(*corev1.Node)
	after, okAfter := e.ObjectNew.(*corev1.Node)
	return !okBefore || !okAfter || !reflect.DeepEqual(observeNode(before), observeNode(after))
}

func observeNode(n *corev1.Node) hardware.Observation {
	info := n.Status.NodeInfo
	m := hardware.Machine{Name: n.Name, Server: hardware.Server{
		MachineID:  info.MachineID,
		SystemUUID: strings.ToLower(info.SystemUUID),
		OS: &hardware.OS{
			Architecture: info.Architecture, ContainerRuntime: info.ContainerRuntimeVersion,
			Kernel: info.KernelVersion, Kubelet: info.KubeletVersion, Name: info.OSImage,
		},
		Node: &hardware.NodeState{
			Addresses:     addresses(n),
			Allocatable:   quantities(n.Status.Allocatable),
			Capacity:      quantities(n.Status.Capacity),
			Labels:        n.Labels,
			Ready:         ready(n),
			Roles:         roles(n),
			Taints:        taints(n),
			Unschedulable: n.Spec.Unschedulable,
		},
	}}
	if *m.Server.OS == (hardware.OS{}) {
		m.Server.OS = nil
	}
	return hardware.Observation{Source: "node", Machine: m}
}

// ready is Unknown for a Node that nobody has reported on.
func ready(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return string(c.Status)
		}
	}
	return string(corev1.ConditionUnknown)
}

const roleLabel = "node-role.kubernetes.io/"

func roles(n *corev1.Node) []string {
	var list []string
	for label := range n.Labels {
		if role, ok := strings.CutPrefix(label, roleLabel); ok && role != "" {
			list = append(list, role)
		}
	}
	slices.Sort(list)
	return list
}

func taints(n *corev1.Node) []string {
	var list []string
	for _, t := range n.Spec.Taints {
		list = append(list, t.ToString())
	}
	slices.Sort(list)
	return list
}

func addresses(n *corev1.Node) []string {
	var list []string
	for _, a := range n.Status.Addresses {
		list = append(list, string(a.Type)+"="+a.Address)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func quantities(resources corev1.ResourceList) map[string]string {
	if len(resources) == 0 {
		return nil
	}
	list := make(map[string]string, len(resources))
	for name, quantity := range resources {
		list[string(name)] = quantity.String()
	}
	return list
}
