package server

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/rest"
)

// auditedRoutes make things, with what their handlers tell the audit log.
func auditedRoutes(h **house) func(*mux.Router) {
	return func(r *mux.Router) {
		r.Handle(prefix+"/v1/wishes", rest.Methods{http.MethodPost: func(w http.ResponseWriter, r *http.Request) error {
			var wish struct{ Callback, Secret string }
			if err := rest.ReadJSON(w, r, &wish); err != nil {
				return err
			}
			(*h).pass(1500 * time.Microsecond)
			a := rest.AuditOf(r.Context())
			a.ResourceID, a.Owner, a.Creator = "w-1", "rapp-7", "smo"
			w.WriteHeader(http.StatusCreated)
			return nil
		}})
		change := func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusNoContent); return nil }
		r.Handle(prefix+"/v1/wishes/{wishId}/parts/{partId}", rest.Methods{
			http.MethodPatch: change, http.MethodPut: change, http.MethodDelete: change,
			http.MethodGet: func(w http.ResponseWriter, r *http.Request) error {
				rest.AuditOf(r.Context()).Credentials = r.URL.Query().Has("credentials")
				_, err := w.Write([]byte("what was asked for"))
				return err
			},
		})
		r.Handle(prefix+"/v1/panic", rest.Methods{http.MethodPost: func(http.ResponseWriter, *http.Request) error { panic("amid it") }})
	}
}

// TestAudit checks every field of the audit log, and that there are no others.
func TestAudit(t *testing.T) {
	var h *house
	h = newHouse(t, RateLimits{ClientQPS: 1, ClientBurst: 100}, func(p *Parts) {
		p.Mounts[0].Routes = auditedRoutes(&h)
		p.TrustedProxy = netip.MustParsePrefix("198.51.100.0/24").Contains
	})
	written := `{"callback":"https://smo.example.net/cb?token=callback-secret","secret":"body-secret"}`
	entry := func(changed map[string]any) map[string]any {
		e := map[string]any{
			"level": "INFO", "msg": "audit", "audit": 1.0, "user": "user-of-good", "client": "user-of-good",
			"roles": []any{"o2ims-admin", "o2ims-reader"}, "verb": "create", "path": prefix + "/v1/wishes",
			"resourceId": "", "owner": "", "creator": "", "credentials": false, "status": 201.0, "durationMs": 0.0,
			"remoteAddress": "192.0.2.1", "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
		}
		maps.Copy(e, changed)
		return e
	}
	const part = "/v1/wishes/w%2F1/parts/p%201"
	for _, tc := range []struct {
		name, method, path, token, body string
		headers                         map[string]string
		want                            map[string]any // nil: no line
	}{
		{"created", "POST", "/v1/wishes", "good", written, nil,
			entry(map[string]any{"resourceId": "w-1", "owner": "rapp-7", "creator": "smo", "durationMs": 1.5})},
		{"by another name of the service", "POST", "ALIAS/v1/wishes", "good", written, nil,
			entry(map[string]any{"path": alias + "/v1/wishes", "resourceId": "w-1", "owner": "rapp-7", "creator": "smo", "durationMs": 1.5})},
		{"changed", "PATCH", part + "?filter=query-secret", "good", "", nil,
			entry(map[string]any{"verb": "patch", "path": prefix + part, "resourceId": "p 1", "status": 204.0})},
		{"replaced", "PUT", part, "good", "", nil, entry(map[string]any{"verb": "update", "path": prefix + part, "resourceId": "p 1", "status": 204.0})},
		{"not allowed", "DELETE", part, "good", "", nil, entry(map[string]any{"verb": "delete", "path": prefix + part, "resourceId": "p 1", "status": 403.0})},
		{"no good", "POST", "/v1/wishes", "good", `{"callback":7}`, nil, entry(map[string]any{"status": 400.0})},
		{"no such path", "POST", "/v1/nothing", "good", "", nil, entry(map[string]any{"path": prefix + "/v1/nothing", "status": 404.0})},
		{"no such method", "PUT", "/v1/wishes", "good", "", nil, entry(map[string]any{"verb": "update", "status": 405.0})},
		{"a method that there is not", "BREW", "/v1/wishes", "good", "", nil, entry(map[string]any{"verb": "other", "status": 405.0})},
		{"panic", "POST", "/v1/panic", "good", "", nil, entry(map[string]any{"path": prefix + "/v1/panic", "status": 500.0})},
		{"a long path", "DELETE", "/v1/" + strings.Repeat("x", 600), "good", "", nil,
			entry(map[string]any{"verb": "delete", "path": (prefix + "/v1/" + strings.Repeat("x", 600))[:maxAuditedPath] + "…", "status": 403.0})},
		{"a line break", "DELETE", "/v1/a%0Aaudit=1", "good", "", nil, entry(map[string]any{"verb": "delete", "path": prefix + "/v1/a%0Aaudit=1", "status": 403.0})},
		{"through a proxy", "PUT", part, "good", "", map[string]string{"X-Forwarded-For": "203.0.113.9", "remote": "198.51.100.1:4711"},
			entry(map[string]any{"verb": "update", "path": prefix + part, "resourceId": "p 1", "status": 204.0, "remoteAddress": "203.0.113.9"})},
		{"without a trace", "PUT", part, "good", "", map[string]string{"Traceparent": "00-bearer-secret"},
			entry(map[string]any{"verb": "update", "path": prefix + part, "resourceId": "p 1", "status": 204.0, "traceId": "the request's"})},
		{"credentials shown", "GET", part + "?credentials", "good", "", nil,
			entry(map[string]any{"verb": "get", "path": prefix + part, "resourceId": "p 1", "status": 200.0, "credentials": true})},
		{"nothing of the kind shown", "GET", part, "good", "", nil, nil},
		{"a stranger", "POST", "/v1/wishes", "stolen-secret", written, nil, nil},
		{"nobody", "POST", "/v1/wishes", "", written, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			logged := new(bytes.Buffer)
			before := slog.Default()
			slog.SetDefault(slog.New(slog.NewJSONHandler(logged, nil)))
			defer slog.SetDefault(before)

			path, called := strings.CutPrefix(tc.path, "ALIAS")
			if called {
				path = alias + path
			} else {
				path = prefix + path
			}
			r := httptest.NewRequest(tc.method, path, strings.NewReader(tc.body))
			if tc.token != "" {
				r.Header.Set("Authorization", "Bearer "+tc.token)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Traceparent", goodParent)
			for name, value := range tc.headers {
				r.Header.Set(name, value)
			}
			r.RemoteAddr = "192.0.2.1:4711"
			if remote := r.Header.Get("remote"); remote != "" {
				r.RemoteAddr = remote
			}
			w := httptest.NewRecorder()
			h.handler.ServeHTTP(w, r)

			var lines []map[string]any
			for line := range strings.Lines(logged.String()) {
				var fields map[string]any
				if err := json.Unmarshal([]byte(line), &fields); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				if fields["msg"] == "audit" {
					lines = append(lines, fields)
				}
			}
			if tc.want == nil {
				if len(lines) > 0 {
					t.Errorf("audited: %v", lines)
				}
				return
			}
			if len(lines) != 1 {
				t.Fatalf("%d lines of audit, want 1:\n%s", len(lines), logged)
			}
			id := w.Header().Get("X-Request-Id")
			want := maps.Clone(tc.want)
			want["correlationId"], want["time"] = id, lines[0]["time"]
			if want["traceId"] == "the request's" {
				want["traceId"] = id
			}
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if got, _ := json.Marshal(lines[0][name]); string(got) != encode(t, want[name]) {
					t.Errorf("%s = %s, want %s", name, got, encode(t, want[name]))
				}
				delete(lines[0], name)
			}
			if len(lines[0]) > 0 {
				t.Errorf("fields that nobody knows of: %v", lines[0])
			}
			for _, secret := range []string{"good\"", "Bearer", "-secret", "smo.example.net"} {
				if strings.Contains(strings.ReplaceAll(logged.String(), "user-of-good", ""), secret) {
					t.Errorf("%s is in the log:\n%s", secret, logged)
				}
			}
		})
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A request that is one too many is audited like any other that was refused.
func TestRateLimitedWritesAreAudited(t *testing.T) {
	logged := new(bytes.Buffer)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(logged, nil)))
	defer slog.SetDefault(before)
	h := newHouse(t, RateLimits{ClientQPS: 1, ClientBurst: 1}, nil)
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, prefix+"/v1/things", strings.NewReader("{}"))
		r.Header.Set("Authorization", "Bearer good")
		h.handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	if got := strings.Count(logged.String(), `"msg":"audit"`); got != 2 || !strings.Contains(logged.String(), `"status":429,"durationMs"`) {
		t.Errorf("%d lines of audit, want one for 201 and one for 429:\n%s", got, logged)
	}
}

// What a service switched off answers is what a path answers that never was.
func TestHidden(t *testing.T) {
	h := newHouse(t, RateLimits{}, func(p *Parts) {
		p.Hidden = func(path string) bool { return strings.HasPrefix(path, prefix+"/v1/things") }
	})
	ask := func(token, path string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		var p rest.ProblemDetails
		_ = json.Unmarshal(w.Body.Bytes(), &p)
		return w.Code, p.Detail
	}
	never, detail := ask("good", prefix+"/v1/never")
	for _, path := range []string{prefix + "/v1/things", alias + "/v1/things", prefix + "/v1/things/"} {
		if got, said := ask("good", path); got != never || said != detail || got != 404 {
			t.Errorf("%s: %d %s, want %d %s", path, got, said, never, detail)
		}
	}
	if got, _ := ask("bad", prefix+"/v1/things"); got != 401 {
		t.Errorf("a stranger is told %d, want 401", got)
	}
	if got, _ := ask("good", prefix+"/v1/named/x"); got != 200 {
		t.Errorf("what is not switched off answers %d", got)
	}
}

// TestRefusedFromWhere checks that a refusal in the log says where it came from, and that the
// audit log says the same of it.
func TestRefusedFromWhere(t *testing.T) {
	h := newHouse(t, RateLimits{}, func(p *Parts) { p.TrustedProxy = netip.MustParsePrefix("198.51.100.0/24").Contains })
	const stranger, proxy = "192.0.2.1:4711", "198.51.100.1:4711"
	for _, tc := range []struct{ name, token, remote, forwarded, want string }{
		{"may not", "good", stranger, "", "192.0.2.1"},
		{"may not, through a proxy", "good", proxy, "203.0.113.9", "203.0.113.9"},
		{"may not, through a proxy that names nobody", "good", proxy, "", "198.51.100.1"},
		{"may not, and says it came through a proxy", "good", stranger, "203.0.113.9", "192.0.2.1"},
		{"not known", "stolen", stranger, "", "192.0.2.1"},
		{"not known, through a proxy", "stolen", proxy, "203.0.113.9", "203.0.113.9"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			logged := new(bytes.Buffer)
			before := slog.Default()
			slog.SetDefault(slog.New(slog.NewJSONHandler(logged, nil)))
			defer slog.SetDefault(before)

			r := httptest.NewRequest(http.MethodDelete, prefix+"/v1/things", nil)
			r.RemoteAddr = tc.remote
			r.Header.Set("Authorization", "Bearer "+tc.token)
			if tc.forwarded != "" {
				r.Header.Set("X-Forwarded-For", tc.forwarded)
			}
			h.handler.ServeHTTP(httptest.NewRecorder(), r)

			from := map[string]any{}
			for line := range strings.Lines(logged.String()) {
				var fields map[string]any
				if err := json.Unmarshal([]byte(line), &fields); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				message, _ := fields["msg"].(string)
				from[message] = fields["remoteAddress"]
			}
			if from["request refused"] != tc.want {
				t.Errorf("refused: remoteAddress = %v, want %s:\n%s", from["request refused"], tc.want, logged)
			}
			if address, audited := from["audit"]; audited != (tc.token == "good") || audited && address != tc.want {
				t.Errorf("audited: %t, remoteAddress = %v, want %s:\n%s", audited, address, tc.want, logged)
			}
		})
	}
}
