package auth

import (
	"net/http"
	"net/netip"
	"time"
)

// Config says whose calls are accepted. It is replaced as a whole while requests run; see
// Callers.Configure.
type Config struct {
	Issuers      []Issuer
	Certificates ClientCertificates
	Proxies      TrustedProxies

	// Transport returns how an issuer is asked that shows a certificate of the system's
	// CAs or of this PEM bundle. It is needed when there are issuers.
	Transport func(caBundle []byte) (http.RoundTripper, error)
}

// Issuer is an authorization server whose JWTs are accepted.
//
// Sources: RFC 9068 (the tokens), RFC 8705 (their binding to a certificate), OpenID Connect
// Discovery 1.0 (where the keys are).
type Issuer struct {
	// URL is what the claim iss says, to the letter. It is https, or http on this
	// machine's own addresses.
	URL string

	// Audiences are ours: a token must be for one of them. Give none that is also the id of
	// a client, because ID tokens are for those.
	Audiences []string

	// UsernameClaim is where a token names the user, a path such as "sub" or "a.b";
	// default "sub".
	UsernameClaim string

	// UsernamePrefix goes before every user name; default URL + "#". Two issuers of one
	// prefix share their users.
	UsernamePrefix string

	// GroupsClaim is where a token names roles, a path such as "realm_access.roles";
	// default "roles". Where a claim's own name has dots, the longest name that exists wins.
	GroupsClaim string

	// RoleNames translates what the issuer calls a role into one of ours. Our own names
	// always count.
	RoleNames map[string]string

	// Algorithms that signatures may have; default all of signatureAlgorithms.
	Algorithms []string

	// RequireBinding refuses tokens that are not bound to a client certificate.
	RequireBinding bool

	// CABundle has further CAs that may vouch for the issuer, in PEM.
	CABundle []byte

	// Leeway is by how much the issuer's clock and ours may differ; default 30 s, at most
	// 5 min.
	Leeway time.Duration
}

// ClientCertificates says which client certificates are accepted.
type ClientCertificates struct {
	// CABundle has the CAs that sign clients, in PEM, with intermediate ones where clients
	// do not send them. Empty: we ask for no certificates ourselves.
	CABundle []byte

	// Required refuses callers that show no certificate.
	Required bool

	// Subjects are the only ones accepted: a subject as RFC 2253 writes it, or a DNS name
	// or URI among the alternative names, to the letter. Empty: all that the CAs signed.
	Subjects []string
}

// TrustedProxies are those that terminate TLS for us and tell in a header which certificate
// the client showed.
//
// Such a proxy must set the header itself and drop what the client sent under its name. It
// must not also pass connections through without terminating them: what comes that way has
// the proxy's address, too.
type TrustedProxies struct {
	// Networks hold the proxies' addresses, as seen by us. Empty: no proxy is trusted.
	Networks []netip.Prefix

	// Header is how they tell: HAProxy, RFC9440 or XFCC.
	Header string
}

// How proxies tell of a client's certificate.
const (
	HeaderHAProxy = "HAProxy" // X-SSL-Client-Verify and X-SSL-Client-DER, as OpenShift's router sets them
	HeaderRFC9440 = "RFC9440" // Client-Cert
	HeaderXFCC    = "XFCC"    // X-Forwarded-Client-Cert, Envoy's
)

const (
	defaultUsernameClaim = "sub"
	defaultGroupsClaim   = "roles"
	defaultLeeway        = 30 * time.Second
	maxLeeway            = 5 * time.Minute
)

// signatureAlgorithms are those that we verify. All are asymmetric: with a symmetric one,
// whoever can verify can also forge.
//
// Source: RFC 7518, clause 3.1; RFC 8037, clause 3.1; RFC 8725, clause 3.1.
func signatureAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// withDefaults fills in what was left out.
func (s Issuer) withDefaults() Issuer {
	if s.UsernameClaim == "" {
		s.UsernameClaim = defaultUsernameClaim
	}
	if s.UsernamePrefix == "" {
		s.UsernamePrefix = s.URL + "#"
	}
	if s.GroupsClaim == "" {
		s.GroupsClaim = defaultGroupsClaim
	}
	if len(s.Algorithms) == 0 {
		s.Algorithms = signatureAlgorithms()
	}
	if s.Leeway == 0 {
		s.Leeway = defaultLeeway
	}
	return s
}
