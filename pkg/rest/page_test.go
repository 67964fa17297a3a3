package rest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

var replicaKey = []byte("0123456789abcdef0123456789abcdef")

func TestMarkers(t *testing.T) {
	here := NewPager(PagingOptions{Size: 10, Decimal: true}, replicaKey)
	there := NewPager(PagingOptions{Size: 10, Decimal: true}, replicaKey)
	stranger := NewPager(PagingOptions{Size: 10}, []byte("another key"))
	list := []byte("a list")
	marker := here.marker(list, "id-7")
	if got, err := there.place(list, []string{marker}); err != nil || got.after != "id-7" {
		t.Errorf("another replica reads %+v, %v", got, err)
	}
	for _, tc := range []struct {
		name   string
		pager  *Pager
		list   string
		marker []string
		want   place
		ok     bool
	}{
		{"none", here, "a list", nil, place{}, true},
		{"empty", here, "a list", []string{""}, place{}, true},
		{"ours", here, "a list", []string{marker}, place{after: "id-7"}, true},
		{"of another list", here, "another list", []string{marker}, place{}, false},
		{"of another O-Cloud", stranger, "a list", []string{marker}, place{}, false},
		{"changed", here, "a list", []string{strings.Replace(marker, "a", "b", 1) + "A"}, place{}, false},
		{"two", here, "a list", []string{marker, marker}, place{}, false},
		{"padded", here, "a list", []string{marker + "="}, place{}, false},
		{"long", here, "a list", []string{strings.Repeat("A", maxMarkerBytes+1)}, place{}, false},
		{"number", here, "a list", []string{"2"}, place{page: 2}, true},
		{"zero", here, "a list", []string{"0"}, place{}, false},
		{"negative", here, "a list", []string{"-1"}, place{}, false},
		{"great number", here, "a list", []string{"9999999999"}, place{}, false},
		{"number, not wanted", stranger, "a list", []string{"2"}, place{}, false},
	} {
		got, err := tc.pager.place([]byte(tc.list), tc.marker)
		if (err == nil) != tc.ok || got != tc.want {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
		if err != nil && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "offset")) {
			t.Errorf("%s: %v, want fault.Invalid and an offset", tc.name, err)
		}
	}
}

// TestListsAreTold apart: a marker is good for one list only.
func TestListsAreToldApart(t *testing.T) {
	seen := make(map[string]string)
	for _, target := range []string{
		"/a", "/b", "/a?filter=x", "/a?filter=x&filter=y", "/a?filter=y&filter=x", "/a?filter=xy", "/a?fields=x", "/a?fields=x&filter=y",
		"/a?exclude_fields=x", "/a?all_fields", "/a?exclude_default", "/a?filter=", "/a?filter=1:x",
	} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		key := string(listOf(r, r.URL.Query()))
		if other, known := seen[key]; known {
			t.Errorf("%s and %s are one list", target, other)
		}
		seen[key] = target
	}
	same := httptest.NewRequest(http.MethodGet, "/a?unknown=1&fields=x&nextpage_opaque_marker=m&filter=y", nil)
	if seen[string(listOf(same, same.URL.Query()))] != "/a?fields=x&filter=y" {
		t.Error("markers and parameters that mean nothing make another list")
	}
}

func TestNextLink(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "https://o2ims.example.net:8443/base/v1/things?filter=(eq,a,'b%20c')&nextpage_opaque_marker=old", nil)
	for base, want := range map[string]string{"": "https://o2ims.example.net:8443", "https://outside.example.net": "https://outside.example.net"} {
		p := NewPager(PagingOptions{Size: 1, BaseURL: base}, replicaKey)
		list := listOf(r, r.URL.Query())
		link := p.nextLink(r, r.URL.Query(), list, "id")
		target, found := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		u, err := url.Parse(target)
		if err != nil || !found || u.Scheme+"://"+u.Host != want || u.Path != "/base/v1/things" {
			t.Fatalf("%s (%v)", link, err)
		}
		q := u.Query()
		if got, err := p.place(list, q[paramMarker]); err != nil || got.after != "id" || q.Get(paramFilter) != "(eq,a,'b c')" {
			t.Errorf("%s leads to %+v, %v", link, got, err)
		}
	}
}

func TestPagingOptions(t *testing.T) {
	for o, ok := range map[PagingOptions]bool{
		{Size: 1, KeySecret: "s"}:               true,
		{Size: 0, KeySecret: "s"}:               false,
		{Size: maxPageSize + 1, KeySecret: "s"}: false,
		{Size: 1}:                               false,
	} {
		if err := o.Validate(); (err == nil) != ok {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// FuzzMarker: nobody but us makes markers.
func FuzzMarker(f *testing.F) {
	p := NewPager(PagingOptions{Size: 10, Decimal: true}, replicaKey)
	f.Add(p.marker([]byte("list"), "id"), "list")
	f.Add("2", "list")
	f.Add("AQ", "")
	f.Fuzz(func(t *testing.T, marker, list string) {
		got, err := p.place([]byte(list), []string{marker})
		switch {
		case err != nil:
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "offset") {
				t.Fatalf("%q: %v", marker, err)
			}
		case got.after != "":
			if p.marker([]byte(list), got.after) != marker {
				t.Fatalf("%q is taken for the marker after %q", marker, got.after)
			}
		case marker != "" && (got.page < 1 || strings.Trim(marker, "0123456789") != ""):
			t.Fatalf("%q is taken for page %d", marker, got.page)
		}
	})
}
