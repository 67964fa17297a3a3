package report

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

// alertsBounds: {"active":{"alerts":[, {"texts":[ and {"transitions":[. Escapes make a text
// up to six times longer than it is.
func alertsBounds() bounds {
	b := bounds{text: 6 * MaxStringBytes, values: 4 * MaxAlertLabels}
	b.lists[2] = bound{each: MaxAlertTexts, what: "texts or transitions"}
	b.lists[3] = bound{each: MaxActive, what: "open alerts"}
	return b
}

// lastMilli is the end of the year 9999.
const lastMilli = 253402300799999

// DecodeAlerts reads the alerts report of a managed cluster from the conditions of its
// add-on. Texts may be shared with other results: read them only.
//
// Without any report the error wraps fault.NotFound, every other fault fault.Invalid;
// ReasonOf tells more. With an error, the head alone is returned, if that could be read.
func (d *Decoder) DecodeAlerts(cluster string, conditions []metav1.Condition) (AlertsHead, Alerts, error) {
	head, alerts, err := d.decodeAlerts(cluster, conditions)
	if err != nil {
		return head, Alerts{}, fmt.Errorf("alerts report of %s: %w", cluster, err)
	}
	d.interner.shareTexts(alerts.Texts)
	return head, alerts, nil
}

func (d *Decoder) decodeAlerts(cluster string, conditions []metav1.Condition) (AlertsHead, Alerts, error) {
	found := find(KindAlerts, conditions)
	if found.head == nil {
		if len(found.parts) == 0 {
			return AlertsHead{}, Alerts{}, fault.NotFound
		}
		return AlertsHead{}, Alerts{}, reject(ReasonMalformed, "no condition %s", found.kind.HeadType())
	}
	head, err := ParseAlertsHead(found.head.Message)
	if err != nil {
		return AlertsHead{}, Alerts{}, err
	}
	body, err := d.bodyOf(found, head.Envelope)
	if err != nil {
		return head, Alerts{}, err
	}
	if err := alertsBounds().measure(body); err != nil {
		return head, Alerts{}, err
	}
	var alerts Alerts
	if err := json.Unmarshal(body, &alerts); err != nil {
		return head, Alerts{}, reject(ReasonMalformed, "JSON: %v", err)
	}
	return head, alerts, alerts.validate(cluster, head)
}

// bodyOf returns the JSON of a report that cannot be without.
func (d *Decoder) bodyOf(found family, e Envelope) ([]byte, error) {
	if e.Parts == 0 {
		return nil, reject(ReasonMalformed, "the head announces no parts")
	}
	if err := found.exact(e.Parts); err != nil {
		return nil, err
	}
	return d.unframer.Unframe(found.frame(e))
}

func (a *Alerts) validate(cluster string, head AlertsHead) error {
	switch {
	case a.V != head.V:
		return reject(ReasonMalformed, "the body has version %d, the head %d", a.V, head.V)
	case a.Cluster != cluster:
		return reject(ReasonOtherCluster, "it is about cluster %q", a.Cluster)
	case a.Active.Count != head.Firing:
		return reject(ReasonCorrupt, "%d alerts are open, the head says %d", a.Active.Count, head.Firing)
	case len(a.Transitions) > MaxTransitions:
		return reject(ReasonTooLarge, "more than %d transitions", MaxTransitions)
	case len(a.Dropped) > MaxAlertLabels:
		return reject(ReasonTooLarge, "more than %d reasons to drop alerts", MaxAlertLabels)
	}
	for i := range a.Texts {
		if err := a.Texts[i].Validate(); err != nil {
			return fmt.Errorf("text %d: %w", i, err)
		}
	}
	if err := a.validateTransitions(head); err != nil {
		return err
	}
	return a.validateActive(head)
}

// Validate tells whether the text is within the limits. An error wraps fault.Invalid.
func (t *AlertText) Validate() error {
	switch {
	case len(t.Labels) == 0:
		return reject(ReasonMalformed, "no labels")
	case len(t.GeneratorURL) > MaxStringBytes:
		return reject(ReasonTooLarge, "a generatorURL of %d bytes", len(t.GeneratorURL))
	}
	for _, m := range []map[string]string{t.Labels, t.Annotations} {
		bytes := 0
		for k, v := range m {
			if len(k) > MaxStringBytes || len(v) > MaxStringBytes {
				return reject(ReasonTooLarge, "a label of %d bytes is longer than %d", max(len(k), len(v)), MaxStringBytes)
			}
			bytes += len(k) + len(v)
		}
		if len(m) > MaxAlertLabels || bytes > MaxAlertBytes {
			return reject(ReasonTooLarge, "%d labels of %d bytes are more than %d, or than %d", len(m), bytes, MaxAlertLabels, MaxAlertBytes)
		}
	}
	return nil
}

func (e Episode) validate() error {
	switch {
	case !isFingerprint(e.Fingerprint):
		return reject(ReasonMalformed, "fingerprint %q is not 16 lower-case hexadecimal digits", e.Fingerprint)
	case e.Starts <= 0 || e.Starts > lastMilli:
		return reject(ReasonMalformed, "an episode of %s starts at %d", e.Fingerprint, e.Starts)
	}
	return nil
}

func (a *Alerts) validateTransitions(head AlertsHead) error {
	var first, last uint64
	for i := range a.Transitions {
		t := &a.Transitions[i]
		if err := t.validate(len(a.Texts)); err != nil {
			return fmt.Errorf("transition %d: %w", t.Seq, err)
		}
		if i == 0 {
			first = t.First()
		} else if t.First() != last+1 {
			return reject(ReasonMalformed, "transition %d comes after %d", t.First(), last)
		}
		last = t.Seq
	}
	if first != head.First || last != head.Last {
		return reject(ReasonCorrupt, "there are the transitions %d to %d, the head says %d to %d", first, last, head.First, head.Last)
	}
	return nil
}

func (t *Transition) validate(texts int) error {
	switch t.Type {
	case Fired, Resolved, Updated, CompactedTransitions:
	default:
		return reject(ReasonMalformed, "type %q is none of the known ones", t.Type)
	}
	span := t.Seq - t.From + 1
	switch {
	case t.Seq == 0:
		return reject(ReasonMalformed, "no sequence")
	case t.From > t.Seq:
		return reject(ReasonMalformed, "it begins at %d, after its end", t.From)
	case t.Text < 0 || t.Text >= texts:
		return reject(ReasonMalformed, "there is no text %d", t.Text)
	case t.From != 0 && span > 1 && t.Type != CompactedTransitions:
		return reject(ReasonMalformed, "type %q stands for %d sequences", t.Type, span)
	case t.Ends < 0 || t.Ends > lastMilli || t.Observed < 0 || t.Observed > lastMilli:
		return reject(ReasonMalformed, "a time is out of range")
	case t.Type == Resolved && t.Ends == 0, (t.Type == Fired || t.Type == Updated) && t.Ends != 0:
		return reject(ReasonMalformed, "type %q ends at %d", t.Type, t.Ends)
	case len(t.Via) > 32:
		return reject(ReasonMalformed, "via is %d bytes long", len(t.Via))
	}
	return t.Episode.validate()
}

func (a *Alerts) validateActive(head AlertsHead) error {
	s := &a.Active
	for _, end := range []string{s.After, s.Through} {
		if end != "" && !isFingerprint(end) {
			return reject(ReasonMalformed, "the page ends at %q", end)
		}
	}
	previous := s.After
	critical := 0
	for i := range s.Alerts {
		o := &s.Alerts[i]
		if err := o.Episode.validate(); err != nil {
			return fmt.Errorf("open alert %d: %w", i, err)
		}
		switch {
		case o.Fingerprint <= previous, s.Through != "" && o.Fingerprint > s.Through:
			return reject(ReasonMalformed, "open alert %s does not belong after %q and up to %q", o.Fingerprint, previous, s.Through)
		case o.Text < 0 || o.Text >= len(a.Texts):
			return reject(ReasonMalformed, "open alert %s: there is no text %d", o.Fingerprint, o.Text)
		case o.Opened == 0 || o.Opened > head.End:
			return reject(ReasonMalformed, "open alert %s: no transition %d opened it", o.Fingerprint, o.Opened)
		}
		if a.Texts[o.Text].Labels[SeverityLabel] == "critical" {
			critical++
		}
		previous = o.Fingerprint
	}
	switch {
	case len(s.Alerts) > s.Count, critical > head.Critical:
		return reject(ReasonCorrupt, "%d open alerts, %d critical, are more than the head says", len(s.Alerts), critical)
	case !s.Whole():
		return nil
	case len(s.Alerts) != s.Count || critical != head.Critical:
		return reject(ReasonCorrupt, "%d open alerts, %d critical, are not what the head says", len(s.Alerts), critical)
	case ActiveDigest(s.Alerts) != s.SHA256:
		return reject(ReasonCorrupt, "the digest of the open alerts is not %q", s.SHA256)
	}
	return nil
}

// shareTexts replaces labels and annotations by equal ones that are in memory already.
func (in *interner) shareTexts(texts []AlertText) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range texts {
		t := &texts[i]
		t.Labels, t.Annotations, t.GeneratorURL = in.mapping(t.Labels), in.mapping(t.Annotations), in.text(t.GeneratorURL)
	}
}
