package alarm

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
)

func newSubscriptionWorld(t *testing.T, change func(*apiWorld)) *apiWorld {
	return newAPIWorld(t, newMemoryRecords(), newAPIStore(t), change)
}

func TestCreateAlarmSubscription(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"callback alone", `{"callback":"https://smo/cb"}`, 201, `"callback":"https://smo/cb"`},
		{"consumer id of any form", `{"callback":"https://smo/cb","consumerSubscriptionId":"NOC 1 ü"}`, 201, `"consumerSubscriptionId":"NOC 1 ü"`},
		{"empty texts", `{"callback":"https://smo/cb","consumerSubscriptionId":"","filter":""}`, 201, `"consumerSubscriptionId":"","filter":""`},
		{"null for nothing", `{"callback":"https://smo/cb","filter":null,"consumerSubscriptionId":null,"eventFilter":null}`, 201, ``},
		{"a filter", `{"callback":"https://smo/cb","filter":"(neq,perceivedSeverity,0)"}`, 201, `"filter":"(neq,perceivedSeverity,0)"`},
		{"on labels", `{"callback":"https://smo/cb","filter":"(eq,extensions/labels/app.io~1x,1)"}`, 201, ``},
		{"on the event", `{"callback":"https://smo/cb","filter":"(in,notificationEventType,1,3)"}`, 201, ``},
		{"alternatives", `{"callback":"https://smo/cb","filter":"[(eq,perceivedSeverity,3)|(eq,notificationEventType,1);(eq,extensions/cluster,c|1)]"}`, 201, ``},
		{"a bare word", `{"callback":"https://smo/cb","filter":"NEW"}`, 201, `"filter":"NEW"`},
		{"one event", `{"callback":"https://smo/cb","eventFilter":"CLEAR"}`, 201, `"eventFilter":"CLEAR"`},
		{"events", `{"callback":"https://smo/cb","eventFilter":["CLEAR","NEW","CLEAR"]}`, 201, `"eventFilter":["NEW","CLEAR"]`},
		{"one event in a list", `{"callback":"https://smo/cb","eventFilter":["ACKNOWLEDGE"]}`, 201, `"eventFilter":"ACKNOWLEDGE"`},
		{"both", `{"callback":"https://smo/cb","eventFilter":"NEW","filter":"(eq,perceivedSeverity,3)"}`, 201, ``},
		{"its own id", `{"callback":"https://smo/cb","alarmSubscriptionId":"0b6d0c0e-5f1b-5f0e-9f43-000000000001"}`, 201, ``},
		{"unknown attribute", `{"callback":"https://smo/cb","priority":{"a":1}}`, 201, ``},
		{"an owner of its own choice", `{"callback":"https://smo/cb","extensions":{"owner":"eve","creator":"eve"}}`, 201, `"extensions":{"owner":"` + apiUser + `","creator":"` + apiUser + `"}`},
		{"extensions that are none", `{"callback":"https://smo/cb","extensions":[]}`, 400, "extensions"},
		{"no callback", `{"filter":""}`, 400, "callback is missing"},
		{"empty callback", `{"callback":""}`, 400, "callback is missing"},
		{"null for the callback", `{"callback":null}`, 400, "callback is missing"},
		{"callback is a number", `{"callback":1}`, 400, "callback"},
		{"callback refused", `{"callback":"https://bad/"}`, 400, "not allowed"},
		{"callback too long", `{"callback":"https://smo/` + strings.Repeat("x", 3000) + `"}`, 400, "longer"},
		{"consumer id too long", `{"callback":"https://smo/cb","consumerSubscriptionId":"` + strings.Repeat("x", 2000) + `"}`, 400, "longer"},
		{"consumer id is a number", `{"callback":"https://smo/cb","consumerSubscriptionId":7}`, 400, "consumerSubscriptionId"},
		{"filter is malformed", `{"callback":"https://smo/cb","filter":"(eq,perceivedSeverity"}`, 400, "offset"},
		{"filter is an object", `{"callback":"https://smo/cb","filter":{}}`, 400, "filter"},
		{"filter of an unknown attribute", `{"callback":"https://smo/cb","filter":"(eq,nom,a)"}`, 400, "nom"},
		{"another word", `{"callback":"https://smo/cb","filter":"OLD"}`, 400, "filter"},
		{"event that there is not", `{"callback":"https://smo/cb","eventFilter":"OLD"}`, 400, "OLD"},
		{"event in lower case", `{"callback":"https://smo/cb","eventFilter":"new"}`, 400, "new"},
		{"no event at all", `{"callback":"https://smo/cb","eventFilter":[]}`, 400, "eventFilter"},
		{"events of numbers", `{"callback":"https://smo/cb","eventFilter":[0]}`, 400, "eventFilter"},
		{"XML", `<subscription/>`, 400, "body"},
		{"a list", `[]`, 400, "body"},
		{"null", `null`, 400, "null"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newSubscriptionWorld(t, nil)
			answer := w.ask(http.MethodPost, "/v1/alarmSubscriptions", tc.body, tc.status, tc.want)
			stored, err := w.store.Subscriptions(t.Context(), ServiceName)
			if err != nil {
				t.Fatal(err)
			}
			if tc.status != http.StatusCreated {
				if len(stored) != 0 {
					t.Errorf("stored %+v", stored)
				}
				return
			}
			if len(stored) != 1 || stored[0].Creator != apiUser || stored[0].Owner != apiUser || stored[0].Version != "v1" || stored[0].Service != "monitoring" {
				t.Fatalf("stored %+v", stored)
			}
			location := "https://o2ims.example.net" + BasePath + "/v1/alarmSubscriptions/" + stored[0].ID.String()
			if got := answer.Header.Get("Location"); got != location {
				t.Errorf("Location = %s, want %s", got, location)
			}
			body := bodyOf(t, answer)
			w.ask(http.MethodGet, "/v1/alarmSubscriptions/"+stored[0].ID.String(), "", 200, body)
			if strings.Contains(tc.body, "null") && strings.Contains(body, "ilter") {
				t.Errorf("null is echoed: %s", body)
			}
		})
	}
}

func TestAlarmSubscriptionsOverHTTP(t *testing.T) {
	w := newSubscriptionWorld(t, nil)
	inventory := store.Subscription{ID: numbered(1), Service: "inventory", Version: "v2", Callback: "https://smo/other"}
	if err := w.store.CreateSubscription(t.Context(), inventory, 10); err != nil {
		t.Fatal(err)
	}
	const body = `{"callback":"https://smo/cb","consumerSubscriptionId":"noc","eventFilter":["NEW","CLEAR"]}`
	created := w.ask(http.MethodPost, "/v2/alarmSubscriptions", body, 201, "noc")
	var sub subscriptionView
	if err := json.Unmarshal([]byte(bodyOf(t, created)), &sub); err != nil {
		t.Fatal(err)
	}
	one := "/v2/alarmSubscriptions/" + sub.AlarmSubscriptionID.String()
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v2/alarmSubscriptions", body, 400, sub.AlarmSubscriptionID.String()},
		{"POST", "/v2/alarmSubscriptions", `{"callback":"https://smo/cb","consumerSubscriptionId":"noc","eventFilter":["CLEAR","NEW"]}`, 400, "the same"},
		{"POST", "/v2/alarmSubscriptions", `{"callback":"https://smo/cb","consumerSubscriptionId":"noc"}`, 201, ""},
		{"POST", "/v2/alarmSubscriptions", `{"callback":"https://smo/cb","consumerSubscriptionId":"NOC"}`, 201, "NOC"},
		{"POST", "/v1/alarmSubscriptions", body, 201, ""},
		{"GET", one, "", 200, "noc"},
		{"GET", strings.Replace(one, "v2", "v1", 1), "", 200, "noc"},
		{"GET", "/v2/alarmSubscriptions", "", 200, "noc"},
		{"GET", "/v2/alarmSubscriptions?filter=(eq,eventFilter,CLEAR)", "", 200, "noc"},
		{"GET", "/v2/alarmSubscriptions?filter=(eq,callback,nowhere)", "", 200, "[]"},
		{"GET", "/v2/alarmSubscriptions?filter=(eq,owner,me)", "", 400, "owner"},
		{"GET", "/v2/alarmSubscriptions?filter=(eq,extensions/owner," + apiUser + ")", "", 200, "noc"},
		{"GET", "/v2/alarmSubscriptions?filter=(eq,extensions/creator,me)", "", 200, "[]"},
		{"GET", "/v2/alarmSubscriptions?filter=(eq,extensions/keeper,me)", "", 400, "keeper"},
		{"GET", "/v2/alarmSubscriptions?fields=extensions/owner", "", 200, `"extensions":{"owner":"` + apiUser + `"}}`},
		{"GET", "/v2/alarmSubscriptions?all_fields", "", 200, "noc"},
		{"GET", "/v2/alarmSubscriptions/nonsense", "", 400, "alarmSubscriptionId"},
		{"GET", "/v2/alarmSubscriptions/" + numbered(9).String(), "", 404, numbered(9).String()},
		{"GET", "/v2/alarmSubscriptions/" + numbered(1).String(), "", 404, numbered(1).String()},
		{"PATCH", "/v2/alarmSubscriptions/" + numbered(1).String(), `{"callback":"https://smo/x"}`, 404, ""},
		{"DELETE", "/v2/alarmSubscriptions/" + numbered(1).String(), "", 404, ""},
		{"DELETE", "/v2/alarmSubscriptions/nonsense", "", 400, ""},
		{"PUT", one, body, 405, ""},
		{"PATCH", "/v2/alarmSubscriptions", body, 405, ""},
		{"DELETE", "/v2/alarmSubscriptions", "", 405, ""},
		{"DELETE", one, "", 204, ""},
		{"DELETE", one, "", 404, ""},
		{"GET", one, "", 404, ""},
		{"POST", "/v2/alarmSubscriptions", body, 201, "noc"},
	} {
		answer := w.ask(tc.method, tc.path, tc.body, tc.status, tc.want)
		if text := bodyOf(t, answer); tc.status == 204 && text != "" {
			t.Errorf("204 with a body: %s", text)
		}
	}
	if left, err := w.store.Subscriptions(t.Context(), "inventory"); err != nil || len(left) != 1 {
		t.Errorf("subscriptions of the inventory: %v, %v", left, err)
	}
}

func TestAlarmSubscriptionSettings(t *testing.T) {
	w := newSubscriptionWorld(t, func(w *apiWorld) {
		w.settings.DuplicateStatus, w.settings.CallbackCheck, w.settings.MaxSubscriptions = 409, string(subscription.Check204), 2
	})
	for _, tc := range []struct {
		body   string
		status int
	}{
		{`{"callback":"https://smo/there"}`, 201}, {`{"callback":"https://smo/there"}`, 409},
		{`{"callback":"https://smo/away"}`, 400}, {`{"callback":"https://smo/there/too"}`, 201}, {`{"callback":"https://smo/there/again"}`, 413},
	} {
		w.ask(http.MethodPost, "/v2/alarmSubscriptions", tc.body, tc.status, "")
	}
	w = newSubscriptionWorld(t, func(w *apiWorld) { w.cloud = "" })
	w.ask(http.MethodPost, "/v2/alarmSubscriptions", `{"callback":"https://smo/cb"}`, 409, "globalCloudId")
	w.cloud = "18f2dc90-b375-47dd-b8dc-ae80072e6cdb"
	w.ask(http.MethodPost, "/v2/alarmSubscriptions", `{"callback":"https://smo/cb"}`, 201, "")
}

func TestPatchAlarmSubscription(t *testing.T) {
	const whole = `{"callback":"https://smo/cb","consumerSubscriptionId":"noc","filter":"NEW","eventFilter":"CLEAR"}`
	for _, tc := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"callback", `{"callback":"https://smo/new"}`, 200, `"consumerSubscriptionId":"noc","filter":"NEW","eventFilter":"CLEAR","callback":"https://smo/new","extensions":{"owner":"` + apiUser + `","creator":"` + apiUser + `"}}`},
		{"consumer id", `{"consumerSubscriptionId":"soc"}`, 200, `"consumerSubscriptionId":"soc","filter":"NEW"`},
		{"no consumer id", `{"consumerSubscriptionId":null}`, 200, `","filter":"NEW"`},
		{"events", `{"eventFilter":["NEW","CHANGE"]}`, 200, `"eventFilter":["NEW","CHANGE"]`},
		{"all events", `{"eventFilter":null}`, 200, `"filter":"NEW","callback"`},
		{"nothing", `{}`, 200, `"eventFilter":"CLEAR"`},
		{"extensions, which are ours", `{"extensions":{"owner":"eve","creator":"eve","more":1}}`, 200, `"extensions":{"owner":"` + apiUser + `","creator":"` + apiUser + `"}`},
		{"extensions that are none", `{"extensions":7}`, 400, "extensions"},
		{"filter", `{"filter":"CLEAR"}`, 400, "cannot be changed"},
		{"id", `{"alarmSubscriptionId":"x"}`, 400, "cannot be changed"},
		{"unknown", `{"x":1}`, 400, "cannot be changed"},
		{"no callback", `{"callback":null}`, 400, "callback is missing"},
		{"callback refused", `{"callback":"https://bad/"}`, 400, "not allowed"},
		{"event that there is not", `{"eventFilter":"OLD"}`, 400, "OLD"},
		{"what another asks for", `{"callback":"https://smo/taken"}`, 400, "the same"},
		{"XML", `<a/>`, 400, "body"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newSubscriptionWorld(t, nil)
			w.ask(http.MethodPost, "/v2/alarmSubscriptions", strings.Replace(whole, "smo/cb", "smo/taken", 1), 201, "")
			created := w.ask(http.MethodPost, "/v2/alarmSubscriptions", whole, 201, "")
			path := strings.TrimPrefix(created.Header.Get("Location"), "https://o2ims.example.net"+BasePath)
			answer := w.ask(http.MethodPatch, path, tc.body, tc.status, tc.want, "Content-Type", "application/merge-patch+json")
			if tc.status == 200 {
				again := w.ask(http.MethodGet, path, "", 200, bodyOf(t, answer))
				if again.Header.Get("ETag") != answer.Header.Get("ETag") {
					t.Errorf("ETag %s, then %s", answer.Header.Get("ETag"), again.Header.Get("ETag"))
				}
			} else {
				w.ask(http.MethodGet, path, "", 200, bodyOf(t, created))
			}
		})
	}
}

func TestPatchAlarmSubscriptionIfMatch(t *testing.T) {
	w := newSubscriptionWorld(t, nil)
	created := w.ask(http.MethodPost, "/v2/alarmSubscriptions", `{"callback":"https://smo/cb"}`, 201, "")
	path := strings.TrimPrefix(created.Header.Get("Location"), "https://o2ims.example.net"+BasePath)
	first := created.Header.Get("ETag")
	second := w.ask(http.MethodPatch, path, `{"eventFilter":"NEW"}`, 200, "NEW", "If-Match", first).Header.Get("ETag")
	w.ask(http.MethodPatch, path, `{"eventFilter":"CLEAR"}`, 412, "changed", "If-Match", first)
	w.ask(http.MethodDelete, path, "", 412, "changed", "If-Match", first)
	w.ask(http.MethodPatch, path, `{"eventFilter":"CLEAR"}`, 200, "CLEAR", "If-Match", second)
	w.ask(http.MethodDelete, path, "", 204, "", "If-Match", "*")
}

// TestPatchResumes: a consumer that changes its suspended subscription is there again.
func TestPatchResumes(t *testing.T) {
	w := newSubscriptionWorld(t, nil)
	created := w.ask(http.MethodPost, "/v2/alarmSubscriptions", `{"callback":"https://smo/cb"}`, 201, "")
	path := strings.TrimPrefix(created.Header.Get("Location"), "https://o2ims.example.net"+BasePath)
	subs, err := w.store.Subscriptions(t.Context(), ServiceName)
	if err != nil || len(subs) != 1 {
		t.Fatal(subs, err)
	}
	id := subs[0].ID
	term, err := w.store.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	progress, err := w.store.ProgressOf(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	cursor := progress[id].Cursor
	if _, err := term.Move(t.Context(), []store.Step{{ID: id, From: cursor, To: cursor, Status: store.Status{Suspended: true, Reason: "gone"}}}); err != nil {
		t.Fatal(err)
	}
	w.ask(http.MethodPatch, path, `{"callback":"https://smo/moved"}`, 200, "moved")
	if progress, err = w.store.ProgressOf(t.Context(), id); err != nil || progress[id].Status.Suspended {
		t.Errorf("progress = %+v, %v; want it resumed", progress[id], err)
	}
}
