package inventory

import (
	"bytes"
	"iter"
	"net/url"
	"slices"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/rest"
)

// The objectTypes that consumers are told of. An element is part of its server, and an
// alarm dictionary of its type.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, inventory change notification.
const (
	objectCloud    = "CloudInfo"
	objectType     = "ResourceTypeInfo"
	objectLocation = "LocationInfo"
	objectSite     = "OCloudSiteInfo"
	objectPool     = "ResourcePoolInfo"
	objectManager  = "DeploymentManagerInfo"
	objectResource = "ResourceInfo"
)

// Change is what became of one object.
type Change struct {
	ObjectType string
	ID         string // unique among those of its type

	// Views renders the object as each version of the API shows it, by the version's name.
	// It may be called at any time. nil: the object is gone.
	Views func() map[string]View
}

// View is an object as one version of the API shows it.
type View struct {
	Path  string // such as /o2ims-infrastructureInventory/v2/resourcePools/0b6d…
	State []byte // JSON; without credentials
}

// RootObject names the object that stands for all others.
func (a *API) RootObject() (objectType, id string) {
	return objectCloud, a.model.Snapshot().OCloud().ID
}

// VersionNames are the names of the versions that are served, ascending.
func (a *API) VersionNames() []string {
	names := make([]string, len(a.versions))
	for i, v := range a.versions {
		names[i] = v.Name
	}
	return names
}

// ObjectTypes are those that a version shows: for each a function that tells whether its
// objects have an attribute at a path.
func (a *API) ObjectTypes(version string) map[string]func(path []string) error {
	types := make(map[string]func([]string) error)
	for _, v := range a.versions {
		if v.Name != version {
			continue
		}
		types[objectCloud] = v.oCloud.Schema.Check
		types[objectType] = v.types.Schema.Check
		types[objectPool] = v.pools.Schema.Check
		types[objectManager] = v.managers.Schema.Check
		types[objectResource] = v.servers.Schema.Check
		if v.locations != nil {
			types[objectLocation] = v.locations.Schema.Check
		}
		if v.sites != nil {
			types[objectSite] = v.sites.Schema.Check
		}
	}
	return types
}

// Watch calls told with what each further version of the model changed, in order. It is
// called while the model is locked, so it must be quick and must not call the model. There
// is one watcher.
func (a *API) Watch(told func(version uint64, changes []Change)) {
	a.model.mu.Lock()
	defer a.model.mu.Unlock()
	a.model.touched = newTouched()
	a.model.watcher = func(version uint64, before, after *Snapshot, t *touched) {
		if changes := a.changes(before, after, t); len(changes) > 0 {
			told(version, changes)
		}
	}
}

// Everything returns all objects as they are in a version of the model, those that others
// refer to first.
func (a *API) Everything() (version uint64, objects iter.Seq[Change]) {
	a.model.mu.Lock()
	version, s := a.model.version, a.model.Snapshot()
	a.model.mu.Unlock()
	return version, func(yield func(Change) bool) {
		t := newTouched()
		t.all(s)
		for _, c := range a.changes(newSnapshot(OCloud{}), s, t) {
			if !yield(c) {
				return
			}
		}
	}
}

// touched are the records that the writers replaced or removed since readers saw the model
// last. It is nil, and keeps nothing, while nobody watches.
type touched struct {
	types    map[uuid.UUID]struct{}
	pools    map[uuid.UUID]struct{}
	managers map[uuid.UUID]struct{}
	servers  map[uuid.UUID][]uuid.UUID // pools that the server was or is in
}

func newTouched() *touched {
	return &touched{
		types: make(map[uuid.UUID]struct{}), pools: make(map[uuid.UUID]struct{}),
		managers: make(map[uuid.UUID]struct{}), servers: make(map[uuid.UUID][]uuid.UUID),
	}
}

func (t *touched) resourceType(r *ResourceType) {
	if t != nil {
		t.types[r.ID] = struct{}{}
	}
}

func (t *touched) pool(p *ResourcePool) {
	if t != nil {
		t.pools[p.ID] = struct{}{}
	}
}

func (t *touched) manager(m *DeploymentManager) {
	if t != nil {
		t.managers[m.ID] = struct{}{}
	}
}

func (t *touched) server(s *Server) {
	if t != nil && !slices.Contains(t.servers[s.ID], s.PoolID) {
		t.servers[s.ID] = append(t.servers[s.ID], s.PoolID)
	}
}

// all touches every record of a snapshot.
func (t *touched) all(s *Snapshot) {
	if t == nil {
		return
	}
	s.types.Ascend(func(r *ResourceType) bool { t.resourceType(r); return true })
	s.pools.Ascend(func(p *ResourcePool) bool { t.pool(p); return true })
	s.managers.Ascend(func(m *DeploymentManager) bool { t.manager(m); return true })
	s.servers.Ascend(func(srv *Server) bool { t.server(srv); return true })
}

// changes compares two snapshots that differ in nothing but what was touched. What is new
// or different comes first, in the order in which objects refer to each other; what is
// gone follows in the opposite order.
func (a *API) changes(before, after *Snapshot, t *touched) []Change {
	c := comparison{api: a}
	if before.oCloud != after.oCloud {
		c.put(objectCloud, after.oCloud.ID, func(v *version) View { return View{v.base(), v.oCloud.Encoded(after.oCloud).Whole} })
		if before.oCloud.ID != "" && before.oCloud.ID != after.oCloud.ID {
			c.drop(objectCloud, before.oCloud.ID)
		}
	}
	for _, id := range ordered(t.types) {
		was, had := before.ResourceType(id)
		is, has := after.ResourceType(id)
		c.compare(objectType, id.String(), had, has, was == is, func(v *version) View {
			return View{v.base() + "/resourceTypes/" + id.String(), v.types.Encoded(is).Whole}
		})
	}
	c.places(before, after)
	for _, id := range ordered(t.pools) {
		was, had := before.ResourcePool(id)
		is, has := after.ResourcePool(id)
		c.compare(objectPool, id.String(), had, has, was == is, func(v *version) View {
			return View{v.base() + "/resourcePools/" + id.String(), v.pools.Encoded(is).Whole}
		})
	}
	for _, id := range ordered(t.managers) {
		was, had := before.DeploymentManager(id)
		is, has := after.DeploymentManager(id)
		c.compare(objectManager, id.String(), had, has, was == is, func(v *version) View {
			return View{v.base() + "/deploymentManagers/" + id.String(), v.managers.Encoded(managerRow{is, false}).Whole}
		})
	}
	for _, id := range ordered(t.servers) {
		was, had := before.serverIn(t.servers[id], id)
		is, has := after.serverIn(t.servers[id], id)
		c.compare(objectResource, id.String(), had, has, was == is, func(v *version) View {
			return View{v.base() + "/resourcePools/" + is.PoolID.String() + "/resources/" + id.String(), v.servers.Deep(is)}
		})
	}
	slices.Reverse(c.gone)
	return append(c.there, c.gone...)
}

func ordered[V any](ids map[uuid.UUID]V) []uuid.UUID {
	list := make([]uuid.UUID, 0, len(ids))
	for id := range ids {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return list
}

// serverIn returns the server with this id in the one of the pools that it is in.
func (s *Snapshot) serverIn(pools []uuid.UUID, id uuid.UUID) (*Server, bool) {
	for _, pool := range pools {
		if srv, found := s.servers.Get(&Server{PoolID: pool, ID: id}); found {
			return srv, true
		}
	}
	return nil, false
}

// comparison gathers what differs.
type comparison struct {
	api         *API
	there, gone []Change
}

func (c *comparison) compare(objectType, id string, had, has, same bool, view func(*version) View) {
	switch {
	case has && !same:
		c.put(objectType, id, view)
	case had && !has:
		c.drop(objectType, id)
	}
}

func (c *comparison) put(objectType, id string, view func(*version) View) {
	c.there = append(c.there, Change{objectType, id, func() map[string]View {
		views := make(map[string]View, len(c.api.versions))
		for _, v := range c.api.versions {
			if shown := view(v); shown.State != nil {
				views[v.Name] = shown
			}
		}
		return views
	}})
}

func (c *comparison) drop(objectType, id string) {
	c.gone = append(c.gone, Change{ObjectType: objectType, ID: id})
}

// places compares locations and sites. They are made of the pools and the hierarchy, so
// whoever was made anew may be what it was.
func (c *comparison) places(before, after *Snapshot) {
	if before.places == after.places || !slices.ContainsFunc(c.api.versions, func(v *version) bool { return v.sites != nil }) {
		return
	}
	was, is := &places{}, after.places.look()
	if before.places != nil {
		was = before.places.look()
	}
	comparePlaces(c, objectLocation, was.locations, is.locations, (*Location).id, func(l *Location) rest.Encoded { return l.v2 },
		func(v *version, l *Location) View {
			if v.locations == nil {
				return View{}
			}
			return View{v.base() + "/locations/" + url.PathEscape(l.GlobalLocationID), l.v2.Whole}
		})
	comparePlaces(c, objectSite, was.sites, is.sites, (*OCloudSite).id, func(s *OCloudSite) rest.Encoded { return s.v2 },
		func(v *version, s *OCloudSite) View {
			if v.sites == nil {
				return View{}
			}
			return View{v.base() + "/oCloudSites/" + s.ID.String(), s.v2.Whole}
		})
}

// comparePlaces goes through two lists in the order of their ids.
func comparePlaces[T any](c *comparison, objectType string, was, is []T, id func(T) string, encoded func(T) rest.Encoded, view func(*version, T) View) {
	known := make(map[string]rest.Digest, len(was))
	for _, place := range was {
		known[id(place)] = encoded(place).Digest
	}
	for _, place := range is {
		digest, had := known[id(place)]
		delete(known, id(place))
		c.compare(objectType, id(place), had, true, had && digest == encoded(place).Digest, func(v *version) View { return view(v, place) })
	}
	for _, place := range was {
		if _, gone := known[id(place)]; gone {
			c.drop(objectType, id(place))
		}
	}
}
