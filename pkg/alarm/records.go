package alarm

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Records is where alarms, the service's configuration and its tasks are kept, the same for
// all replicas. It is safe for concurrent use. While it cannot be reached, errors wrap
// fault.Unavailable.
type Records interface {
	// Record returns one record. The error wraps fault.NotFound when there is none.
	Record(ctx context.Context, id uuid.UUID) (Record, error)

	// Page returns up to limit records that come after a place in the order, ascending;
	// the zero Place is before all. Fewer than limit say that there are no more.
	Page(ctx context.Context, after Place, limit int) ([]Record, error)

	// Count returns how many records there are.
	Count(ctx context.Context) (int, error)

	// Update stores what change makes of a record, with the version counted on, and the
	// event, if there is one: both or neither. change is called again when somebody else
	// was faster; an error of its own ends the update and is returned as it is.
	Update(ctx context.Context, id uuid.UUID, change func(*Record) (Event, error)) (Record, error)

	// Purge removes cleared records that match, in bounded steps, and returns how many.
	Purge(ctx context.Context, p Purge) (removed int, err error)

	// Configuration returns the alarmServiceConfiguration, or the default.
	Configuration(ctx context.Context) (Configuration, error)

	// SetConfiguration stores what change makes of the configuration, like Update.
	SetConfiguration(ctx context.Context, change func(*Configuration) error) (Configuration, error)

	// Tasks returns the taskOperations that are kept, ascending by ID.
	Tasks(ctx context.Context) ([]Task, error)

	// Task returns one. The error wraps fault.NotFound when there is none.
	Task(ctx context.Context, id uuid.UUID) (Task, error)

	// PutTask creates or replaces a task. It is forgotten a day after it ended.
	PutTask(ctx context.Context, t Task) error
}

// Place is a place in the order of records: by the moment they were raised, then by ID.
type Place struct {
	Raised time.Time
	ID     uuid.UUID
}

// Event is what subscribers are told of an update.
type Event struct {
	Tell bool // false: nothing is told
	Type EventType
}

// Purge says which records to remove. Active ones are never removed.
type Purge struct {
	IDs          []uuid.UUID // nil: any
	From, To     time.Time   // when they were cleared; zero From: since ever; To is exclusive
	Acknowledged bool        // only acknowledged ones
}

// Configuration is the alarmServiceConfiguration.
type Configuration struct {
	RetentionDays int                        `json:"retentionPeriod"` // of cleared records
	Extensions    map[string]json.RawMessage `json:"extensions,omitempty"`
	Version       uint64                     `json:"version"`
}

// Task is a taskOperation.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, taskOperations.
type Task struct {
	ID      uuid.UUID       `json:"id"`
	State   string          `json:"state"` // PROCESSING, COMPLETED or FAILED
	Entered time.Time       `json:"entered"`
	Started time.Time       `json:"started"`
	Params  json.RawMessage `json:"params"`
	Problem string          `json:"problem,omitempty"` // why it FAILED
}
