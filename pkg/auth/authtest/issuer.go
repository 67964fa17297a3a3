// Package authtest plays the parts that authentication is tested against: an authorization
// server whose keys rotate and which can be made to fail, the tokens that it issues and
// those that an attacker makes of them, a CA with its clients, and the headers of proxies.
//
// Tokens are signed here with nothing but the standard library, so that a fault of the
// library that verifies does not hide itself.
package authtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuer is an authorization server on this machine, with discovery and a key set. It has
// one key for each kind of signature. Its methods are safe for concurrent use.
type Issuer struct {
	// URL is what its tokens say in iss.
	URL string

	t      testing.TB
	now    func() time.Time
	server *httptest.Server

	mu          sync.Mutex
	generation  int
	keys        map[string]key // those that sign, by kind: RSA, P-256, P-384, P-521, Ed25519
	published   []jose.JSONWebKey
	intercept   http.HandlerFunc
	discoveries int
	keySets     int
}

// key signs, and is published under its id.
type key struct {
	id     string
	signer crypto.Signer
}

// Start starts an issuer that stops with the test. now is the clock by which its tokens
// begin and end.
func Start(t testing.TB, now func() time.Time) *Issuer {
	t.Helper()
	i := &Issuer{t: t, now: now}
	i.server = httptest.NewUnstartedServer(http.HandlerFunc(i.serve))
	i.server.Config.ErrorLog = log.New(io.Discard, "", 0) // tests make clients that do not trust it
	i.server.StartTLS()
	t.Cleanup(i.server.Close)
	i.URL = i.server.URL
	i.Rotate()
	return i
}

// Rotate makes the issuer sign with new keys and publish them beside the former ones.
func (i *Issuer) Rotate() {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.generation++
	i.keys = make(map[string]key)
	for _, kind := range kinds() {
		k := key{fmt.Sprintf("%s-%d", kind, i.generation), i.generate(kind)}
		i.keys[kind] = k
		i.published = append(i.published, jose.JSONWebKey{Key: k.signer.Public(), KeyID: k.id, Use: "sig"})
	}
}

// Withdraw makes the issuer publish nothing but the keys that it signs with.
func (i *Issuer) Withdraw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = i.published[len(i.published)-len(i.keys):]
}

// Publish adds a key to the key set, of any kind.
func (i *Issuer) Publish(k jose.JSONWebKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = append([]jose.JSONWebKey{k}, i.published...)
}

// Intercept makes h answer all requests; nil ends that.
func (i *Issuer) Intercept(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.intercept = h
}

// Asked returns how often discovery and the key set have been asked for, answered or not.
func (i *Issuer) Asked() (discoveries, keySets int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.discoveries, i.keySets
}

// CABundle returns the CA of the issuer's own certificate, in PEM.
func (i *Issuer) CABundle() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
}

// The paths that an issuer answers.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeySetPath    = "/keys"
)

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	intercept := i.intercept
	published := i.published
	switch r.URL.Path {
	case DiscoveryPath:
		i.discoveries++
	case KeySetPath:
		i.keySets++
	}
	i.mu.Unlock()
	if intercept != nil {
		intercept(w, r)
		return
	}
	var body any
	switch r.URL.Path {
	case DiscoveryPath:
		body = map[string]any{"issuer": i.URL, "jwks_uri": i.URL + KeySetPath, "token_endpoint": i.URL + "/token"}
	case KeySetPath:
		body = jose.JSONWebKeySet{Keys: published}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // whoever asked may be gone
}

// Transport asks an issuer that shows a certificate of this PEM bundle.
func Transport(caBundle []byte) (http.RoundTripper, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(caBundle) {
		return nil, errors.New("no certificate in the bundle")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, nil
}

func kinds() []string { return []string{"RSA", "P-256", "P-384", "P-521", "Ed25519"} }

func (i *Issuer) generate(kind string) crypto.Signer {
	i.t.Helper()
	var signer crypto.Signer
	var err error
	switch kind {
	case "RSA":
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "P-256":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		signer, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "Ed25519":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	return signer
}

// publicPEM is the public key as an attacker finds it, to use as a secret.
func publicPEM(t testing.TB, k crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}
