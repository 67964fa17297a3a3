// Package source reads what is known about machines from where it is kept: Node
// objects, the node probe's ConfigMaps, and in time the resources of other operators.
//
// A source never fails for want of its data: an operator that is not installed is
// normal, and says nothing.
package source

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// Source says what it knows of the machines of a cluster. Implementations are safe for
// concurrent use.
type Source interface {
	// Observe returns the observations of every machine it knows, by name of the Node.
	// It reads from a cache, so it is cheap, and may be asked at any time. The caller
	// owns the map, not what is in it.
	Observe(ctx context.Context) (map[string][]hardware.Observation, error)

	// Watches names the objects whose changes can change what Observe returns.
	Watches() []Watch
}

// Watch is a kind of object to watch, and which of its changes matter.
type Watch struct {
	Object client.Object
	Filter predicate.Predicate
}
