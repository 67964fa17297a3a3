// Package proxies runs the recipes of docs/mtls.md for proxies that end TLS: real nginx and
// real HAProxy, configured as the document says, pass requests on to the manager's own server
// behind which everything is real (see package tokens). What they let through is what clients
// with certificates get, honest ones and others.
//
// Envoy is missing: nobody has it for Debian, Go or npm.
package proxies

import (
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/test/proxy"
)

const readersPath = "/o2ims-infrastructureInventory/v2/resourcePools"

// byProxy is the outcome of a call that the manager never hears of.
const byProxy = 0

// call is one try through a proxy.
type call struct {
	what   string
	token  string
	as     *tls.Certificate // nil: none
	header http.Header      // the client's own
	path   string           // empty: readersPath

	want int
	why  string // what the log has where want is 401
}

// TestProxies runs all that needs the world around it.
func TestProxies(t *testing.T) {
	w := newWorld(t)
	sites := w.startSites(t)
	for _, s := range sites {
		version, err := s.program.Version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %s", s.name, version)
		s.server.WaitUntilAllowed(t.Context(), t, "somebody", auth.RoleReader, readersPath)
		t.Run(s.name, func(t *testing.T) {
			t.Run("calls", func(t *testing.T) { w.testCalls(t, s) })
			t.Run("resumed", func(t *testing.T) { w.testResumed(t, s) })
			t.Run("direct", func(t *testing.T) { w.testDirect(t, s) })
			t.Run("address", func(t *testing.T) { w.testAddress(t, s) })
			t.Run("shared connection", func(t *testing.T) { w.testSharedConnection(t, s) })
			t.Run("trust withdrawn", func(t *testing.T) { w.testTrustWithdrawn(t, s) })
		})
	}
	t.Run("optional with the line for required", w.testEmptyCertificate)
	t.Run("the manager's own Secret", w.testServingSecret)
}

// expected is what becomes of a call at a site, which may demand more than the others.
func (w *world) expected(s *site, c call) (status int, why string) {
	switch {
	case c.want == byProxy, c.as == nil && s.demands, s.urls > 0 && len(c.path) > s.urls:
		return byProxy, ""
	case c.token == w.tokens.unbound && s.binds:
		return http.StatusUnauthorized, "the token is bound to no certificate"
	}
	return c.want, c.why
}

func (w *world) testCalls(t *testing.T, s *site) {
	for _, http2 := range []bool{false, true} {
		for _, c := range slices.Concat(w.honest(), w.forgeries(http2)) {
			t.Run(fmt.Sprintf("%s, HTTP/2 %t", c.what, http2), func(t *testing.T) {
				want, why := w.expected(s, c)
				w.check(t, s, s.client(t, c.as, http2), c, want, why)
			})
		}
	}
}

// honest are calls without tricks, by those who may and those who may not.
func (w *world) honest() []call {
	p, k := &w.people, &w.tokens
	const none, other = "the token is bound to a certificate, and none was shown", "the token is bound to another certificate"
	filter := func(text string, times int) string {
		return readersPath + "?filter=" + url.QueryEscape("(eq,name,"+strings.Repeat(text, times)+")")
	}
	long, longest := filter("ab/c", 950), filter("////", 1000)
	return []call{
		{what: "bound, with its certificate", token: k.ann, as: &p.ann, want: http.StatusOK},
		{what: "bound, without", token: k.ann, want: http.StatusUnauthorized, why: none},
		{what: "bound, with another's", token: k.ann, as: &p.bob, want: http.StatusUnauthorized, why: other},
		{what: "not bound, with a certificate", token: k.unbound, as: &p.ann, want: http.StatusOK},
		{what: "not bound, without", token: k.unbound, want: http.StatusOK},
		{what: "a certificate for a token", as: &p.ann, want: http.StatusUnauthorized, why: "no Authorization header"},
		{what: "of another CA", token: k.mallory, as: &p.mallory, want: byProxy},
		{what: "expired", token: k.ann, as: &p.late, want: byProxy},
		{what: "for servers alone", token: k.ann, as: &p.server, want: byProxy},
		{what: "of an intermediate CA that the manager knows", token: k.carl, as: &p.carl, want: http.StatusOK},
		{what: "of one that it does not", token: k.dora, as: &p.dora, want: http.StatusUnauthorized, why: "unknown authority"},
		{what: "a large certificate", token: k.grand, as: &p.grand, want: http.StatusOK},
		{what: "a long URL", token: k.ann, as: &p.ann, path: long, want: http.StatusOK},
		{what: "the longest filter, escaped", token: k.ann, as: &p.ann, path: longest, want: http.StatusOK},
		{what: "a long URL and a large certificate", token: k.grand, as: &p.grand, path: long, want: http.StatusOK},
	}
}

// forged is what says in a header that the client has shown a certificate, in one of the ways
// of proxies.
func forged(kind string, c tls.Certificate) http.Header {
	text := base64.StdEncoding.EncodeToString(c.Leaf.Raw)
	switch kind {
	case auth.HeaderHAProxy:
		return http.Header{"X-SSL-Client-Verify": {"0"}, "X-SSL-Client-DER": {`"` + text + `"`}}
	case auth.HeaderRFC9440:
		return http.Header{"Client-Cert": {":" + text + ":"}}
	default:
		escaped := strings.ReplaceAll(url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw}))), "+", "%20")
		return http.Header{"X-Forwarded-Client-Cert": {"Cert=" + escaped}}
	}
}

// kinds are the ways in which proxies tell of a certificate.
func kinds() []string { return []string{auth.HeaderHAProxy, auth.HeaderRFC9440, auth.HeaderXFCC} }

// spellings are how a client may write a header that a proxy should not take for its own, nor
// leave beside its own.
func spellings(http2 bool) map[string]func(http.Header) http.Header {
	renamed := func(rename func(string) string) func(http.Header) http.Header {
		return func(h http.Header) http.Header {
			as := http.Header{}
			for name, values := range h {
				as[rename(name)] = values
			}
			return as
		}
	}
	all := map[string]func(http.Header) http.Header{
		"as it is":           renamed(func(name string) string { return name }),
		"in lower case":      renamed(strings.ToLower),
		"in upper case":      renamed(strings.ToUpper),
		"with underscores":   renamed(func(name string) string { return strings.ReplaceAll(name, "-", "_") }),
		"with an underscore": renamed(func(name string) string { return strings.Replace(name, "-", "_", 1) }),
		"twice": func(h http.Header) http.Header {
			as := http.Header{}
			for name, values := range h {
				as[name] = append(slices.Clone(values), values...)
			}
			return as
		},
		"in two cases": func(h http.Header) http.Header {
			as := http.Header{}
			for name, values := range h {
				as[name], as[strings.ToLower(name)] = values, values
			}
			return as
		},
	}
	if !http2 { // which has no such header
		all["named as one to be dropped"] = func(h http.Header) http.Header {
			as := h.Clone()
			for name := range h {
				as["Connection"] = append(as["Connection"], name)
			}
			return as
		}
	}
	return all
}

// forgeries are calls of clients that say themselves which certificate they have shown.
func (w *world) forgeries(http2 bool) []call {
	p, k := &w.people, &w.tokens
	var calls []call
	for _, kind := range kinds() {
		for how, spelled := range spellings(http2) {
			of := func(c tls.Certificate) http.Header { return spelled(forged(kind, c)) }
			what := fmt.Sprintf("%s %s: ", kind, how)
			calls = append(calls,
				call{what: what + "without a certificate", token: k.ann, header: of(p.ann), want: http.StatusUnauthorized, why: "none was shown"},
				call{what: what + "with another", token: k.ann, as: &p.bob, header: of(p.ann), want: http.StatusUnauthorized, why: "another certificate"},
				call{what: what + "with its own, which counts", token: k.ann, as: &p.ann, header: of(p.bob), want: http.StatusOK},
				call{what: what + "of another CA", token: k.mallory, as: &p.ann, header: of(p.mallory), want: http.StatusUnauthorized, why: "another certificate"},
			)
		}
	}
	return calls
}

// check makes a call and checks who answered what, and why.
func (w *world) check(t *testing.T, s *site, client *http.Client, c call, want int, why string) {
	t.Helper()
	_, mark := w.log.Since(0)
	trace := strings.ReplaceAll(uuid.NewString(), "-", "")
	c.header = maps.Clone(c.header)
	if c.header == nil {
		c.header = http.Header{}
	}
	c.header["Traceparent"] = []string{"00-" + trace + "-00f067aa0ba902b7-01"}
	response, err := send(t, client, http.MethodGet, s.url(cmp.Or(c.path, readersPath)), c)
	if want == byProxy {
		if err == nil && (response.StatusCode < http.StatusBadRequest || response.Header.Get("X-Request-Id") != "") {
			t.Errorf("status %d, want the proxy to refuse it", response.StatusCode)
		}
		if logged, _ := w.log.Since(mark); strings.Contains(logged, trace) {
			t.Errorf("the manager has heard of it: %s", logged)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != want {
		logged, _ := w.log.Since(mark)
		t.Fatalf("status %d, want %d: %s", response.StatusCode, want, logged)
	}
	if refused := w.line(t, mark, "request served", response, "request refused"); want == http.StatusUnauthorized {
		if text := fmt.Sprint(refused["error"]); !strings.Contains(text, why) {
			t.Errorf("refused since %q, want %q", text, why)
		}
	}
}

// line waits for one message about a request in the log, and returns another; nil where there
// is none.
func (w *world) line(t *testing.T, mark int, last string, response *http.Response, message string) map[string]any {
	t.Helper()
	id := response.Header.Get("X-Request-Id")
	if id == "" {
		t.Fatalf("status %d, not the manager's", response.StatusCode)
	}
	for line := range strings.Lines(w.log.WaitFor(t, mark, last, id)) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if fields["msg"] == message && fields["correlationId"] == id {
			return fields
		}
	}
	return nil
}

func send(t *testing.T, client *http.Client, method, to string, c call) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body) // to its end: then the connection is free again
	return response, err
}

// testResumed checks that a client which goes on with a former TLS session is still the one
// with its certificate.
func (w *world) testResumed(t *testing.T, s *site) {
	client := s.client(t, &w.people.ann, false)
	transport, _ := client.Transport.(*http.Transport)
	transport.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	transport.DisableKeepAlives = true
	for i, tc := range []struct {
		token string
		want  int
	}{{w.tokens.ann, http.StatusOK}, {w.tokens.ann, http.StatusOK}, {w.tokens.bob, http.StatusUnauthorized}} {
		response, err := send(t, client, http.MethodGet, s.url(readersPath), call{token: tc.token})
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != tc.want || response.TLS.DidResume != (i > 0) {
			t.Errorf("call %d: status %d, want %d; resumed: %t", i, response.StatusCode, tc.want, response.TLS.DidResume)
		}
	}
}

// testDirect forges headers around the proxy.
func (w *world) testDirect(t *testing.T, s *site) {
	for _, kind := range kinds() {
		for name, as := range map[string]*tls.Certificate{"without a certificate": nil, "with another": &w.people.bob} {
			client := s.server.HTTPClient(as)
			transport, _ := client.Transport.(*http.Transport)
			transport.DialContext = from(elsewhere)
			_, mark := w.log.Since(0)
			response, err := send(t, client, http.MethodGet, s.server.URL+readersPath, call{token: w.tokens.ann, header: forged(kind, w.people.ann)})
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s: status %d, want 401", kind, name, response.StatusCode)
			}
			if refused := w.line(t, mark, "request served", response, "request refused"); refused["remoteAddress"] != elsewhere {
				t.Errorf("%s %s: refused to %v, want %s", kind, name, refused["remoteAddress"], elsewhere)
			}
			client.CloseIdleConnections()
		}
	}
}

// testAddress checks whose address the logs have of a call that is refused to a known caller.
func (w *world) testAddress(t *testing.T, s *site) {
	for _, made := range [][]string{nil, {proxyAddress}, {elsewhere}, {elsewhere, proxyAddress}, {"unknown"}, {elsewhere + ", " + proxyAddress}} {
		_, mark := w.log.Since(0)
		c := call{token: w.tokens.ann, header: http.Header{}}
		if made != nil {
			c.header["X-Forwarded-For"] = made
			c.header["Forwarded"], c.header["X-Real-IP"] = []string{"for=" + elsewhere}, []string{elsewhere}
		}
		response, err := send(t, s.client(t, &w.people.ann, false), http.MethodDelete, s.url(readersPath+"/x"), c)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusForbidden {
			t.Fatalf("status %d, want 403", response.StatusCode)
		}
		for _, message := range []string{"audit", "request refused"} {
			if line := w.line(t, mark, "audit", response, message); line["remoteAddress"] != smoAddress {
				t.Errorf("%s: remoteAddress %v, want %s, whatever the client says: %q", message, line["remoteAddress"], smoAddress, made)
			}
		}
	}
}

// upstream are the proxy's connections to the manager.
func (s *site) upstream(t *testing.T) []uint16 {
	t.Helper()
	return connections(t, proxyAddress, netip.MustParseAddrPort(strings.TrimPrefix(s.server.URL, "https://")))
}

// testSharedConnection checks that clients whose requests go through one connection of the
// proxy's are not taken for one another: in turn, and all at once.
func (w *world) testSharedConnection(t *testing.T, s *site) {
	type caller struct {
		client *http.Client
		token  string
		want   int
	}
	ann, bob := s.client(t, &w.people.ann, false), s.client(t, &w.people.bob, false)
	callers := []caller{
		{ann, w.tokens.ann, http.StatusOK}, {bob, w.tokens.ann, http.StatusUnauthorized},
		{bob, w.tokens.bob, http.StatusOK}, {ann, w.tokens.bob, http.StatusUnauthorized},
	}
	if !s.demands {
		nobody := s.client(t, nil, false)
		callers = append(callers, caller{nobody, w.tokens.ann, http.StatusUnauthorized}, caller{nobody, w.tokens.bob, http.StatusUnauthorized})
	}
	ask := func(c caller) {
		response, err := send(t, c.client, http.MethodGet, s.url(readersPath), call{token: c.token})
		if err != nil {
			t.Error(err)
		} else if response.StatusCode != c.want {
			t.Errorf("status %d, want %d", response.StatusCode, c.want)
		}
	}
	ask(callers[0])
	first := s.upstream(t)
	for range 3 {
		for _, c := range callers {
			ask(c)
		}
	}
	if after := s.upstream(t); len(first) != 1 || !slices.Equal(first, after) {
		t.Errorf("connections of the proxy from ports %v, then %v: want one, always the same", first, after)
	}
	var group sync.WaitGroup
	for _, c := range callers {
		group.Go(func() {
			for range 20 {
				ask(c)
			}
		})
	}
	group.Wait()
}

// testTrustWithdrawn takes the proxy's network out of the configuration while its connection
// is open.
func (w *world) testTrustWithdrawn(t *testing.T, s *site) {
	client := s.client(t, &w.people.ann, false)
	good := call{token: w.tokens.ann}
	w.check(t, s, client, good, http.StatusOK, "")
	before := s.upstream(t)
	s.configure(t, without(s.config))
	w.check(t, s, client, good, http.StatusUnauthorized, "none was shown")
	if after := s.upstream(t); len(before) == 0 || !slices.Equal(before, after) {
		t.Errorf("connections of the proxy from ports %v, then %v: want the same", before, after)
	}
	s.configure(t, s.config)
	w.check(t, s, client, good, http.StatusOK, "")
}

// testEmptyCertificate checks what the document warns of: with optional certificates, the
// line for required ones has the manager refuse all who show none, also those who need none.
func (w *world) testEmptyCertificate(t *testing.T) {
	r := readRecipes(t)
	s := w.start(t, &site{name: "ingress-nginx, optional with the line for required", program: proxy.Nginx}, r.inventories[auth.HeaderXFCC],
		func(c *auth.Config) { c.Certificates.Required = false },
		func(f files) string {
			return w.ingress(t, f, merged(r.ingress, map[string]string{annotation + "auth-tls-verify-client": "optional"}), nil)
		})
	w.check(t, s, s.client(t, &w.people.ann, false), call{token: w.tokens.ann}, http.StatusOK, "")
	w.check(t, s, s.client(t, nil, false), call{token: w.tokens.unbound}, http.StatusUnauthorized, "Cert is not exactly one certificate")
}

// testServingSecret checks the other thing that it warns of: nginx shows what is in the Secret
// of the manager's own, and the manager does not know it for a client's.
func (w *world) testServingSecret(t *testing.T) {
	r := readRecipes(t)
	s := w.start(t, &site{name: "ingress-nginx with the manager's Secret", program: proxy.Nginx}, r.inventories[auth.HeaderXFCC], nil,
		func(f files) string {
			return w.ingress(t, f, merged(r.ingress, map[string]string{annotation + "proxy-ssl-secret": "o2ims/o2ims-serving-cert"}), nil)
		})
	response, err := send(t, s.client(t, &w.people.ann, false), http.MethodGet, s.url(readersPath), call{token: w.tokens.ann})
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d, want 502", response.StatusCode)
	}
}
