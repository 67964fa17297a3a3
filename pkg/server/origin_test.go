package server

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestOriginOf(t *testing.T) {
	proxies := netip.MustParsePrefix("10.0.0.0/8")
	for _, tc := range []struct {
		name, remote string
		forwarded    []string
		want         string
		shared       bool
	}{
		{"no proxy", "192.0.2.1:1", nil, "192.0.2.1", false},
		{"a stranger's header", "192.0.2.1:1", []string{"203.0.113.1"}, "192.0.2.1", false},
		{"a proxy that says nothing", "10.0.0.1:1", nil, "10.0.0.1", true},
		{"a proxy's client", "10.0.0.1:1", []string{"203.0.113.1"}, "203.0.113.1", false},
		{"what the client made up comes first", "10.0.0.1:1", []string{"1.1.1.1, 2.2.2.2 ,203.0.113.1"}, "203.0.113.1", false},
		{"in a header of its own", "10.0.0.1:1", []string{"1.1.1.1", "203.0.113.1"}, "203.0.113.1", false},
		{"through two proxies", "10.0.0.1:1", []string{"1.1.1.1, 203.0.113.1, 10.2.3.4"}, "203.0.113.1", false},
		{"proxies alone", "10.0.0.1:1", []string{"10.0.0.7, 10.2.3.4"}, "10.0.0.1", true},
		{"not an address", "10.0.0.1:1", []string{"203.0.113.1, unknown"}, "10.0.0.1", true},
		{"empty", "10.0.0.1:1", []string{""}, "10.0.0.1", true},
		{"with a port", "10.0.0.1:1", []string{"203.0.113.1:4711"}, "203.0.113.1", false},
		{"IPv6", "10.0.0.1:1", []string{"2001:db8::1"}, "2001:db8::1", false},
		{"IPv6 with brackets", "10.0.0.1:1", []string{"[2001:db8::1]"}, "2001:db8::1", false},
		{"IPv6 with brackets and port", "10.0.0.1:1", []string{"[2001:db8::1]:443"}, "2001:db8::1", false},
		{"IPv4 as IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.1"}, "203.0.113.1", false},
		{"a zone", "[fe80::1%eth0]:1", nil, "fe80::1", false},
		{"more proxies than there can be", "10.0.0.1:1", []string{"203.0.113.1" + strings.Repeat(",10.0.0.2", 100)}, "10.0.0.1", true},
		{"no address", "@", nil, "", false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tc.remote
		r.Header["X-Forwarded-For"] = tc.forwarded
		if got := originOf(r, proxies.Contains); got.String() != tc.want || got.shared != tc.shared {
			t.Errorf("%s: %v, shared %t, want %s, %t", tc.name, got, got.shared, tc.want, tc.shared)
		}
	}
}

func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{"", "203.0.113.1", "1.1.1.1, [2001:db8::1]:443 ,unknown", ",,,", "::1%eth0", "[[::1]]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list := forwarded([]string{text})
		if len(list) > maxForwarded || len(list) > strings.Count(text, ",")+1 || len(list) == 0 {
			t.Fatalf("%q: %d addresses", text, len(list))
		}
		for _, address := range list {
			if address.IsValid() && (forwardedAddress(address.String()) != address || address.Zone() != "" || address.Is4In6()) {
				t.Errorf("%q: %s does not survive", text, address)
			}
		}
	})
}
