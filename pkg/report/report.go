// Package report is the protocol between the agent on a managed cluster and the hub: how
// an inventory travels in the status conditions of a ManagedClusterAddOn.
//
// A report is a head, one line of key=value that a person can read, and parts, which hold
// the canonical JSON, compressed with zstd and cut into texts that fit a condition:
//
//	o2ims.open-cluster-management.io/Inventory    v=1 epoch=… seq=7 … sha256=…
//	o2ims.open-cluster-management.io/Inventory.0  KLUv/QRYpF0A…
//
// Head and parts are one server-side apply, so they are never torn; the digest, which is
// that of the JSON and not of the compressed bytes, shows foreign edits. The hub answers
// in a condition of its own, InventoryIngested.
//
// Both ends are bounded. The writer drops detail in a declared order until the report
// fits, and says so. The reader trusts nothing: it checks lengths before it allocates and
// the shape of the JSON before it builds values from it, because one managed cluster must
// not be able to harm the others.
//
// Turned down: a ConfigMap or a resource of our own per cluster (more objects, more
// watches, and a second thing that can disagree with the first), annotations (clusteradm
// wipes them), protobuf and a shared dictionary (`base64 -d | zstd -d | jq` must do).
package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// Prefix is the domain under which our conditions, labels and annotations live.
const Prefix = "o2ims.open-cluster-management.io"

// AddOnName is the name of the add-on, and so of every ManagedClusterAddOn that carries
// our reports.
const AddOnName = "o2ims"

// Version is the schema version that is written. A reader takes it and the one before.
const Version = 1

// Limits of the writer and of the reader.
const (
	// PartChars is the length of every part but the last: what the schema of a
	// condition allows for a message. It is a multiple of four, so each part is
	// base64 that can be decoded alone.
	PartChars = 32768

	// MaxParts is how many parts the reader accepts.
	MaxParts = 24

	// MaxRawBytes is how long the JSON may be, before compression.
	MaxRawBytes = 16 << 20

	// MaxNodes is how many machines one report may have.
	MaxNodes = 10_000

	// MaxElementsPerNode is how many elements one machine may have.
	MaxElementsPerNode = 4096

	// MaxElements is how many elements all machines of a report may have together.
	MaxElements = 131_072

	// MaxStringBytes is how long one text within a report may be.
	MaxStringBytes = 4096

	// maxValues bounds everything that can become an allocation when the JSON is
	// decoded, whatever it is.
	maxValues = 2_000_000

	maxDepth = 16
)

// Kind names what a report is about. It is the name of the head's condition after the
// prefix.
type Kind string

// The kinds of report.
const (
	KindInventory Kind = "Inventory"
	KindAlerts    Kind = "Alerts"
	KindRules     Kind = "Rules"
)

// Field managers, one for each set of conditions that is applied together.
const (
	FieldManagerInventory    = "o2ims-agent-inventory"
	FieldManagerAlerts       = "o2ims-agent-alerts"
	FieldManagerRules        = "o2ims-agent-rules"
	FieldManagerHubInventory = "o2ims-hub-inventory"
	FieldManagerHubAlerts    = "o2ims-hub-alerts"
)

// Parts that the writer uses at most, for each kind. For inventories it is the default of
// --max-report-parts.
const (
	DefaultInventoryParts = 16
	AlertParts            = 4
	RuleParts             = 8
)

// HeadType is the type of the head's condition.
func (k Kind) HeadType() string { return Prefix + "/" + string(k) }

// PartType is the type of the condition of part i, counted from 0.
func (k Kind) PartType(i int) string { return k.HeadType() + "." + strconv.Itoa(i) }

// Has tells whether a condition of this type is a head or a part of this kind.
func (k Kind) Has(conditionType string) bool {
	_, part := k.partIndex(conditionType)
	return part || conditionType == k.HeadType()
}

// partIndex tells which part a condition type names. ours is true for every type in the
// family of this kind's parts, index is negative when it is no proper one.
func (k Kind) partIndex(conditionType string) (index int, ours bool) {
	suffix, ours := strings.CutPrefix(conditionType, k.HeadType()+".")
	if !ours {
		return 0, false
	}
	n, err := strconv.Atoi(suffix)
	if err != nil || n < 0 || strconv.Itoa(n) != suffix {
		return -1, true
	}
	return n, true
}

// Inventory is the body of an inventory report: the machines of one managed cluster. Its
// fields stand in the order of their JSON names; see pkg/hardware.
type Inventory struct {
	// Cluster is the name of the managed cluster, which is also the namespace of its
	// ManagedClusterAddOn on the hub.
	Cluster string `json:"cluster"`

	// Nodes are the machines, in ascending order of name.
	Nodes []hardware.Machine `json:"nodes"`

	// V is the schema version.
	V int `json:"v"`
}

// Resources counts the servers and their elements.
func (inv Inventory) Resources() int {
	n := len(inv.Nodes)
	for i := range inv.Nodes {
		n += len(inv.Nodes[i].Elements)
	}
	return n
}

// Canonical is the JSON of inv whose digest identifies the report: keys and lists in
// order, no white space, and `<`, `>` and `&` as they are, so that `jq -cS` prints the
// same bytes.
func (inv Inventory) Canonical() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(inv.ordered()); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// ordered is inv with its lists in their declared order, leaving the caller's as they are.
func (inv Inventory) ordered() Inventory {
	inv.Nodes = sorted(inv.Nodes, func(a, b hardware.Machine) int { return cmp.Compare(a.Name, b.Name) })
	ours := false // whether the list of nodes is a copy
	for i := range inv.Nodes {
		elements := sorted(inv.Nodes[i].Elements, compareElements)
		if len(elements) == 0 || &elements[0] == &inv.Nodes[i].Elements[0] {
			continue
		}
		if !ours {
			inv.Nodes, ours = slices.Clone(inv.Nodes), true
		}
		inv.Nodes[i].Elements = elements
	}
	if inv.Nodes == nil {
		inv.Nodes = []hardware.Machine{}
	}
	return inv
}

func compareElements(a, b hardware.Element) int {
	return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Slot, b.Slot))
}

// sorted returns list when it is in order already, else a sorted copy.
func sorted[T any](list []T, compare func(a, b T) int) []T {
	if slices.IsSortedFunc(list, compare) {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, compare)
	return list
}
