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
type Catalogue struct {
	store   *store.Store
	current atomic.Pointer[rules]

	mu     sync.Mutex
	bodies map[string][]report.RuleGroup // by SHA-256
	inUse  map[string]string
}

// rules is what a catalogue knows at one moment. It never changes.
type rules struct {
	byKey  map[string]*rule // by name|severity
	byName map[string]*rule // the first by severity
	sorted []*rule
}

// NewCatalogue returns a catalogue that knows only our own alarms until Refresh.
func NewCatalogue(s *store.Store) *Catalogue {
	c := &Catalogue{store: s, bodies: make(map[string][]report.RuleGroup)}
	c.current.Store(index(nil, nil))
	return c
}

// Refresh reads what has come into the store since. It tells whether anything has changed.
func (c *Catalogue) Refresh(ctx context.Context) (changed bool, err error) {
	kept, inUse, err := c.store.AlarmRulesKept(ctx)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	changed = c.inUse == nil || !maps.Equal(c.inUse, inUse)
	for _, hash := range kept {
		if _, known := c.bodies[hash]; known {
			continue
		}
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
		c.bodies[hash], changed = groups, true
	}
	if changed {
		c.inUse = inUse
		c.current.Store(index(c.bodies, inUse))
	}
	return changed, nil
}

// Loaded tells whether the store was read at least once: before that, alarms would get the
// definitions of unknown rules.
func (c *Catalogue) Loaded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inUse != nil
}

// refreshInterval bounds how long a replica does not know the rules that another stored.
const refreshInterval = 10 * time.Second

// Run refreshes the catalogue until ctx ends, and calls changed each time that what it
// knows has changed. Every replica runs it.
func (c *Catalogue) Run(ctx context.Context, changed func()) error {
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		news, err := c.Refresh(ctx)
		if err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "alerting rules not read", "error", err)
		}
		if news && changed != nil {
			changed()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// index orders rules. What several clusters define alike by name and severity is one
// definition: that of the lowest hash among those in use, else among all.
func index(bodies map[string][]report.RuleGroup, inUse map[string]string) *rules {
	used := make(map[string]bool, len(inUse))
	for _, hash := range inUse {
		used[hash] = true
	}
	hashes := slices.SortedFunc(maps.Keys(bodies), func(a, b string) int {
		if used[a] != used[b] {
			if used[a] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	r := &rules{byKey: make(map[string]*rule), byName: make(map[string]*rule)}
	for _, own := range ownRules() {
		r.add(own)
	}
	for _, hash := range hashes {
		for _, group := range bodies[hash] {
			for i := range group.Rules {
				for _, known := range rulesOf(&group, &group.Rules[i]) {
					known.inUse = used[hash]
					r.add(known)
				}
			}
		}
	}
	slices.SortFunc(r.sorted, func(a, b *rule) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.severity, b.severity))
	})
	for _, known := range r.sorted {
		if _, found := r.byName[known.name]; !found {
			r.byName[known.name] = known
		}
	}
	return r
}

func (r *rules) add(known *rule) {
	key := known.name + "|" + known.severity
	if _, found := r.byKey[key]; !found {
		r.byKey[key] = known
		r.sorted = append(r.sorted, known)
	}
}

// templatedSeverities are what a severity that is a template can become.
//
// Source: fact sheet 6.3.
var templatedSeverities = []string{"critical", "important", "moderate", "low", "unknown"}

// rulesOf returns what one alerting rule defines.
func rulesOf(g *report.RuleGroup, a *report.AlertRule) []*rule {
	severities := []string{a.Labels[report.SeverityLabel]}
	if strings.Contains(severities[0], "{{") {
		severities = templatedSeverities
	}
	fields := map[string]string{"Expr": a.Expr, "Group": g.Name}
	if a.For != "" {
		fields["For"] = a.For
	}
	for name, value := range a.Labels {
		fields["Label."+name] = value
	}
	list := make([]*rule, len(severities))
	for i, severity := range severities {
		list[i] = &rule{
			name: a.Alert, severity: severity, fields: fields,
			description: strings.TrimSpace(a.Annotations["summary"] + "\n" + a.Annotations["description"]),
			repair:      a.Annotations["runbook_url"],
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
func (c *Catalogue) Definitions(dictionary uuid.UUID, class string) []Definition {
	known := c.current.Load()
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
