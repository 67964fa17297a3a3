package smo

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
)

// identity is Settings in use: connections and tokens. It lives until the last call that
// began with it has ended.
type identity struct {
	client   *Client
	settings Settings
	roots    *x509.CertPool

	hosts []string // that tokens are sent to
	named []string // these, and the hosts of issuer and token endpoint: they see the certificate

	proving *http.Client // to those that are named
	plain   *http.Client // elsewhere
	tokens  *tokenSource // nil: none

	calls   atomic.Int64
	retired atomic.Bool
}

func (c *Client) newIdentity(s Settings, roots *x509.CertPool, old *identity) *identity {
	id := &identity{client: c, settings: s, roots: roots, hosts: slices.Concat(c.options.Hosts, s.Hosts)}
	unredirected := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	id.plain = &http.Client{Transport: c.transport(roots, nil), CheckRedirect: unredirected}
	id.proving = &http.Client{Transport: c.transport(roots, s.Certificate), CheckRedirect: unredirected}
	id.named = id.hosts
	if s.OAuth == nil {
		return id
	}
	for _, text := range []string{s.OAuth.Issuer, s.OAuth.TokenURL} {
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			id.named = append(slices.Clip(id.named), hostPort(u))
		}
	}
	id.tokens = newTokenSource(id)
	if old != nil && old.tokens != nil && old.settings.getsSameTokens(s) {
		id.tokens.adopt(old.tokens)
	}
	return id
}

// acquire returns the identity in use and counts a call, which ends with release.
func (c *Client) acquire() *identity {
	for {
		id := c.current.Load()
		id.calls.Add(1)
		if !id.retired.Load() {
			return id
		}
		id.release() // it was replaced between the two
	}
}

func (id *identity) release() {
	if id.calls.Add(-1) == 0 && id.retired.Load() {
		id.closeIdle()
	}
}

// retire is called after the identity was replaced. Its connections are closed when the
// last call has ended, not before: net/http counts a connection as idle as soon as an answer
// without a body has come, and were it closed before the caller is given that answer, the
// call would fail.
func (id *identity) retire() {
	id.retired.Store(true)
	if id.calls.Load() == 0 {
		id.closeIdle()
	}
}

func (id *identity) closeIdle() {
	id.plain.CloseIdleConnections()
	id.proving.CloseIdleConnections()
}

// do makes a call, with a token where one belongs. A token that is refused is replaced
// once: it may have been revoked, or its issuer have new keys.
func (id *identity) do(r *http.Request) (*http.Response, error) {
	if err := id.client.admit(r.Context(), r.URL, id.named); err != nil {
		closeBody(r)
		return nil, err
	}
	switch {
	case !listed(id.named, r.URL):
		return send(id.plain, r)
	case id.tokens == nil || !listed(id.hosts, r.URL):
		return send(id.proving, r)
	}
	token, err := id.tokens.Token(r.Context())
	if err != nil {
		closeBody(r)
		return nil, err
	}
	response, err := id.sendWith(token, r)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		return response, err
	}
	again := repeatable(r)
	if again == nil {
		return response, nil
	}
	next, err := id.tokens.Token(r.Context())
	if err != nil {
		closeBody(again)
		response.Body.Close()
		return nil, err
	}
	if next == token { // there is no other at the moment
		closeBody(again)
		return response, nil
	}
	response.Body.Close()
	return id.sendWith(next, again)
}

func (id *identity) sendWith(token string, r *http.Request) (*http.Response, error) {
	with := r.Clone(r.Context())
	with.Header.Set("Authorization", "Bearer "+token)
	response, err := send(id.proving, with)
	if err == nil {
		id.tokens.answered(token, response.StatusCode)
	}
	return response, err
}

// repeatable returns a request with a body of its own that has not been read, or nil when
// there is none to be had.
func repeatable(r *http.Request) *http.Request {
	again := r.Clone(r.Context())
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return again
	case r.GetBody == nil:
		return nil
	}
	body, err := r.GetBody()
	if err != nil {
		return nil
	}
	again.Body = body
	return again
}
