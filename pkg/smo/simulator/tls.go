package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// secure puts TLS on a listener, with the certificate that is given or one of our own.
func (o *Options) secure(l net.Listener) (net.Listener, error) {
	var certificate tls.Certificate
	var err error
	if o.CertFile != "" {
		certificate, err = tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	} else {
		certificate, err = selfSigned(l.Addr())
	}
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if o.CAOut != "" {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
		if err := os.WriteFile(o.CAOut, text, 0o644); err != nil {
			return nil, err
		}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	if o.ClientCAFile != "" {
		// Whether one is required is decided for each request: who looks needs none.
		config.ClientAuth = tls.VerifyClientCertIfGiven
		if config.ClientCAs, err = readPool(x509.NewCertPool(), "--client-ca-file", o.ClientCAFile); err != nil {
			return nil, err
		}
	}
	return tls.NewListener(l, config), nil
}

// selfSigned makes a certificate for localhost and the address that is listened on.
func selfSigned(address net.Addr) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "o2ims SMO simulator"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if tcp, ok := address.(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
		template.IPAddresses = append(template.IPAddresses, tcp.IP)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
