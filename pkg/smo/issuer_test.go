package smo

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// issuer is an authorization server for client credentials, and it knows which of its
// tokens are good.
type issuer struct {
	*httptest.Server

	mu       sync.Mutex
	secrets  []string // that are accepted
	lifetime int      // expires_in; 0: left out
	status   int      // of a refusal of everybody; 0: none
	again    string   // Retry-After of such a refusal
	unlisted int      // status of the discovery document; 0: it is there
	issuer   string   // in the discovery document; empty: its URL
	alias    string   // token endpoint for clients with a certificate

	requests []url.Values // token requests, with the secret where it was
	lookups  []string     // paths asked for documents
	issued   int
	good     map[string]bool

	distrusted bool          // none of its tokens is accepted
	hold       chan struct{} // when not nil: an answer waits until it is closed
}

func newIssuer(t testing.TB, secrets ...string) *issuer {
	t.Helper()
	i := &issuer{secrets: secrets, lifetime: 3600, good: make(map[string]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", i.token)
	mux.HandleFunc("POST /alias", i.token)
	mux.HandleFunc("GET /.well-known/openid-configuration", i.document)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server/tenant", i.document)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		i.note(r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) note(path string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lookups = append(i.lookups, path)
}

func (i *issuer) document(w http.ResponseWriter, r *http.Request) {
	i.note(r.URL.Path)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.unlisted != 0 {
		w.Header().Set("Retry-After", i.again)
		w.WriteHeader(i.unlisted)
		return
	}
	document := map[string]any{"issuer": i.issuer, "token_endpoint": i.URL + "/token"}
	if i.issuer == "" {
		document["issuer"] = i.URL
	}
	if i.alias != "" {
		document["mtls_endpoint_aliases"] = map[string]string{"token_endpoint": i.alias}
	}
	_ = json.NewEncoder(w).Encode(document)
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	form := r.PostForm
	form.Set("path", r.URL.Path)
	secret := form.Get("client_secret")
	if id, password, ok := r.BasicAuth(); ok {
		secret, _ = url.QueryUnescape(password)
		form.Set("basic", id)
	}
	certified := r.TLS != nil && len(r.TLS.PeerCertificates) > 0
	i.mu.Lock()
	hold := i.hold
	i.requests = append(i.requests, form)
	refused := !slices.Contains(i.secrets, secret) && !certified
	status, again := i.status, i.again
	if status == 0 && !refused {
		i.issued++
		i.good[fmt.Sprint("t", i.issued)] = true
	}
	answer := map[string]any{"access_token": fmt.Sprint("t", i.issued), "token_type": "bearer"}
	if i.lifetime != 0 {
		answer["expires_in"] = i.lifetime
	}
	i.mu.Unlock()
	if hold != nil {
		<-hold
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case status != 0:
		if again != "" {
			w.Header().Set("Retry-After", again)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, `{"error":"temporarily_unavailable","error_description":"the secret was `+secret+`"}`)
	case refused:
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"invalid_client","error_description":"the secret was `+secret+`"}`)
	default:
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// change does something to the issuer while nobody asks it.
func (i *issuer) change(f func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f(i)
}

func (i *issuer) revoke(text string) { i.change(func(i *issuer) { delete(i.good, text) }) }

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.requests)
}

// accepts tells whether a request bears a token that is good.
func (i *issuer) accepts(r *http.Request) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.distrusted && i.good[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
}

func (i *issuer) oauth(secret string) *OAuth {
	return &OAuth{TokenURL: i.URL + "/token", ClientID: "o cloud", ClientSecret: secret}
}

// consumer is an SMO that wants a good token of an issuer, and remembers what it was sent.
type consumer struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // Authorization and body
	cert []string // common name of the client, "" without
}

func newConsumer(t testing.TB, i *issuer, config *tls.Config) *consumer {
	t.Helper()
	c := &consumer{}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := new(strings.Builder)
		_, _ = fmt.Fprint(body, r.Header.Get("Authorization"))
		if b := readAll(r); b != "" {
			body.WriteString(" " + b)
		}
		name := ""
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		c.mu.Lock()
		c.seen, c.cert = append(c.seen, body.String()), append(c.cert, name)
		c.mu.Unlock()
		if i != nil && !i.accepts(r) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	if config != nil {
		c.TLS = config
		c.StartTLS()
	} else {
		c.Start()
	}
	t.Cleanup(c.Close)
	return c
}

// sent returns what came so far, and forgets it.
func (c *consumer) sent() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := strings.Join(c.seen, ", ")
	c.seen, c.cert = nil, nil
	return text
}

func (c *consumer) host() string { return c.Listener.Addr().String() }
