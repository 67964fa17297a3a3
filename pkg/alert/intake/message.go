package intake

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
)

// message is what could be taken of one body.
type message struct {
	alerts    []alert.Alert
	dropped   map[string]uint64 // alerts that could not be taken, by reason
	cause     error             // why the last of them could not
	truncated uint64            // alerts that the sender left out
}

func (m *message) drop(reason string, cause error) {
	if m.dropped == nil {
		m.dropped = make(map[string]uint64)
	}
	m.dropped[reason]++
	m.cause = cause
}

// item is an alert as Alertmanager and Prometheus write it. Times are texts here, so that
// one that cannot be read costs no more than itself.
type item struct {
	Status       json.RawMessage   `json:"status"` // a word in a webhook, an object in a list
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     string            `json:"startsAt"`
	EndsAt       string            `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

// webhookVersion is the version of the message that we know. Others are read by the same
// rules: it is the alerts that matter, and those have not changed in shape since 2016.
const webhookVersion = "4"

// parseWebhook reads an Alertmanager notification. Together with an error, which wraps
// fault.Invalid unless it is r's own, there is what came before the place where the body
// went wrong. The group's labels, the receiver and the fingerprints are not used: what
// identifies an alert is its own labels.
//
// Source: Alertmanager documentation, webhook_config.
func parseWebhook(r io.Reader, now time.Time) (message, error) {
	var m message
	d := json.NewDecoder(r)
	err := wire.Object(d, func(key string) error {
		switch key {
		case "alerts":
			return wire.Array(d, func(raw json.RawMessage) error {
				m.takeNotified(raw, now)
				return nil
			})
		case "version":
			var version any
			if err := wire.Value(d, &version); err != nil {
				return err
			}
			if version != webhookVersion {
				slog.Debug("webhook of another version", "version", version)
			}
			return nil
		case "truncatedAlerts":
			var n any
			if err := wire.Value(d, &n); err != nil {
				return err
			}
			if count, ok := n.(float64); ok && count > 0 {
				m.truncated = uint64(min(count, 1<<32))
			}
			return nil
		default:
			return wire.Skip(d)
		}
	})
	return m, err
}

// takeNotified takes one alert of a notification. Whether it is over is what its status
// says; endsAt only says when.
func (m *message) takeNotified(raw json.RawMessage, now time.Time) {
	i, a, ok := m.read(raw)
	if !ok {
		return
	}
	switch string(i.Status) {
	case `"firing"`:
	case `"resolved"`:
		a.Ends = when(i.EndsAt)
		if a.Ends.IsZero() {
			a.Ends, a.Estimated = now, true
		}
	default:
		m.drop(reasonStatus, fmt.Errorf("alert %q has status %s", a.Labels["alertname"], i.Status))
		return
	}
	m.alerts = append(m.alerts, a)
}

// parsePush reads what Prometheus sends to an Alertmanager: an array of alerts. Errors are
// as those of parseWebhook. An alert is over when its endsAt is not in the future; while it
// fires, Prometheus puts it some minutes ahead.
//
// Source: Alertmanager API v2, postAlerts.
func parsePush(r io.Reader, now time.Time) (message, error) {
	var m message
	d := json.NewDecoder(r)
	err := wire.Array(d, func(raw json.RawMessage) error {
		i, a, ok := m.read(raw)
		if !ok {
			return nil
		}
		if ends := when(i.EndsAt); !ends.IsZero() && !ends.After(now) {
			a.Ends = ends
		}
		m.alerts = append(m.alerts, a)
		return nil
	})
	return m, err
}

// read reads what all alerts have in common. A label without a value is the same as none,
// as it is to Alertmanager.
func (m *message) read(raw json.RawMessage) (item, alert.Alert, bool) {
	var i item
	if err := json.Unmarshal(raw, &i); err != nil {
		m.drop(reasonMalformed, err)
		return i, alert.Alert{}, false
	}
	for name, value := range i.Labels {
		if name == "" || value == "" {
			delete(i.Labels, name)
		}
	}
	if len(i.Labels) == 0 {
		m.drop(alert.DroppedNoLabels, fmt.Errorf("an alert without labels"))
		return i, alert.Alert{}, false
	}
	return i, alert.Alert{
		Labels: i.Labels, Annotations: i.Annotations, GeneratorURL: i.GeneratorURL, Starts: when(i.StartsAt),
	}, true
}

// when reads a time. What cannot be read, and the year 1 that Go writes for none, is zero.
func when(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Unix() <= 0 {
		return time.Time{}
	}
	return t.UTC()
}
