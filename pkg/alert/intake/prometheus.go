package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	maxQueryBytes  = 64 << 20
	maxConfigBytes = 16 << 20
)

// prometheus is one that is asked what we missed.
type prometheus struct{ *wire.Endpoint }

// labelling reads what it does to labels.
//
// Source: Prometheus HTTP API, status/config.
func (p prometheus) labelling(ctx context.Context) (labelling, error) {
	var answer struct {
		Data struct{ YAML string }
	}
	err := p.Get(ctx, "/api/v1/status/config", nil, maxConfigBytes, func(a wire.Answer) error {
		return wire.Value(json.NewDecoder(a.Body), &answer)
	})
	if err != nil {
		return labelling{}, err
	}
	return parseLabelling([]byte(answer.Data.YAML))
}

// evaluationInterval is the shortest time between two evaluations of an alerting rule; zero
// when there are no such rules.
//
// Source: Prometheus HTTP API, rules.
func (p prometheus) evaluationInterval(ctx context.Context) (time.Duration, error) {
	shortest := time.Duration(0)
	query := url.Values{"type": {"alert"}, "exclude_alerts": {"true"}}
	err := p.Get(ctx, "/api/v1/rules", query, maxQueryBytes, func(a wire.Answer) error {
		return wire.Data(json.NewDecoder(a.Body), "groups", func(raw json.RawMessage) error {
			var group struct{ Interval float64 } // seconds
			if err := json.Unmarshal(raw, &group); err != nil {
				return fmt.Errorf("a group of rules: %v: %w", err, fault.Invalid)
			}
			interval := time.Duration(group.Interval * float64(time.Second))
			if interval > 0 && (shortest == 0 || interval < shortest) {
				shortest = interval
			}
			return nil
		})
	})
	return shortest, err
}

// point says that an alert fired at a time of the grid, and when the sample that says so
// was taken: when its rule was evaluated.
type point struct {
	at     time.Time
	sample time.Time
}

// firingQuery asks when alerts fired rather than that they did: the time of a sample is the
// time of an evaluation, exactly, while the grid of a range query is only as fine as its
// step.
const firingQuery = `timestamp(ALERTS{alertstate="firing"})`

// firing hands out, one alert at a time, when it fired: points on a grid of step, both
// ends included. labels are those of the time series without what makes it one.
//
// Source: Prometheus HTTP API, query_range; documentation of alerting rules, ALERTS.
func (p prometheus) firing(ctx context.Context, from, to time.Time, step time.Duration, each func(labels map[string]string, points []point) error) error {
	query := url.Values{
		"query": {firingQuery}, "start": {seconds(from)}, "end": {seconds(to)},
		"step": {strconv.FormatFloat(step.Seconds(), 'f', 3, 64)},
	}
	return p.Get(ctx, "/api/v1/query_range", query, maxQueryBytes, func(a wire.Answer) error {
		return wire.Data(json.NewDecoder(a.Body), "result", func(raw json.RawMessage) error { return readSeries(raw, each) })
	})
}

func readSeries(raw json.RawMessage, each func(map[string]string, []point) error) error {
	var s struct {
		Metric map[string]string
		Values []pair
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("a time series: %v: %w", err, fault.Invalid)
	}
	delete(s.Metric, "__name__")
	delete(s.Metric, "alertstate")
	points := make([]point, len(s.Values))
	for n, v := range s.Values {
		points[n] = point(v)
	}
	return each(s.Metric, points)
}

// pair is [time, "value"] of a matrix, where the value is a time, too.
type pair point

func (p *pair) UnmarshalJSON(text []byte) error {
	var parts [2]json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	var at float64
	var value string
	if err := json.Unmarshal(parts[0], &at); err != nil {
		return err
	}
	if err := json.Unmarshal(parts[1], &value); err != nil {
		return err
	}
	sample, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return err
	}
	p.at, p.sample = unix(at), unix(sample)
	return nil
}

// unix rounds to milliseconds, which is what Prometheus keeps.
func unix(seconds float64) time.Time { return time.UnixMilli(int64(seconds*1000 + 0.5)).UTC() }

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
