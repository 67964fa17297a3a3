package auth

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Validate reports everything that is wrong with c. Every error wraps fault.Invalid.
func (c Config) Validate() error {
	var faults []error
	if len(c.Issuers) > 0 && c.Transport == nil {
		faults = append(faults, fmt.Errorf("issuers: nothing says how to ask them: %w", fault.Invalid))
	}
	seen := make(map[string]bool)
	for _, s := range c.Issuers {
		its := s.faults()
		if seen[s.URL] {
			its = append(its, errors.New("configured twice"))
		}
		seen[s.URL] = true
		if s.RequireBinding && !c.certificates() {
			its = append(its, errors.New("binding is required, but callers can show no certificate"))
		}
		faults = append(faults, s.named(its))
	}
	for _, err := range slices.Concat(c.Certificates.faults(c.certificates()), c.Proxies.faults()) {
		faults = append(faults, fmt.Errorf("%w: %w", err, fault.Invalid))
	}
	return errors.Join(faults...)
}

// certificates tells whether a caller can show a certificate at all.
func (c Config) certificates() bool {
	return len(c.Certificates.CABundle) > 0 || len(c.Proxies.Networks) > 0
}

// Validate reports everything that is wrong with s, whatever else is configured. Every error
// wraps fault.Invalid.
func (s Issuer) Validate() error { return s.named(s.faults()) }

// named joins faults into one error that says whose they are.
func (s Issuer) named(faults []error) error {
	var all []error
	for _, err := range faults {
		all = append(all, fmt.Errorf("issuer %s: %w: %w", withoutPassword(s.URL), err, fault.Invalid))
	}
	return errors.Join(all...)
}

func (s Issuer) faults() []error {
	faults := []error{
		issuerURL(s.URL),
		claimPath("user name", s.UsernameClaim),
		claimPath("groups", s.GroupsClaim),
	}
	if len(s.Audiences) == 0 || slices.Contains(s.Audiences, "") {
		faults = append(faults, errors.New("at least one audience is needed, and none may be empty"))
	}
	if s.UsernamePrefix != "" && (strings.HasPrefix(s.UsernamePrefix, systemPrefix) || !printable(s.UsernamePrefix)) {
		faults = append(faults, fmt.Errorf("user name prefix %q: %s names are Kubernetes' own, and all characters must be printable", s.UsernamePrefix, systemPrefix))
	}
	for name, role := range s.RoleNames {
		switch {
		case !isRole(role):
			faults = append(faults, fmt.Errorf("role name %q: %q is none of %s", name, role, strings.Join(Roles(), ", ")))
		case isRole(name) && name != role:
			faults = append(faults, fmt.Errorf("role name %q: it means itself and cannot mean %s", name, role))
		}
	}
	for _, a := range s.Algorithms {
		if !slices.Contains(signatureAlgorithms(), a) {
			faults = append(faults, fmt.Errorf("algorithm %q is none of %s", a, strings.Join(signatureAlgorithms(), ", ")))
		}
	}
	if s.Leeway < 0 || s.Leeway > maxLeeway {
		faults = append(faults, fmt.Errorf("leeway %v is not between 0 and %v", s.Leeway, maxLeeway))
	}
	if len(s.CABundle) > 0 {
		if err := CheckBundle(s.CABundle); err != nil {
			faults = append(faults, err)
		}
	}
	return slices.DeleteFunc(faults, func(err error) bool { return err == nil })
}

// issuerURL checks the URL of an issuer. Keys fetched without TLS would be anybody's on the
// way; on this machine there is no way.
//
// Source: OpenID Connect Discovery 1.0, clause 3.
func issuerURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("not a URL") // the error quotes it, and it may hold a password
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return errors.New("only https is accepted, and http on this machine")
	case u.Hostname() == "":
		return errors.New("the URL names no host")
	case u.User != nil, u.RawQuery != "", u.ForceQuery, strings.Contains(text, "#"):
		return errors.New("the URL must have neither user, query nor fragment")
	}
	return nil
}

// withoutPassword names a URL in an error.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(not a URL)"
	}
	return strconv.Quote(u.Redacted())
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// claimPath checks the path of a claim.
func claimPath(what, path string) error {
	const longest = 256
	if len(path) > longest || path != "" && slices.Contains(strings.Split(path, "."), "") {
		return fmt.Errorf("%s claim %q: a path of names between dots of at most %d bytes is needed", what, clip(path), longest)
	}
	return nil
}

func (c ClientCertificates) faults(possible bool) []error {
	var faults []error
	if c.Required && !possible {
		faults = append(faults, errors.New("client certificates are required, but there is neither a CA nor a trusted proxy"))
	}
	if len(c.Subjects) > 0 && !possible {
		faults = append(faults, errors.New("client certificates: subjects are listed, but there is neither a CA nor a trusted proxy"))
	}
	if slices.Contains(c.Subjects, "") {
		faults = append(faults, errors.New("client certificates: a subject is empty"))
	}
	if len(c.CABundle) > 0 {
		if err := CheckBundle(c.CABundle); err != nil {
			faults = append(faults, fmt.Errorf("client certificates: %w", err))
		}
	}
	return faults
}

func (p TrustedProxies) faults() []error {
	var faults []error
	for _, network := range p.Networks {
		if !network.IsValid() || network.Bits() == 0 {
			faults = append(faults, fmt.Errorf("trusted proxies: network %v would trust everybody", network))
		}
	}
	if len(p.Networks) > 0 && !slices.Contains([]string{HeaderHAProxy, HeaderRFC9440, HeaderXFCC}, p.Header) {
		faults = append(faults, fmt.Errorf("trusted proxies: header %q is none of %s, %s, %s", p.Header, HeaderHAProxy, HeaderRFC9440, HeaderXFCC))
	}
	return faults
}

// CheckBundle tells what is wrong with CA certificates in PEM.
func CheckBundle(bundle []byte) error {
	_, err := certificatesIn(bundle)
	return err
}

// certificatesIn reads a PEM bundle. A block that cannot be read is a fault, because
// skipping it would refuse callers for no visible reason.
func certificatesIn(bundle []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("CA bundle: a block of type %q", clip(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("CA bundle: certificate %d: %w", len(certificates)+1, err)
		}
		certificates = append(certificates, c)
	}
	if len(certificates) == 0 {
		return nil, errors.New("CA bundle: no certificate in it")
	}
	return certificates, nil
}
