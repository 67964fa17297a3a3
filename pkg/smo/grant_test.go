package smo

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestTokenRequest(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*OAuth)
		want   url.Values
	}{
		{"basic is the default", func(*OAuth) {}, url.Values{"basic": {"o+cloud"}}},
		{"basic", func(o *OAuth) { o.AuthStyle = "basic" }, url.Values{"basic": {"o+cloud"}}},
		{"body", func(o *OAuth) { o.AuthStyle = "body" }, url.Values{"client_id": {"o cloud"}, "client_secret": {"s:+&%"}}},
		{"scopes and audience", func(o *OAuth) { o.Scopes, o.Audience = []string{"a:b", "c"}, "https://smo" },
			url.Values{"basic": {"o+cloud"}, "scope": {"a:b c"}, "audience": {"https://smo"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := newIssuer(t, "s:+&%")
			smo := newConsumer(t, i, nil)
			o := i.oauth("s:+&%")
			tc.change(o)
			c, _ := configured(t, Settings{OAuth: o, Hosts: []string{smo.host()}})
			mustCall(t, c, smo.URL)
			tc.want.Set("grant_type", "client_credentials")
			tc.want.Set("path", "/token")
			if got := i.requests[0].Encode(); got != tc.want.Encode() {
				t.Errorf("request = %s, want %s", got, tc.want.Encode())
			}
		})
	}
}

func TestTokenEndpointIsGuarded(t *testing.T) {
	i := newIssuer(t, "s")
	smo := newConsumer(t, nil, nil)
	port := i.URL[strings.LastIndex(i.URL, ":"):]
	for _, tc := range []struct {
		name  string
		oauth OAuth
	}{
		{"token endpoint in a network that is refused", OAuth{TokenURL: "http://127.0.0.2" + port + "/token"}},
		{"issuer in a network that is refused", OAuth{Issuer: "http://127.0.0.2" + port}},
	} {
		tc.oauth.ClientID, tc.oauth.ClientSecret = "c", "s"
		c, _ := configured(t, Settings{OAuth: &tc.oauth, Hosts: []string{smo.host()}})
		_, err := call(t, c, smo.URL, "")
		if !errors.Is(err, ErrAddress) || !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), "127.0.0.2") {
			t.Errorf("%s: %v, want ErrAddress and the host", tc.name, err)
		}
	}
	if i.count() != 0 || len(i.lookups) != 0 {
		t.Error("somebody got through")
	}
}

// TestHostileTokenEndpoint has answers that are none.
func TestHostileTokenEndpoint(t *testing.T) {
	for name, answer := range map[string]string{
		"empty":              ``,
		"text":               `access_token=t1&token_type=bearer`,
		"no token":           `{"token_type":"Bearer","expires_in":60}`,
		"no type":            `{"access_token":"t1","expires_in":60}`,
		"another type":       `{"access_token":"t1","token_type":"DPoP"}`,
		"a line break":       `{"access_token":"t1\r\nHost: evil","token_type":"Bearer"}`,
		"a space":            `{"access_token":"t1 t2","token_type":"Bearer"}`,
		"huge token":         `{"access_token":"` + strings.Repeat("x", maxToken+1) + `","token_type":"Bearer"}`,
		"huge answer":        `{"access_token":"t1","token_type":"Bearer","x":"` + strings.Repeat("x", maxTokenAnswer) + `"}`,
		"negative lifetime":  `{"access_token":"t1","token_type":"Bearer","expires_in":-1}`,
		"no lifetime at all": `{"access_token":"t1","token_type":"Bearer","expires_in":0}`,
		"odd lifetime":       `{"access_token":"t1","token_type":"Bearer","expires_in":"NaN"}`,
		"a list":             `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, answer) }))
			defer endpoint.Close()
			smo := newConsumer(t, nil, nil)
			c, _ := configured(t, Settings{OAuth: &OAuth{TokenURL: endpoint.URL, ClientID: "c", ClientSecret: "s"}, Hosts: []string{smo.host()}})
			_, err := call(t, c, smo.URL, "")
			if !errors.Is(err, ErrToken) || smo.sent() != "" {
				t.Fatalf("%v, want ErrToken, and nothing sent", err)
			}
			if len(err.Error()) > 300 {
				t.Errorf("error of %d characters: %.300s", len(err.Error()), err)
			}
		})
	}
}

// TestSecretIsNotRedirected has a token endpoint that sends us elsewhere.
func TestSecretIsNotRedirected(t *testing.T) {
	thief := newConsumer(t, nil, nil)
	for _, status := range []int{301, 302, 303, 307, 308} {
		endpoint := httptest.NewServer(http.RedirectHandler(thief.URL, status))
		smo := newConsumer(t, nil, nil)
		c, _ := configured(t, Settings{OAuth: &OAuth{TokenURL: endpoint.URL, ClientID: "c", ClientSecret: "s"}, Hosts: []string{smo.host()}})
		if _, err := call(t, c, smo.URL, ""); !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("redirection %d: %v, want ErrToken", status, err)
		}
		endpoint.Close()
	}
	if got := thief.sent(); got != "" {
		t.Errorf("the thief was sent %q", got)
	}
}

func FuzzParseToken(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"t","token_type":"Bearer","expires_in":3600}`, `{"access_token":"t","token_type":"bearer","expires_in":"60"}`,
		`{"access_token":"t","token_type":"Bearer","expires_in":1e300}`, `{"error":"invalid_client","error_description":"x"}`, `{`, `null`,
		`{"access_token":"t","token_type":"Bearer","expires_in":1e-10}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text, life, err := parseToken(body)
		if (err == nil) == (text == "") || err == nil && (life <= 0 || life > maxLife) {
			t.Errorf("parseToken(%q) = %q, %s, %v", body, text, life, err)
		}
		if err == nil {
			r := &http.Request{Header: http.Header{"Authorization": {"Bearer " + text}}}
			var sent strings.Builder
			if err := r.Header.Write(&sent); err != nil || strings.Count(sent.String(), "\n") != 1 {
				t.Errorf("token %q breaks out of its header: %q, %v", text, sent.String(), err)
			}
			if at := time.Unix(1_800_000_000, 0); !newToken(text, at, life).expiry.After(at) {
				t.Errorf("a token that lives %s is never good", life)
			}
		}
		if code := errorCode(body); len(code) > 64 || strings.ContainsAny(code, "\r\n \"") {
			t.Errorf("errorCode(%q) = %q", body, code)
		}
	})
}
