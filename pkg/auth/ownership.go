package auth

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Ownership says whose something is that a client made.
//
// The rule is that of A1 policies, where the owner is the service that a policy is supervised
// with: what the request names, else the client of its token.
type Ownership struct {
	// Owner is on whose behalf it exists. It is what it is grouped and supervised under.
	Owner string

	// Creator is the client whose token made it, as authentication verified it. It never
	// changes. Empty: it is not known.
	Creator string
}

// HeaderOnBehalfOf is the header in which a client names the service that it acts for.
const HeaderOnBehalfOf = "X-On-Behalf-Of-Service"

// ScopeDelegate is the scope of a token whose client may act for others.
const ScopeDelegate = "delegate"

// The verbs that a caller needs on a collection, as .../v2/subscriptions, to act for others
// in it: to make something on somebody's behalf, and to change or delete what is not its
// own. They are verbs and not methods, and granted by ClusterRoles like all others.
const (
	VerbDelegate  = "delegate"
	VerbPatchAny  = "patch-any"
	VerbDeleteAny = "delete-any"
)

// maxOwnerBytes is how long the name of an owner or creator may be.
const maxOwnerBytes = 256

// Access tells what the caller of a request may do beyond the request itself. Authorizer is
// one.
type Access interface {
	// Allowed tells whether the caller that ctx carries may do verb on path. An error
	// means that nobody could tell and wraps fault.Unavailable.
	Allowed(ctx context.Context, verb, path string) (bool, error)
}

// ClientOf returns the client that an identity is of, which is what becomes a creator.
func ClientOf(id Identity) string { return cmp.Or(strings.TrimSpace(id.Client), id.Name) }

// ResolveOwner says whose something is that a caller makes: the owner is what it declares,
// when that is not blank, else its client; the creator is its client. The error wraps
// fault.Invalid when what is declared is no name, and fault.Forbidden when the client's is
// none. Whether the caller may declare an owner is not asked here.
func ResolveOwner(id Identity, declared string) (Ownership, error) {
	client := ClientOf(id)
	switch reason := nameFault(client); {
	case reason != "":
		return Ownership{}, fmt.Errorf("the client of the token cannot own anything: its name %s: %w", reason, fault.Forbidden)
	case id.Issuer != "" && strings.HasPrefix(client, "system:"):
		// Kubernetes' names are the apiserver's to give. An issuer that gives them to clients
		// of its own would make them owners of what a service account made.
		return Ownership{}, fmt.Errorf("the client of the token cannot own anything: its name is one of Kubernetes': %w", fault.Forbidden)
	}
	declared = strings.TrimSpace(declared)
	if reason := nameFault(declared); reason != "" {
		return Ownership{}, fmt.Errorf("the name of the owner %s: %w", reason, fault.Invalid)
	}
	return Ownership{Owner: cmp.Or(declared, client), Creator: client}, nil
}

// nameFault says what is wrong with the name of an owner or creator.
func nameFault(name string) string {
	switch {
	case len(name) > maxOwnerBytes:
		return fmt.Sprintf("is longer than %d bytes", maxOwnerBytes)
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "has control characters"
	default:
		return ""
	}
}

// OwnershipOf says whose something will be that a request makes in a collection. A caller may
// name another owner in the header HeaderOnBehalfOf when its token has the scope delegate or
// access grants it VerbDelegate on the collection. The error wraps fault.Forbidden when it may
// not, and otherwise is that of ResolveOwner or of access. access may be nil.
func OwnershipOf(r *http.Request, access Access, collection string) (Ownership, error) {
	id, _ := IdentityOf(r.Context())
	headers := r.Header.Values(HeaderOnBehalfOf)
	if len(headers) > 1 {
		return Ownership{}, fmt.Errorf("%d headers %s: %w", len(headers), HeaderOnBehalfOf, fault.Invalid)
	}
	declared := r.Header.Get(HeaderOnBehalfOf)
	o, err := ResolveOwner(id, declared)
	if err != nil || o.Owner == o.Creator {
		return o, err
	}
	allowed := slices.Contains(id.Scopes, ScopeDelegate)
	if !allowed && access != nil {
		if allowed, err = access.Allowed(r.Context(), VerbDelegate, collection); err != nil {
			return Ownership{}, err
		}
	}
	if !allowed {
		return Ownership{}, fmt.Errorf("%s: this client may not act for others: %w", HeaderOnBehalfOf, fault.Forbidden)
	}
	return o, nil
}

// MayDelete tells whether a caller may delete or change something where only owners may: its
// owner, its creator, and admin, who may do so to anybody's. What nobody made, or what was
// made before owners were noted, is the administrator's.
func MayDelete(id Identity, o Ownership, admin bool) bool {
	if admin {
		return true
	}
	own, err := ResolveOwner(id, "")
	if err != nil || own.Creator == "" {
		return false
	}
	return o.Owner == own.Creator || o.Creator == own.Creator
}

// CheckOwner refuses a caller that may not do to something what verb says, such as
// VerbDeleteAny, where only owners may. The error wraps fault.Forbidden and does not say whose
// it is, or fault.Unavailable. access may be nil.
func CheckOwner(ctx context.Context, access Access, o Ownership, verb, collection string) error {
	id, _ := IdentityOf(ctx)
	if MayDelete(id, o, false) {
		return nil
	}
	if access != nil {
		admin, err := access.Allowed(ctx, verb, collection)
		if err != nil {
			return err
		}
		if MayDelete(id, o, admin) {
			return nil
		}
	}
	return fmt.Errorf("only its owner may do this: %w", fault.Forbidden)
}
