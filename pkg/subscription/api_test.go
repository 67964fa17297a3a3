package subscription

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
)

// callbacks refuses URLs with "bad" in them, and reaches those with "there".
type callbacks struct{}

func (callbacks) CheckURL(_ context.Context, url string) error {
	if strings.Contains(url, "bad") {
		return fmt.Errorf("callback: address is not allowed: %w", fault.Invalid)
	}
	return nil
}

func (callbacks) Reach(_ context.Context, url string, _ ...int) error {
	if !strings.Contains(url, "there") {
		return fmt.Errorf("callback cannot be reached: %w", fault.Invalid)
	}
	return nil
}

const base = "/o2ims-infrastructureInventory"

// api is an API over an embedded store, and how to call it.
type api struct {
	t      testing.TB
	store  *store.Store
	router http.Handler
}

func newAPI(t testing.TB, change func(*Options)) *api {
	t.Helper()
	return newAPIWith(t, change, nil)
}

func newAPIWith(t testing.TB, change func(*Options), access auth.Access) *api {
	t.Helper()
	w := newWorld(t)
	o := testOptions()
	if change != nil {
		change(&o)
	}
	pager := rest.NewPager(rest.PagingOptions{Size: 100}, bytes.Repeat([]byte{7}, rest.MarkerKeyBytes))
	a := NewAPI(o, APIParts{
		Store: w.store, Callbacks: callbacks{}, Pager: pager, Access: access, BaseURL: "https://o2ims.example.net",
		Service: Service{Name: "inventory", Versions: []string{"v1", "v2"}, Kinds: testKinds},
	})
	router := mux.NewRouter()
	a.Routes(router, base)
	(&Admin{Store: w.store}).Routes(router)
	return &api{t: t, store: w.store, router: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		router.ServeHTTP(w, rest.Normalize(r))
	})}
}

func (a *api) call(method, path, body string) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r = r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{Name: "system:serviceaccount:o2ims:smo"}))
	w := httptest.NewRecorder()
	a.router.ServeHTTP(w, r)
	return w
}

func TestCreateSubscription(t *testing.T) {
	const id = "3F20D850-AF4F-A84F-FB5A-0AD585410361"
	for _, tc := range []struct {
		name, body string
		status     int
		detail     string // part of it
	}{
		{"callback alone", `{"callback":"https://smo/cb"}`, 201, ""},
		{"all", `{"callback":"https://smo/cb","filter":"","consumerSubscriptionId":"` + id + `"}`, 201, ""},
		{"a filter", `{"callback":"https://smo/cb","filter":"[(eq,objectType,ResourceInfo)|(eq,id,a)]"}`, 201, ""},
		{"null for nothing", `{"callback":"https://smo/cb","filter":null,"consumerSubscriptionId":null}`, 201, ""},
		{"no callback", `{"filter":""}`, 400, "callback"},
		{"empty callback", `{"callback":""}`, 400, "callback"},
		{"callback is a number", `{"callback":1}`, 400, "callback"},
		{"callback refused", `{"callback":"https://bad/"}`, 400, "not allowed"},
		{"callback too long", `{"callback":"https://smo/` + strings.Repeat("x", 3000) + `"}`, 400, "longer"},
		{"its own id", `{"callback":"https://smo/cb","subscriptionId":"` + id + `"}`, 400, "subscriptionId"},
		{"consumer id is no UUID", `{"callback":"https://smo/cb","consumerSubscriptionId":"me"}`, 400, "UUID"},
		{"filter is malformed", `{"callback":"https://smo/cb","filter":"(eq,id"}`, 400, "offset"},
		{"filter of an unknown attribute", `{"callback":"https://smo/cb","filter":"(eq,nom,a)"}`, 400, "nom"},
		{"filter of an unknown type", `{"callback":"https://smo/cb","filter":"(eq,objectType,Resource)"}`, 400, "objectType"},
		{"v2 type in v1", `{"callback":"https://smo/cb","filter":"(eq,objectType,OCloudSiteInfo)"}`, 400, "objectType"},
		{"an owner of its own choice", `{"callback":"https://smo/cb","extensions":{"owner":"eve","creator":"eve","more":1}}`, 201, ""},
		{"no extensions", `{"callback":"https://smo/cb","extensions":null}`, 201, ""},
		{"extensions that are none", `{"callback":"https://smo/cb","extensions":"eve"}`, 400, "extensions"},
		{"xml", `<subscription/>`, 400, "body"},
		{"unknown attribute", `{"callback":"https://smo/cb","priority":1}`, 400, "priority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(t, nil)
			w := a.call(http.MethodPost, base+"/v1/subscriptions", tc.body)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.detail) {
				t.Fatalf("POST = %d %s, want %d and %q", w.Code, w.Body, tc.status, tc.detail)
			}
			if w.Code != http.StatusCreated {
				return
			}
			var sent, got map[string]any
			if json.Unmarshal([]byte(tc.body), &sent) != nil || json.Unmarshal(w.Body.Bytes(), &got) != nil {
				t.Fatalf("answer %s", w.Body)
			}
			location := w.Header().Get("Location")
			if want := "https://o2ims.example.net" + base + "/v1/subscriptions/" + fmt.Sprint(got["subscriptionId"]); location != want {
				t.Errorf("Location = %s, want %s", location, want)
			}
			for _, name := range []string{"callback", "filter", "consumerSubscriptionId"} {
				if fmt.Sprint(got[name]) != fmt.Sprint(sent[name]) {
					t.Errorf("%s = %v, want it echoed: %v", name, got[name], sent[name])
				}
			}
			stored, err := a.store.Subscriptions(t.Context(), "inventory")
			if err != nil || len(stored) != 1 || stored[0].Creator != "system:serviceaccount:o2ims:smo" || stored[0].Owner != stored[0].Creator || stored[0].Version != "v1" {
				t.Errorf("stored = %+v, %v", stored, err)
			}
		})
	}
}

func TestSubscriptionsOverHTTP(t *testing.T) {
	a := newAPI(t, nil)
	const consumer = "3f20d850-af4f-a84f-fb5a-0ad585410361"
	body := `{"callback":"https://smo/cb","consumerSubscriptionId":"` + consumer + `"}`
	created := a.call(http.MethodPost, base+"/v1/subscriptions", body)
	var sub struct{ SubscriptionID string }
	if err := json.Unmarshal(created.Body.Bytes(), &sub); err != nil {
		t.Fatal(err)
	}
	one := base + "/v1/subscriptions/" + sub.SubscriptionID
	a.call(http.MethodPost, base+"/v2/subscriptions", `{"callback":"https://smo/other"}`)

	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{http.MethodPost, base + "/v1/subscriptions", body, 400, sub.SubscriptionID},
		{http.MethodPost, base + "/v1/subscriptions/", body, 400, "same"},
		{http.MethodGet, one, "", 200, consumer},
		{http.MethodGet, strings.Replace(one, "v1", "v2", 1), "", 200, consumer},
		{http.MethodGet, base + "/v1/subscriptions", "", 200, "https://smo/other"},
		{http.MethodGet, base + "/v1/subscriptions?filter=(eq,consumerSubscriptionId," + strings.ToUpper(consumer) + ")", "", 200, consumer},
		{http.MethodGet, base + "/v1/subscriptions?filter=(eq,callback,nowhere)", "", 200, "[]"},
		{http.MethodGet, base + "/v1/subscriptions?filter=(eq,owner,me)", "", 400, "owner"},
		{http.MethodGet, base + "/v1/subscriptions?filter=(eq,extensions/owner,system:serviceaccount:o2ims:smo)", "", 200, consumer},
		{http.MethodGet, base + "/v2/subscriptions?filter=(eq,extensions/creator,me)", "", 200, "[]"},
		{http.MethodGet, base + "/v2/subscriptions?filter=(eq,extensions/keeper,me)", "", 400, "keeper"},
		{http.MethodGet, base + "/v1/subscriptions?fields=extensions/owner", "", 200, `"extensions":{"owner":"system:serviceaccount:o2ims:smo"}}`},
		{http.MethodGet, base + "/v1/subscriptions/nonsense", "", 400, "UUID"},
		{http.MethodGet, base + "/v1/subscriptions/" + consumer, "", 404, consumer},
		{http.MethodPut, one, body, 405, ""},
		{http.MethodPatch, one, body, 405, ""},
		{http.MethodPatch, base + "/v1/subscriptions", body, 405, ""},
		{http.MethodDelete, base + "/v1/subscriptions", "", 405, ""},
		{http.MethodGet, AdminPath, "", 200, `"missing":[]`},
		{http.MethodGet, AdminPath + "/" + sub.SubscriptionID, "", 200, `"creator":"system:serviceaccount:o2ims:smo"`},
		{http.MethodPost, AdminPath + "/" + sub.SubscriptionID + "/resume", "", 202, ""},
		{http.MethodPost, AdminPath + "/" + consumer + "/resume", "", 404, ""},
		{http.MethodDelete, one, "", 200, ""},
		{http.MethodDelete, one, "", 404, ""},
		{http.MethodPost, base + "/v1/subscriptions", body, 201, consumer},
	} {
		w := a.call(tc.method, tc.path, tc.body)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s %s = %d %s, want %d and %q", tc.method, tc.path, w.Code, w.Body, tc.status, tc.want)
		}
		if tc.method == http.MethodDelete && w.Code == http.StatusOK && w.Body.Len() > 0 {
			t.Errorf("DELETE answered with a body: %s", w.Body)
		}
	}
	narrow := a.call(http.MethodGet, base+"/v1/subscriptions?exclude_fields=consumerSubscriptionId", "")
	if strings.Contains(narrow.Body.String(), "consumerSubscriptionId") {
		t.Errorf("excluded attribute is there: %s", narrow.Body)
	}
}

func TestDuplicateStatusAndCallbackCheck(t *testing.T) {
	a := newAPI(t, func(o *Options) { o.DuplicateStatus, o.CallbackCheck = 409, string(Check204) })
	const there = `{"callback":"https://smo/there"}`
	for _, tc := range []struct {
		body   string
		status int
	}{{there, 201}, {there, 409}, {`{"callback":"https://smo/away"}`, 400}} {
		if w := a.call(http.MethodPost, base+"/v2/subscriptions", tc.body); w.Code != tc.status {
			t.Errorf("POST %s = %d %s, want %d", tc.body, w.Code, w.Body, tc.status)
		}
	}
}

func TestStoreDownIs503(t *testing.T) {
	a := newAPI(t, nil)
	a.store.Close()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		w := a.call(method, base+"/v2/subscriptions", `{"callback":"https://smo/cb"}`)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s without a store = %d, Retry-After %q, want 503 with one", method, w.Code, w.Header().Get("Retry-After"))
		}
	}
}

func TestLedgerJudges(t *testing.T) {
	sub := func(change func(*SubscriptionLedger)) SubscriptionLedger {
		s := SubscriptionLedger{State: Active, Start: 10, Cursor: 30, Delivered: 15, Filtered: 5}
		change(&s)
		return s
	}
	for _, tc := range []struct {
		name       string
		sub        SubscriptionLedger
		lost, late bool
	}{
		{"all delivered", sub(func(*SubscriptionLedger) {}), false, false},
		{"pending", sub(func(s *SubscriptionLedger) { s.Cursor, s.Delivered, s.Pending = 29, 14, 1 }), false, true},
		{"suspended", sub(func(s *SubscriptionLedger) { s.State = Suspended }), false, true},
		{"one uncounted", sub(func(s *SubscriptionLedger) { s.Delivered = 14 }), true, false},
		{"dropped", sub(func(s *SubscriptionLedger) { s.Delivered, s.Dropped = 14, 1 }), true, false},
		{"ahead of the journal", sub(func(s *SubscriptionLedger) { s.Cursor, s.Delivered = 31, 16 }), true, false},
		{"pending and gone", sub(func(s *SubscriptionLedger) { s.Cursor, s.Delivered, s.Pending = 12, 0, 18; s.Filtered = 2 }), true, true},
	} {
		l := Ledger{Journal: JournalLedger{Newest: 30, Oldest: 25, Kept: 6}, Subscriptions: []SubscriptionLedger{tc.sub}}
		l.Missing = l.missing()
		if lost, late := l.Judge(); (len(lost) > 0) != tc.lost || (len(late) > 0) != tc.late {
			t.Errorf("%s: lost %q, late %q", tc.name, lost, late)
		}
	}
}

func TestLedgerJudgesClusters(t *testing.T) {
	for _, tc := range []struct {
		name       string
		cluster    ClusterLedger
		lost, late bool
	}{
		{"everything applied", ClusterLedger{Reported: 7, Applied: 7, Alerts: &AlertsLedger{Journalled: 9, Applied: 9, Compacted: 4}}, false, false},
		{"a report not applied", ClusterLedger{Reported: 7, Applied: 6}, false, true},
		{"its history began anew", ClusterLedger{Reported: 1, Applied: 6}, true, false},
		{"alerts under way", ClusterLedger{Alerts: &AlertsLedger{Journalled: 9, Applied: 8}}, false, true},
		{"alerts that never arrived", ClusterLedger{Alerts: &AlertsLedger{Journalled: 9, Applied: 9, Lost: 1}}, true, false},
	} {
		l := Ledger{Clusters: []ClusterLedger{tc.cluster}}
		l.Missing = l.missing()
		if lost, late := l.Judge(); (len(lost) > 0) != tc.lost || (len(late) > 0) != tc.late {
			t.Errorf("%s: lost %q, late %q", tc.name, lost, late)
		}
	}
}
