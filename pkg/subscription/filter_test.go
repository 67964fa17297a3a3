package subscription

import (
	"errors"
	"fmt"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestCompileFilter(t *testing.T) {
	check := func(names ...string) func([]string) error {
		return func(path []string) error {
			for _, name := range names {
				if path[0] == name {
					return nil
				}
			}
			return fmt.Errorf("attribute %s: %w", path[0], fault.Invalid)
		}
	}
	kinds := Kinds{
		"ResourceInfo":     check("resourceId", "description", "extensions", "tags"),
		"ResourcePoolInfo": check("resourcePoolId", "description", "location"),
	}
	resource := Occurrence{Kind: "ResourceInfo", Type: 1, State: []byte(`{"resourceId":"a","description":"x|y","extensions":{"vendor":"Dell"},"tags":["p","q"]}`)}
	gone := Occurrence{Kind: "ResourceInfo", Type: 2, State: []byte(`{"resourceId":"b","description":"it's (old)"}`)}
	pool := Occurrence{Kind: "ResourcePoolInfo", Type: 0, State: []byte(`{"resourcePoolId":"p","description":"x","location":"here"}`)}

	for _, tc := range []struct {
		text    string
		matches []*Occurrence
		none    bool // no term at all
		invalid bool
	}{
		{text: "", none: true},
		{text: "[]", none: true},
		{text: "()", none: true},
		{text: " [ () ; ] ", none: true},
		{text: "|", none: true},
		{text: "(eq,objectType,ResourceInfo)", matches: []*Occurrence{&resource, &gone}},
		{text: "[(eq,objectType,ResourceInfo)]", matches: []*Occurrence{&resource, &gone}},
		{text: "(neq,objectType,ResourceInfo);", matches: []*Occurrence{&pool}},
		{text: "(eq,objectType,ResourceInfo);();", matches: []*Occurrence{&resource, &gone}},
		{text: "(eq,notificationEventType,2)", matches: []*Occurrence{&gone}},
		{text: "(in,notificationEventType,0,1)", matches: []*Occurrence{&resource, &pool}},
		{text: "(eq,objectType,ResourceInfo);(eq,notificationEventType,1)", matches: []*Occurrence{&resource}},
		{text: "(eq,objectType,ResourceInfo);(eq,notificationEventType,2)|(eq,objectType,ResourcePoolInfo)", matches: []*Occurrence{&gone, &pool}},
		{text: "[(eq,resourceId,a)]|[(eq,resourcePoolId,p)]", matches: []*Occurrence{&resource, &pool}},
		{text: "(eq,description,x)", matches: []*Occurrence{&pool}},
		{text: "(eq,description,x|y)", matches: []*Occurrence{&resource}},
		{text: "(eq,description,'x|y')", matches: []*Occurrence{&resource}},
		{text: "(eq,description,'it''s (old)')|(eq,location,nowhere)", matches: []*Occurrence{&gone}},
		{text: "(eq,extensions/vendor,Dell)", matches: []*Occurrence{&resource}},
		{text: "(neq,extensions/vendor,Dell)", matches: []*Occurrence{&gone}}, // pools have no extensions
		{text: "(eq,tags,q)", matches: []*Occurrence{&resource}},
		{text: "(eq,objectType,ResourcePool)", invalid: true},
		{text: "(eq,objectType,ResourcePoolInfo);(eq,resourceId,a)", invalid: true},
		{text: "(eq,nonsense,1)", invalid: true},
		{text: "(eq,notificationEventType,3)", invalid: true},
		{text: "(eq,description", invalid: true},
		{text: "(like,description,x)", invalid: true},
	} {
		t.Run(tc.text, func(t *testing.T) {
			m, err := CompileFilter(tc.text, kinds)
			if errors.Is(err, fault.Invalid) != tc.invalid || (err != nil) != tc.invalid {
				t.Fatalf("CompileFilter: %v, want invalid: %t", err, tc.invalid)
			}
			if (m == nil) != (tc.none || tc.invalid) {
				t.Fatalf("CompileFilter = %v, want none: %t", m, tc.none)
			}
			if m == nil {
				return
			}
			for name, o := range map[string]*Occurrence{"resource": &resource, "gone": &gone, "pool": &pool} {
				want := false
				for _, match := range tc.matches {
					want = want || match == o
				}
				if got := m.Match(o); got != want {
					t.Errorf("Match(%s) = %t, want %t", name, got, want)
				}
			}
		})
	}
}

// FuzzCompileFilter checks that nobody's filter breaks us, and that reading is stable.
func FuzzCompileFilter(f *testing.F) {
	for _, seed := range []string{"", "[(eq,a,1)|(eq,b,'|')]", "(eq,objectType,ResourceInfo);(", "'|'(", "[;();]|"} {
		f.Add(seed)
	}
	kinds := Kinds{"ResourceInfo": func([]string) error { return nil }}
	state := Occurrence{Kind: "ResourceInfo", State: []byte(`{"a":1,"b":[{"c":"|"}]}`)}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := CompileFilter(text, kinds)
		if err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("CompileFilter(%q): %v does not wrap fault.Invalid", text, err)
		}
		if m == nil {
			return
		}
		again, err := CompileFilter(text, kinds)
		if err != nil || again.Match(&state) != m.Match(&state) {
			t.Errorf("%q read twice is judged differently: %v", text, err)
		}
	})
}
