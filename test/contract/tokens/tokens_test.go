// Package tokens shows hostile tokens to the manager's own server, behind which everything is
// real: the issuer is a certified OpenID provider, whose keys the test has and so forges with
// them; Kubernetes tokens are judged by a kube-apiserver's TokenReview, and what a caller may
// do by its SubjectAccessReview and the chart's roles.
//
// Each family of attacks has controls: tokens made the same way that must be let in, so that
// no refusal comes about by accident.
//
// Sources: RFC 6750 (bearer tokens), 7515 (JWS), 7518 (JWA), 7519 (JWT), 8414 (metadata), 8705
// (certificate binding), 8725 (best current practices of JWT), 9068 (JWT access tokens), 9440
// (client certificates in headers).
package tokens

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/o2ims/o2ims/test/contract/hub"
)

// What the server is to answer.
const (
	letIn       = http.StatusOK           // a control
	notKnown    = http.StatusUnauthorized // not known
	mayNot      = http.StatusForbidden    // known, and without rights
	cannotTell  = http.StatusServiceUnavailable
	tooMuch     = http.StatusRequestHeaderFieldsTooLarge
	noHandshake = 0 // the TLS connection is refused
)

// attempt is one try to be let in.
type attempt struct {
	id     string
	want   int
	what   string
	clause string
	shot   shot
}

// shot is a request.
type shot struct {
	server       string
	from         string // address
	as           *person
	method, path string
	header       http.Header
	body         string
}

const (
	readersPath = "/o2ims-infrastructureInventory/v2/resourcePools"
	adminsPath  = "/admin/v1/delivery"

	// knownPath is one that somebody has opened to all whom Kubernetes knows.
	knownPath = "/o2ims-infrastructureInventory/v2/oCloudSites"
)

func request() shot {
	return shot{server: plain, from: stranger, method: http.MethodGet, path: readersPath, header: http.Header{}}
}

// bearer shows a token.
func bearer(token string) shot { return request().set("Authorization", "Bearer "+token) }

func (s shot) at(server string) shot     { s.server = server; return s }
func (s shot) with(p person) shot        { s.as = &p; return s }
func (s shot) to(method, p string) shot  { s.method, s.path = method, p; return s }
func (s shot) fromProxy() shot           { s.from = proxy; return s }
func (s shot) withBody(body string) shot { s.body = body; return s }

// set puts header fields as they are.
func (s shot) set(name string, values ...string) shot {
	s.header = s.header.Clone()
	s.header[name] = values
	return s
}

// families are all attempts, by what they attack.
func families() []struct {
	name     string
	attempts func(*world) []attempt
} {
	return []struct {
		name     string
		attempts func(*world) []attempt
	}{
		{"algorithm", (*world).algorithms}, {"key", (*world).keySelection}, {"header", (*world).headers},
		{"form", (*world).forms}, {"JSON", (*world).json},
		{"times", (*world).times}, {"audience", (*world).audiences}, {"issuer", (*world).issuers}, {"subject", (*world).subjects},
		{"roles", (*world).roles}, {"nested roles", (*world).nestedRoles}, {"purpose", (*world).purposes},
		{"transport", (*world).transport}, {"headers of others", (*world).othersHeaders}, {"Kubernetes", (*world).kubernetes},
		{"binding", (*world).bindings}, {"client certificate", (*world).certificates},
		{"HAProxy", (*world).haproxy}, {"Client-Cert", (*world).clientCert}, {"X-Forwarded-Client-Cert", (*world).forwardedClientCert},
	}
}

// fewest is how many hostile attempts there must be at least.
const fewest = 80

// TestTokens runs all that needs the world around it.
func TestTokens(t *testing.T) {
	w := start(t)
	t.Run("hostile", w.testHostile)
	t.Run("recipes", w.testRecipes)
}

func (w *world) testHostile(t *testing.T) {
	hostile, ids, whats := 0, map[string]bool{}, map[string]bool{}
	for _, family := range families() {
		t.Run(family.name, func(t *testing.T) {
			controls := 0
			for _, a := range family.attempts(w) {
				if ids[a.id] || whats[family.name+a.what] || !idForm.MatchString(a.id) || a.clause == "" {
					t.Fatalf("%s %q: every attempt has an id and a story of its own, and a clause (%q)", a.id, a.what, a.clause)
				}
				ids[a.id], whats[family.name+a.what] = true, true
				if a.want == letIn {
					controls++
				} else {
					hostile++
				}
				t.Run(a.id, func(t *testing.T) {
					if err := w.check(t, a.shot, a.want); err != nil {
						t.Errorf("%s (%s): %v", a.what, a.clause, err)
					}
				})
			}
			if controls == 0 {
				t.Error("no control: what if nobody is let in?")
			}
		})
	}
	if hostile < fewest {
		t.Errorf("%d hostile attempts, want at least %d", hostile, fewest)
	}
	if n := w.bait.calls.Load(); n > 0 {
		t.Errorf("an attacker's key server was asked %d times", n)
	}
	t.Logf("%d hostile attempts, %d controls", hostile, len(ids)-hostile)
}

var idForm = regexp.MustCompile(`^AUTH-[0-9]{3}$`)

// check makes a request and checks all that is said about it: to the client, in the log and
// in the metrics.
func (w *world) check(t *testing.T, s shot, want int) error {
	t.Helper()
	server := w.servers[s.server]
	before := failures(t, server)
	_, mark := w.log.Since(0)
	response, body, err := w.fire(t, server, s)
	if want == noHandshake {
		if err == nil {
			return fmt.Errorf("status %d, want the connection refused", response.StatusCode)
		}
		return nil
	}
	if err != nil {
		return err
	}
	logged := w.log.WaitFor(t, mark, "request served", response.Header.Get("X-Request-Id"))
	if response.StatusCode != want {
		return fmt.Errorf("status %d, want %d; body %s; log %s", response.StatusCode, want, body, logged)
	}
	return errors.Join(
		checkProblem(response, body),
		checkChallenge(response, s),
		checkSecrets(s, logged, string(body)+fmt.Sprint(response.Header)),
		checkFailures(before, failures(t, server), want),
	)
}

func (w *world) fire(t *testing.T, server *hub.Server, s shot) (*http.Response, []byte, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), s.method, server.URL+s.path, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range s.header {
		r.Header[name] = values
	}
	c := clientOf(server, s.from, nil)
	if s.as != nil {
		c = clientOf(server, s.from, &s.as.Certificate)
	}
	response, err := c.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body, nil
}

// checkProblem checks the body of an answer that is an error.
//
// Source: ETSI GS NFV-SOL 013, ProblemDetails; RFC 9457.
func checkProblem(response *http.Response, body []byte) error {
	if response.StatusCode < http.StatusBadRequest {
		return nil
	}
	var problem struct {
		Title, Detail string
		Status        int
		Attributes    map[string]string `json:"additionalAttributes"`
	}
	if err := json.Unmarshal(body, &problem); err != nil {
		return fmt.Errorf("body %s: %w", body, err)
	}
	kind := response.Header.Get("Content-Type")
	if kind != "application/problem+json" || problem.Status != response.StatusCode || problem.Detail == "" ||
		problem.Title != http.StatusText(response.StatusCode) || problem.Attributes["correlationId"] != response.Header.Get("X-Request-Id") {
		return fmt.Errorf("%s %s, want the ProblemDetails of status %d", kind, body, response.StatusCode)
	}
	// Why it was refused would help the wrong people.
	if response.StatusCode == http.StatusUnauthorized && problem.Detail != "the request does not carry a valid bearer token" {
		return fmt.Errorf("detail %q tells more than it should", problem.Detail)
	}
	return nil
}

// checkChallenge checks how the client is told to authenticate.
//
// Source: RFC 6750, clause 3: no error code where the request had no authentication.
func checkChallenge(response *http.Response, s shot) error {
	want := []string(nil)
	if response.StatusCode == http.StatusUnauthorized {
		want = []string{`Bearer realm="o2ims"`}
		if len(s.header["Authorization"]) > 0 && s.header["Authorization"][0] != "" {
			want[0] += `, error="invalid_token"`
		}
	}
	if got := response.Header.Values("WWW-Authenticate"); fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("WWW-Authenticate %q, want %q", got, want)
	}
	return nil
}

// checkSecrets looks for what was shown in what was written.
func checkSecrets(s shot, logged, answered string) error {
	for _, values := range s.header {
		for _, value := range values {
			for _, secret := range secretsIn(value) {
				if strings.Contains(logged, secret) {
					return fmt.Errorf("%.40q… is in the log: %s", secret, logged)
				}
				if strings.Contains(answered, secret) {
					return fmt.Errorf("%.40q… is in the answer: %s", secret, answered)
				}
			}
		}
	}
	return nil
}

// secretsIn are the parts of a header field by which one could do something: the segments of
// tokens but their headers, which name algorithms and keys, and whatever is as long.
func secretsIn(value string) []string {
	const short = 20
	var secrets []string
	for _, word := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" ,;:\"", r) }) {
		if i := strings.IndexByte(word, '.'); i >= 0 {
			word = word[i+1:]
		}
		for _, segment := range strings.Split(word, ".") {
			if len(segment) >= short {
				secrets = append(secrets, segment)
			}
		}
	}
	return secrets
}

// failures are the refusals that a server has counted, by type.
func failures(t *testing.T, s *hub.Server) map[string]float64 {
	t.Helper()
	gathered, err := s.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, family := range gathered {
		if family.GetName() != "o2ims_auth_failures_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			counted[labelOf(m, "type")] += m.GetCounter().GetValue()
		}
	}
	return counted
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// checkFailures checks that a refusal was counted, once, and as what it was.
func checkFailures(before, after map[string]float64, status int) error {
	unknown := after["authentication"] + after["certificate_binding"] - before["authentication"] - before["certificate_binding"]
	forbidden := after["authorization"] - before["authorization"]
	wantUnknown, wantForbidden := 0.0, 0.0
	switch status {
	case notKnown:
		wantUnknown = 1
	case mayNot:
		wantForbidden = 1
	}
	if unknown != wantUnknown || forbidden != wantForbidden {
		return fmt.Errorf("o2ims_auth_failures_total went up by %v for authentication and %v for authorization, want %v and %v", unknown, forbidden, wantUnknown, wantForbidden)
	}
	return nil
}
