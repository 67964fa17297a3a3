package auth

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/pkg/fault"
)

// world has an issuer, an apiserver, and callers that know both.
type world struct {
	clock   *fakeClock
	server  *apiserver
	issuer  *authtest.Issuer
	ca      *authtest.CA
	config  Config
	callers *Callers
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{clock: newClock(), server: newAPIServer()}
	w.issuer = authtest.Start(t, w.clock.Now)
	w.ca = authtest.NewCA(t, "clients", w.clock.Now)
	w.config = Config{Issuers: []Issuer{w.settings()}, Transport: authtest.Transport}
	for _, c := range change {
		c(&w.config)
	}
	reviews := NewTokenReviews(w.server.clients.AuthenticationV1().TokenReviews(), []string{"o2ims"}, w.clock)
	w.callers = NewCallers(reviews, w.clock, prometheus.NewRegistry())
	w.configure(t)
	return w
}

func (w *world) settings() Issuer {
	return Issuer{URL: w.issuer.URL, Audiences: []string{authtest.Audience}, CABundle: w.issuer.CABundle()}
}

func (w *world) configure(t testing.TB) {
	t.Helper()
	if err := w.callers.Configure(w.config); err != nil {
		t.Fatal(err)
	}
}

func (w *world) show(t testing.TB, token string) (Identity, error) {
	return w.callers.Authenticate(t.Context(), Credentials{Token: token})
}

// keySets is how often the issuer was asked for its keys.
func (w *world) keySets() int {
	_, keySets := w.issuer.Asked()
	return keySets
}

// expect checks that err is of a kind; nil: there is none.
func expect(t testing.TB, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) || (kind == nil) != (err == nil) {
		t.Errorf("%s: error = %v, want %v", what, err, kind)
	}
}

func TestIdentity(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Issuers[0].GroupsClaim = "realm_access.roles"
		c.Issuers[0].RoleNames = map[string]string{"o-cloud-operator": RoleMaintainer}
	})
	plain := w.issuer.Claims().Without("roles")
	name := w.issuer.URL + "#ann"
	for _, tc := range []struct {
		name   string
		claims authtest.Claims
		want   Identity
	}{
		{"without roles", plain, Identity{Name: name, Client: "smo"}},
		{"azp", plain.Without("client_id").With("azp", "portal"), Identity{Name: name, Client: "portal"}},
		{"client_id before azp", plain.With("azp", "portal"), Identity{Name: name, Client: "smo"}},
		{"neither", plain.Without("client_id"), Identity{Name: name}},
		{"nested roles", plain.With("realm_access", map[string]any{"roles": []string{"o2ims-reader", "offline_access"}}),
			Identity{Name: name, Client: "smo", Groups: []string{RoleReader}}},
		{"claim whose name has dots", plain.With("realm_access.roles", "o2ims-admin").With("realm_access", map[string]any{"roles": "o2ims-reader"}),
			Identity{Name: name, Client: "smo", Groups: []string{RoleAdmin}}},
		{"in one text, translated, twice", plain.With("realm_access.roles", "o-cloud-operator  o2ims-reader o2ims-maintainer"),
			Identity{Name: name, Client: "smo", Groups: []string{RoleMaintainer, RoleReader}}},
		{"by scope", plain.With("scope", "openid role:o2ims-deployer role:o-cloud-operator role:root"),
			Identity{Name: name, Client: "smo", Groups: []string{RoleDeployer, RoleMaintainer}, Scopes: []string{"openid", "role:o2ims-deployer", "role:o-cloud-operator", "role:root"}}},
		{"not ours to believe", plain.With("groups", []string{"system:masters"}).With("realm_access.roles", []any{"system:masters", "cluster-admin", "O2IMS-ADMIN", " o2ims-admin", "o2ims-admin2", 7, nil, []string{"o2ims-admin"}, map[string]any{"o2ims-admin": true}}),
			Identity{Name: name, Client: "smo"}},
		{"roles that are no list", plain.With("realm_access", map[string]any{"roles": map[string]any{"o2ims-admin": true}}), Identity{Name: name, Client: "smo"}},
		{"roles below a text", plain.With("realm_access", "o2ims-admin"), Identity{Name: name, Client: "smo"}},
		{"name in other letters", plain.With("sub", "ангелина o'neil"), Identity{Name: w.issuer.URL + "#ангелина o'neil", Client: "smo"}},
		{"name of the longest kind", plain.With("sub", strings.Repeat("a", 256)), Identity{Name: w.issuer.URL + "#" + strings.Repeat("a", 256), Client: "smo"}},
		{"name of Kubernetes' kind", plain.With("sub", "system:admin"), Identity{Name: w.issuer.URL + "#system:admin", Client: "smo"}},
		{"one of several audiences", plain.With("aud", []string{"other", "o2ims"}), Identity{Name: name, Client: "smo"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.want.Issuer = w.issuer.URL
			tc.want.Groups = append(tc.want.Groups, authenticatedGroup)
			got, err := w.show(t, w.issuer.Token(tc.claims))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("identity = %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestUsernameClaimAndPrefix(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Issuers[0].UsernameClaim = "user.name"
		c.Issuers[0].UsernamePrefix = "s"
	})
	named := func(name any) string {
		return w.issuer.Token(w.issuer.Claims().With("user", map[string]any{"name": name}))
	}
	id, err := w.show(t, named("ann"))
	if err != nil || id.Name != "sann" {
		t.Errorf("user name = %q (%v), want %q", id.Name, err, "sann")
	}
	for _, name := range []any{"ystem:masters", "ystem:"} {
		_, err = w.show(t, named(name))
		expect(t, "name that becomes one of Kubernetes' own", err, fault.Unauthenticated)
	}
	_, err = w.show(t, w.issuer.Token(w.issuer.Claims()))
	expect(t, "no such claim", err, fault.Unauthenticated)

	w.config.Issuers[0].UsernameClaim = "email"
	w.configure(t)
	mail := w.issuer.Claims().With("email", "ann@example.com")
	for _, tc := range []struct {
		verified any // nil: not said
		want     error
	}{{nil, nil}, {true, nil}, {false, fault.Unauthenticated}, {"true", fault.Unauthenticated}, {[]int{1}, fault.Unauthenticated}} {
		claims := mail
		if tc.verified != nil {
			claims = mail.With("email_verified", tc.verified)
		}
		_, err := w.show(t, w.issuer.Token(claims))
		expect(t, fmt.Sprintf("email_verified %v", tc.verified), err, tc.want)
	}
}

// TestNobodyIsAcceptedAtFirst checks that silence about whom to accept accepts nobody.
func TestNobodyIsAcceptedAtFirst(t *testing.T) {
	callers := NewCallers(named("cluster"), newClock(), prometheus.NewRegistry())
	_, err := callers.Authenticate(t.Context(), Credentials{Token: "opaque"})
	expect(t, "before Configure", err, fault.Unavailable)
	expect(t, "Configure", callers.Configure(Config{}), nil)
	_, err = callers.Authenticate(t.Context(), Credentials{Token: "opaque"})
	expect(t, "after Configure", err, nil)
}

// TestChoiceOfJudge checks that the issuer that a token names decides who judges it.
func TestChoiceOfJudge(t *testing.T) {
	w := newWorld(t)
	other := authtest.Start(t, w.clock.Now)
	w.server.tokens["opaque"] = known("system:serviceaccount:o2ims:smo", "o2ims")

	id, err := w.show(t, "opaque")
	if err != nil || id.Name != "system:serviceaccount:o2ims:smo" || id.Client != id.Name || id.Issuer != "" {
		t.Errorf("Kubernetes token: %+v, %v", id, err)
	}
	before := w.server.questions()
	_, err = w.show(t, other.Token(other.Claims()))
	expect(t, "issuer that is not configured", err, fault.Unauthenticated)
	if w.server.questions() != before+1 {
		t.Error("issuer that is not configured: the apiserver was not asked")
	}
	before = w.server.questions()
	_, err = w.show(t, other.Token(other.Claims().With("iss", w.issuer.URL)))
	expect(t, "another's token in the issuer's name", err, fault.Unauthenticated)
	if w.server.questions() != before {
		t.Error("token in a configured issuer's name: the apiserver was asked")
	}
	if discoveries, _ := other.Asked(); discoveries != 0 {
		t.Errorf("an issuer that is not configured was asked %d times", discoveries)
	}
}

// TestAnswersAreRemembered follows one token, and then the settings, through time.
func TestAnswersAreRemembered(t *testing.T) {
	w := newWorld(t)
	claims := w.issuer.Claims()
	token := w.issuer.Token(claims.With("exp", w.clock.Now().Add(150*time.Second).Unix()))
	for _, step := range []struct {
		story  string
		pass   time.Duration
		before func()
		cached bool
		want   error
	}{
		{"first time", 0, nil, false, nil},
		{"within a minute", 59 * time.Second, nil, true, nil},
		{"after a minute", 2 * time.Second, nil, false, nil},
		{"settings as before", time.Second, func() { w.configure(t) }, true, nil},
		{"other settings", time.Second, func() { w.config.Issuers[0].GroupsClaim = "groups"; w.configure(t) }, false, nil},
		{"for another audience", time.Second, func() { w.config.Issuers[0].Audiences = []string{"other"}; w.configure(t) }, false, fault.Unauthenticated},
		{"refusal", 9 * time.Second, nil, true, fault.Unauthenticated},
		{"refusal of the former settings", 0, func() { w.config.Issuers[0].Audiences = []string{"o2ims"}; w.configure(t) }, false, nil},
		{"shortly before its end", 76 * time.Second, nil, false, nil},
		{"at its end, believed no longer", 2 * time.Second, nil, false, nil}, // but within the leeway
		{"after its end and the leeway", 30 * time.Second, nil, false, fault.Unauthenticated},
		{"removed", 0, func() { w.config.Issuers = nil; w.configure(t) }, false, fault.Unauthenticated},
	} {
		w.clock.pass(step.pass)
		if step.before != nil {
			step.before()
		}
		before := value(t, w.callers.metrics.cached)
		_, err := w.show(t, token)
		expect(t, step.story, err, step.want)
		if cached := value(t, w.callers.metrics.cached) > before; cached != step.cached {
			t.Errorf("%s: answered from memory: %t, want %t", step.story, cached, step.cached)
		}
	}
	if n := w.server.questions(); n != 1 {
		t.Errorf("the apiserver was asked %d times, want 1: after the issuer was removed", n)
	}
}

func TestIssuersTellTheirState(t *testing.T) {
	w := newWorld(t)
	away := authtest.Start(t, w.clock.Now)
	w.config.Issuers = append(w.config.Issuers, Issuer{URL: away.URL, Audiences: []string{"o2ims"}, CABundle: w.ca.PEM()}) // which did not sign the issuer
	w.configure(t)
	for _, s := range w.callers.Issuers() {
		if s.Err != nil || !s.KeysAt.IsZero() {
			t.Errorf("before anybody asked: %+v", s)
		}
	}
	expect(t, "Refresh", w.callers.Refresh(t.Context()), fault.Unavailable)
	states := w.callers.Issuers()
	if !slices.IsSortedFunc(states, func(a, b IssuerStatus) int { return strings.Compare(a.URL, b.URL) }) || len(states) != 2 {
		t.Fatalf("issuers = %+v", states)
	}
	for _, s := range states {
		if good := s.URL == w.issuer.URL; (s.Err == nil) != good || s.KeysAt.IsZero() == good {
			t.Errorf("state = %+v, want good: %t", s, good)
		}
	}
}
