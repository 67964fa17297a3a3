package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
)

const (
	prefix = "/o2ims-infrastructureTest"
	alias  = "/O2ims_infrastructureTest"
)

// newGate admits token "admin" to everything and "reader" to GET below the prefix. Token
// "away" meets an apiserver that does not answer.
func newGate(registry *prometheus.Registry) *auth.Gate {
	clients := fake.NewClientset()
	clients.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, kuberuntime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		switch review.Spec.Token {
		case "away":
			return true, nil, errors.New("connection refused to 192.0.2.9")
		case "admin", "reader":
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"o2ims"},
				User: authenticationv1.UserInfo{Username: review.Spec.Token}}
		}
		return true, review, nil
	})
	clients.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, kuberuntime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		what := review.Spec.NonResourceAttributes
		review.Status.Allowed = review.Spec.User == "admin" || what.Verb == "get" && strings.HasPrefix(what.Path, prefix+"/")
		return true, review, nil
	})
	return auth.NewGate(
		auth.NewTokenReviews(clients.AuthenticationV1().TokenReviews(), []string{"o2ims"}, auth.SystemClock{}),
		auth.NewAuthorizer(clients.AuthorizationV1().SubjectAccessReviews(), auth.SystemClock{}), registry)
}

func testRoutes(r *mux.Router) {
	hello := func(w http.ResponseWriter, r *http.Request) error {
		id, _ := auth.IdentityOf(r.Context())
		return rest.WriteJSON(w, http.StatusOK, map[string]string{"hello": id.Name})
	}
	r.Handle(prefix+"/v1/things", rest.Methods{
		http.MethodGet: hello,
		http.MethodPost: func(w http.ResponseWriter, r *http.Request) error {
			var v map[string]any
			if err := rest.ReadJSON(w, r, &v); err != nil {
				return err
			}
			return rest.WriteJSON(w, http.StatusCreated, v)
		},
	})
	r.Handle(prefix+"/v1/things/{thingId}", rest.Methods{http.MethodGet: func(w http.ResponseWriter, r *http.Request) error {
		if _, err := rest.UUID(r, "thingId"); err != nil {
			return err
		}
		return hello(w, r)
	}})
	r.Handle(prefix+"/v1/named/{name}", rest.Methods{http.MethodGet: func(w http.ResponseWriter, r *http.Request) error {
		return rest.WriteJSON(w, http.StatusOK, mux.Vars(r))
	}})
	r.Handle(prefix+"/v1/long", rest.Methods{http.MethodGet: func(w http.ResponseWriter, r *http.Request) error {
		body := []byte(strings.Repeat("a long answer ", 1000))
		w.Header().Set("ETag", `"1"`)
		if _, unknown := r.URL.Query()["unknown"]; unknown {
			_, _ = w.Write(body)
			return nil
		}
		return rest.WriteEncoded(w, http.StatusOK, body)
	}})
	r.Handle(prefix+"/v1/panic", rest.Methods{http.MethodGet: func(http.ResponseWriter, *http.Request) error { panic("secret of the house") }})
	r.Handle(prefix+"/v1/break", rest.Methods{http.MethodGet: func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, "half")
		panic("amid the answer")
	}})
	r.Handle(prefix+"/v1/ours", rest.Methods{http.MethodGet: func(http.ResponseWriter, *http.Request) error { return errors.New("secret of the house") }})
}

// newServer returns a server whose readiness is that of ready.
func newServer(t testing.TB, ready func() error) *Server {
	t.Helper()
	registry := prometheus.NewRegistry()
	s, err := New(Options{BindAddress: "127.0.0.1", CertSecret: "o2ims-serving-cert", ServiceName: "o2ims", Namespace: "o2ims"}, Parts{
		Mounts:  []Mount{{Prefix: prefix, Alias: alias, Routes: testRoutes}},
		Checks:  []Check{{"inventory", ready}},
		Gate:    newGate(registry),
		Metrics: registry,
		Secrets: fake.NewClientset().CoreV1().Secrets("o2ims"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func alwaysReady() error { return nil }

// An intake of alerts takes bodies that no client of an API sends: what it refuses is lost.
func TestMountsBoundTheirBodies(t *testing.T) {
	registry := prometheus.NewRegistry()
	read := func(r *mux.Router) {
		r.Handle(prefix+"/v1/things", rest.Methods{http.MethodPost: func(_ http.ResponseWriter, r *http.Request) error {
			_, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				return fmt.Errorf("%v: %w", err, fault.TooLarge)
			}
			return nil
		}})
	}
	for _, tc := range []struct {
		most int64
		size int
		want int
	}{{0, rest.MaxBodyBytes, 200}, {0, rest.MaxBodyBytes + 1, 413}, {3 << 20, 3 << 20, 200}, {3 << 20, 3<<20 + 1, 413}} {
		s, err := New(Options{BindAddress: "127.0.0.1", CertSecret: "o2ims-serving-cert", ServiceName: "o2ims", Namespace: "o2ims"}, Parts{
			Mounts: []Mount{{Prefix: prefix, Routes: read, MaxBodyBytes: tc.most}},
			Gate:   newGate(registry), Metrics: registry, Secrets: fake.NewClientset().CoreV1().Secrets("o2ims"),
		})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, prefix+"/v1/things", strings.NewReader(strings.Repeat("x", tc.size)))
		r.Header.Set("Authorization", "Bearer admin")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("bound %d, body of %d: %d, want %d", tc.most, tc.size, w.Code, tc.want)
		}
		registry = prometheus.NewRegistry()
	}
}

// TestOrder checks which of several faults of a request is the one that is answered.
func TestOrder(t *testing.T) {
	s := httptest.NewServer(newServer(t, alwaysReady).Handler())
	defer s.Close()
	id := "262c8f17-52b5-4614-9e56-812ae21fa8a7"
	for _, tc := range []struct {
		name, method, path, token, contentType, body string
		status                                       int
	}{
		{"outside every prefix", "GET", "/nothing", "", "", "", 404},
		{"the root", "GET", "/", "", "", "", 404},
		{"outside, with a token", "GET", "/nothing", "admin", "", "", 404},
		{"almost the prefix", "GET", prefix + "2/v1/things", "", "", "", 404},
		{"the prefix itself", "GET", prefix, "", "", "", 401},
		{"below a prefix, no token", "GET", prefix + "/v1/things", "", "", "", 401},
		{"401 before 404", "GET", prefix + "/v9", "", "", "", 401},
		{"401 before 405", "DELETE", prefix + "/v1/things", "", "", "", 401},
		{"401 before 415", "POST", prefix + "/v1/things", "bad", "text/xml", "<x/>", 401},
		{"401 before 400", "GET", prefix + "/v1/things/x", "bad", "", "", 401},
		{"403 before 405", "DELETE", prefix + "/v1/things", "reader", "", "", 403},
		{"403 before 415", "POST", prefix + "/v1/things", "reader", "text/xml", "<x/>", 403},
		{"403 before 404", "GET", prefix, "reader", "", "", 403},
		{"apiserver away", "GET", prefix + "/v1/things", "away", "", "", 503},
		{"apiserver away before 404", "GET", prefix + "/v9", "away", "", "", 503},
		{"unknown path", "GET", prefix + "/v9", "reader", "", "", 404},
		{"405 before 400", "POST", prefix + "/v1/things/x", "admin", "application/json", "x", 405},
		{"405 before 415", "PUT", prefix + "/v1/things", "admin", "text/xml", "<x/>", 405},
		{"415 before 400", "POST", prefix + "/v1/things", "admin", "text/xml", "<x/>", 415},
		{"junk said to be JSON", "POST", prefix + "/v1/things", "admin", "application/json", "<x/>", 400},
		{"too long", "POST", prefix + "/v1/things", "admin", "application/json", `{"a":"` + strings.Repeat("x", rest.MaxBodyBytes) + `"}`, 413},
		{"not a UUID", "GET", prefix + "/v1/things/x", "reader", "", "", 400},
		{"dots do not climb", "GET", prefix + "/v1/../../metrics", "reader", "", "", 404},
		{"created", "POST", prefix + "/v1/things", "admin", "application/json", `{"a":1}`, 201},
		{"listed", "GET", prefix + "/v1/things", "reader", "", "", 200},
		{"trailing slash", "GET", prefix + "/v1/things/", "reader", "", "", 200},
		{"single", "GET", prefix + "/v1/things/" + id, "reader", "", "", 200},
		{"the alias is guarded alike", "GET", alias + "/v1/things", "", "", "", 401},
		{"below the alias", "GET", alias + "/v1/things/" + id, "reader", "", "", 200},
		{"almost the alias", "GET", alias + "2/v1/things", "", "", "", 404},
		{"semicolons", "GET", prefix + "/v1/things?filter=(eq,a,b);(eq,c,d)", "reader", "", "", 200},
		{"panic", "GET", prefix + "/v1/panic", "reader", "", "", 500},
		{"our own fault", "GET", prefix + "/v1/ours", "reader", "", "", 500},
		{"metrics, no token", "GET", "/metrics", "", "", "", 401},
		{"metrics, not allowed", "GET", "/metrics", "reader", "", "", 403},
		{"metrics", "GET", "/metrics", "admin", "", "", 200},
		{"healthz", "GET", "/healthz", "", "", "", 200},
		{"readyz", "GET", "/readyz", "", "", "", 503}, // the certificate comes with Run
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, s.URL+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if tc.token != "" {
				req.Header.Set("Authorization", "Bearer "+tc.token)
			}
			if tc.contentType != "" {
				req.Header.Set("Content-Type", tc.contentType)
			}
			r, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if r.StatusCode != tc.status {
				t.Fatalf("%d %s\nwant %d", r.StatusCode, body, tc.status)
			}
			checkProblem(t, r, body)
		})
	}
}

// checkProblem checks what every answer of an error must be.
func checkProblem(t *testing.T, r *http.Response, body []byte) {
	t.Helper()
	if r.StatusCode < 400 || r.Request.URL.Path == "/readyz" {
		return
	}
	var p rest.ProblemDetails
	if err := json.Unmarshal(body, &p); err != nil || p.Status != r.StatusCode || p.Detail == "" || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("no problem: %s %s", r.Header.Get("Content-Type"), body)
	}
	if p.AdditionalAttributes["correlationId"] == "" || p.AdditionalAttributes["correlationId"] != r.Header.Get("X-Request-Id") {
		t.Errorf("correlationId = %q, X-Request-Id = %q", p.AdditionalAttributes["correlationId"], r.Header.Get("X-Request-Id"))
	}
	for _, secret := range []string{"secret of the house", "192.0.2.9"} {
		if strings.Contains(string(body), secret) {
			t.Errorf("%s gives internals away", body)
		}
	}
	for header, status := range map[string]int{"WWW-Authenticate": 401, "Allow": 405, "Retry-After": 503} {
		if (r.Header.Get(header) != "") != (r.StatusCode == status) {
			t.Errorf("%s = %q with status %d", header, r.Header.Get(header), r.StatusCode)
		}
	}
}

// TestPathParameters: an identifier may have any character, and a handler gets it decoded.
func TestPathParameters(t *testing.T) {
	h := newServer(t, alwaysReady).Handler()
	for path, want := range map[string]string{
		"/v1/named/plain":                 `{"name":"plain"}`,
		"/v1/named/west%20side%2F100%25":  `{"name":"west side/100%"}`,
		"/v1/named/west%20side%2F100%25/": `{"name":"west side/100%"}`,
		"/v1/named/%C3%A9":                `{"name":"é"}`,
		"/v1/named/a/b":                   `"status":404`,
	} {
		r := httptest.NewRequest(http.MethodGet, prefix+path, nil)
		r.Header.Set("Authorization", "Bearer reader")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
	}
}

// TestBrokenAnswer: half an answer must not look whole.
func TestBrokenAnswer(t *testing.T) {
	s := httptest.NewServer(newServer(t, alwaysReady).Handler())
	defer s.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+prefix+"/v1/break", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer reader")
	r, err := s.Client().Do(req)
	if err == nil {
		_, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	if err == nil {
		t.Error("an answer that broke off was received as if it were whole")
	}
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// TestLogAndMetrics: what is written down names templates and users, never tokens or paths
// that a stranger makes up.
func TestLogAndMetrics(t *testing.T) {
	logged := new(lines)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(logged, nil)))
	defer slog.SetDefault(before)

	h := newServer(t, alwaysReady).Handler()
	for _, path := range []string{"/v1/things/262c8f17-52b5-4614-9e56-812ae21fa8a7", "/made/up", "/v1/things"} {
		for _, token := range []string{"reader", "stolen-token", "admin"} {
			r := httptest.NewRequest(http.MethodGet, prefix+path, nil)
			r.Header.Set("Authorization", "Bearer "+token)
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	for _, want := range []string{`"path":"/o2ims-infrastructureTest/v1/things/{thingId}"`, `"user":"reader"`, `"status":401`, `"path":"other"`} {
		if !strings.Contains(logged.text.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, logged.text.String())
		}
	}
	if refused := regexp.MustCompile(`"msg":"request refused".*"correlationId":"[0-9a-f-]{36}"`); !refused.MatchString(logged.text.String()) {
		t.Errorf("no refusal is named by what its answer is named by:\n%s", logged.text.String())
	}

	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Authorization", "Bearer admin")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, want := range []string{
		`o2ims_http_request_duration_seconds_count{code="200",method="GET",path="/o2ims-infrastructureTest/v1/things/{thingId}"} 2`,
		`o2ims_http_request_duration_seconds_count{code="404",method="GET",path="other"} 2`,
		`o2ims_auth_failures_total{method="GET",path="/o2ims-infrastructureTest/v1/things",type="authentication"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("/metrics lacks %s:\n%s", want, w.Body)
		}
	}
	for _, bad := range []string{"stolen-token", "/made/up"} {
		if strings.Contains(logged.text.String(), bad) || strings.Contains(w.Body.String(), bad) {
			t.Errorf("%s is in the log or in the metrics", bad)
		}
	}
}

// TestRun starts the whole server with a certificate of its own and stops it.
func TestRun(t *testing.T) {
	registry, clients := prometheus.NewRegistry(), fake.NewClientset()
	var mu sync.Mutex
	notReady := errors.New("3 of 7 reports are missing")
	s, err := New(Options{BindAddress: "127.0.0.1", CertSecret: "o2ims-serving-cert", ServiceName: "o2ims", Namespace: "o2ims", ExternalURL: "https://o2ims.example.net"}, Parts{
		Mounts: []Mount{{Prefix: prefix, Alias: alias, Routes: testRoutes}},
		Checks: []Check{{"inventory", func() error { mu.Lock(); defer mu.Unlock(); return notReady }}},
		Gate:   newGate(registry), Metrics: registry,
		Secrets: clients.CoreV1().Secrets("o2ims"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	plain := func(path string) (int, string) {
		r, err := http.Get("http://" + s.HealthAddress() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(body)
	}
	if status, _ := plain("/healthz"); status != 200 {
		t.Errorf("/healthz = %d", status)
	}
	if status, body := plain("/readyz"); status != 503 || !strings.Contains(body, "inventory: 3 of 7 reports are missing") {
		t.Errorf("/readyz = %d %s, want 503 and why", status, body)
	}
	mu.Lock()
	notReady = nil
	mu.Unlock()
	waitFor(t, "ready", func() bool { status, _ := plain("/readyz"); return status == 200 })
	if status, _ := plain("/metrics"); status != 404 {
		t.Errorf("/metrics on the plain port = %d, want 404", status)
	}

	secret, err := clients.CoreV1().Secrets("o2ims").Get(t.Context(), "o2ims-serving-cert", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client := clientOf(secret, "")
	for _, host := range []string{s.APIAddress(), strings.Replace(s.APIAddress(), "127.0.0.1", "localhost", 1)} {
		r, err := client.Get("https://" + host + prefix + "/v1/things")
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != 401 || r.ProtoMajor != 2 {
			t.Errorf("%s: %d over HTTP/%d, want 401 over HTTP/2", host, r.StatusCode, r.ProtoMajor)
		}
	}
	for _, name := range []string{"o2ims", "o2ims.o2ims.svc", "o2ims.o2ims.svc.cluster.local", "o2ims.example.net"} {
		if r, err := clientOf(secret, name).Get("https://" + s.APIAddress() + "/healthz"); err != nil {
			t.Errorf("as %s: %v", name, err)
		} else {
			_ = r.Body.Close()
		}
	}
	if _, err := clientOf(secret, "evil.example.net").Get("https://" + s.APIAddress() + "/healthz"); err == nil {
		t.Error("the certificate is good for a name that is not ours")
	}

	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	if _, err := http.Get("http://" + s.HealthAddress() + "/healthz"); err == nil {
		t.Error("the plain port still answers")
	}
}

// clientOf trusts what is in the Secret, and calls the server by a name of its choice.
func clientOf(secret *corev1.Secret, name string) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(secret.Data["ca.crt"])
	return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}}}
}

func TestOptions(t *testing.T) {
	good := Options{BindAddress: "127.0.0.1", Port: 8443, HealthPort: 8081, CertSecret: "s"}
	for _, tc := range []struct {
		name   string
		change func(*Options)
		faults int
	}{
		{"good", func(*Options) {}, 0},
		{"files", func(o *Options) { o.CertFile, o.KeyFile, o.CertSecret = "c", "k", "" }, 0},
		{"external", func(o *Options) { o.ExternalURL = "https://o2ims.example.net:8443" }, 0},
		{"http", func(o *Options) { o.ExternalURL = "http://o2ims.example.net" }, 1},
		{"path", func(o *Options) { o.ExternalURL = "https://o2ims.example.net/x" }, 1},
		{"login", func(o *Options) { o.ExternalURL = "https://a:b@o2ims.example.net" }, 1},
		{"half a certificate", func(o *Options) { o.CertFile = "c" }, 1},
		{"nothing to serve with", func(o *Options) { o.CertSecret = "" }, 1},
		{"a name as address, a bad port", func(o *Options) { o.BindAddress, o.Port = "localhost", 70000 }, 2},
		{"one port for both", func(o *Options) { o.HealthPort = o.Port }, 1},
	} {
		o := good
		tc.change(&o)
		faults := 0
		if err := o.Validate(); err != nil {
			faults = len(err.(interface{ Unwrap() []error }).Unwrap())
		}
		if faults != tc.faults {
			t.Errorf("%s: %d faults, want %d: %v", tc.name, faults, tc.faults, o.Validate())
		}
	}
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long: %s", what)
		}
		runtime.Gosched()
	}
}
