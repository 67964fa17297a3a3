package report

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Stamp says who writes a report, and when.
type Stamp struct {
	Epoch string    // UUID of this run of the agent, lower case
	Now   time.Time // to the second
}

// Update is what one field manager applies: all its entries, for what it leaves out is
// deleted.
type Update struct {
	// Entries are the head and its parts, in order.
	Entries []metav1.Condition

	// Changed is false when the add-on's status has exactly these entries already, so
	// that applying them would write nothing.
	Changed bool
}

// Compose returns the entries for what was encoded, given the conditions that the
// ManagedClusterAddOn has now. Sequence number, times and transitions move only when the
// content or the head's status does; entries that somebody damaged are restored as they
// were.
func (e *Encoder) Compose(current []metav1.Condition, stamp Stamp, encoded Encoded) Update {
	status := metav1.ConditionFalse
	if encoded.reason == HeadReported {
		status = metav1.ConditionTrue
	}
	d := draft{
		kind: KindInventory, fields: encoded.head.fields(), frame: encoded.frame,
		status: status, reason: encoded.reason,
	}
	return d.compose(find(KindInventory, current), stamp, e.unframer)
}

// ComposeCollectFailed returns the entries that say that the cluster's hardware could not
// be read. They keep the body of the last report, when there is one.
func (e *Encoder) ComposeCollectFailed(current []metav1.Condition, stamp Stamp) Update {
	found := find(KindInventory, current)
	d := draft{
		kind: KindInventory, fields: Head{Detail: DetailNone}.fields(), frame: Frame{SHA256: digestOf(nil)},
		status: metav1.ConditionFalse, reason: HeadCollectFailed,
	}
	if head, err := found.parseHead(); err == nil && found.holds(head.Envelope, e.unframer) {
		d.fields, d.frame = head.fields(), found.frame(head.Envelope)
	}
	return d.compose(found, stamp, e.unframer)
}

// ApplyObject is the object of the server-side apply to the status of the add-on of one
// managed cluster. All entries belong to one field manager.
func ApplyObject(cluster string, entries []metav1.Condition) *unstructured.Unstructured {
	conditions := make([]any, len(entries))
	for i, c := range entries {
		conditions[i] = map[string]any{
			"type":               c.Type,
			"status":             string(c.Status),
			"reason":             c.Reason,
			"message":            c.Message,
			"lastTransitionTime": c.LastTransitionTime.UTC().Format(time.RFC3339),
		}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "addon.open-cluster-management.io/v1beta1",
		"kind":       "ManagedClusterAddOn",
		"metadata":   map[string]any{"name": AddOnName, "namespace": cluster},
		"status":     map[string]any{"conditions": conditions},
	}}
}

// draft is a report of any kind before it has a place in the sequence.
type draft struct {
	kind   Kind
	fields []field
	frame  Frame
	status metav1.ConditionStatus
	reason string

	// epochCounts makes a report of another epoch another report, whatever it says.
	epochCounts bool
}

func (d draft) compose(found family, stamp Stamp, u *Unframer) Update {
	now := metav1.NewTime(stamp.Now.UTC().Truncate(time.Second))
	envelope := d.frame.envelope()
	envelope.Epoch, envelope.Seq, envelope.Observed = stamp.Epoch, 1, now.Time
	since := now

	if last, err := found.envelope(); err == nil {
		switch {
		case d.epochCounts && last.Epoch != stamp.Epoch:
		case d.isIn(found) && found.holds(last, u):
			return Update{Entries: found.entries(last.Parts)}
		case d.isIn(found): // damaged parts: the report is the same
			envelope.Epoch, envelope.Seq, envelope.Observed = last.Epoch, last.Seq, last.Observed
			since = found.head.LastTransitionTime
		case last.Epoch == stamp.Epoch:
			envelope.Seq = last.Seq + 1
		}
	}

	entries := make([]metav1.Condition, 0, 1+len(d.frame.Parts))
	entries = append(entries, metav1.Condition{
		Type: d.kind.HeadType(), Status: d.status, Reason: d.reason,
		Message: envelope.print(d.fields), LastTransitionTime: since,
	})
	for i, text := range d.frame.Parts {
		part := metav1.Condition{
			Type: d.kind.PartType(i), Status: metav1.ConditionTrue, Reason: partReason,
			Message: text, LastTransitionTime: now,
		}
		if old := found.parts[i]; old != nil && old.Message == text && !old.LastTransitionTime.IsZero() {
			part.LastTransitionTime = old.LastTransitionTime
		}
		entries = append(entries, part)
	}
	return Update{Entries: entries, Changed: true}
}

// isIn tells whether the head that was found says the same as the draft. How the body was
// compressed makes no difference.
func (d draft) isIn(found family) bool {
	l, err := parseLine(found.head.Message)
	if err != nil || found.head.Status != d.status || found.head.Reason != d.reason {
		return false
	}
	for _, f := range d.fields {
		if l.values[f.key] != f.value {
			return false
		}
	}
	return l.values["sha256"] == d.frame.SHA256 && (l.values["parts"] == "0") == (len(d.frame.Parts) == 0)
}

// family is the head and the parts of one kind among an add-on's conditions.
type family struct {
	kind  Kind
	head  *metav1.Condition
	parts map[int]*metav1.Condition
	twice string // type of a condition that stands there more than once, if there is one
}

func find(kind Kind, conditions []metav1.Condition) family {
	f := family{kind: kind, parts: make(map[int]*metav1.Condition)}
	for i := range conditions {
		c := &conditions[i]
		if c.Type == kind.HeadType() {
			if f.head != nil {
				f.twice = c.Type
			}
			f.head = c
			continue
		}
		index, ours := kind.partIndex(c.Type)
		if !ours || index < 0 {
			continue
		}
		if _, again := f.parts[index]; again {
			f.twice = c.Type
		}
		f.parts[index] = c
	}
	return f
}

func (f family) envelope() (Envelope, error) {
	l, err := f.line()
	if err != nil {
		return Envelope{}, err
	}
	e := l.envelope()
	return e, l.err()
}

func (f family) line() (*line, error) {
	if f.head == nil {
		return nil, reject(ReasonMalformed, "no condition %s", f.kind.HeadType())
	}
	return parseLine(f.head.Message)
}

func (f family) parseHead() (Head, error) {
	if f.head == nil {
		return Head{}, reject(ReasonMalformed, "no condition %s", f.kind.HeadType())
	}
	return ParseHead(f.head.Message)
}

// exact tells whether the parts that the head announces are there, each once. Others are
// passed over: an apply does not remove what somebody else wrote, so if they counted, a
// slip of another writer would silence a cluster until a person notices. The digest tells
// whether the announced ones are the right ones.
func (f family) exact(parts int) error {
	if f.twice != "" {
		return reject(ReasonMalformed, "condition %s stands there twice", f.twice)
	}
	for i := range min(parts, MaxParts+1) {
		if f.parts[i] == nil {
			return reject(ReasonMalformed, "part %d of %d is missing", i, parts)
		}
	}
	return nil
}

// frame is what the conditions hold, as far as it goes.
func (f family) frame(e Envelope) Frame {
	frame := Frame{Raw: e.Raw, Bytes: e.Bytes, SHA256: e.SHA256}
	for i := range min(e.Parts, MaxParts+1) {
		if part := f.parts[i]; part != nil {
			frame.Parts = append(frame.Parts, part.Message)
		}
	}
	return frame
}

// holds tells whether the body that the head announces is there and whole.
func (f family) holds(e Envelope, u *Unframer) bool {
	if f.exact(e.Parts) != nil {
		return false
	}
	for i := range e.Parts {
		if part := f.parts[i]; part.Status != metav1.ConditionTrue || part.Reason != partReason {
			return false
		}
	}
	if e.Parts == 0 {
		return true
	}
	_, err := u.Unframe(f.frame(e))
	return err == nil
}

func (f family) entries(parts int) []metav1.Condition {
	entries := make([]metav1.Condition, 0, 1+parts)
	entries = append(entries, *f.head)
	for i := range parts {
		entries = append(entries, *f.parts[i])
	}
	return entries
}
