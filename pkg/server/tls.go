package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The versions of TLS that --tls-min-version knows.
const (
	TLS12 = "1.2"
	TLS13 = "1.3"
)

// BaseTLS returns what all our TLS servers have in common. minVersion is TLS12 or TLS13;
// anything else counts as TLS12.
//
// With TLS 1.2 there are the suites with forward secrecy and authenticated encryption and no
// others; those of TLS 1.3 are all good and cannot be chosen. The key exchanges are Go's,
// which begin with the hybrid X25519MLKEM768, then X25519 and the NIST curves: a list of
// ours would have to follow what becomes known of them, and Go's does that with every
// release.
//
// Sources: RFC 9325, clauses 3.1 and 4.2; O-RAN.WG11.TS.SecProtSpec, TLS profiles.
func BaseTLS(minVersion string) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
	}
	if minVersion == TLS13 {
		c.MinVersion = tls.VersionTLS13
	}
	return c
}

// clientCertificates judges the certificates that clients show, by CAs that may change while
// connections are open. It is safe for concurrent use.
type clientCertificates struct {
	cas  func() *x509.CertPool // nil func or nil pool: clients are not asked
	now  func() time.Time
	last atomic.Pointer[mutual]
}

// mutual is how connections are made while these CAs are in force.
type mutual struct {
	cas    *x509.CertPool
	config *tls.Config
}

// pool returns the CAs in force.
func (c *clientCertificates) pool() *x509.CertPool {
	if c.cas == nil {
		return nil
	}
	return c.cas()
}

// ask makes a server with this configuration ask its clients for a certificate while there
// are CAs. What they show must be good; whether they must show one is for those to say who
// know the whole request.
func (c *clientCertificates) ask(base *tls.Config) {
	plain := base.Clone()
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		pool := c.pool()
		if pool == nil {
			return nil, nil // as base says
		}
		if conn, ok := hello.Context().Value(connectionKey{}).(*connection); ok {
			conn.verifiedBy(pool)
		}
		if m := c.last.Load(); m != nil && m.cas == pool {
			return m.config, nil
		}
		config := plain.Clone()
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, pool
		// A ticket would let a client in again that does not prove any more to have the key
		// of its certificate, under CAs that may be others by then.
		config.SessionTicketsDisabled = true
		c.last.Store(&mutual{pool, config})
		return config, nil
	}
}

// judge returns the request with the client certificate of its connection, or without it
// when it is not good any more: it ended, or the CAs are others than when the connection was
// made. Then the connection goes after this request, so that the client can show another.
func (c *clientCertificates) judge(w http.ResponseWriter, r *http.Request) *http.Request {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return r
	}
	conn, _ := r.Context().Value(connectionKey{}).(*connection)
	if conn == nil {
		conn = new(connection)
	}
	if conn.vouches(r.TLS, c.pool(), c.now()) {
		return r
	}
	w.Header().Set("Connection", "close")
	state := *r.TLS
	state.PeerCertificates, state.VerifiedChains = nil, nil
	without := *r
	without.TLS = &state
	return &without
}

// connection is what we know of one connection: the CAs by which its client certificate is
// good.
type connection struct {
	mu  sync.Mutex
	cas *x509.CertPool
}

type connectionKey struct{}

// connContext is for http.Server.ConnContext.
func connContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, new(connection))
}

func (c *connection) verifiedBy(cas *x509.CertPool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cas = cas
}

// vouches tells whether the client certificate of a connection is good by these CAs.
func (c *connection) vouches(state *tls.ConnectionState, cas *x509.CertPool, now time.Time) bool {
	leaf := state.PeerCertificates[0]
	if cas == nil || now.After(leaf.NotAfter) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cas != nil && (c.cas == cas || c.cas.Equal(cas)) {
		c.cas = cas
		return true
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: cas, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return false
	}
	c.cas = cas
	return true
}
