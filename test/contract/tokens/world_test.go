package tokens

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/test/contract/hub"
	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/oidcprovider"
)

const audience = hub.Audience

// Addresses that requests come from. On 127.0.0.0/8 all are this machine's.
const (
	stranger = "127.0.0.1"
	proxy    = "127.0.0.66"
)

// The servers, by how they are configured.
const (
	plain      = "plain"      // no client certificates
	nested     = "nested"     // roles in realm_access.roles, with names of their own; one algorithm
	mutual     = "mutual"     // asks for client certificates
	bound      = "bound"      // takes no token without a certificate
	demanding  = "demanding"  // takes no call without a certificate
	selective  = "selective"  // takes one subject's certificate
	haproxy    = "haproxy"    // behind a proxy, in one of the three ways
	rfc9440    = "rfc9440"    //
	xfcc       = "xfcc"       //
	unverified = "unverified" // behind a proxy, without CAs of its own
	several    = "several"    // with issuers that cannot be asked beside one that can
)

// world is everything real that a token is judged by: an apiserver, an OpenID provider, and
// servers of ours before them.
type world struct {
	env      *harness.Env
	servers  map[string]*hub.Server
	provider *oidcprovider.Provider
	stranger *oidcprovider.Provider // an issuer that nobody configured
	keys     map[string]jose.JSONWebKey
	retired  jose.JSONWebKey // that the provider signed with before
	silent   string          // an issuer that does not answer
	issued   issued
	accounts accounts
	people   people
	bait     *bait
	log      *hub.Log
}

func start(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("a real kube-apiserver and a real OpenID provider")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // a first run builds Kubernetes and OCM
	defer cancel()
	w := &world{servers: map[string]*hub.Server{}, keys: map[string]jose.JSONWebKey{}, log: hub.CaptureLog(t), bait: newBait(t)}
	w.people = newPeople(t)
	w.startProviders(ctx, t)
	var err error
	if w.env, err = harness.StartBare(ctx, harness.Options{Progress: os.Stderr}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.env.Stop)
	if err := hub.Install(ctx, w.env.Hub); err != nil {
		t.Fatal(err)
	}
	w.accounts = newAccounts(ctx, t, w.env)
	for name, config := range w.configurations() {
		s := hub.Start(t, w.env.Hub)
		if err := s.Callers.Configure(config); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.servers[name] = s
	}
	w.waitForRoles(ctx, t)
	return w
}

// waitForRoles waits for the rights that the attempts count on.
func (w *world) waitForRoles(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, q := range []struct{ user, group, path string }{
		{"somebody", auth.RoleReader, readersPath},
		{"somebody", auth.RoleSubscriber, "/o2ims-infrastructureInventory/v2/subscriptions"},
		{"system:serviceaccount:" + hub.Namespace + ":reader", "system:serviceaccounts", readersPath},
		{"somebody", "system:authenticated", knownPath},
	} {
		w.servers[plain].WaitUntilAllowed(ctx, t, q.user, q.group, q.path)
	}
}

func (w *world) startProviders(ctx context.Context, t *testing.T) {
	t.Helper()
	run := func(clients ...oidcprovider.Client) *oidcprovider.Provider {
		p, err := oidcprovider.Start(ctx, oidcprovider.Options{Dir: t.TempDir(), Clients: clients, Progress: os.Stderr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Stop)
		return p
	}
	roles := map[string]any{"roles": []string{"o2ims-reader"}}
	w.provider = run(
		oidcprovider.Client{ID: "smo", Secret: "the secret of the SMO", Claims: roles},
		oidcprovider.Client{ID: "scoped", Secret: "secret", Scopes: []string{"role:o2ims-reader"}},
		oidcprovider.Client{ID: "bound.example.net", Auth: oidcprovider.TLS, Bound: true, Claims: roles},
	)
	w.stranger = run(oidcprovider.Client{ID: "smo", Secret: "secret", Claims: roles})

	key := func(algorithm string) jose.JSONWebKey {
		k, err := w.provider.Key(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	w.retired = key("RS256")
	if err := w.provider.RotateKeys(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.provider.RetireKeys(ctx); err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"} {
		w.keys[algorithm] = key(algorithm)
	}
	w.askForTokens(ctx, t)

	// A port that somebody had, and nobody listens on any more.
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	w.silent = strings.Replace(gone.URL, "http:", "https:", 1)
}

// issued are tokens as the providers gave them out.
type issued struct {
	basic, scoped, stranger string

	bound  string // to the certificate of holder
	holder person
}

func (w *world) askForTokens(ctx context.Context, t *testing.T) {
	t.Helper()
	certificate, err := w.provider.IssueClient("bound.example.net")
	if err != nil {
		t.Fatal(err)
	}
	token := func(p *oidcprovider.Provider, id string, certificate *tls.Certificate) string {
		text, err := p.TokenWith(ctx, id, certificate)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	w.issued = issued{
		basic: token(w.provider, "smo", nil), scoped: token(w.provider, "scoped", nil), stranger: token(w.stranger, "smo", nil),
		bound: token(w.provider, "bound.example.net", &certificate), holder: person{Certificate: certificate},
	}
}

// configurations are those of the servers.
func (w *world) configurations() map[string]auth.Config {
	cas := append(w.provider.ClientCA(), w.people.ca.pem...)
	certificates := auth.ClientCertificates{CABundle: cas}
	config := func(change func(*auth.Config)) auth.Config {
		c := auth.Config{
			Issuers:   []auth.Issuer{{URL: w.provider.Issuer, Audiences: []string{audience}, CABundle: w.provider.CA()}},
			Transport: hub.Transport,
		}
		change(&c)
		return c
	}
	behind := func(header string) auth.Config {
		return config(func(c *auth.Config) {
			c.Certificates = certificates
			c.Proxies = auth.TrustedProxies{Networks: []netip.Prefix{netip.MustParsePrefix(proxy + "/32")}, Header: header}
		})
	}
	return map[string]auth.Config{
		plain: config(func(*auth.Config) {}),
		nested: config(func(c *auth.Config) {
			c.Issuers[0].GroupsClaim = "realm_access.roles"
			c.Issuers[0].UsernameClaim, c.Issuers[0].UsernamePrefix = "client_id", "sys"
			c.Issuers[0].RoleNames = map[string]string{"IMS viewer": auth.RoleReader}
			c.Issuers[0].Algorithms = []string{"PS256"}
		}),
		mutual: config(func(c *auth.Config) { c.Certificates = certificates }),
		bound: config(func(c *auth.Config) {
			c.Certificates = certificates
			c.Issuers[0].RequireBinding = true
		}),
		demanding: config(func(c *auth.Config) {
			c.Certificates = certificates
			c.Certificates.Required = true
		}),
		selective: config(func(c *auth.Config) {
			c.Certificates = certificates
			c.Certificates.Subjects = []string{"bound.example.net"}
		}),
		haproxy: behind(auth.HeaderHAProxy),
		rfc9440: behind(auth.HeaderRFC9440),
		xfcc:    behind(auth.HeaderXFCC),
		several: config(func(c *auth.Config) {
			more := func(url string) auth.Issuer {
				return auth.Issuer{URL: url, Audiences: []string{audience}, CABundle: w.provider.CA()}
			}
			// Each is asked at the address of its URL: one says that it is another, one has a
			// certificate of another CA, and one is not there.
			c.Issuers = append(c.Issuers, more(strings.Replace(w.provider.Issuer, "127.0.0.1", "localhost", 1)), more(w.stranger.Issuer), more(w.silent))
		}),
		unverified: config(func(c *auth.Config) {
			c.Proxies = auth.TrustedProxies{Networks: []netip.Prefix{netip.MustParsePrefix(proxy + "/32")}, Header: auth.HeaderHAProxy}
			c.Issuers[0].RequireBinding = true
		}),
	}
}

// clientOf is one that calls a server from an address, with a certificate where one is given.
func clientOf(s *hub.Server, from string, certificate *tls.Certificate) *http.Client {
	c := s.HTTPClient(certificate)
	transport, _ := c.Transport.(*http.Transport)
	dialer := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport.DialContext = dialer.DialContext
	transport.DisableKeepAlives = true
	return c
}

// bait is a key server of an attacker's, which nobody may ask.
type bait struct {
	url   string
	key   jose.JSONWebKey // its private key
	calls atomic.Int64
}

func newBait(t *testing.T) *bait {
	t.Helper()
	b := &bait{key: newKey(t)}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		b.calls.Add(1)
		rw.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(rw).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{b.key.Public()}}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	b.url = server.URL + "/jwks"
	return b
}
