package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// notification is what we look at of a body.
type notification struct {
	NotificationID string          `json:"notificationId"`
	ConsumerID     string          `json:"consumerSubscriptionId"`
	Type           *int            `json:"notificationEventType"`
	ObjectRef      string          `json:"objectRef"`
	Prior          json.RawMessage `json:"priorObjectState"`
	Post           json.RawMessage `json:"postObjectState"`
	Resync         json.RawMessage `json:"resync"`

	// Of notifications about alarms. What the standard has no attribute for is in their
	// extensions.
	AlarmID    string `json:"alarmEventRecordId"`
	Severity   int    `json:"perceivedSeverity"`
	Extensions struct {
		NotificationID string            `json:"notificationId"`
		Sequence       uint64            `json:"sequence"`
		Resync         json.RawMessage   `json:"resync"`
		Labels         map[string]string `json:"labels"`
	} `json:"extensions"`
}

// aboutAlarm tells whether the notification is about an alarm, or about some that were lost.
func (n *notification) aboutAlarm() bool {
	return n.AlarmID != "" || n.Extensions.NotificationID != ""
}

func read(body []byte) (Entry, error) {
	n, err := parse(body)
	if err != nil {
		return Entry{}, err
	}
	return Entry{
		Time: time.Now().UTC(), NotificationID: n.NotificationID, ConsumerID: n.ConsumerID,
		Type: *n.Type, ObjectRef: n.ObjectRef, Body: json.RawMessage(body),
	}, nil
}

func parse(body []byte) (notification, error) {
	var n notification
	if err := json.Unmarshal(body, &n); err != nil {
		return n, err
	}
	if n.aboutAlarm() {
		n.NotificationID, n.Resync = n.Extensions.NotificationID, n.Extensions.Resync
		if n.Resync != nil {
			n.Type = new(int)
		}
	}
	if n.NotificationID == "" || n.Type == nil {
		return n, errors.New("it lacks notificationId or notificationEventType")
	}
	return n, nil
}

// receive decides what becomes of a notification and journals it.
func (s *Simulator) receive(e *Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Status, e.Taken = s.outcome()
	if e.Taken {
		s.take(e)
	}
	s.entries = append(s.entries, *e)
	s.print(e)
	return s.write(e)
}

// outcome decides what becomes of what was received: the status of the answer, 0 for a
// connection that is broken off, and whether it counts.
func (s *Simulator) outcome() (status int, taken bool) {
	chance := s.random.Float64()
	switch {
	case chance < s.options.FailRate:
		refusals := []int{http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusNotFound, http.StatusTooManyRequests, 0}
		return refusals[s.random.IntN(len(refusals))], false
	case chance < s.options.FailRate+s.options.LostAckRate:
		return 0, true
	}
	return s.options.Status, s.options.Status/100 == 2
}

// take notes that a notification counts as received, and compares it with what was before.
func (s *Simulator) take(e *Entry) {
	st := s.streams[e.Path]
	if st == nil {
		st = &stream{taken: make(map[string]bool), states: make(map[string]json.RawMessage)}
		s.streams[e.Path] = st
	}
	if e.Duplicate = st.taken[e.NotificationID]; e.Duplicate {
		return
	}
	st.taken[e.NotificationID] = true
	n, err := parse(e.Body)
	if err != nil || n.Resync != nil {
		clear(st.states) // after a gap, anything may come
		return
	}
	if n.aboutAlarm() {
		e.Break = n.Extensions.Sequence != st.sequence+1 && st.sequence != 0
		st.sequence = n.Extensions.Sequence
		return
	}
	if last, known := st.states[n.ObjectRef]; known {
		e.Break = !bytes.Equal(last, n.Prior)
	}
	st.states[n.ObjectRef] = n.Post
}
