package auth

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	authorizationv1 "k8s.io/api/authorization/v1"
	clienttesting "k8s.io/client-go/testing"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/pkg/fault"
)

// TestGateWithCertificates sends requests through the whole of authentication, as a proxy
// hands them on.
func TestGateWithCertificates(t *testing.T) {
	var log bytes.Buffer
	former := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	defer slog.SetDefault(former)

	w := newWorld(t)
	w.config.Certificates.CABundle = w.ca.PEM()
	w.config.Proxies = proxies(HeaderHAProxy)
	w.configure(t)
	mine, thiefs := w.ca.Client("smo"), w.ca.Client("thief")
	name := w.issuer.URL + "#ann"
	w.server.allowed[name+" get /a"] = true
	token := w.issuer.Token(w.issuer.Claims().BoundTo(mine.Leaf))
	registry := prometheus.NewRegistry()
	gate := NewGate(w.callers, NewAuthorizer(w.server.clients.AuthorizationV1().SubjectAccessReviews(), w.clock), registry)

	for _, tc := range []struct {
		name, path, token string
		headers           http.Header
		want              error
		counted           string
	}{
		{"with its certificate", "/a", token, authtest.HAProxy(mine.Leaf), nil, ""},
		{"with another certificate", "/a", token, authtest.HAProxy(thiefs.Leaf), fault.Unauthenticated, "certificate_binding"},
		{"without a certificate", "/a", token, nil, fault.Unauthenticated, "certificate_binding"},
		{"broken header", "/a", token, http.Header{"X-Ssl-Client-Der": {"x"}}, fault.Unauthenticated, "authentication"},
		{"expired", "/a", w.issuer.Token(w.issuer.Claims().With("exp", 1)), nil, fault.Unauthenticated, "authentication"},
		{"not allowed", "/b", token, authtest.HAProxy(mine.Leaf), fault.Forbidden, "authorization"},
	} {
		gate.failures.Reset()
		r := from(proxyAddress, tc.headers, nil)
		r.URL.Path = tc.path
		r.Header.Set("Authorization", "Bearer "+tc.token)
		ctx, err := gate.Admit(r, "GET", "/template")
		expect(t, tc.name, err, tc.want)
		if err == nil {
			if id, _ := IdentityOf(ctx); id.Name != name || id.Client != "smo" {
				t.Errorf("%s: identity = %+v", tc.name, id)
			}
		}
		for _, kind := range []string{"authentication", "authorization", "certificate_binding"} {
			want := 0.0
			if kind == tc.counted {
				want = 1
			}
			if got := value(t, gate.failures.WithLabelValues(kind, "GET", "/template")); got != want {
				t.Errorf("%s: o2ims_auth_failures_total{type=%s} = %v, want %v", tc.name, kind, got, want)
			}
		}
		for header := range r.Header {
			if strings.HasPrefix(header, "X-Ssl") {
				t.Errorf("%s: the request still has %s", tc.name, header)
			}
		}
		for part := range strings.SplitSeq(tc.token, ".") {
			if strings.Contains(log.String(), part) {
				t.Errorf("%s: the log shows a part of the token: %s", tc.name, log.String())
			}
		}
	}
	if !strings.Contains(log.String(), "the token is bound to another certificate") || !strings.Contains(log.String(), `"unverifiedClient":"smo"`) {
		t.Errorf("the log does not tell why: %s", log.String())
	}
}

// TestGateRequiresCertificates checks that the requirement holds for Kubernetes tokens, too,
// and that forged headers are gone although the request has no token.
func TestGateRequiresCertificates(t *testing.T) {
	w := newWorld(t)
	w.server.tokens["good"] = known("bob", "o2ims")
	w.server.allowed["bob get /"] = true
	w.config.Certificates = ClientCertificates{CABundle: w.ca.PEM(), Required: true}
	w.configure(t)
	mine := w.ca.Client("smo")
	gate := NewGate(w.callers, NewAuthorizer(w.server.clients.AuthorizationV1().SubjectAccessReviews(), w.clock), prometheus.NewRegistry())
	admit := func(r *http.Request) error {
		r.Header.Set("Authorization", "Bearer good")
		_, err := gate.Admit(r, "GET", "/template")
		return err
	}
	expect(t, "without", admit(from(strangerAddress, nil, nil)), fault.Unauthenticated)
	expect(t, "forged", admit(from(strangerAddress, authtest.RFC9440(mine.Leaf), nil)), fault.Unauthenticated)
	expect(t, "with", admit(from(strangerAddress, nil, &mine)), nil)
	_, err := w.show(t, "good")
	expect(t, "asked without the gate", err, fault.Unauthenticated)

	r := from(strangerAddress, authtest.RFC9440(mine.Leaf), nil)
	_, err = gate.Admit(r, "GET", "/template")
	expect(t, "no token", err, fault.Unauthenticated)
	if r.Header.Get("Client-Cert") != "" {
		t.Error("the forged header is still there")
	}
}

// TestReviewIsToldRolesAlone checks that what a caller may do depends on its name and roles,
// and not on which client or scopes it came with.
func TestReviewIsToldRolesAlone(t *testing.T) {
	server := newAPIServer()
	authorizer := NewAuthorizer(server.clients.AuthorizationV1().SubjectAccessReviews(), newClock())
	id := Identity{Name: "idp#ann", Groups: []string{RoleReader}}
	server.allowed["idp#ann get /a"] = true
	for n, client := range []string{"smo", "portal"} {
		id.Client, id.Issuer, id.Scopes = client, "https://idp.example", []string{"openid", client}
		allowed, err := authorizer.Allowed(WithIdentity(t.Context(), id), "get", "/a")
		if !allowed || err != nil {
			t.Errorf("%s: allowed: %t, %v", client, allowed, err)
		}
		if got := server.questions(); got != 1 {
			t.Errorf("after %d clients of one user, the apiserver was asked %d times, want 1", n+1, got)
		}
	}
	for _, action := range server.clients.Actions() {
		spec := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).Spec
		if len(spec.Extra) != 0 || len(spec.Groups) != 1 || spec.Groups[0] != RoleReader || spec.User != "idp#ann" {
			t.Errorf("the apiserver was told %+v", spec)
		}
	}
}

// certificates must stay what Callers offers.
var _ certificates = (*Callers)(nil)

func BenchmarkAdmit(b *testing.B) {
	w := newWorld(b)
	w.server.allowed[w.issuer.URL+"#ann get /"] = true
	gate := NewGate(w.callers, NewAuthorizer(w.server.clients.AuthorizationV1().SubjectAccessReviews(), w.clock), prometheus.NewRegistry())
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+w.issuer.Token(w.issuer.Claims()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gate.Admit(r, "GET", "/template"); err != nil {
			b.Fatal(err)
		}
	}
}
