package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
)

// Hierarchy is what the administrator says of places and pools, in any order. Empty, it
// stands for the assignment that needs no configuration: a site for each ManagedClusterSet
// and, there, a pool for each managed cluster.
type Hierarchy struct {
	Locations []apiv1alpha1.Location
	Sites     []apiv1alpha1.OCloudSite
	Pools     []apiv1alpha1.ResourcePool
}

// The location of sites of which nobody has said where they are. Every site must have one
// that can be looked up, and a place must have an address or a point on the map, so this
// one says in all attributes that nobody knows. A Location with this globalLocationId takes
// its place.
const (
	unspecifiedID          = "unspecified"
	unspecifiedName        = "Unspecified location"
	unspecifiedAddress     = "unspecified"
	unspecifiedDescription = "Of these sites nobody has said where they are"
)

// defaultSite is the site of clusters that are in no ManagedClusterSet.
const defaultSite = "default"

// hierarchy is a Hierarchy with its references resolved. It never changes.
type hierarchy struct {
	locations map[string]*Location // by globalLocationId, without SiteIDs
	sites     map[string]*siteRule // by name
	pools     map[string]*poolRule // by name, those that can be shown

	// The selectors of pools, by what a cluster must have to be matched: a name, a
	// ManagedClusterSet, or something that takes a closer look.
	byName map[string][]*selector
	bySet  map[string][]*selector
	others []*selector

	// For the status of the administrator's objects.
	locationIDs map[string]string // globalLocationIds by name of the object
	poolNames   []string          // of all pools, shown or not
	faults      map[objectKey]flaw
	generations map[objectKey]int64
}

// objectKey names an object of the administrator's.
type objectKey struct{ kind, name string }

// Kinds in objectKey.
const (
	kindLocation = "Location"
	kindSite     = "OCloudSite"
	kindPool     = "ResourcePool"
)

// flaw is why an object is not shown as it is described.
type flaw struct{ reason, message string }

// siteRule is an OCloudSite.
type siteRule struct {
	name, description, location string // location: globalLocationId
	extensions                  map[string]string
}

// poolRule is a ResourcePool at a site that there is.
type poolRule struct {
	name, site, description string
	extensions              map[string]string
	priority                int32
	place                   int // in the order of precedence, 0 being the first
}

// selector is one way into a pool.
type selector struct {
	pool *poolRule

	names    map[string]struct{} // of clusters; nil: any
	sets     map[string]struct{} // likewise
	clusters labels.Selector     // likewise

	anyNode   bool
	nodeNames map[string]struct{} // nil: any
	nodes     labels.Selector     // likewise
}

// resolve follows the references of h. It is a pure function that does not mind the order.
func resolve(h Hierarchy) *hierarchy {
	r := &hierarchy{
		locations: make(map[string]*Location, len(h.Locations)),
		sites:     make(map[string]*siteRule, len(h.Sites)),
		pools:     make(map[string]*poolRule, len(h.Pools)),
		byName:    make(map[string][]*selector),
		bySet:     make(map[string][]*selector),
		faults:    make(map[objectKey]flaw),

		generations: make(map[objectKey]int64, len(h.Locations)+len(h.Sites)+len(h.Pools)),
	}
	r.addLocations(h.Locations)
	for i := range h.Sites {
		r.addSite(&h.Sites[i])
	}
	pools := make([]*apiv1alpha1.ResourcePool, len(h.Pools))
	for i := range h.Pools {
		pools[i] = &h.Pools[i]
	}
	slices.SortFunc(pools, comparePools)
	for place, p := range pools {
		r.poolNames = append(r.poolNames, p.Name)
		r.addPool(p, place)
	}
	return r
}

// comparePools puts first what has the better claim to a node.
func comparePools(a, b *apiv1alpha1.ResourcePool) int {
	return cmp.Or(
		cmp.Compare(b.Spec.Priority, a.Spec.Priority),
		compareAge(a.ObjectMeta, b.ObjectMeta),
	)
}

// compareAge puts the older first, then the first by name.
func compareAge(a, b metav1.ObjectMeta) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

func (r *hierarchy) addLocations(locations []apiv1alpha1.Location) {
	r.locationIDs = make(map[string]string, len(locations))
	owner := make(map[string]string)
	byAge := make([]*apiv1alpha1.Location, len(locations))
	for i := range locations {
		byAge[i] = &locations[i]
	}
	slices.SortFunc(byAge, func(a, b *apiv1alpha1.Location) int { return compareAge(a.ObjectMeta, b.ObjectMeta) })
	for _, l := range byAge {
		id := cmp.Or(l.Spec.GlobalLocationID, l.Name)
		r.locationIDs[l.Name] = id
		r.generations[objectKey{kindLocation, l.Name}] = l.Generation
		if _, taken := r.locations[id]; taken {
			r.faults[objectKey{kindLocation, l.Name}] = flaw{apiv1alpha1.ReasonIDTaken,
				fmt.Sprintf("globalLocationId %q is that of Location %s, which is older and describes it", id, owner[id])}
			continue
		}
		owner[id] = l.Name
		r.locations[id] = locationOf(id, l)
	}
}

func locationOf(id string, l *apiv1alpha1.Location) *Location {
	location := &Location{
		GlobalLocationID: id,
		Name:             cmp.Or(l.Spec.DisplayName, id),
		Description:      cmp.Or(l.Spec.Description, l.Spec.DisplayName, id),
		Address:          l.Spec.Address,
		Extensions:       l.Spec.Extensions,
	}
	for _, e := range l.Spec.CivicAddress {
		location.CivicAddress = append(location.CivicAddress, CivicAddressElement{Type: int(e.CAType), Value: e.CAValue})
	}
	if c := l.Spec.Coordinate; c != nil {
		location.Coordinate = coordinateOf(c)
	}
	return location
}

// coordinateOf reads texts that the apiserver has checked. It returns nil for others, which
// an apiserver of another version may have let pass.
func coordinateOf(c *apiv1alpha1.Coordinate) *Coordinate {
	latitude, err := strconv.ParseFloat(c.Latitude, 64)
	if err != nil {
		return nil
	}
	longitude, err := strconv.ParseFloat(c.Longitude, 64)
	if err != nil {
		return nil
	}
	point := &Coordinate{Longitude: longitude, Latitude: latitude}
	if altitude, err := strconv.ParseFloat(c.Altitude, 64); err == nil {
		point.Altitude = &altitude
	}
	return point
}

// addSite shows a site even when its Location is missing: its pools and their identifiers
// have nothing to do with where it is.
func (r *hierarchy) addSite(s *apiv1alpha1.OCloudSite) {
	location, found := r.locationIDs[s.Spec.LocationRef.Name]
	if !found {
		location = unspecifiedID
		r.faults[objectKey{kindSite, s.Name}] = flaw{apiv1alpha1.ReasonLocationNotFound,
			fmt.Sprintf("there is no Location %s; the site is shown at location %q", s.Spec.LocationRef.Name, unspecifiedID)}
	}
	r.generations[objectKey{kindSite, s.Name}] = s.Generation
	r.sites[s.Name] = &siteRule{name: s.Name, description: s.Spec.Description, location: location, extensions: s.Spec.Extensions}
}

// addPool takes a pool without its site, or with a selector that cannot be read, for absent:
// nobody can tell which resourcePoolId, or which nodes, it should have.
func (r *hierarchy) addPool(p *apiv1alpha1.ResourcePool, place int) {
	key := objectKey{kindPool, p.Name}
	r.generations[key] = p.Generation
	if _, found := r.sites[p.Spec.SiteRef.Name]; !found {
		r.faults[key] = flaw{apiv1alpha1.ReasonSiteNotFound,
			fmt.Sprintf("there is no OCloudSite %s; nodes that the pool selects are in other pools", p.Spec.SiteRef.Name)}
		return
	}
	rule := &poolRule{
		name: p.Name, site: p.Spec.SiteRef.Name, description: p.Spec.Description,
		extensions: p.Spec.Extensions, priority: p.Spec.Priority, place: place,
	}
	selectors := make([]*selector, len(p.Spec.Selectors))
	for i := range p.Spec.Selectors {
		s, err := selectorOf(rule, &p.Spec.Selectors[i])
		if err != nil {
			r.faults[key] = flaw{apiv1alpha1.ReasonInvalidSelector,
				fmt.Sprintf("spec.selectors[%d]: %v; nodes that the pool selects are in other pools", i, err)}
			return
		}
		selectors[i] = s
	}
	r.pools[p.Name] = rule
	for _, s := range selectors {
		r.index(s)
	}
}

func selectorOf(p *poolRule, s *apiv1alpha1.ResourcePoolSelector) (*selector, error) {
	made := &selector{pool: p, anyNode: s.Nodes == nil}
	var err error
	if c := s.Clusters; c != nil {
		made.names, made.sets = setOf(c.Names), setOf(c.ClusterSets)
		if made.clusters, err = labelSelector(c.LabelSelector); err != nil {
			return nil, fmt.Errorf("clusters.labelSelector: %w", err)
		}
	}
	if n := s.Nodes; n != nil {
		made.nodeNames = setOf(n.Names)
		if made.nodes, err = labelSelector(n.LabelSelector); err != nil {
			return nil, fmt.Errorf("nodes.labelSelector: %w", err)
		}
	}
	return made, nil
}

// setOf returns nil for no texts.
func setOf(texts []string) map[string]struct{} {
	if len(texts) == 0 {
		return nil
	}
	set := make(map[string]struct{}, len(texts))
	for _, t := range texts {
		set[t] = struct{}{}
	}
	return set
}

// labelSelector returns nil for nil, where Kubernetes would select nothing.
func labelSelector(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return nil, nil
	}
	return metav1.LabelSelectorAsSelector(s)
}

func (r *hierarchy) index(s *selector) {
	switch {
	case s.names != nil:
		for name := range s.names {
			r.byName[name] = append(r.byName[name], s)
		}
	case s.sets != nil:
		for set := range s.sets {
			r.bySet[set] = append(r.bySet[set], s)
		}
	default:
		r.others = append(r.others, s)
	}
}

// candidates are the selectors that match a cluster, those of the pools with the better
// claim first.
func (r *hierarchy) candidates(f *ClusterFacts) []*selector {
	var found []*selector
	for _, list := range [][]*selector{r.byName[f.Name], r.bySet[f.ClusterSet], r.others} {
		for _, s := range list {
			if s.matchesCluster(f) {
				found = append(found, s)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b *selector) int { return a.pool.place - b.pool.place })
	return found
}

func (s *selector) matchesCluster(f *ClusterFacts) bool {
	return isIn(s.names, f.Name) && isIn(s.sets, f.ClusterSet) && (s.clusters == nil || s.clusters.Matches(labels.Set(f.Labels)))
}

// isIn tells whether a set has a text; a nil set has all.
func isIn(set map[string]struct{}, text string) bool {
	_, found := set[text]
	return set == nil || found
}

func (s *selector) matchesNode(m *Machine) bool {
	if s.anyNode {
		return true
	}
	if !isIn(s.nodeNames, m.Name) {
		return false
	}
	return s.nodes == nil || s.nodes.Matches(m.labels)
}

// choose returns the pool that has the best claim to a machine, and the others whose claim
// is as good but for their age. A nil machine stands for all that the cluster may have. No
// pool means the cluster's own.
func choose(candidates []*selector, m *Machine) (best *poolRule, rivals []*poolRule) {
	for _, s := range candidates {
		switch {
		case best != nil && s.pool.priority < best.priority:
			return best, rivals
		case s.pool == best || slices.Contains(rivals, s.pool):
		case m == nil && !s.anyNode || m != nil && !s.matchesNode(m):
		case best == nil:
			best = s.pool
		default:
			rivals = append(rivals, s.pool)
		}
	}
	return best, rivals
}

// siteLocation returns the globalLocationId of a site.
func (r *hierarchy) siteLocation(siteName string) string {
	if s, described := r.sites[siteName]; described {
		return s.location
	}
	return unspecifiedID
}

// location returns the one with this globalLocationId, without its sites.
func (r *hierarchy) location(id string) Location {
	if l, described := r.locations[id]; described {
		return *l
	}
	return Location{GlobalLocationID: unspecifiedID, Name: unspecifiedName, Description: unspecifiedDescription, Address: unspecifiedAddress}
}

// siteNames returns the names of the sites that the administrator describes, ascending.
func (r *hierarchy) siteNames() []string { return slices.Sorted(maps.Keys(r.sites)) }
