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
