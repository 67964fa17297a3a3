package alarm

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
)

// The views in this file are the same in both versions of the API, as are the parts of
// those that differ. Attributes of cardinality 0..1 that the standard calls mandatory are
// always there; null says that there is nothing to say.

// recordExtensions is what we tell of an alarm beyond the standard. It is open: a filter may
// ask for any name in it.
type recordExtensions struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	GeneratorURL string            `json:"generatorURL,omitempty"`

	Cluster     string `json:"cluster,omitempty"`     // name of the managed cluster
	Fingerprint string `json:"fingerprint,omitempty"` // of the alert
	Rule        string `json:"rule,omitempty"`        // alerting rule that raised it
	Source      string `json:"source,omitempty"`      // intake that reported it first

	// ActiveSeverity is the perceivedSeverity that the alarm has while it is active:
	// clearing it does not lose that.
	ActiveSeverity int    `json:"activeSeverity"`
	ClearingType   string `json:"clearingType"` // automatic or manual

	AcknowledgedBy string    `json:"acknowledgedBy,omitempty"`
	ClearedBy      ClearedBy `json:"clearedBy,omitempty"`
	Suppressed     bool      `json:"suppressed,omitempty"`
	Estimated      bool      `json:"estimated,omitempty"`
	Compacted      uint64    `json:"compacted,omitempty"`
	Received       time.Time `json:"received,omitzero"`
}

// Clearing types.
//
// Source: AlarmDefinition.clearingType.
const (
	clearingAutomatic = "automatic"
	clearingManual    = "manual"
)

func (r *Record) extensions() recordExtensions {
	return recordExtensions{
		Labels:         notNil(r.Labels),
		Annotations:    notNil(r.Annotations),
		GeneratorURL:   r.GeneratorURL,
		Cluster:        r.Cluster,
		Fingerprint:    r.Fingerprint,
		Rule:           r.Labels["alertname"],
		Source:         r.Via,
		ActiveSeverity: int(r.Severity),
		ClearingType:   r.clearingType(),
		AcknowledgedBy: r.AcknowledgedBy,
		ClearedBy:      r.ClearedBy,
		Suppressed:     r.Suppressed,
		Estimated:      r.Estimated,
		Compacted:      r.Compacted,
		Received:       r.Received,
	}
}

func (r *Record) clearingType() string {
	if r.Manual {
		return clearingManual
	}
	return clearingAutomatic
}

// known returns nil for a time at which nothing happened.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func notNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// configurationView is the AlarmServiceConfiguration.
type configurationView struct {
	RetentionPeriod int                        `json:"retentionPeriod"` // days
	Extensions      map[string]json.RawMessage `json:"extensions"`
}

func (c Configuration) view() configurationView {
	v := configurationView{RetentionPeriod: c.RetentionDays, Extensions: c.Extensions}
	if v.Extensions == nil {
		v.Extensions = map[string]json.RawMessage{}
	}
	return v
}

// subscriptionView is the AlarmSubscriptionInfo.
type subscriptionView struct {
	AlarmSubscriptionID    uuid.UUID `json:"alarmSubscriptionId"`
	ConsumerSubscriptionID *string   `json:"consumerSubscriptionId,omitempty"`
	Filter                 *string   `json:"filter,omitempty"`
	EventFilter            any       `json:"eventFilter,omitempty"` // a text or a list of texts
	Callback               string    `json:"callback"`

	Extensions subscription.Extensions `json:"extensions"`
}

func subscriptionViewOf(s store.Subscription) subscriptionView {
	v := subscriptionView{
		AlarmSubscriptionID: s.ID, ConsumerSubscriptionID: s.ConsumerID, Filter: s.Filter, Callback: s.Callback,
		Extensions: subscription.ExtensionsOf(s),
	}
	switch len(s.EventFilter) {
	case 0:
	case 1:
		v.EventFilter = s.EventFilter[0]
	default:
		v.EventFilter = s.EventFilter
	}
	return v
}

// taskView is the TaskOperationInfo.
type taskView struct {
	ID               uuid.UUID     `json:"id"`
	OperationState   string        `json:"operationState"`
	StateEnteredTime time.Time     `json:"stateEnteredTime"`
	StartTime        time.Time     `json:"startTime"`
	Operation        string        `json:"operation"`
	OperationParams  *purgeRequest `json:"operationParams,omitempty"`
	Error            *taskProblem  `json:"error,omitempty"`
}

// taskProblem is the ProblemDetails of a task that failed.
type taskProblem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// purgeRequest is the PurgeRequest.
type purgeRequest struct {
	AlarmRecordID   []uuid.UUID      `json:"alarmRecordId,omitempty"`
	PurgeConditions *purgeConditions `json:"purgeConditions,omitempty"`
}

// purgeConditions is a window on alarmClearedTime. Both its ends belong to it.
type purgeConditions struct {
	StartWindowTime *time.Time `json:"startWindowTime,omitempty"`
	EndWindowTime   *time.Time `json:"endWindowTime"`
}

func (t Task) view() taskView {
	v := taskView{ID: t.ID, OperationState: t.State, StateEnteredTime: t.Entered, StartTime: t.Started, Operation: operationPurge}
	var params purgeRequest
	if json.Unmarshal(t.Params, &params) == nil {
		v.OperationParams = &params
	}
	if t.State == taskFailed {
		v.Error = &taskProblem{Title: "Internal Server Error", Status: 500, Detail: t.Problem}
	}
	return v
}

// causeView is a ProbableCause. No document has a path for these; ours is where other
// implementations have had theirs, so that the probableCauseId of every record leads to
// something.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmDefinition, probableCauseId.
type causeView struct {
	ProbableCauseID          uuid.UUID         `json:"probableCauseId"`
	ProbableCauseCode        string            `json:"probableCauseCode"` // as the standard prints it, misprints included
	ProbableCauseDescription string            `json:"probableCauseDescription"`
	StandardReference        standardReference `json:"standardReference"`
	Extensions               causeExtensions   `json:"extensions" o2:"open"`
}

type standardReference struct {
	StandardDefinitionOrganization string `json:"standardDefinitionOrganization"`
	StandardSpecification          string `json:"standardSpecification"`
	VersionOrRelease               string `json:"versionOrRelease"`
}

type causeExtensions struct {
	EventType string `json:"eventType"`
	Object    string `json:"object"`   // Cluster, Node or Network
	Spelling  string `json:"spelling"` // the code without misprint
}

func (c ProbableCause) view() causeView {
	return causeView{
		ProbableCauseID: c.ID, ProbableCauseCode: c.Code, ProbableCauseDescription: c.Description,
		StandardReference: standardReference{StandardOrganization, StandardSpecification, StandardVersion},
		Extensions:        causeExtensions{EventType: c.EventType, Object: c.Object, Spelling: c.Spelling},
	}
}
