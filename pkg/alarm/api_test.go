package alarm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/alarm/openapi"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
	"github.com/o2ims/o2ims/test/contract/conformance"
)

// filled are records that tests can put something into.
type filled interface {
	Records
	fill(ctx context.Context, records ...Record) error
}

// backends are the records on which the API is tried.
var backends = map[string]func(*testing.T, *store.Store) filled{
	"memory": func(*testing.T, *store.Store) filled { return newMemoryRecords() },
	"redis": func(_ *testing.T, s *store.Store) filled {
		r := NewRedisRecords(s, Configuration{RetentionDays: 1})
		r.now = func() time.Time { return began }
		return redisBacked{r}
	},
}

// smo judges callbacks: URLs with "bad" in them are refused, and those with "there" answer.
type smo struct{}

func (smo) CheckURL(_ context.Context, url string) error {
	if strings.Contains(url, "bad") {
		return fmt.Errorf("callback: address is not allowed: %w", fault.Invalid)
	}
	return nil
}

func (smo) Reach(_ context.Context, url string, _ ...int) error {
	if !strings.Contains(url, "there") {
		return fmt.Errorf("callback cannot be reached: %w", fault.Invalid)
	}
	return nil
}

const apiUser = "system:serviceaccount:o2ims:noc"

// apiWorld is an API over some records, and how to call it. Every answer is held to the
// OpenAPI document of its version.
type apiWorld struct {
	t         testing.TB
	store     *store.Store
	records   filled
	router    http.Handler
	documents map[string]*conformance.Document
	cloud     string // globalCloudId
	settings  subscription.Options
	access    auth.Access
	identity  auth.Identity // who calls
	lowered   int
	pageSize  int

	mu  sync.Mutex
	now time.Time
}

// newAPIWorld returns an API over records from a backend; change may be nil.
func newAPIWorld(t testing.TB, records filled, s *store.Store, change func(*apiWorld)) *apiWorld {
	t.Helper()
	w := &apiWorld{
		t: t, store: s, records: records, documents: map[string]*conformance.Document{}, cloud: "18f2dc90-b375-47dd-b8dc-ae80072e6cdb",
		settings: subscription.Options{MaxSubscriptions: 50, DuplicateStatus: 400, CallbackCheck: string(subscription.CheckOff)},
		now:      began, pageSize: 100, identity: auth.Identity{Name: apiUser},
	}
	if change != nil {
		change(w)
	}
	for _, major := range []string{"v1", "v2"} {
		d, err := conformance.ParseDocument(openapi.Document(major))
		if err != nil {
			t.Fatal(err)
		}
		w.documents[major] = d
	}
	router := mux.NewRouter().SkipClean(true)
	NewAPI(APIOptions{Versions: []string{"v1", "v2"}}, Parts{
		Records: w.records, Store: s, Callbacks: smo{}, Subscriptions: w.settings, Access: w.access,
		Pager:   rest.NewPager(rest.PagingOptions{Size: w.pageSize, Decimal: true, BaseURL: "https://o2ims.example.net"}, bytes.Repeat([]byte{7}, rest.MarkerKeyBytes)),
		BaseURL: "https://o2ims.example.net", GlobalCloudID: func() string { return w.cloud },
		RetentionLowered: func() { w.lowered++ },
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		},
	}).Routes(router)
	w.router = http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) { router.ServeHTTP(out, rest.Normalize(r)) })
	return w
}

// onBackends runs a test on each kind of records.
func onBackends(t *testing.T, test func(t *testing.T, w *apiWorld)) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			s := newAPIStore(t)
			test(t, newAPIWorld(t, backend(t, s), s, nil))
		})
	}
}

func (w *apiWorld) fill(records ...Record) {
	w.t.Helper()
	if err := w.records.fill(w.t.Context(), records...); err != nil {
		w.t.Fatal(err)
	}
}

// call makes a request; headers are pairs of names and values.
func (w *apiWorld) call(method, path, body string, headers ...string) *http.Response {
	w.t.Helper()
	r := httptest.NewRequest(method, BasePath+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	r = r.WithContext(auth.WithIdentity(r.Context(), w.identity))
	out := httptest.NewRecorder()
	w.router.ServeHTTP(out, r)
	answer := out.Result()
	if out.Body.Len() == 0 && answer.StatusCode < 300 && method != http.MethodHead {
		answer.Header.Del("Content-Type")
	}
	major := "v2"
	if strings.HasPrefix(path, "/v1") {
		major = "v1"
	}
	if method != http.MethodHead {
		if err := w.documents[major].Check(method, r.URL.Path, answer.StatusCode, answer.Header, out.Body.Bytes()); err != nil {
			w.t.Errorf("%s %s: %v\n%s", method, path, err, out.Body)
		}
	}
	answer.Body = io.NopCloser(bytes.NewReader(out.Body.Bytes()))
	return answer
}

// ask is a call whose answer must have a status, and a text in its body.
func (w *apiWorld) ask(method, path, body string, status int, want string, headers ...string) *http.Response {
	w.t.Helper()
	answer := w.call(method, path, body, headers...)
	text := bodyOf(w.t, answer)
	if answer.StatusCode != status || !strings.Contains(text, want) {
		w.t.Errorf("%s %s %s = %d %s, want %d and %q", method, path, body, answer.StatusCode, text, status, want)
	}
	answer.Body = io.NopCloser(strings.NewReader(text))
	return answer
}

func bodyOf(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (w *apiWorld) list(path string) []map[string]any {
	w.t.Helper()
	answer := w.call(http.MethodGet, path, "")
	var list []map[string]any
	text := bodyOf(w.t, answer)
	if err := json.Unmarshal([]byte(text), &list); err != nil || answer.StatusCode != http.StatusOK {
		w.t.Fatalf("GET %s = %d %s", path, answer.StatusCode, text)
	}
	return list
}

// pages reads a list page by page and returns the ids on each.
func (w *apiWorld) pages(path string) (ids [][]string) {
	w.t.Helper()
	for path != "" {
		answer := w.call(http.MethodGet, path, "")
		var list []map[string]any
		if err := json.Unmarshal([]byte(bodyOf(w.t, answer)), &list); err != nil || answer.StatusCode != http.StatusOK {
			w.t.Fatalf("GET %s = %d, %v", path, answer.StatusCode, err)
		}
		var page []string
		for _, r := range list {
			page = append(page, fmt.Sprint(r["alarmEventRecordId"]))
		}
		ids = append(ids, page)
		path = ""
		if link := answer.Header.Get("Link"); link != "" {
			u, err := url.Parse(strings.TrimPrefix(strings.Split(link, ">")[0], "<"))
			if err != nil {
				w.t.Fatal(err)
			}
			path = strings.TrimPrefix(u.RequestURI(), BasePath)
		}
	}
	return ids
}

// raised is when the first record of a test was raised, and began when the test begins.
var (
	raised = time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC)
	began  = raised.Add(24 * time.Hour)
)

func numbered(n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("0b6d0c0e-5f1b-5f0e-9f43-%012d", n))
}

// record returns the nth of some records: each is raised a second after the one before,
// every third is cleared, and every fifth acknowledged.
func record(n int) Record {
	r := Record{
		ID: numbered(n), Cluster: "edge-7", Fingerprint: fmt.Sprintf("%016x", n),
		ObjectClass: "oran.o2ims.cluster.ClusterResource", ObjectTypeID: numbered(1_000_000), ObjectID: numbered(2_000_000 + n%7),
		DefinitionID: numbered(3_000_000), ProbableCauseID: numbered(4_000_000), Severity: Severity(n % 5),
		Raised: raised.Add(time.Duration(n) * time.Second),
		Labels: map[string]string{"alertname": "KubeNodeNotReady", "severity": "warning", "node": fmt.Sprintf("edge-7-w%d", n%7)},
		Via:    "webhook", Received: raised.Add(time.Duration(n)*time.Second + 300*time.Millisecond), Version: 1,
		Annotations: map[string]string{"summary": "node is not ready"}, GeneratorURL: "http://prometheus/graph?g0.expr=up&g0.tab=1",
	}
	r.Changed = r.Raised
	if n%3 == 0 {
		r.Cleared, r.ClearedBy = r.Raised.Add(time.Minute), ClearedByAlert
		r.Changed = r.Cleared
	}
	if n%5 == 0 {
		r.Acknowledged, r.AcknowledgedBy = r.Raised.Add(2*time.Minute), "operator"
		r.Changed = r.Acknowledged
	}
	return r
}

func records(n int) []Record {
	list := make([]Record, n)
	for i := range list {
		list[i] = record(i + 1)
	}
	return list
}

func TestAlarmsAPI(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		w.fill(records(30)...)
		one := "/alarms/" + numbered(1).String()
		for _, tc := range []struct {
			method, path string
			status       int
			want         string
		}{
			{"GET", "/api_versions", 200, `"uriPrefix":"https://o2ims.example.net/o2ims-infrastructureMonitoring","apiVersions":[{"version":"1.2.0"},{"version":"2.2.0"}]`},
			{"GET", "/v1/api_versions", 200, `/v1","apiVersions":[{"version":"1.2.0"}]`},
			{"GET", "/v2/api_versions", 200, `[{"version":"2.2.0"}]`},
			{"GET", "/v1/openapi.yaml", 200, "openapi: 3.1.0"},
			{"GET", "/v2/openapi.yaml", 200, "openapi: 3.1.0"},
			{"GET", "/v1/alarms", 200, `"resourceTypeID":"` + numbered(1_000_000).String()},
			{"GET", "/v2/alarms/", 200, `"objectClass":"oran.o2ims.cluster.ClusterResource"`},
			{"GET", "/v1" + one, 200, `"alarmDefinitionID":"` + numbered(3_000_000).String()},
			{"GET", "/v2" + one, 200, `"alarmAcknowledgeTime":null,"alarmAcknowledged":false,"alarmClearedTime":null,"perceivedSeverity":1,`},
			{"GET", "/v2/alarms/" + strings.ToUpper(numbered(1).String()), 200, numbered(1).String()},
			{"GET", "/v2/alarms/" + numbered(3).String(), 200, `"alarmClearedTime":"2026-09-01T08:01:03Z","perceivedSeverity":5,`},
			{"GET", "/v2/alarms/" + numbered(3).String(), 200, `"activeSeverity":3`},
			{"GET", "/v2/alarms/" + numbered(5).String(), 200, `"alarmAcknowledgeTime":"2026-09-01T08:02:05Z","alarmAcknowledged":true`},
			{"GET", "/v2" + one + "?all_fields", 200, `"labels":{"alertname":"KubeNodeNotReady"`},
			{"GET", "/v2" + one + "?exclude_fields=extensions", 200, `"extensions":{}`},
			{"GET", "/v2" + one + "?fields=extensions/cluster", 200, `"extensions":{"cluster":"edge-7"}`},
			{"GET", "/v2" + one + "?filter=(eq,perceivedSeverity,0)", 404, "does not satisfy (eq,perceivedSeverity,0)"},
			{"GET", "/v2/alarms/" + numbered(99).String(), 404, numbered(99).String()},
			{"GET", "/v2/alarms/first", 400, "alarmEventRecordId"},
			{"GET", "/v2/alarms?fields=nonsense", 400, "nonsense"},
			{"GET", "/v2/alarms?filter=(eq,resourceID,x)", 400, "resourceID"},
			{"GET", "/v2/alarms?filter=(eq,perceivedSeverity,critical)", 400, "number"},
			{"GET", "/v2/alarms?filter=(eq,alarmRaisedTime,yesterday)", 400, "RFC 3339"},
			{"GET", "/v2/alarms?nextpage_opaque_marker=nonsense!", 400, "marker"},
			{"GET", "/v2/alarms?filter=(eq,perceivedSeverity,0);(eq,extensions/labels/node,edge-7-w5)&explain", 200, `"total":30`},
			{"GET", "/v2/probableCauses", 200, `"probableCauseCode":"STORAGE_CONFIGURAION"`},
			{"GET", "/v1/probableCauses?filter=(eq,extensions/spelling,STORAGE_CONFIGURATION)", 200, `"probableCauseCode":"STORAGE_CONFIGURAION"`},
			{"GET", "/v2/probableCauses/" + ProbableCauseID("NODE_DOWN").String(), 200, `"probableCauseCode":"NODE_DOWN"`},
			{"GET", "/v2/probableCauses/" + numbered(1).String(), 404, numbered(1).String()},
			{"GET", "/v2/probableCauses/NODE_DOWN", 400, "probableCauseId"},
			{"POST", "/v2/probableCauses", 405, ""},
			{"PUT", "/v2/alarms", 405, ""},
			{"POST", "/v1/alarms", 405, ""},
			{"DELETE", "/v2" + one, 405, ""},
			{"GET", "/v2/alarms/purge", 405, ""},
		} {
			w.ask(tc.method, tc.path, "", tc.status, tc.want)
		}
		head := w.call(http.MethodHead, "/v2/alarms", "")
		if head.StatusCode != 200 || head.Header.Get("X-Total-Count") != "30" || head.Header.Get("ETag") == "" {
			t.Errorf("HEAD = %d %v", head.StatusCode, head.Header)
		}
		got := w.call(http.MethodGet, "/v2/alarms", "")
		if again := w.call(http.MethodGet, "/v2/alarms", "", "If-None-Match", got.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("If-None-Match = %d, want 304", again.StatusCode)
		}
	})
}

// TestAlarmFilters compares what filters find with what they should, by a look at the records.
func TestAlarmFilters(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		all := records(60)
		w.fill(all...)
		for _, tc := range []struct {
			v1, v2 string // the filter in each version
			want   func(*Record) bool
		}{
			{"(eq,perceivedSeverity,0)", "", func(r *Record) bool { return r.Perceived() == Critical }},
			{"(eq,perceivedSeverity,5)", "", func(r *Record) bool { return !r.Active() }},
			{"(neq,alarmAcknowledged,true)", "", func(r *Record) bool { return !r.acknowledged() }},
			{"(in,perceivedSeverity,0,1);(eq,resourceID,%o)", "(in,perceivedSeverity,0,1);(eq,objectId,%o)", func(r *Record) bool { return r.Perceived() <= Major && r.ObjectID == numbered(2_000_003) }},
			{"(eq,resourceId,%o)", "(eq,objectId,%o)", func(r *Record) bool { return r.ObjectID == numbered(2_000_003) }},
			{"(eq,resourceTypeID,%t)", "(eq,objectTypeId,%t)", func(*Record) bool { return true }},
			{"(eq,alarmDefinitionId,%o)", "(eq,alarmDefinitionId,%o)", func(*Record) bool { return false }},
			{"(gte,alarmRaisedTime,2026-09-01T08:00:30Z)", "", func(r *Record) bool { return !r.Raised.Before(raised.Add(30 * time.Second)) }},
			{"(gt,alarmRaisedTime,2026-09-01T10:00:30%2B02:00)", "", func(r *Record) bool { return r.Raised.After(raised.Add(30 * time.Second)) }},
			{"(lt,alarmRaisedTime,2026-09-01T08:00:30.5Z)", "", func(r *Record) bool { return r.Raised.Before(raised.Add(30500 * time.Millisecond)) }},
			{"(gt,alarmRaisedTime,2026-09-01T08:00:10Z);(lte,alarmRaisedTime,2026-09-01T08:00:20Z)", "", func(r *Record) bool {
				return r.Raised.After(raised.Add(10*time.Second)) && !r.Raised.After(raised.Add(20*time.Second))
			}},
			{"(eq,alarmRaisedTime,2026-09-01T08:00:07Z)", "", func(r *Record) bool { return r.ID == numbered(7) }},
			{"(gt,alarmRaisedTime,1960-01-01T00:00:00Z)", "", func(*Record) bool { return true }},
			{"(gt,alarmRaisedTime,2999-01-01T00:00:00Z)", "", func(*Record) bool { return false }},
			{"(eq,alarmClearedTime,null)", "", (*Record).Active},
			{"(neq,alarmClearedTime,null)", "", func(r *Record) bool { return !r.Active() }},
			{"(cont,extensions/labels/node,w3)", "", func(r *Record) bool { return strings.HasSuffix(r.Labels["node"], "w3") }},
			{"(eq,extensions/labels/absent,x)", "", func(*Record) bool { return false }},
			{"(in,extensions/labels/@key,node)", "", func(*Record) bool { return true }},
			{"(eq,extensions/activeSeverity,2);(eq,perceivedSeverity,5)", "", func(r *Record) bool { return r.Severity == Minor && !r.Active() }},
			{"(eq,extensions/acknowledgedBy,operator)", "", (*Record).acknowledged},
			{"(eq,alarmEventRecordId,%a)", "", func(r *Record) bool { return r.ID == numbered(9) }},
			{"(eq,alarmEventRecordId,%a);(eq,perceivedSeverity,0)", "", func(*Record) bool { return false }},
			{"(eq,alarmEventRecordId,nobody)", "", func(*Record) bool { return false }},
			{"(in,alarmEventRecordId,%a,%b)", "", func(r *Record) bool { return r.ID == numbered(9) || r.ID == numbered(10) }},
		} {
			if tc.v2 == "" {
				tc.v2 = tc.v1
			}
			var want []string
			for i := range all {
				if tc.want(&all[i]) {
					want = append(want, all[i].ID.String())
				}
			}
			for major, text := range map[string]string{"v1": tc.v1, "v2": tc.v2} {
				text = strings.NewReplacer("%o", numbered(2_000_003).String(), "%t", numbered(1_000_000).String(), "%a", numbered(9).String(), "%b", numbered(10).String()).Replace(text)
				var got []string
				for _, page := range w.pages("/" + major + "/alarms?filter=" + text) {
					got = append(got, page...)
				}
				if strings.Join(got, " ") != strings.Join(want, " ") {
					t.Errorf("%s %s: %d records, want %d\n%v", major, text, len(got), len(want), got)
				}
			}
		}
	})
}

// TestAlarmPages reads lists in pages of every size, while records come and go.
func TestAlarmPages(t *testing.T) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 7, 30, 31} {
				s := newAPIStore(t)
				w := newAPIWorld(t, backend(t, s), s, func(w *apiWorld) { w.pageSize = size })
				w.fill(records(30)...)
				for _, filter := range []string{"", "?filter=(eq,extensions/cluster,edge-7)", "?filter=(neq,perceivedSeverity,5)"} {
					pages := w.pages("/v2/alarms" + filter)
					var got []string
					for i, page := range pages {
						if len(page) > size || i < len(pages)-1 && len(page) < size {
							t.Errorf("size %d %s: page %d has %d", size, filter, i, len(page))
						}
						got = append(got, page...)
					}
					want := 30
					if strings.Contains(filter, "perceivedSeverity") {
						want = 20
					}
					if len(got) != want {
						t.Errorf("size %d %s: %d records, want %d", size, filter, len(got), want)
					}
				}
				for marker, want := range map[string]string{"1": numbered(1).String(), "2": "", "99": ""} {
					list := w.list("/v2/alarms?nextpage_opaque_marker=" + marker)
					if len(list) == 0 || want != "" && list[0]["alarmEventRecordId"] != want {
						t.Errorf("size %d: page %s begins with %v", size, marker, list)
					}
				}
			}
		})
	}
}

// TestAlarmPagesAreStable: what comes between pages is neither skipped nor repeated, and a
// marker of one list is none of another.
func TestAlarmPagesAreStable(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		w2 := newAPIWorld(t, w.records, w.store, func(w *apiWorld) { w.pageSize = 10 })
		w2.fill(records(20)...)
		first := w2.call(http.MethodGet, "/v2/alarms", "")
		next := strings.TrimPrefix(strings.Split(strings.TrimPrefix(first.Header.Get("Link"), "<"), ">")[0], "https://o2ims.example.net"+BasePath)
		if first.Header.Get("X-Total-Count") != "20" || next == "" {
			t.Fatalf("first page: %v", first.Header)
		}
		late := record(40) // raised before what the first page ended with
		late.Raised = raised
		w2.fill(late, record(41))
		list := w2.list(next)
		if len(list) != 10 || list[0]["alarmEventRecordId"] != numbered(11).String() {
			t.Errorf("second page: %v", list)
		}
		w2.ask(http.MethodGet, next+"&filter=(eq,perceivedSeverity,0)", "", 400, "marker")
		w2.ask(http.MethodGet, strings.Replace(next, "/v2/", "/v1/", 1), "", 400, "marker")
	})
}

// TestAlarmListReadsNoMoreThanItNeeds holds lists to reading slices, from where the filter
// begins to where the page ends.
func TestAlarmListReadsNoMoreThanItNeeds(t *testing.T) {
	m := newMemoryRecords()
	w := newAPIWorld(t, m, newAPIStore(t), func(w *apiWorld) { w.pageSize = 10 })
	w.fill(records(5 * sliceRecords)...)
	for _, tc := range []struct {
		path string
		most int
	}{
		{"/v2/alarms", sliceRecords},
		{"/v2/alarms?filter=(eq,extensions/cluster,edge-7)", sliceRecords},
		{"/v2/alarms?filter=(gt,alarmRaisedTime,2026-09-01T08:40:00Z)", sliceRecords},
		{"/v2/alarms?filter=(lt,alarmRaisedTime,2026-09-01T08:00:05Z)", sliceRecords},
		{"/v2/alarms?filter=(eq,alarmEventRecordId," + numbered(2400).String() + ")", 0},
		{"/v2/alarms?filter=(eq,extensions/cluster,none)", 5 * sliceRecords},
	} {
		m.read = 0
		w.list(tc.path)
		if m.read > tc.most {
			t.Errorf("GET %s read %d records, want at most %d", tc.path, m.read, tc.most)
		}
	}
	total := w.call(http.MethodGet, "/v2/alarms?filter=(lt,alarmRaisedTime,2026-09-01T08:00:05Z)", "").Header.Get("X-Total-Count")
	if total != "4" {
		t.Errorf("X-Total-Count = %q, want 4 where the page is all there is", total)
	}
}

func TestPatchAlarm(t *testing.T) {
	manual := record(1)
	manual.Manual = true
	automatic, cleared, acknowledged := record(2), record(3), record(5)
	future := record(7)
	future.Manual, future.Raised = true, raised.Add(48*time.Hour)
	const ack, clear = `{"alarmAcknowledged":true}`, `{"perceivedSeverity":5}`
	for _, tc := range []struct {
		name, body string
		of         Record
		status     int
		want       string
		event      *EventType
	}{
		{"acknowledge", ack, automatic, 200, ack, new(EventAcknowledge)},
		{"acknowledge what is cleared", ack, cleared, 200, ack, new(EventAcknowledge)},
		{"acknowledge again", ack, acknowledged, 409, "acknowledged already", nil},
		{"take it back", `{"alarmAcknowledged":false}`, acknowledged, 400, "taken back", nil},
		{"clear a manual one", clear, manual, 200, clear, new(EventClear)},
		{"clear one whose clock is ahead", clear, future, 200, clear, new(EventClear)},
		{"clear an automatic one", clear, automatic, 409, "clearingType", nil},
		{"clear again", clear, cleared, 409, "cleared already", nil},
		{"another severity", `{"perceivedSeverity":0}`, manual, 400, "perceivedSeverity", nil},
		{"severity is a text", `{"perceivedSeverity":"5"}`, manual, 400, "perceivedSeverity", nil},
		{"both", `{"perceivedSeverity":5,"alarmAcknowledged":true}`, manual, 400, "one request", nil},
		{"neither", `{}`, manual, 400, "neither", nil},
		{"null", `{"alarmAcknowledged":null}`, manual, 400, "alarmAcknowledged", nil},
		{"a number", `{"alarmAcknowledged":1}`, manual, 400, "alarmAcknowledged", nil},
		{"something else", `{"alarmRaisedTime":"2026-09-01T08:00:00Z"}`, manual, 400, "alarmRaisedTime", nil},
		{"something else too", `{"alarmAcknowledged":true,"x":1}`, manual, 400, `\"x\"`, nil},
		{"null alone", `null`, manual, 400, "null", nil},
		{"a list", `[]`, manual, 400, "body", nil},
		{"XML", `<a/>`, manual, 400, "body", nil},
		{"half a body", `{"alarmAcknowledged":`, manual, 400, "body", nil},
		{"nothing", ``, manual, 400, "body", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onBackends(t, func(t *testing.T, w *apiWorld) {
				w.fill(tc.of)
				for _, major := range []string{"v1", "v2"} {
					if major == "v2" && tc.status == 200 {
						break // it has been done
					}
					w.ask(http.MethodPatch, "/"+major+"/alarms/"+tc.of.ID.String(), tc.body, tc.status, tc.want, "Content-Type", "application/merge-patch+json")
				}
				got, err := w.records.Record(t.Context(), tc.of.ID)
				if err != nil {
					t.Fatal(err)
				}
				if tc.event == nil {
					if got.Version != 1 {
						t.Errorf("record changed: %+v", got)
					}
					return
				}
				if got.Version != 2 || got.Changed.IsZero() {
					t.Errorf("record = %+v", got)
				}
				switch *tc.event {
				case EventAcknowledge:
					if !got.Acknowledged.Equal(w.now) || got.AcknowledgedBy != apiUser || got.Active() != tc.of.Active() {
						t.Errorf("acknowledged %v by %q", got.Acknowledged, got.AcknowledgedBy)
					}
				case EventClear:
					if got.Active() || got.ClearedBy != ClearedByConsumer || got.Cleared.Before(got.Raised) || got.Severity != tc.of.Severity {
						t.Errorf("cleared %v by %q", got.Cleared, got.ClearedBy)
					}
				}
				if m, is := w.records.(*memoryRecords); is && (len(m.events) != 1 || m.events[0] != *tc.event) {
					t.Errorf("told %v, want %v", m.events, *tc.event)
				}
				if _, is := w.records.(redisBacked); is {
					events, err := w.store.Events(t.Context(), 1, 10)
					if err != nil || len(events) != 1 || EventType(events[0].Type) != *tc.event {
						t.Errorf("stream = %+v, %v, want %v", events, err, *tc.event)
					}
				}
			})
		})
	}
}

func TestPatchAlarmIfMatch(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		r := record(1)
		r.Manual = true
		w.fill(r)
		path := "/v2/alarms/" + r.ID.String()
		const ack, clear = `{"alarmAcknowledged":true}`, `{"perceivedSeverity":5}`
		first := w.ask(http.MethodGet, path, "", 200, "").Header.Get("ETag")
		other := w.ask(http.MethodGet, "/v1/alarms/"+r.ID.String(), "", 200, "").Header.Get("ETag")
		w.ask(http.MethodPatch, path, ack, 412, "If-Match", "If-Match", other)
		w.ask(http.MethodPatch, path, ack, 412, "If-Match", "If-Match", "W/"+first)
		w.ask(http.MethodPatch, path, ack, 200, ack, "If-Match", `"other", `+strings.TrimSuffix(first, `"`)+rest.GzipSuffix+`"`)
		second := w.ask(http.MethodGet, path, "", 200, "").Header.Get("ETag")
		w.ask(http.MethodPatch, path, clear, 412, "changed", "If-Match", first)
		answer := w.ask(http.MethodPatch, path, clear, 200, clear, "If-Match", second)
		third := w.ask(http.MethodGet, path, "", 200, `"perceivedSeverity":5`).Header.Get("ETag")
		if first == second || answer.Header.Get("ETag") != third {
			t.Errorf("ETags %s, %s, %s after %s", first, second, answer.Header.Get("ETag"), third)
		}
		w.ask(http.MethodPatch, path, clear, 412, "", "If-Match", first) // rather than 409
		w.ask(http.MethodPatch, path, clear, 409, "cleared", "If-Match", "*")
		w.ask(http.MethodPatch, "/v2/alarms/"+numbered(99).String(), ack, 404, "", "If-Match", first)
		w.ask(http.MethodPatch, "/v2/alarms/x", ack, 400, "alarmEventRecordId")
		w.ask(http.MethodPatch, path, ack, 415, "", "Content-Type", "text/xml")
	})
}

func TestAlarmsWhileTheStoreIsAway(t *testing.T) {
	m := newMemoryRecords()
	w := newAPIWorld(t, m, newAPIStore(t), nil)
	w.fill(records(3)...)
	m.down = true
	one := "/v2/alarms/" + numbered(1).String()
	for _, tc := range []struct{ method, path, body string }{
		{"GET", "/v2/alarms", ""}, {"GET", "/v2/alarms?filter=(eq,perceivedSeverity,0)", ""}, {"GET", "/v2/alarms?filter=(eq,perceivedSeverity,0)&explain", ""},
		{"GET", one, ""}, {"PATCH", one, `{"alarmAcknowledged":true}`}, {"GET", "/v2/alarmServiceConfiguration", ""},
		{"PUT", "/v2/alarmServiceConfiguration", `{"retentionPeriod":1}`}, {"GET", "/v2/taskOperations", ""},
		{"GET", "/v2/taskOperations/" + numbered(1).String(), ""}, {"POST", "/v2/alarms/purge", `{"alarmRecordId":["` + numbered(1).String() + `"]}`},
	} {
		answer := w.ask(tc.method, tc.path, tc.body, 503, "at the moment")
		if answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", tc.method, tc.path)
		}
	}
}

func TestAPIOptions(t *testing.T) {
	for _, tc := range []struct {
		versions []string
		want     string
	}{{[]string{"v1"}, ""}, {[]string{"v1", "v2"}, ""}, {nil, "at least one"}, {[]string{"v3"}, `"v3"`}} {
		err := (&APIOptions{Versions: tc.versions}).Validate()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Validate(%v) = %v, want %q", tc.versions, err, tc.want)
		}
	}
}

// TestAuditLog: who acknowledges or clears an alarm is in the log, once it is done.
func TestAuditLog(t *testing.T) {
	var lines bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&lines, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	m := newMemoryRecords()
	w := newAPIWorld(t, m, newAPIStore(t), nil)
	r := record(1)
	r.Manual = true
	w.fill(r)
	lines.Reset()
	path := "/v2/alarms/" + r.ID.String()
	for _, tc := range []struct{ body, want string }{
		{`{"alarmAcknowledged":true}`, "alarm acknowledged"}, {`{"alarmAcknowledged":true}`, ""},
		{`{"perceivedSeverity":5}`, "alarm cleared by consumer"}, {`{"perceivedSeverity":5}`, ""},
	} {
		w.call(http.MethodPatch, path, tc.body)
		var line struct{ Msg, AlarmEventRecordID, User string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil && tc.want != "" {
			t.Fatalf("%s: %v: %s", tc.body, err, &lines)
		}
		if line.Msg != tc.want || tc.want != "" && (line.User != apiUser || line.AlarmEventRecordID != r.ID.String()) {
			t.Errorf("%s is logged as %+v, want %q", tc.body, line, tc.want)
		}
		lines.Reset()
	}
}
