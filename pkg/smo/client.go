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
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Client calls out. It is safe for concurrent use.
type Client struct {
	options Options
	guard   guard
	proxies *proxies // nil: none
	clock   clock.PassiveClock

	configuring sync.Mutex
	current     atomic.Pointer[identity]
}

// maxAnswerBytes is how much of an answer can be read at all.
const maxAnswerBytes = 1 << 20

// New returns a client that is nobody: without token or certificate, until Configure.
func New(o Options, p Parts) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	allow, _ := prefixes("", o.AllowNetworks) // Validate has looked at both
	refuse, _ := prefixes("", o.HubNetworks)
	c := &Client{options: o, clock: p.Clock, guard: guard{allow: allow, refuse: refuse, resolver: p.Resolver}}
	if c.guard.resolver == nil {
		c.guard.resolver = net.DefaultResolver
	}
	if c.clock == nil {
		c.clock = clock.RealClock{}
	}
	if o.Proxy {
		c.proxies = environmentProxies()
	}
	if err := c.Configure(Settings{}); err != nil {
		return nil, err
	}
	return c, nil
}

// Do sends a request. The context of the request should bound it, and the body of the
// answer is the caller's to close. To hosts that the administrator named, in
// Options.Hosts or Settings.Hosts, it proves who we are; when a token is refused there with
// 401 and the body of the request can be had again, it tries once more with a new one.
//
// An error does not repeat the URL, which may hold a secret of its owner, beyond the host.
// It wraps ErrToken when it is about our token, and fault.Invalid when the URL or its
// address is not allowed.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	id := c.acquire()
	response, err := id.do(r)
	if errors.Is(err, ErrToken) && id.retired.Load() { // with what replaced it, there may be one
		if again := repeatable(r); again != nil {
			id.release()
			id = c.acquire()
			response, err = id.do(again)
		}
	}
	if err != nil {
		id.release()
		return nil, err
	}
	response.Body = &answer{body: response.Body, left: maxAnswerBytes, closed: sync.OnceFunc(id.release)}
	return response, nil
}

// Transport returns how third parties, such as the issuers of our callers' tokens, are
// asked: under the same rules, trusting a bundle in PEM beside what the Options name, but
// as nobody, with no token and no certificate. A redirection is an error. The returned
// transport has CloseIdleConnections, for when it is replaced.
func (c *Client) Transport(caBundle []byte) (http.RoundTripper, error) {
	roots, err := c.roots(caBundle)
	if err != nil {
		return nil, err
	}
	return &anonymous{client: c, transport: c.transport(roots, nil)}, nil
}

type anonymous struct {
	client    *Client
	transport *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (a *anonymous) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := a.client.admit(r.Context(), r.URL, nil); err != nil {
		closeBody(r)
		return nil, err
	}
	response, err := a.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 == 3 && response.Header.Get("Location") != "" {
		response.Body.Close()
		return nil, fmt.Errorf("%s: answered %d, and redirections are not followed: %w", r.URL.Host, response.StatusCode, fault.Upstream)
	}
	response.Body = &answer{body: response.Body, left: maxAnswerBytes, closed: func() {}}
	return response, nil
}

// CloseIdleConnections is what http.Client looks for.
func (a *anonymous) CloseIdleConnections() { a.transport.CloseIdleConnections() }

// CheckURL tells whether calls to a URL would be let through as things are: form, scheme,
// host, and the addresses that the name has now. The error wraps fault.Invalid and says
// what is wrong. Do decides again for each call.
func (c *Client) CheckURL(ctx context.Context, text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("callback is not a URL: %w", fault.Invalid)
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	if err := c.checkTarget(u); err != nil {
		return fmt.Errorf("callback: %w", err)
	}
	if c.proxied(u) && listed(c.current.Load().hosts, u) {
		return nil // its name may be known to the proxy alone
	}
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

// transport connects under the rules of the guard. The certificate is shown to servers that
// ask for one of its issuer.
func (c *Client) transport(roots *x509.CertPool, certificate *tls.Certificate) *http.Transport {
	guarded := &net.Dialer{Timeout: c.options.Timeout, KeepAlive: 30 * time.Second, Resolver: c.guard.resolver, ControlContext: c.guard.control}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	t := &http.Transport{
		DialContext:            guarded.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    c.options.Timeout,
		ResponseHeaderTimeout:  c.options.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           1000,
		MaxIdleConnsPerHost:    100, // many subscriptions have one SMO
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true, // a small answer could unpack to a large one
		ForceAttemptHTTP2:      true,
	}
	if c.proxies != nil {
		c.proxies.attach(t, &net.Dialer{Timeout: c.options.Timeout, KeepAlive: 30 * time.Second})
	}
	return t
}

// send makes a call as it is, and names the host alone when that does not work.
func send(h *http.Client, r *http.Request) (*http.Response, error) {
	response, err := h.Do(r)
	if err == nil {
		return response, nil
	}
	if wrapped := new(url.Error); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return nil, fmt.Errorf("%s: %w", r.URL.Host, err)
}

// closeBody keeps the word of http.Client: the body of a request is closed also when it is
// not sent.
func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// answer is the body of an answer: one that is too long ends with an error, and whoever
// keeps count is told when it is closed.
type answer struct {
	body   io.ReadCloser
	left   int64
	closed func()
}

func (a *answer) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, fmt.Errorf("an answer of more than %d bytes: %w", maxAnswerBytes, fault.TooLarge)
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.body.Read(p)
	a.left -= int64(n)
	return n, err
}

func (a *answer) Close() error {
	defer a.closed()
	return a.body.Close()
}
