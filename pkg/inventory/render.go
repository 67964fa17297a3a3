package inventory

import (
	"fmt"

	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/rest"
)

// rendered is what a record keeps of how each version of the API shows it.
type rendered struct {
	oCloudID string
	v1, v2   rest.Encoded // they share their bytes where the versions do not differ
}

// renderedServer is the same for a server, with what else its view is made of.
type renderedServer struct {
	rendered
	operational string
	trouble     *trouble
	signature   *filter.Signature
}

// Views that are the same in both versions of the API are beside what they show, those that
// differ in v1.go and v2.go. A tag o2:"open" is on what the standard leaves to us: there a
// filter may ask for any name.

// encoded returns the JSON of a view. No view has a value that cannot be encoded, so an error
// is a fault in this package.
func encoded(view any) []byte {
	b, err := rest.Encode(view)
	if err != nil {
		panic(fmt.Sprintf("inventory record %T: %v", view, err))
	}
	return b
}

// render encodes a view with what lists and ETags need of it. As with encoded, an
// error is a fault in this package.
func render(a rest.Attributes, view any) rest.Encoded {
	e, err := a.Encode(view)
	if err != nil {
		panic(fmt.Sprintf("inventory record %T: %v", view, err))
	}
	return e
}

func (m *DeploymentManager) render(oCloudID string) {
	m.oCloudID = oCloudID
	m.v1 = render(managerAttributes, m.view())
	m.v1.DeepDigest = rest.DigestOf(m.v1.Whole, []byte(m.Facts.ServiceURI), m.Facts.CABundle)
	m.v2 = m.v1
}

func (p *ResourcePool) render(oCloudID string) {
	p.oCloudID = oCloudID
	p.v1, p.v2 = render(poolAttributesV1, p.viewV1()), render(poolAttributesV2, p.viewV2())
}

// render leaves out the alarm dictionary, which version 1 has within the type: there may be
// hundreds of both, and few read them.
func (t *ResourceType) render() {
	t.v1, t.v2 = render(typeAttributesV1, t.briefV1()), render(typeAttributesV2, t.viewV2())
	t.v1.DeepDigest = rest.DigestOf(t.v1.Whole, t.Dictionary.digest[:])
}

func (s *OCloudSite) render() { s.v2 = render(extensionsEmptied, s.view()) }

func (l *Location) render() { l.v2 = render(locationAttributes, l.view()) }

// render encodes a server without its elements. To know a change of its elements they need
// not be encoded, too: they follow from the server, from the report that it came from, of
// which report is the digest, and from which of them were retained of reports before.
func (s *Server) render(f ClusterFacts, r Reporting, report string) {
	s.operational = operationalState(s.Machine.Server.Node, live(f, r))
	if t, troubled := troubleOf(f, r); troubled {
		s.trouble = &t
	}
	view := s.view()
	s.signature = serverSchema.Sign(view)
	s.v1 = render(resourceAttributes, view)
	deep := append(make([]byte, 0, 64*len(s.Machine.parts)), report...)
	for i := range s.Machine.parts {
		p := &s.Machine.parts[i]
		for _, text := range []string{string(p.shape.Class), p.slot, p.serial} {
			deep = append(append(deep, text...), 0)
		}
	}
	s.v1.DeepDigest = rest.DigestOf(s.v1.Whole, deep)
	s.v2 = s.v1
}

// Identifiers as lists are ordered by them.

func (o *OCloud) id() string          { return o.ID }
func (m managerRow) id() string       { return m.ID.String() }
func (p *ResourcePool) id() string    { return p.ID.String() }
func (t *ResourceType) id() string    { return t.ID.String() }
func (d *AlarmDictionary) id() string { return d.ID.String() }
func (s *OCloudSite) id() string      { return s.ID.String() }
func (l *Location) id() string        { return l.GlobalLocationID }
func (s *Server) id() string          { return s.ID.String() }
func (e elementRow) id() string       { return e.server.elements[e.index].id.String() }
