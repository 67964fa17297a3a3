package smo

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkCall sends a notification of 1 KiB to a server on loopback that answers 204: with
// the standard library alone, with the client as nobody, and with a token that is held. The
// differences are what the guard and the token cost.
func BenchmarkCall(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	i := newIssuer(b, "s")
	nobody := client(b, toLoopback, Parts{})
	known := client(b, toLoopback, Parts{})
	if err := known.Configure(Settings{OAuth: i.oauth("s"), Hosts: []string{s.Listener.Addr().String()}}); err != nil {
		b.Fatal(err)
	}
	bare := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	for _, bc := range []struct {
		name string
		do   func(*http.Request) (*http.Response, error)
	}{{"net/http", bare.Do}, {"no-token", nobody.Do}, {"token-held", known.Do}} {
		body := strings.Repeat("x", 1024)
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, s.URL, strings.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				response, err := bc.do(r)
				if err != nil {
					b.Fatal(err)
				}
				response.Body.Close()
			}
		})
	}
	if got := i.count(); got > 1 {
		b.Errorf("%d tokens fetched, want 1", got)
	}
}

// BenchmarkTokenHeld looks a token up that is held, from all processors at once.
func BenchmarkTokenHeld(b *testing.B) {
	i := newIssuer(b, "s")
	c := client(b, toLoopback, Parts{})
	if err := c.Configure(Settings{OAuth: i.oauth("s")}); err != nil {
		b.Fatal(err)
	}
	tokens := c.current.Load().tokens
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := tokens.Token(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkTokenFetched gets a new token for each call, as if every one were refused.
func BenchmarkTokenFetched(b *testing.B) {
	i := newIssuer(b, "s")
	c := client(b, toLoopback, Parts{})
	if err := c.Configure(Settings{OAuth: i.oauth("s")}); err != nil {
		b.Fatal(err)
	}
	tokens := c.current.Load().tokens
	b.ReportAllocs()
	for b.Loop() {
		tokens.held = token{}
		if _, err := tokens.Token(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
