package alarm

import (
	"net/http"
	"strings"
	"testing"
)

func TestAlarmServiceConfiguration(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		const path = "/v2/alarmServiceConfiguration"
		for _, tc := range []struct {
			method, body string
			status       int
			want         string
		}{
			{"GET", ``, 200, `{"retentionPeriod":1,"extensions":{}}`},
			{"PUT", `{"retentionPeriod":14,"extensions":{"owner":"noc","limits":{"a":1,"b":2}}}`, 200, `{"retentionPeriod":14,"extensions":{"limits":{"a":1,"b":2},"owner":"noc"}}`},
			{"GET", ``, 200, `"retentionPeriod":14`},
			{"PATCH", `{"extensions":{"limits":{"a":null,"c":{"d":null,"e":12345678901234567890}},"owner":null,"more":[1, null]}}`, 200,
				`{"retentionPeriod":14,"extensions":{"limits":{"b":2,"c":{"e":12345678901234567890}},"more":[1,null]}}`},
			{"PATCH", `{"retentionPeriod":7}`, 200, `{"retentionPeriod":7,"extensions":{"limits"`},
			{"PATCH", `{"extensions":{"limits":3}}`, 200, `{"limits":3,"more":[1,null]}`},
			{"PATCH", `{"extensions":{"limits":{"x":{}}}}`, 200, `{"limits":{"x":{}},"more":[1,null]}`},
			{"PATCH", `{}`, 200, `"retentionPeriod":7`},
			{"PATCH", `{"extensions":null}`, 200, `{"retentionPeriod":7,"extensions":{}}`},
			{"PUT", `{"retentionPeriod":8}`, 200, `{"retentionPeriod":8,"extensions":{}}`},
			{"PUT", `{"extensions":{}}`, 400, "retentionPeriod is missing"},
			{"PUT", `{"retentionPeriod":0}`, 400, "from 1 to 3650"},
			{"PUT", `{"retentionPeriod":-3}`, 400, "from 1 to 3650"},
			{"PUT", `{"retentionPeriod":4000}`, 400, "from 1 to 3650"},
			{"PUT", `{"retentionPeriod":1.5}`, 400, "whole number"},
			{"PUT", `{"retentionPeriod":"1"}`, 400, "whole number"},
			{"PUT", `{"retentionPeriod":null}`, 400, "whole number"},
			{"PATCH", `{"retentionPeriod":null}`, 400, "whole number"},
			{"PATCH", `{"extensions":[]}`, 400, "extensions"},
			{"PUT", `{"retentionPeriod":1,"extensions":"x"}`, 400, "extensions"},
			{"PUT", `{"retentionPeriod":1,"extensions":{"x":"` + strings.Repeat("x", maxExtensionBytes) + `"}}`, 400, "more than"},
			{"PUT", `{"retentionPeriod":1,"other":1}`, 400, "other"},
			{"PATCH", `{"other":1}`, 400, "other"},
			{"PUT", `retentionPeriod: 1`, 400, "body"},
			{"POST", `{"retentionPeriod":1}`, 405, ""},
			{"DELETE", ``, 405, ""},
			{"GET", ``, 200, `{"retentionPeriod":8,"extensions":{}}`},
		} {
			w.ask(tc.method, path, tc.body, tc.status, tc.want)
		}
		if w.lowered != 1 { // by the PATCH from 14 to 7
			t.Errorf("retention was said to be lowered %d times, want once", w.lowered)
		}
		w.ask(http.MethodGet, "/v1/alarmServiceConfiguration?all_fields", "", 200, `"retentionPeriod":8`)
		w.ask(http.MethodGet, path+"?fields=nonsense", "", 400, "nonsense")
	})
}

func TestAlarmServiceConfigurationIfMatch(t *testing.T) {
	onBackends(t, func(t *testing.T, w *apiWorld) {
		const path = "/v1/alarmServiceConfiguration"
		first := w.ask(http.MethodGet, path, "", 200, "").Header.Get("ETag")
		second := w.ask(http.MethodPut, path, `{"retentionPeriod":5}`, 200, "", "If-Match", first).Header.Get("ETag")
		w.ask(http.MethodPut, path, `{"retentionPeriod":6}`, 412, "changed", "If-Match", first)
		w.ask(http.MethodPatch, path, `{"retentionPeriod":6}`, 412, "changed", "If-Match", first)
		w.ask(http.MethodPatch, path, `{"retentionPeriod":6}`, 200, "6", "If-Match", second, "Content-Type", "application/merge-patch+json")
		w.ask(http.MethodPut, path, `{"retentionPeriod":6}`, 415, "", "Content-Type", "application/merge-patch+json")
	})
}
