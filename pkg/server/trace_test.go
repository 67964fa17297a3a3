package server

import (
	"net/http/httptest"
	"strings"
	"testing"
)

const goodParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceID(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		known   bool
	}{
		{"none", nil, false},
		{"good", []string{goodParent}, true},
		{"not sampled", []string{strings.TrimSuffix(goodParent, "01") + "00"}, true},
		{"two", []string{goodParent, goodParent}, false},
		{"empty", []string{""}, false},
		{"upper case", []string{strings.ToUpper(goodParent)}, false},
		{"trace of zeros", []string{"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, false},
		{"parent of zeros", []string{"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"}, false},
		{"no hexadecimal", []string{"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01"}, false},
		{"white space", []string{" " + goodParent}, false},
		{"too short", []string{goodParent[:54]}, false},
		{"too long", []string{goodParent + "0"}, false},
		{"more than version 00 has", []string{goodParent + "-00"}, false},
		{"a version to come", []string{"cc" + goodParent[2:]}, true},
		{"a version to come, with more", []string{"cc" + goodParent[2:] + "-what-will-be"}, true},
		{"a version to come, run together", []string{"cc" + goodParent[2:] + "what-will-be"}, false},
		{"the version that will not be", []string{"ff" + goodParent[2:]}, false},
		{"a secret", []string{"password"}, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Traceparent"] = tc.headers
		want := "fallback"
		if tc.known {
			want = "4bf92f3577b34da6a3ce929d0e0e4736"
		}
		if got := traceID(r, "fallback"); got != want {
			t.Errorf("%s: %s, want %s", tc.name, got, want)
		}
	}
}

func FuzzTraceParent(f *testing.F) {
	for _, seed := range []string{goodParent, "", "cc" + goodParent[2:] + "-x", strings.Repeat("0-", 40), "ff" + goodParent[2:]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseTraceParent(text)
		if err != nil {
			return
		}
		if !strings.HasPrefix(text, p.String()) {
			t.Fatalf("%q is read as %s", text, p)
		}
		if again, err := parseTraceParent(p.String()); err != nil || again != p {
			t.Errorf("%s is read again as %s, %v", p, again, err)
		}
		if p.version == "ff" || strings.Trim(p.traceID, "0") == "" || len(p.traceID) != 32 || strings.ToLower(p.traceID) != p.traceID {
			t.Errorf("%q is taken for a trace", text)
		}
	})
}
