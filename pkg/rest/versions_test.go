package rest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/fault"
)

func TestVersions(t *testing.T) {
	all := Versions[int]{"v1": 1, "v2": 2, "v3": 3}
	for _, tc := range []struct {
		name  string
		names []string
		want  []int
		wrong []string // what the error says
	}{
		{"one", []string{"v2"}, []int{2}, nil},
		{"ascending, each once", []string{"v3", "v1", "v3"}, []int{1, 3}, nil},
		{"none", nil, nil, []string{"--versions: at least one"}},
		{"every unknown one", []string{"v4", "v1", "1"}, nil, []string{`--versions: "v4"`, `--versions: "1"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := all.Check("--versions", tc.names)
			if got, want := errors.Is(err, fault.Invalid), tc.wrong != nil; got != want || !want && err != nil {
				t.Fatalf("Check(%q) = %v, want invalid: %t", tc.names, err, want)
			}
			for _, want := range tc.wrong {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Check(%q) = %v, want %s in it", tc.names, err, want)
				}
			}
			if err != nil {
				return
			}
			if got := all.Named(tc.names); !slices.Equal(got, tc.want) {
				t.Errorf("Named(%q) = %v, want %v", tc.names, got, tc.want)
			}
		})
	}
}

func TestVersionLists(t *testing.T) {
	off := ""
	router := mux.NewRouter()
	VersionLists{
		BasePath: "/o2ims-x", BaseURL: func(r *http.Request) string { return "https://" + r.Host },
		Served: func(version string) bool { return version != off },
	}.Routes(router, Version{"v1", "1.2.0"}, Version{"v2", "2.0.0"})
	for _, tc := range []struct{ off, path, want string }{
		{"", "/api_versions", `{"uriPrefix":"https://hub/o2ims-x","apiVersions":[{"version":"1.2.0"},{"version":"2.0.0"}]}`},
		{"", "/v2/api_versions", `{"uriPrefix":"https://hub/o2ims-x/v2","apiVersions":[{"version":"2.0.0"}]}`},
		{"v1", "/api_versions", `{"uriPrefix":"https://hub/o2ims-x","apiVersions":[{"version":"2.0.0"}]}`},
	} {
		off = tc.off
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://hub/o2ims-x"+tc.path, nil))
		if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != tc.want {
			t.Errorf("without %q, GET %s: %d\n%s, want\n%s", tc.off, tc.path, w.Code, got, tc.want)
		}
	}
}

func TestOpenAPIIsSentOnce(t *testing.T) {
	h := OpenAPI([]byte("openapi: 3.1.0\n"))
	etag := ""
	for _, want := range []int{http.StatusOK, http.StatusNotModified} {
		r := httptest.NewRequest(http.MethodGet, "/openapi.yaml", nil)
		r.Header.Set("If-None-Match", etag)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if etag = w.Header().Get("ETag"); w.Code != want || etag == "" {
			t.Errorf("%d with ETag %q, want %d and one", w.Code, etag, want)
		}
	}
}
