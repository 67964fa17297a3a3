package smo

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/o2ims/o2ims/pkg/fault"
)

// admit judges a URL before each call. What is behind its name is judged when the
// connection is made, except through a proxy, which we cannot see through: then the name is
// resolved here, too, unless the administrator named the host.
func (c *Client) admit(ctx context.Context, u *url.URL, named []string) error {
	if err := c.checkTarget(u); err != nil {
		return err
	}
	if !c.proxied(u) || listed(named, u) {
		return nil
	}
	return c.guard.checkName(ctx, u.Hostname())
}

// checkTarget judges what can be judged without resolving names. Only plain hosts pass,
// since what else a name may hold is read differently by resolvers, proxies and libraries.
func (c *Client) checkTarget(u *url.URL) error {
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !c.options.AllowHTTP):
		return fmt.Errorf("scheme %q is not allowed, want https: %w", u.Scheme, fault.Invalid)
	case u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("there is no host: %w", fault.Invalid)
	case u.User != nil:
		return fmt.Errorf("credentials do not belong into a URL: %w", fault.Invalid)
	case !plainHost(u.Hostname()):
		return fmt.Errorf("host %q is neither an address nor a name of letters, digits and hyphens: %w", u.Hostname(), fault.Invalid)
	case !plainPort(u.Port()):
		return fmt.Errorf("there is no port %s: %w", u.Port(), fault.Invalid)
	case len(c.options.Hosts) > 0 && !listed(c.options.Hosts, u):
		return fmt.Errorf("host %q is not among those that may be called: %w", u.Host, fault.Invalid)
	case c.proxies != nil && slices.Contains(c.proxies.addresses, hostPort(u)):
		return fmt.Errorf("host %q is our proxy: %w", u.Host, fault.Invalid)
	}
	return nil
}

func plainHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
	return host != "" && len(host) <= 254 && strings.Trim(host, plain) == "" && !strings.HasPrefix(host, ".")
}

func plainPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// listed tells whether a list of host and host:port holds the host of a URL. With a port,
// only that one counts.
func listed(hosts []string, u *url.URL) bool {
	return slices.ContainsFunc(hosts, func(entry string) bool {
		host, port := splitHost(entry)
		return strings.EqualFold(host, strings.TrimSuffix(u.Hostname(), ".")) && (port == "" || port == portOf(u))
	})
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	case strings.HasPrefix(u.Scheme, "socks5"): // a proxy
		return "1080"
	}
	return "443"
}
