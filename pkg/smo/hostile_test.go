package smo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

// hostileNames are names whose owner wants us to connect to where we should not. Nobody
// listens at 127.0.0.3, which is allowed in these tests: it stands for a good address.
var hostileNames = map[string][]string{
	"good.example.net.":       {"127.0.0.3"},
	"loopback.example.net.":   {"127.0.0.1"},
	"loopback6.example.net.":  {"::1"},
	"mapped.example.net.":     {"::ffff:127.0.0.1"},
	"linklocal.example.net.":  {"169.254.169.254"},
	"linklocal6.example.net.": {"fe80::1"},
	"any.example.net.":        {"0.0.0.0"},
	"any6.example.net.":       {"::"},
	"multicast.example.net.":  {"224.0.0.251"},
	"broadcast.example.net.":  {"255.255.255.255"},
	"nat64.example.net.":      {"64:ff9b::7f00:1"},
	"nat64own.example.net.":   {"64:ff9b:1::7f00:1"},
	"sixtofour.example.net.":  {"2002:7f00:1::"},
	"teredo.example.net.":     {"2001:0:4136:e378:8000:63bf:80ff:fffe"},
	"hub.example.net.":        {"10.128.0.1"},
	"hub6.example.net.":       {"fd01::5"},
	"metadata6.example.net.":  {"fd00:ec2::254"},
	"metadata.example.net.":   {"168.63.129.16"},
	"mixed.example.net.":      {"127.0.0.3", "127.0.0.1"},
	"mixed6.example.net.":     {"127.0.0.3", "::1"},
	"mixedhub.example.net.":   {"10.128.0.1", "127.0.0.3"},
	// What C libraries take for addresses, a name server may have as names, too.
	"127.1.":      {"127.0.0.1"},
	"2130706433.": {"127.0.0.1"},
	"0x7f.1.":     {"127.0.0.1"},
	"0177.0.0.1.": {"127.0.0.1"},
	"localhost.":  {"127.0.0.1"},
}

func hostileResolver(t testing.TB) *net.Resolver {
	return nameServer(t, func(name string) (list []netip.Addr) {
		for _, text := range hostileNames[name] {
			list = append(list, netip.MustParseAddr(text))
		}
		return list
	})
}

// TestHostileCallbacks has a victim on loopback, which no URL must reach, whether it is
// checked before it is called or not.
func TestHostileCallbacks(t *testing.T) {
	var reached atomic.Bool
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer victim.Close()
	port := fmt.Sprint(victim.Listener.Addr().(*net.TCPAddr).Port)
	c := client(t, Options{
		AllowHTTP: true, AllowNetworks: []string{"127.0.0.3"}, HubNetworks: []string{"10.128.0.0/14", "fd01::/48"}, Timeout: 2 * time.Second,
	}, Parts{Resolver: hostileResolver(t)})
	for _, tc := range []struct{ name, url string }{
		{"loopback", "http://127.0.0.1:PORT/"},
		{"loopback, another", "http://127.8.8.8:PORT/"},
		{"loopback, two parts", "http://127.1:PORT/"},
		{"loopback, one number", "http://2130706433:PORT/"},
		{"loopback, hexadecimal", "http://0x7f.1:PORT/"},
		{"loopback, octal", "http://0177.0.0.1:PORT/"},
		{"loopback, in brackets", "http://[127.0.0.1]:PORT/"},
		{"loopback, IPv6", "http://[::1]:PORT/"},
		{"loopback, IPv6 in full", "http://[0:0:0:0:0:0:0:1]:PORT/"},
		{"loopback, mapped", "http://[::ffff:127.0.0.1]:PORT/"},
		{"loopback, mapped in hexadecimal", "http://[::ffff:7f00:1]:PORT/"},
		{"loopback, compatible", "http://[::127.0.0.1]:PORT/"},
		{"localhost", "http://localhost:PORT/"},
		{"localhost with a dot", "http://localhost.:PORT/"},
		{"localhost in capitals", "http://LOCALHOST:PORT/"},
		{"this host", "http://0.0.0.0:PORT/"},
		{"this host, short", "http://0:PORT/"},
		{"this host, IPv6", "http://[::]:PORT/"},
		{"this network", "http://0.1.2.3:PORT/"},
		{"metadata of clouds", "http://169.254.169.254/latest/meta-data/"},
		{"metadata of AWS, IPv6", "http://[fd00:ec2::254]/latest/meta-data/"},
		{"metadata of Azure", "http://168.63.129.16/machine"},
		{"link-local with a zone", "http://[fe80::1%25eth0]:PORT/"},
		{"loopback with a zone", "http://[::1%25lo]:PORT/"},
		{"multicast", "http://224.0.0.1:PORT/"},
		{"multicast, IPv6", "http://[ff02::1]:PORT/"},
		{"reserved", "http://240.0.0.1:PORT/"},
		{"broadcast", "http://255.255.255.255:PORT/"},
		{"NAT64", "http://[64:ff9b::7f00:1]:PORT/"},
		{"NAT64, dotted", "http://[64:ff9b::127.0.0.1]:PORT/"},
		{"NAT64, of the site", "http://[64:ff9b:1::7f00:1]:PORT/"},
		{"6to4", "http://[2002:7f00:1::]:PORT/"},
		{"Teredo", "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:PORT/"},
		{"the hub's pods", "http://10.130.4.5:PORT/"},
		{"the hub's pods, mapped", "http://[::ffff:10.130.4.5]:PORT/"},
		{"the hub's pods, IPv6", "http://[fd01::5]:PORT/"},

		{"a name of loopback", "http://loopback.example.net:PORT/"},
		{"a name of loopback with a dot", "http://loopback.example.net.:PORT/"},
		{"a name of loopback, IPv6", "http://loopback6.example.net:PORT/"},
		{"a name of loopback, mapped", "http://mapped.example.net:PORT/"},
		{"a name of link-local", "http://linklocal.example.net:PORT/"},
		{"a name of link-local, IPv6", "http://linklocal6.example.net:PORT/"},
		{"a name of this host", "http://any.example.net:PORT/"},
		{"a name of this host, IPv6", "http://any6.example.net:PORT/"},
		{"a name of multicast", "http://multicast.example.net:PORT/"},
		{"a name of broadcast", "http://broadcast.example.net:PORT/"},
		{"a name of NAT64", "http://nat64.example.net:PORT/"},
		{"a name of NAT64, of the site", "http://nat64own.example.net:PORT/"},
		{"a name of 6to4", "http://sixtofour.example.net:PORT/"},
		{"a name of Teredo", "http://teredo.example.net:PORT/"},
		{"a name of the hub", "http://hub.example.net:PORT/"},
		{"a name of the hub, IPv6", "http://hub6.example.net:PORT/"},
		{"a name of metadata", "http://metadata.example.net:PORT/"},
		{"a name of metadata, IPv6", "http://metadata6.example.net:PORT/"},
		{"a name of good and bad", "http://mixed.example.net:PORT/"},
		{"a name of good and bad, IPv6", "http://mixed6.example.net:PORT/"},
		{"a name of the hub and good", "http://mixedhub.example.net:PORT/"},
		{"a name of nothing", "http://nobody.example.net:PORT/"},

		{"user", "http://user@good.example.net:PORT/"},
		{"user and password", "http://user:password@good.example.net:PORT/"},
		{"a user that looks like a host", "http://good.example.net:PORT@127.0.0.1:PORT/"},
		{"a backslash", `http://127.0.0.1:PORT\@good.example.net/`},
		{"ideographic dots", "http://127。0。0。1:PORT/"},
		{"fullwidth dots", "http://127．0．0．1:PORT/"},
		{"fullwidth digits", "http://１２７.0.0.1:PORT/"},
		{"circled letters", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/"},
		{"an encoded dot", "http://127%2e0.0.1:PORT/"},
		{"an encoded NUL", "http://good.example.net%00.127.0.0.1:PORT/"},
		{"a leading dot", "http://.good.example.net:PORT/"},
		{"CR LF in the path", "http://good.example.net:PORT/\r\nHost: 127.0.0.1"},
		{"CR LF in the host", "http://good.example.net\r\nX: y:PORT/"},
		{"a tab", "http://good.\texample.net:PORT/"},
		{"a space", "http://good.example.net :PORT/"},
		{"port 0", "http://good.example.net:0/"},
		{"port 65536", "http://good.example.net:65536/"},
		{"port that wraps", "http://good.example.net:4294967376/"},
		{"a port in words", "http://good.example.net:http/"},
		{"a negative port", "http://good.example.net:-1/"},

		{"file", "file:///etc/passwd"},
		{"file with a host", "file://good.example.net/etc/passwd"},
		{"gopher", "gopher://127.0.0.1:PORT/_x"},
		{"ftp", "ftp://127.0.0.1:PORT/"},
		{"unix socket", "unix:///var/run/docker.sock"},
		{"javascript", "javascript:alert(1)"},
		{"data", "data:text/plain,x"},
		{"no scheme", "//127.0.0.1:PORT/"},
		{"no host", "http:///path"},
		{"opaque", "http:127.0.0.1:PORT"},
		{"a scheme in a scheme", "http:http://127.0.0.1:PORT/"},
		{"blank", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := strings.ReplaceAll(tc.url, "PORT", port)
			if err := c.CheckURL(t.Context(), target); !errors.Is(err, fault.Invalid) || strings.Contains(err.Error(), "password") {
				t.Errorf("CheckURL(%q) = %v, want invalid, without a password", target, err)
			}
			if err := c.Reach(t.Context(), target); !errors.Is(err, fault.Invalid) {
				t.Errorf("Reach(%q) = %v, want invalid", target, err)
			}
			if _, err := c.Register(t.Context(), registration(target)); err == nil {
				t.Errorf("Register(%q) succeeded", target)
			}
			if reached.Load() {
				t.Fatalf("%q got through", target)
			}
		})
	}
}

// TestRebindingByAnswer has a name server that tosses a coin, so that a check and a call see
// different addresses in both orders, many times.
func TestRebindingByAnswer(t *testing.T) {
	var reached atomic.Bool
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer victim.Close()
	names := nameServer(t, func(string) []netip.Addr {
		if rand.IntN(2) == 0 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.3")}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	})
	c := client(t, Options{AllowHTTP: true, AllowNetworks: []string{"127.0.0.3"}}, Parts{Resolver: names})
	target := strings.Replace(victim.URL, "127.0.0.1", "rebind.example.net", 1)
	passed := 0
	for range 50 {
		if c.CheckURL(t.Context(), target) == nil {
			passed++
		}
		if _, err := get(t, c, target); err == nil {
			t.Fatal("a call succeeded")
		}
	}
	if reached.Load() {
		t.Error("the victim was reached")
	}
	if passed == 0 || passed == 50 {
		t.Errorf("the check passed %d of 50 times, want some: the coin has two equal sides", passed)
	}
}

// TestThirdPartiesAreGuarded is about what is lent to others, whose client would follow
// redirections.
func TestThirdPartiesAreGuarded(t *testing.T) {
	var reached atomic.Bool
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer victim.Close()
	i := newIssuer(t, "s")
	c, _ := configured(t, Settings{OAuth: i.oauth("s"), Hosts: []string{"127.0.0.1"}})
	transport, err := c.Transport(nil)
	if err != nil {
		t.Fatal(err)
	}
	borrower := &http.Client{Transport: transport}
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(victim.URL, status))
		if _, err := borrower.Get(s.URL); !errors.Is(err, fault.Upstream) || reached.Load() {
			t.Errorf("redirection %d: %v, want upstream, and nobody reached", status, err)
		}
		s.Close()
	}
	if _, err := borrower.Get("http://127.0.0.2:1/"); !errors.Is(err, ErrAddress) {
		t.Errorf("an address that is refused: %v, want ErrAddress", err)
	}
	if _, err := borrower.Post("ftp://127.0.0.1/", "", strings.NewReader("x")); !errors.Is(err, fault.Invalid) {
		t.Errorf("another scheme: %v, want invalid", err)
	}
	smo := newConsumer(t, nil, nil)
	response, err := borrower.Get(smo.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got := smo.sent(); got != "" || i.count() != 0 {
		t.Errorf("a third party was sent %q, after %d requests for tokens", got, i.count())
	}
	borrower.CloseIdleConnections()
	if _, err := c.Transport([]byte("no PEM")); !errors.Is(err, fault.Invalid) {
		t.Errorf("a bundle that is none: %v, want invalid", err)
	}
}

// TestHostileStreams has servers that speak no clean HTTP.
func TestHostileStreams(t *testing.T) {
	for name, speak := range map[string]func(ctx context.Context, conn net.Conn){
		"headers a byte at a time": func(ctx context.Context, conn net.Conn) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Slow: ")
			for err == nil {
				select {
				case <-tick.C:
					_, err = conn.Write([]byte("x"))
				case <-ctx.Done():
					return
				}
			}
		},
		"one endless header": func(_ context.Context, conn net.Conn) {
			_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Long: ")
			for block := make([]byte, 4096); err == nil; {
				_, err = conn.Write(block)
			}
		},
		"interim answers without end": func(_ context.Context, conn net.Conn) {
			var err error
			for err == nil {
				_, err = io.WriteString(conn, "HTTP/1.1 102 Processing\r\n\r\n")
			}
		},
		"not HTTP": func(_ context.Context, conn net.Conn) { _, _ = io.WriteString(conn, "220 mail.example.net ESMTP\r\n") },
		"a body shorter than said": func(_ context.Context, conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nshort")
		},
		"chunks of odd sizes": func(_ context.Context, conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nx")
		},
		"two lengths": func(_ context.Context, conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						buf := make([]byte, 4096)
						if _, err := conn.Read(buf); err == nil {
							speak(t.Context(), conn)
						}
					}()
				}
			}()
			c := client(t, Options{AllowNetworks: toLoopback.AllowNetworks, AllowHTTP: true, Timeout: 300 * time.Millisecond}, Parts{})
			began := time.Now()
			response, err := get(t, c, "http://"+l.Addr().String()+"/")
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
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
