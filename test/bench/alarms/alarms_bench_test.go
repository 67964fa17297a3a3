package alarms

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/test/redisserver"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(m.Run())
}

const (
	history  = 100_000
	clusters = 500
)

// began is when the first record was raised; then comes one every ten seconds.
var began = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)

func record(n int) alarm.Record {
	at := began.Add(time.Duration(n) * 10 * time.Second)
	r := alarm.Record{
		ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, n)), Cluster: fmt.Sprintf("edge-%03d", n%clusters), Fingerprint: fmt.Sprintf("%016x", n),
		ObjectClass: "oran.o2ims.cluster.ClusterResource", Severity: alarm.Severity(n % 5), Raised: at, Changed: at, Received: at.Add(time.Second), Version: 1, Via: "webhook",
		ObjectTypeID: uuid.NewSHA1(uuid.NameSpaceURL, fmt.Append(nil, n%40)), ObjectID: uuid.NewSHA1(uuid.NameSpaceURL, fmt.Append(nil, 1000+n%1500)),
		DefinitionID: uuid.NewSHA1(uuid.NameSpaceURL, fmt.Append(nil, 5000+n%200)), ProbableCauseID: uuid.NewSHA1(uuid.NameSpaceURL, fmt.Append(nil, 9000+n%60)),
		Labels: map[string]string{
			"alertname": fmt.Sprintf("Alert%d", n%200), "severity": "warning", "node": fmt.Sprintf("edge-%03d-w%d", n%clusters, n%3), "namespace": "openshift-monitoring",
			"instance": fmt.Sprintf("10.0.%d.%d:9100", n%250, n%200), "job": "node-exporter", "prometheus": "openshift-monitoring/k8s",
		},
		Annotations:  map[string]string{"summary": "Something is not as it should be.", "description": strings.Repeat("What it is, and where, in a sentence or two. ", 4)},
		GeneratorURL: "https://prometheus.example.net/graph?g0.expr=up&g0.tab=1",
	}
	if n%10 != 0 {
		r.Cleared, r.ClearedBy = at.Add(5*time.Minute), alarm.ClearedByAlert
	}
	return r
}

// fill stores the history in batches, as intakes do.
func fill(b *testing.B, db *store.Store) {
	b.Helper()
	byCluster := make([][]store.AlarmWrite, clusters)
	for n := range history {
		r := record(n)
		document, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		after := store.AlarmState{Cleared: r.Cleared}
		if r.Active() {
			after = store.AlarmState{Open: &store.OpenAlarm{Origin: store.FromAgent, Fingerprint: r.Fingerprint, Starts: r.Raised.UnixMilli(), ID: r.ID}}
		}
		byCluster[n%clusters] = append(byCluster[n%clusters], store.AlarmWrite{ID: r.ID, Version: 1, Raised: r.Raised, After: after, Document: document})
	}
	for n, writes := range byCluster {
		for part := range slices.Chunk(writes, 200) {
			if err := db.WriteAlarms(context.Background(), store.AlarmBatch{Cluster: fmt.Sprintf("edge-%03d", n), Writes: part}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// newAPI returns the API over the history.
func newAPI(b *testing.B) http.Handler {
	b.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		b.Skip("apt-get install redis-server")
	}
	server, err := redisserver.Start(context.Background(), redisserver.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	db, err := store.Open(store.Options{URL: server.URL(), Timeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	if err := db.Prepare(context.Background()); err != nil {
		b.Fatal(err)
	}
	fill(b, db)
	router := mux.NewRouter()
	alarm.NewAPI(alarm.APIOptions{Versions: []string{"v1", "v2"}}, alarm.Parts{
		Records: alarm.NewRedisRecords(db, alarm.Configuration{RetentionDays: 1}), Store: db,
		Pager:   rest.NewPager(rest.PagingOptions{Size: 10_000}, make([]byte, rest.MarkerKeyBytes)),
		BaseURL: "https://o2ims.example.net", GlobalCloudID: func() string { return "" }, Now: time.Now,
	}).Routes(router)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { router.ServeHTTP(w, rest.Normalize(r)) })
}

// sink counts what it is sent.
type sink struct {
	header http.Header
	status int
	bytes  int
}

func (s *sink) Header() http.Header  { return s.header }
func (s *sink) WriteHeader(code int) { s.status = code }
func (s *sink) Write(p []byte) (int, error) {
	s.bytes += len(p)
	return len(p), nil
}

// BenchmarkAlarms asks for parts of a history of 100,000 records.
func BenchmarkAlarms(b *testing.B) {
	api := newAPI(b)
	at := func(n int) string { return began.Add(time.Duration(n) * 10 * time.Second).Format(time.RFC3339) }
	for _, c := range []struct{ name, query string }{
		{"list-first-page-of-10000", ""},
		{"list-without-extensions", "?exclude_fields=extensions"},
		{"one-by-id", "?filter=(eq,alarmEventRecordId," + record(54_321).ID.String() + ")"},
		{"last-hour", "?filter=(gte,alarmRaisedTime," + at(history-360) + ")"},
		{"one-cluster-of-500", "?filter=(eq,extensions/cluster,edge-123)"},
		{"one-object-active", "?filter=(eq,objectId," + record(123).ObjectID.String() + ");(neq,perceivedSeverity,5)"},
		{"by-label", "?filter=(eq,extensions/labels/alertname,Alert42)"},
		{"active", "?filter=(eq,alarmClearedTime,null)"},
		{"none", "?filter=(cont,extensions/annotations/summary,nowhere)"},
	} {
		b.Run(c.name, func(b *testing.B) {
			var answer sink
			took := make([]time.Duration, 0, 64)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				answer = sink{header: http.Header{}, status: http.StatusOK}
				began := time.Now()
				api.ServeHTTP(&answer, httptest.NewRequest(http.MethodGet, alarm.BasePath+"/v2/alarms"+c.query, nil))
				took = append(took, time.Since(began))
				if answer.status != http.StatusOK {
					b.Fatalf("GET %s = %d", c.query, answer.status)
				}
			}
			runtime.ReadMemStats(&after)
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
			b.ReportMetric(float64(answer.bytes)/1024, "answer-KiB")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(len(took))/(1<<20), "alloc-MiB/op")
		})
	}
}
