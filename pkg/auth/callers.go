package auth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Callers finds out who is calling, by settings that may change at any time.
//
// A request is judged by the settings that were in force when it came; no request waits for
// a change, and none fails because of one.
type Callers struct {
	reviews  Authenticator
	clock    Clock
	regime   atomic.Pointer[regime]
	accepted *cache.LRUExpireCache // digest of the token to accepted
	refused  *cache.LRUExpireCache // digest of the token to refused
	metrics  callerMetrics

	configuring sync.Mutex
}

// regime is one version of the settings, made ready.
type regime struct {
	closed       bool               // nobody is accepted: nobody has said yet who is
	issuers      map[string]*issuer // by claim iss
	certificates *clientCertificates
	proxies      TrustedProxies
}

// accepted and refused are what is remembered of a token. It counts only while the issuer
// is the very one that said so: a change of its settings makes another one.
type accepted struct {
	by      *issuer
	verdict verdict
}

type refused struct {
	by  *issuer
	err error
}

// IssuerStatus tells how well we know an issuer.
type IssuerStatus struct {
	URL    string
	Err    error     // why the last attempt to get its keys failed; nil also when there was none
	KeysAt time.Time // when the keys in use were asked for; zero: there are none
}

// NewCallers returns callers that nobody knows before Configure has been called. From then
// on reviews judges all tokens of issuers that are not configured.
func NewCallers(reviews Authenticator, clock Clock, r prometheus.Registerer) *Callers {
	c := &Callers{
		reviews:  reviews,
		clock:    clock,
		accepted: cache.NewLRUExpireCacheWithClock(cachedAnswers, clock),
		refused:  cache.NewLRUExpireCacheWithClock(cachedAnswers, clock),
		metrics:  newCallerMetrics(r),
	}
	none, _ := newClientCertificates(ClientCertificates{}, clock) // without CAs nothing can be wrong
	c.regime.Store(&regime{closed: true, certificates: none})
	return c
}

// Configure replaces the settings as a whole. When anything is wrong with them, all that is
// wrong is returned, each wrapping fault.Invalid, and the former settings stay in force.
//
// It asks nobody: an issuer's keys are fetched when its first token comes, or by Refresh.
// Issuers whose settings are the same as before keep their keys and what is remembered of
// their tokens; they are asked through the new Transport.
func (c *Callers) Configure(config Config) error {
	c.configuring.Lock()
	defer c.configuring.Unlock()
	if err := config.Validate(); err != nil {
		return err
	}
	former := c.regime.Load()
	next := &regime{issuers: make(map[string]*issuer), proxies: TrustedProxies{slices.Clone(config.Proxies.Networks), config.Proxies.Header}}

	var faults []error
	clients := make(map[string]*http.Client)
	for _, s := range config.Issuers {
		transport, err := config.Transport(s.CABundle)
		if err != nil {
			faults = append(faults, fmt.Errorf("issuer %q: %w: %w", s.URL, err, fault.Invalid))
			continue
		}
		clients[s.URL] = newIssuerClient(transport)
		next.issuers[s.URL] = former.issuers[s.URL]
		if settings := s.own(); next.issuers[s.URL] == nil || !next.issuers[s.URL].same(settings) {
			next.issuers[s.URL] = newIssuer(settings, clients[s.URL], c.clock, c.metrics.fetchesOf(s.URL))
		}
	}
	next.certificates = former.certificates
	if !former.certificates.same(config.Certificates) {
		certificates, err := newClientCertificates(config.Certificates.own(), c.clock)
		if err != nil {
			faults = append(faults, err)
		}
		next.certificates = certificates
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	c.enforce(former, next, clients)
	return nil
}

// enforce makes next the settings in force.
func (c *Callers) enforce(former, next *regime, clients map[string]*http.Client) {
	for url, i := range next.issuers {
		if old := i.keys.client.Swap(clients[url]); old != clients[url] {
			old.CloseIdleConnections()
		}
	}
	c.regime.Store(next)
	for url, i := range former.issuers {
		if next.issuers[url] == nil {
			c.metrics.forget(url)
		}
		if next.issuers[url] != i {
			i.keys.client.Load().CloseIdleConnections()
		}
	}
}

// Authenticate returns the identity that the credentials prove.
//
// Who judges a token is decided by the issuer that it names, which is not verified at that
// point: it selects who verifies it. Answers are remembered for a minute, and never beyond
// the token's end; refusals for ten seconds, unless newer keys could change them. The
// binding to a certificate is checked every time.
func (c *Callers) Authenticate(ctx context.Context, credentials Credentials) (Identity, error) {
	r := c.regime.Load()
	if r.closed {
		return Identity{}, fmt.Errorf("callers: nobody has said yet whom to accept: %w", fault.Unavailable)
	}
	if err := r.requireCertificate(credentials.Certificate); err != nil {
		return Identity{}, err
	}
	if len(credentials.Token) > maxTokenBytes {
		return Identity{}, fmt.Errorf("a token of %d bytes: %w", len(credentials.Token), fault.Unauthenticated)
	}
	key := digest(sha256.Sum256([]byte(credentials.Token)))
	if a, ok := remembered[*accepted](c.accepted, key); ok && r.issuers[a.by.settings.URL] == a.by {
		c.metrics.cached.Inc()
		return a.identity(credentials.Certificate)
	}
	if f, ok := remembered[*refused](c.refused, key); ok && r.issuers[f.by.settings.URL] == f.by {
		c.metrics.cached.Inc()
		return Identity{}, f.err
	}
	if named, ok := unverified(credentials.Token); ok {
		if i := r.issuers[named.Issuer]; i != nil {
			return c.verify(ctx, i, key, credentials)
		}
	}
	return c.reviews.Authenticate(ctx, credentials)
}

func remembered[T any](in *cache.LRUExpireCache, key digest) (T, bool) {
	value, ok := in.Get(key)
	if !ok {
		var none T
		return none, false
	}
	return value.(T), true
}

func (c *Callers) verify(ctx context.Context, i *issuer, key digest, credentials Credentials) (Identity, error) {
	v, err := i.verify(ctx, credentials.Token)
	c.metrics.verified(err)
	if err != nil {
		if errors.Is(err, fault.Unauthenticated) && !errors.Is(err, errUnsettled) {
			c.refused.Add(key, &refused{i, err}, refusedFor)
		}
		return Identity{}, err
	}
	a := &accepted{i, v}
	if ttl := min(acceptedFor, v.expires.Sub(c.clock.Now())); ttl > 0 {
		c.accepted.Add(key, a, ttl)
	}
	return a.identity(credentials.Certificate)
}

// identity returns whom the token proves when it is shown together with this certificate.
func (a *accepted) identity(certificate *x509.Certificate) (Identity, error) {
	if err := checkBinding(a.verdict.bound, a.by.settings.RequireBinding, certificate); err != nil {
		return Identity{}, fmt.Errorf("token of %s: %w", a.by.settings.URL, err)
	}
	return a.verdict.identity, nil
}

// CertificateOf returns the verified certificate that the client of a request showed, nil
// when it showed none and need not. It removes all headers about certificates from the
// request. The error wraps fault.Unauthenticated.
func (c *Callers) CertificateOf(r *http.Request) (*x509.Certificate, error) {
	return c.regime.Load().certificateOf(r)
}

// JudgesItself tells whether a token is judged here, by the keys of the issuer that it names:
// that costs a signature, and nobody is asked.
func (c *Callers) JudgesItself(token string) bool {
	named, ok := unverified(token)
	return ok && c.regime.Load().issuers[named.Issuer] != nil
}

// TrustsProxy tells whether an address is that of a trusted proxy, whose word counts.
func (c *Callers) TrustsProxy(address netip.Addr) bool {
	return c.regime.Load().proxies.trustsAddress(address)
}

// ClientCAs returns the CAs that sign clients; nil when clients are not to be asked for
// a certificate.
func (c *Callers) ClientCAs() *x509.CertPool { return c.regime.Load().certificates.pool }

// Issuers returns how well each issuer is known, in order of their URLs.
func (c *Callers) Issuers() []IssuerStatus {
	var all []IssuerStatus
	for _, i := range c.regime.Load().issuers {
		all = append(all, i.keys.status())
	}
	slices.SortFunc(all, func(a, b IssuerStatus) int { return strings.Compare(a.URL, b.URL) })
	return all
}

// Refresh asks all issuers at once whose keys are missing or old, and waits for them. It is
// for whoever wants to know before the first token comes; nothing depends on it. The error
// joins those of all issuers.
func (c *Callers) Refresh(ctx context.Context) error {
	var wait sync.WaitGroup
	issuers := c.regime.Load().issuers
	faults := make(chan error, len(issuers))
	for _, i := range issuers {
		wait.Go(func() { faults <- i.keys.refresh(ctx) })
	}
	wait.Wait()
	close(faults)
	var all []error
	for err := range faults {
		all = append(all, err)
	}
	return errors.Join(all...)
}
