package smo

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

// rotating is a TLS server whose certificate and client CAs change while it serves. Each
// answer ends its connection, so that each call is a handshake.
type rotating struct {
	*httptest.Server
	certificate atomic.Pointer[tls.Certificate]
	clients     atomic.Pointer[x509.CertPool]

	mu   sync.Mutex
	seen map[string]bool // common names of clients
}

func newRotating(t *testing.T, certificate tls.Certificate, clients *x509.CertPool) *rotating {
	t.Helper()
	s := &rotating{seen: make(map[string]bool)}
	s.certificate.Store(&certificate)
	s.clients.Store(clients)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, peer := range r.TLS.PeerCertificates[:min(1, len(r.TLS.PeerCertificates))] {
			s.seen[peer.Subject.CommonName] = true
		}
	}))
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{certificate}, // or the test server adds its own
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*s.certificate.Load()}}
			if pool := s.clients.Load(); pool != nil {
				config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, pool
			}
			return config, nil
		},
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *rotating) saw(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[name]
}

var withTLS = Options{AllowNetworks: toLoopback.AllowNetworks}

func TestRotationOfTheCA(t *testing.T) {
	old, now := newAuthority(t, "old"), newAuthority(t, "new")
	s := newRotating(t, old.server(), nil)
	c := client(t, withTLS, Parts{})
	configure(t, c, Settings{CABundle: old.pem()})
	l := newLoad(t, c, func() string { return s.URL })
	l.begin()
	l.goesOn("the old CA")
	configure(t, c, Settings{CABundle: append(old.pem(), now.pem()...)})
	l.goesOn("both CAs")
	certificate := now.server()
	s.certificate.Store(&certificate)
	l.goesOn("the new certificate")
	configure(t, c, Settings{CABundle: now.pem()})
	l.goesOn("the new CA")
	if err := c.Configure(Settings{CABundle: []byte("damaged")}); !errors.Is(err, fault.Invalid) {
		t.Errorf("a damaged bundle: %v, want invalid", err)
	}
	l.goesOn("after a damaged bundle")
	other := newTLSServer(t, http.NotFoundHandler(), old.server(), nil)
	if _, err := call(t, c, other.URL, ""); err == nil {
		t.Error("the old CA is still trusted")
	}
}

func TestRotationOfTheClientCertificate(t *testing.T) {
	ca, old, now := newAuthority(t, "ca"), newAuthority(t, "old"), newAuthority(t, "new")
	s := newRotating(t, ca.server(), old.pool())
	c := client(t, withTLS, Parts{})
	with := func(certificate tls.Certificate) Settings {
		return Settings{CABundle: ca.pem(), Certificate: &certificate, Hosts: []string{s.Listener.Addr().String()}}
	}
	configure(t, c, with(old.client("first")))
	l := newLoad(t, c, func() string { return s.URL })
	l.begin()
	l.goesOn("the old certificate")
	s.clients.Store(old.pool(now))
	l.goesOn("the SMO trusts both CAs")
	configure(t, c, with(now.client("second")))
	l.goesOn("the new certificate")
	if !s.saw("first") || !s.saw("second") {
		t.Errorf("the SMO saw %v, want both certificates", s.seen)
	}
	l.goesOn("all calls with the old one have ended")
	s.clients.Store(now.pool())
	l.goesOn("the SMO trusts the new CA alone")
	if err := c.Configure(Settings{CABundle: ca.pem(), Certificate: &tls.Certificate{}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("an empty certificate: %v, want invalid", err)
	}
	l.goesOn("after an empty certificate")
}

func TestRotationOfTheClientSecret(t *testing.T) {
	i := newIssuer(t, "first")
	smo := newConsumer(t, i, nil)
	c, clock := configured(t, Settings{OAuth: i.oauth("first"), Hosts: []string{smo.host()}})
	l := newLoad(t, c, func() string { return smo.URL })
	l.begin()
	expire := func(phase string) {
		t.Helper()
		before := i.count()
		clock.Step(2 * time.Hour)
		l.goesOn(phase)
		if i.count() == before {
			t.Errorf("%s: no new token was asked for", phase)
		}
	}
	l.goesOn("the first secret")
	i.change(func(i *issuer) { i.secrets = []string{"first", "second"} })
	expire("the issuer takes both")
	configure(t, c, Settings{OAuth: i.oauth("second"), Hosts: []string{smo.host()}})
	l.goesOn("the second secret")
	i.change(func(i *issuer) { i.secrets = []string{"second"} })
	expire("the issuer takes the second alone")

	// Without an overlap, as long as a token is good.
	i.change(func(i *issuer) { i.secrets = []string{"third"} })
	l.goesOn("the issuer takes the third alone")
	configure(t, c, Settings{OAuth: i.oauth("third"), Hosts: []string{smo.host()}})
	expire("the third secret")

	// Every token is revoked.
	i.change(func(i *issuer) { clear(i.good) })
	l.goesOn("all tokens are revoked")
}

// TestSecretIsMended configures the right secret while callers wait for a token that the
// wrong one will not get: they are served all the same.
func TestSecretIsMended(t *testing.T) {
	i := newIssuer(t, "right")
	smo := newConsumer(t, i, nil)
	c, _ := configured(t, Settings{OAuth: i.oauth("wrong"), Hosts: []string{smo.host()}})
	hold := make(chan struct{})
	i.change(func(i *issuer) { i.hold = hold })
	results := make(chan error, callers)
	for range callers {
		go func() {
			status, err := call(t, c, smo.URL, "notification")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("status %d", status)
			}
			results <- err
		}()
	}
	waiting := c.current.Load()
	until(t, func() bool { return waiting.calls.Load() > callers && i.count() == 1 }) // all wait, and one fetches
	i.change(func(i *issuer) { i.hold = nil })
	configure(t, c, Settings{OAuth: i.oauth("right"), Hosts: []string{smo.host()}})
	close(hold)
	for range callers {
		if err := <-results; err != nil {
			t.Errorf("a caller that waited: %v, want it served with the new secret", err)
		}
	}
}

func TestRotationOfTheAddress(t *testing.T) {
	i := newIssuer(t, "s")
	i.lifetime = 0
	ca, caOther := newAuthority(t, "ca"), newAuthority(t, "other")
	serve := func(a *authority) (*httptest.Server, *atomic.Int64) {
		open := new(atomic.Int64)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !i.accepts(r) {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Add(-1)
			}
		}
		s.TLS = &tls.Config{Certificates: []tls.Certificate{a.server()}}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s, open
	}
	old, oldOpen := serve(ca)
	now, _ := serve(caOther)
	c := client(t, toLoopback, Parts{Clock: clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))})
	with := func(s ...*httptest.Server) Settings {
		settings := Settings{CABundle: append(ca.pem(), caOther.pem()...), OAuth: i.oauth("s")}
		for _, one := range s {
			settings.Hosts = append(settings.Hosts, one.Listener.Addr().String())
		}
		return settings
	}
	var target atomic.Pointer[string]
	target.Store(&old.URL)
	configure(t, c, with(old))
	l := newLoad(t, c, func() string { return *target.Load() })
	l.begin()
	l.goesOn("the old address")
	configure(t, c, with(old, now))
	l.goesOn("both addresses")
	target.Store(&now.URL)
	l.goesOn("calls move over")
	l.goesOn("the last to the old address have ended")
	configure(t, c, with(now))
	l.goesOn("the new address")
	until(t, func() bool { return oldOpen.Load() == 0 }) // what was idle is closed
	if got := i.count(); got != 1 {
		t.Errorf("%d tokens fetched, want 1: it is still good", got)
	}
}

// TestAnswerIsSeenAfterRotation replaces the settings between the moment at which net/http has
// an answer without a body, and counts the connection as idle, and that at which the caller
// is given it. Many times, since whether the caller would look in between is up to the
// scheduler.
func TestAnswerIsSeenAfterRotation(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer s.Close()
	c := client(t, toLoopback, Parts{})
	for n := range 200 {
		between := &httptrace.ClientTrace{PutIdleConn: func(error) {
			configure(t, c, Settings{Hosts: []string{fmt.Sprintf("smo-%d.example.net", n)}})
		}}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), between), http.MethodPost, s.URL, strings.NewReader("notification"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.Do(r)
		if err != nil {
			t.Fatalf("call %d failed: %v", n, err)
		}
		response.Body.Close()
	}
}

// TestCallsUnderWayEndOnTheOld replaces the settings before, in, and at the end of a call. It
// succeeds, and its connection is closed, since nobody will use it again.
func TestCallsUnderWayEndOnTheOld(t *testing.T) {
	for _, tc := range []struct {
		name                     string
		atToken, atCall, afterIt bool // the settings are replaced
	}{{"while it waits for a token", true, false, false}, {"while it waits for an answer", false, true, false}, {"when it has ended", false, false, true}} {
		t.Run(tc.name, func(t *testing.T) {
			i := newIssuer(t, "s")
			begun, answer := make(chan struct{}), make(chan struct{})
			closed := make(chan struct{}, 10)
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				begun <- struct{}{}
				<-answer
			}))
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					closed <- struct{}{}
				}
			}
			s.Start()
			defer s.Close()
			hold := make(chan struct{})
			i.change(func(i *issuer) { i.hold = hold })
			c, _ := configured(t, Settings{OAuth: i.oauth("s"), Hosts: []string{s.Listener.Addr().String()}})
			old := c.current.Load()
			ended := make(chan error)
			go func() {
				_, err := call(t, c, s.URL, "")
				ended <- err
			}()
			replace := func(now bool) {
				if now {
					configure(t, c, Settings{Hosts: []string{"smo.example.net"}})
				}
			}
			until(t, func() bool { return i.count() == 1 })
			replace(tc.atToken)
			close(hold)
			<-begun
			replace(tc.atCall)
			close(answer)
			if err := <-ended; err != nil {
				t.Errorf("the call under way: %v", err)
			}
			replace(tc.afterIt)
			select {
			case <-closed:
			case <-time.After(20 * time.Second):
				t.Error("the connection is still open")
			}
			if got := old.calls.Load(); got != 0 || c.current.Load() == old {
				t.Errorf("%d calls with the old settings, want none", got)
			}
		})
	}
}

func TestTheSameSettingsChangeNothing(t *testing.T) {
	ca := newAuthority(t, "ca")
	certificate := ca.client("o-cloud")
	i := newIssuer(t, "s")
	var connections atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.server()}}
	s.StartTLS()
	defer s.Close()
	settings := func() Settings {
		certificate, oauth := certificate, i.oauth("s")
		oauth.Scopes = []string{"a", "b"}
		return Settings{CABundle: ca.pem(), Certificate: &certificate, OAuth: oauth, Hosts: []string{s.Listener.Addr().String()}}
	}
	c := client(t, toLoopback, Parts{})
	mine := settings()
	configure(t, c, mine)
	first := c.current.Load()
	mine.OAuth.Scopes[0], mine.Hosts[0] = "changed by its owner", "evil.example.net"
	for range 5 {
		configure(t, c, settings())
		mustCall(t, c, s.URL)
	}
	if c.current.Load() != first || i.count() != 1 || connections.Load() != 1 {
		t.Errorf("%d connections and %d tokens, the same settings: %t, want 1, 1, true", connections.Load(), i.count(), c.current.Load() == first)
	}
	for name, change := range map[string]func(*Settings){
		"bundle":      func(s *Settings) { s.CABundle = append(s.CABundle, newAuthority(t, "another").pem()...) },
		"certificate": func(s *Settings) { other := ca.client("other"); s.Certificate = &other },
		"no OAuth":    func(s *Settings) { s.OAuth = nil },
		"scopes":      func(s *Settings) { s.OAuth.Scopes = nil },
		"hosts":       func(s *Settings) { s.Hosts = nil },
	} {
		changed := settings()
		change(&changed)
		configure(t, c, changed)
		if c.current.Load() == first {
			t.Errorf("another %s changes nothing", name)
		}
		configure(t, c, settings())
		first = c.current.Load()
	}
}
