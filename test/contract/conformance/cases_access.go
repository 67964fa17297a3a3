package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

func authCases() []Case {
	return []Case{
		{ID: "INV-AUT-01", Source: "CONF 7.3.8-s1; SOL013 6.3", Expect: "without a token every path is 401", run: refusedEverywhere(noToken, nil)},
		{ID: "INV-AUT-02", Source: "CONF 7.3.8-s2; SOL013 6.3", Expect: "with a token that is none every path is 401", run: refusedEverywhere("not-a-token", nil)},
		{ID: "INV-AUT-03", Source: "CONF 7.3.8-s2; roles.md", Expect: "a JWT without signature or with a wrong one is 401", run: refusedEverywhere(forgedToken, nil)},
		{ID: "INV-AUT-04", Source: "RFC 6750 3", Expect: "401 has WWW-Authenticate: Bearer, with error=invalid_token only when a token was sent", once: true, run: challenges},
		{ID: "INV-AUT-05", Source: "RFC 6750 2.1", Expect: "the token in another scheme, in the query or sent twice is 401", once: true, run: otherCarriers},
		{ID: "INV-AUT-06", Source: "RFC 9110 11.1", Expect: "the scheme bearer is taken in any case", once: true, run: func(x *exchange) error {
			a, err := x.do(call{path: base + "/api_versions", token: noToken, header: http.Header{"Authorization": {"bearer " + x.run.target.Token}}})
			if err != nil {
				return err
			}
			return a.want(http.StatusOK)
		}},
		{ID: "INV-AUT-07", Source: "roles.md; CONF 7.3.8-s3", Expect: "a reader may read every path", run: readerReads},
		{ID: "INV-AUT-08", Source: "roles.md", Expect: "a reader who wants to change something is 403", run: readerChanges},
		{ID: "INV-AUT-09", Source: "SPEC InfrastructureInventory; api.md", Expect: "a reader sees deploymentManagers without extensions.profileData, whatever the selectors", run: readerProfiles},
		{ID: "INV-AUT-10", Source: "SPEC InfrastructureInventory; api.md", Expect: "a reader cannot find out profileData by filters either", run: readerGuesses},
		{ID: "INV-AUT-11", Source: "SPEC InfrastructureInventory", Expect: "who may see it sees the endpoint and CA of a cluster in profileData, and no key of it", run: deployerProfiles},
		{ID: "INV-AUT-15", Source: "SPEC InfrastructureInventory; api.md", Expect: "a token of a cluster is in the answer to a GET of its deploymentManager, which no cache keeps, and nowhere else", run: clusterTokens},
		{ID: "INV-AUT-12", Source: "api.md.12; api.md", Expect: "/healthz and /readyz are anonymous and 200", once: true, run: func(x *exchange) error {
			var wrong faults
			for _, path := range []string{"/healthz", "/readyz"} {
				a, err := x.do(call{path: path, token: noToken})
				if err != nil {
					return err
				}
				if err := a.want(http.StatusOK); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}},
		{ID: "INV-AUT-13", Source: "roles.md", Expect: "headers that a client can set do not replace a token", once: true, run: setHeaders},
	}
}

// forgedToken is a JWT whose header says that it needs no signature.
const forgedToken = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMiLCJzdWIiOiJzeXN0ZW06YWRtaW4iLCJhdWQiOlsibzJpbXMiXSwiZXhwIjo0MTAyNDQ0ODAwfQ."

// refusedEverywhere wants 401 for paths that are there and for one that is not.
func refusedEverywhere(token string, header http.Header) func(*exchange) error {
	return func(x *exchange) error {
		var wrong faults
		for _, path := range append(x.readPaths(), "/nothing", "/resourcePools/x", "/resourcePools?filter=junk") {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a, err := x.do(call{method: method, path: x.root() + path, token: token, header: header})
				if err != nil {
					return err
				}
				if err := a.want(http.StatusUnauthorized); err != nil {
					wrong.add("%w", err)
				}
			}
		}
		return wrong.err()
	}
}

func challenges(x *exchange) error {
	var wrong faults
	for _, tc := range []struct {
		token  string
		reason bool
	}{{noToken, false}, {"not-a-token", true}} {
		a, err := x.do(call{path: base + "/api_versions", token: tc.token})
		if err != nil {
			return err
		}
		challenge := a.header.Get("WWW-Authenticate")
		scheme, _, _ := strings.Cut(challenge, " ")
		if a.status != http.StatusUnauthorized || !strings.EqualFold(scheme, "Bearer") {
			wrong.add("%s with token %q: %d with WWW-Authenticate %q", a.call, tc.token, a.status, challenge)
		}
		if got := strings.Contains(challenge, `error="invalid_token"`); got != tc.reason {
			wrong.add("%s with token %q: WWW-Authenticate %q, want error=invalid_token in it: %t", a.call, tc.token, challenge, tc.reason)
		}
	}
	return wrong.err()
}

func otherCarriers(x *exchange) error {
	var wrong faults
	token := x.run.target.Token
	for _, k := range []call{
		{header: http.Header{"Authorization": {"Basic " + token}}},
		{header: http.Header{"Authorization": {token}}},
		{header: http.Header{"Authorization": {"Bearer"}}},
		{header: http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}}},
		{path: "?access_token=" + token},
	} {
		k.path, k.token = base+"/api_versions"+k.path, noToken
		a, err := x.do(k)
		if err != nil {
			return err
		}
		if a.status != http.StatusUnauthorized {
			wrong.add("token sent by other means: %d, want 401", a.status)
		}
	}
	return wrong.err()
}

func setHeaders(x *exchange) error {
	var wrong faults
	for _, h := range []http.Header{
		{"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-User": {"admin"}, "X-Remote-User": {"system:admin"}, "X-Remote-Group": {"system:masters"}},
		{"X-Ssl-Client-Verify": {"0"}, "X-Ssl-Client-Der": {"MIIB"}, "Client-Cert": {":MIIB:"}},
		{"Impersonate-User": {"system:admin"}, "Impersonate-Group": {"system:masters"}},
	} {
		a, err := x.do(call{path: base + "/api_versions", token: noToken, header: h})
		if err != nil {
			return err
		}
		if err := a.want(http.StatusUnauthorized); err != nil {
			wrong.add("with %v: %w", h, err)
		}
	}
	return wrong.err()
}

// asReader does a call with the reader's token.
func (x *exchange) asReader(k call) (answer, error) {
	if x.run.target.ReaderToken == "" {
		return answer{}, skip("no reader's token was given")
	}
	k.token = x.run.target.ReaderToken
	return x.do(k)
}

func readerReads(x *exchange) error {
	var wrong faults
	for _, path := range x.readPaths() {
		a, err := x.asReader(call{path: x.root() + path})
		if err != nil {
			return err
		}
		if err := a.want(http.StatusOK); err != nil {
			wrong.add("reader: %w", err)
		}
	}
	return wrong.err()
}

func readerChanges(x *exchange) error {
	var wrong faults
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, path := range []string{"", "/resourcePools", "/resourcePools/" + unknownID(), "/resourceTypes"} {
			a, err := x.asReader(call{method: method, path: x.root() + path})
			if err != nil {
				return err
			}
			if err := a.want(http.StatusForbidden); err != nil {
				wrong.add("reader: %w", err)
			}
		}
	}
	return wrong.err()
}

// profile returns what a record tells of how to reach its cluster.
func profile(manager record) (record, bool) {
	extensions, _ := manager["extensions"].(record)
	p, there := extensions["profileData"].(record)
	return p, there
}

func readerProfiles(x *exchange) error {
	if len(x.found.managers.records) == 0 {
		return skip("there are no deploymentManagers")
	}
	var wrong faults
	paths := []string{x.found.managers.single(x.found.managers.ids()[0])}
	for _, selector := range []string{"", "?all_fields", "?fields=extensions", "?fields=extensions/profileData", "?fields=extensions/profileData/cluster_api_endpoint"} {
		paths = append(paths, x.found.managers.path+selector, x.found.managers.single(x.found.managers.ids()[0])+selector)
	}
	for _, path := range paths {
		a, err := x.asReader(call{path: x.root() + path})
		if err != nil {
			return err
		}
		if a.status == http.StatusOK && strings.Contains(string(a.body), "profileData") {
			wrong.add("%s shows a reader profileData: %s", a.call, excerpt(a.body))
		}
		if a.status != http.StatusOK && a.status != http.StatusBadRequest {
			wrong.add("%s as a reader: %d", a.call, a.status)
		}
	}
	return wrong.err()
}

func readerGuesses(x *exchange) error {
	var endpoint string
	for _, m := range x.found.managers.records {
		if p, there := profile(m); there {
			endpoint = text(p, "cluster_api_endpoint")
		}
	}
	if endpoint == "" {
		return skip("no deploymentManager shows cluster_api_endpoint to anybody")
	}
	var wrong faults
	for _, f := range []string{"(cont,extensions/profileData/cluster_api_endpoint,http)", "(eq,extensions/profileData/cluster_api_endpoint,'" + endpoint + "')", "(eq,extensions/@key,profileData)", "(cont,extensions/profileData/@key,cluster)"} {
		a, err := x.asReader(call{path: x.root() + filtered(x.found.managers.path, f)})
		if err != nil {
			return err
		}
		if a.status == http.StatusOK && strings.TrimSpace(string(a.body)) != "[]" {
			wrong.add("%s tells a reader what profileData holds", a.call)
		}
		if a.status == http.StatusOK && a.header.Get("X-Total-Count") != "0" {
			wrong.add("%s tells a reader what profileData holds: X-Total-Count %s", a.call, a.header.Get("X-Total-Count"))
		}
	}
	return wrong.err()
}

func deployerProfiles(x *exchange) error {
	tried := false
	var wrong faults
	for _, m := range x.found.managers.records {
		p, there := profile(m)
		if !there {
			continue
		}
		tried = true
		if text(p, "cluster_api_endpoint") == "" {
			wrong.add("%s: profileData without cluster_api_endpoint: %s", text(m, "name"), canonical(p))
		}
		for _, key := range []string{"admin_user", "admin_client_cert", "admin_client_key", "token"} {
			if _, there := p[key]; there {
				wrong.add("%s: profileData has %s in a list", text(m, "name"), key)
			}
		}
	}
	if !tried {
		return skip("no deploymentManager has profileData for this caller")
	}
	return wrong.err()
}

// showsToken tells whether an answer is a deploymentManager with a token.
func showsToken(a answer) bool {
	m, err := a.object()
	if err != nil {
		return false
	}
	p, _ := profile(m)
	return text(p, "token") != ""
}

// clusterTokens looks for tokens where they belong, and for the same tokens where they do not.
func clusterTokens(x *exchange) error {
	managers := x.found.managers
	var wrong faults
	tried := false
	for _, id := range managers.ids() {
		path := x.root() + managers.single(id)
		a, err := x.do(call{path: path})
		if err != nil {
			return err
		}
		m, err := a.object()
		if err != nil {
			return err
		}
		p, _ := profile(m)
		token := text(p, "token")
		if token == "" {
			continue
		}
		tried = true
		if cache := a.header.Get("Cache-Control"); cache != "no-store" || a.header.Get("ETag") != "" {
			wrong.add("%s shows a token with Cache-Control %q and ETag %q, want no-store and none", a.call, cache, a.header.Get("ETag"))
		}
		for _, elsewhere := range []struct {
			path   string
			reader bool
		}{
			{managers.path + "?all_fields", false},
			{managers.path + "?fields=extensions/profileData/token", false},
			{filtered(managers.path, "(eq,extensions/profileData/token,'"+token+"')") + "&all_fields", false},
			{managers.single(id), true},
			{managers.single(id) + "?fields=extensions/profileData/token", true},
			{managers.path + "?all_fields", true},
		} {
			ask := x.do
			if elsewhere.reader {
				ask = x.asReader
			}
			a, err := ask(call{path: x.root() + elsewhere.path})
			if err != nil {
				return err
			}
			if strings.Contains(string(a.body), token) {
				wrong.add("%s shows the token of %s, as a reader: %t", a.call, text(m, "name"), elsewhere.reader)
			}
			if strings.Contains(elsewhere.path, "filter=") && a.header.Get("X-Total-Count") != "0" {
				wrong.add("%s finds a token: X-Total-Count %s", a.call, a.header.Get("X-Total-Count"))
			}
		}
	}
	if !tried {
		return skip("no deploymentManager shows a token to this caller")
	}
	return wrong.err()
}

func orderCases() []Case {
	unknown := unknownID()
	order := func(id, expect string, token string, k call, want int) Case {
		return Case{ID: id, Source: "api.md; security.md", Expect: expect, run: func(x *exchange) error {
			k := k
			k.path = x.root() + k.path
			do := x.do
			if token == "reader" {
				do = x.asReader
			} else {
				k.token = token
			}
			a, err := do(k)
			if err != nil {
				return err
			}
			return a.want(want)
		}}
	}
	return []Case{
		order("INV-ORD-01", "401 before 404", noToken, call{path: "/nothing"}, 401),
		order("INV-ORD-02", "401 before 405", noToken, call{method: "DELETE", path: "/resourcePools"}, 401),
		order("INV-ORD-03", "401 before 400", noToken, call{path: "/resourcePools/x?filter=junk"}, 401),
		order("INV-ORD-04", "401 before 415", noToken, call{method: "POST", path: "/resourcePools", body: "<x/>", header: http.Header{"Content-Type": {"text/xml"}}}, 401),
		order("INV-ORD-05", "403 before 405", "reader", call{method: "DELETE", path: "/resourcePools/" + unknown}, 403),
		order("INV-ORD-06", "403 before 404", "reader", call{method: "DELETE", path: "/nothing"}, 403),
		order("INV-ORD-07", "404 of a path before 400 of its query", "", call{path: "/nothing?filter=junk&fields=a&exclude_fields=b"}, 404),
		order("INV-ORD-08", "405 before 400", "", call{method: "POST", path: "/resourcePools/x?filter=junk"}, 405),
		order("INV-ORD-09", "405 before 415", "", call{method: "PUT", path: "/resourcePools", body: "<x/>", header: http.Header{"Content-Type": {"text/xml"}}}, 405),
		order("INV-ORD-10", "400 of a path parameter before 404", "", call{path: "/resourcePools/" + unknown + "/resources/x"}, 400),
		order("INV-ORD-11", "400 of a filter before 404 of the object", "", call{path: "/resourcePools/" + unknown + "/resources?filter=junk"}, 400),
		order("INV-ORD-12", "400 of a selector before 404 of the object", "", call{path: "/resourcePools/" + unknown + "?fields=wrongAttrName"}, 400),
		order("INV-ORD-13", "400 of a marker before 404 of the object", "", call{path: "/resourcePools/" + unknown + "/resources?nextpage_opaque_marker=junk"}, 400),
	}
}

func subscriptionCases() []Case {
	const path = "/subscriptions"
	post := func(id, source, expect, contentType, body string, want int) Case {
		return Case{ID: id, Source: source, Expect: expect, run: func(x *exchange) error {
			a, err := x.do(call{method: http.MethodPost, path: x.root() + path, body: body, header: http.Header{"Content-Type": {contentType}}})
			if err != nil {
				return err
			}
			return a.want(want)
		}}
	}
	return []Case{
		{ID: "INV-SUB-01", Source: "SPEC subscriptions", Expect: "GET subscriptions is an array", run: func(x *exchange) error { _, err := x.list(path); return err }},
		post("INV-SUB-02", "CONF 7.3.3", "POST without callback is 400", "application/json", `{"filter":""}`, 400),
		post("INV-SUB-03", "CONF 7.3.11", "junk declared as JSON is 400", "application/json", `{junk`, 400),
		post("INV-SUB-04", "CONF 7.3.11", "XML declared as JSON is 400", "application/json", `<subscription/>`, 400),
		post("INV-SUB-05", "RFC 9110", "a body that declares another type is 415", "text/xml", `<subscription/>`, 415),
		post("INV-SUB-06", "SOL013 6.3", "a body of more than 1 MiB is 413", "application/json", `{"callback":"`+strings.Repeat("x", 1<<20)+`"}`, 413),
		post("INV-SUB-07", "SPEC subscriptions", "a subscriptionId in POST is 400", "application/json", `{"callback":"https://smo.example.net/cb","subscriptionId":"`+unknownID()+`"}`, 400),
		{ID: "INV-SUB-08", Source: "CONF 7.3.12", Expect: "DELETE of an unknown subscription is 404", run: func(x *exchange) error {
			a, err := x.do(call{method: http.MethodDelete, path: x.root() + path + "/" + unknownID()})
			if err != nil {
				return err
			}
			return a.want(http.StatusNotFound)
		}},
		{ID: "INV-SUB-09", Source: "CONF 7.3.6", Expect: "PUT and PATCH on subscriptions are 405", run: func(x *exchange) error {
			var wrong faults
			for _, method := range []string{http.MethodPut, http.MethodPatch} {
				a, err := x.do(call{method: method, path: x.root() + path, body: "{}", header: jsonBody})
				if err != nil {
					return err
				}
				if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
					wrong.add("%s: %d with Allow %q", a.call, a.status, a.header.Get("Allow"))
				}
			}
			return wrong.err()
		}},
		{ID: "INV-SUB-10", Source: "CONF 7.3.3; SPEC subscriptions", Expect: "a subscription is made, read, listed, refused as a duplicate, and deleted", run: subscriptionLife},
		post("INV-SUB-11", "SPEC subscriptions", "a filter that cannot be read is 400", "application/json", `{"callback":"https://smo.example.net/cb","filter":"(eq,junk"}`, 400),
		post("INV-SUB-12", "SPEC subscriptions", "a filter about an objectType that there is not is 400", "application/json", `{"callback":"https://smo.example.net/cb","filter":"(eq,objectType,NothingInfo)"}`, 400),
		post("INV-SUB-13", "api.md", "a callback on loopback is 400", "application/json", `{"callback":"https://[::1]:9443/cb"}`, 400),
		post("INV-SUB-14", "api.md", "a callback of another scheme is 400", "application/json", `{"callback":"ftp://smo.example.net/cb"}`, 400),
	}
}

// subscriptionLife takes a subscription from its beginning to its end. Its callback is at an
// address of RFC 5737, where nobody is.
func subscriptionLife(x *exchange) error {
	collection := x.root() + "/subscriptions"
	body := fmt.Sprintf(`{"callback":"https://203.0.113.7/%s","consumerSubscriptionId":"%s"}`, unknownID(), unknownID())
	create := call{method: http.MethodPost, path: collection, body: body, header: jsonBody}
	made, err := x.do(create)
	if err != nil {
		return err
	}
	if err := made.want(http.StatusCreated); err != nil {
		return err
	}
	var asked, got map[string]any
	if err := errors.Join(json.Unmarshal([]byte(body), &asked), json.Unmarshal(made.body, &got)); err != nil {
		return err
	}
	var wrong faults
	for name, value := range asked {
		if got[name] != value {
			wrong.add("%s is %v, want it as it was given: %v", name, got[name], value)
		}
	}
	id, _ := got["subscriptionId"].(string)
	path := collection + "/" + id
	if location := made.header.Get("Location"); id == "" || !strings.HasSuffix(location, path) {
		wrong.add("Location is %q, want the URL of %s", location, path)
	}
	for _, step := range []struct {
		what string
		call call
		want int
	}{
		{"the same again", create, http.StatusBadRequest},
		{"GET", call{path: path}, http.StatusOK},
		{"GET of it in the list", call{path: collection + "?filter=(eq,subscriptionId," + id + ")"}, http.StatusOK},
		{"DELETE", call{method: http.MethodDelete, path: path}, http.StatusOK},
		{"DELETE again", call{method: http.MethodDelete, path: path}, http.StatusNotFound},
		{"GET after that", call{path: path}, http.StatusNotFound},
	} {
		a, err := x.do(step.call)
		if err != nil {
			return err
		}
		if err := a.want(step.want); err != nil {
			wrong.add("%s: %v", step.what, err)
		} else if step.want == http.StatusOK && step.call.method == "" && !strings.Contains(string(a.body), id) {
			wrong.add("%s: %s is not in the answer", step.what, id)
		}
	}
	return wrong.err()
}

func limitCases() []Case {
	many := func(n int) string {
		terms := make([]string, n)
		for i := range terms {
			terms[i] = "(neq,name,x)"
		}
		return strings.Join(terms, ";")
	}
	status := func(path string, want int) func(*exchange) error {
		return func(x *exchange) error { return x.status(path, want) }
	}
	const names = "a/b/c/d/e/f/g/h/i/j/k"
	return []Case{
		{ID: "INV-LIM-01", Source: "SOL013 6.3; RFC 9110 15.5.15", Expect: "a URL of 40 KiB is 414", run: func(x *exchange) error {
			a, err := x.do(call{path: x.root() + "/resourcePools?x=" + strings.Repeat("a", 40<<10), oldHTTP: true})
			if err != nil {
				return err
			}
			return a.want(http.StatusRequestURITooLong)
		}},
		{ID: "INV-LIM-02", Source: "security.md; RFC 6585 5", Expect: "a header of 100 KiB is 431", run: func(x *exchange) error {
			a, err := x.do(call{path: x.root(), oldHTTP: true, header: http.Header{"X-Long": {strings.Repeat("a", 100<<10)}}})
			if err != nil {
				return err
			}
			return a.want(http.StatusRequestHeaderFieldsTooLarge)
		}},
		{ID: "INV-LIM-03", Source: "SOL013 5.2", Expect: "a filter of more than 4 KiB is 400, one of less is not", run: func(x *exchange) error {
			if err := x.status(filtered("/resourcePools", "(eq,name,"+strings.Repeat("a", 3<<10)+")"), http.StatusOK); err != nil {
				return err
			}
			return x.status(filtered("/resourcePools", "(eq,name,"+strings.Repeat("a", 4<<10)+")"), http.StatusBadRequest)
		}},
		{ID: "INV-LIM-04", Source: "SOL013 5.2", Expect: "32 terms are good", run: status(filtered("/resourcePools", many(32)), 200)},
		{ID: "INV-LIM-05", Source: "SOL013 5.2", Expect: "33 terms are 400", run: status(filtered("/resourcePools", many(33)), 400)},
		{ID: "INV-LIM-06", Source: "SOL013 5.2", Expect: "33 terms in two parameters are 400", run: status(filtered("/resourcePools", many(16), many(17)), 400)},
		{ID: "INV-LIM-07", Source: "SOL013 5.2", Expect: "64 values are good", run: status(filtered("/resourcePools", "(in,name"+strings.Repeat(",x", 64)+")"), 200)},
		{ID: "INV-LIM-08", Source: "SOL013 5.2", Expect: "65 values are 400", run: status(filtered("/resourcePools", "(in,name"+strings.Repeat(",x", 65)+")"), 400)},
		{ID: "INV-LIM-09", Source: "SOL013 5.2", Expect: "a path of 8 names is good", run: status(filtered("/resourcePools", "(eq,extensions/"+names[:13]+",x)"), 200)},
		{ID: "INV-LIM-10", Source: "SOL013 5.2", Expect: "a path of 9 names is 400", run: status(filtered("/resourcePools", "(eq,extensions/"+names[:15]+",x)"), 400)},
		{ID: "INV-LIM-11", Source: "security.md", Expect: "selectors of more than 4 KiB do no harm: 200 or 400", run: func(x *exchange) error {
			a, err := x.get("/resourcePools?fields=" + strings.Repeat("name,", 1000) + "name")
			if err != nil {
				return err
			}
			if a.status != http.StatusOK && a.status != http.StatusBadRequest {
				return fmt.Errorf("%s: %d", a.call, a.status)
			}
			return nil
		}},
	}
}
