package conformance

import (
	"fmt"
	"net/http"
	"strings"
)

// explainCases are about our own parameter explain, which the standards do not have.
func explainCases() []Case {
	return []Case{
		{ID: "INV-EXP-01", Source: "docs/api.md", Expect: "explain with a filter counts what matches, and says of the first records which term failed", run: explained},
		{ID: "INV-EXP-02", Source: "docs/api.md", Expect: "explain without a filter is ignored", run: func(x *exchange) error {
			return x.same("/resourceTypes", "/resourceTypes?explain")
		}},
		{ID: "INV-EXP-03", Source: "docs/api.md", Expect: "explain of a bad filter is 400", run: func(x *exchange) error {
			return x.status("/resourceTypes?explain&filter=junk", http.StatusBadRequest)
		}},
		{ID: "INV-EXP-04", Source: "api.md", Expect: "explain does not tell a reader what profileData holds", run: func(x *exchange) error {
			for _, m := range x.found.managers.records {
				p, there := profile(m)
				if !there {
					continue
				}
				a, err := x.asReader(call{path: x.root() + filtered(x.found.managers.path, "(eq,extensions/profileData/cluster_api_endpoint,x)") + "&explain"})
				if err != nil {
					return err
				}
				// The endpoint of a cluster is its serviceUri, too, so the CA is what to look for.
				a2, err := x.asReader(call{path: x.root() + filtered(x.found.managers.path, "(eq,extensions/profileData/cluster_ca_cert,x)") + "&explain"})
				if err != nil {
					return err
				}
				secret := text(p, "cluster_ca_cert")
				if strings.Contains(string(a.body), text(p, "cluster_api_endpoint")) || secret != "" && strings.Contains(string(a2.body), firstLine(secret)) {
					return fmt.Errorf("%s tells a reader: %s", a.call, excerpt(a.body))
				}
				return nil
			}
			return skip("no deploymentManager has profileData for this caller")
		}},
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func explained(x *exchange) error {
	t, err := x.idTrial()
	if err != nil {
		return err
	}
	c := t.collection
	terms := both(t)
	o, err := x.object(filtered(c.path, write(false, terms...)) + "&explain")
	if err != nil {
		return err
	}
	matched := 0
	for _, r := range c.records {
		if ok, _ := matches(r, terms...); ok {
			matched++
		}
	}
	var wrong faults
	if got := fmt.Sprint(o["matched"]); got != fmt.Sprint(matched) {
		wrong.add("matched is %s, want %d", got, matched)
	}
	if got := fmt.Sprint(o["total"]); got != fmt.Sprint(len(c.records)) {
		wrong.add("total is %s, want %d", got, len(c.records))
	}
	list := objects(o, "explain")
	if len(list) == 0 {
		wrong.add("nothing is explained: %s", canonical(o))
	}
	for i, e := range list {
		r := c.records[i]
		if text(e, "id") != text(r, c.key) {
			wrong.add("record %d is %s, want %s", i, text(e, "id"), text(r, c.key))
			continue
		}
		ok, _ := matches(r, terms...)
		if e["matches"] != ok {
			wrong.add("%s: matches is %v, want %t", text(r, c.key), e["matches"], ok)
		}
		if ok != (text(e, "term") == "") {
			wrong.add("%s: matches: %t, failed term %q", text(r, c.key), ok, text(e, "term"))
		}
	}
	return wrong.err()
}
