package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/report"
)

// stocked is a machine with two memory modules.
func stocked(name, key string) hardware.Machine {
	m := machine(name, key)
	second := m.Elements[2]
	second.Slot = "DIMM A2"
	m.Elements = slices.Insert(m.Elements, 3, second)
	return m
}

// summed is the same with one element for all memory.
func summed(m hardware.Machine, bytes uint64) hardware.Machine {
	m.Elements = slices.Delete(slices.Clone(m.Elements), 2, 4)
	m.Elements = slices.Insert(m.Elements, 2, hardware.Element{Class: hardware.Memory, Slot: "total", Memory: &hardware.DIMM{Bytes: bytes}})
	return m
}

func bare(m hardware.Machine) hardware.Machine {
	m.Elements = nil
	return m
}

// TestAnIncompleteReportRemovesNothing sends reports of each level after a complete one.
func TestAnIncompleteReportRemovesNothing(t *testing.T) {
	const modules, total = "memory|DIMM A1 memory|DIMM A2", "memory|total"
	rest := []string{"accelerator|0000:03:00", "adapter|0000:01:00", "port|0000:01:00.0", "processor|socket/0", "ptpClock|phc/0000:01:00.0", "storage|sn/S1"}
	with := func(memory string) string {
		return strings.Join(slices.Sorted(slices.Values(append(strings.Fields(strings.ReplaceAll(memory, "DIMM ", "DIMM_")), rest...))), " ")
	}
	a, b := stocked("a", "uuid:a"), stocked("b", "uuid:b")
	for _, tc := range []struct {
		name   string
		detail report.Detail
		nodes  []hardware.Machine
		want   map[string]string // elements by node
	}{
		{"complete, a module taken out", report.DetailFull, []hardware.Machine{machine("a", "uuid:a"), b},
			map[string]string{"a": with("memory|DIMM A1"), "b": with(modules)}},
		{"without LLDP", report.DetailNoLLDP, []hardware.Machine{a, b}, map[string]string{"a": with(modules), "b": with(modules)}},
		{"without LLDP an element is gone", report.DetailNoLLDP, []hardware.Machine{machine("a", "uuid:a"), b},
			map[string]string{"a": with("memory|DIMM A1"), "b": with(modules)}},
		{"without modules", report.DetailNoDIMMs, []hardware.Machine{summed(a, 64<<30), b}, map[string]string{"a": with(modules), "b": with(modules)}},
		{"without serials", report.DetailNoSerials, []hardware.Machine{summed(a, 64<<30), summed(b, 64<<30)}, map[string]string{"a": with(modules), "b": with(modules)}},
		{"other memory", report.DetailNoDIMMs, []hardware.Machine{summed(a, 128<<30), b}, map[string]string{"a": with(total), "b": with(modules)}},
		{"servers only", report.DetailServers, []hardware.Machine{bare(a), bare(b)}, map[string]string{"a": with(modules), "b": with(modules)}},
		{"servers only, one gone, one new", report.DetailServers, []hardware.Machine{bare(a), bare(stocked("c", "uuid:c"))}, map[string]string{"a": with(modules), "c": ""}},
		{"servers only, another machine of the same name", report.DetailServers, []hardware.Machine{bare(stocked("a", "uuid:z"))}, map[string]string{"a": ""}},
		{"nothing", report.DetailNone, nil, map[string]string{"a": with(modules), "b": with(modules)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newModel(t)
			m.SetCluster(facts("edge-1", 1))
			m.setNodes("edge-1", stocked("a", "uuid:a"), stocked("b", "uuid:b"))
			inv, head := inventoryOf("edge-1", tc.nodes...)
			head.Detail = tc.detail
			for range 2 { // what is retained stays retained
				inv.Nodes = slices.Clone(tc.nodes)
				m.SetReport("edge-1", inv, head)
			}
			if got := elementsByNode(m); !maps.Equal(got, tc.want) {
				t.Errorf("elements are\n%v\nwant\n%v", got, tc.want)
			}
			m.setNodes("edge-1", stocked("a", "uuid:a"), stocked("b", "uuid:b"))
			m.RemoveCluster("edge-1")
			if n := hardwareTypes(m.Snapshot()); n+len(m.pools) != 0 {
				t.Errorf("left behind: %d types", n)
			}
		})
	}
}

func elementsByNode(m *Model) map[string]string {
	found := make(map[string]string)
	for _, srv := range servers(m) {
		var names []string
		for _, e := range srv.Machine.elements() {
			names = append(names, fmt.Sprintf("%s|%s", e.Class, strings.ReplaceAll(e.Slot, "DIMM ", "DIMM_")))
		}
		found[srv.Machine.Name] = strings.Join(slices.Sorted(slices.Values(names)), " ")
	}
	return found
}
