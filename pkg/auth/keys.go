package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"

	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	// keysRefresh is how old keys get before they are asked for again, besides the requests
	// they serve: a key that the issuer withdrew is believed for about as long.
	keysRefresh = 5 * time.Minute

	// keysExpire is how long keys serve while the issuer cannot be reached.
	keysExpire = 24 * time.Hour

	// Tokens of an unknown key may ask for newer keys once in searchEvery, and searches may
	// come in a burst of searchBurst after a quiet time: several rotations go unnoticed by
	// clients, and a flood of forged tokens does not reach the issuer.
	searchEvery = 10 * time.Second
	searchBurst = 4

	// After a failure the issuer is left alone for retryFirst, twice as long after each
	// further one, up to retryLast.
	retryFirst = time.Second
	retryLast  = 30 * time.Second
)

// errUnsettled marks refusals that newer keys may turn into their opposite. They must not
// be remembered.
var errUnsettled = errors.New("newer keys may settle it")

// keys are the keys of one issuer, asked for when they are needed and kept.
//
// The RemoteKeySet of go-oidc was the alternative. It asks the issuer again for every
// signature that does not fit, which lets strangers direct a flood of requests at it, never
// forgets a key that was withdrawn, and cannot tell "not reached" from "not valid".
type keys struct {
	issuer string
	clock  Clock
	client atomic.Pointer[http.Client]
	count  func(result string) // counts fetches
	set    atomic.Pointer[keySet]

	mu       sync.Mutex
	searches *rate.Limiter
	flight   *flight // nil: none under way
	failures int     // since the last success
	retryAt  time.Time
	err      error  // of the last fetch
	location string // jwks_uri; empty: not discovered, or to be discovered again
	located  time.Time
}

// flight is a fetch under way.
type flight struct {
	done chan struct{} // closed at its end
	err  error         // to be read after that
}

func newKeys(issuer string, client *http.Client, clock Clock, count func(string)) *keys {
	k := &keys{issuer: issuer, clock: clock, count: count, searches: rate.NewLimiter(rate.Every(searchEvery), searchBurst)}
	k.client.Store(client)
	return k
}

// payload verifies the signature of a token and returns what it signs. The error wraps
// fault.Unauthenticated or fault.Unavailable.
func (k *keys) payload(ctx context.Context, token *jose.JSONWebSignature, h header) ([]byte, error) {
	set, err := k.current(ctx)
	if err != nil {
		return nil, err
	}
	const enough = 3 // searches begun by others may end before the issuer rotates
	for range enough {
		payload, known := set.verify(token, h)
		if payload != nil {
			return payload, nil
		}
		next, final, err := k.newer(ctx, set)
		switch {
		case errors.Is(err, fault.Unavailable) && known:
			return nil, refusedSignature(errUnsettled)
		case err != nil:
			return nil, err
		}
		set = next
		if !final {
			continue
		}
		if payload, known = set.verify(token, h); payload != nil {
			return payload, nil
		}
		if known {
			return nil, refusedSignature(nil)
		}
		break
	}
	return nil, fmt.Errorf("the issuer publishes no %s key %q: %w: %w", h.algorithm, clip(h.keyID), errUnsettled, fault.Unauthenticated)
}

func refusedSignature(further error) error {
	if further != nil {
		return fmt.Errorf("the signature does not fit: %w: %w", further, fault.Unauthenticated)
	}
	return fmt.Errorf("the signature does not fit: %w", fault.Unauthenticated)
}

// current returns the keys to begin with. Only when there are none does it wait.
func (k *keys) current(ctx context.Context) (*keySet, error) {
	set, now := k.set.Load(), k.clock.Now()
	if set != nil && now.Sub(set.at) < keysExpire {
		if now.Sub(set.at) >= keysRefresh {
			_, _, _ = k.begin(false) // an issuer that is away costs nothing while its keys serve
		}
		return set, nil
	}
	f, _, err := k.begin(false)
	if err != nil {
		return nil, err
	}
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	return k.set.Load(), nil
}

// newer returns a key set that is newer than old. final tells that it was asked for after
// the call: there is nothing newer to be had.
func (k *keys) newer(ctx context.Context, old *keySet) (set *keySet, final bool, err error) {
	if set := k.set.Load(); set != old {
		return set, false, nil
	}
	f, began, err := k.begin(true)
	if err != nil {
		return nil, false, err
	}
	if err := f.wait(ctx); err != nil {
		return nil, false, err
	}
	return k.set.Load(), began, nil
}

// begin starts a fetch, or joins the one that is under way. A search, which strangers can
// cause, is limited in rate.
func (k *keys) begin(search bool) (f *flight, began bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.Now()
	switch {
	case k.flight != nil:
		return k.flight, false, nil
	case now.Before(k.retryAt):
		return nil, false, k.err
	case search && !k.searches.AllowN(now, 1):
		return nil, false, fmt.Errorf("no such key, and the issuer was asked just now: %w: %w", errUnsettled, fault.Unauthenticated)
	}
	k.flight = &flight{done: make(chan struct{})}
	go k.run(k.flight, now)
	return k.flight, true, nil
}

// run fetches the keys. It belongs to no request: whoever began it may go away.
func (k *keys) run(f *flight, began time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	set, err := k.fetch(ctx, began)

	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.Now()
	if err != nil {
		k.count("error")
		k.err = fmt.Errorf("issuer %s: %w: %w", k.issuer, err, fault.Unavailable)
		k.retryAt = now.Add(min(retryLast, retryFirst<<min(k.failures, 10)))
		k.failures++
		k.location = "" // it may have moved
	} else {
		k.count("success")
		k.err, k.failures, k.retryAt = nil, 0, time.Time{}
		k.set.Store(set)
	}
	f.err = k.err
	k.flight = nil
	close(f.done)
}

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", context.Cause(ctx), fault.Unavailable)
	}
}

// refresh asks for keys when there are none, or old ones, and waits for the answer.
func (k *keys) refresh(ctx context.Context) error {
	set := k.set.Load()
	if set != nil && k.clock.Now().Sub(set.at) < keysRefresh {
		return nil
	}
	f, _, err := k.begin(false)
	if err != nil {
		return err
	}
	return f.wait(ctx)
}

// status tells how the last fetch went.
func (k *keys) status() IssuerStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := IssuerStatus{URL: k.issuer, Err: k.err}
	if set := k.set.Load(); set != nil {
		s.KeysAt = set.at
	}
	return s
}
