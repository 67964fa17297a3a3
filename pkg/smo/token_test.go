package smo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

func readAll(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	return string(body)
}

// configured returns a client with settings, and the clock that it goes by.
func configured(t testing.TB, s Settings) (*Client, *clocktesting.FakeClock) {
	t.Helper()
	now := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	c := client(t, toLoopback, Parts{Clock: now})
	if err := c.Configure(s); err != nil {
		t.Fatal(err)
	}
	return c, now
}

// call sends a body and returns the status, or 0 and the error.
func call(t testing.TB, c *Client, target, body string) (int, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	response.Body.Close()
	return response.StatusCode, nil
}

func mustCall(t testing.TB, c *Client, target string) {
	t.Helper()
	if status, err := call(t, c, target, ""); err != nil || status != http.StatusOK {
		t.Fatalf("call: %d, %v, want 200", status, err)
	}
}

func TestTokensGoToKnownHostsOnly(t *testing.T) {
	i := newIssuer(t, "s")
	smo := newConsumer(t, nil, nil)
	u, _ := url.Parse(smo.URL)
	for _, tc := range []struct {
		name            string
		options, listed []string
		target          string
		want            string
	}{
		{"the SMO's host", nil, []string{u.Hostname()}, smo.URL, "Bearer t1"},
		{"the SMO's host and port", nil, []string{u.Host}, smo.URL, "Bearer t1"},
		{"another port", nil, []string{u.Hostname() + ":443"}, smo.URL, ""},
		{"the port of http", nil, []string{u.Hostname() + ":80"}, smo.URL, ""},
		{"another host", nil, []string{"smo.example.net"}, smo.URL, ""},
		{"none", nil, nil, smo.URL, ""},
		{"a host of the flag", []string{u.Host, i.Listener.Addr().String()}, nil, smo.URL, "Bearer t1"},
		{"another name of it", nil, []string{"localhost"}, smo.URL, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := toLoopback
			o.Hosts = tc.options
			i.change(func(i *issuer) { i.issued = 0 })
			c := client(t, o, Parts{})
			if err := c.Configure(Settings{OAuth: i.oauth("s"), Hosts: tc.listed}); err != nil {
				t.Fatal(err)
			}
			mustCall(t, c, tc.target)
			if got := smo.sent(); got != tc.want {
				t.Errorf("Authorization = %q, want %q", got, tc.want)
			}
		})
	}
}

// TestTokenIsNotSentInTheClear has a host listed, and a URL without TLS.
func TestTokenIsNotSentInTheClear(t *testing.T) {
	c := client(t, Options{AllowNetworks: []string{"127.0.0.1"}}, Parts{})
	if err := c.Configure(Settings{Hosts: []string{"127.0.0.1"}, OAuth: &OAuth{TokenURL: "https://127.0.0.1:1/", ClientID: "c", ClientSecret: "s"}}); err != nil {
		t.Fatal(err)
	}
	smo := newConsumer(t, nil, nil)
	if _, err := call(t, c, smo.URL, ""); !errors.Is(err, fault.Invalid) || smo.sent() != "" {
		t.Errorf("http: %v, want invalid and nothing sent", err)
	}
}

func TestTokenIsCachedUntilItExpires(t *testing.T) {
	i := newIssuer(t, "s")
	smo := newConsumer(t, i, nil)
	c, now := configured(t, Settings{OAuth: i.oauth("s"), Hosts: []string{smo.host()}})
	for _, step := range []struct {
		after time.Duration
		want  int // requests for tokens so far
	}{{0, 1}, {0, 1}, {30 * time.Minute, 1}, {29*time.Minute - time.Second, 1}, {59 * time.Minute, 2}, {time.Hour, 3}} {
		now.Step(step.after)
		mustCall(t, c, smo.URL)
		if got := i.count(); got != step.want {
			t.Errorf("%s later: %d tokens fetched, want %d", step.after, got, step.want)
		}
	}
}

// TestTokenIsRenewedBeside shows that nobody waits for, or fails with, a token endpoint as
// long as there is a token that is good.
func TestTokenIsRenewedBeside(t *testing.T) {
	i := newIssuer(t, "s")
	smo := newConsumer(t, i, nil)
	c, now := configured(t, Settings{OAuth: i.oauth("s"), Hosts: []string{smo.host()}})
	mustCall(t, c, smo.URL)
	hold := make(chan struct{})
	i.change(func(i *issuer) { i.hold = hold })
	now.Step(time.Hour - 30*time.Second)
	mustCall(t, c, smo.URL) // its renewal hangs
	mustCall(t, c, smo.URL)
	close(hold)
	tokens := c.current.Load().tokens
	if text, err := wait(t, tokens); err != nil || text != "t2" {
		t.Errorf("after the renewal: %q, %v, want t2", text, err)
	}
	i.change(func(i *issuer) { i.hold, i.status = nil, http.StatusServiceUnavailable })
	now.Step(time.Hour - 30*time.Second)
	mustCall(t, c, smo.URL)
	if _, err := wait(t, tokens); err != nil {
		t.Errorf("the token is good and its renewal failed: %v, want the token", err)
	}
	now.Step(time.Minute)
	if _, err := call(t, c, smo.URL, ""); !errors.Is(err, ErrToken) {
		t.Errorf("after it has expired: %v, want ErrToken", err)
	}
	if got := i.count(); got > 4 {
		t.Errorf("%d requests for tokens, want at most 4", got)
	}
}

// wait lets a renewal that is under way end.
func wait(t testing.TB, s *tokenSource) (string, error) {
	t.Helper()
	s.mu.Lock()
	f := s.underway
	s.mu.Unlock()
	if f != nil {
		<-f.done
	}
	return s.Token(t.Context())
}

func TestTokenIsFetchedOnceForMany(t *testing.T) {
	i := newIssuer(t, "s")
	smo := newConsumer(t, i, nil)
	c, _ := configured(t, Settings{OAuth: i.oauth("s"), Hosts: []string{smo.host()}})
	hold := make(chan struct{})
	i.change(func(i *issuer) { i.hold = hold })

	gone, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := c.current.Load().tokens.Token(gone)
		left <- err
	}()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), i.Listener.Addr().String()) {
		t.Errorf("who does not want to wait any more: %v, want canceled, and who was waited for", err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if status, err := call(t, c, smo.URL, ""); err != nil || status != http.StatusOK {
				t.Errorf("call: %d, %v", status, err)
			}
		})
	}
	close(hold)
	all.Wait()
	if got := i.count(); got != 1 {
		t.Errorf("%d requests for tokens, want 1", got)
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	i := newIssuer(t, "s")
	smo := newConsumer(t, i, nil)
	c, now := configured(t, Settings{OAuth: i.oauth("s"), Hosts: []string{smo.host()}})
	mustCall(t, c, smo.URL)
	i.revoke("t1")
	smo.sent()
	if status, err := call(t, c, smo.URL, "body"); err != nil || status != http.StatusOK {
		t.Errorf("with a token that was revoked: %d, %v, want 200", status, err)
	}
	if got, want := smo.sent(), "Bearer t1 body, Bearer t2 body"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}

	// What cannot be sent again is not; the next call has another token.
	i.revoke("t2")
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, smo.URL, io.MultiReader(strings.NewReader("stream")))
	response, err := c.Do(r)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		t.Fatalf("a stream: %v, %v, want 401", response, err)
	}
	response.Body.Close()
	mustCall(t, c, smo.URL)
	if got, want := smo.sent(), "Bearer t2 stream, Bearer t3"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}

	// An SMO that takes none does not make us a nuisance to the issuer.
	before := i.count()
	i.change(func(i *issuer) { i.distrusted = true })
	for range 20 {
		if status, err := call(t, c, smo.URL, ""); err != nil || status != http.StatusUnauthorized {
			t.Fatalf("no token is good: %d, %v, want 401", status, err)
		}
	}
	i.change(func(i *issuer) { i.distrusted = false })
	mustCall(t, c, smo.URL)
	now.Step(time.Minute)
	i.change(func(i *issuer) { clear(i.good) })
	mustCall(t, c, smo.URL) // with a new one
	if got := i.count() - before; got > 3 {
		t.Errorf("%d tokens fetched, want at most 3", got)
	}
}

// TestTokenEndpointFails checks what is said, that it is asked ever more rarely, and that
// callers do not wait.
func TestTokenEndpointFails(t *testing.T) {
	const secret = "hunter2"
	i := newIssuer(t, "another")
	smo := newConsumer(t, i, nil)
	c, now := configured(t, Settings{OAuth: i.oauth(secret), Hosts: []string{smo.host()}})
	asked := []time.Duration{}
	began := now.Now()
	for now.Since(began) < 5*time.Minute {
		before := i.count()
		_, err := call(t, c, smo.URL, "")
		if !errors.Is(err, ErrToken) || !errors.Is(err, fault.Upstream) {
			t.Fatalf("error = %v, want ErrToken", err)
		}
		for _, part := range []string{i.Listener.Addr().String(), "401", "invalid_client"} {
			if !strings.Contains(err.Error(), part) {
				t.Fatalf("error %q lacks %q", err, part)
			}
		}
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "the secret was") {
			t.Fatalf("error gives away what it should not: %v", err)
		}
		if i.count() != before {
			asked = append(asked, now.Since(began))
		}
		now.Step(500 * time.Millisecond)
	}
	if len(asked) < 7 || len(asked) > 14 || asked[1] < time.Second {
		t.Errorf("asked after %v, want after 0, 1 to 2 s, and so on up to every 30 to 60 s", asked)
	}

	// With another secret it goes on at once, the backoff notwithstanding.
	if err := c.Configure(Settings{OAuth: i.oauth("another"), Hosts: []string{smo.host()}}); err != nil {
		t.Fatal(err)
	}
	mustCall(t, c, smo.URL)
}

// TestTokenEndpointSaysWhen follows the clock after one refusal with Retry-After.
func TestTokenEndpointSaysWhen(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		again  func(now time.Time) string
		quiet  time.Duration // for so long it is not asked
		most   time.Duration // and then it is, at the latest
	}{
		{"seconds", 429, func(time.Time) string { return "90" }, 90 * time.Second, 90 * time.Second},
		{"unavailable", 503, func(time.Time) string { return "90" }, 90 * time.Second, 90 * time.Second},
		{"a date", 503, func(now time.Time) string { return now.Add(2 * time.Minute).UTC().Format(http.TimeFormat) }, 2 * time.Minute, 2 * time.Minute},
		{"for ever", 429, func(time.Time) string { return "99999999999999999999" }, longestWish, longestWish},
		{"less than the backoff", 429, func(time.Time) string { return "0" }, fetchBackoff.Min, 2 * fetchBackoff.Min},
		{"a date that has passed", 503, func(now time.Time) string { return now.Add(-time.Hour).UTC().Format(http.TimeFormat) }, fetchBackoff.Min, 2 * fetchBackoff.Min},
		{"nothing", 503, func(time.Time) string { return "" }, fetchBackoff.Min, 2 * fetchBackoff.Min},
		{"nothing that makes sense", 503, func(time.Time) string { return "soon" }, fetchBackoff.Min, 2 * fetchBackoff.Min},
		{"with another status", 500, func(time.Time) string { return "90" }, fetchBackoff.Min, 2 * fetchBackoff.Min},
	} {
		for _, discovery := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, by the discovery document: %t", tc.name, discovery), func(t *testing.T) {
				i := newIssuer(t, "s")
				smo := newConsumer(t, i, nil)
				oauth := i.oauth("s")
				if discovery {
					oauth.Issuer, oauth.TokenURL = i.URL, ""
				}
				c, now := configured(t, Settings{OAuth: oauth, Hosts: []string{smo.host()}})
				i.change(func(i *issuer) {
					i.again = tc.again(now.Now())
					if i.unlisted = tc.status; !discovery {
						i.unlisted, i.status = 0, tc.status
					}
				})
				requests := func() (n int) {
					i.change(func(i *issuer) { n = len(i.requests) + len(i.lookups) })
					return n
				}
				_, err := call(t, c, smo.URL, "")
				first, told := fault.RetryAfter(err)
				if !errors.Is(err, ErrToken) || !told || first < tc.quiet || first > tc.most {
					t.Fatalf("%v, to be tried again in %s, want ErrToken and %s to %s", err, first, tc.quiet, tc.most)
				}
				i.change(func(i *issuer) { i.status, i.unlisted = 0, 0 }) // it could answer now
				before := requests()
				now.Step(tc.quiet - time.Millisecond)
				_, err = call(t, c, smo.URL, "")
				if left, told := fault.RetryAfter(err); !errors.Is(err, ErrToken) || !told || left != first-tc.quiet+time.Millisecond {
					t.Errorf("shortly before: %v, to be tried again in %s, want ErrToken and %s", err, left, first-tc.quiet+time.Millisecond)
				}
				if got := requests(); got != before {
					t.Errorf("%d requests although it was not time", got-before)
				}
				now.Step(tc.most - tc.quiet + time.Millisecond)
				mustCall(t, c, smo.URL)
			})
		}
	}
}

// TestTokenEndpointIsNotWaitedForWithAnother shows that what one endpoint asked for is not held
// against what an administrator puts in its place.
func TestTokenEndpointIsNotWaitedForWithAnother(t *testing.T) {
	i := newIssuer(t, "s", "another")
	smo := newConsumer(t, i, nil)
	c, _ := configured(t, Settings{OAuth: i.oauth("s"), Hosts: []string{smo.host()}})
	i.change(func(i *issuer) { i.status, i.again = http.StatusTooManyRequests, "300" })
	if _, err := call(t, c, smo.URL, ""); !errors.Is(err, ErrToken) {
		t.Fatalf("%v, want ErrToken", err)
	}
	i.change(func(i *issuer) { i.status = 0 })
	if err := c.Configure(Settings{OAuth: i.oauth("another"), Hosts: []string{smo.host()}}); err != nil {
		t.Fatal(err)
	}
	mustCall(t, c, smo.URL)
}
