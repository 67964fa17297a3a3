package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

// prometheusRules is what the Prometheus operator reads rules from.
var prometheusRules = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "prometheusrules"}

const (
	maxAnswerBytes = 64 << 20 // Prometheus tells what fires, too; a group at a time is held
	pageSize       = 50       // of PrometheusRules
)

// Collector collects alerting rules. Hash and Body, which speak of what was found last, are
// safe for concurrent use; it implements alert.Rules.
type Collector struct {
	prometheus *wire.Endpoint
	objects    dynamic.Interface

	// what sources said when they last answered: one that is away takes no rule away
	loaded, declared []report.RuleGroup
	missing          bool // some source did not answer when asked last
	current          atomic.Pointer[Rules]
}

// NewCollector returns a collector. prometheus may be nil; so may objects, the dynamic
// client of the managed cluster.
func NewCollector(prometheus *wire.Endpoint, objects dynamic.Interface) *Collector {
	return &Collector{prometheus: prometheus, objects: objects}
}

// Hash is the digest of the rules, "" while they are not known.
func (c *Collector) Hash() string {
	if r := c.current.Load(); r != nil {
		return r.Digest
	}
	return ""
}

// Body is the body of a rules report. The error wraps fault.Unavailable while the rules are
// not known.
func (c *Collector) Body() ([]byte, error) {
	if r := c.current.Load(); r != nil {
		return r.Body, nil
	}
	return nil, fmt.Errorf("alerting rules are not known yet: %w", fault.Unavailable)
}

// soonAgain is when a source that did not answer is asked again first; then it takes twice
// as long each time, up to the interval. When a cluster starts, we may well be up before
// Prometheus is.
const soonAgain = time.Second

// Run collects at once and then at intervals that vary by a tenth, until ctx ends. changed
// is called when the rules are different from those before.
func (c *Collector) Run(ctx context.Context, interval time.Duration, changed func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	again := soonAgain
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		rules, err := c.Collect(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			slog.WarnContext(ctx, "alerting rules not collected", "error", err)
		case err == nil && rules.Digest != c.Hash():
			if rules.Reduced != "" {
				slog.WarnContext(ctx, "alerting rules are too long to be reported in full", "leftOut", rules.Reduced)
			}
			rules.Groups = nil // Body has them
			c.current.Store(&rules)
			changed()
		}
		wait := interval
		if c.missing {
			wait = min(again, interval)
			again = min(2*again, interval)
		} else {
			again = soonAgain
		}
		timer.Reset(time.Duration(float64(wait) * (0.9 + 0.2*rand.Float64())))
	}
}

// Collect returns the rules as they are now. When some source does not answer, what it said
// before stands for it; an error means that none did.
func (c *Collector) Collect(ctx context.Context) (Rules, error) {
	var faults []error
	answered := false
	for _, s := range []struct {
		ask  func(context.Context) ([]report.RuleGroup, error)
		keep *[]report.RuleGroup
	}{{c.fromPrometheus, &c.loaded}, {c.fromObjects, &c.declared}} {
		groups, err := s.ask(ctx)
		switch {
		case errors.Is(err, fault.NotFound): // there is no such source here
		case err != nil:
			faults = append(faults, err)
		default:
			*s.keep, answered = groups, true
		}
	}
	c.missing = len(faults) > 0
	if !answered && c.missing {
		return Rules{}, errors.Join(faults...)
	}
	for _, err := range faults {
		slog.WarnContext(ctx, "a source of alerting rules does not answer", "error", err)
	}
	return canonical(c.loaded, c.declared)
}

// fromPrometheus asks for the rules that are loaded.
func (c *Collector) fromPrometheus(ctx context.Context) ([]report.RuleGroup, error) {
	if c.prometheus == nil {
		return nil, fault.NotFound
	}
	query := url.Values{"type": {"alert"}, "exclude_alerts": {"true"}} // the latter since 2.54, ignored before
	var groups []report.RuleGroup
	err := c.prometheus.Get(ctx, "/api/v1/rules", query, maxAnswerBytes, func(a wire.Answer) error {
		return wire.Data(json.NewDecoder(a.Body), "groups", func(raw json.RawMessage) error {
			g, err := loadedGroup(raw)
			groups = append(groups, g)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("Prometheus: %w", err)
	}
	return groups, nil
}

func loadedGroup(raw json.RawMessage) (report.RuleGroup, error) {
	var g struct {
		Name  string
		Rules []struct {
			Type        string
			Name        string
			Query       string
			Duration    float64 // seconds
			Labels      map[string]string
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		return report.RuleGroup{}, fmt.Errorf("a group of rules: %v: %w", err, fault.Invalid)
	}
	out := report.RuleGroup{Name: g.Name}
	for _, r := range g.Rules {
		if r.Type != "alerting" {
			continue
		}
		out.Rules = append(out.Rules, report.AlertRule{
			Alert: r.Name, Expr: r.Query, For: duration(time.Duration(r.Duration * float64(time.Second))),
			Labels: r.Labels, Annotations: r.Annotations,
		})
	}
	return out, nil
}

// fromObjects reads PrometheusRules, page by page. Where their kind does not exist, or may
// not be read, there is no such source.
func (c *Collector) fromObjects(ctx context.Context) ([]report.RuleGroup, error) {
	if c.objects == nil {
		return nil, fault.NotFound
	}
	var groups []report.RuleGroup
	page := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := c.objects.Resource(prometheusRules).List(ctx, page)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
			return nil, fault.NotFound
		case err != nil:
			return nil, fmt.Errorf("PrometheusRules: %w: %w", err, fault.Unavailable)
		}
		for n := range list.Items {
			groups = append(groups, declaredGroups(&list.Items[n])...)
		}
		if page.Continue = list.GetContinue(); page.Continue == "" {
			return groups, nil
		}
	}
}

// prometheusRule is as much of a PrometheusRule as concerns us.
type prometheusRule struct {
	Spec struct {
		Groups []struct {
			Name  string          `json:"name"`
			Rules []declaredEntry `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

type declaredEntry struct {
	Alert       string            `json:"alert"` // empty: a recording rule
	Expr        any               `json:"expr"`  // a text or a number
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// declaredGroups reads one object. One that cannot be read has no rules: Prometheus would
// not have loaded it, either.
func declaredGroups(object *unstructured.Unstructured) []report.RuleGroup {
	var r prometheusRule
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &r); err != nil {
		slog.Warn("PrometheusRule not read", "namespace", object.GetNamespace(), "name", object.GetName(), "error", err)
		return nil
	}
	var groups []report.RuleGroup
	for _, g := range r.Spec.Groups {
		out := report.RuleGroup{Name: g.Name}
		for _, e := range g.Rules {
			if e.Alert == "" {
				continue
			}
			out.Rules = append(out.Rules, report.AlertRule{
				Alert: e.Alert, Expr: fmt.Sprint(e.Expr), For: sameDuration(e.For), Labels: e.Labels, Annotations: e.Annotations,
			})
		}
		groups = append(groups, out)
	}
	return groups
}

// sameDuration prints a duration as Prometheus would have: 60s and 1m are the same.
func sameDuration(text string) string {
	d, err := model.ParseDuration(text)
	if err != nil {
		return text
	}
	return duration(time.Duration(d))
}
