package server

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkRequest is a small GET through everything but the connection: what it costs to
// know the caller, with the answers of the apiserver remembered and not, and to hold it to its
// limits. The apiserver is a fake in this process: what a real one takes comes on top.
func BenchmarkRequest(b *testing.B) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(io.Discard, nil))) // encoded, as in production
	defer slog.SetDefault(before)
	limits := RateLimits{ClientQPS: 1e9, ClientBurst: 1 << 30, AuthFailuresPerMinute: 1 << 30}
	for _, bench := range []struct {
		name   string
		limits RateLimits
		token  func(i int) string
	}{
		{"cached", RateLimits{}, func(int) string { return "good" }},
		{"cached, with limits", limits, func(int) string { return "good" }},
		{"uncached", RateLimits{}, func(i int) string { return fmt.Sprint("good-", i) }},
		{"uncached, with limits", limits, func(i int) string { return fmt.Sprint("good-", i) }},
		{"refused", limits, func(i int) string { return fmt.Sprint("bad-", i) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			h := newHouse(b, bench.limits, nil)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r := httptest.NewRequest(http.MethodGet, prefix+"/v1/things", nil)
				r.Header.Set("Authorization", "Bearer "+bench.token(i))
				h.handler.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
