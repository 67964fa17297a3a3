package auth

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/o2ims/o2ims/pkg/auth/authtest"
	"github.com/o2ims/o2ims/pkg/fault"
)

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within 20 s", what)
		case <-tick.C:
		}
	}
}

// TestKeysRotate rotates the issuer's keys at once and without notice.
func TestKeysRotate(t *testing.T) {
	w := newWorld(t)
	old := w.issuer.Token(w.issuer.Claims())
	// Another one of the first key. Its end keeps it from being remembered below.
	former := w.issuer.Token(w.issuer.Claims().With("exp", w.clock.Now().Add(keysRefresh).Unix()))
	for rotation := range searchBurst {
		if _, err := w.show(t, w.issuer.Token(w.issuer.Claims())); err != nil {
			t.Fatalf("after %d rotations: %v", rotation, err)
		}
		w.issuer.Rotate()
	}
	if _, err := w.show(t, old); err != nil {
		t.Errorf("a key that is still published: %v", err)
	}

	w.issuer.Withdraw()
	w.clock.pass(keysRefresh)
	if _, err := w.show(t, w.issuer.Token(w.issuer.Claims())); err != nil {
		t.Errorf("a new key while old ones are asked for again: %v", err)
	}
	until(t, "a withdrawn key is no longer believed", func() bool {
		_, err := w.show(t, former)
		return errors.Is(err, fault.Unauthenticated)
	})
}

// TestFloodOfUnknownKeys checks that strangers cannot direct a flood at the issuer, and that
// a rotation is noticed in spite of it.
func TestFloodOfUnknownKeys(t *testing.T) {
	w := newWorld(t)
	if _, err := w.show(t, w.issuer.Token(w.issuer.Claims())); err != nil {
		t.Fatal(err)
	}
	before := w.keySets()
	flood := func() {
		var wait sync.WaitGroup
		for n := range 200 {
			token := w.issuer.Token(w.issuer.Claims(), authtest.Algorithm("EdDSA"), authtest.Header("kid", fmt.Sprint("stranger-", n)))
			if n%2 == 0 {
				token = w.issuer.Token(w.issuer.Claims(), authtest.Algorithm("EdDSA"), authtest.ForeignKey())
			}
			wait.Go(func() {
				_, err := w.show(t, token)
				expect(t, "forged token", err, fault.Unauthenticated)
			})
		}
		wait.Wait()
	}
	flood()
	if got := w.keySets() - before; got == 0 || got > searchBurst {
		t.Errorf("a flood made %d requests for keys, want 1 to %d", got, searchBurst)
	}
	before = w.keySets()
	for range 6 {
		w.clock.pass(searchEvery)
		flood()
	}
	if got := w.keySets() - before; got != 6 {
		t.Errorf("a flood of a minute made %d requests for keys, want 6", got)
	}

	w.issuer.Rotate()
	rotated := w.issuer.Token(w.issuer.Claims())
	_, err := w.show(t, rotated)
	expect(t, "a new key amid the flood", err, fault.Unauthenticated)
	w.clock.pass(searchEvery)
	flood() // whoever asks, all learn of it
	_, err = w.show(t, rotated)
	expect(t, "the same token when it is known", err, nil)
}

// TestKeyOfTheSameName checks that a new key is found although the issuer did not rename it.
func TestKeyOfTheSameName(t *testing.T) {
	w := newWorld(t)
	unnamed := func() string {
		return w.issuer.Token(w.issuer.Claims(), authtest.Header("kid", nil))
	}
	_, err := w.show(t, unnamed())
	expect(t, "without a key id", err, nil)
	w.issuer.Rotate()
	w.issuer.Withdraw()
	_, err = w.show(t, unnamed())
	expect(t, "without a key id after a rotation", err, nil)
}

// TestIssuerAway follows an issuer that fails, in each way that it can, and comes back.
func TestIssuerAway(t *testing.T) {
	giant := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"keys":[`, strings.Repeat(" ", maxDocumentBytes), `]}`)
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat("secret ", 1000), code) }
	}
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	for name, answer := range map[string]http.HandlerFunc{
		"500":            status(500),
		"404":            status(404),
		"redirect":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://127.0.0.1:1/", 302) },
		"giant":          giant,
		"no JSON":        body("<html>"),
		"another issuer": body(`{"issuer":"https://other.example","jwks_uri":"https://other.example/keys"}`),
		"hangs up":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.issuer.Intercept(answer)
			token := w.issuer.Token(w.issuer.Claims())
			for range 5 {
				_, err := w.show(t, token)
				expect(t, "while it fails", err, fault.Unavailable)
				if err != nil && len(err.Error()) > 600 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
			}
			if discoveries, _ := w.issuer.Asked(); discoveries != 1 {
				t.Errorf("asked %d times at once, want 1", discoveries)
			}
			w.issuer.Intercept(nil)
			w.clock.pass(retryFirst)
			_, err := w.show(t, token)
			expect(t, "when it is back", err, nil)
		})
	}
}

func TestKeySetsThatAreNoUse(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct{ name, document, keys string }{
		{"key set of http", `{"issuer":"ISS","jwks_uri":"http://keys.example/keys"}`, ""},
		{"key set with a password", `{"issuer":"ISS","jwks_uri":"https://a:b@keys.example/keys"}`, ""},
		{"no key set", `{"issuer":"ISS"}`, ""},
		{"key set that is a file", `{"issuer":"ISS","jwks_uri":"file:///etc/passwd"}`, ""},
		{"no keys", "", `{"keys":[]}`},
		{"only keys for encryption", "", `{"keys":[{"kty":"OKP","crv":"Ed25519","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`},
		{"only secrets", "", `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`},
		{"only unknown kinds", "", `{"keys":[{"kty":"PQ"},{},7]}`},
		{"too many", "", `{"keys":[` + strings.Repeat("{},", maxKeys) + `{}]}`},
	} {
		w.issuer.Intercept(func(out http.ResponseWriter, r *http.Request) {
			text := tc.keys
			switch {
			case r.URL.Path != authtest.DiscoveryPath:
			case tc.document != "":
				text = strings.ReplaceAll(tc.document, "ISS", w.issuer.URL)
			default:
				text = `{"issuer":"` + w.issuer.URL + `","jwks_uri":"` + w.issuer.URL + `/keys"}`
			}
			fmt.Fprint(out, text)
		})
		w.clock.pass(retryLast)
		_, err := w.show(t, w.issuer.Token(w.issuer.Claims()))
		expect(t, tc.name, err, fault.Unavailable)
	}
}

// TestBackOff checks that an issuer that fails is left alone for longer and longer.
func TestBackOff(t *testing.T) {
	w := newWorld(t)
	w.issuer.Intercept(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	token := w.issuer.Token(w.issuer.Claims())
	var asked []int
	for range 60 {
		before, _ := w.issuer.Asked()
		_, err := w.show(t, token)
		expect(t, "while it fails", err, fault.Unavailable)
		after, _ := w.issuer.Asked()
		asked = append(asked, after-before)
		w.clock.pass(time.Second)
	}
	for second, n := range asked {
		want := 0
		switch second {
		case 0, 1, 3, 7, 15, 31:
			want = 1
		}
		if n != want {
			t.Errorf("after %d s: asked %d times, want %d", second, n, want)
		}
	}
}

// TestKeysServeWhileTheIssuerIsAway checks that its tokens count for a day, and that what
// its keys cannot settle is neither accepted nor refused for good.
func TestKeysServeWhileTheIssuerIsAway(t *testing.T) {
	w := newWorld(t)
	w.config.Issuers[0].Leeway = maxLeeway
	w.configure(t)
	fresh := func() string { return w.issuer.Token(w.issuer.Claims()) }
	_, err := w.show(t, fresh())
	expect(t, "at first", err, nil)
	w.issuer.Intercept(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	w.clock.pass(keysExpire - time.Second)
	_, err = w.show(t, fresh())
	expect(t, "within a day", err, nil)
	until(t, "the status tells", func() bool { return w.callers.Issuers()[0].Err != nil })
	forged := w.issuer.Token(w.issuer.Claims(), authtest.ForeignKey())
	_, err = w.show(t, forged)
	expect(t, "a forged token of a known key", err, fault.Unauthenticated)
	w.issuer.Rotate()
	rotated := fresh()
	_, err = w.show(t, rotated)
	expect(t, "a key that cannot be asked for", err, fault.Unavailable)
	w.clock.pass(retryLast)
	_, err = w.show(t, w.issuer.Token(w.issuer.Claims(), authtest.Algorithm("ES256")))
	expect(t, "after a day", err, fault.Unavailable)
	w.issuer.Intercept(nil)
	w.clock.pass(retryLast)
	_, err = w.show(t, rotated)
	expect(t, "when it is back", err, nil)
}

// TestAnIssuerDoesNotHoldUpOthers asks one issuer while another does not answer.
func TestAnIssuerDoesNotHoldUpOthers(t *testing.T) {
	w := newWorld(t)
	stuck := authtest.Start(t, w.clock.Now)
	release := make(chan struct{})
	arrived := make(chan struct{}, 10)
	stuck.Intercept(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })
	defer close(release)
	w.config.Issuers = append(w.config.Issuers, Issuer{URL: stuck.URL, Audiences: []string{"o2ims"}, CABundle: stuck.CABundle()})
	w.configure(t)

	leaving, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := w.callers.Authenticate(leaving, Credentials{Token: stuck.Token(stuck.Claims())})
		first <- err
	}()
	<-arrived
	_, err := w.show(t, w.issuer.Token(w.issuer.Claims()))
	expect(t, "another issuer's token", err, nil)
	leave()
	expect(t, "the request that went away", <-first, fault.Unavailable)
}

func TestFits(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.issuer.Publish(jose.JSONWebKey{Key: short.Public(), KeyID: "short"})
	set := func() *keySet {
		expect(t, "Refresh", w.callers.Refresh(t.Context()), nil)
		return w.callers.regime.Load().issuers[w.issuer.URL].keys.set.Load()
	}()
	for _, tc := range []struct {
		key  string
		alg  string
		want bool
	}{
		{"RSA-1", "RS256", true},
		{"RSA-1", "PS512", true},
		{"RSA-1", "ES256", false},
		{"RSA-1", "HS256", false},
		{"P-256-1", "ES256", true},
		{"P-256-1", "ES384", false},
		{"P-256-1", "RS256", false},
		{"P-521-1", "ES512", true},
		{"P-521-1", "ES256", false},
		{"Ed25519-1", "EdDSA", true},
		{"Ed25519-1", "ES256", false},
		{"short", "RS256", false},
	} {
		found := false
		for _, k := range set.keys {
			if k.KeyID == tc.key {
				found = true
				if got := fits(&k, tc.alg); got != tc.want {
					t.Errorf("%s for %s: %t, want %t", tc.key, tc.alg, got, tc.want)
				}
				k.Algorithm = "RS512"
				if tc.alg != k.Algorithm && fits(&k, tc.alg) {
					t.Errorf("%s for %s although it is for RS512", tc.key, tc.alg)
				}
			}
		}
		if !found {
			t.Errorf("%s: not in the set", tc.key)
		}
	}
}

// FuzzParseKeySet checks that whatever an issuer publishes, nothing but keys for signatures
// comes of it.
func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		set, err := parseKeySet(body, time.Time{})
		if err != nil {
			return
		}
		for i := range set.keys {
			if !set.keys[i].IsPublic() || set.keys[i].Use == "enc" {
				t.Errorf("key %+v was taken", set.keys[i])
			}
		}
	})
}
