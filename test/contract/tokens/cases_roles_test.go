package tokens

import (
	"net/http"

	"github.com/o2ims/o2ims/pkg/auth"
)

// roles are attacks on what a caller may do.
func (w *world) roles() []attempt {
	roles := func(value any, edits ...edit) shot {
		return bearer(w.token(append([]edit{claim("roles", value)}, edits...)...))
	}
	list := func(names ...string) shot { return roles(names) }
	scope := func(value any) shot { return bearer(w.token(without("roles"), claim("scope", value))) }
	named := func(sub string) shot { return bearer(w.token(without("roles"), claim("sub", sub))) }
	other := func(name string, value any) shot { return bearer(w.token(without("roles"), claim(name, value))) }
	const role = auth.RoleReader
	return []attempt{
		{"AUTH-255", letIn, "a list", "RFC 9068, 2.2.3.1", list(role)},
		{"AUTH-256", letIn, "a list of ours and others", "RFC 9068, 2.2.3.1", list("offline_access", role)},
		{"AUTH-257", letIn, "a text", "RFC 9068, 2.2.3.1", roles(role)},
		{"AUTH-258", letIn, "a scope", "RFC 9068, 2.2.3", scope("o2ims.read role:" + role)},
		{"AUTH-259", letIn, "a scope, from the provider", "RFC 9068, 2.2.3", bearer(w.issued.scoped)},
		{"AUTH-260", letIn, "two roles", "RFC 9068, 2.2.3.1", list(auth.RoleReader, auth.RoleSubscriber).to(http.MethodGet, "/o2ims-infrastructureInventory/v2/subscriptions")},

		{"AUTH-261", mayNot, "none", "RFC 6750, 3.1", bearer(w.token(without("roles")))},
		{"AUTH-508", mayNot, "what somebody granted to all whom Kubernetes knows", "RFC 9068, 5", list("o2ims-authenticated", "system:authenticated").to(http.MethodGet, knownPath)},
		{"AUTH-262", mayNot, "system:masters", "RFC 9068, 5", list("system:masters")},
		{"AUTH-263", mayNot, "system:masters and a reader, where an administrator is wanted", "RFC 9068, 5", list("system:masters", role).to(http.MethodGet, adminsPath)},
		{"AUTH-264", mayNot, "system:nodes", "RFC 9068, 5", list("system:nodes")},
		{"AUTH-265", mayNot, "system:serviceaccounts of our namespace", "RFC 9068, 5", list("system:serviceaccounts", "system:serviceaccounts:o2ims")},
		{"AUTH-266", mayNot, "a ClusterRole for a group", "RFC 9068, 5", list("cluster-admin")},
		{"AUTH-267", mayNot, "the ClusterRole behind the administrator", "RFC 9068, 5", list("o2ims-all-paths")},
		{"AUTH-268", mayNot, "the role of an Alertmanager", "RFC 9068, 5", list("o2ims-hub-alert-sender").to(http.MethodPost, "/internal/v1/caas-alerts/alertmanager")},
		{"AUTH-269", mayNot, "a user of the name system:admin", "RFC 9068, 5", named("system:admin")},
		{"AUTH-270", mayNot, "a user of the name of our service account", "RFC 9068, 5", named("system:serviceaccount:o2ims:o2ims-manager")},
		{"AUTH-271", mayNot, "a user of the name of a reader", "RFC 9068, 5", named("system:serviceaccount:o2ims:reader")},
		{"AUTH-272", mayNot, "in another case", "RFC 9068, 5", list("O2IMS-READER", "O2ims-Reader")},
		{"AUTH-273", mayNot, "with spaces", "RFC 9068, 5", list(" "+role, role+" ", "o2ims- reader")},
		{"AUTH-274", mayNot, "with a line end", "RFC 9068, 5", list(role + "\n")},
		{"AUTH-275", mayNot, "with a NUL", "RFC 9068, 5", list(role + "\x00")},
		{"AUTH-276", mayNot, "with a letter that looks the same", "RFC 9068, 5", list("\u043e2ims-reader")},
		{"AUTH-277", mayNot, "with a hyphen that looks the same", "RFC 9068, 5", list("o2ims\u2010reader")},
		{"AUTH-278", mayNot, "in letters of full width", "RFC 9068, 5", list("\uff4f\uff12ims-reader")},
		{"AUTH-279", mayNot, "two in one name", "RFC 9068, 5", list("o2ims-reader,o2ims-admin")},
		{"AUTH-280", mayNot, "with a slash before it, as a group of Keycloak", "RFC 9068, 5", list("/" + role)},
		{"AUTH-281", mayNot, "without its prefix", "RFC 9068, 5", list("reader", "admin")},
		{"AUTH-282", mayNot, "the name of a binding", "RFC 9068, 5", list("oran-o2ims-reader-role")},
		{"AUTH-283", mayNot, "keys of an object", "RFC 9068, 5", roles(map[string]any{role: true})},
		{"AUTH-284", mayNot, "a list in a list", "RFC 9068, 5", roles([]any{[]string{role}})},
		{"AUTH-285", mayNot, "objects with names", "RFC 9068, 5", roles([]any{map[string]string{"name": role}})},
		{"AUTH-286", mayNot, "numbers", "RFC 9068, 5", roles([]int{1, 2})},
		{"AUTH-287", mayNot, "true", "RFC 9068, 5", roles(true)},
		{"AUTH-288", mayNot, "null", "RFC 9068, 5", roles(nil)},
		{"AUTH-289", mayNot, "JSON in a text", "RFC 9068, 5", roles(`["o2ims-reader"]`)},
		{"AUTH-290", mayNot, "commas in a text", "RFC 9068, 5", roles("o2ims-reader,o2ims-subscriber")},
		{"AUTH-291", mayNot, "in the claim groups, which is not the one", "RFC 9068, 5", other("groups", []string{role})},
		{"AUTH-292", mayNot, "in the claim Roles", "RFC 9068, 5", other("Roles", []string{role})},
		{"AUTH-293", mayNot, "in realm_access.roles, which is not the one", "RFC 9068, 5", other("realm_access", map[string]any{"roles": []string{role}})},
		{"AUTH-294", mayNot, "in resource_access", "RFC 9068, 5", other("resource_access", map[string]any{audience: map[string]any{"roles": []string{role}}})},
		{"AUTH-295", mayNot, "a name that another issuer's settings translate", "RFC 9068, 5", list("IMS viewer")},
		{"AUTH-296", mayNot, "a scope of the name of a role", "RFC 9068, 2.2.3", scope(role)},
		{"AUTH-297", mayNot, "a scope with a space", "RFC 6749, 3.3", scope("role: " + role)},
		{"AUTH-298", mayNot, "a scope roles:", "RFC 6749, 3.3", scope("roles:" + role)},
		{"AUTH-299", mayNot, "a scope Role:, for scopes are case-sensitive", "RFC 6749, 3.3", scope("Role:" + role)},
		{"AUTH-300", mayNot, "scopes between commas", "RFC 6749, 3.3", scope("role:" + role + ",o2ims.read")},
		{"AUTH-301", mayNot, "a scope role:system:masters", "RFC 9068, 2.2.3", scope("role:system:masters")},
		{"AUTH-302", mayNot, "a scope role:role:", "RFC 9068, 2.2.3", scope("role:role:" + role)},
		{"AUTH-303", mayNot, "the claim scp", "RFC 9068, 2.2.3", other("scp", []string{"role:" + role})},
		{"AUTH-304", notKnown, "scope is a number", "RFC 9068, 2.2.3", scope(1)},
		{"AUTH-305", notKnown, "scope is an object", "RFC 9068, 2.2.3", scope(map[string]any{"role": role})},
		{"AUTH-306", mayNot, "a reader that deletes", "RFC 6750, 3.1", list(role).to(http.MethodDelete, "/o2ims-infrastructureInventory/v2/subscriptions/6a3e5c1e-6e0b-4c0f-9d0a-0f6a3a8f9d11")},
		{"AUTH-307", mayNot, "a reader that overrides the method", "RFC 6750, 3.1", list(role).to(http.MethodPost, "/o2ims-infrastructureInventory/v2/subscriptions").set("X-Http-Method-Override", "GET")},
		{"AUTH-308", mayNot, "a reader where an administrator is wanted", "RFC 6750, 3.1", list(role).to(http.MethodGet, adminsPath)},
	}
}

// nestedRoles are attacks on roles that are not at the top, and on names of an issuer's own.
func (w *world) nestedRoles() []attempt {
	with := func(edits ...edit) shot {
		return bearer(w.token(append([]edit{without("roles"), key(w.keys["PS256"], "PS256")}, edits...)...)).at(nested)
	}
	realm := func(value any) shot { return with(claim("realm_access", value)) }
	const role = auth.RoleReader
	return []attempt{
		{"AUTH-309", letIn, "at the path", "RFC 9068, 2.2.3.1", realm(map[string]any{"roles": []string{role}})},
		{"AUTH-310", letIn, "by the issuer's own name", "RFC 9068, 2.2.3.1", realm(map[string]any{"roles": []string{"IMS viewer"}})},
		{"AUTH-311", letIn, "a claim whose name has dots", "RFC 9068, 2.2.3.1", with(claim("realm_access.roles", []string{role}))},

		{"AUTH-312", mayNot, "at the top, which is not the place", "RFC 9068, 5", with(claim("roles", []string{role}))},
		{"AUTH-313", mayNot, "the object is a list", "RFC 9068, 5", realm([]string{role})},
		{"AUTH-314", mayNot, "the object is a text", "RFC 9068, 5", realm(role)},
		{"AUTH-315", mayNot, "the object is null", "RFC 9068, 5", realm(nil)},
		{"AUTH-316", mayNot, "a level too deep", "RFC 9068, 5", realm(map[string]any{"roles": map[string]any{"roles": []string{role}}})},
		{"AUTH-317", mayNot, "a list of objects", "RFC 9068, 5", realm([]any{map[string]any{"roles": []string{role}}})},
		{"AUTH-318", mayNot, "in another case", "RFC 9068, 5", with(claim("Realm_Access", map[string]any{"Roles": []string{role}}))},
		{"AUTH-319", mayNot, "the issuer's own name in another case", "RFC 9068, 5", realm(map[string]any{"roles": []string{"ims viewer"}})},
		{"AUTH-320", mayNot, "system:masters at the path", "RFC 9068, 5", realm(map[string]any{"roles": []string{"system:masters"}})},
		{"AUTH-321", mayNot, "a claim whose name has dots, and that says nothing, before the path", "RFC 9068, 5", with(claim("realm_access.roles", []string{}), claim("realm_access", map[string]any{"roles": []string{role}}))},
	}
}

// purposes are tokens that the issuer signs for something else.
func (w *world) purposes() []attempt {
	other := func(edits ...edit) shot { return bearer(w.token(append([]edit{head("typ", "JWT")}, edits...)...)) }
	return []attempt{
		{"AUTH-322", letIn, "an access token of Keycloak", "RFC 9068, 2.1", other(claim("typ", "Bearer"), claim("azp", "smo"), without("client_id"))},

		{"AUTH-323", notKnown, "an ID token", "RFC 9068, 5; OpenID Connect Core 1.0, 2", other(claim("nonce", "n-0S6_WzA2Mj"), claim("auth_time", in(0)))},
		{"AUTH-324", notKnown, "an ID token for the client", "RFC 9068, 5; OpenID Connect Core 1.0, 2", other(claim("aud", "smo"), claim("at_hash", "77QmUPtjPfzWtF2AnpK9RQ"))},
		{"AUTH-325", notKnown, "an ID token with the hash of an access token, for us", "RFC 9068, 5; OpenID Connect Core 1.0, 3.1.3.6", other(claim("at_hash", "77QmUPtjPfzWtF2AnpK9RQ"))},
		{"AUTH-326", notKnown, "an ID token with the hash of a code, for us", "RFC 9068, 5; OpenID Connect Core 1.0, 3.3.2.11", other(claim("c_hash", "77QmUPtjPfzWtF2AnpK9RQ"))},
		{"AUTH-327", notKnown, "an ID token of Keycloak", "RFC 8725, 3.12", other(claim("typ", "ID"))},
		{"AUTH-328", notKnown, "a refresh token of Keycloak", "RFC 8725, 3.12", other(claim("typ", "Refresh"))},
		{"AUTH-329", notKnown, "an offline token of Keycloak", "RFC 8725, 3.12", other(claim("typ", "Offline"))},
		{"AUTH-330", notKnown, "a logout token", "RFC 8725, 3.12; RFC 8417, 2.2", other(claim("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}))},
		{"AUTH-331", notKnown, "a purpose that is no text", "RFC 8725, 3.12", other(claim("typ", []string{"Bearer"}))},
		{"AUTH-332", notKnown, "an opaque token", "RFC 9068, 4", bearer("2YotnFZFEjr1zCsicMWpAAxyzabcdefghij")},
		{"AUTH-333", notKnown, "the client's own assertion", "RFC 7523, 3", other(claim("iss", "smo"), claim("sub", "smo"), claim("aud", w.provider.Issuer))},
	}
}
