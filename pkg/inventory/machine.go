package inventory

import (
	"maps"
	"slices"
	"strings"
	"unsafe"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// Machine is a machine as the model keeps it: without provenance, which the report has and
// the API does not show, and with its elements folded. It never changes.
//
// A fleet of 10,000 servers has 350,000 elements of a few thousand makes and places. All
// but their serial numbers, ports and disks is kept once for all of them, which takes a
// third of the memory.
type Machine struct {
	Key    string          // identity; see hardware.ChooseKey
	Name   string          // of the Kubernetes Node
	Server hardware.Server // without labels, capacity and allocatable of the node

	labels, capacity, allocatable folded
	parts                         []part // by class and slot
}

// folded is a map of texts whose keys it has in common with others.
type folded struct {
	keys   []string // ascending; shared
	values []string
}

// mapping returns it as a map of the caller's own; nil when it is empty.
func (f folded) mapping() map[string]string {
	if len(f.keys) == 0 {
		return nil
	}
	m := make(map[string]string, len(f.keys))
	for i, key := range f.keys {
		m[key] = f.values[i]
	}
	return m
}

// Lookup returns the value of a key. With Has and Get it makes a folded map what selectors
// of labels look at.
func (f folded) Lookup(key string) (value string, found bool) {
	i, found := slices.BinarySearch(f.keys, key)
	if !found {
		return "", false
	}
	return f.values[i], true
}

// Has tells whether there is a key.
func (f folded) Has(key string) bool {
	_, found := f.Lookup(key)
	return found
}

// Get returns the value of a key, or "".
func (f folded) Get(key string) string {
	value, _ := f.Lookup(key)
	return value
}

// part is an element of a machine.
type part struct {
	shape  *hardware.Element // without what follows; shared
	slot   string
	serial string
	port   *hardware.PortState
	disk   *hardware.Disk
}

// Len counts the elements.
func (m *Machine) Len() int { return len(m.parts) }

// Element returns one of the elements, which are ordered by class and slot. What it points
// to is shared; nobody may change it.
func (m *Machine) Element(i int) hardware.Element {
	p := &m.parts[i]
	e := *p.shape
	e.Slot, e.Serial, e.Port, e.Disk = p.slot, p.serial, p.port, p.disk
	return e
}

// elements returns all of them, unfolded.
func (m *Machine) elements() []hardware.Element {
	list := make([]hardware.Element, m.Len())
	for i := range list {
		list[i] = m.Element(i)
	}
	return list
}

// elementsOf yields the machine's elements of one class.
func elementsOf(m *Machine, class hardware.Class) func(yield func(*hardware.Element) bool) {
	return func(yield func(*hardware.Element) bool) {
		for i := range m.parts {
			if m.parts[i].shape.Class != class {
				continue
			}
			if e := m.Element(i); !yield(&e) {
				return
			}
		}
	}
}

// find returns the place of the element with this class and slot.
func (m *Machine) find(class hardware.Class, slot string) (index int, found bool) {
	for i := range m.parts {
		if p := &m.parts[i]; p.slot == slot && p.shape.Class == class {
			return i, true
		}
	}
	return 0, false
}

// folder makes Machines of reported ones. What is alike it keeps once.
type folder struct {
	shapes  map[shapeKey]*hardware.Element
	systems map[hardware.OS]*hardware.OS
	bioses  map[hardware.BIOS]*hardware.BIOS
	keys    map[string][]string // of folded maps, by all of them in one text
}

// maxShapes bounds each of the folder's tables. A cluster that reports nonsense to fill
// them costs others their sharing, nothing else.
const maxShapes = 1 << 16

func newFolder() *folder {
	return &folder{
		shapes:  make(map[shapeKey]*hardware.Element),
		systems: make(map[hardware.OS]*hardware.OS),
		bioses:  make(map[hardware.BIOS]*hardware.BIOS),
		keys:    make(map[string][]string),
	}
}

// fold returns the machines of a report, from which it takes what they point to.
func (f *folder) fold(reported []hardware.Machine) []Machine {
	machines := make([]Machine, len(reported))
	for i := range reported {
		r, m := &reported[i], &machines[i]
		m.Key, m.Name, m.Server = r.Key, r.Name, r.Server
		m.Server.OS, m.Server.BIOS = shared(f.systems, r.Server.OS), shared(f.bioses, r.Server.BIOS)
		if n := r.Server.Node; n != nil {
			node := *n
			m.labels, m.capacity, m.allocatable = f.mapping(n.Labels), f.mapping(n.Capacity), f.mapping(n.Allocatable)
			node.Labels, node.Capacity, node.Allocatable = nil, nil, nil
			m.Server.Node = &node
		}
		m.parts = make([]part, len(r.Elements))
		for j := range r.Elements {
			m.parts[j] = f.part(&r.Elements[j])
		}
	}
	return machines
}

func (f *folder) part(e *hardware.Element) part {
	p := part{slot: e.Slot, serial: e.Serial, port: e.Port, disk: e.Disk}
	key := shapeOf(e)
	if p.shape = f.shapes[key]; p.shape == nil {
		shape := *e
		shape.Slot, shape.Serial, shape.Port, shape.Disk = "", "", nil, nil
		p.shape = &shape
		keep(f.shapes, key, p.shape)
	}
	return p
}

func (f *folder) mapping(m map[string]string) folded {
	if len(m) == 0 {
		return folded{}
	}
	keys := slices.Sorted(maps.Keys(m))
	name := strings.Join(keys, "\x00")
	if known, found := f.keys[name]; found && len(known) == len(keys) {
		keys = known
	} else {
		keep(f.keys, name, keys)
	}
	values := make([]string, len(keys))
	for i, key := range keys {
		values[i] = m[key]
	}
	return folded{keys, values}
}

// shared returns the first of equal values.
func shared[T comparable](known map[T]*T, v *T) *T {
	if v == nil {
		return nil
	}
	if first, found := known[*v]; found {
		return first
	}
	keep(known, *v, v)
	return v
}

func keep[K comparable, V any](table map[K]V, key K, value V) {
	if len(table) >= maxShapes {
		clear(table)
	}
	table[key] = value
}

// shapeKey is equal for elements that can share a shape.
type shapeKey struct {
	class                                    hardware.Class
	driver, firmware, model, parent, subtype string
	vendor                                   string
	numa                                     optional[int]
	memory                                   optional[hardware.DIMM]
	pci                                      optional[hardware.PCIDevice]
	sriov                                    optional[hardware.SRIOV]
	cpu                                      optional[cpuKey]
}

// cpuKey has the list of flags by its address: the decoder of reports keeps equal lists once.
type cpuKey struct {
	cores, maxMHz, mhz, threads int
	microcode, stepping         string
	flags                       *string
	flagCount                   int
}

// optional is a value that may be absent.
type optional[T comparable] struct {
	value T
	there bool
}

func opt[T comparable](v *T) optional[T] {
	if v == nil {
		return optional[T]{}
	}
	return optional[T]{*v, true}
}

func shapeOf(e *hardware.Element) shapeKey {
	key := shapeKey{
		class: e.Class, driver: e.Driver, firmware: e.Firmware, model: e.Model, parent: e.Parent, subtype: e.Subtype, vendor: e.Vendor,
		numa: opt(e.NUMA), memory: opt(e.Memory), pci: opt(e.PCI), sriov: opt(e.SRIOV),
	}
	if c := e.CPU; c != nil {
		key.cpu = optional[cpuKey]{cpuKey{
			cores: c.Cores, maxMHz: c.MaxMHz, mhz: c.MHz, threads: c.Threads, microcode: c.Microcode, stepping: c.Stepping,
			flags: unsafe.SliceData(c.Flags), flagCount: len(c.Flags),
		}, true}
	}
	return key
}
