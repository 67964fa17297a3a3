package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// examples is the data of package filter's sixty examples.
const examples = `[
{"name":"pool-a","n":5,"b":true,"when":"2026-01-02T03:04:05Z","uid":"7FD364A0-6D82-4E0C-A418-5C1A2F8B9C3E","tags":["x","y"],"parts":[{"k":"p","v":1},{"k":"q","v":2}],
 "extensions":{"country":"ES","size":7,"labels":{"app.io/x":"1","zone":"z1"},"nics":{"eno1":{"speed":25}}}},
{"name":"pool, b","n":40,"b":false,"when":"2026-02-02T03:04:05+02:00","tags":[],"extensions":{"country":"US","size":10}},
{"name":"it's","n":-1,"b":false,"when":"2025-12-31T23:59:59Z","extensions":{}}]`

func records(t *testing.T) []record {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(examples)))
	d.UseNumber()
	var list []record
	if err := d.Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}

func path(p string) []string { return strings.Split(p, " ") }

// TestOracle holds the oracle to the query language: the examples that are about meaning, and the
// table of what is missing.
func TestOracle(t *testing.T) {
	of := func(op, p string, values ...string) term { return term{op: op, path: path(p), values: values} }
	for _, tc := range []struct {
		example int
		terms   []term
		want    string // A, B and C by their order
	}{
		{1, []term{of("eq", "name", "pool-a")}, "A"},
		{3, []term{of("eq", "name", "pool, b")}, "B"},
		{5, []term{of("eq", "name", "it's")}, "C"},
		{7, []term{of("neq", "name", "pool-a")}, "BC"},
		{8, []term{of("cont", "name", "pool")}, "AB"},
		{9, []term{of("cont", "name", "a", "b")}, "AB"},
		{10, []term{of("ncont", "name", "pool")}, "C"},
		{11, []term{of("in", "name", "pool-a", "it's")}, "AC"},
		{12, []term{of("nin", "name", "pool-a")}, "BC"},
		{13, []term{of("gt", "n", "5")}, "B"},
		{14, []term{of("gte", "n", "5")}, "AB"},
		{15, []term{of("lt", "n", "5")}, "C"},
		{16, []term{of("eq", "n", "5.0")}, "A"},
		{18, []term{of("in", "n", "5", "40")}, "AB"},
		{19, []term{of("eq", "b", "true")}, "A"},
		{23, []term{of("gt", "when", "2026-01-01T00:00:00Z")}, "AB"},
		{24, []term{of("lt", "when", "2026-02-02T02:00:00Z")}, "ABC"},
		{25, []term{of("eq", "uid", "7fd364a0-6d82-4e0c-a418-5c1a2f8b9c3e")}, "A"},
		{26, []term{of("neq", "uid", "7fd364a0-6d82-4e0c-a418-5c1a2f8b9c3e")}, "BC"},
		{27, []term{of("eq", "tags", "x")}, "A"},
		{28, []term{of("nin", "tags", "x")}, "BC"},
		{29, []term{of("eq", "parts k", "q")}, "A"},
		{30, []term{of("eq", "parts k", "p"), of("eq", "parts v", "2")}, ""},
		{31, []term{of("eq", "parts k", "q"), of("eq", "parts v", "2")}, "A"},
		{32, []term{of("eq", "extensions country", "ES")}, "A"},
		{33, []term{of("neq", "extensions country", "ES")}, "BC"},
		{34, []term{of("in", "extensions country", "ES", "US")}, "AB"},
		{35, []term{of("cont", "extensions country", "E")}, "A"},
		{36, []term{of("gt", "extensions size", "8")}, "B"},
		{37, []term{of("eq", "extensions nics eno1 speed", "25")}, "A"},
		{38, []term{of("eq", "extensions labels zone", "z1")}, "A"},
		{39, []term{of("eq", "extensions labels app.io/x", "1")}, "A"},
		{40, []term{of("eq", "extensions @key", "country")}, "AB"},
		{41, []term{of("eq", "name", "pool-a"), of("eq", "n", "5")}, "A"},
		{44, []term{of("eq", "name", "a;b")}, ""},
		{46, []term{{op: "eq", path: path("name"), null: true}}, ""},
		{60, []term{of("gt", "n", "0"), of("eq", "b", "false")}, "B"},
		// beyond the examples: SOL013 5.2
		{0, []term{of("lte", "uid", "z")}, "A"},
		{0, []term{of("ncont", "extensions country", "E")}, "BC"},
		{0, []term{of("neq", "parts k", "p")}, "BC"},
		{0, []term{{op: "eq", path: path("uid"), null: true}}, "BC"},
		{0, []term{{op: "neq", path: path("uid"), null: true}}, "A"},
		{0, []term{of("eq", "name", "null")}, ""},
		{0, []term{of("eq", "name deeper", "x")}, ""},
	} {
		got := ""
		for i, r := range records(t) {
			ok, err := matches(r, tc.terms...)
			if err != nil {
				t.Fatalf("#%d: %v", tc.example, err)
			}
			if ok {
				got += string(rune('A' + i))
			}
		}
		if got != tc.want {
			t.Errorf("#%d %s: %q, want %q", tc.example, write(false, tc.terms...), got, tc.want)
		}
	}
	if _, err := matches(records(t)[0], of("eq", "extensions", "x")); !errors.Is(err, errNotSimple) {
		t.Errorf("an object at the end of a path: %v", err)
	}
}

// TestWrite checks how terms are written.
func TestWrite(t *testing.T) {
	for _, tc := range []struct {
		term term
		want string
	}{
		{term{op: "eq", path: path("name"), values: []string{"a"}}, "(eq,name,a)"},
		{term{op: "eq", path: path("name"), values: []string{"a, b"}}, "(eq,name,'a, b')"},
		{term{op: "in", path: path("name"), values: []string{"it's", ""}}, "(in,name,'it''s','')"},
		{term{op: "eq", path: path("name"), values: []string{"null"}}, "(eq,name,'null')"},
		{term{op: "eq", path: path("name"), values: []string{"null"}, null: true}, "(eq,name,null)"},
		{term{op: "eq", path: []string{"x", "a/b~c,d@e"}, values: []string{"1"}}, "(eq,x/a~1b~0c~ad~be,1)"},
		{term{op: "eq", path: []string{"x", keysOf}, values: []string{"1"}}, "(eq,x/@key,1)"},
	} {
		if got := tc.term.write(false); got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
}

// TestCasesAreNamedOnce: an identifier stands for one requirement for ever.
func TestCasesAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases() {
		if seen[c.ID] || c.Source == "" || c.Expect == "" || c.run == nil || len(strings.Split(c.ID, "-")) != 3 {
			t.Errorf("case %+v: named twice or incomplete", c.ID)
		}
		seen[c.ID] = true
	}
	for n := 1; n <= 60; n++ {
		if id := exampleID(n); !seen[id] {
			t.Errorf("example %s is missing", id)
		}
	}
}
