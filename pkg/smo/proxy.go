package smo

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// proxies are what stands between us and the world at sites where nothing else gets out.
// The addresses of the proxies themselves are the administrator's choice and not under the
// guard; what is behind them is not visible to it, see Client.admit.
type proxies struct {
	of        func(*url.URL) (*url.URL, error)
	addresses []string // host:port
}

func environmentProxies() *proxies {
	config := httpproxy.FromEnvironment()
	p := &proxies{of: config.ProxyFunc()}
	for _, text := range []string{config.HTTPProxy, config.HTTPSProxy} {
		if !strings.Contains(text, "://") {
			text = "http://" + text // as the library takes it
		}
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			p.addresses = append(p.addresses, hostPort(u))
		}
	}
	return p
}

func (p *proxies) attach(t *http.Transport, direct *net.Dialer) {
	guarded := t.DialContext
	t.Proxy = func(r *http.Request) (*url.URL, error) { return p.of(r.URL) }
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if slices.Contains(p.addresses, strings.ToLower(address)) {
			return direct.DialContext(ctx, network, address)
		}
		return guarded(ctx, network, address)
	}
}

// proxied tells whether a call to a URL goes through a proxy.
func (c *Client) proxied(u *url.URL) bool {
	if c.proxies == nil {
		return false
	}
	proxy, err := c.proxies.of(u)
	return proxy != nil || err != nil
}

func hostPort(u *url.URL) string { return net.JoinHostPort(strings.ToLower(u.Hostname()), portOf(u)) }
