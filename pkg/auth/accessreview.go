package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	allowedFor = time.Minute
	deniedFor  = 10 * time.Second

	// cachedDecisions holds an SMO's walk through all single resources of a large
	// fleet, one decision per path.
	cachedDecisions = 16384

	// reviewsOfOne is how many questions about one caller are under way at a time. All share
	// what the apiserver takes from us in a second; without a bound, one caller that asks for
	// ever other paths makes everybody else wait until its own thousand have been answered.
	reviewsOfOne = 8
)

// Authorizer asks the hub's apiserver what a caller may do.
type Authorizer struct {
	client  authorizationclient.SubjectAccessReviewInterface
	allowed *cache.LRUExpireCache // digest of identity, verb and path to struct{}
	denied  *cache.LRUExpireCache
	flights singleflight.Group
	turns   turns
}

// NewAuthorizer returns an authorizer that asks through client.
func NewAuthorizer(client authorizationclient.SubjectAccessReviewInterface, clock Clock) *Authorizer {
	return &Authorizer{
		client:  client,
		allowed: cache.NewLRUExpireCacheWithClock(cachedDecisions, clock),
		denied:  cache.NewLRUExpireCacheWithClock(cachedDecisions, clock),
	}
}

// Allowed tells whether the caller that ctx carries may do verb on path, in terms of RBAC's
// nonResourceURLs. The error wraps fault.Unavailable when nobody could tell.
func (a *Authorizer) Allowed(ctx context.Context, verb, path string) (bool, error) {
	id, known := IdentityOf(ctx)
	if !known {
		return false, fmt.Errorf("access review without a caller: %w", fault.Unauthenticated)
	}
	key := question(id, verb, path)
	if _, ok := a.allowed.Get(key); ok {
		return true, nil
	}
	if _, ok := a.denied.Get(key); ok {
		return false, nil
	}
	allowed, err := together(ctx, &a.flights, key, func(ctx context.Context) (bool, error) {
		done, err := a.turns.take(ctx, id.Name)
		if err != nil {
			return false, err
		}
		defer done()
		return a.review(ctx, id, verb, path)
	})
	switch {
	case err != nil:
		return false, err
	case allowed:
		a.allowed.Add(key, struct{}{}, allowedFor)
	default:
		a.denied.Add(key, struct{}{}, deniedFor)
	}
	return allowed, nil
}

// question names all that a decision depends on: what the review is told.
func question(id Identity, verb, path string) digest {
	text, err := json.Marshal([]any{id.Name, id.UID, id.Groups, id.Extra, verb, path}) // unambiguous, and maps in order of their keys
	if err != nil {
		panic("access review: " + err.Error()) // texts, lists and maps of texts can be encoded
	}
	return sha256.Sum256(text)
}

func (a *Authorizer) review(ctx context.Context, id Identity, verb, path string) (bool, error) {
	extra := make(map[string]authorizationv1.ExtraValue, len(id.Extra))
	for key, values := range id.Extra {
		extra[key] = values
	}
	answer, err := a.client.Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: id.Name, UID: id.UID, Groups: id.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("access review: %w: %w", err, fault.Unavailable)
	}
	return answer.Status.Allowed && !answer.Status.Denied, nil
}

// turns lets every caller have reviewsOfOne questions under way. The zero value is ready.
type turns struct {
	mu     sync.Mutex
	queues map[string]*queue // by name of the caller, while it has questions
}

type queue struct {
	free      chan struct{} // holds one token per question under way
	questions int           // under way and waiting
}

// take waits for a turn; done gives it back. The error wraps fault.Unavailable.
func (t *turns) take(ctx context.Context, name string) (done func(), err error) {
	t.mu.Lock()
	q := t.queues[name]
	if q == nil {
		if t.queues == nil {
			t.queues = make(map[string]*queue)
		}
		q = &queue{free: make(chan struct{}, reviewsOfOne)}
		t.queues[name] = q
	}
	q.questions++
	t.mu.Unlock()
	select {
	case q.free <- struct{}{}:
		return func() { <-q.free; t.leave(name, q) }, nil
	case <-ctx.Done():
		t.leave(name, q)
		return nil, fmt.Errorf("access review: %d others of this caller are under way: %w", reviewsOfOne, fault.Unavailable)
	}
}

func (t *turns) leave(name string, q *queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.questions--; q.questions == 0 {
		delete(t.queues, name)
	}
}
