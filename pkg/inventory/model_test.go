package inventory

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/report"
)

const oCloudID = "262c8f17-52b5-4614-9e56-812ae21fa8a7"

func newModel(t testing.TB) *Model {
	t.Helper()
	m, err := New(Options{OCloudID: oCloudID, Name: "north", Description: "north region", ServiceURI: "https://o2ims.example.net"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// facts are those of a healthy cluster; age orders clusters, the oldest having the greatest.
func facts(name string, age int) ClusterFacts {
	return ClusterFacts{
		Name: name, UID: "uid-" + name, ClusterID: "id-" + name, Created: epoch.AddDate(0, 0, -age),
		ServiceURI: "https://api." + name + ".example.net:6443", CABundle: []byte("PEM of " + name),
		Allocatable: map[string]string{"cpu": "63500m", "memory": "250Gi"}, Capacity: map[string]string{"cpu": "64"},
		KubernetesVersion: "v1.35.0", Available: "True", Accepted: true,
	}
}

// machine is a node that is ready, with one element of each class.
func machine(name, key string) hardware.Machine {
	numa := 0
	return hardware.Machine{
		Name: name, Key: key,
		Server: hardware.Server{
			Vendor: "Dell Inc.", Model: "PowerEdge XR8620t", Serial: "SN-" + name, MemoryBytes: 64 << 30,
			BIOS: &hardware.BIOS{Vendor: "Dell Inc.", Version: "2.1"},
			OS:   &hardware.OS{Architecture: "amd64", Kernel: "6.1.0-28-rt-amd64"},
			NUMA: []hardware.NUMANode{{ID: 0, CPUs: "0-31"}},
			Node: &hardware.NodeState{Ready: "True", Labels: map[string]string{"kubernetes.io/hostname": name}, Roles: []string{"worker"}},
		},
		Elements: []hardware.Element{
			{Class: hardware.Accelerator, Slot: "0000:03:00", Subtype: "fec", Vendor: "Intel", Model: "ACC200"},
			{Class: hardware.Adapter, Slot: "0000:01:00", Vendor: "Intel", Model: "E810-C", SRIOV: &hardware.SRIOV{Total: 64}},
			{Class: hardware.Memory, Slot: "DIMM A1", Vendor: "Micron", Memory: &hardware.DIMM{Bytes: 32 << 30, Type: "DDR5"}},
			{Class: hardware.Port, Slot: "0000:01:00.0", Parent: "adapter|0000:01:00", Vendor: "Intel", Model: "E810-C",
				PCI: &hardware.PCIDevice{Address: "0000:01:00.0"}, Port: &hardware.PortState{Name: "eno1", MAC: "00:11:22:33:44:55", SpeedMbps: 25000, Link: "up"}},
			{Class: hardware.Processor, Slot: "socket/0", Vendor: "Intel", Model: "Intel(R) Xeon(R) Gold 6438N", NUMA: &numa, CPU: &hardware.CPU{Cores: 32, Threads: 64, MHz: 2000}},
			{Class: hardware.PTPClock, Slot: "phc/0000:01:00.0"},
			{Class: hardware.Storage, Slot: "sn/S1", Model: "PM9A3", Serial: "S1", Disk: &hardware.Disk{Name: "nvme0n1", Bytes: 960 << 30, Media: "NVME"}},
		},
	}
}

func inventoryOf(cluster string, nodes ...hardware.Machine) (report.Inventory, report.Head) {
	return report.Inventory{V: 1, Cluster: cluster, Nodes: nodes},
		report.Head{Envelope: report.Envelope{V: 1, Epoch: "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11", Seq: 1, SHA256: cluster}, Nodes: len(nodes), Detail: report.DetailFull}
}

func (m *Model) setNodes(cluster string, nodes ...hardware.Machine) {
	inv, head := inventoryOf(cluster, nodes...)
	m.SetReport(cluster, inv, head)
}

// server returns a node's record.
func server(t testing.TB, m *Model, cluster, node string) *Server {
	t.Helper()
	for _, srv := range servers(m) {
		if srv.Cluster == cluster && srv.Machine.Name == node {
			return srv
		}
	}
	t.Fatalf("node %s of cluster %s is not shown", node, cluster)
	return nil
}

func servers(m *Model) []*Server {
	s := m.Snapshot()
	var all []*Server
	for p := range s.ResourcePools {
		all = slices.AppendSeq(all, s.Servers(p.ID))
	}
	return all
}

// hardwareTypes counts the types but those of clusters and of the O-Cloud itself.
func hardwareTypes(s *Snapshot) int {
	n := 0
	for t := range s.ResourceTypes {
		if t.Class != clusterClass && t.Class != oCloudClass {
			n++
		}
	}
	return n
}

func count[T any](all func(func(T) bool)) int {
	n := 0
	for range all {
		n++
	}
	return n
}

// everything is all that a reader can see, as one text.
func everything(m *Model) string {
	s := m.Snapshot()
	text := ""
	for d := range s.DeploymentManagers {
		text += string(d.v1.Whole) + "\n"
	}
	for p := range s.ResourcePools {
		text += string(p.v1.Whole) + "\n"
		for srv := range s.Servers(p.ID) {
			text += string(srv.withElements()) + "\n"
		}
	}
	for typ := range s.ResourceTypes {
		text += string(encoded(typ.viewV1())) + string(encoded(typ.Dictionary.viewV2())) + "\n"
	}
	for site := range s.OCloudSites {
		text += fmt.Sprintln(*site)
	}
	for l := range s.Locations {
		text += fmt.Sprintln(*l)
	}
	return text
}

func extensions(t testing.TB, record []byte) map[string]any {
	t.Helper()
	var r struct {
		Extensions map[string]any `json:"extensions"`
	}
	if err := json.Unmarshal(record, &r); err != nil {
		t.Fatalf("%v in %s", err, record)
	}
	return r.Extensions
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		o     Options
		valid bool
	}{
		{Options{OCloudID: oCloudID}, true},
		{Options{OCloudID: oCloudID, GlobalCloudID: "18f2dc90-b375-47dd-b8dc-ae80072e6cdb"}, true},
		{Options{}, false},
		{Options{OCloudID: uuid.Nil.String()}, false},
		{Options{OCloudID: oCloudID, GlobalCloudID: "north"}, false},
	} {
		if _, err := New(tc.o); (err == nil) != tc.valid {
			t.Errorf("New(%+v): %v, want valid: %t", tc.o, err, tc.valid)
		}
	}
}

// TestLifeOfACluster follows one cluster from its arrival to its end.
func TestLifeOfACluster(t *testing.T) {
	m := newModel(t)
	see := func(story string, managers, pools, shown, types int) {
		t.Helper()
		s := m.Snapshot()
		got := [4]int{count(s.DeploymentManagers), count(s.ResourcePools), len(servers(m)), hardwareTypes(s)}
		if want := [4]int{managers, pools, shown, types}; got != want {
			t.Errorf("%s: managers, pools, servers, types = %v, want %v", story, got, want)
		}
	}
	see("nothing yet", 0, 0, 0, 0)

	m.setNodes("edge-1", machine("a", "uuid:a"), machine("b", "uuid:b"))
	see("a report of a cluster not known yet waits", 0, 0, 0, 0)
	unaccepted := facts("edge-1", 1)
	unaccepted.Accepted = false
	m.SetCluster(unaccepted)
	see("a cluster not accepted shows nothing", 0, 0, 0, 0)
	m.SetCluster(facts("edge-1", 1))
	see("accepted", 1, 1, 2, 8)

	first := server(t, m, "edge-1", "a")
	if first.ID != hardware.ServerID("uuid:a") {
		t.Errorf("resourceId = %s, want that of the key", first.ID)
	}
	if e := extensions(t, first.v1.Whole); e["operationalState"] != "ENABLED" || e["reporting"] != nil {
		t.Errorf("extensions = %v, want ENABLED and no trouble", e)
	}

	away := facts("edge-1", 1)
	away.Available = "Unknown"
	m.SetCluster(away)
	see("an unreachable cluster keeps everything", 1, 1, 2, 8)
	if e := extensions(t, server(t, m, "edge-1", "a").v1.Whole); e["operationalState"] != "UNKNOWN" || e["reporting"] == nil {
		t.Errorf("extensions = %v, want UNKNOWN and why", e)
	}
	if e := extensions(t, first.v1.Whole); e["operationalState"] != "ENABLED" {
		t.Error("a record that a reader holds has changed")
	}

	m.SetCluster(facts("edge-1", 1))
	m.SetReporting("edge-1", Reporting{AddOn: Disabled, Since: epoch})
	if e := extensions(t, server(t, m, "edge-1", "a").v1.Whole); e["operationalState"] != "UNKNOWN" {
		t.Errorf("add-on disabled: extensions = %v, want UNKNOWN", e)
	}
	m.SetReporting("edge-1", Reporting{AddOn: Enabled, AddOnAvailable: "True"})

	m.setNodes("edge-1", machine("a", "uuid:a"))
	see("a node less", 1, 1, 1, 8)
	inv, head := inventoryOf("edge-1")
	head.Detail = report.DetailNone
	m.SetReport("edge-1", inv, head)
	see("a report without a body", 1, 1, 1, 8)

	bare := machine("a", "uuid:a")
	bare.Elements = bare.Elements[:1]
	m.setNodes("edge-1", bare)
	see("types go with their last resource", 1, 1, 1, 2)
	if got, found := m.Head("edge-1"); !found || got.SHA256 != "edge-1" {
		t.Errorf("Head = %v, %t", got, found)
	}

	m.RemoveReport("edge-1")
	see("the report removed", 1, 1, 0, 0)
	m.setNodes("edge-1", machine("a", "uuid:a"))
	m.RemoveCluster("edge-1")
	see("the cluster removed", 0, 0, 0, 0)
	if len(m.clusters)+len(m.claims)+hardwareTypes(m.Snapshot())+len(m.pools)+len(m.byID)+len(m.contested) != 0 {
		t.Errorf("left behind: %+v", m)
	}
	m.RemoveCluster("edge-1")
	m.RemoveReport("edge-1")
}

func TestPoolOfAClusterMoves(t *testing.T) {
	m := newModel(t)
	f := facts("edge-1", 1)
	m.SetCluster(f)
	m.setNodes("edge-1", machine("a", "uuid:a"))
	before := server(t, m, "edge-1", "a")
	f.ClusterSet = "north"
	m.SetCluster(f)
	after := server(t, m, "edge-1", "a")
	if before.PoolID != PoolID(oCloudID, "default", "edge-1") || after.PoolID != PoolID(oCloudID, "north", "edge-1") {
		t.Errorf("pool = %s, then %s", before.PoolID, after.PoolID)
	}
	if before.ID != after.ID {
		t.Errorf("resourceId = %s, then %s: a move renames nothing", before.ID, after.ID)
	}
	if n := count(m.Snapshot().ResourcePools); n != 1 {
		t.Errorf("%d pools, want the new one only", n)
	}
}

// TestStates checks the states of a server in the words of X.731.
func TestStates(t *testing.T) {
	for _, tc := range []struct {
		name                      string
		node                      *hardware.NodeState
		available                 string
		reporting                 Reporting
		admin, operational, usage string
		trouble                   string
	}{
		{"ready", &hardware.NodeState{Ready: "True"}, "True", Reporting{}, "UNLOCKED", "ENABLED", "ACTIVE", ""},
		{"not ready", &hardware.NodeState{Ready: "False"}, "True", Reporting{}, "UNLOCKED", "DISABLED", "BUSY", ""},
		{"node silent", &hardware.NodeState{Ready: "Unknown"}, "True", Reporting{}, "UNLOCKED", "UNKNOWN", "UNKNOWN", ""},
		{"cordoned", &hardware.NodeState{Ready: "True", Unschedulable: true}, "True", Reporting{}, "LOCKED", "ENABLED", "ACTIVE", ""},
		{"no node object", nil, "True", Reporting{}, "UNKNOWN", "UNKNOWN", "UNKNOWN", ""},
		{"cluster down", &hardware.NodeState{Ready: "True"}, "False", Reporting{}, "UNLOCKED", "UNKNOWN", "UNKNOWN", "ClusterUnreachable"},
		{"cluster new", &hardware.NodeState{Ready: "True"}, "", Reporting{}, "UNLOCKED", "UNKNOWN", "UNKNOWN", "ClusterUnreachable"},
		{"disabled", &hardware.NodeState{Ready: "True"}, "True", Reporting{AddOn: Disabled}, "UNLOCKED", "UNKNOWN", "UNKNOWN", "AddOnDisabled"},
		{"agent down", &hardware.NodeState{Ready: "True"}, "True", Reporting{AddOn: Enabled, AddOnAvailable: "Unknown"}, "UNLOCKED", "UNKNOWN", "UNKNOWN", "AgentUnavailable"},
		{"bad report", &hardware.NodeState{Ready: "True"}, "True", Reporting{AddOn: Enabled, AddOnAvailable: "True", ReportErr: "digest"}, "UNLOCKED", "ENABLED", "ACTIVE", "ReportRejected"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newModel(t)
			f, n := facts("edge-1", 1), machine("a", "uuid:a")
			f.Available, n.Server.Node = tc.available, tc.node
			m.SetCluster(f)
			m.setNodes("edge-1", n)
			m.SetReporting("edge-1", tc.reporting)
			e := extensions(t, server(t, m, "edge-1", "a").v1.Whole)
			state, _ := e["reporting"].(map[string]any)
			got := []any{e["adminState"], e["operationalState"], e["usageState"], cmpNil(state["state"])}
			if want := []any{tc.admin, tc.operational, tc.usage, tc.trouble}; !slices.Equal(got, want) {
				t.Errorf("states = %v, want %v", got, want)
			}
		})
	}
}

func cmpNil(v any) any {
	if v == nil {
		return ""
	}
	return v
}

// TestDuplicates checks who keeps a machine that several clusters claim.
func TestDuplicates(t *testing.T) {
	notReady := func(m hardware.Machine) hardware.Machine {
		m.Server.Node.Ready = "False"
		return m
	}
	for _, tc := range []struct {
		name   string
		change func(m *Model) // of two clusters that both claim machine x, "old" being older
		keeper string
	}{
		{"the older cluster", func(*Model) {}, "old"},
		{"a node that is ready", func(m *Model) { m.setNodes("old", notReady(machine("n", "uuid:x"))) }, "new"},
		{"neither is ready", func(m *Model) {
			m.setNodes("old", notReady(machine("n", "uuid:x")))
			m.setNodes("new", notReady(machine("n", "uuid:x")))
		}, "old"},
		{"a node that is ready now", func(m *Model) {
			f := facts("old", 2)
			f.Available = "Unknown"
			m.SetCluster(f)
		}, "new"},
		{"one that was ready when both are out of reach", func(m *Model) {
			for name, age := range map[string]int{"old": 2, "new": 1} {
				f := facts(name, age)
				f.Available = "Unknown"
				m.SetCluster(f)
			}
			m.setNodes("old", notReady(machine("n", "uuid:x")))
		}, "new"},
		{"equal age: the name", func(m *Model) { m.SetCluster(facts("old", 1)) }, "new"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newModel(t)
			for name, age := range map[string]int{"old": 2, "new": 1} {
				m.SetCluster(facts(name, age))
				m.setNodes(name, machine("n", "uuid:x"))
			}
			tc.change(m)
			loser := map[string]string{"old": "new", "new": "old"}[tc.keeper]
			kept, lost := server(t, m, tc.keeper, "n"), server(t, m, loser, "n")
			plain := hardware.ServerID("uuid:x")
			if kept.ID != plain || extensions(t, kept.v1.Whole)["duplicateOf"] != nil {
				t.Errorf("%s has %s, want %s and no duplicateOf", tc.keeper, kept.ID, plain)
			}
			if lost.ID != hardware.DuplicateID(plain, "id-"+loser) || extensions(t, lost.v1.Whole)["duplicateOf"] != plain.String() {
				t.Errorf("%s has %s: %s", loser, lost.ID, lost.v1.Whole)
			}
			if kept.elements[0].id == lost.elements[0].id {
				t.Error("elements of both have the same resourceId")
			}
			want := Duplicate{Node: "n", ResourceID: plain, KeptBy: tc.keeper, KeptNode: "n"}
			if got := m.Duplicates(); len(got) != 1 || len(got[loser]) != 1 || got[loser][0] != want {
				t.Errorf("Duplicates = %v, want %v for %s", got, want, loser)
			}

			m.RemoveCluster(tc.keeper)
			if heir := server(t, m, loser, "n"); heir.ID != plain || heir.DuplicateOf != uuid.Nil {
				t.Errorf("after the keeper went: %s, want %s", heir.ID, plain)
			}
			if got := m.Duplicates(); len(got) != 0 {
				t.Errorf("after the keeper went: Duplicates = %v", got)
			}
		})
	}
}

// step is one piece of news about a fleet.
type step struct {
	name string
	do   func(m *Model)
}

// TestOrderOfArrivalDoesNotMatter tells the same news about a fleet with every kind of
// double claim in many orders.
func TestOrderOfArrivalDoesNotMatter(t *testing.T) {
	lame := machine("n2", "uuid:x")
	lame.Server.Node.Ready = "False"
	nodes := map[string][]hardware.Machine{
		"c1": {machine("n1", "uuid:x"), machine("n2", "uuid:y")},
		"c2": {machine("n1", "uuid:x"), lame, machine("n3", "uuid:z")}, // one machine twice in a cluster
		"c3": {machine("n1", "uuid:y"), machine("n3", "uuid:x")},
		"c4": {machine("n1", ""), machine("n2", "uuid:z")},
		"c5": {machine("n1", "")}, // claims to be c4
	}
	var steps []step
	for name, list := range nodes {
		f := facts(name, 1)
		if name == "c4" || name == "c5" {
			f.ClusterID = "id-twin"
		}
		if name == "c3" {
			f.Available = "Unknown"
		}
		steps = append(steps,
			step{"cluster " + name, func(m *Model) { m.SetCluster(f) }},
			step{"report " + name, func(m *Model) { m.setNodes(name, list...) }},
			step{"reporting " + name, func(m *Model) { m.SetReporting(name, Reporting{AddOn: Enabled, AddOnAvailable: "True"}) }})
	}
	hierarchy := Hierarchy{
		Sites: []apiv1alpha1.OCloudSite{siteAt("dc1", "nowhere")},
		Pools: []apiv1alpha1.ResourcePool{
			poolAt("first", "dc1", 1, poolSelector{Nodes: &nodeSelector{Names: []string{"n1"}}}),
			poolAt("second", "dc1", 1, clustersNamed("c2", "c5")),
		},
	}
	steps = append(steps,
		step{"hierarchy", func(m *Model) { m.SetHierarchy(hierarchy) }},
		step{"an older cluster comes", func(m *Model) { m.SetCluster(facts("gone", 9)) }},
		step{"with all machines", func(m *Model) {
			m.setNodes("gone", machine("n1", "uuid:x"), machine("n2", "uuid:y"), machine("n3", "uuid:z"))
		}})
	slices.SortFunc(steps, func(a, b step) int { return len(a.name) - len(b.name) })

	want, wantDuplicates := "", ""
	rng := rand.New(rand.NewSource(1))
	for round := range 300 {
		rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
		m := newModel(t)
		for _, s := range steps {
			s.do(m)
		}
		m.RemoveCluster("gone")
		got, gotDuplicates := everything(m), fmt.Sprint(m.Duplicates(), m.Status())
		if round == 0 {
			want, wantDuplicates = got, gotDuplicates
			ids := make(map[uuid.UUID]bool)
			for _, srv := range servers(m) {
				ids[srv.ID] = true
			}
			if len(ids) != 10 || count(m.Snapshot().DeploymentManagers) != 5 {
				t.Fatalf("%d servers and %d deployment managers of their own, want 10 and 5", len(ids), count(m.Snapshot().DeploymentManagers))
			}
			continue
		}
		if got != want || gotDuplicates != wantDuplicates {
			order := ""
			for _, s := range steps {
				order += s.name + ", "
			}
			t.Fatalf("order %s\ngives %s\n%s\nwant %s\n%s", order, gotDuplicates, got, wantDuplicates, want)
		}
	}
}

// TestClonesOfAClusterStayApart: a cluster imported twice says the same clusterID twice.
func TestClonesOfAClusterStayApart(t *testing.T) {
	m := newModel(t)
	for name, age := range map[string]int{"first": 2, "second": 1} {
		f := facts(name, age)
		f.ClusterID = "id-same"
		m.SetCluster(f)
		m.setNodes(name, machine("n", "uuid:x"))
	}
	if d, found := m.Snapshot().DeploymentManager(DeploymentManagerID(oCloudID, "id-same")); !found || d.Facts.Name != "first" {
		t.Error("the older cluster has lost its deploymentManagerId to the younger")
	}
	if n := count(m.Snapshot().DeploymentManagers); n != 2 {
		t.Errorf("%d deployment managers, want 2", n)
	}
	m.RemoveCluster("first")
	if d, found := m.Snapshot().DeploymentManager(DeploymentManagerID(oCloudID, "id-same")); !found || d.Facts.Name != "second" {
		t.Error("the one that is left has not taken over the id")
	}
}

// TestHostileReport: whatever one cluster says, what others show stays the same.
func TestHostileReport(t *testing.T) {
	m := newModel(t)
	m.SetCluster(facts("honest", 2))
	m.setNodes("honest", machine("a", "uuid:a"), machine("b", "uuid:b"))
	typesBefore := count(m.Snapshot().ResourceTypes)
	poolID := PoolID(oCloudID, "default", "honest")
	show := func() string {
		text := ""
		for srv := range m.Snapshot().Servers(poolID) {
			text += string(srv.withElements())
		}
		return text
	}
	want := show()

	hostile := make([]hardware.Machine, 2000)
	for i := range hostile {
		n := strconv.Itoa(i)
		hostile[i] = machine("n"+n, "uuid:"+n)
	}
	hostile[0].Key, hostile[1].Key, hostile[2].Key = "uuid:a", "uuid:b", "uuid:a"
	hostile[3].Elements = make([]hardware.Element, 4000)
	for i := range hostile[3].Elements {
		n := strconv.Itoa(i)
		hostile[3].Elements[i] = hardware.Element{Class: hardware.Class("class" + n), Slot: "s" + n, Parent: "|||", Vendor: n, Model: "\x00<script>\u2028"}
	}
	for i := range 5 {
		hostile[100+i].Elements = hostile[3].Elements
		hostile[200+i].Server.Vendor = strconv.Itoa(i)
	}
	hostile[4].Elements = append(hostile[4].Elements, hostile[4].Elements...) // slots twice
	hostile[5].Name = hostile[6].Name
	hostile[7].Server = hardware.Server{}
	hostile[8].Key = ""

	impostor := facts("impostor", 1)
	impostor.ClusterID = "id-honest"
	m.SetCluster(impostor)
	m.setNodes("impostor", hostile...)
	if got := show(); got != want {
		t.Errorf("the honest cluster shows\n%s\nwant\n%s", got, want)
	}
	if n := count(m.Snapshot().ResourceTypes); n > typesBefore+1100 {
		t.Errorf("%d resource types: one cluster fills the list that all share", n)
	}
	for srv := range m.Snapshot().Servers(PoolID(oCloudID, "default", "impostor")) {
		if !json.Valid(srv.withElements()) {
			t.Fatalf("node %s is shown as %s", srv.Machine.Name, srv.withElements())
		}
	}
	m.RemoveCluster("impostor")
	if got := show(); got != want {
		t.Error("the honest cluster has changed with the end of the hostile one")
	}
	if n := count(m.Snapshot().ResourceTypes); n != typesBefore {
		t.Errorf("%d resource types are left, want %d", n, typesBefore)
	}
}

// TestReadersSeeWholeClusters reads while reports change. Every node of a report carries
// the report's number: a reader must never see two numbers in one cluster.
func TestReadersSeeWholeClusters(t *testing.T) {
	m := newModel(t)
	clusters := []string{"c0", "c1", "c2"}
	for i, c := range clusters {
		m.SetCluster(facts(c, i))
	}
	set := func(c string, version int) {
		var nodes []hardware.Machine
		for i := range 5 + version%3 {
			n := machine(fmt.Sprintf("n%d", i), fmt.Sprintf("uuid:%s-%d", c, i))
			n.Server.Model = strconv.Itoa(version)
			nodes = append(nodes, n)
		}
		nodes = append(nodes, machine("shared", "uuid:shared"))
		nodes[len(nodes)-1].Server.Model = strconv.Itoa(version)
		m.setNodes(c, nodes...)
	}
	for _, c := range clusters {
		set(c, 0)
	}
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for _, c := range clusters {
		writers.Go(func() {
			for version := range 150 {
				set(c, version)
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				s := m.Snapshot()
				ids := make(map[uuid.UUID]string)
				for _, c := range clusters {
					models := make(map[string]int)
					for srv := range s.Servers(PoolID(oCloudID, "default", c)) {
						models[srv.Machine.Server.Model]++
						if other, twice := ids[srv.ID]; twice {
							t.Errorf("resource %s is in %s and in %s", srv.ID, other, c)
						}
						ids[srv.ID] = c
						if _, found := s.ResourceType(srv.Type.ID); !found {
							t.Errorf("type of node %s is not there", srv.Machine.Name)
						}
					}
					if len(models) != 1 {
						t.Errorf("cluster %s shows reports %v at once", c, slices.Collect(maps.Keys(models)))
						return
					}
					for model, n := range models {
						if version, _ := strconv.Atoi(model); n != 5+version%3+1 {
							t.Errorf("cluster %s shows %d nodes of report %s", c, n, model)
							return
						}
					}
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
}

func TestIsRealTime(t *testing.T) {
	for kernel, want := range map[string]bool{
		"5.14.0-427.40.1.el9_4.x86_64+rt": true,
		"6.1.0-28-rt-amd64":               true,
		"4.18.0-305.rt7.72.el8.x86_64":    true,
		"6.8.1-1015-realtime":             true,
		"6.1.0-28-amd64":                  false,
		"5.15.0-artful":                   false,
		"":                                false,
	} {
		if got := isRealTime(kernel); got != want {
			t.Errorf("isRealTime(%q) = %t, want %t", kernel, got, want)
		}
	}
}

func TestResourceTypeNames(t *testing.T) {
	for _, tc := range []struct {
		typ               ResourceType
		name, description string
	}{
		{ResourceType{Kind: "PHYSICAL", Class: "server", Vendor: "Dell Inc.", Model: "PowerEdge"}, "Dell Inc./PowerEdge", "Physical server, Dell Inc. PowerEdge"},
		{ResourceType{Kind: "LOGICAL", Class: "processor", Model: "Xeon"}, "Xeon", "Logical processor, Xeon"},
		{ResourceType{Kind: "PHYSICAL", Class: "memory", Vendor: "Micron"}, "Micron memory", "Physical memory, Micron"},
		{ResourceType{Kind: "PHYSICAL", Class: "processor"}, "processor", "Physical processor"},
		{ResourceType{Kind: "PHYSICAL", Class: "processor", Vendor: "Intel", Model: "Intel Xeon"}, "Intel/Intel Xeon", "Physical processor, Intel Xeon"},
	} {
		if got := tc.typ.name(); got != tc.name {
			t.Errorf("name = %q, want %q", got, tc.name)
		}
		if got := tc.typ.description(); got != tc.description {
			t.Errorf("description = %q, want %q", got, tc.description)
		}
	}
}
