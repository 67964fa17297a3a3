package inventory

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/btree"
	"github.com/google/uuid"
)

// places are the sites and locations of a Snapshot: those that the administrator describes
// and those that pools are at. They are made of the pools when somebody asks for the first
// time. Most snapshots share theirs with the one before; making them with each new pool
// would copy, at fleet size, thousands of identifiers thousands of times.
type places struct {
	oCloudID  string
	hierarchy *hierarchy
	pools     *btree.BTreeG[*ResourcePool]

	once      sync.Once
	sites     []*OCloudSite // ascending by id
	locations []*Location   // ascending by globalLocationId
}

func (p *places) look() *places {
	p.once.Do(p.make)
	return p
}

func (p *places) make() {
	sites := make(map[string]*OCloudSite)
	for _, name := range p.hierarchy.siteNames() {
		sites[name] = p.site(name)
	}
	p.pools.Ascend(func(pool *ResourcePool) bool {
		s, known := sites[pool.Site]
		if !known {
			s = p.site(pool.Site)
			sites[pool.Site] = s
		}
		s.PoolIDs = append(s.PoolIDs, pool.ID)
		return true
	})
	p.sites = slices.SortedFunc(maps.Values(sites), func(a, b *OCloudSite) int { return bytes.Compare(a.ID[:], b.ID[:]) })

	locations := make(map[string]*Location)
	for id := range p.hierarchy.locations {
		locations[id] = p.location(id)
	}
	for _, s := range p.sites {
		l, known := locations[s.GlobalLocationID]
		if !known {
			l = p.location(s.GlobalLocationID)
			locations[s.GlobalLocationID] = l
		}
		l.SiteIDs = append(l.SiteIDs, s.ID)
		s.render()
	}
	p.locations = slices.SortedFunc(maps.Values(locations), func(a, b *Location) int {
		return strings.Compare(a.GlobalLocationID, b.GlobalLocationID)
	})
	for _, l := range p.locations {
		l.render()
	}
}

func (p *places) site(name string) *OCloudSite {
	made := &OCloudSite{
		ID: SiteID(p.oCloudID, name), Name: name, Description: "Managed clusters of set " + name,
		GlobalLocationID: p.hierarchy.siteLocation(name), PoolIDs: []uuid.UUID{},
	}
	if s, described := p.hierarchy.sites[name]; described {
		made.Description, made.Extensions = cmp.Or(s.description, "O-Cloud site "+name), s.extensions
	}
	return made
}

func (p *places) location(id string) *Location {
	l := p.hierarchy.location(id)
	l.SiteIDs = []uuid.UUID{}
	return &l
}
