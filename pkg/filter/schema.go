package filter

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Schema is what is known of the attributes of records of type R. It never changes and is
// safe for concurrent use.
//
// The attributes are those of the JSON of R's view, by these rules: a struct is an object
// with the attributes that its json tags name; a map is an object in which any name is
// valid; a slice is an array; an interface may hold anything. A struct in a field with the
// tag o2:"open" is an object in which any name is valid, and so are all below it: what
// the standard declares as a free-form map is that even where we know what we put there.
type Schema[R any] struct {
	view      reflect.Type
	build     func(R) reflect.Value
	shortcuts map[string]fetch[R] // by path
	rows      map[string]rows[R]  // likewise
	entries   map[string]func(R, string) reflect.Value
}

// Shortcut fetches one attribute without making the whole view; see At, Entry and Each.
type Shortcut[R any] struct {
	path  string
	typ   reflect.Type // of the attribute; for Each, of its elements
	fetch fetch[R]
	rows  rows[R]
}

// rows is a way to the elements of an array. It returns what tells whether one of them
// matches a filter.
type rows[R any] func(f Filter) (some func(R) bool, err error)

// fetch is a way to an attribute: one of the functions is set.
type fetch[R any] struct {
	text  func(R) string
	id    func(R) uuid.UUID
	value func(R) reflect.Value
	entry func(R, string) reflect.Value // of a map: what is there under a name
}

// NewSchema returns the schema of records whose view is made by view. It panics when a
// shortcut names an attribute that the view does not have, or has with another type: that
// is a fault in the program.
func NewSchema[R, V any](view func(R) V, shortcuts ...Shortcut[R]) *Schema[R] {
	s := &Schema[R]{
		view:      reflect.TypeFor[V](),
		build:     func(r R) reflect.Value { return reflect.ValueOf(view(r)) },
		shortcuts: make(map[string]fetch[R]),
		rows:      make(map[string]rows[R]),
		entries:   make(map[string]func(R, string) reflect.Value),
	}
	for _, c := range shortcuts {
		path, err := c.check(s.view)
		if err != nil {
			panic(fmt.Sprintf("filter: shortcut to %s as %v: %v", c.path, c.typ, err))
		}
		switch {
		case c.rows != nil:
			s.rows[path] = c.rows
		case c.fetch.entry != nil:
			s.entries[path] = c.fetch.entry
		default:
			s.shortcuts[path] = c.fetch
		}
	}
	return s
}

// check tells whether a shortcut leads to what a view has at its path.
func (c Shortcut[R]) check(view reflect.Type) (path string, err error) {
	names, err := ParsePath(c.path)
	if err != nil {
		return "", err
	}
	a, err := resolve(view, names)
	if err != nil {
		return "", err
	}
	typ := a.typ
	switch {
	case typ == nil, c.rows == nil && c.fetch.entry == nil:
	case c.rows != nil && isArray(indirect(typ)):
		typ = indirect(indirect(typ).Elem())
	case c.fetch.entry != nil && typ.Kind() == reflect.Map:
		typ = typ.Elem()
	default:
		typ = nil
	}
	if typ != c.typ || len(a.arrays) > 0 {
		return "", fmt.Errorf("the view has a %v, %d arrays deep", a.typ, len(a.arrays))
	}
	return PathString(names), nil
}

// At is a shortcut to the attribute at a path. get must return what the view has there; it
// is called once for each record and term. Attributes below the path are reached from
// what it returns.
func At[R, T any](path string, get func(R) T) Shortcut[R] {
	c := Shortcut[R]{path: path, typ: reflect.TypeFor[T]()}
	switch get := any(get).(type) {
	case func(R) string:
		c.fetch.text = get
	case func(R) uuid.UUID:
		c.fetch.id = get
	}
	c.fetch.value = func(r R) reflect.Value { return reflect.ValueOf(get(r)) }
	return c
}

// Entry is a shortcut to the entries of the map at a path. get returns the one with a name.
func Entry[R, T any](path string, get func(r R, name string) (entry T, found bool)) Shortcut[R] {
	return Shortcut[R]{path: path, typ: reflect.TypeFor[T](), fetch: fetch[R]{entry: func(r R, name string) reflect.Value {
		v, found := get(r, name)
		if !found {
			return reflect.Value{}
		}
		return reflect.ValueOf(v)
	}}}
}

// Each is a shortcut to the elements of the array of objects at a path, whose view is that
// of the elements in the view. list calls yield with each until that returns false.
func Each[R, E any](path string, list func(r R, yield func(E) bool), elements *Schema[E]) Shortcut[R] {
	return Shortcut[R]{path: path, typ: elements.view, rows: func(f Filter) (func(R) bool, error) {
		m, err := elements.Compile(f)
		if err != nil {
			return nil, err
		}
		return func(r R) (found bool) {
			list(r, func(e E) bool {
				found = m.Match(e)
				return !found
			})
			return found
		}, nil
	}}
}

// Check tells whether records may have an attribute at this path. The error wraps
// fault.Invalid and names the path.
func (s *Schema[R]) Check(path []string) error {
	_, err := resolve(s.view, path)
	return err
}

// nearest returns the shortest way from a record to the attribute at a path, and the names
// that are still to go from there. The zero fetch stands for the view.
func (s *Schema[R]) nearest(path []string) (from fetch[R], rest []string) {
	for n := len(path); n > 0; n-- {
		at := PathString(path[:n])
		if entry, ok := s.entries[at]; ok && n < len(path) {
			name := path[n]
			return fetch[R]{value: func(r R) reflect.Value { return entry(r, name) }}, path[n+1:]
		}
		if f, ok := s.shortcuts[at]; ok {
			return f, path[n:]
		}
	}
	return fetch[R]{value: s.build}, path
}

// kind is what a value is to an operator.
type kind int

const (
	anyKind kind = iota // what it is shows in each record
	textKind
	numberKind
	boolKind
	timeKind
	idKind
	objectKind
)

// attribute is what a path leads to.
type attribute struct {
	typ    reflect.Type // of the attribute itself; nil below something that may hold anything
	kind   kind         // of its values: those of its elements, where it is an array
	omit   omission     // when it counts as absent
	arrays []int        // how many names lead to each array of objects that the path crosses
	open   bool         // any name is valid below
}

var (
	timeType = reflect.TypeFor[time.Time]()
	uuidType = reflect.TypeFor[uuid.UUID]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

// resolve finds what a path leads to in values of a type.
func resolve(t reflect.Type, path []string) (attribute, error) {
	a := attribute{typ: t}
	for i, name := range path {
		if t != nil {
			t = indirect(t)
		}
		for t != nil && isArray(t) {
			if i > 0 {
				a.arrays = append(a.arrays, i)
			}
			t = indirect(t.Elem())
		}
		a.omit = never
		switch {
		case t == nil || t.Kind() == reflect.Interface:
			t = nil
		case t.Kind() == reflect.Map:
			t, a.open = t.Elem(), true
		case isObject(t):
			f, known := fieldsOf(t).byName[name]
			switch {
			case known:
				t, a.omit, a.open = f.typ, f.omit, a.open || f.open
			case a.open:
				t = nil
			default:
				return a, fmt.Errorf("attribute %q is not known: %w", clip(PathString(path[:i+1])), fault.Invalid)
			}
		case a.open:
			t = nil
		default:
			return a, fmt.Errorf("attribute %q has no attributes, so not %q: %w", clip(PathString(path[:i])), clip(name), fault.Invalid)
		}
		a.typ = t
	}
	a.kind = kindOf(t)
	return a, nil
}

// indirect returns what a pointer type points to.
func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// isArray tells whether JSON has an array for values of the type.
func isArray(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t != rawType || t.Kind() == reflect.Array && t != uuidType
}

func isObject(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != timeType }

// kindOf is the kind of the values of an attribute of type t.
func kindOf(t reflect.Type) kind {
	if t == nil {
		return anyKind
	}
	t = indirect(t)
	for isArray(t) {
		t = indirect(t.Elem())
	}
	switch t {
	case timeType:
		return timeKind
	case uuidType:
		return idKind
	case rawType:
		return objectKind
	}
	switch t.Kind() {
	case reflect.String:
		return textKind
	case reflect.Bool:
		return boolKind
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return numberKind
	case reflect.Struct, reflect.Map:
		return objectKind
	default:
		return anyKind
	}
}

// omission is when encoding/json leaves a field out.
type omission int

const (
	never omission = iota
	whenEmpty
	whenZero
)

// omits tells whether a value is left out.
func (o omission) omits(v reflect.Value) bool {
	switch {
	case o == never:
		return false
	case o == whenZero:
		return v.IsZero()
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String, reflect.Array:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

// field is one attribute of a struct.
type field struct {
	name  string
	index int
	typ   reflect.Type
	omit  omission
	open  bool
}

// fields are the attributes of a struct.
type fields struct {
	list   []field // in the order in which they are encoded
	byName map[string]field
}

// known remembers fields by type; it grows to the number of types that there are.
var known sync.Map // reflect.Type to *fields

func fieldsOf(t reflect.Type) *fields {
	if f, ok := known.Load(t); ok {
		return f.(*fields)
	}
	f := &fields{byName: make(map[string]field)}
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if !sf.IsExported() || name == "-" && options == "" {
			continue
		}
		if name == "" {
			name = sf.Name
		}
		a := field{name: name, index: i, typ: sf.Type, open: sf.Tag.Get("o2") == "open"}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty":
				a.omit = whenEmpty
			case "omitzero":
				a.omit = whenZero
			}
		}
		f.list = append(f.list, a)
		f.byName[name] = a
	}
	known.Store(t, f)
	return f
}
