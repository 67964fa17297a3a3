package conformance

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// term is one term of a filter, as it is meant and not as it is written.
type term struct {
	op     string
	path   []string
	values []string
	null   bool // the value is JSON's null, not a text
}

// keysOf as the last name of a path stands for the names in the object there.
const keysOf = "@key"

// positive are the operators that the negative ones negate.
var positive = map[string]string{"neq": "eq", "nin": "in", "ncont": "cont"}

// write is the term as a filter has it. Values that need no quotes have none, unless quote
// wants them for all.
func (t term) write(quote bool) string {
	parts := []string{t.op, joined(t.path)}
	for _, v := range t.values {
		if !t.null && (quote || v == "" || v == "null" || strings.ContainsAny(v, ",()';") || strings.TrimSpace(v) != v) {
			v = "'" + strings.ReplaceAll(v, "'", "''") + "'"
		}
		parts = append(parts, v)
	}
	return "(" + strings.Join(parts, ",") + ")"
}

// write joins terms to a filter.
func write(quote bool, terms ...term) string {
	parts := make([]string, len(terms))
	for i, t := range terms {
		parts[i] = t.write(quote)
	}
	return strings.Join(parts, ";")
}

// errNotSimple is what the oracle says of a filter whose path ends at an object: whether that
// is an error depends on what the server knows of the type.
var errNotSimple = errors.New("the path ends at an object")

// matches tells whether a record satisfies all terms: the query language a second time, from
// the standard and not from the product.
//
// Source: SOL013 5.2; SOL013 5.2 and 6.3.
func matches(r record, terms ...term) (bool, error) { return satisfies(r, terms) }

// satisfies tells whether the value satisfies terms whose paths begin at it.
func satisfies(v any, terms []term) (bool, error) {
	if array, ok := v.([]any); ok {
		return inArray(array, terms)
	}
	byName := map[string][]term{}
	for _, t := range terms {
		if len(t.path) == 0 {
			if ok, err := leaf(v, t); !ok || err != nil {
				return false, err
			}
			continue
		}
		if t.path[0] == keysOf {
			if ok, err := keys(v, t); !ok || err != nil {
				return false, err
			}
			continue
		}
		rest := t
		rest.path = t.path[1:]
		byName[t.path[0]] = append(byName[t.path[0]], rest)
	}
	object, _ := v.(record) // of anything else nothing is there
	for name, group := range byName {
		if ok, err := satisfies(object[name], group); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// inArray tells whether an array satisfies terms: one element must satisfy all that are
// positive, and none the positive form of one that is negative.
func inArray(array []any, terms []term) (bool, error) {
	var together []term
	for _, t := range terms {
		op, negative := positive[t.op]
		if !negative {
			together = append(together, t)
			continue
		}
		t.op = op
		if ok, err := some(array, []term{t}); ok || err != nil {
			return false, err
		}
	}
	if together == nil {
		return true, nil
	}
	return some(array, together)
}

func some(array []any, terms []term) (bool, error) {
	for _, element := range array {
		if ok, err := satisfies(element, terms); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func keys(v any, t term) (bool, error) {
	object, _ := v.(record)
	var names []any
	for name := range object {
		names = append(names, name)
	}
	t.path = nil
	return inArray(names, []term{t})
}

// leaf compares one attribute.
func leaf(v any, t term) (bool, error) {
	if op, negative := positive[t.op]; negative {
		t.op = op
		ok, err := leaf(v, t)
		return !ok, err
	}
	if t.null {
		return v == nil, nil
	}
	switch v := v.(type) {
	case nil:
		return false, nil
	case record:
		if len(v) == 0 {
			return false, nil // as absent
		}
		return false, errNotSimple
	}
	for _, value := range t.values {
		if compares(v, t.op, value) {
			return true, nil
		}
	}
	return false, nil
}

// compares compares a scalar with one value.
func compares(v any, op, value string) bool {
	switch v := v.(type) {
	case bool:
		return (op == "eq" || op == "in") && strconv.FormatBool(v) == value
	case json.Number:
		a, errA := v.Float64()
		b, errB := strconv.ParseFloat(value, 64)
		switch {
		case errA != nil || errB != nil:
			return false
		case a < b:
			return ordered(op, -1)
		case a > b:
			return ordered(op, 1)
		}
		return ordered(op, 0)
	case string:
		if op == "cont" {
			return strings.Contains(v, value)
		}
		return ordered(op, compareTexts(v, value))
	}
	return false
}

func ordered(op string, order int) bool {
	switch op {
	case "eq", "in":
		return order == 0
	case "gt":
		return order > 0
	case "gte":
		return order >= 0
	case "lt":
		return order < 0
	case "lte":
		return order <= 0
	}
	return false
}

// compareTexts compares as instants what are instants, without regard to case what are UUIDs.
func compareTexts(a, b string) int {
	if ta, err := time.Parse(time.RFC3339Nano, a); err == nil {
		if tb, err := time.Parse(time.RFC3339Nano, b); err == nil {
			return ta.Compare(tb)
		}
	}
	if isUUID(a) && isUUID(b) {
		a, b = strings.ToLower(a), strings.ToLower(b)
	}
	return strings.Compare(a, b)
}

func isUUID(s string) bool {
	_, err := uuid.Parse(s)
	return err == nil && len(s) == 36
}
