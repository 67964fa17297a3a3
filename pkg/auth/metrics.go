package auth

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/o2ims/o2ims/pkg/fault"
)

// callerMetrics count what happens to JWTs and how their issuers are asked.
type callerMetrics struct {
	tokens  *prometheus.CounterVec // by result
	fetches *prometheus.CounterVec // by issuer and result
	cached  prometheus.Counter
}

func newCallerMetrics(r prometheus.Registerer) callerMetrics {
	m := callerMetrics{
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "o2ims_auth_tokens_total",
			Help: "JWTs of configured issuers that were judged: cached (judged before), accepted, refused, unavailable (the issuer's keys were not to be had).",
		}, []string{"result"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "o2ims_auth_key_fetches_total",
			Help: "Times that an issuer was asked for its keys, by result: success or error.",
		}, []string{"issuer", "result"}),
	}
	m.cached = m.tokens.WithLabelValues("cached")
	r.MustRegister(m.tokens, m.fetches)
	return m
}

// verified counts one token that was judged afresh.
func (m callerMetrics) verified(err error) {
	result := "accepted"
	switch {
	case errors.Is(err, fault.Unauthenticated):
		result = "refused"
	case err != nil:
		result = "unavailable"
	}
	m.tokens.WithLabelValues(result).Inc()
}

// fetchesOf returns what counts the fetches of one issuer's keys.
func (m callerMetrics) fetchesOf(issuer string) func(result string) {
	return func(result string) { m.fetches.WithLabelValues(issuer, result).Inc() }
}

// forget drops an issuer that is no longer configured.
func (m callerMetrics) forget(issuer string) {
	m.fetches.DeletePartialMatch(prometheus.Labels{"issuer": issuer})
}
