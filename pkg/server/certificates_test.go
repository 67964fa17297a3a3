package server

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

var testNames = certificateNames(Options{BindAddress: "127.0.0.7", ServiceName: "o2ims", Namespace: "ns"})

func newOwn(clients *fake.Clientset, now *time.Time) *ownCertificate {
	return &ownCertificate{secrets: clients.CoreV1().Secrets("ns"), name: "cert", names: testNames, now: func() time.Time { return *now }}
}

func secretOf(t *testing.T, clients *fake.Clientset) *corev1.Secret {
	t.Helper()
	s, err := clients.CoreV1().Secrets("ns").Get(t.Context(), "cert", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// trusts tells whether a client that trusts bundle accepts c's certificate under a name.
func trusts(bundle []byte, c *ownCertificate, name string, at time.Time) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	leaf, err := x509.ParseCertificate(c.certificate.Load().Certificate[0])
	if err != nil {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: at})
	return err
}

// TestReplicasShareACA starts several replicas at once on an empty namespace.
func TestReplicasShareACA(t *testing.T) {
	clients, now := fake.NewClientset(), time.Now()
	replicas := make([]*ownCertificate, 4)
	var group sync.WaitGroup
	for i := range replicas {
		replicas[i] = newOwn(clients, &now)
		group.Go(func() {
			if err := replicas[i].refresh(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	secret := secretOf(t, clients)
	for _, r := range replicas {
		for _, name := range []string{"localhost", "127.0.0.1", "127.0.0.7", "::1", "o2ims", "o2ims.ns", "o2ims.ns.svc", "o2ims.ns.svc.cluster.local"} {
			if net.ParseIP(name) != nil {
				name = "[" + name + "]"
			}
			if err := trusts(secret.Data["ca.crt"], r, name, now); err != nil {
				t.Errorf("as %s: %v", name, err)
			}
		}
	}
	if key, ok := replicas[0].certificate.Load().PrivateKey.(*ecdsa.PrivateKey); !ok || key.Params().BitSize != 256 {
		t.Error("the key is not ECDSA P-256")
	}
}

// TestCertificateIsRenewed follows one replica through ten years.
func TestCertificateIsRenewed(t *testing.T) {
	clients, start := fake.NewClientset(), time.Now()
	now := start
	c := newOwn(clients, &now)
	const day = 24 * time.Hour
	serial := func() string { return c.certificate.Load().Leaf.SerialNumber.String() }
	var first []byte
	for _, step := range []struct {
		story       string
		after       time.Duration
		leaf, newCA bool
	}{
		{"at the start", 0, true, true},
		{"a day later", day, false, false},
		{"two thirds through", 61 * day, true, false},
		{"nine years later, before the CA ends", 9*365*day + day, true, true},
		{"and again", 9*365*day + 2*day, false, false},
	} {
		now = start.Add(step.after)
		oldSerial, oldCA := "", ""
		if c.ready() == nil {
			oldSerial = serial()
			oldCA = string(secretOf(t, clients).Data["tls.crt"])
		}
		if err := c.refresh(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.story, err)
		}
		secret := secretOf(t, clients)
		if got := serial() != oldSerial; got != step.leaf {
			t.Errorf("%s: new certificate: %t, want %t", step.story, got, step.leaf)
		}
		if got := string(secret.Data["tls.crt"]) != oldCA; got != step.newCA {
			t.Errorf("%s: new CA: %t, want %t", step.story, got, step.newCA)
		}
		if err := trusts(secret.Data["ca.crt"], c, "localhost", now); err != nil {
			t.Errorf("%s: %v", step.story, err)
		}
		if first == nil {
			first = secret.Data["tls.crt"]
		}
	}
	pool, rest := 0, secretOf(t, clients).Data["ca.crt"]
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		pool++
	}
	if pool != 2 {
		t.Errorf("ca.crt has %d certificates, want the new CA and the old one", pool)
	}
}

func TestCertificateSecretThatSomebodyElseMakes(t *testing.T) {
	clients, now := fake.NewClientset(), time.Now()
	issuer := newOwn(fake.NewClientset(), &now)
	if err := issuer.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	pair := issuer.certificate.Load()
	certPEM, keyPEM := pemOf(t, pair)
	if _, err := clients.CoreV1().Secrets("ns").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cert"},
		Data: map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c := newOwn(clients, &now)
	if err := c.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if string(c.certificate.Load().Certificate[0]) != string(pair.Certificate[0]) {
		t.Error("a certificate that somebody else issued is not served as it is")
	}
}

// TestCertificateSurvivesTrouble: what is in use stays in use.
func TestCertificateSurvivesTrouble(t *testing.T) {
	clients, now := fake.NewClientset(), time.Now()
	c := newOwn(clients, &now)
	if _, err := c.get(nil); err == nil {
		t.Error("a certificate before there is one")
	}
	if err := c.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	away := true
	clients.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return away, nil, apierrors.NewInternalError(errors.New("away"))
	})
	if err := c.refresh(t.Context()); err == nil {
		t.Error("no word of an apiserver that is away")
	}
	if err := c.ready(); err != nil {
		t.Error(err)
	}
	away = false
	if err := clients.CoreV1().Secrets("ns").Delete(t.Context(), "cert", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := trusts(secretOf(t, clients).Data["ca.crt"], c, "localhost", now); err != nil {
		t.Errorf("after the Secret was deleted: %v", err)
	}
}

// TestRenewalThatLosesARace: two replicas renew the CA, one is refused.
func TestRenewalThatLosesARace(t *testing.T) {
	clients, now := fake.NewClientset(), time.Now()
	c := newOwn(clients, &now)
	if err := c.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(caLifetime - 24*time.Hour)
	clients.PrependReactor("update", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "cert", errors.New("changed"))
	})
	if err := c.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := trusts(secretOf(t, clients).Data["ca.crt"], c, "localhost", now); err != nil {
		t.Error(err)
	}
}

func TestCertificateFiles(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	c := &certificateFiles{certFile: filepath.Join(dir, "tls.crt"), keyFile: filepath.Join(dir, "tls.key")}
	write := func(name string, content []byte, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	pairs := make([]*tls.Certificate, 2)
	for i := range pairs {
		issuer := newOwn(fake.NewClientset(), &now)
		if err := issuer.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		pairs[i] = issuer.certificate.Load()
	}
	inUse := func() int {
		for i, p := range pairs {
			if got, err := c.get(nil); err == nil && string(got.Certificate[0]) == string(p.Certificate[0]) {
				return i
			}
		}
		return -1
	}
	certPEM0, keyPEM0 := pemOf(t, pairs[0])
	certPEM1, keyPEM1 := pemOf(t, pairs[1])
	for _, step := range []struct {
		story string
		do    func()
		fails bool
		want  int
	}{
		{"no files", func() {}, true, -1},
		{"both files", func() { write(c.certFile, certPEM0, 9*time.Minute); write(c.keyFile, keyPEM0, 9*time.Minute) }, false, 0},
		{"unchanged", func() {}, false, 0},
		{"half replaced", func() { write(c.certFile, certPEM1, 8*time.Minute) }, true, 0},
		{"replaced", func() { write(c.keyFile, keyPEM1, 7*time.Minute) }, false, 1},
		{"broken", func() { write(c.certFile, []byte("x"), 6*time.Minute) }, true, 1},
		{"gone", func() { _ = os.Remove(c.certFile) }, true, 1},
	} {
		step.do()
		if err := c.refresh(t.Context()); (err != nil) != step.fails {
			t.Errorf("%s: %v, want an error: %t", step.story, err, step.fails)
		}
		if got := inUse(); got != step.want {
			t.Errorf("%s: pair %d is in use, want %d", step.story, got, step.want)
		}
	}
}

func pemOf(t *testing.T, pair *tls.Certificate) (certificate, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
