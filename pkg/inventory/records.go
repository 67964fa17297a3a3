package inventory

import (
	"bytes"
	"slices"
	"strings"

	"github.com/google/btree"
	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/rest"
)

// OCloud is the O-Cloud itself. It is not one of the records, so it has no JSON of its own.
type OCloud struct {
	ID            string // oCloudId, a UUID; every other identifier is derived from it
	GlobalCloudID string // UUID given by the SMO; empty until it has
	Name          string
	Description   string
	ServiceURI    string            // of all services, without path: https://host[:port]
	Extensions    map[string]string // may be nil
}

// Location is a place that the SMO knows. At least one of Coordinate, CivicAddress and
// Address is there.
//
// Source: 3.2.6.2.16.
type Location struct {
	GlobalLocationID string // the SMO's identifier, any text; not a UUID
	Name             string
	Description      string
	Coordinate       *Coordinate // may be nil
	CivicAddress     []CivicAddressElement
	Address          string            // may be empty
	Extensions       map[string]string // may be nil
	SiteIDs          []uuid.UUID       // of the sites here, ascending, never nil

	rendered
}

// Coordinate is a point in WGS 84; degrees, and metres above the ellipsoid.
type Coordinate struct {
	Longitude float64
	Latitude  float64
	Altitude  *float64 // nil when nobody said
}

// CivicAddressElement is one element of an address, with a type of RFC 4776 that is passed
// on and not interpreted.
type CivicAddressElement struct {
	Type  int
	Value string
}

// OCloudSite is a collection of resource pools at one location.
//
// Source: 3.2.6.2.17.
type OCloudSite struct {
	ID               uuid.UUID
	GlobalLocationID string // of a Location that is in the same Snapshot
	Name             string
	Description      string
	Extensions       map[string]string // may be nil
	PoolIDs          []uuid.UUID       // of its pools, ascending, never nil

	rendered
}

// AlarmDictionary says which alarms the resources of one type can raise. There is one for
// each ResourceType. Dictionaries differ in little but identifiers, so what fills them is
// kept once and each is rendered when somebody asks.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmDictionary.
type AlarmDictionary struct {
	ID            uuid.UUID
	TypeID        uuid.UUID // of its ResourceType
	Version       string
	SchemaVersion string
	EntityType    string // the model, or what else is known of the type; never empty
	Vendor        string // may be empty

	subject Subject
	filled  *Definitions // by what; never nil
	digest  rest.Digest  // of all that a client can see
}

// AlarmDefinition is one alarm that resources of a type can raise.
type AlarmDefinition struct {
	ID               uuid.UUID
	Name             string
	LastChange       string // dictionary version in which it changed last
	ChangeType       string // ADDED, DELETED or MODIFIED
	Description      string
	RepairActions    string
	ClearingType     string            // AUTOMATIC or MANUAL
	AdditionalFields map[string]string // may be nil
}

// ProbableCause is one of the causes that alarms name by probableCauseId.
type ProbableCause struct {
	ID          uuid.UUID
	Code        string
	Description string
	Standard    StandardReference
}

// StandardReference says where a probable cause is defined.
type StandardReference struct {
	Organization  string
	Specification string
	Version       string
}

// DeploymentManager is one managed cluster as a place to deploy to.
type DeploymentManager struct {
	ID    uuid.UUID
	Facts ClusterFacts
	Nodes NodeSummary
	Type  *ResourceType // of the cluster as a whole; never nil

	// SupportedLocations are the globalLocationIds of the pools that the cluster's nodes
	// are in, ascending, never nil.
	SupportedLocations []string

	// Reporting is how well the reports of the cluster reach us.
	Reporting Reporting

	rendered
}

// NodeSummary is what a cluster's nodes have in common, and what some of them can do.
type NodeSummary struct {
	Architectures  []string // GOARCH spelling, ascending
	RealTimeKernel bool
	SRIOV          bool
	PTP            bool
	Accelerators   []string // subtypes, ascending
}

// PoolSpec names a resource pool and its place.
type PoolSpec struct {
	Site             string // name of the O-Cloud site
	Name             string
	Description      string
	GlobalLocationID string // as the SMO knows the site's location; empty when nobody said
	Location         string // the same for a person
	Extensions       map[string]string
}

// ResourcePool is a set of resources at one site.
type ResourcePool struct {
	PoolSpec
	ID     uuid.UUID
	SiteID uuid.UUID

	rendered
}

// ResourceType is one make of thing: all resources of one kind, class, vendor and model.
type ResourceType struct {
	ID     uuid.UUID
	Kind   string // PHYSICAL or LOGICAL
	Class  hardware.Class
	Vendor string
	Model  string

	Dictionary *AlarmDictionary // never nil

	rendered
}

// serverClass is the class of servers in resource types, beside the classes of elements.
const serverClass hardware.Class = "server"

// Server is the resource that stands for one node of a managed cluster.
type Server struct {
	ID          uuid.UUID
	PoolID      uuid.UUID
	Type        *ResourceType
	Cluster     string // name of the ManagedCluster
	Machine     *Machine
	DuplicateOf uuid.UUID // the resourceId that another cluster keeps; zero: this is no duplicate

	elements []element // in the order of the machine's
	renderedServer
}

// element is what identifies one of a server's elements.
type element struct {
	id  uuid.UUID
	typ *ResourceType
}

// Snapshot is the whole inventory at one moment. It never changes. Lists are in ascending
// order of id.
type Snapshot struct {
	oCloud       *OCloud
	managers     *btree.BTreeG[*DeploymentManager]
	pools        *btree.BTreeG[*ResourcePool]
	types        *btree.BTreeG[*ResourceType]
	dictionaries *btree.BTreeG[*AlarmDictionary]
	servers      *btree.BTreeG[*Server]
	places       *places // sites and locations
}

const treeDegree = 32

func newSnapshot(o OCloud) *Snapshot {
	return &Snapshot{
		oCloud:       &o,
		managers:     btree.NewG(treeDegree, func(a, b *DeploymentManager) bool { return before(a.ID, b.ID) }),
		pools:        btree.NewG(treeDegree, func(a, b *ResourcePool) bool { return before(a.ID, b.ID) }),
		types:        btree.NewG(treeDegree, func(a, b *ResourceType) bool { return before(a.ID, b.ID) }),
		dictionaries: btree.NewG(treeDegree, func(a, b *AlarmDictionary) bool { return before(a.ID, b.ID) }),
		servers: btree.NewG(treeDegree, func(a, b *Server) bool {
			return before(a.PoolID, b.PoolID) || a.PoolID == b.PoolID && before(a.ID, b.ID)
		}),
	}
}

// clone shares everything with s until either changes.
func (s *Snapshot) clone() *Snapshot {
	return &Snapshot{
		oCloud: s.oCloud, managers: s.managers.Clone(), pools: s.pools.Clone(), types: s.types.Clone(),
		dictionaries: s.dictionaries.Clone(), servers: s.servers.Clone(), places: s.places,
	}
}

func before(a, b uuid.UUID) bool { return bytes.Compare(a[:], b[:]) < 0 }

// OCloud returns the O-Cloud itself. Nobody may change it.
func (s *Snapshot) OCloud() *OCloud { return s.oCloud }

// DeploymentManagers yields all of them.
func (s *Snapshot) DeploymentManagers(yield func(*DeploymentManager) bool) { s.managers.Ascend(yield) }

// ResourcePools yields all of them.
func (s *Snapshot) ResourcePools(yield func(*ResourcePool) bool) { s.pools.Ascend(yield) }

// ResourceTypes yields all of them.
func (s *Snapshot) ResourceTypes(yield func(*ResourceType) bool) { s.types.Ascend(yield) }

// AlarmDictionaries yields all of them.
func (s *Snapshot) AlarmDictionaries(yield func(*AlarmDictionary) bool) { s.dictionaries.Ascend(yield) }

// OCloudSites yields all of them.
func (s *Snapshot) OCloudSites(yield func(*OCloudSite) bool) {
	each(s.places.look().sites, yield)
}

// Locations yields all of them, in ascending order of globalLocationId.
func (s *Snapshot) Locations(yield func(*Location) bool) {
	each(s.places.look().locations, yield)
}

func each[T any](list []T, yield func(T) bool) {
	for _, v := range list {
		if !yield(v) {
			return
		}
	}
}

// Servers yields the servers of one pool.
func (s *Snapshot) Servers(pool uuid.UUID) func(yield func(*Server) bool) {
	return func(yield func(*Server) bool) {
		s.servers.AscendGreaterOrEqual(&Server{PoolID: pool}, func(srv *Server) bool {
			return srv.PoolID == pool && yield(srv)
		})
	}
}

// DeploymentManager returns the one with this id.
func (s *Snapshot) DeploymentManager(id uuid.UUID) (*DeploymentManager, bool) {
	return s.managers.Get(&DeploymentManager{ID: id})
}

// ResourcePool returns the one with this id.
func (s *Snapshot) ResourcePool(id uuid.UUID) (*ResourcePool, bool) {
	return s.pools.Get(&ResourcePool{ID: id})
}

// ResourceType returns the one with this id.
func (s *Snapshot) ResourceType(id uuid.UUID) (*ResourceType, bool) {
	return s.types.Get(&ResourceType{ID: id})
}

// AlarmDictionary returns the one with this id.
func (s *Snapshot) AlarmDictionary(id uuid.UUID) (*AlarmDictionary, bool) {
	return s.dictionaries.Get(&AlarmDictionary{ID: id})
}

// OCloudSite returns the one with this id.
func (s *Snapshot) OCloudSite(id uuid.UUID) (*OCloudSite, bool) {
	sites := s.places.look().sites
	i, found := slices.BinarySearchFunc(sites, id, func(site *OCloudSite, id uuid.UUID) int { return bytes.Compare(site.ID[:], id[:]) })
	if !found {
		return nil, false
	}
	return sites[i], true
}

// Location returns the one with this globalLocationId.
func (s *Snapshot) Location(id string) (*Location, bool) {
	locations := s.places.look().locations
	i, found := slices.BinarySearchFunc(locations, id, func(l *Location, id string) int { return strings.Compare(l.GlobalLocationID, id) })
	if !found {
		return nil, false
	}
	return locations[i], true
}

// Resource returns the resource with this id in a pool: a server, or the element of a
// server, in which case index is the element's place among the machine's elements and
// otherwise -1.
//
// Elements are looked for in the pool's servers one by one. An index of them would hold
// 370,000 entries at fleet size for a question that is seldom asked; the search takes a
// millisecond in a pool of 10,000 servers.
func (s *Snapshot) Resource(pool, id uuid.UUID) (srv *Server, index int, found bool) {
	if srv, found := s.servers.Get(&Server{PoolID: pool, ID: id}); found {
		return srv, -1, true
	}
	for srv := range s.Servers(pool) {
		for i := range srv.elements {
			if srv.elements[i].id == id {
				return srv, i, true
			}
		}
	}
	return nil, -1, false
}
