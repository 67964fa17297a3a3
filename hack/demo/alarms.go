package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	"github.com/o2ims/o2ims/test/ocloud"
)

// alarmSteps let a fan of a node fail and turn again. All that is said of it is said to the
// Alertmanager of its cluster.
func (d *demo) alarmSteps(spoke, node string) []step {
	const api = `curl -s --cacert $O2IMS_CA -H "Authorization: Bearer $O2IMS_TOKEN" $O2IMS_URL/o2ims-infrastructureMonitoring/v2`
	const theAlarm = api + `/alarms --get --data-urlencode 'filter=(eq,extensions/rule,FanFailed)'`
	const consumer = "9d3b8d0c-8a83-4a2e-b5cf-27d5e3ba7f0e"
	add := "amtool --alertmanager.url $SPOKE2_ALERTMANAGER alert add FanFailed fan=3 node=" + node + " severity=critical"
	// What jq's own -e tells is about the last line of the journal, whatever that is.
	journal := func(event int, show string) string {
		return fmt.Sprintf(`curl -s --cacert $SMO_CA $SMO_URL/journal | jq -cr 'select(.path == "/alarms" and .notificationEventType == %d and .body.extensions.rule == "FanFailed") | %s' | grep .`, event, show)
	}
	alertmanager := d.monitoring[spoke]
	return []step{
		{
			title:   "The SMO subscribes to alarms, too.",
			command: api + `/alarmSubscriptions -H 'Content-Type: application/json' -d '{"consumerSubscriptionId":"` + consumer + `","callback":"'$SMO_URL'/alarms"}' | jq -c .`,
			want:    []string{consumer}, from: "the SMO",
		},
		{
			title: "A fan on " + spoke + " fails: the Alertmanager there is told, and the SMO hears of it.",
			command: "BEGAN=$(date +%s%N)\n" + add + "\n" +
				"until HEARD=$(" + journal(0, ".time") + "); do sleep 0.05; done\n" +
				`echo "NEW at the SMO $(( ($(date -d "$HEARD" +%s%N) - BEGAN) / 1000000 )) ms after amtool was called"`,
			also: withinASecond,
		},
		{
			title: "The alarm as an operator reads it. objectId is the server that is the node.",
			command: theAlarm + " |\n" +
				`  jq -c '.[] | {alarmEventRecordId, objectClass, objectId, perceivedSeverity, alarmAcknowledged}, .extensions.labels, {fingerprint: .extensions.fingerprint}'`,
			want: []string{`"perceivedSeverity":0`, `"node":"` + node + `"`}, from: "amtool alert query",
			also: func(ctx context.Context, _ string) ([]string, error) { return fingerprints(ctx, alertmanager) },
		},
		{
			title: "The operator acknowledges it, which a reader may not, and the SMO is told who did.",
			command: `ALARM=$(` + theAlarm + ` | jq -r '.[].alarmEventRecordId')` + "\n" +
				`for TOKEN in $O2IMS_TOKEN_READER $O2IMS_TOKEN; do
  curl -s -o /dev/null -w '%{http_code}\n' --cacert $O2IMS_CA -H "Authorization: Bearer $TOKEN" -X PATCH \
    -H 'Content-Type: application/json' -d '{"alarmAcknowledged":true}' $O2IMS_URL/o2ims-infrastructureMonitoring/v2/alarms/$ALARM
done
until ` + journal(3, "{ACKNOWLEDGE: .body | {alarmAcknowledged, alarmAcknowledgeTime, by: .extensions.acknowledgedBy}}") + "; do sleep 0.1; done",
			want: []string{"403", "200", `"alarmAcknowledged":true`, "test-client"}, from: "the chart's roles",
		},
		{
			title: "The fan turns again. Alertmanager tells ends at the next group_interval, within 5 s.",
			command: add + " --end=$(date -u +%FT%T.%NZ)\n" +
				"until " + journal(2, "{CLEAR: .body | {perceivedSeverity, alarmClearedTime, before: .extensions.activeSeverity}}") + "; do sleep 0.1; done",
			want: []string{`"perceivedSeverity":5`}, from: "amtool",
		},
	}
}

var milliseconds = regexp.MustCompile(`(-?\d+) ms after`)

// withinASecond holds the product to its promise. What is compared are two readings of this
// machine's clock: the shell's and the SMO's.
func withinASecond(_ context.Context, output string) ([]string, error) {
	found := milliseconds.FindStringSubmatch(output)
	if found == nil {
		return nil, fmt.Errorf("no time in %q", output)
	}
	if took, err := strconv.Atoi(found[1]); err != nil || took < 0 || took > 1000 {
		return nil, fmt.Errorf("the alarm took %s ms, want less than a second", found[1])
	}
	return nil, nil
}

// fingerprints are what an Alertmanager calls the alerts of which the steps are about.
func fingerprints(ctx context.Context, m *ocloud.Monitoring) ([]string, error) {
	out, err := m.Amtool(ctx, "alert", "query", "-o", "json", "alertname=FanFailed")
	if err != nil {
		return nil, err
	}
	var alerts []struct{ Fingerprint string }
	if err := json.Unmarshal([]byte(out), &alerts); err != nil || len(alerts) == 0 {
		return nil, fmt.Errorf("amtool alert query: %q: %w", out, err)
	}
	var list []string
	for _, a := range alerts {
		list = append(list, a.Fingerprint)
	}
	return list, nil
}
