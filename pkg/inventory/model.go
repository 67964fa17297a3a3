package inventory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/report"
)

// Options say which O-Cloud this is.
type Options struct {
	// OCloudID is the oCloudId, a UUID. All other identifiers are derived from it, so it
	// must never change.
	OCloudID string

	GlobalCloudID string // UUID given by the SMO; empty until it has
	Name          string
	Description   string
	ServiceURI    string            // of all services, without path: https://host[:port]
	Extensions    map[string]string // of the O-Cloud
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var faults []error
	if id, err := uuid.Parse(o.OCloudID); err != nil || id == uuid.Nil {
		faults = append(faults, fmt.Errorf("oCloudId %q is not a UUID: %w", o.OCloudID, fault.Invalid))
	}
	if _, err := uuid.Parse(o.GlobalCloudID); err != nil && o.GlobalCloudID != "" {
		faults = append(faults, fmt.Errorf("globalCloudId %q is not a UUID: %w", o.GlobalCloudID, fault.Invalid))
	}
	return errors.Join(faults...)
}

// oCloud returns the same as a record.
func (o *Options) oCloud() OCloud {
	return OCloud{
		ID: o.OCloudID, GlobalCloudID: o.GlobalCloudID, Name: o.Name, Description: o.Description,
		ServiceURI: o.ServiceURI, Extensions: o.Extensions,
	}
}

// Model is the inventory. Its methods are safe for concurrent use.
type Model struct {
	options Options                  // as they were at the start; see Snapshot.OCloud
	current atomic.Pointer[Snapshot] // what readers see

	mu          sync.Mutex // guards all that follows: the writers' side
	next        *Snapshot
	clusters    map[string]*cluster   // by name
	byID        map[string][]*cluster // clusters that say they have this id; see holder
	claims      map[string][]*claim   // by identity key of the machine
	contested   map[string]struct{}   // keys with several claims
	types       map[typeKey]*countedType
	pools       map[uuid.UUID]*countedPool
	folder      *folder
	ownType     *ResourceType // of the O-Cloud itself
	definitions *Definitions  // fill alarm dictionaries; never nil
	hierarchy   *hierarchy
	described   []*countedPool // pools that are there without resources, too
	moved       bool           // pools came or went since places were made
	version     uint64         // counts what was published
	touched     *touched       // since then; nil while nobody watches
	watcher     func(version uint64, before, after *Snapshot, t *touched)
}

// New returns a model of an O-Cloud of which nothing is known yet.
func New(o Options) (*Model, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	m := &Model{
		options:     o,
		next:        newSnapshot(o.oCloud()),
		clusters:    make(map[string]*cluster),
		byID:        make(map[string][]*cluster),
		claims:      make(map[string][]*claim),
		contested:   make(map[string]struct{}),
		types:       make(map[typeKey]*countedType),
		pools:       make(map[uuid.UUID]*countedPool),
		folder:      newFolder(),
		definitions: newDefinitions(Definitions{}),
		hierarchy:   resolve(Hierarchy{}),
		moved:       true,
	}
	m.ownType = m.holdType(ownTypeKey())
	m.publish()
	return m, nil
}

// Snapshot returns the inventory as it is now.
func (m *Model) Snapshot() *Snapshot { return m.current.Load() }

// publish lets readers see what the writers did. The trees that readers hold are never
// written again: the writers go on with copies of the nodes that they touch.
func (m *Model) publish() {
	s := m.next.clone()
	if m.moved {
		s.places = &places{oCloudID: s.oCloud.ID, hierarchy: m.hierarchy, pools: s.pools}
		m.next.places, m.moved = s.places, false
	}
	before := m.current.Swap(s)
	m.version++
	if m.watcher != nil {
		m.watcher(m.version, before, s, m.touched)
		m.touched = newTouched()
	}
}

// OCloud returns what is said of the O-Cloud itself. Nobody may change it.
func (m *Model) OCloud() *OCloud { return m.Snapshot().OCloud() }

// SetOCloud replaces what is said of the O-Cloud itself. Another oCloudId gives everything
// but servers and their elements another identifier.
func (m *Model) SetOCloud(o OCloud) error {
	options := Options{OCloudID: o.ID, GlobalCloudID: o.GlobalCloudID}
	if err := options.Validate(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	renamed := m.next.oCloud.ID != o.ID
	m.next.oCloud = &o
	if renamed {
		m.rebuild()
	}
	m.publish()
	return nil
}

// SetHierarchy replaces what the administrator says of places and pools. Only records that
// change by that are made anew.
func (m *Model) SetHierarchy(h Hierarchy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hierarchy = resolve(h)
	m.arrange()
	m.publish()
}

// SetCluster creates or replaces what is known of a managed cluster.
func (m *Model) SetCluster(f ClusterFacts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cluster(f.Name)
	affected := m.reclaimID(c, &f)
	c.facts, c.candidates = &f, m.hierarchy.candidates(&f)
	m.project(affected...)
	m.publish()
}

// RemoveCluster removes a managed cluster and all that came from it.
func (m *Model) RemoveCluster(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, known := m.clusters[name]
	if !known {
		return
	}
	affected := m.reclaimID(c, nil)
	c.facts, c.nodes, c.candidates = nil, nil, nil
	m.project(affected...)
	delete(m.clusters, name)
	m.publish()
}

// SetReport replaces the machines of a cluster by those of its newest report. A report
// without a body leaves the machines as they are: it says that there was no room for
// them, not that they are gone; one that had to leave out elements leaves those, see
// retain. What arrives before the cluster is known waits for it.
//
// The model takes over the machines of inv, and changes them: they are not the caller's
// any more.
func (m *Model) SetReport(cluster string, inv report.Inventory, head report.Head) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cluster(cluster)
	c.head = head
	if head.Detail != report.DetailNone {
		c.nodes = m.folder.fold(retain(c.nodes, inv.Nodes, head.Detail))
		c.types = allowedTypes(c.nodes)
	}
	m.project(c)
	m.publish()
}

// SetReporting tells how well the reports of a cluster reach us.
func (m *Model) SetReporting(cluster string, r Reporting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cluster(cluster)
	if c.reporting == r {
		return
	}
	c.reporting = r
	m.project(c)
	m.publish()
}

// RemoveReport removes the machines of a cluster, as when its add-on has been disabled
// for long enough. The cluster itself stays.
func (m *Model) RemoveReport(cluster string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, known := m.clusters[cluster]
	if !known {
		return
	}
	c.nodes, c.types, c.head, c.reporting = nil, nil, report.Head{}, Reporting{}
	m.project(c)
	if c.facts == nil {
		delete(m.clusters, cluster)
	}
	m.publish()
}

// Head returns the head of the report that the model shows for a cluster.
func (m *Model) Head(cluster string) (head report.Head, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, known := m.clusters[cluster]
	if !known || c.head.Epoch == "" {
		return report.Head{}, false
	}
	return c.head, true
}

// Duplicate is a machine that a cluster reports and another has the better claim to.
type Duplicate struct {
	Node       string    // name of the node in the cluster that loses
	ResourceID uuid.UUID // the identifier that is claimed twice
	KeptBy     string    // name of the cluster that keeps it
	KeptNode   string    // name of the node there
}

// Duplicates returns, by cluster name, the machines that are shown as duplicates,
// ascending by node. Clusters without any are absent.
func (m *Model) Duplicates() map[string][]Duplicate {
	m.mu.Lock()
	defer m.mu.Unlock()
	lost := make(map[string][]Duplicate)
	for key := range m.contested {
		claims := m.claims[key]
		for _, c := range claims[1:] {
			lost[c.cluster.name] = append(lost[c.cluster.name], Duplicate{
				Node: c.node.Name, ResourceID: claims[0].id, KeptBy: claims[0].cluster.name, KeptNode: claims[0].node.Name,
			})
		}
	}
	for _, list := range lost {
		slices.SortFunc(list, func(a, b Duplicate) int { return strings.Compare(a.Node, b.Node) })
	}
	return lost
}

// cluster is what the writers know of one managed cluster, and what they made of it.
type cluster struct {
	name      string
	facts     *ClusterFacts // nil: not known to the hub yet, so nothing is shown
	nodes     []Machine
	types     map[typeKey]struct{} // that it may use; nil: all
	head      report.Head
	reporting Reporting

	candidates []*selector // of pools that may have its nodes
	manager    *DeploymentManager
	pool       *countedPool // stands for its machines until there are any
	claims     []*claim
}

func (m *Model) cluster(name string) *cluster {
	c, known := m.clusters[name]
	if !known {
		c = &cluster{name: name}
		m.clusters[name] = c
	}
	return c
}

// project makes records of the given clusters anew, and of those machines of others whose
// identity changes by that.
func (m *Model) project(clusters ...*cluster) {
	touched := make(map[string]struct{})
	var gone, fresh []*claim
	for _, c := range clusters {
		gone = append(gone, c.claims...)
		for _, cl := range c.claims {
			m.retract(cl)
			touched[cl.key] = struct{}{}
		}
		c.claims = m.claimsOf(c)
		fresh = append(fresh, c.claims...)
		for _, cl := range c.claims {
			m.claims[cl.key] = append(m.claims[cl.key], cl)
			touched[cl.key] = struct{}{}
		}
	}
	for _, cl := range fresh {
		cl.pool, cl.rivals = choose(cl.cluster.candidates, cl.node)
	}
	for key := range touched {
		for _, changed := range m.settle(key) {
			if !slices.Contains(clusters, changed.cluster) {
				fresh = append(fresh, changed)
			}
		}
	}
	m.replace(gone, fresh)
	for _, c := range clusters {
		m.projectManager(c)
	}
}

// replace makes the records of claims anew and drops those of others. New records first
// take hold of types and pools that old ones let go: what stays in use never goes in
// between.
func (m *Model) replace(gone, fresh []*claim) {
	servers := make([]*Server, len(fresh))
	for i, cl := range fresh {
		servers[i] = m.serverOf(cl)
	}
	for _, list := range [][]*claim{gone, fresh} {
		for _, cl := range list {
			if cl.server != nil {
				m.drop(cl.server)
				cl.server = nil
			}
		}
	}
	for i, cl := range fresh {
		cl.server = servers[i]
		m.next.servers.ReplaceOrInsert(cl.server)
		m.touched.server(cl.server)
	}
}

func (m *Model) drop(s *Server) {
	m.next.servers.Delete(s)
	m.touched.server(s)
	m.release(s)
}

// projectManager makes the cluster's own records: its deploymentManager and the pool that
// is there even without servers.
func (m *Model) projectManager(c *cluster) {
	old, oldPool := c.manager, c.pool
	c.manager, c.pool = nil, nil
	if c.facts != nil && c.facts.Accepted {
		if len(c.claims) == 0 {
			c.pool = m.holdPool(m.emptyPool(c))
		}
		c.manager = &DeploymentManager{
			ID:    DeploymentManagerID(m.next.oCloud.ID, m.clusterID(c)),
			Facts: *c.facts,
			Nodes: summarize(c.nodes),
			Type:  m.holdType(clusterTypeKey(c.facts)),

			SupportedLocations: m.supportedLocations(c),
			Reporting:          c.reporting,
		}
		c.manager.render(m.next.oCloud.ID)
	}
	if old != nil {
		// Two clusters may have swapped an id in this projection: delete our record only.
		if there, found := m.next.managers.Get(old); found && there == old {
			m.next.managers.Delete(old)
			m.touched.manager(old)
		}
	}
	if c.manager != nil {
		m.next.managers.ReplaceOrInsert(c.manager)
		m.touched.manager(c.manager)
	}
	m.releasePool(oldPool)
	if old != nil {
		m.releaseType(old.Type)
	}
}

// reclaimID moves a cluster to the id that its new facts give it; nil facts: to none. It
// returns the clusters whose own identity that may change, c among them.
func (m *Model) reclaimID(c *cluster, facts *ClusterFacts) []*cluster {
	affected := []*cluster{c}
	add := func(id string) {
		for _, other := range m.byID[id] {
			if !slices.Contains(affected, other) {
				affected = append(affected, other)
			}
		}
	}
	if c.facts != nil {
		id := c.facts.ClusterID
		if m.byID[id] = slices.DeleteFunc(m.byID[id], func(o *cluster) bool { return o == c }); len(m.byID[id]) == 0 {
			delete(m.byID, id)
		}
		add(id)
	}
	if facts != nil && facts.ClusterID != "" {
		add(facts.ClusterID)
		m.byID[facts.ClusterID] = append(m.byID[facts.ClusterID], c)
	}
	return affected
}

// clusterID is the id that stands for a cluster in identifiers. A cluster that says it is
// another, older one, as clones and clusters imported twice do, is known by its UID.
func (m *Model) clusterID(c *cluster) string {
	if c.facts.ClusterID == "" || slices.ContainsFunc(m.byID[c.facts.ClusterID], func(o *cluster) bool { return older(o, c) < 0 }) {
		if c.facts.UID != "" {
			return c.facts.UID
		}
		return c.name
	}
	return c.facts.ClusterID
}

// older orders clusters by age, then by name.
func older(a, b *cluster) int {
	if n := a.facts.Created.Compare(b.facts.Created); n != 0 {
		return n
	}
	return strings.Compare(a.name, b.name)
}

// summarize says what is common to the nodes of a cluster.
func summarize(nodes []Machine) NodeSummary {
	var s NodeSummary
	architectures, accelerators := make(map[string]struct{}), make(map[string]struct{})
	for i := range nodes {
		n := &nodes[i]
		if os := n.Server.OS; os != nil {
			if os.Architecture != "" {
				architectures[os.Architecture] = struct{}{}
			}
			s.RealTimeKernel = s.RealTimeKernel || isRealTime(os.Kernel)
		}
		for j := range n.parts {
			e := n.parts[j].shape
			s.SRIOV = s.SRIOV || e.SRIOV != nil && e.SRIOV.Total > 0
			s.PTP = s.PTP || e.Class == hardware.PTPClock
			if e.Class == hardware.Accelerator && e.Subtype != "" {
				accelerators[e.Subtype] = struct{}{}
			}
		}
	}
	s.Architectures = slices.Sorted(maps.Keys(architectures))
	s.Accelerators = slices.Sorted(maps.Keys(accelerators))
	return s
}

// isRealTime recognises the version strings of real-time kernels, such as
// 5.14.0-427.el9.x86_64+rt, 6.1.0-28-rt-amd64 and 6.8.1-1015-realtime.
func isRealTime(kernel string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(kernel, func(r rune) bool { return r == '-' || r == '+' || r == '.' || r == '_' }), func(part string) bool {
		return part == "rt" || part == "realtime" ||
			len(part) > 2 && strings.HasPrefix(part, "rt") && strings.Trim(part[2:], "0123456789") == ""
	})
}
