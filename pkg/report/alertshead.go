package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RulesUnknown stands for the digest of rules that the agent cannot read.
const RulesUnknown = "-"

// PageFromStart asks for the first page of the active set.
const PageFromStart = "-"

func (h AlertsHead) fields() []field {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	return []field{
		{"firing", strconv.Itoa(h.Firing)},
		{"critical", strconv.Itoa(h.Critical)},
		{"first", number(h.First)},
		{"last", number(h.Last)},
		{"end", number(h.End)},
		{"rules", h.Rules},
	}
}

// String prints the head as it stands in the condition's message.
func (h AlertsHead) String() string { return h.print(h.fields()) }

// ParseAlertsHead reads the message of the head of an alerts report, such as
//
//	v=1 epoch=6f0c6c0e-… seq=7 observed=2026-11-22T10:00:00Z firing=2 critical=1 first=41 last=42 end=42 rules=- enc=zstd+base64 parts=1 raw=812 bytes=402 sha256=9f2b…
//
// Keys it does not know are passed over. An error wraps fault.Invalid and names the key.
func ParseAlertsHead(message string) (AlertsHead, error) {
	l, err := parseLine(message)
	if err != nil {
		return AlertsHead{}, fmt.Errorf("head of the alerts report: %w", err)
	}
	h := AlertsHead{
		Envelope: l.envelope(),
		Firing:   l.count("firing"),
		Critical: l.count("critical"),
		First:    l.number("first", 64),
		Last:     l.number("last", 64),
		End:      l.number("end", 64),
		Rules:    l.digestOrNone("rules"),
	}
	switch {
	case h.Critical > h.Firing:
		l.fail("critical", "is more than are firing")
	case (h.First == 0) != (h.Last == 0), h.First > h.Last, h.Last > h.End:
		l.fail("last", "does not lie between first and end")
	}
	if err := l.err(); err != nil {
		return AlertsHead{}, fmt.Errorf("head of the alerts report: %w", err)
	}
	return h, nil
}

// digestOrNone accepts RulesUnknown in place of a digest.
func (l *line) digestOrNone(key string) string {
	if text := l.text(key); text == RulesUnknown {
		return text
	}
	return l.digest(key)
}

// optional reads a key that may be missing.
func (l *line) optional(key string, read func(key string) string) string {
	if _, found := l.values[key]; !found {
		return ""
	}
	return read(key)
}

func (l *line) page(key string) string {
	text := l.text(key)
	if text != PageFromStart && !isFingerprint(text) {
		l.fail(key, "is not 16 lower-case hexadecimal digits")
	}
	return text
}

func isFingerprint(text string) bool {
	return len(text) == 16 && strings.Trim(text, "0123456789abcdef") == ""
}

// String prints the answer as it stands in the condition's message.
func (a AlertsIngested) String() string {
	text := fmt.Sprintf("store=%s epoch=%s seq=%d", a.Store, a.Epoch, a.Seq)
	if a.Need != "" {
		text += " need=" + a.Need
	}
	if a.Page != "" {
		text += " page=" + a.Page
	}
	return text
}

// Condition is the answer as a condition. It moves its transition time only when the
// status differs from that of current, the condition that stands there now, if any. An
// empty Epoch stands for that of a report that could not be read.
func (a AlertsIngested) Condition(current *metav1.Condition, now time.Time) metav1.Condition {
	if a.Epoch == "" {
		a.Epoch = nilUUID
	}
	c := metav1.Condition{
		Type: KindAlerts.IngestedType(), Status: metav1.ConditionFalse, Reason: a.Reason,
		Message: a.String(), LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
	}
	if a.Reason == ReasonIngested {
		c.Status = metav1.ConditionTrue
	}
	if current != nil && current.Status == c.Status && !current.LastTransitionTime.IsZero() {
		c.LastTransitionTime = current.LastTransitionTime
	}
	return c
}

// ParseAlertsIngested reads condition AlertsIngested. An error wraps fault.Invalid and
// names the key.
func ParseAlertsIngested(c metav1.Condition) (AlertsIngested, error) {
	l, err := parseLine(c.Message)
	if err != nil {
		return AlertsIngested{}, fmt.Errorf("condition %s: %w", c.Type, err)
	}
	a := AlertsIngested{
		Store: l.uuid("store"), Epoch: l.uuid("epoch"), Seq: l.number("seq", 64),
		Need: l.optional("need", l.digest), Page: l.optional("page", l.page), Reason: c.Reason,
	}
	if err := l.err(); err != nil {
		return AlertsIngested{}, fmt.Errorf("condition %s: %w", c.Type, err)
	}
	if (c.Status == metav1.ConditionTrue) != (c.Reason == ReasonIngested) {
		return AlertsIngested{}, fmt.Errorf("condition %s: %w", c.Type, reject(ReasonMalformed, "status %s with reason %q", c.Status, c.Reason))
	}
	return a, nil
}

// FindAlertsIngested returns the hub's answer among the conditions of an add-on, and
// whether there is one that can be read.
func FindAlertsIngested(conditions []metav1.Condition) (AlertsIngested, bool) {
	for i := range conditions {
		if conditions[i].Type == KindAlerts.IngestedType() {
			a, err := ParseAlertsIngested(conditions[i])
			return a, err == nil
		}
	}
	return AlertsIngested{}, false
}

// FindAlertsHead returns the head of the alerts report among the conditions of an add-on,
// and whether there is one that can be read.
func FindAlertsHead(conditions []metav1.Condition) (AlertsHead, bool) {
	found := find(KindAlerts, conditions)
	if found.head == nil {
		return AlertsHead{}, false
	}
	h, err := ParseAlertsHead(found.head.Message)
	return h, err == nil
}
