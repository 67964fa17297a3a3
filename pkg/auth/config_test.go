package auth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/pkg/fault"
)

// TestConfigure checks that all that is wrong is said, and that nothing of it comes into
// force.
func TestConfigure(t *testing.T) {
	ca := authtest.NewCA(t, "clients", newClock().Now)
	issuer := func(change func(*Issuer)) Config {
		i := Issuer{URL: "https://idp.example/realms/a", Audiences: []string{"o2ims"}}
		change(&i)
		return Config{Issuers: []Issuer{i}, Transport: func([]byte) (http.RoundTripper, error) { return http.DefaultTransport, nil }}
	}
	url := func(u string) Config { return issuer(func(i *Issuer) { i.URL = u }) }
	networks := func(header string, n ...string) Config {
		p := TrustedProxies{Header: header}
		for _, text := range n {
			p.Networks = append(p.Networks, netip.MustParsePrefix(text))
		}
		return Config{Proxies: p}
	}
	for _, tc := range []struct {
		name   string
		config Config
		want   []string // faults; none: valid
	}{
		{"nothing", Config{}, nil},
		{"least", issuer(func(*Issuer) {}), nil},
		{"all", Config{
			Issuers: []Issuer{{URL: "https://idp.example", Audiences: []string{"a", "b"}, UsernameClaim: "user.name", UsernamePrefix: "sso:", GroupsClaim: "realm_access.roles",
				RoleNames: map[string]string{"operator": RoleAdmin, RoleReader: RoleReader}, Algorithms: []string{"ES256"}, RequireBinding: true, CABundle: ca.PEM(), Leeway: maxLeeway}},
			Certificates: ClientCertificates{CABundle: ca.PEM(), Required: true, Subjects: []string{"CN=smo"}},
			Proxies:      TrustedProxies{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: HeaderXFCC},
			Transport:    authtest.Transport}, nil},
		{"http on this machine", url("http://127.0.0.1:8080"), nil},
		{"http elsewhere", url("http://idp.example"), []string{"only https"}},
		{"http at a name that looks like this machine", url("http://127.0.0.1.example"), []string{"only https"}},
		{"no URL", url(""), []string{"only https"}},
		{"no host", url("https:///realm"), []string{"no host"}},
		{"password", url("https://a:secret@idp.example"), []string{"neither user"}},
		{"query", url("https://idp.example?a=b"), []string{"neither user"}},
		{"fragment", url("https://idp.example#"), []string{"neither user"}},
		{"no audience", issuer(func(i *Issuer) { i.Audiences = nil }), []string{"audience"}},
		{"empty audience", issuer(func(i *Issuer) { i.Audiences = []string{"a", ""} }), []string{"audience"}},
		{"paths", issuer(func(i *Issuer) { i.UsernameClaim, i.GroupsClaim = "a..b", "." }), []string{`user name claim "a..b"`, `groups claim "."`}},
		{"prefix of Kubernetes", issuer(func(i *Issuer) { i.UsernamePrefix = "system:serviceaccount:" }), []string{"user name prefix"}},
		{"roles", issuer(func(i *Issuer) { i.RoleNames = map[string]string{"operator": "system:masters"} }), []string{`"system:masters" is none of`}},
		{"role renamed", issuer(func(i *Issuer) { i.RoleNames = map[string]string{RoleReader: RoleAdmin} }), []string{"cannot mean"}},
		{"algorithms", issuer(func(i *Issuer) { i.Algorithms = []string{"none", "HS256"} }), []string{`"none"`, `"HS256"`}},
		{"leeway", issuer(func(i *Issuer) { i.Leeway = maxLeeway + 1 }), []string{"leeway"}},
		{"negative leeway", issuer(func(i *Issuer) { i.Leeway = -1 }), []string{"leeway"}},
		{"CA", issuer(func(i *Issuer) { i.CABundle = []byte("no PEM") }), []string{"no certificate in it"}},
		{"binding without certificates", issuer(func(i *Issuer) { i.RequireBinding = true }), []string{"binding is required"}},
		{"twice", Config{Issuers: []Issuer{{URL: "https://a", Audiences: []string{"a"}}, {URL: "https://a", Audiences: []string{"a"}}}, Transport: authtest.Transport}, []string{"twice"}},
		{"nobody asks", Config{Issuers: []Issuer{{URL: "https://a", Audiences: []string{"a"}}}}, []string{"how to ask"}},
		{"several", issuer(func(i *Issuer) { i.URL, i.Audiences, i.Leeway = "ftp://a", nil, -1 }), []string{"only https", "audience", "leeway"}},
		{"clients' CA", Config{Certificates: ClientCertificates{CABundle: append(ca.PEM(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"...)}}, []string{"certificate 2"}},
		{"clients' key", Config{Certificates: ClientCertificates{CABundle: []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}}, []string{`type "PRIVATE KEY"`}},
		{"required of nobody", Config{Certificates: ClientCertificates{Required: true}}, []string{"neither a CA nor a trusted proxy"}},
		{"subjects of nobody", Config{Certificates: ClientCertificates{Subjects: []string{"CN=a"}}}, []string{"neither a CA nor a trusted proxy"}},
		{"empty subject", Config{Certificates: ClientCertificates{CABundle: ca.PEM(), Subjects: []string{""}}}, []string{"subject is empty"}},
		{"everybody a proxy", networks(HeaderXFCC, "0.0.0.0/0", "::/0"), []string{"0.0.0.0/0", "::/0"}},
		{"no network", Config{Proxies: TrustedProxies{Networks: make([]netip.Prefix, 1), Header: HeaderXFCC}}, []string{"trust everybody"}},
		{"header", networks("xfcc", "10.0.0.0/8"), []string{`"xfcc" is none of`}},
		{"header of no proxy", networks(""), nil},
		{"transport", Config{Issuers: []Issuer{{URL: "https://a", Audiences: []string{"a"}}}, Transport: func([]byte) (http.RoundTripper, error) { return nil, errors.New("no way") }}, []string{"no way"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			callers := NewCallers(named("cluster"), newClock(), prometheus.NewRegistry())
			before := callers.regime.Load()
			err := callers.Configure(tc.config)
			if (err == nil) != (len(tc.want) == 0) || err != nil && !errors.Is(err, fault.Invalid) {
				t.Fatalf("error = %v, want %q", err, tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v, want %q", err, want)
				}
			}
			if err != nil && (callers.regime.Load() != before || strings.Contains(err.Error(), "secret")) {
				t.Errorf("settings with a fault are in force, or a password is shown: %v", err)
			}
		})
	}
}

// TestConfigureKeepsWhatDidNotChange checks that an issuer is not asked again because
// something else changed, but through the new transport when it is.
func TestConfigureKeepsWhatDidNotChange(t *testing.T) {
	w := newWorld(t)
	_, err := w.show(t, w.issuer.Token(w.issuer.Claims()))
	expect(t, "at first", err, nil)
	before := w.keySets()

	var asked atomic.Int32
	w.config.Transport = func(bundle []byte) (http.RoundTripper, error) {
		inner, err := authtest.Transport(bundle)
		return roundTripper(func(r *http.Request) (*http.Response, error) { asked.Add(1); return inner.RoundTrip(r) }), err
	}
	w.config.Certificates.CABundle = w.ca.PEM()
	w.config.Issuers = append(w.config.Issuers, Issuer{URL: "https://other.example", Audiences: []string{"o2ims"}, CABundle: w.ca.PEM()})
	w.configure(t)
	_, err = w.show(t, w.issuer.Token(w.issuer.Claims()))
	expect(t, "with other settings beside", err, nil)
	if w.keySets() != before {
		t.Error("the issuer was asked again")
	}
	w.issuer.Rotate()
	_, err = w.show(t, w.issuer.Token(w.issuer.Claims()))
	expect(t, "after a rotation", err, nil)
	if asked.Load() == 0 {
		t.Error("the issuer was asked through the former transport")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestConfigureKeepsNothingOfOthers checks that who configured may change the lists
// afterwards.
func TestConfigureKeepsNothingOfOthers(t *testing.T) {
	w := newWorld(t)
	w.config.Issuers[0].Audiences[0] = "changed"
	_, err := w.show(t, w.issuer.Token(w.issuer.Claims()))
	expect(t, "audience as it was configured", err, nil)
	w.configure(t)
	_, err = w.show(t, w.issuer.Token(w.issuer.Claims()))
	expect(t, "audience as it is configured", err, fault.Unauthenticated)
}

// TestConfigureUnderLoad changes everything while requests run: not one may fail that both
// the former and the next settings accept.
func TestConfigureUnderLoad(t *testing.T) {
	w := newWorld(t)
	second := authtest.NewCA(t, "second", w.clock.Now)
	both := append(w.ca.PEM(), second.PEM()...)
	w.config.Proxies = proxies(HeaderRFC9440)
	w.config.Certificates.CABundle = both
	w.configure(t)
	mine, renewed := w.ca.Client("smo"), second.Client("smo")

	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	var served, failed atomic.Int64
	attempt := func(err error) {
		served.Add(1)
		if err != nil && ctx.Err() == nil && failed.Add(1) == 1 {
			t.Errorf("a request failed: %v", err)
		}
	}
	for n := range 4 {
		wait.Go(func() {
			for ctx.Err() == nil {
				client := mine
				if n%2 == 0 {
					client = renewed
				}
				certificate, err := w.callers.CertificateOf(from(proxyAddress, authtest.RFC9440(client.Leaf), nil))
				attempt(err)
				token := w.issuer.Token(w.issuer.Claims().BoundTo(client.Leaf), authtest.Algorithm("ES256"))
				_, err = w.callers.Authenticate(ctx, Credentials{Token: token, Certificate: certificate})
				attempt(err)
			}
		})
	}
	for change := range 60 {
		next := w.config
		next.Issuers = []Issuer{w.settings()}
		switch change % 4 {
		case 0:
			next.Issuers[0].GroupsClaim = "groups"
		case 1:
			next.Certificates.Subjects = []string{"CN=smo,O=example"}
		case 2:
			next.Issuers = append(next.Issuers, Issuer{URL: "https://other.example", Audiences: []string{"o2ims"}, CABundle: w.ca.PEM()})
		}
		if change%10 == 9 {
			w.issuer.Rotate()
		}
		before := served.Load()
		if err := w.callers.Configure(next); err != nil {
			t.Error(err)
		}
		w.clock.pass(10 * time.Second)
		until(t, "requests are served between two changes", func() bool { return served.Load() > before+8 })
	}
	stop()
	wait.Wait()
	t.Logf("%d requests while the settings changed 60 times and the keys 6 times", served.Load())
}
