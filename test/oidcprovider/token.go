package oidcprovider

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Token gets a token for a client, with all scopes that the client may have.
func (p *Provider) Token(ctx context.Context, id string) (string, error) {
	return p.TokenWith(ctx, id, nil)
}

// TokenWith gets a token for a client that shows a certificate, such as one of IssueClient.
// A client whose Auth is TLS, or whose tokens are bound, gets none without.
func (p *Provider) TokenWith(ctx context.Context, id string, certificate *tls.Certificate) (string, error) {
	p.mu.Lock()
	found, err := p.client(id)
	if err != nil {
		p.mu.Unlock()
		return "", err
	}
	client := *found
	p.mu.Unlock()

	form := url.Values{"grant_type": {"client_credentials"}}
	if len(client.Scopes) > 0 {
		form.Set("scope", strings.Join(client.Scopes, " "))
	}
	switch cmp.Or(client.Auth, Basic) {
	case Body:
		form.Set("client_id", client.ID)
		form.Set("client_secret", client.Secret)
	case TLS:
		form.Set("client_id", client.ID)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if cmp.Or(client.Auth, Basic) == Basic {
		request.SetBasicAuth(url.QueryEscape(client.ID), url.QueryEscape(client.Secret)) // RFC 6749, clause 2.3.1
	}
	token, err := ask(p.HTTPClient(certificate), request)
	if err != nil {
		return "", fmt.Errorf("token for client %q: %w", id, err)
	}
	return token, nil
}

// HTTPClient trusts the provider, shows a certificate where one is given, and keeps no
// connection.
func (p *Provider) HTTPClient(certificate *tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CA())
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

func ask(client *http.Client, request *http.Request) (string, error) {
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("%s: %w", response.Status, err)
	}
	if response.StatusCode != http.StatusOK || answer.AccessToken == "" {
		return "", fmt.Errorf("%s: %s: %s", response.Status, answer.Error, answer.Description)
	}
	return answer.AccessToken, nil
}
