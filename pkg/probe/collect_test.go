package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jaypipes/ghw/pkg/snapshot"

	"github.com/o2ims/o2ims/pkg/hardware"
)

var update = flag.Bool("update", false, "write the golden files anew")

// snapshots are partial copies of /sys and /proc of real machines. They come with the
// sources of github.com/jaypipes/ghw (testdata/snapshots of the module, Apache-2.0).
var snapshots = []struct{ archive, what string }{
	{"linux-amd64-8581cf3a529e5d8b97ea876eade2f60d", "Dell server, 2 x Xeon L5640, I350 with virtual functions, PERC"},
	{"linux-amd64-accel-nvidia", "QEMU virtual machine with a Tesla P100"},
	{"linux-amd64-61797caf7c0b6bca1725ad7975ed4773", "Ryzen 5 1600, two Realtek ports and an I350"},
	{"linux-amd64-415ee03b8c4d1c4f07ae2e9d8b3d3d6d", "i7-1270P laptop, NVMe"},
	{"linux-amd64-accel", "QEMU virtual machine with two processing accelerators"},
	{"linux-amd64-offlineCPUs", "virtual machine with processors taken offline"},
	{"linux-arm64-c288e0776090cd558ef793b2a4e61939", "arm64 cloud instance, NVMe"},
	{"linux-s390x-snapshot", "IBM Z, no PCI"},
}

// ghwDir finds the sources of ghw in the module cache.
func ghwDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/jaypipes/ghw").Output()
	if err != nil {
		t.Fatalf("go list -m github.com/jaypipes/ghw: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func noLinks() (map[string]Link, error) { return nil, nil }

func TestCollectSnapshots(t *testing.T) {
	ghw := ghwDir(t)
	for _, s := range snapshots {
		t.Run(s.archive, func(t *testing.T) {
			root := t.TempDir()
			if err := snapshot.UnpackInto(filepath.Join(ghw, "testdata", "snapshots", s.archive+".tar.gz"), root); err != nil {
				t.Fatal(err)
			}
			cfg := Config{
				NodeName: "node-1",
				HostRoot: root,
				PCIIDs:   filepath.Join(ghw, "testdata", "usr", "share", "hwdata", "pci.ids"),
				Links:    noLinks,
			}
			got := marshal(t, Collect(context.Background(), cfg))
			if again := marshal(t, Collect(context.Background(), cfg)); !bytes.Equal(got, again) {
				t.Error("two looks at the same machine differ")
			}
			golden := filepath.Join("testdata", s.archive+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: observations differ from %s (go test -update writes it anew); got\n%s", s.what, golden, got)
			}
		})
	}
}

// marshal writes one observation per machine readably, and lists on one line.
func marshal(t *testing.T, observations []hardware.Observation) []byte {
	t.Helper()
	for _, o := range observations {
		for _, e := range o.Machine.Elements {
			if e.CPU != nil && len(e.CPU.Flags) > 0 {
				e.CPU.Flags = []string{strings.Join(e.CPU.Flags, " ")}
			}
		}
	}
	out, err := json.MarshalIndent(observations, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// TestCollectThisMachine looks at whatever runs the tests. It compares with /proc, and on
// a machine without DMI checks that nothing is made up in its place.
func TestCollectThisMachine(t *testing.T) {
	got := Collect(context.Background(), Config{NodeName: "here", HostRoot: "/"})
	machine := got[0].Machine
	if got[0].Err != "" || got[0].Source != "probe" || machine.Name != "here" {
		t.Fatalf("Collect(/) = %+v", got[0])
	}
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip(err)
	}
	if want := strings.Count("\n"+string(cpuinfo), "\nprocessor\t:"); machine.Server.CPUs != want {
		t.Errorf("CPUs = %d, /proc/cpuinfo lists %d", machine.Server.CPUs, want)
	}
	if _, err := os.Stat("/sys/firmware/dmi/tables/DMI"); err == nil {
		return
	}
	if len(got) != 1 {
		t.Errorf("observations = %d, want the probe's only: there are no SMBIOS tables", len(got))
	}
	if _, err := os.Stat("/sys/class/dmi/id"); err == nil {
		return
	}
	s := machine.Server
	if s.Vendor != "" || s.Serial != "" || s.SystemUUID != "" || s.BIOS != nil || s.Board != nil {
		t.Errorf("without DMI the server says %+v", s)
	}
	if i := slices.IndexFunc(got[0].Missing, func(m string) bool { return strings.HasPrefix(m, "dmi") }); i >= 0 {
		t.Errorf("missing = %q: a thing the machine does not have is not missing", got[0].Missing[i])
	}
}

func TestCollectWithoutHost(t *testing.T) {
	got := Collect(context.Background(), Config{NodeName: "n", HostRoot: filepath.Join(t.TempDir(), "nothing"), Links: noLinks})
	if len(got) != 1 || !strings.Contains(got[0].Err, "no such file") {
		t.Errorf("Collect of nothing = %+v, want one observation with an error", got)
	}
}

// tree makes a host root. Keys are paths; a value "-> target" makes a link, "/" a folder.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"sys", "proc"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, isLink := strings.CutPrefix(content, "-> "); isLink {
			err = os.Symlink(target, p)
		} else if content == "/" {
			err = os.MkdirAll(p, 0o755)
		} else {
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// with adds files below a prefix.
func with(files map[string]string, prefix string, more map[string]string) {
	for name, content := range more {
		files[prefix+"/"+name] = content
	}
}

// pciFiles adds a PCI function.
func pciFiles(files map[string]string, address, alias string, more map[string]string) {
	dir := "sys/devices/pci0000:00/" + address
	files["sys/bus/pci/devices/"+address] = "-> ../../../devices/pci0000:00/" + address
	files[dir+"/modalias"] = alias + "\n"
	with(files, dir, more)
}

// netFiles adds a network interface of the device at this path below sys/devices.
func netFiles(files map[string]string, device, name string, more map[string]string) {
	files["sys/class/net/"+name] = "-> ../../devices/" + device + "/net/" + name
	with(files, "sys/devices/"+device+"/net/"+name, more)
}

const (
	aliasE810   = "pci:v00008086d00001593sv00001137sd000002C3bc02sc00i00"
	aliasVirtio = "pci:v00001AF4d00001041sv00001AF4sd00001041bc02sc00i00"
	aliasXHCI   = "pci:v00008086d0000A36Dsv00001028sd00000871bc0Csc03i30"
)

func TestNetwork(t *testing.T) {
	files := map[string]string{"sys/class/net/bonding_masters": "bond0\n"}
	pciFiles(files, "0000:31:00.0", aliasE810, map[string]string{
		"driver": "-> ../../../bus/pci/drivers/ice", "numa_node": "1\n", "sriov_totalvfs": "128\n", "sriov_numvfs": "2\n",
		"ptp/ptp3/clock_name": "ice-0000:31:00.0-clk\n",
	})
	files["sys/class/ptp/ptp3"] = "-> ../../devices/pci0000:00/0000:31:00.0/ptp/ptp3"
	files["sys/devices/virtual/ptp/ptp0/clock_name"] = "KVM virtual PTP\n"
	files["sys/class/ptp/ptp0"] = "-> ../../devices/virtual/ptp/ptp0"
	pciFiles(files, "0000:31:00.1", aliasE810, map[string]string{"driver": "-> ../../../bus/pci/drivers/vfio-pci", "numa_node": "-1\n"})
	pciFiles(files, "0000:31:01.0", aliasE810, map[string]string{"physfn": "-> ../0000:31:00.0"})
	pciFiles(files, "0000:00:14.0", aliasXHCI, nil)
	pciFiles(files, "0000:00:03.0", aliasVirtio, map[string]string{"driver": "-> ../../../bus/pci/drivers/virtio-pci"})
	netFiles(files, "pci0000:00/0000:31:00.0", "ens1f0", map[string]string{
		"address": "b4:96:91:00:00:02\n", "bonding_slave/perm_hwaddr": "b4:96:91:00:00:01\n",
		"mtu": "9000\n", "speed": "25000\n", "operstate": "up\n", "phys_port_name": "p0\n",
	})
	netFiles(files, "pci0000:00/0000:31:00.0", "ens1f0r1", map[string]string{"phys_port_name": "pf0vf1\n", "dev_port": "0\n"})
	netFiles(files, "pci0000:00/0000:31:00.0", "ens1f0d1", map[string]string{"dev_port": "1\n", "operstate": "down\n", "speed": "-1\n"})
	netFiles(files, "pci0000:00/0000:31:01.0", "ens1f0v0", map[string]string{"address": "b4:96:91:00:00:09\n"})
	netFiles(files, "pci0000:00/0000:00:03.0/virtio2", "eth0", map[string]string{
		"address": "02:fc:00:00:00:01\n", "operstate": "unknown\n", "carrier": "1\n", "speed": "4294967295\n",
	})
	netFiles(files, "pci0000:00/0000:00:14.0/usb1/1-14/1-14:1.0", "usb0", map[string]string{"address": "00:e0:4c:00:00:05\n"})
	for _, virtual := range []string{"lo", "bond0", "cni0", "ifb0", "veth12"} {
		netFiles(files, "virtual", virtual, map[string]string{"address": "06:00:00:00:00:01\n"})
	}

	links := map[string]Link{
		"ens1f0": {Address: "b4:96:91:00:00:02", PermanentAddress: "b4:96:91:00:00:0a", Firmware: "4.40 0x8001", Driver: "ice", PHC: 3},
		"eth0":   {Address: "0a:58:0a:00:00:07", Firmware: "of the pod's own interface", PHC: 9}, // another namespace's eth0
	}
	got := Collect(context.Background(), Config{HostRoot: tree(t, files), PCIIDs: tree(t, map[string]string{"pci.ids": pciIDs}) + "/pci.ids",
		Links: func() (map[string]Link, error) { return links, nil }})[0]

	one, three := 1, 3
	e810 := func(class hardware.Class, slot, address string) hardware.Element {
		return hardware.Element{
			Class: class, Slot: slot, Vendor: "Intel Corporation", Model: "Ethernet Controller E810-C for SFP",
			PCI: &hardware.PCIDevice{Address: address, Vendor: "8086", Device: "1593", Subvendor: "1137", Subdevice: "02c3"},
		}
	}
	virtio := func(class hardware.Class, slot string) hardware.Element {
		return hardware.Element{
			Class: class, Slot: slot, Driver: "virtio-pci", Vendor: "Red Hat, Inc.", Model: "Virtio 1.0 network device",
			PCI: &hardware.PCIDevice{Address: "0000:00:03.0", Vendor: "1af4", Device: "1041", Subvendor: "1af4", Subdevice: "1041"},
		}
	}
	adapter := e810(hardware.Adapter, "0000:31:00", "0000:31:00.0")
	adapter.Driver, adapter.NUMA, adapter.Firmware = "ice", &one, "4.40 0x8001"
	first := e810(hardware.Port, "0000:31:00.0", "0000:31:00.0")
	first.Driver, first.NUMA, first.Parent, first.Firmware = "ice", &one, "adapter|0000:31:00", "4.40 0x8001"
	first.SRIOV = &hardware.SRIOV{Num: 2, Total: 128}
	first.Port = &hardware.PortState{Name: "ens1f0", MAC: "b4:96:91:00:00:0a", MTU: 9000, SpeedMbps: 25000, Link: "up", PHC: &three}
	second := first
	second.Slot, second.Firmware = "0000:31:00.0/1", ""
	second.Port = &hardware.PortState{Name: "ens1f0d1", Link: "down", PHC: &three}
	dpdk := e810(hardware.Port, "0000:31:00.1", "0000:31:00.1")
	dpdk.Driver, dpdk.Parent = "vfio-pci", "adapter|0000:31:00"
	virtioPort := virtio(hardware.Port, "0000:00:03.0")
	virtioPort.Parent = "adapter|0000:00:03"
	virtioPort.Port = &hardware.PortState{Name: "eth0", MAC: "02:fc:00:00:00:01", Link: "up"}
	want := []hardware.Element{
		virtio(hardware.Adapter, "0000:00:03"), adapter,
		virtioPort, first, second, dpdk,
		{Class: hardware.Port, Slot: "net/usb0", Port: &hardware.PortState{Name: "usb0", MAC: "00:e0:4c:00:00:05"}},
		{Class: hardware.PTPClock, Slot: "phc/0000:31:00.0", Model: "ice-0000:31:00.0-clk", Driver: "ice", NUMA: &one, Parent: "port|0000:31:00.0"},
	}
	compareElements(t, got.Machine.Elements, want)
	wantMissing := []string{"ethtool: ens1f0d1 is not in this network namespace", "ethtool: usb0 is not in this network namespace"}
	if !slices.Equal(got.Missing, wantMissing) {
		t.Errorf("missing = %q, want %q", got.Missing, wantMissing)
	}
}

// pciIDs is in the form of the database of PCI names.
const pciIDs = `# comment
1af4  Red Hat, Inc.
	1041  Virtio 1.0 network device
8086  Intel Corporation
	0d5c  Accelerator ACC100
	1593  Ethernet Controller E810-C for SFP
		1137 02c3  E810XXVDA4
C 02  Network controller
	00  Ethernet controller
`

func compareElements(t *testing.T, got, want []hardware.Element) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		var g, w []byte
		if i < len(got) {
			g, _ = json.Marshal(got[i])
		}
		if i < len(want) {
			w, _ = json.Marshal(want[i])
		}
		if !bytes.Equal(g, w) {
			t.Errorf("element %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

func TestAccelerators(t *testing.T) {
	for _, tc := range []struct {
		name, alias, subtype, model string
		want                        bool
	}{
		{"ACC100", "pci:v00008086d00000D5Csv00008086sd00000000bc12sc00i00", "fec", "ACC100", true},
		{"Tesla P100", "pci:v000010DEd000015F8sv000010DEsd0000118Fbc03sc02i00", "gpu", "", true},
		{"Xilinx card", "pci:v000010EEd00005000sv000010EEsd0000000Ebc12sc00i00", "fpga", "", true},
		{"some processing accelerator", "pci:v00001DA3d00001020sv00001DA3sd00000000bc12sc00i00", "", "", true},
		{"QuickAssist", "pci:v00008086d000037C8sv00008086sd00000000bc0Bsc40i00", "crypto", "QuickAssist C62x", true},
		{"BMC's VGA", "pci:v00001A03d00002000sv00001A03sd00002000bc03sc00i00", "", "", false},
		{"QEMU's VGA", "pci:v00001234d00001111sv00001AF4sd00001100bc03sc00i00", "", "", false},
		{"Ethernet", aliasE810, "", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{}
			pciFiles(files, "0000:17:00.0", tc.alias, nil)
			got := Collect(context.Background(), Config{HostRoot: tree(t, files), PCIIDs: os.DevNull, Links: noLinks})[0].Machine.Elements
			i := slices.IndexFunc(got, func(e hardware.Element) bool { return e.Class == hardware.Accelerator })
			if (i >= 0) != tc.want {
				t.Fatalf("elements = %+v, want an accelerator: %t", got, tc.want)
			}
			if i >= 0 && (got[i].Subtype != tc.subtype || got[i].Model != tc.model) {
				t.Errorf("accelerator = %q %q, want %q %q", got[i].Subtype, got[i].Model, tc.subtype, tc.model)
			}
		})
	}
}

// blockFiles adds a disk of the device at this path below sys/devices.
func blockFiles(files map[string]string, at string, more map[string]string) {
	files["sys/block/"+filepath.Base(at)] = "-> ../devices/" + at
	with(files, "sys/devices/"+at, more)
}

func TestDisks(t *testing.T) {
	const raid = "pci0000:00/0000:03:00.0/host2/target2:0:"
	files := map[string]string{}
	pciFiles(files, "0000:01:00.0", "pci:v0000144Dd0000A808sv0000144Dsd0000A801bc01sc08i02", map[string]string{"numa_node": "0\n"})
	blockFiles(files, "pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1", map[string]string{
		"size": "8\n", "wwid": "eui.0025385B71B00E4C\n", "device/model": "SAMSUNG MZVL2512  \n", "device/serial": "S64KNX0R\n",
		"device/firmware_rev": "GXA7401Q\n", "queue/rotational": "0\n",
	})
	blockFiles(files, raid+"0/block/sda", map[string]string{
		"size": "16\n", "queue/rotational": "1\n", "device/wwid": "naa.5000C500A1B2C3D4\n", "device/vendor": "SEAGATE \n",
		"device/model": "ST1200MM0099    \n", "device/rev": "ST31\n", "device/vpd_pg80": "\x00\x80\x00\x08WFK0ABCD",
	})
	blockFiles(files, raid+"1/block/sdb", map[string]string{ // the second path to sda
		"size": "16\n", "queue/rotational": "1\n", "device/wwid": "naa.5000C500A1B2C3D4\n", "device/vpd_pg80": "\x00\x80\x00\x08WFK0ABCD",
	})
	blockFiles(files, raid+"2/block/sdc", map[string]string{"size": "16\n", "queue/rotational": "0\n", "device/vendor": "ATA\n", "device/serial": "CLONE\n"})
	blockFiles(files, raid+"3/block/sdd", map[string]string{"size": "16\n", "device/serial": "CLONE\n"})
	blockFiles(files, "pci0000:00/0000:05:00.0/virtio3/block/vda", map[string]string{"size": "32\n", "queue/rotational": "1\n", "device/vendor": "0x1af4\n"})
	for _, at := range []string{
		"virtual/block/zram0", "virtual/block/dm-0", "virtual/block/loop0", "virtual/block/md0", "virtual/block/ram0",
		"pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/block/sr0",
		"platform/host9/session1/target9:0:0/9:0:0:0/block/sde",                                 // iSCSI
		"pci0000:00/0000:0b:00.0/host5/rport-5:0-1/target5:0:1/block/sdf",                       // Fibre Channel
		"virtual/nvme-fabrics/ctl/nvme4/nvme4n1",                                                // NVMe over a network
		"pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/host8/target8:0:0/8:0:0:0/block/mmcblk0boot0", // a part of a disk
	} {
		blockFiles(files, at, map[string]string{"size": "64\n"})
	}
	blockFiles(files, "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host8/target8:0:0/8:0:0:0/block/sdg", map[string]string{"size": "0\n"}) // empty card reader
	// What NVMe multipathing makes of a dual-ported disk.
	const subsystem = "virtual/nvme-subsystem/nvme-subsys1"
	files["sys/devices/"+subsystem+"/nvme1"] = "-> ../../../pci0000:00/0000:41:00.0/nvme/nvme1"
	files["sys/devices/pci0000:00/0000:41:00.0/nvme/nvme1/transport"] = "pcie\n"
	blockFiles(files, subsystem+"/nvme1n1", map[string]string{"size": "128\n", "device": "-> ../../nvme-subsys1"})
	files["sys/devices/"+subsystem+"/serial"] = "PHAB1234\n"
	blockFiles(files, "pci0000:00/0000:41:00.0/nvme/nvme1/nvme1c1n1", map[string]string{"size": "128\n", "hidden": "1\n"})

	got := Collect(context.Background(), Config{HostRoot: tree(t, files), Links: noLinks})[0]
	zero := 0
	want := []hardware.Element{
		{Class: hardware.Storage, Slot: "dev/sdc", Serial: "CLONE", Disk: &hardware.Disk{Bytes: 8192, Controller: "SCSI", Media: "SSD", Name: "sdc"}},
		{Class: hardware.Storage, Slot: "dev/sdd", Serial: "CLONE", Disk: &hardware.Disk{Bytes: 8192, Controller: "SCSI", Name: "sdd"}},
		{Class: hardware.Storage, Slot: "pci/0000:05:00.0", Disk: &hardware.Disk{Bytes: 16384, Controller: "virtio", Name: "vda"}},
		{Class: hardware.Storage, Slot: "sn/PHAB1234", Serial: "PHAB1234", Disk: &hardware.Disk{Bytes: 65536, Controller: "NVMe", Media: "NVME", Name: "nvme1n1"}},
		{
			Class: hardware.Storage, Slot: "wwn/0x5000c500a1b2c3d4", Vendor: "SEAGATE", Model: "ST1200MM0099", Serial: "WFK0ABCD", Firmware: "ST31",
			Disk: &hardware.Disk{Bytes: 8192, Controller: "SCSI", Media: "HDD", Name: "sda", WWN: "0x5000c500a1b2c3d4"},
		},
		{
			Class: hardware.Storage, Slot: "wwn/eui.0025385b71b00e4c", Model: "SAMSUNG MZVL2512", Serial: "S64KNX0R", Firmware: "GXA7401Q", NUMA: &zero,
			PCI:  &hardware.PCIDevice{Address: "0000:01:00.0", Vendor: "144d", Device: "a808", Subvendor: "144d", Subdevice: "a801"},
			Disk: &hardware.Disk{Bytes: 4096, Controller: "NVMe", Media: "NVME", Name: "nvme0n1", WWN: "eui.0025385b71b00e4c"},
		},
	}
	compareElements(t, got.Machine.Elements, want)
}

// TestMalformed gives the probe what broken firmware, drivers and copies of sysfs hold.
// Nothing of it may stop the rest from being reported.
func TestMalformed(t *testing.T) {
	files := map[string]string{
		"proc/cpuinfo": "processor\t: x\n\n:::\nprocessor\t: 0\nmodel name\t: Good CPU\nflags\t\t: \n\n",
		"proc/meminfo": "MemTotal: 99999999999999999999 kB\nMemTotal\n",
		"sys/devices/system/cpu/cpu0/topology/physical_package_id": "garbage\n",
		"sys/devices/system/cpu/cpu0/topology/core_id":             "\n",
		"sys/devices/system/cpu/cpu99/online":                      "0\n",
		"sys/devices/system/node/node0/cpulist":                    "9-0,5-,x,0-99999999999\n",
		"sys/devices/system/node/node0/distance":                   "ten\n",
		"sys/devices/system/node/nodeX/cpulist":                    "0\n",
		"sys/class/dmi/id/product_serial":                          "/",
		"sys/class/dmi/id/sys_vendor":                              "To Be Filled By O.E.M.\n",
		"sys/class/dmi/id/product_name":                            "\xff\xfe\x00 \n",
		"sys/class/dmi/id/chassis_type":                            "23\n",
		"sys/block/sda/size":                                       "-5\n",
		"sys/block/sdb":                                            "-> ../nowhere",
		"sys/class/net/eth0":                                       "-> ../../devices/eth0",
		"sys/class/ptp/ptp0":                                       "-> /etc",
		"etc/o2ims-synthetic":                                      "all of it\n",
	}
	pciFiles(files, "0000:02:00.0", "pci:v0000", nil)
	pciFiles(files, "0000:31:00.0", aliasE810, map[string]string{"sriov_totalvfs": "many\n", "numa_node": "\n", "ptp/ptpX/dev": "1\n"})
	netFiles(files, "pci0000:00/0000:31:00.0", "ens1", map[string]string{"address": "\n", "mtu": "-7\n", "speed": "fast\n", "carrier": "2\n"})

	got := Collect(context.Background(), Config{HostRoot: tree(t, files), PCIIDs: "/nowhere/pci.ids", Links: noLinks})
	if len(got) != 1 || got[0].Err != "" {
		t.Fatalf("Collect = %+v", got)
	}
	wantServer := hardware.Server{
		CPUs: 1, Chassis: "Rack mount chassis", Synthetic: true,
		NUMA: []hardware.NUMANode{{ID: 0, CPUs: "9-0,5-,x,0-99999999999"}},
	}
	if !reflect.DeepEqual(got[0].Machine.Server, wantServer) {
		t.Errorf("server = %+v, want %+v", got[0].Machine.Server, wantServer)
	}
	pci := &hardware.PCIDevice{Address: "0000:31:00.0", Vendor: "8086", Device: "1593", Subvendor: "1137", Subdevice: "02c3"}
	compareElements(t, got[0].Machine.Elements, []hardware.Element{
		{Class: hardware.Adapter, Slot: "0000:31:00", PCI: pci},
		{Class: hardware.Port, Slot: "0000:31:00.0", Parent: "adapter|0000:31:00", PCI: pci, Port: &hardware.PortState{Name: "ens1", Link: "down"}},
		{Class: hardware.Processor, Slot: "socket/0", Model: "Good CPU", CPU: &hardware.CPU{Cores: 1, Threads: 1}},
	})
	wantMissing := []string{
		"dmi: is a directory on product_serial",
		"pci 0000:02:00.0: unreadable modalias",
		"pci.ids: no such file or directory: PCI devices have numbers, not names",
	}
	if !slices.Equal(got[0].Missing, wantMissing) {
		t.Errorf("missing = %q, want %q", got[0].Missing, wantMissing)
	}
}

func TestHypervisor(t *testing.T) {
	const flag = "flags\t\t: fpu hypervisor lahf_lm\n"
	for _, tc := range []struct{ name, vendor, model, cpuinfo, clocks, want string }{
		{name: "real server", vendor: "Dell Inc.", model: "PowerEdge XR8620t", cpuinfo: "flags\t: fpu vmx\n"},
		{name: "real, but a flag's name contains the word", cpuinfo: "flags\t: nohypervisor\n"},
		{name: "VMware", vendor: "VMware, Inc.", model: "VMware20,1", cpuinfo: flag, want: "vmware"},
		{name: "Hyper-V", vendor: "Microsoft Corporation", model: "Virtual Machine", want: "hyperv"},
		{name: "a Surface is no virtual machine", vendor: "Microsoft Corporation", model: "Surface Pro"},
		{name: "OpenStack", vendor: "OpenStack Foundation", model: "OpenStack Nova", want: "kvm"},
		{name: "EC2 virtual", vendor: "Amazon EC2", model: "m5.large", cpuinfo: flag, want: "amazon"},
		{name: "EC2 metal", vendor: "Amazon EC2", model: "m5.metal"},
		{name: "no DMI, KVM's clock", cpuinfo: flag, clocks: "tsc kvm-clock \n", want: "kvm"},
		{name: "no DMI, no clue", cpuinfo: flag, clocks: "tsc hpet\n", want: "virtual"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := tree(t, map[string]string{
				"proc/cpuinfo":                  tc.cpuinfo,
				"sys/class/dmi/id/sys_vendor":   tc.vendor + "\n",
				"sys/class/dmi/id/product_name": tc.model + "\n",
				"sys/devices/system/clocksource/clocksource0/available_clocksource": tc.clocks,
			})
			got := Collect(context.Background(), Config{HostRoot: root, Links: noLinks})[0].Machine.Server.Virtual
			if got != tc.want {
				t.Errorf("virtual = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestKnown(t *testing.T) {
	for in, want := range map[string]string{
		"Dell Inc.\n":                          "Dell Inc.",
		"  Intel(R)   Xeon(R)\t CPU ":          "Intel(R) Xeon(R) CPU",
		"unknown":                              "",
		"Default string":                       "",
		"To Be Filled By O.E.M.":               "",
		"0":                                    "",
		"00000000-0000-0000-0000-000000000000": "",
		"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF": "",
		"ABC\x00\x01\x7fDEF":                   "ABC DEF",
		"\xff\xff\xff":                         "",
		"Zürich":                               "Zürich",
		"0x1f":                                 "0x1f",
	} {
		if got := known(in); got != want {
			t.Errorf("known(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNominalMHz(t *testing.T) {
	for _, tc := range []struct {
		name string
		base string
		a    map[string]string
		want int
	}{
		{name: "cpufreq knows", base: "2900000\n", a: map[string]string{"model name": "X @ 2.10GHz"}, want: 2900},
		{name: "in the model's name", a: map[string]string{"model name": "Intel(R) Xeon(R) CPU E5-2695 v4 @ 2.10GHz", "cpu MHz": "1200.0"}, want: 2100},
		{name: "a momentary frequency says nothing", a: map[string]string{"model name": "AMD Ryzen 5", "cpu MHz": "1550.1"}},
		{name: "a virtual machine that cannot measure", a: map[string]string{"flags": "fpu hypervisor", "cpu MHz": "2599.998"}, want: 2600},
		{name: "a virtual machine that can", a: map[string]string{"flags": "hypervisor aperfmperf", "cpu MHz": "2599.998"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{}
			if tc.base != "" {
				files["sys/devices/system/cpu/cpu0/cpufreq/base_frequency"] = tc.base
			}
			m := inspection{host: &host{root: tree(t, files)}}
			if got := m.nominalMHz(0, tc.a); got != tc.want {
				t.Errorf("nominalMHz = %d, want %d", got, tc.want)
			}
		})
	}
}
