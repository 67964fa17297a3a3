package smo

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestDiscovery(t *testing.T) {
	for _, tc := range []struct {
		name   string
		path   string // of the issuer
		stated string // issuer in the document, after the URL
		looks  []string
		err    string
	}{
		{name: "OpenID Connect", looks: []string{"/.well-known/openid-configuration"}},
		{name: "OAuth, with a path", path: "/tenant", stated: "/tenant",
			looks: []string{"/tenant/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/tenant"}},
		{name: "another issuer", path: "/tenant", stated: "/other", err: "is of issuer"},
		{name: "a slash more", stated: "/", err: "is of issuer"},
		{name: "nowhere", path: "/nobody", err: "no discovery document"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := newIssuer(t, "s")
			i.issuer = i.URL + tc.stated
			smo := newConsumer(t, i, nil)
			c, _ := configured(t, Settings{OAuth: &OAuth{Issuer: i.URL + tc.path, ClientID: "c", ClientSecret: "s"}, Hosts: []string{smo.host()}})
			_, err := call(t, c, smo.URL, "")
			if tc.err == "" && (err != nil || !slices.Equal(i.lookups, tc.looks)) {
				t.Errorf("looked at %v, %v, want %v", i.lookups, err, tc.looks)
			}
			if tc.err != "" && (!errors.Is(err, ErrToken) || !strings.Contains(err.Error(), tc.err) || i.count() != 0) {
				t.Errorf("error = %v, want %q and no request for a token", err, tc.err)
			}
		})
	}
}

// TestDiscoveryIsRepeatedAfterAFailure has a token endpoint that moves.
func TestDiscoveryIsRepeatedAfterAFailure(t *testing.T) {
	i := newIssuer(t, "s")
	smo := newConsumer(t, i, nil)
	endpoint := "/gone"
	documents := httptest.NewServer(nil)
	defer documents.Close()
	documents.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"` + documents.URL + `","token_endpoint":"` + i.URL + endpoint + `"}`))
	})
	c, now := configured(t, Settings{OAuth: &OAuth{Issuer: documents.URL, ClientID: "c", ClientSecret: "s"}, Hosts: []string{smo.host()}})
	if _, err := call(t, c, smo.URL, ""); !errors.Is(err, ErrToken) {
		t.Fatalf("error = %v, want ErrToken", err)
	}
	endpoint = "/token"
	now.Step(fetchBackoff.Max)
	mustCall(t, c, smo.URL)
}

func TestDiscoveredEndpointIsGuarded(t *testing.T) {
	for _, endpoint := range []string{"http://127.0.0.2:1/token", "ftp://127.0.0.1/token", "http://[::1]:1/token", "http://user:pass@127.0.0.1/", "/token", "http://127.0.0.1:0/token"} {
		documents := httptest.NewServer(nil)
		documents.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"issuer":"` + documents.URL + `","token_endpoint":"` + endpoint + `"}`))
		})
		smo := newConsumer(t, nil, nil)
		c, _ := configured(t, Settings{OAuth: &OAuth{Issuer: documents.URL, ClientID: "c", ClientSecret: "s"}, Hosts: []string{smo.host()}})
		if _, err := call(t, c, smo.URL, ""); !errors.Is(err, ErrToken) || !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.Upstream) {
			t.Errorf("token_endpoint %s: %v, want ErrToken", endpoint, err)
		}
		documents.Close()
	}
}

func TestTokenEndpointOfDocument(t *testing.T) {
	const both = `{"issuer":"i","token_endpoint":"https://a/t","mtls_endpoint_aliases":{"token_endpoint":"https://b/t"}}`
	for _, tc := range []struct {
		document    string
		certificate bool
		want        string
	}{
		{both, false, "https://a/t"}, {both, true, "https://b/t"},
		{`{"issuer":"i","token_endpoint":"https://a/t"}`, true, "https://a/t"},
		{`{"issuer":"i"}`, false, ""}, {`{"token_endpoint":"https://a/t"}`, false, ""}, {`[]`, false, ""}, {``, false, ""},
		{`{"issuer":"I","token_endpoint":"https://a/t"}`, false, ""},
	} {
		got, err := tokenEndpoint([]byte(tc.document), "i", tc.certificate)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("tokenEndpoint(%s, %t) = %q, %v, want %q", tc.document, tc.certificate, got, err, tc.want)
		}
	}
}

func FuzzTokenEndpoint(f *testing.F) {
	for _, seed := range []string{
		`{"issuer":"https://idp","token_endpoint":"https://idp/token"}`, `{"issuer":"https://idp","token_endpoint":"https://u:p@idp/"}`,
		`{"issuer":"https://idp","token_endpoint":":","mtls_endpoint_aliases":{"token_endpoint":"https://mtls/"}}`, `{"issuer":["https://idp"]}`, `[`,
	} {
		f.Add([]byte(seed), true)
	}
	c := client(f, Options{}, Parts{})
	f.Fuzz(func(t *testing.T, document []byte, certificate bool) {
		endpoint, err := tokenEndpoint(document, "https://idp", certificate)
		if (err == nil) == (endpoint == "") {
			t.Fatalf("tokenEndpoint(%q) = %q, %v", document, endpoint, err)
		}
		if err != nil {
			return
		}
		if r, err := http.NewRequest(http.MethodPost, endpoint, nil); err == nil && c.checkTarget(r.URL) == nil && r.URL.Scheme != "https" {
			t.Errorf("%q would be called", endpoint)
		}
	})
}
