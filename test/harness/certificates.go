package harness

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// authority signs every certificate of one cluster: servers, clients, and by way of the
// controller manager the klusterlets' and add-ons' requests. Each cluster has its own,
// so that a credential for one is none for another.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

const certificateLifetime = 365 * 24 * time.Hour

// newAuthority makes an authority and its files in dir: ca.crt, ca.key and sa.key, the
// key that signs service account tokens.
func newAuthority(dir, name string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := writeKey(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	a := &authority{dir: dir, cert: template, key: key}
	if a.cert, err = a.sign("ca", template, key.Public()); err != nil {
		return nil, err
	}
	a.pem = pemOf("CERTIFICATE", a.cert.Raw)
	if _, err := writeKey(a.file("sa.key")); err != nil {
		return nil, err
	}
	return a, nil
}

// file is the path of one of the authority's files.
func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issueServer writes <name>.crt and <name>.key for a server on the loopback interface.
func (a *authority) issueServer(name string) error {
	key, err := writeKey(a.file(name + ".key"))
	if err != nil {
		return err
	}
	_, err = a.sign(name, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}, key.Public())
	return err
}

// issueClient writes <name>.crt and <name>.key for a Kubernetes user in some groups.
func (a *authority) issueClient(name, user string, groups ...string) error {
	key, err := writeKey(a.file(name + ".key"))
	if err != nil {
		return err
	}
	_, err = a.sign(name, &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key.Public())
	return err
}

// sign completes a template, signs it and writes <name>.crt.
func (a *authority) sign(name string, template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour) // for clocks that were just set back
	template.NotAfter = time.Now().Add(certificateLifetime)
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", name, err)
	}
	if err := os.WriteFile(a.file(name+".crt"), pemOf("CERTIFICATE", raw), 0o644); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(raw)
}

func writeKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, pemOf("EC PRIVATE KEY", raw), 0o600)
}

func pemOf(kind string, raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
}

// kubeconfigFor is a kubeconfig with one cluster, one user and one context.
func (a *authority) kubeconfigFor(cluster, server string, user *clientcmdapi.AuthInfo) *clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters[cluster] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: a.pem}
	config.AuthInfos[cluster] = user
	config.Contexts[cluster] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: cluster}
	config.CurrentContext = cluster
	return config
}

// writeClientKubeconfig issues a client certificate and writes a kubeconfig with it.
func (a *authority) writeClientKubeconfig(path, cluster, server, user string, groups ...string) error {
	name := filepath.Base(path)
	if err := a.issueClient(name, user, groups...); err != nil {
		return err
	}
	cert, err := os.ReadFile(a.file(name + ".crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(a.file(name + ".key"))
	if err != nil {
		return err
	}
	info := &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	return clientcmd.WriteToFile(*a.kubeconfigFor(cluster, server, info), path)
}

// writeTokenKubeconfig writes a kubeconfig that carries a bearer token.
func (a *authority) writeTokenKubeconfig(path, cluster, server, token string) error {
	return clientcmd.WriteToFile(*a.kubeconfigFor(cluster, server, &clientcmdapi.AuthInfo{Token: token}), path)
}
