package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
	"github.com/o2ims/o2ims/test/alerting"
)

// recipe is a YAML block of docs/alertmanager.md, by the name in the comment before it.
func recipe(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/alertmanager.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "<!-- "+name+" -->\n```yaml\n")
	block, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatalf("docs/alertmanager.md has no block %s", name)
	}
	return block
}

// real is a running Intake with what senders need.
type real struct {
	*running
	book      *notebook
	caFile    string
	tokenFile string
}

func newReal(t *testing.T, o Options, p Parts) *real {
	t.Helper()
	if testing.Short() {
		t.Skip("runs Alertmanager or Prometheus")
	}
	r := &real{book: &notebook{}, caFile: filepath.Join(t.TempDir(), "ca.crt"), tokenFile: filepath.Join(t.TempDir(), "token")}
	p.Recorder, p.Client = r.book, cluster(t)
	o.Senders = []string{"monitoring/alertmanager-main"}
	r.running = serving(t, o, p)
	for name, text := range map[string]string{r.caFile: string(r.ca), r.tokenFile: sender} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// adapt puts our addresses and files in place of those in a recipe.
func (r *real) adapt(recipe string) string {
	host := strings.TrimPrefix(r.url, "https://")
	return strings.NewReplacer(
		"o2ims-alerts.open-cluster-management-agent-addon.svc:443", host,
		"o2ims-alerts.open-cluster-management-agent-addon.svc", host,
		"/var/run/secrets/kubernetes.io/serviceaccount/token", r.tokenFile,
		"/etc/alertmanager/o2ims/ca.crt", r.caFile,
		"/etc/prometheus/o2ims/ca.crt", r.caFile,
	).Replace(recipe)
}

func started(t *testing.T, s *alerting.Server, err error) *alerting.Server {
	t.Helper()
	if errors.Is(err, alerting.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Log(s.Log())
		}
	})
	return s
}

// fingerprintsOf are those that an Alertmanager gives its alerts, by alertname.
func fingerprintsOf(t *testing.T, s *alerting.Server) map[string]string {
	t.Helper()
	response, err := http.Get(s.URL + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var list []struct {
		Fingerprint string
		Labels      map[string]string
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, a := range list {
		all[a.Labels["alertname"]] = a.Fingerprint
	}
	return all
}

func (n *notebook) count(via, name string, over bool) int {
	count := 0
	for _, a := range n.alerts(via) {
		if a.Labels["alertname"] == name && a.Ends.IsZero() != over {
			count++
		}
	}
	return count
}

// TestRealAlertmanager lets an Alertmanager with the configuration from our documentation
// tell of an alert, and polls it across silences and a restart.
func TestRealAlertmanager(t *testing.T) {
	r := newReal(t, Options{}, Parts{})
	config := r.adapt(recipe(t, "alertmanager.yml"))
	if got := (alerting.Receiver{URL: r.url + WebhookPath, CAFile: r.caFile, TokenFile: r.tokenFile}).Config(); got != config {
		t.Errorf("package alerting configures\n%s\nand the documentation\n%s", got, config)
	}
	s, err := alerting.StartAlertmanager(t.Context(), t.TempDir(), config)
	am := started(t, s, err)
	amtool := func(args ...string) string {
		t.Helper()
		out, err := alerting.Amtool(t.Context(), am, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}

	amtool("alert", "add", "Fan", "node=worker-1", "severity=major", "note=Lüfter 2 — ausgefallen", "--annotation=summary=It stopped")
	eventually(t, "the webhook", func() bool { return r.book.count(alert.ViaWebhook, "Fan", false) > 0 })
	heard := r.book.alerts(alert.ViaWebhook)[0]
	if heard.Annotations["summary"] != "It stopped" || heard.Starts.IsZero() {
		t.Errorf("heard %+v", heard)
	}
	if got, want := alert.Fingerprint(heard.Labels), fingerprintsOf(t, am)["Fan"]; got != want {
		t.Errorf("fingerprint %s, Alertmanager has %s", got, want)
	}

	// what a poller hears, with its clock in our hands
	e, err := wire.NewEndpoint(am.URL, "", "")
	if err != nil {
		t.Fatal(err)
	}
	ahead := time.Duration(0)
	p := &poller{recorder: r.book, alertmanagers: []alertmanager{{e}}, now: func() time.Time { return time.Now().Add(ahead) }}
	poll := func() {
		t.Helper()
		if err := p.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	poll()
	polled := r.book.alerts(alert.ViaPoll)
	if len(polled) != 1 || alert.Fingerprint(polled[0].Labels) != alert.Fingerprint(heard.Labels) || polled[0].Suppressed {
		t.Fatalf("polled %+v", polled)
	}
	amtool("silence", "add", "alertname=Fan", "--comment=x", "--author=y", "--duration=10m")
	eventually(t, "the silence", func() bool {
		poll()
		polled := r.book.alerts(alert.ViaPoll)
		return polled[len(polled)-1].Suppressed
	})

	// an Alertmanager that restarts has forgotten the alert; that does not end it
	am.Kill()
	if err := am.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(fingerprintsOf(t, am)) != 0 {
		t.Fatal("Alertmanager remembers its alerts: this test tests nothing")
	}
	for range 3 {
		poll()
	}
	if r.book.count(alert.ViaPoll, "Fan", true) != 0 {
		t.Fatal("a restart of Alertmanager ended an alert")
	}

	// another one ends, and its end is told
	amtool("alert", "add", "Power", "node=worker-1")
	eventually(t, "another webhook", func() bool { return r.book.count(alert.ViaWebhook, "Power", false) > 0 })
	amtool("alert", "add", "Power", "node=worker-1", "--end="+time.Now().Format(time.RFC3339))
	eventually(t, "its end", func() bool { return r.book.count(alert.ViaWebhook, "Power", true) > 0 })
}

// TestRealPollAfterLongAbsence polls a real Alertmanager whose alert ended unheard.
func TestRealPollEndsWhatEndedUnheard(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Alertmanager")
	}
	s, err := alerting.StartAlertmanager(t.Context(), t.TempDir(), "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
	am := started(t, s, err)
	e, err := wire.NewEndpoint(am.URL, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var book notebook
	p := &poller{recorder: &book, alertmanagers: []alertmanager{{e}}, now: time.Now}
	if _, err := alerting.Amtool(t.Context(), am, "alert", "add", "Short", "--end="+time.Now().Add(3*time.Second).UTC().Format(time.RFC3339)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the poll lists it", func() bool {
		if err := p.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(book.Open()) == 1
	})
	eventually(t, "absence ends it", func() bool {
		if err := p.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		return book.count(alert.ViaPoll, "Short", true) == 1
	})
}

const rulesFile = `groups:
- name: hardware
  interval: 1s
  rules:
  - alert: Heat
    expr: vector(%d) > 1
    labels: {severity: "major", prometheus_replica: ""}
    annotations: {summary: "too hot"}
  - alert: Secret
    expr: vector(2) > 1
    labels: {severity: none}
`

// TestRealFingerprintsAgree has one alert of a Prometheus with external labels and
// relabelling arrive in all four ways.
func TestRealFingerprintsAgree(t *testing.T) {
	r := newReal(t, Options{}, Parts{})
	s, err := alerting.StartAlertmanager(t.Context(), t.TempDir(), r.adapt(recipe(t, "alertmanager.yml")))
	am := started(t, s, err)

	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.yml")
	heat := func(degrees int) {
		if err := os.WriteFile(rules, fmt.Appendf(nil, rulesFile, degrees), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	heat(0)
	config := `global:
  evaluation_interval: 1s
  external_labels: {cluster: edge-1, prometheus_replica: r-0, severity: never}
rule_files: [rules.yml]
` + r.adapt(recipe(t, "prometheus.yml")) + `  - static_configs:
    - targets: ['` + strings.TrimPrefix(am.URL, "http://") + `']
  alert_relabel_configs:
  - regex: prometheus_replica
    action: labeldrop
  - source_labels: [severity]
    regex: none
    action: drop
  - source_labels: [cluster, severity]
    separator: /
    regex: (.+)/(.+)
    target_label: where
    replacement: $1:$2
`
	s, err = alerting.StartPrometheus(t.Context(), dir, config, "--rules.alert.resend-delay=1s")
	prom := started(t, s, err)
	e, err := wire.NewEndpoint(prom.URL, "", "")
	if err != nil {
		t.Fatal(err)
	}
	asked := prometheus{e}
	eventually(t, "Prometheus keeps series of alerts", func() bool { // not in the first evaluations after its start
		kept := false
		err := asked.firing(t.Context(), time.Now().Add(-time.Second), time.Now(), time.Second, func(labels map[string]string, _ []point) error {
			kept = labels["alertname"] == "Secret"
			return nil
		})
		return err == nil && kept
	})
	heat(2)
	if err := prom.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "webhook and push", func() bool {
		return r.book.count(alert.ViaWebhook, "Heat", false) > 0 && r.book.count(alert.ViaPush, "Heat", false) > 0
	})
	if e, err = wire.NewEndpoint(am.URL, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := (&poller{recorder: r.book, alertmanagers: []alertmanager{{e}}, now: time.Now}).poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	heat(0)
	if err := prom.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end is pushed", func() bool { return r.book.count(alert.ViaPush, "Heat", true) > 0 })

	missed := &notebook{}
	b := &backfiller{prometheus: asked, recorder: missed, now: time.Now}
	if _, err := b.fill(t.Context(), time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	found := missed.alerts(alert.ViaBackfill)
	if len(found) != 1 || found[0].Ends.IsZero() {
		t.Fatalf("backfill found %+v, want one episode of Heat", found)
	}

	want := fingerprintsOf(t, am)["Heat"]
	if want == "" { // it has ended there, too
		want = alert.Fingerprint(map[string]string{"alertname": "Heat", "cluster": "edge-1", "severity": "major", "where": "edge-1:major"})
	}
	seen := map[string]string{alert.ViaBackfill: alert.Fingerprint(found[0].Labels)}
	for _, via := range []string{alert.ViaWebhook, alert.ViaPush, alert.ViaPoll} {
		for _, a := range r.book.alerts(via) {
			if name := a.Labels["alertname"]; name != "Heat" {
				t.Errorf("%s: %s was not dropped", via, name)
				continue
			}
			seen[via] = alert.Fingerprint(a.Labels)
			if seen[via] != want {
				t.Errorf("%s: labels %v", via, a.Labels)
			}
		}
	}
	if len(seen) != 4 || seen[alert.ViaBackfill] != want {
		t.Errorf("fingerprints %v, want %s of all (backfill: %v)", seen, want, found[0].Labels)
	}
	// the beginning agrees to the millisecond, so that all tell of one episode
	starts := map[string]time.Time{alert.ViaBackfill: found[0].Starts.Truncate(time.Millisecond)}
	for _, via := range []string{alert.ViaWebhook, alert.ViaPush, alert.ViaPoll} {
		starts[via] = r.book.alerts(via)[0].Starts.Truncate(time.Millisecond)
	}
	for via, begin := range starts {
		if !begin.Equal(starts[alert.ViaPush]) {
			t.Errorf("beginnings %v: that of %s differs", starts, via)
		}
	}
}
