package report

import (
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// flavour is one kind of server in a made-up fleet.
type flavour struct {
	vendor, model, cpu string
	cores              int
	dimm               string
	dimmBytes          uint64
	nic, driver        string
	disk               string
}

func flavours() []flavour {
	return []flavour{
		{"Dell Inc.", "PowerEdge XR8620t", "Intel(R) Xeon(R) Gold 6433N", 32, "M321R4GA3BB6-CQKET", 32 << 30, "Ethernet Controller E810-C for SFP", "ice", "Dell Ent NVMe CM6 RI 1.92TB"},
		{"HPE", "ProLiant DL110 Gen10 Plus", "Intel(R) Xeon(R) Gold 6338N", 32, "P03050-091", 16 << 30, "MT2892 Family [ConnectX-6 Dx]", "mlx5_core", "VO001920KYDMT"},
		{"Supermicro", "SYS-111E-FWTR", "AMD EPYC 8534P 64-Core Processor", 64, "HMCG94AGBRA181N", 64 << 30, "Ethernet Controller X710 for 10GbE SFP+", "i40e", "SAMSUNG MZQL21T9HCJR-00A07"},
	}
}

// synthetic makes a cluster as a site would have it: two processors, sixteen DIMMs, three
// adapters with two ports each and neighbours, two accelerators, four disks, one clock for
// each node, with random serial numbers, addresses and UUIDs. Equal seeds make equal clusters.
func synthetic(cluster string, nodes int, seed uint64) Inventory {
	rng := rand.New(rand.NewPCG(seed, 2))
	inv := Inventory{Cluster: cluster, V: Version}
	for n := range nodes {
		inv.Nodes = append(inv.Nodes, syntheticNode(rng, cluster, n))
	}
	return inv
}

func syntheticNode(rng *rand.Rand, cluster string, n int) hardware.Machine {
	f := flavours()[rng.IntN(len(flavours()))]
	name := fmt.Sprintf("%s-%04d", cluster, n)
	systemUUID := randomUUID(rng)
	m := hardware.Machine{
		Name: name,
		Key:  "uuid:" + systemUUID,
		Prov: map[string]string{"server": "s", "server.node": "n", "processor": "s", "memory": "s", "port": "p", "storage": "p", "adapter": "p", "accelerator": "p"},
		Server: hardware.Server{
			BIOS:        &hardware.BIOS{Date: "03/14/2025", Vendor: f.vendor, Version: "2.3.5"},
			Board:       &hardware.Board{Model: "0T8N7F", Serial: randomText(rng, 14), Vendor: f.vendor, Version: "A02"},
			Chassis:     "Rack Mount Chassis",
			CPUs:        f.cores * 4,
			MachineID:   randomHex(rng, 32),
			MemoryBytes: 16 * f.dimmBytes,
			Model:       f.model,
			NUMA: []hardware.NUMANode{
				{ID: 0, CPUs: "0-31,64-95", Distances: []int{10, 21}, MemoryBytes: 8 * f.dimmBytes},
				{ID: 1, CPUs: "32-63,96-127", Distances: []int{21, 10}, MemoryBytes: 8 * f.dimmBytes},
			},
			OS:         &hardware.OS{Architecture: "amd64", ContainerRuntime: "cri-o://1.31.4", Kernel: "5.14.0-427.61.1.el9_4.x86_64+rt", Kubelet: "v1.31.6", Name: "Red Hat Enterprise Linux CoreOS 418.94"},
			Serial:     randomText(rng, 7),
			SKU:        "SKU=0BDA;ModelName=" + f.model,
			SystemUUID: systemUUID,
			Vendor:     f.vendor,
			Synthetic:  true,
			Node: &hardware.NodeState{
				Addresses:   []string{fmt.Sprintf("InternalIP=192.0.2.%d", n%250+1)},
				Allocatable: map[string]string{"cpu": "126", "memory": "525Gi", "pods": "250", "hugepages-1Gi": "32Gi", "intel.com/intel_fec_acc200": "16"},
				Capacity:    map[string]string{"cpu": "128", "memory": "528Gi", "pods": "250", "hugepages-1Gi": "32Gi", "intel.com/intel_fec_acc200": "16"},
				Labels:      syntheticLabels(name),
				Ready:       "True",
				Roles:       []string{"control-plane", "worker"},
			},
		},
	}
	m.Elements = syntheticElements(rng, f)
	return m
}

func syntheticLabels(name string) map[string]string {
	labels := map[string]string{
		"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
		"node-role.kubernetes.io/worker": "", "topology.kubernetes.io/region": "ottawa",
	}
	for i := range 20 {
		labels[fmt.Sprintf("feature.node.kubernetes.io/pci-%02x00_8086.present", i)] = "true"
	}
	return labels
}

func syntheticElements(rng *rand.Rand, f flavour) []hardware.Element {
	var list []hardware.Element
	numa := func(n int) *int { return &n }
	for i := range 2 {
		address := fmt.Sprintf("0000:%02x:00.0", 0x70+i)
		list = append(list, hardware.Element{
			Class: hardware.Accelerator, Slot: address, Driver: "vfio-pci", Model: "ACC200 Device", NUMA: numa(i), Subtype: "fec", Vendor: "Intel Corporation",
			Serial: randomText(rng, 12), PCI: &hardware.PCIDevice{Address: address, Device: "57c0", Vendor: "8086", Subdevice: "0000", Subvendor: "8086"},
			SRIOV: &hardware.SRIOV{Num: 16, Total: 16},
		})
	}
	for i := range 3 {
		slot := fmt.Sprintf("0000:%02x:00", 0x10+i)
		list = append(list, hardware.Element{
			Class: hardware.Adapter, Slot: slot, Driver: f.driver, Firmware: "4.40 0x8001c967 1.3534.0", Model: f.nic, NUMA: numa(i % 2), Vendor: "Intel Corporation",
			Serial: randomHex(rng, 12), PCI: &hardware.PCIDevice{Address: slot + ".0", Device: "1593", Vendor: "8086", Subdevice: "0005", Subvendor: "8086"},
		})
	}
	for i := range 16 {
		list = append(list, hardware.Element{
			Class: hardware.Memory, Slot: fmt.Sprintf("%c%d", 'A'+i/8, i%8+1), Model: f.dimm, Vendor: "Samsung", Serial: randomHex(rng, 8), NUMA: numa(i / 8),
			Memory: &hardware.DIMM{Bytes: f.dimmBytes, ECC: true, MTs: 4400, Type: "DDR5"},
		})
	}
	for i := range 6 {
		address := fmt.Sprintf("0000:%02x:00.%d", 0x10+i/2, i%2)
		phc := i
		list = append(list, hardware.Element{
			Class: hardware.Port, Slot: address, Driver: f.driver, Model: f.nic, NUMA: numa(i % 2), Parent: fmt.Sprintf("adapter|0000:%02x:00", 0x10+i/2), Vendor: "Intel Corporation",
			Port: &hardware.PortState{
				Link: "up", MAC: randomMAC(rng), MTU: 1500, Name: fmt.Sprintf("ens%df%d", i/2+1, i%2), PHC: &phc, SpeedMbps: 25000,
				LLDP: &hardware.LLDP{Port: fmt.Sprintf("Ethernet%d", rng.IntN(48)), Switch: randomMAC(rng), System: fmt.Sprintf("leaf-%02d.site.example.net", rng.IntN(20))},
			},
			SRIOV: &hardware.SRIOV{Num: 8, Total: 128},
		})
	}
	for i := range 2 {
		list = append(list, hardware.Element{
			Class: hardware.Processor, Slot: fmt.Sprintf("socket/%d", i), Model: f.cpu, NUMA: numa(i), Vendor: "GenuineIntel",
			CPU: &hardware.CPU{Cores: f.cores, Threads: 2 * f.cores, MHz: 2000, MaxMHz: 3600, Microcode: "0x2b000603", Stepping: "8", Flags: cpuFlags()},
		})
	}
	list = append(list, hardware.Element{Class: hardware.PTPClock, Slot: "phc/0000:10:00.0", Driver: f.driver, Parent: "port|0000:10:00.0"})
	for i := range 4 {
		serial := randomText(rng, 14)
		list = append(list, hardware.Element{
			Class: hardware.Storage, Slot: "sn/" + serial, Model: f.disk, Firmware: "2.1.8", Serial: serial, NUMA: numa(i % 2), Vendor: "Samsung",
			Disk: &hardware.Disk{Bytes: 1920383410176, Controller: "NVMe", Media: "NVME", Name: fmt.Sprintf("nvme%dn1", i), WWN: "eui." + randomHex(rng, 32)},
		})
	}
	return list
}

func cpuFlags() []string {
	var flags []string
	for i := range 40 {
		flags = append(flags, fmt.Sprintf("avx512_%02d", i))
	}
	return flags
}

func randomUUID(rng *rand.Rand) string {
	var u uuid.UUID
	for i := range u {
		u[i] = byte(rng.Uint32())
	}
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
