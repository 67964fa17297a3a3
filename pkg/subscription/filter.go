package subscription

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/filter"
)

// Kinds are the objectTypes of a service in one version: by name, the function that tells
// whether an object has an attribute at a path; see filter.Schema.Check.
type Kinds map[string]func(path []string) error

// The attributes that a subscription's filter has beside those of the object.
const (
	objectType = "objectType"
	eventType  = "notificationEventType"
)

// Matcher tells which events a subscription's filter describes. It never changes.
//
// The filter is a list of alternatives with | between, optionally in [ ]; each is an
// attribute filter. An alternative describes the events of those objectTypes that have
// every attribute it names; objectType itself narrows that down.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, attribute filter of a subscription; its grammar as
// in the O-RAN SC implementation.
type Matcher struct{ alternatives []alternative }

// alternative is one way to be described by a filter.
type alternative struct {
	kinds []string // that it can describe
	about *filter.Matcher[about]
	state *filter.Matcher[any]
}

// about is what a filter knows of an event beside the object.
type about struct {
	ObjectType            string `json:"objectType"`
	NotificationEventType int    `json:"notificationEventType"`
}

var schemas = sync.OnceValue(func() (s struct {
	about *filter.Schema[about]
	state *filter.Schema[any]
}) {
	s.about = filter.NewSchema(func(a about) about { return a })
	s.state = filter.NewSchema(func(state any) any { return state })
	return s
})

// CompileFilter reads a subscription's filter. A filter without any term gives nil. The
// error wraps fault.Invalid and says what is wrong.
func CompileFilter(text string, kinds Kinds) (*Matcher, error) {
	return compileFilter(text, kinds, defaultEventTypes)
}

var defaultEventTypes = []int{0, 1, 2}

func compileFilter(text string, kinds Kinds, types []int) (*Matcher, error) {
	var m Matcher
	for _, part := range alternatives(text) {
		terms, err := filter.Parse(part)
		if err != nil {
			return nil, err
		}
		if len(terms) == 0 {
			continue
		}
		a, err := compileAlternative(terms, kinds, types)
		if err != nil {
			return nil, err
		}
		m.alternatives = append(m.alternatives, a)
	}
	if len(m.alternatives) == 0 {
		return nil, nil
	}
	return &m, nil
}

func compileAlternative(terms filter.Filter, kinds Kinds, types []int) (a alternative, err error) {
	var onEvent, onState filter.Filter
	for _, term := range terms {
		if len(term.Path) == 1 && (term.Path[0] == objectType || term.Path[0] == eventType) {
			onEvent = append(onEvent, term)
		} else {
			onState = append(onState, term)
		}
	}
	if a.about, err = schemas().about.Compile(onEvent); err != nil {
		return alternative{}, err
	}
	if a.state, err = schemas().state.Compile(onState); err != nil {
		return alternative{}, err
	}
	if err := checkKinds(onEvent, kinds); err != nil {
		return alternative{}, err
	}
	var unknown error
	for kind, check := range kinds {
		if !slices.ContainsFunc(types, func(t int) bool { return a.about.Match(about{kind, t}) }) {
			continue
		}
		fits := true
		for _, term := range onState {
			if err := check(term.Path); err != nil {
				unknown, fits = fmt.Errorf("%s: %w", kind, err), false
				break
			}
		}
		if fits {
			a.kinds = append(a.kinds, kind)
		}
	}
	switch {
	case len(a.kinds) > 0:
		return a, nil
	case unknown != nil:
		return alternative{}, unknown
	default:
		return alternative{}, fmt.Errorf("filter %s describes no event at all: %w", terms, fault.Invalid)
	}
}

// checkKinds refuses objectTypes that do not exist: they are misspelled.
func checkKinds(terms filter.Filter, kinds Kinds) error {
	for _, term := range terms {
		if term.Path[0] != objectType || term.Op != filter.Eq && term.Op != filter.Neq && term.Op != filter.In && term.Op != filter.Nin {
			continue
		}
		for _, value := range term.Values {
			if _, known := kinds[value]; !known {
				return fmt.Errorf("filter: there is no objectType %q here: %w", value, fault.Invalid)
			}
		}
	}
	return nil
}

// Match tells whether the filter describes an event.
func (m *Matcher) Match(o *Occurrence) bool {
	return slices.ContainsFunc(m.alternatives, func(a alternative) bool {
		return slices.Contains(a.kinds, o.Kind) && a.about.Match(about{o.Kind, o.Type}) && (a.state.Everything() || a.state.Match(o.object()))
	})
}

// Occurrence is what a filter can look at.
type Occurrence struct {
	Kind  string // objectType
	Type  int    // notificationEventType
	State []byte // JSON of the object after the event; of a deleted one, before

	once    sync.Once
	decoded any
}

// object decodes the state once for all filters.
func (o *Occurrence) object() any {
	o.once.Do(func() {
		if json.Unmarshal(o.State, &o.decoded) != nil {
			o.decoded = nil // has no attributes, then
		}
	})
	return o.decoded
}

// alternatives splits a filter at every | that is not in a term, and leaves out brackets
// and empty terms.
func alternatives(text string) []string {
	var parts []string
	var part strings.Builder
	inTerm, quoted := false, false
	for _, r := range text {
		switch {
		case inTerm && r == '\'':
			quoted = !quoted
		case quoted: // belongs to a value, whatever it is
		case r == '(':
			inTerm = true
		case r == ')':
			inTerm = false
		case inTerm:
		case r == '[' || r == ']':
			continue
		case r == '|':
			parts = append(parts, part.String())
			part.Reset()
			continue
		}
		part.WriteRune(r)
	}
	parts = append(parts, part.String())
	kept := parts[:0]
	for _, p := range parts {
		if p = withoutEmptyTerms(p); p != "" {
			kept = append(kept, p)
		}
	}
	return kept
}

// withoutEmptyTerms leaves out (), and semicolons that separate nothing.
func withoutEmptyTerms(text string) string {
	text = strings.TrimSpace(text)
	for {
		trimmed := strings.Trim(text, "; \t\r\n")
		trimmed = strings.TrimSuffix(strings.TrimPrefix(trimmed, "()"), "()")
		if trimmed == text {
			return text
		}
		text = trimmed
	}
}
