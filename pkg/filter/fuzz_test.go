package filter

import (
	"errors"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

// FuzzParse: what parses survives printing and parsing again, and whatever parses can be
// judged or is refused for a reason.
func FuzzParse(f *testing.F) {
	for _, e := range append(examples[1:], more...) {
		f.Add(e.filter)
	}
	schemas, records := poolSchemas(), examplePools()
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := Parse(text)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("Parse(%q) = %v, want it to wrap fault.Invalid", text, err)
			}
			return
		}
		printed := parsed.String()
		if len(printed) <= MaxBytes { // escapes make it longer
			again, err := Parse(printed)
			if err != nil || !again.Equal(parsed) {
				t.Fatalf("%q was printed as %q, which is %v, %v", text, printed, again, err)
			}
		}
		plain, err := schemas["view"].Compile(parsed)
		quick, err2 := schemas["shortcuts"].Compile(parsed)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%q: %v with the view, %v with shortcuts", text, err, err2)
		}
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("Compile(%q) = %v, want it to wrap fault.Invalid", text, err)
			}
			return
		}
		for name, r := range records {
			match := plain.Match(r)
			for kind, s := range schemas {
				if m := map[string]*Matcher[*pool]{"view": plain, "shortcuts": quick}[kind]; match && !m.May(s.Sign(*r)) {
					t.Fatalf("%q: record %s matches, and its signature denies it (%s)", text, name, kind)
				}
			}
			if quick.Match(r) != match || (plain.Explain(r) == nil) != match {
				t.Fatalf("%q: record %s: %t with the view, %t with shortcuts, explained as %v", text, name, match, quick.Match(r), plain.Explain(r))
			}
		}
	})
}

// FuzzParsePath: what parses survives printing and parsing again.
func FuzzParsePath(f *testing.F) {
	for _, path := range []string{"a", "a/b", "a~1b/c~0~a~b", "extensions/labels/app.io~1name", " a / b ", "@key", "a/@key", "/", "a;", ""} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := ParsePath(text)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("ParsePath(%q) = %v, want it to wrap fault.Invalid", text, err)
			}
			return
		}
		again, err := ParsePath(PathString(path))
		if err != nil || PathString(again) != PathString(path) || len(again) != len(path) {
			t.Fatalf("%q was printed as %q, which is %q, %v", text, PathString(path), again, err)
		}
	})
}
