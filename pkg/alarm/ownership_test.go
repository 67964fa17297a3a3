package alarm

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/subscription"
)

// grants is what access reviews allow, as "user verb path".
type grants map[string]bool

func (g grants) Allowed(ctx context.Context, verb, path string) (bool, error) {
	id, _ := auth.IdentityOf(ctx)
	return g[id.Name+" "+verb+" "+path], nil
}

func client(name string, scopes ...string) auth.Identity {
	return auth.Identity{Name: "https://idp#" + name, Client: name, Issuer: "https://idp", Scopes: scopes}
}

// TestAlarmSubscriptionsHaveOwners follows one subscription that an agent makes for noc.
func TestAlarmSubscriptionsHaveOwners(t *testing.T) {
	root := auth.Identity{Name: "root"}
	w := newSubscriptionWorld(t, func(w *apiWorld) {
		w.settings.DeleteSubscriptions = string(subscription.RemovalOwner)
		w.access = grants{
			"root patch-any " + BasePath + "/v1/alarmSubscriptions":  true,
			"root delete-any " + BasePath + "/v2/alarmSubscriptions": true,
			"root delegate " + BasePath + "/v2/alarmSubscriptions":   true,
		}
	})
	const body = `{"callback":"https://smo/cb"}`
	w.identity = client("eve")
	w.ask(http.MethodPost, "/v2/alarmSubscriptions", body, 403, "may not act for others", auth.HeaderOnBehalfOf, "noc")
	w.identity = root
	w.ask(http.MethodPost, "/v2/alarmSubscriptions", `{"callback":"https://smo/other"}`, 201, `"extensions":{"owner":"soc","creator":"root"}`, auth.HeaderOnBehalfOf, "soc")
	w.identity = client("agent", auth.ScopeDelegate)
	const whose = `"extensions":{"owner":"noc","creator":"agent"}`
	created := w.ask(http.MethodPost, "/v2/alarmSubscriptions", body, 201, whose, auth.HeaderOnBehalfOf, "noc")
	one := strings.TrimPrefix(created.Header.Get("Location"), "https://o2ims.example.net"+BasePath)
	inV1 := strings.Replace(one, "v2", "v1", 1)

	for _, step := range []struct {
		id           auth.Identity
		method, path string
		body         string
		status       int
		want         string
	}{
		{client("eve"), "GET", one, "", 200, whose},
		{client("eve"), "GET", "/v1/alarmSubscriptions?filter=(eq,extensions/owner,noc);(eq,extensions/creator,agent)", "", 200, whose},
		{client("eve"), "PATCH", one, `{"callback":"https://eve/cb"}`, 403, "only its owner"},
		{client("eve"), "DELETE", one, "", 403, "only its owner"},
		{root, "PATCH", one, `{"callback":"https://smo/root"}`, 403, "only its owner"}, // the right is on v1
		{root, "PATCH", inV1, `{"callback":"https://smo/root"}`, 200, whose},
		{client("noc"), "PATCH", one, `{"eventFilter":"NEW","extensions":{"owner":"eve"}}`, 200, whose},
		{client("agent"), "PATCH", one, `{"eventFilter":"CLEAR"}`, 200, whose},
		{root, "DELETE", inV1, "", 403, "only its owner"},
		{client("noc"), "DELETE", one, "", 204, ""},
	} {
		w.identity = step.id
		answer := w.ask(step.method, step.path, step.body, step.status, step.want)
		if text := bodyOf(t, answer); step.status == 403 && (strings.Contains(text, "noc") || strings.Contains(text, "agent")) {
			t.Errorf("the refusal tells whose it is: %s", text)
		}
	}
}

// TestWhoAcknowledges: records name the client, not the user that its issuer made of it.
func TestWhoAcknowledges(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		r := record(1)
		w.fill(r)
		w.identity = client("noc")
		w.ask(http.MethodPatch, "/v2/alarms/"+r.ID.String(), `{"alarmAcknowledged":true}`, 200, "true")
		w.ask(http.MethodGet, "/v2/alarms/"+r.ID.String(), "", 200, `"acknowledgedBy":"noc"`)
	})
}
