// Package smo is how we call out: notifications to the SMO, registration, and whatever
// else goes to an address that somebody gave us.
//
// A callback URL is a stranger's wish that we connect to somewhere from inside the hub. So
// there is one client for all such calls, and it decides at the last moment possible: when
// a name has been resolved and the connection is about to be made, by the address itself.
// A check at creation alone would be undone by a name that resolves differently the next
// time. Loopback, link-local, multicast and unspecified addresses are refused, and the
// networks of the hub that the configuration names; an allow-list opens what a site needs.
//
// Redirections are not followed: the target of one has been checked by nobody. Answers are
// bounded in size and time.
//
// Sources: RFC 6890 for the addresses of special purpose; OWASP on server-side request
// forgery.
package smo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Options say where calls may go, one flag each.
type Options struct {
	AllowNetworks []string // CIDRs or addresses that are open although they would be refused
	AllowHTTP     bool     // calls without TLS, too
	Hosts         []string // when not empty: the only hosts that may be called, as host or host:port
	HubNetworks   []string // CIDRs of the hub's pods, services and nodes: refused

	CAFile  string        // PEM, to trust beside the system's
	Timeout time.Duration // to connect, and for the first byte of an answer
}

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.AllowNetworks, "outbound-allow-networks", nil, "networks (CIDR) that callbacks may be in although they are loopback, link-local or the hub's own")
	f.BoolVar(&o.AllowHTTP, "outbound-allow-http", false, "accept callbacks without TLS; for demonstrations")
	f.StringSliceVar(&o.Hosts, "outbound-hosts", nil, "the only hosts, as host or host:port, that callbacks may be on; empty for any")
	f.StringSliceVar(&o.HubNetworks, "outbound-refuse-networks", nil, "networks (CIDR) that callbacks must not be in: those of the hub's pods, services and nodes")
	f.StringVar(&o.CAFile, "outbound-ca-file", "", "certificates in PEM to trust when calling out, beside the system's")
	f.DurationVar(&o.Timeout, "outbound-timeout", 10*time.Second, "how long it may take to connect, and until an answer begins")
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	_, allowErr := prefixes("outbound-allow-networks", o.AllowNetworks)
	_, refuseErr := prefixes("outbound-refuse-networks", o.HubNetworks)
	faults := []error{allowErr, refuseErr}
	if o.Timeout <= 0 {
		faults = append(faults, fmt.Errorf("--outbound-timeout is %s, want more than 0: %w", o.Timeout, fault.Invalid))
	}
	if slices.ContainsFunc(o.Hosts, func(h string) bool { return h == "" || strings.ContainsAny(h, "/@ ") }) {
		faults = append(faults, fmt.Errorf("--outbound-hosts: want host or host:port: %w", fault.Invalid))
	}
	return errors.Join(faults...)
}

func prefixes(flag string, texts []string) (list []netip.Prefix, err error) {
	var faults []error
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if address, bad := netip.ParseAddr(text); bad == nil {
			p, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("--%s: %q is no network: %w", flag, text, fault.Invalid))
			continue
		}
		list = append(list, p.Masked())
	}
	return list, errors.Join(faults...)
}

// TokenSource gives the bearer tokens with which we prove to the SMO who we are.
type TokenSource interface {
	// Token returns a token that is valid now.
	Token(ctx context.Context) (string, error)

	// Refused says that a token was answered with 401, so that the next one is another.
	Refused(token string)
}

// Parts are what proves who we are. All of it is optional.
type Parts struct {
	// Tokens are sent to the hosts of Options.Hosts alone: elsewhere anybody could collect
	// them by a subscription.
	Tokens TokenSource

	// Certificate returns our client certificate; it is asked for every connection.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)

	// Resolver resolves names; nil is the system's.
	Resolver *net.Resolver
}

// Client calls out. It is safe for concurrent use.
type Client struct {
	options Options
	guard   guard
	tokens  TokenSource
	http    *http.Client
}

// maxAnswerBytes is how much of an answer can be read at all.
const maxAnswerBytes = 1 << 20

// New returns a client.
func New(o Options, p Parts) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	allow, _ := prefixes("", o.AllowNetworks) // Validate has looked at both
	refuse, _ := prefixes("", o.HubNetworks)
	c := &Client{options: o, tokens: p.Tokens, guard: guard{allow: allow, refuse: refuse, resolver: p.Resolver}}
	if c.guard.resolver == nil {
		c.guard.resolver = net.DefaultResolver
	}
	roots, err := roots(o.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: o.Timeout, KeepAlive: 30 * time.Second, Resolver: p.Resolver, ControlContext: c.guard.control}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, GetClientCertificate: p.Certificate},
			TLSHandshakeTimeout:    o.Timeout,
			ResponseHeaderTimeout:  o.Timeout,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns:           1000,
			MaxIdleConnsPerHost:    100, // many subscriptions have one SMO
			IdleConnTimeout:        90 * time.Second,
			DisableCompression:     true, // a small answer could unpack to a large one
			ForceAttemptHTTP2:      true,
		},
	}
	return c, nil
}

func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--outbound-ca-file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--outbound-ca-file: %s holds no certificate: %w", file, fault.Invalid)
	}
	return pool, nil
}

// Do sends a request. The context of the request should bound it. An error does not
// repeat the URL, which may hold a secret of its owner, beyond the host.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	if err := c.checkTarget(r.URL); err != nil {
		return nil, err
	}
	token := ""
	if c.tokens != nil && c.known(r.URL) {
		var err error
		if token, err = c.tokens.Token(r.Context()); err != nil {
			return nil, fmt.Errorf("token for %s: %w", r.URL.Host, err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.http.Do(r)
	if err != nil {
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("%s: %w", r.URL.Host, err)
	}
	if token != "" && response.StatusCode == http.StatusUnauthorized {
		c.tokens.Refused(token)
	}
	response.Body = &boundedBody{response.Body, maxAnswerBytes}
	return response, nil
}

// CheckURL tells whether calls to a URL would be let through as things are: form, scheme,
// host, and the addresses that the name has now. The error wraps fault.Invalid and says
// what is wrong. Do decides again for each call.
func (c *Client) CheckURL(ctx context.Context, text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("callback is not a URL: %w", fault.Invalid)
	}
	if err := c.checkTarget(u); err != nil {
		return fmt.Errorf("callback: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	if err := c.guard.checkName(ctx, u.Hostname()); err != nil {
		return fmt.Errorf("callback: %w", err)
	}
	return nil
}

// Reach sends a GET and tells whether it was answered with one of the given statuses; with
// none given, with any 2xx. The error wraps fault.Invalid.
func (c *Client) Reach(ctx context.Context, text string, statuses ...int) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout/2)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, text, nil)
	if err != nil {
		return fmt.Errorf("callback is not a URL: %w", fault.Invalid)
	}
	response, err := c.Do(request)
	if err != nil {
		return fmt.Errorf("callback cannot be reached: %w: %w", err, fault.Invalid)
	}
	defer response.Body.Close()
	if slices.Contains(statuses, response.StatusCode) || len(statuses) == 0 && response.StatusCode/100 == 2 {
		return nil
	}
	return fmt.Errorf("callback answered a GET with %d: %w", response.StatusCode, fault.Invalid)
}

// checkTarget judges what can be judged without resolving names.
func (c *Client) checkTarget(u *url.URL) error {
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !c.options.AllowHTTP):
		return fmt.Errorf("scheme %q is not allowed, want https: %w", u.Scheme, fault.Invalid)
	case u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("there is no host: %w", fault.Invalid)
	case u.User != nil:
		return fmt.Errorf("credentials do not belong into a URL: %w", fault.Invalid)
	case len(c.options.Hosts) > 0 && !c.known(u):
		return fmt.Errorf("host %q is not among those that may be called: %w", u.Host, fault.Invalid)
	}
	return nil
}

// known tells whether the administrator named the host of a URL.
func (c *Client) known(u *url.URL) bool {
	return slices.ContainsFunc(c.options.Hosts, func(h string) bool {
		return strings.EqualFold(h, u.Hostname()) || strings.EqualFold(h, u.Host)
	})
}

// boundedBody ends an answer that is too long with an error.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("an answer of more than %d bytes: %w", maxAnswerBytes, fault.TooLarge)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// guard knows where connections may go.
type guard struct {
	allow, refuse []netip.Prefix
	resolver      *net.Resolver
}

// ErrAddress means that a connection to this address is not allowed.
var ErrAddress = fmt.Errorf("address is not allowed: %w", fault.Invalid)

// control is called with every address that a connection is about to be made to.
func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, ErrAddress)
	}
	return g.check(target.Addr())
}

// checkName resolves a name and tells whether all of its addresses are allowed: with one
// that is not, somebody is up to something.
func (g *guard) checkName(ctx context.Context, host string) error {
	if address, err := netip.ParseAddr(host); err == nil {
		return g.check(address)
	}
	addresses, err := g.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addresses) == 0 {
		return fmt.Errorf("host %q does not resolve: %w", host, fault.Invalid)
	}
	for _, address := range addresses {
		if err := g.check(address); err != nil {
			return fmt.Errorf("host %q: %w", host, err)
		}
	}
	return nil
}

func (g *guard) check(address netip.Addr) error {
	address = embedded(address.WithZone("").Unmap())
	within := func(p netip.Prefix) bool { return p.Contains(address) }
	if slices.ContainsFunc(g.allow, within) {
		return nil
	}
	switch {
	case address.IsLoopback(), address.IsUnspecified(), address.IsMulticast(),
		address.IsLinkLocalUnicast(), thisNetwork.Contains(address), reserved.Contains(address):
		return fmt.Errorf("%s: %w", address, ErrAddress)
	case slices.ContainsFunc(g.refuse, within):
		return fmt.Errorf("%s, which is the hub's own: %w", address, ErrAddress)
	}
	return nil
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")   // Linux delivers some of it to itself
	reserved    = netip.MustParsePrefix("240.0.0.0/4") // with the broadcast address
	nat64       = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour   = netip.MustParsePrefix("2002::/16")
	compatible  = netip.MustParsePrefix("::/96")
)

// embedded returns the IPv4 address that a gateway would make of an IPv6 address, or the
// address itself.
func embedded(address netip.Addr) netip.Addr {
	if !address.Is6() || address.IsUnspecified() || address.IsLoopback() {
		return address
	}
	b := address.As16()
	switch {
	case nat64.Contains(address), compatible.Contains(address):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(address):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return address
}
