package server

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/rest"
)

// auditVersion is that of the fields of the audit log. It counts up when one of them goes or
// changes its meaning, not when one is added.
const auditVersion = 1

// audited tells whether a request belongs into the audit log: one that would change
// something, by a caller that is known, whether it was allowed to or not; and any that was
// shown credentials. Strangers are in the log as "request refused".
func audited(req *request, told *rest.Audit) bool {
	if !req.known {
		return false
	}
	switch req.method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return told.Credentials
	default:
		return true
	}
}

// audit writes down who did what, to what, from where, and how it ended. There is no query:
// it is the caller's to fill. All fields are always there; docs/api.md describes them.
func (s *Server) audit(ctx context.Context, req *request, told *rest.Audit, status int, durationMs float64) {
	slog.LogAttrs(ctx, slog.LevelInfo, "audit",
		slog.Int("audit", auditVersion),
		slog.String("user", clip(req.caller.Name, maxAuditedName)),
		slog.String("client", clip(auth.ClientOf(req.caller), maxAuditedName)),
		slog.Any("roles", ours(req.caller.Groups)),
		slog.String("verb", auth.Verb(req.method)),
		slog.String("path", clip(req.path, maxAuditedPath)),
		slog.String("resourceId", clip(req.resource(told), maxAuditedName)),
		slog.String("owner", clip(told.Owner, maxAuditedName)),
		slog.String("creator", clip(told.Creator, maxAuditedName)),
		slog.Bool("credentials", told.Credentials),
		slog.Int("status", status),
		slog.Float64("durationMs", durationMs),
		slog.String("remoteAddress", req.origin.String()),
		slog.String("traceId", req.trace),
		slog.String("correlationId", req.id))
}

const (
	maxAuditedName = 256
	maxAuditedPath = 512
)

// clip keeps callers from filling the log.
func clip(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}

// ours are those of a caller's groups that are roles of ours: a hub's other groups are none
// of our log's business.
func ours(groups []string) []string {
	roles := []string{}
	for _, group := range groups {
		if slices.Contains(auth.Roles(), group) && !slices.Contains(roles, group) {
			roles = append(roles, group)
		}
	}
	return roles
}

// resource names what a request is about: what it made, else what its path names last.
func (r *request) resource(told *rest.Audit) string {
	if told.ResourceID != "" {
		return told.ResourceID
	}
	begin := strings.LastIndexByte(r.template, '{')
	if begin < 0 {
		return ""
	}
	name, _, _ := strings.Cut(r.template[begin+1:], "}")
	name, _, _ = strings.Cut(name, ":") // a pattern may follow
	return r.vars[name]
}
