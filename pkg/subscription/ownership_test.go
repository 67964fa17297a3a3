package subscription

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
)

// grants is what access reviews allow, as "user verb path"; away: nobody can tell.
type grants map[string]bool

func (g grants) Allowed(ctx context.Context, verb, path string) (bool, error) {
	if g["away"] {
		return false, fault.Unavailable
	}
	id, _ := auth.IdentityOf(ctx)
	return g[id.Name+" "+verb+" "+path], nil
}

// as makes a request as somebody, on behalf of somebody unless that is "", and returns what
// the audit log is told.
func (a *api) as(id auth.Identity, behalf, method, path, body string) (*httptest.ResponseRecorder, *rest.Audit) {
	a.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if behalf != "" {
		r.Header.Set(auth.HeaderOnBehalfOf, behalf)
	}
	ctx, told := rest.WithAudit(auth.WithIdentity(r.Context(), id))
	w := httptest.NewRecorder()
	a.router.ServeHTTP(w, r.WithContext(ctx))
	return w, told
}

var (
	theSMO = auth.Identity{Name: "https://idp#1", Client: "smo", Issuer: "https://idp"}
	agent  = auth.Identity{Name: "https://idp#2", Client: "agent", Issuer: "https://idp", Scopes: []string{auth.ScopeDelegate}}
	eve    = auth.Identity{Name: "https://idp#3", Client: "eve", Issuer: "https://idp"}
	root   = auth.Identity{Name: "root"}
)

func TestOwnerOfASubscription(t *testing.T) {
	access := grants{"root delegate " + base + "/v2/subscriptions": true}
	for _, tc := range []struct {
		name           string
		id             auth.Identity
		behalf         string
		status         int
		owner, creator string
	}{
		{"its own", theSMO, "", 201, "smo", "smo"},
		{"its own, by name", theSMO, "smo", 201, "smo", "smo"},
		{"another's, by scope", agent, "rapp-7", 201, "rapp-7", "agent"},
		{"another's, by role", root, "rapp-7", 201, "rapp-7", "root"},
		{"another's, without a right", theSMO, "rapp-7", 403, "", ""},
		{"no name", agent, "a\tb", 400, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPIWith(t, nil, access)
			w, told := a.as(tc.id, tc.behalf, http.MethodPost, base+"/v2/subscriptions", `{"callback":"https://smo/cb"}`)
			if w.Code != tc.status {
				t.Fatalf("POST = %d %s, want %d", w.Code, w.Body, tc.status)
			}
			stored, err := a.store.Subscriptions(t.Context(), "inventory")
			if err != nil {
				t.Fatal(err)
			}
			if tc.status != http.StatusCreated {
				if len(stored) > 0 {
					t.Errorf("stored %+v", stored)
				}
				return
			}
			var shown struct {
				SubscriptionID string
				Extensions     Extensions
			}
			if err := json.Unmarshal(w.Body.Bytes(), &shown); err != nil {
				t.Fatal(err)
			}
			if want := (Extensions{tc.owner, tc.creator}); shown.Extensions != want || stored[0].Owner != tc.owner || stored[0].Creator != tc.creator {
				t.Errorf("shown %+v, stored %+v, want %+v", shown.Extensions, stored[0], want)
			}
			if want := (rest.Audit{ResourceID: shown.SubscriptionID, Owner: tc.owner, Creator: tc.creator}); *told != want {
				t.Errorf("the audit log is told %+v, want %+v", *told, want)
			}
		})
	}
}

func TestWhoMayDelete(t *testing.T) {
	access := grants{"root delete-any " + base + "/v2/subscriptions": true}
	owned := store.Subscription{Owner: "smo", Creator: "agent"}
	before := store.Subscription{} // of before owners were noted
	for _, tc := range []struct {
		name    string
		removal Removal
		access  auth.Access
		sub     store.Subscription
		id      auth.Identity
		want    int
	}{
		{"anybody, where anybody may", RemovalAny, nil, owned, eve, 200},
		{"its owner", RemovalOwner, nil, owned, theSMO, 200},
		{"its creator", RemovalOwner, nil, owned, agent, 200},
		{"somebody else", RemovalOwner, access, owned, eve, 403},
		{"an administrator", RemovalOwner, access, owned, root, 200},
		{"nobody can tell", RemovalOwner, grants{"away": true}, owned, eve, 503},
		{"nobody's", RemovalOwner, access, before, eve, 403},
		{"nobody's, an administrator", RemovalOwner, access, before, root, 200},
		{"nobody's, where anybody may", RemovalAny, nil, before, eve, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPIWith(t, func(o *Options) { o.DeleteSubscriptions = string(tc.removal) }, tc.access)
			sub := tc.sub
			sub.ID, sub.Service, sub.Version, sub.Callback, sub.Created = uuid.New(), "inventory", "v2", "https://smo/cb", time.Now()
			if err := a.store.CreateSubscription(t.Context(), sub, 10); err != nil {
				t.Fatal(err)
			}
			path := fmt.Sprintf("%s/v2/subscriptions/%s", base, sub.ID)
			if w, _ := a.as(eve, "", http.MethodGet, path, ""); !strings.Contains(w.Body.String(), fmt.Sprintf(`"extensions":{"owner":%q,"creator":%q}`, sub.Owner, sub.Creator)) {
				t.Errorf("shown as %s", w.Body)
			}
			w, told := a.as(tc.id, "", http.MethodDelete, path, "")
			if w.Code != tc.want {
				t.Errorf("DELETE = %d %s, want %d", w.Code, w.Body, tc.want)
			}
			if w.Code == 403 && (strings.Contains(w.Body.String(), "smo") || strings.Contains(w.Body.String(), "agent")) {
				t.Errorf("the refusal tells whose it is: %s", w.Body)
			}
			if told.Owner != sub.Owner || told.Creator != sub.Creator {
				t.Errorf("the audit log is told %+v, want the owner %q", *told, sub.Owner)
			}
			left, err := a.store.Subscriptions(t.Context(), "inventory")
			if err != nil || (len(left) == 0) != (tc.want == 200) {
				t.Errorf("%d subscriptions are left, %v", len(left), err)
			}
		})
	}
}
