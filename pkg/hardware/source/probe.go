package source

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// What marks the ConfigMap in which a node's probe leaves its observations.
const (
	SourceLabel     = "o2ims.open-cluster-management.io/source" // value "probe"
	NodeAnnotation  = "o2ims.open-cluster-management.io/node"   // name of the Node
	ObservationsKey = "observations.json"                       // JSON array of hardware.Observation
)

// Probes reads what the node probes found: one ConfigMap per node.
type Probes struct {
	Reader    client.Reader
	Namespace string
}

// Observe implements Source. A ConfigMap that cannot be read is an observation with an
// error: it costs its node the probe's part, nothing else.
func (p Probes) Observe(ctx context.Context) (map[string][]hardware.Observation, error) {
	var list corev1.ConfigMapList
	if err := p.Reader.List(ctx, &list, client.InNamespace(p.Namespace), client.MatchingLabels{SourceLabel: "probe"}); err != nil {
		return nil, fmt.Errorf("node probe ConfigMaps: %w", err)
	}
	observations := make(map[string][]hardware.Observation, len(list.Items))
	for i := range list.Items {
		node := list.Items[i].Annotations[NodeAnnotation]
		found, err := ParseObservations([]byte(list.Items[i].Data[ObservationsKey]))
		if err != nil {
			found = []hardware.Observation{{Source: "probe", Err: "ConfigMap " + list.Items[i].Name + ": " + err.Error()}}
		}
		observations[node] = append(observations[node], found...)
	}
	return observations, nil
}

// Watches implements Source.
func (p Probes) Watches() []Watch {
	return []Watch{{Object: &corev1.ConfigMap{}, Filter: predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetNamespace() == p.Namespace && o.GetLabels()[SourceLabel] == "probe"
	})}}
}

// ParseObservations reads what a probe wrote. A probe may be newer than the agent:
// attributes that the agent does not know are passed over, sources it does not know
// are not.
func ParseObservations(data []byte) ([]hardware.Observation, error) {
	var observations []hardware.Observation
	if err := json.Unmarshal(data, &observations); err != nil {
		return nil, fmt.Errorf("%s: %w", ObservationsKey, err)
	}
	for _, o := range observations {
		if hardware.SourceLetters[o.Source] == "" {
			return nil, fmt.Errorf("%s: source %q is not known", ObservationsKey, o.Source)
		}
	}
	return observations, nil
}
