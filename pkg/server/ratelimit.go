package server

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/lru"

	"github.com/o2ims/o2ims/pkg/fault"
)

// RateLimits bound how often one caller may ask.
//
// A caller that is known has a bucket of its own, by its name. A caller that cannot prove who
// it is has none to be charged to but where it comes from, and there may be others: behind
// one address there can be a whole data centre. So only what fails is charged to an address,
// and when nothing is left there, credentials that were good before still pass. Behind a
// trusted proxy the address is the one that the proxy names in X-Forwarded-For; when it
// names none, a failure is charged to the credentials that failed and to nobody else.
//
// Tokens of configured issuers are outside of this: to judge one costs us a signature and nobody
// else anything, and a stranger behind the same address must not lock an SMO out that
// renews its tokens.
type RateLimits struct {
	// ClientQPS is how many requests per second a known caller may send in the long run, and
	// ClientBurst how many at once. ClientQPS 0: any number.
	ClientQPS   float64
	ClientBurst int

	// AuthFailuresPerMinute is how often credentials from one address may be refused, at once
	// and in a minute, before they are refused unseen. 0: any number.
	AuthFailuresPerMinute int
}

// AddFlags registers the limits with their defaults.
func (l *RateLimits) AddFlags(f *pflag.FlagSet) {
	f.Float64Var(&l.ClientQPS, "client-qps", 200, "requests per second that one client may send in the long run; 0 for any number")
	f.IntVar(&l.ClientBurst, "client-burst", 1000, "requests that one client may send at once")
	f.IntVar(&l.AuthFailuresPerMinute, "auth-failures-per-minute", 60, "how often in a minute authentication may fail from one address before it is not tried any more; 0 for any number")
}

// Validate reports everything that is wrong with l.
func (l *RateLimits) Validate() error {
	var faults []error
	if l.ClientQPS < 0 || math.IsNaN(l.ClientQPS) || math.IsInf(l.ClientQPS, 0) {
		faults = append(faults, fmt.Errorf("--client-qps is %v, want 0 or more: %w", l.ClientQPS, fault.Invalid))
	}
	if l.ClientQPS > 0 && l.ClientBurst < 1 {
		faults = append(faults, fmt.Errorf("--client-burst is %d, want at least 1: %w", l.ClientBurst, fault.Invalid))
	}
	if l.AuthFailuresPerMinute < 0 {
		faults = append(faults, fmt.Errorf("--auth-failures-per-minute is %d, want 0 or more: %w", l.AuthFailuresPerMinute, fault.Invalid))
	}
	return errors.Join(faults...)
}

const (
	keptClients  = 4096      // buckets of callers; more than an O-Cloud has
	keptSources  = 16384     // buckets of addresses; a stranger may have many
	keptAccepted = 4096      // digests of good credentials
	acceptedFor  = time.Hour // so long credentials that were good pass when their address is spent
)

// Why a request was refused, in the metric.
const (
	tooManyRequests = "client"
	tooManyFailures = "authentication"
)

// limiter holds callers to the limits. It is safe for concurrent use.
type limiter struct {
	clients  *buckets
	failures *buckets
	accepted *cache.LRUExpireCache // credentials
	now      func() time.Time
	limited  *prometheus.CounterVec

	mu     sync.Mutex
	trying map[source]map[credentials]int // requests with credentials that are being judged
}

func newLimiter(l RateLimits, now func() time.Time, r prometheus.Registerer) *limiter {
	limited := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "o2ims_http_rate_limited_total",
		Help: "Requests answered 429, or 503 where alerts come in: the client sent too many (reason client), or too many from its address failed to authenticate (reason authentication).",
	}, []string{"reason"})
	r.MustRegister(limited)
	limited.WithLabelValues(tooManyRequests)
	limited.WithLabelValues(tooManyFailures)
	return &limiter{
		clients:  newBuckets(rate.Limit(l.ClientQPS), l.ClientBurst, keptClients),
		failures: newBuckets(rate.Limit(float64(l.AuthFailuresPerMinute)/60), l.AuthFailuresPerMinute, keptSources),
		accepted: cache.NewLRUExpireCacheWithClock(keptAccepted, clock(now)),
		now:      now, limited: limited,
		trying: make(map[source]map[credentials]int),
	}
}

// clock makes a function tell the time to the cache.
type clock func() time.Time

func (c clock) Now() time.Time { return c() }

// credentials name what a request shows without keeping it; zero: it shows nothing.
type credentials [sha256.Size]byte

// credentialsOf digests all by which a request could say who sends it.
func credentialsOf(r *http.Request) credentials {
	shown := r.Header.Values("Authorization")
	if len(shown) == 0 {
		return credentials{}
	}
	return sha256.Sum256([]byte(strings.Join(shown, "\x00"))) // which no header has in it
}

// source is whom a failure is charged to.
type source struct {
	network netip.Prefix
	shown   credentials // zero: whatever was shown
}

// sourceOf says whom a failure of a request is charged to. An IPv6 host has a network of 64
// bits to choose its addresses from.
func sourceOf(o origin, shown credentials) source {
	bits := o.client.BitLen()
	if o.client.Is6() {
		bits = 64
	}
	network, _ := o.client.Prefix(bits) // the zero Prefix for an address we cannot read
	if !o.shared {
		shown = credentials{}
	}
	return source{network, shown}
}

// try tells whether it is worth finding out who sends a request; end is to be called when that
// is known, after refused or known. The error wraps fault.RateLimited. A request without
// credentials costs nothing to refuse, so it is never charged, and told what it lacks.
//
// What is being found out counts as if it had failed, once for all requests that show the
// same: who sends thousands of bad tokens at once must not have them all judged before the
// first is refused.
func (l *limiter) try(from source, shown credentials) (end func(), err error) {
	if l.failures == nil || shown == (credentials{}) {
		return func() {}, nil
	}
	if _, good := l.accepted.Get(shown); good {
		return func() {}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	others := len(l.trying[from])
	if l.trying[from][shown] > 0 {
		others--
	}
	if wait := l.failures.wait(from, others, l.now()); wait > 0 {
		l.limited.WithLabelValues(tooManyFailures).Inc()
		return nil, fault.WithRetryAfter(fmt.Errorf("too many requests from here failed to authenticate: %w", fault.RateLimited), wait)
	}
	if l.trying[from] == nil {
		l.trying[from] = make(map[credentials]int)
	}
	l.trying[from][shown]++
	return func() { l.tried(from, shown) }, nil
}

func (l *limiter) tried(from source, shown credentials) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trying[from][shown]--; l.trying[from][shown] == 0 {
		delete(l.trying[from], shown)
	}
	if len(l.trying[from]) == 0 {
		delete(l.trying, from)
	}
}

// refused notes that credentials proved to be none.
func (l *limiter) refused(from source, shown credentials) {
	if l.failures == nil || shown == (credentials{}) {
		return
	}
	l.accepted.Remove(shown)
	l.failures.take(from, l.now())
}

// known notes that credentials were good.
func (l *limiter) known(shown credentials) {
	if l.failures == nil || shown == (credentials{}) {
		return
	}
	if _, noted := l.accepted.Get(shown); !noted {
		l.accepted.Add(shown, struct{}{}, acceptedFor)
	}
}

// admit tells whether a known caller may send one more request. The error wraps
// fault.RateLimited.
func (l *limiter) admit(name string) error {
	wait, taken := l.clients.take(name, l.now())
	if taken {
		return nil
	}
	l.limited.WithLabelValues(tooManyRequests).Inc()
	return fault.WithRetryAfter(fmt.Errorf("this client sends more requests than it may: %w", fault.RateLimited), wait)
}

// buckets are token buckets by key. When there are too many, the ones go that were not used
// for longest; who comes back later finds a full one.
type buckets struct {
	limit rate.Limit
	burst int

	mu   sync.Mutex
	kept *lru.Cache
}

// newBuckets returns nil for a limit of 0, which limits nobody.
func newBuckets(limit rate.Limit, burst, most int) *buckets {
	if limit <= 0 {
		return nil
	}
	return &buckets{limit: limit, burst: burst, kept: lru.New(most)}
}

func (b *buckets) of(key any) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if found, ok := b.kept.Get(key); ok {
		return found.(*rate.Limiter)
	}
	fresh := rate.NewLimiter(b.limit, b.burst)
	b.kept.Add(key, fresh)
	return fresh
}

// take takes a token, or says how long it is until there is one.
func (b *buckets) take(key any, now time.Time) (wait time.Duration, taken bool) {
	if b == nil {
		return 0, true
	}
	bucket := b.of(key)
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	return b.until(bucket, 1, now), false
}

// wait says how long it is until there is a token besides some others, and takes none.
func (b *buckets) wait(key any, others int, now time.Time) time.Duration {
	return b.until(b.of(key), others+1, now)
}

func (b *buckets) until(bucket *rate.Limiter, tokens int, now time.Time) time.Duration {
	missing := float64(tokens) - bucket.TokensAt(now)
	return max(0, time.Duration(missing/float64(b.limit)*float64(time.Second)))
}
