package smo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Bounds of what an authorization server may answer.
const (
	maxTokenAnswer = 128 << 10
	maxToken       = 32 << 10 // more does not fit into the headers of a request
	maxLife        = 24 * time.Hour
	defaultLife    = 5 * time.Minute // of a token whose answer has no expires_in
)

// grant gets tokens by client credentials. One fetch at a time uses it.
type grant struct {
	identity *identity
	oauth    OAuth
	endpoint string // as discovered; empty: not yet, or not any more
}

// token asks for a token.
//
// Source: RFC 6749, 4.4.2.
func (g *grant) token(ctx context.Context) (token, error) {
	endpoint := g.oauth.TokenURL
	if endpoint == "" {
		var err error
		if endpoint, err = g.discovered(ctx); err != nil {
			return token{}, err
		}
	}
	request, err := g.request(ctx, endpoint)
	if err != nil {
		return token{}, err
	}
	asked := g.identity.client.clock.Now()
	text, life, err := g.ask(request)
	if err != nil {
		g.endpoint = "" // it may have moved
		return token{}, fmt.Errorf("token endpoint %s: %w", request.URL.Host, err)
	}
	return newToken(text, asked, life), nil
}

// discovered returns the token endpoint of the issuer, which is looked up again after a
// request to it has failed.
func (g *grant) discovered(ctx context.Context) (string, error) {
	if g.endpoint != "" {
		return g.endpoint, nil
	}
	endpoint, err := g.discover(ctx)
	g.endpoint = endpoint
	return endpoint, err
}

func (g *grant) request(ctx context.Context, endpoint string) (*http.Request, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(g.oauth.Scopes) > 0 {
		form.Set("scope", strings.Join(g.oauth.Scopes, " "))
	}
	if g.oauth.Audience != "" {
		form.Set("audience", g.oauth.Audience)
	}
	switch g.oauth.AuthStyle {
	case styleBody:
		form.Set("client_id", g.oauth.ClientID)
		form.Set("client_secret", g.oauth.ClientSecret)
	case styleTLS:
		form.Set("client_id", g.oauth.ClientID)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("token endpoint is not a URL: %w", fault.Upstream)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if g.oauth.AuthStyle == "" || g.oauth.AuthStyle == styleBasic { // RFC 6749, 2.3.1: as in a form
		request.SetBasicAuth(url.QueryEscape(g.oauth.ClientID), url.QueryEscape(g.oauth.ClientSecret))
	}
	return request, nil
}

// ask sends a token request. The error does not name the host.
func (g *grant) ask(request *http.Request) (string, time.Duration, error) {
	said, err := g.fetch(request)
	if err != nil {
		return "", 0, err
	}
	if said.status != http.StatusOK {
		code := errorCode(said.body)
		if g.oauth.ClientSecret != "" && strings.Contains(code, g.oauth.ClientSecret) {
			code = ""
		}
		return "", 0, said.refusal(strings.TrimSpace(fmt.Sprintf("answered %d %s", said.status, code)))
	}
	return parseToken(said.body)
}

// reply is what an issuer answered.
type reply struct {
	status int
	body   []byte
	wish   time.Duration // RetryAfter
}

// refusal is the error that a reply stands for. It says when the issuer wants to be asked
// again, if that does.
func (r reply) refusal(text string) error {
	err := fmt.Errorf("%s: %w", text, fault.Upstream)
	if r.wish > 0 {
		return fault.WithRetryAfter(err, r.wish)
	}
	return err
}

// fetch makes a call to the issuer, which sees our certificate, and reads the answer.
func (g *grant) fetch(request *http.Request) (reply, error) {
	request.Header.Set("Accept", "application/json")
	if err := g.identity.client.admit(request.Context(), request.URL, g.identity.named); err != nil {
		return reply{}, err
	}
	response, err := g.identity.proving.Do(request)
	if err != nil {
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return reply{}, fmt.Errorf("%w: %w", err, fault.Unavailable)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTokenAnswer+1))
	switch {
	case err != nil:
		return reply{}, fmt.Errorf("answer: %w: %w", err, fault.Unavailable)
	case len(body) > maxTokenAnswer:
		return reply{}, fmt.Errorf("answer has more than %d bytes: %w", maxTokenAnswer, fault.Upstream)
	}
	return reply{response.StatusCode, body, RetryAfter(response, g.identity.client.clock.Now(), longestWish)}, nil
}

// parseToken reads the answer with which a token is issued.
//
// Source: RFC 6749, 5.1.
func parseToken(body []byte) (text string, life time.Duration, err error) {
	var a struct {
		AccessToken string          `json:"access_token"`
		TokenType   string          `json:"token_type"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	bad := func(what string) (string, time.Duration, error) {
		return "", 0, fmt.Errorf("answer %s: %w", what, fault.Upstream)
	}
	if json.Unmarshal(body, &a) != nil {
		return bad("is not a token in JSON")
	}
	switch {
	case a.AccessToken == "":
		return bad("holds no access_token")
	case len(a.AccessToken) > maxToken:
		return bad(fmt.Sprintf("holds an access_token of %d bytes, at most %d can be sent", len(a.AccessToken), maxToken))
	case !printable(a.AccessToken) || strings.Contains(a.AccessToken, " "):
		return bad("holds an access_token that cannot be sent")
	case !strings.EqualFold(a.TokenType, "Bearer"):
		return bad(fmt.Sprintf("has token_type %.30q, want Bearer", a.TokenType))
	}
	life, ok := lifetime(a.ExpiresIn)
	if !ok {
		return bad("has an expires_in that is no number of seconds, 1 or more")
	}
	return a.AccessToken, life, nil
}

// lifetime reads expires_in, which is a number, and by some a number in a string.
func lifetime(raw json.RawMessage) (time.Duration, bool) {
	text := strings.Trim(string(raw), `"`)
	if text == "" || text == "null" {
		return defaultLife, true
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 1) { // not a number is not above 1 either
		return 0, false
	}
	return time.Duration(min(seconds, maxLife.Seconds()) * float64(time.Second)), true
}

// errorCode returns the error code of an answer, or nothing when it has none that can be
// shown. The description may hold anything, and is left out.
//
// Source: RFC 6749, 5.2.
func errorCode(body []byte) string {
	var a struct {
		Error string `json:"error"`
	}
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
	if json.Unmarshal(body, &a) != nil || strings.Trim(a.Error, plain) != "" || len(a.Error) > 64 {
		return ""
	}
	return a.Error
}
