package server

import (
	"context"
	"crypto/tls"
	"time"

	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Certificate is a serving certificate that is kept fresh, for servers other than ours.
type Certificate struct{ certificates certificates }

// CertificateFromFiles serves what somebody else puts into two files and renews.
func CertificateFromFiles(certFile, keyFile string) *Certificate {
	return &Certificate{&certificateFiles{certFile: certFile, keyFile: keyFile}}
}

// OwnCertificate serves a certificate that it issues from a CA of its own, which is kept in
// the Secret o.CertSecret; clients trust that Secret's ca.crt. The names in it are those of
// the Service o.ServiceName in o.Namespace, o.BindAddress, and localhost.
func OwnCertificate(o Options, secrets corev1client.SecretInterface, now func() time.Time) *Certificate {
	return &Certificate{&ownCertificate{secrets: secrets, name: o.CertSecret, names: certificateNames(o), now: now}}
}

// Get is for tls.Config.GetCertificate.
func (c *Certificate) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.certificates.get(hello)
}

// Ready tells whether there is a certificate.
func (c *Certificate) Ready() error { return c.certificates.ready() }

// Keep obtains the certificate and keeps it fresh until ctx ends.
func (c *Certificate) Keep(ctx context.Context) { c.certificates.keep(ctx) }
