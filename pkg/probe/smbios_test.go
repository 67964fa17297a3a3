package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
)

// entryPoint makes the 64-bit entry point of a table. Source: DSP0134, clause 5.2.2.
func entryPoint(major, minor byte, size int) []byte {
	b := slices.Concat([]byte("_SM3_"), []byte{0, 24, major, minor, 0, 1, 0}, make([]byte, 12))
	binary.LittleEndian.PutUint32(b[12:], uint32(size))
	var sum byte
	for _, c := range b {
		sum += c
	}
	b[5] = -sum
	return b
}

// smbiosStructure makes one structure. Fields are written at the offsets of DSP0134.
func smbiosStructure(kind byte, handle uint16, length int, fields map[int]any, texts ...string) []byte {
	b := make([]byte, length)
	b[0], b[1] = kind, byte(length)
	binary.LittleEndian.PutUint16(b[2:], handle)
	for at, v := range fields {
		switch v := v.(type) {
		case int:
			b[at] = byte(v)
		case uint16:
			binary.LittleEndian.PutUint16(b[at:], v)
		case uint32:
			binary.LittleEndian.PutUint32(b[at:], v)
		case []byte:
			copy(b[at:], v)
		}
	}
	for _, text := range texts {
		b = append(append(b, text...), 0)
	}
	if len(texts) == 0 {
		b = append(b, 0)
	}
	return append(b, 0)
}

var (
	dellUUID = []byte{0x44, 0x45, 0x4c, 0x4c, 0x35, 0x00, 0x10, 0x34, 0x80, 0x54, 0xb7, 0xc0, 0x4f, 0x46, 0x33, 0x32}

	biosStructure = smbiosStructure(0, 0, 0x1a, map[int]any{4: 1, 5: 2, 8: 3}, "Dell Inc.", "1.6.11", "08/09/2026")
	systemInfo    = smbiosStructure(1, 1, 0x1b, map[int]any{4: 1, 5: 2, 7: 3, 8: dellUUID, 0x19: 4}, "Dell Inc.", "PowerEdge XR8620t", "5DTF320", "SKU=0B0A")
	chassis       = smbiosStructure(3, 3, 0x15, map[int]any{5: 0x80 | 0x17})
	nodeBoard     = smbiosStructure(2, 4, 0x0f, map[int]any{4: 1, 5: 2, 6: 3, 7: 4, 9: 0x01}, "Dell Inc.", "0ABCDE", "A01", ".5DTF320.CN1")
	memoryArray   = smbiosStructure(16, 0x1000, 0x17, map[int]any{4: 3, 5: 3, 6: 6})
	flashArray    = smbiosStructure(16, 0x1001, 0x17, map[int]any{4: 3, 5: 7})
)

func cpuStructure(handle uint16, fields map[int]any) []byte {
	all := map[int]any{4: 1, 5: 3, 7: 2, 0x10: 3, 0x16: uint16(2100), 0x18: 0x41, 0x23: 24, 0x24: 24, 0x25: 48}
	for at, v := range fields {
		all[at] = v
	}
	return smbiosStructure(4, handle, 0x30, all, "CPU1", "Intel(R) Corporation", "Intel(R) Xeon(R) Gold 6433N ")
}

func dimm(handle uint16, locator, bank string, fields map[int]any) []byte {
	all := map[int]any{
		4: uint16(0x1000), 8: uint16(80), 0x0a: uint16(64), 0x0c: uint16(0x7fff), 0x1c: uint32(32768), 0x10: 1, 0x11: 2, 0x12: 0x22,
		0x15: uint16(4800), 0x17: 3, 0x18: 4, 0x1a: 5, 0x20: uint16(4400),
	}
	for at, v := range fields {
		all[at] = v
	}
	return smbiosStructure(17, handle, 0x5c, all, locator, bank, "Samsung", "03F4A2B1", "M321R4GA3BB6-CQKET  ")
}

func TestParseSMBIOS(t *testing.T) {
	module := func(slot string, bytes uint64) hardware.Element {
		return hardware.Element{
			Class: hardware.Memory, Slot: slot, Vendor: "Samsung", Model: "M321R4GA3BB6-CQKET", Serial: "03F4A2B1",
			Memory: &hardware.DIMM{Bytes: bytes, ECC: true, MTs: 4400, Type: "DDR5"},
		}
	}
	xeon := hardware.Element{
		Class: hardware.Processor, Vendor: "Intel Corporation", Model: "Intel(R) Xeon(R) Gold 6433N",
		CPU: &hardware.CPU{Cores: 24, Threads: 48, MHz: 2100},
	}
	for _, tc := range []struct {
		name       string
		minor      byte // of version 3; see old
		old        bool // version 2.5
		structures [][]byte
		want       smbiosTables
	}{
		{name: "empty table"},
		{
			name:       "the machine",
			structures: [][]byte{biosStructure, systemInfo, chassis, nodeBoard},
			want: smbiosTables{server: hardware.Server{
				Vendor: "Dell Inc.", Model: "PowerEdge XR8620t", Serial: "5DTF320", SKU: "SKU=0B0A",
				SystemUUID: "4c4c4544-0035-3410-8054-b7c04f463332", Chassis: "Rack mount chassis",
				BIOS:  &hardware.BIOS{Vendor: "Dell Inc.", Version: "1.6.11", Date: "08/09/2026"},
				Board: &hardware.Board{Vendor: "Dell Inc.", Model: "0ABCDE", Version: "A01", Serial: ".5DTF320.CN1"},
			}},
		},
		{
			name:       "before version 2.6 a UUID is stored as it is read",
			old:        true,
			structures: [][]byte{smbiosStructure(1, 1, 0x19, map[int]any{8: dellUUID})},
			want:       smbiosTables{server: hardware.Server{SystemUUID: "44454c4c-3500-1034-8054-b7c04f463332"}},
		},
		{
			name: "fillers and short structures",
			structures: [][]byte{
				smbiosStructure(1, 1, 0x1b, map[int]any{4: 1, 5: 2, 7: 9, 8: bytes.Repeat([]byte{0xff}, 16)}, "To Be Filled By O.E.M.", "Default string"),
				smbiosStructure(0, 2, 4, nil), smbiosStructure(2, 3, 4, nil), smbiosStructure(3, 4, 4, nil),
				smbiosStructure(4, 5, 4, nil), smbiosStructure(16, 6, 4, nil), smbiosStructure(17, 7, 4, nil),
			},
		},
		{
			name: "processors",
			structures: [][]byte{
				cpuStructure(0x400, nil),
				cpuStructure(0x401, map[int]any{0x18: 0x00}), // empty socket
				cpuStructure(0x402, map[int]any{5: 6}),       // a graphics processor
				cpuStructure(0x403, map[int]any{0x23: 0xff, 0x2a: uint16(288), 0x24: 0xff, 0x2c: uint16(144), 0x25: 0xff, 0x2e: uint16(288)}),
			},
			want: smbiosTables{processors: []hardware.Element{xeon, {
				Class: hardware.Processor, Vendor: "Intel Corporation", Model: "Intel(R) Xeon(R) Gold 6433N",
				CPU: &hardware.CPU{Cores: 144, MHz: 2100}, // half the cores are off: how many threads that leaves is not said
			}}},
		},
		{
			name: "memory modules",
			structures: [][]byte{
				memoryArray, flashArray,
				dimm(0x1100, "A1", "Bank 0", nil),
				dimm(0x1101, "A2", "Bank 0", map[int]any{0x0c: uint16(16384)}),
				dimm(0x1102, "A3", "Bank 0", map[int]any{0x0c: uint16(0)}),            // empty
				dimm(0x1103, "A4", "Bank 0", map[int]any{0x0c: uint16(0xffff)}),       // size not known
				dimm(0x1104, "ROM", "Flash", map[int]any{4: uint16(0x1001)}),          // flash
				dimm(0x1105, "A5", "Bank 0", map[int]any{0x0c: uint16(0x8000 | 512)}), // in kilobytes
			},
			want: smbiosTables{
				server:  hardware.Server{MemoryBytes: 32<<30 + 16<<30 + 512<<10},
				modules: []hardware.Element{module("A1", 32<<30), module("A2", 16<<30), module("A5", 512<<10)},
			},
		},
		{
			name: "places numbered anew for each socket",
			structures: [][]byte{
				memoryArray,
				dimm(0x1100, "DIMM 0", "P0 CHANNEL A", nil), dimm(0x1101, "DIMM 0", "P1 CHANNEL A", nil),
				dimm(0x1102, "DIMM 1", "P0", nil), dimm(0x1103, "DIMM 1", "P0", nil),
			},
			want: smbiosTables{
				server: hardware.Server{MemoryBytes: 128 << 30},
				modules: []hardware.Element{
					module("P0 CHANNEL A/DIMM 0", 32<<30), module("P1 CHANNEL A/DIMM 0", 32<<30),
					module("module/2", 32<<30), module("module/3", 32<<30),
				},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table := bytes.Join(tc.structures, nil)
			entry := entryPoint(3, tc.minor, len(table))
			if tc.old {
				entry = entryPoint(2, 5, len(table))
			}
			got, err := parseSMBIOS(entry, table)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.server, tc.want.server) {
				t.Errorf("server:\n got %+v\nwant %+v", got.server, tc.want.server)
			}
			compareElements(t, got.processors, tc.want.processors)
			compareElements(t, got.modules, tc.want.modules)
		})
	}
}

func TestParseSMBIOSInvalid(t *testing.T) {
	good := entryPoint(3, 0, len(systemInfo))
	badSum := slices.Clone(good)
	badSum[7]++
	for _, tc := range []struct {
		name         string
		entry, table []byte
	}{
		{"no entry point", []byte{}, systemInfo},
		{"not an entry point", []byte("hello world, this is no entry point"), systemInfo},
		{"wrong checksum", badSum, systemInfo},
		{"structure shorter than its header", good, []byte{1, 2, 0, 0, 0, 0}},
		{"cut in the middle", good, []byte{1, 0xff, 0, 0, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := parseSMBIOS(tc.entry, tc.table); !errors.Is(err, fault.Invalid) {
				t.Errorf("parseSMBIOS = %+v, %v, want an invalid error", got, err)
			}
		})
	}
}

// TestCollectSMBIOS checks what becomes of the tables among the other sources.
func TestCollectSMBIOS(t *testing.T) {
	table := bytes.Join([][]byte{systemInfo, memoryArray, cpuStructure(0x400, nil), cpuStructure(0x401, nil), dimm(0x1100, "A1", "Bank 0", nil)}, nil)
	files := map[string]string{
		"sys/firmware/dmi/tables/DMI":                string(table),
		"sys/firmware/dmi/tables/smbios_entry_point": string(entryPoint(3, 5, len(table))),
		"proc/meminfo": "MemTotal:       32000000 kB\n",
		"proc/cpuinfo": "processor\t: 0\nmodel name\t: Xeon\n\nprocessor\t: 1\nmodel name\t: Xeon\n\n",
		"sys/devices/system/cpu/cpu0/topology/physical_package_id": "0\n",
		"sys/devices/system/cpu/cpu1/topology/physical_package_id": "3\n",
	}
	collect := func(root string) []hardware.Observation {
		return Collect(context.Background(), Config{NodeName: "n", HostRoot: root, Links: noLinks})
	}
	slots := func(o hardware.Observation) string {
		var s []string
		for _, e := range o.Machine.Elements {
			s = append(s, string(e.Class)+"|"+e.Slot)
		}
		return strings.Join(s, " ")
	}

	root := tree(t, files)
	got := collect(root)
	if len(got) != 2 || got[1].Source != "smbios" || got[1].Machine.Name != "n" || got[1].Machine.Server.Serial != "5DTF320" {
		t.Fatalf("observations = %+v", got)
	}
	if want := "processor|socket/0 processor|socket/3"; slots(got[0]) != want {
		t.Errorf("elements of the probe = %s, want %s: the tables tell the memory modules apart", slots(got[0]), want)
	}
	if want := "memory|A1 processor|socket/0 processor|socket/3"; slots(got[1]) != want {
		t.Errorf("elements of the tables = %s, want %s", slots(got[1]), want)
	}
	if got[0].Machine.Server.MemoryBytes != 0 || got[1].Machine.Server.MemoryBytes != 32<<30 {
		t.Errorf("memory = %d and %d, want it from the tables only", got[0].Machine.Server.MemoryBytes, got[1].Machine.Server.MemoryBytes)
	}

	files["sys/class/dmi/id/sys_vendor"] = "QEMU\n"
	got = collect(tree(t, files))
	if want := "memory|A1"; len(got) != 2 || slots(got[1]) != want {
		t.Errorf("elements of a hypervisor's tables = %s, want %s", slots(got[1]), want)
	}
	delete(files, "sys/class/dmi/id/sys_vendor")

	// Tables that are there and cannot be used: the source says so, the probe makes do.
	if err := os.WriteFile(filepath.Join(root, "sys/firmware/dmi/tables/DMI"), []byte{1, 2, 0, 0}, 0o600); err != nil {
		t.Fatal(err)
	}
	got = collect(root)
	if len(got) != 2 || !strings.HasPrefix(got[1].Err, "smbios table: ") {
		t.Errorf("observations with a malformed table = %+v", got)
	}
	if want := "memory|total processor|socket/0 processor|socket/3"; slots(got[0]) != want {
		t.Errorf("elements of the probe = %s, want %s", slots(got[0]), want)
	}

	files["sys/firmware/dmi/tables/DMI"] = "/" // cannot be read, whoever asks
	got = collect(tree(t, files))
	if len(got) != 2 || !slices.Equal(got[1].Missing, []string{"smbios: is a directory on DMI"}) {
		t.Errorf("observations with an unreadable table = %+v", got)
	}
}

// FuzzParseSMBIOS: tables come from firmware, which has bugs of its own.
func FuzzParseSMBIOS(f *testing.F) {
	table := bytes.Join([][]byte{biosStructure, systemInfo, chassis, nodeBoard, memoryArray, cpuStructure(0x400, nil), dimm(0x1100, "A1", "B", nil)}, nil)
	f.Add(entryPoint(3, 5, len(table)), table)
	f.Add(entryPoint(2, 5, len(systemInfo)), systemInfo)
	f.Add([]byte("_SM_"), []byte{17, 4, 0, 0})
	f.Fuzz(func(t *testing.T, entry, table []byte) {
		got, err := parseSMBIOS(entry, table)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("error %v is of no kind", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, e := range got.modules {
			if e.Slot == "" || seen[e.Slot] || e.Memory.Bytes == 0 {
				t.Errorf("module %+v: slot empty or taken, or no size", e)
			}
			seen[e.Slot] = true
		}
		for _, s := range []string{got.server.Vendor, got.server.Model, got.server.Serial, got.server.SystemUUID} {
			if s != known(s) {
				t.Errorf("text %q is not clean", s)
			}
		}
	})
}
