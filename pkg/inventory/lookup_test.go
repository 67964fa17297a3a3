package inventory

import (
	"testing"
)

func TestThings(t *testing.T) {
	m := newModel(t)
	n := machine("a", "uuid:a")
	n.Server.Node.Addresses = []string{"Hostname=a", "InternalIP=10.0.0.7"}
	m.SetCluster(facts("edge-1", 1))
	m.setNodes("edge-1", n)
	srv := server(t, m, "edge-1", "a")
	element := func(class, slot string) Thing {
		for i, e := range srv.Machine.elements() {
			if string(e.Class) == class && e.Slot == slot {
				return thing(srv.elements[i].id, srv.elements[i].typ)
			}
		}
		t.Fatalf("no %s in %s", class, slot)
		return Thing{}
	}
	for _, tc := range []struct {
		name  string
		find  func() (Thing, bool)
		want  Thing
		found bool
	}{
		{"a node by its name", func() (Thing, bool) { return m.NodeThing("edge-1", "a") }, thing(srv.ID, srv.Type), true},
		{"a node by its address", func() (Thing, bool) { return m.NodeThing("edge-1", "10.0.0.7") }, thing(srv.ID, srv.Type), true},
		{"a node of another cluster", func() (Thing, bool) { return m.NodeThing("edge-2", "a") }, Thing{}, false},
		{"an unknown node", func() (Thing, bool) { return m.NodeThing("edge-1", "InternalIP=10.0.0.7") }, Thing{}, false},
		{"a port by its name", func() (Thing, bool) { return m.DeviceThing("edge-1", "a", "eno1") }, element("port", "0000:01:00.0"), true},
		{"a port by its PCI address", func() (Thing, bool) { return m.DeviceThing("edge-1", "a", "0000:01:00.0") }, element("port", "0000:01:00.0"), true},
		{"a disk by its name", func() (Thing, bool) { return m.DeviceThing("edge-1", "10.0.0.7", "nvme0n1") }, element("storage", "sn/S1"), true},
		{"an unknown device", func() (Thing, bool) { return m.DeviceThing("edge-1", "a", "sdz") }, Thing{}, false},
		{"no device", func() (Thing, bool) { return m.DeviceThing("edge-1", "a", "") }, Thing{}, false},
		{"an unknown cluster", func() (Thing, bool) { return m.ClusterThing("edge-2") }, Thing{}, false},
	} {
		if got, found := tc.find(); got != tc.want || found != tc.found {
			t.Errorf("%s: %+v, %t, want %+v, %t", tc.name, got, found, tc.want, tc.found)
		}
	}
	for text, want := range map[string]string{"edge-1": "edge-1", "id-edge-1": "edge-1", "edge-2": "", "": ""} {
		if name, found := m.ClusterNamed(text); name != want || found != (want != "") {
			t.Errorf("ClusterNamed(%q) = %q, %t, want %q", text, name, found, want)
		}
	}
	s := m.Snapshot()
	cluster, found := m.ClusterThing("edge-1")
	if _, there := s.DeploymentManager(cluster.ID); !found || !there {
		t.Errorf("a cluster: %+v, %t, which is no deploymentManager", cluster, found)
	}
	for name, thing := range map[string]Thing{"the O-Cloud": m.OCloudThing(), "a cluster": cluster} {
		if typ, there := s.ResourceType(thing.TypeID); !there || typ.Dictionary.ID != thing.DictionaryID {
			t.Errorf("%s: its type is not there", name)
		}
	}
}
