package inventory

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// Thing is something in the inventory that can be ill: its identifier, and those of its
// type and of the type's alarm dictionary.
type Thing struct {
	ID           uuid.UUID
	TypeID       uuid.UUID
	DictionaryID uuid.UUID
}

func thing(id uuid.UUID, t *ResourceType) Thing { return Thing{id, t.ID, t.Dictionary.ID} }

// OCloudThing is the O-Cloud itself.
func (m *Model) OCloudThing() Thing {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, _ := uuid.Parse(m.next.oCloud.ID) // Validate has looked at it
	return thing(id, m.ownType)
}

// ClusterThing is the deploymentManager of a managed cluster.
func (m *Model) ClusterThing(cluster string) (Thing, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, known := m.clusters[cluster]
	if !known || c.manager == nil {
		return Thing{}, false
	}
	return thing(c.manager.ID, c.manager.Type), true
}

// ClusterNamed returns the name of the managed cluster with this name or clusterID.
func (m *Model) ClusterNamed(text string) (name string, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, known := m.clusters[text]; known && c.facts != nil {
		return text, true
	}
	for _, c := range m.byID[text] {
		if m.clusterID(c) == text {
			return c.name, true
		}
	}
	return "", false
}

// NodeThing is the server that is a node of a managed cluster, by the name of the Node or
// one of its addresses.
func (m *Model) NodeThing(cluster, node string) (Thing, bool) {
	s, found := m.serverOfNode(cluster, node)
	if !found {
		return Thing{}, false
	}
	return thing(s.ID, s.Type), true
}

// DeviceThing is an element of such a server, by the name that the kernel gives it or its
// PCI address in lower case.
func (m *Model) DeviceThing(cluster, node, device string) (Thing, bool) {
	s, found := m.serverOfNode(cluster, node)
	if !found {
		return Thing{}, false
	}
	i, found := s.Machine.device(device)
	if !found {
		return Thing{}, false
	}
	return thing(s.elements[i].id, s.elements[i].typ), true
}

func (m *Model) serverOfNode(cluster, node string) (*Server, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, known := m.clusters[cluster]
	if !known {
		return nil, false
	}
	for _, cl := range c.claims {
		if cl.server != nil && cl.node.isCalled(node) {
			return cl.server, true
		}
	}
	return nil, false
}

// isCalled tells whether this is the name or an address of the node. Addresses stand with
// their type, as InternalIP=10.0.0.1.
func (m *Machine) isCalled(name string) bool {
	if name == m.Name {
		return true
	}
	return m.Server.Node != nil && slices.ContainsFunc(m.Server.Node.Addresses, func(a string) bool {
		_, address, _ := strings.Cut(a, "=")
		return address == name
	})
}

// device returns the place of an element among the machine's. A port goes before the
// adapter that it is on, whose PCI address may be its own.
func (m *Machine) device(name string) (int, bool) {
	if name == "" {
		return 0, false
	}
	for _, matches := range []func(p *part) bool{
		func(p *part) bool {
			return p.port != nil && p.port.Name == name || p.disk != nil && p.disk.Name == name
		},
		func(p *part) bool {
			return p.shape.PCI != nil && p.shape.PCI.Address == name && p.shape.Class == hardware.Port
		},
		func(p *part) bool { return p.shape.PCI != nil && p.shape.PCI.Address == name },
	} {
		if i := slices.IndexFunc(m.parts, func(p part) bool { return matches(&p) }); i >= 0 {
			return i, true
		}
	}
	return 0, false
}

// Classes of what is no hardware, in resource types. There are no resources of these types:
// they are those of deploymentManagers and of the O-Cloud itself, so that alarms about them
// have a type and a dictionary.
const (
	clusterClass hardware.Class = "cluster"
	oCloudClass  hardware.Class = "o-cloud"
)

const logical = "LOGICAL"

func ownTypeKey() typeKey { return typeKey{logical, oCloudClass, "o2ims", "O-Cloud"} }

// clusterTypeKey tells makes of clusters apart: OpenShift, EKS and the like.
func clusterTypeKey(f *ClusterFacts) typeKey {
	product := f.Claims["product.open-cluster-management.io"]
	return typeKey{logical, clusterClass, "", oneLine(cmp.Or(product, "Kubernetes"))}
}
