package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/hardware/source"
	"github.com/o2ims/o2ims/pkg/report"
)

// assembler makes one inventory of what all sources say.
type assembler struct {
	cluster     string
	sources     []source.Source // the first lists the nodes; the others add to them
	expectProbe bool
	grace       time.Duration
	clock       clock.PassiveClock

	mu        sync.Mutex
	firstSeen map[string]time.Time // node without identity → when we saw it first
}

// assemble returns the machines of the cluster in ascending order of name, without
// keys, and the names of those that should not be named yet; see waitingForClues.
func (a *assembler) assemble(ctx context.Context, known identities) (report.Inventory, []string, error) {
	byNode := map[string][]hardware.Observation{}
	for i, s := range a.sources {
		observed, err := s.Observe(ctx)
		if err != nil {
			return report.Inventory{}, nil, err
		}
		for node, observations := range observed {
			if _, isNode := byNode[node]; i == 0 || isNode {
				byNode[node] = append(byNode[node], observations...)
			}
		}
	}

	inventory := report.Inventory{V: report.Version, Cluster: a.cluster, Nodes: make([]hardware.Machine, 0, len(byNode))}
	var waiting []string
	for node, observations := range byNode {
		m := hardware.Merge(node, observations)
		inventory.Nodes = append(inventory.Nodes, m)
		if _, isKnown := known[node]; !isKnown && a.waitsForClues(m, observations) {
			waiting = append(waiting, node)
		}
	}
	slices.SortFunc(inventory.Nodes, func(x, y hardware.Machine) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	a.forgetOthers(byNode)
	return inventory, waiting, nil
}

// waitsForClues tells whether a new machine should not be named yet: only its place in
// the cluster is known, and the probe that will tell more has not spoken. An identity
// is for life, so a minute is well spent; after the grace any name is better than none.
func (a *assembler) waitsForClues(m hardware.Machine, observations []hardware.Observation) bool {
	probed := slices.ContainsFunc(observations, func(o hardware.Observation) bool { return o.Source == "probe" })
	if !a.expectProbe || probed || hardware.CluesOf(a.cluster, m).Conclusive() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.firstSeen == nil {
		a.firstSeen = map[string]time.Time{}
	}
	first, seen := a.firstSeen[m.Name]
	if !seen {
		first = a.clock.Now()
		a.firstSeen[m.Name] = first
	}
	return a.clock.Since(first) < a.grace
}

func (a *assembler) forgetOthers(present map[string][]hardware.Observation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for node := range a.firstSeen {
		if _, ok := present[node]; !ok {
			delete(a.firstSeen, node)
		}
	}
}
