package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/o2ims/o2ims/pkg/rest"
)

// authority is a CA of a test.
type authority struct {
	t      testing.TB
	secret corev1.Secret
	pair   tls.Certificate
}

func newCA(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	if err := newAuthority(&a.secret, time.Now()); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.pair, err = tls.X509KeyPair(a.secret.Data["tls.crt"], a.secret.Data["tls.key"]); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns a certificate for clients and servers that is good until a time.
func (a *authority) issue(name string, until time.Time) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: testNames.ips,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.pair.Leaf, key, a.pair.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// write puts a server certificate into the two files.
func (a *authority) write(certFile, keyFile string) {
	a.t.Helper()
	c := a.issue("server", time.Now().Add(time.Hour))
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		replaced := file + ".new"
		if err := os.WriteFile(replaced, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
		if err := os.Rename(replaced, file); err != nil { // as a Secret's volume changes: whole files
			a.t.Fatal(err)
		}
	}
}

func poolOf(authorities ...*authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a.pair.Leaf)
	}
	return pool
}

// site is a server that runs, whose certificate comes from files.
type site struct {
	*Server
	ca                *authority
	clients           atomic.Pointer[x509.CertPool]
	now               atomic.Int64 // how far the clock is ahead
	certFile, keyFile string
}

// startSite runs a server. GET /v1/who answers with the common name of the client
// certificate, and "-" without.
func startSite(t *testing.T, change func(*Options, *Parts)) *site {
	t.Helper()
	return startSiteWith(t, change, nil)
}

// startSiteWith does the same; adjust changes what no option is for.
func startSiteWith(t *testing.T, change func(*Options, *Parts), adjust func(*Server)) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{ca: newCA(t), certFile: filepath.Join(dir, "tls.crt"), keyFile: filepath.Join(dir, "tls.key")}
	s.ca.write(s.certFile, s.keyFile)
	registry := prometheus.NewRegistry()
	o := Options{BindAddress: "127.0.0.1", CertFile: s.certFile, KeyFile: s.keyFile}
	p := Parts{
		Gate: newGate(registry), Metrics: registry, ClientCAs: s.clients.Load,
		Now: func() time.Time { return time.Now().Add(time.Duration(s.now.Load())) },
		Mounts: []Mount{{Prefix: prefix, Routes: func(r *mux.Router) {
			testRoutes(r)
			r.Handle(prefix+"/v1/who", rest.Methods{http.MethodGet: func(w http.ResponseWriter, r *http.Request) error {
				name := "-"
				if len(r.TLS.PeerCertificates) > 0 && len(r.TLS.VerifiedChains) > 0 {
					name = r.TLS.PeerCertificates[0].Subject.CommonName
				}
				_, err := io.WriteString(w, name)
				return err
			}})
		}}},
	}
	if change != nil {
		change(&o, &p)
	}
	var err error
	if s.Server, err = New(o, p); err != nil {
		t.Fatal(err)
	}
	s.certs.(*certificateFiles).interval = 2 * time.Millisecond
	if adjust != nil {
		adjust(s.Server)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	waitFor(t, "a certificate", func() bool { return s.certs.ready() == nil })
	return s
}

// client trusts the site's CA, and shows a certificate when it is asked for one.
func (s *site) client(shown *tls.Certificate, change func(*tls.Config)) *http.Client {
	config := &tls.Config{RootCAs: poolOf(s.ca), MinVersion: tls.VersionTLS12}
	if shown != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil }
	}
	if change != nil {
		change(config)
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: config}}
	s.ca.t.Cleanup(client.CloseIdleConnections) // before the site stops, which waits for them
	return client
}

// who asks as whom the site sees a client.
func (s *site) who(c *http.Client) (string, *http.Response, error) {
	r, err := http.NewRequest(http.MethodGet, "https://"+s.APIAddress()+prefix+"/v1/who", nil)
	if err != nil {
		return "", nil, err
	}
	r.Header.Set("Authorization", "Bearer admin")
	answer, err := c.Do(r)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return string(body), answer, err
}

// later is when a test is over for certain.
func later() time.Time { return time.Now().Add(time.Hour) }

func TestClientCertificates(t *testing.T) {
	s := startSite(t, nil)
	good, evil := newCA(t), newCA(t)
	for _, tc := range []struct {
		name  string
		cas   *x509.CertPool
		shown *tls.Certificate
		asked bool
		want  string // "": the handshake fails
	}{
		{"not asked for", nil, good.issue("smo", later()), false, "-"},
		{"shown", poolOf(good), good.issue("smo", later()), true, "smo"},
		{"none", poolOf(good), &tls.Certificate{}, true, "-"},
		{"of another CA", poolOf(good), evil.issue("smo", later()), true, ""},
		{"of one of two CAs", poolOf(evil, good), good.issue("smo", later()), true, "smo"},
		{"expired", poolOf(good), good.issue("smo", time.Now().Add(-time.Minute)), true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.clients.Store(tc.cas) // while it runs
			asked := false
			client := s.client(nil, func(c *tls.Config) {
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { asked = true; return tc.shown, nil }
			})
			got, answer, err := s.who(client)
			if (err != nil) != (tc.want == "") || got != tc.want {
				t.Errorf("seen as %q, %v, want %q", got, err, tc.want)
			}
			if asked != tc.asked {
				t.Errorf("asked for a certificate: %t, want %t", asked, tc.asked)
			}
			if err == nil && answer.ProtoMajor != 2 {
				t.Errorf("HTTP/%d, want 2", answer.ProtoMajor)
			}
		})
	}
}

// A connection lasts as long as its client likes. What was good when it was made need not
// be good for its next request.
func TestClientCertificateOfAnOpenConnection(t *testing.T) {
	old, fresh := newCA(t), newCA(t)
	for _, tc := range []struct {
		name   string
		change func(*site)
		want   string
	}{
		{"nothing changed", func(*site) {}, "smo"},
		{"the same CAs, read again", func(s *site) { s.clients.Store(poolOf(old)) }, "smo"},
		{"one CA more", func(s *site) { s.clients.Store(poolOf(fresh, old)) }, "smo"},
		{"another CA", func(s *site) { s.clients.Store(poolOf(fresh)) }, "-"},
		{"no CA any more", func(s *site) { s.clients.Store(nil) }, "-"},
		{"the certificate ended", func(s *site) { s.now.Store(int64(2 * time.Hour)) }, "-"},
	} {
		for _, protocol := range []string{"h2", "http/1.1"} {
			t.Run(tc.name+" "+protocol, func(t *testing.T) {
				s := startSite(t, nil)
				s.clients.Store(poolOf(old))
				var handshakes atomic.Int32
				client := s.client(old.issue("smo", later()), func(c *tls.Config) {
					c.VerifyConnection = func(tls.ConnectionState) error { handshakes.Add(1); return nil }
				})
				client.Transport.(*http.Transport).ForceAttemptHTTP2 = protocol == "h2"
				if got, _, err := s.who(client); got != "smo" || err != nil {
					t.Fatalf("at first seen as %q, %v", got, err)
				}
				tc.change(s)
				for range 2 { // the answer does not wear off
					if got, _, err := s.who(client); got != tc.want || err != nil {
						if tc.name == "another CA" && handshakes.Load() > 1 {
							continue // its next connection is refused: the certificate is none of this CA's
						}
						t.Errorf("then seen as %q, %v, want %q", got, err, tc.want)
					}
				}
				if closed := handshakes.Load() > 1; closed != (tc.want == "-") {
					t.Errorf("%d connections, and the certificate counts as %q", handshakes.Load(), tc.want)
				}
			})
		}
	}
}

// TestNoResumptionPastTheCAs: a session ticket says that a client was believed once. It must
// not be believed again when the CAs have changed, nor in place of its key.
func TestNoResumptionPastTheCAs(t *testing.T) {
	old, fresh := newCA(t), newCA(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s := startSite(t, nil)
			connect := func(cache tls.ClientSessionCache) (string, bool, error) {
				client := s.client(old.issue("smo", later()), func(c *tls.Config) { c.MaxVersion, c.ClientSessionCache = version, cache })
				defer client.CloseIdleConnections()
				got, answer, err := s.who(client)
				return got, err == nil && answer.TLS.DidResume, err
			}
			plain := tls.NewLRUClientSessionCache(1)
			for i, want := range []bool{false, true} { // tickets are there while nobody shows certificates
				if got, resumed, err := connect(plain); got != "-" || resumed != want || err != nil {
					t.Fatalf("without CAs, connection %d: seen as %q, resumed %t, %v, want it resumed: %t", i, got, resumed, err, want)
				}
			}
			s.clients.Store(poolOf(old))
			if got, resumed, err := connect(plain); got != "smo" || resumed || err != nil {
				t.Errorf("a session of before there were CAs: seen as %q, resumed %t, %v; want a handshake that asks for the certificate", got, resumed, err)
			}
			mutual := tls.NewLRUClientSessionCache(1)
			for range 2 {
				if got, resumed, err := connect(mutual); got != "smo" || resumed || err != nil {
					t.Errorf("with the CA: seen as %q, resumed %t, %v; want smo by a whole handshake", got, resumed, err)
				}
			}
			s.clients.Store(poolOf(fresh))
			if got, _, err := connect(mutual); err == nil {
				t.Errorf("with another CA: seen as %q, want the handshake to fail", got)
			}
			s.clients.Store(nil)
			if got, _, err := connect(mutual); got != "-" || err != nil {
				t.Errorf("without CAs again: seen as %q, %v, want no certificate", got, err)
			}
		})
	}
}

func TestTLSVersionsAndSuites(t *testing.T) {
	for _, tc := range []struct {
		name, min string
		client    func(*tls.Config)
		works     bool
	}{
		{"TLS 1.1", "", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		{"TLS 1.2", "", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{"TLS 1.3", "", func(*tls.Config) {}, true},
		{"CBC", "", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA}
		}, false},
		{"no forward secrecy", "", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, false},
		{"AES-256", "", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
		}, true},
		{"an old curve", "", func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, true},
		{"1.2 where 1.3 is wanted", TLS13, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, false},
		{"1.3 where 1.3 is wanted", TLS13, func(*tls.Config) {}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startSite(t, func(o *Options, _ *Parts) { o.TLSMinVersion = tc.min })
			for _, cas := range []*x509.CertPool{nil, poolOf(s.ca)} { // the rules are the same with client certificates
				s.clients.Store(cas)
				_, answer, err := s.who(s.client(nil, tc.client))
				if (err == nil) != tc.works {
					t.Fatalf("%v, want it to work: %t", err, tc.works)
				}
				if tc.name == "TLS 1.3" && answer.TLS.CurveID != tls.X25519MLKEM768 {
					t.Errorf("key exchange by %s, want the hybrid", answer.TLS.CurveID)
				}
			}
		})
	}
}
