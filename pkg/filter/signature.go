package filter

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Signature is what can be said at a glance of the values in a record: a Bloom filter of
// them. When a filter asks for a value that is not in the signature, the record does not
// match, and nothing else of it has to be fetched from memory; which is what a search for
// one of many thousand records takes its time for. About one in a hundred records is
// looked at for nothing.
//
// An index by attribute and value was the alternative. It would answer sooner still, and
// would have to be kept for all attributes of all records with each change.
type Signature [signatureWords]uint64

const (
	signatureWords = 32 // 2048 bits, for some 150 values
	probes         = 3  // bits for each value
)

// hash is that of a path and, in the end, of a value at it (FNV-1a).
type hash uint64

const (
	fnvOffset hash = 14695981039346656037
	fnvPrime  hash = 1099511628211
)

func (h hash) bytes(s string) hash {
	for i := range len(s) {
		h = (h ^ hash(s[i])) * fnvPrime
	}
	return h
}

func (h hash) number(kind byte, n uint64) hash {
	h = (h ^ hash(kind)) * fnvPrime
	for range 8 {
		h = (h ^ hash(n&0xff)) * fnvPrime
		n >>= 8
	}
	return h
}

func (h hash) name(s string) hash { return (h.bytes(s) ^ '/') * fnvPrime }

// The hashes of values. Values that are equal for eq have the same: UUIDs in either case,
// a number however it is written, an instant with any offset.

func (h hash) text(s string) hash {
	if _, ok := parseID(s); ok {
		s = strings.ToLower(s)
	}
	return ((h ^ 't') * fnvPrime).bytes(s)
}

func (h hash) float(f float64) hash {
	return h.number('n', math.Float64bits(f+0)) // there is a negative zero
}

func (h hash) boolean(b bool) hash {
	if b {
		return h.number('b', 1)
	}
	return h.number('b', 0)
}

func (h hash) instant(t time.Time) hash { return h.number('i', uint64(t.UnixNano())) }

// bits yields the places of a value in a signature.
func (h hash) bits(i int) (word int, bit uint64) {
	x := uint64(h)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	place := x >> (11 * i) % (64 * signatureWords)
	return int(place / 64), 1 << (place % 64)
}

func (s *Signature) add(h hash) {
	for i := range probes {
		word, bit := h.bits(i)
		s[word] |= bit
	}
}

func (s *Signature) has(h hash) bool {
	for i := range probes {
		if word, bit := h.bits(i); s[word]&bit == 0 {
			return false
		}
	}
	return true
}

// Sign returns the signature of a record with this view. What shortcuts of Each lead to is
// not in it.
func (s *Schema[R]) Sign(view any) *Signature {
	g := &signer{rows: make(map[hash]bool, len(s.rows))}
	for path := range s.rows {
		names, _ := ParsePath(path) // it was one when the schema was made
		g.rows[pathHash(names)] = true
	}
	g.walk(reflect.ValueOf(view), fnvOffset)
	return &g.signature
}

func pathHash(path []string) hash {
	h := fnvOffset
	for _, name := range path {
		h = h.name(name)
	}
	return h
}

type signer struct {
	rows      map[hash]bool // paths that are left out
	signature Signature
}

func (g *signer) walk(v reflect.Value, h hash) {
	v = concrete(v)
	if !v.IsValid() || g.rows[h] {
		return
	}
	switch t := v.Type(); {
	case t == uuidType:
		g.signature.add(h.text(v.Interface().(uuid.UUID).String()))
	case t == timeType:
		g.signature.add(h.instant(v.Interface().(time.Time)))
	case isArray(t):
		for i := range v.Len() {
			g.walk(v.Index(i), h)
		}
	case t.Kind() == reflect.Struct:
		for _, f := range fieldsOf(t).list {
			if field := v.Field(f.index); !f.omit.omits(field) {
				g.walk(field, h.name(f.name))
			}
		}
	case t == textMapType:
		for name, text := range v.Interface().(map[string]string) {
			g.signature.add(h.name(name).text(text))
		}
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		for i := v.MapRange(); i.Next(); {
			g.walk(i.Value(), h.name(i.Key().String()))
		}
	default:
		g.plain(v, h)
	}
}

func (g *signer) plain(v reflect.Value, h hash) {
	switch kindOf(v.Type()) {
	case textKind:
		g.signature.add(h.text(v.String()))
	case boolKind:
		g.signature.add(h.boolean(v.Bool()))
	case numberKind:
		switch {
		case v.CanInt():
			g.signature.add(h.float(float64(v.Int())))
		case v.CanUint():
			g.signature.add(h.float(float64(v.Uint())))
		default:
			g.signature.add(h.float(v.Float()))
		}
	}
}

// hint is what a term wants to be in a signature: one of some values. nil: it cannot tell.
type hint []hash

// hintOf returns the hint of a term about an attribute.
func (s *Schema[R]) hintOf(t Term, p *predicate) hint {
	if t.Op != Eq && t.Op != In || t.Null || t.Keys {
		return nil
	}
	for n := range t.Path {
		if _, left := s.rows[PathString(t.Path[:n+1])]; left {
			return nil
		}
	}
	h := pathHash(t.Path)
	var wanted hint
	for _, text := range p.texts {
		wanted = append(wanted, h.text(text))
	}
	for _, n := range p.numbers {
		wanted = append(wanted, h.float(n))
	}
	for _, b := range p.bools {
		wanted = append(wanted, h.boolean(b))
	}
	for _, at := range p.times {
		wanted = append(wanted, h.instant(at))
	}
	return wanted
}

// May tells whether a record with this signature can match. It errs on one side only.
func (m *Matcher[R]) May(s *Signature) bool {
	for _, wanted := range m.hints {
		if !slices.ContainsFunc(wanted, s.has) {
			return false
		}
	}
	return true
}
