package intake

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/fault"
)

const (
	firingA   = `{"status":"firing","labels":{"alertname":"A"},"annotations":{"summary":"s"},"startsAt":"2026-11-22T11:00:00.123456789Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p/g","fingerprint":"0000000000000000"}`
	resolvedB = `{"status":"resolved","labels":{"alertname":"B"},"startsAt":"2026-11-22T11:00:00Z","endsAt":"2026-11-22T12:30:00+01:00"}`
)

func webhook(alerts ...string) string {
	return `{"receiver":"o2ims","status":"firing","alerts":[` + strings.Join(alerts, ",") + `],"version":"4","groupKey":"{}","truncatedAlerts":0}`
}

func manyLabels(n int) string {
	var b strings.Builder
	b.WriteString(`{"status":"firing","labels":{"alertname":"Many"`)
	for i := range n {
		fmt.Fprintf(&b, `,"l%d":"v"`, i)
	}
	return b.String() + "}}"
}

// TestBodies sends everything that a sender, or a stranger, may send. What is good in a
// body is always taken.
func TestBodies(t *testing.T) {
	huge := `{"status":"firing","labels":{"alertname":"Huge"},"annotations":{"d":"` + strings.Repeat("x", maxBodyBytes) + `"}}`
	for _, tc := range []struct {
		name, path, body string
		status           int
		want             string // alerts that are recorded
		dropped          map[string]uint64
	}{
		{"webhook", WebhookPath, webhook(firingA, resolvedB), 200, "A B-", nil},
		{"webhook without alerts", WebhookPath, webhook(), 200, "", nil},
		{"webhook with alerts null", WebhookPath, `{"alerts":null}`, 200, "", nil},
		{"future version with unknown fields", WebhookPath, `{"version":5,"alerts":[` + strings.Replace(firingA, `{`, `{"new":{"a":[1]},`, 1) + `],"extra":[[]]}`, 200, "A", nil},
		{"version comes last or never", WebhookPath, `{"alerts":[` + firingA + `]}`, 200, "A", nil},
		{"truncatedAlerts of another type", WebhookPath, `{"truncatedAlerts":"many","alerts":[` + firingA + `]}`, 200, "A", nil},
		{"one bad among good", WebhookPath, webhook(firingA, `7`, `null`, `{"labels":{"a":1}}`, `[]`, resolvedB), 200, "A B-", map[string]uint64{reasonMalformed: 3, alert.DroppedNoLabels: 1}},
		{"no labels", WebhookPath, webhook(`{"status":"firing"}`, `{"status":"firing","labels":{"a":"","":"b"}}`, firingA), 200, "A", map[string]uint64{alert.DroppedNoLabels: 2}},
		{"unknown status", WebhookPath, webhook(`{"status":"","labels":{"a":"b"}}`, `{"status":"FIRING","labels":{"a":"b"}}`, firingA), 200, "A", map[string]uint64{reasonStatus: 2}},
		{"10,000 labels are the recorder's to judge", WebhookPath, webhook(manyLabels(10000), firingA), 200, "Many A", nil},
		{"duplicates and disorder pass", WebhookPath, webhook(firingA, firingA, strings.Replace(firingA, "firing", "resolved", 1), firingA), 200, "A A A- A", nil},
		{"cut off", WebhookPath, webhook(firingA, resolvedB)[:len(webhook(firingA))], 400, "A", map[string]uint64{reasonBodyMalformed: 1}},
		{"garbage after an alert", WebhookPath, `{"alerts":[` + firingA + `, garbage`, 400, "A", map[string]uint64{reasonBodyMalformed: 1}},
		{"garbage", WebhookPath, "\x00\xff garbage", 400, "", map[string]uint64{reasonBodyMalformed: 1}},
		{"empty", WebhookPath, "", 400, "", map[string]uint64{reasonBodyMalformed: 1}},
		{"an array to the webhook", WebhookPath, `[` + firingA + `]`, 400, "", map[string]uint64{reasonBodyMalformed: 1}},
		{"oversized", WebhookPath, webhook(firingA, huge, resolvedB), 413, "A", map[string]uint64{reasonBodyTooLarge: 1}},
		{"deep", WebhookPath, `{"alerts":[` + firingA + `],"x":` + strings.Repeat("[", 100000), 400, "A", map[string]uint64{reasonBodyMalformed: 1}},

		{"push", PushPath, `[{"labels":{"alertname":"F"},"startsAt":"2026-11-22T11:00:00Z","endsAt":"2026-11-22T12:04:00Z"},{"labels":{"alertname":"R"},"endsAt":"2026-11-22T11:59:59.5Z"},{"labels":{"alertname":"N"}}]`, 200, "F R- N", nil},
		{"push of nothing", PushPath, `[]`, 200, "", nil},
		{"push null", PushPath, `null`, 200, "", nil},
		{"push of an end that is now", PushPath, `[{"labels":{"alertname":"R"},"endsAt":"2026-11-22T12:00:00Z"}]`, 200, "R-", nil},
		{"push of times that are none", PushPath, `[{"labels":{"alertname":"T"},"startsAt":"yesterday","endsAt":""}]`, 200, "T", nil},
		{"push from a clock hours ahead", PushPath, `[{"labels":{"alertname":"F"},"startsAt":"2026-11-22T18:00:00Z","endsAt":"2026-11-22T18:04:00Z"}]`, 200, "F", nil},
		{"push with one bad", PushPath, `[{"labels":{"alertname":"F"}},{"labels":"x"},{"labels":{"alertname":"G"},"startsAt":7}]`, 200, "F", map[string]uint64{reasonMalformed: 2}},
		{"push of an object", PushPath, `{"labels":{}}`, 400, "", map[string]uint64{reasonBodyMalformed: 1}},
		{"push cut off", PushPath, `[{"labels":{"alertname":"F"}},{"labels":{"al`, 400, "F", map[string]uint64{reasonBodyMalformed: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if len(tc.body) > maxBodyBytes {
				skipUnderRace(t)
			}
			var book notebook
			r, counts := received(t, &book)
			w := httptest.NewRecorder()
			r.handler().ServeHTTP(w, post(tc.path, tc.body))
			if w.Code != tc.status {
				t.Errorf("status = %d, want %d", w.Code, tc.status)
			}
			if got := names(book.alerts()); got != tc.want {
				t.Errorf("recorded %q, want %q", got, tc.want)
			}
			if !maps.Equal(counts, tc.dropped) {
				t.Errorf("dropped %v, want %v", counts, tc.dropped)
			}
		})
	}
}

func TestAlertsAreTakenAsTheyAre(t *testing.T) {
	var book notebook
	r, _ := received(t, &book)
	r.handler().ServeHTTP(httptest.NewRecorder(), post(WebhookPath, webhook(firingA, resolvedB, `{"status":"resolved","labels":{"alertname":"C","empty":""}}`)))
	want := []alert.Alert{
		{Labels: map[string]string{"alertname": "A"}, Annotations: map[string]string{"summary": "s"}, GeneratorURL: "http://p/g", Starts: time.Date(2026, 11, 22, 11, 0, 0, 123456789, time.UTC)},
		{Labels: map[string]string{"alertname": "B"}, Starts: at(-3600), Ends: at(-1800)},
		{Labels: map[string]string{"alertname": "C"}, Ends: noon, Estimated: true},
	}
	if got := book.alerts(); !reflect.DeepEqual(got, want) {
		t.Errorf("recorded %+v, want %+v", got, want)
	}
	if o := book.told[0]; o.Via != alert.ViaWebhook || !o.At.Equal(noon) {
		t.Errorf("via %q at %s", o.Via, o.At)
	}
}

// TestAnswerWaitsForTheRecorder is the promise: 200 means that it is recorded.
func TestAnswerWaitsForTheRecorder(t *testing.T) {
	book := &notebook{gate: make(chan struct{})}
	r, _ := received(t, book)
	answered := make(chan int, 1)
	go func() {
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, post(PushPath, `[{"labels":{"alertname":"F"}}]`))
		answered <- w.Code
	}()
	select {
	case code := <-answered:
		t.Fatalf("answered %d before it was recorded", code)
	case book.gate <- struct{}{}:
	}
	if code := <-answered; code != http.StatusOK || names(book.alerts()) != "F" {
		t.Errorf("answered %d with %q recorded", code, names(book.alerts()))
	}
}

func TestRecorderAway(t *testing.T) {
	book := &notebook{fails: 1}
	r, _ := received(t, book)
	for _, want := range []int{http.StatusServiceUnavailable, http.StatusOK} {
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, post(WebhookPath, webhook(firingA, `7`)))
		if w.Code != want || (w.Header().Get("Retry-After") == "1") != (want == 503) {
			t.Errorf("answered %d, Retry-After %q, want %d", w.Code, w.Header().Get("Retry-After"), want)
		}
	}
	// a body that is bad besides does not hide that a retry is needed
	book.fails = 1
	w := httptest.NewRecorder()
	r.handler().ServeHTTP(w, post(WebhookPath, `{"alerts":[`+firingA+`,`))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("answered %d to half a body that could not be recorded, want 503", w.Code)
	}
}

func TestAdmission(t *testing.T) {
	for _, tc := range []struct {
		name, header string
		senders      []string
		allowed      string
		status       int
	}{
		{"named sender", "Bearer " + sender, []string{"monitoring/alertmanager-main"}, "", 200},
		{"another", "Bearer system:serviceaccount:monitoring:other", []string{"monitoring/alertmanager-main"}, "system:serviceaccount:monitoring:other", 403},
		{"RBAC allows", "Bearer ann", nil, "ann", 200},
		{"RBAC does not", "Bearer bob", nil, "ann", 403},
		{"bad token", "Bearer bad", nil, "bad", 401},
		{"no token", "", nil, "", 401},
		{"another scheme", "Basic YTpi", nil, "", 401},
		{"nobody can tell", "Bearer apiserver-down", nil, "", 503},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var book notebook
			i, err := New(Options{Senders: tc.senders, Port: 1, PollInterval: time.Second}, Parts{Recorder: &book, Client: cluster(t, tc.allowed)})
			if err != nil {
				t.Fatal(err)
			}
			r := post(WebhookPath, webhook(firingA))
			r.Header.Set("Authorization", tc.header)
			w := httptest.NewRecorder()
			i.receiver.handler().ServeHTTP(w, r)
			if w.Code != tc.status {
				t.Errorf("status = %d, want %d", w.Code, tc.status)
			}
			if taken := len(book.alerts()) > 0; taken != (tc.status == 200) {
				t.Errorf("taken: %t", taken)
			}
		})
	}
}

func TestOtherRequests(t *testing.T) {
	var book notebook
	r, _ := received(t, &book)
	gzipped := post(WebhookPath, "x")
	gzipped.Header.Set("Content-Encoding", "gzip")
	get, _ := http.NewRequest(http.MethodGet, "/-/healthy", nil)
	list, _ := http.NewRequest(http.MethodGet, PushPath, nil)
	for _, tc := range []struct {
		request *http.Request
		status  int
	}{
		{gzipped, 415}, {get, 200}, {list, 405}, {post("/", ""), 404}, {post("/api/v1/alerts", ""), 404},
	} {
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, tc.request)
		if w.Code != tc.status {
			t.Errorf("%s %s = %d, want %d", tc.request.Method, tc.request.URL, w.Code, tc.status)
		}
	}
}

// TestBrokenConnection has a sender go away in the middle of a body: nothing says that the
// body was bad, and what came is good.
func TestBrokenConnection(t *testing.T) {
	var book notebook
	r, counts := received(t, &book)
	server := httptest.NewServer(r.handler())
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := webhook(firingA, resolvedB)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", WebhookPath, sender, len(body), body[:len(body)-40])
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || names(book.alerts()) != "A B-" || len(counts) != 0 {
		t.Errorf("answered %s, recorded %q, dropped %v", response.Status, names(book.alerts()), counts)
	}
}

// TestLargeBodiesQueue checks that bodies cannot fill the memory, and that a storm of small
// ones is not held up by that.
func TestLargeBodiesQueue(t *testing.T) {
	book := &notebook{gate: make(chan struct{})}
	r, _ := received(t, book)
	if weigh(-1) != maxBodyBytes || weigh(1) != leastBytes || weigh(1<<40) != maxBodyBytes {
		t.Errorf("weights %d, %d, %d", weigh(-1), weigh(1), weigh(1<<40))
	}
	const storm = 500
	answers := make(chan int, storm)
	for range storm {
		go func() {
			w := httptest.NewRecorder()
			r.handler().ServeHTTP(w, post(WebhookPath, webhook(firingA)))
			answers <- w.Code
		}()
	}
	close(book.gate)
	for range storm {
		if code := <-answers; code != 200 {
			t.Fatalf("answered %d", code)
		}
	}
	if !r.inFlight.TryAcquire(inFlightBytes) {
		t.Error("weights were not given back")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	w := httptest.NewRecorder()
	r.handler().ServeHTTP(w, post(WebhookPath, webhook(firingA)).WithContext(ctx))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("answered %d when full, want 503", w.Code)
	}
}

func TestTruncatedAlertsMakeAPoll(t *testing.T) {
	var book notebook
	r, _ := received(t, &book)
	polls := 0
	r.truncated = func() { polls++ }
	for _, body := range []string{webhook(firingA), `{"alerts":[` + firingA + `],"truncatedAlerts":3}`} {
		r.handler().ServeHTTP(httptest.NewRecorder(), post(WebhookPath, body))
	}
	if polls != 1 {
		t.Errorf("%d polls, want 1", polls)
	}
}

func TestValidate(t *testing.T) {
	good := Options{Port: 8443, PollInterval: time.Second}
	for _, tc := range []struct {
		name   string
		change func(*Options)
		faults int
	}{
		{"good", func(*Options) {}, 0},
		{"all bad", func(o *Options) {
			*o = Options{Port: 70000, CertFile: "x", Senders: []string{"x"}, AlertmanagerURLs: []string{"am:9093", "http://u:p@am"}, PrometheusURL: "ftp://x"}
		}, 7},
		{"sender of another form", func(o *Options) { o.Senders = []string{"a/b:c"} }, 1},
	} {
		o := good
		tc.change(&o)
		err := o.Validate()
		n := 0
		if err != nil {
			n = strings.Count(err.Error(), fault.Invalid.Error())
		}
		if n < tc.faults || (err != nil) != (tc.faults > 0) {
			t.Errorf("%s: %v, want %d faults", tc.name, err, tc.faults)
		}
	}
}

func fuzz(f *testing.F, parse parser, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		m, err := parse(io.LimitReader(strings.NewReader(body), 1<<20), noon)
		if err != nil && !strings.Contains(err.Error(), "invalid") {
			t.Errorf("error of no kind: %v", err)
		}
		for _, a := range m.alerts {
			if len(a.Labels) == 0 {
				t.Error("an alert without labels")
			}
			for name, value := range a.Labels {
				if name == "" || value == "" {
					t.Errorf("label %q=%q", name, value)
				}
			}
			if y := a.Ends.Year(); !a.Ends.IsZero() && (y < 1970 || y > 10000) {
				t.Errorf("ends %s", a.Ends)
			}
		}
	})
}

func FuzzWebhook(f *testing.F) {
	fuzz(f, parseWebhook, webhook(firingA, resolvedB), `{"alerts":[{}],"alerts":[[]]}`, `{"version":{},"truncatedAlerts":-1e99}`, `{"alerts":[`+firingA)
}

func FuzzPush(f *testing.F) {
	fuzz(f, parsePush, `[`+firingA+`,`+resolvedB+`]`, `null`, `[[],{}]`, `[{"labels":{"a":"b"},"endsAt":"9999-12-31T23:59:59-23:00"}]`)
}
