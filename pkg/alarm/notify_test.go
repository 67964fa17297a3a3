package alarm

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/alarm/openapi"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
	"github.com/o2ims/o2ims/test/contract/conformance"
)

var updateGolden = flag.Bool("update-golden", false, "write the golden notifications anew")

const cloudID = "18f2dc90-b375-47dd-b8dc-ae80072e6cdb"

// eventOf is an entry of the stream about a record.
func eventOf(r *Record, kind EventType) *store.Event {
	return &store.Event{Seq: 7, Source: store.AlarmSource, Kind: store.AlarmKind, ID: r.ID.String(), Type: store.EventType(kind), Post: encodeRecord(r)}
}

// TestNotifications compares what is sent with golden files, and with the schema that the
// OpenAPI documents promise.
func TestNotifications(t *testing.T) {
	consumer, odd := "noc-1", `a "quoted" <b> & ü`
	cleared := record(15)
	own := Record{
		ID: numbered(77), ObjectClass: "oran.o2ims.cluster.NodeCluster", ObjectTypeID: numbered(1), ObjectID: numbered(2), DefinitionID: numbered(3), ProbableCauseID: numbered(4),
		Raised: raised, Changed: raised, Via: ViaWatch, Manual: true, Version: 1,
	}
	first := record(1)
	for _, tc := range []struct {
		name     string
		record   *Record
		event    EventType
		consumer *string
	}{
		{"new", &first, EventNew, &consumer},
		{"clear", &cleared, EventClear, nil},
		{"acknowledge", &cleared, EventAcknowledge, &odd},
		{"own", &own, EventChange, nil},
	} {
		for _, major := range []string{"v1", "v2"} {
			t.Run(tc.name+"-"+major, func(t *testing.T) {
				service := Service([]string{"v1", "v2"}, func() string { return cloudID })
				shown, err := service.Render(eventOf(tc.record, tc.event), major, "https://o2ims.example.net")
				if err != nil || shown.Type != int(tc.event) {
					t.Fatalf("Render = %+v, %v", shown, err)
				}
				body := shown.Body(subscription.Notification{ID: uuid.MustParse("8a7f3c52-0d2e-4a39-8f5e-0f2b1f4a6d10"), ConsumerID: tc.consumer, Sequence: 3})
				document, err := conformance.ParseDocument(openapi.Document(major))
				if err != nil {
					t.Fatal(err)
				}
				if err := document.CheckComponent("AlarmEventNotification", body); err != nil {
					t.Error(err)
				}
				golden(t, filepath.Join("testdata", "notifications", tc.name+"-"+major+".json"), body)
				if err := checkAgainstRecord(tc.record, major, body); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// golden compares JSON with a file.
func golden(t *testing.T, file string, body []byte) {
	t.Helper()
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	pretty, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	pretty = append(pretty, '\n')
	if *updateGolden {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, pretty, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(pretty) != string(want) {
		t.Errorf("%s:\n%s\nwant\n%s", file, pretty, want)
	}
}

// checkAgainstRecord tells whether a notification says of a record what a GET does.
func checkAgainstRecord(r *Record, major string, body []byte) error {
	var told, shown map[string]any
	row := &row{Record: r}
	if err := json.Unmarshal(body, &told); err != nil {
		return err
	}
	if err := json.Unmarshal(versions(nil)[major].records.Encoded(row).Whole, &shown); err != nil {
		return err
	}
	if want := "https://o2ims.example.net" + BasePath + "/" + major + "/alarms/" + r.ID.String(); told["objectRef"] != want {
		return fmt.Errorf("objectRef = %v, want %s", told["objectRef"], want)
	}
	for name, value := range shown {
		if name == "extensions" {
			continue // a notification has more of them
		}
		if got, there := told[name]; !there || got != value {
			return fmt.Errorf("%s = %v, want %v", name, got, value)
		}
	}
	return nil
}

func TestNotificationOfAnUnknownVersion(t *testing.T) {
	service := Service([]string{"v1"}, func() string { return cloudID })
	r := record(1)
	shown, err := service.Render(eventOf(&r, EventNew), "v9", "")
	if err != nil || shown.Body != nil {
		t.Errorf("Render = %+v, %v, want nothing to tell", shown, err)
	}
	if _, err := service.Render(&store.Event{ID: "x", Post: []byte("{")}, "v1", ""); err == nil {
		t.Error("Render of half a record: no error")
	}
}

func TestResyncNotice(t *testing.T) {
	service := Service([]string{"v1", "v2"}, func() string { return cloudID })
	consumer := "noc"
	body, err := service.Resync(subscription.Notification{ID: numbered(1), ConsumerID: &consumer}, store.Range{First: 3, Last: 9}, "v2", "https://o2ims.example.net")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "notifications", "resync-v2.json"), body)
}

// receiver is a consumer that notes what it is sent, by path.
type receiver struct {
	mu   sync.Mutex
	got  map[string][]map[string]any
	news chan struct{}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var body map[string]any
	text, err := io.ReadAll(request.Body)
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.got[request.URL.Path] = append(r.got[request.URL.Path], body)
	r.mu.Unlock()
	select {
	case r.news <- struct{}{}:
	default:
	}
	w.WriteHeader(http.StatusNoContent)
}

// events are the types of the events that came on a path, one letter for each.
func (r *receiver) events(path string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	letters := ""
	for _, body := range r.got[path] {
		kind, _ := body["notificationEventType"].(float64)
		letters += "NCXA"[int(kind) : int(kind)+1]
	}
	return letters
}

// TestWhatSubscribersAreTold subscribes over HTTP, lets the engine deliver, and looks at
// what arrives: above all at the two filters, which point in opposite directions. Events
// happen twice, so that what is told too much in the first round is seen before the end.
func TestWhatSubscribersAreTold(t *testing.T) {
	consumer := &receiver{got: map[string][]map[string]any{}, news: make(chan struct{}, 1)}
	server := httptest.NewServer(consumer)
	t.Cleanup(server.Close)
	s := newAPIStore(t)
	w := newAPIWorld(t, redisBacked{NewRedisRecords(s, Configuration{RetentionDays: 1})}, s, nil)
	r := record(1) // major, of edge-7
	cases := []struct{ filter, events, told string }{
		{``, `null`, "NCXA"},
		{`NEW`, `null`, "CXA"},
		{`CLEAR`, `null`, "NCA"},
		{``, `["NEW","CLEAR"]`, "NX"},
		{``, `"ACKNOWLEDGE"`, "A"},
		{`NEW`, `["NEW","CLEAR"]`, "X"},
		{`(eq,perceivedSeverity,1)`, `null`, ""},
		{`(neq,perceivedSeverity,1)`, `null`, "NCXA"},
		{`(eq,perceivedSeverity,1);(eq,notificationEventType,3)`, `null`, "NCX"},
		{`(eq,notificationEventType,1)|(eq,notificationEventType,3)`, `null`, "NX"},
		{`(eq,extensions/cluster,edge-8)|(cont,extensions/labels/node,w1);(eq,notificationEventType,0)`, `null`, "CXA"},
		{`(in,%o,%i)`, `null`, ""},
		{`(lt,alarmRaisedTime,2026-09-01T10:00:02+02:00)`, `null`, ""},
	}
	path := func(major string, n int) string { return fmt.Sprintf("/%s/%d", major, n) }
	for n, tc := range cases {
		for major, object := range map[string]string{"v1": "resourceID", "v2": "objectId"} {
			filter := strings.NewReplacer("%o", object, "%i", r.ObjectID.String()).Replace(tc.filter)
			body := fmt.Sprintf(`{"callback":%q,"filter":%q,"eventFilter":%s,"consumerSubscriptionId":"n %d"}`, server.URL+path(major, n), filter, tc.events, n)
			w.ask(http.MethodPost, "/"+major+"/alarmSubscriptions", body, 201, "")
		}
	}
	options := w.settings
	options.RequestTimeout, options.FirstRetry, options.LongestRetry, options.SuspendAfter = 20*time.Second, time.Millisecond, time.Second, time.Hour
	options.RetainFor, options.RetainEvents, options.WindowBytes, options.FilterMode = time.Hour, 1000, 4<<20, string(subscription.Exclude)
	engine, err := subscription.New(options, subscription.Parts{
		Store: s, Client: http.DefaultClient, BaseURL: "https://o2ims.example.net",
		Services: []subscription.Service{Service([]string{"v1", "v2"}, func() string { return cloudID })},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for round := range 2 {
		happen(t, s, r, EventNew, EventChange, EventClear, EventAcknowledge)
		for n, tc := range cases {
			for _, major := range []string{"v1", "v2"} {
				consumer.await(t, path(major, n), strings.Repeat(tc.told, round+1))
			}
		}
	}
	for _, body := range consumer.got[path("v2", 0)] {
		if body["globalCloudId"] != cloudID || body["consumerSubscriptionId"] != "n 0" || body["alarmEventRecordId"] != r.ID.String() {
			t.Errorf("notification = %v", body)
		}
	}
	for i, body := range consumer.got[path("v1", 3)] {
		extensions, _ := body["extensions"].(map[string]any)
		if extensions["sequence"] != float64(i+1) || body["globalCloudID"] != cloudID {
			t.Errorf("notification %d = %v", i, body)
		}
	}
}

// await waits until exactly these events came on a path.
func (r *receiver) await(t *testing.T, path, want string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for len(r.events(path)) < len(want) {
		select {
		case <-deadline:
			t.Fatalf("%s was told %q, want %q", path, r.events(path), want)
		case <-r.news:
		}
	}
	if got := r.events(path); got != want {
		t.Errorf("%s was told %q, want %q", path, got, want)
	}
}

// happen stores a record with events.
func happen(t *testing.T, s *store.Store, r Record, events ...EventType) {
	t.Helper()
	b := newBatch(r.Cluster)
	if err := b.read(t.Context(), s, []uuid.UUID{r.ID}); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		b.put(r, Event{Tell: true, Type: e})
	}
	if err := s.WriteAlarms(t.Context(), b.write()); err != nil {
		t.Fatal(err)
	}
}

// TestServiceKnowsItsEvents: words and numbers of events agree with the standard's.
func TestServiceKnowsItsEvents(t *testing.T) {
	s := Service([]string{"v2"}, func() string { return "" })
	if s.Name != "monitoring" || !slices.Equal(s.EventTypes, []int{0, 1, 2, 3}) {
		t.Errorf("service %q with events %v", s.Name, s.EventTypes)
	}
	for word, number := range map[string]EventType{"NEW": 0, "CHANGE": 1, "CLEAR": 2, "ACKNOWLEDGE": 3} {
		if s.EventNames[word] != int(number) {
			t.Errorf("%s is %d, want %d", word, s.EventNames[word], number)
		}
	}
	if s.Kinds("v9") != nil {
		t.Error("a version that there is not has kinds")
	}
}
