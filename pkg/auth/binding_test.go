package auth

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/pkg/fault"
)

func TestBinding(t *testing.T) {
	w := newWorld(t)
	mine, other := w.ca.Client("smo"), w.ca.Client("smo")
	claims := w.issuer.Claims()
	thumbprint := authtest.Thumbprint(mine.Leaf)
	sum, err := base64.RawURLEncoding.DecodeString(thumbprint)
	if err != nil {
		t.Fatal(err)
	}
	cnf := func(methods any) authtest.Claims { return claims.With("cnf", methods) }
	for _, tc := range []struct {
		name   string
		claims authtest.Claims
		shown  *tls.Certificate
		want   error
	}{
		{"bound, certificate shown", claims.BoundTo(mine.Leaf), &mine, nil},
		{"bound, another shown", claims.BoundTo(mine.Leaf), &other, errBinding},
		{"bound, none shown", claims.BoundTo(mine.Leaf), nil, errBinding},
		{"not bound, none shown", claims, nil, nil},
		{"not bound, certificate shown", claims, &mine, nil},
		{"null", cnf(nil), &mine, errBinding},
		{"text", cnf(thumbprint), &mine, errBinding},
		{"list", cnf([]any{map[string]any{"x5t#S256": thumbprint}}), &mine, errBinding},
		{"empty", cnf(map[string]any{}), &mine, errBinding},
		{"empty thumbprint", cnf(map[string]any{"x5t#S256": ""}), &mine, errBinding},
		{"thumbprint in a list", cnf(map[string]any{"x5t#S256": []string{thumbprint}}), &mine, errBinding},
		{"cut thumbprint", cnf(map[string]any{"x5t#S256": thumbprint[:40]}), &mine, errBinding},
		{"padded thumbprint", cnf(map[string]any{"x5t#S256": thumbprint + "="}), &mine, errBinding},
		{"thumbprint in hex", cnf(map[string]any{"x5t#S256": hex.EncodeToString(sum)}), &mine, errBinding},
		{"thumbprint in capitals", cnf(map[string]any{"X5T#S256": thumbprint}), &mine, errBinding},
		{"SHA-1", cnf(map[string]any{"x5t": thumbprint}), &mine, errBinding},
		{"DPoP", cnf(map[string]any{"jkt": thumbprint}), &mine, errBinding},
		{"key", cnf(map[string]any{"jwk": map[string]any{"kty": "oct"}}), &mine, errBinding},
		{"key id", cnf(map[string]any{"kid": "k"}), &mine, errBinding},
		{"two methods", cnf(map[string]any{"x5t#S256": thumbprint, "jkt": "k"}), &mine, errBinding},
	} {
		credentials := Credentials{Token: w.issuer.Token(tc.claims)}
		if tc.shown != nil {
			credentials.Certificate = tc.shown.Leaf
		}
		for _, try := range []string{"afresh", "remembered"} {
			_, err := w.callers.Authenticate(t.Context(), credentials)
			expect(t, tc.name+", "+try, err, tc.want)
			if tc.want != nil {
				expect(t, tc.name+", "+try, err, fault.Unauthenticated)
			}
		}
	}
}

// TestStolenToken checks that what is remembered of a bound token helps nobody who does not
// show the certificate, and that such attempts do not harm its owner.
func TestStolenToken(t *testing.T) {
	w := newWorld(t)
	mine, thiefs := w.ca.Client("smo"), w.ca.Client("thief")
	token := w.issuer.Token(w.issuer.Claims().BoundTo(mine.Leaf))
	for range 3 {
		_, err := w.callers.Authenticate(t.Context(), Credentials{Token: token, Certificate: thiefs.Leaf})
		expect(t, "thief", err, errBinding)
		_, err = w.callers.Authenticate(t.Context(), Credentials{Token: token})
		expect(t, "thief without a certificate", err, errBinding)
		_, err = w.callers.Authenticate(t.Context(), Credentials{Token: token, Certificate: mine.Leaf})
		expect(t, "owner", err, nil)
	}
}

func TestRequiredBinding(t *testing.T) {
	w := newWorld(t)
	mine := w.ca.Client("smo")
	unbound := w.issuer.Token(w.issuer.Claims())
	bound := w.issuer.Token(w.issuer.Claims().BoundTo(mine.Leaf))
	shown := func(token string) error {
		_, err := w.callers.Authenticate(t.Context(), Credentials{Token: token, Certificate: mine.Leaf})
		return err
	}
	expect(t, "unbound token where binding is not required", shown(unbound), nil)
	w.config.Issuers[0].RequireBinding = true
	w.config.Certificates.CABundle = w.ca.PEM()
	w.configure(t)
	expect(t, "unbound token where binding is required", shown(unbound), errBinding)
	expect(t, "bound token where binding is required", shown(bound), nil)
}

// FuzzConfirmation checks that no cnf leaves a token unbound.
func FuzzConfirmation(f *testing.F) {
	f.Add("x5t#S256", strings.Repeat("A", 43))
	f.Add("x5t#S256", "")
	f.Add("jkt", strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, method, value string) {
		bound, err := confirmation(map[string]any{"cnf": map[string]any{method: value}})
		if (err == nil) != (bound != nil) {
			t.Fatalf("%q: %q: bound to %v, error %v", method, value, bound, err)
		}
		if bound != nil && (method != thumbprintMember || base64.RawURLEncoding.EncodeToString(bound[:]) != value) {
			t.Errorf("%q: %q was read as %x", method, value, bound)
		}
	})
}
