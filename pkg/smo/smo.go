// Package smo is how we call out: notifications to the SMO, registration, and whatever
// else goes to an address that somebody gave us.
//
// A callback URL is a stranger's wish that we connect to somewhere from inside the hub. So
// there is one client for all such calls, and it decides at the last moment possible: when
// a name has been resolved and the connection is about to be made, by the address itself.
// A check at creation alone would be undone by a name that resolves differently the next
// time. Loopback, link-local, multicast and unspecified addresses are refused, and the
// networks of the hub that the configuration names; an allow-list opens what a site needs.
// Token endpoints and registration are under the same rule: who may edit the configuration
// is not thereby somebody inside the hub.
//
// Redirections are not followed: the target of one has been checked by nobody. Answers are
// bounded in size and time.
//
// Who we are, a client certificate and OAuth 2.0 client credentials, is told to the hosts
// alone that the administrator named, and can be replaced while calls are under way. The
// request for a token is our own rather than that of golang.org/x/oauth2, which takes an
// answer without token_type or lifetime for a bearer token that never expires, repeats the
// answer of a token endpoint in its errors, whatever that quotes, and lets those who wait
// for a token neither give up nor share a failure.
//
// Sources: RFC 6890 for the addresses of special purpose; OWASP on server-side request
// forgery; RFC 6749, 4.4 and 5, for client credentials; RFC 6750 for bearer tokens; RFC
// 8414 and OpenID Connect Discovery 1.0 for finding the token endpoint; RFC 8705 for
// certificates in place of secrets.
package smo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Options say where calls may go, one flag each.
type Options struct {
	AllowNetworks []string // CIDRs or addresses that are open although they would be refused
	AllowHTTP     bool     // calls without TLS, too
	Hosts         []string // when not empty: the only hosts that may be called, as host or host:port
	HubNetworks   []string // CIDRs of the hub's pods, services and nodes: refused
	Proxy         bool     // call through the proxy that the environment names

	CAFile  string        // PEM, to trust beside the system's; read at each Configure
	Timeout time.Duration // to connect, and for the first byte of an answer
}

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.AllowNetworks, "outbound-allow-networks", nil, "networks (CIDR) that may be called, be it a callback, the SMO, a token endpoint or an issuer, although they are loopback, link-local or the hub's own")
	f.BoolVar(&o.AllowHTTP, "outbound-allow-http", false, "accept callbacks without TLS; for demonstrations")
	f.StringSliceVar(&o.Hosts, "outbound-hosts", nil, "the only hosts, as host or host:port, that may be called: callbacks, the SMO, token endpoints and issuers; empty for any")
	f.StringSliceVar(&o.HubNetworks, "outbound-refuse-networks", nil, "networks (CIDR) that must not be called, be it a callback, the SMO, a token endpoint or an issuer: those of the hub's pods, services and nodes")
	f.BoolVar(&o.Proxy, "outbound-proxy", false, "call out through the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name; it resolves names anew, so it needs rules of its own about where it connects to")
	f.StringVar(&o.CAFile, "outbound-ca-file", "", "certificates in PEM to trust when calling out, beside the system's")
	f.DurationVar(&o.Timeout, "outbound-timeout", 10*time.Second, "how long it may take to connect, and until an answer begins")
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	_, allowErr := prefixes("outbound-allow-networks", o.AllowNetworks)
	_, refuseErr := prefixes("outbound-refuse-networks", o.HubNetworks)
	faults := []error{allowErr, refuseErr, checkHosts("--outbound-hosts", o.Hosts)}
	if o.Timeout <= 0 {
		faults = append(faults, fmt.Errorf("--outbound-timeout is %s, want more than 0: %w", o.Timeout, fault.Invalid))
	}
	return errors.Join(faults...)
}

func checkHosts(where string, hosts []string) error {
	var faults []error
	for _, entry := range hosts {
		if host, port := splitHost(entry); !plainHost(host) || !plainPort(port) {
			faults = append(faults, fmt.Errorf("%s: %q, want host or host:port: %w", where, entry, fault.Invalid))
		}
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

// splitHost divides host or host:port, with or without the brackets of IPv6. The host is
// without the dot that may end a name.
func splitHost(text string) (host, port string) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), ""
	}
	return strings.TrimSuffix(host, "."), port
}

// Parts are what a client depends on. All of it is optional.
type Parts struct {
	Resolver *net.Resolver      // of names; nil: the system's
	Clock    clock.PassiveClock // when tokens expire; nil: the real one
}
