package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// run is one run of all cases.
type run struct {
	client    *client
	target    Target
	found     map[string]*discovery // by major
	documents map[string]*validator // by major
	watch     watch
}

// Run tries every case on the target. It returns an error only when it cannot begin, as when
// the target is not a good one or does not answer; what the server does wrong is in the report.
func Run(ctx context.Context, t Target) (Report, error) {
	if err := t.Validate(); err != nil {
		return Report{}, err
	}
	began := time.Now()
	r := &run{client: newClient(t), target: t, found: map[string]*discovery{}, documents: map[string]*validator{}}
	defer r.client.close()
	for _, major := range t.Majors {
		v, err := newValidator(major)
		if err != nil {
			return Report{}, err
		}
		r.documents[major] = v
	}
	r.client.observers = append(r.client.observers, func(a answer) { r.watch.see(r, a) })

	var report Report
	report.NoSkip = t.NoSkip
	for _, major := range t.Majors {
		x := &exchange{ctx: ctx, client: r.client, major: major, run: r}
		found, err := discover(x)
		if err != nil {
			if ctx.Err() != nil {
				return Report{}, err
			}
			report.Results = append(report.Results, Result{Case: discoveryCase, Major: major, Verdict: Fail, Reason: err.Error()})
			found = &discovery{}
		}
		r.found[major] = found
	}
	for _, c := range cases() {
		if slices.Contains(t.Without, c.Group()) {
			continue
		}
		for _, major := range c.on(t.Majors) {
			result := Result{Case: c, Major: major}
			x := &exchange{ctx: ctx, client: r.client, major: major, found: r.found[major], run: r}
			result.Verdict, result.Reason = verdictOf(try(c, x))
			report.Results = append(report.Results, result)
			if ctx.Err() != nil {
				return Report{}, fmt.Errorf("%s: %w", result.Name(), ctx.Err())
			}
		}
	}
	report.Answers, report.Duration = r.client.answers, time.Since(began)
	return report, nil
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
var discoveryCase = Case{ID: "INV-ALL-00", Source: "sheet A.1", Expect: "all collections can be read whole"}

// errNothing is why a case without data is skipped, when no better reason is at hand.
var errNothing = errors.New("the server has nothing to try this on")
