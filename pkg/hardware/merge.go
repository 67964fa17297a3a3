package hardware

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Merge makes one machine of what several sources say about it, attribute by attribute.
//
// The best-ranked source that knows an attribute sets it; nothing is ever overwritten
// with an absent value. Where two sources know a scalar and differ, the loser's value
// is listed in Conflicts. Elements of different sources are the same thing when they
// share class and slot, PCI address, MAC address, WWN or serial number.
//
// Name is taken from name; Key is left to the caller, who remembers it.
func Merge(name string, observations []Observation) Machine {
	observations = slices.Clone(observations)
	slices.SortStableFunc(observations, func(a, b Observation) int {
		return cmp.Compare(rank(standing, a.Source), rank(standing, b.Source))
	})

	m := Machine{Name: name}
	servers := make([]sourced, len(observations))
	for i, o := range observations {
		servers[i] = sourced{o.Source, reflect.ValueOf(o.Machine.Server)}
		if o.Err != "" || len(o.Missing) > 0 {
			missing := slices.Clone(o.Missing)
			slices.Sort(missing)
			m.Sources = append(m.Sources, SourceState{Name: o.Source, Error: o.Err, Missing: missing})
		}
	}
	mg := merger{prov: provenance{}}
	mg.merge("server", reflect.ValueOf(&m.Server).Elem(), servers)
	for _, g := range groupElements(observations) {
		element := Element{}
		mg.merge(g.path(), reflect.ValueOf(&element).Elem(), g.values())
		element.Class, element.Slot, element.Parent = g.class, g.slot, g.parent
		m.Elements = append(m.Elements, element)
	}

	m.Prov, m.Conflicts = mg.prov.compact(), mg.conflicts
	slices.SortFunc(m.Elements, func(a, b Element) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Slot, b.Slot))
	})
	slices.SortFunc(m.Conflicts, func(a, b Conflict) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Source, b.Source))
	})
	slices.SortFunc(m.Sources, func(a, b SourceState) int { return cmp.Compare(a.Name, b.Name) })
	return m
}

// Rankings of sources, best first. A source that a ranking does not name comes after
// those it does.
var (
	// standing is the general order: who looked at the hardware itself comes first.
	standing = []string{"override", "redfish", "smbios", "probe", "metal3", "sriov", "gpu", "dra", "nfd", "node"}

	// live is for what changes while the machine runs: the running kernel knows best.
	live = []string{"override", "probe", "sriov", "metal3", "redfish", "smbios"}

	// accelerators is for an accelerator's make: its vendor's own operator knows best.
	accelerators = []string{"override", "dra", "gpu", "sriov", "probe"}

	// cluster is for the machine's role in its cluster.
	cluster = []string{"override", "node"}
)

// liveAttributes are those to which the live ranking applies.
var liveAttributes = []string{"cpus", "driver", "port.link", "port.speedMbps", "port.mtu", "port.name", "sriov.num"}

func ranking(scope, attribute string) []string {
	class, _, _ := strings.Cut(scope, "|")
	switch {
	case strings.HasPrefix(attribute, "node."), strings.HasPrefix(attribute, "os."):
		return cluster
	case class == string(Accelerator) && (attribute == "model" || attribute == "vendor"):
		return accelerators
	case slices.Contains(liveAttributes, attribute):
		return live
	default:
		return standing
	}
}

func rank(order []string, source string) int {
	if i := slices.Index(order, source); i >= 0 {
		return i
	}
	return len(order)
}

// sourced is a value together with the name of the source that said it.
type sourced struct {
	source string
	value  reflect.Value
}

// merger keeps the books of a merge: who set what, and who disagreed.
type merger struct {
	scope     string // the server or element at hand, as provenance names it
	prov      provenance
	conflicts []Conflict
}

// merge sets dst, a server or an element, from the values, all of dst's type.
func (m *merger) merge(scope string, dst reflect.Value, values []sourced) {
	m.scope = scope
	m.mergeStruct("", dst, values)
}

// mergeStruct merges structs and pointers to structs field by field, and takes
// everything else whole.
func (m *merger) mergeStruct(prefix string, dst reflect.Value, values []sourced) {
	t := dst.Type()
	for i := range t.NumField() {
		said := make([]sourced, 0, len(values))
		for _, v := range values {
			if f := v.value.Field(i); !f.IsZero() {
				said = append(said, sourced{v.source, f})
			}
		}
		if len(said) == 0 {
			continue
		}
		attribute := prefix + jsonName(t.Field(i))
		target := dst.Field(i)
		if target.Kind() == reflect.Pointer && target.Type().Elem().Kind() == reflect.Struct {
			target.Set(reflect.New(target.Type().Elem()))
			for j := range said {
				said[j].value = said[j].value.Elem()
			}
			m.mergeStruct(attribute+".", target.Elem(), said)
			continue
		}
		m.mergeLeaf(attribute, target, said)
	}
}

func (m *merger) mergeLeaf(attribute string, dst reflect.Value, said []sourced) {
	order := ranking(m.scope, attribute)
	best := slices.MinFunc(said, func(a, b sourced) int {
		return cmp.Compare(rank(order, a.source), rank(order, b.source))
	})
	dst.Set(best.value)
	m.prov.set(m.scope, attribute, SourceLetters[best.source])
	for _, s := range said {
		if isScalar(dst) && s.source != best.source && !sameValue(s.value, best.value) {
			m.conflicts = append(m.conflicts, Conflict{
				Path: m.scope + "." + attribute, Kept: text(best.value), Winner: best.source,
				Other: text(s.value), Source: s.source,
			})
		}
	}
}

// isScalar tells whether a difference between two values is worth reporting: lists
// and maps of different sources differ in scope rather than in fact.
func isScalar(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return false
	default:
		return true
	}
}

func sameValue(a, b reflect.Value) bool {
	return strings.EqualFold(strings.Join(strings.Fields(text(a)), " "), strings.Join(strings.Fields(text(b)), " "))
}

func text(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return fmt.Sprint(v.Interface())
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// elementGroup is what the sources say about one element.
type elementGroup struct {
	class   Class
	slot    string // as the best source names it
	parent  string
	sources []string
	members []Element
}

func (g *elementGroup) path() string { return string(g.class) + "|" + g.slot }

func (g *elementGroup) values() []sourced {
	values := make([]sourced, len(g.members))
	for i := range g.members {
		e := g.members[i]
		e.Class, e.Slot, e.Parent = "", "", "" // the group's own; not an attribute that a source sets
		values[i] = sourced{g.sources[i], reflect.ValueOf(e)}
	}
	return values
}

// groupElements finds out which elements of which sources are the same thing. The
// observations are in ascending order of rank, so the first one names the slot.
func groupElements(observations []Observation) []*elementGroup {
	var groups []*elementGroup
	byMark := map[string]*elementGroup{}
	taken := map[string]bool{}   // paths of groups
	slots := map[string]string{} // source and "class|slot" as it says → "class|slot" of the group
	for _, o := range observations {
		for _, e := range o.Machine.Elements {
			g := findGroup(byMark, o.Source, e)
			if g == nil {
				g = &elementGroup{class: e.Class, slot: freeSlot(taken, e)}
				groups = append(groups, g)
				taken[g.path()] = true
			}
			g.sources = append(g.sources, o.Source)
			g.members = append(g.members, e)
			for _, mark := range marks(e) {
				if byMark[mark] == nil {
					byMark[mark] = g
				}
			}
			slots[o.Source+" "+string(e.Class)+"|"+e.Slot] = g.path()
		}
	}
	for _, g := range groups {
		for i, e := range g.members {
			if g.parent == "" && e.Parent != "" {
				g.parent = cmp.Or(slots[g.sources[i]+" "+e.Parent], e.Parent)
			}
		}
	}
	return dropAggregateMemory(groups)
}

// freeSlot keeps class and slot unique within the machine, whatever a source says.
func freeSlot(taken map[string]bool, e Element) string {
	slot := e.Slot
	for n := 2; taken[string(e.Class)+"|"+slot]; n++ {
		slot = fmt.Sprintf("%s#%d", e.Slot, n)
	}
	return slot
}

// findGroup never puts two elements of one source into one group: a source that lists
// two things means two things.
func findGroup(byMark map[string]*elementGroup, source string, e Element) *elementGroup {
	for _, mark := range marks(e) {
		if g := byMark[mark]; g != nil && !slices.Contains(g.sources, source) {
			return g
		}
	}
	return nil
}

// marks are the texts by which an element can be recognised, the surest first.
func marks(e Element) []string {
	class := string(e.Class) + " "
	list := []string{class + "slot " + e.Slot}
	if e.PCI != nil && e.PCI.Address != "" && e.Class != Adapter {
		list = append(list, class+"pci "+e.PCI.Address)
	}
	if e.Port != nil && e.Port.MAC != "" {
		list = append(list, class+"mac "+strings.ToLower(e.Port.MAC))
	}
	if e.Disk != nil && e.Disk.WWN != "" {
		list = append(list, class+"wwn "+strings.ToLower(e.Disk.WWN))
	}
	if validSerial(e.Serial) {
		list = append(list, class+"serial "+e.Serial)
	}
	return list
}

// TotalMemorySlot is the slot of the one memory element that stands for all memory
// while no source can tell the modules apart.
const TotalMemorySlot = "total"

func dropAggregateMemory(groups []*elementGroup) []*elementGroup {
	modules := slices.ContainsFunc(groups, func(g *elementGroup) bool {
		return g.class == Memory && g.slot != TotalMemorySlot
	})
	if !modules {
		return groups
	}
	return slices.DeleteFunc(groups, func(g *elementGroup) bool {
		return g.class == Memory && g.slot == TotalMemorySlot
	})
}
