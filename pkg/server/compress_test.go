package server

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "br, gzip": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=0.5, br": true,
		"identity": false, "*": false, "gzipped": false, "gzip;q=x": false,
	} {
		h := http.Header{}
		if header != "" {
			h.Set("Accept-Encoding", header)
		}
		if got := acceptsGzip(h); got != want {
			t.Errorf("%q: %t, want %t", header, got, want)
		}
	}
}

// TestCompression goes through the whole handler.
func TestCompression(t *testing.T) {
	h := newServer(t, alwaysReady).Handler()
	long := strings.Repeat("a long answer ", 1000)
	for _, tc := range []struct {
		name, method, path, accept string
		compressed                 bool
		want                       string
	}{
		{"long", "GET", "/v1/long", "gzip", true, long},
		{"long, not asked for", "GET", "/v1/long", "", false, long},
		{"length not known", "GET", "/v1/long?unknown", "gzip", true, long},
		{"short", "GET", "/v1/things", "gzip", false, `{"hello":"reader"}`},
		{"head", "HEAD", "/v1/long", "gzip", true, ""},
		{"problem", "GET", "/v1/things/x", "gzip", false, "thingId"},
		{"panic", "GET", "/v1/panic", "gzip", false, "could not complete"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, prefix+tc.path, nil)
			r.Header.Set("Authorization", "Bearer reader")
			r.Header.Set("Accept-Encoding", tc.accept)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			compressed := w.Header().Get("Content-Encoding") == "gzip"
			if compressed != tc.compressed || w.Code == http.StatusOK && w.Header().Get("Vary") != "Accept-Encoding" {
				t.Fatalf("compressed: %t, want %t; Vary: %q", compressed, tc.compressed, w.Header().Get("Vary"))
			}
			if tag := w.Header().Get("ETag"); tag != "" && strings.HasSuffix(tag, `-gzip"`) != compressed {
				t.Errorf("ETag %s", tag)
			}
			if length := w.Header().Get("Content-Length"); compressed && length != "" || length != "" && tc.method == "GET" && length != strconv.Itoa(w.Body.Len()) {
				t.Errorf("Content-Length: %s of %d", length, w.Body.Len())
			}
			body := io.Reader(w.Body)
			if compressed && tc.method == "GET" {
				z, err := gzip.NewReader(body)
				if err != nil {
					t.Fatal(err)
				}
				body = z
			}
			got, err := io.ReadAll(body)
			if err != nil || !strings.Contains(string(got), tc.want) || tc.want == "" && len(got) > 0 {
				t.Errorf("%v: %.200s", err, got)
			}
		})
	}
}

// TestSizes: what is too long is refused with a problem, as everything is.
func TestSizes(t *testing.T) {
	s := httptest.NewUnstartedServer(newServer(t, alwaysReady).Handler())
	s.Config.MaxHeaderBytes = maxHeaderBytes
	s.Start()
	defer s.Close()
	for _, tc := range []struct {
		name, path, header string
		want               int
	}{
		{"long URI", prefix + "/v1/things?filter=" + strings.Repeat("x", 10<<10), "", 200},
		{"too long a URI", prefix + "/v1/things?filter=" + strings.Repeat("x", 40<<10), "", 414},
		{"long header", prefix + "/v1/things", strings.Repeat("x", 10<<10), 200},
		{"too long a header", prefix + "/v1/things", strings.Repeat("x", 70<<10), 431},
		{"too long a URI for a stranger", "/" + strings.Repeat("x", 40<<10), "", 414},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer reader")
			req.Header.Set("X-Long", tc.header)
			r, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			if err != nil || r.StatusCode != tc.want {
				t.Fatalf("%d %s (%v), want %d", r.StatusCode, body, err, tc.want)
			}
			checkProblem(t, r, body)
		})
	}
}
