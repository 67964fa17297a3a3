package filter

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
)

// predicate is what a term asks of a value. The values of the term are parsed when it is
// made, in every way in which they may be meant.
type predicate struct {
	op      Op   // positive; see Op.positive
	negated bool // the term holds when no value satisfies op
	exists  bool // instead of op: there is a value
	keys    bool // the values are the keys of the object
	kind    kind // of the attribute

	texts   []string
	uuids   []string    // those of texts that are UUIDs
	ids     []uuid.UUID // the same
	numbers []float64   // those of texts that are numbers
	bools   []bool
	times   []time.Time
}

// newPredicate parses the values of a term for an attribute. Values that an attribute of
// its kind cannot have, and operators that make no sense with it, are the client's fault.
func newPredicate(t Term, a attribute) (*predicate, error) {
	p := &predicate{texts: t.Values, keys: t.Keys, kind: a.kind}
	p.op, p.negated = t.Op.positive()
	switch {
	case t.Keys && a.kind != objectKind && a.kind != anyKind:
		return nil, unfit(t, "has no keys")
	case t.Null:
		p.exists, p.negated = true, !p.negated // equal to null means that there is none
		return p, nil
	case t.Keys:
		p.kind = textKind
	}
	p.parse()
	return p, p.check(t)
}

func (p *predicate) parse() {
	for _, text := range p.texts {
		if id, ok := parseID(text); ok {
			p.uuids, p.ids = append(p.uuids, text), append(p.ids, id)
		}
		if n, ok := parseNumber(text); ok {
			p.numbers = append(p.numbers, n)
		}
		if text == "true" || text == "false" {
			p.bools = append(p.bools, text == "true")
		}
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			p.times = append(p.times, t)
		}
	}
	if p.kind == idKind {
		p.texts = slices.Clone(p.texts)
		for i := range p.texts {
			p.texts[i] = strings.ToLower(p.texts[i])
		}
	}
}

// check tells whether the term fits an attribute of its kind.
func (p *predicate) check(t Term) error {
	ordering := p.op == Gt || p.op == Gte || p.op == Lt || p.op == Lte
	want, have := "", len(p.texts)
	switch p.kind {
	case objectKind:
		return unfit(t, "is an object: name one of its attributes, or "+keysName)
	case numberKind:
		want, have = "a number", len(p.numbers)
	case boolKind:
		want, have = "true or false", len(p.bools)
	case timeKind:
		want, have = "an RFC 3339 time", len(p.times)
	}
	switch {
	case p.op == Cont && p.kind == timeKind: // of its text
		return nil
	case want != "" && p.op == Cont, p.kind == boolKind && ordering:
		return unfit(t, fmt.Sprintf("is %s: operator %s makes no sense with it", want, t.Op))
	case have < len(p.texts):
		return unfit(t, "needs "+want+" as a value")
	}
	return nil
}

func unfit(t Term, why string) error {
	return fmt.Errorf("filter: attribute %q %s: %w", clip(t.path()), why, fault.Invalid)
}

func parseID(s string) (uuid.UUID, bool) {
	if len(s) != len("262c8f17-52b5-4614-9e56-812ae21fa8a7") { // uuid.Parse takes urn:uuid: and braces, too
		return uuid.UUID{}, false
	}
	id, err := uuid.Parse(s)
	return id, err == nil
}

// parseNumber reads a number as JSON has them.
func parseNumber(s string) (float64, bool) {
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil && !math.IsInf(n, 0)
}

// ordered tells whether a value that compares so with the value of the term satisfies op.
func (p *predicate) ordered(compared int) bool {
	switch p.op {
	case Gt:
		return compared > 0
	case Gte:
		return compared >= 0
	case Lt:
		return compared < 0
	case Lte:
		return compared <= 0
	default:
		return false
	}
}

// text tells whether a text satisfies op. UUIDs are equal in either case.
func (p *predicate) text(s string) bool {
	switch {
	case p.exists:
		return true
	case p.op == Eq || p.op == In:
		return slices.Contains(p.texts, s) ||
			slices.ContainsFunc(p.uuids, func(id string) bool { return len(id) == len(s) && strings.EqualFold(id, s) })
	case p.op == Cont:
		return slices.ContainsFunc(p.texts, func(part string) bool { return strings.Contains(s, part) })
	case p.kind == anyKind && len(p.times) > 0:
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return p.ordered(t.Compare(p.times[0]))
		}
	}
	return p.ordered(strings.Compare(s, p.texts[0]))
}

func (p *predicate) id(id uuid.UUID) bool {
	switch {
	case p.exists:
		return true
	case p.op == Eq || p.op == In:
		return slices.Contains(p.ids, id)
	default:
		return p.text(id.String())
	}
}

func (p *predicate) number(n float64) bool {
	switch {
	case p.exists:
		return true
	case p.op == Eq || p.op == In:
		return slices.Contains(p.numbers, n)
	default:
		return len(p.numbers) > 0 && p.ordered(cmp.Compare(n, p.numbers[0]))
	}
}

func (p *predicate) boolean(b bool) bool {
	return p.exists || (p.op == Eq || p.op == In) && slices.Contains(p.bools, b)
}

func (p *predicate) instant(t time.Time) bool {
	switch {
	case p.exists:
		return true
	case p.op == Eq || p.op == In:
		return slices.ContainsFunc(p.times, t.Equal)
	case p.op == Cont:
		return p.text(t.Format(time.RFC3339Nano))
	default:
		return len(p.times) > 0 && p.ordered(t.Compare(p.times[0]))
	}
}

// value tells whether a plain value satisfies op. An object never does; it can only be.
func (p *predicate) value(v reflect.Value) bool {
	switch v.Type() {
	case uuidType:
		return p.id(v.Interface().(uuid.UUID))
	case timeType:
		return p.instant(v.Interface().(time.Time))
	}
	switch v.Kind() {
	case reflect.String:
		return p.text(v.String())
	case reflect.Bool:
		return p.boolean(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return p.number(float64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return p.number(float64(v.Uint()))
	case reflect.Float32, reflect.Float64:
		return p.number(v.Float())
	case reflect.Map:
		return p.exists && v.Len() > 0
	case reflect.Struct:
		return p.exists
	default:
		return false
	}
}

// key tells whether one of the names in an object satisfies op.
func (p *predicate) key(v reflect.Value) bool {
	switch {
	case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		for i := v.MapRange(); i.Next(); {
			if p.text(i.Key().String()) {
				return true
			}
		}
	case isObject(v.Type()):
		return slices.ContainsFunc(fieldsOf(v.Type()).list, func(f field) bool {
			return !f.omit.omits(v.Field(f.index)) && p.text(f.name)
		})
	}
	return false
}

// found tells whether one of the values that a path leads to satisfies op.
func (p *predicate) found(v reflect.Value, path []hop) bool {
	for {
		v = concrete(v)
		switch {
		case !v.IsValid():
			return false
		case isArray(v.Type()):
			for i := range v.Len() {
				if p.found(v.Index(i), path) {
					return true
				}
			}
			return false
		case len(path) == 0 && p.keys:
			return p.key(v)
		case len(path) == 0:
			return p.value(v)
		case len(path) == 1 && !p.keys && v.Type() == textMapType: // labels: worth a short cut
			s, has := v.Interface().(map[string]string)[path[0].name]
			return has && p.text(s)
		}
		v, path = path[0].from(v), path[1:]
	}
}

var textMapType = reflect.TypeFor[map[string]string]()

// concrete returns what pointers and interfaces lead to; invalid when that is nil.
func concrete(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

// hop is one name of a path, prepared.
type hop struct {
	name string
	key  reflect.Value // the same, for maps

	owner reflect.Type // the struct in which the name is expected; nil: no struct
	field field
}

// hopsOf prepares a path through values of type t, which may be nil.
func hopsOf(t reflect.Type, path []string) []hop {
	hops := make([]hop, len(path))
	for i, name := range path {
		hops[i] = hop{name: name, key: reflect.ValueOf(name)}
		for t != nil && (t.Kind() == reflect.Pointer || isArray(t)) {
			t = t.Elem()
		}
		switch {
		case t == nil:
		case t.Kind() == reflect.Map:
			t = t.Elem()
		case isObject(t):
			hops[i].owner = t
			hops[i].field = fieldsOf(t).byName[name]
			t = hops[i].field.typ
		default:
			t = nil
		}
	}
	return hops
}

// from returns the attribute of an object; invalid when it has none.
func (h *hop) from(v reflect.Value) reflect.Value {
	switch {
	case v.Kind() == reflect.Map:
		if key := v.Type().Key(); key.Kind() != reflect.String {
			return reflect.Value{}
		} else if key != h.key.Type() {
			return v.MapIndex(h.key.Convert(key))
		}
		return v.MapIndex(h.key)
	case !isObject(v.Type()):
		return reflect.Value{}
	}
	f, known := h.field, h.field.typ != nil
	if v.Type() != h.owner {
		f, known = fieldsOf(v.Type()).byName[h.name]
	}
	if !known {
		return reflect.Value{}
	}
	if v = v.Field(f.index); f.omit.omits(v) {
		return reflect.Value{}
	}
	return v
}
