package smo

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

// TestProxy has a proxy on loopback, which is refused as a target, and a site that reaches
// nothing without it.
func TestProxy(t *testing.T) {
	var asked atomic.Pointer[string]
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := r.Method + " " + r.RequestURI
		asked.Store(&text)
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, "through the proxy")
	}))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("NO_PROXY", "direct.example.net")
	names := nameServer(t, func(name string) []netip.Addr {
		switch name {
		case "smo.example.net.":
			return []netip.Addr{netip.MustParseAddr("192.0.2.7")}
		case "bad.example.net.", "direct.example.net.":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		}
		return nil
	})
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	with := func(o Options, s Settings) *Client {
		o.AllowHTTP = true
		c := client(t, o, Parts{Resolver: names})
		if err := c.Configure(s); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, tc := range []struct {
		name   string
		client *Client
		target string
		asked  string // of the proxy; empty: nothing
		err    error  // nil: none
	}{
		{"a good name", with(Options{Proxy: true}, Settings{}), "http://smo.example.net/cb", "GET http://smo.example.net/cb", nil},
		{"with TLS", with(Options{Proxy: true}, Settings{}), "https://smo.example.net/cb", "CONNECT smo.example.net:443", errors.New("any")},
		{"a name of loopback", with(Options{Proxy: true}, Settings{}), "http://bad.example.net/cb", "", ErrAddress},
		{"an address of the hub", with(Options{Proxy: true, HubNetworks: []string{"10.0.0.0/8"}}, Settings{}), "http://10.1.1.1/cb", "", ErrAddress},
		{"a name that we do not know", with(Options{Proxy: true}, Settings{}), "http://far.example.net/cb", "", fault.Invalid},
		{"the same, named by the administrator", with(Options{Proxy: true}, Settings{Hosts: []string{"far.example.net"}}), "http://far.example.net/cb", "GET http://far.example.net/cb", nil},
		{"past the proxy, to loopback", with(Options{Proxy: true}, Settings{}), "http://direct.example.net:" + u.Port() + "/cb", "", ErrAddress},
		{"the proxy itself", with(Options{Proxy: true}, Settings{}), proxy.URL, "", fault.Invalid},
		{"switched off", with(Options{}, Settings{}), "http://bad.example.net/cb", "", ErrAddress},
	} {
		asked.Store(nil)
		response, err := get(t, tc.client, tc.target)
		if err == nil {
			response.Body.Close()
		}
		got := ""
		if text := asked.Load(); text != nil {
			got = *text
		}
		if (err == nil) != (tc.err == nil) || got != tc.asked {
			t.Errorf("%s: %v, the proxy was asked %q, want %v, %q", tc.name, err, got, tc.err, tc.asked)
		}
		if kind := tc.err; kind != nil && kind.Error() != "any" && !errors.Is(err, kind) {
			t.Errorf("%s: %v, want %v", tc.name, err, kind)
		}
		check := tc.client.CheckURL(t.Context(), tc.target)
		if wrong := tc.asked == ""; wrong != (check != nil) {
			t.Errorf("%s: CheckURL = %v, want an error: %t", tc.name, check, wrong)
		}
	}
}

func TestProxyAddresses(t *testing.T) {
	for proxy, want := range map[string]string{
		"": "", "proxy.example.net:3128": "proxy.example.net:3128", "http://Proxy.example.net": "proxy.example.net:80",
		"https://user:pass@proxy.example.net": "proxy.example.net:443", "socks5://proxy.example.net": "proxy.example.net:1080", "http://[::1]:8": net.JoinHostPort("::1", "8"),
	} {
		t.Setenv("HTTP_PROXY", "")
		t.Setenv("http_proxy", "")
		t.Setenv("HTTPS_PROXY", proxy)
		if got := strings.Join(environmentProxies().addresses, ","); got != want {
			t.Errorf("addresses of proxy %q = %q, want %q", proxy, got, want)
		}
	}
}
