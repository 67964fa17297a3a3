package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/digitalocean/go-smbios/smbios"
	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
)

// smbiosTables is what we use of a machine's SMBIOS tables.
type smbiosTables struct {
	server     hardware.Server
	processors []hardware.Element // populated sockets in the order of the tables, slots not yet known
	modules    []hardware.Element // memory modules
}

// Types of SMBIOS structures that we decode.
//
// Source: DMTF DSP0134, System Management BIOS Reference Specification, clause 7.
const (
	typeBIOS        = 0
	typeSystem      = 1
	typeBoard       = 2
	typeChassis     = 3
	typeProcessor   = 4
	typeMemoryArray = 16
	typeMemory      = 17
)

const smbiosDir = "sys/firmware/dmi/tables"

// readSMBIOS reads the tables that the kernel exports. Without tables both results are
// nil; with tables that cannot be used the observation says why.
func (m *inspection) readSMBIOS() (*smbiosTables, *hardware.Observation) {
	if !m.host.exists(smbiosDir, "DMI") {
		return nil, nil
	}
	own := &host{root: m.host.root} // what is refused here is this source's trouble
	entry := own.bytes("smbios", smbiosDir, "smbios_entry_point")
	table := own.bytes("smbios", smbiosDir, "DMI")
	o := &hardware.Observation{Source: sourceSMBIOS, Missing: own.missing()}
	if entry == nil || table == nil {
		return nil, o
	}
	t, err := parseSMBIOS(entry, table)
	if err != nil {
		o.Err = err.Error()
		return nil, o
	}
	o.Machine.Server = t.server
	o.Machine.Elements = slices.Concat(t.processors, t.modules)
	return t, o
}

// matchSockets gives the processors of the tables the slots that the probe found: the
// n-th populated socket is the n-th package of the kernel. Where the two disagree on how
// many there are (hypervisors do), the tables' processors are numbered by themselves.
func matchSockets(fromTables, fromProbe []hardware.Element) {
	var slots []string
	for _, e := range fromProbe {
		if e.Class == hardware.Processor {
			slots = append(slots, e.Slot)
		}
	}
	n := 0
	for i := range fromTables {
		if fromTables[i].Class != hardware.Processor {
			continue
		}
		fromTables[i].Slot = socketSlot(n)
		if n < len(slots) {
			fromTables[i].Slot = slots[n]
		}
		n++
	}
}

// parseSMBIOS decodes an entry point and the structure table it describes. An error
// wraps fault.Invalid.
func parseSMBIOS(entry, table []byte) (*smbiosTables, error) {
	ep, err := smbios.ParseEntryPoint(bytes.NewReader(entry))
	if err != nil {
		return nil, fmt.Errorf("smbios entry point: %w: %w", err, fault.Invalid)
	}
	// Some firmware leaves out the structure that ends the table.
	const end = "\x7f\x04\x00\x00\x00\x00"
	structures, err := smbios.NewDecoder(bytes.NewReader(append(slices.Clone(table), end...))).Decode()
	if err != nil {
		return nil, fmt.Errorf("smbios table: %w: %w", err, fault.Invalid)
	}
	t := &smbiosTables{}
	major, minor, _ := ep.Version()
	t.decode(structures, major > 2 || major == 2 && minor >= 6)
	return t, nil
}

// decode takes the structures one by one. mixedEndian says how UUIDs are stored.
func (t *smbiosTables) decode(structures []*smbios.Structure, mixedEndian bool) {
	arrays := map[uint16]structure{}
	var modules []structure
	for _, raw := range structures {
		s := structure{raw}
		switch raw.Header.Type {
		case typeBIOS:
			if t.server.BIOS == nil {
				t.server.BIOS = present(hardware.BIOS{Vendor: s.text(0x04), Version: s.text(0x05), Date: s.text(0x08)})
			}
		case typeSystem:
			t.system(s, mixedEndian)
		case typeBoard:
			if t.server.Board == nil || s.byte(0x09)&1 != 0 && t.server.Board.Serial == "" { // bit 0: hosting board
				t.server.Board = present(hardware.Board{
					Vendor: s.text(0x04), Model: s.text(0x05), Version: s.text(0x06), Serial: s.text(0x07),
				})
			}
		case typeChassis:
			if t.server.Chassis == "" {
				t.server.Chassis = chassisTypes[s.byte(0x05)&0x7f]
			}
		case typeProcessor:
			t.processor(s)
		case typeMemoryArray:
			arrays[raw.Header.Handle] = s
		case typeMemory:
			modules = append(modules, s)
		}
	}
	t.memory(arrays, modules)
}

// system decodes type 1, clause 7.2.
func (t *smbiosTables) system(s structure, mixedEndian bool) {
	v := &t.server
	v.Vendor, v.Model, v.Serial, v.SKU = s.text(0x04), s.text(0x05), s.text(0x07), s.text(0x19)
	if id := s.slice(0x08, 16); id != nil {
		v.SystemUUID = systemUUID(id, mixedEndian)
	}
}

// systemUUID reads a system UUID. Since version 2.6 its first three fields are stored
// with the lowest byte first, and the kernel shows it accordingly.
//
// Source: DSP0134, clause 7.2.1.
func systemUUID(b []byte, mixedEndian bool) string {
	var u uuid.UUID
	copy(u[:], b)
	if mixedEndian {
		slices.Reverse(u[0:4])
		slices.Reverse(u[4:6])
		slices.Reverse(u[6:8])
	}
	return known(u.String())
}

// processor decodes type 4, clause 7.5.
func (t *smbiosTables) processor(s structure) {
	const central = 3
	populated := s.byte(0x18)&(1<<6) != 0
	if s.byte(0x05) != central || !populated {
		return
	}
	cores := s.count(0x23, 0x2a)
	enabled := s.count(0x24, 0x2c)
	threads := s.count(0x25, 0x2e)
	if enabled != 0 && enabled < cores { // the count of threads is that of all cores
		cores, threads = enabled, 0
	}
	t.processors = append(t.processors, hardware.Element{
		Class:  hardware.Processor,
		Vendor: strings.ReplaceAll(s.text(0x07), "(R)", ""),
		Model:  s.text(0x10),
		Serial: s.text(0x20),
		CPU:    cpuDetails(hardware.CPU{Cores: cores, Threads: threads, MHz: int(s.word(0x16))}),
	})
}

// cpuDetails is present for processors, whose flags cannot be compared; tables have none.
func cpuDetails(c hardware.CPU) *hardware.CPU {
	if c.Cores == 0 && c.Threads == 0 && c.MHz == 0 {
		return nil
	}
	return &c
}

// memory decodes the modules, type 17, with what their arrays, type 16, say of them.
func (t *smbiosTables) memory(arrays map[uint16]structure, modules []structure) {
	const systemMemory = 3
	var populated []structure
	for _, s := range modules {
		array, ok := arrays[s.word(0x04)]
		if moduleBytes(s) > 0 && (!ok || array.byte(0x05) == systemMemory) {
			populated = append(populated, s)
		}
	}
	taken := map[string]bool{}
	for i, s := range populated {
		slot := locator(populated, i)
		for taken[slot] { // one board's place may be called what we call another's
			slot += "+"
		}
		taken[slot] = true
		size := moduleBytes(s)
		correction := byte(0)
		if array, ok := arrays[s.word(0x04)]; ok {
			correction = array.byte(0x06)
		}
		const singleBit, multiBit = 5, 6
		t.server.MemoryBytes += size
		t.modules = append(t.modules, hardware.Element{
			Class:  hardware.Memory,
			Slot:   slot,
			Vendor: s.text(0x17),
			Model:  s.text(0x1a),
			Serial: s.text(0x18),
			Memory: &hardware.DIMM{
				Bytes: size,
				ECC:   correction == singleBit || correction == multiBit,
				MTs:   moduleSpeed(s),
				Type:  memoryTypes[s.byte(0x12)],
			},
		})
	}
}

// locator names the place of the i-th module. Boards with several sockets may number
// the places of each anew: then the bank's name tells them apart, or else the order.
func locator(modules []structure, i int) string {
	names := []func(structure) string{
		func(s structure) string { return s.text(0x10) },
		func(s structure) string { return s.text(0x11) + "/" + s.text(0x10) },
	}
	for _, name := range names {
		mine, same := name(modules[i]), 0
		for _, other := range modules {
			if name(other) == mine {
				same++
			}
		}
		if strings.Trim(mine, "/") != "" && same == 1 {
			return mine
		}
	}
	return fmt.Sprintf("module/%d", i)
}

// moduleBytes is the size of a memory module, 0 for an empty place.
//
// Source: DSP0134, clause 7.18.4 and 7.18.5.
func moduleBytes(s structure) uint64 {
	switch size := s.word(0x0c); {
	case size == 0, size == 0xffff:
		return 0
	case size == 0x7fff:
		return uint64(s.dword(0x1c)&0x7fffffff) << 20
	case size&0x8000 != 0:
		return uint64(size&0x7fff) << 10
	default:
		return uint64(size) << 20
	}
}

// moduleSpeed is the speed a module runs at, else the one it could run at, in MT/s.
func moduleSpeed(s structure) int {
	for _, at := range []struct{ word, extended int }{{0x20, 0x58}, {0x15, 0x54}} {
		switch v := s.word(at.word); v {
		case 0:
		case 0xffff:
			if e := s.dword(at.extended) & 0x7fffffff; e != 0 {
				return int(e)
			}
		default:
			return int(v)
		}
	}
	return 0
}

// structure reads fields by the offsets that DSP0134 gives. A field beyond the end of
// the structure (each version of the standard appended some) reads as zero.
type structure struct{ *smbios.Structure }

func (s structure) slice(offset, n int) []byte {
	const header = 4
	if offset -= header; offset < 0 || offset+n > len(s.Formatted) {
		return nil
	}
	return s.Formatted[offset : offset+n]
}

func (s structure) byte(offset int) byte {
	if b := s.slice(offset, 1); b != nil {
		return b[0]
	}
	return 0
}

func (s structure) word(offset int) uint16 {
	if b := s.slice(offset, 2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (s structure) dword(offset int) uint32 {
	if b := s.slice(offset, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// count reads a byte that continues in a word where it does not suffice.
func (s structure) count(offset, extended int) int {
	if n := s.byte(offset); n != 0xff {
		return int(n)
	}
	if n := s.word(extended); n != 0xffff {
		return int(n)
	}
	return 0
}

// text returns the string whose number stands at offset.
func (s structure) text(offset int) string {
	n := int(s.byte(offset))
	if n == 0 || n > len(s.Strings) {
		return ""
	}
	return known(s.Strings[n-1])
}

// memoryTypes are the kinds of memory module. Source: DSP0134, clause 7.18.2.
var memoryTypes = map[byte]string{
	0x0f: "SDRAM", 0x12: "DDR", 0x13: "DDR2", 0x14: "DDR2 FB-DIMM", 0x18: "DDR3", 0x1a: "DDR4",
	0x1b: "LPDDR", 0x1c: "LPDDR2", 0x1d: "LPDDR3", 0x1e: "LPDDR4", 0x1f: "Logical non-volatile device",
	0x20: "HBM", 0x21: "HBM2", 0x22: "DDR5", 0x23: "LPDDR5", 0x24: "HBM3",
}

// chassisTypes are the kinds of chassis, in the words that ghw has for them, so that the
// two sources agree. Source: DSP0134, clause 7.4.1.
var chassisTypes = map[byte]string{
	0x03: "Desktop", 0x04: "Low profile desktop", 0x05: "Pizza box", 0x06: "Mini tower", 0x07: "Tower",
	0x08: "Portable", 0x09: "Laptop", 0x0a: "Notebook", 0x0d: "All in one", 0x0e: "Sub notebook",
	0x10: "Lunch box", 0x11: "Main server chassis", 0x12: "Expansion chassis", 0x13: "SubChassis",
	0x16: "RAID chassis", 0x17: "Rack mount chassis", 0x18: "Sealed-case PC", 0x19: "Multi-system chassis",
	0x1a: "Compact PCI", 0x1b: "Advanced TCA", 0x1c: "Blade", 0x1d: "Blade enclosure",
	0x21: "IoT gateway", 0x22: "Embedded PC", 0x23: "Mini PC", 0x24: "Stick PC",
}
