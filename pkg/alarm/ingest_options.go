package alarm

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// IngestOptions are the settings of the intake of reports, one flag each unless said
// otherwise.
type IngestOptions struct {
	// GapGrace is how long an agent has to send again what is missing from its journal,
	// before it counts as lost.
	GapGrace time.Duration

	Registerer prometheus.Registerer // no flag; nil: no metrics
}

// AddFlags registers the settings with their defaults.
func (o *IngestOptions) AddFlags(f *pflag.FlagSet) {
	f.DurationVar(&o.GapGrace, "alarm-gap-grace", 30*time.Second, "how long an agent has to send alerts again that are missing, before they count as lost")
}

// Validate reports everything that is wrong with o.
func (o *IngestOptions) Validate() error {
	if o.GapGrace < 0 {
		return fmt.Errorf("--alarm-gap-grace %s is negative: %w", o.GapGrace, fault.Invalid)
	}
	return nil
}

// ingestMeters count what becomes of reports. They are about the fleet as a whole.
type ingestMeters struct {
	events     *prometheus.CounterVec
	retries    prometheus.Counter
	gaps       prometheus.Counter
	lost       prometheus.Counter
	reconciled prometheus.Counter
	compacted  prometheus.Counter
	dropped    prometheus.Counter
}

func newIngestMeters(r prometheus.Registerer) *ingestMeters {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &ingestMeters{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "o2ims_alarm_events_total", Help: "Events of alarms that were stored, by type.",
		}, []string{"type"}),
		retries:    counter("o2ims_alarm_ingest_retries_total", "Reports that were applied again because records changed meanwhile."),
		gaps:       counter("o2ims_alarm_gaps_total", "Gaps in the journals of agents."),
		lost:       counter("o2ims_alarm_transitions_lost_total", "Transitions of alerts in such gaps."),
		reconciled: counter("o2ims_alarm_reconciled_total", "Alarms that were raised or cleared by comparing what is open, not by a transition."),
		compacted:  counter("o2ims_alarm_transitions_compacted_total", "Transitions that agents merged because their journals were full."),
		dropped:    counter("o2ims_alarm_alerts_dropped_total", "Alerts that intakes of agents could not take."),
	}
	for _, name := range eventNames {
		m.events.WithLabelValues(name) // so that a first event is an increase
	}
	if r != nil {
		r.MustRegister(m.events, m.retries, m.gaps, m.lost, m.reconciled, m.compacted, m.dropped)
	}
	return m
}

var eventNames = []string{"NEW", "CHANGE", "CLEAR", "ACKNOWLEDGE"}

// String is the standard's name of a type of event.
func (t EventType) String() string {
	if t < 0 || int(t) >= len(eventNames) {
		return fmt.Sprintf("EventType(%d)", int(t))
	}
	return eventNames[t]
}

// EventNames are the types of events by the words that subscriptions know them by.
func EventNames() map[string]int {
	names := make(map[string]int, len(eventNames))
	for kind, name := range eventNames {
		names[name] = kind
	}
	return names
}

func (m *ingestMeters) wrote(b *store.AlarmBatch) {
	for _, e := range b.Events {
		m.events.WithLabelValues(EventType(e.Type).String()).Inc()
	}
	if b.Gap != nil {
		m.gaps.Inc()
		m.lost.Add(plausible(b.Gap.Last - b.Gap.First + 1))
	}
}

// plausible bounds a figure of one report: one managed cluster that makes figures up must
// not hide what is counted for all others.
func plausible(n uint64) float64 { return float64(min(n, 1_000_000)) }
