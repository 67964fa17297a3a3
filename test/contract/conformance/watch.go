package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// watch judges every answer of a run, whatever case it was given to.
type watch struct {
	seen  map[rule]map[string]bool // what was found already
	wrong map[rule]*faults
}

// rule is one thing that holds for every answer.
type rule string

const (
	ruleDocument rule = "document" // joined with the major
	ruleProblem  rule = "problem"
	ruleNull     rule = "null"
	ruleNilUUID  rule = "nilUUID"
	ruleServer   rule = "server"

	ruleMonitoring        rule = "monitoring" // joined with the major
	ruleMonitoringAnswers rule = "monitoringAnswers"
)

func (w *watch) fault(r rule, err error) {
	if w.seen == nil {
		w.seen, w.wrong = map[rule]map[string]bool{}, map[rule]*faults{}
	}
	if w.seen[r] == nil {
		w.seen[r], w.wrong[r] = map[string]bool{}, &faults{}
	}
	if text := err.Error(); !w.seen[r][text] {
		w.seen[r][text] = true
		w.wrong[r].add("%w", err)
	}
}

// found returns what broke a rule.
func (w *watch) found(r rule) error {
	if w.wrong[r] == nil {
		return nil
	}
	return w.wrong[r].err()
}

// see judges one answer.
func (w *watch) see(r *run, a answer) {
	path, _, _ := strings.Cut(a.call.path, "?")
	if below, ours := strings.CutPrefix(path, monitoringBase); ours && (below == "" || below[0] == '/') {
		w.seeMonitoring(r, below, a)
		return
	}
	below, inventory := strings.CutPrefix(path, base)
	if !inventory || below != "" && below[0] != '/' {
		return
	}
	major := r.majorOf(below)
	if err := r.documents[major].check(a); err != nil {
		w.fault(ruleDocument+rule(major), err)
	}
	if a.status >= 500 {
		w.fault(ruleServer, fmt.Errorf("%s: %d: %s", a.call, a.status, excerpt(a.body)))
	}
	if a.call.method == http.MethodHead || a.status == http.StatusRequestHeaderFieldsTooLarge {
		return
	}
	if a.status >= 400 {
		if err := problem(a); err != nil {
			w.fault(ruleProblem, err)
		}
		return
	}
	if a.mediaType() != "application/json" {
		return
	}
	v, err := a.value()
	if err != nil {
		return // ruleDocument has it
	}
	visit(v, nil, func(path []string, v any) {
		switch v {
		case nil:
			w.fault(ruleNull, fmt.Errorf("%s: %s is null", withoutQuery(a.call), strings.Join(path, "/")))
		case uuid.Nil.String():
			w.fault(ruleNilUUID, fmt.Errorf("%s: %s is the nil UUID", withoutQuery(a.call), strings.Join(path, "/")))
		}
	})
}

// majorOf returns the version that a path is of, given what it has below the API's base; the
// newest when it is of none.
func (r *run) majorOf(below string) string {
	if first := strings.SplitN(strings.TrimPrefix(below, "/"), "/", 2)[0]; slices.Contains(r.target.Majors, first) {
		return first
	}
	return r.target.Majors[len(r.target.Majors)-1]
}

// seeMonitoring judges an answer of the monitoring. There null is what the standard has where
// there is nothing to say.
func (w *watch) seeMonitoring(r *run, below string, a answer) {
	major := r.majorOf(below)
	document := r.monitoring[major]
	if document == nil || a.status == http.StatusRequestHeaderFieldsTooLarge {
		return
	}
	if err := document.check(a); err != nil {
		w.fault(ruleMonitoring+rule(major), err)
	}
	switch {
	case a.status >= 500:
		w.fault(ruleMonitoringAnswers, fmt.Errorf("%s: %d: %s", a.call, a.status, excerpt(a.body)))
	case a.status >= 400 && a.call.method != http.MethodHead:
		if err := problem(a); err != nil {
			w.fault(ruleMonitoringAnswers, err)
		}
	case a.mediaType() == "application/json" && strings.Contains(string(a.body), uuid.Nil.String()):
		w.fault(ruleMonitoringAnswers, fmt.Errorf("%s: has the nil UUID", withoutQuery(a.call)))
	}
}

func withoutQuery(k call) string {
	k.path, _, _ = strings.Cut(k.path, "?")
	return k.String()
}

// problem returns what is wrong with the body of an error.
//
// Source: SOL013 6; RFC 9457; SOL013 6.3.
func problem(a answer) error {
	p, err := a.object()
	if err != nil {
		return err
	}
	var wrong faults
	if a.mediaType() != problemType {
		wrong.add("%s: %d has Content-Type %q, want %s", a.call, a.status, a.header.Get("Content-Type"), problemType)
	}
	if got := fmt.Sprint(p["status"]); got != fmt.Sprint(a.status) {
		wrong.add("%s: %d with status %s in its body", a.call, a.status, got)
	}
	if text(p, "detail") == "" {
		wrong.add("%s: %d without detail", a.call, a.status)
	}
	if got, want := text(p, "title"), http.StatusText(a.status); got != want {
		wrong.add("%s: %d with title %q, want %q", a.call, a.status, got, want)
	}
	if _, there := p["instance"]; there {
		wrong.add("%s: %d with instance, on whose type nobody agrees", a.call, a.status)
	}
	return wrong.err()
}

// answerCases judge all answers of the run, so they come last.
func answerCases() []Case {
	all := func(id, source, expect string, r rule) Case {
		return Case{ID: id, Source: source, Expect: expect, once: true, run: func(x *exchange) error { return x.run.watch.found(r) }}
	}
	return []Case{
		{ID: "INV-DOC-01", Source: "SPEC 3.2; style", Expect: "every answer of this run validates against the OpenAPI document of its path and status",
			run: func(x *exchange) error { return x.run.watch.found(ruleDocument + rule(x.major)) }},
		{ID: "INV-DOC-02", Source: "api.md", Expect: "the OpenAPI document is served, as YAML, and is the one we know", run: servedDocument},
		all("INV-ERR-08", "SOL013 6.3", "every error of this run is problem+json: status, detail, title; no instance", ruleProblem),
		all("INV-ERR-09", "SOL013 6.3", "no request of this run is answered 5xx", ruleServer),
		all("INV-ALL-07", "api.md", "no answer of this run contains null", ruleNull),
		all("INV-ALL-08", "api.md", "no answer of this run contains the nil UUID", ruleNilUUID),
	}
}

func servedDocument(x *exchange) error { return servedAs(x, x.run.documents[x.major]) }

// servedAs checks that the document that is served is the one that answers are checked against.
func servedAs(x *exchange, known *validator) error {
	a, err := x.get("/openapi.yaml")
	if err != nil {
		return err
	}
	if err := a.want(http.StatusOK); err != nil {
		return err
	}
	var wrong faults
	if got := a.mediaType(); got != "application/yaml" {
		wrong.add("Content-Type %q, want application/yaml", got)
	}
	served, err := parseDocument(a.body)
	if err != nil {
		return err
	}
	if canonical(served) != canonical(known.document) {
		wrong.add("the document served is not the one that answers are checked against")
	}
	return wrong.err()
}
