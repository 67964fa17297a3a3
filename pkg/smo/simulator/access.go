package simulator

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Caller is what is known of who sends.
type Caller struct {
	Client      string `json:"client,omitempty"`      // client_id, azp or sub of the token
	Certificate string `json:"certificate,omitempty"` // subject
}

// String is how it is printed behind something else.
func (c Caller) String() string {
	text := ""
	if c.Client != "" {
		text += "  by " + c.Client
	}
	if c.Certificate != "" {
		text += "  with the certificate of " + c.Certificate
	}
	return text
}

// refusal is why somebody may not send.
type refusal struct {
	status int
	detail string
}

func (r *refusal) Error() string { return r.detail }

func (r *refusal) answer(w http.ResponseWriter) {
	if r.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	problem(w, r.status, r.detail)
}

// access decides who may send.
type access struct {
	issuer, audience string
	certificate      bool
	client           *http.Client

	mu       sync.Mutex
	provider *oidc.Provider // nil: the issuer has not answered yet
}

func (o *Options) newAccess() (*access, error) {
	a := &access{issuer: o.OAuthIssuer, audience: o.OAuthAudience, certificate: o.RequireClientCertificate}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if config.RootCAs, err = readPool(roots, "--ca-file", o.CAFile); err != nil {
			return nil, err
		}
	}
	a.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment}}
	return a, nil
}

func readPool(pool *x509.CertPool, flag, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %s holds no certificate: %w", flag, file, fault.Invalid)
	}
	return pool, nil
}

// check tells who sends a request, or why it is refused. The error is nil or a refusal.
func (a *access) check(r *http.Request) (Caller, *refusal) {
	var who Caller
	var peer *x509.Certificate
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		peer = r.TLS.PeerCertificates[0]
		who.Certificate = peer.Subject.String()
	}
	if a.certificate && peer == nil {
		return who, &refusal{http.StatusForbidden, "a client certificate is required"}
	}
	if a.issuer == "" {
		return who, nil
	}
	text, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		return who, &refusal{http.StatusUnauthorized, "a bearer token is required"}
	}
	verifier, err := a.verifier()
	if err != nil {
		return who, &refusal{http.StatusServiceUnavailable, "the issuer of tokens does not answer: " + err.Error()}
	}
	token, err := verifier.Verify(r.Context(), text)
	if err != nil {
		return who, &refusal{http.StatusUnauthorized, "the token is not good: " + err.Error()}
	}
	var claims claims
	if err := token.Claims(&claims); err != nil {
		return who, &refusal{http.StatusUnauthorized, "the token has claims of other types than they should be"}
	}
	if !claims.boundTo(peer) {
		return who, &refusal{http.StatusUnauthorized, "the token is bound to another certificate"}
	}
	who.Client = claims.client(token.Subject)
	return who, nil
}

// verifier asks the issuer for its keys when the first token comes, and until it answers.
func (a *access) verifier() (*oidc.IDTokenVerifier, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.provider == nil {
		provider, err := oidc.NewProvider(oidc.ClientContext(context.Background(), a.client), a.issuer)
		if err != nil {
			return nil, err
		}
		a.provider = provider
	}
	return a.provider.Verifier(&oidc.Config{
		ClientID: a.audience, SkipClientIDCheck: a.audience == "",
		SupportedSigningAlgs: []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA},
	}), nil
}

// claims are what we look at of a token beyond what is verified anyway.
type claims struct {
	ClientID        string `json:"client_id"`
	AuthorizedParty string `json:"azp"`
	Confirmation    struct {
		Thumbprint string `json:"x5t#S256"`
	} `json:"cnf"`
}

// boundTo tells whether a token is for the holder of a certificate, or for anybody.
//
// Source: RFC 8705, 3.1.
func (c *claims) boundTo(peer *x509.Certificate) bool {
	if c.Confirmation.Thumbprint == "" {
		return true
	}
	if peer == nil {
		return false
	}
	sum := sha256.Sum256(peer.Raw)
	return c.Confirmation.Thumbprint == base64.RawURLEncoding.EncodeToString(sum[:])
}

func (c *claims) client(subject string) string {
	for _, name := range []string{c.ClientID, c.AuthorizedParty} {
		if name != "" {
			return name
		}
	}
	return subject
}

// problem answers with ProblemDetails.
//
// Source: RFC 9457.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": http.StatusText(status), "detail": detail}) // the client may be gone
}
