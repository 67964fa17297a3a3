package report

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// What machines share must be what they would have alone.
func TestSharingChangesNothing(t *testing.T) {
	in := newInterner()
	for seed := range uint64(20) {
		shared, alone := synthetic("edge-1", 3, seed), synthetic("edge-1", 3, seed)
		in.share(&shared)
		if !reflect.DeepEqual(shared, alone) {
			t.Fatalf("seed %d: got %+v, want %+v", seed, shared, alone)
		}
	}
}

func TestEqualPartsAreInMemoryOnce(t *testing.T) {
	a, b := synthetic("edge-1", 1, 1), synthetic("edge-1", 1, 1)
	in := newInterner()
	in.share(&a)
	in.share(&b)
	first, second := &a.Nodes[0], &b.Nodes[0]
	if first.Server.BIOS != second.Server.BIOS || first.Server.OS != second.Server.OS {
		t.Error("firmware or operating system are in memory twice")
	}
	if reflect.ValueOf(first.Prov).Pointer() != reflect.ValueOf(second.Prov).Pointer() {
		t.Error("provenance is in memory twice")
	}
	for i := range first.Elements {
		e, f := &first.Elements[i], &second.Elements[i]
		if e.Memory != f.Memory || e.PCI != f.PCI || e.SRIOV != f.SRIOV || e.NUMA != f.NUMA {
			t.Errorf("data of element %s|%s is in memory twice", e.Class, e.Slot)
		}
		if e.Port != nil && e.Port == f.Port {
			t.Errorf("port %s has its address from another machine", e.Slot)
		}
	}
}

func TestListsHaveNoRoomToGrow(t *testing.T) {
	// Which lengths the decoder has too much room for depends on the allocator: try several.
	for more := range 8 {
		inv := synthetic("edge-1", 3, 1)
		for i := range more {
			port := hardware.Element{Class: hardware.Port, Slot: fmt.Sprintf("net/eth%d", i)}
			inv.Nodes[0].Elements = append(inv.Nodes[0].Elements, port)
		}
		got, err := mustDecoder(t).Decode("edge-1", written(t, inv))
		if err != nil {
			t.Fatal(err)
		}
		m := got.Inventory.Nodes[0]
		if room := cap(m.Elements) - len(m.Elements); room > len(m.Elements)/8 {
			t.Errorf("room for %d elements more than the %d there are", room, len(m.Elements))
		}
	}
	short := make([]hardware.Element, 3, 64)
	if got := fitted(short); len(got) != 3 || cap(got) != 3 || !slices.EqualFunc(got, short, func(a, b hardware.Element) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("fitted = %d of %d", len(got), cap(got))
	}
}

func TestTheTablesOfSharedPartsAreBounded(t *testing.T) {
	in := newInterner()
	for i := range internLimit {
		in.numbers.share(&i)
		in.provenance(map[string]string{"server": string(rune('a' + i))})
	}
	if len(in.numbers) > internLimit/16 || len(in.prov) > internLimit/64 {
		t.Errorf("%d numbers and %d provenances, want at most %d and %d", len(in.numbers), len(in.prov), internLimit/16, internLimit/64)
	}
}
