package smo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/o2ims/o2ims/pkg/fault"
)

// ErrToken means that we have no token for the SMO. The rest of the error names the token
// endpoint's host and, where there was one, its OAuth error code. It wraps fault.Upstream,
// too, and fault.RetryAfter says when the endpoint will be asked again.
var ErrToken = errors.New("no token")

// token is an access token and how long it is good for.
type token struct {
	text    string
	refresh time.Time // from here on another one is fetched beside
	expiry  time.Time // from here on it is not sent
}

// newToken says how long a token is used that was asked for at a time and lives so long: not
// to its last second, since clocks differ and calls take time.
func newToken(text string, asked time.Time, life time.Duration) token {
	return token{text: text, refresh: asked.Add(life - min(life/4, time.Minute)), expiry: asked.Add(life - min(life/10, 10*time.Second))}
}

// tokenSource keeps a token until shortly before it expires. However many wait for one, it
// is fetched once; who has waited long enough leaves without disturbing the others. While
// the token endpoint fails, it is asked ever more rarely, and not before it wants to be; callers
// get the failure at once.
type tokenSource struct {
	clock   clock.PassiveClock
	from    string // host of the issuer or the token endpoint
	seed    string // of the backoff's jitter
	timeout time.Duration
	fetch   func(context.Context) (token, error)

	mu       sync.Mutex
	held     token
	underway *fetching

	failure  error
	failures int
	retryAt  time.Time

	refusals int // in a row; see answered
	renewAt  time.Time
}

// fetching is a request for a token under way.
type fetching struct {
	done  chan struct{}
	token token
	err   error
}

var (
	fetchBackoff   = Backoff{Min: time.Second, Max: time.Minute}
	refusedBackoff = Backoff{Min: time.Second, Max: time.Minute}
)

func newTokenSource(id *identity) *tokenSource {
	g := &grant{identity: id, oauth: *id.settings.OAuth}
	from, _ := url.Parse(g.oauth.Issuer + g.oauth.TokenURL) // one of them is empty; Configure has parsed the other
	return &tokenSource{
		clock: id.client.clock, from: from.Host, seed: g.oauth.ClientID, timeout: 2 * id.client.options.Timeout,
		fetch: func(ctx context.Context) (token, error) {
			id.calls.Add(1) // of the call for which it is fetched at the latest
			defer id.release()
			return g.token(ctx)
		},
	}
}

// Token returns a token that is good now. The error wraps ErrToken, and that of ctx when it
// has ended.
func (s *tokenSource) Token(ctx context.Context) (string, error) {
	held, f, err := s.look()
	if f == nil {
		return held, err
	}
	select {
	case <-f.done:
		return f.token.text, f.err
	case <-ctx.Done():
		return "", fmt.Errorf("%w: waiting for %s: %w", ErrToken, s.from, upstream(context.Cause(ctx)))
	}
}

// look returns the token that is held, or the failure that is to be believed for the time
// being, or else what to wait for.
func (s *tokenSource) look() (string, *fetching, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.held.text != "" && now.Before(s.held.refresh) {
		return s.held.text, nil, nil
	}
	good := s.held.text != "" && now.Before(s.held.expiry)
	if s.underway == nil {
		if s.failure != nil && now.Before(s.retryAt) {
			if good {
				return s.held.text, nil, nil
			}
			return "", nil, fault.WithRetryAfter(s.failure, s.retryAt.Sub(now))
		}
		s.underway = &fetching{done: make(chan struct{})}
		go s.run(s.underway)
	}
	if good { // nobody has to wait as long as it is
		return s.held.text, nil, nil
	}
	return "", s.underway, nil
}

// run fetches a token for whoever waits, in no caller's context.
func (s *tokenSource) run(f *fetching) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	f.token, f.err = s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(f.done)
	s.underway = nil
	if f.err != nil {
		wish, _ := fault.RetryAfter(f.err)
		wait := max(wish, fetchBackoff.Delay(s.failures, s.seed))
		s.failure, s.retryAt = fmt.Errorf("%w: %w", ErrToken, upstream(f.err)), s.clock.Now().Add(wait)
		s.failures++
		f.err = fault.WithRetryAfter(s.failure, wait)
		return
	}
	s.held, s.failure, s.failures = f.token, nil, 0
}

// answered tells what a token was answered with. One that was refused is not used again,
// so that the next is another. When that is refused as well, the fault is elsewhere, and
// tokens are replaced ever more rarely, until one is taken.
func (s *tokenSource) answered(text string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch now := s.clock.Now(); {
	case status != http.StatusUnauthorized:
		s.refusals = 0
	case s.held.text != text, s.refusals > 0 && now.Before(s.renewAt):
	default:
		s.held = token{}
		s.renewAt = now.Add(refusedBackoff.Delay(s.refusals, s.seed))
		s.refusals++
	}
}

// adopt goes on with the token of a source that would have got the same.
func (s *tokenSource) adopt(old *tokenSource) {
	old.mu.Lock()
	defer old.mu.Unlock()
	s.held = old.held
}
