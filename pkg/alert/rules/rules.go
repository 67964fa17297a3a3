// Package rules collects the alerting rules of a managed cluster, of which the hub makes
// alarm dictionaries.
//
// They come from PrometheusRule objects, where the Prometheus operator's kinds exist, and
// from a Prometheus, where one is configured. The result has no trace of which cluster it
// is from: clusters with the same rules have the same digest, and the hub needs the body
// only once.
//
// Sources: Prometheus HTTP API v1, rules; Prometheus operator API, PrometheusRule v1.
package rules

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/o2ims/o2ims/pkg/report"
)

// Rules are the alerting rules of a cluster in canonical form.
type Rules struct {
	Groups []report.RuleGroup
	Body   []byte // of a rules report
	Digest string // of Body, 64 hexadecimal digits

	// Reduced says what was left out so that the body is of a bearable size; empty: nothing.
	Reduced string
}

const (
	maxBodyBytes = report.MaxRulesBytes

	maxTextBytes = 8 << 10 // of one expression or annotation; the rest is cut off
	shortBytes   = 200
)

// canonical merges what sources said of rules, puts it in order and bounds its size.
//
// A source takes precedence over those after it: a rule of theirs that has the same group,
// name and labels is taken for the same rule. (They may print its expression differently.)
func canonical(sources ...[]report.RuleGroup) (Rules, error) {
	merged := merge(sources)
	for _, r := range reductions {
		groups := reduced(merged, r.keep)
		body, digest, err := report.CanonicalRules(groups)
		if err != nil {
			return Rules{}, err
		}
		if len(body) <= maxBodyBytes {
			return Rules{Groups: groups, Body: body, Digest: digest, Reduced: r.name}, nil
		}
	}
	return bounded(merged)
}

// reductions are tried in turn until the body is small enough.
var reductions = []struct {
	name string
	keep func(report.AlertRule) report.AlertRule
}{
	{"", whole},
	{"annotations", essential},
	{"annotations and expressions", func(r report.AlertRule) report.AlertRule {
		r = essential(r)
		r.Expr = clip(r.Expr, shortBytes)
		r.Annotations = clipped(r.Annotations, shortBytes)
		return r
	}},
	{"all but names and labels", bare},
}

func whole(r report.AlertRule) report.AlertRule { return r }

// essential keeps the annotations of which dictionaries are made.
func essential(r report.AlertRule) report.AlertRule {
	kept := make(map[string]string)
	for _, name := range []string{"summary", "description", "message", "runbook_url"} {
		if text, ok := r.Annotations[name]; ok {
			kept[name] = text
		}
	}
	r.Annotations = kept
	return r
}

func bare(r report.AlertRule) report.AlertRule {
	return report.AlertRule{Alert: r.Alert, Labels: r.Labels}
}

// bounded takes bare rules while they fit.
func bounded(merged []report.RuleGroup) (Rules, error) {
	var kept []report.RuleGroup
	size, left := 0, 0
	for _, g := range reduced(merged, bare) {
		text, err := json.Marshal(g)
		if err != nil {
			return Rules{}, err
		}
		if size+len(text)+1 > maxBodyBytes-2 {
			left++
			continue
		}
		size += len(text) + 1
		kept = append(kept, g)
	}
	body, digest, err := report.CanonicalRules(kept)
	if err != nil {
		return Rules{}, err
	}
	return Rules{Groups: kept, Body: body, Digest: digest, Reduced: fmt.Sprintf("%d groups", left)}, nil
}

func reduced(groups []report.RuleGroup, keep func(report.AlertRule) report.AlertRule) []report.RuleGroup {
	out := make([]report.RuleGroup, len(groups))
	for n, g := range groups {
		out[n] = report.RuleGroup{Name: g.Name, Rules: make([]report.AlertRule, len(g.Rules))}
		for m, r := range g.Rules {
			out[n].Rules[m] = keep(r)
		}
		out[n].Rules = slices.CompactFunc(out[n].Rules, func(a, b report.AlertRule) bool { return compare(a, b) == 0 })
	}
	return out
}

// merge returns one group per name, in order of names, with its rules in order.
func merge(sources [][]report.RuleGroup) []report.RuleGroup {
	byName := make(map[string][]report.AlertRule)
	known := make(map[string]bool) // rules of the sources before
	total := 0
	for _, groups := range sources {
		fresh := make(map[string]bool)
		for _, g := range groups {
			name := clip(g.Name, maxTextBytes)
			for _, r := range g.Rules {
				r = trimmed(r)
				key := identity(name, r)
				if r.Alert == "" || known[key] || total >= report.MaxAlertRules {
					continue
				}
				fresh[key] = true
				total++
				byName[name] = append(byName[name], r)
			}
		}
		maps.Copy(known, fresh)
	}
	var merged []report.RuleGroup
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if len(merged) == report.MaxRuleGroups {
			break
		}
		rules := byName[name]
		slices.SortFunc(rules, compare)
		merged = append(merged, report.RuleGroup{Name: name, Rules: rules})
	}
	return merged
}

// trimmed bounds the texts of a rule.
func trimmed(r report.AlertRule) report.AlertRule {
	return report.AlertRule{
		Alert: clip(r.Alert, maxTextBytes), Expr: clip(r.Expr, maxTextBytes), For: clip(r.For, shortBytes),
		Labels: clipped(r.Labels, maxTextBytes), Annotations: clipped(r.Annotations, maxTextBytes),
	}
}

// clipped bounds names, values and number of labels or annotations.
func clipped(texts map[string]string, longest int) map[string]string {
	out := make(map[string]string, min(len(texts), report.MaxAlertLabels))
	for n, name := range slices.Sorted(maps.Keys(texts)) {
		if n == report.MaxAlertLabels {
			break
		}
		out[clip(name, longest)] = clip(texts[name], longest)
	}
	return out
}

// clip cuts a text between two characters.
func clip(s string, longest int) string {
	if len(s) <= longest {
		return s
	}
	const mark = "…"
	cut := longest - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

func identity(group string, r report.AlertRule) string {
	return fmt.Sprintf("%q %q %s", group, r.Alert, sorted(r.Labels))
}

// sorted prints labels in order of their names.
func sorted(labels map[string]string) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		text += fmt.Sprintf("%q=%q,", name, labels[name])
	}
	return text
}

func compare(a, b report.AlertRule) int {
	return cmp.Or(
		cmp.Compare(a.Alert, b.Alert), cmp.Compare(sorted(a.Labels), sorted(b.Labels)),
		cmp.Compare(a.Expr, b.Expr), cmp.Compare(a.For, b.For), cmp.Compare(sorted(a.Annotations), sorted(b.Annotations)),
	)
}

// duration prints a duration as Prometheus does; none is empty.
func duration(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return model.Duration(d).String()
}
