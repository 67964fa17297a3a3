package report

import (
	"encoding/json"
	"fmt"
	"hash/maphash"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
)

// Report is an inventory report that passed every check.
type Report struct {
	Head      Head
	Inventory Inventory

	// Reason is the reason of the head's condition. HeadCollectFailed means that the
	// inventory is what it was before reading failed.
	Reason string
}

// Decoder reads reports. One Decoder serves a whole hub: what reports have in common is
// kept in memory once. It is safe for concurrent use.
type Decoder struct {
	unframer *Unframer
	interner *interner
}

// NewDecoder returns a Decoder.
func NewDecoder() (*Decoder, error) {
	u, err := NewUnframer(0)
	if err != nil {
		return nil, err
	}
	return &Decoder{unframer: u, interner: newInterner()}, nil
}

// Decode reads the inventory report of a managed cluster from the conditions of its
// add-on. What the result points to may be shared with other results: read it only.
//
// Without any report the error wraps fault.NotFound. A report whose agent had nothing to
// send wraps fault.Unavailable, every other fault fault.Invalid; ReasonOf tells more. With
// an error, the result has the head at most, if that could be read.
func (d *Decoder) Decode(cluster string, conditions []metav1.Condition) (Report, error) {
	head, reason, body, err := d.body(cluster, conditions)
	if err != nil {
		return Report{Head: head}, err
	}
	rep := Report{Head: head, Reason: reason}
	if rep.Inventory, err = decodeInventory(body); err == nil {
		err = rep.validate(cluster)
	}
	if err != nil {
		return Report{Head: head}, fmt.Errorf("inventory report of %s: %w", cluster, err)
	}
	d.interner.share(&rep.Inventory)
	return rep, nil
}

// Body returns the head and the JSON of a report, checked against the head but not
// understood.
func (d *Decoder) Body(cluster string, conditions []metav1.Condition) (Head, []byte, error) {
	head, _, body, err := d.body(cluster, conditions)
	return head, body, err
}

func (d *Decoder) body(cluster string, conditions []metav1.Condition) (head Head, reason string, body []byte, err error) {
	found := find(KindInventory, conditions)
	if found.head == nil && len(found.parts) == 0 {
		return Head{}, "", nil, fmt.Errorf("inventory report of %s: %w", cluster, fault.NotFound)
	}
	head, err = found.parseHead()
	if err == nil {
		err = found.exact(head.Parts)
	}
	if err == nil && head.Parts == 0 {
		err = bodiless(found.head.Reason, head)
	}
	if err == nil {
		body, err = d.unframer.Unframe(found.frame(head.Envelope))
	}
	if err != nil {
		return head, "", nil, fmt.Errorf("inventory report of %s: %w", cluster, err)
	}
	return head, found.head.Reason, body, nil
}

// bodiless says why a head stands alone.
func bodiless(reason string, h Head) error {
	switch reason {
	case HeadTooLarge:
		return &rejection{ReasonTooLarge, fault.Unavailable, fmt.Sprintf("%d nodes do not fit into a report", h.Nodes)}
	case HeadCollectFailed:
		return &rejection{ReasonCollectFailed, fault.Unavailable, "the agent could not read the hardware"}
	}
	return reject(ReasonMalformed, "the head announces no parts, but its reason is %q", reason)
}

// Fingerprint tells whether two lists of conditions hold the same inventory report, byte by
// byte, without reading it. It is good within one process and for one seed.
func Fingerprint(seed maphash.Seed, conditions []metav1.Condition) uint64 {
	return KindInventory.Fingerprint(seed, conditions)
}

// Fingerprint is like the function of this name, for a report of any kind.
func (k Kind) Fingerprint(seed maphash.Seed, conditions []metav1.Condition) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for i := range conditions {
		c := &conditions[i]
		if !k.Has(c.Type) {
			continue
		}
		for _, text := range []string{c.Type, string(c.Status), c.Reason, c.Message} {
			h.WriteString(text)
			h.WriteByte(0)
		}
	}
	return h.Sum64()
}

func decodeInventory(body []byte) (Inventory, error) {
	if err := measure(body); err != nil {
		return Inventory{}, err
	}
	var inv Inventory
	if err := json.Unmarshal(body, &inv); err != nil {
		return Inventory{}, reject(ReasonMalformed, "JSON: %v", err)
	}
	return inv, nil
}

// validate checks what the JSON says, where measure has checked its size.
func (r Report) validate(cluster string) error {
	inv := r.Inventory
	switch {
	case inv.V != r.Head.V:
		return reject(ReasonMalformed, "the body has version %d, the head %d", inv.V, r.Head.V)
	case inv.Cluster != cluster:
		return reject(ReasonOtherCluster, "it is about cluster %q", inv.Cluster)
	case len(inv.Nodes) != r.Head.Nodes:
		return reject(ReasonCorrupt, "there are %d nodes, the head says %d", len(inv.Nodes), r.Head.Nodes)
	case inv.Resources() != r.Head.Resources:
		return reject(ReasonCorrupt, "there are %d resources, the head says %d", inv.Resources(), r.Head.Resources)
	}
	names := make(map[string]bool, len(inv.Nodes))
	keys := make(map[string]bool, len(inv.Nodes))
	for i := range inv.Nodes {
		m := &inv.Nodes[i]
		switch {
		case m.Name == "":
			return reject(ReasonMalformed, "node %d has no name", i)
		case m.Key == "":
			return reject(ReasonMalformed, "node %q has no key", m.Name)
		case names[m.Name]:
			return reject(ReasonDuplicateIdentity, "node %q stands there twice", m.Name)
		case keys[m.Key]:
			return reject(ReasonDuplicateIdentity, "node %q has a key that another node has: %q", m.Name, m.Key)
		}
		names[m.Name], keys[m.Key] = true, true
		if err := validateElements(m); err != nil {
			return err
		}
	}
	return nil
}

func validateElements(m *hardware.Machine) error {
	type place struct {
		class hardware.Class
		slot  string
	}
	seen := make(map[place]bool, len(m.Elements))
	for i := range m.Elements {
		e := &m.Elements[i]
		p := place{e.Class, e.Slot}
		switch {
		case e.Class == "" || e.Slot == "":
			return reject(ReasonMalformed, "element %d of node %q has no class or no slot", i, m.Name)
		case seen[p]:
			return reject(ReasonDuplicateIdentity, "element %s|%s of node %q stands there twice", e.Class, e.Slot, m.Name)
		}
		seen[p] = true
	}
	return nil
}
