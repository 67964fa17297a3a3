package inventory

import (
	"slices"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/report"
)

// retain gives the machines of a report that had to leave out elements those that were
// known before: what such a report lacks is not gone, and must not be announced as gone.
// The machines of a report are complete at every level, so a machine that it lacks is gone.
//
// Attributes that were left out (LLDP, WWN, serial numbers) are not carried on: absent, they
// are "not known", while a part that was exchanged would have the serial number of the old.
//
// What is retained is in memory only. A replica that starts while a report is incomplete
// shows less than one that has seen a complete one; nothing on the hub could tell it.
func retain(known []Machine, reported []hardware.Machine, detail report.Detail) []hardware.Machine {
	elements := detail == report.DetailServers
	modules := detail == report.DetailNoDIMMs || detail == report.DetailNoSerials
	if !elements && !modules || len(known) == 0 {
		return reported
	}
	before := make(map[string]*Machine, len(known))
	for i := range known {
		before[known[i].Key] = &known[i]
	}
	for i := range reported {
		m := &reported[i]
		old, found := before[m.Key]
		switch {
		case !found:
		case elements:
			m.Elements = old.elements()
		default:
			m.Elements = withModules(m.Elements, old.elements())
		}
	}
	return reported
}

// withModules puts memory modules back where the report has only their sum. When the sum is
// another than it was, modules have changed, and the old ones would be wrong.
func withModules(reported, known []hardware.Element) []hardware.Element {
	from, to := memoryIn(reported)
	oldFrom, oldTo := memoryIn(known)
	if to-from != 1 || oldTo-oldFrom < 2 || memoryBytes(reported[from:to]) != memoryBytes(known[oldFrom:oldTo]) {
		return reported
	}
	return slices.Concat(reported[:from], known[oldFrom:oldTo], reported[to:])
}

// memoryIn tells where the memory is among elements in their order, which is by class.
func memoryIn(elements []hardware.Element) (from, to int) {
	isMemory := func(e hardware.Element) bool { return e.Class == hardware.Memory }
	if from = slices.IndexFunc(elements, isMemory); from < 0 {
		return 0, 0
	}
	for to = from; to < len(elements) && isMemory(elements[to]); to++ {
	}
	return from, to
}

func memoryBytes(elements []hardware.Element) uint64 {
	sum := uint64(0)
	for i := range elements {
		if d := elements[i].Memory; d != nil {
			sum += d.Bytes
		}
	}
	return sum
}
