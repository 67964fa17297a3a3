package intake

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// running is an Intake on a port of 127.0.0.1, which ends with the test.
type running struct {
	*Intake
	url string
	ca  []byte // PEM of the CA that it published
}

func serving(t *testing.T, o Options, p Parts) *running {
	t.Helper()
	o.Namespace, o.BindAddress, o.Port = "o2ims-spoke", "127.0.0.1", 1
	if o.PollInterval == 0 {
		o.PollInterval = time.Second
	}
	i, err := New(o, p)
	if err != nil {
		t.Fatal(err)
	}
	if i.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	r := &running{Intake: i, url: "https://" + i.listener.Addr().String()}
	r.ca = published(t, p.Client)
	return r
}

// published waits for the CA.
func published(t *testing.T, client kubernetes.Interface) []byte {
	t.Helper()
	var ca string
	eventually(t, "the CA is published", func() bool {
		found, err := client.CoreV1().ConfigMaps("o2ims-spoke").Get(t.Context(), caConfigMap, metav1.GetOptions{})
		if err != nil {
			return false
		}
		ca = found.Data[caKey]
		return ca != ""
	})
	return []byte(ca)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		<-tick.C
	}
}

func trusting(ca []byte, certificates ...tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates}}}
}

// authority is a CA of a test, with one certificate that it signed.
func authority(t *testing.T) (ca []byte, leaf tls.Certificate, leafPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, parent, parent, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "alertmanager"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: parent.NotBefore, NotAfter: parent.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, parent, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return block("CERTIFICATE", caDER), tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}, block("CERTIFICATE", leafDER), block("PRIVATE KEY", keyDER)
}

func TestClientCertificates(t *testing.T) {
	ca, known, _, _ := authority(t)
	_, stranger, _, _ := authority(t)
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	var book notebook
	r := serving(t, Options{ClientCAFile: caFile}, Parts{Recorder: &book, Client: cluster(t)})
	eventually(t, "client CA is read", func() bool { return r.identity.clientCAs.Load() != nil })
	for _, tc := range []struct {
		name   string
		client *http.Client
		status int // 0: no answer
	}{
		{"known", trusting(r.ca, known), 200},
		{"none, and no token", trusting(r.ca), 401},
		{"of another CA", trusting(r.ca, stranger), 0},
	} {
		response, err := tc.client.Post(r.url+WebhookPath, "application/json", strings.NewReader(webhook(firingA)))
		status := 0
		if err == nil {
			status = response.StatusCode
			response.Body.Close()
		}
		if status != tc.status && !(tc.status == 0 && status == 401) { // Go clients leave out what was not asked for
			t.Errorf("%s: answered %d (%v), want %d", tc.name, status, err, tc.status)
		}
	}
	if names(book.alerts()) != "A" {
		t.Errorf("recorded %q, want A", names(book.alerts()))
	}
}

// TestMountedCertificateComesFirst has the files appear while our own is in use.
func TestMountedCertificateComesFirst(t *testing.T) {
	ca, _, certPEM, keyPEM := authority(t)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	i := newIdentity(Options{CertFile: certFile, KeyFile: keyFile, Namespace: "o2ims-spoke"}, cluster(t), time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go i.own.Keep(ctx)
	eventually(t, "a certificate of our own", func() bool { return i.own.Ready() == nil })
	issuer := func() string {
		c, err := i.certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.Issuer.CommonName
	}
	if got := issuer(); !strings.HasPrefix(got, "o2ims CA") {
		t.Errorf("issued by %q", got)
	}
	for name, text := range map[string][]byte{keyFile: keyPEM, certFile: certPEM} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	go i.files.Keep(ctx)
	eventually(t, "the mounted certificate", func() bool { return i.files.Ready() == nil })
	if got := issuer(); got != "test CA" || len(ca) == 0 {
		t.Errorf("issued by %q", got)
	}
}
