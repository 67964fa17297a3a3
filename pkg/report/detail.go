package report

import (
	"slices"
	"strings"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// Detail names how much of what the agent knows is in a report. Each level leaves out
// what the levels before it leave out, too.
type Detail string

// The levels of detail, from everything to nothing.
const (
	DetailFull      Detail = "full"      // everything
	DetailNoLLDP    Detail = "nolldp"    // without the neighbours of ports
	DetailNoIDs     Detail = "noids"     // and without secondary identifiers: WWN, machine ID, PCI subsystem
	DetailNoDIMMs   Detail = "nodimms"   // and with one element for all memory
	DetailNoSerials Detail = "noserials" // and without the serial numbers of boards and elements
	DetailServers   Detail = "servers"   // servers without elements
	DetailNone      Detail = "none"      // no body, only counts
)

// step leads from one level of detail to the next.
type step struct {
	to Detail

	// strip takes the detail out of a machine, which is ours to change.
	strip func(m *hardware.Machine)

	// lost tells which paths of provenance and conflicts no longer lead anywhere.
	lost func(path string) bool
}

// steps are the declared order in which detail is dropped: what an SMO misses least, and
// what costs most, goes first.
func steps() []step {
	return []step{
		{DetailNoLLDP, stripLLDP, func(p string) bool { return strings.HasSuffix(p, ".port.lldp") || strings.Contains(p, ".port.lldp.") }},
		{DetailNoIDs, stripIDs, isSecondaryID},
		{DetailNoDIMMs, mergeDIMMs, func(p string) bool { return strings.HasPrefix(p, string(hardware.Memory)+"|") }},
		{DetailNoSerials, stripSerials, func(p string) bool { return strings.HasSuffix(p, ".serial") && p != "server.serial" }},
		{DetailServers, func(m *hardware.Machine) { m.Elements = nil }, func(p string) bool { return p != "server" && !strings.HasPrefix(p, "server.") }},
	}
}

func (d Detail) known() bool {
	return d == DetailFull || d == DetailNone || slices.ContainsFunc(steps(), func(s step) bool { return s.to == d })
}

// apply returns inv with less detail and leaves inv as it is.
func (s step) apply(inv Inventory) Inventory {
	inv.Nodes = slices.Clone(inv.Nodes)
	for i := range inv.Nodes {
		m := &inv.Nodes[i]
		m.Elements = slices.Clone(m.Elements)
		s.strip(m)
		m.Conflicts = slices.DeleteFunc(slices.Clone(m.Conflicts), func(c hardware.Conflict) bool { return s.lost(c.Path) })
		m.Prov = without(m.Prov, s.lost)
	}
	return inv
}

func without(prov map[string]string, lost func(string) bool) map[string]string {
	kept := make(map[string]string, len(prov))
	for path, letter := range prov {
		if !lost(path) {
			kept[path] = letter
		}
	}
	return kept
}

func stripLLDP(m *hardware.Machine) {
	for i := range m.Elements {
		if p := m.Elements[i].Port; p != nil && p.LLDP != nil {
			bare := *p
			bare.LLDP = nil
			m.Elements[i].Port = &bare
		}
	}
}

// stripIDs leaves the machine's key and the elements' slots alone: resourceIds come from
// them. A system UUID that is the key itself says nothing new.
func stripIDs(m *hardware.Machine) {
	m.Server.MachineID = ""
	if m.Key == "uuid:"+m.Server.SystemUUID {
		m.Server.SystemUUID = ""
	}
	for i := range m.Elements {
		e := &m.Elements[i]
		if e.PCI != nil {
			bare := *e.PCI
			bare.Subvendor, bare.Subdevice = "", ""
			e.PCI = &bare
		}
		if e.Disk != nil {
			bare := *e.Disk
			bare.WWN = ""
			e.Disk = &bare
		}
	}
}

func isSecondaryID(path string) bool {
	return path == "server.machineID" || path == "server.systemUUID" ||
		strings.HasSuffix(path, ".storage.wwn") ||
		strings.HasSuffix(path, ".pci.subvendor") || strings.HasSuffix(path, ".pci.subdevice")
}

// mergeDIMMs makes one memory element, slot "total", of several. It keeps what all
// modules share.
func mergeDIMMs(m *hardware.Machine) {
	isDIMM := func(e hardware.Element) bool { return e.Class == hardware.Memory }
	total := hardware.Element{Class: hardware.Memory, Slot: "total"}
	found := 0
	for _, e := range m.Elements {
		if !isDIMM(e) {
			continue
		}
		if found++; found == 1 {
			total.Vendor, total.Model = e.Vendor, e.Model
			total.Memory = &hardware.DIMM{}
			if e.Memory != nil {
				*total.Memory = *e.Memory
			}
			continue
		}
		total.Vendor, total.Model = common(total.Vendor, e.Vendor), common(total.Model, e.Model)
		addDIMM(total.Memory, e.Memory)
	}
	if found < 2 {
		return
	}
	m.Elements = append(slices.DeleteFunc(m.Elements, isDIMM), total)
	slices.SortStableFunc(m.Elements, compareElements)
}

func addDIMM(sum, d *hardware.DIMM) {
	if d == nil {
		d = &hardware.DIMM{}
	}
	sum.Bytes += d.Bytes
	sum.ECC = sum.ECC && d.ECC
	sum.MTs = common(sum.MTs, d.MTs)
	sum.Type = common(sum.Type, d.Type)
}

// common is what a and b have in common: themselves when they are equal, else nothing.
func common[T comparable](a, b T) T {
	if a == b {
		return a
	}
	var none T
	return none
}

// stripSerials keeps the server's own serial number: an SMO knows the machine by it.
func stripSerials(m *hardware.Machine) {
	if b := m.Server.Board; b != nil {
		bare := *b
		bare.Serial = ""
		m.Server.Board = &bare
	}
	for i := range m.Elements {
		m.Elements[i].Serial = ""
	}
}
