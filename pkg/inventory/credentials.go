package inventory

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
)

// Credentials are with what managed clusters can be reached.
type Credentials interface {
	// ClusterToken returns a bearer token for the API of a managed cluster, as it is at this
	// moment, and when it expires; the zero time: it does not say. The error wraps
	// fault.NotFound when there is none, and says nothing of any token.
	ClusterToken(ctx context.Context, cluster string) (token []byte, expires time.Time, err error)
}

// tokenPath is where a single deploymentManager shows a token.
func tokenPath() []string { return []string{"extensions", "profileData", "token"} }

// showDeploymentManager answers with one deploymentManager. Who may see profiles sees a
// token, too, where there is one. It is read for this answer and kept nowhere: not in the
// model, whose records become notifications and are filtered, and not in a list, which
// somebody would read for other reasons. A token that cannot be read is left out: what else
// there is to know is worth knowing, and the client can mend nothing.
func (a *API) showDeploymentManager(w http.ResponseWriter, r *http.Request, q *rest.Query[managerRow], row managerRow) error {
	if !row.profile || a.credentials == nil {
		return q.Object(w, row)
	}
	return q.Private(w, row, tokenPath(), func() []byte {
		token, expires, err := a.credentials.ClusterToken(r.Context(), row.Facts.Name)
		switch {
		case errors.Is(err, fault.NotFound):
			slog.DebugContext(r.Context(), "no token for a managed cluster", "cluster", row.Facts.Name, "reason", err)
			return nil
		case err != nil:
			slog.WarnContext(r.Context(), "token for a managed cluster not read", "cluster", row.Facts.Name, "error", err)
			return nil
		}
		rest.AuditOf(r.Context()).Credentials = true
		return encoded(row.withToken(token, expires))
	})
}

// withToken is the view of a deploymentManager with a token. It is made for one answer.
func (m managerRow) withToken(token []byte, expires time.Time) deploymentManagerView {
	v := m.view()
	v.Extensions.ProfileData.Token = string(token)
	if !expires.IsZero() {
		expires = expires.UTC()
		v.Extensions.ProfileData.TokenExpiration = &expires
	}
	return v
}
