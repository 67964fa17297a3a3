package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// monitoringBase is where the infrastructure monitoring lies.
const monitoringBase = "/o2ims-infrastructureMonitoring"

// monitoring tells whether a case is about the infrastructure monitoring.
func (c Case) monitoring() bool { return strings.HasPrefix(c.ID, "MON-") }

// alarmNames are the names of the attributes of a record that differ between versions.
type alarmNames struct{ objectType, object, definition, cause string }

func namesOf(major string) alarmNames {
	if major == "v1" {
		return alarmNames{"resourceTypeID", "resourceID", "alarmDefinitionID", "probableCauseID"}
	}
	return alarmNames{"objectTypeId", "objectId", "alarmDefinitionId", "probableCauseId"}
}

// mostAlarms is how many records are read: enough to try everything, however long the history.
const mostAlarms = 2000

// alarms returns the first records of the list, as one collection. They are read anew for
// each case, because alarms come and go.
func (x *exchange) alarms() (collection, error) {
	c := collection{path: "/alarms", key: "alarmEventRecordId"}
	next := x.root() + c.path
	for next != "" && len(c.records) < mostAlarms {
		a, err := x.do(call{path: next})
		if err == nil {
			err = a.want(http.StatusOK)
		}
		if err != nil {
			return c, err
		}
		page, err := a.list()
		if err != nil {
			return c, err
		}
		c.records = append(c.records, page...)
		if next, err = a.nextPage(); err != nil {
			return c, err
		}
	}
	return c, nil
}

// alarm returns the first record that a test likes.
func (x *exchange) alarm(what string, like func(record) bool) (record, error) {
	c, err := x.alarms()
	if err != nil {
		return nil, err
	}
	for _, r := range c.records {
		if like(r) {
			return r, nil
		}
	}
	return nil, skip("no alarm is %s", what)
}

func anyAlarm(record) bool { return true }

// until is a filter that makes a list stay as it is while alarms come in: nothing is raised
// in the past.
func until(c collection) string {
	if len(c.records) == 0 {
		return ""
	}
	return ";(lte,alarmRaisedTime," + text(c.records[len(c.records)-1], "alarmRaisedTime") + ")"
}

func monitoringCases() []Case {
	return slices.Concat(monitoringVersionCases(), alarmCases(), modificationCases(), configurationCases(), alarmSubscriptionCases(), ownerCases("MON-ASU-16", "MON-ASU-17", "/alarmSubscriptions", "alarmSubscriptionId"), taskCases(), monitoringAnswerCases())
}

// asked is a case that is one request below the root and the status of its answer.
func asked(id, source, expect string, k call, want int) Case {
	return Case{ID: id, Source: source, Expect: expect, run: func(x *exchange) error {
		k := k
		k.path = x.root() + k.path
		a, err := x.do(k)
		if err != nil {
			return err
		}
		return a.want(want)
	}}
}

// sent is such a case with a body that says to be JSON.
func sent(id, source, expect, method, path, body string, want int) Case {
	return asked(id, source, expect, call{method: method, path: path, body: body, header: jsonBody}, want)
}

// methodsRefused is a case about methods that a path does not have.
func methodsRefused(id, path string, methods ...string) Case {
	return Case{ID: id, Source: "SPEC InfrastructureMonitoring; CONF 7.3.6", Expect: strings.Join(methods, ", ") + " on " + path + " is 405, and Allow says what is allowed", run: func(x *exchange) error {
		var wrong faults
		for _, method := range methods {
			a, err := x.do(call{method: method, path: x.root() + path, body: "{}", header: jsonBody})
			if err != nil {
				return err
			}
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
				wrong.add("%s: %d with Allow %q", a.call, a.status, a.header.Get("Allow"))
			}
		}
		return wrong.err()
	}}
}

func monitoringVersionCases() []Case {
	return []Case{
		{ID: "MON-AVR-01", Source: "SOL013 9.3", Expect: "GET {base}/api_versions lists every served major, in SemVer, and no other", once: true, run: func(x *exchange) error {
			return listedMajors(x, monitoringBase)
		}},
		{ID: "MON-AVR-02", Source: "SOL013 9.3", Expect: "uriPrefix at the root is absolute and names no major", once: true,
			run: func(x *exchange) error { return uriPrefix(x, monitoringBase+"/api_versions", monitoringBase) }},
		{ID: "MON-AVR-03", Source: "SOL013 9.3", Expect: "uriPrefix of a major is absolute and ends with it",
			run: func(x *exchange) error { return uriPrefix(x, x.root()+"/api_versions", x.root()) }},
		{ID: "MON-AVR-04", Source: "api.md", Expect: "without a token nothing is told, whether or not the path exists", run: func(x *exchange) error {
			var wrong faults
			for _, path := range []string{"/alarms", "/alarmSubscriptions", "/nothing", "/alarms/x?filter=junk"} {
				a, err := x.do(call{path: x.root() + path, token: noToken})
				if err != nil {
					return err
				}
				if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
					wrong.add("%s: %d", a.call, a.status)
				}
			}
			return wrong.err()
		}},
		{ID: "MON-AVR-05", Source: "api.md", Expect: "a reader may look and not change", run: func(x *exchange) error {
			var wrong faults
			for path, k := range map[string]call{
				"/alarms":                    {},
				"/alarms/" + unknownID():     {method: http.MethodPatch, body: `{"alarmAcknowledged":true}`, header: jsonBody},
				"/alarms/purge":              {method: http.MethodPost, body: `{}`, header: jsonBody},
				"/alarmSubscriptions":        {method: http.MethodPost, body: `{}`, header: jsonBody},
				"/alarmServiceConfiguration": {method: http.MethodPut, body: `{}`, header: jsonBody},
			} {
				k.path = x.root() + path
				a, err := x.asReader(k)
				if err != nil {
					return err
				}
				if want := map[bool]int{true: 200, false: 403}[k.method == ""]; a.status != want {
					wrong.add("%s: %d, want %d", a.call, a.status, want)
				}
			}
			return wrong.err()
		}},
	}
}

func listedMajors(x *exchange, root string) error {
	a, err := x.do(call{path: root + "/api_versions"})
	if err != nil {
		return err
	}
	if err := a.want(http.StatusOK); err != nil {
		return err
	}
	o, err := a.object()
	if err != nil {
		return err
	}
	var got []string
	for _, v := range objects(o, "apiVersions") {
		if !semVer.MatchString(text(v, "version")) {
			return fmt.Errorf("version %q is not of the form 1.2.3", text(v, "version"))
		}
		major, _, _ := strings.Cut(text(v, "version"), ".")
		got = append(got, "v"+major)
	}
	slices.Sort(got)
	if want := x.run.target.Majors; !slices.Equal(slices.Compact(got), want) {
		return fmt.Errorf("majors %v, want %v", got, want)
	}
	return nil
}

func alarmCases() []Case {
	return []Case{
		{ID: "MON-ALM-01", Source: "SPEC InfrastructureMonitoring", Expect: "GET alarms is an array, ascending by alarmRaisedTime and identifier, no record twice", run: alarmOrder},
		{ID: "MON-ALM-02", Source: "SPEC InfrastructureMonitoring; CONF", Expect: "a record has every mandatory attribute; identifiers are UUIDs, none the nil UUID", run: alarmAttributes},
		{ID: "MON-ALM-03", Source: "SPEC InfrastructureMonitoring", Expect: "cleared and acknowledged agree with their times and with perceivedSeverity", run: alarmStates},
		{ID: "MON-ALM-04", Source: "SPEC InfrastructureMonitoring", Expect: "a single record is that of the list", run: alarmAlone},
		{ID: "MON-ALM-05", Source: "CONF; SPEC InfrastructureMonitoring", Expect: "?all_fields on a single record is 200", run: func(x *exchange) error {
			r, err := x.alarm("there", anyAlarm)
			if err != nil {
				return err
			}
			return x.status("/alarms/"+text(r, "alarmEventRecordId")+"?all_fields", http.StatusOK)
		}},
		asked("MON-ALM-06", "SPEC InfrastructureMonitoring", "an unknown record is 404", call{path: "/alarms/" + unknownID()}, 404),
		asked("MON-ALM-07", "SOL013 6.3", "an identifier that is no UUID is 400", call{path: "/alarms/x"}, 400),
		{ID: "MON-ALM-08", Source: "CONF; SPEC InfrastructureMonitoring", Expect: "a filter on what is ill finds exactly its alarms", run: func(x *exchange) error {
			return alarmFilter(x, func(r record) string {
				return "(eq," + namesOf(x.major).objectType + "," + text(r, namesOf(x.major).objectType) + ");(eq," + namesOf(x.major).object + "," + text(r, namesOf(x.major).object) + ")"
			}, func(like, r record) bool {
				return text(r, namesOf(x.major).objectType) == text(like, namesOf(x.major).objectType) && text(r, namesOf(x.major).object) == text(like, namesOf(x.major).object)
			})
		}},
		{ID: "MON-ALM-09", Source: "SPEC InfrastructureMonitoring", Expect: "v1 filters take the names with Id as well as those with ID", majors: onlyV1, run: func(x *exchange) error {
			return alarmFilter(x, func(r record) string { return "(eq,resourceId," + text(r, "resourceID") + ")" },
				func(like, r record) bool { return text(r, "resourceID") == text(like, "resourceID") })
		}},
		{ID: "MON-ALM-10", Source: "SPEC InfrastructureMonitoring", Expect: "(eq,perceivedSeverity,N) finds exactly those", run: func(x *exchange) error {
			return alarmFilter(x, func(r record) string { return "(eq,perceivedSeverity," + fmt.Sprint(r["perceivedSeverity"]) + ")" },
				func(like, r record) bool { return r["perceivedSeverity"] == like["perceivedSeverity"] })
		}},
		{ID: "MON-ALM-11", Source: "SPEC InfrastructureMonitoring", Expect: "(neq,alarmAcknowledged,true) finds exactly those", run: func(x *exchange) error {
			return alarmFilter(x, func(record) string { return "(neq,alarmAcknowledged,true)" },
				func(_, r record) bool { return r["alarmAcknowledged"] == false })
		}},
		{ID: "MON-ALM-12", Source: "SPEC InfrastructureMonitoring", Expect: "(gt,alarmRaisedTime,T) finds exactly what was raised later, whatever the offset of T", run: func(x *exchange) error {
			return alarmFilter(x, func(r record) string {
				at, err := time.Parse(time.RFC3339Nano, text(r, "alarmRaisedTime"))
				if err != nil {
					return "(gt,alarmRaisedTime,not a time)"
				}
				return "(gt,alarmRaisedTime," + at.In(time.FixedZone("", 2*60*60)).Format(time.RFC3339Nano) + ")"
			}, func(like, r record) bool { return later(r, like) })
		}},
		{ID: "MON-ALM-13", Source: "SPEC InfrastructureMonitoring", Expect: "a filter on labels finds exactly those", run: func(x *exchange) error {
			return alarmFilter(x, func(r record) string {
				return "(eq,extensions/labels/alertname,'" + strings.ReplaceAll(alertname(r), "'", "''") + "')"
			}, func(like, r record) bool { return alertname(like) != "" && alertname(r) == alertname(like) })
		}},
		asked("MON-ALM-14", "SPEC InfrastructureMonitoring", "a filter on an attribute that there is not is 400", call{path: "/alarms?filter=(eq,severity,1)"}, 400),
		asked("MON-ALM-15", "SOL013 5.2", "a filter whose value is no number where one is wanted is 400", call{path: "/alarms?filter=(eq,perceivedSeverity,major)"}, 400),
		asked("MON-ALM-16", "SOL013 5.4", "a marker that is not ours is 400", call{path: "/alarms?nextpage_opaque_marker=junk"}, 400),
		{ID: "MON-ALM-17", Source: "SOL013 5.3", Expect: "exclude_fields=extensions empties extensions and leaves what is mandatory", run: alarmSelectors},
		{ID: "MON-ALM-18", Source: "SOL013 5.4", Expect: "the pages of a filtered list are the filtered list", run: alarmPages},
		{ID: "MON-ALM-19", Source: "RFC 9110", Expect: "HEAD on alarms has the head of GET and no body", run: func(x *exchange) error {
			a, err := x.do(call{method: http.MethodHead, path: x.root() + "/alarms"})
			if err != nil {
				return err
			}
			if err := a.want(http.StatusOK); err != nil {
				return err
			}
			if a.mediaType() != "application/json" || len(a.body) > 0 || a.header.Get("ETag") == "" {
				return fmt.Errorf("%s: Content-Type %q, ETag %q, %d bytes", a.call, a.mediaType(), a.header.Get("ETag"), len(a.body))
			}
			return nil
		}},
		{ID: "MON-ALM-20", Source: "api.md", Expect: "both versions have the same alarms", once: true, run: sameAlarms},
		{ID: "MON-ALM-23", Source: "SOL013 5.4", Expect: "the pages of the list have as many records as X-Total-Count says", run: func(x *exchange) error {
			first, err := x.get("/alarms")
			if err != nil {
				return err
			}
			c, err := x.alarms()
			if err != nil {
				return err
			}
			if got, want := fmt.Sprint(len(c.records)), first.header.Get("X-Total-Count"); got != want && len(c.records) < mostAlarms {
				return fmt.Errorf("%s records, X-Total-Count is %q", got, want)
			}
			return nil
		}},
		{ID: "MON-ALM-24", Source: "SPEC InfrastructureMonitoring", Expect: "the probable cause of every alarm is there", run: func(x *exchange) error {
			c, err := x.alarms()
			if err != nil {
				return err
			}
			causes, err := x.list("/probableCauses")
			if err != nil {
				return err
			}
			var wrong faults
			for _, r := range c.records {
				if _, found := find(causes, "probableCauseId", text(r, namesOf(x.major).cause)); !found {
					wrong.add("%s: probable cause %s is nowhere", text(r, c.key), text(r, namesOf(x.major).cause))
				}
			}
			return wrong.err()
		}},
		methodsRefused("MON-ALM-21", "/alarms", http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete),
		methodsRefused("MON-ALM-22", "/alarms/"+unknownID(), http.MethodPost, http.MethodPut, http.MethodDelete),
	}
}

func alertname(r record) string {
	extensions, _ := r["extensions"].(record)
	labels, _ := extensions["labels"].(record)
	return text(labels, "alertname")
}

func raisedAt(r record) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, text(r, "alarmRaisedTime"))
	return at
}

// later tells whether a was raised after b.
func later(a, b record) bool { return raisedAt(a).After(raisedAt(b)) }

func alarmOrder(x *exchange) error {
	c, err := x.alarms()
	if err != nil {
		return err
	}
	var wrong faults
	seen := map[string]bool{}
	for i, r := range c.records {
		id := text(r, c.key)
		if seen[id] {
			wrong.add("%s is there twice", id)
		}
		seen[id] = true
		if i == 0 {
			continue
		}
		before := c.records[i-1]
		if later(before, r) || !later(r, before) && text(before, c.key) >= id {
			wrong.add("%s of %s comes after %s of %s", id, text(r, "alarmRaisedTime"), text(before, c.key), text(before, "alarmRaisedTime"))
		}
	}
	return wrong.err()
}

func alarmAttributes(x *exchange) error {
	c, err := x.alarms()
	if err != nil {
		return err
	}
	if len(c.records) == 0 {
		return skip("there are no alarms")
	}
	n := namesOf(x.major)
	mandatory := []string{c.key, n.objectType, n.object, n.definition, n.cause, "alarmRaisedTime", "alarmChangedTime", "alarmAcknowledgeTime", "alarmAcknowledged", "alarmClearedTime", "perceivedSeverity", "extensions"}
	if x.major != "v1" {
		mandatory = append(mandatory, "objectClass")
	}
	var wrong faults
	for _, r := range c.records {
		for _, name := range mandatory {
			if _, there := r[name]; !there {
				wrong.add("%s lacks %s", text(r, c.key), name)
			}
		}
		for _, name := range []string{c.key, n.objectType, n.object, n.definition, n.cause} {
			if !goodUUID(text(r, name)) {
				wrong.add("%s: %s is %q", text(r, c.key), name, text(r, name))
			}
		}
		if _, is := r["perceivedSeverity"].(json.Number); !is {
			wrong.add("%s: perceivedSeverity is %s", text(r, c.key), kind(r["perceivedSeverity"]))
		}
	}
	return wrong.err()
}

func alarmStates(x *exchange) error {
	c, err := x.alarms()
	if err != nil {
		return err
	}
	var wrong faults
	for _, r := range c.records {
		cleared := r["alarmClearedTime"] != nil
		if cleared != (fmt.Sprint(r["perceivedSeverity"]) == "5") {
			wrong.add("%s: perceivedSeverity %v with alarmClearedTime %v", text(r, c.key), r["perceivedSeverity"], r["alarmClearedTime"])
		}
		if (r["alarmAcknowledgeTime"] != nil) != (r["alarmAcknowledged"] == true) {
			wrong.add("%s: alarmAcknowledged %v with alarmAcknowledgeTime %v", text(r, c.key), r["alarmAcknowledged"], r["alarmAcknowledgeTime"])
		}
	}
	return wrong.err()
}

func alarmAlone(x *exchange) error {
	c, err := x.alarms()
	if err != nil {
		return err
	}
	var wrong faults
	for _, listed := range c.records[:min(len(c.records), 5)] {
		alone, err := x.object("/alarms/" + text(listed, c.key))
		if err != nil {
			return err
		}
		if canonical(listed) != canonical(alone) {
			wrong.add("%s is %s, in the list %s", text(listed, c.key), canonical(alone), canonical(listed))
		}
	}
	return wrong.err()
}

// alarmFilter makes a filter of one record, in the middle of the list, and checks that exactly
// those come back that are as the record is.
func alarmFilter(x *exchange, written func(record) string, wanted func(like, r record) bool) error {
	c, err := x.alarms()
	if err != nil {
		return err
	}
	if len(c.records) == 0 {
		return skip("there are no alarms")
	}
	like := c.records[len(c.records)/2]
	var want []string
	for _, r := range c.records {
		if wanted(like, r) {
			want = append(want, text(r, c.key))
		}
	}
	return x.expect(c, []string{written(like) + until(c)}, want)
}

func alarmSelectors(x *exchange) error {
	c, err := x.alarms()
	if err != nil {
		return err
	}
	if len(c.records) == 0 {
		return skip("there are no alarms")
	}
	list, err := x.list(filtered("/alarms", "(gte,perceivedSeverity,0)"+until(c)) + "&exclude_fields=extensions")
	if err != nil {
		return err
	}
	var wrong faults
	for _, r := range list {
		if e, is := r["extensions"].(record); !is || len(e) > 0 {
			wrong.add("%s: extensions are %s", text(r, c.key), canonical(r["extensions"]))
		}
		if missing := lacks(r, c.key, "alarmRaisedTime", "perceivedSeverity", namesOf(x.major).object); len(missing) > 0 {
			wrong.add("%s lacks %v", text(r, c.key), missing)
		}
	}
	return wrong.err()
}

func alarmPages(x *exchange) error {
	c, err := x.alarms()
	if err != nil {
		return err
	}
	var want []string
	for _, r := range c.records {
		if r["alarmClearedTime"] == nil {
			want = append(want, text(r, c.key))
		}
	}
	return x.expect(c, []string{"(eq,alarmClearedTime,null)" + until(c)}, want)
}

func sameAlarms(x *exchange) error {
	if len(x.run.target.Majors) < 2 {
		return skip("v1 and v2 are not both served")
	}
	var all [][]string
	var last collection
	for i := range x.run.target.Majors {
		y := *x
		y.major = x.run.target.Majors[len(x.run.target.Majors)-1-i]
		if i == 0 {
			c, err := y.alarms()
			if err != nil {
				return err
			}
			last = c
		}
		list, err := y.list(filtered("/alarms", "(gte,perceivedSeverity,0)"+until(last)))
		if err != nil {
			return err
		}
		all = append(all, ids(list, "alarmEventRecordId"))
	}
	if len(all[0]) != len(all[1]) || !slices.Equal(all[0], all[1]) {
		return fmt.Errorf("alarms differ: %s", difference(all[1], all[0]))
	}
	return nil
}

func modificationCases() []Case {
	none := "/alarms/" + unknownID()
	return []Case{
		sent("MON-ACK-01", "SPEC InfrastructureMonitoring", "PATCH of an unknown record is 404", http.MethodPatch, none, `{"alarmAcknowledged":true}`, 404),
		sent("MON-ACK-02", "SPEC InfrastructureMonitoring", "PATCH with neither attribute is 400", http.MethodPatch, none, `{}`, 400),
		sent("MON-ACK-03", "SPEC InfrastructureMonitoring", "PATCH with both attributes is 400", http.MethodPatch, none, `{"alarmAcknowledged":true,"perceivedSeverity":5}`, 400),
		sent("MON-ACK-04", "SPEC InfrastructureMonitoring", "PATCH of another severity than 5 is 400", http.MethodPatch, none, `{"perceivedSeverity":1}`, 400),
		sent("MON-ACK-05", "SPEC InfrastructureMonitoring", "taking an acknowledgement back is 400", http.MethodPatch, none, `{"alarmAcknowledged":false}`, 400),
		sent("MON-ACK-06", "CONF 7.3.11", "junk declared as JSON is 400", http.MethodPatch, none, `{junk`, 400),
		sent("MON-ACK-07", "CONF 7.3.11", "XML declared as JSON is 400", http.MethodPatch, none, `<a/>`, 400),
		asked("MON-ACK-08", "RFC 9110", "a body that declares another type is 415", call{method: http.MethodPatch, path: none, body: `<a/>`, header: http.Header{"Content-Type": {"text/xml"}}}, 415),
		asked("MON-ACK-09", "SPEC InfrastructureMonitoring", "application/merge-patch+json is taken", call{method: http.MethodPatch, path: none, body: `{"alarmAcknowledged":true}`, header: http.Header{"Content-Type": {"application/merge-patch+json"}}}, 404),
		refused("MON-ACK-10", "acknowledging again is 409", "acknowledged", `{"alarmAcknowledged":true}`, "", 409, func(r record) bool { return r["alarmAcknowledged"] == true }),
		refused("MON-ACK-11", "clearing again is 409", "cleared", `{"perceivedSeverity":5}`, "", 409, func(r record) bool { return r["alarmClearedTime"] != nil }),
		refused("MON-ACK-12", "clearing an automatic alarm is 409 and names clearingType", "active and automatic", `{"perceivedSeverity":5}`, "", 409, func(r record) bool {
			extensions, _ := r["extensions"].(record)
			return r["alarmClearedTime"] == nil && text(extensions, "clearingType") == "automatic"
		}),
		refused("MON-ACK-13", "If-Match of another state is 412", "there", `{"alarmAcknowledged":true}`, `"another"`, 412, anyAlarm),
	}
}

// refused is a case about a PATCH that must change nothing.
func refused(id, expect, what, body, ifMatch string, want int, like func(record) bool) Case {
	return Case{ID: id, Source: "SPEC InfrastructureMonitoring", Expect: expect, run: func(x *exchange) error {
		r, err := x.alarm(what, like)
		if err != nil {
			return err
		}
		k := call{method: http.MethodPatch, path: x.root() + "/alarms/" + text(r, "alarmEventRecordId"), body: body, header: jsonBody.Clone()}
		if ifMatch != "" {
			k.header.Set("If-Match", ifMatch)
		}
		a, err := x.do(k)
		if err != nil {
			return err
		}
		if err := a.want(want); err != nil {
			return err
		}
		if strings.Contains(expect, "clearingType") && !strings.Contains(string(a.body), "clearingType") {
			return fmt.Errorf("%s: detail does not name clearingType: %s", a.call, excerpt(a.body))
		}
		return nil
	}}
}

func configurationCases() []Case {
	const path = "/alarmServiceConfiguration"
	return []Case{
		{ID: "MON-ACF-01", Source: "SPEC InfrastructureMonitoring", Expect: "retentionPeriod is a number of days, extensions an object", run: func(x *exchange) error {
			o, err := x.object(path)
			if err != nil {
				return err
			}
			if n, is := o["retentionPeriod"].(json.Number); !is || n.String() < "1" {
				return fmt.Errorf("retentionPeriod is %v", o["retentionPeriod"])
			}
			if _, is := o["extensions"].(record); !is {
				return fmt.Errorf("extensions are %s", kind(o["extensions"]))
			}
			return nil
		}},
		sent("MON-ACF-02", "SPEC InfrastructureMonitoring", "PUT without retentionPeriod is 400", http.MethodPut, path, `{}`, 400),
		sent("MON-ACF-03", "SPEC InfrastructureMonitoring", "less than a day is 400", http.MethodPut, path, `{"retentionPeriod":0}`, 400),
		sent("MON-ACF-04", "CONF 7.3.11", "junk declared as JSON is 400", http.MethodPut, path, `{junk`, 400),
		{ID: "MON-ACF-05", Source: "SPEC InfrastructureMonitoring", Expect: "If-Match of another state is 412 for PUT and PATCH", run: func(x *exchange) error {
			var wrong faults
			for _, method := range []string{http.MethodPut, http.MethodPatch} {
				header := jsonBody.Clone()
				header.Set("If-Match", `"another"`)
				a, err := x.do(call{method: method, path: x.root() + path, body: `{"retentionPeriod":3650}`, header: header})
				if err != nil {
					return err
				}
				if err := a.want(http.StatusPreconditionFailed); err != nil {
					wrong = append(wrong, err)
				}
			}
			return wrong.err()
		}},
		{ID: "MON-ACF-06", Source: "SPEC InfrastructureMonitoring", Expect: "PUT and PATCH of what is there change nothing and answer with it", run: sameConfiguration},
		methodsRefused("MON-ACF-07", path, http.MethodPost, http.MethodDelete),
	}
}

func sameConfiguration(x *exchange) error {
	const path = "/alarmServiceConfiguration"
	before, err := x.get(path)
	if err != nil {
		return err
	}
	if err := before.want(http.StatusOK); err != nil {
		return err
	}
	header := jsonBody.Clone()
	header.Set("If-Match", before.header.Get("ETag"))
	for _, k := range []call{
		{method: http.MethodPut, body: string(before.body), header: header},
		{method: http.MethodPatch, body: `{}`, header: jsonBody},
		{},
	} {
		k.path = x.root() + path
		a, err := x.do(k)
		if err != nil {
			return err
		}
		if err := a.want(http.StatusOK); err != nil {
			return err
		}
		if string(a.body) != string(before.body) {
			return fmt.Errorf("%s: %s, want %s", a.call, excerpt(a.body), excerpt(before.body))
		}
	}
	return nil
}

func alarmSubscriptionCases() []Case {
	const path = "/alarmSubscriptions"
	post := func(id, source, expect, body string, want int) Case {
		return sent(id, source, expect, http.MethodPost, path, body, want)
	}
	const callback = `"callback":"https://203.0.113.7/cb"`
	return []Case{
		{ID: "MON-ASU-01", Source: "SPEC InfrastructureMonitoring", Expect: "GET alarmSubscriptions is an array", run: func(x *exchange) error { _, err := x.list(path); return err }},
		post("MON-ASU-02", "SPEC InfrastructureMonitoring", "POST without callback is 400", `{"filter":""}`, 400),
		post("MON-ASU-03", "CONF 7.3.11", "junk declared as JSON is 400", `{junk`, 400),
		post("MON-ASU-04", "CONF 7.3.11", "XML declared as JSON is 400", `<subscription/>`, 400),
		post("MON-ASU-05", "SPEC InfrastructureMonitoring", "a filter that cannot be read is 400", `{`+callback+`,"filter":"(eq,junk"}`, 400),
		post("MON-ASU-06", "SPEC InfrastructureMonitoring", "a filter on an attribute that there is not is 400", `{`+callback+`,"filter":"(eq,severity,1)"}`, 400),
		post("MON-ASU-07", "SPEC InfrastructureMonitoring", "an eventFilter that is no event is 400", `{`+callback+`,"eventFilter":"OLD"}`, 400),
		post("MON-ASU-08", "SPEC InfrastructureMonitoring", "a callback on loopback is 400", `{"callback":"https://[::1]:9443/cb"}`, 400),
		post("MON-ASU-09", "SPEC InfrastructureMonitoring", "a callback of another scheme is 400", `{"callback":"ftp://smo.example.net/cb"}`, 400),
		asked("MON-ASU-10", "SPEC InfrastructureMonitoring", "an unknown subscription is 404", call{path: path + "/" + unknownID()}, 404),
		asked("MON-ASU-11", "SPEC InfrastructureMonitoring", "DELETE of an unknown subscription is 404", call{method: http.MethodDelete, path: path + "/" + unknownID()}, 404),
		sent("MON-ASU-12", "SPEC InfrastructureMonitoring", "PATCH of an unknown subscription is 404", http.MethodPatch, path+"/"+unknownID(), `{"eventFilter":"NEW"}`, 404),
		{ID: "MON-ASU-13", Source: "CONF; SPEC InfrastructureMonitoring", Expect: "a subscription is made, echoed, read, listed, refused as a duplicate, changed, and deleted with 204", run: alarmSubscriptionLife},
		methodsRefused("MON-ASU-14", path, http.MethodPut, http.MethodPatch, http.MethodDelete),
		methodsRefused("MON-ASU-15", path+"/"+unknownID(), http.MethodPost, http.MethodPut),
	}
}

// alarmSubscriptionLife takes a subscription from its beginning to its end. Its callback is at
// an address of RFC 5737, where nobody is.
func alarmSubscriptionLife(x *exchange) error {
	collection := x.root() + "/alarmSubscriptions"
	wish := map[string]any{
		"callback": "https://203.0.113.7/" + unknownID(), "consumerSubscriptionId": "any text " + unknownID(),
		"filter": "(gte,perceivedSeverity,0)", "eventFilter": "CLEAR",
	}
	body, err := json.Marshal(wish)
	if err != nil {
		return err
	}
	create := call{method: http.MethodPost, path: collection, body: strings.TrimSuffix(string(body), "}") + `,"unknownAttribute":1}`, header: jsonBody}
	made, err := x.do(create)
	if err != nil {
		return err
	}
	if made.status == http.StatusConflict && strings.Contains(string(made.body), "globalCloudId") {
		return skip("the O-Cloud has no globalCloudId")
	}
	if err := made.want(http.StatusCreated); err != nil {
		return err
	}
	got, err := made.object()
	if err != nil {
		return err
	}
	var wrong faults
	for name, value := range wish {
		if got[name] != value {
			wrong.add("%s is %v, want it as it was given: %v", name, got[name], value)
		}
	}
	path := collection + "/" + text(got, "alarmSubscriptionId")
	if location := made.header.Get("Location"); !goodUUID(text(got, "alarmSubscriptionId")) || !strings.HasPrefix(location, "http") || !strings.HasSuffix(location, path) {
		wrong.add("Location is %q, want the URL of %s", location, path)
	}
	stale := jsonBody.Clone()
	stale.Set("If-Match", `"another"`)
	for _, step := range []struct {
		what string
		call call
		want []int
		part string
	}{
		{"the same again", create, []int{400, 409}, text(got, "alarmSubscriptionId")},
		{"GET", call{path: path}, []int{200}, text(got, "callback")},
		{"GET of it in the list", call{path: collection + "?filter=(eq,alarmSubscriptionId," + text(got, "alarmSubscriptionId") + ")"}, []int{200}, text(got, "callback")},
		{"PATCH of another state", call{method: http.MethodPatch, path: path, body: `{"eventFilter":null}`, header: stale}, []int{412}, ""},
		{"PATCH", call{method: http.MethodPatch, path: path, body: `{"eventFilter":["NEW","CLEAR"]}`, header: jsonBody}, []int{200}, `["NEW","CLEAR"]`},
		{"GET of what was changed", call{path: path}, []int{200}, `["NEW","CLEAR"]`},
		{"DELETE", call{method: http.MethodDelete, path: path}, []int{204}, ""},
		{"DELETE again", call{method: http.MethodDelete, path: path}, []int{404}, ""},
		{"GET after that", call{path: path}, []int{404}, ""},
	} {
		a, err := x.do(step.call)
		if err != nil {
			return err
		}
		if !slices.Contains(step.want, a.status) || !strings.Contains(string(a.body), step.part) {
			wrong.add("%s: %d %s, want %v with %q", step.what, a.status, excerpt(a.body), step.want, step.part)
		}
	}
	return wrong.err()
}

func taskCases() []Case {
	const path = "/alarms/purge"
	post := func(id, expect, body string) Case {
		return sent(id, "SPEC InfrastructureMonitoring", expect, http.MethodPost, path, body, 400)
	}
	return []Case{
		{ID: "MON-TSK-01", Source: "SPEC InfrastructureMonitoring", Expect: "GET taskOperations is an array", run: func(x *exchange) error { _, err := x.list("/taskOperations"); return err }},
		asked("MON-TSK-02", "SPEC InfrastructureMonitoring", "an unknown task is 404", call{path: "/taskOperations/" + unknownID()}, 404),
		post("MON-TSK-03", "a purge of nothing in particular is 400", `{}`),
		post("MON-TSK-04", "purgeConditions without endWindowTime are 400", `{"purgeConditions":{"startWindowTime":"1990-01-01T00:00:00Z"}}`),
		post("MON-TSK-05", "a window that ends before it begins is 400", `{"purgeConditions":{"startWindowTime":"1990-01-02T00:00:00Z","endWindowTime":"1990-01-01T00:00:00Z"}}`),
		post("MON-TSK-06", "an alarmRecordId that is no UUID is 400", `{"alarmRecordId":["x"]}`),
		{ID: "MON-TSK-07", Source: "SPEC InfrastructureMonitoring", Expect: "a purge is 202 without body, and Location is a task that ends", run: purgeOfThePast},
		methodsRefused("MON-TSK-08", path, http.MethodGet, http.MethodPut, http.MethodDelete),
		methodsRefused("MON-TSK-09", "/taskOperations", http.MethodPost, http.MethodDelete),
	}
}

// purgeOfThePast asks for what was cleared in 1990 to go: nothing was.
func purgeOfThePast(x *exchange) error {
	body := `{"purgeConditions":{"startWindowTime":"1990-01-01T00:00:00Z","endWindowTime":"1990-01-02T00:00:00Z"}}`
	a, err := x.do(call{method: http.MethodPost, path: x.root() + "/alarms/purge", body: body, header: jsonBody})
	if err != nil {
		return err
	}
	if err := a.want(http.StatusAccepted); err != nil {
		return err
	}
	_, path, ours := strings.Cut(a.header.Get("Location"), x.root())
	if len(a.body) > 0 || !ours || !strings.HasPrefix(path, "/taskOperations/") {
		return fmt.Errorf("%s: %d bytes, Location %q", a.call, len(a.body), a.header.Get("Location"))
	}
	const most = 100
	for range most {
		task, err := x.object(path)
		if err != nil {
			return err
		}
		if text(task, "operation") != "PURGE" || task["operationParams"] == nil {
			return fmt.Errorf("task %s", canonical(task))
		}
		switch text(task, "operationState") {
		case "COMPLETED":
			return nil
		case "PROCESSING":
			timer := time.NewTimer(100 * time.Millisecond)
			select {
			case <-x.ctx.Done():
				timer.Stop()
				return x.ctx.Err()
			case <-timer.C:
			}
		default:
			return fmt.Errorf("task %s", canonical(task))
		}
	}
	return fmt.Errorf("the task %s does not end", path)
}

// monitoringAnswerCases judge all answers of the run, so they come last.
func monitoringAnswerCases() []Case {
	return []Case{
		{ID: "MON-ADC-01", Source: "SPEC 3.3; style", Expect: "every answer of the monitoring in this run validates against the OpenAPI document of its path and status",
			run: func(x *exchange) error { return afterTour(x, ruleMonitoring+rule(x.major)) }},
		{ID: "MON-ADC-02", Source: "api.md", Expect: "the OpenAPI document is served, as YAML, and is the one we know", run: func(x *exchange) error {
			return servedAs(x, x.run.monitoring[x.major])
		}},
		{ID: "MON-ADC-03", Source: "SOL013 6.3", Expect: "every error of the monitoring is problem+json, none is 5xx, and nothing has the nil UUID",
			run: func(x *exchange) error { return afterTour(x, ruleMonitoringAnswers) }},
	}
}

// afterTour looks at what there is, for a run in which no other case did, and then returns
// what broke a rule.
func afterTour(x *exchange, broken rule) error {
	for _, path := range []string{"/alarms", "/alarms/" + unknownID(), "/alarmSubscriptions", "/alarmServiceConfiguration", "/taskOperations"} {
		if _, err := x.get(path); err != nil {
			return err
		}
	}
	return x.run.watch.found(broken)
}
