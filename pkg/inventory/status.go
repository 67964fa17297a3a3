package inventory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
)

// Status is how the inventory shows what the administrator describes, by name of the
// object. What has not reached the model yet is absent.
type Status struct {
	OCloud    OCloudStatus
	Locations map[string]LocationStatus
	Sites     map[string]SiteStatus
	Pools     map[string]PoolStatus
}

// OCloudStatus counts records of each kind; Resources without their elements.
type OCloudStatus struct {
	ID                 string
	ServiceURI         string
	DeploymentManagers int
	Locations          int
	OCloudSites        int
	ResourcePools      int
	ResourceTypes      int
	Resources          int
}

// Verdict tells whether an object is shown as it is described.
type Verdict struct {
	Generation int64 // of the object that this is about
	Ready      bool
	Reason     string // one of the reasons of condition Ready
	Message    string // for a person
}

// LocationStatus is that of one Location.
type LocationStatus struct {
	Verdict
	GlobalLocationID string
	Sites            int
}

// SiteStatus is that of one OCloudSite.
type SiteStatus struct {
	Verdict
	ID               uuid.UUID
	GlobalLocationID string // of the location at which it is shown
	Pools            int
	Resources        int
}

// PoolStatus is that of one ResourcePool.
type PoolStatus struct {
	Verdict
	Shown     bool // otherwise the rest is empty
	ID        uuid.UUID
	SiteID    uuid.UUID
	Clusters  int
	Resources int

	// Conflict says which nodes another pool has as good a claim to. Empty when none.
	Conflict string
}

// Status looks at all machines, which takes some milliseconds at fleet size.
func (m *Model) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tally()
	s := Status{
		OCloud:    m.oCloudStatus(),
		Locations: make(map[string]LocationStatus, len(m.hierarchy.locationIDs)),
		Sites:     make(map[string]SiteStatus, len(m.hierarchy.sites)),
		Pools:     make(map[string]PoolStatus, len(m.hierarchy.poolNames)),
	}
	for name, id := range m.hierarchy.locationIDs {
		l := LocationStatus{Verdict: m.hierarchy.verdict(kindLocation, name), GlobalLocationID: id}
		if shown, found := m.current.Load().Location(id); found && l.Ready {
			l.Sites = len(shown.SiteIDs)
		}
		s.Locations[name] = l
	}
	for name, rule := range m.hierarchy.sites {
		id := SiteID(m.next.oCloud.ID, name)
		site := SiteStatus{
			Verdict: m.hierarchy.verdict(kindSite, name), ID: id, GlobalLocationID: rule.location, Resources: t.sites[name],
		}
		if shown, found := m.current.Load().OCloudSite(id); found {
			site.Pools = len(shown.PoolIDs)
		}
		s.Sites[name] = site
	}
	for _, name := range m.hierarchy.poolNames {
		p := PoolStatus{Verdict: m.hierarchy.verdict(kindPool, name)}
		if rule, shown := m.hierarchy.pools[name]; shown {
			p.Shown = true
			p.ID, p.SiteID = PoolID(m.next.oCloud.ID, rule.site, name), SiteID(m.next.oCloud.ID, rule.site)
			p.Clusters, p.Resources = len(t.clusters[p.ID]), t.pools[p.ID]
			p.Conflict = t.overlaps[name].String()
		}
		s.Pools[name] = p
	}
	return s
}

func (m *Model) oCloudStatus() OCloudStatus {
	snapshot := m.current.Load()
	return OCloudStatus{
		ID:                 snapshot.oCloud.ID,
		ServiceURI:         snapshot.oCloud.ServiceURI,
		DeploymentManagers: snapshot.managers.Len(),
		Locations:          len(snapshot.places.look().locations),
		OCloudSites:        len(snapshot.places.look().sites),
		ResourcePools:      snapshot.pools.Len(),
		ResourceTypes:      snapshot.types.Len(),
		Resources:          snapshot.servers.Len(),
	}
}

func (r *hierarchy) verdict(kind, name string) Verdict {
	key := objectKey{kind, name}
	if f, flawed := r.faults[key]; flawed {
		return Verdict{Generation: r.generations[key], Reason: f.reason, Message: f.message}
	}
	return Verdict{Generation: r.generations[key], Ready: true, Reason: apiv1alpha1.ReasonReady, Message: "the API shows it as described"}
}

// tally counts servers.
type tally struct {
	sites    map[string]int                    // by name of the site
	pools    map[uuid.UUID]int                 // by resourcePoolId
	clusters map[uuid.UUID]map[string]struct{} // names, by resourcePoolId
	overlaps map[string]*overlap               // by name of the pool
}

func (m *Model) tally() tally {
	t := tally{
		sites: make(map[string]int), pools: make(map[uuid.UUID]int),
		clusters: make(map[uuid.UUID]map[string]struct{}), overlaps: make(map[string]*overlap),
	}
	for _, c := range m.clusters {
		for _, cl := range c.claims {
			id := cl.server.PoolID
			t.pools[id]++
			t.sites[m.pools[id].Site]++
			if t.clusters[id] == nil {
				t.clusters[id] = make(map[string]struct{})
			}
			t.clusters[id][c.name] = struct{}{}
			for _, rival := range cl.rivals {
				t.overlap(cl.pool.name).add(cl, rival.name, true)
				t.overlap(rival.name).add(cl, cl.pool.name, false)
			}
		}
	}
	return t
}

func (t *tally) overlap(pool string) *overlap {
	o, known := t.overlaps[pool]
	if !known {
		o = &overlap{others: make(map[string]*contest)}
		t.overlaps[pool] = o
	}
	return o
}

// overlap is what a pool has in common with others of its priority.
type overlap struct{ others map[string]*contest }

// contest is about the nodes that two pools select.
type contest struct {
	kept  bool // here, not there
	nodes []string
}

func (o *overlap) add(c *claim, other string, kept bool) {
	known := o.others[other]
	if known == nil {
		known = &contest{kept: kept}
		o.others[other] = known
	}
	known.nodes = append(known.nodes, c.cluster.name+"/"+c.node.Name)
}

// What the text of a conflict names at most.
const (
	maxPoolsNamed = 5
	maxNodesNamed = 5
)

// String is the same for the same conflict, so that a status is not written again for nothing.
func (o *overlap) String() string {
	if o == nil {
		return ""
	}
	names := make([]string, 0, len(o.others))
	for name := range o.others {
		names = append(names, name)
	}
	slices.Sort(names)
	var texts []string
	for i, name := range names {
		if i == maxPoolsNamed {
			texts = append(texts, fmt.Sprintf("and the same with %d more pools", len(names)-i))
			break
		}
		texts = append(texts, o.others[name].text(name))
	}
	return strings.Join(texts, "; ")
}

func (c *contest) text(other string) string {
	slices.Sort(c.nodes)
	nodes := c.nodes
	more := ""
	if len(nodes) > maxNodesNamed {
		more = fmt.Sprintf(" and %d more", len(nodes)-maxNodesNamed)
		nodes = nodes[:maxNodesNamed]
	}
	keeper := "this pool"
	if !c.kept {
		keeper = "that pool"
	}
	return fmt.Sprintf("ResourcePool %s of the same priority selects %s%s, too; %s comes first by age and name and keeps them", other, strings.Join(nodes, ", "), more, keeper)
}
