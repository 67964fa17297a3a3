// Package fleet makes up managed clusters by the thousand and writes them onto a real hub
// as their klusterlets and agents would.
//
// It is for questions of scale, which need neither apiservers nor processes on the spokes:
// what a hub has of a managed cluster is a ManagedCluster, a namespace and a
// ManagedClusterAddOn whose status carries the report. All of that is real here, and so
// is everybody who reacts to it. Only the hardware is made up, and says so (synthetic).
//
// A fleet is a function of its seed: the same one can be written again, and what an
// interrupted run has left out is added.
package fleet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

// Fleet describes managed clusters that are alike in size and nothing else.
type Fleet struct {
	Clusters int    // how many managed clusters
	Nodes    int    // of each
	Seed     uint64 // equal seeds make equal fleets
	Prefix   string // of the clusters' names
}

// Bounds of a fleet: what one hub is built for, twice over.
const (
	maxClusters = 10_000
	maxServers  = 200_000
)

var namePrefix = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Validate reports everything that is wrong with f.
func (f Fleet) Validate() error {
	var faults []error
	if f.Clusters < 1 || f.Clusters > maxClusters {
		faults = append(faults, fmt.Errorf("%d managed clusters, want 1 to %d: %w", f.Clusters, maxClusters, fault.Invalid))
	}
	if f.Nodes < 1 || f.Nodes > report.MaxNodes || f.Clusters*f.Nodes > maxServers {
		faults = append(faults, fmt.Errorf("%d nodes each, want 1 to %d, and at most %d in all: %w", f.Nodes, report.MaxNodes, maxServers, fault.Invalid))
	}
	if !namePrefix.MatchString(f.Prefix) {
		faults = append(faults, fmt.Errorf("prefix %q is no name of a namespace of at most 32 characters: %w", f.Prefix, fault.Invalid))
	}
	return errors.Join(faults...)
}

// Name is the name of managed cluster i, counted from 0.
func (f Fleet) Name(i int) string { return fmt.Sprintf("%s-%05d", f.Prefix, i+1) }

// Inventory is what the agent of managed cluster i finds.
func (f Fleet) Inventory(i int) report.Inventory {
	rng := rand.New(rand.NewPCG(f.Seed, uint64(i)))
	inv := report.Inventory{Cluster: f.Name(i), V: report.Version}
	for n := range f.Nodes {
		inv.Nodes = append(inv.Nodes, machine(rng, f.Name(i), n))
	}
	return inv
}
