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
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Identity is a caller that proved who it is.
type Identity struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string

	// Client is the program that calls: client_id (else azp) of a JWT, the user name of a
	// Kubernetes token. It is what creator means. What a caller may do does not depend on
	// it, nor on the two below.
	Client string
	Issuer string   // of a JWT; empty for Kubernetes tokens
	Scopes []string // of a JWT
}

// Credentials are what a request shows. They must never be logged or stored.
type Credentials struct {
	Token string

	// Certificate is the client's, verified: the TLS peer's, or what a trusted proxy
	// vouches for. Nil: none was shown.
	Certificate *x509.Certificate
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
	Client   string          `json:"client_id"`
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
	err = json.Unmarshal(payload, &c)
	var otherType *json.UnmarshalTypeError // of one claim; the others are read
	return c, err == nil || errors.As(err, &otherType)
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

// digest names a value in a cache without keeping it.
type digest [sha256.Size]byte

// Clock tells the time.
type Clock interface{ Now() time.Time }

// SystemClock is the real one.
type SystemClock struct{}

// Now returns the present time.
func (SystemClock) Now() time.Time { return time.Now() }
