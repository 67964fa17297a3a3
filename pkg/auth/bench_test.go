package auth

import (
	"testing"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
)

// BenchmarkAuthenticate measures what a JWT costs: found in memory, and verified afresh.
func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(b)
	shown := func(algorithm string) Credentials {
		c := Credentials{Token: w.issuer.Token(w.issuer.Claims(), authtest.Algorithm(algorithm))}
		if _, err := w.callers.Authenticate(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		return c
	}
	b.Run("cached", func(b *testing.B) {
		c := shown("RS256")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.callers.Authenticate(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cached, bound", func(b *testing.B) {
		mine := w.ca.Client("smo")
		c := Credentials{Token: w.issuer.Token(w.issuer.Claims().BoundTo(mine.Leaf)), Certificate: mine.Leaf}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.callers.Authenticate(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, algorithm := range []string{"RS256", "ES256"} {
		b.Run("uncached "+algorithm, func(b *testing.B) {
			c := shown(algorithm)
			i := w.callers.regime.Load().issuers[w.issuer.URL]
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.verify(b.Context(), c.Token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCertificateOf measures what a certificate costs that a proxy tells of.
func BenchmarkCertificateOf(b *testing.B) {
	w := newWorld(b)
	w.config.Certificates.CABundle = w.ca.PEM()
	w.config.Proxies = proxies(HeaderXFCC)
	w.configure(b)
	headers := authtest.XFCC(w.ca.Client("smo").Leaf)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.callers.CertificateOf(from(proxyAddress, headers, nil)); err != nil {
			b.Fatal(err)
		}
	}
}
