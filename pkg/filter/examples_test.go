package filter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
)

// pool is what the examples are about.
type pool struct {
	Name       string         `json:"name"`
	N          int            `json:"n"`
	B          bool           `json:"b"`
	When       *time.Time     `json:"when,omitempty"`
	UID        *uuid.UUID     `json:"uid,omitempty"`
	Tags       []string       `json:"tags"`
	Parts      []part         `json:"parts,omitempty"`
	Extensions map[string]any `json:"extensions"`
}

type part struct {
	K     string  `json:"k"`
	V     int     `json:"v"`
	Cells []cell  `json:"cells,omitempty"`
	Ports []int   `json:"ports,omitempty"`
	Note  *string `json:"note,omitempty"`
}

type cell struct {
	X string `json:"x"`
	Y int    `json:"y"`
}

func instant(s string) *time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return &t
}

// The three records of the examples.
func examplePools() map[string]*pool {
	uid := uuid.MustParse("7FD364A0-6D82-4E0C-A418-5C1A2F8B9C3E")
	return map[string]*pool{
		"A": {Name: "pool-a", N: 5, B: true, When: instant("2026-01-02T03:04:05Z"), UID: &uid, Tags: []string{"x", "y"},
			Parts: []part{{K: "p", V: 1}, {K: "q", V: 2}},
			Extensions: map[string]any{"country": "ES", "size": 7.0, "labels": map[string]any{"app.io/x": "1", "zone": "z1"},
				"nics": map[string]any{"eno1": map[string]any{"speed": 25.0}}}},
		"B": {Name: "pool, b", N: 40, When: instant("2026-02-02T03:04:05+02:00"), Tags: []string{},
			Extensions: map[string]any{"country": "US", "size": 10.0}},
		"C": {Name: "it's", N: -1, When: instant("2025-12-31T23:59:59Z"), Extensions: map[string]any{}},
	}
}

// schemas are two of the same records: one that makes the view each time, and one that
// knows a shorter way to every attribute. Both must say the same.
func poolSchemas() map[string]*Schema[*pool] {
	view := func(p *pool) pool { return *p }
	return map[string]*Schema[*pool]{
		"view": NewSchema(view),
		"shortcuts": NewSchema(view,
			At("name", func(p *pool) string { return p.Name }),
			At("n", func(p *pool) int { return p.N }),
			At("b", func(p *pool) bool { return p.B }),
			At("when", func(p *pool) *time.Time { return p.When }),
			At("uid", func(p *pool) *uuid.UUID { return p.UID }),
			At("tags", func(p *pool) []string { return p.Tags }),
			At("parts", func(p *pool) []part { return p.Parts }),
			Each("parts", eachPart, NewSchema(func(p *part) part { return *p }, At("k", func(p *part) string { return p.K }))),
			At("extensions", func(p *pool) map[string]any { return p.Extensions }),
			Entry("extensions", func(p *pool, name string) (any, bool) { v, found := p.Extensions[name]; return v, found }),
		),
	}
}

func eachPart(p *pool, yield func(*part) bool) {
	for i := range p.Parts {
		if !yield(&p.Parts[i]) {
			return
		}
	}
}

// example is a filter and the records of A, B and C that match it; "400" where it is refused.
type example struct{ filter, want string }

// examples are the query language in sixty lines; docs/api.md explains them.
var examples = []example{
	1:  {"(eq,name,pool-a)", "A"},
	2:  {"(EQ,name,pool-a)", "A"},
	3:  {"(eq,name,'pool, b')", "B"},
	4:  {"(eq,name,pool, b)", "400"},
	5:  {"(eq,name,'it''s')", "C"},
	6:  {"(eq,name,it's)", "C"},
	7:  {"(neq,name,pool-a)", "BC"},
	8:  {"(cont,name,pool)", "AB"},
	9:  {"(cont,name,a,b)", "AB"},
	10: {"(ncont,name,pool)", "C"},
	11: {"(in,name,pool-a,'it''s')", "AC"},
	12: {"(nin,name,pool-a)", "BC"},
	13: {"(gt,n,5)", "B"},
	14: {"(gte,n,5)", "AB"},
	15: {"(lt,n,5)", "C"},
	16: {"(eq,n,5.0)", "A"},
	17: {"(eq,n,abc)", "400"},
	18: {"(in,n,5,40)", "AB"},
	19: {"(eq,b,true)", "A"},
	20: {"(eq,b,1)", "400"},
	21: {"(neq,b,yes)", "400"},
	22: {"(gt,b,true)", "400"},
	23: {"(gt,when,2026-01-01T00:00:00Z)", "AB"},
	24: {"(lt,when,2026-02-02T02:00:00Z)", "ABC"},
	25: {"(eq,uid,7fd364a0-6d82-4e0c-a418-5c1a2f8b9c3e)", "A"},
	26: {"(neq,uid,7fd364a0-6d82-4e0c-a418-5c1a2f8b9c3e)", "BC"},
	27: {"(eq,tags,x)", "A"},
	28: {"(nin,tags,x)", "BC"},
	29: {"(eq,parts/k,q)", "A"},
	30: {"(eq,parts/k,p);(eq,parts/v,2)", ""},
	31: {"(eq,parts/k,q);(eq,parts/v,2)", "A"},
	32: {"(eq,extensions/country,ES)", "A"},
	33: {"(neq,extensions/country,ES)", "BC"},
	34: {"(in,extensions/country,ES,US)", "AB"},
	35: {"(cont,extensions/country,E)", "A"},
	36: {"(gt,extensions/size,8)", "B"},
	37: {"(eq,extensions/nics/eno1/speed,25)", "A"},
	38: {"(eq,extensions/labels/zone,z1)", "A"},
	39: {"(eq,extensions/labels/app.io~1x,1)", "A"},
	40: {"(eq,extensions/@key,country)", "AB"},
	41: {"(eq,name,pool-a);(eq,n,5)", "A"},
	42: {"(eq,name,pool-a) ; (eq,n,5)", "A"},
	43: {"( eq , name , pool-a )", "A"},
	44: {"(eq,name,a;b)", ""},
	45: {"(eq,extensions,x)", "400"},
	46: {"(eq,name,null)", ""},
	47: {"(eq,WrongAttrName,anyvalue)", "400"},
	48: {"(foo,name,x)", "400"},
	49: {"(eq,name)", "400"},
	50: {"eq,name,x", "400"},
	51: {"(eq,name,x", "400"},
	52: {"(eq,name,'pool-a)", "400"},
	53: {"(eq,name,x);", ""},
	54: {"(eq,name,x);;(eq,n,5)", "400"},
	55: {"(eq,name,x)(eq,n,5)", "400"},
	56: {"()", "400"},
	57: {"(eq,my~attr,x)", "400"},
	58: {"(eq,parts/0/k,p)", "400"},
	59: {"(eq,name,)", "400"},
	60: {"(gt,n,0);(eq,b,false)", "B"},
}

// more are examples of what is left open there.
var more = []example{
	{"", "ABC"},
	{" ", "ABC"},
	{"(eq,,x)", "400"},
	{"(eq,name/,x)", "400"},
	{"(eq,/name,x)", "400"},
	{"(eq,name/first,x)", "400"},
	{"(eq,name,pool-a) ;", "A"},
	{";", "400"},
	{"(in,name,)", "400"},
	{"(nin,name,pool-a,'')", "BC"},
	{"(eq,name,'')", ""},
	{"(neq,name,'')", "ABC"},
	{"(eq,name,'a' b)", "400"},
	{"(cont,name,POOL)", ""},
	{"(gt,name,j)", "AB"},
	{"(lte,name,pool)", "C"},
	{"(in,uid,7FD364A0-6D82-4E0C-A418-5C1A2F8B9C3E,x)", "A"},
	{"(nin,uid,7FD364A0-6D82-4E0C-A418-5C1A2F8B9C3E)", "BC"},
	{"(eq,uid,x)", ""},
	{"(cont,uid,6D82)", "A"},
	{"(gt,uid,7)", "A"},
	{"(eq,when,2026-02-02T01:04:05Z)", "B"},
	{"(eq,when,2026-02-02T01:04:05.000Z)", "B"},
	{"(in,when,2026-02-02T01:04:05Z,2026-01-02T05:04:05+02:00)", "AB"},
	{"(eq,when,yesterday)", "400"},
	{"(cont,when,2026)", "AB"},
	{"(ncont,when,-01-,-02-)", "C"},
	{"(cont,n,5)", "400"},
	{"(cont,b,true)", "400"},
	{"(eq,n,5e0)", "A"},
	{"(eq,n,0x5)", "400"},
	{"(eq,n,Inf)", "400"},
	{"(lt,n,-0.5)", "C"},
	{"(nin,n,5,x)", "400"},
	{"(eq,b,TRUE)", "400"},
	{"(in,b,true,false)", "ABC"},
	{"(eq,uid,null)", "BC"},
	{"(neq,uid,null)", "A"},
	{"(eq,uid,'null')", ""},
	{"(in,uid,null)", ""},
	{"(eq,tags,null)", "BC"},
	{"(eq,parts,null)", "BC"},
	{"(neq,parts,null)", "A"},
	{"(eq,extensions,null)", "C"},
	{"(eq,n,null)", ""},
	{"(eq,extensions/labels,null)", "BC"},
	{"(eq,parts,x)", "400"},
	{"(eq,tags,x);(eq,tags,y)", "A"},
	{"(cont,tags,x)", "A"},
	{"(ncont,tags,x)", "BC"},
	{"(gt,tags,x)", "A"},
	{"(gt,parts/v,1)", "A"},
	{"(gt,parts/v,2)", ""},
	{"(neq,parts/k,p)", "BC"},
	{"(neq,parts/k,p);(neq,parts/v,2)", "BC"},
	{"(eq,parts/k,q);(neq,parts/v,2)", ""},
	{"(eq,parts/k,q);(neq,parts/v,1)", "A"},
	{"(nin,parts/note,x)", "ABC"},
	{"(eq,parts/note,null)", "ABC"},
	{"(eq,parts/WrongAttrName,x)", "400"},
	{"(gt,extensions/size,abc)", ""},
	{"(eq,extensions/size,abc)", ""},
	{"(neq,extensions/size,7)", "BC"},
	{"(cont,extensions/size,7)", ""},
	{"(eq,extensions/labels,x)", ""}, // an object in one record does not spoil the request
	{"(eq,extensions/labels/@key,app.io/x)", "A"},
	{"(cont,extensions/labels/@key,zo,po)", "A"},
	{"(nin,extensions/@key,country)", "C"},
	{"(eq,extensions/no/such/thing,x)", ""},
	{"(neq,extensions/no/such/thing,x)", "ABC"},
	{"(eq,extensions/country/x,ES)", ""},
	{"(eq,name/@key,x)", "400"},
	{"(eq,@key,x)", "400"},
	{"(eq,extensions/@key/x,y)", "400"},
	{"(eq,extensions/~bkey,y)", ""},
	{"(eq,extensions/labels/~,y)", "400"},
	{"(eq,extensions/labels/~2,y)", "400"},
	{"(eq,extensions/app-1~0~a~b.io,y)", ""},
	{"(eq,a/b/c/d/e/f/g/h/i,x)", "400"},
	{"(eq,extensions/b/c/d/e/f/g/h,x)", ""},
}

// check compiles a filter and tells which of A, B and C match it.
func check(s *Schema[*pool], text string) (string, error) {
	f, err := Parse(text)
	if err != nil {
		return "", err
	}
	m, err := s.Compile(f)
	if err != nil {
		return "", err
	}
	matched := ""
	for _, name := range []string{"A", "B", "C"} {
		record := examplePools()[name]
		if m.Match(record) {
			matched += name
		}
		if m.Match(record) && !m.May(s.Sign(*record)) {
			return "", errors.New("the signature denies " + name)
		}
		if (m.Explain(record) == nil) != m.Match(record) {
			return "", errors.New("Explain contradicts Match for " + name)
		}
	}
	return matched, nil
}

func TestExamples(t *testing.T) {
	for kind, schema := range poolSchemas() {
		for i, e := range append(examples[1:], more...) {
			got, err := check(schema, e.filter)
			if err != nil && errors.Is(err, fault.Invalid) {
				got = "400"
			}
			if got != e.want || err != nil && got != "400" {
				t.Errorf("%s, example %d, %s: %q, want %q (%v)", kind, i+1, e.filter, got, e.want, err)
			}
		}
	}
}

// TestErrorsSayWhere: whoever wrote the filter finds the place.
func TestErrorsSayWhere(t *testing.T) {
	schema := poolSchemas()["view"]
	for filter, want := range map[string]string{
		"(eq,name,x);;(eq,n,5)": "filter: offset 12:",
		"(foo,name,x)":          `filter: offset 1: operator "foo" is not known`,
		"(eq,name)":             "filter: offset 8:",
		"(eq,name,'pool-a)":     "filter: offset 9: the quote is not closed",
		"(eq,a/b/@key/c,x)":     "filter: offset 13:",
		"(eq,my~tr,x)":          "filter: offset 6: want ~0, ~1, ~a or ~b",
		"(eq,extensions/x,1,2)": "filter: offset 19: operator eq takes one value",
		"(eq,color,red)":        `attribute "color" is not known`,
		"(eq,parts/colo~1r,a)":  `attribute "parts/colo~1r" is not known`,
		"(eq,extensions,a)":     `attribute "extensions" is an object`,
		"(gt,b,true)":           `attribute "b" is true or false: operator gt`,
		"(eq,n,x)":              `attribute "n" needs a number`,
	} {
		if _, err := check(schema, filter); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", filter, err, want)
		}
	}
}

func TestLimits(t *testing.T) {
	term := "(eq,name,x);"
	for _, tc := range []struct {
		name  string
		texts []string
		ok    bool
	}{
		{"bytes", []string{"(eq,name," + strings.Repeat("x", MaxBytes-len("(eq,name,)")) + ")"}, true},
		{"a byte more", []string{"(eq,name," + strings.Repeat("x", MaxBytes-len("(eq,name,)")+1) + ")"}, false},
		{"bytes of all", []string{strings.Repeat(" ", MaxBytes-8), "(eq,n,0)"}, true},
		{"a byte more of all", []string{strings.Repeat(" ", MaxBytes-8), "(eq,n,0) "}, false},
		{"terms", []string{strings.Repeat(term, MaxTerms)}, true},
		{"a term more", []string{strings.Repeat(term, MaxTerms+1)}, false},
		{"a term more of all", []string{strings.Repeat(term, MaxTerms), term}, false},
		{"values", []string{"(in,name" + strings.Repeat(",x", MaxValues) + ")"}, true},
		{"a value more", []string{"(in,name" + strings.Repeat(",x", MaxValues+1) + ")"}, false},
		{"depth", []string{"(eq,a" + strings.Repeat("/a", MaxDepth-1) + ",x)"}, true},
		{"a name more", []string{"(eq,a" + strings.Repeat("/a", MaxDepth) + ",x)"}, false},
	} {
		_, err := ParseAll(tc.texts)
		if (err == nil) != tc.ok || err != nil && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "offset")) {
			t.Errorf("%s: %v, want ok: %t", tc.name, err, tc.ok)
		}
	}
}

// TestSameElement: terms about arrays in arrays hold together at every level.
func TestSameElement(t *testing.T) {
	record := &pool{Parts: []part{
		{K: "p", V: 1, Cells: []cell{{"x", 1}, {"y", 2}}, Ports: []int{1, 2}},
		{K: "q", V: 2, Cells: []cell{{"z", 3}}, Ports: []int{3}},
	}}
	for text, want := range map[string]bool{
		"(eq,parts/cells/x,x);(eq,parts/cells/y,1)":                   true,
		"(eq,parts/cells/x,x);(eq,parts/cells/y,2)":                   false,
		"(eq,parts/cells/x,x);(eq,parts/k,p)":                         true,
		"(eq,parts/cells/x,x);(eq,parts/k,q)":                         false,
		"(eq,parts/cells/x,x);(eq,parts/k,p);(eq,parts/cells/y,1)":    true,
		"(eq,parts/cells/x,x);(eq,parts/k,p);(eq,parts/cells/y,2)":    false,
		"(eq,parts/ports,1);(eq,parts/ports,2)":                       true,
		"(eq,parts/ports,1);(eq,parts/ports,3)":                       false,
		"(neq,parts/cells/x,z);(eq,parts/k,q)":                        false,
		"(neq,parts/cells/x,z);(eq,parts/k,p)":                        true,
		"(eq,parts/cells/x,z);(neq,parts/k,p)":                        true,
		"(neq,parts/cells/x,nowhere)":                                 true,
		"(gt,parts/cells/y,2);(lt,parts/v,2)":                         false,
		"(eq,parts/cells/x,x);(eq,parts/cells/y,1);(eq,tags,nowhere)": false,
	} {
		for kind, schema := range poolSchemas() {
			f, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			m, err := schema.Compile(f)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Match(record); got != want {
				t.Errorf("%s: %s: %t, want %t", kind, text, got, want)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	for text, want := range map[string]Reason{
		"(eq,n,5);(eq,name,x)":               {"(eq,name,x)", []string{"pool-a"}},
		"(gt,when,2026-05-01T00:00:00Z)":     {"(gt,when,2026-05-01T00:00:00Z)", []string{"2026-01-02T03:04:05Z"}},
		"(eq,parts/v,7)":                     {"(eq,parts/v,7)", []string{"1", "2"}},
		"(eq,extensions/nics/eno1/speed,10)": {"(eq,extensions/nics/eno1/speed,10)", []string{"25"}},
		"(eq,extensions/color,'a,b')":        {"(eq,extensions/color,'a,b')", nil},
		"(eq,parts/k,p);(eq,parts/v,2)":      {"(eq,parts/k,p);(eq,parts/v,2) by one element of the array", nil},
		"(eq,extensions/nics/@key,eno2)":     {"(eq,extensions/nics/@key,eno2)", []string{"eno1"}},
	} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		m, err := poolSchemas()["shortcuts"].Compile(f)
		if err != nil {
			t.Fatal(err)
		}
		got := m.Explain(examplePools()["A"])
		if got == nil || got.Term != want.Term || strings.Join(got.Have, " ") != strings.Join(want.Have, " ") {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

func TestExact(t *testing.T) {
	for text, want := range map[string]string{
		"(eq,name,a)":              "a",
		"(gt,n,1);(in,name,a,b)":   "a b",
		"(neq,name,a)":             "-",
		"(eq,name,null)":           "-",
		"(cont,name,a)":            "-",
		"(eq,extensions/name,a)":   "-",
		"(nin,name,a);(eq,name,b)": "b",
	} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		m, err := poolSchemas()["view"].Compile(f)
		if err != nil {
			t.Fatal(err)
		}
		values, ok := m.Exact("name")
		got := strings.Join(values, " ")
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestSignatures: values that are not there are told at a glance, but for a few.
func TestSignatures(t *testing.T) {
	schema := poolSchemas()["shortcuts"]
	p := &pool{Extensions: map[string]any{}}
	for i := range 150 {
		p.Extensions[fmt.Sprint("key-", i)] = fmt.Sprint("value-", i)
	}
	signature := schema.Sign(*p)
	wrong := 0
	for i := range 10_000 {
		m, err := schema.Compile(Filter{{Op: Eq, Path: []string{"extensions", fmt.Sprint("key-", i%150)}, Values: []string{fmt.Sprint("other-", i)}}})
		if err != nil {
			t.Fatal(err)
		}
		if m.May(signature) {
			wrong++
		}
	}
	if wrong > 200 {
		t.Errorf("%d of 10,000 values are taken to be there", wrong)
	}
	for text, want := range map[string]bool{
		"(eq,n,0)":                     true,
		"(eq,n,-0.0)":                  true,
		"(eq,n,1)":                     false,
		"(neq,n,0)":                    true, // no value is wanted
		"(eq,name,'')":                 true,
		"(in,name,a,b)":                false,
		"(in,name,a,'')":               true,
		"(eq,parts/k,nothing)":         true, // not in the signature
		"(eq,extensions/@key,nothing)": true, // likewise
		"(eq,extensions/nothing,null)": true,
		"(cont,extensions/key-1,val)":  true,
		"(eq,n,0);(eq,b,true)":         false,
	} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		m, err := schema.Compile(f)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.May(signature); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}

// TestShortcutsMustFit: a shortcut that the view contradicts is found when the program starts.
func TestShortcutsMustFit(t *testing.T) {
	for name, shortcut := range map[string]Shortcut[*pool]{
		"no such attribute": At("color", func(*pool) string { return "" }),
		"another type":      At("n", func(*pool) string { return "" }),
		"across an array":   At("parts/k", func(*pool) string { return "" }),
		"no path":           At("", func(*pool) string { return "" }),
		"no map":            Entry("name", func(*pool, string) (string, bool) { return "", false }),
		"another map":       Entry("extensions", func(*pool, string) (string, bool) { return "", false }),
		"no array":          Each("name", eachPart, NewSchema(func(p *part) part { return *p })),
		"another array":     Each("tags", eachPart, NewSchema(func(p *part) part { return *p })),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			NewSchema(func(p *pool) pool { return *p }, shortcut)
		}()
	}
}

// open is a record with what the standard calls a free-form map and we fill from a struct.
type open struct {
	Extensions struct {
		Vendor string            `json:"vendor"`
		Model  string            `json:"model,omitempty"`
		Nics   map[string]part   `json:"nics"`
		Labels map[string]string `json:"labels,omitempty"`
		Any    any               `json:"any"`
	} `json:"extensions" o2:"open"`
	Closed part `json:"closed"`
}

func TestOpenStructs(t *testing.T) {
	schema := NewSchema(func(o *open) *open { return o })
	var o open
	o.Extensions.Vendor = "v"
	o.Extensions.Nics = map[string]part{"eno1": {K: "k", Ports: []int{7}}}
	o.Extensions.Any = part{K: "deep", Cells: []cell{{"x", 1}}}
	for text, want := range map[string]string{
		"(eq,extensions/vendor,v)":              "true",
		"(eq,extensions/color,v)":               "false",
		"(neq,extensions/color,v)":              "true",
		"(eq,extensions/vendor/deeper,v)":       "false",
		"(eq,extensions/nics/eno1/k,k)":         "true",
		"(eq,extensions/nics/eno1/ports,7)":     "true",
		"(eq,extensions/nics/eno1/color,red)":   "false",
		"(eq,extensions/@key,vendor)":           "true",
		"(eq,extensions/@key,model)":            "false", // it is left out
		"(eq,extensions/@key,labels)":           "false",
		"(eq,extensions/any/k,deep)":            "true",
		"(eq,extensions/any/cells/x,x)":         "true",
		"(eq,extensions/any/color,x)":           "false",
		"(eq,extensions/any/@key,cells)":        "true",
		"(eq,extensions/model,null)":            "true",
		"(eq,extensions/labels/a,null)":         "true",
		"(eq,closed/color,x)":                   "400",
		"(eq,closed/cells/color,x)":             "400",
		"(eq,extensions,x)":                     "400",
		"(eq,extensions/nics/eno1/ports,seven)": "400",
		"(eq,extensions/labels/a/deeper,x)":     "false",
	} {
		got := "400"
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		m, err := schema.Compile(f)
		if err == nil {
			got = "false"
			if m.Match(&o) {
				got = "true"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%v)", text, got, want, err)
		}
	}
}
