package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

// How long answers of the apiserver are believed, how many are kept, and how long we wait
// for one. Refused and accepted tokens are kept apart, so that a flood of bad ones does not
// push out the good.
const (
	acceptedFor   = time.Minute
	refusedFor    = 10 * time.Second
	cachedAnswers = 4096
	reviewTimeout = 10 * time.Second
)

// TokenReviews authenticates tokens that the hub's apiserver issued or knows how to check.
type TokenReviews struct {
	client    authenticationclient.TokenReviewInterface
	audiences []string
	clock     Clock
	accepted  *cache.LRUExpireCache // digest of the token to Identity
	refused   *cache.LRUExpireCache // digest of the token to error
	flights   singleflight.Group
}

// NewTokenReviews returns an authenticator for tokens that are meant for one of these
// audiences. Without any, tokens for the apiserver itself are accepted.
func NewTokenReviews(client authenticationclient.TokenReviewInterface, audiences []string, clock Clock) *TokenReviews {
	return &TokenReviews{
		client:    client,
		audiences: audiences,
		clock:     clock,
		accepted:  cache.NewLRUExpireCacheWithClock(cachedAnswers, clock),
		refused:   cache.NewLRUExpireCacheWithClock(cachedAnswers, clock),
	}
}

// Authenticate returns the identity behind a token.
func (t *TokenReviews) Authenticate(ctx context.Context, c Credentials) (Identity, error) {
	key := digest(sha256.Sum256([]byte(c.Token)))
	if id, ok := t.accepted.Get(key); ok {
		return id.(Identity), nil
	}
	if err, ok := t.refused.Get(key); ok {
		return Identity{}, err.(error)
	}
	id, err := together(ctx, &t.flights, key, func(ctx context.Context) (Identity, error) { return t.review(ctx, c.Token) })
	switch {
	case err == nil:
		if ttl := t.believe(c.Token); ttl > 0 {
			t.accepted.Add(key, id, ttl)
		}
	case errors.Is(err, fault.Unauthenticated):
		t.refused.Add(key, err, refusedFor)
	}
	return id, err
}

// believe is how long a token may go unchecked: never beyond its own end.
func (t *TokenReviews) believe(token string) time.Duration {
	c, ok := unverified(token)
	if !ok || c.Expires <= 0 {
		return acceptedFor
	}
	return min(acceptedFor, time.Unix(int64(c.Expires), 0).Sub(t.clock.Now()))
}

func (t *TokenReviews) review(ctx context.Context, token string) (Identity, error) {
	answer, err := t.client.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: t.audiences},
	}, metav1.CreateOptions{})
	if err != nil {
		return Identity{}, fmt.Errorf("token review: %w: %w", err, fault.Unavailable)
	}
	status := answer.Status
	if !status.Authenticated {
		return Identity{}, fmt.Errorf("token review: refused: %s: %w", status.Error, fault.Unauthenticated)
	}
	// An apiserver that does not know audiences confirms tokens that were meant for
	// others.
	if len(t.audiences) > 0 && !slices.ContainsFunc(status.Audiences, func(a string) bool { return slices.Contains(t.audiences, a) }) {
		return Identity{}, fmt.Errorf("token review: the token is for audiences %q: %w", status.Audiences, fault.Unauthenticated)
	}
	if status.User.Username == "" {
		return Identity{}, fmt.Errorf("token review: the token names no user: %w", fault.Unauthenticated)
	}
	id := Identity{Name: status.User.Username, UID: status.User.UID, Groups: status.User.Groups, Extra: make(map[string][]string), Client: status.User.Username}
	for key, values := range status.User.Extra {
		id.Extra[key] = values
	}
	return id, nil
}

// together makes one call of what several requests ask for at the same time. The call has
// a time-out of its own: a client that goes away does not spoil it for the others.
func together[T any](ctx context.Context, g *singleflight.Group, key digest, call func(context.Context) (T, error)) (T, error) {
	result := g.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
		defer cancel()
		return call(ctx)
	})
	select {
	case r := <-result:
		return r.Val.(T), r.Err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%w: %w", context.Cause(ctx), fault.Unavailable)
	}
}
