package inventory

import (
	"slices"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/rest"
)

// version is one version of the API: how it shows each kind of record. All versions read
// the same model.
type version struct {
	rest.Version

	oCloud       *rest.Kind[*OCloud]
	managers     *rest.Kind[managerRow]
	types        *rest.Kind[*ResourceType]
	pools        *rest.Kind[*ResourcePool]
	servers      *rest.Kind[*Server]
	elements     *rest.Kind[elementRow]
	dictionaries *rest.Kind[*AlarmDictionary]
	locations    *rest.Kind[*Location]   // nil: the version has none
	sites        *rest.Kind[*OCloudSite] // likewise
}

func (v *version) base() string { return BasePath + "/" + v.Name }

// versions are all that there are, by name.
func versions(p *rest.Pager) rest.Versions[*version] {
	return rest.Versions[*version]{"v1": newV1(p), "v2": newV2(p)}
}

// newVersion returns what all versions have in common.
func newVersion(name, number string, p *rest.Pager) *version {
	return &version{
		Version: rest.Version{Name: name, Number: number},
		managers: &rest.Kind[managerRow]{
			IDName: "deploymentManagerId", ID: managerRow.id, Pager: p,
			Schema:     filter.NewSchema(managerRow.view, managerShortcuts...),
			Attributes: managerAttributes,
			Encoded:    managerRow.encoded,
			Deep:       managerRow.deep,
		},
		servers: &rest.Kind[*Server]{
			IDName: "resourceId", ID: (*Server).id, Pager: p,
			Schema:     serverSchema,
			Signature:  func(s *Server) *filter.Signature { return s.signature },
			Attributes: resourceAttributes,
			Encoded:    func(s *Server) rest.Encoded { return s.v1 },
			Deep:       (*Server).withElements,
		},
		elements: &rest.Kind[elementRow]{
			IDName: "resourceId", ID: elementRow.id, Pager: p,
			Schema:     elementSchema(),
			Attributes: resourceAttributes,
			Encoded:    func(e elementRow) rest.Encoded { return render(resourceAttributes, e.view()) },
		},
	}
}

// dictionaries are alarm dictionaries as one version shows them. All their attributes are
// mandatory, so they are always rendered whole, and never kept so.
func dictionaries(p *rest.Pager, view func(*AlarmDictionary) alarmDictionaryView) *rest.Kind[*AlarmDictionary] {
	return &rest.Kind[*AlarmDictionary]{
		IDName: "alarmDictionaryId", ID: (*AlarmDictionary).id, Pager: p,
		Schema:     filter.NewSchema(view, dictionaryShortcuts...),
		Attributes: rest.Attributes{Deep: []string{"alarmDefinition"}},
		Encoded:    func(d *AlarmDictionary) rest.Encoded { return rest.Encoded{DeepDigest: d.digest} },
		Deep:       func(d *AlarmDictionary) []byte { return encoded(view(d)) },
	}
}

// typeShortcuts spare a filter the dictionary that version 1 has within the type.
var typeShortcuts = []filter.Shortcut[*ResourceType]{
	filter.At("resourceTypeId", func(t *ResourceType) uuid.UUID { return t.ID }),
	filter.At("name", (*ResourceType).name),
	filter.At("description", (*ResourceType).description),
	filter.At("vendor", func(t *ResourceType) string { return t.Vendor }),
	filter.At("model", func(t *ResourceType) string { return t.Model }),
	filter.At("resourceKind", func(t *ResourceType) string { return t.Kind }),
	filter.At("resourceClass", func(t *ResourceType) string { return resourceClass(t.Class) }),
	filter.At("extensions", (*ResourceType).extensions),
}

// dictionaryShortcuts spare a filter the definitions.
var dictionaryShortcuts = []filter.Shortcut[*AlarmDictionary]{
	filter.At("alarmDictionaryId", func(d *AlarmDictionary) uuid.UUID { return d.ID }),
	filter.At("entityType", func(d *AlarmDictionary) string { return d.EntityType }),
	filter.At("vendor", func(d *AlarmDictionary) string { return d.Vendor }),
}

// managerRow is a deploymentManager as one caller sees it.
type managerRow struct {
	*DeploymentManager
	profile bool // with how to reach the cluster
}

var managerAttributes = rest.Attributes{
	Optional:  []string{"extensions"},
	Emptied:   []string{"capabilities", "capacity"},
	ByDefault: []string{"extensions"},
	Deep:      []string{"extensions"}, // the profile is in them
}

func (m managerRow) view() deploymentManagerView {
	v := m.DeploymentManager.view()
	if m.profile {
		v.Extensions.ProfileData = &managerProfile{
			ClusterAPIEndpoint: m.Facts.ServiceURI,
			ClusterCACert:      string(m.Facts.CABundle),
		}
	}
	return v
}

func (m managerRow) encoded() rest.Encoded {
	e := m.v1
	if !m.profile {
		e.DeepDigest = e.Digest
	}
	return e
}

// deep returns the record with what the caller may see. Those who may see profiles are
// few, so that is encoded when they ask.
func (m managerRow) deep() []byte {
	if !m.profile {
		return m.v1.Whole
	}
	return encoded(m.view())
}

var managerShortcuts = []filter.Shortcut[managerRow]{
	filter.At("deploymentManagerId", func(m managerRow) uuid.UUID { return m.ID }),
	filter.At("name", func(m managerRow) string { return m.Facts.Name }),
	filter.At("serviceUri", func(m managerRow) string { return m.Facts.ServiceURI }),
	filter.At("supportedLocations", func(m managerRow) []string { return m.SupportedLocations }),
	filter.At("capabilities", func(m managerRow) map[string]string { return capabilities(m.Facts, m.Nodes) }),
	filter.At("extensions/available", func(m managerRow) string { return m.available() }),
	filter.At("extensions/clusterID", func(m managerRow) string { return m.Facts.ClusterID }),
	filter.At("extensions/clusterSet", func(m managerRow) string { return m.Facts.ClusterSet }),
	filter.At("extensions/kubernetesVersion", func(m managerRow) string { return m.Facts.KubernetesVersion }),
	filter.At("extensions/labels", func(m managerRow) map[string]string { return m.Facts.Labels }),
}

var poolShortcuts = []filter.Shortcut[*ResourcePool]{
	filter.At("resourcePoolId", func(p *ResourcePool) uuid.UUID { return p.ID }),
	filter.At("name", func(p *ResourcePool) string { return p.Name }),
	filter.At("description", func(p *ResourcePool) string { return p.Description }),
}

// resourceAttributes are those of servers and of elements.
var resourceAttributes = rest.Attributes{
	Optional: []string{"elements"},
	Emptied:  []string{"extensions"},
	OnDemand: []string{"elements"},
	Deep:     []string{"elements"},
}

// serverShortcuts are all attributes of a server: of these there are thousands in a list.
var serverShortcuts = []filter.Shortcut[*Server]{
	filter.At("resourceId", func(s *Server) uuid.UUID { return s.ID }),
	filter.At("resourcePoolId", func(s *Server) uuid.UUID { return s.PoolID }),
	filter.At("resourceTypeId", func(s *Server) uuid.UUID { return s.Type.ID }),
	filter.At("globalAssetId", func(s *Server) string { return s.Machine.Server.Serial }),
	filter.At("description", (*Server).description),
	filter.At("tags", func(*Server) []string { return nil }),
	filter.At("groups", func(*Server) []string { return nil }),
	filter.At("elements", (*Server).elementViews),
	filter.At("extensions/adminState", func(s *Server) string { return administrativeState(s.Machine.Server.Node) }),
	filter.At("extensions/bios", func(s *Server) *hardware.BIOS { return s.Machine.Server.BIOS }),
	filter.At("extensions/board", func(s *Server) *hardware.Board { return s.Machine.Server.Board }),
	filter.At("extensions/chassis", func(s *Server) string { return s.Machine.Server.Chassis }),
	filter.At("extensions/clusterName", func(s *Server) string { return s.Cluster }),
	filter.At("extensions/duplicateOf", (*Server).duplicateOf),
	filter.At("extensions/labels", (*Server).labels),
	filter.Entry("extensions/labels", func(s *Server, name string) (string, bool) { return s.Machine.labels.Lookup(name) }),
	filter.At("extensions/memory", (*Server).memory),
	filter.At("extensions/model", func(s *Server) string { return s.Machine.Server.Model }),
	filter.At("extensions/nics", func(s *Server) map[string]nicView { return nicsOf(s.Machine) }),
	filter.Entry("extensions/nics", func(s *Server, name string) (nicView, bool) { return nicOf(s.Machine, name) }),
	filter.At("extensions/node", (*Server).node),
	filter.At("extensions/node/name", func(s *Server) string { return s.Machine.Name }),
	filter.At("extensions/numa", func(s *Server) []hardware.NUMANode { return s.Machine.Server.NUMA }),
	filter.At("extensions/operationalState", func(s *Server) string { return s.operational }),
	filter.At("extensions/os", func(s *Server) *hardware.OS { return s.Machine.Server.OS }),
	filter.At("extensions/processors", func(s *Server) []processorView { return processorsOf(s.Machine) }),
	filter.At("extensions/reporting", func(s *Server) *trouble { return s.trouble }),
	filter.At("extensions/sku", func(s *Server) string { return s.Machine.Server.SKU }),
	filter.At("extensions/storage", func(s *Server) map[string]storageView { return disksOf(s.Machine) }),
	filter.At("extensions/synthetic", func(s *Server) bool { return s.Machine.Server.Synthetic }),
	filter.At("extensions/systemUUID", func(s *Server) string { return s.Machine.Server.SystemUUID }),
	filter.At("extensions/usageState", func(s *Server) string { return usageState(s.operational) }),
	filter.At("extensions/vendor", func(s *Server) string { return s.Machine.Server.Vendor }),
	filter.At("extensions/virtual", func(s *Server) string { return s.Machine.Server.Virtual }),
}

// serverSchema also signs servers when they are rendered, so there is one of it.
var serverSchema = filter.NewSchema((*Server).view,
	append(slices.Clone(serverShortcuts), filter.Each("elements", (*Server).eachElement, elementSchema()))...)

// elementRow is one element of a server as a resource of its own.
type elementRow struct {
	server *Server
	index  int
}

func (e elementRow) view() elementView { return e.server.element(e.index) }

func (e elementRow) part() *part { return &e.server.Machine.parts[e.index] }

func (e elementRow) parentID() string {
	if e.part().shape.Parent == "" {
		return ""
	}
	element := e.server.Machine.Element(e.index)
	return e.server.parentID(&element)
}

func (s *Server) eachElement(yield func(elementRow) bool) {
	for i := range s.elements {
		if !yield(elementRow{s, i}) {
			return
		}
	}
}

func elementSchema() *filter.Schema[elementRow] {
	return filter.NewSchema(elementRow.view,
		filter.At("resourceId", func(e elementRow) uuid.UUID { return e.server.elements[e.index].id }),
		filter.At("resourcePoolId", func(e elementRow) uuid.UUID { return e.server.PoolID }),
		filter.At("resourceTypeId", func(e elementRow) uuid.UUID { return e.server.elements[e.index].typ.ID }),
		filter.At("globalAssetId", func(e elementRow) string { return e.part().serial }),
		filter.At("extensions/class", func(e elementRow) hardware.Class { return e.part().shape.Class }),
		filter.At("extensions/slot", func(e elementRow) string { return e.part().slot }),
		filter.At("extensions/parentId", func(e elementRow) string { return e.parentID() }),
		filter.At("extensions/vendor", func(e elementRow) string { return e.part().shape.Vendor }),
		filter.At("extensions/model", func(e elementRow) string { return e.part().shape.Model }),
		filter.At("extensions/serial", func(e elementRow) string { return e.part().serial }),
		filter.At("extensions/subtype", func(e elementRow) string { return e.part().shape.Subtype }),
		filter.At("extensions/driver", func(e elementRow) string { return e.part().shape.Driver }),
		filter.At("extensions/firmware", func(e elementRow) string { return e.part().shape.Firmware }),
		filter.At("extensions/numa", func(e elementRow) *int { return e.part().shape.NUMA }),
		filter.At("extensions/pci", func(e elementRow) *hardware.PCIDevice { return e.part().shape.PCI }),
		filter.At("extensions/processor", func(e elementRow) *hardware.CPU { return e.part().shape.CPU }),
		filter.At("extensions/memory", func(e elementRow) *hardware.DIMM { return e.part().shape.Memory }),
		filter.At("extensions/port", func(e elementRow) *hardware.PortState { return e.part().port }),
		filter.At("extensions/sriov", func(e elementRow) *hardware.SRIOV { return e.part().shape.SRIOV }),
		filter.At("extensions/storage", func(e elementRow) *hardware.Disk { return e.part().disk }),
	)
}
