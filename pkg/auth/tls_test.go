package auth

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
)

// listener serves what the gate admits, over TLS as the manager does: it asks each new
// connection for a certificate of the CAs that count at that time.
func listener(t *testing.T, w *world) *httptest.Server {
	t.Helper()
	gate := NewGate(w.callers, NewAuthorizer(w.server.clients.AuthorizationV1().SubjectAccessReviews(), w.clock), prometheus.NewRegistry())
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if _, err := gate.Admit(r, r.Method, "/template"); err != nil {
			out.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Header.Get("Client-Cert") != "" {
			t.Error("a header of a stranger reached the handler")
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := s.TLS.Clone()
		c.GetConfigForClient = nil
		if c.ClientCAs = w.callers.ClientCAs(); c.ClientCAs != nil {
			c.ClientAuth = tls.VerifyClientCertIfGiven
		}
		return c, nil
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// caller calls a listener with a certificate, or none, and keeps its connection.
func caller(t *testing.T, s *httptest.Server, certificate *tls.Certificate) func(token string, h http.Header) int {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	t.Cleanup(client.CloseIdleConnections)
	return func(token string, h http.Header) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range h {
			r.Header[name] = values
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := client.Do(r)
		if err != nil {
			return 0 // the handshake failed
		}
		answer.Body.Close()
		return answer.StatusCode
	}
}

// TestOverTLS calls over real connections.
func TestOverTLS(t *testing.T) {
	w := newWorld(t)
	w.clock.pass(-w.clock.Now().Sub(SystemClock{}.Now())) // TLS knows no other time
	ca, strangers := authtest.NewCA(t, "clients", w.clock.Now), authtest.NewCA(t, "strangers", w.clock.Now)
	mine, other, foreign := ca.Client("smo"), ca.Client("thief"), strangers.Client("smo")
	w.server.allowed[w.issuer.URL+"#ann get /"] = true
	w.config.Certificates = ClientCertificates{CABundle: ca.PEM(), Required: true}
	w.configure(t)
	s := listener(t, w)
	bound := w.issuer.Token(w.issuer.Claims().BoundTo(mine.Leaf))
	for _, tc := range []struct {
		name        string
		certificate *tls.Certificate
		headers     http.Header
		want        int
	}{
		{"its certificate", &mine, nil, 200},
		{"another's certificate", &other, nil, 401},
		{"another's certificate and a forged header", &other, authtest.RFC9440(mine.Leaf), 401},
		{"none", nil, nil, 401},
		{"none and a forged header", nil, authtest.RFC9440(mine.Leaf), 401},
		{"its certificate and a forged header", &mine, authtest.RFC9440(other.Leaf), 200},
		{"a stranger's certificate", &foreign, nil, 0},
	} {
		if got := caller(t, s, tc.certificate)(bound, tc.headers); got != tc.want {
			t.Errorf("%s: status = %d, want %d", tc.name, got, tc.want)
		}
	}

	kept := caller(t, s, &mine)
	for _, step := range []struct {
		story  string
		bundle []byte
		want   int
	}{
		{"CA of the certificate", ca.PEM(), 200},
		{"another CA beside", append(ca.PEM(), strangers.PEM()...), 200},
		{"CA withdrawn while the connection stands", strangers.PEM(), 401},
		{"CA back", ca.PEM(), 200},
	} {
		w.config.Certificates.CABundle = step.bundle
		w.configure(t)
		if got := kept(bound, nil); got != step.want {
			t.Errorf("%s: status = %d, want %d", step.story, got, step.want)
		}
	}
}
