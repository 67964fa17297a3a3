package tokens

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/contract/hub"
	"github.com/o2ims/o2ims/test/harness"
)

// newKey is an RSA key that no issuer has, with a kid.
func newKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	k := jose.JSONWebKey{Key: private, Use: "sig", Algorithm: "RS256"}
	thumbprint, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	k.KeyID = encode(thumbprint)
	return k
}

// people hold client certificates.
type people struct {
	ca, otherCA person

	ann     person // good
	reissue person // ann's key and name in another certificate
	bob     person // good, another
	late    person // expired
	early   person // not valid yet
	server  person // for servers alone
	mallory person // of another CA, with ann's name
}

// person is somebody with a certificate.
type person struct {
	tls.Certificate
	pem []byte
	key *ecdsa.PrivateKey
}

func newPeople(t *testing.T) people {
	t.Helper()
	const year = 365 * 24 * time.Hour
	authority := func(name string) person {
		return issue(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, -time.Hour, year)
	}
	named := func(name string, use x509.ExtKeyUsage) *x509.Certificate {
		return &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example.net"},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use},
		}
	}
	var p people
	p.ca, p.otherCA = authority("clients"), authority("clients") // of one name
	for _, q := range []struct {
		who         *person
		by          *person
		name        string
		use         x509.ExtKeyUsage
		key         *person
		from, until time.Duration
	}{
		{&p.ann, &p.ca, "ann", x509.ExtKeyUsageClientAuth, nil, -time.Hour, year},
		{&p.reissue, &p.ca, "ann", x509.ExtKeyUsageClientAuth, &p.ann, -time.Hour, year},
		{&p.bob, &p.ca, "bob", x509.ExtKeyUsageClientAuth, nil, -time.Hour, year},
		{&p.late, &p.ca, "ann", x509.ExtKeyUsageClientAuth, nil, -year, -time.Minute},
		{&p.early, &p.ca, "ann", x509.ExtKeyUsageClientAuth, nil, time.Hour, year},
		{&p.server, &p.ca, "ann", x509.ExtKeyUsageServerAuth, nil, -time.Hour, year},
		{&p.mallory, &p.otherCA, "ann", x509.ExtKeyUsageClientAuth, nil, -time.Hour, year},
	} {
		var own *ecdsa.PrivateKey
		if q.key != nil {
			own = q.key.key
		}
		*q.who = issue(t, q.by, named(q.name, q.use), own, q.from, q.until)
	}
	return p
}

// issue signs a certificate; by nobody: it signs itself.
func issue(t *testing.T, by *person, template *x509.Certificate, key *ecdsa.PrivateKey, from, until time.Duration) person {
	t.Helper()
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, time.Now().Add(from), time.Now().Add(until)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Leaf, by.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return person{
		Certificate: tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf},
		pem:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), key: key,
	}
}

// der is the certificate.
func (p person) der() []byte { return p.Leaf.Raw }

// base64 is the certificate as HAProxy and RFC 9440 have it in a header.
func (p person) base64() string { return base64.StdEncoding.EncodeToString(p.der()) }

// thumbprint is what a token bound to the certificate says (RFC 8705, clause 3.1).
func (p person) thumbprint() string {
	sum := sha256.Sum256(p.der())
	return encode(sum[:])
}

// accounts are tokens that the apiserver issued, or might have.
type accounts struct {
	reader, nobody, otherAudience, apiserver, bothAudiences, deleted, unbound string

	uid    string            // of the reader
	key    *ecdsa.PrivateKey // of the apiserver
	claims map[string]any    // of a token that the apiserver would issue
}

func newAccounts(ctx context.Context, t *testing.T, env *harness.Env) accounts {
	t.Helper()
	c := env.Hub.Client()
	create := func(object client.Object) {
		if err := c.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	account := func(name string, roles ...string) *corev1.ServiceAccount {
		a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: hub.Namespace, Name: name}}
		create(a)
		for _, role := range roles {
			create(&rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "test-" + name},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: hub.Namespace, Name: name}},
			})
		}
		return a
	}
	token := func(a *corev1.ServiceAccount, to *authenticationv1.BoundObjectReference, audiences ...string) string {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, BoundObjectRef: to}}
		if err := c.SubResource("token").Create(ctx, a, request); err != nil {
			t.Fatal(err)
		}
		return request.Status.Token
	}
	remove := func(object client.Object) {
		if err := c.Delete(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	create(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "test-known"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{knownPath}}}})
	create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "test-known"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "test-known"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:authenticated"}},
	})
	reader := account("reader", "o2ims-reader")
	held := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hub.Namespace, Name: "held"}}
	create(held)
	gone := account("gone", "o2ims-reader")
	a := accounts{
		reader: token(reader, nil, audience), nobody: token(account("nobody"), nil, audience),
		otherAudience: token(reader, nil, "vault"), apiserver: token(reader, nil), bothAudiences: token(reader, nil, "vault", audience),
		deleted: token(gone, nil, audience),
		unbound: token(reader, &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: held.Name, UID: held.UID}, audience),
		uid:     string(reader.UID),
		claims: map[string]any{
			"iss": "https://kubernetes.default.svc", "aud": []string{audience}, "sub": "system:serviceaccount:" + hub.Namespace + ":reader",
			"iat": in(-time.Minute), "nbf": in(-time.Minute), "exp": in(time.Hour),
			"kubernetes.io": map[string]any{"namespace": hub.Namespace, "serviceaccount": map[string]any{"name": reader.Name, "uid": reader.UID}},
		},
	}
	remove(gone)
	remove(held)
	text, err := os.ReadFile(filepath.Join(env.Dir(), "clusters", "hub", "pki", "sa.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if a.key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return a
}

// account is a token that the apiserver might have issued, with changes.
func (w *world) account(edits ...edit) string {
	d := &draft{header: map[string]any{"typ": "JWT", "alg": "ES256"}, claims: map[string]any{}, key: w.accounts.key, signs: "ES256"}
	for name, value := range w.accounts.claims {
		d.claims[name] = value
	}
	for _, e := range edits {
		e(d)
	}
	return d.compact()
}
