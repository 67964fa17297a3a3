package alarm

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

// named are clusters by name or id.
type named map[string]string

func (n named) ClusterNamed(text string) (string, bool) { name, found := n[text]; return name, found }

func newWebhook(h *hub) http.Handler {
	w := NewWebhook(WebhookOptions{ClusterLabels: []string{"managed_cluster"}, AddedLabels: []string{"receive"}}, h.ingest, named{"edge-1": "edge-1", "5f1c": "edge-1"})
	r := mux.NewRouter()
	w.Routes(r)
	return r
}

func post(t *testing.T, w http.Handler, body string) int {
	t.Helper()
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost, WebhookPath, strings.NewReader(body)))
	return answer.Code
}

// webhookOf is the message of one alert.
func webhookOf(t *testing.T, status string, labels map[string]string, starts int64, ends time.Time) string {
	t.Helper()
	m := message{Version: "4", Alerts: []webhookItem{{
		Status: status, Labels: labels, Annotations: textOf(0).Annotations, StartsAt: millis(starts), EndsAt: ends,
	}}}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWebhookAlone(t *testing.T) {
	h := newHub(t, store.Embedded)
	w := newWebhook(h)
	labels := map[string]string{"alertname": "A", "severity": "minor", "managed_cluster": "5f1c"}
	const starts = 1_790_000_000_000
	firing := webhookOf(t, "firing", labels, starts, time.Time{})
	resolved := webhookOf(t, "resolved", labels, starts, millis(starts+60_000))
	for _, body := range []string{firing, firing, resolved, resolved, firing} {
		if code := post(t, w, body); code != http.StatusOK {
			t.Fatalf("status %d", code)
		}
	}
	got := told(t, h.store)
	if len(got) != 2 || got[0][:4] != "NEW " || got[1][:6] != "CLEAR " {
		t.Errorf("events %q, want NEW and CLEAR", got)
	}
	list, err := h.records.Page(t.Context(), Place{}, 10)
	if err != nil || len(list) != 1 || list[0].Cluster != "edge-1" || list[0].Severity != Minor || list[0].Via != ViaHub {
		t.Errorf("records %+v, %v", list, err)
	}
}

// What a stranger put into labels far away does not get into the store for the whole
// retention period; and it costs no other alert.
func TestWebhookBoundsAlerts(t *testing.T) {
	h := newHub(t, store.Embedded)
	long := strings.Repeat("x", report.MaxStringBytes+1)
	alert := func(name string, labels, annotations map[string]string) webhookItem {
		all := maps.Clone(labels)
		all[nameLabel] = name
		return webhookItem{Status: "firing", Labels: all, Annotations: annotations, StartsAt: millis(1_790_000_000_000)}
	}
	many := make(map[string]string)
	for n := range report.MaxAlertLabels {
		many[fmt.Sprint("l", n)] = "v"
	}
	b, err := json.Marshal(message{Version: "4", Alerts: []webhookItem{
		alert("LongLabel", map[string]string{"l": long}, nil),
		alert("ManyLabels", many, nil),
		alert("LongAnnotation", map[string]string{}, map[string]string{"a": long}),
		alert("Good", map[string]string{}, map[string]string{"a": "b"}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if code := post(t, newWebhook(h), string(b)); code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	list, err := h.records.Page(t.Context(), Place{}, 10)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d records, %v, want 2", len(list), err)
	}
	for _, r := range list {
		if name := r.Labels[nameLabel]; name != "Good" && name != "LongAnnotation" || (r.Annotations == nil) != (name == "LongAnnotation") {
			t.Errorf("record %s with annotations of %d", name, len(r.Annotations))
		}
	}
}

func TestWebhookBesideAgent(t *testing.T) {
	for _, tc := range []struct {
		name  string
		added map[string]string // labels that the hub sees and the agent does not
		skew  int64             // by which the hub thinks it fired later
		first string            // who comes first
	}{
		{name: "agent first", added: map[string]string{"managed_cluster": "edge-1"}, first: "agent"},
		{name: "agent first, fired at another moment", added: map[string]string{"managed_cluster": "edge-1"}, skew: 15_000, first: "agent"},
		{name: "agent first, more labels", added: map[string]string{"managed_cluster": "edge-1", "receive": "true"}, first: "agent"},
		{name: "hub first", added: map[string]string{"managed_cluster": "edge-1"}, first: "hub"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, s := newHub(t, store.Embedded), newSpoke("edge-1")
			w := newWebhook(h)
			text := textOf(3)
			fp := labelsFingerprint(text.Labels)
			s.clock += 1000
			starts := s.clock
			transition := report.Transition{Type: report.Fired, Seq: 1, Text: 3, Via: "webhook", Episode: report.Episode{Fingerprint: fp, Starts: starts}}
			s.journal = []report.Transition{transition}
			s.open[fp] = report.OpenAlert{Episode: transition.Episode, Opened: 1, Text: 3}
			labels := maps.Clone(text.Labels)
			maps.Copy(labels, tc.added)
			hub := func(status string, ends time.Time) {
				t.Helper()
				if code := post(t, w, webhookOf(t, status, labels, starts+tc.skew, ends)); code != http.StatusOK {
					t.Fatalf("status %d", code)
				}
			}
			if tc.first == "hub" {
				hub("firing", time.Time{})
				talk(t, h, s)
			} else {
				talk(t, h, s)
				hub("firing", time.Time{})
			}
			hub("resolved", millis(s.clock+500)) // the agent has the say
			id := RecordID("edge-1", transition.Episode).String()
			wantTold(t, h.store, "NEW "+id)
			s.clock += 1000
			s.journal = append(s.journal, report.Transition{Type: report.Resolved, Seq: 2, Text: 3, Via: "webhook", Ends: s.clock, Episode: transition.Episode})
			delete(s.open, fp)
			talk(t, h, s)
			wantTold(t, h.store, "NEW "+id, "CLEAR "+id)
		})
	}
}

func TestWebhookBadInput(t *testing.T) {
	h := newHub(t, store.Embedded)
	w := newWebhook(h)
	good := `{"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-11-22T10:00:00Z"}`
	for _, tc := range []struct {
		body string
		code int
		told int // events so far
	}{
		{"", 400, 0}, {"[]", 400, 0}, {`{"alerts":`, 400, 0}, {"<xml/>", 400, 0}, {`{}`, 200, 0},
		{`{"alerts":[{"status":"firing","labels":{},"startsAt":"2026-11-22T10:00:00Z"},` + good + `]}`, 200, 1},
		{`{"alerts":[{"status":"odd","labels":{"alertname":"B"},"startsAt":"2026-11-22T10:00:00Z"},{"status":"firing","labels":{"alertname":"B"}}]}`, 200, 1},
		{fmt.Sprintf(`{"alerts":[%s],"truncatedAlerts":3}`, good), 200, 1},
	} {
		if code := post(t, w, tc.body); code != tc.code {
			t.Errorf("%.40s: status %d, want %d", tc.body, code, tc.code)
		}
		if n := len(told(t, h.store)); n != tc.told {
			t.Errorf("%.40s: %d events so far, want %d", tc.body, n, tc.told)
		}
	}
}

// TestLabelsFingerprint has fingerprints that Alertmanager gave.
func TestLabelsFingerprint(t *testing.T) {
	got := labelsFingerprint(map[string]string{"alertname": "Flap", "node": "n1"})
	if want := "d963b5fa12a615e8"; got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
}
