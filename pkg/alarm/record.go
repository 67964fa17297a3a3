package alarm

import (
	"time"

	"github.com/google/uuid"
)

// Severity is a perceivedSeverity.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, PerceivedSeverity.
type Severity int

// The severities.
const (
	Critical      Severity = 0
	Major         Severity = 1
	Minor         Severity = 2
	Warning       Severity = 3
	Indeterminate Severity = 4
	Cleared       Severity = 5
)

// Record is one alarm: one episode of an alert, from its firing to its end and after, until
// retention removes it. Its JSON is how it is stored.
type Record struct {
	// ID is derived from the managed cluster, the alert's fingerprint and the moment it
	// fired, so whoever hears of an episode gives it the same ID.
	ID uuid.UUID `json:"id"`

	Cluster     string `json:"cluster,omitempty"`     // name of the ManagedCluster; empty: the O-Cloud itself
	Fingerprint string `json:"fingerprint,omitempty"` // 16 hexadecimal digits

	// What is ill. All of these resolve in the inventory, and in the alarm dictionary of
	// the type.
	ObjectClass     string    `json:"objectClass"`
	ObjectTypeID    uuid.UUID `json:"objectTypeId"`
	ObjectID        uuid.UUID `json:"objectId"`
	DefinitionID    uuid.UUID `json:"definitionId"`
	ProbableCauseID uuid.UUID `json:"probableCauseId"`

	// Severity is the last before it was cleared; see Perceived.
	Severity Severity `json:"severity"`

	// Times in UTC, to the millisecond; zero where it has not happened. Raised to Cleared
	// are by the clock of where the alarm comes from.
	Raised       time.Time `json:"raised"`
	Changed      time.Time `json:"changed"`
	Acknowledged time.Time `json:"acknowledged,omitzero"`
	Cleared      time.Time `json:"cleared,omitzero"`

	AcknowledgedBy string    `json:"acknowledgedBy,omitempty"` // client; user name where the token has none
	ClearedBy      ClearedBy `json:"clearedBy,omitempty"`
	Manual         bool      `json:"manual,omitempty"` // the consumer clears it; we do not

	Labels       map[string]string `json:"labels,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
	Suppressed   bool              `json:"suppressed,omitempty"` // silenced or inhibited where it comes from
	Estimated    bool              `json:"estimated,omitempty"`  // Cleared is a guess
	Via          string            `json:"via,omitempty"`        // intake that reported it first
	Compacted    uint64            `json:"compacted,omitempty"`  // transitions that were merged into this record

	Received time.Time `json:"received"` // when the hub stored it first, by the hub's clock
	Version  uint64    `json:"version"`  // 1, 2, 3 …: counts the changes of this record
}

// ClearedBy says why a record is cleared.
type ClearedBy string

// Why records are cleared.
const (
	ClearedByAlert     ClearedBy = "alert"     // the alert was resolved
	ClearedByReconcile ClearedBy = "reconcile" // it is not among the open alerts any more
	ClearedByConsumer  ClearedBy = "consumer"  // by PATCH
	ClearedByDetach    ClearedBy = "detach"    // its managed cluster is gone
)

// Active tells whether the alarm has not been cleared.
func (r *Record) Active() bool { return r.Cleared.IsZero() }

// Perceived is the perceivedSeverity: that of the alert while it is active.
func (r *Record) Perceived() Severity {
	if r.Active() {
		return r.Severity
	}
	return Cleared
}

// EventType is the notificationEventType of an alarm.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmEventNotification, notificationEventType.
type EventType int

// The types of events.
const (
	EventNew         EventType = 0
	EventChange      EventType = 1
	EventClear       EventType = 2
	EventAcknowledge EventType = 3
)
