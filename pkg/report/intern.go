package report

import (
	"strings"
	"sync"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// internLimit bounds the table of shared texts. A fleet has some thousands; a cluster
// that reports nonsense to fill the table costs others their sharing, nothing else.
const internLimit = 1 << 16

// internMaxBytes is the longest text worth sharing.
const internMaxBytes = 128

// interner keeps texts once that many machines have in common: vendors, models, drivers,
// labels, the flags of processors. It saves about a quarter of a fleet's memory. What is
// unique to a machine (serial numbers, addresses, names) stays out of it.
//
// The standard library's unique was turned down: it forgets a text once no handle is
// left, and our types hold strings.
type interner struct {
	mu    sync.Mutex
	texts map[string]string
	lists map[string][]string
}

func newInterner() *interner {
	return &interner{texts: make(map[string]string), lists: make(map[string][]string)}
}

// share replaces texts of the machines by equal ones that are in memory already.
func (in *interner) share(nodes []hardware.Machine) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range nodes {
		in.server(&nodes[i].Server)
		nodes[i].Prov = in.mapping(nodes[i].Prov)
		for j := range nodes[i].Elements {
			in.element(&nodes[i].Elements[j])
		}
	}
}

func (in *interner) server(s *hardware.Server) {
	in.each(&s.Vendor, &s.Model, &s.Chassis, &s.SKU, &s.Virtual)
	if b := s.BIOS; b != nil {
		in.each(&b.Date, &b.Vendor, &b.Version)
	}
	if b := s.Board; b != nil {
		in.each(&b.Model, &b.Vendor, &b.Version)
	}
	for i := range s.NUMA {
		in.each(&s.NUMA[i].CPUs)
	}
	if o := s.OS; o != nil {
		in.each(&o.Architecture, &o.ContainerRuntime, &o.Kernel, &o.Kubelet, &o.Name)
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
	}
	if c := e.CPU; c != nil {
		in.each(&c.Microcode, &c.Stepping)
		c.Flags = in.list(c.Flags)
	}
	if d := e.Memory; d != nil {
		in.each(&d.Type)
	}
	if p := e.Port; p != nil {
		in.each(&p.Link, &p.Name)
	}
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
