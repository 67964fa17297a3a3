package smo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/o2ims/o2ims/pkg/fault"
)

// discover looks the token endpoint of the issuer up: at the place of OpenID Connect, and
// where nothing is there, at that of OAuth.
//
// Sources: OpenID Connect Discovery 1.0, 4; RFC 8414, 3.
func (g *grant) discover(ctx context.Context) (string, error) {
	issuer, err := url.Parse(g.oauth.Issuer)
	if err != nil {
		return "", fmt.Errorf("issuer is not a URL: %w", fault.Invalid)
	}
	path := strings.TrimSuffix(issuer.Path, "/")
	for _, place := range []string{path + "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server" + path} {
		at := *issuer
		at.Path, at.RawPath = place, ""
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return "", fmt.Errorf("issuer is not a URL: %w", fault.Invalid)
		}
		said, err := g.fetch(request)
		switch {
		case err != nil:
			return "", fmt.Errorf("issuer %s: %w", issuer.Host, err)
		case said.status == http.StatusNotFound:
			continue
		case said.status != http.StatusOK:
			return "", said.refusal(fmt.Sprintf("issuer %s: discovery answered %d", issuer.Host, said.status))
		}
		endpoint, err := tokenEndpoint(said.body, g.oauth.Issuer, g.identity.settings.Certificate != nil)
		if err != nil {
			return "", fmt.Errorf("issuer %s: %w", issuer.Host, err)
		}
		return endpoint, nil
	}
	return "", fmt.Errorf("issuer %s has no discovery document: %w", issuer.Host, fault.Upstream)
}

// tokenEndpoint reads a discovery document. Its issuer must be the one that was asked for,
// to the letter: otherwise one tenant of a server could answer for another. With a
// certificate, an endpoint meant for clients that have one goes first.
//
// Sources: RFC 8414, 3.3; RFC 8705, 5.
func tokenEndpoint(document []byte, issuer string, certificate bool) (string, error) {
	var d struct {
		Issuer        string `json:"issuer"`
		TokenEndpoint string `json:"token_endpoint"`
		Aliases       struct {
			TokenEndpoint string `json:"token_endpoint"`
		} `json:"mtls_endpoint_aliases"`
	}
	if json.Unmarshal(document, &d) != nil {
		return "", fmt.Errorf("discovery document is not one: %w", fault.Upstream)
	}
	endpoint := d.TokenEndpoint
	if certificate && d.Aliases.TokenEndpoint != "" {
		endpoint = d.Aliases.TokenEndpoint
	}
	switch u, err := url.Parse(endpoint); {
	case d.Issuer != issuer:
		return "", fmt.Errorf("discovery document is of issuer %.200q: %w", d.Issuer, fault.Upstream)
	case endpoint == "":
		return "", fmt.Errorf("discovery document has no token_endpoint: %w", fault.Upstream)
	case err != nil || u.Host == "" || u.User != nil:
		return "", fmt.Errorf("discovery document has a token_endpoint that is no URL: %w", fault.Upstream)
	}
	return endpoint, nil
}
