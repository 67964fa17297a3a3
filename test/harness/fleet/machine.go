package fleet

import (
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// flavour is one make of server. Sites of one operator have a few of them, bought in
// different years.
type flavour struct {
	vendor, model, sku    string
	bios, board, kernel   string
	cpu                   hardware.Element // without slot
	cores                 int
	dimm                  hardware.Element // without slot and serial number
	nic                   nic
	accelerator           hardware.Element // without slot and serial number
	disk                  hardware.Element // without slot and serial number
	accelerators, modules int
}

type nic struct {
	vendor, model, driver, firmware string
	vendorID, deviceID              string
	mbps                            int
}

func flavours() []flavour {
	return []flavour{
		{
			vendor: "Dell Inc.", model: "PowerEdge XR8620t", sku: "SKU=0BDA;ModelName=PowerEdge XR8620t", bios: "2.3.5", board: "0T8N7F",
			kernel: "5.14.0-427.61.1.el9_4.x86_64+rt", cores: 32, modules: 16, accelerators: 2,
			cpu:  processor("GenuineIntel", "Intel(R) Xeon(R) Gold 6433N", 32, 2000, 3600, "0x2b000603", avx512()),
			dimm: module("Samsung", "M321R4GA3BB6-CQKET", 32, 4400),
			nic:  nic{"Intel Corporation", "Ethernet Controller E810-C for SFP", "ice", "4.40 0x8001c967 1.3534.0", "8086", "1593", 25000},
			accelerator: hardware.Element{
				Class: hardware.Accelerator, Subtype: "fec", Driver: "vfio-pci", Model: "ACC200 Device", Vendor: "Intel Corporation",
				PCI: &hardware.PCIDevice{Device: "57c0", Vendor: "8086"}, SRIOV: &hardware.SRIOV{Num: 16, Total: 16},
			},
			disk: disk("Dell", "Dell Ent NVMe CM6 RI 1.92TB", "2.1.8", 1920383410176),
		},
		{
			vendor: "HPE", model: "ProLiant DL110 Gen10 Plus", sku: "P54449-B21", bios: "U56 v1.88 (07/19/2024)", board: "ProLiant DL110 Gen10 Plus",
			kernel: "5.14.0-427.61.1.el9_4.x86_64+rt", cores: 32, modules: 16, accelerators: 2,
			cpu:  processor("GenuineIntel", "Intel(R) Xeon(R) Gold 6338N CPU @ 2.20GHz", 32, 2200, 3500, "0xd0003d1", avx512()),
			dimm: module("Hynix", "P03050-091", 16, 3200),
			nic:  nic{"Mellanox Technologies", "MT2892 Family [ConnectX-6 Dx]", "mlx5_core", "22.39.2048 (MT_0000000437)", "15b3", "101d", 25000},
			accelerator: hardware.Element{
				Class: hardware.Accelerator, Subtype: "fec", Driver: "igb_uio", Model: "ACC100 Device", Vendor: "Intel Corporation",
				PCI: &hardware.PCIDevice{Device: "0d5c", Vendor: "8086"}, SRIOV: &hardware.SRIOV{Num: 8, Total: 16},
			},
			disk: disk("HPE", "VO001920KYDMT", "HPK6", 1920383410176),
		},
		{
			vendor: "Supermicro", model: "SYS-111E-FWTR", sku: "091715D9", bios: "1.4b", board: "X13SEM-TF",
			kernel: "6.8.1-1015-realtime", cores: 64, modules: 16, accelerators: 2,
			cpu:  processor("AuthenticAMD", "AMD EPYC 8534P 64-Core Processor", 64, 2300, 3100, "0xaa00215", avx512()[:34]),
			dimm: module("Micron", "HMCG94AGBRA181N", 64, 4800),
			nic:  nic{"Intel Corporation", "Ethernet Controller X710 for 10GbE SFP+", "i40e", "9.20 0x8000d8c5 0.0.0", "8086", "1572", 10000},
			accelerator: hardware.Element{
				Class: hardware.Accelerator, Subtype: "gpu", Driver: "nvidia", Model: "AD104GL [L4]", Vendor: "NVIDIA Corporation", Firmware: "95.04.3C.00.04",
				PCI: &hardware.PCIDevice{Device: "27b8", Vendor: "10de"},
			},
			disk: disk("Samsung", "SAMSUNG MZQL21T9HCJR-00A07", "GDC7302Q", 1920383410176),
		},
	}
}

func processor(vendor, model string, cores, mhz, most int, microcode string, flags []string) hardware.Element {
	return hardware.Element{Class: hardware.Processor, Vendor: vendor, Model: model, CPU: &hardware.CPU{
		Cores: cores, Threads: 2 * cores, MHz: mhz, MaxMHz: most, Microcode: microcode, Stepping: "8", Flags: flags,
	}}
}

func module(vendor, part string, gib uint64, mts int) hardware.Element {
	return hardware.Element{Class: hardware.Memory, Vendor: vendor, Model: part, Memory: &hardware.DIMM{Bytes: gib << 30, ECC: true, MTs: mts, Type: "DDR5"}}
}

func disk(vendor, model, firmware string, bytes uint64) hardware.Element {
	return hardware.Element{Class: hardware.Storage, Vendor: vendor, Model: model, Firmware: firmware, Disk: &hardware.Disk{Bytes: bytes, Controller: "NVMe", Media: "NVME"}}
}

// machine makes node n of a cluster: two processors, sixteen DIMMs, three adapters of two
// ports with neighbours, two accelerators, four disks and a clock, 34 elements.
func machine(rng *rand.Rand, cluster string, n int) hardware.Machine {
	f := flavours()[rng.IntN(len(flavours()))]
	name := fmt.Sprintf("%s-n%03d", cluster, n+1)
	systemUUID, serial := randomUUID(rng), randomText(rng, 7)
	memory := uint64(f.modules) * f.dimm.Memory.Bytes
	usable := memory - 4<<30 - rng.Uint64N(1<<20)<<10 // the kernel keeps a part, never quite the same
	half := f.cores
	return hardware.Machine{
		Name: name,
		Key: hardware.ChooseKey(hardware.Clues{SystemUUID: systemUUID, Vendor: f.vendor, Serial: serial, NodeName: name},
			func(string) bool { return false }),
		Prov: map[string]string{
			"server": "s", "server.node": "n", "server.os": "n", "processor": "s", "memory": "s",
			"port": "p", "storage": "p", "adapter": "p", "accelerator": "p", "ptpClock": "p",
		},
		Server: hardware.Server{
			BIOS:        &hardware.BIOS{Date: "03/14/2025", Vendor: f.vendor, Version: f.bios},
			Board:       &hardware.Board{Model: f.board, Serial: randomText(rng, 14), Vendor: f.vendor, Version: "A02"},
			Chassis:     "Rack Mount Chassis",
			CPUs:        4 * f.cores,
			MachineID:   randomHex(rng, 32),
			MemoryBytes: memory,
			Model:       f.model,
			NUMA: []hardware.NUMANode{
				{ID: 0, CPUs: fmt.Sprintf("0-%d,%d-%d", half-1, 2*half, 3*half-1), Distances: []int{10, 21}, MemoryBytes: memory / 2},
				{ID: 1, CPUs: fmt.Sprintf("%d-%d,%d-%d", half, 2*half-1, 3*half, 4*half-1), Distances: []int{21, 10}, MemoryBytes: memory / 2},
			},
			OS: &hardware.OS{
				Architecture: "amd64", ContainerRuntime: "cri-o://1.31.4-3.rhaos4.18.git5b38e66.el9", Kernel: f.kernel,
				Kubelet: "v1.31.6", Name: "Red Hat Enterprise Linux CoreOS 418.94.202503121207-0",
			},
			Serial: serial, SKU: f.sku, SystemUUID: systemUUID, Vendor: f.vendor, Synthetic: true,
			Node: &hardware.NodeState{
				Addresses:   []string{"Hostname=" + name, fmt.Sprintf("InternalIP=192.0.2.%d", n%250+1)},
				Allocatable: nodeResources(f, usable, 2),
				Capacity:    nodeResources(f, usable, 0),
				Labels:      labels(rng, f, name),
				Ready:       "True",
				Roles:       []string{"control-plane", "worker"},
			},
		},
		Elements: elements(rng, f),
	}
}

func nodeResources(f flavour, memory uint64, reserved int) map[string]string {
	r := map[string]string{
		"cpu": fmt.Sprint(4*f.cores - reserved), "memory": fmt.Sprintf("%dKi", memory>>10-uint64(reserved)<<20),
		"pods": "250", "ephemeral-storage": "1873934336Ki", "hugepages-1Gi": "32Gi", "hugepages-2Mi": "0",
		"openshift.io/fronthaul": "8", "openshift.io/midhaul": "16",
	}
	if f.accelerator.Subtype == "gpu" {
		r["nvidia.com/gpu"] = "2"
	} else {
		r["intel.com/intel_fec"] = "16"
	}
	return r
}

// labels are those of the platform and of Node Feature Discovery, 64 in all.
func labels(rng *rand.Rand, f flavour, name string) map[string]string {
	l := map[string]string{
		"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
		"beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
		"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "", "node-role.kubernetes.io/master": "",
		"node.openshift.io/os_id":       "rhcos",
		"topology.kubernetes.io/region": "ottawa", "topology.kubernetes.io/zone": fmt.Sprintf("ottawa-%d", rng.IntN(8)),
		"feature.node.kubernetes.io/kernel-version.full":                                f.kernel,
		"feature.node.kubernetes.io/system-os_release.ID":                               "rhcos",
		"feature.node.kubernetes.io/cpu-model.vendor_id":                                f.cpu.Vendor,
		"feature.node.kubernetes.io/cpu-hardware_multithread":                           "true",
		"feature.node.kubernetes.io/memory-numa":                                        "true",
		"feature.node.kubernetes.io/network-sriov.capable":                              "true",
		"feature.node.kubernetes.io/storage-nonrotationaldisk":                          "true",
		"feature.node.kubernetes.io/pci-" + f.nic.vendorID + ".present":                 "true",
		"feature.node.kubernetes.io/pci-" + f.accelerator.PCI.Vendor + ".sriov.capable": "true",
		"sriovnetwork.openshift.io/state":                                               "Idle", "ptp/enabled": "", "ran.example.com/site": fmt.Sprintf("site-%04d", rng.IntN(10_000)),
	}
	for _, flag := range f.cpu.CPU.Flags {
		l["feature.node.kubernetes.io/cpu-cpuid."+flag] = "true"
	}
	return l
}

func elements(rng *rand.Rand, f flavour) []hardware.Element {
	var list []hardware.Element
	for i := range f.accelerators {
		e := f.accelerator
		pci := *e.PCI
		pci.Address = fmt.Sprintf("0000:%02x:00.0", 0x70+i)
		pci.Subvendor, pci.Subdevice = pci.Vendor, "0000"
		e.Slot, e.PCI, e.NUMA, e.Serial = pci.Address, &pci, number(i%2), randomText(rng, 12)
		list = append(list, e)
	}
	for i := range 3 {
		slot := fmt.Sprintf("0000:%02x:00", 0x10+i)
		list = append(list, hardware.Element{
			Class: hardware.Adapter, Slot: slot, Driver: f.nic.driver, Firmware: f.nic.firmware, Model: f.nic.model, Vendor: f.nic.vendor,
			NUMA: number(i % 2), Serial: randomHex(rng, 12),
			PCI: &hardware.PCIDevice{Address: slot + ".0", Device: f.nic.deviceID, Vendor: f.nic.vendorID, Subdevice: "0005", Subvendor: f.nic.vendorID},
		})
	}
	for i := range f.modules {
		e := f.dimm
		capacity := *e.Memory
		e.Slot, e.Memory, e.NUMA, e.Serial = fmt.Sprintf("%c%d", 'A'+i/8, i%8+1), &capacity, number(i/8), randomHex(rng, 8)
		list = append(list, e)
	}
	list = append(list, ports(rng, f)...)
	for i := range 2 {
		e := f.cpu
		e.Slot, e.NUMA = fmt.Sprintf("socket/%d", i), number(i)
		list = append(list, e)
	}
	list = append(list, hardware.Element{Class: hardware.PTPClock, Slot: "phc/0000:10:00.0", Driver: f.nic.driver, Parent: "port|0000:10:00.0"})
	return append(list, disks(rng, f)...)
}

func ports(rng *rand.Rand, f flavour) []hardware.Element {
	var list []hardware.Element
	for i := range 6 {
		list = append(list, hardware.Element{
			Class: hardware.Port, Slot: fmt.Sprintf("0000:%02x:00.%d", 0x10+i/2, i%2), Parent: fmt.Sprintf("adapter|0000:%02x:00", 0x10+i/2),
			Driver: f.nic.driver, Model: f.nic.model, Vendor: f.nic.vendor, NUMA: number(i / 2 % 2),
			Port: &hardware.PortState{
				Link: "up", MAC: randomMAC(rng), MTU: 1500, Name: fmt.Sprintf("ens%df%d", i/2+1, i%2), PHC: number(i), SpeedMbps: f.nic.mbps,
				LLDP: &hardware.LLDP{
					Port: fmt.Sprintf("Ethernet%d", rng.IntN(48)), Switch: randomMAC(rng), System: fmt.Sprintf("leaf-%02d.site.example.net", rng.IntN(20)),
				},
			},
			SRIOV: &hardware.SRIOV{Num: 8, Total: 128},
		})
	}
	return list
}

func disks(rng *rand.Rand, f flavour) []hardware.Element {
	var list []hardware.Element
	for i := range 4 {
		e := f.disk
		d := *e.Disk
		d.Name, d.WWN = fmt.Sprintf("nvme%dn1", i), "eui."+randomHex(rng, 32)
		e.Serial = randomText(rng, 14)
		e.Slot, e.Disk, e.NUMA = "sn/"+e.Serial, &d, number(i%2)
		list = append(list, e)
	}
	return list
}

// avx512 are instruction set flags of a present server processor, by the names that Node
// Feature Discovery gives them.
func avx512() []string {
	return []string{
		"ADX", "AESNI", "AMXBF16", "AMXINT8", "AMXTILE", "AVX", "AVX2", "AVX512BF16", "AVX512BITALG", "AVX512BW", "AVX512CD", "AVX512DQ",
		"AVX512F", "AVX512FP16", "AVX512IFMA", "AVX512VBMI", "AVX512VBMI2", "AVX512VL", "AVX512VNNI", "AVX512VPOPCNTDQ", "AVXVNNI", "CETIBT",
		"CETSS", "CLDEMOTE", "CMPXCHG8", "FMA3", "FSRM", "FXSR", "GFNI", "HYPERVISOR", "IBPB", "LAHF", "MOVBE", "MOVDIR64B", "MOVDIRI",
		"OSXSAVE", "SERIALIZE", "SHA", "TSXLDTRK", "VAES", "VPCLMULQDQ",
	}
}

func number(n int) *int { return &n }

func randomUUID(rng *rand.Rand) string {
	var u uuid.UUID
	for i := range u {
		u[i] = byte(rng.Uint32())
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80 // version 4, the variant of RFC 9562
	return u.String()
}

func randomFrom(rng *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[rng.IntN(len(alphabet))]
	}
	return string(b)
}

func randomText(rng *rand.Rand, n int) string {
	return randomFrom(rng, "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", n)
}

func randomHex(rng *rand.Rand, n int) string { return randomFrom(rng, "0123456789abcdef", n) }

func randomMAC(rng *rand.Rand) string {
	h := randomHex(rng, 10)
	return fmt.Sprintf("04:%s:%s:%s:%s:%s", h[0:2], h[2:4], h[4:6], h[6:8], h[8:10])
}
