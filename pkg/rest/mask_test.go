package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/filter"
)

const maskedRecord = `{"id":"1","name":"a \"b\\","n":-1.5e3,"open":{"a":1,"b":{"c":[1,{"d":2,"e":"}"}],"f":null},"x/y":"z"},"list":[{"k":"p","v":[]},{"k":"q","v":[{"w":true}]}],"tags":["x","]"],"empty":{}}`

func TestSelection(t *testing.T) {
	attributes := Attributes{
		Optional:  []string{"n", "list", "tags", "empty"},
		Emptied:   []string{"open"},
		ByDefault: []string{"n"},
		OnDemand:  []string{"list"},
		Deep:      []string{"list"},
	}
	const id, name, open = `"id":"1"`, `"name":"a \"b\\"`, `"open":{"a":1,"b":{"c":[1,{"d":2,"e":"}"}],"f":null},"x/y":"z"}`
	const n, list, tags, empty = `"n":-1.5e3`, `"list":[{"k":"p","v":[]},{"k":"q","v":[{"w":true}]}]`, `"tags":["x","]"]`, `"empty":{}`
	for _, tc := range []struct {
		query string
		want  []string // of a record in a list
		deep  bool
		alone []string // of a record by itself; nil: the same
	}{
		{"", []string{id, name, open, tags, empty}, false, []string{maskedRecord}},
		{"exclude_default", []string{id, name, open, tags, empty}, false, []string{maskedRecord}},
		{"all_fields", []string{maskedRecord}, true, nil},
		{"all_fields&fields=n&exclude_fields=tags", []string{maskedRecord}, true, nil},
		{"fields=", []string{id, name, open, tags, empty}, false, []string{maskedRecord}},
		{"fields=n", []string{id, name, n, `"open":{}`}, false, nil},
		{"fields=name", []string{id, name, `"open":{}`}, false, nil},
		{"fields=open", []string{id, name, open}, false, nil},
		{"fields=open,list,tags,n,empty", []string{maskedRecord}, true, nil},
		{"fields=open/b/c", []string{id, name, `"open":{"b":{"c":[1,{"d":2,"e":"}"}]}}`}, false, nil},
		{"fields=open/b/c/d", []string{id, name, `"open":{"b":{"c":[{"d":2}]}}`}, false, nil},
		{"fields=open/b,open/b/c", []string{id, name, `"open":{"b":{"c":[1,{"d":2,"e":"}"}],"f":null}}`}, false, nil},
		{"fields=open/b/c,open/b", []string{id, name, `"open":{"b":{"c":[1,{"d":2,"e":"}"}],"f":null}}`}, false, nil},
		{"fields=open/a,open/x~1y", []string{id, name, `"open":{"a":1,"x/y":"z"}`}, false, nil},
		{"fields=open/a/deeper", []string{id, name, `"open":{}`}, false, nil},
		{"fields=list/k", []string{id, name, `"open":{}`, `"list":[{"k":"p"},{"k":"q"}]`}, true, nil},
		{"fields=list/v/w", []string{id, name, `"open":{}`, `"list":[{"v":[]},{"v":[{"w":true}]}]`}, true, nil},
		{"fields=n&exclude_default", []string{id, name, n, open, tags, empty}, false, []string{maskedRecord}},
		{"fields=list/k&exclude_default", []string{id, name, open, `"list":[{"k":"p"},{"k":"q"}]`, tags, empty}, true, []string{maskedRecord}},
		{"exclude_fields=n", []string{id, name, open, tags, empty}, false, []string{id, name, open, list, tags, empty}},
		{"exclude_fields=name", []string{id, name, n, open, tags, empty}, false, []string{maskedRecord}},
		{"exclude_fields=open", []string{id, name, n, `"open":{}`, tags, empty}, false, []string{id, name, n, `"open":{}`, list, tags, empty}},
		{"exclude_fields=open/b", []string{id, name, n, `"open":{"a":1,"x/y":"z"}`, tags, empty}, false, []string{id, name, n, `"open":{"a":1,"x/y":"z"}`, list, tags, empty}},
		{"exclude_fields=open/b/c/e,open/b/f", []string{id, name, n, `"open":{"a":1,"b":{"c":[1,{"d":2}]},"x/y":"z"}`, tags, empty}, false,
			[]string{id, name, n, `"open":{"a":1,"b":{"c":[1,{"d":2}]},"x/y":"z"}`, list, tags, empty}},
		{"exclude_fields=tags,empty&exclude_fields=list/v", []string{id, name, n, open}, false,
			[]string{id, name, n, open, `"list":[{"k":"p"},{"k":"q"}]`}},
	} {
		t.Run(tc.query, func(t *testing.T) {
			values, err := url.ParseQuery(tc.query)
			if err != nil {
				t.Fatal(err)
			}
			s, err := parseSelectors(values, func([]string) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			alone := tc.alone
			if alone == nil {
				alone = tc.want
			}
			compare := func(what string, got selection, want []string) {
				t.Helper()
				text := strings.Join(want, ",")
				if text[0] != '{' {
					text = "{" + text + "}"
				}
				if masked := string(got.mask.apply(nil, []byte(maskedRecord))); masked != text {
					t.Errorf("%s: %s\nwant %s", what, masked, text)
				}
			}
			compare("in a list", attributes.inList(s), tc.want)
			compare("alone", attributes.alone(s), alone)
			if got := attributes.inList(s); got.deep != tc.deep {
				t.Errorf("deep: %t, want %t", got.deep, tc.deep)
			}
		})
	}
}

func TestSelectorErrors(t *testing.T) {
	check := func(path []string) error {
		if path[0] == "known" {
			return nil
		}
		return fault.Invalid
	}
	for query, want := range map[string]string{
		"fields=known":                                         "",
		"fields=known,known/a":                                 "",
		"fields=known,other":                                   "fields: from offset 6",
		"exclude_fields=other":                                 "exclude_fields: from offset 0",
		"fields=known,":                                        "fields: from offset 6",
		"fields=(known,other)":                                 "fields: from offset 0",
		"fields=known/~5":                                      "fields: from offset 0: path: offset 6",
		"fields=known/@key":                                    "fields: from offset 0",
		"fields=known&exclude_fields=known":                    "goes neither",
		"exclude_fields=known&exclude_default":                 "goes neither",
		"fields=known&exclude_default":                         "",
		"all_fields&fields=known&exclude_fields=known":         "",
		"fields=known" + strings.Repeat(",known", 1000):        "fields: offset 4096",
		"all_fields&fields=other":                              "fields: from offset 0",
		"fields=known&fields=known/" + strings.Repeat("x/", 9): "more than 8 names",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parseSelectors(values, check)
		if (err == nil) != (want == "") || err != nil && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60s: %v, want %q", query, err, want)
		}
	}
}

// FuzzSelectors: whatever is selected, what is left is JSON, and what an exclusion leaves is
// what taking it out of the decoded record leaves.
func FuzzSelectors(f *testing.F) {
	f.Add("name,open/a", "open/b/c", maskedRecord)
	f.Add("list/k", "list/v/w", maskedRecord)
	f.Add("", "x", `{"x":[[{"x":1}],{}],"y":"\"","":null}`)
	f.Fuzz(func(t *testing.T, fields, exclude, record string) {
		var decoded map[string]any
		if json.Unmarshal([]byte(record), &decoded) != nil {
			return
		}
		src, err := Encode(decoded)
		if err != nil {
			t.Fatal(err)
		}
		every := func([]string) error { return nil }
		if s, err := parseSelectors(url.Values{paramFields: {fields}}, every); err == nil {
			left := Attributes{Optional: []string{"name", "list"}, Emptied: []string{"open"}}.alone(s).mask.apply(nil, src)
			if !json.Valid(left) {
				t.Fatalf("fields=%s of %s is %s", fields, src, left)
			}
		}
		path, err := filter.ParsePath(exclude)
		if err != nil {
			return
		}
		s, err := parseSelectors(url.Values{paramExcludeFields: {exclude}}, every)
		if err != nil || len(s.exclude) != 1 {
			return
		}
		left := Attributes{Optional: []string{path[0]}}.alone(s).mask.apply(nil, src)
		remove(decoded, path)
		var got any
		if err := json.Unmarshal(left, &got); err != nil || !reflect.DeepEqual(got, any(decoded)) {
			t.Fatalf("exclude_fields=%s of %s is %s (%v)", exclude, src, left, err)
		}
	})
}

// remove takes what is at a path out of a decoded record.
func remove(v any, path []string) {
	switch v := v.(type) {
	case map[string]any:
		if len(path) == 1 {
			delete(v, path[0])
			return
		}
		remove(v[path[0]], path[1:])
	case []any:
		for _, element := range v {
			remove(element, path)
		}
	}
}

func BenchmarkMask(b *testing.B) {
	labels := make(map[string]string)
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		labels["feature.node.kubernetes.io/cpu-cpuid."+string(c)] = "true"
	}
	record, err := Encode(map[string]any{"id": "1", "name": "n", "extensions": map[string]any{"labels": labels, "vendor": "v"}})
	if err != nil {
		b.Fatal(err)
	}
	m := Attributes{Emptied: []string{"extensions"}}.alone(selectors{fields: [][]string{{"extensions", "vendor"}}}).mask
	var buffer []byte
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for b.Loop() {
		buffer = m.apply(buffer[:0], record)
	}
	if !bytes.Contains(buffer, []byte(`{"vendor":"v"}`)) {
		b.Fatalf("%s", buffer)
	}
}
