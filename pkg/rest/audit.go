package rest

import "context"

// Audit is what the handler of a request tells the audit log beyond what the server sees
// for itself. It belongs to one request and to the goroutine that serves it.
type Audit struct {
	// ResourceID names what the request made. Without it, it is what the path names.
	ResourceID string

	// Owner and Creator are whose it is.
	Owner, Creator string

	// Credentials says that the answer shows credentials, so that even a GET is audited.
	Credentials bool
}

type auditKey struct{}

// WithAudit returns a context whose request is audited, and what its handler will have told.
func WithAudit(ctx context.Context) (context.Context, *Audit) {
	a := new(Audit)
	return context.WithValue(ctx, auditKey{}, a), a
}

// AuditOf returns where the handler of a request tells the audit log about it. It is never
// nil: what nobody will read may be told all the same.
func AuditOf(ctx context.Context) *Audit {
	if a, ok := ctx.Value(auditKey{}).(*Audit); ok {
		return a
	}
	return new(Audit)
}
