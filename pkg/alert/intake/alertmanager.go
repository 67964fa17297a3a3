package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	maxPollBytes   = 128 << 20 // some 100,000 alerts, of which only a few are held at a time
	maxStatusBytes = 8 << 20   // the configuration is in it

	// clockTolerance is what the Date header cannot tell anyway: it is in whole seconds.
	clockTolerance = 2 * time.Second
)

// alertmanager is one that is polled.
type alertmanager struct{ *wire.Endpoint }

// listed is an alert of an answer. Its times are those that the Alertmanager gave.
type listed struct {
	alert alert.Alert
	ends  time.Time // when it is believed to be over without news, by our clock
}

// alerts hands out every alert that has not ended, one at a time.
//
// Source: Alertmanager API v2, getAlerts.
func (a alertmanager) alerts(ctx context.Context, now func() time.Time, each func(listed) error) error {
	query := url.Values{"active": {"true"}, "silenced": {"true"}, "inhibited": {"true"}, "unprocessed": {"true"}}
	return a.Get(ctx, "/api/v2/alerts", query, maxPollBytes, func(answer wire.Answer) error {
		ahead := clockAhead(answer.Date, now())
		d := json.NewDecoder(answer.Body)
		return wire.Array(d, func(raw json.RawMessage) error {
			var m message
			i, found, ok := m.read(raw)
			if !ok {
				return fmt.Errorf("an alert in the answer: %w", m.cause) // never to be taken for an absence
			}
			var status struct{ State string }
			if err := json.Unmarshal(i.Status, &status); err != nil {
				return fmt.Errorf("status of an alert: %v: %w", err, fault.Invalid)
			}
			found.Suppressed = status.State == "suppressed"
			return each(listed{alert: found, ends: when(i.EndsAt).Add(-ahead)})
		})
	})
}

// started is since when the Alertmanager is up, by our clock.
//
// Source: Alertmanager API v2, getStatus.
func (a alertmanager) started(ctx context.Context, now func() time.Time) (time.Time, error) {
	var status struct{ Uptime time.Time }
	var ahead time.Duration
	err := a.Get(ctx, "/api/v2/status", nil, maxStatusBytes, func(answer wire.Answer) error {
		ahead = clockAhead(answer.Date, now())
		return wire.Value(json.NewDecoder(answer.Body), &status)
	})
	if err != nil {
		return time.Time{}, err
	}
	return status.Uptime.Add(-ahead), nil
}

// clockAhead is how far another clock is ahead of ours.
func clockAhead(theirs, ours time.Time) time.Duration {
	ahead := theirs.Sub(ours)
	if theirs.IsZero() || ahead.Abs() <= clockTolerance {
		return 0
	}
	return ahead
}
