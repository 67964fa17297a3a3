package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Journal is how far the alerts of a cluster have been taken in. It outlives the cluster:
// one that is attached again goes on where it was.
type Journal struct {
	Epoch   string `json:"epoch"`
	Applied uint64 `json:"applied"` // every transition of the epoch up to it

	// The epoch before, which a restored managed cluster can come back to.
	PriorEpoch   string `json:"priorEpoch,omitempty"`
	PriorApplied uint64 `json:"priorApplied,omitempty"`

	Gaps      uint64 `json:"gaps,omitempty"`      // of all epochs
	Lost      uint64 `json:"lost,omitempty"`      // transitions in these gaps
	Compacted uint64 `json:"compacted,omitempty"` // transitions that arrived merged into others

	// Watchdogs counts the open alerts Watchdog; WatchdogEnded is when the last of them
	// ended, in Unix milliseconds, and 0 while there is one or never was.
	Watchdogs     int   `json:"watchdogs,omitempty"`
	WatchdogEnded int64 `json:"watchdogEnded,omitempty"`

	// Exact says that the open alarms are those that the agent has open: since the whole
	// set was compared, nothing was missed.
	Exact bool `json:"exact,omitempty"`
}

func (j *Journal) text() string {
	if *j == (Journal{}) {
		return ""
	}
	b, err := json.Marshal(j)
	if err != nil { // texts and numbers always can
		panic(err)
	}
	return string(b)
}

// Gap is a range of transitions that never arrived.
type Gap struct {
	Cluster string    `json:"cluster"`
	Epoch   string    `json:"epoch"`
	First   uint64    `json:"first"`
	Last    uint64    `json:"last"`
	Time    time.Time `json:"time"`
}

const keepGaps = 1000

// AlarmJournal returns the journal of a cluster, the zero Journal when there is none.
func (s *Store) AlarmJournal(ctx context.Context, cluster string) (Journal, error) {
	text, err := s.client.HGet(ctx, keyAlarmJournals, cluster).Result()
	if isNil(err) {
		return Journal{}, nil
	}
	if err := s.observe("alarm-journal", err); err != nil {
		return Journal{}, fmt.Errorf("journal of %q: %w", cluster, err)
	}
	return journalOf(cluster, text)
}

// AlarmJournals returns the journals of all clusters.
func (s *Store) AlarmJournals(ctx context.Context) (map[string]Journal, error) {
	texts, err := s.client.HGetAll(ctx, keyAlarmJournals).Result()
	if err := s.observe("alarm-journals", err); err != nil {
		return nil, fmt.Errorf("journals: %w", err)
	}
	all := make(map[string]Journal, len(texts))
	for cluster, text := range texts {
		if all[cluster], err = journalOf(cluster, text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func journalOf(cluster, text string) (j Journal, err error) {
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return Journal{}, fmt.Errorf("stored journal of %q: %w", cluster, err)
	}
	return j, nil
}

// AlarmGaps returns the newest gaps, the newest first.
func (s *Store) AlarmGaps(ctx context.Context) ([]Gap, error) {
	texts, err := s.client.LRange(ctx, keyAlarmGaps, 0, -1).Result()
	if err := s.observe("alarm-gaps", err); err != nil {
		return nil, fmt.Errorf("gaps: %w", err)
	}
	list := make([]Gap, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), &list[i]); err != nil {
			return nil, fmt.Errorf("stored gap: %w", err)
		}
	}
	return list, nil
}
