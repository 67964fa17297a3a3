package alert

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Standby is the Recorder of a process that has the journal only while it leads: intakes
// can be open all the time, and say that nothing can be taken.
type Standby struct{ journal atomic.Pointer[Journal] }

// Use makes j the journal; nil takes it away.
func (s *Standby) Use(j *Journal) { s.journal.Store(j) }

// Record implements Recorder.
func (s *Standby) Record(ctx context.Context, o Observation) error {
	if j := s.journal.Load(); j != nil {
		return j.Record(ctx, o)
	}
	return fmt.Errorf("alert journal: not open in this agent: %w", fault.Unavailable)
}

// Open implements Recorder.
func (s *Standby) Open() []Open {
	if j := s.journal.Load(); j != nil {
		return j.Open()
	}
	return nil
}

// Dropped counts alerts that an intake could not take; see report.Alerts.Dropped.
func (s *Standby) Dropped(reason string, n uint64) {
	if j := s.journal.Load(); j != nil {
		j.Dropped(reason, n)
	}
}

// Ready tells whether the journal is open.
func (s *Standby) Ready() bool { return s.journal.Load() != nil }
