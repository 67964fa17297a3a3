package alarm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
)

// ServiceName is the service's name in the store and in metrics.
const ServiceName = store.AlarmSource

// Service is how alarms are told to subscribers in the given versions. globalCloudID
// returns the O-Cloud's globalCloudId, which every notification names.
//
// A subscription's filter describes events that need not be reported; it is an attribute
// filter on the alarm event record and notificationEventType, alternatives of such with |
// between, or one of the words for types of events. Its eventFilter points the other way:
// it names the types of events that are reported. The standard's documents have it so.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmSubscription.
func Service(majors []string, globalCloudID func() string) subscription.Service {
	all := versions(nil)
	s := subscription.Service{
		Name: ServiceName, Versions: majors,
		Kinds: func(major string) subscription.Kinds {
			v := all[major]
			if v == nil {
				return nil
			}
			return subscription.Kinds{store.AlarmKind: v.records.Schema.Check}
		},
		EventNames: EventNames(),
		Render: func(e *store.Event, major, baseURL string) (subscription.Shown, error) {
			return show(all[major], e, baseURL, globalCloudID())
		},
		Resync: func(n subscription.Notification, lost store.Range, major, baseURL string) ([]byte, error) {
			return resync(all[major], n, lost, baseURL, globalCloudID())
		},
	}
	for t := range eventNames {
		s.EventTypes = append(s.EventTypes, t)
	}
	return s
}

// notice is what a notification says beside the record, alike for all subscribers.
type notice struct {
	globalCloudID string
	baseURL       string // https://host[:port] by which clients reach us
	event         EventType
}

// show renders an event of the stream, whose document is the record after it.
func show(v *version, e *store.Event, baseURL, globalCloudID string) (subscription.Shown, error) {
	if v == nil {
		return subscription.Shown{}, nil
	}
	var record Record
	if err := json.Unmarshal(e.Post, &record); err != nil {
		return subscription.Shown{}, fmt.Errorf("alarm %s: %w", e.ID, err)
	}
	r := &row{Record: &record}
	state, err := rest.Encode(v.event(r))
	if err != nil {
		return subscription.Shown{}, err
	}
	// What is a subscriber's own is added to this: before it, and within its extensions,
	// which come last.
	common, err := rest.Encode(v.notice(r, notice{globalCloudID: globalCloudID, baseURL: baseURL, event: EventType(e.Type)}))
	if err != nil {
		return subscription.Shown{}, err
	}
	return subscription.Shown{Type: int(e.Type), State: state, Body: func(n subscription.Notification) []byte { return personal(common, n) }}, nil
}

// personal adds to a notification what is one subscriber's: consumerSubscriptionId, and in
// the extensions the notificationId, which is the same when it is sent again, and the
// sequence, by which a loss would show.
func personal(common []byte, n subscription.Notification) []byte {
	b := make([]byte, 0, len(common)+160)
	b = append(b, `{"consumerSubscriptionId":`...)
	b = append(b, textOrNull(n.ConsumerID)...)
	b = append(append(b, ','), common[1:len(common)-len("}}")]...)
	b = append(append(b, `,"notificationId":"`...), n.ID.String()...)
	b = strconv.AppendUint(append(b, `","sequence":`...), n.Sequence, 10)
	return append(b, "}}"...)
}

func textOrNull(s *string) []byte {
	b, err := rest.Encode(s)
	if err != nil { // a text always can
		panic(err)
	}
	return b
}

// noticeV2 is an AlarmEventNotification without its consumerSubscriptionId. Its
// cardinalities are those of the newest document, because the older ones contradict
// themselves: there an alarm that nobody acknowledged had a time of acknowledgement.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmEventNotification.
type noticeV2 struct {
	GlobalCloudID         string           `json:"globalCloudId"`
	NotificationEventType EventType        `json:"notificationEventType"`
	ObjectRef             string           `json:"objectRef"`
	AlarmEventRecordID    uuid.UUID        `json:"alarmEventRecordId"`
	ObjectTypeID          uuid.UUID        `json:"objectTypeId"`
	ObjectID              uuid.UUID        `json:"objectId"`
	ObjectClass           string           `json:"objectClass"`
	AlarmDefinitionID     uuid.UUID        `json:"alarmDefinitionId"`
	ProbableCauseID       uuid.UUID        `json:"probableCauseId"`
	AlarmRaisedTime       time.Time        `json:"alarmRaisedTime"`
	AlarmChangedTime      *time.Time       `json:"alarmChangedTime"`
	AlarmAcknowledgeTime  *time.Time       `json:"alarmAcknowledgeTime"`
	AlarmAcknowledged     bool             `json:"alarmAcknowledged"`
	AlarmClearedTime      *time.Time       `json:"alarmClearedTime"`
	PerceivedSeverity     int              `json:"perceivedSeverity"`
	Extensions            recordExtensions `json:"extensions"`
}

// noticeV1 is the same with the names of version 1.
type noticeV1 struct {
	GlobalCloudID         string           `json:"globalCloudID"`
	NotificationEventType EventType        `json:"notificationEventType"`
	ObjectRef             string           `json:"objectRef"`
	AlarmEventRecordID    uuid.UUID        `json:"alarmEventRecordId"`
	ResourceTypeID        uuid.UUID        `json:"resourceTypeID"`
	ResourceID            uuid.UUID        `json:"resourceID"`
	AlarmDefinitionID     uuid.UUID        `json:"alarmDefinitionID"`
	ProbableCauseID       uuid.UUID        `json:"probableCauseID"`
	AlarmRaisedTime       time.Time        `json:"alarmRaisedTime"`
	AlarmChangedTime      *time.Time       `json:"alarmChangedTime"`
	AlarmAcknowledgeTime  *time.Time       `json:"alarmAcknowledgeTime"`
	AlarmAcknowledged     bool             `json:"alarmAcknowledged"`
	AlarmClearedTime      *time.Time       `json:"alarmClearedTime"`
	PerceivedSeverity     int              `json:"perceivedSeverity"`
	Extensions            recordExtensions `json:"extensions"`
}

func (r *row) noticeV2(n notice) noticeV2 {
	v := r.viewV2()
	return noticeV2{
		GlobalCloudID: n.globalCloudID, NotificationEventType: n.event,
		ObjectRef: n.baseURL + Ref("v2", r.ID), AlarmEventRecordID: v.AlarmEventRecordID,
		ObjectTypeID: v.ObjectTypeID, ObjectID: v.ObjectID, ObjectClass: v.ObjectClass,
		AlarmDefinitionID: v.AlarmDefinitionID, ProbableCauseID: v.ProbableCauseID,
		AlarmRaisedTime: v.AlarmRaisedTime, AlarmChangedTime: v.AlarmChangedTime,
		AlarmAcknowledgeTime: v.AlarmAcknowledgeTime, AlarmAcknowledged: v.AlarmAcknowledged,
		AlarmClearedTime: v.AlarmClearedTime, PerceivedSeverity: v.PerceivedSeverity, Extensions: v.Extensions,
	}
}

func (r *row) noticeV1(n notice) noticeV1 {
	v := r.viewV1()
	return noticeV1{
		GlobalCloudID: n.globalCloudID, NotificationEventType: n.event,
		ObjectRef: n.baseURL + Ref("v1", r.ID), AlarmEventRecordID: v.AlarmEventRecordID,
		ResourceTypeID: v.ResourceTypeID, ResourceID: v.ResourceID,
		AlarmDefinitionID: v.AlarmDefinitionID, ProbableCauseID: v.ProbableCauseID,
		AlarmRaisedTime: v.AlarmRaisedTime, AlarmChangedTime: v.AlarmChangedTime,
		AlarmAcknowledgeTime: v.AlarmAcknowledgeTime, AlarmAcknowledged: v.AlarmAcknowledged,
		AlarmClearedTime: v.AlarmClearedTime, PerceivedSeverity: v.PerceivedSeverity, Extensions: v.Extensions,
	}
}

// Ref is the path of a record in a version, from the root of the server.
func Ref(major string, id uuid.UUID) string { return BasePath + "/" + major + "/alarms/" + id.String() }

// resync is the body of a resync notice: events were dropped before they could be sent, and
// the consumer should read the list of alarms, to which objectRef leads. It names no record,
// so it is no AlarmEventNotification, and has none of its attributes that would be made up.
func resync(v *version, n subscription.Notification, lost store.Range, baseURL, globalCloudID string) ([]byte, error) {
	if v == nil {
		return nil, fmt.Errorf("version of a subscription: %w", fault.Invalid)
	}
	body := map[string]any{
		"consumerSubscriptionId": n.ConsumerID,
		v.cloudName:              globalCloudID,
		"objectRef":              baseURL + v.base() + "/alarms",
		"extensions": map[string]any{
			"notificationId": n.ID,
			"resync":         map[string]uint64{"firstEvent": lost.First, "lastEvent": lost.Last},
		},
	}
	return rest.Encode(body)
}
