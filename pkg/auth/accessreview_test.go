package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

// slowReviews answers nobody before it is opened, and counts who waits.
type slowReviews struct {
	arrived chan string // users, in the order in which they are asked about
	opened  chan struct{}
}

func (s *slowReviews) Create(ctx context.Context, r *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	s.arrived <- r.Spec.User
	select {
	case <-s.opened:
		r.Status.Allowed = true
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// One caller that asks for ever other paths has a few questions at the apiserver, and another
// one's are put without waiting for the rest of them.
func TestOneCallerDoesNotHoldUpOthers(t *testing.T) {
	const flood = 200
	slow := &slowReviews{arrived: make(chan string, flood+1), opened: make(chan struct{})}
	authorizer := NewAuthorizer(slow, SystemClock{})
	ask := func(name, path string) error {
		allowed, err := authorizer.Allowed(WithIdentity(t.Context(), Identity{Name: name}), "get", path)
		if err == nil && !allowed {
			err = errors.New("denied")
		}
		return err
	}
	var asking sync.WaitGroup
	faults := make(chan error, flood+1)
	for i := range flood {
		asking.Go(func() { faults <- ask("eve", fmt.Sprint("/", i)) })
	}
	for range reviewsOfOne {
		<-slow.arrived
	}
	asking.Go(func() { faults <- ask("ann", "/") })
	select {
	case who := <-slow.arrived:
		if who != "ann" {
			t.Errorf("a question about %s is put, want ann's: eve has %d under way", who, reviewsOfOne)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("ann's question waits for eve's")
	}
	close(slow.opened)
	asking.Wait()
	close(faults)
	for err := range faults {
		if err != nil {
			t.Errorf("question: %v", err)
		}
	}
	if n := len(authorizer.turns.queues); n != 0 {
		t.Errorf("%d queues are kept although nobody waits", n)
	}
}

func TestTurnsEnd(t *testing.T) {
	var all turns
	for range reviewsOfOne {
		if _, err := all.take(t.Context(), "eve"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := all.take(ctx, "eve"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("one more: %v, want %v", err, fault.Unavailable)
	}
}
