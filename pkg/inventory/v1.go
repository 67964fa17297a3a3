package inventory

import (
	"maps"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/rest"
)

// The views in this file are those of version 1 of the API where it differs: documents up
// to v07, which the conformance suite follows.

// newV1 returns version 1 of the API.
func newV1(p *rest.Pager) *version {
	v := newVersion("v1", "1.0.0", p)
	v.oCloud = &rest.Kind[*OCloud]{
		IDName: "oCloudId", ID: (*OCloud).id,
		Schema:     filter.NewSchema((*OCloud).viewV1),
		Attributes: oCloudAttributesV1,
		Encoded:    func(o *OCloud) rest.Encoded { return render(oCloudAttributesV1, o.viewV1()) },
	}
	v.types = &rest.Kind[*ResourceType]{
		IDName: "resourceTypeId", ID: (*ResourceType).id, Pager: p,
		Schema:     filter.NewSchema((*ResourceType).viewV1, typeShortcuts...),
		Attributes: typeAttributesV1,
		Encoded:    func(t *ResourceType) rest.Encoded { return t.v1 },
		Deep:       func(t *ResourceType) []byte { return encoded(t.viewV1()) },
	}
	v.pools = &rest.Kind[*ResourcePool]{
		IDName: "resourcePoolId", ID: (*ResourcePool).id, Pager: p,
		Schema:     filter.NewSchema((*ResourcePool).viewV1, poolShortcuts...),
		Attributes: poolAttributesV1,
		Encoded:    func(p *ResourcePool) rest.Encoded { return p.v1 },
	}
	v.dictionaries = dictionaries(p, (*AlarmDictionary).viewV1)
	return v
}

// oCloudInfoV1 has the global id in both spellings: older documents, and the conformance
// suite with them, write globalcloudId.
type oCloudInfoV1 struct {
	OCloudID      string            `json:"oCloudId"`
	GlobalCloudID string            `json:"globalCloudId,omitempty"`
	Globalcloudid string            `json:"globalcloudId,omitempty"`
	Name          string            `json:"name"`
	Description   string            `json:"description"`
	ServiceURI    string            `json:"serviceUri"`
	Extensions    map[string]string `json:"extensions"`
}

var oCloudAttributesV1 = rest.Attributes{Optional: []string{"extensions"}, ByDefault: []string{"extensions"}}

func (o *OCloud) viewV1() oCloudInfoV1 {
	return oCloudInfoV1{
		OCloudID:      o.ID,
		GlobalCloudID: o.GlobalCloudID,
		Globalcloudid: o.GlobalCloudID,
		Name:          o.Name,
		Description:   o.Description,
		ServiceURI:    o.ServiceURI,
		Extensions:    notNil(o.Extensions),
	}
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

var poolAttributesV1 = rest.Attributes{Optional: []string{"location", "extensions"}, ByDefault: []string{"location", "extensions"}}

func (p *ResourcePool) viewV1() resourcePoolV1 {
	return resourcePoolV1{
		ResourcePoolID:   p.ID,
		Name:             p.Name,
		Description:      p.Description,
		OCloudID:         p.oCloudID,
		GlobalLocationID: p.GlobalLocationID,
		Location:         p.Location,
		Extensions:       p.extensions(),
	}
}

func (p *ResourcePool) extensions() map[string]string {
	extensions := make(map[string]string, len(p.Extensions)+1)
	maps.Copy(extensions, p.Extensions)
	extensions["oCloudSite"] = p.Site
	return extensions
}

type resourceTypeV1 struct {
	ResourceTypeID  uuid.UUID            `json:"resourceTypeId"`
	Name            string               `json:"name"`
	Description     string               `json:"description"`
	Vendor          string               `json:"vendor"`
	Model           string               `json:"model"`
	Version         string               `json:"version"`
	ResourceKind    string               `json:"resourceKind"`
	ResourceClass   string               `json:"resourceClass"`
	Extensions      map[string]string    `json:"extensions"`
	AlarmDictionary *alarmDictionaryView `json:"alarmDictionary,omitempty"` // nil where it is not asked for
}

var typeAttributesV1 = rest.Attributes{
	Optional:  []string{"alarmDictionary", "extensions"},
	ByDefault: []string{"alarmDictionary", "extensions"},
	Deep:      []string{"alarmDictionary"},
}

func (t *ResourceType) viewV1() resourceTypeV1 {
	v, dictionary := t.briefV1(), t.Dictionary.viewV1()
	v.AlarmDictionary = &dictionary
	return v
}

// briefV1 is the view without the alarm dictionary.
func (t *ResourceType) briefV1() resourceTypeV1 {
	return resourceTypeV1{
		ResourceTypeID: t.ID,
		Name:           t.name(),
		Description:    t.description(),
		Vendor:         t.Vendor,
		Model:          t.Model,
		ResourceKind:   t.Kind,
		ResourceClass:  resourceClass(t.Class),
		Extensions:     t.extensions(),
	}
}

func (t *ResourceType) extensions() map[string]string {
	return map[string]string{"class": string(t.Class)}
}

// notNil returns m, or an empty map: JSON shall have {} and never null.
func notNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
