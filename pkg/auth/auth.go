// Package auth finds out who is calling and whether they may.
//
// A caller shows a bearer token. Which Authenticator judges it is decided by the issuer
// that the token itself names, never by a header: a client can set headers, but a token
// that names the wrong issuer is refused by that issuer's keys. A token without an issuer
// of ours is Kubernetes' to judge, by TokenReview.
//
// What a caller may do is Kubernetes' to say, too: a SubjectAccessReview on path and verb,
// so that ClusterRoles and their bindings govern our APIs as they do the cluster's own.
// A table of roles in our configuration was the alternative; it would be a second place
// to grant and to revoke.
//
// Both answers are cached for a short time. When the apiserver cannot be asked and the
// cache does not know, the answer is "try again" (fault.Unavailable), never yes.
//
// Sources: RFC 6750; the roles and verbs of the O2 IMS implementations.
package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Identity is a caller that proved who it is.
type Identity struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string
}

// Credentials are what a request shows. They must never be logged or stored.
type Credentials struct {
	Token string
}

// Authenticator judges credentials.
type Authenticator interface {
	// Authenticate returns the identity that the credentials prove. The error wraps
	// fault.Unauthenticated when they prove none, and fault.Unavailable when nobody
	// could tell.
	Authenticate(ctx context.Context, c Credentials) (Identity, error)
}

// ByIssuer chooses an authenticator by the token's issuer.
type ByIssuer struct {
	Issuers map[string]Authenticator // by claim iss, exactly
	Default Authenticator            // for all other tokens
}

// Authenticate asks the authenticator that the token calls for. The issuer is not verified
// here: it selects who verifies it.
func (b ByIssuer) Authenticate(ctx context.Context, c Credentials) (Identity, error) {
	if claims, ok := unverified(c.Token); ok {
		if a, known := b.Issuers[claims.Issuer]; known {
			return a.Authenticate(ctx, c)
		}
	}
	return b.Default.Authenticate(ctx, c)
}

// claims are what a token says of itself.
type claims struct {
	Issuer   string          `json:"iss"`
	Subject  string          `json:"sub"`
	Audience json.RawMessage `json:"aud"` // a text or a list of texts
	Expires  float64         `json:"exp"` // seconds of Unix time
}

// unverified reads the claims of a JWT without checking anything: good for choosing who
// checks them, and for the log.
func unverified(token string) (claims, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims{}, false
	}
	var c claims
	return c, json.Unmarshal(payload, &c) == nil
}

type identityKey struct{}

// WithIdentity returns a context that carries the caller.
func WithIdentity(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// IdentityOf returns the caller that a context carries.
func IdentityOf(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// Gate lets requests pass whose caller is known and may do what it asks for.
type Gate struct {
	authenticator Authenticator
	authorizer    *Authorizer
	failures      *prometheus.CounterVec
}

// NewGate returns a gate that counts failures in r.
func NewGate(a Authenticator, z *Authorizer, r prometheus.Registerer) *Gate {
	g := &Gate{authenticator: a, authorizer: z, failures: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "o2ims_auth_failures_total",
		Help: "Requests refused because the caller is not known (type authentication) or may not do this (type authorization).",
	}, []string{"type", "method", "path"})}
	r.MustRegister(g.failures)
	return g
}

// maxTokenBytes is longer than any token that is worth the apiserver's time.
const maxTokenBytes = 16 << 10

// Admit authenticates and authorises a request and returns the context in which to serve
// it. method and template name the request in metrics. The error wraps
// fault.Unauthenticated, fault.Forbidden or fault.Unavailable.
func (g *Gate) Admit(r *http.Request, method, template string) (context.Context, error) {
	ctx := r.Context()
	token, err := bearer(r)
	if err != nil {
		g.refused(r, "authentication", method, template, token, err)
		return nil, err
	}
	id, err := g.authenticator.Authenticate(ctx, Credentials{Token: token})
	if err != nil {
		if errors.Is(err, fault.Unauthenticated) {
			g.refused(r, "authentication", method, template, token, err)
		}
		return nil, err
	}
	ctx = WithIdentity(ctx, id)
	allowed, err := g.authorizer.Allowed(ctx, verb(r.Method), r.URL.Path)
	if err != nil {
		return nil, err
	}
	if !allowed {
		err := fmt.Errorf("user %q may not %s this path: %w", id.Name, verb(r.Method), fault.Forbidden)
		g.refused(r, "authorization", method, template, token, err)
		return nil, err
	}
	return ctx, nil
}

func (g *Gate) refused(r *http.Request, kind, method, template, token string, err error) {
	g.failures.WithLabelValues(kind, method, template).Inc()
	attrs := []any{"type", kind, "method", method, "path", template, "client", r.RemoteAddr, "error", err}
	if c, ok := unverified(token); ok {
		attrs = append(attrs, "unverifiedIssuer", clip(c.Issuer), "unverifiedSubject", clip(c.Subject), "unverifiedAudience", clip(string(c.Audience)))
	}
	slog.WarnContext(r.Context(), "request refused", attrs...)
}

// clip keeps what a stranger says of itself from filling the log.
func clip(s string) string {
	const longest = 200
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}

// bearer returns the bearer token of a request.
//
// Source: RFC 6750, clause 2.1. The other two ways to send a token are not offered: they
// leave it in logs.
func bearer(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) == 0:
		return "", fmt.Errorf("no Authorization header: %w", fault.Unauthenticated)
	case len(headers) > 1:
		return "", fmt.Errorf("%d Authorization headers: %w", len(headers), fault.Unauthenticated)
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	token = strings.TrimSpace(token)
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return "", fmt.Errorf("the Authorization header holds no bearer token: %w", fault.Unauthenticated)
	case len(token) > maxTokenBytes:
		return "", fmt.Errorf("a token of %d bytes: %w", len(token), fault.Unauthenticated)
	}
	return token, nil
}

// verb is what RBAC calls an HTTP method.
func verb(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	default:
		return strings.ToLower(method)
	}
}

// digest names a value in a cache without keeping it.
type digest [sha256.Size]byte

// Clock tells the time.
type Clock interface{ Now() time.Time }

// SystemClock is the real one.
type SystemClock struct{}

// Now returns the present time.
func (SystemClock) Now() time.Time { return time.Now() }
