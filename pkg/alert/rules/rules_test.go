package rules

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/test/alerting"
)

var _ alert.Rules = &Collector{}

const objectText = `
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: %s, namespace: monitoring}
spec:
  groups:
  - name: node
    interval: 30s
    rules:
    - record: instance:load
      expr: node_load1
    - alert: NodeDown
      expr: up{job="node"} == 0
      for: 60s
      labels: {severity: critical}
      annotations: {summary: Node is down}
    - alert: Watchdog
      expr: 1
      for: 0s
      labels: {severity: none}
`

func declared(t *testing.T, name, text string) *unstructured.Unstructured {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal(fmt.Appendf(nil, text, name), &object); err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: object}
}

func spoke(objects ...runtime.Object) *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{prometheusRules: "PrometheusRuleList"}, objects...)
}

func endpoint(t *testing.T, url string) *wire.Endpoint {
	t.Helper()
	e, err := wire.NewEndpoint(url, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func loaded(t *testing.T, answer func() (int, string)) *wire.Endpoint {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status, body := answer()
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return endpoint(t, server.URL)
}

func TestObjects(t *testing.T) {
	c := NewCollector(nil, spoke(declared(t, "a", objectText), declared(t, "b", objectText), declared(t, "bad", "{metadata: {name: %s, namespace: monitoring}, kind: PrometheusRule, apiVersion: monitoring.coreos.com/v1, spec: {groups: 7}}")))
	got, err := c.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []report.RuleGroup{{Name: "node", Rules: []report.AlertRule{
		{Alert: "NodeDown", Expr: `up{job="node"} == 0`, For: "1m", Labels: map[string]string{"severity": "critical"}, Annotations: map[string]string{"summary": "Node is down"}},
		{Alert: "Watchdog", Expr: "1", Labels: map[string]string{"severity": "none"}, Annotations: map[string]string{}},
	}}}
	if !reflect.DeepEqual(got.Groups, want) || got.Reduced != "" || len(got.Digest) != 64 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

const answer = `{"status":"success","data":{"groups":[{"name":"node","file":"/etc/x-%d.yaml","interval":30,"rules":[
	{"type":"alerting","name":"NodeDown","query":"up{job=\"node\"}  ==  0","duration":60,"labels":{"severity":"critical"},"annotations":{"summary":"Node is down"},"alerts":[{"labels":{}}],"health":"ok","state":"firing","lastEvaluation":"x"},
	{"type":"recording","name":"instance:load","query":"node_load1"}]},
	{"name":"disk","rules":[{"type":"alerting","name":"DiskFull","query":"1","duration":5400,"labels":{}}]}]}}`

// TestSourcesAreMerged has Prometheus and the objects tell of the same rules, printed
// differently.
func TestSourcesAreMerged(t *testing.T) {
	file := 1
	status := http.StatusOK
	c := NewCollector(loaded(t, func() (int, string) { return status, fmt.Sprintf(answer, file) }), spoke(declared(t, "a", objectText)))
	first, err := c.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range first.Groups {
		for _, r := range g.Rules {
			names = append(names, g.Name+"/"+r.Alert+" "+r.For)
		}
	}
	if got := strings.Join(names, ","); got != "disk/DiskFull 1h30m,node/NodeDown 1m,node/Watchdog " {
		t.Errorf("rules %s", got)
	}
	file = 2 // nothing of it concerns us
	if again, err := c.Collect(t.Context()); err != nil || again.Digest != first.Digest {
		t.Errorf("%s (%v), want %s", again.Digest, err, first.Digest)
	}
	status = http.StatusInternalServerError // nor does this take rules away
	if again, err := c.Collect(t.Context()); err != nil || again.Digest != first.Digest {
		t.Errorf("while Prometheus is away: %s (%v), want %s", again.Digest, err, first.Digest)
	}
}

func TestNoSources(t *testing.T) {
	failing := func(err error) dynamic.Interface {
		client := spoke()
		client.PrependReactor("list", "prometheusrules", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
		return client
	}
	kind := prometheusRules.GroupResource()
	for _, tc := range []struct {
		name    string
		objects dynamic.Interface
		want    error
	}{
		{"none", nil, nil},
		{"no such kind", failing(apierrors.NewNotFound(kind, "")), nil},
		{"may not", failing(apierrors.NewForbidden(kind, "", nil)), nil},
		{"apiserver away", failing(errors.New("refused")), fault.Unavailable},
	} {
		got, err := NewCollector(nil, tc.objects).Collect(t.Context())
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) || err == nil && string(got.Body) != "[]" {
			t.Errorf("%s: %q, %v, want %v", tc.name, got.Body, err, tc.want)
		}
	}
}

func TestOrderDoesNotCount(t *testing.T) {
	rule := func(name, expr string) report.AlertRule {
		return report.AlertRule{Alert: name, Expr: expr, Labels: map[string]string{"a": "b", "c": "d"}}
	}
	one, err := canonical([]report.RuleGroup{{Name: "x", Rules: []report.AlertRule{rule("A", "1"), rule("A", "2"), rule("B", "1")}}, {Name: "y", Rules: []report.AlertRule{rule("A", "1")}}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := canonical([]report.RuleGroup{{Name: "y", Rules: []report.AlertRule{rule("A", "1")}}, {Name: "x", Rules: []report.AlertRule{rule("B", "1"), rule("A", "2")}}, {Name: "x", Rules: []report.AlertRule{rule("A", "1"), rule("B", "1")}}})
	if err != nil {
		t.Fatal(err)
	}
	if one.Digest != other.Digest {
		t.Errorf("%s and %s", one.Body, other.Body)
	}
}

func TestSizeIsBounded(t *testing.T) {
	groups := func(n, text int, nothingButText bool) []report.RuleGroup {
		var all []report.RuleGroup
		for i := range n {
			r := report.AlertRule{Alert: fmt.Sprintf("A%05d", i), Expr: "1", Annotations: map[string]string{"summary": "s", "dashboard": strings.Repeat("é", text)}}
			if nothingButText {
				r.Alert += strings.Repeat("é", text)
			}
			all = append(all, report.RuleGroup{Name: fmt.Sprintf("g%05d", i), Rules: []report.AlertRule{r}})
		}
		return all
	}
	giant := report.RuleGroup{Name: "a"} // more than fits, before others
	for i := range 600 {
		giant.Rules = append(giant.Rules, report.AlertRule{Alert: fmt.Sprintf("A%05d", i) + strings.Repeat("é", 2000)})
	}
	for _, tc := range []struct {
		name    string
		groups  []report.RuleGroup
		reduced string
	}{
		{"one group is too large", append(groups(2, 1, false), giant), "1 groups"},
		{"fits", groups(100, 1000, false), ""},
		{"too many annotations", groups(1000, 1000, false), "annotations"},
		{"only some fit", groups(600, 2000, true), " groups"},
	} {
		got, err := canonical(tc.groups)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Body) > maxBodyBytes || len(got.Groups) == 0 || !strings.HasSuffix(got.Reduced, tc.reduced) || (got.Reduced == "") != (tc.reduced == "") {
			t.Errorf("%s: %d bytes, %d groups, reduced by %q", tc.name, len(got.Body), len(got.Groups), got.Reduced)
		}
		encoder, err := report.NewAlertsEncoder()
		if err != nil {
			t.Fatal(err)
		}
		if encoded, err := encoder.EncodeRules(got.Body); err != nil || encoded.Head().Parts == 0 || encoded.Head().SHA256 != got.Digest {
			t.Errorf("%s: does not fit into a report: %+v, %v", tc.name, encoded.Head(), err)
		}
	}
}

func TestRun(t *testing.T) {
	c := NewCollector(nil, spoke(declared(t, "a", objectText)))
	if _, err := c.Body(); c.Hash() != "" || !errors.Is(err, fault.Unavailable) {
		t.Errorf("before the first look: %q, %v", c.Hash(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed := make(chan string, 10)
	go c.Run(ctx, time.Millisecond, func() { changed <- c.Hash() })
	first := <-changed
	if body, err := c.Body(); err != nil || len(first) != 64 || !strings.Contains(string(body), "NodeDown") {
		t.Errorf("hash %q of %s, %v", first, body, err)
	}
	if err := c.objects.Resource(prometheusRules).Namespace("monitoring").Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if second := <-changed; second == first {
		t.Error("changed was called though nothing had")
	}
}

// TestRealPrometheus compares what a Prometheus says of rules with what the object that they
// are from says.
// TestRunAsksSoonAgain starts before Prometheus does: nobody waits a whole interval for it.
func TestRunAsksSoonAgain(t *testing.T) {
	asked := 0
	prometheus := loaded(t, func() (int, string) {
		if asked++; asked == 1 {
			return http.StatusServiceUnavailable, ""
		}
		return http.StatusOK, `{"status":"success","data":{"groups":[{"name":"node","rules":[{"type":"alerting","name":"NodeDown","query":"up == 0"}]}]}}`
	})
	changed := make(chan string, 10)
	c := NewCollector(prometheus, spoke(declared(t, "own", objectText)))
	go c.Run(t.Context(), time.Hour, func() { changed <- c.Hash() })
	if first, second := <-changed, <-changed; first == second {
		t.Errorf("rules %s twice, want those of Prometheus the second time", first)
	}
}

func TestRealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Prometheus")
	}
	object := declared(t, "a", objectText)
	spec, err := yaml.Marshal(object.Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yml"), spec, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := alerting.StartPrometheus(t.Context(), dir, "rule_files: [rules.yml]\n")
	if errors.Is(err, alerting.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	from := func(c *Collector) Rules {
		r, err := c.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	prometheus, objects := from(NewCollector(endpoint(t, s.URL), nil)), from(NewCollector(nil, spoke(object)))
	if prometheus.Digest != objects.Digest || len(prometheus.Groups) != 1 {
		t.Errorf("Prometheus says\n%s\nthe object\n%s", prometheus.Body, objects.Body)
	}
}
