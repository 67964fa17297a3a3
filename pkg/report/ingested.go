package report

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReasonIngested is the reason of condition InventoryIngested when the report is in use.
const ReasonIngested = "Ingested"

// IngestedType is the type of the condition in which the hub answers a report of this kind.
func (k Kind) IngestedType() string { return k.HeadType() + "Ingested" }

// Ingested is the hub's answer: which report it has read, and whether it could use it.
type Ingested struct {
	Epoch  string // as in the head; the nil UUID when the head could not be read
	Seq    uint64
	SHA256 string

	// Reason is ReasonIngested, or why the report could not be used.
	Reason string
}

// Answer is the answer to a report with this head, which may be the zero Head when it
// could not be read. A nil error means that the report is in use.
func Answer(h Head, err error) Ingested {
	a := Ingested{Epoch: h.Epoch, Seq: h.Seq, SHA256: h.SHA256, Reason: ReasonIngested}
	if a.Epoch == "" || a.SHA256 == "" {
		a = Ingested{Epoch: nilUUID, SHA256: nilDigest, Reason: ReasonIngested}
	}
	if err != nil {
		a.Reason = ReasonOf(err)
	}
	return a
}

const (
	nilUUID   = "00000000-0000-0000-0000-000000000000"
	nilDigest = "0000000000000000000000000000000000000000000000000000000000000000"
)

// String prints the answer as it stands in the condition's message.
func (a Ingested) String() string {
	return fmt.Sprintf("epoch=%s seq=%d sha256=%s", a.Epoch, a.Seq, a.SHA256)
}

// Condition is the answer as a condition. It moves its transition time only when the
// status differs from that of current, the condition that stands there now, if any.
func (a Ingested) Condition(current *metav1.Condition, now time.Time) metav1.Condition {
	c := metav1.Condition{
		Type: KindInventory.IngestedType(), Status: metav1.ConditionFalse, Reason: a.Reason,
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

// ParseIngested reads condition InventoryIngested. An error wraps fault.Invalid and names
// the key.
func ParseIngested(c metav1.Condition) (Ingested, error) {
	l, err := parseLine(c.Message)
	if err != nil {
		return Ingested{}, fmt.Errorf("condition %s: %w", c.Type, err)
	}
	a := Ingested{Epoch: l.uuid("epoch"), Seq: l.number("seq", 64), SHA256: l.digest("sha256"), Reason: c.Reason}
	if err := l.err(); err != nil {
		return Ingested{}, fmt.Errorf("condition %s: %w", c.Type, err)
	}
	if (c.Status == metav1.ConditionTrue) != (c.Reason == ReasonIngested) {
		return Ingested{}, fmt.Errorf("condition %s: %w", c.Type, reject(ReasonMalformed, "status %s with reason %q", c.Status, c.Reason))
	}
	return a, nil
}
