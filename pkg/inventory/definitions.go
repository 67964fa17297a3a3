package inventory

import "github.com/google/uuid"

// Subject is what the alarms of a dictionary are about.
type Subject string

// The subjects of dictionaries.
const (
	SubjectResource Subject = "resource"
	SubjectCluster  Subject = "cluster"
	SubjectOCloud   Subject = "o-cloud"
)

func (t *ResourceType) subject() Subject {
	switch t.Class {
	case clusterClass:
		return SubjectCluster
	case oCloudClass:
		return SubjectOCloud
	default:
		return SubjectResource
	}
}

// SetDefinitions replaces what fills the alarm dictionaries, and makes all of them anew. It
// must be called again whenever of would return something else.
func (m *Model) SetDefinitions(of func(dictionary uuid.UUID, s Subject) []AlarmDefinition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.definitions = of
	for _, t := range m.types {
		m.showType(t)
	}
	m.publish()
}

// showType makes the record of a type and its dictionary. Servers that hold an older record
// of the type use nothing of it that can change.
func (m *Model) showType(t *countedType) {
	fresh := *t.ResourceType
	fresh.Dictionary = dictionaryOf(&fresh)
	if m.definitions != nil {
		fresh.Dictionary.Definitions = m.definitions(fresh.Dictionary.ID, fresh.subject())
	}
	fresh.render()
	t.ResourceType = &fresh
	m.next.types.ReplaceOrInsert(t.ResourceType)
	m.next.dictionaries.ReplaceOrInsert(t.Dictionary)
	m.touched.resourceType(t.ResourceType)
}
