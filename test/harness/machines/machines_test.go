package machines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/probe"
)

// inspect lets the product look at a machine.
func inspect(t *testing.T, m Machine) map[string]hardware.Machine {
	t.Helper()
	cfg := probe.Config{NodeName: m.Name, HostRoot: m.Root}
	if m.Root != "/" { // this process's network is not the snapshot's
		cfg.Links = func() (map[string]probe.Link, error) { return nil, nil }
	}
	bySource := map[string]hardware.Machine{}
	for _, o := range probe.Collect(context.Background(), cfg) {
		if o.Err != "" {
			t.Errorf("%s: source %s: %s", m.Name, o.Source, o.Err)
		}
		bySource[o.Source] = o.Machine
	}
	return bySource
}

func of(m hardware.Machine, class hardware.Class) []hardware.Element {
	return slices.DeleteFunc(slices.Clone(m.Elements), func(e hardware.Element) bool { return e.Class != class })
}

// agree holds what the probe says against the machine's own files.
func agree(t *testing.T, m Machine, got hardware.Machine) {
	t.Helper()
	want := m.Facts()
	if want.Processor == "" || want.CPUs == 0 || want.MemoryBytes == 0 {
		t.Fatalf("%s: facts %+v say nothing", m.Name, want)
	}
	if got.Server.CPUs != want.CPUs {
		t.Errorf("%s: probe counts %d processors, /proc/cpuinfo %d", m.Name, got.Server.CPUs, want.CPUs)
	}
	for _, e := range of(got, hardware.Processor) {
		if e.Model != want.Processor {
			t.Errorf("%s: processor %q, /proc/cpuinfo says %q", m.Name, e.Model, want.Processor)
		}
	}
	var nics []NIC
	for _, e := range of(got, hardware.Port) {
		if e.Port != nil {
			nics = append(nics, NIC{e.Port.Name, e.Port.MAC})
		}
	}
	slices.SortFunc(nics, func(a, b NIC) int { return strings.Compare(a.Name, b.Name) })
	if !slices.Equal(nics, want.NICs) {
		t.Errorf("%s: ports %v, /sys/class/net says %v", m.Name, nics, want.NICs)
	}
	var disks []Disk
	for _, e := range of(got, hardware.Storage) {
		disks = append(disks, Disk{e.Disk.Name, e.Disk.Bytes})
	}
	slices.SortFunc(disks, func(a, b Disk) int { return strings.Compare(a.Name, b.Name) })
	if !slices.Equal(disks, want.Disks) {
		t.Errorf("%s: disks %v, /sys/block says %v", m.Name, disks, want.Disks)
	}
}

func TestLocal(t *testing.T) {
	m := Local("here")
	got := inspect(t, m)
	agree(t, m, got["probe"])
	if got["probe"].Server.Synthetic {
		t.Error("the machine we run on is called synthetic")
	}
	node := m.Node()
	uuid, _ := os.ReadFile("/sys/class/dmi/id/product_uuid") // not every machine has the one
	id, _ := os.ReadFile("/etc/machine-id")                  // or the other
	want := strings.TrimSpace(cmp.Or(string(uuid), string(id)))
	if node.Name != "here" || node.Status.NodeInfo.SystemUUID != want || node.Status.Capacity.Cpu().Value() != int64(m.Facts().CPUs) {
		t.Errorf("node = %+v", node)
	}
	if err := m.Change(SetSerial("x")); !errors.Is(err, fault.Invalid) {
		t.Errorf("changing a real machine: %v, want it refused", err)
	}
}

func TestSnapshots(t *testing.T) {
	dir := t.TempDir()
	made, err := Snapshots(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var summary []string
	for i, m := range made {
		got := inspect(t, m)
		agree(t, m, got["probe"])
		p, s := got["probe"], got["smbios"]
		if !p.Server.Synthetic || len(m.Synthetic) == 0 {
			t.Errorf("%s is not called synthetic", m.Name)
		}
		if text, err := os.ReadFile(filepath.Join(m.Root, "etc/o2ims-synthetic")); err != nil || !strings.Contains(string(text), m.Synthetic[0]) {
			t.Errorf("%s: marker = %s, %v", m.Name, text, err)
		}
		if want := fmt.Sprintf("SYNTHETIC-%04d", i+1); p.Server.Serial != want {
			t.Errorf("%s: serial = %q, want %q", m.Name, p.Server.Serial, want)
		}
		if node := m.Node(); node.Status.NodeInfo.SystemUUID != p.Server.SystemUUID || node.Status.NodeInfo.MachineID == "" {
			t.Errorf("%s: node %+v does not bear the machine's identity", m.Name, node.Status.NodeInfo)
		}
		// DMI files and SMBIOS tables are two views of the same firmware.
		for what, pair := range map[string][2]string{
			"vendor": {p.Server.Vendor, s.Server.Vendor}, "model": {p.Server.Model, s.Server.Model}, "serial": {p.Server.Serial, s.Server.Serial},
			"uuid": {p.Server.SystemUUID, s.Server.SystemUUID}, "chassis": {p.Server.Chassis, s.Server.Chassis},
			"board": {fmt.Sprint(*p.Server.Board), fmt.Sprint(*s.Server.Board)}, "bios": {fmt.Sprint(*p.Server.BIOS), fmt.Sprint(*s.Server.BIOS)},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %s is %q in DMI and %q in SMBIOS", m.Name, what, pair[0], pair[1])
			}
		}
		if have, least := s.Server.MemoryBytes, m.Facts().MemoryBytes; have < least {
			t.Errorf("%s: modules hold %d bytes, the kernel has %d", m.Name, have, least)
		}
		summary = append(summary, fmt.Sprintf("%s: virtual=%q %d processors %d modules %d adapters %d ports %d accelerators %d disks", m.Name, p.Server.Virtual,
			len(of(p, hardware.Processor)), len(of(s, hardware.Memory)), len(of(p, hardware.Adapter)), len(of(p, hardware.Port)),
			len(of(p, hardware.Accelerator)), len(of(p, hardware.Storage))))
	}
	want := []string{
		`p100: virtual="qemu" 1 processors 2 modules 1 adapters 1 ports 1 accelerators 1 disks`,
		`r610: virtual="" 2 processors 8 modules 3 adapters 6 ports 0 accelerators 1 disks`,
		`ryzen: virtual="" 1 processors 4 modules 3 adapters 4 ports 1 accelerators 3 disks`,
	}
	if !slices.Equal(summary, want) {
		t.Errorf("machines:\n%s\nwant\n%s", strings.Join(summary, "\n"), strings.Join(want, "\n"))
	}
	for _, e := range of(inspect(t, made[1])["probe"], hardware.Port) {
		if e.Slot == "0000:05:00.1" && (e.SRIOV == nil || *e.SRIOV != hardware.SRIOV{Num: 4, Total: 7}) {
			t.Errorf("virtual functions of %s = %+v", e.Slot, e.SRIOV)
		}
	}
}

func TestSnapshotSets(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]string{}
	for set := range 3 {
		made, err := SnapshotSet(context.Background(), dir, set)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range made {
			s := inspect(t, m)["probe"].Server
			for _, id := range []string{m.Name, s.Serial, s.SystemUUID, m.Node().Status.NodeInfo.MachineID} {
				if other, taken := seen[id]; taken {
					t.Errorf("%s and %s are both %s", m.Name, other, id)
				}
				seen[id] = m.Name
			}
		}
	}
}

func TestChange(t *testing.T) {
	dir := t.TempDir()
	made, err := Snapshots(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(made[2].Root) // as a later process does
	if err != nil {
		t.Fatal(err)
	}
	do := func(what Change) {
		t.Helper()
		if err := m.Change(what); err != nil {
			t.Fatal(err)
		}
	}

	do(RemoveDisk("sdb"))
	got := inspect(t, m)
	agree(t, m, got["probe"])
	if n := len(of(got["probe"], hardware.Storage)); n != 2 {
		t.Errorf("%d disks after one of three was pulled", n)
	}

	do(RemoveDIMM("DIMM_4"))
	do(AddDIMM(Module{Locator: "DIMM_4", GiB: 32, Vendor: "SYNTHETIC", Part: "SYNTHETIC-32G", Serial: "NEW", MTs: 2400, Type: 0x1a}))
	do(SetSerial("SYNTHETIC-NEW"))
	do(SetLink("enp3s0", false))
	if m, err = Open(m.Root); err != nil {
		t.Fatal(err)
	}
	got = inspect(t, m)
	if s := got["smbios"].Server; s.MemoryBytes != (3*8+32)<<30 || s.Serial != "SYNTHETIC-NEW" || got["probe"].Server.Serial != "SYNTHETIC-NEW" {
		t.Errorf("after the changes SMBIOS says %+v", s)
	}
	for _, e := range of(got["probe"], hardware.Port) {
		if e.Port.Name == "enp3s0" && e.Port.Link != "down" {
			t.Errorf("enp3s0 is %s after its cable was pulled", e.Port.Link)
		}
	}

	for _, tc := range []struct {
		what Change
		kind error
	}{
		{RemoveDisk("sdz"), fault.NotFound},
		{RemoveDIMM("DIMM_9"), fault.NotFound},
		{SetLink("eth9", true), fault.NotFound},
		{AddDIMM(Module{Locator: "DIMM_1", GiB: 8}), fault.Invalid},
	} {
		if err := m.Change(tc.what); !errors.Is(err, tc.kind) {
			t.Errorf("impossible change: %v, want %v", err, tc.kind)
		}
	}
}
