package authtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// CA signs clients.
type CA struct {
	Certificate *x509.Certificate

	t   testing.TB
	key *ecdsa.PrivateKey
	now func() time.Time
}

// NewCA returns a CA of this name, valid for a year from now.
func NewCA(t testing.TB, name string, now func() time.Time) *CA {
	t.Helper()
	ca := &CA{t: t, now: now, key: newECKey(t)}
	template := ca.authority(name)
	ca.Certificate = ca.sign(template, template, ca.key)
	return ca
}

// Intermediate returns a CA that ca vouches for.
func (ca *CA) Intermediate(name string) *CA {
	ca.t.Helper()
	i := &CA{t: ca.t, now: ca.now, key: newECKey(ca.t)}
	i.Certificate = ca.sign(ca.authority(name), ca.Certificate, i.key)
	return i
}

func (ca *CA) authority(name string) *x509.Certificate {
	template := ca.template(name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	template.NotAfter = ca.now().AddDate(1, 0, 0)
	return template
}

// PEM returns the CA's certificate.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate.Raw})
}

// Client returns a certificate for a TLS client, valid for an hour; change may make it
// another one.
func (ca *CA) Client(name string, change ...func(*x509.Certificate)) tls.Certificate {
	ca.t.Helper()
	template := ca.template(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	for _, c := range change {
		c(template)
	}
	key := newECKey(ca.t)
	leaf := ca.sign(template, ca.Certificate, key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

func (ca *CA) template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		ca.t.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: []string{"example"}},
		NotBefore:    ca.now().Add(-time.Hour),
		NotAfter:     ca.now().Add(time.Hour),
	}
}

// sign makes a certificate of key, signed by ca.
func (ca *CA) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	ca.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return certificate
}

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Thumbprint is how a token names the certificate that it is bound to.
//
// Source: RFC 8705, clause 3.1.
func Thumbprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// BoundTo returns c bound to a certificate.
func (c Claims) BoundTo(certificate *x509.Certificate) Claims {
	return c.With("cnf", map[string]any{"x5t#S256": Thumbprint(certificate)})
}

// HAProxy returns the headers by which OpenShift's router tells of a certificate.
func HAProxy(certificate *x509.Certificate) http.Header {
	return http.Header{
		"X-Ssl-Client-Verify": {"0"},
		"X-Ssl-Client-Der":    {base64.StdEncoding.EncodeToString(certificate.Raw)},
		"X-Ssl-Client-Dn":     {certificate.Subject.String()},
	}
}

// RFC9440 returns the header of RFC 9440, clause 2.2.
func RFC9440(certificate *x509.Certificate) http.Header {
	return http.Header{"Client-Cert": {":" + base64.StdEncoding.EncodeToString(certificate.Raw) + ":"}}
}

// XFCC returns the header by which Envoy tells of a certificate.
func XFCC(certificate *x509.Certificate) http.Header {
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	escaped := strings.ReplaceAll(url.QueryEscape(string(text)), "+", "%20")
	sum := sha256.Sum256(certificate.Raw)
	return http.Header{"X-Forwarded-Client-Cert": {
		`By=spiffe://hub/o2ims;Hash=` + base64.RawURLEncoding.EncodeToString(sum[:]) + `;Subject="` + certificate.Subject.String() + `";Cert="` + escaped + `";URI=`,
	}}
}
