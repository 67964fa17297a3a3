package hardware

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// observationsOfOneServer is a server as three sources see it: the probe reads the
// kernel, SMBIOS knows modules and serial numbers, the Node its place in the cluster.
func observationsOfOneServer() []Observation {
	return []Observation{
		{Source: "node", Machine: Machine{Server: Server{
			CPUs: 16, SystemUUID: "4c4c4544-0042-3510-8054-b2c04f503432",
			OS:   &OS{Kernel: "6.1.0", Kubelet: "v1.35.4"},
			Node: &NodeState{Ready: "True"},
		}}},
		{Source: "probe", Missing: []string{"ptp: permission denied", "dmi: permission denied"}, Machine: Machine{
			Server: Server{CPUs: 16, Vendor: "Dell", OS: &OS{Kernel: "6.1.0-rt"}},
			Elements: []Element{
				{Class: Processor, Slot: "socket/0", Model: "Xeon 6338N", CPU: &CPU{Cores: 8, Threads: 16}},
				{Class: Memory, Slot: TotalMemorySlot, Memory: &DIMM{Bytes: 64 << 30}},
				{Class: Adapter, Slot: "0000:01:00", Model: "E810"},
				{Class: Port, Slot: "0000:01:00.0", Parent: "adapter|0000:01:00", PCI: &PCIDevice{Address: "0000:01:00.0"}, Port: &PortState{MAC: "b8:ce:f6:00:00:01", Link: "up"}},
			},
		}},
		{Source: "smbios", Machine: Machine{
			Server: Server{Vendor: "Dell Inc.", Serial: "BT5P242"},
			Elements: []Element{
				{Class: Processor, Slot: "socket/0", Model: "Intel(R) Xeon(R) Gold 6338N", CPU: &CPU{Cores: 8}},
				{Class: Memory, Slot: "A1", Memory: &DIMM{Bytes: 32 << 30}},
				{Class: Memory, Slot: "B1", Memory: &DIMM{Bytes: 32 << 30}},
			},
		}},
		{Source: "metal3", Machine: Machine{Elements: []Element{
			{Class: Port, Slot: "net/eno1", Port: &PortState{MAC: "B8:CE:F6:00:00:01", Link: "down", LLDP: &LLDP{Switch: "leaf-1"}}},
		}}},
	}
}

func TestMerge(t *testing.T) {
	m := Merge("edge-1-a", observationsOfOneServer())

	if m.Name != "edge-1-a" || m.Server.Vendor != "Dell Inc." || m.Server.Serial != "BT5P242" {
		t.Errorf("server = %+v, want vendor and serial of SMBIOS", m.Server)
	}
	if got := m.Server.OS.Kernel; got != "6.1.0" {
		t.Errorf("kernel = %q, want what the Node says", got)
	}
	var slots []string
	for _, e := range m.Elements {
		slots = append(slots, string(e.Class)+"|"+e.Slot)
	}
	want := []string{"adapter|0000:01:00", "memory|A1", "memory|B1", "port|0000:01:00.0", "processor|socket/0"}
	if !reflect.DeepEqual(slots, want) {
		t.Fatalf("elements = %v, want %v", slots, want)
	}
	port := m.Elements[3]
	if port.Port.Link != "up" || port.Port.LLDP.Switch != "leaf-1" || port.Parent != "adapter|0000:01:00" {
		t.Errorf("port = %+v %+v, want the probe's link and Metal3's neighbour", port, port.Port)
	}
	if got := m.Elements[4].CPU; got.Cores != 8 || got.Threads != 16 {
		t.Errorf("processor = %+v, want what both sources know", got)
	}

	for path, letter := range map[string]string{
		"server.serial": "s", "server.vendor": "s", "server.node.ready": "n", "server.os.kernel": "n",
		"processor|socket/0.model": "s", "processor|socket/0.processor.threads": "p",
		"port|0000:01:00.0.port.link": "p", "port|0000:01:00.0.port.lldp.switch": "m",
		"adapter|0000:01:00.model": "p", "memory|A1.memory.bytes": "s",
	} {
		if got := SourceOf(m.Prov, path); got != letter {
			t.Errorf("SourceOf(%q) = %q, want %q in %v", path, got, letter, m.Prov)
		}
	}

	wantConflicts := []string{"port|0000:01:00.0.port.link", "processor|socket/0.model", "server.os.kernel", "server.vendor"}
	var conflicts []string
	for _, c := range m.Conflicts {
		conflicts = append(conflicts, c.Path)
	}
	if !reflect.DeepEqual(conflicts, wantConflicts) {
		t.Errorf("conflicts on %v, want %v", conflicts, wantConflicts)
	}
	if want := []SourceState{{Name: "probe", Missing: []string{"dmi: permission denied", "ptp: permission denied"}}}; !reflect.DeepEqual(m.Sources, want) {
		t.Errorf("sources = %+v, want %+v", m.Sources, want)
	}
}

func TestMergeDoesNotDependOnTheOrderOfSources(t *testing.T) {
	want, err := json.Marshal(Merge("n", observationsOfOneServer()))
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		observations := observationsOfOneServer()
		rotated := append(observations[1:], observations[0])
		slices.Reverse(rotated)
		got, err := json.Marshal(Merge("n", rotated))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("Merge of the same sources in another order:\n%s\nwant\n%s", got, want)
		}
	}
}

func TestMergeKeepsTwoThingsOfOneSourceApart(t *testing.T) {
	// Two disks behind one controller report the same serial number (cheap enclosures do).
	m := Merge("n", []Observation{{Source: "probe", Machine: Machine{Elements: []Element{
		{Class: Storage, Slot: "dev/sda", Serial: "ENCLOSURE1"},
		{Class: Storage, Slot: "dev/sdb", Serial: "ENCLOSURE1"},
		{Class: Storage, Slot: "dev/sdb", Serial: "OTHER"},
	}}}})
	var slots []string
	for _, e := range m.Elements {
		slots = append(slots, e.Slot)
	}
	if want := []string{"dev/sda", "dev/sdb", "dev/sdb#2"}; !reflect.DeepEqual(slots, want) {
		t.Errorf("slots = %q, want %q", slots, want)
	}
}

func TestMergeOfNothing(t *testing.T) {
	if m := Merge("n", nil); m.Name != "n" || len(m.Elements) != 0 || m.Prov == nil {
		t.Errorf("Merge of nothing = %+v", m)
	}
}

// TestFieldsStandInCanonicalOrder keeps encoding/json writing canonical JSON.
func TestFieldsStandInCanonicalOrder(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var check func(reflect.Type)
	check = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		var names []string
		for i := range typ.NumField() {
			names = append(names, jsonName(typ.Field(i)))
			check(typ.Field(i).Type)
		}
		if !slices.IsSorted(names) {
			t.Errorf("%s: fields in the order %s, want ascending by JSON name", typ, strings.Join(names, ", "))
		}
	}
	check(reflect.TypeFor[Machine]())
}

func BenchmarkMerge(b *testing.B) {
	observations := observationsOfOneServer()
	b.ReportAllocs()
	for b.Loop() {
		Merge("n", observations)
	}
}
