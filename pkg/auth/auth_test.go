package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

// apiserver answers reviews as an apiserver with these tokens and permissions does.
type apiserver struct {
	mu       sync.Mutex
	tokens   map[string]authenticationv1.TokenReviewStatus
	allowed  map[string]bool // "user verb path"
	down     error
	asked    []string      // tokens and questions, in order
	gate     chan struct{} // when set, reviews wait for it
	arrivals chan struct{} // when set, told of each review
	clients  *fake.Clientset
}

func newAPIServer() *apiserver {
	s := &apiserver{tokens: make(map[string]authenticationv1.TokenReviewStatus), allowed: make(map[string]bool), clients: fake.NewClientset()}
	s.clients.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		if s.arrivals != nil {
			s.arrivals <- struct{}{}
		}
		if s.gate != nil {
			<-s.gate
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, review.Spec.Token)
		review.Status = s.tokens[review.Spec.Token]
		return true, review, s.down
	})
	s.clients.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		s.mu.Lock()
		defer s.mu.Unlock()
		question := review.Spec.User + " " + review.Spec.NonResourceAttributes.Verb + " " + review.Spec.NonResourceAttributes.Path
		s.asked = append(s.asked, question)
		review.Status.Allowed = s.allowed[question]
		return true, review, s.down
	})
	return s
}

func (s *apiserver) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func (s *apiserver) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func known(name string, audiences ...string) authenticationv1.TokenReviewStatus {
	return authenticationv1.TokenReviewStatus{
		Authenticated: true, Audiences: audiences,
		User: authenticationv1.UserInfo{Username: name, UID: "uid-" + name, Groups: []string{"system:authenticated"},
			Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}}},
	}
}

type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *fakeClock { return &fakeClock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func jwt(payload string) string {
	b := base64.RawURLEncoding.EncodeToString
	return b([]byte(`{"alg":"none"}`)) + "." + b([]byte(payload)) + "." + b([]byte("signature"))
}

func TestTokenReviews(t *testing.T) {
	server := newAPIServer()
	server.tokens["good"] = known("ann", "other", "o2ims")
	server.tokens["for another"] = known("ann", "https://kubernetes.default.svc")
	server.tokens["not aware of audiences"] = known("ann")
	server.tokens["nameless"] = known("", "o2ims")
	for _, tc := range []struct {
		token string
		down  error
		want  error
	}{
		{"good", nil, nil},
		{"for another", nil, fault.Unauthenticated},
		{"not aware of audiences", nil, fault.Unauthenticated},
		{"nameless", nil, fault.Unauthenticated},
		{"unknown", nil, fault.Unauthenticated},
		{"good", errors.New("connection refused"), fault.Unavailable},
	} {
		t.Run(tc.token, func(t *testing.T) {
			server.setDown(tc.down)
			reviews := NewTokenReviews(server.clients.AuthenticationV1().TokenReviews(), []string{"o2ims"}, newClock())
			id, err := reviews.Authenticate(t.Context(), Credentials{Token: tc.token})
			if !errors.Is(err, tc.want) || (tc.want == nil) != (err == nil) {
				t.Fatalf("error = %v, want %v", err, tc.want)
			}
			if err == nil && (id.Name != "ann" || !slices.Equal(id.Groups, []string{"system:authenticated"}) || id.Extra["k"][0] != "v") {
				t.Errorf("identity = %+v", id)
			}
			if err != nil && id.Name != "" {
				t.Errorf("identity = %+v beside an error", id)
			}
		})
	}
}

// TestTokenReviewsCache follows the answers of the apiserver through time.
func TestTokenReviewsCache(t *testing.T) {
	server, clock := newAPIServer(), newClock()
	server.tokens["good"] = known("ann", "o2ims")
	reviews := NewTokenReviews(server.clients.AuthenticationV1().TokenReviews(), []string{"o2ims"}, clock)

	for _, step := range []struct {
		story string
		pass  time.Duration
		token string
		down  error
		asks  bool
		want  error
	}{
		{"first time", 0, "good", nil, true, nil},
		{"within a minute", 59 * time.Second, "good", nil, false, nil},
		{"though the apiserver is away", 0, "good", errors.New("refused"), false, nil},
		{"after a minute", 2 * time.Second, "good", errors.New("refused"), true, fault.Unavailable},
		{"trouble is not remembered", 0, "good", nil, true, nil},
		{"a bad token", 0, "bad", nil, true, fault.Unauthenticated},
		{"is remembered", 9 * time.Second, "bad", nil, false, fault.Unauthenticated},
		{"for ten seconds", 2 * time.Second, "bad", nil, true, fault.Unauthenticated},
	} {
		clock.pass(step.pass)
		server.setDown(step.down)
		before := server.questions()
		_, err := reviews.Authenticate(t.Context(), Credentials{Token: step.token})
		if asked := server.questions() > before; asked != step.asks {
			t.Errorf("%s: apiserver asked: %t, want %t", step.story, asked, step.asks)
		}
		if !errors.Is(err, step.want) || (step.want == nil) != (err == nil) {
			t.Errorf("%s: error = %v, want %v", step.story, err, step.want)
		}
	}
}

func TestTokenIsNotBelievedBeyondItsEnd(t *testing.T) {
	server, clock := newAPIServer(), newClock()
	ending := jwt(fmt.Sprintf(`{"exp":%d}`, clock.now.Add(20*time.Second).Unix()))
	server.tokens[ending] = known("ann", "o2ims")
	reviews := NewTokenReviews(server.clients.AuthenticationV1().TokenReviews(), []string{"o2ims"}, clock)
	if _, err := reviews.Authenticate(t.Context(), Credentials{Token: ending}); err != nil {
		t.Fatal(err)
	}
	delete(server.tokens, ending)
	clock.pass(21 * time.Second)
	if _, err := reviews.Authenticate(t.Context(), Credentials{Token: ending}); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("after its end: %v, want %v", err, fault.Unauthenticated)
	}
}

// TestTokenReviewsShareAQuestion checks that requests that come together ask once, and
// that one of them going away does not harm the others.
func TestTokenReviewsShareAQuestion(t *testing.T) {
	server := newAPIServer()
	server.tokens["good"] = known("ann", "o2ims")
	server.gate, server.arrivals = make(chan struct{}), make(chan struct{}, 10)
	reviews := NewTokenReviews(server.clients.AuthenticationV1().TokenReviews(), []string{"o2ims"}, newClock())

	leaving, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := reviews.Authenticate(leaving, Credentials{Token: "good"})
		first <- err
	}()
	<-server.arrivals
	leave()
	if err := <-first; !errors.Is(err, fault.Unavailable) {
		t.Errorf("the one that left: %v, want %v", err, fault.Unavailable)
	}
	second := make(chan error, 1)
	go func() {
		_, err := reviews.Authenticate(t.Context(), Credentials{Token: "good"})
		second <- err
	}()
	close(server.gate)
	if err := <-second; err != nil {
		t.Errorf("the one that stayed: %v", err)
	}
	if n := server.questions(); n > 2 {
		t.Errorf("the apiserver was asked %d times", n)
	}
}

func TestAuthorizer(t *testing.T) {
	server, clock := newAPIServer(), newClock()
	server.allowed["ann get /a"] = true
	authorizer := NewAuthorizer(server.clients.AuthorizationV1().SubjectAccessReviews(), clock)
	as := func(id Identity) context.Context { return WithIdentity(t.Context(), id) }
	ann, bob := as(Identity{Name: "ann"}), as(Identity{Name: "bob"})
	annInGroup := as(Identity{Name: "ann", Groups: []string{"o2ims-reader"}})

	for _, step := range []struct {
		story      string
		pass       time.Duration
		ctx        context.Context
		verb, path string
		down       error
		asks, want bool
		wantErr    error
	}{
		{"allowed", 0, ann, "get", "/a", nil, true, true, nil},
		{"remembered", 59 * time.Second, ann, "get", "/a", nil, false, true, nil},
		{"not for another verb", 0, ann, "create", "/a", nil, true, false, nil},
		{"not for another path", 0, ann, "get", "/b", nil, true, false, nil},
		{"not for another user", 0, bob, "get", "/a", nil, true, false, nil},
		{"not for another group", 0, annInGroup, "get", "/a", nil, true, true, nil},
		{"for a minute", 2 * time.Second, ann, "get", "/a", nil, true, true, nil},
		{"denial remembered", 7 * time.Second, bob, "get", "/a", nil, false, false, nil},
		{"for ten seconds", 4 * time.Second, bob, "get", "/a", nil, true, false, nil},
		{"apiserver away", time.Hour, ann, "get", "/a", errors.New("refused"), true, false, fault.Unavailable},
		{"nobody", 0, t.Context(), "get", "/a", nil, false, false, fault.Unauthenticated},
	} {
		clock.pass(step.pass)
		server.setDown(step.down)
		before := server.questions()
		got, err := authorizer.Allowed(step.ctx, step.verb, step.path)
		if asked := server.questions() > before; asked != step.asks {
			t.Errorf("%s: apiserver asked: %t, want %t", step.story, asked, step.asks)
		}
		if got != step.want || !errors.Is(err, step.wantErr) || (step.wantErr == nil) != (err == nil) {
			t.Errorf("%s: %t, %v, want %t, %v", step.story, got, err, step.want, step.wantErr)
		}
	}
}

func value(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func TestGate(t *testing.T) {
	server := newAPIServer()
	server.tokens["good"] = known("ann", "o2ims")
	server.allowed["ann get /a"] = true
	server.allowed["ann create /a"] = true
	for _, tc := range []struct {
		name, method, path string
		headers            []string
		down               error
		want               error
		counted            string // type of the failure; empty: none
	}{
		{"get", "GET", "/a", []string{"Bearer good"}, nil, nil, ""},
		{"scheme in lower case", "GET", "/a", []string{"bearer good"}, nil, nil, ""},
		{"head is get", "HEAD", "/a", []string{"Bearer good"}, nil, nil, ""},
		{"post is create", "POST", "/a", []string{"Bearer good"}, nil, nil, ""},
		{"no token", "GET", "/a", nil, nil, fault.Unauthenticated, "authentication"},
		{"basic", "GET", "/a", []string{"Basic Z29vZA=="}, nil, fault.Unauthenticated, "authentication"},
		{"empty token", "GET", "/a", []string{"Bearer "}, nil, fault.Unauthenticated, "authentication"},
		{"two headers", "GET", "/a", []string{"Bearer good", "Bearer good"}, nil, fault.Unauthenticated, "authentication"},
		{"bad token", "GET", "/a", []string{"Bearer bad"}, nil, fault.Unauthenticated, "authentication"},
		{"giant token", "GET", "/a", []string{"Bearer " + strings.Repeat("x", 1<<20)}, nil, fault.Unauthenticated, "authentication"},
		{"delete", "DELETE", "/a", []string{"Bearer good"}, nil, fault.Forbidden, "authorization"},
		{"another path", "GET", "/b", []string{"Bearer good"}, nil, fault.Forbidden, "authorization"},
		{"apiserver away", "GET", "/a", []string{"Bearer good"}, errors.New("refused"), fault.Unavailable, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server.setDown(tc.down)
			registry := prometheus.NewRegistry()
			gate := NewGate(
				NewTokenReviews(server.clients.AuthenticationV1().TokenReviews(), []string{"o2ims"}, newClock()),
				NewAuthorizer(server.clients.AuthorizationV1().SubjectAccessReviews(), newClock()), registry)
			r := httptest.NewRequest(tc.method, tc.path, nil)
			r.Header["Authorization"] = tc.headers
			ctx, err := gate.Admit(r, tc.method, "/template")
			if !errors.Is(err, tc.want) || (tc.want == nil) != (err == nil) {
				t.Fatalf("Admit = %v, want %v", err, tc.want)
			}
			if err == nil {
				if id, _ := IdentityOf(ctx); id.Name != "ann" {
					t.Errorf("identity = %+v, want ann", id)
				}
			}
			for _, kind := range []string{"authentication", "authorization"} {
				want := 0.0
				if kind == tc.counted {
					want = 1
				}
				if got := value(t, gate.failures.WithLabelValues(kind, tc.method, "/template")); got != want {
					t.Errorf("o2ims_auth_failures_total{type=%s} = %v, want %v", kind, got, want)
				}
			}
		})
	}
}

// named authenticates everybody as its own name.
type named string

func (n named) Authenticate(context.Context, Credentials) (Identity, error) {
	return Identity{Name: string(n)}, nil
}

func TestByIssuer(t *testing.T) {
	b := ByIssuer{Issuers: map[string]Authenticator{"https://idp.example": named("idp")}, Default: named("cluster")}
	for token, want := range map[string]string{
		jwt(`{"iss":"https://idp.example"}`):        "idp",
		jwt(`{"iss":"https://idp.example/"}`):       "cluster",
		jwt(`{"iss":["https://idp.example"]}`):      "cluster",
		jwt(`{"iss":"https://kubernetes.default"}`): "cluster",
		jwt(`not json`): "cluster",
		"opaque":        "cluster",
		"a.b.c":         "cluster",
		"":              "cluster",
	} {
		id, err := b.Authenticate(t.Context(), Credentials{Token: token})
		if err != nil || id.Name != want {
			t.Errorf("%s: authenticated by %q (%v), want %q", token, id.Name, err, want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		audiences []string
		valid     bool
	}{{[]string{"o2ims"}, true}, {nil, false}, {[]string{"o2ims", " "}, false}} {
		o := Options{Audiences: tc.audiences}
		if err := o.Validate(); (err == nil) != tc.valid {
			t.Errorf("Validate(%q) = %v, want valid: %t", tc.audiences, err, tc.valid)
		}
	}
}

func FuzzUnverified(f *testing.F) {
	f.Add(jwt(`{"iss":"https://idp.example","exp":1e99}`))
	f.Add("a.b.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		c, ok := unverified(token)
		if !ok {
			return
		}
		reviews := TokenReviews{clock: newClock()}
		if d := reviews.believe(token); d > acceptedFor {
			t.Errorf("a token with exp %v is believed for %v", c.Expires, d)
		}
	})
}
