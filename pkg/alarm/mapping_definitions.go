package alarm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

// DefinitionID is the alarmDefinitionId, within one dictionary, of the alarm that a rule
// with this name and severity label raises.
func DefinitionID(dictionary uuid.UUID, alertname, severity string) uuid.UUID {
	return uuid.NewSHA1(dictionary, []byte(alertname+"|"+severity))
}

// standardID is the alarmDefinitionId of a definition that the standard names.
func standardID(dictionary uuid.UUID, name string) uuid.UUID {
	return uuid.NewSHA1(dictionary, []byte(name))
}

// Definition is an alarm that resources of a type can raise.
type Definition struct {
	ID            uuid.UUID
	Name          string
	Severity      string // value of the severity label, or the standard's name of one
	Description   string
	RepairActions string
	Manual        bool // the consumer clears it
	Deleted       bool // no cluster has such a rule any more; records may refer to it

	// Fields are further facts, such as the rule's expression; nil: none.
	Fields map[string]string
}

// rule is what a catalogue knows of the alerting rules of one name and severity.
type rule struct {
	name, severity string
	description    string
	repair         string
	fields         map[string]string
	inUse          bool
}

// Catalogue knows the alerting rules of all managed clusters and so the definitions of
// their alarms. Every dictionary has all of them: whose alerts a rule raises is told by
// the labels of the alerts and not by the rule. It is safe for concurrent use.
//
// Rules come from managed clusters, of which one may be hostile: what most clusters say of
// an alert goes before what one says, and there is a bound to how many alerts are known.
type Catalogue struct {
	store   *store.Store
	current atomic.Pointer[Known]

	news chan struct{} // of capacity 1: current is not what it was

	mu   sync.Mutex
	read []string // what current was made of; see sources
}

// Known is what a catalogue knows at one moment. It never changes.
type Known struct {
	byKey  map[string]*rule // by name|severity
	byName map[string]*rule // the first by severity
	sorted []*rule
}

// NewCatalogue returns a catalogue that knows only our own alarms until Refresh.
func NewCatalogue(s *store.Store) *Catalogue {
	c := &Catalogue{store: s, news: make(chan struct{}, 1)}
	c.current.Store(newIndex().known())
	return c
}

// Known returns what the catalogue knows now.
func (c *Catalogue) Known() *Known { return c.current.Load() }

// Refresh reads what has come into the store since. It tells whether anything has changed.
func (c *Catalogue) Refresh(ctx context.Context) (changed bool, err error) {
	kept, inUse, err := c.store.AlarmRulesKept(ctx)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	from := sources(kept, inUse)
	if c.read != nil && slices.Equal(from, c.read) {
		return false, nil
	}
	x := newIndex()
	for _, source := range from {
		hash, used := strings.CutSuffix(source, sourceInUse)
		body, err := c.store.AlarmRules(ctx, hash)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return false, err
		}
		var groups []report.RuleGroup
		if err := json.Unmarshal(body, &groups); err != nil {
			return false, fmt.Errorf("stored rules %s: %w", hash, err)
		}
		x.add(groups, used)
	}
	c.read = from
	c.current.Store(x.known())
	select {
	case c.news <- struct{}{}:
	default: // Run has not come to the news before
	}
	return true, nil
}

// sourceInUse is at the end of a source whose rules somebody has.
const sourceInUse = " in use"

// sources are the hashes of rules in the order in which they count: first those of most
// clusters, and last those that nobody has any more.
func sources(kept []string, inUse map[string]string) []string {
	users := make(map[string]int, len(kept))
	for _, hash := range inUse {
		users[hash]++
	}
	sorted := slices.SortedFunc(slices.Values(kept), func(a, b string) int {
		return cmp.Or(cmp.Compare(users[b], users[a]), strings.Compare(a, b))
	})
	for i, hash := range sorted {
		if users[hash] > 0 {
			sorted[i] = hash + sourceInUse
		}
	}
	return append([]string{}, sorted...) // never nil
}

// Loaded tells whether the store was read at least once: before that, alarms would get the
// definitions of unknown rules.
func (c *Catalogue) Loaded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read != nil
}

// refreshInterval bounds how long a replica does not know the rules that another stored.
const refreshInterval = 10 * time.Second

// Run refreshes the catalogue until ctx ends, and calls changed each time that what it
// knows has changed, whoever refreshed it. Every replica runs it.
func (c *Catalogue) Run(ctx context.Context, changed func()) error {
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		if _, err := c.Refresh(ctx); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "alerting rules not read", "error", err)
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case <-c.news:
				if changed != nil {
					changed()
				}
			case <-ticker.C:
				waiting = false
			}
		}
	}
}

// maxRules is how many alerts, by name and severity, are known. OpenShift has some 500.
const maxRules = 4000

// Bounds of what is kept of one rule. Names beyond theirs are no names: rules that have
// them are left out.
const (
	maxRuleName  = 256
	maxRuleText  = 2 << 10 // of each text; the rest is cut off
	maxRuleLabel = 16      // how many
)

// index gathers rules. What several clusters define alike by name and severity is one
// definition: the first that is added.
type index struct {
	rules map[string]*rule // by name|severity
}

func newIndex() *index {
	x := &index{rules: make(map[string]*rule)}
	for _, own := range ownRules() {
		x.rules[own.name+"|"+own.severity] = own
	}
	return x
}

func (x *index) add(groups []report.RuleGroup, inUse bool) {
	for g := range groups {
		for i := range groups[g].Rules {
			for _, known := range rulesOf(&groups[g], &groups[g].Rules[i]) {
				key := known.name + "|" + known.severity
				_, found := x.rules[key]
				if found || len(x.rules) >= maxRules || !known.usable() {
					continue
				}
				known.inUse = inUse
				x.rules[key] = known
			}
		}
	}
}

// usable tells whether a rule of a managed cluster can be in dictionaries. Our own alarms
// are nobody else's to define.
func (r *rule) usable() bool {
	return r.name != "" && len(r.name) <= maxRuleName && len(r.severity) <= maxRuleName && !slices.Contains(ownAlarms, r.name)
}

func (x *index) known() *Known {
	k := &Known{byKey: x.rules, byName: make(map[string]*rule), sorted: slices.Collect(maps.Values(x.rules))}
	slices.SortFunc(k.sorted, func(a, b *rule) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.severity, b.severity))
	})
	for _, known := range k.sorted {
		if _, found := k.byName[known.name]; !found {
			k.byName[known.name] = known
		}
	}
	return k
}

// shorten cuts a text between two characters.
func shorten(text string) string {
	if len(text) <= maxRuleText {
		return text
	}
	return strings.ToValidUTF8(text[:maxRuleText], "") + "…"
}

// templatedSeverities are what a severity that is a template can become.
//
// Source: alerting rules of OpenShift, label severity.
var templatedSeverities = []string{"critical", "important", "moderate", "low", "unknown"}

// rulesOf returns what one alerting rule defines.
func rulesOf(g *report.RuleGroup, a *report.AlertRule) []*rule {
	severities := []string{a.Labels[report.SeverityLabel]}
	if strings.Contains(severities[0], "{{") {
		severities = templatedSeverities
	}
	fields := map[string]string{"Expr": shorten(a.Expr), "Group": shorten(g.Name)}
	if a.For != "" {
		fields["For"] = shorten(a.For)
	}
	for n, name := range slices.Sorted(maps.Keys(a.Labels)) {
		if n < maxRuleLabel && len(name) <= maxRuleName {
			fields["Label."+name] = shorten(a.Labels[name])
		}
	}
	list := make([]*rule, len(severities))
	for i, severity := range severities {
		list[i] = &rule{
			name: a.Alert, severity: severity, fields: fields,
			description: shorten(strings.TrimSpace(a.Annotations["summary"] + "\n" + a.Annotations["description"])),
			repair:      shorten(a.Annotations["runbook_url"]),
		}
	}
	return list
}

// scope says which of the standard's definitions fit an object.
type scope string

const (
	scopeCluster scope = "CLUSTER"
	scopeNode    scope = "CLUSTERNODE"
)

// standardSeverities are those that the standard has definitions for.
var standardSeverities = []Severity{Warning, Minor, Major, Critical}

// Definitions returns the definitions of the dictionary of one type, in a fixed order: our
// own and those of the rules of managed clusters by name, then those that the standard names, which
// alarms of unknown rules have. class is the ObjectClass of what the type is of.
func (known *Known) Definitions(dictionary uuid.UUID, class string) []Definition {
	list := make([]Definition, 0, len(known.sorted)+len(standardSeverities))
	for _, r := range known.sorted {
		list = append(list, Definition{
			ID: DefinitionID(dictionary, r.name, r.severity), Name: r.name, Severity: r.severity,
			Description: r.description, RepairActions: r.repair, Fields: r.fields, Deleted: !r.inUse,
		})
	}
	s := (&Object{Class: class}).scope()
	for _, severity := range standardSeverities {
		name := string(s) + "_" + severity.String()
		list = append(list, Definition{
			ID: standardID(dictionary, name), Name: name, Severity: severity.String(),
			Description: "Alarm of which no alerting rule is known.",
			Fields:      map[string]string{"Standard": "O-RAN.WG6.TS.O2IMS-INTERFACE, clause 4"},
		})
	}
	return list
}

// definition returns the alarmDefinitionId for an alert about an object. It is always in
// the dictionary of the object's type.
func (c *Catalogue) definition(o *Object, alertname, label string, severity Severity) uuid.UUID {
	known := c.current.Load()
	r, found := known.byKey[alertname+"|"+label]
	if !found {
		r, found = known.byName[alertname]
	}
	if found {
		return DefinitionID(o.DictionaryID, r.name, r.severity)
	}
	if severity >= Indeterminate {
		severity = Warning // the standard has nothing vaguer
	}
	return standardID(o.DictionaryID, string(o.scope())+"_"+severity.String())
}
