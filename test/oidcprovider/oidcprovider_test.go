package oidcprovider

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

var clients = []Client{
	{ID: "smo", Secret: "very secret/+&%", Scopes: []string{"o2ims.read", "role:o2ims-reader"}, Claims: map[string]any{
		"roles": []any{"o2ims-reader"}, "realm_access": map[string]any{"roles": []any{"o2ims-subscriber"}},
	}},
	{ID: "poster", Secret: "in the body", Auth: Body, Algorithm: "ES256", Lifetime: 30 * time.Second},
	{ID: "bound.example.net", Auth: TLS, Bound: true, Algorithm: "PS256"},
	{ID: "half", Secret: "and a certificate", Bound: true, Algorithm: "EdDSA"},
}

func start(t *testing.T, o Options) *Provider {
	t.Helper()
	if testing.Short() {
		t.Skip("a real OpenID provider")
	}
	o.Dir = t.TempDir()
	o.Progress = t.Output()
	p, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Log(p.Log())
		}
	})
	return p
}

// verify checks a token as a client of go-oidc does, and returns its header and claims.
func verify(t *testing.T, p *Provider, token string) (jose.Header, map[string]any) {
	t.Helper()
	ctx := oidc.ClientContext(t.Context(), p.HTTPClient(nil))
	provider, err := oidc.NewProvider(ctx, p.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	verified, err := provider.Verifier(&oidc.Config{
		ClientID: "o2ims", SupportedSigningAlgs: []string{"RS256", "PS256", "ES256", "EdDSA"},
	}).Verify(ctx, token)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Signatures[0].Header, claims
}

func TestTokens(t *testing.T) {
	p := start(t, Options{Clients: clients})
	own, err := p.IssueClient("bound.example.net")
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.IssueClient("other.example.net")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, id    string
		certificate *tls.Certificate
		algorithm   string
		scope       any
		bound       bool
		lifetime    float64
		wantErr     string
	}{
		{name: "secret in the header", id: "smo", algorithm: "RS256", scope: "o2ims.read role:o2ims-reader", lifetime: 600},
		{name: "secret in the body", id: "poster", algorithm: "ES256", lifetime: 30},
		{name: "certificate", id: "bound.example.net", certificate: &own, algorithm: "PS256", bound: true, lifetime: 600},
		{name: "secret, bound to any certificate", id: "half", certificate: &other, algorithm: "EdDSA", bound: true, lifetime: 600},
		{name: "no certificate", id: "bound.example.net", wantErr: "invalid_client"},
		{name: "another's certificate", id: "bound.example.net", certificate: &other, wantErr: "invalid_client"},
		{name: "nothing to bind to", id: "half", wantErr: "invalid_grant"},
		{name: "unknown", id: "nobody", wantErr: ErrNoSuchClient.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token, err := p.TokenWith(t.Context(), tc.id, tc.certificate)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("error = %v, want %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			header, claims := verify(t, p, token)
			key, err := p.Key(tc.algorithm)
			if err != nil {
				t.Fatal(err)
			}
			if got := header.ExtraHeaders[jose.HeaderType]; header.Algorithm != tc.algorithm || header.KeyID != key.KeyID || got != "at+jwt" {
				t.Errorf("header %+v, want algorithm %s, key %s and type at+jwt (RFC 9068, clause 2.1)", header, tc.algorithm, key.KeyID)
			}
			for claim, want := range map[string]any{"iss": p.Issuer, "aud": "o2ims", "sub": tc.id, "client_id": tc.id, "scope": tc.scope} {
				if !reflect.DeepEqual(claims[claim], want) {
					t.Errorf("claim %s = %v, want %v", claim, claims[claim], want)
				}
			}
			issued, _ := claims["iat"].(float64)
			if expires, _ := claims["exp"].(float64); expires-issued != tc.lifetime {
				t.Errorf("valid for %v s, want %v", expires-issued, tc.lifetime)
			}
			if claims["jti"] == "" {
				t.Error("no claim jti")
			}
			var confirmation any
			if tc.bound {
				thumbprint := sha256.Sum256(tc.certificate.Leaf.Raw)
				confirmation = map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(thumbprint[:])}
			}
			if !reflect.DeepEqual(claims["cnf"], confirmation) {
				t.Errorf("claim cnf = %v, want %v", claims["cnf"], confirmation)
			}
			client, err := p.client(tc.id)
			if err != nil {
				t.Fatal(err)
			}
			for claim, want := range client.Claims {
				if !reflect.DeepEqual(claims[claim], want) {
					t.Errorf("claim %s = %v, want %v", claim, claims[claim], want)
				}
			}
		})
	}
}

// kids are the keys that the provider publishes.
func kids(t *testing.T, p *Provider) []string {
	t.Helper()
	response, err := p.HTTPClient(nil).Get(p.Issuer + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, key := range set.Keys {
		if !key.IsPublic() {
			t.Errorf("key %s is published with its private part", key.KeyID)
		}
		ids = append(ids, key.KeyID)
	}
	return ids
}

func TestRotation(t *testing.T) {
	p := start(t, Options{Clients: clients})
	ctx := t.Context()
	token := func(id string) (string, error) { return p.Token(ctx, id) }

	before, pid := kids(t, p), p.PID()
	if err := p.RotateKeys(ctx); err != nil {
		t.Fatal(err)
	}
	both := kids(t, p)
	if len(both) != 2*len(before) || !slices.Equal(both[len(before):], before) {
		t.Errorf("keys %v after %v, want new ones and then the old", both, before)
	}
	fresh, err := token("smo")
	if err != nil {
		t.Fatal(err)
	}
	if header, _ := verify(t, p, fresh); slices.Contains(before, header.KeyID) {
		t.Error("the old key signs still")
	}
	if err := p.RetireKeys(ctx); err != nil {
		t.Fatal(err)
	}
	if got := kids(t, p); !slices.Equal(got, both[:len(before)]) {
		t.Errorf("keys %v, want %v", got, both[:len(before)])
	}

	if err := p.SetSecret(ctx, "smo", "another"); err != nil {
		t.Fatal(err)
	}
	if _, err := token("smo"); err != nil {
		t.Errorf("the new secret: %v", err)
	}
	p.mu.Lock()
	p.clients[0].Secret = clients[0].Secret // we show the old one, the provider knows the new
	p.mu.Unlock()
	if _, err := token("smo"); err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("the old secret: error = %v, want invalid_client", err)
	}

	next := p.NextCA()
	if err := p.RotateCertificate(ctx); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.CA(), next) || bytes.Equal(p.NextCA(), next) {
		t.Error("the authority is not the one that was announced")
	}
	if _, err := token("poster"); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
	if p.PID() != pid {
		t.Error("the provider was restarted")
	}
}

func TestSeveralAndRestart(t *testing.T) {
	one, two := start(t, Options{Clients: clients}), start(t, Options{Clients: clients, Audience: "two"})
	if one.Issuer == two.Issuer {
		t.Fatalf("both are %s", one.Issuer)
	}
	token, err := two.Token(t.Context(), "smo")
	if err != nil {
		t.Fatal(err)
	}
	one.Kill()
	if _, err := one.Token(t.Context(), "smo"); err == nil {
		t.Error("the one that was killed answers")
	}
	if _, err := two.Token(t.Context(), "smo"); err != nil {
		t.Errorf("the other: %v", err)
	}
	issuer, before := one.Issuer, token
	if err := one.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if one.Issuer != issuer {
		t.Errorf("issuer %s, want %s", one.Issuer, issuer)
	}
	if token, err = one.Token(t.Context(), "smo"); err != nil || token == before {
		t.Errorf("after the restart: %v", err)
	}
}

// TestRefusedConfigurations checks that what is wrong with a configuration is told, and that
// nobody outside this machine can reach a provider.
func TestRefusedConfigurations(t *testing.T) {
	if testing.Short() {
		t.Skip("a real OpenID provider")
	}
	for name, tc := range map[string]struct {
		options Options
		want    string
	}{
		"for everybody":           {Options{Listen: "0.0.0.0:0"}, "only addresses in 127.0.0.0/8"},
		"a client without name":   {Options{Clients: []Client{{Secret: "secret"}}}, "client_id is mandatory"},
		"a client without secret": {Options{Clients: []Client{{ID: "smo"}}}, "client_secret is mandatory"},
		"a method of no name":     {Options{Clients: []Client{{ID: "smo", Secret: "secret", Auth: "none of these"}}}, "unknown method none of these"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.options.Dir, tc.options.Progress = t.TempDir(), t.Output()
			p, err := Start(t.Context(), tc.options)
			if err == nil {
				p.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want %q", err, tc.want)
			}
		})
	}
}
