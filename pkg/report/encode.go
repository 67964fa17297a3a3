package report

import "fmt"

// Reasons of the head's condition.
const (
	HeadReported      = "Reported"      // status True: everything the agent knows
	HeadDetailReduced = "DetailReduced" // status False: detail= says what is left out
	HeadTooLarge      = "TooLarge"      // status False: only counts; no body
	HeadCollectFailed = "CollectFailed" // status False: the body, if any, is the last good one
)

// partReason is the reason of the condition of every part.
const partReason = "Data"

// Encoded is an inventory ready to be written; see Compose.
type Encoded struct {
	frame  Frame
	head   Head // without epoch, seq and observed, which Compose decides
	reason string
}

// Head is the head without epoch, seq and observed.
func (e Encoded) Head() Head {
	h := e.head
	h.Envelope = e.frame.envelope()
	return h
}

// Reason is the reason of the head's condition.
func (e Encoded) Reason() string { return e.reason }

// Encoder turns inventories into reports of at most maxParts parts.
type Encoder struct {
	unframer *Unframer // looks at what the condition holds already
	maxParts int
}

// NewEncoder returns an Encoder. maxParts lies between 1 and MaxParts, which is what the
// hub reads.
func NewEncoder(maxParts int) (*Encoder, error) {
	if maxParts < 1 || maxParts > MaxParts {
		return nil, fmt.Errorf("parts of a report: %d is not between 1 and %d", maxParts, MaxParts)
	}
	unframer, err := NewUnframer(1)
	if err != nil {
		return nil, err
	}
	return &Encoder{unframer: unframer, maxParts: maxParts}, nil
}

// Encode makes a report of inv with as much detail as fits. When not even the bare
// servers fit, the result has no body and counts only.
func (e *Encoder) Encode(inv Inventory) (Encoded, error) {
	inv.V = Version
	inv = inv.ordered()
	full, err := e.attempt(inv, DetailFull)
	if err != nil || full.reason == HeadReported {
		return full, err
	}
	reduced := inv
	for _, s := range steps() {
		reduced = s.apply(reduced)
		got, err := e.attempt(reduced, s.to)
		if err != nil || got.reason != HeadTooLarge {
			return got, err
		}
	}
	return full, nil
}

// attempt encodes inv at one level of detail. A report that does not fit comes back
// without a body.
func (e *Encoder) attempt(inv Inventory, detail Detail) (Encoded, error) {
	body, err := inv.Canonical()
	if err != nil {
		return Encoded{}, fmt.Errorf("inventory of %s: %w", inv.Cluster, err)
	}
	tooLarge := Encoded{
		frame:  Frame{Raw: len(body), SHA256: digestOf(body)},
		head:   headOf(inv, DetailNone),
		reason: HeadTooLarge,
	}
	if len(body) > MaxRawBytes || measure(body) != nil {
		return tooLarge, nil
	}
	frame, err := NewFrame(body)
	switch {
	case err != nil:
		return Encoded{}, fmt.Errorf("inventory of %s: %w", inv.Cluster, err)
	case len(frame.Parts) > e.maxParts:
		return tooLarge, nil
	case detail == DetailFull:
		return Encoded{frame: frame, head: headOf(inv, detail), reason: HeadReported}, nil
	}
	return Encoded{frame: frame, head: headOf(inv, detail), reason: HeadDetailReduced}, nil
}

func headOf(inv Inventory, detail Detail) Head {
	return Head{Nodes: len(inv.Nodes), Resources: inv.Resources(), Detail: detail}
}
