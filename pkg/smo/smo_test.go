package smo

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

func client(t testing.TB, o Options, p Parts) *Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	c, err := New(o, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// toLoopback lets a test call its own servers.
var toLoopback = Options{AllowNetworks: []string{"127.0.0.1"}, AllowHTTP: true}

func get(t testing.TB, c *Client, target string) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(r)
}

func TestAddresses(t *testing.T) {
	g := client(t, Options{HubNetworks: []string{"10.128.0.0/14", "fd01::/48"}, AllowNetworks: []string{"10.128.7.0/24"}}, Parts{}).guard
	for _, tc := range []struct {
		address string
		allowed bool
	}{
		{"192.0.2.1", true}, {"10.1.2.3", true}, {"192.168.1.1", true}, {"2001:db8::1", true}, {"100.64.0.1", true},
		{"127.0.0.1", false}, {"127.255.255.254", false}, {"::1", false}, {"::ffff:127.0.0.1", false}, {"::127.0.0.1", false},
		{"0.0.0.0", false}, {"0.1.2.3", false}, {"::", false},
		{"169.254.169.254", false}, {"fe80::1", false}, {"fe80::1%eth0", false}, {"::ffff:169.254.169.254", false},
		{"224.0.0.1", false}, {"ff02::1", false}, {"255.255.255.255", false},
		{"64:ff9b::7f00:1", false}, {"64:ff9b::c000:201", true}, {"2002:7f00:1::", false}, {"64:ff9b::a9fe:a9fe", false},
		{"10.128.0.1", false}, {"10.131.255.255", false}, {"10.128.7.9", true}, {"fd01::5", false},
	} {
		if err := g.check(netip.MustParseAddr(tc.address)); (err == nil) != tc.allowed {
			t.Errorf("check(%s) = %v, want allowed: %t", tc.address, err, tc.allowed)
		}
	}
}

func TestCheckURL(t *testing.T) {
	names := nameServer(t, func(name string) []netip.Addr {
		switch name {
		case "smo.example.net.":
			return []netip.Addr{netip.MustParseAddr("192.0.2.7")}
		case "mixed.example.net.":
			return []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("127.0.0.1")}
		default:
			return nil
		}
	})
	for _, tc := range []struct {
		options Options
		url     string
		want    string // part of the error; empty for none
	}{
		{Options{}, "https://smo.example.net/cb?x=1", ""},
		{Options{}, "https://192.0.2.1:8443/cb", ""},
		{Options{}, "http://smo.example.net/cb", "https"},
		{Options{AllowHTTP: true}, "http://smo.example.net/cb", ""},
		{Options{AllowHTTP: true}, "ftp://smo.example.net/cb", "scheme"},
		{Options{}, "file:///etc/passwd", "scheme"},
		{Options{}, "/cb", "scheme"},
		{Options{}, "https:///cb", "host"},
		{Options{}, "https:smo.example.net", "host"},
		{Options{}, "https://user:secret@smo.example.net/", "credentials"},
		{Options{}, "https://[::1]/", "not allowed"},
		{Options{}, "https://127.0.0.1/", "not allowed"},
		{Options{}, "https://mixed.example.net/", "not allowed"},
		{Options{}, "https://unknown.example.net/", "resolve"},
		{Options{}, "https://exa mple/", "not a URL"},
		{Options{Hosts: []string{"smo.example.net"}}, "https://SMO.example.net:8443/", ""},
		{Options{Hosts: []string{"smo.example.net:8443"}}, "https://smo.example.net/", "may be called"},
		{Options{Hosts: []string{"smo.example.net"}}, "https://192.0.2.1/", "may be called"},
	} {
		err := client(t, tc.options, Parts{Resolver: names}).CheckURL(t.Context(), tc.url)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("CheckURL(%s) = %v, want none", tc.url, err)
		case tc.want != "" && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("CheckURL(%s) = %v, want invalid and %q", tc.url, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("CheckURL gives a password away: %v", err)
		}
	}
}

func TestPlainHost(t *testing.T) {
	for host, want := range map[string]bool{
		"smo": true, "smo.example.net": true, "SMO.example.net.": true, "a_b-c.example": true, "192.0.2.1": true, "::1": true, "fe80::1%eth0": true,
		"": false, ".smo": false, "127。0。0。1": false, "１２７.0.0.1": false, "smo\x00": false, "smo\r\nx": false, "a b": false, "a'b": false, "a;b": false,
		"münchen.example": false, "v1.fe80::a": false, strings.Repeat("a", 255): false,
	} {
		if got := plainHost(host); got != want {
			t.Errorf("plainHost(%q) = %t, want %t", host, got, want)
		}
	}
}

// TestRebinding calls a name that is harmless when it is checked and loopback when it is
// called.
func TestRebinding(t *testing.T) {
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the call got through to loopback") }))
	defer victim.Close()
	port := victim.Listener.Addr().(*net.TCPAddr).Port
	var checked atomic.Bool
	names := nameServer(t, func(string) []netip.Addr {
		if checked.Load() {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		}
		return []netip.Addr{netip.MustParseAddr("192.0.2.7")}
	})
	c := client(t, Options{AllowHTTP: true}, Parts{Resolver: names})
	target := fmt.Sprintf("http://rebind.example.net:%d/", port)
	if err := c.CheckURL(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	checked.Store(true)
	if _, err := get(t, c, target); !errors.Is(err, ErrAddress) {
		t.Errorf("call to a name that resolves to loopback now: %v, want ErrAddress", err)
	}
}

func TestRedirectionIsNotFollowed(t *testing.T) {
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirection was followed") }))
	defer victim.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(victim.URL, status))
		response, err := get(t, client(t, toLoopback, Parts{}), s.URL)
		if err != nil || response.StatusCode != status {
			t.Errorf("redirection %d: %v, %v, want it returned", status, response, err)
		}
		s.Close()
	}
}

// TestHostileAnswers checks that no answer takes more of us than its share.
func TestHostileAnswers(t *testing.T) {
	hang := func(r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then is the end of the connection noticed
		<-r.Context().Done()
	}
	for name, answer := range map[string]http.HandlerFunc{
		"endless body": func(w http.ResponseWriter, r *http.Request) {
			block := make([]byte, 64<<10)
			for {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		},
		"body that never comes": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			hang(r)
		},
		"endless headers": func(w http.ResponseWriter, r *http.Request) {
			for i := range 3000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
		},
		"no answer": func(_ http.ResponseWriter, r *http.Request) { hang(r) },
		"zip bomb": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				w.WriteHeader(http.StatusTeapot) // we do not invite any
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(make([]byte, 2<<20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(answer)
			defer s.Close()
			c := client(t, Options{AllowNetworks: toLoopback.AllowNetworks, AllowHTTP: true, Timeout: 200 * time.Millisecond}, Parts{})
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			response, err := c.Do(r)
			if err == nil {
				var n int64
				n, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if n > maxAnswerBytes {
					t.Errorf("%d bytes were read", n)
				}
			}
			if err == nil {
				t.Error("no error")
			}
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("it took %s", d)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.StartTLS()
	defer s.Close()
	old := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := client(t, Options{AllowNetworks: toLoopback.AllowNetworks, CAFile: ca}, Parts{})
	if response, err := get(t, trusting, s.URL); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("with its CA: %v", err)
	}
	if _, err := get(t, client(t, Options{AllowNetworks: toLoopback.AllowNetworks}, Parts{}), s.URL); err == nil {
		t.Error("a certificate of an unknown CA was accepted")
	}
	if _, err := get(t, trusting, old.URL); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	if _, err := get(t, trusting, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)); err == nil {
		t.Error("a certificate for another name was accepted")
	}
}

func TestReach(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	defer s.Close()
	c := client(t, toLoopback, Parts{})
	if err := c.Reach(t.Context(), s.URL); err != nil {
		t.Errorf("any 2xx: %v", err)
	}
	if err := c.Reach(t.Context(), s.URL, http.StatusNoContent); !errors.Is(err, fault.Invalid) {
		t.Errorf("exactly 204: %v, want invalid", err)
	}
	s.Close()
	if err := c.Reach(t.Context(), s.URL); !errors.Is(err, fault.Invalid) {
		t.Errorf("nobody there: %v, want invalid", err)
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	_, err := get(t, client(t, Options{}, Parts{}), "https://127.0.0.1:1/cb?token=secret")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error = %v, want one without the query", err)
	}
}
