// Package roles judges the roles of the chart by a real apiserver, behind the manager's own
// server and with tokens of a real OpenID provider: every role, on every path, with every
// method. What it finds is docs/roles.md.
package roles

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/test/contract/hub"
	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/oidcprovider"
)

var update = flag.Bool("update", false, "write docs/roles.md")

func TestMain(m *testing.M) {
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil))) // refusals are most of what these tests do
	os.Exit(m.Run())
}

// world is the server with everything real around it.
type world struct {
	*hub.Server
	provider *oidcprovider.Provider
}

func start(t *testing.T) world {
	t.Helper()
	if testing.Short() {
		t.Skip("a real kube-apiserver and a real OpenID provider")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // a first run builds Kubernetes and OCM
	defer cancel()
	// All of a hub: who is an administrator is put together by its controller manager.
	env, err := harness.Start(ctx, harness.Options{Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(env.Stop)
	if err := hub.Install(ctx, env.Hub); err != nil {
		t.Fatal(err)
	}
	var clients []oidcprovider.Client
	for _, role := range callers() {
		clients = append(clients, oidcprovider.Client{ID: clientOf(role), Secret: "secret", Claims: map[string]any{"roles": []string{role}}})
	}
	provider, err := oidcprovider.Start(ctx, oidcprovider.Options{Dir: t.TempDir(), Clients: clients, Lifetime: time.Hour, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(provider.Stop)
	s := hub.Start(t, env.Hub)
	if err := s.Callers.Configure(auth.Config{
		Issuers:   []auth.Issuer{{URL: provider.Issuer, Audiences: []string{hub.Audience}, CABundle: provider.CA()}},
		Transport: hub.Transport,
	}); err != nil {
		t.Fatal(err)
	}
	return world{s, provider}
}

// clientOf is the id of the client that has a role.
func clientOf(role string) string {
	if role == none {
		return "nobody"
	}
	return strings.TrimPrefix(role, "o2ims-")
}

// TestRoles asks for every path with every method and every role.
func TestRoles(t *testing.T) {
	w := start(t)
	w.waitForRoles(t)
	t.Run("served", w.testServed)
	t.Run("granted", w.testGranted)
	t.Run("profiles", w.testProfiles)
	t.Run("owners", w.testOwners)
	t.Run("other ways", w.testOtherWays)
	t.Run("spellings", w.testSpellings)
}

// testServed asks the server.
func (w world) testServed(t *testing.T) {
	routes := served(t)
	for _, caller := range callers() {
		t.Run(clientOf(caller), func(t *testing.T) {
			client, token := w.HTTPClient(nil), w.token(t, caller)
			for _, route := range routes {
				says, found := rowOf(route.Template)
				if !found {
					t.Fatalf("%s: the table says nothing of this path", route.Template)
				}
				for _, method := range hub.Methods() {
					got := ask(t, client, method, w.URL+pathOf(route.Template), token)
					want := says.allows(caller, method)
					if allowed := got != http.StatusForbidden; allowed != want || got == http.StatusUnauthorized {
						t.Errorf("%s %s: %d, want allowed: %t", method, route.Template, got, want)
					}
					if has := slices.Contains(route.Methods, method); want && has == (got == http.StatusMethodNotAllowed) && route.Template != "/metrics" {
						t.Errorf("%s %s: %d, and the path has the method: %t", method, route.Template, got, has)
					}
				}
			}
		})
	}
}

// testGranted asks the apiserver for rights on what nothing serves.
func (w world) testGranted(t *testing.T) {
	verbs := map[string]string{"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
	for _, r := range granted() {
		for _, template := range r.templates() {
			for _, caller := range callers() {
				for _, method := range hub.Methods() {
					if got, want := w.allowed(t, caller, verbs[method], pathOf(template)), r.allows(caller, method); got != want {
						t.Errorf("%s, %s %s: allowed: %t, want %t", clientOf(caller), method, template, got, want)
					}
				}
			}
		}
	}
}

// testProfiles asks who sees how managed clusters are reached.
func (w world) testProfiles(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		for _, caller := range callers() {
			want := caller == auth.RoleDeployer || caller == auth.RoleAdmin
			if got := w.allowed(t, caller, "profile", inventory+"/"+version+"/deploymentManagers"); got != want {
				t.Errorf("%s, %s: allowed: %t, want %t", clientOf(caller), version, got, want)
			}
		}
	}
}

// testOwners asks who may act for others, and on what is not its own.
func (w world) testOwners(t *testing.T) {
	for _, collection := range []string{inventory + "/v1/subscriptions", inventory + "/v2/subscriptions", monitoring + "/v1/alarmSubscriptions", monitoring + "/v2/alarmSubscriptions"} {
		for _, verb := range []string{auth.VerbDelegate, auth.VerbDeleteAny, auth.VerbPatchAny} {
			for _, caller := range callers() {
				if got, want := w.allowed(t, caller, verb, collection), caller == auth.RoleAdmin; got != want {
					t.Errorf("%s, %s on %s: allowed: %t, want %t", clientOf(caller), verb, collection, got, want)
				}
			}
		}
	}
}

// testOtherWays asks in the ways that stand for others: HEAD for GET, and a service's name as
// the standard spells it.
func (w world) testOtherWays(t *testing.T) {
	client := w.HTTPClient(nil)
	for _, tc := range []struct {
		caller, method, path string
		want                 int
	}{
		{auth.RoleReader, http.MethodHead, inventory + "/v2/resourcePools", http.StatusOK},
		{none, http.MethodHead, inventory + "/v2/resourcePools", http.StatusForbidden},
		{auth.RoleReader, http.MethodGet, alarm.Alias + "/v1/alarms", http.StatusOK},
		{none, http.MethodGet, alarm.Alias + "/v1/alarms", http.StatusForbidden},
		{auth.RoleReader, http.MethodPost, alarm.Alias + "/v1/alarms/purge", http.StatusForbidden},
		{auth.RoleReader, http.MethodOptions, inventory + "/v2/resourcePools", http.StatusForbidden},
		{auth.RoleReader, "PROPFIND", inventory + "/v2/resourcePools", http.StatusForbidden},
	} {
		if got := ask(t, client, tc.method, w.URL+tc.path, w.token(t, tc.caller)); got != tc.want {
			t.Errorf("%s, %s %s: %d, want %d", clientOf(tc.caller), tc.method, tc.path, got, tc.want)
		}
	}
}

// testSpellings writes paths that a caller may not use so that they look like such that it may.
func (w world) testSpellings(t *testing.T) {
	client := w.HTTPClient(nil)
	for _, tc := range []struct{ caller, path string }{
		{auth.RoleReader, "/admin/v1/delivery"},
		{auth.RoleSubscriber, inventory + "/v2/deploymentManagers"},
		{auth.RoleSubscriber, monitoring + "/v2/alarmServiceConfiguration"},
		{auth.RoleMaintainer, monitoring + "/v2/alarms"},
		{auth.RoleDeployer, inventory + "/v2/resourcePools"},
	} {
		if got := ask(t, client, http.MethodGet, w.URL+tc.path, w.token(t, auth.RoleAdmin)); got != http.StatusOK {
			t.Errorf("%s as an administrator: %d", tc.path, got)
		}
		token := w.token(t, tc.caller)
		for _, spelling := range spellings(tc.path) {
			if got := ask(t, client, http.MethodGet, w.URL+spelling, token); got < http.StatusBadRequest || got == http.StatusUnauthorized {
				t.Errorf("%s, %s: %d", clientOf(tc.caller), spelling, got)
			}
		}
	}
}

// spellings are other ways to write a path.
func spellings(path string) []string {
	last := path[strings.LastIndex(path, "/"):]
	return []string{
		path, path + "/", path + "//", path + "/.", path + "?", path + "%3F", path + "%23", path + ";a=b", "/" + path, path + "%00",
		strings.ToUpper(path), path[:2] + "./" + path[2:], "/%2e" + path, "/." + path,
		strings.Replace(path, "/v", "/%76", 1), strings.Replace(path, "/v", "%2Fv", 1), strings.Replace(path, "/v", "/x/../v", 1),
		monitoring + "/.." + path, monitoring + "/%2e%2e" + path, monitoring + "/v2/alarms/..%2f..%2f.." + path,
		inventory + "/v2/subscriptions/../../.." + path, inventory + "/v2/subscriptions/%2e%2e" + last, inventory + "/v2/subscriptions/..%2f" + last[1:],
		strings.Replace(path, "infrastructureMonitoring", "infrastructureMonitoring/../o2ims-infrastructureMonitoring", 1),
	}
}

func (w world) token(t *testing.T, caller string) string {
	t.Helper()
	token, err := w.provider.Token(t.Context(), clientOf(caller))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ask returns the status of an answer.
func ask(t *testing.T, client *http.Client, method, url, token string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// parameter is one in a path's template.
var parameter = regexp.MustCompile(`\{[^}]*\}`)

// pathOf is a path that a template stands for, of something that there is not.
func pathOf(template string) string {
	return parameter.ReplaceAllString(template, "6a3e5c1e-6e0b-4c0f-9d0a-0f6a3a8f9d11")
}

// waitForRoles waits until the apiserver has read all roles, and its controller manager has
// put the administrator's together.
func (w world) waitForRoles(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	waiting := map[string]row{}
	for _, r := range granted() {
		for _, template := range r.templates() {
			waiting[template] = r
		}
	}
	for len(waiting) > 0 {
		for template, r := range waiting {
			if w.allowed(t, auth.RoleAdmin, "get", template) && (r.get == nil || w.allowed(t, r.get[0], "get", template)) {
				delete(waiting, template)
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not granted within two minutes: %v", waiting)
		case <-tick.C:
		}
	}
}

// allowed asks the apiserver directly.
func (w world) allowed(t *testing.T, role, verb, path string) bool {
	t.Helper()
	groups := []string{"o2ims-authenticated"}
	if role != none {
		groups = append(groups, role)
	}
	review, err := w.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "issuer#somebody", Groups: groups,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}
