package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/rest"
)

// oCloudInfoV1 has the global id in both spellings: older documents, and the conformance
// suite with them, write globalcloudId.
type oCloudInfoV1 struct {
	OCloudID      string            `json:"oCloudId"`
	GlobalCloudID string            `json:"globalCloudId,omitempty"`
	Globalcloudid string            `json:"globalcloudId,omitempty"`
	Name          string            `json:"name"`
	Description   string            `json:"description"`
	ServiceURI    string            `json:"serviceUri"`
	Extensions    map[string]string `json:"extensions,omitzero"` // nil: not asked for
}

type deploymentManagerV1 struct {
	DeploymentManagerID uuid.UUID           `json:"deploymentManagerId"`
	Name                string              `json:"name"`
	Description         string              `json:"description"`
	OCloudID            string              `json:"oCloudId"`
	ServiceURI          string              `json:"serviceUri"`
	SupportedLocations  []string            `json:"supportedLocations"`
	Capabilities        map[string]string   `json:"capabilities"`
	Capacity            map[string]any      `json:"capacity"`
	Extensions          managerExtensionsV1 `json:"extensions"`
}

type managerExtensionsV1 struct {
	Available         string            `json:"available"`
	ClusterID         string            `json:"clusterID,omitempty"`
	ClusterSet        string            `json:"clusterSet,omitempty"`
	KubernetesVersion string            `json:"kubernetesVersion,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	ProfileName       string            `json:"profileName"`
	ProfileData       *managerProfileV1 `json:"profileData,omitempty"`
	Reporting         *trouble          `json:"reporting,omitempty"`
}

// managerProfileV1 is how to reach a cluster. It has no credentials: we keep none.
type managerProfileV1 struct {
	ClusterAPIEndpoint string `json:"cluster_api_endpoint"`
	ClusterCACert      string `json:"cluster_ca_cert"` // PEM
}

type resourcePoolV1 struct {
	ResourcePoolID   uuid.UUID         `json:"resourcePoolId"`
	Name             string            `json:"name"`
	Description      string            `json:"description"`
	OCloudID         string            `json:"oCloudId"`
	GlobalLocationID string            `json:"globalLocationId"`
	Location         string            `json:"location"`
	Extensions       map[string]string `json:"extensions"`
}

type resourceTypeV1 struct {
	ResourceTypeID uuid.UUID         `json:"resourceTypeId"`
	Name           string            `json:"name"`
	Description    string            `json:"description"`
	Vendor         string            `json:"vendor"`
	Model          string            `json:"model"`
	Version        string            `json:"version"`
	ResourceKind   string            `json:"resourceKind"`
	ResourceClass  string            `json:"resourceClass"`
	Extensions     map[string]string `json:"extensions"`
}

// resourceV1 has its elements last, so that they can be left out of, and added to, a
// record that is encoded already.
type resourceV1 struct {
	ResourceID     uuid.UUID     `json:"resourceId"`
	ResourcePoolID uuid.UUID     `json:"resourcePoolId"`
	ResourceTypeID uuid.UUID     `json:"resourceTypeId"`
	GlobalAssetID  string        `json:"globalAssetId"` // serial number
	Description    string        `json:"description"`
	Tags           []string      `json:"tags"`
	Groups         []string      `json:"groups"`
	Extensions     any           `json:"extensions"`
	Elements       *[]resourceV1 `json:"elements,omitempty"`
}

type serverExtensionsV1 struct {
	AdminState       string               `json:"adminState"`
	BIOS             *hardware.BIOS       `json:"bios,omitempty"`
	Board            *hardware.Board      `json:"board,omitempty"`
	Chassis          string               `json:"chassis,omitempty"`
	ClusterName      string               `json:"clusterName"`
	DuplicateOf      string               `json:"duplicateOf,omitempty"`
	Labels           map[string]string    `json:"labels"`
	Memory           string               `json:"memory,omitempty"` // "65536 MiB"
	Model            string               `json:"model"`
	NICs             map[string]nicV1     `json:"nics"` // by interface name
	Node             *nodeV1              `json:"node,omitempty"`
	NUMA             []hardware.NUMANode  `json:"numa,omitempty"`
	OperationalState string               `json:"operationalState"`
	OS               *hardware.OS         `json:"os,omitempty"`
	Processors       []processorV1        `json:"processors"`
	Reporting        *trouble             `json:"reporting,omitempty"`
	SKU              string               `json:"sku,omitempty"`
	Storage          map[string]storageV1 `json:"storage"` // by disk name
	Synthetic        bool                 `json:"synthetic,omitempty"`
	SystemUUID       string               `json:"systemUUID,omitempty"`
	UsageState       string               `json:"usageState"`
	Vendor           string               `json:"vendor"`
	Virtual          string               `json:"virtual,omitempty"`
}

type nodeV1 struct {
	Name        string            `json:"name"`
	Ready       string            `json:"ready,omitempty"`
	Roles       []string          `json:"roles,omitempty"`
	Addresses   []string          `json:"addresses,omitempty"`
	Taints      []string          `json:"taints,omitempty"`
	Capacity    map[string]string `json:"capacity,omitempty"`
	Allocatable map[string]string `json:"allocatable,omitempty"`
}

type processorV1 struct {
	Architecture string `json:"architecture,omitempty"`
	CPUs         int    `json:"cpus,omitempty"` // logical processors of this package
	Cores        int    `json:"cores,omitempty"`
	Frequency    int    `json:"frequency,omitempty"` // MHz
	Model        string `json:"model,omitempty"`
	Vendor       string `json:"vendor,omitempty"`
}

type nicV1 struct {
	Link       string  `json:"link,omitempty"`
	MAC        string  `json:"mac,omitempty"`
	Model      string  `json:"model,omitempty"`
	PCIAddress string  `json:"pciAddress,omitempty"`
	SpeedGbps  float64 `json:"speedGbps,omitempty"`
}

type storageV1 struct {
	AlternateNames []string `json:"alternateNames"`
	Model          string   `json:"model,omitempty"`
	SerialNumber   string   `json:"serialNumber,omitempty"`
	SizeBytes      uint64   `json:"sizeBytes,omitempty"`
	Type           string   `json:"type,omitempty"` // HDD, SSD or NVME
	WWN            string   `json:"wwn,omitempty"`
}

// elementExtensionsV1 has what a part of any class may have; what does not apply is absent.
type elementExtensionsV1 struct {
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

// encoded returns the JSON of one of the types above. They have no value that cannot be
// encoded, so an error is a fault in this file.
func encoded(v any) []byte {
	b, err := rest.Encode(v)
	if err != nil {
		panic(fmt.Sprintf("inventory record %T: %v", v, err))
	}
	return b
}

func (m *DeploymentManager) viewV1(oCloudID string) deploymentManagerV1 {
	f := m.Facts
	v := deploymentManagerV1{
		DeploymentManagerID: m.ID,
		Name:                f.Name,
		Description:         "Managed cluster " + f.Name,
		OCloudID:            oCloudID,
		ServiceURI:          f.ServiceURI,
		SupportedLocations:  []string{},
		Capabilities:        capabilities(f, m.Nodes),
		Capacity:            capacity(f),
		Extensions: managerExtensionsV1{
			Available:         cmp.Or(f.Available, "Unknown"),
			ClusterID:         f.ClusterID,
			ClusterSet:        f.ClusterSet,
			KubernetesVersion: f.KubernetesVersion,
			Labels:            f.Labels,
			ProfileName:       "k8s",
		},
	}
	if t, troubled := troubleOf(f, m.Reporting); troubled {
		v.Extensions.Reporting = &t
	}
	return v
}

// capabilities says what the cluster's claims and nodes tell of what it can do.
func capabilities(f ClusterFacts, n NodeSummary) map[string]string {
	c := make(map[string]string)
	set := func(key, value string) {
		if value != "" {
			c[key] = value
		}
	}
	flag := func(key string, on bool) {
		if on {
			c[key] = "true"
		}
	}
	set("kubernetesVersion", f.KubernetesVersion)
	set("platform", f.Claims["platform.open-cluster-management.io"])
	set("product", f.Claims["product.open-cluster-management.io"])
	set("region", f.Claims["region.open-cluster-management.io"])
	set("architecture", strings.Join(n.Architectures, ","))
	set("accelerators", strings.Join(n.Accelerators, ","))
	flag("realtimeKernel", n.RealTimeKernel)
	flag("sriov", n.SRIOV)
	flag("ptp", n.PTP)
	return c
}

// capacityKeys are the resources whose allocatable amounts stand in capacity itself, where
// other implementations have them.
var capacityKeys = [...]string{"cpu", "memory", "pods", "ephemeral-storage", "hugepages-1Gi", "hugepages-2Mi"}

func capacity(f ClusterFacts) map[string]any {
	c := make(map[string]any)
	for _, key := range capacityKeys {
		if quantity, ok := f.Allocatable[key]; ok {
			c[key] = quantity
		}
	}
	if len(f.Capacity) > 0 {
		c["total"] = f.Capacity
	}
	if len(f.Allocatable) > 0 {
		c["allocatable"] = f.Allocatable
	}
	return c
}

func (p *ResourcePool) viewV1(oCloudID string) resourcePoolV1 {
	extensions := make(map[string]string, len(p.Extensions)+1)
	maps.Copy(extensions, p.Extensions)
	extensions["oCloudSite"] = p.Site
	return resourcePoolV1{
		ResourcePoolID:   p.ID,
		Name:             p.Name,
		Description:      p.Description,
		OCloudID:         oCloudID,
		GlobalLocationID: p.GlobalLocationID,
		Location:         p.Location,
		Extensions:       extensions,
	}
}

func (t *ResourceType) viewV1() resourceTypeV1 {
	name := t.name()
	return resourceTypeV1{
		ResourceTypeID: t.ID,
		Name:           name,
		Description:    t.description(),
		Vendor:         t.Vendor,
		Model:          t.Model,
		ResourceKind:   t.Kind,
		ResourceClass:  resourceClass(t.Class),
		Extensions:     map[string]string{"class": string(t.Class)},
	}
}

// name is "<vendor>/<model>", or what is known of it, at the least the class.
func (t *ResourceType) name() string {
	switch {
	case t.Vendor != "" && t.Model != "":
		return t.Vendor + "/" + t.Model
	case t.Vendor != "":
		return t.Vendor + " " + string(t.Class)
	case t.Model != "":
		return t.Model
	default:
		return string(t.Class)
	}
}

func (t *ResourceType) description() string {
	d := strings.ToLower(t.Kind) + " " + string(t.Class)
	if what := makeOf(t.Vendor, t.Model); what != "" {
		d += ", " + what
	}
	return strings.ToUpper(d[:1]) + d[1:]
}

// makeOf joins vendor and model for a person: many models begin with the vendor's name.
func makeOf(vendor, model string) string {
	vendor, model = oneLine(vendor), oneLine(model)
	if strings.HasPrefix(strings.ToLower(model), strings.ToLower(vendor)) {
		return model
	}
	return strings.TrimSpace(vendor + " " + model)
}

// resourceClass is the standard's word for one of our classes.
func resourceClass(c hardware.Class) string {
	switch c {
	case serverClass, hardware.Processor, hardware.Memory, hardware.Accelerator:
		return "COMPUTE"
	case hardware.Adapter, hardware.Port, hardware.PTPClock:
		return "NETWORKING"
	case hardware.Storage:
		return "STORAGE"
	default:
		return undefinedClass
	}
}

const undefinedClass = "UNDEFINED"

func (s *Server) viewV1(f ClusterFacts, reporting Reporting) resourceV1 {
	m := s.Machine
	return resourceV1{
		ResourceID:     s.ID,
		ResourcePoolID: s.PoolID,
		ResourceTypeID: s.Type.ID,
		GlobalAssetID:  m.Server.Serial,
		Description:    s.description(),
		Tags:           []string{},
		Groups:         []string{},
		Extensions:     s.extensionsV1(f, reporting),
	}
}

func (s *Server) description() string {
	d := "Node " + s.Machine.Name + " of cluster " + s.Cluster
	if what := makeOf(s.Machine.Server.Vendor, s.Machine.Server.Model); what != "" {
		d += ": " + what
	}
	return d
}

func (s *Server) extensionsV1(f ClusterFacts, reporting Reporting) serverExtensionsV1 {
	m := s.Machine
	operational := operationalState(m.Server.Node, live(f, reporting))
	e := serverExtensionsV1{
		AdminState:       administrativeState(m.Server.Node),
		BIOS:             m.Server.BIOS,
		Board:            m.Server.Board,
		Chassis:          m.Server.Chassis,
		ClusterName:      s.Cluster,
		Labels:           map[string]string{},
		Model:            m.Server.Model,
		NICs:             nicsV1(m),
		NUMA:             m.Server.NUMA,
		OperationalState: operational,
		OS:               m.Server.OS,
		Processors:       processorsV1(m),
		SKU:              m.Server.SKU,
		Storage:          storageByNameV1(m),
		Synthetic:        m.Server.Synthetic,
		SystemUUID:       m.Server.SystemUUID,
		UsageState:       usageState(operational),
		Vendor:           m.Server.Vendor,
		Virtual:          m.Server.Virtual,
	}
	if n := m.Server.Node; n != nil {
		if n.Labels != nil {
			e.Labels = n.Labels
		}
		e.Node = &nodeV1{Name: m.Name, Ready: n.Ready, Roles: n.Roles, Addresses: n.Addresses, Taints: n.Taints,
			Capacity: n.Capacity, Allocatable: n.Allocatable}
	} else {
		e.Node = &nodeV1{Name: m.Name}
	}
	if m.Server.MemoryBytes > 0 {
		e.Memory = strconv.FormatUint(m.Server.MemoryBytes>>20, 10) + " MiB"
	}
	if s.DuplicateOf != uuid.Nil {
		e.DuplicateOf = s.DuplicateOf.String()
	}
	if t, troubled := troubleOf(f, reporting); troubled {
		e.Reporting = &t
	}
	return e
}

func processorsV1(m *hardware.Machine) []processorV1 {
	list := []processorV1{}
	architecture := ""
	if m.Server.OS != nil {
		architecture = m.Server.OS.Architecture
	}
	for e := range elementsOf(m, hardware.Processor) {
		p := processorV1{Architecture: architecture, Model: e.Model, Vendor: e.Vendor}
		if e.CPU != nil {
			p.CPUs, p.Cores, p.Frequency = e.CPU.Threads, e.CPU.Cores, e.CPU.MHz
		}
		list = append(list, p)
	}
	return list
}

func nicsV1(m *hardware.Machine) map[string]nicV1 {
	nics := make(map[string]nicV1)
	for e := range elementsOf(m, hardware.Port) {
		nic, name := nicV1{Model: e.Model}, e.Slot
		if e.PCI != nil {
			nic.PCIAddress = e.PCI.Address
		}
		if e.Port != nil {
			name = cmp.Or(e.Port.Name, name)
			nic.Link, nic.MAC, nic.SpeedGbps = e.Port.Link, e.Port.MAC, float64(e.Port.SpeedMbps)/1000
		}
		nics[name] = nic
	}
	return nics
}

func storageByNameV1(m *hardware.Machine) map[string]storageV1 {
	disks := make(map[string]storageV1)
	for e := range elementsOf(m, hardware.Storage) {
		disk, name := storageV1{AlternateNames: []string{}, Model: e.Model, SerialNumber: e.Serial}, e.Slot
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

// elementsOf yields the machine's elements of one class.
func elementsOf(m *hardware.Machine, class hardware.Class) func(yield func(*hardware.Element) bool) {
	return func(yield func(*hardware.Element) bool) {
		for i := range m.Elements {
			if m.Elements[i].Class == class && !yield(&m.Elements[i]) {
				return
			}
		}
	}
}

// withElementsV1 returns the server's record with its elements.
func (s *Server) withElementsV1() []byte {
	elements := make([]resourceV1, len(s.elements))
	for i := range s.elements {
		elements[i] = s.elementV1(i)
	}
	record := s.v1[:len(s.v1)-1] // without the closing brace
	return slices.Concat(record, []byte(`,"elements":`), encoded(elements), []byte("}"))
}

// elementV1 is one of the server's elements as a resource.
func (s *Server) elementV1(i int) resourceV1 {
	e := &s.Machine.Elements[i]
	r := resourceV1{
		ResourceID:     s.elements[i].id,
		ResourcePoolID: s.PoolID,
		ResourceTypeID: s.elements[i].typ.ID,
		GlobalAssetID:  e.Serial,
		Description:    string(e.Class) + " " + e.Slot + " of node " + s.Machine.Name,
		Tags:           []string{},
		Groups:         []string{},
		Elements:       &[]resourceV1{},
		Extensions: elementExtensionsV1{
			Class: e.Class, Slot: e.Slot, ParentID: s.parentID(e),
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
	for i := range s.Machine.Elements {
		if p := &s.Machine.Elements[i]; string(p.Class) == class && p.Slot == slot {
			return s.elements[i].id.String()
		}
	}
	return "" // left out of the report
}
