package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Gate lets requests pass whose caller is known and may do what it asks for.
type Gate struct {
	authenticator Authenticator
	certificates  certificates // nil: callers show none
	authorizer    *Authorizer
	failures      *prometheus.CounterVec
	requestID     func(context.Context) string
	address       func(*http.Request) string
}

// certificates finds the certificate that the client of a request showed; see
// Callers.CertificateOf.
type certificates interface {
	CertificateOf(r *http.Request) (*x509.Certificate, error)
}

// JudgesItself tells whether what a request shows is judged in this process. What is not costs
// the apiserver a question.
func (g *Gate) JudgesItself(r *http.Request) bool {
	judge, able := g.authenticator.(interface{ JudgesItself(token string) bool })
	token, err := bearer(r)
	return able && err == nil && judge.JudgesItself(token)
}

// Identify makes the log of refusals name each request as its answer does, and where it comes
// from as the audit log does: behind a trusted proxy that is the client, not the proxy. It
// must be called before the first request.
func (g *Gate) Identify(requestID func(context.Context) string, address func(*http.Request) string) {
	g.requestID, g.address = requestID, address
}

// NewGate returns a gate that counts failures in r. An authenticator that knows about
// certificates, as Callers does, is also asked for those.
func NewGate(a Authenticator, z *Authorizer, r prometheus.Registerer) *Gate {
	g := &Gate{authenticator: a, authorizer: z, failures: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "o2ims_auth_failures_total",
		Help: "Requests refused because the caller is not known (type authentication), shows a token that is bound to another certificate (type certificate_binding) or may not do this (type authorization).",
	}, []string{"type", "method", "path"})}
	g.certificates, _ = a.(certificates)
	r.MustRegister(g.failures)
	return g
}

// maxTokenBytes is longer than any token that is worth the apiserver's time.
const maxTokenBytes = 16 << 10

// Admit authenticates and authorises a request and returns the context in which to serve
// it. method and template name the request in metrics. The error wraps
// fault.Unauthenticated, fault.Forbidden or fault.Unavailable.
func (g *Gate) Admit(r *http.Request, method, template string) (context.Context, error) {
	ctx, err := g.Authenticate(r, method, template)
	if err != nil {
		return nil, err
	}
	return ctx, g.Authorize(r.WithContext(ctx), method, template)
}

// Authenticate finds out who sends a request and returns a context that carries the caller.
// The error wraps fault.Unauthenticated or fault.Unavailable.
func (g *Gate) Authenticate(r *http.Request, method, template string) (context.Context, error) {
	ctx := r.Context()
	shown, err := g.credentials(r)
	if err != nil {
		g.refused(r, "authentication", method, template, shown.Token, err)
		return nil, err
	}
	id, err := g.authenticator.Authenticate(ctx, shown)
	if err != nil {
		if errors.Is(err, fault.Unauthenticated) {
			g.refused(r, failure(err), method, template, shown.Token, err)
		}
		return nil, err
	}
	return WithIdentity(ctx, id), nil
}

// Authorize tells whether the caller that the context of a request carries may send it. The
// error wraps fault.Forbidden or fault.Unavailable.
func (g *Gate) Authorize(r *http.Request, method, template string) error {
	allowed, err := g.authorizer.Allowed(r.Context(), Verb(r.Method), r.URL.Path)
	if err != nil || allowed {
		return err
	}
	id, _ := IdentityOf(r.Context())
	err = fmt.Errorf("user %q may not %s this path: %w", id.Name, Verb(r.Method), fault.Forbidden)
	token, _ := bearer(r)
	g.refused(r, "authorization", method, template, token, err)
	return err
}

// credentials returns what a request shows.
func (g *Gate) credentials(r *http.Request) (Credentials, error) {
	var c Credentials
	var uncertified error
	if g.certificates != nil {
		c.Certificate, uncertified = g.certificates.CertificateOf(r) // in any case: it also removes what is not to be believed
	}
	var err error
	if c.Token, err = bearer(r); err != nil {
		return c, err
	}
	return c, uncertified
}

// failure is the type of a refusal in metrics.
func failure(err error) string {
	if errors.Is(err, errBinding) {
		return "certificate_binding"
	}
	return "authentication"
}

func (g *Gate) refused(r *http.Request, kind, method, template, token string, err error) {
	g.failures.WithLabelValues(kind, method, template).Inc()
	address := r.RemoteAddr
	if g.address != nil {
		address = g.address(r)
	}
	attrs := []any{"type", kind, "method", method, "path", template, "remoteAddress", address, "error", err}
	if c, ok := unverified(token); ok {
		attrs = append(attrs, "unverifiedIssuer", clip(c.Issuer), "unverifiedSubject", clip(c.Subject),
			"unverifiedClient", clip(c.Client), "unverifiedAudience", clip(string(c.Audience)))
	}
	if g.requestID != nil {
		attrs = append(attrs, "correlationId", g.requestID(r.Context()))
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

// Verb is what RBAC calls an HTTP method.
func Verb(method string) string {
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
