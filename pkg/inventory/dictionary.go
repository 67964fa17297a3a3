package inventory

import (
	"cmp"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/rest"
)

// Versions of alarm dictionaries: of what they say, and of how they say it.
const (
	dictionaryVersion       = "1.0.0"
	dictionarySchemaVersion = "1.0.0"
)

// dictionaryOf returns the alarm dictionary of a type.
func dictionaryOf(t *ResourceType, filled *Definitions) *AlarmDictionary {
	d := &AlarmDictionary{
		ID:            AlarmDictionaryID(t.ID),
		TypeID:        t.ID,
		Version:       dictionaryVersion,
		SchemaVersion: dictionarySchemaVersion,
		EntityType:    cmp.Or(t.Model, t.name()),
		Vendor:        t.Vendor,
		subject:       t.subject(),
		filled:        filled,
	}
	content := filled.digests[d.subject]
	d.digest = rest.DigestOf(encoded(d.headView()), content[:])
	return d
}

// Definitions are the alarms that the dictionary defines, never nil. The caller owns them.
func (d *AlarmDictionary) Definitions() []AlarmDefinition {
	return d.filled.of(d.ID, d.subject)
}

// AlarmDictionaryID is the alarmDictionaryId of a resource type's dictionary. The
// resourceTypeId is derived from the oCloudId, so this is, too.
func AlarmDictionaryID(resourceType uuid.UUID) uuid.UUID {
	return uuid.NewSHA1(dictionaryNamespace, resourceType[:])
}

// alarmDictionaryView is a dictionary.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmDictionary.
type alarmDictionaryView struct {
	AlarmDictionaryID     uuid.UUID             `json:"alarmDictionaryId"`
	Version               string                `json:"alarmDictionaryVersion"`
	SchemaVersion         string                `json:"alarmDictionarySchemaVersion"`
	EntityType            string                `json:"entityType"`
	Vendor                string                `json:"vendor"`
	ManagementInterfaceID []string              `json:"managementInterfaceId"`
	PKNotificationField   []string              `json:"pkNotificationField"`
	AlarmDefinition       []alarmDefinitionView `json:"alarmDefinition"`
	ProbableCauses        []probableCauseView   `json:"probableCauses"`
}

// probableCauseView has the identifier by which alarms name the cause beside its code.
type probableCauseView struct {
	ProbableCauseID          uuid.UUID             `json:"probableCauseId"`
	ProbableCauseCode        string                `json:"probableCauseCode"`
	ProbableCauseDescription string                `json:"probableCauseDescription"`
	StandardReference        standardReferenceView `json:"standardReference"`
}

type standardReferenceView struct {
	StandardDefinitionOrganization string `json:"standardDefinitionOrganization"`
	StandardSpecification          string `json:"standardSpecification"`
	VersionOrRelease               string `json:"versionOrRelease"`
}

type alarmDefinitionView struct {
	AlarmDefinitionID     uuid.UUID         `json:"alarmDefinitionId"`
	AlarmName             string            `json:"alarmName"`
	LastChange            string            `json:"alarmLastChange"`
	ChangeType            string            `json:"alarmChangeType"`
	Description           string            `json:"alarmDescription"`
	ProposedRepairActions string            `json:"proposedRepairActions"`
	ClearingType          string            `json:"clearingType"`
	ManagementInterfaceID []string          `json:"managementInterfaceId"`
	PKNotificationField   []string          `json:"pkNotificationField"`
	AdditionalFields      map[string]string `json:"alarmAdditionalFields,omitempty"`
}

// What is the same in all dictionaries: through which interface alarms come, and which of
// their attributes names the definition, as each version spells it.
var (
	managementInterfaces = []string{"O2IMS"}
	notificationKeysV1   = []string{"alarmDefinitionID"}
	notificationKeysV2   = []string{"alarmDefinitionId"}
)

// headView is what the dictionary does not share with others.
func (d *AlarmDictionary) headView() alarmDictionaryView {
	return alarmDictionaryView{
		AlarmDictionaryID:     d.ID,
		Version:               d.Version,
		SchemaVersion:         d.SchemaVersion,
		EntityType:            d.EntityType,
		Vendor:                d.Vendor,
		ManagementInterfaceID: managementInterfaces,
	}
}

func (d *AlarmDictionary) viewV1() alarmDictionaryView { return d.view(notificationKeysV1) }

func (d *AlarmDictionary) viewV2() alarmDictionaryView { return d.view(notificationKeysV2) }

func (d *AlarmDictionary) view(notificationKeys []string) alarmDictionaryView {
	v := d.headView()
	v.PKNotificationField = notificationKeys
	v.AlarmDefinition = definitionViews(d.Definitions())
	v.ProbableCauses = causeViews(d.filled.Causes)
	for i := range v.AlarmDefinition {
		v.AlarmDefinition[i].PKNotificationField = notificationKeys
	}
	return v
}

// definitionViews leaves out what differs between versions.
func definitionViews(definitions []AlarmDefinition) []alarmDefinitionView {
	views := make([]alarmDefinitionView, len(definitions))
	for i, a := range definitions {
		views[i] = alarmDefinitionView{
			AlarmDefinitionID:     a.ID,
			AlarmName:             a.Name,
			LastChange:            a.LastChange,
			ChangeType:            a.ChangeType,
			Description:           a.Description,
			ProposedRepairActions: a.RepairActions,
			ClearingType:          a.ClearingType,
			ManagementInterfaceID: managementInterfaces,
			AdditionalFields:      a.AdditionalFields,
		}
	}
	return views
}

func causeViews(causes []ProbableCause) []probableCauseView {
	views := make([]probableCauseView, len(causes))
	for i, c := range causes {
		views[i] = probableCauseView{
			ProbableCauseID:          c.ID,
			ProbableCauseCode:        c.Code,
			ProbableCauseDescription: c.Description,
			StandardReference:        standardReferenceView{c.Standard.Organization, c.Standard.Specification, c.Standard.Version},
		}
	}
	return views
}
