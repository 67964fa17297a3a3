package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/hardware"
)

// meta1 names an object; the smaller its day, the older it is.
func meta1(name string, day int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Generation: 1, CreationTimestamp: metav1.NewTime(epoch.AddDate(0, 0, day))}
}

func location(name, id, address string) apiv1alpha1.Location {
	return apiv1alpha1.Location{ObjectMeta: meta1(name, 0), Spec: apiv1alpha1.LocationSpec{GlobalLocationID: id, Address: address}}
}

func siteAt(name, location string) apiv1alpha1.OCloudSite {
	return apiv1alpha1.OCloudSite{ObjectMeta: meta1(name, 0), Spec: apiv1alpha1.OCloudSiteSpec{LocationRef: apiv1alpha1.ObjectName{Name: location}}}
}

func poolAt(name, site string, day int, selectors ...apiv1alpha1.ResourcePoolSelector) apiv1alpha1.ResourcePool {
	return apiv1alpha1.ResourcePool{ObjectMeta: meta1(name, day),
		Spec: apiv1alpha1.ResourcePoolSpec{SiteRef: apiv1alpha1.ObjectName{Name: site}, Selectors: selectors}}
}

type (
	clusterSelector = apiv1alpha1.ClusterSelector
	nodeSelector    = apiv1alpha1.NodeSelector
	poolSelector    = apiv1alpha1.ResourcePoolSelector
)

func labelled(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func clustersNamed(names ...string) poolSelector {
	return poolSelector{Clusters: &clusterSelector{Names: names}}
}

// poolsOf returns, by cluster/node, the site/pool that the node is in.
func poolsOf(t testing.TB, m *Model) map[string]string {
	t.Helper()
	found := make(map[string]string)
	s := m.Snapshot()
	for p := range s.ResourcePools {
		for srv := range s.Servers(p.ID) {
			found[srv.Cluster+"/"+srv.Machine.Name] = p.Site + "/" + p.Name
		}
	}
	return found
}

// threeClusters are c1 and c2 in set north and c3 in none, with nodes a and b each; b is a
// worker in zone 2.
func threeClusters(t testing.TB) *Model {
	t.Helper()
	m := newModel(t)
	for i, name := range []string{"c1", "c2", "c3"} {
		f := facts(name, i)
		f.Labels = map[string]string{"env": "lab"}
		if name != "c3" {
			f.ClusterSet, f.Labels["env"] = "north", "field"
		}
		m.SetCluster(f)
		a, b := machine("a", "uuid:a"+name), machine("b", "uuid:b"+name)
		b.Server.Node.Labels["zone"] = "2"
		m.setNodes(name, a, b)
	}
	return m
}

func TestPoolsSelectNodes(t *testing.T) {
	sites := []apiv1alpha1.OCloudSite{siteAt("dc1", "ottawa")}
	own := map[string]string{
		"c1/a": "north/c1", "c1/b": "north/c1", "c2/a": "north/c2", "c2/b": "north/c2", "c3/a": "default/c3", "c3/b": "default/c3",
	}
	for _, tc := range []struct {
		name     string
		pools    []apiv1alpha1.ResourcePool
		taken    map[string]string // where nodes are that are not in the pool of their cluster
		conflict map[string]string // by pool, what its conflict says
	}{
		{name: "no pools"},
		{name: "without selectors", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0)}},
		{name: "clusters by name", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, clustersNamed("c1", "c9"))},
			taken: map[string]string{"c1/a": "dc1/p", "c1/b": "dc1/p"}},
		{name: "clusters by set", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, poolSelector{Clusters: &clusterSelector{ClusterSets: []string{"north"}}})},
			taken: map[string]string{"c1/a": "dc1/p", "c1/b": "dc1/p", "c2/a": "dc1/p", "c2/b": "dc1/p"}},
		{name: "clusters by label", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, poolSelector{Clusters: &clusterSelector{LabelSelector: labelled("env", "lab")}})},
			taken: map[string]string{"c3/a": "dc1/p", "c3/b": "dc1/p"}},
		{name: "all that a cluster selector has must match", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, poolSelector{Clusters: &clusterSelector{
			Names: []string{"c2", "c3"}, ClusterSets: []string{"north"}, LabelSelector: labelled("env", "field")}})},
			taken: map[string]string{"c2/a": "dc1/p", "c2/b": "dc1/p"}},
		{name: "nodes by label, of all clusters", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, poolSelector{Nodes: &nodeSelector{LabelSelector: labelled("zone", "2")}})},
			taken: map[string]string{"c1/b": "dc1/p", "c2/b": "dc1/p", "c3/b": "dc1/p"}},
		{name: "nodes by name and label", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, poolSelector{Nodes: &nodeSelector{Names: []string{"a"}, LabelSelector: labelled("zone", "2")}})}},
		{name: "an empty label selector matches all", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, poolSelector{Clusters: &clusterSelector{LabelSelector: &metav1.LabelSelector{}}, Nodes: &nodeSelector{Names: []string{"a"}}})},
			taken: map[string]string{"c1/a": "dc1/p", "c2/a": "dc1/p", "c3/a": "dc1/p"}},
		{name: "any of several selectors", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0,
			poolSelector{Clusters: &clusterSelector{Names: []string{"c1"}}, Nodes: &nodeSelector{Names: []string{"a"}}}, clustersNamed("c3"))},
			taken: map[string]string{"c1/a": "dc1/p", "c3/a": "dc1/p", "c3/b": "dc1/p"}},
		{name: "the older keeps what two select", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 2, clustersNamed("c1")), poolAt("q", "dc1", 1, clustersNamed("c1"))},
			taken: map[string]string{"c1/a": "dc1/q", "c1/b": "dc1/q"},
			conflict: map[string]string{
				"p": "ResourcePool q of the same priority selects c1/a, c1/b, too; that pool comes first by age and name and keeps them",
				"q": "ResourcePool p of the same priority selects c1/a, c1/b, too; this pool comes first by age and name and keeps them"}},
		{name: "of the same age the first by name", pools: []apiv1alpha1.ResourcePool{poolAt("q", "dc1", 1, clustersNamed("c1")), poolAt("p", "dc1", 1, clustersNamed("c1"))},
			taken: map[string]string{"c1/a": "dc1/p", "c1/b": "dc1/p"},
			conflict: map[string]string{
				"p": "ResourcePool q of the same priority selects c1/a, c1/b, too; this pool comes first by age and name and keeps them",
				"q": "ResourcePool p of the same priority selects c1/a, c1/b, too; that pool comes first by age and name and keeps them"}},
		{name: "priority is meant and no conflict", pools: []apiv1alpha1.ResourcePool{
			poolAt("all", "dc1", 0, poolSelector{Clusters: &clusterSelector{LabelSelector: &metav1.LabelSelector{}}}),
			withPriority(poolAt("special", "dc1", 9, poolSelector{Nodes: &nodeSelector{Names: []string{"b"}}}), 1)},
			taken: map[string]string{"c1/a": "dc1/all", "c2/a": "dc1/all", "c3/a": "dc1/all", "c1/b": "dc1/special", "c2/b": "dc1/special", "c3/b": "dc1/special"}},
		{name: "a pool without its site", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc9", 0, clustersNamed("c1"))}},
		{name: "a selector that cannot be read", pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, poolSelector{Nodes: &nodeSelector{
			LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}}})}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := threeClusters(t)
			m.SetHierarchy(Hierarchy{Locations: []apiv1alpha1.Location{location("ottawa", "", "1 Main St")}, Sites: sites, Pools: tc.pools})
			want := maps.Clone(own)
			maps.Copy(want, tc.taken)
			if got := poolsOf(t, m); !maps.Equal(got, want) {
				t.Errorf("nodes are in %v, want %v", got, want)
			}
			conflicts := map[string]string{}
			for name, p := range m.Status().Pools {
				if p.Conflict != "" {
					conflicts[name] = p.Conflict
				}
			}
			if !maps.Equal(conflicts, tc.conflict) && len(conflicts)+len(tc.conflict) > 0 {
				t.Errorf("conflicts = %q, want %q", conflicts, tc.conflict)
			}
			m.SetHierarchy(Hierarchy{})
			if got := poolsOf(t, m); !maps.Equal(got, own) {
				t.Errorf("without hierarchy nodes are in %v, want %v", got, own)
			}
		})
	}
}

func withPriority(p apiv1alpha1.ResourcePool, priority int32) apiv1alpha1.ResourcePool {
	p.Spec.Priority = priority
	return p
}

// TestSitesAndLocations follows where things are, from what nobody has described to what
// has lost its description.
func TestSitesAndLocations(t *testing.T) {
	m := threeClusters(t)
	see := func(story, sites, locations, supported string) {
		t.Helper()
		s := m.Snapshot()
		var gotSites, gotLocations []string
		pools := 0
		for site := range s.OCloudSites {
			gotSites = append(gotSites, fmt.Sprintf("%s@%s:%d", site.Name, site.GlobalLocationID, len(site.PoolIDs)))
			pools += len(site.PoolIDs)
			if again, found := s.OCloudSite(site.ID); !found || again != site || site.ID != SiteID(oCloudID, site.Name) {
				t.Errorf("%s: site %s is not found by its id", story, site.Name)
			}
			if _, found := s.Location(site.GlobalLocationID); !found {
				t.Errorf("%s: site %s is at %s, which nobody finds", story, site.Name, site.GlobalLocationID)
			}
			if site.PoolIDs == nil || site.Description == "" {
				t.Errorf("%s: site %+v", story, site)
			}
		}
		for l := range s.Locations {
			gotLocations = append(gotLocations, fmt.Sprintf("%s:%d", l.GlobalLocationID, len(l.SiteIDs)))
			if l.SiteIDs == nil || l.Name == "" || l.Description == "" || l.Address == "" && l.Coordinate == nil && l.CivicAddress == nil {
				t.Errorf("%s: location %+v", story, l)
			}
		}
		slices.Sort(gotSites)
		if got := strings.Join(gotSites, " "); got != sites {
			t.Errorf("%s: sites %s, want %s", story, got, sites)
		}
		if got := strings.Join(gotLocations, " "); got != locations {
			t.Errorf("%s: locations %s, want %s", story, got, locations)
		}
		if pools != count(s.ResourcePools) {
			t.Errorf("%s: sites have %d pools, there are %d", story, pools, count(s.ResourcePools))
		}
		d, _ := s.DeploymentManager(DeploymentManagerID(oCloudID, "id-c1"))
		if got := strings.Join(d.SupportedLocations, " "); got != supported {
			t.Errorf("%s: c1 supports %s, want %s", story, got, supported)
		}
	}
	see("nothing described", "default@unspecified:1 north@unspecified:2", "unspecified:2", "unspecified")

	h := Hierarchy{Sites: []apiv1alpha1.OCloudSite{siteAt("north", "ottawa")}}
	m.SetHierarchy(h)
	see("a site for the set, its location missing", "default@unspecified:1 north@unspecified:2", "unspecified:2", "unspecified")
	if s := m.Status().Sites["north"]; s.Ready || s.Reason != apiv1alpha1.ReasonLocationNotFound || s.Resources != 4 || s.Pools != 2 {
		t.Errorf("status of a site without location: %+v", s)
	}
	h.Locations = []apiv1alpha1.Location{location("ottawa", "CA-OTT", "1 Main St")}
	m.SetHierarchy(h)
	see("the location comes", "default@unspecified:1 north@CA-OTT:2", "CA-OTT:1 unspecified:1", "CA-OTT")
	if s := m.Status(); !s.Sites["north"].Ready || s.Locations["ottawa"].Sites != 1 || s.Locations["ottawa"].GlobalLocationID != "CA-OTT" {
		t.Errorf("status: %+v", s)
	}
	if p, _ := m.Snapshot().ResourcePool(PoolID(oCloudID, "north", "c1")); p.GlobalLocationID != "CA-OTT" || p.Location != "1 Main St" {
		t.Errorf("pool of a site with location: %+v", p)
	}
	h.Sites = append(h.Sites, siteAt("dc1", "toronto"), siteAt("empty", "ottawa"))
	h.Locations = append(h.Locations, location("toronto", "", "2 King St"), location("lonely", "", "Baffin Island"))
	h.Pools = []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, poolSelector{Nodes: &nodeSelector{Names: []string{"b"}}})}
	m.SetHierarchy(h)
	see("a pool over all clusters", "dc1@toronto:1 default@unspecified:1 empty@CA-OTT:0 north@CA-OTT:2", "CA-OTT:2 lonely:0 toronto:1 unspecified:1", "CA-OTT toronto")
	if p := m.Status().Pools["p"]; !p.Ready || p.Clusters != 3 || p.Resources != 3 || p.ID != PoolID(oCloudID, "dc1", "p") || p.SiteID != SiteID(oCloudID, "dc1") {
		t.Errorf("status of the pool: %+v", p)
	}
	h.Locations = append(h.Locations[:1:1], location("aa", "unspecified", "somewhere"))
	h.Sites = h.Sites[:1]
	m.SetHierarchy(h)
	see("sites go, the unspecified location is described", "default@unspecified:1 north@CA-OTT:2", "CA-OTT:1 unspecified:1", "CA-OTT")
	if l, _ := m.Snapshot().Location("unspecified"); l.Address != "somewhere" {
		t.Errorf("the unspecified location is %+v", l)
	}
	if p := m.Status().Pools["p"]; p.Ready || p.Reason != apiv1alpha1.ReasonSiteNotFound || p.Shown {
		t.Errorf("status of a pool without site: %+v", p)
	}
	m.SetHierarchy(Hierarchy{})
	see("nothing described again", "default@unspecified:1 north@unspecified:2", "unspecified:2", "unspecified")
	for _, name := range []string{"c1", "c2", "c3"} {
		m.RemoveCluster(name)
	}
	if n := count(m.Snapshot().OCloudSites) + count(m.Snapshot().Locations) + len(m.pools) + hardwareTypes(m.Snapshot()); n != 0 {
		t.Errorf("%d things are left behind", n)
	}
}

func TestTwoLocationsOfOneID(t *testing.T) {
	m := newModel(t)
	young, old := location("young", "X", "young"), location("old", "X", "old")
	young.CreationTimestamp = metav1.NewTime(epoch.Add(time.Hour))
	m.SetHierarchy(Hierarchy{Locations: []apiv1alpha1.Location{young, old}, Sites: []apiv1alpha1.OCloudSite{siteAt("s", "young")}})
	if l, found := m.Snapshot().Location("X"); !found || l.Address != "old" || len(l.SiteIDs) != 1 {
		t.Errorf("location X is %+v, want the older one, with the site", l)
	}
	s := m.Status()
	if y := s.Locations["young"]; y.Ready || y.Reason != apiv1alpha1.ReasonIDTaken || !strings.Contains(y.Message, "Location old") {
		t.Errorf("the younger: %+v", y)
	}
	if !s.Locations["old"].Ready || !s.Sites["s"].Ready {
		t.Errorf("status: %+v", s)
	}
}

// TestDescribingADefaultPool: what gets a description keeps its identifier.
func TestDescribingADefaultPool(t *testing.T) {
	m := threeClusters(t)
	before := poolsOf(t, m)
	described := poolAt("c1", "north", 0)
	described.Spec.Description, described.Spec.Extensions = "the first", map[string]string{"rack": "7"}
	m.SetHierarchy(Hierarchy{Sites: []apiv1alpha1.OCloudSite{siteAt("north", "x")}, Pools: []apiv1alpha1.ResourcePool{described}})
	p, found := m.Snapshot().ResourcePool(PoolID(oCloudID, "north", "c1"))
	if !found || p.Description != "the first" || p.Extensions["rack"] != "7" || !maps.Equal(before, poolsOf(t, m)) {
		t.Errorf("pool %+v, nodes in %v", p, poolsOf(t, m))
	}
	if s := m.Status().Pools["c1"]; s.Resources != 2 || s.Clusters != 1 {
		t.Errorf("status: %+v", s)
	}
}

// TestAClusterWithoutMachinesStandsForItsPool: the pool is there before the first report,
// and no longer than it has no better reason.
func TestAClusterWithoutMachinesStandsForItsPool(t *testing.T) {
	m := newModel(t)
	m.SetCluster(facts("c1", 1))
	pools := func() string {
		var names []string
		for p := range m.Snapshot().ResourcePools {
			names = append(names, p.Site+"/"+p.Name)
		}
		return strings.Join(slices.Sorted(slices.Values(names)), " ")
	}
	for _, tc := range []struct {
		story string
		do    func()
		want  string
	}{
		{"no report", func() {}, "default/c1"},
		{"a pool for some nodes", func() {
			m.SetHierarchy(Hierarchy{Sites: []apiv1alpha1.OCloudSite{siteAt("dc1", "")}, Pools: []apiv1alpha1.ResourcePool{
				poolAt("p", "dc1", 0, poolSelector{Clusters: &clusterSelector{Names: []string{"c1"}}, Nodes: &nodeSelector{Names: []string{"a"}}})}})
		}, "dc1/p default/c1"},
		{"the node of the pool", func() { m.setNodes("c1", machine("a", "uuid:a")) }, "dc1/p"},
		{"another node", func() { m.setNodes("c1", machine("a", "uuid:a"), machine("b", "uuid:b")) }, "dc1/p default/c1"},
		{"a pool for all nodes", func() {
			m.SetHierarchy(Hierarchy{Sites: []apiv1alpha1.OCloudSite{siteAt("dc1", "")}, Pools: []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, clustersNamed("c1"))}})
		}, "dc1/p"},
		{"the report goes", func() { m.RemoveReport("c1") }, "dc1/p"},
		{"the hierarchy goes", func() { m.SetHierarchy(Hierarchy{}) }, "default/c1"},
	} {
		if tc.do(); pools() != tc.want {
			t.Errorf("%s: pools %s, want %s", tc.story, pools(), tc.want)
		}
	}
}

// TestOnlyWhatChangesIsMadeAnew: records are compared by address.
func TestOnlyWhatChangesIsMadeAnew(t *testing.T) {
	m := threeClusters(t)
	h := Hierarchy{
		Locations: []apiv1alpha1.Location{location("ottawa", "", "1 Main St")},
		Sites:     []apiv1alpha1.OCloudSite{siteAt("dc1", "ottawa")},
		Pools:     []apiv1alpha1.ResourcePool{poolAt("p", "dc1", 0, poolSelector{Clusters: &clusterSelector{Names: []string{"c1"}}, Nodes: &nodeSelector{Names: []string{"a"}}})},
	}
	m.SetHierarchy(h)
	records := func() (servers map[string]*Server, managers map[string]*DeploymentManager, pools map[string]*ResourcePool) {
		servers, managers, pools = map[string]*Server{}, map[string]*DeploymentManager{}, map[string]*ResourcePool{}
		s := m.Snapshot()
		for p := range s.ResourcePools {
			pools[p.Name] = p
			for srv := range s.Servers(p.ID) {
				servers[srv.Cluster+"/"+srv.Machine.Name] = srv
			}
		}
		for d := range s.DeploymentManagers {
			managers[d.Facts.Name] = d
		}
		return servers, managers, pools
	}
	for _, tc := range []struct {
		name                     string
		change                   func()
		servers, managers, pools string
	}{
		{"nothing", func() {}, "", "", ""},
		{"description of the pool", func() { h.Pools[0].Spec.Description = "new" }, "", "", "p"},
		{"address of the location", func() { h.Locations[0].Spec.Address = "2 Main St" }, "", "", "p"},
		{"id of the location", func() { h.Locations[0].Spec.GlobalLocationID = "new" }, "", "c1", "p"},
		{"a node more", func() { h.Pools[0].Spec.Selectors[0].Nodes.Names = []string{"a", "b"} }, "c1/b", "c1", ""},
		{"another cluster", func() { h.Pools[0].Spec.Selectors = append(h.Pools[0].Spec.Selectors, clustersNamed("c2")) }, "c2/a c2/b", "c2", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s1, d1, p1 := records()
			tc.change()
			m.SetHierarchy(h)
			s2, d2, p2 := records()
			for what, got := range map[string][2]string{
				"servers": {changed(s1, s2), tc.servers}, "deployment managers": {changed(d1, d2), tc.managers}, "pools": {changed(p1, p2), tc.pools},
			} {
				if got[0] != got[1] {
					t.Errorf("%s made anew: %q, want %q", what, got[0], got[1])
				}
			}
		})
	}
}

// changed names what is in both and not the same.
func changed[T comparable](before, after map[string]T) string {
	var names []string
	for name, old := range before {
		if now, there := after[name]; there && now != old {
			names = append(names, name)
		}
	}
	return strings.Join(slices.Sorted(slices.Values(names)), " ")
}

func TestSetOCloud(t *testing.T) {
	m := threeClusters(t)
	before := everything(m)
	snapshot := m.Snapshot()
	o := *m.OCloud()
	o.Name, o.GlobalCloudID = "renamed", "18f2dc90-b375-47dd-b8dc-ae80072e6cdb"
	if err := m.SetOCloud(o); err != nil {
		t.Fatal(err)
	}
	if got := *m.OCloud(); got.Name != "renamed" || got.ServiceURI != "https://o2ims.example.net" || everything(m) != before {
		t.Errorf("O-Cloud = %+v, or other records changed with it", got)
	}
	if snapshot.OCloud().Name != "north" {
		t.Error("a snapshot that a reader holds has changed")
	}

	other := o
	other.ID = "0a7a1f0e-7b1c-4d8e-9d5a-3a5f1d1c9b11"
	if err := m.SetOCloud(other); err != nil {
		t.Fatal(err)
	}
	if _, found := m.Snapshot().ResourcePool(PoolID(other.ID, "north", "c1")); !found || strings.Contains(everything(m), oCloudID) {
		t.Error("not everything has its new identifier")
	}
	if got := server(t, m, "c1", "a").ID; got != hardware.ServerID("uuid:ac1") {
		t.Errorf("a server is now %s: its identity is the hardware's", got)
	}
	if err := m.SetOCloud(o); err != nil || everything(m) != before {
		t.Errorf("going back does not give what was there before (error %v)", err)
	}
	if err := m.SetOCloud(OCloud{ID: "north"}); err == nil {
		t.Error("an oCloudId that is no UUID was taken")
	}
}

func TestAlarmDictionaries(t *testing.T) {
	m := threeClusters(t)
	s := m.Snapshot()
	if got, want := count(s.AlarmDictionaries), count(s.ResourceTypes); got != want || want == 0 {
		t.Errorf("%d dictionaries for %d types", got, want)
	}
	for typ := range s.ResourceTypes {
		d, found := s.AlarmDictionary(AlarmDictionaryID(typ.ID))
		if !found || d != typ.Dictionary || d.TypeID != typ.ID || d.EntityType == "" || d.Version == "" || d.Definitions() == nil {
			t.Errorf("dictionary of type %s: %+v", typ.name(), d)
		}
	}
	if _, found := s.AlarmDictionary(uuid.Nil); found {
		t.Error("there is a dictionary without an id")
	}
	for _, name := range []string{"c1", "c2", "c3"} {
		m.RemoveReport(name)
	}
	if n := hardwareTypes(m.Snapshot()); n != 0 {
		t.Errorf("%d types are left behind", n)
	}
}
