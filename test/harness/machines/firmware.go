package machines

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

// firmware is what a machine's firmware says of it. It becomes the files in
// /sys/class/dmi/id and the SMBIOS tables, which agree with each other.
type firmware struct {
	Vendor      string   `json:"vendor"`
	Model       string   `json:"model"`
	Serial      string   `json:"serial"`
	UUID        string   `json:"uuid"`
	BoardVendor string   `json:"boardVendor"`
	BoardModel  string   `json:"boardModel"`
	BIOSVendor  string   `json:"biosVendor"`
	BIOSVersion string   `json:"biosVersion"`
	BIOSDate    string   `json:"biosDate"`
	ChassisType byte     `json:"chassisType"` // as DSP0134 numbers them
	Sockets     []socket `json:"sockets"`
	Modules     []Module `json:"modules"`
	ECC         bool     `json:"ecc"`
}

type socket struct {
	Name    string `json:"name"`
	Vendor  string `json:"vendor"`
	Model   string `json:"model"`
	Cores   byte   `json:"cores"`
	Threads byte   `json:"threads"`
	MHz     uint16 `json:"mhz"`
}

// Module is a memory module, in Locator's place.
type Module struct {
	Locator string `json:"locator"`
	GiB     uint32 `json:"gib"`
	Vendor  string `json:"vendor"`
	Part    string `json:"part"`
	Serial  string `json:"serial"`
	MTs     uint16 `json:"mts"`
	Type    byte   `json:"type"` // as DSP0134 numbers them: 0x18 DDR3, 0x1a DDR4
}

// install writes the machine's firmware into its sysfs.
func (m Machine) install() error {
	f := m.firmware
	if err := m.writeAll("sys/devices/virtual/dmi/id", map[string]string{
		"sys_vendor": f.Vendor, "product_name": f.Model, "product_serial": f.Serial, "product_uuid": f.UUID,
		"board_vendor": f.BoardVendor, "board_name": f.BoardModel, "board_serial": f.Serial + "-B",
		"bios_vendor": f.BIOSVendor, "bios_version": f.BIOSVersion, "bios_date": f.BIOSDate,
		"chassis_vendor": f.Vendor, "chassis_type": strconv.Itoa(int(f.ChassisType)), "chassis_serial": f.Serial,
	}); err != nil {
		return err
	}
	if err := m.link("sys/class/dmi/id", "../../devices/virtual/dmi/id"); err != nil {
		return err
	}
	table := f.table()
	if err := m.write("sys/firmware/dmi/tables/DMI", table); err != nil {
		return err
	}
	return m.write("sys/firmware/dmi/tables/smbios_entry_point", entryPoint(len(table)))
}

// entryPoint makes the entry point of an SMBIOS 3.5 table of this size.
//
// Source: DMTF DSP0134, clause 5.2.2.
func entryPoint(size int) []byte {
	b := make([]byte, 24)
	copy(b, "_SM3_")
	copy(b[6:], []byte{24, 3, 5, 0, 1})
	binary.LittleEndian.PutUint32(b[12:], uint32(size))
	var sum byte
	for _, c := range b {
		sum += c
	}
	b[5] = -sum
	return b
}

// table encodes the firmware's words as SMBIOS structures.
//
// Source: DMTF DSP0134, clause 7.
func (f *firmware) table() []byte {
	var t tableWriter

	t.begin(0, 0x1a)
	t.text(0x04, f.BIOSVendor)
	t.text(0x05, f.BIOSVersion)
	t.text(0x08, f.BIOSDate)

	t.begin(1, 0x1b)
	t.text(0x04, f.Vendor)
	t.text(0x05, f.Model)
	t.text(0x07, f.Serial)
	copy(t.at(0x08), storedUUID(f.UUID))

	t.begin(2, 0x0f)
	t.text(0x04, f.BoardVendor)
	t.text(0x05, f.BoardModel)
	t.text(0x07, f.Serial+"-B")
	t.at(0x09)[0] = 1 // hosting board

	t.begin(3, 0x15)
	t.text(0x04, f.Vendor)
	t.at(0x05)[0] = f.ChassisType

	for _, s := range f.Sockets {
		t.begin(4, 0x30)
		t.text(0x04, s.Name)
		t.text(0x07, s.Vendor)
		t.text(0x10, s.Model)
		t.at(0x05)[0] = 3 // central processor
		t.word(0x16, s.MHz)
		t.at(0x18)[0] = 0x41 // populated, enabled
		copy(t.at(0x23), []byte{s.Cores, s.Cores, s.Threads})
	}

	array := t.begin(16, 0x17)
	t.at(0x04)[0], t.at(0x05)[0] = 3, 3 // on the board, system memory
	width := uint16(64)
	t.at(0x06)[0] = 3 // no error correction
	if f.ECC {
		t.at(0x06)[0], width = 6, 72 // several bits
	}
	t.word(0x0d, uint16(len(f.Modules)))
	for _, m := range f.Modules {
		t.begin(17, 0x5c)
		t.word(0x04, array)
		t.word(0x08, width)
		t.word(0x0a, 64)
		t.word(0x0c, 0x7fff) // the size stands at 0x1c
		binary.LittleEndian.PutUint32(t.at(0x1c), m.GiB<<10)
		t.text(0x10, m.Locator)
		t.at(0x12)[0] = m.Type
		t.word(0x15, m.MTs)
		t.word(0x20, m.MTs)
		t.text(0x17, m.Vendor)
		t.text(0x18, m.Serial)
		t.text(0x1a, m.Part)
	}

	t.begin(127, 4)
	return t.end()
}

// storedUUID is the form in which firmware stores a UUID: its first three fields with
// the lowest byte first. Source: DSP0134, clause 7.2.1.
func storedUUID(s string) []byte {
	u := uuid.MustParse(s)
	b := u[:]
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return b
}

// tableWriter writes structures one after another: fields by their offsets, texts by
// number, the texts themselves behind the fields.
type tableWriter struct {
	done    []byte
	current []byte
	texts   []string
	handle  uint16
}

// begin starts a structure and returns its handle.
func (t *tableWriter) begin(kind, length byte) uint16 {
	t.end()
	t.current = make([]byte, length)
	t.current[0], t.current[1] = kind, length
	t.handle++
	t.word(2, t.handle)
	return t.handle
}

func (t *tableWriter) at(offset int) []byte { return t.current[offset:] }
func (t *tableWriter) word(offset int, value uint16) {
	binary.LittleEndian.PutUint16(t.at(offset), value)
}

// text sets a field to the number of a text; an absent text has the number 0.
func (t *tableWriter) text(offset int, s string) {
	if s == "" {
		return
	}
	t.texts = append(t.texts, s)
	t.current[offset] = byte(len(t.texts))
}

// end finishes the structure at hand and returns all that was written.
func (t *tableWriter) end() []byte {
	if t.current == nil {
		return t.done
	}
	t.done = append(t.done, t.current...)
	for _, s := range t.texts {
		t.done = append(append(t.done, s...), 0)
	}
	if len(t.texts) == 0 {
		t.done = append(t.done, 0)
	}
	t.done = append(t.done, 0)
	t.current, t.texts = nil, nil
	return t.done
}
