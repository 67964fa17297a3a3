package auth

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/o2ims/o2ims/pkg/fault"
)

// cachedCertificates is how many certificates are remembered, and verifiedFor how long
// one is believed without checking its chain again.
const (
	cachedCertificates = 1024
	verifiedFor        = time.Minute
)

// clientCertificates checks certificates by one version of the settings.
type clientCertificates struct {
	settings ClientCertificates
	pool     *x509.CertPool // nil: we have no CAs, and believe the trusted proxies
	clock    Clock
	known    *cache.LRUExpireCache // digest of the DER to *x509.Certificate, verified
}

func newClientCertificates(settings ClientCertificates, clock Clock) (*clientCertificates, error) {
	c := &clientCertificates{settings: settings, clock: clock, known: cache.NewLRUExpireCacheWithClock(cachedCertificates, clock)}
	if len(settings.CABundle) == 0 {
		return c, nil
	}
	authorities, err := certificatesIn(settings.CABundle)
	if err != nil {
		return nil, fmt.Errorf("client certificates: %w: %w", err, fault.Invalid)
	}
	c.pool = x509.NewCertPool()
	for _, ca := range authorities {
		c.pool.AddCert(ca)
	}
	return c, nil
}

// same tells whether c was made of these settings.
func (c *clientCertificates) same(settings ClientCertificates) bool {
	return reflect.DeepEqual(c.settings, settings)
}

// fromProxy returns the certificate that a trusted proxy vouches for. The proxy verified
// that the client has its key; where we have CAs, the chain is checked once more.
func (c *clientCertificates) fromProxy(der []byte) (*x509.Certificate, error) {
	key := digest(sha256.Sum256(der))
	if known, ok := c.known.Get(key); ok {
		return known.(*x509.Certificate), nil
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("the proxy's header holds no certificate")
	}
	return certificate, c.verify(key, certificate, nil)
}

// fromPeer returns the certificate that the client showed us. The TLS server verified it
// when the connection began; the CAs may have changed since.
func (c *clientCertificates) fromPeer(chain []*x509.Certificate) (*x509.Certificate, error) {
	key := digest(sha256.Sum256(chain[0].Raw))
	if _, ok := c.known.Get(key); ok {
		return chain[0], nil
	}
	return chain[0], c.verify(key, chain[0], chain[1:])
}

func (c *clientCertificates) verify(key digest, certificate *x509.Certificate, further []*x509.Certificate) error {
	now := c.clock.Now()
	if c.pool != nil {
		intermediates := x509.NewCertPool()
		for _, i := range further {
			intermediates.AddCert(i)
		}
		_, err := certificate.Verify(x509.VerifyOptions{
			Roots: c.pool, Intermediates: intermediates, CurrentTime: now,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			return fmt.Errorf("of %q: %w", clip(certificate.Subject.String()), err)
		}
	}
	if !c.allowed(certificate) {
		return fmt.Errorf("of %q: not among the allowed subjects", clip(certificate.Subject.String()))
	}
	if ttl := min(verifiedFor, certificate.NotAfter.Sub(now)); ttl > 0 {
		c.known.Add(key, certificate, ttl)
	}
	return nil
}

// allowed tells whether a certificate names an allowed subject.
func (c *clientCertificates) allowed(certificate *x509.Certificate) bool {
	allowed := c.settings.Subjects
	if len(allowed) == 0 || slices.Contains(allowed, certificate.Subject.String()) {
		return true
	}
	for _, name := range certificate.DNSNames {
		if slices.Contains(allowed, name) {
			return true
		}
	}
	for _, u := range certificate.URIs {
		if slices.Contains(allowed, u.String()) {
			return true
		}
	}
	return false
}

// certificateOf returns the certificate that r's client showed, nil when it showed none.
//
// What comes from a trusted proxy is judged by the proxy's header alone: the certificate of
// that connection, if any, is the proxy's own.
func (r *regime) certificateOf(request *http.Request) (*x509.Certificate, error) {
	certificate, err := r.shownBy(request)
	dropForwarded(request.Header)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w: %w", err, fault.Unauthenticated)
	}
	return certificate, r.requireCertificate(certificate)
}

func (r *regime) shownBy(request *http.Request) (*x509.Certificate, error) {
	if r.proxies.trusts(request.RemoteAddr) {
		der, err := r.proxies.forwarded(request.Header)
		if err != nil || der == nil {
			return nil, err
		}
		return r.certificates.fromProxy(der)
	}
	if t := request.TLS; t != nil && len(t.VerifiedChains) > 0 && len(t.PeerCertificates) > 0 && r.certificates.pool != nil {
		return r.certificates.fromPeer(t.PeerCertificates)
	}
	return nil, nil
}

func (r *regime) requireCertificate(certificate *x509.Certificate) error {
	if certificate == nil && r.certificates.settings.Required {
		return fmt.Errorf("client certificate: none was shown, and it is required: %w", fault.Unauthenticated)
	}
	return nil
}

// own returns c, sharing nothing with it.
func (c ClientCertificates) own() ClientCertificates {
	c.CABundle = slices.Clone(c.CABundle)
	c.Subjects = slices.Clone(c.Subjects)
	return c
}
