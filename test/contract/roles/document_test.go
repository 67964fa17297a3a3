package roles

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/test/contract/hub"
	"github.com/o2ims/o2ims/test/harness"
)

const heading = `# Who may do what

Generated from the table that TestRoles holds against a real kube-apiserver; do not edit. To write it anew:
` + "`go test ./test/contract/roles -run Document -args -update`" + `.

A caller has the roles that its token names ([oauth.md](oauth.md)), or those that a ClusterRoleBinding gives to its user, group or
service account. The chart brings a ClusterRole for each role, bound to the group of the same name. A request is allowed when RBAC allows its
verb (GET get, POST create, PUT update, PATCH patch, DELETE delete) on its path, as nonResourceURLs.

- ● allowed. Nothing: answered 403. A caller without a valid token is answered 401 wherever it goes.
- *any token*: no role is needed, only a valid token. /healthz and /readyz are the only paths that need none.
- The administrator is never refused below the prefixes of the APIs, so it learns from 404 and 405 what does not exist.
- HEAD is allowed where GET is.
- {v} stands for v1 and v2.
`

const footing = `
## Beyond paths

| right | verb and path | any token | reader | subscriber | maintainer | provisioner | deployer | admin |
|---|---|---|---|---|---|---|---|---|
| see in deployment managers how a managed cluster is reached (` + "`profileData`" + `) | ` + "`profile` `/o2ims-infrastructureInventory/v1/deploymentManagers`, `…/v2/deploymentManagers`" + ` | | | | | | ● | ● |
| name another owner of a subscription (` + "`X-On-Behalf-Of-Service`" + `); delete or change anybody's where ` + "`--delete-subscriptions=owner`" + ` | ` + "`delegate`, `delete-any`, `patch-any` on collections of subscriptions" + ` | | | | | | | ● |
| post alerts of managed clusters from the hub's Alertmanager | ` + "`create` `/internal/v1/caas-alerts/alertmanager`" + `, with the ClusterRole ` + "`o2ims-hub-alert-sender`" + ` | | | | | | | ● |
`

// document is docs/roles.md.
func document(routes []hub.Route) string {
	var text strings.Builder
	text.WriteString(heading)
	for _, section := range []struct{ title, prefix string }{
		{"Inventory", inventory}, {"Monitoring", monitoring}, {"Operation", "/admin"}, {"Internal", "/internal"}, {"Metrics", "/metrics"},
	} {
		head(&text, section.title)
		for _, r := range table() {
			for _, path := range r.paths {
				if strings.HasPrefix(path, section.prefix) {
					line(&text, r, path, methodsOf(routes, path))
				}
			}
		}
	}
	head(&text, "Granted, not served yet")
	for _, r := range granted() {
		for _, path := range r.paths {
			line(&text, r, path, slices.DeleteFunc(hub.Methods(), func(m string) bool { return r.has(m) == nil }))
		}
	}
	return text.String() + footing
}

func head(text *strings.Builder, title string) {
	fmt.Fprintf(text, "\n## %s\n\n| path | method | any token |", title)
	for _, role := range callers()[1:] {
		fmt.Fprintf(text, " %s |", clientOf(role))
	}
	text.WriteString("\n|---|---|" + strings.Repeat("---|", len(callers())) + "\n")
}

func line(text *strings.Builder, r row, path string, methods []string) {
	for _, method := range methods {
		fmt.Fprintf(text, "| `%s` | %s |", path, method)
		for _, caller := range callers() {
			if r.allows(caller, method) {
				text.WriteString(" ● |")
			} else {
				text.WriteString(" |")
			}
		}
		text.WriteString("\n")
	}
}

// methodsOf are those that a path has.
func methodsOf(routes []hub.Route, path string) []string {
	i := slices.IndexFunc(routes, func(r hub.Route) bool { return r.Template == strings.Replace(path, "{v}", "v2", 1) })
	if i < 0 {
		return nil
	}
	return routes[i].Methods
}

// TestTable checks that the table is about what the server serves, no more and no less.
func TestTable(t *testing.T) {
	known := map[string]bool{}
	for _, route := range served(t) {
		known[route.Template] = true
		r, found := rowOf(route.Template)
		if !found {
			t.Errorf("%s is served, and the table says nothing of it", route.Template)
			continue
		}
		for _, method := range hub.Methods() {
			has := slices.Contains(route.Methods, method)
			if !has && r.has(method) != nil {
				t.Errorf("%s has no method %s, and the table lets %v use it", route.Template, method, r.has(method))
			}
			if has && r.through[method] != nil {
				t.Errorf("%s has the method %s, and the table says that it has not", route.Template, method)
			}
		}
	}
	for _, r := range table() {
		for _, template := range r.templates() {
			if !known[template] {
				t.Errorf("%s is in the table, and nobody serves it", template)
			}
		}
	}
	if got, want := len(callers()), len(auth.Roles())+1; got != want {
		t.Errorf("%d callers, want the %d roles and none", got, want-1)
	}
}

// TestDocument checks that docs/roles.md is what the table says.
func TestDocument(t *testing.T) {
	root, err := harness.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	file, want := filepath.Join(root, "docs", "roles.md"), document(served(t))
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/roles.md is not what the table says: run go test ./test/contract/roles -run Document -args -update")
	}
}
