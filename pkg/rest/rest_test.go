package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestProblemFor(t *testing.T) {
	secret := errors.New("dial tcp 192.0.2.1:6379: connection refused")
	for _, tc := range []struct {
		name       string
		err        error
		status     int
		detail     string // must be part of it
		keepSecret bool   // the text of the error must not be part of it
	}{
		{"invalid", fmt.Errorf("filter: offset 4: %w", fault.Invalid), 400, "offset 4", false},
		{"unauthenticated", fmt.Errorf("%w: %w", secret, fault.Unauthenticated), 401, "bearer token", true},
		{"forbidden", fmt.Errorf("user %q: %w", "eve", fault.Forbidden), 403, "eve", false},
		{"not found", fmt.Errorf("resource pool 7: %w", fault.NotFound), 404, "resource pool 7", false},
		{"conflict", fault.Conflict, 409, "conflict", false},
		{"too large", fault.TooLarge, 413, "too large", false},
		{"upstream", fmt.Errorf("%w: %w", secret, fault.Upstream), 502, "depends on", true},
		{"too many requests", fmt.Errorf("this client: %w", fault.RateLimited), 429, "this client: too many requests", false},
		{"unavailable", fmt.Errorf("%w: %w", secret, fault.Unavailable), 503, "at the moment", true},
		{"ours", secret, 500, "could not complete", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := problemFor(tc.err)
			if got.Status != tc.status || got.Title != http.StatusText(tc.status) {
				t.Errorf("problemFor(%v) = %d %q, want %d", tc.err, got.Status, got.Title, tc.status)
			}
			if !strings.Contains(got.Detail, tc.detail) {
				t.Errorf("detail = %q, want it to contain %q", got.Detail, tc.detail)
			}
			if tc.keepSecret && strings.Contains(got.Detail, "192.0.2.1") {
				t.Errorf("detail = %q gives internals away", got.Detail)
			}
		})
	}
}

// TestHandlerErrors checks what goes with an error beside its status.
func TestHandlerErrors(t *testing.T) {
	router := mux.NewRouter()
	router.Handle("/things/{thingId}", Methods{http.MethodGet: func(_ http.ResponseWriter, r *http.Request) error {
		switch mux.Vars(r)["thingId"] {
		case "busy":
			return fault.Unavailable
		case "secret":
			return fault.Unauthenticated
		default:
			return fault.NotFound
		}
	}})
	get := func(path, authorization string) *http.Response {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r.WithContext(WithRequestID(context.Background(), "rid-1")))
		return w.Result()
	}

	r := get("/things/17", "")
	var p map[string]any
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Header.Get("Content-Type"), "application/problem+json"; got != want {
		t.Errorf("content type = %q, want %q", got, want)
	}
	attrs, _ := p["additionalAttributes"].(map[string]any)
	if attrs["thingId"] != "17" || attrs["correlationId"] != "rid-1" {
		t.Errorf("additionalAttributes = %v, want thingId and correlationId", attrs)
	}
	if _, has := p["instance"]; has {
		t.Errorf("problem = %v, want no instance", p)
	}
	if got := get("/things/busy", "").Header.Get("Retry-After"); got == "" {
		t.Error("503 without Retry-After")
	}
	if got, want := get("/things/secret", "").Header.Get("WWW-Authenticate"), `Bearer realm="o2ims"`; got != want {
		t.Errorf("challenge without a token = %q, want %q", got, want)
	}
	if got := get("/things/secret", "Bearer x").Header.Get("WWW-Authenticate"); !strings.Contains(got, "invalid_token") {
		t.Errorf("challenge to a bad token = %q, want invalid_token", got)
	}
	if got := get("/things/"+strings.Repeat("x", 5000), ""); got.ContentLength > 1000 {
		t.Errorf("a long parameter comes back in %d bytes", got.ContentLength)
	}
}

func TestMethods(t *testing.T) {
	ok := func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	for _, tc := range []struct {
		name, method, contentType string
		methods                   Methods
		status                    int
		allow                     string
	}{
		{"get", "GET", "", Methods{"GET": ok}, 204, ""},
		{"head is get", "HEAD", "", Methods{"GET": ok}, 204, ""},
		{"post on a read-only path", "POST", "application/json", Methods{"GET": ok}, 405, "GET, HEAD"},
		{"options", "OPTIONS", "", Methods{"GET": ok, "POST": ok}, 405, "GET, HEAD, POST"},
		{"head without get", "HEAD", "", Methods{"POST": ok}, 405, "POST"},
		{"json", "POST", "application/json; charset=utf-8", Methods{"POST": ok}, 204, ""},
		{"undeclared", "POST", "", Methods{"POST": ok}, 204, ""},
		{"xml", "POST", "application/xml", Methods{"POST": ok}, 415, ""},
		{"nonsense", "PUT", ";;", Methods{"PUT": ok}, 415, ""},
		{"merge patch", "PATCH", "application/merge-patch+json", Methods{"PATCH": ok}, 204, ""},
		{"merge patch by post", "POST", "application/merge-patch+json", Methods{"POST": ok}, 415, ""},
		{"405 before 415", "PUT", "application/xml", Methods{"GET": ok}, 405, "GET, HEAD"},
		{"get with a content type", "GET", "text/plain", Methods{"GET": ok}, 204, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, "/", nil)
			r.Header.Set("Content-Type", tc.contentType)
			w := httptest.NewRecorder()
			tc.methods.ServeHTTP(w, r)
			if w.Code != tc.status || w.Header().Get("Allow") != tc.allow {
				t.Errorf("status %d, Allow %q, want %d, %q", w.Code, w.Header().Get("Allow"), tc.status, tc.allow)
			}
		})
	}
}

func TestUUID(t *testing.T) {
	for _, tc := range []struct {
		in    string
		valid bool
	}{
		{"262c8f17-52b5-4614-9e56-812ae21fa8a7", true},
		{"262C8F17-52B5-4614-9E56-812AE21FA8A7", true},
		{"262c8f1752b546149e56812ae21fa8a7", false},
		{"urn:uuid:262c8f17-52b5-4614-9e56-812ae21fa8a7", false},
		{"{262c8f17-52b5-4614-9e56-812ae21fa8a7}", false},
		{"edge-1", false},
		{"", false},
	} {
		r := mux.SetURLVars(httptest.NewRequest(http.MethodGet, "/", nil), map[string]string{"id": tc.in})
		_, err := UUID(r, "id")
		if (err == nil) != tc.valid || err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("UUID(%q): %v, want valid: %t", tc.in, err, tc.valid)
		}
	}
}

func TestNormalize(t *testing.T) {
	for _, tc := range []struct{ in, path, query string }{
		{"/a/b", "/a/b", ""},
		{"/a/b/", "/a/b", ""},
		{"/a/b//", "/a/b/", ""},
		{"/", "/", ""},
		{"/a?filter=(eq,x,1);(eq,y,2)&all_fields", "/a", "filter=(eq,x,1)%3B(eq,y,2)&all_fields"},
		{"/a/?filter=(eq,x,1)%3b", "/a", "filter=(eq,x,1)%3b"},
	} {
		r := httptest.NewRequest(http.MethodGet, tc.in, nil)
		before := *r.URL
		got := Normalize(r)
		if got.URL.Path != tc.path || got.URL.RawQuery != tc.query {
			t.Errorf("Normalize(%s) = %s ? %s, want %s ? %s", tc.in, got.URL.Path, got.URL.RawQuery, tc.path, tc.query)
		}
		if *r.URL != before {
			t.Errorf("Normalize(%s) changed its argument", tc.in)
		}
	}
	r := Normalize(httptest.NewRequest(http.MethodGet, "/a?filter=(eq,x,1);(eq,y,2)&fields=z", nil))
	if q := r.URL.Query(); q.Get("filter") != "(eq,x,1);(eq,y,2)" || q.Get("fields") != "z" {
		t.Errorf("query = %v", q)
	}
}

func TestReadJSON(t *testing.T) {
	type thing struct {
		Name string `json:"name"`
	}
	for _, tc := range []struct {
		name, body string
		want       error
	}{
		{"right", `{"name":"x"}`, nil},
		{"space after", "{\"name\":\"x\"}\n ", nil},
		{"xml", `<thing/>`, fault.Invalid},
		{"wrong type", `{"name":1}`, fault.Invalid},
		{"unknown attribute", `{"nom":"x"}`, fault.Invalid},
		{"empty", ``, fault.Invalid},
		{"two values", `{"name":"x"}{"name":"y"}`, fault.Invalid},
		{"too large", `{"name":"` + strings.Repeat("x", MaxBodyBytes) + `"}`, fault.TooLarge},
		{"too large after the value", `{"name":"x"}` + strings.Repeat(" ", MaxBodyBytes), fault.TooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var v thing
			err := ReadJSON(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tc.body)), &v)
			if !errors.Is(err, tc.want) || (tc.want == nil) != (err == nil) {
				t.Errorf("ReadJSON = %v, want %v", err, tc.want)
			}
		})
	}
}

func sequence(items []string, fail error) func(yield func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		for _, item := range items {
			if !yield([]byte(item), nil) {
				return
			}
		}
		if fail != nil {
			yield(nil, fail)
		}
	}
}

func TestWriteList(t *testing.T) {
	for _, tc := range []struct {
		items []string
		want  string
	}{
		{nil, `[]`},
		{[]string{`{"a":1}`}, `[{"a":1}]`},
		{[]string{`1`, `2`, `3`}, `[1,2,3]`},
	} {
		w := httptest.NewRecorder()
		if err := WriteList(w, sequence(tc.items, nil)); err != nil {
			t.Fatal(err)
		}
		if got := w.Body.String(); got != tc.want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("WriteList(%v) = %s, want %s", tc.items, got, tc.want)
		}
	}
}

// TestWriteListFails checks that a list that fails amid its records does not look whole.
func TestWriteListFails(t *testing.T) {
	w := httptest.NewRecorder()
	if err := WriteList(w, sequence(nil, fault.Unavailable)); !errors.Is(err, fault.Unavailable) || w.Body.Len() > 0 {
		t.Errorf("failure before the first record: %v after %d bytes, want it returned", err, w.Body.Len())
	}

	s := httptest.NewServer(Handler(func(w http.ResponseWriter, _ *http.Request) error {
		return WriteList(w, sequence([]string{`1`, `2`}, fault.Unavailable))
	}))
	defer s.Close()
	r, err := http.Get(s.URL)
	if err == nil {
		_, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	if err == nil {
		t.Error("a list that broke off was received as if it were whole")
	}
}

func TestEncodeLeavesMarkupAlone(t *testing.T) {
	got, err := Encode(map[string]string{"a": "<&>"})
	if err != nil || !bytes.Equal(got, []byte(`{"a":"<&>"}`)) {
		t.Errorf("Encode = %s, %v", got, err)
	}
}

// TestRetryAfter: whole seconds, and never so few that a client comes back for nothing.
func TestRetryAfter(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{fault.Unavailable, "5"},
		{fault.RateLimited, "5"},
		{fault.WithRetryAfter(fault.RateLimited, 0), "1"},
		{fault.WithRetryAfter(fault.RateLimited, time.Millisecond), "1"},
		{fault.WithRetryAfter(fault.RateLimited, time.Minute), "60"},
		{fmt.Errorf("a client: %w", fault.WithRetryAfter(fault.RateLimited, 1001*time.Millisecond)), "2"},
		{fault.WithRetryAfter(fault.NotFound, time.Minute), ""},
	} {
		w := httptest.NewRecorder()
		WriteProblem(w, httptest.NewRequest(http.MethodGet, "/", nil), tc.err)
		if got := w.Header().Get("Retry-After"); got != tc.want {
			t.Errorf("%v: Retry-After %q, want %q", tc.err, got, tc.want)
		}
	}
}
