package smo

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestSettingsThatAreRefused(t *testing.T) {
	ca := newAuthority(t, "ca")
	good := ca.client("o-cloud")
	other := ca.client("another")
	const secret = "hunter2"
	oauth := func(change func(*OAuth)) *OAuth {
		o := &OAuth{TokenURL: "https://idp.example.net/token", ClientID: "c", ClientSecret: secret}
		change(o)
		return o
	}
	for _, tc := range []struct {
		name     string
		settings Settings
		want     []string // parts of the error, one for each fault
	}{
		{"a bundle without PEM", Settings{CABundle: []byte("x")}, []string{"CA bundle holds no certificate"}},
		{"a bundle with a key", Settings{CABundle: append(ca.pem(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"...)}, []string{"block 2"}},
		{"a bundle with a broken certificate", Settings{CABundle: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, []string{"certificate 1"}},
		{"an empty certificate", Settings{Certificate: &tls.Certificate{}}, []string{"is empty"}},
		{"a broken certificate", Settings{Certificate: &tls.Certificate{Certificate: [][]byte{{1}}}}, []string{"client certificate"}},
		{"a certificate without key", Settings{Certificate: &tls.Certificate{Certificate: good.Certificate}}, []string{"has no key"}},
		{"a certificate with another key", Settings{Certificate: &tls.Certificate{Certificate: good.Certificate, PrivateKey: other.PrivateKey}}, []string{"do not belong together"}},
		{"issuer and token URL", Settings{OAuth: oauth(func(o *OAuth) { o.Issuer = "https://idp" })}, []string{"either"}},
		{"neither", Settings{OAuth: oauth(func(o *OAuth) { o.TokenURL = "" })}, []string{"either"}},
		{"a token URL without TLS", Settings{OAuth: oauth(func(o *OAuth) { o.TokenURL = "http://idp/" })}, []string{"want https"}},
		{"a token URL with a password", Settings{OAuth: oauth(func(o *OAuth) { o.TokenURL = "https://u:" + secret + "@idp/" })}, []string{"credentials"}},
		{"a token URL that is none", Settings{OAuth: oauth(func(o *OAuth) { o.TokenURL = "https://a b" })}, []string{"not a URL"}},
		{"a token URL with a fragment", Settings{OAuth: oauth(func(o *OAuth) { o.TokenURL += "#x" })}, []string{"fragment"}},
		{"a token URL elsewhere", Settings{OAuth: oauth(func(o *OAuth) { o.TokenURL = "https://evil.example.net" })}, []string{"may be called"}},
		{"no client id", Settings{OAuth: oauth(func(o *OAuth) { o.ClientID = "" })}, []string{"client id"}},
		{"no secret", Settings{OAuth: oauth(func(o *OAuth) { o.ClientSecret = "" })}, []string{"no client secret"}},
		{"a secret with a line break", Settings{OAuth: oauth(func(o *OAuth) { o.ClientSecret += "\n" })}, []string{"line break"}},
		{"style tls without certificate", Settings{OAuth: oauth(func(o *OAuth) { o.AuthStyle = "tls" })}, []string{"needs a client certificate"}},
		{"another style", Settings{OAuth: oauth(func(o *OAuth) { o.AuthStyle = "jwt" })}, []string{`"jwt"`}},
		{"a scope of two", Settings{OAuth: oauth(func(o *OAuth) { o.Scopes = []string{"a b"} })}, []string{`"a b"`}},
		{"an audience of two", Settings{OAuth: oauth(func(o *OAuth) { o.Audience = "a b" })}, []string{`"a b"`}},
		{"a host that is a URL", Settings{Hosts: []string{"https://smo"}}, []string{"host:port"}},
		{"a host without port", Settings{Hosts: []string{"smo:x"}}, []string{"host:port"}},
		{"everything at once", Settings{
			CABundle: []byte("x"), Certificate: &tls.Certificate{}, Hosts: []string{""},
			OAuth: &OAuth{AuthStyle: "jwt", Scopes: []string{""}},
		}, []string{"CA bundle", "is empty", "either", "client id", `"jwt"`, `scope ""`, "host:port"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := client(t, Options{Hosts: []string{"idp.example.net", "idp"}}, Parts{})
			before := c.current.Load()
			err := c.Configure(tc.settings)
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("error = %v, want invalid", err)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
			if got := strings.Count(err.Error(), "\n") + 1; got != len(tc.want) {
				t.Errorf("%d faults, want %d: %v", got, len(tc.want), err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error gives the secret away: %v", err)
			}
			if c.current.Load() != before {
				t.Error("what was in use is not any more")
			}
		})
	}
}

// TestStyleTLS proves with a certificate alone who we are, to the issuer and to the SMO,
// and at the endpoint that the issuer has for that.
func TestStyleTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	i := newIssuer(t)
	secured := newTLSServer(t, i.Config.Handler, ca.server(), ca.pool())
	i.issuer = secured.URL
	i.alias = secured.URL + "/alias"
	smo := newConsumer(t, i, nil)
	smo.Close()
	smo.Server = newTLSServer(t, smo.Config.Handler, ca.server(), ca.pool())
	c := client(t, Options{AllowNetworks: toLoopback.AllowNetworks}, Parts{})
	certificate := ca.client("o-cloud")
	if err := c.Configure(Settings{
		CABundle: ca.pem(), Certificate: &certificate, Hosts: []string{smo.host()},
		OAuth: &OAuth{Issuer: secured.URL, ClientID: "c", AuthStyle: "tls", ClientSecret: "not sent"},
	}); err != nil {
		t.Fatal(err)
	}
	mustCall(t, c, smo.URL)
	if got, want := i.requests[0].Encode(), "client_id=c&grant_type=client_credentials&path=%2Falias"; got != want {
		t.Errorf("request = %s, want %s", got, want)
	}
	if smo.cert[0] != "o-cloud" {
		t.Errorf("the SMO saw the certificate of %q, want o-cloud", smo.cert[0])
	}
	// Strangers see neither.
	stranger := newConsumer(t, nil, nil)
	stranger.Close()
	stranger.Server = newTLSServer(t, stranger.Config.Handler, ca.server(), ca.pool())
	mustCall(t, c, stranger.URL)
	if stranger.cert[0] != "" || stranger.seen[0] != "" {
		t.Errorf("a stranger saw the certificate of %q and %q, want neither", stranger.cert[0], stranger.seen[0])
	}
}

// TestCAFileIsReadAgain changes the file of a flag; the next Configure notices.
func TestCAFileIsReadAgain(t *testing.T) {
	old, now := newAuthority(t, "old"), newAuthority(t, "new")
	s := newTLSServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), now.server(), nil)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, old.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := client(t, Options{AllowNetworks: toLoopback.AllowNetworks, CAFile: file}, Parts{})
	if _, err := call(t, c, s.URL, ""); err == nil {
		t.Error("trusted without reason")
	}
	if err := os.WriteFile(file, now.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Configure(Settings{}); err != nil {
		t.Fatal(err)
	}
	mustCall(t, c, s.URL)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Configure(Settings{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("an empty file: %v, want invalid", err)
	}
	mustCall(t, c, s.URL)
}
