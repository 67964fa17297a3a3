package alarm

import (
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/rest"
)

// newV1 returns version 1 of the API, which speaks of resources: documents up to v06, which
// the conformance suite follows.
func newV1(p *rest.Pager) *version {
	v := newVersion("v1", "1.2.0", p)
	shortcuts := recordShortcuts()
	for name, get := range map[string]func(*row) uuid.UUID{
		"resourceTypeID":    func(r *row) uuid.UUID { return r.ObjectTypeID },
		"resourceTypeId":    func(r *row) uuid.UUID { return r.ObjectTypeID },
		"resourceID":        func(r *row) uuid.UUID { return r.ObjectID },
		"resourceId":        func(r *row) uuid.UUID { return r.ObjectID },
		"alarmDefinitionID": func(r *row) uuid.UUID { return r.DefinitionID },
		"alarmDefinitionId": func(r *row) uuid.UUID { return r.DefinitionID },
		"probableCauseID":   func(r *row) uuid.UUID { return r.ProbableCauseID },
		"probableCauseId":   func(r *row) uuid.UUID { return r.ProbableCauseID },
	} {
		shortcuts = append(shortcuts, filter.At(name, get))
	}
	v.records.Schema = filter.NewSchema((*row).filterV1, shortcuts...)
	v.records.Encoded = func(r *row) rest.Encoded { return r.encode(r.viewV1()) }
	v.cloudName = "globalCloudID"
	v.event = func(r *row) any { return r.filterV1() }
	v.notice = func(r *row, n notice) any { return r.noticeV1(n) }
	return v
}

// recordViewV1 is an alarmEventRecord.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmEventRecord, version 1 of the API.
type recordViewV1 struct {
	AlarmEventRecordID   uuid.UUID        `json:"alarmEventRecordId"`
	ResourceTypeID       uuid.UUID        `json:"resourceTypeID"`
	ResourceID           uuid.UUID        `json:"resourceID"`
	AlarmDefinitionID    uuid.UUID        `json:"alarmDefinitionID"`
	ProbableCauseID      uuid.UUID        `json:"probableCauseID"`
	AlarmRaisedTime      time.Time        `json:"alarmRaisedTime"`
	AlarmChangedTime     *time.Time       `json:"alarmChangedTime"`
	AlarmAcknowledgeTime *time.Time       `json:"alarmAcknowledgeTime"`
	AlarmAcknowledged    bool             `json:"alarmAcknowledged"`
	AlarmClearedTime     *time.Time       `json:"alarmClearedTime"`
	PerceivedSeverity    int              `json:"perceivedSeverity"`
	Extensions           recordExtensions `json:"extensions" o2:"open"`
}

func (r *row) viewV1() recordViewV1 {
	return recordViewV1{
		AlarmEventRecordID:   r.ID,
		ResourceTypeID:       r.ObjectTypeID,
		ResourceID:           r.ObjectID,
		AlarmDefinitionID:    r.DefinitionID,
		ProbableCauseID:      r.ProbableCauseID,
		AlarmRaisedTime:      r.Raised,
		AlarmChangedTime:     known(r.Changed),
		AlarmAcknowledgeTime: known(r.Acknowledged),
		AlarmAcknowledged:    r.acknowledged(),
		AlarmClearedTime:     known(r.Cleared),
		PerceivedSeverity:    int(r.Perceived()),
		Extensions:           r.extensions(),
	}
}

// recordFilterV1 is what filters of version 1 may ask for: the attributes in both spellings
// that are about. Answers have one of them.
type recordFilterV1 struct {
	AlarmEventRecordID   uuid.UUID        `json:"alarmEventRecordId"`
	ResourceTypeID       uuid.UUID        `json:"resourceTypeID"`
	ResourceTypeId       uuid.UUID        `json:"resourceTypeId"`
	ResourceID           uuid.UUID        `json:"resourceID"`
	ResourceId           uuid.UUID        `json:"resourceId"`
	AlarmDefinitionID    uuid.UUID        `json:"alarmDefinitionID"`
	AlarmDefinitionId    uuid.UUID        `json:"alarmDefinitionId"`
	ProbableCauseID      uuid.UUID        `json:"probableCauseID"`
	ProbableCauseId      uuid.UUID        `json:"probableCauseId"`
	AlarmRaisedTime      time.Time        `json:"alarmRaisedTime"`
	AlarmChangedTime     *time.Time       `json:"alarmChangedTime"`
	AlarmAcknowledgeTime *time.Time       `json:"alarmAcknowledgeTime"`
	AlarmAcknowledged    bool             `json:"alarmAcknowledged"`
	AlarmClearedTime     *time.Time       `json:"alarmClearedTime"`
	PerceivedSeverity    int              `json:"perceivedSeverity"`
	Extensions           recordExtensions `json:"extensions" o2:"open"`
}

func (r *row) filterV1() recordFilterV1 {
	v := r.viewV1()
	return recordFilterV1{
		AlarmEventRecordID: v.AlarmEventRecordID,
		ResourceTypeID:     v.ResourceTypeID, ResourceTypeId: v.ResourceTypeID,
		ResourceID: v.ResourceID, ResourceId: v.ResourceID,
		AlarmDefinitionID: v.AlarmDefinitionID, AlarmDefinitionId: v.AlarmDefinitionID,
		ProbableCauseID: v.ProbableCauseID, ProbableCauseId: v.ProbableCauseID,
		AlarmRaisedTime: v.AlarmRaisedTime, AlarmChangedTime: v.AlarmChangedTime,
		AlarmAcknowledgeTime: v.AlarmAcknowledgeTime, AlarmAcknowledged: v.AlarmAcknowledged,
		AlarmClearedTime: v.AlarmClearedTime, PerceivedSeverity: v.PerceivedSeverity, Extensions: v.Extensions,
	}
}
