package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/o2ims/o2ims/pkg/fault"
)

// script is a change that happens whole or not at all. A script that the client sends
// twice, because the first answer was lost, does no harm: each is written so.
//
// Scripts report what went as it may in their answer, whose first element is a word:
// errors raised in Lua look different from one Redis to the next.
type script struct {
	name string
	lua  *redis.Script
}

func newScript(name, lua string) script { return script{name, redis.NewScript(lua)} }

// fenced is the beginning of every script that only the leader may run. Its token is
// ARGV[1], and KEYS[1] is keyLeader. Without any token nobody took over: Redis forgot.
const fenced = `
local token = redis.call('HGET', KEYS[1], 'token')
if not token then return {'REWOUND'} end
if token ~= ARGV[1] then return {'FENCED'} end
`

// run calls a script whose answer is a list, and returns what follows its first word.
func (s *Store) run(ctx context.Context, sc script, keys []string, args ...any) ([]any, error) {
	reply, err := s.eval(ctx, sc, keys, args...)
	if err != nil {
		return nil, err
	}
	list, ok := reply.([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("redis script %s: answer %T", sc.name, reply)
	}
	switch word, _ := list[0].(string); word {
	case "OK":
		return list[1:], nil
	case "FENCED":
		return nil, ErrFenced
	case "REWOUND":
		return nil, ErrRewound
	case "NOTFOUND":
		return nil, fault.NotFound
	case "CONFLICT":
		return list[1:], fault.Conflict
	case "FULL":
		return nil, fault.TooLarge
	default:
		return nil, fmt.Errorf("redis script %s: answer %v", sc.name, list[0])
	}
}

// text calls a script whose answer is a text.
func (s *Store) text(ctx context.Context, sc script, keys []string, args ...any) (string, error) {
	reply, err := s.eval(ctx, sc, keys, args...)
	if err != nil {
		return "", err
	}
	text, ok := reply.(string)
	if !ok {
		return "", fmt.Errorf("redis script %s: answer %T", sc.name, reply)
	}
	return text, nil
}

func (s *Store) eval(ctx context.Context, sc script, keys []string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.options.Timeout) // there may be a second try
	defer cancel()
	began := time.Now()
	reply, err := sc.lua.Run(ctx, s.client, keys, args...).Result()
	s.metrics.duration.WithLabelValues(sc.name).Observe(time.Since(began).Seconds())
	return reply, s.observe(sc.name, err)
}

// observe counts a failure and says what it means.
func (s *Store) observe(operation string, err error) error {
	err = explain(err)
	if err != nil && !errors.Is(err, redis.Nil) && !errors.Is(err, context.Canceled) {
		s.metrics.failures.WithLabelValues(operation).Inc()
	}
	return err
}

func number(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case string:
		i, _ := strconv.ParseInt(n, 10, 64) // 0 for what is absent
		return i
	default:
		return 0
	}
}

type metrics struct {
	duration *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "o2ims_store_duration_seconds",
			Help:    "How long changes in Redis took, by operation.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"operation"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "o2ims_store_failures_total",
			Help: "Operations that Redis did not carry out.",
		}, []string{"operation"}),
	}
	if r != nil {
		r.MustRegister(m.duration, m.failures)
	}
	return m
}
