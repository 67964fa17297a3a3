package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// kind names the type of a JSON value, with its article.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	default:
		return "an object"
	}
}

// visit calls f for every value in v, with its path. Elements of arrays have the path of
// their array.
func visit(v any, path []string, f func(path []string, v any)) {
	f(path, v)
	switch v := v.(type) {
	case record:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			visit(v[name], append(slices.Clone(path), name), f)
		}
	case []any:
		for _, element := range v {
			visit(element, path, f)
		}
	}
}

// canonical is the JSON of v with sorted keys.
func canonical(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v) // cannot be: v came from JSON
	}
	return string(b)
}

// text returns a string attribute of a record.
func text(r record, name string) string {
	s, _ := r[name].(string)
	return s
}

// texts returns an attribute that is an array of strings.
func texts(r record, name string) []string {
	array, _ := r[name].([]any)
	list := make([]string, 0, len(array))
	for _, element := range array {
		if s, ok := element.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// objects returns an attribute that is an array of objects.
func objects(r record, name string) []record {
	array, _ := r[name].([]any)
	var list []record
	for _, element := range array {
		if o, ok := element.(record); ok {
			list = append(list, o)
		}
	}
	return list
}

// ids returns the values of one attribute of many records, in their order.
func ids(list []record, key string) []string {
	all := make([]string, len(list))
	for i, r := range list {
		all[i] = text(r, key)
	}
	return all
}

// find returns the record with this value.
func find(list []record, key, value string) (record, bool) {
	for _, r := range list {
		if text(r, key) == value {
			return r, true
		}
	}
	return nil, false
}

// lacks returns those of these attributes that a record does not have.
func lacks(r record, names ...string) []string {
	var missing []string
	for _, name := range names {
		if _, there := r[name]; !there {
			missing = append(missing, name)
		}
	}
	return missing
}

var uuidForm = regexp.MustCompile("^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")

// goodUUID tells whether s is the text of a UUID as the standard writes it, and not the nil UUID.
func goodUUID(s string) bool { return uuidForm.MatchString(s) && s != uuid.Nil.String() }

// unknownID is a UUID that no server has: it is new each time.
func unknownID() string { return uuid.NewString() }

// escapes are those of SOL013 5.2.
var escapes = strings.NewReplacer("~", "~0", "/", "~1", ",", "~a", "@", "~b")

// joined is a path as filters and selectors write it.
func joined(path []string) string {
	escaped := make([]string, len(path))
	for i, name := range path {
		if name == keysOf {
			escaped[i] = name
			continue
		}
		escaped[i] = escapes.Replace(name)
	}
	return strings.Join(escaped, "/")
}
