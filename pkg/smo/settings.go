package smo

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Settings are who we are towards the SMO, and whom we trust. They are replaced as a whole
// while calls are under way.
type Settings struct {
	CABundle    []byte           // PEM, to trust beside the system's and Options.CAFile
	Certificate *tls.Certificate // our client certificate; nil: none
	OAuth       *OAuth           // nil: no tokens

	// Hosts are the SMO's, as host or host:port. Tokens are sent to these and to
	// Options.Hosts alone, since elsewhere anybody could collect them by a subscription, and
	// the certificate is shown there and to the issuer of the tokens.
	Hosts []string
}

// OAuth is how we get tokens: OAuth 2.0 client credentials, RFC 6749, 4.4.
type OAuth struct {
	// Issuer is found out about by its discovery document, OpenID Connect Discovery 1.0 or
	// RFC 8414; TokenURL is asked as it is. Exactly one of them is set.
	Issuer, TokenURL string

	ClientID     string
	ClientSecret string   // empty with style tls
	Scopes       []string // empty: what the issuer gives by default
	Audience     string   // parameter audience of the request; empty: none

	// AuthStyle is how we prove who we are: "basic", which is the default, in a header;
	// "body", in the form; "tls", by Settings.Certificate, RFC 8705, 2.
	AuthStyle string
}

// Ways to prove to a token endpoint who we are.
const (
	styleBasic = "basic"
	styleBody  = "body"
	styleTLS   = "tls"
)

// Configure replaces the settings. Calls under way end with the old ones, whose connections
// are closed after the last of them; a token that the new ones would get just the same is
// kept. With settings that are in use already nothing happens. An error joins every fault,
// wraps fault.Invalid, and leaves the old settings in use. The network is not touched.
func (c *Client) Configure(s Settings) error {
	c.configuring.Lock()
	defer c.configuring.Unlock()
	roots, rootsErr := c.roots(s.CABundle)
	if err := errors.Join(rootsErr, checkCertificate(s.Certificate), c.checkOAuth(s), checkHosts("SMO", s.Hosts)); err != nil {
		return err
	}
	old := c.current.Load()
	if old != nil && old.settings.equal(s) && old.roots.Equal(roots) {
		return nil
	}
	c.current.Store(c.newIdentity(s.clone(), roots, old))
	if old != nil {
		old.retire()
	}
	return nil
}

func (s Settings) equal(o Settings) bool {
	return bytes.Equal(s.CABundle, o.CABundle) && slices.Equal(s.Hosts, o.Hosts) && s.getsSameTokens(o)
}

// getsSameTokens tells whether what an issuer looks at is the same. Tokens may be bound to
// the certificate.
func (s Settings) getsSameTokens(o Settings) bool {
	return reflect.DeepEqual(s.OAuth, o.OAuth) && reflect.DeepEqual(chain(s.Certificate), chain(o.Certificate))
}

func chain(c *tls.Certificate) [][]byte {
	if c == nil {
		return nil
	}
	return c.Certificate
}

func (s Settings) clone() Settings {
	s.CABundle, s.Hosts = bytes.Clone(s.CABundle), slices.Clone(s.Hosts)
	if s.OAuth != nil {
		oauth := *s.OAuth
		oauth.Scopes = slices.Clone(oauth.Scopes)
		s.OAuth = &oauth
	}
	if s.Certificate != nil {
		certificate := *s.Certificate
		certificate.Certificate = slices.Clone(certificate.Certificate)
		s.Certificate = &certificate
	}
	return s
}

// roots returns whom to trust with a bundle in PEM; nil stands for the system's.
func (c *Client) roots(bundle []byte) (*x509.CertPool, error) {
	var file []byte
	if c.options.CAFile != "" {
		var err error
		if file, err = os.ReadFile(c.options.CAFile); err != nil {
			return nil, fmt.Errorf("--outbound-ca-file: %w: %w", err, fault.Invalid)
		}
	}
	if c.options.CAFile == "" && len(bundle) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	var fileErr, bundleErr error
	if c.options.CAFile != "" {
		fileErr = addCertificates(pool, "--outbound-ca-file", file)
	}
	if len(bundle) > 0 {
		bundleErr = addCertificates(pool, "CA bundle", bundle)
	}
	return pool, errors.Join(fileErr, bundleErr)
}

// addCertificates takes a bundle whole or not at all: one certificate that is left out
// silently is found when it is needed.
func addCertificates(pool *x509.CertPool, what string, bundle []byte) error {
	var faults []error
	n := 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		n++
		certificate, err := x509.ParseCertificate(block.Bytes)
		switch {
		case block.Type != "CERTIFICATE":
			faults = append(faults, fmt.Errorf("%s: block %d is %.30q, want CERTIFICATE: %w", what, n, block.Type, fault.Invalid))
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: certificate %d: %w: %w", what, n, err, fault.Invalid))
		default:
			pool.AddCert(certificate)
		}
	}
	if n == 0 {
		return fmt.Errorf("%s holds no certificate in PEM: %w", what, fault.Invalid)
	}
	return errors.Join(faults...)
}

// checkCertificate tells whether a certificate and its key belong together. Whether it has
// expired is the SMO's to say: refusing it here would leave an older one in use.
func checkCertificate(c *tls.Certificate) error {
	if c == nil {
		return nil
	}
	if len(c.Certificate) == 0 {
		return fmt.Errorf("client certificate is empty: %w", fault.Invalid)
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return fmt.Errorf("client certificate: %w: %w", err, fault.Invalid)
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return fmt.Errorf("client certificate of %q has no key: %w", leaf.Subject, fault.Invalid)
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return fmt.Errorf("client certificate of %q and the key do not belong together: %w", leaf.Subject, fault.Invalid)
	}
	return nil
}

// checkOAuth reports everything that is wrong, and never repeats the secret.
func (c *Client) checkOAuth(s Settings) error {
	if s.OAuth == nil {
		return nil
	}
	o := s.OAuth
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("OAuth: "+format+": %w", append(args, fault.Invalid)...))
	}
	switch {
	case (o.Issuer == "") == (o.TokenURL == ""):
		bad("want either an issuer or a token URL")
	default:
		if err := c.checkEndpoint(o.Issuer + o.TokenURL); err != nil {
			faults = append(faults, fmt.Errorf("OAuth: issuer or token URL: %w", err))
		}
	}
	if o.ClientID == "" || !printable(o.ClientID) {
		bad("client id is empty or holds characters that cannot be sent")
	}
	switch o.AuthStyle {
	case "", styleBasic, styleBody:
		if o.ClientSecret == "" {
			bad("there is no client secret")
		}
		if !printable(o.ClientSecret) {
			bad("client secret holds characters that cannot be sent, a line break at its end perhaps")
		}
	case styleTLS:
		if s.Certificate == nil {
			bad("style tls needs a client certificate")
		}
	default:
		bad("style %q, want %s, %s or %s", o.AuthStyle, styleBasic, styleBody, styleTLS)
	}
	for _, scope := range o.Scopes {
		if scope == "" || !printable(scope) || strings.ContainsAny(scope, ` "\`) {
			bad("scope %q cannot be sent", scope)
		}
	}
	if !printable(o.Audience) || strings.Contains(o.Audience, " ") {
		bad("audience %q holds white space", o.Audience)
	}
	return errors.Join(faults...)
}

func (c *Client) checkEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("not a URL: %w", fault.Invalid)
	}
	if u.Fragment != "" {
		return fmt.Errorf("a fragment does not belong there: %w", fault.Invalid)
	}
	return c.checkTarget(u)
}

// printable tells whether a text has only characters that RFC 6749, appendix A, allows.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}
