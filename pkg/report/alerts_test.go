package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

// storm is a journal with so many open alerts and transitions, each of another alert, with
// texts as Prometheus' own rules have them.
func storm(open, transitions int, seed uint64) Journal {
	rng := rand.New(rand.NewPCG(seed, 1))
	j := Journal{Alerts: Alerts{Cluster: "edge-1"}, Rules: RulesUnknown, End: uint64(transitions + open)}
	a := &j.Alerts
	text := func(i int) int {
		severity := []string{"critical", "warning", "info"}[i%3]
		a.Texts = append(a.Texts, AlertText{
			Labels: map[string]string{
				"alertname": fmt.Sprintf("KubePod%d", i%40), "severity": severity, "namespace": "ns-" + randomHex(rng, 3), "pod": "web-" + randomHex(rng, 10),
				"container": "app", "job": "kube-state-metrics", "instance": fmt.Sprintf("10.128.%d.%d:8443", i/250%250, i%250), "service": "kube-state-metrics",
				"endpoint": "https-main", "prometheus": "openshift-monitoring/k8s",
			},
			Annotations:  map[string]string{"summary": "Pod is crash looping.", "description": "Pod " + randomHex(rng, 10) + " is in waiting state.", "runbook_url": "https://runbooks.example.com/KubePod"},
			GeneratorURL: "https://prometheus.example.com/graph?g0.expr=max_over_time",
		})
		return len(a.Texts) - 1
	}
	now := monday.UnixMilli()
	for i := range open {
		fp := fmt.Sprintf("%012x%04x", i, rng.IntN(1<<16))
		a.Active.Alerts = append(a.Active.Alerts, OpenAlert{Opened: uint64(i + 1), Text: text(i), Episode: Episode{fp, now + int64(i)}})
	}
	for i := range transitions {
		a.Transitions = append(a.Transitions, Transition{
			Observed: now + int64(i), Seq: uint64(open + i + 1), Text: text(i), Type: Fired, Via: "webhook",
			Episode: Episode{randomHex(rng, 16), now + int64(rng.IntN(1000))},
		})
	}
	return j
}

func mustAlertsEncoder(tb testing.TB) *AlertsEncoder {
	tb.Helper()
	e, err := NewAlertsEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func mustEncodeAlerts(tb testing.TB, j Journal) (EncodedAlerts, []metav1.Condition) {
	tb.Helper()
	e := mustAlertsEncoder(tb)
	encoded, err := e.Encode(j)
	if err != nil {
		tb.Fatal(err)
	}
	return encoded, e.Compose(nil, Stamp{epochA, monday}, encoded).Entries
}

func TestAlertsThereAndBack(t *testing.T) {
	for _, tc := range []struct {
		open, transitions int
		window            int // least transitions of the report
		whole             bool
	}{
		{0, 0, 0, true},
		{1, 1, 1, true},
		{20, 100, 100, true},
		{500, 0, 0, true},
		{500, 10_000, 800, true},
		{0, 10_000, 1500, true},
		{9_000, 1000, 1000, false},
		{9_000, 10_000, 1200, false},
	} {
		t.Run(fmt.Sprintf("%d open, %d transitions", tc.open, tc.transitions), func(t *testing.T) {
			j := storm(tc.open, tc.transitions, 1)
			encoded, conditions := mustEncodeAlerts(t, j)
			if len(conditions) > 1+AlertParts {
				t.Fatalf("%d parts", len(conditions)-1)
			}
			if encoded.Window < tc.window || encoded.Whole != tc.whole {
				t.Errorf("window %d, whole %t, want at least %d, %t", encoded.Window, encoded.Whole, tc.window, tc.whole)
			}
			if encoded.Window < min(tc.transitions, MaxWindow) && encoded.Head.Bytes < AlertParts*PartChars/4*3*85/100 {
				t.Errorf("%d transitions are left out of a report of %d bytes", tc.transitions-encoded.Window, encoded.Head.Bytes)
			}
			head, alerts, err := mustDecoder(t).DecodeAlerts("edge-1", conditions)
			if err != nil {
				t.Fatal(err)
			}
			if head.Firing != tc.open || head.End != j.End || alerts.Active.Count != tc.open || alerts.Active.Whole() != tc.whole {
				t.Errorf("head %s", head)
			}
			for i, got := range alerts.Transitions {
				want := j.Alerts.Transitions[i]
				if !reflect.DeepEqual(alerts.Texts[got.Text], j.Alerts.Texts[want.Text]) {
					t.Fatalf("transition %d has another text", got.Seq)
				}
				got.Text = want.Text
				if got != want {
					t.Fatalf("transition %+v, want %+v", got, want)
				}
			}
			for i, got := range alerts.Active.Alerts {
				want := j.Alerts.Active.Alerts[i]
				if !reflect.DeepEqual(alerts.Texts[got.Text], j.Alerts.Texts[want.Text]) || got.Episode != want.Episode || got.Opened != want.Opened {
					t.Fatalf("open alert %+v, want %+v", got, want)
				}
			}
		})
	}
}

// A report never holds a page that is not asked for, and the pages that are asked for
// together are the whole set.
func TestPagesMakeTheWholeSet(t *testing.T) {
	j := storm(9_000, 10, 2)
	d := mustDecoder(t)
	_, conditions := mustEncodeAlerts(t, j)
	if _, alerts, err := d.DecodeAlerts("edge-1", conditions); err != nil || len(alerts.Active.Alerts) != 0 || alerts.Active.Whole() {
		t.Fatalf("%d open alerts though nobody asked, error %v", len(alerts.Active.Alerts), err)
	}
	var all []OpenAlert
	j.Page = PageFromStart
	for pages := 1; ; pages++ {
		_, conditions := mustEncodeAlerts(t, j)
		head, alerts, err := d.DecodeAlerts("edge-1", conditions)
		if err != nil {
			t.Fatal(err)
		}
		if head.First == 0 {
			t.Error("a page leaves no room for transitions")
		}
		all = append(all, alerts.Active.Alerts...)
		if alerts.Active.Through == "" {
			if pages < 3 || ActiveDigest(all) != alerts.Active.SHA256 {
				t.Errorf("%d pages have %d alerts, which are not the whole set", pages, len(all))
			}
			return
		}
		j.Page = alerts.Active.Through
	}
}

func TestUnchangedAlertsAreNoWrite(t *testing.T) {
	e := mustAlertsEncoder(t)
	encoded, first := mustEncodeAlerts(t, storm(3, 5, 3))
	if again := e.Compose(append(others()[:2:2], first...), Stamp{epochA, monday.Add(time.Hour)}, encoded); again.Changed {
		t.Error("an unchanged report is written again")
	}
	if moved := e.Compose(first, Stamp{epochB, monday}, encoded); !moved.Changed {
		t.Error("a report of another epoch is taken for the same")
	}
	more, _ := mustEncodeAlerts(t, storm(3, 6, 3))
	next := e.Compose(first, Stamp{epochA, monday.Add(time.Hour)}, more)
	head, err := ParseAlertsHead(next.Entries[0].Message)
	if err != nil || !next.Changed || head.Seq != 2 {
		t.Errorf("head %s, error %v, want seq 2", head, err)
	}
}

// forgedAlerts are conditions whose head agrees with a body that was edited.
func forgedAlerts(tb testing.TB, body any, edit func(h *AlertsHead)) []metav1.Condition {
	tb.Helper()
	text, isText := body.([]byte)
	if !isText {
		var err error
		if text, err = json.Marshal(body); err != nil {
			tb.Fatal(err)
		}
	}
	frame := mustFrame(tb, text)
	h := AlertsHead{Envelope: frame.envelope(), Rules: RulesUnknown}
	edit(&h)
	d := draft{kind: KindAlerts, fields: h.fields(), frame: frame, status: metav1.ConditionTrue, reason: HeadReported}
	return d.compose(family{kind: KindAlerts}, Stamp{epochA, monday}, nil).Entries
}

func TestDecodeAlertsRefuses(t *testing.T) {
	text := AlertText{Labels: map[string]string{"alertname": "A", "severity": "critical"}}
	good := func() Alerts {
		open := []OpenAlert{{Opened: 2, Episode: Episode{"00000000000000aa", 5}}}
		return Alerts{
			V: 1, Cluster: "edge-1", Texts: []AlertText{text},
			Active: ActiveSet{Alerts: open, Count: 1, SHA256: ActiveDigest(open)},
			Transitions: []Transition{
				{Seq: 1, Type: Fired, Episode: Episode{"00000000000000bb", 4}},
				{Seq: 2, Type: Fired, Episode: Episode{"00000000000000aa", 5}},
				{Seq: 5, From: 3, Count: 3, Ends: 6, Type: CompactedTransitions, Episode: Episode{"00000000000000bb", 4}},
			},
		}
	}
	head := func(h *AlertsHead) { h.Firing, h.Critical, h.First, h.Last, h.End = 1, 1, 1, 5, 5 }
	d := mustDecoder(t)
	if _, _, err := d.DecodeAlerts("edge-1", forgedAlerts(t, good(), head)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	if _, _, err := d.DecodeAlerts("edge-1", others()[:2]); !errors.Is(err, fault.NotFound) {
		t.Errorf("without a report: error %v", err)
	}
	long := strings.Repeat("x", MaxStringBytes+1)
	crowd := map[string]string{}
	for i := range MaxAlertLabels + 1 {
		crowd[fmt.Sprint("l", i)] = "v"
	}
	for _, tc := range []struct {
		name, reason string
		edit         func(a *Alerts)
		head         func(h *AlertsHead)
	}{
		{"another cluster", ReasonOtherCluster, func(a *Alerts) { a.Cluster = "edge-2" }, nil},
		{"another version", ReasonMalformed, func(a *Alerts) { a.V = 2 }, nil},
		{"a gap", ReasonMalformed, func(a *Alerts) { a.Transitions[1].Seq = 3 }, nil},
		{"not ascending", ReasonMalformed, func(a *Alerts) { a.Transitions[1].Seq = 1 }, nil},
		{"from after seq", ReasonMalformed, func(a *Alerts) { a.Transitions[2].From = 6 }, nil},
		{"a span of a type that has none", ReasonMalformed, func(a *Alerts) { a.Transitions[2].Type = Resolved }, nil},
		{"unknown type", ReasonMalformed, func(a *Alerts) { a.Transitions[0].Type = "x" }, nil},
		{"resolved without an end", ReasonMalformed, func(a *Alerts) { a.Transitions[0].Type = Resolved }, nil},
		{"fired with an end", ReasonMalformed, func(a *Alerts) { a.Transitions[0].Ends = 9 }, nil},
		{"text beyond the table", ReasonMalformed, func(a *Alerts) { a.Transitions[0].Text = 1 }, nil},
		{"negative text", ReasonMalformed, func(a *Alerts) { a.Active.Alerts[0].Text = -1 }, nil},
		{"short fingerprint", ReasonMalformed, func(a *Alerts) { a.Transitions[0].Fingerprint = "aa" }, nil},
		{"upper case", ReasonMalformed, func(a *Alerts) { a.Active.Alerts[0].Fingerprint = "00000000000000AA" }, nil},
		{"no start", ReasonMalformed, func(a *Alerts) { a.Transitions[0].Starts = 0 }, nil},
		{"a start beyond all calendars", ReasonMalformed, func(a *Alerts) { a.Transitions[0].Starts = 1 << 60 }, nil},
		{"opened by nothing", ReasonMalformed, func(a *Alerts) { a.Active.Alerts[0].Opened = 6 }, nil},
		{"twice open", ReasonMalformed, func(a *Alerts) { a.Active.Alerts = append(a.Active.Alerts, a.Active.Alerts[0]); a.Active.Count = 2 }, func(h *AlertsHead) { h.Firing = 2 }},
		{"wrong digest", ReasonCorrupt, func(a *Alerts) { a.Active.SHA256 = nilDigest }, nil},
		{"wrong count", ReasonCorrupt, func(a *Alerts) { a.Active.Count = 0 }, nil},
		{"not as many as counted", ReasonCorrupt, func(a *Alerts) { a.Active.Count = 2 }, func(h *AlertsHead) { h.Firing = 2 }},
		{"not as critical", ReasonCorrupt, func(*Alerts) {}, func(h *AlertsHead) { h.Critical = 0 }},
		{"another window", ReasonCorrupt, func(*Alerts) {}, func(h *AlertsHead) { h.First = 2 }},
		{"outside of the page", ReasonMalformed, func(a *Alerts) { a.Active.Through = "0000000000000001" }, nil},
		{"no labels", ReasonMalformed, func(a *Alerts) { a.Texts[0].Labels = nil }, nil},
		{"too many labels", ReasonTooLarge, func(a *Alerts) { a.Texts[0].Labels = crowd }, nil},
		{"too long a label", ReasonTooLarge, func(a *Alerts) { a.Texts[0].Labels = map[string]string{"a": long} }, nil},
		{"too long an annotation", ReasonTooLarge, func(a *Alerts) { a.Texts[0].Annotations = map[string]string{"a": long} }, nil},
		{"too long a URL", ReasonTooLarge, func(a *Alerts) { a.Texts[0].GeneratorURL = long }, nil},
	} {
		a := good()
		a.Texts = []AlertText{{Labels: text.Labels}}
		tc.edit(&a)
		conditions := forgedAlerts(t, a, func(h *AlertsHead) {
			head(h)
			if tc.head != nil {
				tc.head(h)
			}
		})
		if _, _, err := d.DecodeAlerts("edge-1", conditions); !errors.Is(err, fault.Invalid) || ReasonOf(err) != tc.reason {
			t.Errorf("%s: error %v, want reason %s", tc.name, err, tc.reason)
		}
	}
	for name, body := range map[string]string{
		"transitions": `{"transitions":[` + strings.Repeat("{},", MaxAlertTexts) + `{}]}`,
		"open alerts": `{"active":{"alerts":[` + strings.Repeat("{},", MaxActive) + `{}]}}`,
		"labels":      `{"texts":[{"labels":{` + strings.Repeat(`"a":"",`, 4*MaxAlertLabels) + `"a":""}}]}`,
		"deep":        strings.Repeat("[", 100),
	} {
		if _, _, err := d.DecodeAlerts("edge-1", forgedAlerts(t, []byte(body), head)); ReasonOf(err) != ReasonTooLarge {
			t.Errorf("%s: error %v, want reason TooLarge", name, err)
		}
	}
}

// The largest texts that are allowed, with nothing in them that compresses, still fit.
func TestTheLargestAlertFits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	large := func() map[string]string {
		m := map[string]string{}
		for i := range 4 {
			m[string(rune('a'+i))] = randomText(rng, MaxStringBytes-1)
		}
		return m
	}
	j := Journal{Rules: RulesUnknown, End: 9, Alerts: Alerts{Cluster: "edge-1"}}
	for i := range 9 {
		j.Alerts.Texts = append(j.Alerts.Texts, AlertText{Labels: large(), Annotations: large(), GeneratorURL: randomText(rng, MaxStringBytes)})
		e := Episode{fmt.Sprintf("%016x", i+1), 1}
		j.Alerts.Active.Alerts = append(j.Alerts.Active.Alerts, OpenAlert{Opened: uint64(i + 1), Text: i, Episode: e})
		j.Alerts.Transitions = append(j.Alerts.Transitions, Transition{Seq: uint64(i + 1), Text: i, Type: Fired, Episode: e})
	}
	encoded, conditions := mustEncodeAlerts(t, j)
	if encoded.Window == 0 {
		t.Error("no transition fits")
	}
	if _, _, err := mustDecoder(t).DecodeAlerts("edge-1", conditions); err != nil {
		t.Error(err)
	}
	j.Page = PageFromStart
	encoded, conditions = mustEncodeAlerts(t, j)
	_, alerts, err := mustDecoder(t).DecodeAlerts("edge-1", conditions)
	if err != nil || encoded.Window == 0 || len(alerts.Active.Alerts) == 0 {
		t.Errorf("a page has %d alerts and %d transitions, error %v", len(alerts.Active.Alerts), encoded.Window, err)
	}
}

func TestAlertsIngestedThereAndBack(t *testing.T) {
	for _, want := range []AlertsIngested{
		{Store: epochA, Epoch: epochB, Seq: 7, Reason: ReasonIngested},
		{Store: epochA, Epoch: epochB, Seq: 7, Reason: ReasonIngested, Need: nilDigest, Page: PageFromStart},
		{Store: epochA, Epoch: nilUUID, Reason: ReasonCorrupt, Page: "00000000000000aa"},
	} {
		c := want.Condition(nil, monday)
		if got, err := ParseAlertsIngested(c); err != nil || got != want {
			t.Errorf("ParseAlertsIngested(%s) = %+v, %v", c.Message, got, err)
		}
		if got, ok := FindAlertsIngested(append(others(), c)); !ok || got != want {
			t.Errorf("FindAlertsIngested() = %+v, %t", got, ok)
		}
	}
	for _, message := range []string{
		"", "store=x epoch=" + epochA + " seq=1", "store=" + epochA + " epoch=" + epochA + " seq=-1",
		"store=" + epochA + " epoch=" + epochA + " seq=1 need=x", "store=" + epochA + " epoch=" + epochA + " seq=1 page=x",
	} {
		_, err := ParseAlertsIngested(metav1.Condition{Status: metav1.ConditionTrue, Reason: ReasonIngested, Message: message})
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("ParseAlertsIngested(%q): error %v", message, err)
		}
	}
}

func TestParseAlertsHeadRefuses(t *testing.T) {
	h := AlertsHead{Envelope: Envelope{V: 1, Epoch: epochA, Seq: 1, Observed: monday, SHA256: nilDigest}, Firing: 2, Critical: 1, First: 3, Last: 4, End: 5, Rules: RulesUnknown}
	if got, err := ParseAlertsHead(h.String()); err != nil || got != h {
		t.Fatalf("ParseAlertsHead(%s) = %s, %v", h, got, err)
	}
	for _, edit := range [][2]string{
		{"critical=1", "critical=3"}, {"first=3", "first=0"}, {"last=4", "last=2"}, {"end=5", "end=3"}, {"rules=-", "rules=x"}, {"firing=2", "firing=02"}, {"v=1", "v=3"},
	} {
		if _, err := ParseAlertsHead(strings.Replace(h.String(), edit[0], edit[1], 1)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: error %v", edit[1], err)
		}
	}
}

func someRules() []RuleGroup {
	return []RuleGroup{{Name: "node", File: "node.yaml", Rules: []AlertRule{
		{Alert: "NodeDown", Expr: `up{job="node"} == 0`, For: "5m", Labels: map[string]string{"severity": "critical"}, Annotations: map[string]string{"summary": "<b>&"}},
	}}, {Name: "empty", Rules: []AlertRule{}}}
}

func TestRulesThereAndBack(t *testing.T) {
	body, digest, err := CanonicalRules(someRules())
	if err != nil {
		t.Fatal(err)
	}
	e, d := mustAlertsEncoder(t), mustDecoder(t)
	encoded, err := e.EncodeRules(body)
	if err != nil {
		t.Fatal(err)
	}
	update := e.ComposeRules(nil, Stamp{epochA, monday}, encoded)
	head, groups, err := d.DecodeRules("edge-1", update.Entries)
	if err != nil || head.SHA256 != digest || head.Groups != 2 || head.Rules != 1 || !reflect.DeepEqual(groups, someRules()) {
		t.Errorf("head %s, groups %+v, error %v", head, groups, err)
	}
	if again := e.ComposeRules(update.Entries, Stamp{epochB, monday}, encoded); again.Changed {
		t.Error("unchanged rules are written again")
	}
	if !HasRules(update.Entries) || HasRules(others()) {
		t.Error("HasRules is wrong")
	}
	if _, _, err := d.DecodeRules("edge-1", nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("no rules: error %v", err)
	}
	if _, err := e.EncodeRules([]byte("{")); !errors.Is(err, fault.Invalid) {
		t.Errorf("no JSON: error %v", err)
	}
}

func TestRulesThatDoNotFitAreAHeadAlone(t *testing.T) {
	groups := []RuleGroup{{Name: "noise"}}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		groups[0].Rules = append(groups[0].Rules, AlertRule{Alert: "A", Expr: randomText(rng, 4000)})
	}
	body, digest, _ := CanonicalRules(groups)
	e := mustAlertsEncoder(t)
	encoded, err := e.EncodeRules(body)
	if err != nil {
		t.Fatal(err)
	}
	head, _, err := mustDecoder(t).DecodeRules("edge-1", e.ComposeRules(nil, Stamp{epochA, monday}, encoded).Entries)
	if !errors.Is(err, fault.Unavailable) || head.SHA256 != digest || head.Rules != 100 {
		t.Errorf("head %s, error %v", head, err)
	}
}

func FuzzParseAlertsHead(f *testing.F) {
	h := AlertsHead{Envelope: Envelope{V: 1, Epoch: epochA, Seq: 1, Observed: monday, SHA256: nilDigest}, Firing: 2, Critical: 1, First: 3, Last: 4, End: 5, Rules: nilDigest}
	f.Add(h.String())
	f.Add("v=1")
	f.Fuzz(func(t *testing.T, message string) {
		h, err := ParseAlertsHead(message)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("error %v is of no kind", err)
			}
			return
		}
		if again, err := ParseAlertsHead(h.String()); err != nil || again != h {
			t.Fatalf("%s, parsed again: %s, %v", h, again, err)
		}
	})
}

func FuzzParseAlertsIngested(f *testing.F) {
	f.Add("store="+epochA+" epoch="+epochB+" seq=7 need="+nilDigest+" page=-", ReasonIngested, true)
	f.Add("store="+epochA+" epoch="+epochB+" seq=7 page=00000000000000aa", ReasonCorrupt, false)
	f.Fuzz(func(t *testing.T, message, reason string, ok bool) {
		c := metav1.Condition{Message: message, Reason: reason, Status: metav1.ConditionFalse}
		if ok {
			c.Status = metav1.ConditionTrue
		}
		a, err := ParseAlertsIngested(c)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("error %v is of no kind", err)
			}
			return
		}
		if again, err := ParseAlertsIngested(a.Condition(nil, monday)); err != nil || again != a {
			t.Fatalf("%+v, parsed again: %+v, %v", a, again, err)
		}
	})
}

// FuzzDecodeAlerts feeds bodies whose digest is right, so that they get past the frame, and
// lets the head agree with whatever they say.
func FuzzDecodeAlerts(f *testing.F) {
	j := storm(2, 3, 4)
	encoded, _ := mustEncodeAlerts(f, j)
	c := chooser{journal: &j, digest: ActiveDigest(j.Alerts.Active.Alerts)}
	j.Alerts.V = Version
	body, err := canonical(c.body(3, c.whole()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body, uint8(encoded.Head.Firing), uint8(encoded.Head.Critical), uint8(encoded.Head.First), uint8(encoded.Head.Last), uint8(encoded.Head.End))
	f.Add([]byte(`{"active":{"alerts":[{"text":-1}]},"cluster":"edge-1","v":1}`), uint8(0), uint8(0), uint8(0), uint8(0), uint8(0))
	d := mustDecoder(f)
	f.Fuzz(func(t *testing.T, body []byte, firing, critical, first, last, end uint8) {
		head := func(h *AlertsHead) {
			h.Firing, h.Critical, h.First, h.Last, h.End = int(firing), int(critical), uint64(first), uint64(last), uint64(end)
		}
		h, alerts, err := d.DecodeAlerts("edge-1", forgedAlerts(t, body, head))
		if err != nil {
			if !isKnownFault(err) {
				t.Fatalf("error %v is of no kind", err)
			}
			return
		}
		if _, again, err := d.DecodeAlerts("edge-1", forgedAlerts(t, alerts, head)); err != nil || len(again.Transitions) != len(alerts.Transitions) {
			t.Fatalf("%s, encoded and decoded again: %v", h, err)
		}
	})
}

func FuzzDecodeRules(f *testing.F) {
	body, _, _ := CanonicalRules(someRules())
	f.Add(body)
	f.Add([]byte(`[{"rules":null}]`))
	e := mustAlertsEncoder(f)
	d := mustDecoder(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		encoded, err := e.EncodeRules(body)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("error %v is of no kind", err)
			}
			return
		}
		_, groups, err := d.DecodeRules("edge-1", e.ComposeRules(nil, Stamp{epochA, monday}, encoded).Entries)
		if err != nil {
			if !isKnownFault(err) {
				t.Fatalf("error %v is of no kind", err)
			}
			return
		}
		canonicalBody, _, err := CanonicalRules(groups)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseRules(canonicalBody); err != nil || countRules(again) != countRules(groups) {
			t.Fatalf("printed and parsed again: %v", err)
		}
	})
}

func BenchmarkEncodeAlerts(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			j := storm(min(n, 500), n, 1)
			e := mustAlertsEncoder(b)
			b.ReportAllocs()
			for b.Loop() {
				encoded, err := e.Encode(j)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(encoded.Window), "transitions")
			}
		})
	}
}

func BenchmarkDecodeAlerts(b *testing.B) {
	_, conditions := mustEncodeAlerts(b, storm(20, 10_000, 1))
	d := mustDecoder(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.DecodeAlerts("edge-1", conditions); err != nil {
			b.Fatal(err)
		}
	}
}
