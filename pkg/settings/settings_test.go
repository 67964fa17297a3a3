package settings

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/smo"
)

// secretText must not be seen anywhere but in what is configured.
const secretText = "s3cr3t-0f-ours"

// pair returns a certificate and its key in PEM.
func pair(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "o2ims"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// known is a namespace in which everything that a test may name is as it should be.
func known(t *testing.T) References {
	certificate, key := pair(t)
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
	return References{
		Secrets: map[string]*corev1.Secret{
			"oauth":    {ObjectMeta: named("oauth"), Data: map[string][]byte{KeyClientID: []byte("o2ims\n"), KeyClientSecret: []byte(secretText + "\n")}},
			"id-alone": {ObjectMeta: named("id-alone"), Data: map[string][]byte{KeyClientID: []byte("o2ims")}},
			"tls":      {ObjectMeta: named("tls"), Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}},
			"torn":     {ObjectMeta: named("torn"), Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: []byte(secretText)}},
		},
		ConfigMaps: map[string]*corev1.ConfigMap{
			"ca":    {ObjectMeta: named("ca"), Data: map[string]string{KeyCABundle: string(certificate)}},
			"empty": {ObjectMeta: named("empty")},
			"half":  {ObjectMeta: named("half"), Data: map[string]string{KeyCABundle: string(certificate) + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}},
		},
	}
}

func TestOutbound(t *testing.T) {
	refs := known(t)
	withOAuth := func(o apiv1alpha1.OAuthSpec) apiv1alpha1.InventorySpec {
		return apiv1alpha1.InventorySpec{SMO: &apiv1alpha1.SMOSpec{URL: "https://smo.example:8443/base", OAuth: &o}}
	}
	for _, tc := range []struct {
		name   string
		spec   apiv1alpha1.InventorySpec
		want   smo.Settings // without certificates
		faults []string     // fields
	}{
		{name: "nothing", want: smo.Settings{}},
		{name: "an address", spec: apiv1alpha1.InventorySpec{SMO: &apiv1alpha1.SMOSpec{URL: "https://smo.example/base"}}, want: smo.Settings{Hosts: []string{"smo.example:443"}}},
		{
			name: "a token endpoint below the issuer",
			spec: withOAuth(apiv1alpha1.OAuthSpec{URL: "https://idp.example/realms/oran/", TokenEndpoint: "/token", ClientSecretName: "oauth", Scopes: []string{"a", "b"}, Audience: "smo"}),
			want: smo.Settings{Hosts: []string{"smo.example:8443"}, OAuth: &smo.OAuth{
				TokenURL: "https://idp.example/realms/oran/token", ClientID: "o2ims", ClientSecret: secretText, Scopes: []string{"a", "b"}, Audience: "smo",
			}},
		},
		{
			name: "a token endpoint elsewhere",
			spec: withOAuth(apiv1alpha1.OAuthSpec{URL: "https://idp.example", TokenEndpoint: "https://mtls.idp.example/token", ClientSecretName: "oauth"}),
			want: smo.Settings{Hosts: []string{"smo.example:8443"}, OAuth: &smo.OAuth{TokenURL: "https://mtls.idp.example/token", ClientID: "o2ims", ClientSecret: secretText}},
		},
		{
			name: "a token endpoint to be found",
			spec: withOAuth(apiv1alpha1.OAuthSpec{URL: "https://idp.example", ClientSecretName: "oauth", ClientAuthentication: "body"}),
			want: smo.Settings{Hosts: []string{"smo.example:8443"}, OAuth: &smo.OAuth{Issuer: "https://idp.example", ClientID: "o2ims", ClientSecret: secretText, AuthStyle: "body"}},
		},
		{
			name: "a certificate instead of a secret",
			spec: withOAuth(apiv1alpha1.OAuthSpec{URL: "https://idp.example", ClientSecretName: "id-alone", ClientAuthentication: "tls"}),
			want: smo.Settings{Hosts: []string{"smo.example:8443"}, OAuth: &smo.OAuth{Issuer: "https://idp.example", ClientID: "o2ims", AuthStyle: "tls"}},
		},
		{name: "no such Secret", spec: withOAuth(apiv1alpha1.OAuthSpec{URL: "https://idp.example", ClientSecretName: "none"}), faults: []string{"smo.oauth.clientSecretName"}},
		{name: "a Secret without a secret", spec: withOAuth(apiv1alpha1.OAuthSpec{URL: "https://idp.example", ClientSecretName: "id-alone"}), faults: []string{"smo.oauth.clientSecretName"}},
		{name: "no such bundle", spec: apiv1alpha1.InventorySpec{CABundleName: "none"}, faults: []string{"caBundleName"}},
		{name: "a bundle of which half can be read", spec: apiv1alpha1.InventorySpec{CABundleName: "half"}, faults: []string{"caBundleName: ConfigMap half"}},
		{name: "an empty bundle", spec: apiv1alpha1.InventorySpec{CABundleName: "empty"}, faults: []string{"caBundleName"}},
		{
			name: "everything at once",
			spec: apiv1alpha1.InventorySpec{CABundleName: "empty", SMO: &apiv1alpha1.SMOSpec{
				URL: "nowhere", TLS: &apiv1alpha1.ClientTLSSpec{SecretName: "torn"}, OAuth: &apiv1alpha1.OAuthSpec{ClientSecretName: "none"},
			}},
			faults: []string{"caBundleName", "smo.url", "smo.tls.secretName", "smo.oauth.clientSecretName"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Outbound(tc.spec, refs)
			checkFaults(t, err, tc.faults)
			if len(tc.faults) == 0 && !reflect.DeepEqual(got, tc.want) {
				t.Errorf("Outbound = %+v, want %+v", got, tc.want)
			}
		})
	}
}

// checkFaults checks that an error names these fields, and nothing that is secret.
func checkFaults(t *testing.T, err error, fields []string) {
	t.Helper()
	if (err != nil) != (len(fields) > 0) || err != nil && !errors.Is(err, fault.Invalid) {
		t.Fatalf("error = %v, want faults in %q", err, fields)
	}
	for _, field := range fields {
		if !strings.Contains(err.Error(), field+": ") && !strings.Contains(err.Error(), field+" ") {
			t.Errorf("error = %v, want it to name %s", err, field)
		}
	}
	if err != nil && strings.Contains(err.Error(), secretText) {
		t.Errorf("the error gives a secret away: %v", err)
	}
}

func TestOutboundCertificates(t *testing.T) {
	refs := known(t)
	got, err := Outbound(apiv1alpha1.InventorySpec{CABundleName: "ca", SMO: &apiv1alpha1.SMOSpec{
		URL: "https://smo.example", TLS: &apiv1alpha1.ClientTLSSpec{SecretName: "tls"},
	}}, refs)
	if err != nil || got.Certificate == nil || got.Certificate.Leaf.Subject.CommonName != "o2ims" || len(got.CABundle) == 0 {
		t.Errorf("Outbound = %+v, %v, want a client certificate and a bundle", got, err)
	}
}

func TestCallers(t *testing.T) {
	refs := known(t)
	issuer := func(url, bundle string) apiv1alpha1.IssuerSpec {
		return apiv1alpha1.IssuerSpec{
			URL: url, Audiences: []string{"o2ims"}, CABundleName: bundle, RoleNames: []apiv1alpha1.RoleNameSpec{{Name: "operator", Role: "o2ims-admin"}},
			Leeway: &metav1.Duration{Duration: time.Minute},
		}
	}
	bound := func(url, groupsClaim string, required bool) apiv1alpha1.IssuerSpec {
		i := issuer(url, "")
		i.GroupsClaim, i.RequireCertificateBinding = groupsClaim, required
		return i
	}
	for _, tc := range []struct {
		name     string
		spec     apiv1alpha1.AuthenticationSpec
		issuers  []string
		required bool
		faults   []string
	}{
		{name: "nothing"},
		{name: "two issuers", spec: apiv1alpha1.AuthenticationSpec{Issuers: []apiv1alpha1.IssuerSpec{issuer("https://a", "ca"), issuer("https://b", "")}}, issuers: []string{"https://a", "https://b"}},
		{
			name: "one of them with a fault", spec: apiv1alpha1.AuthenticationSpec{Issuers: []apiv1alpha1.IssuerSpec{issuer("https://a", "none"), issuer("https://b", "")}},
			issuers: []string{"https://b"}, faults: []string{"authentication.issuers[0].caBundleName"},
		},
		{
			name:     "required certificates that nobody can check stay required",
			spec:     apiv1alpha1.AuthenticationSpec{ClientCertificates: &apiv1alpha1.ClientCertificatesSpec{CABundleName: "none", Required: true}},
			required: true, faults: []string{"authentication.clientCertificates.caBundleName"},
		},
		{
			name: "one of them with a claim that is none", spec: apiv1alpha1.AuthenticationSpec{Issuers: []apiv1alpha1.IssuerSpec{bound("https://a", "a..b", false), issuer("https://b", "")}},
			issuers: []string{"https://b"}, faults: []string{"authentication.issuers[0]"},
		},
		{
			name: "one of them needs certificates that nobody can check",
			spec: apiv1alpha1.AuthenticationSpec{
				Issuers:            []apiv1alpha1.IssuerSpec{bound("https://a", "", true), issuer("https://b", "")},
				ClientCertificates: &apiv1alpha1.ClientCertificatesSpec{CABundleName: "none", Subjects: []string{"smo"}},
				TrustedProxies:     &apiv1alpha1.TrustedProxiesSpec{Networks: []string{"10.0.0.0/8"}, Header: "XFCC"},
			},
			issuers: []string{"https://b"}, faults: []string{"authentication.clientCertificates.caBundleName"},
		},
		{
			name:   "a network that is everybody's",
			spec:   apiv1alpha1.AuthenticationSpec{TrustedProxies: &apiv1alpha1.TrustedProxiesSpec{Networks: []string{"0.0.0.0/0"}, Header: "HAProxy"}},
			faults: []string{"authentication.trustedProxies.networks"},
		},
		{
			name:   "a network that is none",
			spec:   apiv1alpha1.AuthenticationSpec{TrustedProxies: &apiv1alpha1.TrustedProxiesSpec{Networks: []string{"10.0.0.0/8", "all"}, Header: "HAProxy"}},
			faults: []string{"authentication.trustedProxies.networks"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Callers(apiv1alpha1.InventorySpec{CABundleName: "ca", Authentication: &tc.spec}, refs)
			checkFaults(t, err, tc.faults)
			var urls []string
			for _, i := range got.Issuers {
				urls = append(urls, i.URL)
				if len(i.CABundle) == 0 || i.RoleNames["operator"] != "o2ims-admin" || i.Leeway != time.Minute {
					t.Errorf("issuer = %+v, want the bundle of the Inventory, the role and the leeway", i)
				}
			}
			if !reflect.DeepEqual(urls, tc.issuers) || got.Certificates.Required != tc.required {
				t.Errorf("Callers = %q, certificates required: %t; want %q, %t", urls, got.Certificates.Required, tc.issuers, tc.required)
			}
			// What is left must be usable after a start, when there is nothing before it: the
			// fault of one would else keep everybody out.
			got.Transport = func([]byte) (http.RoundTripper, error) { return http.DefaultTransport, nil }
			if err := got.Validate(); err != nil && !tc.required {
				t.Errorf("what is left cannot be used: %v", err)
			}
			if len(got.Certificates.CABundle) == 0 && tc.spec.ClientCertificates != nil && len(got.Proxies.Networks) > 0 {
				t.Errorf("proxies = %v, want none trusted while what they tell cannot be checked", got.Proxies)
			}
		})
	}
	exact := issuer("https://a", "")
	exact.Leeway = &metav1.Duration{}
	got, err := Callers(apiv1alpha1.InventorySpec{Authentication: &apiv1alpha1.AuthenticationSpec{Issuers: []apiv1alpha1.IssuerSpec{exact}}}, refs)
	if err != nil || got.Issuers[0].Leeway <= 0 || got.Issuers[0].Leeway > time.Millisecond {
		t.Errorf("leeway 0s: %+v, %v, want next to none, and not the default", got, err)
	}
	if got, err := Callers(apiv1alpha1.InventorySpec{}, refs); err != nil || len(got.Issuers) > 0 || got.Certificates.Required {
		t.Errorf("without spec.authentication: %+v, %v, want nothing", got, err)
	}
}
