package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/pkg/rest"
)

// house is a server without connections, whose apiserver and clock are ours.
type house struct {
	t       testing.TB
	handler http.Handler
	limited *prometheus.CounterVec

	mu      sync.Mutex
	now     time.Time
	reviews []string // tokens and access reviews that the apiserver was asked about
}

// newHouse returns a house. Its apiserver knows tokens that begin with "good", each the one
// of a user of its own name. A user may do all but DELETE.
func newHouse(t testing.TB, l RateLimits, change func(*Parts)) *house {
	t.Helper()
	h := &house{t: t, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	clients := fake.NewClientset()
	note := func(what string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.reviews = append(h.reviews, what)
	}
	clients.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, kuberuntime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		note(review.Spec.Token)
		if strings.HasPrefix(review.Spec.Token, "good") {
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"o2ims"}, User: authenticationv1.UserInfo{
				Username: "user-of-" + review.Spec.Token, Groups: []string{"system:authenticated", "o2ims-admin", "o2ims-reader", "o2ims-strangers"}}}
		}
		return true, review, nil
	})
	clients.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, kuberuntime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		note("access of " + review.Spec.User)
		review.Status.Allowed = review.Spec.NonResourceAttributes.Verb != "delete"
		return true, review, nil
	})
	registry := prometheus.NewRegistry()
	p := Parts{
		Mounts: []Mount{{Prefix: prefix, Alias: alias, Routes: testRoutes}}, Metrics: registry,
		Secrets: fake.NewClientset().CoreV1().Secrets("o2ims"), Now: h.time,
		Gate: auth.NewGate(auth.NewTokenReviews(clients.AuthenticationV1().TokenReviews(), []string{"o2ims"}, clock(h.time)),
			auth.NewAuthorizer(clients.AuthorizationV1().SubjectAccessReviews(), clock(h.time)), registry),
	}
	if change != nil {
		change(&p)
	}
	s, err := New(Options{BindAddress: "127.0.0.1", CertSecret: "o2ims-serving-cert", Limits: l}, p)
	if err != nil {
		t.Fatal(err)
	}
	h.handler, h.limited = s.Handler(), s.limits.limited
	return h
}

func (h *house) time() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *house) asked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.reviews)
}

func (h *house) counted(reason string) float64 {
	var m dto.Metric
	if err := h.limited.WithLabelValues(reason).Write(&m); err != nil {
		h.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// get sends a GET with a token, "" for none, from an address. headers are names and values.
func (h *house) get(token, from string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, prefix+"/v1/things", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(from), 4711).String()
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

// want sends a GET and checks the status, and what is told of when to come back.
func (h *house) want(status int, retryAfter, token, from string, headers ...string) {
	h.t.Helper()
	w := h.get(token, from, headers...)
	if w.Code != status || w.Header().Get("Retry-After") != retryAfter {
		h.t.Errorf("%s from %s: %d, Retry-After %q, want %d, %q", token, from, w.Code, w.Header().Get("Retry-After"), status, retryAfter)
	}
	if w.Code < 400 {
		return
	}
	var p rest.ProblemDetails
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != status || w.Header().Get("Content-Type") != "application/problem+json" {
		h.t.Errorf("%s from %s: %s is no problem of status %d", token, from, w.Body, status)
	}
}

func TestClientLimit(t *testing.T) {
	h := newHouse(t, RateLimits{ClientQPS: 0.5, ClientBurst: 3}, nil)
	for range 3 {
		h.want(200, "", "good-a", "192.0.2.1")
	}
	before := h.asked()
	h.want(429, "2", "good-a", "192.0.2.1")
	h.want(429, "2", "good-a", "192.0.2.2") // the client is the same wherever it is
	if h.asked() != before {
		t.Errorf("the apiserver was asked %q for requests that were too many", h.reviews[before:])
	}
	h.want(200, "", "good-b", "192.0.2.1") // another client pays for itself
	h.pass(1500 * time.Millisecond)
	h.want(429, "1", "good-a", "192.0.2.1")
	h.pass(500 * time.Millisecond)
	h.want(200, "", "good-a", "192.0.2.1")
	h.want(429, "2", "good-a", "192.0.2.1")
	h.pass(time.Hour)
	for range 3 { // and not 1800
		h.want(200, "", "good-a", "192.0.2.1")
	}
	h.want(429, "2", "good-a", "192.0.2.1")
	if got := h.counted(tooManyRequests); got != 5 {
		t.Errorf("o2ims_http_rate_limited_total{reason=%q} = %v, want 5", tooManyRequests, got)
	}
}

// Alertmanager drops what a webhook answers 429, so it is told to come back in other words.
func TestLimitsOfAnIntake(t *testing.T) {
	h := newHouse(t, RateLimits{ClientQPS: 0.5, ClientBurst: 1, AuthFailuresPerMinute: 3}, func(p *Parts) { p.Mounts[0].Retries5xxOnly = true })
	h.want(200, "", "good", "192.0.2.1")
	h.want(503, "2", "good", "192.0.2.1")
	for i := range 3 {
		h.want(401, "", fmt.Sprintf("bad-%d", i), "192.0.2.1")
	}
	h.want(503, "20", "good-new", "192.0.2.1") // after a rotation, behind the address of somebody else
	h.pass(20 * time.Second)
	h.want(200, "", "good-new", "192.0.2.1")
	if got := h.counted(tooManyRequests) + h.counted(tooManyFailures); got != 2 {
		t.Errorf("o2ims_http_rate_limited_total = %v, want 2", got)
	}
}

// A client that may do nothing must not cost an access review for each of the paths that it
// makes up.
func TestForbiddenRequestsCountToo(t *testing.T) {
	h := newHouse(t, RateLimits{ClientQPS: 1, ClientBurst: 2}, nil)
	statuses := ""
	for i := range 4 {
		r := httptest.NewRequest(http.MethodDelete, fmt.Sprintf("%s/v1/things/%d", prefix, i), nil)
		r.Header.Set("Authorization", "Bearer good")
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		statuses += fmt.Sprint(w.Code, " ")
	}
	if statuses != "403 403 429 429 " {
		t.Errorf("answers %s, want two 403, then 429", statuses)
	}
	if len(h.reviews) != 3 {
		t.Errorf("the apiserver was asked %q, want one token and two accesses", h.reviews)
	}
}

func TestFailureLimit(t *testing.T) {
	h := newHouse(t, RateLimits{AuthFailuresPerMinute: 3}, nil)
	h.want(200, "", "good-old", "192.0.2.1")
	for i := range 3 {
		h.want(401, "", fmt.Sprintf("bad-%d", i), "192.0.2.1")
	}
	before := h.asked()
	for i := range 5 {
		h.want(429, "20", fmt.Sprintf("worse-%d", i), "192.0.2.1")
	}
	h.want(429, "20", "bad-0", "192.0.2.1")
	if h.asked() != before {
		t.Errorf("the apiserver was asked about %q although the address had failed too often", h.reviews[before:])
	}
	h.want(200, "", "good-old", "192.0.2.1") // was good before: it is somebody else behind that address
	h.want(401, "", "", "192.0.2.1")         // costs nothing, so it is told what is missing
	h.want(401, "", "bad-9", "192.0.2.2")    // another address
	h.want(200, "", "good-new", "192.0.2.3")
	h.want(429, "20", "good-newer", "192.0.2.1")
	h.pass(20 * time.Second)
	h.want(200, "", "good-newer", "192.0.2.1") // success is not charged
	h.want(401, "", "bad-3", "192.0.2.1")
	h.want(429, "20", "bad-4", "192.0.2.1")
	if got := h.counted(tooManyFailures); got != 8 {
		t.Errorf("o2ims_http_rate_limited_total{reason=%q} = %v, want 8", tooManyFailures, got)
	}
	for range 100 {
		h.want(401, "", "", "192.0.2.4")
	}
	h.want(401, "", "bad", "192.0.2.4")
}

// What was good and is not any more is charged like any other.
func TestRevokedTokensAreNotLetThrough(t *testing.T) {
	h := newHouse(t, RateLimits{AuthFailuresPerMinute: 1}, nil)
	l := newLimiter(RateLimits{AuthFailuresPerMinute: 1}, h.time, prometheus.NewRegistry())
	shown, from := credentials{1}, source{network: netip.MustParsePrefix("192.0.2.1/32")}
	l.known(shown)
	l.refused(from, credentials{2})
	if _, err := l.try(from, shown); err != nil {
		t.Errorf("good credentials are refused: %v", err)
	}
	l.refused(from, shown) // revoked
	if _, err := l.try(from, shown); err == nil {
		t.Error("credentials that were refused pass because they were good once")
	}
	l.known(credentials{3})
	h.pass(acceptedFor + time.Second)
	l.refused(from, credentials{2})
	if _, err := l.try(from, credentials{3}); err == nil {
		t.Error("credentials pass that nobody has looked at for long")
	}
}

// Credentials that are sent all at once are not all judged before the first is refused.
func TestFailuresUnderWayCount(t *testing.T) {
	h := newHouse(t, RateLimits{}, nil)
	l := newLimiter(RateLimits{AuthFailuresPerMinute: 2}, h.time, prometheus.NewRegistry())
	from := source{network: netip.MustParsePrefix("192.0.2.1/32")}
	try := func(from source, shown byte, want bool) func() {
		t.Helper()
		end, err := l.try(from, credentials{shown})
		if (err == nil) != want {
			t.Errorf("credentials %d: %v, want a try: %t", shown, err, want)
		}
		return end
	}
	l.known(credentials{9})
	first, again, second := try(from, 1, true), try(from, 1, true), try(from, 2, true)
	try(from, 1, true)() // what is being found out already costs nothing more
	try(from, 3, false)
	try(from, 9, true)()
	try(source{network: netip.MustParsePrefix("192.0.2.2/32")}, 3, true)()
	l.refused(from, credentials{2})
	second()
	try(from, 3, false) // one failed, one is under way
	l.known(credentials{1})
	first()
	again()
	try(from, 3, true)()
	if len(l.trying) != 0 {
		t.Errorf("%d addresses are kept although nothing is under way", len(l.trying))
	}
}

func TestFailuresBehindAProxy(t *testing.T) {
	proxy := netip.MustParsePrefix("198.51.100.0/24")
	h := newHouse(t, RateLimits{AuthFailuresPerMinute: 1}, func(p *Parts) { p.TrustedProxy = proxy.Contains })
	const xff = "X-Forwarded-For"
	h.want(401, "", "bad-1", "198.51.100.1", xff, "203.0.113.5")
	h.want(429, "60", "bad-2", "198.51.100.1", xff, "203.0.113.5")
	h.want(429, "60", "bad-2", "198.51.100.2", xff, "203.0.113.5")                           // by another of the proxies
	h.want(429, "60", "bad-2", "198.51.100.2", xff, "192.0.2.77, 203.0.113.5, 198.51.100.1") // made up before it, and through two
	h.want(200, "", "good-1", "198.51.100.1", xff, "203.0.113.6")                            // another client of the proxy
	h.want(401, "", "bad-3", "203.0.113.7", xff, "203.0.113.5")                              // not a proxy: what it says is not believed
	h.want(429, "60", "bad-4", "203.0.113.7", xff, "203.0.113.8")

	// A proxy that does not say who it is: each token is charged for itself.
	h.want(401, "", "bad-5", "198.51.100.9")
	h.want(429, "60", "bad-5", "198.51.100.9")
	h.want(401, "", "bad-6", "198.51.100.9")
	h.want(200, "", "good-2", "198.51.100.9")
	h.want(429, "60", "bad-6", "198.51.100.9", xff, "unknown")
}

func TestNoLimits(t *testing.T) {
	h := newHouse(t, RateLimits{}, nil)
	for i := range 3000 {
		if w := h.get("good", "192.0.2.1"); w.Code != 200 {
			t.Fatalf("request %d: %d", i, w.Code)
		}
		if w := h.get("bad", "192.0.2.1"); w.Code != 401 {
			t.Fatalf("failure %d: %d", i, w.Code)
		}
	}
}

// However many addresses a stranger has, what is kept of them is bounded.
func TestBucketsAreBounded(t *testing.T) {
	b := newBuckets(1, 1, 10)
	now := time.Now()
	for i := range 1000 {
		b.take(i, now)
	}
	if b.kept.Len() != 10 {
		t.Errorf("%d buckets are kept, want 10", b.kept.Len())
	}
	if _, taken := b.take(999, now); taken {
		t.Error("a bucket that was just used is forgotten")
	}
	if _, taken := b.take(0, now); !taken {
		t.Error("a bucket that went is not full again")
	}
}

func TestSourceOf(t *testing.T) {
	shown := credentials{1}
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1", true}, // one host may have all of them
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		a := sourceOf(origin{client: netip.MustParseAddr(tc.a)}, shown)
		b := sourceOf(origin{client: netip.MustParseAddr(tc.b)}, credentials{2})
		if (a == b) != tc.same {
			t.Errorf("%s and %s are charged as one: %t, want %t", tc.a, tc.b, a == b, tc.same)
		}
	}
	proxy := origin{client: netip.MustParseAddr("192.0.2.1"), shared: true}
	if sourceOf(proxy, shown) == sourceOf(proxy, credentials{2}) {
		t.Error("behind a proxy, one client is charged for another's token")
	}
}

func TestRateLimitsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		limits RateLimits
		faults int
	}{
		{RateLimits{}, 0},
		{RateLimits{ClientQPS: 0.1, ClientBurst: 1, AuthFailuresPerMinute: 1}, 0},
		{RateLimits{ClientQPS: 1}, 1},
		{RateLimits{ClientQPS: -1, AuthFailuresPerMinute: -1}, 2},
	} {
		faults := 0
		if err := tc.limits.Validate(); err != nil {
			faults = len(err.(interface{ Unwrap() []error }).Unwrap())
		}
		if faults != tc.faults {
			t.Errorf("%+v: %d faults, want %d", tc.limits, faults, tc.faults)
		}
	}
}

// TestTokensOfIssuersAreNotLockedOut checks that a stranger who spends an address leaves room
// for those behind it whose tokens are judged without asking anybody.
func TestTokensOfIssuersAreNotLockedOut(t *testing.T) {
	var issuer *authtest.Issuer
	h := newHouse(t, RateLimits{AuthFailuresPerMinute: 2}, func(p *Parts) {
		issuer = authtest.Start(t, p.Now)
		reviews := fake.NewClientset()
		reviews.PrependReactor("create", "tokenreviews", func(clienttesting.Action) (bool, kuberuntime.Object, error) {
			return true, &authenticationv1.TokenReview{}, nil
		})
		callers := auth.NewCallers(auth.NewTokenReviews(reviews.AuthenticationV1().TokenReviews(), []string{"o2ims"}, clock(p.Now)), clock(p.Now), prometheus.NewRegistry())
		err := callers.Configure(auth.Config{Transport: authtest.Transport, Issuers: []auth.Issuer{{URL: issuer.URL, Audiences: []string{"o2ims"}, CABundle: issuer.CABundle()}}})
		if err != nil {
			t.Fatal(err)
		}
		access := fake.NewClientset()
		access.PrependReactor("create", "subjectaccessreviews", func(clienttesting.Action) (bool, kuberuntime.Object, error) {
			return true, &authorizationv1.SubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: true}}, nil
		})
		p.Gate = auth.NewGate(callers, auth.NewAuthorizer(access.AuthorizationV1().SubjectAccessReviews(), clock(p.Now)), prometheus.NewRegistry())
	})
	const address = "192.0.2.7"
	for _, bad := range []string{"bad-1", "bad-2"} {
		h.want(http.StatusUnauthorized, "", bad, address)
	}
	h.want(http.StatusTooManyRequests, "30", "bad-3", address)
	h.want(http.StatusOK, "", issuer.Token(issuer.Claims()), address)
	h.want(http.StatusUnauthorized, "", issuer.Token(issuer.Claims(), authtest.ForeignKey()), address)
}
