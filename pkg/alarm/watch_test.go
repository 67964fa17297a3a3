package alarm

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func watchOptions() WatchOptions {
	return WatchOptions{SilenceAfter: time.Minute, StartGrace: 5 * time.Minute, FleetWindow: 5 * time.Minute, FleetPercent: 20, FleetAtLeast: 5}
}

// healthy are so many clusters, of which the first few have been silent for a while.
func healthy(n, silent int, for_ time.Duration) []Health {
	fleet := make([]Health, n)
	for i := range fleet {
		fleet[i].Cluster = fmt.Sprintf("c%d", i)
		if i < silent {
			fleet[i].Silent, fleet[i].Why = noon.Add(-for_), "no Lease"
		}
	}
	return fleet
}

func openAlarms(names ...own) map[own]bool {
	open := make(map[own]bool)
	for _, n := range names {
		open[n] = true
	}
	return open
}

func TestDecide(t *testing.T) {
	c0 := own{"c0", alertClusterSilent}
	all := own{"", alertFleetSilent}
	dog := own{"c0", alertWatchdog}
	degraded := own{"c0", alertAddOnDegraded}
	unavailable := own{"c0", alertClusterUnavailable}
	down, justDown := healthy(3, 0, 0), healthy(3, 0, 0)
	down[0].Unavailable, justDown[0].Unavailable = noon.Add(-time.Minute), noon.Add(-time.Second)
	ill := healthy(3, 0, 0)
	ill[0].Degraded = noon.Add(-time.Hour)
	illAndSilent := healthy(3, 1, 10*time.Second)
	illAndSilent[0].Degraded = noon
	for _, tc := range []struct {
		name  string
		fleet []Health
		dogs  watchdogs
		open  map[own]bool
		up    time.Duration // since the start of the hub; 0: an hour
		want  []own
	}{
		{name: "all speak", fleet: healthy(10, 0, 0)},
		{name: "one just fell silent", fleet: healthy(10, 1, 30*time.Second)},
		{name: "one is silent", fleet: healthy(10, 1, time.Minute), want: []own{c0}},
		{name: "one is silent, the hub just started", fleet: healthy(10, 1, time.Hour), up: time.Minute},
		{name: "it was silent before the hub started", fleet: healthy(10, 1, time.Hour), up: time.Minute, open: openAlarms(c0), want: []own{c0}},
		{name: "it speaks again, the hub just started", fleet: healthy(10, 0, 0), up: time.Minute, open: openAlarms(c0)},
		{name: "four of ten are no fleet", fleet: healthy(10, 4, 2*time.Minute), want: []own{c0, {"c1", alertClusterSilent}, {"c2", alertClusterSilent}, {"c3", alertClusterSilent}}},
		{name: "five of ten at once", fleet: healthy(10, 5, 2*time.Minute), want: []own{all}},
		{name: "five of ten, one long before", fleet: healthy(10, 5, 2*time.Minute), open: openAlarms(c0), want: []own{c0, all}},
		{name: "twenty percent of forty", fleet: healthy(40, 8, 2*time.Minute), want: []own{all}},
		{name: "it stands while half of that is silent", fleet: healthy(40, 4, time.Hour), open: openAlarms(all), want: []own{all}},
		{name: "the last of them", fleet: healthy(40, 1, time.Hour), open: openAlarms(all), want: []own{c0}},
		{name: "the fleet speaks again", fleet: healthy(40, 0, 0), open: openAlarms(all)},
		{name: "the fleet was silent before the hub started", fleet: healthy(40, 8, 0), up: time.Minute, open: openAlarms(all), want: []own{all}},
		{name: "five, one after the other over an hour", fleet: slices.Concat(healthy(5, 1, time.Hour), []Health{
			{Cluster: "d1", Silent: noon.Add(-50 * time.Minute)}, {Cluster: "d2", Silent: noon.Add(-40 * time.Minute)},
			{Cluster: "d3", Silent: noon.Add(-30 * time.Minute)}, {Cluster: "d4", Silent: noon.Add(-20 * time.Minute)},
		}), want: []own{c0, {"d1", alertClusterSilent}, {"d2", alertClusterSilent}, {"d3", alertClusterSilent}, {"d4", alertClusterSilent}}},
		{name: "Watchdog ended", fleet: healthy(3, 0, 0), dogs: watchdogs{"c0": noon}, want: []own{dog}},
		{name: "Watchdog ended, and all is silent", fleet: healthy(3, 1, time.Minute), dogs: watchdogs{"c0": noon}, want: []own{c0}},
		{name: "Watchdog missing, then silence", fleet: healthy(3, 1, time.Minute), dogs: watchdogs{"c0": noon}, open: openAlarms(dog), want: []own{c0, dog}},
		{name: "Watchdog of a cluster that is gone", fleet: healthy(3, 0, 0), dogs: watchdogs{"gone": noon}, open: openAlarms(own{"gone", alertWatchdog})},
		{name: "an apiserver is down", fleet: down, want: []own{unavailable}},
		{name: "an apiserver is just down", fleet: justDown},
		{name: "an apiserver is down, the hub just started", fleet: down, up: time.Second},
		{name: "it was down before the hub started", fleet: down, up: time.Second, open: openAlarms(unavailable), want: []own{unavailable}},
		{name: "it answers again", fleet: healthy(3, 0, 0), open: openAlarms(unavailable)},
		{name: "add-on degraded", fleet: ill, want: []own{degraded}},
		{name: "add-on degraded, the hub just started", fleet: ill, up: time.Second},
		{name: "what a silent add-on says is old", fleet: illAndSilent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.up == 0 {
				tc.up = time.Hour
			}
			o := watchOptions()
			var got []own
			for _, w := range decide(&o, tc.fleet, tc.dogs, tc.open, noon.Add(-tc.up), noon) {
				got = append(got, w.own)
			}
			slices.SortFunc(got, compareOwn)
			slices.SortFunc(tc.want, compareOwn)
			if !slices.Equal(got, tc.want) {
				t.Errorf("open should be %v, want %v", got, tc.want)
			}
		})
	}
}

func compareOwn(a, b own) int {
	return slices.Compare([]string{a.cluster, a.name}, []string{b.cluster, b.name})
}

func TestHealthOf(t *testing.T) {
	state := func(status string, age time.Duration) *ConditionState {
		return &ConditionState{Of: "Available", Status: status, Since: noon.Add(-age)}
	}
	for _, tc := range []struct {
		name             string
		available, addOn *ConditionState
		hasAddOn         bool
		want             time.Time
		unavailable      time.Time
	}{
		{name: "nothing is known"},
		{name: "both speak", available: state("True", 0), addOn: state("True", 0), hasAddOn: true},
		{name: "klusterlet silent", available: state("Unknown", time.Hour), addOn: state("True", 0), hasAddOn: true, want: noon.Add(-time.Hour)},
		{name: "unwell is not silent", available: state("False", time.Hour), addOn: state("True", 0), hasAddOn: true, unavailable: noon.Add(-time.Hour)},
		{name: "unwell, and so is the agent", available: state("False", time.Hour), addOn: state("Unknown", time.Minute), hasAddOn: true, unavailable: noon.Add(-time.Hour)},
		{name: "unwell without add-on", available: state("False", time.Hour), unavailable: noon.Add(-time.Hour)},
		{name: "agent silent", available: state("True", 0), addOn: state("Unknown", time.Minute), hasAddOn: true, want: noon.Add(-time.Minute)},
		{name: "agent unwell", available: state("True", 0), addOn: state("False", time.Minute), hasAddOn: true, want: noon.Add(-time.Minute)},
		{name: "agent first", available: state("Unknown", time.Minute), addOn: state("Unknown", time.Hour), hasAddOn: true, want: noon.Add(-time.Hour)},
		{name: "no add-on", available: state("True", 0), addOn: state("Unknown", time.Minute)},
	} {
		if got := HealthOf("c", tc.available, tc.addOn, nil, tc.hasAddOn); !got.Silent.Equal(tc.want) || !got.Unavailable.Equal(tc.unavailable) {
			t.Errorf("%s: silent since %s, unavailable since %s; want %s, %s", tc.name, got.Silent, got.Unavailable, tc.want, tc.unavailable)
		}
	}
}

// fleetOf is a Fleet that a test changes.
type fleetOf struct{ health []Health }

func (f *fleetOf) Health(context.Context) ([]Health, error) { return f.health, nil }

func TestWatchRaisesAndClears(t *testing.T) {
	h := newHub(t, store.Embedded)
	fleet := &fleetOf{healthy(3, 1, 2*time.Minute)}
	w := NewWatch(watchOptions(), h.ingest, fleet)
	w.now, w.started = func() time.Time { return h.clock }, h.clock.Add(-time.Hour)
	look := func() {
		t.Helper()
		if err := w.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	look()
	look() // changes nothing
	w = NewWatch(watchOptions(), h.ingest, fleet)
	w.now, w.started = func() time.Time { return h.clock }, h.clock
	h.lead(t)
	look() // another leader, which just started
	fleet.health = healthy(3, 0, 0)
	look()
	got := told(t, h.store)
	if len(got) != 2 || got[0][:4] != "NEW " || got[1][:6] != "CLEAR " {
		t.Fatalf("events %q, want one NEW and its CLEAR", got)
	}
	list, err := h.records.Page(t.Context(), Place{}, 10)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	r := list[0]
	manager := thing(ClassDeploymentManager, "c0")
	if r.Cluster != "c0" || r.Severity != Critical || r.ObjectID != manager.ID || r.ProbableCauseID != ProbableCauseID("CLUSTER_COMMUNICATION") ||
		r.DefinitionID != DefinitionID(manager.DictionaryID, alertClusterSilent, "critical") || !r.Raised.Equal(noon.Add(-2*time.Minute)) {
		t.Errorf("record %+v", r)
	}
}

func TestWatchdogMissing(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("c0")
	fleet := &fleetOf{healthy(1, 0, 0)}
	w := NewWatch(watchOptions(), h.ingest, fleet)
	w.now, w.started = func() time.Time { return h.clock }, h.clock.Add(-time.Hour)
	open := func() int {
		t.Helper()
		if err := w.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, err := h.store.OpenAlarms(t.Context(), "c0", store.FromWatch, "", "")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	step := func(kind report.TransitionType, want int) {
		t.Helper()
		s.add(kind, 1)
		r := s.report()
		r.Alerts.Texts[1].Labels = map[string]string{"alertname": "Watchdog", "severity": "none"}
		result, err := h.ingest.Apply(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		s.heed(result.Answer)
		if got := open(); got != want {
			t.Errorf("after %s: %d own alarms are open, want %d", kind, got, want)
		}
	}
	if n := open(); n != 0 {
		t.Errorf("%d own alarms before any Watchdog", n)
	}
	step(report.Fired, 0)
	step(report.Resolved, 1)
	step(report.Fired, 0)
	step(report.Resolved, 1)
	if err := h.ingest.Detach(t.Context(), "c0"); err != nil {
		t.Fatal(err)
	}
	fleet.health = nil
	if n := open(); n != 0 {
		t.Errorf("%d own alarms of a cluster that is detached", n)
	}
}
