package subscription

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// Removal says who may delete a subscription, or change it where that can be done.
type Removal string

// Anybody who may delete subscriptions, or only the owner of this one, its creator, and
// whoever RBAC grants auth.VerbDeleteAny (to change it, auth.VerbPatchAny).
const (
	RemovalAny   Removal = "any"
	RemovalOwner Removal = "owner"
)

// Extensions are what we tell of a subscription beyond the standard. They are ours to set:
// what a client sends in their place is passed over.
type Extensions struct {
	Owner   string `json:"owner"`   // on whose behalf it exists
	Creator string `json:"creator"` // client that made it; empty: it is not known
}

// ExtensionsOf returns the extensions of a subscription.
func ExtensionsOf(s store.Subscription) Extensions {
	return Extensions{Owner: s.Owner, Creator: s.Creator}
}

// CheckExtensions tells whether what a client sends as extensions is an object, or nothing.
// What is in it is passed over: a client that sends back what it was shown does nothing
// wrong. The error wraps fault.Invalid.
func CheckExtensions(text json.RawMessage) error {
	var object map[string]json.RawMessage
	if text != nil && json.Unmarshal(text, &object) != nil {
		return fmt.Errorf("extensions is not an object: %w", fault.Invalid)
	}
	return nil
}

// CheckOwner refuses a caller that may not do to a subscription what verb says, given who
// may. The error wraps fault.Forbidden or fault.Unavailable. access may be nil.
func (o *Options) CheckOwner(ctx context.Context, access auth.Access, s store.Subscription, verb, collection string) error {
	if Removal(o.DeleteSubscriptions) != RemovalOwner {
		return nil
	}
	err := auth.CheckOwner(ctx, access, auth.Ownership{Owner: s.Owner, Creator: s.Creator}, verb, collection)
	if err != nil {
		return fmt.Errorf("subscription %s: %w", s.ID, err)
	}
	return nil
}
