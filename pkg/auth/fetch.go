package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// fetchTimeout is for discovery and keys together.
	fetchTimeout = 5 * time.Second

	// maxDocumentBytes is more than any discovery document or key set in use.
	maxDocumentBytes = 256 << 10
)

// newIssuerClient returns a client that believes neither redirects nor the size of answers.
func newIssuerClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     bounded{transport},
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded cuts the bodies of answers, as go-oidc reads them whole.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxDocumentBytes)
	}
	return answer, err
}

// CloseIdleConnections lets http.Client reach those of the transport.
func (b bounded) CloseIdleConnections() {
	if c, ok := b.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// fetch asks the issuer for its keys; where they are, only when that is not known or long
// ago. Called by one flight at a time.
func (k *keys) fetch(ctx context.Context, now time.Time) (*keySet, error) {
	location := k.locationAt(now)
	if location == "" {
		found, err := k.discover(ctx)
		if err != nil {
			return nil, err
		}
		location = found
		k.locate(found, now)
	}
	body, err := k.get(ctx, location)
	if err != nil {
		return nil, err
	}
	return parseKeySet(body, now)
}

func (k *keys) locationAt(now time.Time) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.located) >= keysRefresh {
		return ""
	}
	return k.location
}

func (k *keys) locate(location string, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.location, k.located = location, now
}

// discover asks where the issuer publishes its keys.
//
// Source: OpenID Connect Discovery 1.0, clauses 3 and 4.
func (k *keys) discover(ctx context.Context) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client.Load()), k.issuer)
	if err != nil {
		return "", fmt.Errorf("discovery: %s", clip(err.Error())) // which may quote a whole page
	}
	var document struct {
		Location string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		return "", fmt.Errorf("discovery: %w", err)
	}
	u, err := url.Parse(document.Location)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return "", errors.New("discovery: jwks_uri is no URL of a key set")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return "", fmt.Errorf("discovery: jwks_uri is %s, not https", clip(u.Scheme))
	}
	return document.Location, nil
}

func (k *keys) get(ctx context.Context, location string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("Cache-Control", "no-cache")
	answer, err := k.client.Load().Do(request)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("key set: status %d", answer.StatusCode)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	return body, nil
}
