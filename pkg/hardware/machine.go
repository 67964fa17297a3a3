// Package hardware models what one machine is made of, names it, and makes one picture
// of what several sources say about it.
//
// A source (the node probe, the Node object, later Redfish, Metal3, SR-IOV …) yields an
// Observation of a machine. Merge combines the observations attribute by attribute, with
// a note of which source said what. Identity chooses the name that stays with the
// machine when it is re-imaged or moved.
//
// The JSON form of these types travels in the agent's report (pkg/report). Fields stand
// in the order of their JSON names, so that encoding/json writes canonical JSON: equal
// machines have equal bytes and so equal digests. An absent value means "not known";
// no source may write the word "unknown" or a zero it did not read.
package hardware

// Machine is one node of a cluster: a server and the parts in it.
type Machine struct {
	// Conflicts lists the attributes on which two sources disagree.
	Conflicts []Conflict `json:"conflicts,omitempty"`

	// Elements are the parts, in ascending order of class and slot.
	Elements []Element `json:"elements,omitempty"`

	// Key is the identity from which the resourceId is derived; see ChooseKey. It is
	// sticky: a source that appears later never renames the machine.
	Key string `json:"key"`

	// Name is the name of the Kubernetes Node.
	Name string `json:"name"`

	// Prov tells which source set what: the longest path that is a prefix of an
	// attribute's path wins. Paths are those of Conflict.Path, values SourceLetters.
	Prov map[string]string `json:"prov,omitempty"`

	Server Server `json:"server"`

	// Sources tells what each source had to say about its own reading, in
	// ascending order of name. Only sources with trouble are listed.
	Sources []SourceState `json:"sources,omitempty"`
}

// Server is the machine as a whole.
type Server struct {
	BIOS    *BIOS  `json:"bios,omitempty"`
	Board   *Board `json:"board,omitempty"`
	Chassis string `json:"chassis,omitempty"` // chassis type in words, such as "Rack Mount Chassis"

	// CPUs counts logical processors, as the operating system sees them.
	CPUs int `json:"cpus,omitempty"`

	// MachineID is /etc/machine-id: it names the installation, not the machine.
	MachineID string `json:"machineID,omitempty"`

	// MemoryBytes is the physical memory; without SMBIOS, what the kernel was given.
	MemoryBytes uint64 `json:"memoryBytes,omitempty"`

	Model string     `json:"model,omitempty"`
	Node  *NodeState `json:"node,omitempty"`
	NUMA  []NUMANode `json:"numa,omitempty"` // ascending by ID
	OS    *OS        `json:"os,omitempty"`

	Serial string `json:"serial,omitempty"`
	SKU    string `json:"sku,omitempty"`

	// Synthetic marks a machine that was made up for a demonstration or a test.
	Synthetic bool `json:"synthetic,omitempty"`

	// SystemUUID is the SMBIOS system UUID in lower case, in the byte order in which
	// the kernel's dmi interface shows it.
	SystemUUID string `json:"systemUUID,omitempty"`

	Vendor string `json:"vendor,omitempty"`

	// Virtual names the hypervisor ("kvm", "vmware" …) when the machine is virtual.
	Virtual string `json:"virtual,omitempty"`
}

// BIOS is the system firmware.
type BIOS struct {
	Date    string `json:"date,omitempty"`
	Vendor  string `json:"vendor,omitempty"`
	Version string `json:"version,omitempty"`
}

// Board is the base board.
type Board struct {
	Model   string `json:"model,omitempty"`
	Serial  string `json:"serial,omitempty"`
	Vendor  string `json:"vendor,omitempty"`
	Version string `json:"version,omitempty"`
}

// NUMANode is one memory locality domain of a server.
type NUMANode struct {
	CPUs        string `json:"cpus,omitempty"`      // list format of the kernel: "0-3,8-11"
	Distances   []int  `json:"distances,omitempty"` // to nodes 0, 1, …
	ID          int    `json:"id"`
	MemoryBytes uint64 `json:"memoryBytes,omitempty"`
}

// OS is what runs on the machine.
type OS struct {
	Architecture     string `json:"architecture,omitempty"` // GOARCH spelling: amd64, arm64
	ContainerRuntime string `json:"containerRuntime,omitempty"`
	Kernel           string `json:"kernel,omitempty"`
	Kubelet          string `json:"kubelet,omitempty"`
	Name             string `json:"name,omitempty"`
}

// NodeState is the machine's role in its Kubernetes cluster. Quantities are written
// as Kubernetes writes them, such as "16" or "63Gi".
type NodeState struct {
	Addresses     []string          `json:"addresses,omitempty"` // "InternalIP=192.0.2.7", ascending
	Allocatable   map[string]string `json:"allocatable,omitempty"`
	Capacity      map[string]string `json:"capacity,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Ready         string            `json:"ready,omitempty"` // True, False or Unknown
	Roles         []string          `json:"roles,omitempty"` // ascending
	Taints        []string          `json:"taints,omitempty"`
	Unschedulable bool              `json:"unschedulable,omitempty"`
}

// Class is the kind of an element. The values travel in reports and enter identifiers.
type Class string

// The classes of elements.
const (
	Processor   Class = "processor"   // one CPU package; slot "socket/0"
	Memory      Class = "memory"      // one DIMM, slot its locator; or all memory, slot "total"
	Adapter     Class = "adapter"     // one network device; slot the PCI address without function
	Port        Class = "port"        // one network port; slot the PCI address, else "net/<name>"
	Accelerator Class = "accelerator" // GPU, FEC, FPGA, crypto; slot the PCI address
	Storage     Class = "storage"     // one disk; slot "wwn/…", "sn/…", "pci/…" or "dev/<name>"
	PTPClock    Class = "ptpClock"    // one hardware clock; slot "phc/<PCI address>"
)

// Element is one part of a server. Class and Slot together name it within the machine.
type Element struct {
	Class    Class      `json:"class"`
	Driver   string     `json:"driver,omitempty"`
	Firmware string     `json:"firmware,omitempty"`
	Memory   *DIMM      `json:"memory,omitempty"`
	Model    string     `json:"model,omitempty"`
	NUMA     *int       `json:"numa,omitempty"`   // id of the NUMA node it is attached to
	Parent   string     `json:"parent,omitempty"` // "class|slot" of the element it sits on; absent: the server
	PCI      *PCIDevice `json:"pci,omitempty"`
	Port     *PortState `json:"port,omitempty"`
	CPU      *CPU       `json:"processor,omitempty"`
	Serial   string     `json:"serial,omitempty"`
	Slot     string     `json:"slot"`
	SRIOV    *SRIOV     `json:"sriov,omitempty"`
	Disk     *Disk      `json:"storage,omitempty"`
	Subtype  string     `json:"subtype,omitempty"` // of accelerators: gpu, fec, fpga, crypto
	Vendor   string     `json:"vendor,omitempty"`
}

// CPU describes a processor package.
type CPU struct {
	Cores     int      `json:"cores,omitempty"`
	Flags     []string `json:"flags,omitempty"` // instruction set flags, ascending
	MaxMHz    int      `json:"maxMHz,omitempty"`
	MHz       int      `json:"mhz,omitempty"` // nominal
	Microcode string   `json:"microcode,omitempty"`
	Stepping  string   `json:"stepping,omitempty"`
	Threads   int      `json:"threads,omitempty"`
}

// DIMM describes memory: one module, or all of it when no module can be told apart.
type DIMM struct {
	Bytes uint64 `json:"bytes,omitempty"`
	ECC   bool   `json:"ecc,omitempty"`
	MTs   int    `json:"mts,omitempty"`  // configured speed in megatransfers per second
	Type  string `json:"type,omitempty"` // "DDR4", "DDR5" …
}

// PCIDevice is an element's place on the PCI bus and its identifiers, four lower-case
// hexadecimal digits each.
type PCIDevice struct {
	Address   string `json:"address"` // domain:bus:device.function
	Device    string `json:"device,omitempty"`
	Subdevice string `json:"subdevice,omitempty"`
	Subvendor string `json:"subvendor,omitempty"`
	Vendor    string `json:"vendor,omitempty"`
}

// PortState describes a network port.
type PortState struct {
	Link      string `json:"link,omitempty"` // up or down
	LLDP      *LLDP  `json:"lldp,omitempty"`
	MAC       string `json:"mac,omitempty"` // permanent address where known, lower case
	MTU       int    `json:"mtu,omitempty"`
	Name      string `json:"name,omitempty"` // interface name
	PHC       *int   `json:"phc,omitempty"`  // index of its PTP hardware clock
	SpeedMbps int    `json:"speedMbps,omitempty"`
}

// LLDP is the neighbour at the other end of a port's cable.
type LLDP struct {
	Port   string `json:"port,omitempty"`
	Switch string `json:"switch,omitempty"`
	System string `json:"system,omitempty"`
}

// SRIOV counts virtual functions; they are counted, never listed.
type SRIOV struct {
	Num   int `json:"num"`
	Total int `json:"total"`
}

// Disk describes a storage device.
type Disk struct {
	Bytes      uint64 `json:"bytes,omitempty"`
	Controller string `json:"controller,omitempty"` // NVMe, SCSI, virtio, MMC, IDE
	Media      string `json:"media,omitempty"`      // HDD, SSD or NVME; absent when it cannot be told
	Name       string `json:"name,omitempty"`       // kernel name, such as nvme0n1
	WWN        string `json:"wwn,omitempty"`
}

// Conflict is an attribute on which two sources disagree.
type Conflict struct {
	Kept   string `json:"kept"`   // value that stands in the report
	Other  string `json:"other"`  // value that does not
	Path   string `json:"path"`   // such as "server.serial" or "port|0000:01:00.0.port.mac"
	Source string `json:"source"` // name of the source of Other
	Winner string `json:"winner"` // name of the source of Kept
}

// SourceState is what one source said about its own reading.
type SourceState struct {
	Error   string   `json:"error,omitempty"`   // why the source gave nothing at all
	Missing []string `json:"missing,omitempty"` // what it could not read, ascending
	Name    string   `json:"name"`
}

// Observation is what one source says about one machine.
type Observation struct {
	// Source is the name of the source: one of the keys of SourceLetters.
	Source string `json:"source"`

	// Machine holds what the source knows. Key, Prov, Conflicts and Sources stay empty.
	Machine Machine `json:"machine"`

	// Missing names what the source looked for and could not read, such as
	// "dmi: permission denied". A thing the machine does not have is not missing.
	Missing []string `json:"missing,omitempty"`

	// Err tells why the source gave nothing at all.
	Err string `json:"error,omitempty"`
}

// SourceLetters are the sources we know, and the letter that stands for each in
// provenance.
var SourceLetters = map[string]string{
	"node":     "n", // the Kubernetes Node object
	"probe":    "p", // o2ims probe on the machine
	"smbios":   "s", // SMBIOS tables, read by the probe
	"nfd":      "f", // Node Feature Discovery
	"metal3":   "m", // HardwareData, BareMetalHost
	"sriov":    "v", // SriovNetworkNodeState, SriovFecNodeConfig
	"gpu":      "g", // GPU operator labels
	"dra":      "d", // ResourceSlice
	"redfish":  "r", // the BMC
	"override": "o", // set by an administrator
}
