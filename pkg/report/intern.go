package report

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// internLimit bounds the table of shared texts. A fleet has some thousands; a cluster
// that reports nonsense to fill the table costs others their sharing, nothing else.
const internLimit = 1 << 16

// internMaxBytes is the longest text worth sharing.
const internMaxBytes = 128

// interner keeps once what many machines have in common: vendors, models, drivers, labels,
// the flags of processors, the data of a memory module, a place on the PCI bus. It also
// gives back what the JSON decoder reserves for lists that do not grow any more. Together
// that saves about a third of a fleet's memory. What is unique to a machine (serial
// numbers, addresses, names) stays out of it.
//
// The standard library's unique was turned down: it forgets a text once no handle is
// left, and our types hold strings.
type interner struct {
	mu    sync.Mutex
	texts map[string]string
	lists map[string][]string
	prov  map[string]map[string]string

	numbers pointers[int]
	modules pointers[hardware.DIMM]
	places  pointers[hardware.PCIDevice]
	sriov   pointers[hardware.SRIOV]
	bios    pointers[hardware.BIOS]
	systems pointers[hardware.OS]
}

func newInterner() *interner {
	return &interner{
		texts: make(map[string]string), lists: make(map[string][]string), prov: make(map[string]map[string]string),
		numbers: make(pointers[int]), modules: make(pointers[hardware.DIMM]), places: make(pointers[hardware.PCIDevice]),
		sriov: make(pointers[hardware.SRIOV]), bios: make(pointers[hardware.BIOS]), systems: make(pointers[hardware.OS]),
	}
}

// share replaces what the machines hold by equal things that are in memory already.
func (in *interner) share(inv *Inventory) {
	in.mu.Lock()
	defer in.mu.Unlock()
	inv.Nodes = fitted(inv.Nodes)
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		in.server(&n.Server)
		n.Prov = in.provenance(n.Prov)
		n.Elements = fitted(n.Elements)
		for j := range n.Elements {
			in.element(&n.Elements[j])
		}
	}
}

// fitted returns a list without room to grow: the decoder doubles it as it goes, and up to
// half of a server's elements would stay empty.
func fitted[T any](list []T) []T {
	if cap(list)-len(list) <= len(list)/8 {
		return list
	}
	exact := make([]T, len(list))
	copy(exact, list)
	return exact
}

// pointers keeps values once that are pointed to from many places. It is bounded like the
// table of texts.
type pointers[T comparable] map[T]*T

func (known pointers[T]) share(p *T) *T {
	if p == nil {
		return nil
	}
	if first, ok := known[*p]; ok {
		return first
	}
	if len(known) >= internLimit/16 {
		clear(known)
	}
	known[*p] = p
	return p
}

func (in *interner) server(s *hardware.Server) {
	in.each(&s.Vendor, &s.Model, &s.Chassis, &s.SKU, &s.Virtual)
	if b := s.BIOS; b != nil {
		in.each(&b.Date, &b.Vendor, &b.Version)
		s.BIOS = in.bios.share(b)
	}
	if b := s.Board; b != nil {
		in.each(&b.Model, &b.Vendor, &b.Version)
	}
	for i := range s.NUMA {
		in.each(&s.NUMA[i].CPUs)
	}
	if o := s.OS; o != nil {
		in.each(&o.Architecture, &o.ContainerRuntime, &o.Kernel, &o.Kubelet, &o.Name)
		s.OS = in.systems.share(o)
	}
	if n := s.Node; n != nil {
		n.Allocatable, n.Capacity, n.Labels = in.mapping(n.Allocatable), in.mapping(n.Capacity), in.mapping(n.Labels)
		n.Roles, n.Taints = in.list(n.Roles), in.list(n.Taints)
		in.each(&n.Ready)
	}
}

func (in *interner) element(e *hardware.Element) {
	e.Class = hardware.Class(in.text(string(e.Class)))
	in.each(&e.Driver, &e.Firmware, &e.Model, &e.Parent, &e.Subtype, &e.Vendor)
	if e.Class != hardware.Storage { // a disk's slot holds its serial number
		in.each(&e.Slot)
	}
	if p := e.PCI; p != nil {
		in.each(&p.Address, &p.Device, &p.Subdevice, &p.Subvendor, &p.Vendor)
		e.PCI = in.places.share(p)
	}
	if c := e.CPU; c != nil {
		in.each(&c.Microcode, &c.Stepping)
		c.Flags = in.list(c.Flags)
	}
	if d := e.Memory; d != nil {
		in.each(&d.Type)
		e.Memory = in.modules.share(d)
	}
	if p := e.Port; p != nil {
		in.each(&p.Link, &p.Name)
		p.PHC = in.numbers.share(p.PHC)
	}
	e.NUMA, e.SRIOV = in.numbers.share(e.NUMA), in.sriov.share(e.SRIOV)
	if d := e.Disk; d != nil {
		in.each(&d.Controller, &d.Media, &d.Name)
	}
}

func (in *interner) each(texts ...*string) {
	for _, t := range texts {
		*t = in.text(*t)
	}
}

func (in *interner) text(s string) string {
	if s == "" || len(s) > internMaxBytes {
		return s
	}
	if known, ok := in.texts[s]; ok {
		return known
	}
	if len(in.texts) >= internLimit {
		in.texts = make(map[string]string)
	}
	in.texts[s] = s
	return s
}

// mapping returns m with shared keys and values.
func (in *interner) mapping(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	shared := make(map[string]string, len(m))
	for k, v := range m {
		shared[in.text(k)] = in.text(v)
	}
	return shared
}

// provenance shares the whole mapping: it says which source is good for what, and that is
// the same on all machines with the same sources.
func (in *interner) provenance(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	var text strings.Builder
	for _, path := range slices.Sorted(maps.Keys(m)) {
		text.WriteString(path)
		text.WriteByte(0)
		text.WriteString(m[path])
		text.WriteByte(0)
	}
	key := text.String()
	if known, ok := in.prov[key]; ok {
		return known
	}
	m = in.mapping(m)
	if len(key) > 16*internMaxBytes {
		return m
	}
	if len(in.prov) >= internLimit/64 {
		clear(in.prov)
	}
	in.prov[key] = m
	return m
}

// list shares whole lists: the hundred flags of a processor are the same all over a fleet.
func (in *interner) list(texts []string) []string {
	if len(texts) == 0 {
		return nil
	}
	key := strings.Join(texts, "\x00")
	if known, ok := in.lists[key]; ok && len(known) == len(texts) {
		return known
	}
	for i := range texts {
		texts[i] = in.text(texts[i])
	}
	if len(key) > 16*internMaxBytes {
		return texts
	}
	if len(in.lists) >= internLimit/64 {
		in.lists = make(map[string][]string)
	}
	in.lists[key] = texts
	return texts
}
