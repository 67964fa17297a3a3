package inventory

import (
	"fmt"
	"maps"
	"math/rand"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/rest"
)

// follower holds what a consumer knows that hears of every change.
type follower struct {
	api     *API
	objects map[string]string // what v2, or else v1, shows, by objectType/id
	order   []string          // of the changes since the last look
	version uint64
}

func follow(t testing.TB, m *Model) *follower {
	t.Helper()
	f := &follower{api: newAPI(m, &access{}), objects: make(map[string]string)}
	version, all := f.api.Everything()
	f.version = version
	for c := range all {
		f.take(c)
	}
	f.api.Watch(func(version uint64, changes []Change) {
		if version <= f.version {
			t.Errorf("version %d after %d, want ascending", version, f.version)
		}
		f.version = version
		for _, c := range changes {
			f.take(c)
		}
	})
	return f
}

func (f *follower) take(c Change) {
	key := c.ObjectType + "/" + c.ID
	f.order = append(f.order, key)
	if c.Views == nil {
		f.order[len(f.order)-1] = "-" + key
		delete(f.objects, key)
		return
	}
	f.objects[key] = shown(c)
}

func shown(c Change) string {
	views := c.Views()
	text := ""
	for _, name := range slices.Sorted(maps.Keys(views)) {
		text += name + " " + views[name].Path + " " + string(views[name].State) + "\n"
	}
	return text
}

// everythingNow is the same, asked for at once.
func (f *follower) everythingNow() map[string]string {
	_, all := f.api.Everything()
	objects := make(map[string]string)
	for c := range all {
		objects[c.ObjectType+"/"+c.ID] = shown(c)
	}
	return objects
}

func (f *follower) check(t testing.TB, after string) {
	t.Helper()
	want := f.everythingNow()
	for key, text := range want {
		if f.objects[key] != text {
			t.Fatalf("after %s: a follower holds %s = %q, want %q", after, key, f.objects[key], text)
		}
	}
	for key := range f.objects {
		if _, there := want[key]; !there {
			t.Fatalf("after %s: a follower holds %s, which is gone", after, key)
		}
	}
}

// Whoever hears of every change knows what there is, whatever happens.
func TestChangesLeadToEverything(t *testing.T) {
	for seed := range int64(20) {
		m := newModel(t)
		f := follow(t, m)
		random := rand.New(rand.NewSource(seed))
		name := func() string { return fmt.Sprintf("edge-%d", random.Intn(4)) }
		for range 60 {
			cluster, step := name(), ""
			switch random.Intn(8) {
			case 0:
				step = "RemoveCluster"
				m.RemoveCluster(cluster)
			case 1:
				step = "RemoveReport"
				m.RemoveReport(cluster)
			case 2:
				step = "SetHierarchy"
				h := Hierarchy{}
				if random.Intn(2) == 0 {
					h.Locations = append(h.Locations, location("berlin", "DE-B", "Berlin"))
					h.Sites = append(h.Sites, siteAt("north", "berlin"))
					h.Pools = append(h.Pools, poolAt("cells", "north", 1, clustersNamed(name())))
				}
				m.SetHierarchy(h)
			case 3:
				step = "SetReporting"
				m.SetReporting(cluster, Reporting{AddOn: Disabled, Since: epoch})
			case 4:
				step = "SetOCloud"
				o := *m.OCloud()
				o.Description = fmt.Sprint(random.Intn(3))
				if random.Intn(4) == 0 {
					o.ID = []string{oCloudID, "0b6d9d0c-7f2c-4a35-9f0f-0d4e4a6d1f11"}[random.Intn(2)]
				}
				if err := m.SetOCloud(o); err != nil {
					t.Fatal(err)
				}
			case 5:
				step = "SetCluster"
				c := facts(cluster, random.Intn(3))
				c.ClusterSet = []string{"", "south"}[random.Intn(2)]
				m.SetCluster(c)
			default:
				step = "SetReport"
				var nodes []hardware.Machine
				for i := range random.Intn(4) {
					// Machines move between clusters: some keys are those of another.
					nodes = append(nodes, machine(fmt.Sprintf("n%d", i), fmt.Sprintf("serial:%d", i+random.Intn(3))))
				}
				slices.SortFunc(nodes, func(a, b hardware.Machine) int { return strings.Compare(a.Name, b.Name) })
				nodes = slices.CompactFunc(nodes, func(a, b hardware.Machine) bool { return a.Key == b.Key })
				m.setNodes(cluster, nodes...)
			}
			f.check(t, fmt.Sprintf("%s of %s, seed %d", step, cluster, seed))
		}
	}
}

func TestChangesOfOneCluster(t *testing.T) {
	m := newModel(t)
	f := follow(t, m)
	kinds := func() string {
		list := make([]string, len(f.order))
		for i, key := range f.order {
			list[i], _, _ = strings.Cut(key, "/")
		}
		f.order = nil
		return strings.Join(slices.Compact(list), " ")
	}
	for _, tc := range []struct {
		step string
		do   func()
		want string
	}{
		{"nothing yet", func() {}, "CloudInfo ResourceTypeInfo"},
		{"a cluster", func() { m.SetCluster(facts("edge-1", 1)) },
			"ResourceTypeInfo LocationInfo OCloudSiteInfo ResourcePoolInfo DeploymentManagerInfo"},
		{"its machine", func() { m.setNodes("edge-1", machine("n1", "serial:1")) },
			"ResourceTypeInfo DeploymentManagerInfo ResourceInfo"},
		{"the same again", func() { m.SetReporting("edge-1", Reporting{}) }, ""},
		{"detached", func() { m.RemoveCluster("edge-1") },
			"-ResourceInfo -DeploymentManagerInfo -ResourcePoolInfo -OCloudSiteInfo -LocationInfo -ResourceTypeInfo"},
	} {
		tc.do()
		if got := kinds(); got != tc.want {
			t.Errorf("%s: told of %q, want %q", tc.step, got, tc.want)
		}
	}
}

// A path in a change answers with the state in it.
func TestChangesResolve(t *testing.T) {
	m := twoClusters(t)
	s := serve(t, m, &access{})
	seen := make(map[string]int)
	_, all := newAPI(m, &access{}).Everything()
	for c := range all {
		for _, view := range c.Views() {
			seen[c.ObjectType]++
			query := "?all_fields"
			if c.ObjectType == objectType && strings.Contains(view.Path, "/v1/") {
				query = "?exclude_fields=alarmDictionary" // as lists leave it out
			}
			response, body := fetch(t, s, "GET", view.Path+query)
			if response.StatusCode != 200 || string(body) != string(view.State) {
				t.Errorf("GET %s = %d %s, want %s", view.Path, response.StatusCode, body, view.State)
			}
		}
	}
	for objectType := range newAPI(m, &access{}).ObjectTypes("v2") {
		if seen[objectType] == 0 {
			t.Errorf("no %s among all objects", objectType)
		}
	}
}

func BenchmarkChangesOfOneCluster(b *testing.B) {
	m := newModel(b)
	for i := range 3500 {
		name := fmt.Sprintf("edge-%d", i)
		m.SetCluster(facts(name, 1))
		m.setNodes(name, machine("a", fmt.Sprintf("serial:%d", 3*i)), machine("b", fmt.Sprintf("serial:%d", 3*i+1)))
	}
	api := newAPI(m, &access{})
	told := 0
	api.Watch(func(_ uint64, changes []Change) { told += len(changes) })
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := machine("a", "serial:0")
		n.Server.Node.Labels = map[string]string{"i": fmt.Sprint(i)}
		m.setNodes("edge-0", n)
	}
	if told == 0 {
		b.Error("nothing was told")
	}
}

// Definitions fill the dictionaries of types that are there and of those that come. Their
// content changes ETags, and is no reason to tell consumers of every type anew.
func TestDefinitionsFillDictionaries(t *testing.T) {
	m := newModel(t)
	m.SetCluster(facts("edge-1", 1))
	f := follow(t, m)
	before := etagsOfDictionaries(m)
	f.order = nil
	cause := ProbableCause{ID: uuid.NewSHA1(uuid.Nil, []byte("c")), Code: "NODE_DOWN", Description: "Node: down"}
	filled := Definitions{Causes: []ProbableCause{cause}, Alarms: func(dictionary uuid.UUID, s Subject) []AlarmDefinition {
		return []AlarmDefinition{{ID: uuid.NewSHA1(dictionary, []byte("a")), Name: "of " + string(s), ClearingType: "AUTOMATIC"}}
	}}
	m.SetDefinitions(filled)
	if f.order != nil {
		t.Errorf("definitions alone are told of: %v", f.order)
	}
	for id, etag := range etagsOfDictionaries(m) {
		if etag == before[id] {
			t.Errorf("dictionary or type %s: the ETag stays with other definitions", id)
		}
	}
	same := etagsOfDictionaries(m)
	m.SetDefinitions(filled)
	if !maps.Equal(etagsOfDictionaries(m), same) {
		t.Error("equal definitions have other ETags")
	}
	m.setNodes("edge-1", machine("n1", "serial:1"))
	f.check(t, "SetDefinitions")
	names := make(map[string]int)
	for typ := range m.Snapshot().ResourceTypes {
		d, found := m.Snapshot().AlarmDictionary(typ.Dictionary.ID)
		if !found || len(d.Definitions()) != 1 {
			t.Fatalf("type %s: its dictionary is %+v", typ.name(), d)
		}
		definition := d.Definitions()[0]
		whole := string(newV1(nil).types.Deep(typ))
		if !strings.Contains(whole, definition.ID.String()) || !strings.Contains(whole, cause.ID.String()) {
			t.Errorf("type %s is %s in version 1, without its dictionary", typ.name(), whole)
		}
		names[definition.Name]++
	}
	if want := map[string]int{"of resource": 8, "of cluster": 1, "of o-cloud": 1}; !maps.Equal(names, want) {
		t.Errorf("definitions %v, want %v", names, want)
	}
}

// etagsOfDictionaries has what ETags are made of, of dictionaries and of types in version 1.
func etagsOfDictionaries(m *Model) map[uuid.UUID]rest.Digest {
	digests := make(map[uuid.UUID]rest.Digest)
	for d := range m.Snapshot().AlarmDictionaries {
		digests[d.ID] = newV1(nil).dictionaries.Encoded(d).DeepDigest
	}
	for typ := range m.Snapshot().ResourceTypes {
		digests[typ.ID] = typ.v1.DeepDigest
	}
	return digests
}

// Dictionaries are no burden: 500 types share the definitions of a fleet's rules.
func TestDictionariesAreSmall(t *testing.T) {
	const types, alarms = 500, 200
	m := newModel(t)
	m.SetCluster(facts("edge-1", 1))
	nodes := make([]hardware.Machine, types)
	for i := range nodes {
		nodes[i] = machine(fmt.Sprint("n", i), fmt.Sprint("serial:", i))
		nodes[i].Server.Model = fmt.Sprint("model ", i)
	}
	m.setNodes("edge-1", nodes...)
	if n := count(m.Snapshot().ResourceTypes); n < types {
		t.Fatalf("%d types, want %d", n, types)
	}
	definitions := make([]AlarmDefinition, alarms)
	for i := range definitions {
		definitions[i] = AlarmDefinition{Name: fmt.Sprint("Alert", i), Description: strings.Repeat("d", 300), ClearingType: "AUTOMATIC"}
	}
	size := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := size()
	m.SetDefinitions(Definitions{Alarms: func(uuid.UUID, Subject) []AlarmDefinition { return slices.Clone(definitions) }})
	if grown := int64(size()) - int64(before); grown > 5<<20 {
		t.Errorf("%d dictionaries of %d definitions take %d KiB", types, alarms, grown>>10)
	}
	runtime.KeepAlive(m)
}
