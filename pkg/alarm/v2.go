package alarm

import (
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/rest"
)

// newV2 returns version 2 of the API, which speaks of objects.
func newV2(p *rest.Pager) *version {
	v := newVersion("v2", "2.2.0", p)
	v.records.Schema = filter.NewSchema((*row).viewV2, append(recordShortcuts(),
		filter.At("objectTypeId", func(r *row) uuid.UUID { return r.ObjectTypeID }),
		filter.At("objectId", func(r *row) uuid.UUID { return r.ObjectID }),
		filter.At("objectClass", func(r *row) string { return r.ObjectClass }),
		filter.At("alarmDefinitionId", func(r *row) uuid.UUID { return r.DefinitionID }),
		filter.At("probableCauseId", func(r *row) uuid.UUID { return r.ProbableCauseID }),
	)...)
	v.records.Encoded = func(r *row) rest.Encoded { return r.encode(r.viewV2()) }
	v.cloudName = "globalCloudId"
	v.event = func(r *row) any { return r.viewV2() }
	v.notice = func(r *row, n notice) any { return r.noticeV2(n) }
	return v
}

// recordViewV2 is an alarmEventRecord.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmEventRecord, version 2 of the API.
type recordViewV2 struct {
	AlarmEventRecordID   uuid.UUID        `json:"alarmEventRecordId"`
	ObjectTypeID         uuid.UUID        `json:"objectTypeId"`
	ObjectID             uuid.UUID        `json:"objectId"`
	ObjectClass          string           `json:"objectClass"`
	AlarmDefinitionID    uuid.UUID        `json:"alarmDefinitionId"`
	ProbableCauseID      uuid.UUID        `json:"probableCauseId"`
	AlarmRaisedTime      time.Time        `json:"alarmRaisedTime"`
	AlarmChangedTime     *time.Time       `json:"alarmChangedTime"`
	AlarmAcknowledgeTime *time.Time       `json:"alarmAcknowledgeTime"`
	AlarmAcknowledged    bool             `json:"alarmAcknowledged"`
	AlarmClearedTime     *time.Time       `json:"alarmClearedTime"`
	PerceivedSeverity    int              `json:"perceivedSeverity"`
	Extensions           recordExtensions `json:"extensions" o2:"open"`
}

func (r *row) viewV2() recordViewV2 {
	return recordViewV2{
		AlarmEventRecordID:   r.ID,
		ObjectTypeID:         r.ObjectTypeID,
		ObjectID:             r.ObjectID,
		ObjectClass:          r.ObjectClass,
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
