package inventory

import (
	"cmp"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// place is the site and the name of the pool that a machine is in.
func (c *claim) place() (site, pool string) { return c.cluster.place(c.pool) }

// place is the site and the name of a pool; of the cluster's own when that is nil.
func (c *cluster) place(p *poolRule) (site, pool string) {
	if p == nil {
		return cmp.Or(c.facts.ClusterSet, defaultSite), c.name
	}
	return p.site, p.name
}

// emptyPool is the pool of a cluster without machines.
func (m *Model) emptyPool(c *cluster) (site, pool string) {
	rule, _ := choose(c.candidates, nil)
	return c.place(rule)
}

// supportedLocations are those of the pools that a cluster is in.
func (m *Model) supportedLocations(c *cluster) []string {
	locations := make(map[string]struct{}, 1)
	if c.pool != nil {
		locations[c.pool.GlobalLocationID] = struct{}{}
	}
	for _, cl := range c.claims {
		locations[m.pools[cl.server.PoolID].GlobalLocationID] = struct{}{}
	}
	if len(locations) == 0 {
		return []string{}
	}
	return slices.Sorted(maps.Keys(locations))
}

// arrange gives every machine to the pool that it belongs to now. It looks at all of them,
// which takes some milliseconds at fleet size, and makes anew those records that differ.
func (m *Model) arrange() {
	before := m.described
	m.described = make([]*countedPool, 0, len(m.hierarchy.pools))
	for _, p := range m.hierarchy.pools {
		m.described = append(m.described, m.holdPool(p.site, p.name))
	}
	for _, p := range m.pools {
		if spec := m.poolSpec(p.Site, p.Name); !equalSpecs(p.PoolSpec, spec) {
			m.showPool(p, spec)
		}
	}
	for _, c := range m.clusters {
		m.rearrange(c)
	}
	for _, p := range before {
		m.releasePool(p)
	}
	m.moved = true
}

// rearrange does that for the machines of one cluster.
func (m *Model) rearrange(c *cluster) {
	if c.facts == nil {
		return
	}
	c.candidates = m.hierarchy.candidates(c.facts)
	var moving []*claim
	for _, cl := range c.claims {
		cl.pool, cl.rivals = choose(c.candidates, cl.node)
		if site, pool := cl.place(); !m.isAt(cl.server.PoolID, site, pool) {
			moving = append(moving, cl)
		}
	}
	m.replace(nil, moving)
	if c.manager == nil {
		return
	}
	emptyMoves := false
	if c.pool != nil {
		site, pool := m.emptyPool(c)
		emptyMoves = !m.isAt(c.pool.ID, site, pool)
	}
	if emptyMoves || !slices.Equal(c.manager.SupportedLocations, m.supportedLocations(c)) {
		m.projectManager(c)
	}
}

func (m *Model) isAt(id uuid.UUID, site, pool string) bool {
	p := m.pools[id]
	return p.Site == site && p.Name == pool
}

// rebuild makes all records anew, as a new oCloudId takes.
func (m *Model) rebuild() {
	clear(m.types)
	clear(m.pools)
	clear(m.claims)
	clear(m.contested)
	m.described = nil
	m.touched.all(m.next)
	m.next = newSnapshot(*m.next.oCloud)
	m.ownType = m.holdType(ownTypeKey())
	all := slices.Collect(maps.Values(m.clusters))
	for _, c := range all {
		c.manager, c.pool, c.claims = nil, nil, nil
	}
	m.project(all...)
	m.arrange()
}
