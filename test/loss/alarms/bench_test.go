package alarms

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/report"
)

// These benchmarks run managers and agents as processes, with etcd and Redis that wait for
// the disk, in the settings that they have in production. What they found is in
// test/bench/alarms/RESULTS.md. Each is one measurement: run them with -benchtime 1x.

// callbacks is an SMO that notes when it heard of each alert first.
type callbacks struct {
	url string

	mu    sync.Mutex
	heard map[string]time.Time // by label alert, and path
	last  time.Time
	count int
	more  chan struct{}
}

func newCallbacks(b *testing.B) *callbacks {
	b.Helper()
	c := &callbacks{heard: make(map[string]time.Time), more: make(chan struct{}, 1)}
	server := httptest.NewServer(c)
	b.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// ServeHTTP takes a notification.
func (c *callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var n record
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	c.mu.Lock()
	c.heard[n.Extensions.Labels["alert"]+r.URL.Path] = at
	c.count++
	c.last = at
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// wait returns when n notifications have come, and when the last of them did.
func (c *callbacks) wait(ctx context.Context, n int) (time.Time, error) {
	for {
		c.mu.Lock()
		count, last := c.count, c.last
		c.mu.Unlock()
		if count >= n {
			return last, nil
		}
		select {
		case <-c.more:
		case <-ctx.Done():
			return last, fmt.Errorf("%d of %d notifications: %w", count, n, ctx.Err())
		}
	}
}

func (c *callbacks) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count = 0
}

func benchWorld(b *testing.B, spokes int) *world {
	b.Helper()
	return newWorld(b.Context(), b, settings{managers: 2, spokes: spokes, sync: true})
}

// BenchmarkIsolatedAlert sends alerts one at a time, so far apart that nothing is under way
// any more, and measures from the POST to an intake to its answer and to the callback.
func BenchmarkIsolatedAlert(b *testing.B) {
	const alerts = 60
	w := benchWorld(b, clusters)
	smo := newCallbacks(b)
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	if err := w.subscribe(ctx, &subscriber{name: "bench", version: "v2", url: smo.url + "/bench"}); err != nil {
		b.Fatal(err)
	}
	if err := w.ready(ctx); err != nil {
		b.Fatal(err)
	}
	sender := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // who answers is not the question here
	var posts, callbacks []time.Duration
	random := rand.New(rand.NewPCG(1, 1))
	for i := range alerts + clusters { // the first of each managed cluster opens connections
		a := &alert{spoke: w.spokes[i%clusters], name: fmt.Sprintf("isolated-%d", i), severity: "major", open: true, starts: time.Now().UTC()}
		m := webhook([]*alert{a})
		began := time.Now()
		if err := post(ctx, sender, m, random); err != nil {
			b.Fatal(err)
		}
		answered := time.Now()
		heard, err := smo.wait(ctx, i+1)
		if err != nil {
			b.Fatalf("%v\n%s", err, w.logs(20))
		}
		if i >= clusters {
			posts, callbacks = append(posts, answered.Sub(began)), append(callbacks, heard.Sub(began))
		}
		if err := wait(ctx, 2*time.Second); err != nil { // a third of what passes between two of one cluster
			b.Fatal(err)
		}
	}
	measured(b, "post", posts)
	measured(b, "callback", callbacks)
	b.ReportMetric(loadAverage(), "load")
}

func post(ctx context.Context, sender *http.Client, m message, random *rand.Rand) error {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.to.door(random)+webhookPath, strings.NewReader(string(m.body)))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+m.to.token)
		answer, err := sender.Do(request)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%s: %w", answer.Status, err)
		}
	}
}

func measured(b *testing.B, what string, took []time.Duration) {
	slices.Sort(took)
	ms := func(q float64) float64 {
		return float64(took[min(len(took)-1, int(q*float64(len(took))))].Microseconds()) / 1000
	}
	b.ReportMetric(ms(0.5), what+"-p50-ms")
	b.ReportMetric(ms(0.99), what+"-p99-ms")
	b.ReportMetric(ms(1), what+"-max-ms")
}

// BenchmarkStorm has 500 managed clusters report twenty alerts each at once.
func BenchmarkStorm(b *testing.B) {
	const fleet, each = 500, 20
	w := benchWorld(b, 0)
	smo := newCallbacks(b)
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	if err := w.subscribe(ctx, &subscriber{name: "bench", version: "v2", url: smo.url + "/bench"}); err != nil {
		b.Fatal(err)
	}
	hub := w.env.Hub.Client()
	attach(ctx, b, hub, fleet)
	encoder, err := report.NewAlertsEncoder()
	if err != nil {
		b.Fatal(err)
	}
	reports := make([]report.Update, fleet)
	for i := range reports {
		encoded, err := encoder.Encode(storm(clusterName(i), each))
		if err != nil {
			b.Fatal(err)
		}
		reports[i] = encoder.Compose(nil, report.Stamp{Epoch: uuid.NewString(), Now: time.Now()}, encoded)
	}
	if err := wait(ctx, 10*time.Second); err != nil { // what the fleet has made the managers do
		b.Fatal(err)
	}
	before := w.etcdFigures(b)
	began := time.Now()
	var writers errgroup.Group
	writers.SetLimit(32)
	for i := range reports {
		writers.Go(func() error {
			object := client.ApplyConfigurationFromUnstructured(report.ApplyObject(clusterName(i), reports[i].Entries))
			return hub.Status().Apply(ctx, object, client.FieldOwner(report.FieldManagerAlerts), client.ForceOwnership)
		})
	}
	if err := writers.Wait(); err != nil {
		b.Fatal(err)
	}
	written := time.Since(began)
	last, err := smo.wait(ctx, fleet*each)
	if err != nil {
		b.Fatalf("%v\n%s", err, w.logs(20))
	}
	for {
		if open, err := w.unconfirmed(ctx, fleet); err != nil {
			b.Fatal(err)
		} else if open == 0 {
			break
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			b.Fatal(err)
		}
	}
	confirmed := time.Since(began)
	after := w.etcdFigures(b)
	b.ReportMetric(written.Seconds(), "written-s")
	b.ReportMetric(last.Sub(began).Seconds(), "last-callback-s")
	b.ReportMetric(confirmed.Seconds(), "confirmed-s")
	b.ReportMetric(fleet*each/last.Sub(began).Seconds(), "alarms/s")
	b.ReportMetric(after["etcd_mvcc_put_total"]-before["etcd_mvcc_put_total"], "etcd-puts")
	b.ReportMetric(after["etcd_disk_wal_fsync_duration_seconds_count"]-before["etcd_disk_wal_fsync_duration_seconds_count"], "etcd-fsyncs")
	b.ReportMetric(w.peakMiB(b), "manager-peak-MiB")
	b.ReportMetric(loadAverage(), "load")
}

func clusterName(i int) string { return fmt.Sprintf("storm-%03d", i) }

// attach makes managed clusters with the add-on.
func attach(ctx context.Context, b *testing.B, hub client.Client, fleet int) {
	b.Helper()
	var writers errgroup.Group
	writers.SetLimit(16)
	for i := range fleet {
		writers.Go(func() error {
			name := clusterName(i)
			for _, object := range []client.Object{
				&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
				&clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}},
				&addonv1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Name: report.AddOnName, Namespace: name}},
			} {
				if err := hub.Create(ctx, object); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		b.Fatal(err)
	}
}

// storm is the journal of a managed cluster on which some alerts have just fired.
func storm(cluster string, alerts int) report.Journal {
	j := report.Journal{End: uint64(alerts), Rules: report.RulesUnknown, Alerts: report.Alerts{Cluster: cluster}}
	now := time.Now().UnixMilli()
	for i := range alerts {
		j.Alerts.Texts = append(j.Alerts.Texts, report.AlertText{
			Labels: map[string]string{
				"alertname": fmt.Sprintf("Storm%d", i), "alert": fmt.Sprintf("%s-%d", cluster, i), "severity": "critical", "node": cluster + "-0",
				"namespace": "openshift-monitoring", "job": "node-exporter", "instance": "10.0.0.1:9100", "prometheus": "openshift-monitoring/k8s",
			},
			Annotations:  map[string]string{"summary": "Something is not as it should be.", "description": strings.Repeat("What it is, and where. ", 6)},
			GeneratorURL: "https://prometheus.example.net/graph?g0.expr=up&g0.tab=1",
		})
		episode := report.Episode{Fingerprint: fmt.Sprintf("%016x", i), Starts: now}
		j.Alerts.Transitions = append(j.Alerts.Transitions, report.Transition{
			Type: report.Fired, Seq: uint64(i + 1), Observed: now, Via: "webhook", Text: i, Episode: episode,
		})
		j.Alerts.Active.Alerts = append(j.Alerts.Active.Alerts, report.OpenAlert{Opened: uint64(i + 1), Text: i, Episode: episode})
	}
	return j
}

// unconfirmed counts the reports that the hub has not answered.
func (w *world) unconfirmed(ctx context.Context, fleet int) (int, error) {
	var addons addonv1beta1.ManagedClusterAddOnList
	if err := w.env.Hub.Client().List(ctx, &addons); err != nil {
		return 0, err
	}
	confirmed := 0
	for i := range addons.Items {
		conditions := addons.Items[i].Status.Conditions
		head, reported := report.FindAlertsHead(conditions)
		answer, answered := report.FindAlertsIngested(conditions)
		if reported && answered && answer.Seq == head.End {
			confirmed++
		}
	}
	return fleet - confirmed, nil
}

// etcdFigures reads the metrics of etcd that have no labels.
func (w *world) etcdFigures(b *testing.B) map[string]float64 {
	b.Helper()
	answer, err := http.Get(w.env.EtcdURL() + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	figures := make(map[string]float64)
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var name string
		var value float64
		if n, err := fmt.Sscan(lines.Text(), &name, &value); n == 2 && err == nil {
			figures[name] = value
		}
	}
	return figures
}

// peakMiB is the most memory that one of the managers has had.
func (w *world) peakMiB(b *testing.B) float64 {
	b.Helper()
	most := 0
	for _, u := range w.replicas {
		u.mu.Lock()
		pid := u.cmd.Process.Pid
		u.mu.Unlock()
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "VmHWM:")
		kib := 0
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			b.Fatal(err)
		}
		most = max(most, kib)
	}
	return float64(most) / 1024
}

// BenchmarkManySubscribers sends isolated alerts to a thousand subscriptions, ten of them
// with callbacks that accept connections and say nothing.
func BenchmarkManySubscribers(b *testing.B) {
	const all, silent, alerts = 1000, 10, 15
	w := benchWorld(b, 1)
	smo := newCallbacks(b)
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	nobody := hanging(b)
	for i := range all {
		url := fmt.Sprintf("%s/%d", smo.url, i)
		if i < silent {
			url = fmt.Sprintf("%s/%d", nobody, i)
		}
		if err := w.subscribe(ctx, &subscriber{name: "bench", version: "v2", url: url}); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.ready(ctx); err != nil {
		b.Fatal(err)
	}
	sender := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // who answers is not the question here
	random := rand.New(rand.NewPCG(1, 1))
	var first, last []time.Duration
	for i := range alerts + 1 { // the first opens connections
		smo.reset()
		a := &alert{spoke: w.spokes[0], name: fmt.Sprintf("many-%d", i), severity: "major", open: true, starts: time.Now().UTC()}
		m := webhook([]*alert{a})
		began := time.Now()
		if err := post(ctx, sender, m, random); err != nil {
			b.Fatal(err)
		}
		one, err := smo.wait(ctx, 1)
		if err != nil {
			b.Fatal(err)
		}
		heard, err := smo.wait(ctx, all-silent)
		if err != nil {
			b.Fatalf("%v\n%s", err, w.logs(20))
		}
		if i > 0 {
			first, last = append(first, one.Sub(began)), append(last, heard.Sub(began))
		}
		if err := wait(ctx, 6*time.Second); err != nil {
			b.Fatal(err)
		}
	}
	measured(b, "first", first)
	measured(b, "last-of-990", last)
	b.ReportMetric(w.peakMiB(b), "manager-peak-MiB")
	b.ReportMetric(loadAverage(), "load")
}

// hanging returns the URL of a server that accepts connections and says nothing.
func hanging(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	return "http://" + l.Addr().String()
}

// loadAverage is how many processes want one of the machine's cores, over a minute.
func loadAverage() float64 {
	var load float64
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &load) // 0: nobody knows
	}
	return load
}
