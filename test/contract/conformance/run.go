package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	alarmapi "github.com/o2ims/o2ims/pkg/alarm/openapi"
)

// run is one run of all cases.
type run struct {
	client    *client
	target    Target
	found     map[string]*discovery // by major
	documents map[string]*validator // by major
	watch     watch

	monitoring map[string]*validator // by major; empty when the target does not claim to have it
}

// Run tries every case on the target. It returns an error only when it cannot begin, as when
// the target is not a good one or does not answer; what the server does wrong is in the report.
func Run(ctx context.Context, t Target) (Report, error) {
	if err := t.Validate(); err != nil {
		return Report{}, err
	}
	began := time.Now()
	r := &run{client: newClient(t), target: t, found: map[string]*discovery{}, documents: map[string]*validator{}, monitoring: map[string]*validator{}}
	defer r.client.close()
	for _, major := range t.Majors {
		v, err := newValidator(major)
		if err != nil {
			return Report{}, err
		}
		r.documents[major] = v
		if !t.Monitoring {
			continue
		}
		if r.monitoring[major], err = validatorOf(alarmapi.Document(major)); err != nil {
			return Report{}, fmt.Errorf("OpenAPI document of the monitoring, %s: %w", major, err)
		}
	}
	r.client.observers = append(r.client.observers, func(a answer) { r.watch.see(r, a) })

	if _, err := r.client.do(ctx, call{path: base + "/api_versions"}); err != nil {
		return Report{}, fmt.Errorf("the server does not answer: %w", err)
	}
	var report Report
	report.NoSkip = t.NoSkip
	for _, major := range t.Majors {
		found, err := discover(&exchange{ctx: ctx, client: r.client, major: major, run: r})
		if ctx.Err() != nil {
			return Report{}, ctx.Err()
		}
		if err != nil {
			report.Results = append(report.Results, Result{Case: discoveryCase, Major: major, Verdict: Fail, Reason: err.Error()})
		}
		r.found[major] = found
	}
	for _, c := range cases() {
		if c.monitoring() && !t.Monitoring {
			continue
		}
		if slices.Contains(t.Without, c.Group()) || t.Only != nil && !slices.Contains(t.Only, c.Group()) {
			continue
		}
		for _, major := range c.on(t.Majors) {
			result := Result{Case: c, Major: major}
			x := &exchange{ctx: ctx, client: r.client, major: major, found: r.found[major], run: r}
			if c.monitoring() {
				x.service = monitoringBase
			}
			err := try(c, x)
			if verdict, _ := verdictOf(err); verdict == Fail && r.changed(ctx) {
				x.found = r.found[major]
				err = try(c, x)
			}
			result.Verdict, result.Reason = verdictOf(err)
			report.Results = append(report.Results, result)
			if ctx.Err() != nil {
				return Report{}, fmt.Errorf("%s: %w", result.Name(), ctx.Err())
			}
		}
	}
	report.Answers, report.Duration = r.client.answers, time.Since(began)
	return report, nil
}

// changed reads again what the server has and tells whether it is something else than when
// it was read before. A case that failed meanwhile deserves another try: a hub lives.
func (r *run) changed(ctx context.Context) bool {
	changed := false
	for _, major := range r.target.Majors {
		found, err := discover(&exchange{ctx: ctx, client: r.client, major: major, run: r})
		if err != nil || found.digest() == r.found[major].digest() {
			continue
		}
		r.found[major], changed = found, true
	}
	return changed
}

// try runs one case. A case that panics met something that no case reckoned with, which is
// the server's fault to be seen and not a reason to end the run.
func try(c Case, x *exchange) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the case broke off: %v", cause)
		}
	}()
	return c.run(x)
}

// discoveryCase stands in the report when the server's lists cannot be read at all.
var discoveryCase = Case{ID: "INV-ALL-00", Source: "SPEC InfrastructureInventory", Expect: "all collections can be read whole"}
