package inventory

import (
	"bytes"

	"github.com/google/btree"
	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// DeploymentManager is one managed cluster as a place to deploy to.
type DeploymentManager struct {
	ID    uuid.UUID
	Facts ClusterFacts
	Nodes NodeSummary

	// Reporting is how well the reports of the cluster reach us.
	Reporting Reporting

	v1 []byte // as a reader sees it
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

	v1 []byte
}

// ResourceType is one make of thing: all resources of one kind, class, vendor and model.
type ResourceType struct {
	ID     uuid.UUID
	Kind   string // PHYSICAL or LOGICAL
	Class  hardware.Class
	Vendor string
	Model  string

	v1 []byte
}

// serverClass is the class of servers in resource types, beside the classes of elements.
const serverClass hardware.Class = "server"

// Server is the resource that stands for one node of a managed cluster.
type Server struct {
	ID          uuid.UUID
	PoolID      uuid.UUID
	Type        *ResourceType
	Cluster     string // name of the ManagedCluster
	Machine     *hardware.Machine
	DuplicateOf uuid.UUID // the resourceId that another cluster keeps; zero: this is no duplicate

	elements []element // in the order of Machine.Elements
	v1       []byte    // without elements
}

// element is what identifies one of a server's elements.
type element struct {
	id  uuid.UUID
	typ *ResourceType
}

// Snapshot is the whole inventory at one moment. It never changes. Lists are in ascending
// order of id.
type Snapshot struct {
	managers *btree.BTreeG[*DeploymentManager]
	pools    *btree.BTreeG[*ResourcePool]
	types    *btree.BTreeG[*ResourceType]
	servers  *btree.BTreeG[*Server]
}

const treeDegree = 32

func newSnapshot() *Snapshot {
	return &Snapshot{
		managers: btree.NewG(treeDegree, func(a, b *DeploymentManager) bool { return before(a.ID, b.ID) }),
		pools:    btree.NewG(treeDegree, func(a, b *ResourcePool) bool { return before(a.ID, b.ID) }),
		types:    btree.NewG(treeDegree, func(a, b *ResourceType) bool { return before(a.ID, b.ID) }),
		servers: btree.NewG(treeDegree, func(a, b *Server) bool {
			return before(a.PoolID, b.PoolID) || a.PoolID == b.PoolID && before(a.ID, b.ID)
		}),
	}
}

// clone shares everything with s until either changes.
func (s *Snapshot) clone() *Snapshot {
	return &Snapshot{s.managers.Clone(), s.pools.Clone(), s.types.Clone(), s.servers.Clone()}
}

func before(a, b uuid.UUID) bool { return bytes.Compare(a[:], b[:]) < 0 }

// DeploymentManagers yields all of them.
func (s *Snapshot) DeploymentManagers(yield func(*DeploymentManager) bool) { s.managers.Ascend(yield) }

// ResourcePools yields all of them.
func (s *Snapshot) ResourcePools(yield func(*ResourcePool) bool) { s.pools.Ascend(yield) }

// ResourceTypes yields all of them.
func (s *Snapshot) ResourceTypes(yield func(*ResourceType) bool) { s.types.Ascend(yield) }

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
