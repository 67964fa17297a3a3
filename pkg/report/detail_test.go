package report

import (
	"reflect"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// reduce drops detail down to a level.
func reduce(inv Inventory, to Detail) Inventory {
	if to == DetailFull {
		return inv
	}
	for _, s := range steps() {
		if inv = s.apply(inv); s.to == to {
			break
		}
	}
	return inv
}

func bodyAt(t *testing.T, inv Inventory, level Detail) string {
	t.Helper()
	body, err := reduce(inv, level).Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestEachLevelDropsWhatItSays(t *testing.T) {
	inv := synthetic("edge-1", 1, 5)
	m := &inv.Nodes[0]
	m.Prov["port|0000:10:00.0.port.lldp.system"] = "f"
	m.Prov["memory|A1.serial"] = "r"
	m.Prov["storage.serial"] = "r"
	m.Conflicts = []hardware.Conflict{
		{Path: "server.serial", Kept: "a", Other: "b", Source: "node", Winner: "smbios"},
		{Path: "memory|A1.model", Kept: "a", Other: "b", Source: "redfish", Winner: "smbios"},
	}
	for _, tc := range []struct {
		level   Detail
		gone    []string
		present []string
	}{
		{DetailFull, nil, []string{`"lldp"`, `"wwn"`, `"machineID"`, `"slot":"A1"`, `memory|A1.model`}},
		{DetailNoLLDP, []string{`"lldp"`, `port.lldp`}, []string{`"wwn"`, `"machineID"`, `"mac"`}},
		{DetailNoIDs, []string{`"lldp"`, `"wwn"`, `"machineID"`, `"subvendor"`, `"systemUUID"`}, []string{`"slot":"A1"`, `"key":"uuid:`, `"vendor":"8086"`}},
		{DetailNoDIMMs, []string{`"wwn"`, `"slot":"A1"`, `memory|A1`}, []string{`"slot":"total"`, `"memory":"s"`, m.Server.Board.Serial}},
		{DetailNoSerials, []string{`"slot":"A1"`, `"serial":"` + m.Server.Board.Serial, `storage.serial`}, []string{`"serial":"` + m.Server.Serial, `server.serial`, `"class":"storage"`}},
		{DetailServers, []string{`"elements"`, `"class"`, `"port":"p"`}, []string{`"server":`, `"server":"s"`, `server.serial`}},
	} {
		body := bodyAt(t, inv, tc.level)
		for _, text := range tc.gone {
			if strings.Contains(body, text) {
				t.Errorf("%s still has %s", tc.level, text)
			}
		}
		for _, text := range tc.present {
			if !strings.Contains(body, text) {
				t.Errorf("%s has lost %s", tc.level, text)
			}
		}
		if !tc.level.known() {
			t.Errorf("level %s is not known", tc.level)
		}
	}
}

func TestSystemUUIDStaysWhenTheKeyIsAnother(t *testing.T) {
	inv := synthetic("edge-1", 1, 5)
	inv.Nodes[0].Key = "sn:dell|ABC1234"
	if body := bodyAt(t, inv, DetailNoIDs); !strings.Contains(body, `"systemUUID"`) {
		t.Error("the system UUID is gone, and the key does not tell it")
	}
}

func TestMergeDIMMs(t *testing.T) {
	dimm := func(slot, model string, gib uint64, ecc bool) hardware.Element {
		return hardware.Element{Class: hardware.Memory, Slot: slot, Model: model, Vendor: "Samsung", Memory: &hardware.DIMM{Bytes: gib << 30, ECC: ecc, MTs: 4800, Type: "DDR5"}}
	}
	cpu := hardware.Element{Class: hardware.Processor, Slot: "socket/0"}
	for _, tc := range []struct {
		name     string
		in, want []hardware.Element
	}{
		{"none", []hardware.Element{cpu}, []hardware.Element{cpu}},
		{"one keeps its slot", []hardware.Element{dimm("A1", "x", 16, true)}, []hardware.Element{dimm("A1", "x", 16, true)}},
		{"equal", []hardware.Element{dimm("A1", "x", 16, true), dimm("A2", "x", 16, true), cpu}, []hardware.Element{dimm("total", "x", 32, true), cpu}},
		{"mixed", []hardware.Element{dimm("A1", "x", 16, true), dimm("A2", "y", 32, false)}, []hardware.Element{dimm("total", "", 48, false)}},
		{
			"one says nothing", []hardware.Element{{Class: hardware.Memory, Slot: "A1"}, {Class: hardware.Memory, Slot: "A2"}},
			[]hardware.Element{{Class: hardware.Memory, Slot: "total", Memory: &hardware.DIMM{}}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := hardware.Machine{Elements: tc.in}
			mergeDIMMs(&m)
			if !reflect.DeepEqual(m.Elements, tc.want) {
				t.Errorf("got %+v, want %+v", m.Elements, tc.want)
			}
		})
	}
}
