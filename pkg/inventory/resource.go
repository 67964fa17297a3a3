package inventory

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// resourceView is a server or one of its elements; they differ in their extensions. It has
// its elements last, so that they can be left out of, and added to, a record that is
// encoded already.
type resourceView[E any] struct {
	ResourceID     uuid.UUID      `json:"resourceId"`
	ResourcePoolID uuid.UUID      `json:"resourcePoolId"`
	ResourceTypeID uuid.UUID      `json:"resourceTypeId"`
	GlobalAssetID  string         `json:"globalAssetId"` // serial number
	Description    string         `json:"description"`
	Tags           []string       `json:"tags"`
	Groups         []string       `json:"groups"`
	Extensions     E              `json:"extensions" o2:"open"`
	Elements       *[]elementView `json:"elements,omitempty"`
}

type (
	serverView  = resourceView[serverExtensions]
	elementView = resourceView[elementExtensions]
)

type serverExtensions struct {
	AdminState       string                 `json:"adminState"`
	BIOS             *hardware.BIOS         `json:"bios,omitempty"`
	Board            *hardware.Board        `json:"board,omitempty"`
	Chassis          string                 `json:"chassis,omitempty"`
	ClusterName      string                 `json:"clusterName"`
	DuplicateOf      string                 `json:"duplicateOf,omitempty"`
	Labels           map[string]string      `json:"labels"`
	Memory           string                 `json:"memory,omitempty"` // "65536 MiB"
	Model            string                 `json:"model"`
	NICs             map[string]nicView     `json:"nics"` // by interface name
	Node             *nodeView              `json:"node,omitempty"`
	NUMA             []hardware.NUMANode    `json:"numa,omitempty"`
	OperationalState string                 `json:"operationalState"`
	OS               *hardware.OS           `json:"os,omitempty"`
	Processors       []processorView        `json:"processors"`
	Reporting        *trouble               `json:"reporting,omitempty"`
	SKU              string                 `json:"sku,omitempty"`
	Storage          map[string]storageView `json:"storage"` // by disk name
	Synthetic        bool                   `json:"synthetic,omitempty"`
	SystemUUID       string                 `json:"systemUUID,omitempty"`
	UsageState       string                 `json:"usageState"`
	Vendor           string                 `json:"vendor"`
	Virtual          string                 `json:"virtual,omitempty"`
}

type nodeView struct {
	Name        string            `json:"name"`
	Ready       string            `json:"ready,omitempty"`
	Roles       []string          `json:"roles,omitempty"`
	Addresses   []string          `json:"addresses,omitempty"`
	Taints      []string          `json:"taints,omitempty"`
	Capacity    map[string]string `json:"capacity,omitempty"`
	Allocatable map[string]string `json:"allocatable,omitempty"`
}

type processorView struct {
	Architecture string `json:"architecture,omitempty"`
	CPUs         int    `json:"cpus,omitempty"` // logical processors of this package
	Cores        int    `json:"cores,omitempty"`
	Frequency    int    `json:"frequency,omitempty"` // MHz
	Model        string `json:"model,omitempty"`
	Vendor       string `json:"vendor,omitempty"`
}

type nicView struct {
	Link       string  `json:"link,omitempty"`
	MAC        string  `json:"mac,omitempty"`
	Model      string  `json:"model,omitempty"`
	PCIAddress string  `json:"pciAddress,omitempty"`
	SpeedGbps  float64 `json:"speedGbps,omitempty"`
}

type storageView struct {
	AlternateNames []string `json:"alternateNames"`
	Model          string   `json:"model,omitempty"`
	SerialNumber   string   `json:"serialNumber,omitempty"`
	SizeBytes      uint64   `json:"sizeBytes,omitempty"`
	Type           string   `json:"type,omitempty"` // HDD, SSD or NVME
	WWN            string   `json:"wwn,omitempty"`
}

// elementExtensions has what a part of any class may have; what does not apply is absent.
type elementExtensions struct {
	Class     hardware.Class      `json:"class"`
	Slot      string              `json:"slot"`
	ParentID  string              `json:"parentId,omitempty"` // resourceId of the element it sits on
	Vendor    string              `json:"vendor,omitempty"`
	Model     string              `json:"model,omitempty"`
	Serial    string              `json:"serial,omitempty"`
	Subtype   string              `json:"subtype,omitempty"`
	Driver    string              `json:"driver,omitempty"`
	Firmware  string              `json:"firmware,omitempty"`
	NUMA      *int                `json:"numa,omitempty"`
	PCI       *hardware.PCIDevice `json:"pci,omitempty"`
	Processor *hardware.CPU       `json:"processor,omitempty"`
	Memory    *hardware.DIMM      `json:"memory,omitempty"`
	Port      *hardware.PortState `json:"port,omitempty"`
	SRIOV     *hardware.SRIOV     `json:"sriov,omitempty"`
	Storage   *hardware.Disk      `json:"storage,omitempty"`
}

func (s *Server) view() serverView {
	return serverView{
		ResourceID:     s.ID,
		ResourcePoolID: s.PoolID,
		ResourceTypeID: s.Type.ID,
		GlobalAssetID:  s.Machine.Server.Serial,
		Description:    s.description(),
		Tags:           []string{},
		Groups:         []string{},
		Extensions:     s.extensions(),
	}
}

func (s *Server) description() string {
	d := "Node " + s.Machine.Name + " of cluster " + s.Cluster
	if what := makeOf(s.Machine.Server.Vendor, s.Machine.Server.Model); what != "" {
		d += ": " + what
	}
	return d
}

func (s *Server) extensions() serverExtensions {
	m := s.Machine
	return serverExtensions{
		AdminState:       administrativeState(m.Server.Node),
		BIOS:             m.Server.BIOS,
		Board:            m.Server.Board,
		Chassis:          m.Server.Chassis,
		ClusterName:      s.Cluster,
		DuplicateOf:      s.duplicateOf(),
		Labels:           s.labels(),
		Memory:           s.memory(),
		Model:            m.Server.Model,
		NICs:             nicsOf(m),
		Node:             s.node(),
		NUMA:             m.Server.NUMA,
		OperationalState: s.operational,
		OS:               m.Server.OS,
		Processors:       processorsOf(m),
		Reporting:        s.trouble,
		SKU:              m.Server.SKU,
		Storage:          disksOf(m),
		Synthetic:        m.Server.Synthetic,
		SystemUUID:       m.Server.SystemUUID,
		UsageState:       usageState(s.operational),
		Vendor:           m.Server.Vendor,
		Virtual:          m.Server.Virtual,
	}
}

func (s *Server) node() *nodeView {
	n := s.Machine.Server.Node
	if n == nil {
		return &nodeView{Name: s.Machine.Name}
	}
	return &nodeView{Name: s.Machine.Name, Ready: n.Ready, Roles: n.Roles, Addresses: n.Addresses, Taints: n.Taints,
		Capacity: s.Machine.capacity.mapping(), Allocatable: s.Machine.allocatable.mapping()}
}

func (s *Server) labels() map[string]string {
	return notNil(s.Machine.labels.mapping())
}

func (s *Server) memory() string {
	if s.Machine.Server.MemoryBytes == 0 {
		return ""
	}
	return strconv.FormatUint(s.Machine.Server.MemoryBytes>>20, 10) + " MiB"
}

func (s *Server) duplicateOf() string {
	if s.DuplicateOf == uuid.Nil {
		return ""
	}
	return s.DuplicateOf.String()
}

func processorsOf(m *Machine) []processorView {
	list := []processorView{}
	architecture := ""
	if m.Server.OS != nil {
		architecture = m.Server.OS.Architecture
	}
	for e := range elementsOf(m, hardware.Processor) {
		p := processorView{Architecture: architecture, Model: e.Model, Vendor: e.Vendor}
		if e.CPU != nil {
			p.CPUs, p.Cores, p.Frequency = e.CPU.Threads, e.CPU.Cores, e.CPU.MHz
		}
		list = append(list, p)
	}
	return list
}

func nicsOf(m *Machine) map[string]nicView {
	nics := make(map[string]nicView)
	for e := range elementsOf(m, hardware.Port) {
		nics[interfaceName(e.Slot, e.Port)] = nicViewOf(e)
	}
	return nics
}

// nicOf returns the one of nicsOf with this name.
func nicOf(m *Machine, name string) (nicView, bool) {
	for i := len(m.parts) - 1; i >= 0; i-- { // of two with one name the last is shown
		p := &m.parts[i]
		if p.shape.Class == hardware.Port && interfaceName(p.slot, p.port) == name {
			e := m.Element(i)
			return nicViewOf(&e), true
		}
	}
	return nicView{}, false
}

func interfaceName(slot string, p *hardware.PortState) string {
	if p == nil {
		return slot
	}
	return cmp.Or(p.Name, slot)
}

func nicViewOf(e *hardware.Element) nicView {
	nic := nicView{Model: e.Model}
	if e.PCI != nil {
		nic.PCIAddress = e.PCI.Address
	}
	if e.Port != nil {
		nic.Link, nic.MAC, nic.SpeedGbps = e.Port.Link, e.Port.MAC, float64(e.Port.SpeedMbps)/1000
	}
	return nic
}

func disksOf(m *Machine) map[string]storageView {
	disks := make(map[string]storageView)
	for e := range elementsOf(m, hardware.Storage) {
		disk, name := storageView{AlternateNames: []string{}, Model: e.Model, SerialNumber: e.Serial}, e.Slot
		if e.Disk != nil {
			if e.Disk.Name != "" {
				name = "/dev/" + e.Disk.Name
			}
			disk.SizeBytes, disk.Type, disk.WWN = e.Disk.Bytes, e.Disk.Media, e.Disk.WWN
		}
		disks[name] = disk
	}
	return disks
}

// withElements returns the server's record with its elements.
func (s *Server) withElements() []byte {
	record := s.v1.Whole[:len(s.v1.Whole)-1] // without the closing brace
	return slices.Concat(record, []byte(`,"elements":`), encoded(s.elementViews()), []byte("}"))
}

func (s *Server) elementViews() *[]elementView {
	views := make([]elementView, len(s.elements))
	for i := range views {
		views[i] = s.element(i)
	}
	return &views
}

// element is one of the server's elements as a resource.
func (s *Server) element(i int) elementView {
	e := s.Machine.Element(i)
	r := elementView{
		ResourceID:     s.elements[i].id,
		ResourcePoolID: s.PoolID,
		ResourceTypeID: s.elements[i].typ.ID,
		GlobalAssetID:  e.Serial,
		Description:    string(e.Class) + " " + e.Slot + " of node " + s.Machine.Name,
		Tags:           []string{},
		Groups:         []string{},
		Elements:       &[]elementView{},
		Extensions: elementExtensions{
			Class: e.Class, Slot: e.Slot, ParentID: s.parentID(&e),
			Vendor: e.Vendor, Model: e.Model, Serial: e.Serial, Subtype: e.Subtype,
			Driver: e.Driver, Firmware: e.Firmware, NUMA: e.NUMA, PCI: e.PCI,
			Processor: e.CPU, Memory: e.Memory, Port: e.Port, SRIOV: e.SRIOV, Storage: e.Disk,
		},
	}
	if what := makeOf(e.Vendor, e.Model); what != "" {
		r.Description += ": " + what
	}
	return r
}

// parentID is the resourceId of the element on which e sits; "" when that is the server.
func (s *Server) parentID(e *hardware.Element) string {
	class, slot, found := strings.Cut(e.Parent, "|")
	if !found {
		return ""
	}
	i, found := s.Machine.find(hardware.Class(class), slot)
	if !found {
		return "" // left out of the report
	}
	return s.elements[i].id.String()
}
