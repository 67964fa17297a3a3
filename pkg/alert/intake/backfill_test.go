package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
	"github.com/o2ims/o2ims/pkg/fault"
)

func TestLabelling(t *testing.T) {
	for _, tc := range []struct {
		name, config string
		in, want     string // a=b,c=d; want "": dropped
	}{
		{"nothing", "{}", "a=1", "a=1"},
		{"external labels", "global: {external_labels: {cluster: c1, a: other}}", "a=1", "a=1,cluster=c1"},
		{"external label under an empty one", "global: {external_labels: {a: x}}", "a=,b=1", "a=x,b=1"},
		{"drop a replica label", "global: {external_labels: {replica: r0}}\nalerting: {alert_relabel_configs: [{regex: replica, action: labeldrop}]}", "a=1", "a=1"},
		{"replace with defaults", "alerting: {alert_relabel_configs: [{source_labels: [a], target_label: b}]}", "a=1", "a=1,b=1"},
		{"replace with groups", `alerting: {alert_relabel_configs: [{source_labels: [a, b], separator: "-", regex: "(.*)-(.*)", target_label: "x_$1", replacement: "${2}y"}]}`, "a=1,b=2", "a=1,b=2,x_1=2y"},
		{"replace anchored", "alerting: {alert_relabel_configs: [{source_labels: [a], regex: '1', target_label: b}]}", "a=11", "a=11"},
		{"replace by nothing", "alerting: {alert_relabel_configs: [{source_labels: [a], target_label: a, replacement: ''}]}", "a=1,b=2", "b=2"},
		{"drop", "alerting: {alert_relabel_configs: [{source_labels: [severity], regex: none|info, action: drop}]}", "severity=none", ""},
		{"not dropped", "alerting: {alert_relabel_configs: [{source_labels: [severity], regex: none|info, action: drop}]}", "severity=major", "severity=major"},
		{"keep", "alerting: {alert_relabel_configs: [{source_labels: [a], regex: '2', action: Keep}]}", "a=1", ""},
		{"keepequal", "alerting: {alert_relabel_configs: [{source_labels: [a], target_label: b, action: keepequal}]}", "a=1,b=1", "a=1,b=1"},
		{"dropequal", "alerting: {alert_relabel_configs: [{source_labels: [a], target_label: b, action: dropequal}]}", "a=1,b=1", ""},
		{"labelkeep", "alerting: {alert_relabel_configs: [{regex: a, action: labelkeep}]}", "a=1,b=1", "a=1"},
		{"labelmap", "alerting: {alert_relabel_configs: [{regex: 'x_(.+)', action: labelmap}]}", "x_a=1", "x_a=1,a=1"},
		{"lowercase", "alerting: {alert_relabel_configs: [{source_labels: [a], target_label: a, action: lowercase}]}", "a=AB", "a=ab"},
		{"uppercase", "alerting: {alert_relabel_configs: [{source_labels: [a], target_label: b, action: uppercase}]}", "a=ab", "a=ab,b=AB"},
		{"hashmod", "alerting: {alert_relabel_configs: [{source_labels: [a], target_label: b, modulus: 1000, action: hashmod}]}", "a=foo", "a=foo,b=696"},
		{"in order", "alerting: {alert_relabel_configs: [{source_labels: [a], target_label: b}, {regex: a, action: labeldrop}]}", "a=1", "b=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := parseLabelling([]byte(tc.config))
			if err != nil {
				t.Fatal(err)
			}
			in, want := labelsOf(tc.in), labelsOf(tc.want)
			got, sent := l.apply(in)
			if sent != (tc.want != "") || sent && !reflect.DeepEqual(got, want) {
				t.Errorf("apply(%s) = %v, %t, want %v", tc.in, got, sent, want)
			}
			if !reflect.DeepEqual(in, labelsOf(tc.in)) {
				t.Error("the labels that came in were changed")
			}
		})
	}
	for _, bad := range []string{"global: [", "alerting: {alert_relabel_configs: [{regex: '('}]}"} {
		if _, err := parseLabelling([]byte(bad)); !errors.Is(err, fault.Invalid) {
			t.Errorf("parseLabelling(%q) = %v, want %v", bad, err, fault.Invalid)
		}
	}
}

func labelsOf(text string) map[string]string {
	labels := make(map[string]string)
	for _, pair := range strings.Split(text, ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			labels[name] = value
		}
	}
	return labels
}

// fakePrometheus evaluates one rule every 15 s, at :07 of each; its alerts fire in the given
// spans of seconds.
type fakePrometheus struct {
	fires   map[string][][2]int
	config  string
	largest int // of points in an answer; beyond it, the answer does not end
	asked   int
}

func (f *fakePrometheus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api/v1/status/config" {
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]string{"yaml": f.config}})
		return
	}
	if r.URL.Path == "/api/v1/rules" {
		fmt.Fprint(w, `{"status":"success","data":{"groups":[{"name":"a","interval":60,"rules":[]},{"name":"b","interval":15,"rules":[]}]}}`)
		return
	}
	f.asked++
	q := r.URL.Query()
	number := func(key string) float64 {
		v, err := strconv.ParseFloat(q.Get(key), 64)
		if err != nil || q.Get("query") != firingQuery {
			http.Error(w, "bad query", http.StatusBadRequest)
		}
		return v
	}
	var series []string
	for name, spans := range f.fires {
		var values []string
		for at := number("start"); at <= number("end"); at += number("step") {
			sample := evaluated(int(at) - int(noon.Unix()))
			for _, s := range spans {
				if s[0] <= sample && sample < s[1] {
					values = append(values, fmt.Sprintf(`[%.3f,"%d"]`, at, int(noon.Unix())+sample))
				}
			}
		}
		if f.largest > 0 && len(values) > f.largest {
			for chunk := strings.Repeat(" ", 1<<20); ; {
				if _, err := fmt.Fprint(w, chunk); err != nil {
					return
				}
			}
		}
		if len(values) > 0 {
			series = append(series, fmt.Sprintf(`{"metric":{"alertname":%q,"alertstate":"firing","__name__":"x"},"values":[%s]}`, name, strings.Join(values, ",")))
		}
	}
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]},"warnings":[]}`, strings.Join(series, ","))
}

// evaluated is the last evaluation at a second.
func evaluated(second int) int { return (second-7+150000)/15*15 - 150000 + 7 }

func filler(t *testing.T, book *notebook, f *fakePrometheus, now int, stillToo bool) *backfiller {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	e, err := wire.NewEndpoint(server.URL, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return &backfiller{prometheus: prometheus{e}, recorder: book, stillToo: stillToo, now: func() time.Time { return at(now) }}
}

func TestBackfill(t *testing.T) {
	f := &fakePrometheus{
		config: "global: {external_labels: {cluster: c1}}",
		fires: map[string][][2]int{
			"Missed":   {{1207, 1282}},
			"Shortest": {{2002, 2017}},
			"Twice":    {{607, 667}, {1807, 5002}},
			"Goes on":  {{-9000, 99999}},
			"Began":    {{3007, 99999}},
			"Ended":    {{-600, 307}},
			"Refired":  {{-9000, 907}, {2002, 99999}},
			"Before":   {{-9000, -3000}},
			"NotLost":  {{-90, -60}},
			"Straddle": {{-38, 52}},
		},
	}
	var book notebook
	for _, name := range []string{"Goes on", "Ended", "Refired"} {
		err := book.Record(t.Context(), alert.Observation{Via: "webhook", At: at(-60), Alerts: []alert.Alert{{Labels: map[string]string{"alertname": name, "cluster": "c1"}, Starts: at(-600)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	book.told = nil
	n, err := filler(t, &book, f, 7200, true).fill(t.Context(), at(0))
	if err != nil {
		t.Fatal(err)
	}
	type episode struct {
		starts int
		ends   int // earliest; 0: it fires
	}
	want := map[string][]episode{
		"Missed":   {{1207, 1267}},
		"Shortest": {{2002, 2002}},
		"Twice":    {{607, 652}, {1807, 4987}},
		"Began":    {{3007, 0}},
		"Ended":    {{-600, 292}},
		"Refired":  {{-600, 892}, {2002, 0}},
		"Straddle": {{-38, 37}},
	}
	got := make(map[string][]alert.Alert)
	last := time.Time{}
	for _, a := range book.alerts(alert.ViaBackfill) {
		if a.Labels["cluster"] != "c1" {
			t.Errorf("labels %v lack the external one", a.Labels)
		}
		if a.Starts.Before(last) {
			t.Errorf("%v is out of order", a)
		}
		last = a.Starts
		got[a.Labels["alertname"]] = append(got[a.Labels["alertname"]], a)
	}
	total := 0
	for name, episodes := range want {
		total += len(episodes)
		if len(got[name]) != len(episodes) {
			t.Errorf("%s: %v, want %v", name, got[name], episodes)
			continue
		}
		for i, e := range episodes {
			a := got[name][i]
			late := a.Ends.Sub(at(e.ends))
			if !a.Starts.Equal(at(e.starts)) || a.Ends.IsZero() != (e.ends == 0) || e.ends != 0 && (late < 0 || late > 15*time.Second || !a.Estimated) {
				t.Errorf("%s: %v, want start %s, end within 15 s of %s", name, a, at(e.starts), at(e.ends))
			}
		}
	}
	if n != total || len(got) != len(want) {
		t.Errorf("%d episodes of %d alerts, want %d of %d", n, len(got), total, len(want))
	}
}

func TestBackfillLeavesWhatFiresToThePoll(t *testing.T) {
	f := &fakePrometheus{fires: map[string][][2]int{"Fires": {{607, 99999}}, "Over": {{607, 700}}}}
	var book notebook
	if _, err := filler(t, &book, f, 3600, false).fill(t.Context(), at(0)); err != nil {
		t.Fatal(err)
	}
	if got := names(book.alerts()); got != "Over-" {
		t.Errorf("recorded %q, want Over-", got)
	}
}

func TestBackfillBounds(t *testing.T) {
	t.Run("short hole", func(t *testing.T) {
		f := &fakePrometheus{}
		if n, err := filler(t, &notebook{}, f, 3, true).fill(t.Context(), at(0)); n != 0 || err != nil || f.asked != 0 {
			t.Errorf("%d, %v, asked %d times", n, err, f.asked)
		}
	})
	t.Run("long hole", func(t *testing.T) {
		f := &fakePrometheus{}
		if _, err := filler(t, &notebook{}, f, 0, true).fill(t.Context(), at(-365*24*3600)); err != nil || f.asked > 26 {
			t.Errorf("%v, asked %d times", err, f.asked)
		}
	})
	t.Run("answers too large", func(t *testing.T) {
		skipUnderRace(t)
		f := &fakePrometheus{fires: map[string][][2]int{"A": {{607, 3007}}}, largest: 200}
		var book notebook
		if _, err := filler(t, &book, f, 3600, true).fill(t.Context(), at(0)); err != nil {
			t.Fatal(err)
		}
		if got := book.alerts(); len(got) != 1 || !got[0].Starts.Equal(at(607)) {
			t.Errorf("recorded %v", got)
		}
	})
	t.Run("recorder away", func(t *testing.T) {
		f := &fakePrometheus{fires: map[string][][2]int{"A": {{607, 3007}}}}
		book := notebook{fails: 1}
		b := filler(t, &book, f, 3600, true)
		if _, err := b.fill(t.Context(), at(0)); !errors.Is(err, fault.Unavailable) {
			t.Errorf("error = %v, want %v", err, fault.Unavailable)
		}
		if _, err := b.fill(t.Context(), at(0)); err != nil || names(book.alerts()) != "A-" {
			t.Errorf("then recorded %q, %v", names(book.alerts()), err)
		}
	})
}
