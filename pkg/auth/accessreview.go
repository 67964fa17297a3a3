package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
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
)

// Authorizer asks the hub's apiserver what a caller may do.
type Authorizer struct {
	client  authorizationclient.SubjectAccessReviewInterface
	allowed *cache.LRUExpireCache // digest of identity, verb and path to struct{}
	denied  *cache.LRUExpireCache
	flights singleflight.Group
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
	allowed, err := together(ctx, &a.flights, key, func(ctx context.Context) (bool, error) { return a.review(ctx, id, verb, path) })
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
