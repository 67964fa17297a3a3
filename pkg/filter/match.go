package filter

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Matcher tells which records match a filter. It never changes and is safe for concurrent use.
type Matcher[R any] struct {
	filter     Filter
	conditions []condition[R]
	groups     []rootGroup[R]
	alone      []condition[R] // one for each term, by itself
	together   []bool         // which of them are in a group
	hints      []hint
}

// condition is a term about one record.
type condition[R any] struct {
	from fetch[R]
	path []hop
	omit omission     // of the attribute, where from leads right to it
	some func(R) bool // instead of from and path: whether there is a value as op wants it
	*predicate
}

// rootGroup are the terms that one element of an array must satisfy together.
type rootGroup[R any] struct {
	from  fetch[R]
	path  []hop
	block block
	some  func(R) bool // instead
}

func (g *rootGroup[R]) match(r R) bool {
	if g.some != nil {
		return g.some(r)
	}
	return g.block.some(g.from.value(r), g.path)
}

// Compile prepares a filter. An error wraps fault.Invalid and names the attribute.
func (s *Schema[R]) Compile(f Filter) (*Matcher[R], error) {
	m := &Matcher[R]{filter: f}
	terms := make([]bound, len(f))
	for i, t := range f {
		a, err := resolve(s.view, t.Path)
		if err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
		p, err := newPredicate(t, a)
		if err != nil {
			return nil, err
		}
		terms[i] = bound{term: t, attribute: a, predicate: p}
		c, err := s.condition(terms[i])
		if err != nil {
			return nil, err
		}
		m.alone = append(m.alone, c)
		if wanted := s.hintOf(t, p); wanted != nil {
			m.hints = append(m.hints, wanted)
		}
	}
	var err error
	single, groups := partition(terms)
	m.together = slices.Repeat([]bool{true}, len(f))
	for _, i := range single {
		m.conditions = append(m.conditions, m.alone[i])
		m.together[i] = false
	}
	for _, g := range groups {
		prefix := g[0].prefix()
		from, rest := s.nearest(prefix)
		a, _ := resolve(s.view, prefix) // a path that led through it resolved
		group := rootGroup[R]{from: from, path: hopsOf(s.typeAt(prefix, rest), rest), block: newBlock(a.typ, g)}
		if each, ok := s.rows[PathString(prefix)]; ok {
			if group.some, err = each(below(len(prefix), group.block.terms...)); err != nil {
				return nil, err
			}
		}
		m.groups = append(m.groups, group)
	}
	return m, nil
}

// below are terms as they look from an array to which n names of their paths lead.
func below(n int, terms ...Term) Filter {
	f := slices.Clone(terms)
	for i := range f {
		f[i].Path = f[i].Path[n:]
	}
	return f
}

// condition prepares a term that needs no others.
func (s *Schema[R]) condition(b bound) (condition[R], error) {
	c := condition[R]{predicate: b.predicate, omit: b.attribute.omit}
	from, rest := s.nearest(b.term.Path)
	c.from, c.path = from, hopsOf(s.typeAt(b.term.Path, rest), rest)
	if n := b.next(); n > 0 {
		if each, ok := s.rows[PathString(b.term.Path[:n])]; ok {
			var err error
			c.some, err = each(below(n, b.term.positive()))
			return c, err
		}
	}
	return c, nil
}

// typeAt returns the type of the attribute from which rest, the end of a path, goes on.
func (s *Schema[R]) typeAt(path, rest []string) reflect.Type {
	a, err := resolve(s.view, path[:len(path)-len(rest)])
	if err != nil {
		return nil
	}
	return a.typ
}

// Match tells whether a record matches.
func (m *Matcher[R]) Match(r R) bool {
	for i := range m.conditions {
		if !m.conditions[i].match(r) {
			return false
		}
	}
	for i := range m.groups {
		if !m.groups[i].match(r) {
			return false
		}
	}
	return true
}

// Everything tells whether the filter has no terms.
func (m *Matcher[R]) Everything() bool { return len(m.filter) == 0 }

// String prints the filter.
func (m *Matcher[R]) String() string { return m.filter.String() }

func (c *condition[R]) match(r R) bool {
	var found bool
	switch {
	case c.some != nil:
		found = c.some(r)
	case len(c.path) > 0 || c.from.text == nil && c.from.id == nil:
		v := c.from.value(r)
		found = (len(c.path) > 0 || v.IsValid() && !c.omit.omits(v)) && c.found(v, c.path)
	case c.from.text != nil:
		s := c.from.text(r)
		found = (s != "" || c.omit == never) && c.text(s)
	default:
		id := c.from.id(r)
		found = (id != uuid.UUID{} || c.omit != whenZero) && c.predicate.id(id)
	}
	return found != c.negated
}

// Exact returns the texts of which the attribute at path must be one for a record to match,
// when the filter says so: an index can then find the records.
func (m *Matcher[R]) Exact(path ...string) (values []string, ok bool) {
	for _, t := range m.filter {
		if (t.Op == Eq || t.Op == In) && !t.Null && !t.Keys && slices.Equal(t.Path, path) {
			return t.Values, true
		}
	}
	return nil, false
}

// Reason is why a record does not match.
type Reason struct {
	Term string   // as it could be written
	Have []string // the values that the record has, at most ten; empty when it has none
}

// Explain returns the first term that a record does not satisfy, or nil when it matches.
func (m *Matcher[R]) Explain(r R) *Reason {
	for i := range m.alone {
		c := &m.alone[i]
		if m.together[i] && c.negated {
			continue // by itself it would be about all elements
		}
		if !c.match(r) {
			return &Reason{m.filter[i].String(), c.values(r)}
		}
	}
	for i := range m.groups {
		if g := &m.groups[i]; !g.match(r) {
			return &Reason{Term: g.block.terms.String() + " by one element of the array"}
		}
	}
	return nil
}

// values returns what a record has where the condition looks.
func (c *condition[R]) values(r R) []string {
	const most = 10
	have := []string{}
	collect(c.from.value(r), c.path, c.keys, func(text string) bool {
		have = append(have, text)
		return len(have) < most
	})
	return have
}

// collect prints the values that a path leads to.
func collect(v reflect.Value, path []hop, keys bool, yield func(string) bool) bool {
	v = concrete(v)
	switch {
	case !v.IsValid():
		return true
	case isArray(v.Type()):
		for i := range v.Len() {
			if !collect(v.Index(i), path, keys, yield) {
				return false
			}
		}
		return true
	case len(path) > 0:
		return collect(path[0].from(v), path[1:], keys, yield)
	case keys && v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			if !yield(key.String()) {
				return false
			}
		}
		return true
	case keys:
		for _, f := range fieldsOf(v.Type()).list {
			if !f.omit.omits(v.Field(f.index)) && !yield(f.name) {
				return false
			}
		}
		return true
	default:
		return yield(printed(v))
	}
}

// printed is a plain value as a filter would write it.
func printed(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Time:
		return x.Format(time.RFC3339Nano)
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case fmt.Stringer:
		return clip(x.String())
	}
	if v.Kind() == reflect.Map || v.Kind() == reflect.Struct {
		return "an object"
	}
	return clip(fmt.Sprint(v.Interface()))
}

// bound is a term with what it is about. offset is how many names of its path are behind
// us, on the way into arrays of arrays.
type bound struct {
	term      Term
	attribute attribute
	predicate *predicate
	offset    int
}

// next returns how many names lead to the next array of objects on the path, or 0.
func (b bound) next() int {
	for _, n := range b.attribute.arrays {
		if n > b.offset {
			return n
		}
	}
	return 0
}

// prefix is the path to the next array.
func (b bound) prefix() []string { return b.term.Path[b.offset:b.next()] }

// partition tells which terms can be judged by themselves, and which together: several that
// cross the same array, of which one at least is positive. (Negative ones alone ask that
// no element satisfies the positive, each for itself.)
func partition(terms []bound) (single []int, groups [][]bound) {
	byArray := make(map[string][]int)
	var order []string
	for i, b := range terms {
		if b.next() == 0 {
			single = append(single, i)
			continue
		}
		key := PathString(b.prefix())
		if byArray[key] == nil {
			order = append(order, key)
		}
		byArray[key] = append(byArray[key], i)
	}
	for _, key := range order {
		members := byArray[key]
		if len(members) == 1 || !slices.ContainsFunc(members, func(i int) bool { return !terms[i].predicate.negated }) {
			single = append(single, members...)
			continue
		}
		group := make([]bound, len(members))
		for n, i := range members {
			group[n] = terms[i]
		}
		groups = append(groups, group)
	}
	return single, groups
}

// block are the conditions that one element must satisfy.
type block struct {
	terms      Filter
	conditions []inner
	groups     []innerGroup
}

type inner struct {
	path []hop
	*predicate
}

type innerGroup struct {
	path  []hop
	block block
}

// newBlock prepares the terms for the elements of an array of type t.
func newBlock(t reflect.Type, terms []bound) block {
	for t != nil && (t.Kind() == reflect.Pointer || isArray(t)) {
		t = t.Elem()
	}
	var b block
	for i := range terms {
		b.terms = append(b.terms, terms[i].term)
		terms[i].offset = terms[i].next()
	}
	single, groups := partition(terms)
	for _, i := range single {
		b.conditions = append(b.conditions, inner{hopsOf(t, terms[i].term.Path[terms[i].offset:]), terms[i].predicate})
	}
	for _, g := range groups {
		prefix := g[0].prefix()
		path := hopsOf(t, prefix)
		a, _ := resolve(t, prefix) // a path that led through it resolved
		b.groups = append(b.groups, innerGroup{path, newBlock(a.typ, g)})
	}
	return b
}

// match tells whether one element satisfies all.
func (b *block) match(v reflect.Value) bool {
	for i := range b.conditions {
		if c := &b.conditions[i]; c.found(v, c.path) == c.negated {
			return false
		}
	}
	for i := range b.groups {
		if g := &b.groups[i]; !g.block.some(v, g.path) {
			return false
		}
	}
	return true
}

// some tells whether an element of the array at a path satisfies all.
func (b *block) some(v reflect.Value, path []hop) bool {
	for v = concrete(v); len(path) > 0 && v.IsValid(); path = path[1:] {
		v = concrete(path[0].from(v))
	}
	if !v.IsValid() || !isArray(v.Type()) {
		return false
	}
	for i := range v.Len() {
		if b.match(v.Index(i)) {
			return true
		}
	}
	return false
}
