package simulator

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

// world is a simulator that wants both, with its issuer and a client's certificate.
type world struct {
	url     string
	issuer  string
	key     *ecdsa.PrivateKey
	trusted *tls.Config // with the certificate
	stolen  *tls.Config // with one of another CA
}

func (w *world) token(t *testing.T, change map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": w.issuer, "aud": "smo", "sub": "subject", "client_id": "o-cloud", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	for name, value := range change {
		claims[name] = value
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return oidctest.SignIDToken(w.key, "k", oidc.ES256, string(text))
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// clientCertificate makes a CA that is its own client.
func clientCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	certificate, err := selfSigned(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, certificate.PrivateKey.(crypto.Signer).Public(), certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: certificate.PrivateKey}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	provider := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.ES256}}}
	issuer := httptest.NewTLSServer(provider)
	t.Cleanup(issuer.Close)
	provider.SetIssuer(issuer.URL)
	certificate, stranger := clientCertificate(t), clientCertificate(t)

	o := Options{
		Listen: "127.0.0.1:0", Status: 204, Quiet: true, RegistrationPath: "/registration",
		TLS: true, CAOut: filepath.Join(t.TempDir(), "ca.pem"),
		ClientCAFile: writePEM(t, "CERTIFICATE", certificate.Certificate[0]), RequireClientCertificate: true,
		OAuthIssuer: issuer.URL, OAuthAudience: "smo", CAFile: writePEM(t, "CERTIFICATE", issuer.Certificate().Raw),
	}
	s, err := New(o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		t.Fatal(err)
	}
	secured, err := o.secure(listener)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(secured) }()
	t.Cleanup(func() { server.Close(); s.Close() })
	roots, err := readPool(x509.NewCertPool(), "--tls-ca-out", o.CAOut)
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		url: "https://" + listener.Addr().String(), issuer: issuer.URL, key: key,
		trusted: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
		stolen:  &tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }},
	}
}

func TestAccess(t *testing.T) {
	w := newWorld(t)
	bare := &tls.Config{RootCAs: w.trusted.RootCAs}
	sum := sha256.Sum256(w.trusted.Certificates[0].Certificate[0])
	bound := map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	good := w.token(t, nil)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		tls    *tls.Config
		token  string
		status int // 0: the handshake does not succeed
	}{
		{"both", w.trusted, good, 204},
		{"bound to this certificate", w.trusted, w.token(t, map[string]any{"cnf": bound}), 204},
		{"bound to another certificate", w.trusted, w.token(t, map[string]any{"cnf": map[string]any{"x5t#S256": "AAAA"}}), 401},
		{"a binding of another type", w.trusted, w.token(t, map[string]any{"cnf": "x"}), 401},
		{"no certificate", bare, good, 403},
		{"no certificate, bound token", bare, w.token(t, map[string]any{"cnf": bound}), 403},
		{"a certificate of another CA", w.stolen, good, 0},
		{"no token", w.trusted, "", 401},
		{"not a token", w.trusted, "hunter2", 401},
		{"expired", w.trusted, w.token(t, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), 401},
		{"another audience", w.trusted, w.token(t, map[string]any{"aud": "somebody"}), 401},
		{"another issuer", w.trusted, w.token(t, map[string]any{"iss": "https://evil.example.net"}), 401},
		{"another key", w.trusted, (&world{issuer: w.issuer, key: other}).token(t, nil), 401},
		{"no signature", w.trusted, strings.Join(append(strings.Split(good, ".")[:2], ""), "."), 401},
	} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: tc.tls, DisableKeepAlives: true}}
		for path, body := range map[string]string{
			"/registration": registrationBody(globalCloud, oCloud, "https://a"),
			"/cb":           body("1", 0, "", `{}`),
		} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if tc.token != "" {
				r.Header.Set("Authorization", "Bearer "+tc.token)
			}
			response, err := client.Do(r)
			got := 0
			if err == nil {
				got = response.StatusCode
				response.Body.Close()
			}
			if got != tc.status {
				t.Errorf("%s: %s: %d, %v, want %d", tc.name, path, got, err, tc.status)
			}
			if got == 401 && !strings.HasPrefix(response.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: %s: 401 without WWW-Authenticate", tc.name, path)
			}
		}
	}
	// Who looks needs neither, and sees who registered.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: bare}}
	response, err := client.Get(w.url + "/registration")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	for _, part := range []string{`"client":"o-cloud"`, `"certificate":"CN=o2ims SMO simulator"`, `"registrations":2`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("registrations = %s, which lacks %s", text, part)
		}
	}
}

// TestIssuerComesLater starts before the issuer does.
func TestIssuerComesLater(t *testing.T) {
	issuer := httptest.NewUnstartedServer(nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	provider := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.ES256}}}
	ready := make(chan struct{})
	issuer.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-ready:
			provider.ServeHTTP(w, r)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	issuer.Start()
	defer issuer.Close()
	provider.SetIssuer(issuer.URL)
	_, url := start(t, Options{OAuthIssuer: issuer.URL, Quiet: true}, io.Discard)
	w := &world{issuer: issuer.URL, key: key}
	send := func() int {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url+"/registration", strings.NewReader(registrationBody(globalCloud, oCloud, "https://a")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+w.token(t, nil))
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if got := send(); got != http.StatusServiceUnavailable {
		t.Errorf("before the issuer answers: %d, want 503", got)
	}
	close(ready)
	if got := send(); got != http.StatusNoContent {
		t.Errorf("afterwards: %d, want 204", got)
	}
}

func TestAccessOptions(t *testing.T) {
	for _, o := range []Options{
		{RequireClientCertificate: true}, {ClientCAFile: "x"}, {OAuthAudience: "smo"}, {OAuthIssuer: "nowhere"},
		{RegistrationPath: "registration"}, {RegistrationPath: "/journal"}, {RegistrationPath: "/"},
	} {
		o.Listen, o.Status = ":0", 204
		if o.Validate() == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	for _, o := range []Options{{CAFile: "nothing here"}, {CAFile: "access_test.go"}} {
		o.Listen, o.Status = ":0", 204
		if s, err := New(o, io.Discard); err == nil {
			t.Errorf("%+v is accepted", o)
			s.Close()
		}
	}
	if text := fmt.Sprint(Caller{}); text != "" {
		t.Errorf("nobody is printed as %q", text)
	}
}
