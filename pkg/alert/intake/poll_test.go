package intake

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
)

// TestAbsences follows one alert, a, through polls. Times are seconds; the poll is asked at
// its time and answered a second later.
func TestAbsences(t *testing.T) {
	const fp = "a"
	type look struct {
		at     int
		listed int // endsAt that is listed; 0: not listed
		seen   int // when any intake saw it last
		up     int // when the youngest Alertmanager started
		over   bool
	}
	const longAgo = -100000
	for _, tc := range []struct {
		name  string
		looks []look
	}{
		{"listed", []look{{0, 240, 0, longAgo, false}, {300, 540, 300, longAgo, false}}},
		{"absent twice and past its end", []look{{0, 240, 0, longAgo, false}, {300, 0, 0, longAgo, false}, {330, 0, 0, longAgo, true}}},
		{"absent twice before its end", []look{{0, 240, 0, longAgo, false}, {30, 0, 0, longAgo, false}, {60, 0, 0, longAgo, false}, {239, 0, 0, longAgo, true}}},
		{"back between", []look{{0, 10, 0, longAgo, false}, {30, 0, 0, longAgo, false}, {60, 70, 60, longAgo, false}, {90, 0, 60, longAgo, false}, {120, 0, 60, longAgo, true}}},
		{"Alertmanager restarted after its end", []look{{0, 240, 0, longAgo, false}, {300, 0, 0, 290, false}, {330, 0, 0, 290, false}, {528, 0, 0, 290, false}, {529, 0, 0, 290, true}}},
		{"Alertmanager restarted before its end", []look{{0, 240, 0, longAgo, false}, {30, 0, 0, 20, false}, {60, 0, 0, 20, false}, {250, 0, 0, 20, false}, {260, 0, 0, 20, true}}},
		{"spoken of during the poll", []look{{0, 10, 0, longAgo, false}, {30, 0, 0, longAgo, false}, {60, 0, 60, longAgo, false}, {700, 0, 60, longAgo, false}, {730, 0, 60, longAgo, true}}},
		{"pushed after the last poll that listed it", []look{{0, 10, 0, longAgo, false}, {30, 0, 25, longAgo, false}, {31, 0, 25, longAgo, false}, {33, 0, 25, longAgo, false}, {34, 0, 25, longAgo, true}}},
		{"never listed", []look{{0, 0, -10, longAgo, false}, {60, 0, -10, longAgo, false}, {288, 0, -10, longAgo, false}, {289, 0, -10, longAgo, true}}},
		{"never listed, long silent", []look{{0, 0, -1000, longAgo, false}, {30, 0, -1000, longAgo, true}}},
		{"never listed, Alertmanager just started", []look{{0, 0, -1000, -5, false}, {30, 0, -1000, -5, false}, {294, 0, -1000, -5, true}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var known map[string]sighting
			firstMiss := time.Time{}
			for _, l := range tc.looks {
				r := round{began: at(l.at), answered: at(l.at + 1), up: at(l.up), listed: map[string]time.Time{}}
				if l.listed != 0 {
					r.listed[fp] = at(l.listed)
				}
				open := []alert.Open{{Fingerprint: fp, Labels: map[string]string{"x": "y"}, Starts: at(-5000), Seen: at(l.seen)}}
				next, over := absences(known, open, r)
				if (len(over) == 1) != l.over {
					t.Fatalf("at %d: over: %v, want %t", l.at, over, l.over)
				}
				switch {
				case l.listed != 0 || l.seen >= l.at:
					firstMiss = time.Time{}
				case firstMiss.IsZero():
					firstMiss = r.answered
				}
				if l.over {
					if a := over[0]; !a.Estimated || !a.Ends.Equal(firstMiss) || !a.Starts.Equal(at(-5000)) || a.Labels["x"] != "y" {
						t.Errorf("resolved %+v, want an estimated end at %s", a, firstMiss)
					}
				}
				known = next
			}
		})
	}
}

func TestAbsencesForgetsWhatIsNotOpen(t *testing.T) {
	known := map[string]sighting{"gone": {seen: at(0)}}
	next, over := absences(known, []alert.Open{{Fingerprint: "a"}}, round{began: at(1), answered: at(2), listed: map[string]time.Time{"a": at(9), "never opened": at(9)}})
	if len(over) != 0 || len(next) != 1 || next["a"].ends != at(9) {
		t.Errorf("next %v, over %v", next, over)
	}
}

// fakeAlertmanager lists alerts as one does.
type fakeAlertmanager struct {
	mu      sync.Mutex
	alerts  map[string]string // alertname to state
	uptime  time.Time
	ahead   time.Duration // its clock before ours
	broken  bool
	garbage string
	now     func() time.Time
	asked   func() // called while the answer is on its way
}

func (f *fakeAlertmanager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now().Add(f.ahead)
	w.Header().Set("Date", now.Format(http.TimeFormat))
	switch {
	case f.broken:
		http.Error(w, "sorry", http.StatusInternalServerError)
	case r.URL.Path == "/am/api/v2/status":
		_ = json.NewEncoder(w).Encode(map[string]any{"uptime": f.uptime.Add(f.ahead), "versionInfo": map[string]string{}})
	case r.URL.Path == "/am/api/v2/alerts":
		var items []string
		for _, name := range slices.Sorted(maps.Keys(f.alerts)) {
			items = append(items, fmt.Sprintf(`{"labels":{"alertname":%q},"annotations":{"s":"t"},"startsAt":%q,"endsAt":%q,"updatedAt":%q,"fingerprint":"x","receivers":[{"name":"o"}],"status":{"state":%q,"silencedBy":[],"inhibitedBy":[]}}`,
				name, now.Add(-time.Hour).Format(time.RFC3339Nano), now.Add(4*time.Minute).Format(time.RFC3339Nano), now.Format(time.RFC3339Nano), f.alerts[name]))
		}
		fmt.Fprint(w, "["+strings.Join(items, ",")+f.garbage+"]")
		if f.asked != nil {
			f.asked()
		}
	default:
		http.NotFound(w, r)
	}
}

func (f *fakeAlertmanager) lists(alerts map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alerts = alerts
}

// polled is a poller of some Alertmanagers, and their clock.
func polled(t *testing.T, book *notebook, now *time.Time, fakes ...*fakeAlertmanager) *poller {
	t.Helper()
	p := &poller{recorder: book, interval: time.Second, now: func() time.Time { return *now }}
	for _, f := range fakes {
		f.now = p.now
		if f.uptime.IsZero() {
			f.uptime = now.Add(-24 * time.Hour)
		}
		server := httptest.NewServer(f)
		t.Cleanup(server.Close)
		e, err := wire.NewEndpoint(server.URL+"/am/", "", "")
		if err != nil {
			t.Fatal(err)
		}
		p.alertmanagers = append(p.alertmanagers, alertmanager{e})
	}
	return p
}

func TestPoll(t *testing.T) {
	for _, ahead := range []time.Duration{0, 5 * time.Hour, -5 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			var book notebook
			now := noon
			am := &fakeAlertmanager{alerts: map[string]string{"A": "active", "S": "suppressed", "U": "unprocessed"}, ahead: ahead}
			p := polled(t, &book, &now, am)
			poll := func() {
				t.Helper()
				if err := p.poll(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			poll()
			got := book.alerts()
			if names(got) != "A S U" || got[0].Suppressed || !got[1].Suppressed || got[2].Suppressed || got[0].Annotations["s"] != "t" {
				t.Fatalf("recorded %+v", got)
			}
			am.lists(map[string]string{"A": "active"})
			for _, step := range []struct {
				pass time.Duration
				open int
			}{{30 * time.Second, 3}, {30 * time.Second, 3}, {4 * time.Minute, 1}} {
				now = now.Add(step.pass)
				poll()
				if got := len(book.Open()); got != step.open {
					t.Fatalf("at %s: %d open, want %d", now.Sub(noon), got, step.open)
				}
			}
		})
	}
}

// TestPollConcludesNothingFromHalfAnAnswer has one of two Alertmanagers fail.
func TestPollConcludesNothingFromHalfAnAnswer(t *testing.T) {
	var book notebook
	now := noon
	one, other := &fakeAlertmanager{alerts: map[string]string{"A": "active"}}, &fakeAlertmanager{alerts: map[string]string{"A": "active", "B": "active"}}
	p := polled(t, &book, &now, one, other)
	if err := p.poll(t.Context()); err != nil || names(book.alerts()) != "A B" {
		t.Fatalf("recorded %q, %v", names(book.alerts()), err)
	}
	one.lists(nil)
	for _, fail := range []func(){func() { other.broken = true }, func() { other.broken, other.garbage = false, `,{"labels":7}` }, func() { other.garbage = `,{` }} {
		other.mu.Lock()
		fail()
		other.mu.Unlock()
		for range 3 {
			now = now.Add(10 * time.Minute)
			if err := p.poll(t.Context()); err == nil {
				t.Fatal("no error")
			}
		}
		if len(book.Open()) != 2 {
			t.Fatalf("open: %v", book.Open())
		}
	}
	other.mu.Lock()
	other.garbage, other.alerts = "", nil
	other.mu.Unlock()
	for range 2 {
		now = now.Add(10 * time.Minute)
		if err := p.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if open := book.Open(); len(open) != 0 {
		t.Errorf("a good empty answer left %v open", open)
	}
}

// TestAlertDuringPoll has an alert arrive after Alertmanager has made up its answer.
func TestAlertDuringPoll(t *testing.T) {
	var book notebook
	now := noon
	am := &fakeAlertmanager{}
	p := polled(t, &book, &now, am)
	am.asked = func() {
		err := book.Record(t.Context(), alert.Observation{Via: alert.ViaWebhook, At: now, Alerts: []alert.Alert{{Labels: map[string]string{"alertname": "New"}}}})
		if err != nil {
			t.Error(err)
		}
	}
	for range 5 {
		now = now.Add(time.Hour)
		if err := p.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(book.Open()) != 1 {
			t.Fatal("the poll closed an alert that arrived during it")
		}
	}
}

func TestPollOfManyAlertsIsRecordedInChunks(t *testing.T) {
	var book notebook
	now := noon
	alerts := make(map[string]string)
	for n := range 2*chunk + 7 {
		alerts[fmt.Sprintf("A%d", n)] = "active"
	}
	if err := polled(t, &book, &now, &fakeAlertmanager{alerts: alerts}).poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(book.told) != 3 || len(book.alerts()) != len(alerts) {
		t.Errorf("%d alerts in %d observations", len(book.alerts()), len(book.told))
	}
}
