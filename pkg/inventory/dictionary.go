package inventory

import (
	"cmp"

	"github.com/google/uuid"
)

// Versions of alarm dictionaries: of what they say, and of how they say it.
const (
	dictionaryVersion       = "1.0.0"
	dictionarySchemaVersion = "1.0.0"
)

// dictionaryOf returns the alarm dictionary of a type, without definitions.
func dictionaryOf(t *ResourceType) *AlarmDictionary {
	return &AlarmDictionary{
		ID:            AlarmDictionaryID(t.ID),
		TypeID:        t.ID,
		Version:       dictionaryVersion,
		SchemaVersion: dictionarySchemaVersion,
		EntityType:    cmp.Or(t.Model, t.name()),
		Vendor:        t.Vendor,
		Definitions:   []AlarmDefinition{},
	}
}

// AlarmDictionaryID is the alarmDictionaryId of a resource type's dictionary. The
// resourceTypeId is derived from the oCloudId, so this is, too.
func AlarmDictionaryID(resourceType uuid.UUID) uuid.UUID {
	return uuid.NewSHA1(dictionaryNamespace, resourceType[:])
}
