package inventory

import (
	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/rest"
)

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

// Definitions are what fills alarm dictionaries. They never change.
type Definitions struct {
	// Alarms returns the definitions of one dictionary, in a fixed order. It is called
	// whenever somebody reads the dictionary, and must return the same each time. nil: none.
	Alarms func(dictionary uuid.UUID, s Subject) []AlarmDefinition

	// Causes are the probable causes, in a fixed order: the same in every dictionary.
	Causes []ProbableCause

	digests map[Subject]rest.Digest // of what is the same in all dictionaries of the subject
}

// newDefinitions returns d with its digests. What depends on the dictionary follows from
// its identifier, so one stands for all of a subject.
func newDefinitions(d Definitions) *Definitions {
	d.digests = make(map[Subject]rest.Digest)
	for _, s := range []Subject{SubjectResource, SubjectCluster, SubjectOCloud} {
		d.digests[s] = rest.DigestOf(encoded(definitionViews(d.of(uuid.Nil, s))), encoded(causeViews(d.Causes)))
	}
	return &d
}

func (d *Definitions) of(dictionary uuid.UUID, s Subject) []AlarmDefinition {
	if d.Alarms == nil {
		return []AlarmDefinition{}
	}
	return d.Alarms(dictionary, s)
}

// SetDefinitions replaces what fills the alarm dictionaries. It must be called again
// whenever that is something else.
//
// No consumer is told: a notification shows a type as a list does, without its dictionary.
// To send each type anew because a rule of one managed cluster has changed would be some
// hundred documents of some hundred kilobytes each.
func (m *Model) SetDefinitions(d Definitions) {
	filled := newDefinitions(d)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.definitions = filled
	for _, t := range m.types {
		m.showType(t)
	}
	m.publish()
}

// showType makes the record of a type and its dictionary. Servers that hold an older record
// of the type use nothing of it that can change.
func (m *Model) showType(t *countedType) {
	fresh := *t.ResourceType
	fresh.Dictionary = dictionaryOf(&fresh, m.definitions)
	fresh.render()
	t.ResourceType = &fresh
	m.next.types.ReplaceOrInsert(t.ResourceType)
	m.next.dictionaries.ReplaceOrInsert(t.Dictionary)
}
