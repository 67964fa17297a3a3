package contract

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/auth"
)

// belowMonitoring tells whether a request is about a path below some version's root.
func belowMonitoring(r *http.Request, pattern string) bool {
	return regexp.MustCompile("^" + alarm.BasePath + "/v[12]" + pattern + "/?$").MatchString(r.URL.Path)
}

const (
	alarmList         = "/alarms"
	oneAlarm          = "/alarms/[0-9a-f-]*"
	anyAlarms         = "/alarms(/[0-9a-f-]*)?"
	alarmSubs         = "/alarmSubscriptions"
	oneAlarmSub       = "/alarmSubscriptions/[0-9a-f-]*"
	alarmServiceSetup = "/alarmServiceConfiguration"
)

// monitoringMutations are the faults of a monitoring that the suite must notice.
func monitoringMutations() []mutation {
	both := []string{"v1", "v2"}
	status := func(pattern, method string, from, to int) func(*backend, *http.Request, *reply) {
		return func(_ *backend, r *http.Request, a *reply) {
			if belowMonitoring(r, pattern) && r.Method == method && a.status == from {
				a.status = to
			}
		}
	}
	each := func(pattern string, change func(o map[string]any)) func(*backend, *http.Request, *reply) {
		return func(_ *backend, r *http.Request, a *reply) {
			if belowMonitoring(r, pattern) {
				a.records(change)
			}
		}
	}
	onFilters := func(change func(string) string) func(*http.Request) {
		rewritten := rewrite(change)
		return func(r *http.Request) {
			if belowMonitoring(r, alarmList) {
				rewritten(r)
			}
		}
	}
	header := func(pattern, name string, change func(string) string) func(*backend, *http.Request, *reply) {
		return func(_ *backend, r *http.Request, a *reply) {
			if value := a.header.Get(name); belowMonitoring(r, pattern) && value != "" {
				a.header.Del(name)
				if value = change(value); value != "" {
					a.header.Set(name, value)
				}
			}
		}
	}
	nothing := func(string) string { return "" }
	claimed := func(pattern string) func(*backend, *http.Request, *reply) {
		return func(_ *backend, r *http.Request, a *reply) {
			if belowMonitoring(r, pattern) && a.status == http.StatusCreated {
				a.edit(ownedBy("eve"))
			}
		}
	}
	dropped := func(name string) func(r *http.Request) {
		return func(r *http.Request) {
			if strings.HasPrefix(r.URL.Path, alarm.BasePath) {
				r.Header.Del(name)
			}
		}
	}
	return []mutation{
		// records
		{name: "v1 says objectId", group: "ALM", answer: each(anyAlarms, func(o map[string]any) { o["objectId"] = o["resourceID"]; delete(o, "resourceID") })},
		{name: "the acknowledge time is spelled otherwise", group: "ALM", answer: each(anyAlarms, func(o map[string]any) {
			o["alarmAcknowledgedTime"] = o["alarmAcknowledgeTime"]
			delete(o, "alarmAcknowledgeTime")
		})},
		{name: "no probable cause", group: "ALM", answer: each(anyAlarms, func(o map[string]any) { o["probableCauseID"] = uuid.Nil.String() })},
		{name: "a probable cause that is nowhere", group: "ALM", answer: each(anyAlarms, func(o map[string]any) { o["probableCauseID"] = uuid.NewString() })},
		{name: "the nil UUID", group: "ADC", answer: each(anyAlarms, func(o map[string]any) { o["probableCauseID"] = uuid.Nil.String() })},
		{name: "no objectClass", group: "ALM", majors: both, answer: each(anyAlarms, func(o map[string]any) { delete(o, "objectClass") })},
		{name: "the severity is a text", group: "ALM", answer: each(anyAlarms, func(o map[string]any) { o["perceivedSeverity"] = "1" })},
		{name: "a cleared alarm keeps its severity", group: "ALM", answer: each(anyAlarms, func(o map[string]any) { o["perceivedSeverity"] = 1 })},
		{name: "nothing is ever acknowledged", group: "ALM", answer: each(anyAlarms, func(o map[string]any) { o["alarmAcknowledged"] = false })},
		{name: "a single record is another", group: "ALM", answer: each(oneAlarm, func(o map[string]any) { o["alarmRaisedTime"] = "2026-01-01T00:00:00Z" })},
		{name: "the newest first", group: "ALM", answer: func(_ *backend, r *http.Request, a *reply) {
			if belowMonitoring(r, alarmList) {
				a.list(func(l []any) []any { slices.Reverse(l); return l })
			}
		}},
		{name: "a record twice", group: "ALM", answer: func(_ *backend, r *http.Request, a *reply) {
			if belowMonitoring(r, alarmList) {
				a.list(func(l []any) []any { return append(l, l...) })
			}
		}},
		{name: "v2 lacks an alarm", group: "ALM", majors: both, answer: func(_ *backend, r *http.Request, a *reply) {
			if belowMonitoring(r, alarmList) && strings.Contains(r.URL.Path, "/v2/") && !r.URL.Query().Has("nextpage_opaque_marker") && r.URL.Query().Get("filter") != "" {
				a.list(func(l []any) []any { return l[:max(0, len(l)-1)] })
			}
		}},
		{name: "an attribute that the document does not know", group: "ADC", answer: each(anyAlarms, func(o map[string]any) { o["notificationEventType"] = 0 })},
		{name: "an error that is no problem", group: "ADC", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.HasPrefix(r.URL.Path, alarm.BasePath) && a.status == http.StatusNotFound {
				a.edit(func(any) any { return map[string]any{"error": "not found"} })
			}
		}},

		// filters and pages
		{name: "filters are ignored", group: "ALM", request: func(r *http.Request) {
			if belowMonitoring(r, alarmList) {
				r.URL.RawQuery = regexp.MustCompile(`filter=[^&]*&?`).ReplaceAllString(r.URL.RawQuery, "")
			}
		}},
		{name: "times are compared as texts", group: "ALM", request: onFilters(func(f string) string { return offset.ReplaceAllString(f, "${1}Z") })},
		{name: "v1 knows one spelling only", group: "ALM", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.Contains(r.URL.RawQuery, "resourceId") {
				a.status = http.StatusBadRequest
			}
		}},
		{name: "an unknown attribute matches nothing", group: "ALM", answer: func(_ *backend, r *http.Request, a *reply) {
			if belowMonitoring(r, alarmList) && a.status == http.StatusBadRequest {
				a.status, a.body = http.StatusOK, []byte("[]")
				a.header.Set("Content-Type", "application/json")
			}
		}},
		{name: "there is no second page", group: "ALM", answer: header(alarmList, "Link", nothing)},
		{name: "selectors are ignored", group: "ALM", request: func(r *http.Request) {
			if belowMonitoring(r, alarmList) {
				without(named("exclude_fields"))(r)
			}
		}},

		// PATCH
		{name: "acknowledging again is 200", group: "ACK", answer: status(oneAlarm, http.MethodPatch, 409, 200)},
		{name: "acknowledging again is 400", group: "ACK", answer: status(oneAlarm, http.MethodPatch, 409, 400)},
		{name: "a bad PATCH is 422", group: "ACK", answer: status(oneAlarm, http.MethodPatch, 400, 422)},
		{name: "If-Match is ignored", group: "ACK", request: dropped("If-Match")},
		{name: "If-Match of the configuration is ignored", group: "ACF", request: dropped("If-Match")},
		{name: "clearing is refused without a reason", group: "ACK", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.Method == http.MethodPatch && a.status == http.StatusConflict {
				a.edit(func(v any) any { v.(map[string]any)["detail"] = "no"; return v })
			}
		}},

		// configuration
		{name: "retention of no days", group: "ACF", answer: status(alarmServiceSetup, http.MethodPut, 400, 200)},
		{name: "extensions are null", group: "ACF", answer: each(alarmServiceSetup, func(o map[string]any) { o["extensions"] = nil })},
		{name: "PATCH forgets what it does not name", group: "ACF", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.Method == http.MethodPatch && belowMonitoring(r, alarmServiceSetup) {
				a.records(func(o map[string]any) { delete(o, "retentionPeriod") })
			}
		}},

		// subscriptions
		{name: "nobody acts for others", group: "ASU", request: dropped(auth.HeaderOnBehalfOf)},
		{name: "an alarm subscription is whose the client says", group: "ASU", answer: claimed(alarmSubs)},
		{name: "no Location", group: "ASU", answer: header(alarmSubs, "Location", nothing)},
		{name: "a relative Location", group: "ASU", answer: header(alarmSubs, "Location", func(v string) string { return strings.TrimPrefix(v, serviceURI) })},
		{name: "DELETE is 200", group: "ASU", answer: status(oneAlarmSub, http.MethodDelete, 204, 200)},
		{name: "duplicates are made", group: "ASU", answer: status(alarmSubs, http.MethodPost, 400, 201)},
		{name: "the filter is not echoed", group: "ASU", answer: func(_ *backend, r *http.Request, a *reply) {
			if belowMonitoring(r, alarmSubs) && r.Method == http.MethodPost && a.status == http.StatusCreated {
				a.edit(func(v any) any { delete(v.(map[string]any), "filter"); return v })
			}
		}},
		{name: "PATCH has no effect", group: "ASU", answer: func(b *backend, r *http.Request, a *reply) {
			if r.Method == http.MethodGet && belowMonitoring(r, oneAlarmSub) {
				a.records(func(o map[string]any) { o["eventFilter"] = "CLEAR" })
			}
		}},
		{name: "what is deleted stays", group: "ASU", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.Method == http.MethodGet && belowMonitoring(r, oneAlarmSub) && a.status == http.StatusNotFound {
				a.status = http.StatusOK
			}
		}},

		// tasks
		{name: "a purge is 200", group: "TSK", answer: status("/alarms/purge", http.MethodPost, 202, 200)},
		{name: "a purge leads nowhere", group: "TSK", answer: header("/alarms/purge", "Location", func(v string) string { return v[:len(v)-36] + uuid.NewString() })},
		{name: "a purge never ends", group: "TSK", answer: each("/taskOperations/[0-9a-f-]*", func(o map[string]any) { o["operationState"] = "ROLLED_BACK" })},
		{name: "any purge will do", group: "TSK", answer: status("/alarms/purge", http.MethodPost, 400, 202)},

		// about
		{name: "a stranger sees alarms", group: "AVR", answer: func(_ *backend, r *http.Request, a *reply) {
			if r.Header.Get("Authorization") == "" && belowMonitoring(r, alarmList) {
				a.status, a.body = http.StatusOK, []byte("[]")
			}
		}},
		{name: "a reader may change", group: "AVR", answer: func(_ *backend, r *http.Request, a *reply) {
			if a.status == http.StatusForbidden {
				a.status = http.StatusNotFound
			}
		}},
		{name: "a version is missing", group: "AVR", majors: both, answer: func(_ *backend, r *http.Request, a *reply) {
			if r.URL.Path == alarm.BasePath+"/api_versions" {
				a.records(func(o map[string]any) { o["apiVersions"] = o["apiVersions"].([]any)[:1] })
			}
		}},
		{name: "a relative uriPrefix", group: "AVR", answer: func(_ *backend, r *http.Request, a *reply) {
			if strings.HasSuffix(r.URL.Path, "/api_versions") {
				a.records(func(o map[string]any) {
					if u, err := url.Parse(o["uriPrefix"].(string)); err == nil {
						o["uriPrefix"] = u.Path
					}
				})
			}
		}},
		{name: "another document is served", group: "ADC", answer: func(_ *backend, r *http.Request, a *reply) {
			if belowMonitoring(r, "/openapi.yaml") {
				a.body = []byte("openapi: 3.1.0\n")
			}
		}},
		{name: "405 does not say what is allowed", group: "ALM", answer: header(alarmList, "Allow", nothing)},
	}
}
