package alarm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

func TestSeverities(t *testing.T) {
	s := DefaultSeverities()
	if err := s.Override(map[string]string{"fatal": "critical", "info": "INDETERMINATE"}); err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]Severity{
		"critical": Critical, "Page": Critical, " major ": Major, "error": Major, "low": Minor, "warning": Warning,
		"none": Indeterminate, "": Indeterminate, "cleared": Indeterminate, "fatal": Critical, "info": Indeterminate,
	} {
		if got := s.Of(label); got != want {
			t.Errorf("severity of %q is %s, want %s", label, got, want)
		}
	}
	if err := s.Override(map[string]string{"x": "CLEARED"}); err == nil {
		t.Error("a label was made to mean CLEARED")
	}
}

func TestObject(t *testing.T) {
	h := newHub(t, store.Embedded)
	for _, tc := range []struct {
		name, cluster string
		labels        map[string]string
		want          Object
	}{
		{"cluster", "c", map[string]string{"alertname": "A"}, thing(ClassDeploymentManager, "c")},
		{"unknown cluster", "unknown", nil, thing(ClassOCloud, "o-cloud")},
		{"node", "c", map[string]string{"node": "n1"}, thing(ClassResource, "c/n1")},
		{"unknown node", "c", map[string]string{"node": "n9"}, thing(ClassDeploymentManager, "c")},
		{"instance with port", "c", map[string]string{"instance": "n2:9100"}, thing(ClassResource, "c/n2")},
		{"instance with domain", "c", map[string]string{"instance": "n2.example.com:9100"}, thing(ClassResource, "c/n2")},
		{"instance is an address", "c", map[string]string{"instance": "192.0.2.1:9100"}, thing(ClassResource, "c/192.0.2.1")},
		{"node before instance", "c", map[string]string{"instance": "n2:9100", "node": "n1"}, thing(ClassResource, "c/n1")},
		{"instance of an exporter", "c", map[string]string{"instance": "10.0.0.9:8080"}, thing(ClassDeploymentManager, "c")},
		{"interface", "c", map[string]string{"node": "n1", "device": "eth0"}, thing(ClassResource, "c/n1/eth0")},
		{"partition", "c", map[string]string{"node": "n1", "device": "/dev/sda1"}, thing(ClassResource, "c/n1/sda")},
		{"unknown device", "c", map[string]string{"node": "n1", "device": "tmpfs"}, thing(ClassResource, "c/n1")},
		{"PCI address", "c", map[string]string{"node": "n1", "pci": "00000000:3B:00.0"}, thing(ClassResource, "c/n1/0000:3b:00.0")},
		{"PCI address without domain", "c", map[string]string{"node": "n1", "pci": "3b:00.0"}, thing(ClassResource, "c/n1/0000:3b:00.0")},
		{"device of no node", "c", map[string]string{"device": "eth0"}, thing(ClassDeploymentManager, "c")},
	} {
		if got := h.ingest.mapper.object(tc.cluster, tc.labels); got != tc.want {
			t.Errorf("%s: object %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestDiskOf(t *testing.T) {
	for partition, want := range map[string]string{
		"sda1": "sda", "sdab12": "sdab", "nvme0n1p2": "nvme0n1", "mmcblk0p1": "mmcblk0", "md0p1": "md0", "vda3": "vda",
		"sda": "", "nvme0n1": "", "eth0": "", "dm-0": "",
	} {
		if got, _ := diskOf(partition); got != want {
			t.Errorf("disk of %q is %q, want %q", partition, got, want)
		}
	}
}

func TestProbableCauses(t *testing.T) {
	all := ProbableCauses()
	ids := make(map[uuid.UUID]bool)
	for _, p := range all {
		ids[p.ID] = true
		if p.ID == uuid.Nil || p.Description == "" || p.EventType == "" {
			t.Errorf("probable cause %+v", p)
		}
	}
	if len(all) != 62 || len(ids) != len(all) {
		t.Errorf("%d probable causes with %d ids, want 62", len(all), len(ids))
	}
	c := newCauses()
	for alert, code := range causeOfAlert {
		if id, known := c.known[code]; !known || c.of(map[string]string{"alertname": alert}, Object{}) != id {
			t.Errorf("%s: %s is no probable cause", alert, code)
		}
	}
	for _, tc := range []struct {
		labels map[string]string
		class  string
		want   string
	}{
		{map[string]string{CauseLabel: "storage_configuration"}, ClassResource, "STORAGE_CONFIGURAION"},
		{map[string]string{CauseLabel: "NONSENSE", "alertname": "KubeNodeNotReady"}, ClassResource, "NODE_DOWN"},
		{map[string]string{"alertname": "X"}, ClassResource, "HOST_OS_ERROR"},
		{map[string]string{"alertname": "X"}, ClassDeploymentManager, "CLUSTER_COMMUNICATION"},
	} {
		if got := c.of(tc.labels, Object{Class: tc.class}); got != ProbableCauseID(tc.want) {
			t.Errorf("probable cause of %v is not %s", tc.labels, tc.want)
		}
	}
}

// TestDefinitionsResolve checks that whatever definition an alarm gets is in its dictionary.
func TestDefinitionsResolve(t *testing.T) {
	h := newHub(t, store.Embedded)
	rules := []report.RuleGroup{{Name: "g", Rules: []report.AlertRule{
		{Alert: "NodeDown", Expr: "up == 0", For: "5m", Labels: map[string]string{"severity": "critical"}, Annotations: map[string]string{"summary": "down", "runbook_url": "https://runbooks/"}},
		{Alert: "NodeDown", Expr: "up < 1", Labels: map[string]string{"severity": "warning"}},
		{Alert: "Templated", Expr: "x", Labels: map[string]string{"severity": "{{ $labels.s }}"}},
	}}}
	_, hash, err := report.CanonicalRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if need, err := h.ingest.Rules(t.Context(), "edge-1", hash); err != nil || need != hash {
			t.Fatalf("need %q, %v, want %s", need, err, hash)
		}
	}
	if err := h.ingest.SetRules(t.Context(), hash, rules); err != nil {
		t.Fatal(err)
	}
	if need, err := h.ingest.Rules(t.Context(), "edge-2", hash); err != nil || need != "" {
		t.Fatalf("need %q, %v, want none", need, err)
	}
	c := h.ingest.mapper.catalogue
	o := thing(ClassResource, "c/n1")
	definitions := c.Known().Definitions(o.DictionaryID, o.Class)
	name := func(id uuid.UUID) string {
		i := slices.IndexFunc(definitions, func(d Definition) bool { return d.ID == id })
		if i < 0 {
			return "none"
		}
		return definitions[i].Name + "/" + definitions[i].Severity
	}
	for _, tc := range []struct {
		alert, label string
		severity     Severity
		want         string
	}{
		{"NodeDown", "critical", Critical, "NodeDown/critical"},
		{"NodeDown", "warning", Warning, "NodeDown/warning"},
		{"NodeDown", "page", Critical, "NodeDown/critical"}, // by name alone
		{"Templated", "low", Minor, "Templated/low"},
		{"Strange", "major", Major, "CLUSTERNODE_MAJOR/MAJOR"},
		{"Strange", "", Indeterminate, "CLUSTERNODE_WARNING/WARNING"},
		{alertClusterSilent, "critical", Critical, "O2IMSClusterSilent/critical"},
	} {
		if got := name(c.definition(&o, tc.alert, tc.label, tc.severity)); got != tc.want {
			t.Errorf("definition of %s with %q is %s, want %s", tc.alert, tc.label, got, tc.want)
		}
	}
	// Another replica learns them from the store; rules that nobody has are marked.
	if err := h.leading.ForgetAlarmRules(t.Context(), "edge-1"); err != nil {
		t.Fatal(err)
	}
	if err := h.leading.ForgetAlarmRules(t.Context(), "edge-2"); err != nil {
		t.Fatal(err)
	}
	other := NewCatalogue(h.store)
	if changed, err := other.Refresh(t.Context()); err != nil || !changed {
		t.Fatalf("changed %t, %v", changed, err)
	}
	if changed, err := other.Refresh(t.Context()); err != nil || changed {
		t.Fatalf("changed again %t, %v", changed, err)
	}
	for _, d := range other.Known().Definitions(o.DictionaryID, o.Class) {
		if d.Name == "NodeDown" && !d.Deleted || d.Name == alertClusterSilent && d.Deleted {
			t.Errorf("definition %+v", d)
		}
	}
}

// The dictionaries of the replica that takes rules in are filled like those of any other.
func TestRulesFillDictionariesAtOnce(t *testing.T) {
	h := newHub(t, store.Embedded)
	c := h.ingest.mapper.catalogue
	filled := make(chan *Known, 10)
	go func() { _ = c.Run(t.Context(), func() { filled <- c.Known() }) }() // ends with the test
	<-filled                                                               // with our own
	groups := []report.RuleGroup{{Name: "node", Rules: []report.AlertRule{{Alert: "NodeDown", Expr: "up == 0"}}}}
	_, hash, err := report.CanonicalRules(groups)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.ingest.Rules(t.Context(), "edge-1", hash); err != nil {
		t.Fatal(err)
	}
	if err := h.ingest.SetRules(t.Context(), hash, groups); err != nil {
		t.Fatal(err)
	}
	for known := range filled { // first, maybe, with news that somebody has rules
		if _, found := known.byName["NodeDown"]; found {
			return
		}
	}
}

// What a managed cluster says of an alert that others have, too, counts only when most say
// so, however its hash sorts; and nobody can make dictionaries grow without bound.
func TestRulesOfAHostileCluster(t *testing.T) {
	h := newHub(t, store.Embedded)
	give := func(groups []report.RuleGroup, clusters ...string) {
		t.Helper()
		_, hash, err := report.CanonicalRules(groups)
		if err != nil {
			t.Fatal(err)
		}
		for _, cluster := range clusters {
			if _, err := h.ingest.Rules(t.Context(), cluster, hash); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.ingest.SetRules(t.Context(), hash, groups); err != nil {
			t.Fatal(err)
		}
	}
	rules := func(runbook string, names ...string) []report.RuleGroup {
		g := report.RuleGroup{Name: "g"}
		for _, name := range names {
			g.Rules = append(g.Rules, report.AlertRule{Alert: name, Expr: "1", Annotations: map[string]string{"runbook_url": runbook}})
		}
		return []report.RuleGroup{g}
	}
	for n := range 8 { // whose hashes come before and after that of the others
		give(rules(fmt.Sprint("https://evil/", n), "NodeDown", alertClusterSilent), fmt.Sprint("evil-", n))
	}
	give(rules("https://good/", "NodeDown"), "edge-1", "edge-2")
	many := make([]string, 5000)
	for n := range many {
		many[n] = fmt.Sprint("Flood", n)
	}
	give(append(rules(strings.Repeat("x", 20_000), "Long", strings.Repeat("n", 1000)), rules("", many...)...), "evil-0")
	definitions := h.ingest.mapper.catalogue.Known().Definitions(uuid.Nil, ClassResource)
	if len(definitions) > maxRules+len(standardSeverities) {
		t.Errorf("%d definitions", len(definitions))
	}
	for _, d := range definitions {
		switch {
		case d.Name == "NodeDown" && d.RepairActions != "https://good/":
			t.Errorf("NodeDown is mended by %s", d.RepairActions)
		case d.Name == alertClusterSilent && strings.Contains(d.RepairActions, "evil"):
			t.Errorf("our own alarm is mended by %s", d.RepairActions)
		case len(d.Name) > maxRuleName || len(d.RepairActions) > maxRuleText+10:
			t.Errorf("a definition with a name of %d bytes and repair actions of %d", len(d.Name), len(d.RepairActions))
		}
	}
	huge := rules(strings.Repeat("x", 1000), many...)
	if err := h.ingest.SetRules(t.Context(), strings.Repeat("0", 64), huge); !errors.Is(err, fault.TooLarge) {
		t.Errorf("error %v, want %v", err, fault.TooLarge)
	}
}

// One cluster changes its rules for ever: what nobody has is kept for a while, not for good.
func TestRulesThatNobodyHasGo(t *testing.T) {
	h := newHub(t, store.Embedded)
	last := ""
	for n := range 50 {
		groups := []report.RuleGroup{{Name: "g", Rules: []report.AlertRule{{Alert: fmt.Sprint("A", n), Expr: "1"}}}}
		_, hash, err := report.CanonicalRules(groups)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.ingest.Rules(t.Context(), "edge-1", hash); err != nil {
			t.Fatal(err)
		}
		if err := h.ingest.SetRules(t.Context(), hash, groups); err != nil {
			t.Fatal(err)
		}
		last = hash
	}
	kept, _, err := h.store.AlarmRulesKept(t.Context())
	if err != nil || len(kept) != 33 || !slices.Contains(kept, last) {
		t.Errorf("%d bodies are kept, %v, want the last 32 that nobody has and the one in use", len(kept), err)
	}
	known := h.ingest.mapper.catalogue.Known()
	if known.byName["A0"] != nil || known.byName["A49"] == nil {
		t.Errorf("A0 is known: %t, A49: %t", known.byName["A0"] != nil, known.byName["A49"] != nil)
	}
}

// A newer agent may say more of a rule than we read. Its rules are those that it sent.
func TestRulesOfANewerAgentAreAskedForOnce(t *testing.T) {
	h := newHub(t, store.Embedded)
	hash := strings.Repeat("ab", 32) // not that of what we read
	if need, err := h.ingest.Rules(t.Context(), "edge-1", hash); err != nil || need != hash {
		t.Fatalf("need %q, %v", need, err)
	}
	if err := h.ingest.SetRules(t.Context(), hash, []report.RuleGroup{{Name: "g"}}); err != nil {
		t.Fatal(err)
	}
	if need, err := h.ingest.Rules(t.Context(), "edge-1", hash); err != nil || need != "" {
		t.Errorf("need %q, %v: asked for again", need, err)
	}
}
