package subscription

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// engineMetrics count for all subscriptions of a service together; how each one fares is
// collected when it is asked for.
type engineMetrics struct {
	events   *prometheus.CounterVec
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
	delay    *prometheus.HistogramVec
	dropped  *prometheus.CounterVec
	restarts prometheus.Counter
}

func newEngineMetrics(e *Engine, r prometheus.Registerer) *engineMetrics {
	m := &engineMetrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "o2ims_events_total", Help: "Events that were announced.",
		}, []string{"service"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "o2ims_notification_attempts_total",
			Help: "Attempts to deliver a notification, by result: delivered, 3xx, 4xx, 5xx, timeout, unreachable, tls, or error.",
		}, []string{"service", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "o2ims_notification_attempt_seconds", Help: "How long callbacks took to answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"service"}),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "o2ims_notification_delay_seconds", Help: "Time from the announcement of an event to its acknowledgement by a consumer.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400},
		}, []string{"service"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "o2ims_events_dropped_total", Help: "Events that were gone by retention before a subscription got them, and were declared by a resync notice.",
		}, []string{"service"}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "o2ims_delivery_restarts_total", Help: "How often delivery began anew because Redis had lost something or the unexpected happened.",
		}),
	}
	if r != nil {
		r.MustRegister(m.events, m.attempts, m.duration, m.delay, m.dropped, m.restarts, &progressCollector{e})
	}
	return m
}

func (m *engineMetrics) attempt(service string, began time.Time, response *http.Response, err error) {
	m.duration.WithLabelValues(service).Observe(time.Since(began).Seconds())
	m.attempts.WithLabelValues(service, result(response, err)).Inc()
}

// result names what became of an attempt.
func result(response *http.Response, err error) string {
	if err != nil {
		return failure(err)
	}
	switch response.StatusCode / 100 {
	case 2:
		return "delivered"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	default:
		return "5xx"
	}
}

func failure(err error) string {
	var network net.Error
	var operation *net.OpError
	switch {
	case isTLS(err):
		return "tls"
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &operation):
		return "unreachable"
	default:
		return "error"
	}
}

// progressCollector tells how each subscription fares, on the replica that leads.
type progressCollector struct{ engine *Engine }

var (
	lagDesc = prometheus.NewDesc("o2ims_subscription_lag_events",
		"Events that a subscription has not dealt with; of those, some may be none of its business.", []string{"service", "subscriptionId"}, nil)
	suspendedDesc = prometheus.NewDesc("o2ims_subscription_suspended",
		"1 for a subscription that is suspended.", []string{"service", "subscriptionId"}, nil)
	newestDesc  = prometheus.NewDesc("o2ims_events_newest", "Sequence of the newest event that may be delivered.", nil, nil)
	waitingDesc = prometheus.NewDesc("o2ims_changes_waiting",
		"Changes of a model that are not announced yet.", []string{"service"}, nil)
	coalescedDesc = prometheus.NewDesc("o2ims_changes_coalesced_total",
		"Changes that a later one of the same object replaced, because too many were waiting.", []string{"service"}, nil)
)

// Describe implements prometheus.Collector.
func (c *progressCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lagDesc, suspendedDesc, newestDesc, waitingDesc, coalescedDesc} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *progressCollector) Collect(metrics chan<- prometheus.Metric) {
	for name, q := range c.engine.queues {
		waiting, coalesced := q.length()
		metrics <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(waiting), name)
		metrics <- prometheus.MustNewConstMetric(coalescedDesc, prometheus.CounterValue, float64(coalesced), name)
	}
	t := c.engine.now.Load()
	if t == nil {
		return
	}
	newest, _ := t.window.newest()
	metrics <- prometheus.MustNewConstMetric(newestDesc, prometheus.GaugeValue, float64(newest))
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, r := range t.workers {
		lag, suspended := float64(0), float64(0)
		if seen := r.worker.shownSeen.Load(); seen < newest {
			lag = float64(newest - seen)
		}
		if r.worker.shownSuspended.Load() {
			suspended = 1
		}
		service := r.worker.sub.Service
		metrics <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, lag, service, id.String())
		metrics <- prometheus.MustNewConstMetric(suspendedDesc, prometheus.GaugeValue, suspended, service, id.String())
	}
}

// isTLS tells whether an error is about certificates or the handshake.
func isTLS(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		header       tls.RecordHeaderError
		alert        tls.AlertError
	)
	return errors.As(err, &verification) || errors.As(err, &header) || errors.As(err, &alert)
}
