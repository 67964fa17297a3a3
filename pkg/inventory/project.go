package inventory

import (
	"cmp"
	"maps"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// typeKey is what makes a resource type, normalised as its identifier is.
type typeKey struct {
	kind   string
	class  hardware.Class
	vendor string
	model  string
}

// countedType goes when the last resource of its type does.
type countedType struct {
	*ResourceType
	use int
}

// countedPool goes when its last server and the last cluster it stands for do.
type countedPool struct {
	*ResourcePool
	use int
}

// maxTypesPerCluster bounds how many resource types one cluster may bring into being. No
// cluster has so many makes of things; a report that pretends to would fill the list of
// types that all clusters share. What is beyond is shown by its class alone.
const maxTypesPerCluster = 1024

// otherClass stands in types beyond the bound for classes that we do not know.
const otherClass hardware.Class = "other"

// kindOf is the resourceKind of a machine and its parts.
func kindOf(m *Machine) string {
	if m.Server.Virtual != "" {
		return "LOGICAL"
	}
	return "PHYSICAL"
}

func serverTypeKey(m *Machine) typeKey {
	return typeKey{kindOf(m), serverClass, oneLine(m.Server.Vendor), oneLine(m.Server.Model)}
}

func elementTypeKey(kind string, e *hardware.Element) typeKey {
	return typeKey{kind, e.Class, oneLine(e.Vendor), oneLine(e.Model)}
}

// allowedTypes returns the types that a cluster with these nodes may use, or nil when it
// may use all that it names.
func allowedTypes(nodes []Machine) map[typeKey]struct{} {
	allowed := make(map[typeKey]struct{})
	add := func(key typeKey) bool {
		if _, known := allowed[key]; !known && len(allowed) == maxTypesPerCluster {
			return false
		}
		allowed[key] = struct{}{}
		return true
	}
	for i := range nodes {
		n := &nodes[i]
		if !add(serverTypeKey(n)) {
			return allowed
		}
		kind := kindOf(n)
		for j := range n.parts {
			if !add(elementTypeKey(kind, n.parts[j].shape)) {
				return allowed
			}
		}
	}
	return nil
}

// typeOf takes hold of a type that the cluster may use.
func (m *Model) typeOf(c *cluster, key typeKey) *ResourceType {
	if _, allowed := c.types[key]; c.types != nil && !allowed {
		key.vendor, key.model = "", ""
		if resourceClass(key.class) == undefinedClass {
			key.class = otherClass
		}
	}
	return m.holdType(key)
}

// serverOf makes the record of a machine and takes hold of its types and its pool.
func (m *Model) serverOf(c *claim) *Server {
	machine, facts := c.node, *c.cluster.facts
	site, pool := c.place()
	s := &Server{
		ID:          c.id,
		PoolID:      m.holdPool(site, pool).ID,
		Type:        m.typeOf(c.cluster, serverTypeKey(machine)),
		Cluster:     c.cluster.name,
		Machine:     machine,
		DuplicateOf: c.duplicateOf,
		elements:    make([]element, machine.Len()),
	}
	kind := kindOf(machine)
	for i := range machine.parts {
		p := &machine.parts[i]
		s.elements[i] = element{id: hardware.ElementID(s.ID, p.shape.Class, p.slot), typ: m.typeOf(c.cluster, elementTypeKey(kind, p.shape))}
	}
	s.render(facts, c.cluster.reporting, c.cluster.head.SHA256)
	return s
}

// release lets go of what serverOf took hold of.
func (m *Model) release(s *Server) {
	m.releaseType(s.Type)
	for _, e := range s.elements {
		m.releaseType(e.typ)
	}
	m.releasePool(m.pools[s.PoolID])
}

func (m *Model) holdType(key typeKey) *ResourceType {
	t, known := m.types[key]
	if !known {
		t = &countedType{ResourceType: &ResourceType{
			ID:   hardware.ResourceTypeID(m.next.oCloud.ID, key.kind, string(key.class), key.vendor, key.model),
			Kind: key.kind, Class: key.class, Vendor: key.vendor, Model: key.model,
		}}
		m.types[key] = t
		m.showType(t)
		m.touched.resourceType(t.ResourceType)
	}
	t.use++
	return t.ResourceType
}

func (m *Model) releaseType(t *ResourceType) {
	key := typeKey{t.Kind, t.Class, t.Vendor, t.Model}
	counted := m.types[key]
	if counted.use--; counted.use == 0 {
		delete(m.types, key)
		m.next.types.Delete(t)
		m.next.dictionaries.Delete(t.Dictionary)
		m.touched.resourceType(t)
	}
}

// holdPool takes hold of the pool with this name at a site.
func (m *Model) holdPool(site, name string) *countedPool {
	id := PoolID(m.next.oCloud.ID, site, name)
	p, known := m.pools[id]
	if !known {
		p = &countedPool{ResourcePool: &ResourcePool{ID: id, SiteID: SiteID(m.next.oCloud.ID, site)}}
		m.pools[id] = p
		m.showPool(p, m.poolSpec(site, name))
		m.moved = true
	}
	p.use++
	return p
}

// showPool makes the record of a pool.
func (m *Model) showPool(p *countedPool, spec PoolSpec) {
	pool := &ResourcePool{PoolSpec: spec, ID: p.ID, SiteID: p.SiteID}
	pool.render(m.next.oCloud.ID)
	p.ResourcePool = pool
	m.next.pools.ReplaceOrInsert(pool)
	m.touched.pool(pool)
}

// poolSpec describes the pool with this name at a site, which is the administrator's, or
// that of the managed cluster with this name, or both.
func (m *Model) poolSpec(site, name string) PoolSpec {
	spec := PoolSpec{Site: site, Name: name, Description: "Nodes of managed cluster " + name}
	if p, described := m.hierarchy.pools[name]; described && p.site == site {
		spec.Description, spec.Extensions = cmp.Or(p.description, "Resource pool "+name), p.extensions
	}
	location := m.hierarchy.location(m.hierarchy.siteLocation(site))
	spec.GlobalLocationID, spec.Location = location.GlobalLocationID, cmp.Or(location.Address, location.Name)
	return spec
}

func (m *Model) releasePool(p *countedPool) {
	if p == nil {
		return
	}
	if p.use--; p.use == 0 {
		delete(m.pools, p.ID)
		m.moved = true
		m.next.pools.Delete(p.ResourcePool)
		m.touched.pool(p.ResourcePool)
	}
}

func equalSpecs(a, b PoolSpec) bool {
	return maps.Equal(a.Extensions, b.Extensions) && a.Site == b.Site && a.Name == b.Name && a.Description == b.Description &&
		a.GlobalLocationID == b.GlobalLocationID && a.Location == b.Location
}
