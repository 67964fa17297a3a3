package intake

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
)

// admission says who may send alerts: whoever shows a client certificate of the configured
// CA, and whoever shows a token of a sender. Senders are those that are named, or, where
// none are, those whom RBAC allows to create the path (ClusterRole o2ims-alert-sender).
type admission struct {
	tokens  auth.Authenticator
	reviews *auth.Authorizer
	senders map[string]bool // user names
}

// admit returns nil for those who may; else the error wraps fault.Unauthenticated,
// fault.Forbidden, or fault.Unavailable when nobody could tell.
func (a *admission) admit(r *http.Request) error {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return nil // what the server verifies clients with is for senders only
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return fmt.Errorf("no bearer token: %w", fault.Unauthenticated)
	}
	id, err := a.tokens.Authenticate(r.Context(), auth.Credentials{Token: strings.TrimSpace(token)})
	if err != nil {
		return err
	}
	allowed := a.senders[id.Name]
	if len(a.senders) == 0 {
		if allowed, err = a.reviews.Allowed(auth.WithIdentity(r.Context(), id), "create", r.URL.Path); err != nil {
			return err
		}
	}
	if !allowed {
		return fmt.Errorf("user %q may not send alerts: %w", id.Name, fault.Forbidden)
	}
	return nil
}

// userName is what Kubernetes calls the service account namespace/name.
func userName(sender string) (string, error) {
	namespace, name, ok := strings.Cut(sender, "/")
	if !ok || namespace == "" || name == "" || strings.ContainsAny(name, "/:") || strings.Contains(namespace, ":") {
		return "", fmt.Errorf("%q is not of the form namespace/name of a service account: %w", sender, fault.Invalid)
	}
	return "system:serviceaccount:" + namespace + ":" + name, nil
}
