package report

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
)

func explained() Inventory {
	numa := 1
	return Inventory{V: 1, Cluster: "edge-1", Nodes: []hardware.Machine{{
		Name: "edge-1-a", Key: "uuid:4c4c4544-0042-3510-8056-b7c04f465a31",
		Server: hardware.Server{Vendor: "Dell Inc.", BIOS: &hardware.BIOS{Vendor: "Dell", Version: "2.3"}, NUMA: []hardware.NUMANode{{ID: 0, Distances: []int{10, 21}}}},
		Elements: []hardware.Element{
			{Class: hardware.Adapter, Slot: "0000:01:00", Vendor: "Intel"},
			{Class: hardware.Port, Slot: "0000:01:00.0", NUMA: &numa, Port: &hardware.PortState{MAC: "04:00:00:00:00:01", Link: "up"}},
			{Class: hardware.Port, Slot: "0000:01:00.0.1", Vendor: "odd"},
		},
		Prov: map[string]string{
			"server": "s", "server.bios": "r", "server.bio": "n", "port": "p", "port|0000:01:00.0.port": "v", "port|0000:01:00.0.port.mac": "m",
			"adapter": "x", "port|0000:01": "n",
		},
		Conflicts: []hardware.Conflict{
			{Path: "server.vendor", Kept: "Dell Inc.", Other: "Dell", Source: "metal3", Winner: "smbios"},
			{Path: "port|0000:01:00.0.port.mac", Kept: "a", Other: "b", Source: "probe", Winner: "metal3"},
		},
		Sources: []hardware.SourceState{{Name: "smbios", Missing: []string{"dmi: permission denied"}}},
	}}}
}

func TestExplain(t *testing.T) {
	inv := explained()
	server := hardware.ServerID(inv.Nodes[0].Key)
	for _, tc := range []struct {
		name, what string
		id         uuid.UUID
		want       []Attribute
		conflicts  int
	}{
		{"server", "server", server, []Attribute{
			{"server.bios.vendor", "Dell", "redfish"},
			{"server.bios.version", "2.3", "redfish"},
			{"server.numa.0.distances", "[10,21]", "smbios"},
			{"server.numa.0.id", "0", "smbios"},
			{"server.vendor", "Dell Inc.", "smbios"},
		}, 1},
		{"an element with its own provenance", "port|0000:01:00.0", hardware.ElementID(server, hardware.Port, "0000:01:00.0"), []Attribute{
			{"port|0000:01:00.0.class", "port", "probe"},
			{"port|0000:01:00.0.numa", "1", "probe"},
			{"port|0000:01:00.0.port.link", "up", "sriov"},
			{"port|0000:01:00.0.port.mac", "04:00:00:00:00:01", "metal3"},
			{"port|0000:01:00.0.slot", "0000:01:00.0", "probe"},
		}, 1},
		{"a source we do not know", "adapter|0000:01:00", hardware.ElementID(server, hardware.Adapter, "0000:01:00"), []Attribute{
			{"adapter|0000:01:00.class", "adapter", "x"},
			{"adapter|0000:01:00.slot", "0000:01:00", "x"},
			{"adapter|0000:01:00.vendor", "Intel", "x"},
		}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Explain(inv, tc.id)
			if err != nil {
				t.Fatal(err)
			}
			if got.What != tc.what || got.Node != "edge-1-a" || got.Cluster != "edge-1" || got.ID != tc.id || len(got.Sources) != 1 {
				t.Errorf("explanation %+v", got)
			}
			if len(got.Attributes) != len(tc.want) {
				t.Fatalf("attributes %+v, want %+v", got.Attributes, tc.want)
			}
			for i, a := range got.Attributes {
				if a != tc.want[i] {
					t.Errorf("attribute %+v, want %+v", a, tc.want[i])
				}
			}
			if len(got.Conflicts) != tc.conflicts {
				t.Errorf("conflicts %+v, want %d", got.Conflicts, tc.conflicts)
			}
		})
	}
	if _, err := Explain(inv, uuid.New()); !errors.Is(err, fault.NotFound) {
		t.Errorf("an unknown resourceId: %v, want not found", err)
	}
}

// Conflicts and provenance of "port|0000:01:00.0" must not leak into a slot that begins
// alike.
func TestExplainTellsSlotsApart(t *testing.T) {
	inv := explained()
	id := hardware.ElementID(hardware.ServerID(inv.Nodes[0].Key), hardware.Port, "0000:01:00.0.1")
	got, err := Explain(inv, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range got.Attributes {
		if a.Source != "probe" {
			t.Errorf("attribute %+v, want it from the probe", a)
		}
	}
	if len(got.Conflicts) != 0 {
		t.Errorf("conflicts %+v, want none", got.Conflicts)
	}
}
