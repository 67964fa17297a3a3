package inventory

import (
	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/rest"
)

// The views in this file are those of version 2 of the API where it differs: documents
// from v11 on, which know sites and locations.

// newV2 returns version 2 of the API.
func newV2(p *rest.Pager) *version {
	v := newVersion("v2", "2.0.0", p)
	v.oCloud = &rest.Kind[*OCloud]{
		IDName: "oCloudId", ID: (*OCloud).id,
		Schema:     filter.NewSchema((*OCloud).viewV2),
		Attributes: extensionsEmptied,
		Encoded:    func(o *OCloud) rest.Encoded { return render(extensionsEmptied, o.viewV2()) },
	}
	v.types = &rest.Kind[*ResourceType]{
		IDName: "resourceTypeId", ID: (*ResourceType).id, Pager: p,
		Schema:     filter.NewSchema((*ResourceType).viewV2),
		Attributes: typeAttributesV2,
		Encoded:    func(t *ResourceType) rest.Encoded { return t.v2 },
	}
	v.pools = &rest.Kind[*ResourcePool]{
		IDName: "resourcePoolId", ID: (*ResourcePool).id, Pager: p,
		Schema:     filter.NewSchema((*ResourcePool).viewV2, poolShortcuts...),
		Attributes: poolAttributesV2,
		Encoded:    func(p *ResourcePool) rest.Encoded { return p.v2 },
	}
	v.locations = &rest.Kind[*Location]{
		IDName: "globalLocationId", ID: (*Location).id, Pager: p,
		Schema:     filter.NewSchema((*Location).view),
		Attributes: locationAttributes,
		Encoded:    func(l *Location) rest.Encoded { return l.v2 },
	}
	v.sites = &rest.Kind[*OCloudSite]{
		IDName: "oCloudSiteId", ID: (*OCloudSite).id, Pager: p,
		Schema:     filter.NewSchema((*OCloudSite).view),
		Attributes: extensionsEmptied,
		Encoded:    func(s *OCloudSite) rest.Encoded { return s.v2 },
	}
	v.dictionaries = dictionaries(p, (*AlarmDictionary).viewV2)
	return v
}

// extensionsEmptied is for records whose attributes are all mandatory.
var extensionsEmptied = rest.Attributes{Emptied: []string{"extensions"}}

type oCloudInfoV2 struct {
	OCloudID      string            `json:"oCloudId"`
	GlobalCloudID string            `json:"globalCloudId,omitempty"`
	Name          string            `json:"name"`
	Description   string            `json:"description"`
	ServiceURI    string            `json:"serviceUri"`
	Extensions    map[string]string `json:"extensions"`
}

func (o *OCloud) viewV2() oCloudInfoV2 {
	return oCloudInfoV2{
		OCloudID:      o.ID,
		GlobalCloudID: o.GlobalCloudID,
		Name:          o.Name,
		Description:   o.Description,
		ServiceURI:    o.ServiceURI,
		Extensions:    notNil(o.Extensions),
	}
}

type resourcePoolV2 struct {
	ResourcePoolID uuid.UUID         `json:"resourcePoolId"`
	Name           string            `json:"name"`
	Description    string            `json:"description"`
	OCloudSiteID   uuid.UUID         `json:"oCloudSiteId"`
	Extensions     map[string]string `json:"extensions"`
}

var poolAttributesV2 = rest.Attributes{Optional: []string{"extensions"}, ByDefault: []string{"extensions"}}

func (p *ResourcePool) viewV2() resourcePoolV2 {
	return resourcePoolV2{
		ResourcePoolID: p.ID,
		Name:           p.Name,
		Description:    p.Description,
		OCloudSiteID:   p.SiteID,
		Extensions:     p.extensions(),
	}
}

type resourceTypeV2 struct {
	ResourceTypeID    uuid.UUID         `json:"resourceTypeId"`
	Name              string            `json:"name"`
	Description       string            `json:"description"`
	Vendor            string            `json:"vendor"`
	Model             string            `json:"model"`
	Version           string            `json:"version"`
	ResourceKind      string            `json:"resourceKind"`
	ResourceClass     string            `json:"resourceClass"`
	Extensions        map[string]string `json:"extensions"`
	AlarmDictionaryID uuid.UUID         `json:"alarmDictionaryId"`
}

var typeAttributesV2 = rest.Attributes{Optional: []string{"alarmDictionaryId"}, Emptied: []string{"extensions"}}

func (t *ResourceType) viewV2() resourceTypeV2 {
	return resourceTypeV2{
		ResourceTypeID:    t.ID,
		Name:              t.name(),
		Description:       t.description(),
		Vendor:            t.Vendor,
		Model:             t.Model,
		ResourceKind:      t.Kind,
		ResourceClass:     resourceClass(t.Class),
		Extensions:        t.extensions(),
		AlarmDictionaryID: t.Dictionary.ID,
	}
}

var locationAttributes = rest.Attributes{Optional: []string{"coordinate", "civicAddress", "address"}, Emptied: []string{"extensions"}}

type locationView struct {
	GlobalLocationID string             `json:"globalLocationId"`
	Name             string             `json:"name"`
	Description      string             `json:"description"`
	OCloudSiteIDs    []uuid.UUID        `json:"oCloudSiteIds"`
	Coordinate       *pointView         `json:"coordinate,omitempty"`
	CivicAddress     []civicAddressView `json:"civicAddress,omitempty"`
	Address          string             `json:"address,omitempty"`
	Extensions       map[string]string  `json:"extensions"`
}

// pointView is a point with longitude, latitude and, where it is known, altitude.
//
// Source: RFC 7946.
type pointView struct {
	Type        string    `json:"type"`
	Coordinates []float64 `json:"coordinates"`
}

type civicAddressView struct {
	Type  int    `json:"caType"`
	Value string `json:"caValue"`
}

func (l *Location) view() locationView {
	v := locationView{
		GlobalLocationID: l.GlobalLocationID,
		Name:             l.Name,
		Description:      l.Description,
		OCloudSiteIDs:    l.SiteIDs,
		Address:          l.Address,
		Extensions:       notNil(l.Extensions),
	}
	if c := l.Coordinate; c != nil {
		v.Coordinate = &pointView{Type: "Point", Coordinates: []float64{c.Longitude, c.Latitude}}
		if c.Altitude != nil {
			v.Coordinate.Coordinates = append(v.Coordinate.Coordinates, *c.Altitude)
		}
	}
	for _, e := range l.CivicAddress {
		v.CivicAddress = append(v.CivicAddress, civicAddressView(e))
	}
	return v
}

type oCloudSiteView struct {
	OCloudSiteID     uuid.UUID         `json:"oCloudSiteId"`
	GlobalLocationID string            `json:"globalLocationId"`
	Name             string            `json:"name"`
	Description      string            `json:"description"`
	ResourcePools    []uuid.UUID       `json:"resourcePools"`
	Extensions       map[string]string `json:"extensions"`
}

func (s *OCloudSite) view() oCloudSiteView {
	return oCloudSiteView{
		OCloudSiteID:     s.ID,
		GlobalLocationID: s.GlobalLocationID,
		Name:             s.Name,
		Description:      s.Description,
		ResourcePools:    s.PoolIDs,
		Extensions:       notNil(s.Extensions),
	}
}
