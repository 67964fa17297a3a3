package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	proxyAddress    = "10.1.2.3:4567"
	strangerAddress = "10.2.2.3:4567"
)

func proxies(header string) TrustedProxies {
	return TrustedProxies{Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}, Header: header}
}

// from is a request from an address with headers; a certificate stands for a TLS connection
// that it was verified for.
func from(address string, h http.Header, peer *tls.Certificate) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = address
	maps.Copy(r.Header, h)
	if peer != nil {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{peer.Leaf}, VerifiedChains: [][]*x509.Certificate{{peer.Leaf}}}
	}
	return r
}

func TestCertificateOf(t *testing.T) {
	w := newWorld(t)
	ca, strangers := w.ca, authtest.NewCA(t, "strangers", w.clock.Now)
	spiffe, err := url.Parse("spiffe://example/smo")
	if err != nil {
		t.Fatal(err)
	}
	mine, proxyOwn, foreign := ca.Client("smo"), ca.Client("proxy"), strangers.Client("smo")
	dns := ca.Client("x", func(c *x509.Certificate) { c.DNSNames = []string{"smo.example"} })
	uri := ca.Client("x", func(c *x509.Certificate) { c.URIs = []*url.URL{spiffe} })
	expired := ca.Client("smo", func(c *x509.Certificate) { c.NotAfter = w.clock.Now().Add(-time.Second) })
	serverOnly := ca.Client("smo", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	pinned := ClientCertificates{CABundle: ca.PEM(), Subjects: []string{"CN=smo,O=example", "smo.example", "spiffe://example/smo"}}
	signed := ClientCertificates{CABundle: ca.PEM()}
	required := ClientCertificates{CABundle: ca.PEM(), Required: true}
	haproxy, rfc9440, xfcc := proxies(HeaderHAProxy), proxies(HeaderRFC9440), proxies(HeaderXFCC)

	for _, tc := range []struct {
		name    string
		config  ClientCertificates
		proxies TrustedProxies
		request *http.Request
		want    *tls.Certificate
		why     string // empty: no error
	}{
		{"TLS peer", signed, TrustedProxies{}, from(strangerAddress, nil, &mine), &mine, ""},
		{"no certificate", signed, TrustedProxies{}, from(strangerAddress, nil, nil), nil, ""},
		{"no certificate, but required", required, TrustedProxies{}, from(strangerAddress, nil, nil), nil, "it is required"},
		{"required and shown", required, TrustedProxies{}, from(strangerAddress, nil, &mine), &mine, ""},
		{"certificates are not asked for", ClientCertificates{}, TrustedProxies{}, from(strangerAddress, nil, &mine), nil, ""},
		{"CA changed since the connection began", signed, TrustedProxies{}, from(strangerAddress, nil, &foreign), nil, "unknown authority"},
		{"expired since the connection began", signed, TrustedProxies{}, from(strangerAddress, nil, &expired), nil, "expired"},
		{"allowed subject", pinned, TrustedProxies{}, from(strangerAddress, nil, &mine), &mine, ""},
		{"allowed DNS name", pinned, TrustedProxies{}, from(strangerAddress, nil, &dns), &dns, ""},
		{"allowed URI", pinned, TrustedProxies{}, from(strangerAddress, nil, &uri), &uri, ""},
		{"another subject", pinned, TrustedProxies{}, from(strangerAddress, nil, &proxyOwn), nil, "not among the allowed"},

		{"HAProxy", signed, haproxy, from(proxyAddress, authtest.HAProxy(mine.Leaf), nil), &mine, ""},
		{"RFC 9440", signed, rfc9440, from(proxyAddress, authtest.RFC9440(mine.Leaf), nil), &mine, ""},
		{"XFCC", signed, xfcc, from(proxyAddress, authtest.XFCC(mine.Leaf), nil), &mine, ""},
		{"proxy of IPv6", signed, xfcc, from("[fd00::1]:1", authtest.XFCC(mine.Leaf), nil), &mine, ""},
		{"proxy of IPv4 in IPv6", signed, xfcc, from("[::ffff:10.1.2.3]:1", authtest.XFCC(mine.Leaf), nil), &mine, ""},
		{"proxy without CAs of ours", ClientCertificates{}, rfc9440, from(proxyAddress, authtest.RFC9440(foreign.Leaf), nil), &foreign, ""},
		{"proxy vouches for a stranger", signed, rfc9440, from(proxyAddress, authtest.RFC9440(foreign.Leaf), nil), nil, "unknown authority"},
		{"proxy vouches for an expired one", signed, rfc9440, from(proxyAddress, authtest.RFC9440(expired.Leaf), nil), nil, "expired"},
		{"proxy vouches for a server", signed, rfc9440, from(proxyAddress, authtest.RFC9440(serverOnly.Leaf), nil), nil, "key usage"},
		{"proxy, another subject", pinned, rfc9440, from(proxyAddress, authtest.RFC9440(proxyOwn.Leaf), nil), nil, "not among the allowed"},
		{"proxy says that there is none", required, rfc9440, from(proxyAddress, nil, nil), nil, "it is required"},
		{"the proxy's own certificate is not the client's", required, rfc9440, from(proxyAddress, nil, &proxyOwn), nil, "it is required"},
		{"the proxy's own beside the client's", signed, rfc9440, from(proxyAddress, authtest.RFC9440(mine.Leaf), &proxyOwn), &mine, ""},
		{"another proxy's header", signed, rfc9440, from(proxyAddress, authtest.XFCC(mine.Leaf), nil), nil, ""},

		{"forged by a stranger", signed, haproxy, from(strangerAddress, authtest.HAProxy(mine.Leaf), nil), nil, ""},
		{"forged by a stranger where it is required", required, rfc9440, from(strangerAddress, authtest.RFC9440(mine.Leaf), nil), nil, "it is required"},
		{"forged beside the stranger's own", signed, xfcc, from(strangerAddress, authtest.XFCC(mine.Leaf), &proxyOwn), &proxyOwn, ""},
		{"forged where no proxy is trusted", signed, TrustedProxies{}, from(proxyAddress, authtest.XFCC(mine.Leaf), nil), nil, ""},
		{"from an address that is none", required, xfcc, from("@", authtest.XFCC(mine.Leaf), nil), nil, "it is required"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.config.Certificates, w.config.Proxies = tc.config, tc.proxies
			w.configure(t)
			for _, try := range []string{"afresh", "remembered"} {
				r := tc.request.Clone(t.Context())
				got, err := w.callers.CertificateOf(r)
				if (err == nil) != (tc.why == "") || err != nil && (!strings.Contains(err.Error(), tc.why) || !errors.Is(err, fault.Unauthenticated)) {
					t.Fatalf("%s: error = %v, want %q", try, err, tc.why)
				}
				if err == nil && (got == nil) != (tc.want == nil) || got != nil && tc.want != nil && !got.Equal(tc.want.Leaf) {
					t.Errorf("%s: got %v, want %v", try, got, tc.want)
				}
				for name := range tc.request.Header {
					if r.Header.Values(name) != nil {
						t.Errorf("%s: the request still has %s", try, name)
					}
				}
			}
		})
	}
}

// TestCertificateIsNotBelievedBeyondItsEnd checks that remembering does not prolong.
func TestCertificateIsNotBelievedBeyondItsEnd(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Proxies = proxies(HeaderRFC9440) })
	mine := w.ca.Client("smo", func(c *x509.Certificate) { c.NotAfter = w.clock.Now().Add(10 * time.Second) })
	w.config.Certificates.CABundle = w.ca.PEM()
	w.configure(t)
	ask := func() error {
		_, err := w.callers.CertificateOf(from(proxyAddress, authtest.RFC9440(mine.Leaf), nil))
		return err
	}
	expect(t, "before its end", ask(), nil)
	w.clock.pass(11 * time.Second)
	expect(t, "after its end", ask(), fault.Unauthenticated)
}

// TestClientCAs checks the change of CAs: the new ones count at once, and with them go what
// the old ones had signed.
func TestClientCAs(t *testing.T) {
	w := newWorld(t)
	if w.callers.ClientCAs() != nil {
		t.Error("without CAs, clients would be asked for a certificate")
	}
	next := authtest.NewCA(t, "next", w.clock.Now)
	mine, renewed := w.ca.Client("smo"), next.Client("smo")
	shown := func(c tls.Certificate) error {
		_, err := w.callers.CertificateOf(from(strangerAddress, nil, &c))
		return err
	}
	for _, step := range []struct {
		story    string
		bundle   []byte
		old, new error
	}{
		{"old", w.ca.PEM(), nil, fault.Unauthenticated},
		{"both", append(w.ca.PEM(), next.PEM()...), nil, nil},
		{"new", next.PEM(), fault.Unauthenticated, nil},
	} {
		w.config.Certificates.CABundle = step.bundle
		w.configure(t)
		if w.callers.ClientCAs() == nil {
			t.Errorf("%s: no CAs", step.story)
		}
		expect(t, step.story+" CA, old certificate", shown(mine), step.old)
		expect(t, step.story+" CA, new certificate", shown(renewed), step.new)
	}
}

// TestIntermediateCAs checks that a client may send its chain itself, and that for the
// certificates of proxies the chain is ours to know.
func TestIntermediateCAs(t *testing.T) {
	w := newWorld(t)
	between := w.ca.Intermediate("between")
	mine := between.Client("smo")
	peer := from(strangerAddress, nil, &mine)
	peer.TLS.PeerCertificates = append(peer.TLS.PeerCertificates, between.Certificate)
	w.config.Proxies = proxies(HeaderRFC9440)
	for _, tc := range []struct {
		name    string
		bundle  []byte
		request *http.Request
		want    error
	}{
		{"the proxy does not send it", w.ca.PEM(), from(proxyAddress, authtest.RFC9440(mine.Leaf), nil), fault.Unauthenticated},
		{"the client sends it", w.ca.PEM(), peer, nil},
		{"it is configured", append(w.ca.PEM(), between.PEM()...), from(proxyAddress, authtest.RFC9440(mine.Leaf), nil), nil},
	} {
		w.config.Certificates.CABundle = tc.bundle
		w.configure(t)
		_, err := w.callers.CertificateOf(tc.request)
		expect(t, tc.name, err, tc.want)
	}
}
