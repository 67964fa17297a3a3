package server

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// certificates is where the server's certificate comes from.
type certificates interface {
	// get is for tls.Config.GetCertificate.
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// ready tells whether there is one.
	ready() error

	// keep obtains the certificate and keeps it fresh until ctx ends.
	keep(ctx context.Context)
}

// current is the certificate in use.
type current struct {
	certificate atomic.Pointer[tls.Certificate]
}

func (c *current) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	return c.certificate.Load(), nil
}

func (c *current) ready() error {
	if c.certificate.Load() == nil {
		return errors.New("there is no certificate yet")
	}
	return nil
}

// every calls f at once, then, as long as it fails, soon again, else every interval.
func every(ctx context.Context, interval time.Duration, f func(context.Context) error) {
	const soon = 2 * time.Second
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := interval
		if err := f(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "certificate not refreshed", "error", err)
			wait = min(soon, interval)
		}
		timer.Reset(wait)
	}
}

// certificateFiles reads a certificate that somebody else renews, such as cert-manager.
type certificateFiles struct {
	current
	certFile, keyFile string
	interval          time.Duration // between two looks; 0: filesInterval
	stamp             string        // of the files that the current certificate was read from
}

const filesInterval = 10 * time.Second

func (c *certificateFiles) keep(ctx context.Context) {
	every(ctx, cmp.Or(c.interval, filesInterval), c.refresh)
}

// refresh reads the files if they changed. A pair that does not fit, as there is while
// files are being replaced, leaves the old one in use.
func (c *certificateFiles) refresh(context.Context) error {
	stamp := ""
	for _, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		stamp += fmt.Sprintf("%d %d;", info.ModTime().UnixNano(), info.Size())
	}
	if stamp == c.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate in %s: %w", c.certFile, err)
	}
	c.certificate.Store(&pair)
	c.stamp = stamp
	return nil
}

// ownCertificate is for hubs where nobody issues certificates. The CA is kept in a Secret,
// laid out as cert-manager lays out a CA: tls.crt and tls.key are its certificate and key,
// ca.crt is what clients trust. Every replica issues its own certificate from it, in
// memory: so each can have the address of its own pod in it, and none has to agree with
// the others on anything but the CA.
//
// A Secret whose tls.crt is no CA was put there by somebody: it is served as it is.
type ownCertificate struct {
	current
	secrets corev1client.SecretInterface
	name    string
	names   names
	now     func() time.Time

	issuer []byte // tls.crt of the Secret that the current certificate came from
	renew  time.Time
}

const (
	secretInterval = time.Minute
	caLifetime     = 10 * 365 * 24 * time.Hour
	leafLifetime   = 90 * 24 * time.Hour
	clockSkew      = time.Hour // certificates are valid from before now
	keyCABundle    = "ca.crt"
)

func (c *ownCertificate) keep(ctx context.Context) { every(ctx, secretInterval, c.refresh) }

// refresh reads the Secret, makes it if need be, and issues a certificate when there is
// none, when it is two thirds through its life, or when the Secret changed.
func (c *ownCertificate) refresh(ctx context.Context) error {
	secret, err := c.secret(ctx)
	if err != nil {
		return fmt.Errorf("secret %s: %w", c.name, err)
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return fmt.Errorf("secret %s: %w", c.name, err)
	}
	if !pair.Leaf.IsCA {
		c.certificate.Store(&pair)
		return nil
	}
	if slices.Equal(c.issuer, secret.Data[corev1.TLSCertKey]) && c.now().Before(c.renew) {
		return nil
	}
	leaf, err := issue(pair, c.names, c.now())
	if err != nil {
		return fmt.Errorf("issue a certificate: %w", err)
	}
	c.certificate.Store(leaf)
	c.issuer = secret.Data[corev1.TLSCertKey]
	c.renew = c.now().Add(leafLifetime * 2 / 3)
	slog.InfoContext(ctx, "certificate issued", "names", c.names.dns, "addresses", c.names.ips, "notAfter", leaf.Leaf.NotAfter)
	return nil
}

// secret returns the Secret, made or renewed where that is needed. When several replicas
// try, one succeeds and the others take what it made.
func (c *ownCertificate) secret(ctx context.Context) (*corev1.Secret, error) {
	secret, err := c.secrets.Get(ctx, c.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		fresh := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: c.name}, Type: corev1.SecretTypeTLS}
		if err := newAuthority(fresh, c.now()); err != nil {
			return nil, err
		}
		secret, err = c.secrets.Create(ctx, fresh, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return c.secrets.Get(ctx, c.name, metav1.GetOptions{})
		}
		return secret, err
	case err != nil:
		return nil, err
	case !c.ending(secret):
		return secret, nil
	}
	renewed := secret.DeepCopy()
	if err := newAuthority(renewed, c.now()); err != nil {
		return nil, err
	}
	updated, err := c.secrets.Update(ctx, renewed, metav1.UpdateOptions{}) // refused when it changed meanwhile
	if apierrors.IsConflict(err) {
		return c.secrets.Get(ctx, c.name, metav1.GetOptions{})
	}
	return updated, err
}

// ending tells whether the Secret holds a CA that is in the last tenth of its life. Clients
// then find both, the old and the new one, in ca.crt.
func (c *ownCertificate) ending(secret *corev1.Secret) bool {
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	return err == nil && pair.Leaf.IsCA && c.now().After(pair.Leaf.NotAfter.Add(-caLifetime/10))
}

// newAuthority puts a new CA into the Secret.
func newAuthority(secret *corev1.Secret, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "o2ims CA " + now.UTC().Format(time.DateOnly)},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := sign(template, template, key, key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret.Data = map[string][]byte{
		keyCABundle:             slices.Concat(certificate, secret.Data[corev1.TLSCertKey]), // the CA before it, if any
		corev1.TLSCertKey:       certificate,
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	return nil
}

// issue makes a server certificate.
func issue(ca tls.Certificate, n names, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	notAfter := now.Add(leafLifetime)
	if ca.Leaf.NotAfter.Before(notAfter) {
		notAfter = ca.Leaf.NotAfter
	}
	der, err := sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "o2ims"},
		NotBefore:   now.Add(-clockSkew),
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    n.dns,
		IPAddresses: n.ips,
	}, ca.Leaf, key, ca.PrivateKey)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// sign returns the DER of a certificate with a serial number nobody can guess.
func sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer any) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
}

// names are what a certificate is for.
type names struct {
	dns []string
	ips []net.IP
}

// certificateNames are all names by which clients may reach this replica.
func certificateNames(o Options) names {
	n := names{dns: []string{"localhost"}, ips: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	add := func(host string) {
		ip := net.ParseIP(host)
		switch {
		case host == "" || ip != nil && ip.IsUnspecified():
		case ip != nil:
			if !slices.ContainsFunc(n.ips, ip.Equal) {
				n.ips = append(n.ips, ip)
			}
		case !slices.Contains(n.dns, host):
			n.dns = append(n.dns, host)
		}
	}
	if o.ServiceName != "" {
		add(o.ServiceName)
		if o.Namespace != "" {
			inNamespace := o.ServiceName + "." + o.Namespace
			add(inNamespace)
			add(inNamespace + ".svc")
			add(inNamespace + ".svc.cluster.local")
		}
	}
	if u, err := url.Parse(o.ExternalURL); err == nil {
		add(u.Hostname())
	}
	add(o.BindAddress)
	return n
}
