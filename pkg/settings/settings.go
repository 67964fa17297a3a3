// Package settings turns the Inventory, and the Secrets and ConfigMaps that it names, into
// what the parts of the manager are configured with while they run.
//
// It reads the whole and returns the whole: what it is given is a snapshot, and what it
// returns replaces what was in use before. Every fault is found at once and named by its
// field, since whoever mends a configuration wants to do it in one go.
//
// Values of Secrets appear in what is returned and nowhere else, least of all in an error.
package settings

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/smo"
)

// Keys of the Secrets and ConfigMaps that an Inventory names.
const (
	KeyCABundle     = "ca-bundle.crt" // of ConfigMaps: certificates in PEM
	KeyClientID     = "client-id"
	KeyClientSecret = "client-secret"
)

// References are the objects that an Inventory can name, by their names. Those that are not
// there are missing from the maps.
type References struct {
	Secrets    map[string]*corev1.Secret
	ConfigMaps map[string]*corev1.ConfigMap
}

// Callers returns whose calls are accepted. With an error, which tells everything that is
// wrong and wraps fault.Invalid, comes what is left when nothing is trusted that is not
// known, and nobody else is kept out: an issuer with a fault is missing; without the CAs of
// callers nobody's certificate counts, and an issuer that requires one is missing, too; but
// certificates that all callers need stay so, though nobody can check them.
func Callers(spec apiv1alpha1.InventorySpec, refs References) (auth.Config, error) {
	if spec.Authentication == nil {
		return auth.Config{}, nil
	}
	var config auth.Config
	var faults []error
	for i, issuer := range spec.Authentication.Issuers {
		at := fmt.Sprintf("authentication.issuers[%d]", i)
		c, err := issuerOf(at, issuer, spec.CABundleName, refs)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		config.Issuers = append(config.Issuers, c)
	}
	var unknownCAs error
	if c := spec.Authentication.ClientCertificates; c != nil {
		var bundle []byte
		bundle, unknownCAs = refs.bundle("authentication.clientCertificates.caBundleName", c.CABundleName)
		config.Certificates = auth.ClientCertificates{CABundle: bundle, Required: c.Required, Subjects: c.Subjects}
		faults = append(faults, unknownCAs)
	}
	if p := spec.Authentication.TrustedProxies; p != nil {
		networks, err := networksOf("authentication.trustedProxies.networks", p.Networks)
		config.Proxies = auth.TrustedProxies{Networks: networks, Header: p.Header}
		faults = append(faults, err)
	}
	if unknownCAs != nil { // a proxy's word alone was not asked for
		config.Proxies, config.Certificates.Subjects = auth.TrustedProxies{}, nil
		config.Issuers = slices.DeleteFunc(config.Issuers, func(i auth.Issuer) bool { return i.RequireBinding })
	}
	return config, errors.Join(faults...)
}

func issuerOf(at string, spec apiv1alpha1.IssuerSpec, defaultBundle string, refs References) (auth.Issuer, error) {
	issuer := auth.Issuer{
		URL: spec.URL, Audiences: spec.Audiences, UsernameClaim: spec.UsernameClaim, UsernamePrefix: spec.UsernamePrefix,
		GroupsClaim: spec.GroupsClaim, Algorithms: spec.Algorithms, RequireBinding: spec.RequireCertificateBinding,
		RoleNames: make(map[string]string, len(spec.RoleNames)),
	}
	for _, r := range spec.RoleNames {
		issuer.RoleNames[r.Name] = r.Role
	}
	if spec.Leeway != nil {
		issuer.Leeway = max(spec.Leeway.Duration, time.Nanosecond) // 0 would stand for the default
	}
	field, name := at+".caBundleName", spec.CABundleName
	if name == "" {
		field, name = "caBundleName", defaultBundle
	}
	var err error
	if issuer.CABundle, err = refs.bundle(field, name); err != nil {
		return issuer, err
	}
	if err := issuer.Validate(); err != nil {
		return issuer, fmt.Errorf("%s: %w", at, err)
	}
	return issuer, nil
}

// Outbound returns who we are towards the SMO, and whom we trust. The error tells everything
// that is wrong and wraps fault.Invalid.
func Outbound(spec apiv1alpha1.InventorySpec, refs References) (smo.Settings, error) {
	var out smo.Settings
	var faults []error
	var err error
	out.CABundle, err = refs.bundle("caBundleName", spec.CABundleName)
	faults = append(faults, err)
	if spec.SMO == nil {
		return out, errors.Join(faults...)
	}
	host, err := hostOf("smo.url", spec.SMO.URL)
	out.Hosts = []string{host}
	faults = append(faults, err)
	if spec.SMO.TLS != nil {
		out.Certificate, err = refs.certificate("smo.tls.secretName", spec.SMO.TLS.SecretName)
		faults = append(faults, err)
	}
	if spec.SMO.OAuth != nil {
		out.OAuth, err = oauthOf(*spec.SMO.OAuth, refs)
		faults = append(faults, err)
	}
	return out, errors.Join(faults...)
}

func oauthOf(spec apiv1alpha1.OAuthSpec, refs References) (*smo.OAuth, error) {
	o := &smo.OAuth{Issuer: spec.URL, Scopes: spec.Scopes, Audience: spec.Audience, AuthStyle: spec.ClientAuthentication}
	switch endpoint := spec.TokenEndpoint; {
	case strings.HasPrefix(endpoint, "/"):
		o.Issuer, o.TokenURL = "", strings.TrimSuffix(spec.URL, "/")+endpoint
	case endpoint != "":
		o.Issuer, o.TokenURL = "", endpoint
	}
	const field = "smo.oauth.clientSecretName"
	secret, err := refs.secret(field, spec.ClientSecretName)
	if err != nil {
		return nil, err
	}
	if o.ClientID, err = text(field, secret, KeyClientID); err != nil {
		return nil, err
	}
	if spec.ClientAuthentication != "tls" {
		o.ClientSecret, err = text(field, secret, KeyClientSecret)
	}
	return o, err
}

// text returns one line of a Secret, without the line break that editors leave at its end.
func text(field string, secret *corev1.Secret, key string) (string, error) {
	value := strings.TrimRight(string(secret.Data[key]), "\r\n")
	if value == "" {
		return "", fmt.Errorf("%s: Secret %s has no %s: %w", field, secret.Name, key, fault.Invalid)
	}
	return value, nil
}

func (r References) secret(field, name string) (*corev1.Secret, error) {
	if s, found := r.Secrets[name]; found {
		return s, nil
	}
	return nil, fmt.Errorf("%s: there is no Secret %s in the manager's namespace: %w", field, name, fault.Invalid)
}

// bundle returns certificates in PEM; of no name, none.
func (r References) bundle(field, name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	m, found := r.ConfigMaps[name]
	if !found {
		return nil, fmt.Errorf("%s: there is no ConfigMap %s in the manager's namespace: %w", field, name, fault.Invalid)
	}
	pem := []byte(m.Data[KeyCABundle])
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: ConfigMap %s has no certificate in %s: %w", field, name, KeyCABundle, fault.Invalid)
	}
	if err := auth.CheckBundle(pem); err != nil {
		return nil, fmt.Errorf("%s: ConfigMap %s: %w: %w", field, name, err, fault.Invalid)
	}
	return pem, nil
}

func (r References) certificate(field, name string) (*tls.Certificate, error) {
	secret, err := r.secret(field, name)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil { // says what is wrong with the PEM, and nothing of what it holds
		return nil, fmt.Errorf("%s: Secret %s: %w: %w", field, name, err, fault.Invalid)
	}
	return &pair, nil
}

func networksOf(field string, texts []string) (list []netip.Prefix, err error) {
	var faults []error
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %q is no network: %w", field, text, fault.Invalid))
			continue
		case p.Bits() == 0:
			faults = append(faults, fmt.Errorf("%s: %q would trust everybody: %w", field, text, fault.Invalid))
			continue
		}
		list = append(list, p.Masked())
	}
	return list, errors.Join(faults...)
}
