package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
)

// Explanation tells where each attribute of a resource comes from.
type Explanation struct {
	ID      uuid.UUID `json:"resourceId"`
	Cluster string    `json:"cluster"`
	Node    string    `json:"node"`
	What    string    `json:"what"` // "server", or class and slot of an element: "port|0000:01:00.0"

	Attributes []Attribute            `json:"attributes"`          // in ascending order of path
	Conflicts  []hardware.Conflict    `json:"conflicts,omitempty"` // those of this resource
	Sources    []hardware.SourceState `json:"sources,omitempty"`   // sources that had trouble on this node
}

// Attribute is one value of a resource and the source that set it.
type Attribute struct {
	Path   string `json:"path"`   // such as "server.bios.vendor" or "port|0000:01:00.0.port.mac"
	Value  string `json:"value"`  // lists as JSON
	Source string `json:"source"` // name of the source; empty when the report does not tell
}

// Explain finds the server or element with this resourceId and lists its attributes. An
// error wraps fault.NotFound. A machine that two clusters claim is found here by its own
// resourceId only, not by the one under which the hub shows the lesser claim: that needs
// the hub's view of both.
func Explain(inv Inventory, id uuid.UUID) (Explanation, error) {
	for i := range inv.Nodes {
		m := &inv.Nodes[i]
		server := hardware.ServerID(m.Key)
		if server == id {
			return explain(inv.Cluster, m, id, "server", "server", m.Server)
		}
		for _, e := range m.Elements {
			if hardware.ElementID(server, e.Class, e.Slot) == id {
				return explain(inv.Cluster, m, id, string(e.Class)+"|"+e.Slot, string(e.Class), e)
			}
		}
	}
	return Explanation{}, fmt.Errorf("resource %s in the report of %s: %w", id, inv.Cluster, fault.NotFound)
}

// explain lists the attributes of part, whose paths begin with name; provenance may also
// be given for the whole class.
func explain(cluster string, m *hardware.Machine, id uuid.UUID, name, class string, part any) (Explanation, error) {
	tree, err := toTree(part)
	if err != nil {
		return Explanation{}, fmt.Errorf("resource %s: %w", id, err)
	}
	prov := provenanceOf(m.Prov, name, class)
	x := Explanation{ID: id, Cluster: cluster, Node: m.Name, What: name, Sources: m.Sources}
	flatten(name, tree, func(path, value string) {
		x.Attributes = append(x.Attributes, Attribute{Path: path, Value: value, Source: nameOf(hardware.SourceOf(prov, path))})
	})
	slices.SortFunc(x.Attributes, func(a, b Attribute) int { return strings.Compare(a.Path, b.Path) })
	for _, c := range m.Conflicts {
		if under(c.Path, name) {
			x.Conflicts = append(x.Conflicts, c)
		}
	}
	return x, nil
}

// provenanceOf are the entries that are about one resource: itself, what lies below it, or
// its whole class. A slot may hold dots, so an entry for another slot could look like a
// prefix of this one's path.
func provenanceOf(prov map[string]string, name, class string) map[string]string {
	ours := make(map[string]string)
	for path, letter := range prov {
		if path == class || under(path, name) {
			ours[path] = letter
		}
	}
	return ours
}

// nameOf is the name of the source for which a letter stands. A letter that a newer agent
// has introduced stands for itself.
func nameOf(letter string) string {
	for source, l := range hardware.SourceLetters {
		if l == letter {
			return source
		}
	}
	return letter
}

// under tells whether path is prefix itself or lies below it.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '.')
}

func toTree(part any) (any, error) {
	text, err := json.Marshal(part)
	if err != nil {
		return nil, err
	}
	var tree any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err = dec.Decode(&tree)
	return tree, err
}

// flatten visits the leaves of a tree of JSON. A list of plain values is one leaf.
func flatten(path string, tree any, visit func(path, value string)) {
	switch t := tree.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(t)) {
			flatten(path+"."+key, t[key], visit)
		}
	case []any:
		if len(t) > 0 {
			if _, objects := t[0].(map[string]any); objects {
				for i, item := range t {
					flatten(path+"."+strconv.Itoa(i), item, visit)
				}
				return
			}
		}
		text, _ := json.Marshal(t) // it came from JSON
		visit(path, string(text))
	default:
		visit(path, fmt.Sprint(t))
	}
}
