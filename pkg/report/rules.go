package report

import (
	"encoding/json"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

// RuleGroup is a group of alerting rules, as Prometheus has it. A rules report is a list
// of them and names no cluster: equal rules of many clusters have one digest.
type RuleGroup struct {
	File  string      `json:"file,omitempty"` // where the group stands, when it is known
	Name  string      `json:"name"`
	Rules []AlertRule `json:"rules"`
}

// AlertRule is one alerting rule.
type AlertRule struct {
	Alert       string            `json:"alert"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"` // a duration of Prometheus, such as 5m
	Labels      map[string]string `json:"labels,omitempty"`
}

// Limits of rules reports.
const (
	MaxRuleGroups    = 10_000
	MaxAlertRules    = 20_000
	MaxRuleTextBytes = 32 << 10

	// MaxRulesBytes is how long the body may be. Packed, that fits into a report with room
	// to spare; the rules of an OpenShift cluster have less than half of it.
	MaxRulesBytes = 1 << 20
)

// rulesBounds: [{"rules":[.
func rulesBounds() bounds {
	b := bounds{text: MaxRuleTextBytes, values: 4 * MaxAlertLabels}
	b.lists[1] = bound{each: MaxRuleGroups, what: "groups"}
	b.lists[3] = bound{each: MaxAlertRules, all: MaxAlertRules, what: "rules of one group", sum: "rules"}
	return b
}

// CanonicalRules returns the body of a rules report and its digest, which stands in
// AlertsHead.Rules. The order of groups and rules counts: the caller sorts.
func CanonicalRules(groups []RuleGroup) (body []byte, digest string, err error) {
	if groups == nil {
		groups = []RuleGroup{}
	}
	body, err = canonical(groups)
	if err != nil {
		return nil, "", fmt.Errorf("alerting rules: %w", err)
	}
	return body, digestOf(body), nil
}

// RulesHead is the head of a rules report. Its Envelope.SHA256 is that of the rules.
type RulesHead struct {
	Envelope

	Groups int
	Rules  int
}

func (h RulesHead) fields() []field {
	return []field{{"groups", strconv.Itoa(h.Groups)}, {"rules", strconv.Itoa(h.Rules)}}
}

// String prints the head as it stands in the condition's message.
func (h RulesHead) String() string { return h.print(h.fields()) }

// ParseRulesHead reads the message of the head of a rules report. An error wraps
// fault.Invalid and names the key.
func ParseRulesHead(message string) (RulesHead, error) {
	l, err := parseLine(message)
	if err != nil {
		return RulesHead{}, fmt.Errorf("head of the rules report: %w", err)
	}
	h := RulesHead{Envelope: l.envelope(), Groups: l.count("groups"), Rules: l.count("rules")}
	if err := l.err(); err != nil {
		return RulesHead{}, fmt.Errorf("head of the rules report: %w", err)
	}
	return h, nil
}

// EncodedRules is a rules report ready to be written; see Compose.
type EncodedRules struct {
	head   RulesHead
	frame  Frame
	reason string
}

// Head is the head without epoch, seq and observed.
func (e EncodedRules) Head() RulesHead {
	h := e.head
	h.Envelope = e.frame.envelope()
	return h
}

// EncodeRules makes a report of a body that CanonicalRules has made. One that does not fit
// becomes a head without parts, with reason HeadTooLarge. An error wraps fault.Invalid.
func (e *AlertsEncoder) EncodeRules(body []byte) (EncodedRules, error) {
	tooLarge := EncodedRules{frame: Frame{Raw: len(body), SHA256: digestOf(body)}, reason: HeadTooLarge}
	if len(body) > MaxRawBytes || rulesBounds().measure(body) != nil {
		return tooLarge, nil
	}
	groups, err := parseRules(body)
	if err != nil {
		return EncodedRules{}, fmt.Errorf("alerting rules: %w", err)
	}
	head := RulesHead{Groups: len(groups), Rules: countRules(groups)}
	tooLarge.head = head
	frame, err := NewFrame(body)
	switch {
	case err != nil:
		return EncodedRules{}, fmt.Errorf("alerting rules: %w", err)
	case len(frame.Parts) > RuleParts:
		return tooLarge, nil
	}
	return EncodedRules{head: head, frame: frame, reason: HeadReported}, nil
}

// ComposeRules returns the entries for what was encoded; see Encoder.Compose.
func (e *AlertsEncoder) ComposeRules(current []metav1.Condition, stamp Stamp, encoded EncodedRules) Update {
	status := metav1.ConditionFalse
	if encoded.reason == HeadReported {
		status = metav1.ConditionTrue
	}
	d := draft{kind: KindRules, fields: encoded.head.fields(), frame: encoded.frame, status: status, reason: encoded.reason}
	return d.compose(find(KindRules, current), stamp, e.unframer)
}

// HasRules tells whether there is anything of a rules report among the conditions.
func HasRules(conditions []metav1.Condition) bool {
	found := find(KindRules, conditions)
	return found.head != nil || len(found.parts) > 0
}

// DecodeRules reads the rules report of a managed cluster from the conditions of its
// add-on. Without one the error wraps fault.NotFound. Rules that do not fit into a report
// wrap fault.Unavailable, every other fault fault.Invalid.
func (d *Decoder) DecodeRules(cluster string, conditions []metav1.Condition) (RulesHead, []RuleGroup, error) {
	head, groups, err := d.decodeRules(conditions)
	if err != nil {
		return head, nil, fmt.Errorf("rules report of %s: %w", cluster, err)
	}
	return head, groups, nil
}

func (d *Decoder) decodeRules(conditions []metav1.Condition) (RulesHead, []RuleGroup, error) {
	found := find(KindRules, conditions)
	if found.head == nil {
		return RulesHead{}, nil, fault.NotFound
	}
	head, err := ParseRulesHead(found.head.Message)
	if err != nil {
		return RulesHead{}, nil, err
	}
	if head.Parts == 0 && found.head.Reason == HeadTooLarge {
		return head, nil, &rejection{ReasonTooLarge, fault.Unavailable, fmt.Sprintf("%d rules do not fit into a report", head.Rules)}
	}
	body, err := d.bodyOf(found, head.Envelope)
	if err != nil {
		return head, nil, err
	}
	groups, err := parseRules(body)
	if err != nil {
		return head, nil, err
	}
	if len(groups) != head.Groups || countRules(groups) != head.Rules {
		return head, nil, reject(ReasonCorrupt, "%d groups, %d rules are not what the head says", len(groups), countRules(groups))
	}
	return head, groups, nil
}

func parseRules(body []byte) ([]RuleGroup, error) {
	if err := rulesBounds().measure(body); err != nil {
		return nil, err
	}
	var groups []RuleGroup
	if err := json.Unmarshal(body, &groups); err != nil {
		return nil, reject(ReasonMalformed, "JSON: %v", err)
	}
	return groups, nil
}

func countRules(groups []RuleGroup) int {
	n := 0
	for i := range groups {
		n += len(groups[i].Rules)
	}
	return n
}
