package controller

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/o2ims/o2ims/pkg/report"
)

// meters count what the reconcilers do. They are about the hub as a whole: a label for
// each managed cluster would make thousands of series.
type meters struct {
	ingested  prometheus.Counter
	rejected  *prometheus.CounterVec
	decode    prometheus.Histogram
	nodes     prometheus.Gauge
	resources prometheus.Gauge
	unusable  prometheus.Gauge
}

func newMeters(reg prometheus.Registerer) (*meters, error) {
	m := &meters{
		ingested: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "o2ims_reports_ingested_total", Help: "Inventory reports that became the inventory of their managed cluster.",
		}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "o2ims_reports_rejected_total", Help: "Inventory reports that could not be used, by reason.",
		}, []string{"reason"}),
		decode: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "o2ims_report_decode_seconds", Help: "Time to read one inventory report.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12),
		}),
		nodes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "o2ims_report_nodes", Help: "Machines in the inventory reports in use.",
		}),
		resources: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "o2ims_report_resources", Help: "Machines and their elements in the inventory reports in use.",
		}),
		unusable: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "o2ims_reports_unusable", Help: "Managed clusters whose newest inventory report cannot be used.",
		}),
	}
	for _, reason := range report.Reasons() {
		m.rejected.WithLabelValues(reason) // so that a first rejection is an increase
	}
	var faults []error
	for _, c := range []prometheus.Collector{m.ingested, m.rejected, m.decode, m.nodes, m.resources, m.unusable} {
		faults = append(faults, reg.Register(c))
	}
	return m, errors.Join(faults...)
}

func (m *meters) decoded(start, end time.Time) { m.decode.Observe(end.Sub(start).Seconds()) }

// use replaces, in the totals, one report of a cluster by another.
func (m *meters) use(before, after report.Head) {
	m.nodes.Add(float64(after.Nodes - before.Nodes))
	m.resources.Add(float64(after.Resources - before.Resources))
}
