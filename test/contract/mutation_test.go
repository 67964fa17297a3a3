package contract

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/test/contract/conformance"
)

// reply is an answer on its way through the proxy.
type reply struct {
	status int
	header http.Header
	body   []byte

	hijack bool // send the body even where HTTP forbids one
}

// object and list are how mutations change a body. What is no such JSON stays as it is.
func (r *reply) edit(change func(v any) any) {
	if r.header.Get("Content-Encoding") != "" || len(r.body) == 0 {
		return
	}
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return
	}
	r.body, _ = json.Marshal(change(v))
	r.header.Del("Content-Length")
}

// records applies a change to each record of a list, or to a single one.
func (r *reply) records(change func(o map[string]any)) {
	if r.status != http.StatusOK {
		return
	}
	r.edit(func(v any) any {
		if list, is := v.([]any); is {
			for _, e := range list {
				change(e.(map[string]any))
			}
			return v
		}
		if o, is := v.(map[string]any); is {
			change(o)
		}
		return v
	})
}

func (r *reply) list(change func(list []any) []any) {
	r.edit(func(v any) any {
		if list, is := v.([]any); is {
			return change(list)
		}
		return v
	})
}

// backend is the sound server behind a proxy.
type backend struct {
	target conformance.Target
	client *http.Client
}

func newBackend(t *testing.T, majors ...string) *backend {
	target := startServer(t, majors...)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(target.CA)
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:    &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			DisableCompression: true, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, MaxIdleConnsPerHost: 8,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	return &backend{target, client}
}

// ask sends a request to the sound server.
func (b *backend) ask(r *http.Request) (*reply, error) {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, b.target.URL+requestURI(r), r.Body)
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	out.ContentLength = r.ContentLength
	answer, err := b.client.Do(out)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return &reply{status: answer.StatusCode, header: answer.Header, body: body}, err
}

func requestURI(r *http.Request) string {
	path := r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	return path
}

// as asks again with another path, query or token.
func (b *backend) as(r *http.Request, change func(r *http.Request)) *reply {
	again := r.Clone(r.Context())
	again.Body = http.NoBody
	change(again)
	answer, err := b.ask(again)
	if err != nil {
		return &reply{status: http.StatusBadGateway, header: http.Header{}}
	}
	return answer
}

// mutation is one fault of a server. It may change the request, the answer, or both.
type mutation struct {
	name    string
	group   string // of the cases that must notice
	majors  []string
	request func(r *http.Request)
	answer  func(b *backend, r *http.Request, a *reply)
}

// proxy is a server with one fault.
func (b *backend) proxy(t *testing.T, m mutation) conformance.Target {
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.request != nil {
			m.request(r)
		}
		a, err := b.ask(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		if m.answer != nil {
			m.answer(b, r, a)
		}
		a.send(w, r)
	}))
	front.Start()
	t.Cleanup(front.Close)
	target := b.target
	target.URL, target.CA = front.URL, nil
	return target
}

func (r *reply) send(w http.ResponseWriter, request *http.Request) {
	if r.hijack {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer connection.Close()
		_, _ = fmt.Fprintf(connection, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n%s", r.status, http.StatusText(r.status), r.body)
		return
	}
	if request.Method != http.MethodHead {
		r.header.Del("Content-Length")
	}
	maps.Copy(w.Header(), r.header)
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body)
}

// below tells whether a request is about a path below some version's root.
func below(r *http.Request, pattern string) bool {
	return regexp.MustCompile("^/o2ims-infrastructureInventory/v[12]" + pattern + "/?$").MatchString(r.URL.Path)
}

// rewrite changes the filters of a request.
func rewrite(change func(filter string) string) func(*http.Request) {
	return func(r *http.Request) {
		parts := strings.Split(r.URL.RawQuery, "&")
		for i, part := range parts {
			if value, is := strings.CutPrefix(part, "filter="); is {
				if plain, err := url.QueryUnescape(value); err == nil {
					parts[i] = "filter=" + url.QueryEscape(change(plain))
				}
			}
		}
		r.URL.RawQuery = strings.Join(parts, "&")
	}
}

// without drops parameters.
func without(drop func(name string, q url.Values) bool) func(*http.Request) {
	return func(r *http.Request) {
		q, err := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
		if err != nil {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(q)) {
			if drop(name, q) {
				q.Del(name)
			}
		}
		r.URL.RawQuery = q.Encode()
	}
}

func named(name string) func(string, url.Values) bool {
	return func(n string, _ url.Values) bool { return n == name }
}

var (
	shouting = regexp.MustCompile("[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}")
	offset   = regexp.MustCompile(`(T[0-9:.]+)[+-][0-9]{2}:[0-9]{2}`)
	negated  = regexp.MustCompile(`\((neq|nin|ncont),([^,]*),`)
	several  = regexp.MustCompile(`\(in,([^,]*),([^,)]*),[^)]*\)`)
)

// mutations are the faults that the suite must notice.
func mutations() []mutation {
	only1, only2 := []string{"v1"}, []string{"v1", "v2"}
	setStatus := func(from, to int) func(*backend, *http.Request, *reply) {
		return func(_ *backend, _ *http.Request, a *reply) {
			if a.status == from {
				a.status = to
			}
		}
	}
	attribute := func(pattern, name string, value any) func(*backend, *http.Request, *reply) {
		return func(_ *backend, r *http.Request, a *reply) {
			if below(r, pattern) {
				a.records(func(o map[string]any) {
					if value == nil {
						delete(o, name)
					} else if _, there := o[name]; there || name == "oCloudSiteId" || name == "instance" {
						o[name] = value
					}
				})
			}
		}
	}
	header := func(name, value string) func(*backend, *http.Request, *reply) {
		return func(_ *backend, _ *http.Request, a *reply) {
			switch {
			case a.header.Get(name) == "":
			case value == "":
				a.header.Del(name)
			default:
				a.header.Set(name, value)
			}
		}
	}
	inProblem := func(change func(p map[string]any)) func(*backend, *http.Request, *reply) {
		return func(_ *backend, _ *http.Request, a *reply) {
			if a.status >= 400 {
				a.edit(func(v any) any { change(v.(map[string]any)); return v })
			}
		}
	}
	var counter atomic.Int64
	const resources = "/resourcePools/[^/]*/resources"

	return []mutation{
		// attributes
		{name: "a mandatory attribute is missing", group: "TYP", answer: attribute("/resourceTypes", "vendor", nil)},
		{name: "a name is empty", group: "POL", answer: attribute("/resourcePools", "name", "")},
		{name: "an array is null", group: "RES", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, resources) {
				a.records(func(o map[string]any) { o["tags"] = nil })
			}
		}},
		{name: "null anywhere", group: "ALL", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/deploymentManagers") {
				a.records(func(o map[string]any) { o["description"] = nil })
			}
		}},
		{name: "the nil UUID", group: "ALL", answer: attribute("/resourcePools", "oCloudId", uuid.Nil.String())},
		{name: "an identifier that is no UUID", group: "DMS", answer: attribute("/deploymentManagers", "oCloudId", "north")},
		{name: "a number is sent as a text", group: "LOC", majors: only2, answer: attribute("/locations", "civicAddress", []any{map[string]any{"caType": "3", "caValue": "City"}})},
		{name: "latitude before longitude", group: "LOC", majors: only2, answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/locations") {
				a.records(func(o map[string]any) {
					if point, is := o["coordinate"].(map[string]any); is {
						c := point["coordinates"].([]any)
						c[0], c[1] = c[1], c[0]
					}
				})
			}
		}},
		{name: "capacity is a number", group: "DMS", answer: attribute("/deploymentManagers", "capacity", map[string]any{"cpu": 64})},
		{name: "another word for a state", group: "SRV", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, resources) {
				a.records(func(o map[string]any) {
					if e, is := o["extensions"].(map[string]any); is {
						e["operationalState"] = "Enabled"
					}
				})
			}
		}},
		{name: "an attribute of v2 in v1", group: "ALL", answer: attribute("/resourcePools", "oCloudSiteId", "77aa3c52-0d2e-5a39-8f5e-0f2b1f4a6d11")},
		{name: "v1 without globalcloudId", group: "CNF", answer: attribute("", "globalcloudId", nil)},
		{name: "serviceUri with a path", group: "CLD", answer: attribute("", "serviceUri", "https://o2ims.example.net/o2ims")},
		{name: "an attribute that the document does not know", group: "DOC", answer: attribute("/resourcePools", "instance", "x")},
		{name: "identifiers that change", group: "ALL", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/resourcePools") {
				a.records(func(o map[string]any) { o["resourcePoolId"] = uuid.NewString() })
			}
		}},
		{name: "one record twice", group: "ALL", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/resourceTypes") {
				a.list(func(l []any) []any { return append(l, l...) })
			}
		}},

		// references
		{name: "a type that is nowhere", group: "REF", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, resources) {
				a.records(func(o map[string]any) { o["resourceTypeId"] = "11111111-1111-5111-8111-111111111111" })
			}
		}},
		{name: "a site that does not list its pools", group: "REF", majors: only2, answer: attribute("/oCloudSites", "resourcePools", []any{})},
		{name: "v1 and v2 have different records", group: "REF", majors: only2, answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/deploymentManagers") && strings.Contains(r.URL.Path, "/v2/") {
				a.list(func(l []any) []any { return l[:len(l)-1] })
			}
		}},
		{name: "elements are not addressable", group: "ALL", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, resources+"/[^/]*") && bytes.Contains(a.body, []byte(`"class":`)) && !bytes.Contains(a.body, []byte(`"clusterName":`)) {
				a.status, a.body = http.StatusNotFound, []byte(`{"status":404,"title":"Not Found","detail":"x"}`)
			}
		}},
		{name: "a resource below any pool", group: "PTH", answer: anyPool},

		// protocol
		{name: "404 becomes 400", group: "PTH", answer: setStatus(404, 400)},
		{name: "400 becomes 500", group: "FLT", answer: setStatus(400, 500)},
		{name: "405 without Allow", group: "MTH", answer: header("Allow", "")},
		{name: "405 allows too much", group: "MTH", answer: header("Allow", "GET, HEAD, POST")},
		{name: "501 for 405", group: "MTH", answer: setStatus(405, 501)},
		{name: "no trailing slash", group: "PTH", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.HasSuffix(r.URL.Path, "/") {
				a.status = http.StatusNotFound
			}
		}},
		{name: "any case in paths", group: "PTH", request: func(r *http.Request) {
			r.URL.Path = strings.Replace(r.URL.Path, "/resourcetypes", "/resourceTypes", 1)
		}},
		{name: "a raw semicolon is refused", group: "HTP", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.Contains(r.URL.RawQuery, ";") {
				a.status = http.StatusBadRequest
			}
		}},
		{name: "v2 where only v1 is served", group: "VER", majors: only1, answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/deploymentManagers") && strings.Contains(r.URL.Path, "/v2/") {
				a.status, a.body = http.StatusOK, []byte("[]")
				a.header.Set("Content-Type", "application/json")
			}
		}},
		{name: "a version that is not served is listed", group: "VER", answer: func(_ *backend, _ *http.Request, a *reply) {
			a.body = bytes.Replace(a.body, []byte(`"apiVersions":[`), []byte(`"apiVersions":[{"version":"3.0.0"},`), 1)
		}},
		{name: "problem as application/json", group: "ERR", answer: func(_ *backend, _ *http.Request, a *reply) {
			if a.status >= 400 {
				a.header.Set("Content-Type", "application/json")
			}
		}},
		{name: "a problem without detail", group: "ERR", answer: inProblem(func(p map[string]any) { delete(p, "detail") })},
		{name: "a problem with another status", group: "ERR", answer: inProblem(func(p map[string]any) { p["status"] = 500 })},
		{name: "a problem with instance", group: "ERR", answer: inProblem(func(p map[string]any) { p["instance"] = []any{} })},
		{name: "a problem without the path's identifiers", group: "ERR", answer: inProblem(func(p map[string]any) { delete(p, "additionalAttributes") })},
		{name: "a constant ETag", group: "HTP", answer: header("ETag", `"same"`)},
		{name: "an ETag without quotes", group: "HTP", answer: header("ETag", "abc")},
		{name: "an ETag that changes by itself", group: "HTP", answer: func(_ *backend, _ *http.Request, a *reply) {
			a.header.Set("ETag", fmt.Sprintf("%q", fmt.Sprint(counter.Add(1))))
		}},
		{name: "If-None-Match is ignored", group: "HTP", request: func(r *http.Request) { r.Header.Del("If-None-Match") }},
		{name: "304 without ETag", group: "HTP", answer: func(_ *backend, _ *http.Request, a *reply) {
			if a.status == http.StatusNotModified {
				a.header.Del("ETag")
			}
		}},
		{name: "HEAD is 405", group: "HTP", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.Method == http.MethodHead {
				a.status = http.StatusMethodNotAllowed
			}
		}},
		{name: "HEAD with a body", group: "HTP", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.Method == http.MethodHead {
				a.hijack, a.body = true, []byte("[]")
			}
		}},
		{name: "HEAD without X-Total-Count", group: "HTP", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.Method == http.MethodHead {
				a.header.Del("X-Total-Count")
			}
		}},
		{name: "gzip for nobody", group: "HTP", request: func(r *http.Request) { r.Header.Del("Accept-Encoding") }},
		{name: "gzip for everybody", group: "HTP", request: func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }},
		{name: "no Vary", group: "HTP", answer: header("Vary", "")},
		{name: "another type for JSON", group: "HTP", answer: header("Content-Type", "text/json")},
		{name: "X-Total-Count is one too many", group: "HTP", answer: func(_ *backend, _ *http.Request, a *reply) {
			if n := a.header.Get("X-Total-Count"); n != "" {
				a.header.Set("X-Total-Count", n+"1")
			}
		}},
		{name: "X-Total-Count is the length of the page", group: "HTP", answer: func(_ *backend, _ *http.Request, a *reply) {
			a.list(func(l []any) []any { a.header.Set("X-Total-Count", fmt.Sprint(len(l))); return l })
		}},
		{name: "lists in another order", group: "HTP", answer: func(_ *backend, _ *http.Request, a *reply) {
			a.list(func(l []any) []any { slices.Reverse(l); return l })
		}},
		{name: "a URL may be as long as it likes", group: "LIM", answer: func(_ *backend, r *http.Request, a *reply) {
			if a.status == http.StatusRequestURITooLong {
				a.status = http.StatusOK
			}
		}},
		{name: "no limit to the terms", group: "LIM", request: rewrite(func(f string) string {
			terms := strings.Split(f, ";")
			return strings.Join(terms[:min(len(terms), 32)], ";")
		})},
		{name: "the document is not served", group: "DOC", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/openapi.yaml") {
				a.status = http.StatusNotFound
			}
		}},

		// who may
		{name: "401 after 404", group: "AUT", answer: func(b *backend, r *http.Request, a *reply) {
			if a.status != http.StatusUnauthorized {
				return
			}
			if known := b.as(r, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+adminToken) }); known.status == http.StatusNotFound {
				*a = *known
			}
		}},
		{name: "401 without WWW-Authenticate", group: "AUT", answer: header("Www-Authenticate", "")},
		{name: "401 with always the same challenge", group: "AUT", answer: header("Www-Authenticate", `Bearer realm="o2ims"`)},
		{name: "a reader may do everything", group: "AUT", request: func(r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer "+readerToken {
				r.Header.Set("Authorization", "Bearer "+adminToken)
			}
		}},
		{name: "anybody may read", group: "AUT", request: func(r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				r.Header.Set("Authorization", "Bearer "+adminToken)
			}
		}},
		{name: "a token in the query", group: "AUT", request: func(r *http.Request) {
			if token := r.URL.Query().Get("access_token"); token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
		}},
		{name: "a token may be kept", group: "AUT", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/deploymentManagers/[^/]*") && bytes.Contains(a.body, []byte(`"token"`)) {
				a.header.Set("Cache-Control", "private, no-cache")
			}
		}},
		{name: "a list shows tokens", group: "AUT", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/deploymentManagers") {
				a.records(func(o map[string]any) {
					if extensions, there := o["extensions"].(map[string]any); there {
						extensions["seen"] = fmt.Sprint("token.of.", o["name"])
					}
				})
			}
		}},
		{name: "a reader sees tokens", group: "AUT", request: func(r *http.Request) {
			if below(r, "/deploymentManagers/[^/]*") && strings.Contains(r.Header.Get("Authorization"), readerToken) {
				r.Header.Set("Authorization", "Bearer "+adminToken)
			}
		}},
		{name: "403 is 404", group: "AUT", answer: setStatus(403, 404)},
		{name: "405 before 403", group: "ORD", answer: setStatus(403, 405)},
		{name: "health wants a token", group: "AUT", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.URL.Path == "/readyz" && r.Header.Get("Authorization") == "" {
				a.status = http.StatusUnauthorized
			}
		}},

		// filters
		{name: "the filter is ignored", group: "FLT", request: without(named("filter"))},
		{name: "the second filter is ignored", group: "FLT", request: func(r *http.Request) {
			if first, second, found := strings.Cut(r.URL.RawQuery, "&filter="); found {
				_, rest, _ := strings.Cut(second, "&")
				r.URL.RawQuery = strings.TrimSuffix(first+"&"+rest, "&")
			}
		}},
		{name: "negatives do not match what is missing", group: "MIS", request: rewrite(func(f string) string {
			if m := negated.FindStringSubmatch(f); m != nil {
				return f + ";(neq," + m[2] + ",null)"
			}
			return f
		})},
		{name: "an unknown attribute is accepted", group: "CNF", answer: func(_ *backend, r *http.Request, a *reply) {
			if a.status == http.StatusBadRequest && strings.Contains(r.URL.RawQuery, "WrongAttrName") {
				a.status, a.body = http.StatusOK, []byte("[]")
			}
		}},
		{name: "UUIDs are compared letter by letter", group: "FLT", request: rewrite(func(f string) string { return shouting.ReplaceAllString(f, uuid.NewString()) })},
		{name: "times are compared as texts", group: "FLT", request: rewrite(func(f string) string { return offset.ReplaceAllString(f, "${1}Z") })},
		{name: "in knows one value", group: "FLT", request: rewrite(func(f string) string { return several.ReplaceAllString(f, "(eq,$1,$2)") })},
		{name: "gt is gte", group: "FLT", request: rewrite(func(f string) string { return strings.ReplaceAll(f, "(gt,", "(gte,") })},
		{name: "cont is eq", group: "FLT", request: rewrite(func(f string) string { return strings.ReplaceAll(f, "(cont,", "(eq,") })},
		{name: "ncont is neq", group: "FLT", request: rewrite(func(f string) string { return strings.ReplaceAll(f, "(ncont,", "(neq,") })},
		{name: "operators in one case only", group: "GRM", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.Contains(r.URL.RawQuery, "%28IN%2C") {
				a.status = http.StatusBadRequest
			}
		}},
		{name: "white space belongs to values", group: "FLT", request: rewrite(func(f string) string { return strings.ReplaceAll(f, " )", " x)") })},
		{name: "an open quote is closed by the end", group: "FLT", request: rewrite(func(f string) string {
			if strings.Count(f, "'")%2 == 1 && strings.HasSuffix(f, ")") && strings.Contains(f, ",'") {
				return strings.TrimSuffix(f, ")") + "')"
			}
			return f
		})},
		{name: "only the first term counts", group: "FLT", request: rewrite(func(f string) string {
			first, _, _ := strings.Cut(f, ");")
			return strings.TrimSuffix(first, ")") + ")"
		})},
		{name: "a filter on a list sees what the list shows", group: "MIS", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.Contains(r.URL.RawQuery, "exclude_fields=extensions") && strings.Contains(r.URL.RawQuery, "extensions%2F") {
				a.list(func([]any) []any { return []any{} })
			}
		}},
		{name: "explain counts wrongly", group: "EXP", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.Contains(r.URL.RawQuery, "explain") {
				a.edit(func(v any) any {
					if o, is := v.(map[string]any); is {
						o["matched"] = 0
					}
					return v
				})
			}
		}},

		// selectors
		{name: "exclude_fields is ignored", group: "SEL", request: without(named("exclude_fields"))},
		{name: "fields is ignored", group: "SEL", request: without(named("fields"))},
		{name: "all_fields is ignored", group: "CNF", request: without(named("all_fields"))},
		{name: "all_fields does not win", group: "SEL", request: without(func(name string, q url.Values) bool { return name == "all_fields" && len(q) > 1 })},
		{name: "forbidden combinations are accepted", group: "SEL", request: without(func(name string, q url.Values) bool {
			return name == "exclude_fields" && (q.Has("fields") || q.Has("exclude_default"))
		})},
		{name: "fields removes what is mandatory", group: "SEL", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.Contains(r.URL.RawQuery, "fields=") {
				a.records(func(o map[string]any) { delete(o, "description") })
			}
		}},
		{name: "everything by default", group: "SEL", request: func(r *http.Request) {
			if r.URL.RawQuery == "" && below(r, "/resourceTypes") {
				r.URL.RawQuery = "all_fields"
			}
		}},
		{name: "a single resource without elements", group: "SEL", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, resources+"/[^/]*") && r.URL.RawQuery == "" {
				a.records(func(o map[string]any) { delete(o, "elements") })
			}
		}},

		// subscriptions
		{name: "a subscription is nobody's", group: "SUB", answer: func(_ *backend, r *http.Request, a *reply) {
			if below(r, "/subscriptions") && a.status == http.StatusCreated {
				a.edit(func(v any) any { delete(v.(map[string]any), "extensions"); return v })
			}
		}},
		{name: "the creator is whom it is made for", group: "SUB", answer: func(_ *backend, r *http.Request, a *reply) {
			if behalf := r.Header.Get(auth.HeaderOnBehalfOf); below(r, "/subscriptions") && a.status == http.StatusCreated && behalf != "" {
				a.edit(ownedBy(behalf))
			}
		}},
		{name: "filters on owners are ignored", group: "SUB", request: rewrite(func(f string) string {
			if strings.Contains(f, "extensions/owner") {
				return ""
			}
			return f
		})},

		// pages
		{name: "a page loses a record", group: "PAG", answer: func(_ *backend, _ *http.Request, a *reply) {
			if a.header.Get("Link") != "" {
				a.list(func(l []any) []any { return l[:len(l)-1] })
			}
		}},
		{name: "a page repeats a record", group: "PAG", answer: func(_ *backend, _ *http.Request, a *reply) {
			if a.header.Get("Link") != "" {
				a.list(func(l []any) []any { return append(l, l[0]) })
			}
		}},
		{name: "the last page has a next one", group: "PAG", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.Contains(r.URL.RawQuery, "nextpage_opaque_marker=1000000") {
				a.header.Set("Link", "<https://o2ims.example.net"+r.URL.RequestURI()+`>; rel="next"`)
			}
		}},
		{name: "a relative next link", group: "PAG", answer: func(_ *backend, _ *http.Request, a *reply) {
			if link := a.header.Get("Link"); link != "" {
				a.header.Set("Link", strings.Replace(link, serviceURI, "", 1))
			}
		}},
		{name: "the next link forgets the filter", group: "PAG", answer: func(_ *backend, _ *http.Request, a *reply) {
			if link := a.header.Get("Link"); link != "" {
				a.header.Set("Link", regexp.MustCompile(`([?&])filter=[^&>]*&?`).ReplaceAllString(link, "$1"))
			}
		}},
		{name: "junk for a marker is the first page", group: "PAG", answer: firstPage(func(q url.Values) bool { return q.Get("nextpage_opaque_marker") == "junk" })},
		{name: "a marker is good for any filter", group: "PAG", answer: firstPage(func(q url.Values) bool { return q.Has("nextpage_opaque_marker") && q.Has("filter") })},
		{name: "numbers are no markers", group: "CNF", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.URL.Query().Get("nextpage_opaque_marker") == "2" {
				a.status = http.StatusBadRequest
			}
		}},
		{name: "beyond the last page is nothing", group: "PAG", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.URL.Query().Get("nextpage_opaque_marker") == "1000000" {
				a.list(func([]any) []any { return []any{} })
			}
		}},
	}
}

// ownedBy makes an object somebody's, who made it.
func ownedBy(name string) func(v any) any {
	return func(v any) any {
		v.(map[string]any)["extensions"] = map[string]any{"owner": name, "creator": name}
		return v
	}
}

// firstPage answers requests of a kind, if refused, with the first page.
func firstPage(is func(q url.Values) bool) func(*backend, *http.Request, *reply) {
	return func(b *backend, r *http.Request, a *reply) {
		if a.status != http.StatusBadRequest || !is(r.URL.Query()) {
			return
		}
		*a = *b.as(r, func(r *http.Request) { r.URL.RawQuery = "" })
	}
}

// anyPool answers for a resource that is in another pool than the path says.
func anyPool(b *backend, r *http.Request, a *reply) {
	if a.status != http.StatusNotFound || !below(r, "/resourcePools/[^/]*/resources/[^/]*") {
		return
	}
	parts := strings.Split(r.URL.Path, "/")
	pools := b.as(r, func(r *http.Request) {
		r.URL = &url.URL{Path: strings.Join(parts[:4], "/"), RawQuery: "nextpage_opaque_marker="}
	})
	var list []struct {
		ID string `json:"resourcePoolId"`
	}
	if json.Unmarshal(pools.body, &list) != nil {
		return
	}
	for _, pool := range list {
		parts[4] = pool.ID
		if other := b.as(r, func(r *http.Request) { r.URL = &url.URL{Path: strings.Join(parts, "/")} }); other.status == http.StatusOK {
			*a = *other
			return
		}
	}
}

// TestTheSuiteNotices puts faults into a sound server, one at a time. The cases of the group
// that is about the fault must fail, at least one of them, though none does without it.
func TestTheSuiteNotices(t *testing.T) {
	backends := map[string]*backend{}
	sound := map[string]func(group string) []string{}
	for _, majors := range [][]string{{"v1"}, {"v1", "v2"}} {
		name := strings.Join(majors, ",")
		b := newBackend(t, majors...)
		backends[name] = b
		target := b.proxy(t, mutation{})
		var mu sync.Mutex
		known := map[string][]string{}
		sound[name] = func(group string) []string {
			mu.Lock()
			defer mu.Unlock()
			if _, done := known[group]; !done {
				known[group] = failures(t, target, group)
				if known[group] == nil {
					known[group] = []string{}
				}
			}
			return known[group]
		}
	}
	for _, m := range slices.Concat(mutations(), monitoringMutations()) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			majors := "v1"
			if len(m.majors) > 1 {
				majors = strings.Join(m.majors, ",")
			}
			b := backends[majors]
			before := sound[majors](m.group)
			after := failures(t, b.proxy(t, m), m.group)
			noticed := slices.DeleteFunc(after, func(id string) bool { return slices.Contains(before, id) })
			if len(noticed) == 0 {
				t.Errorf("no case of group %s notices", m.group)
			}
			t.Logf("noticed by %v", noticed)
		})
	}
}

// failures returns what fails in one group of cases.
func failures(t *testing.T, target conformance.Target, group string) []string {
	t.Helper()
	target.Only, target.NoSkip = []string{group}, false
	report, err := conformance.Run(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	for _, result := range report.Failed() {
		failed = append(failed, result.Name())
	}
	return failed
}
