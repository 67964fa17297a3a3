package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/smo/simulator"
	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/ocloud"
)

// edgeMonitoring is the Alertmanager and the Prometheus of edge.
var edgeMonitoring *ocloud.Monitoring

// The watch over silence, with times that are short enough to wait for.
const (
	alarmSilenceAfter = 2 * time.Second
	alarmStartGrace   = 5 * time.Second
)

// Types of notifications.
const (
	toldNew   = int(alarm.EventNew)
	toldClear = int(alarm.EventClear)
	toldAck   = int(alarm.EventAcknowledge)
)

// TestAlarmReachesTheSMO follows one alert from amtool to an SMO of each version, while an
// operator acknowledges it.
func TestAlarmReachesTheSMO(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	smo := listenToAlarms(ctx, t)
	labels := []string{"PowerSupplyFailed", "node=" + edgeDell, "severity=major"}
	amtool := func(args ...string) string {
		return must[string](t)(edgeMonitoring.Amtool(ctx, append([]string{"alert"}, args...)...))
	}
	amtool(append([]string{"add", "--annotation=summary=No current"}, labels...)...)
	raised := eventuallyAlarm(ctx, t, "PowerSupplyFailed", "that is open", alarmRecord.open)

	var atAlertmanager []struct {
		Fingerprint string
		StartsAt    time.Time
	}
	if err := json.Unmarshal([]byte(amtool("query", "-o", "json", "alertname=PowerSupplyFailed")), &atAlertmanager); err != nil || len(atAlertmanager) != 1 {
		t.Fatalf("amtool knows %v, %v", atAlertmanager, err)
	}
	server := servers(ctx, t, edge)[edgeDell]
	for what, is := range map[string][2]any{
		"perceivedSeverity": {raised.Severity, 1},
		"objectClass":       {raised.ObjectClass, alarm.ClassResource},
		"objectId":          {raised.ObjectID, server.ID},
		"objectTypeId":      {raised.ObjectTypeID, server.TypeID},
		"fingerprint":       {raised.Extensions.Fingerprint, atAlertmanager[0].Fingerprint},
		"alarmRaisedTime":   {raised.Raised, atAlertmanager[0].StartsAt.Truncate(time.Millisecond)},
		"annotations":       {raised.Extensions.Annotations["summary"], "No current"},
		"cluster":           {raised.Extensions.Cluster, edge},
	} {
		if is[0] != is[1] {
			t.Errorf("%s is %v, want %v", what, is[0], is[1])
		}
	}
	leadsSomewhere(ctx, t, raised)
	inV1(ctx, t, raised)

	path := alarmsPath("v2") + "/" + raised.ID
	for _, tc := range []struct {
		account, body string
		want          int
	}{
		{"test-reader", `{"alarmAcknowledged":true}`, http.StatusForbidden},
		{"test-client", `{"perceivedSeverity":5}`, http.StatusConflict}, // its cause is not gone
		{"test-client", `{"alarmAcknowledged":true}`, http.StatusOK},
		{"test-client", `{"alarmAcknowledged":true}`, http.StatusConflict},
	} {
		if got := statusFor(ctx, t, tc.account, http.MethodPatch, path, tc.body); got != tc.want {
			t.Errorf("PATCH %s of %s = %d, want %d", tc.body, tc.account, got, tc.want)
		}
	}
	amtool(append([]string{"add", "--end=" + time.Now().UTC().Format(time.RFC3339Nano)}, labels...)...)
	cleared := eventuallyAlarm(ctx, t, "PowerSupplyFailed", "that is cleared", alarmRecord.cleared)
	if cleared.Extensions.ActiveSeverity != 1 || !cleared.Acknowledged {
		t.Errorf("what was major and acknowledged is %+v", cleared)
	}
	smo.hears(ctx, t, "PowerSupplyFailed", toldNew, toldAck, toldClear)
}

// TestRuleAndWatchdog lets a rule of Prometheus fire and the Watchdog fall silent. What comes
// in through both doors is one alarm.
func TestRuleAndWatchdog(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const rule, silence = "FanFailed", "O2IMSWatchdogMissing"
	ofEdge := func(name string) string { return name + ";" + edge }
	eventuallyAlarm(ctx, t, ofEdge("Watchdog"), "that is open", alarmRecord.open)
	smo := listenToAlarms(ctx, t)
	set := func(file string, edit func(string) string) (before string) {
		t.Helper()
		before = must[string](t)(cloud.SetRules(ctx, edgeMonitoring, file, edit(edgeRules(ctx, t, file))))
		t.Cleanup(func() {
			if _, err := cloud.SetRules(context.WithoutCancel(ctx), edgeMonitoring, file, before); err != nil {
				t.Error(err)
			}
		})
		return before
	}
	never, always := "vector(0) > 0", "vector(1)"
	quietRules := set("site.yml", func(text string) string {
		return strings.Replace(strings.Replace(text, never, always, 1), "severity: critical", "severity: critical\n      node: "+edgeRyzen, 1)
	})
	watchdogRules := set("watchdog.yml", func(text string) string { return strings.Replace(text, always, never, 1) })

	raised := eventuallyAlarm(ctx, t, ofEdge(rule), "that is open", alarmRecord.open)
	leadsSomewhere(ctx, t, raised)
	if server := servers(ctx, t, edge)[edgeRyzen]; raised.ObjectID != server.ID {
		t.Errorf("objectId is %s, want %s", raised.ObjectID, server.ID)
	}
	missing := eventuallyAlarm(ctx, t, ofEdge(silence), "that is open", alarmRecord.open)
	leadsSomewhere(ctx, t, missing)
	if missing.ObjectClass != alarm.ClassDeploymentManager {
		t.Errorf("the Watchdog's silence is about a %s", missing.ObjectClass)
	}
	for file, text := range map[string]string{"site.yml": quietRules, "watchdog.yml": watchdogRules} {
		must[string](t)(cloud.SetRules(ctx, edgeMonitoring, file, text))
	}
	eventuallyAlarm(ctx, t, ofEdge(rule), "that is cleared", alarmRecord.cleared)
	eventuallyAlarm(ctx, t, ofEdge(silence), "that is cleared", alarmRecord.cleared)
	for _, name := range []string{rule, silence} {
		smo.hears(ctx, t, name, toldNew, toldClear)
	}
}

func edgeRules(ctx context.Context, t *testing.T, file string) string {
	t.Helper()
	var rules corev1.ConfigMap
	key := client.ObjectKey{Namespace: ocloud.MonitoringNamespace, Name: "prometheus-rules"}
	if err := cloud.Spoke(edge).Client().Get(ctx, key, &rules); err != nil {
		t.Fatal(err)
	}
	return rules.Data[file]
}

// TestNoAlarmIsLost kills everything on the way of alerts while they fire and end. Whatever
// an intake acknowledged is in the history once, with its times, and every SMO heard NEW and
// CLEAR of it, once.
func TestNoAlarmIsLost(t *testing.T) {
	ctx := t.Context()
	smo := listenToAlarms(ctx, t)
	load := startAlerts(ctx, t, cloud.Spoke(edge), edgeMonitoring)
	for _, blow := range []struct {
		what string
		do   func()
	}{
		{"the leader of the managers", func() { killOne(ctx, t, func(leader, _ kubelet.PodInfo) kubelet.PodInfo { return leader }) }},
		{"Redis", func() {
			cloud.Redis.Kill()
			load.goesOn(ctx, t) // into the journal of the managed cluster
			if err := cloud.Redis.Restart(ctx); err != nil {
				t.Fatal(err)
			}
		}},
		{"the agent", func() { killPod(ctx, t, cloud.Spoke(edge).Agents()[0]) }},
		{"Alertmanager", func() {
			load.settles(ctx, t)
			killPod(ctx, t, must[kubelet.PodInfo](t)(edgeMonitoring.Pod("alertmanager")))
		}},
	} {
		load.goesOn(ctx, t)
		t.Logf("killing %s", blow.what)
		blow.do()
		load.goesOn(ctx, t)
	}
	fired := load.end(t)
	t.Logf("%d alerts fired and ended", len(fired))
	for _, f := range fired {
		f.isInHistory(ctx, t)
		smo.hears(ctx, t, f.name, toldNew, toldClear)
	}
	nothingIsMissing(ctx, t)
}

func killPod(ctx context.Context, t *testing.T, pod kubelet.PodInfo) {
	t.Helper()
	k := cloud.Spoke(edge).Kubelet
	if err := k.Kill(pod.Namespace, pod.Name); err != nil {
		t.Fatal(err)
	}
	restarted(ctx, t, k, pod)
}

// --- the history

// alarmRecord is what a client reads of an alarmEventRecord of version 2.
type alarmRecord struct {
	ID                string    `json:"alarmEventRecordId"`
	ObjectClass       string    `json:"objectClass"`
	ObjectID          string    `json:"objectId"`
	ObjectTypeID      string    `json:"objectTypeId"`
	AlarmDefinitionID string    `json:"alarmDefinitionId"`
	ProbableCauseID   string    `json:"probableCauseId"`
	Raised            time.Time `json:"alarmRaisedTime"`
	Cleared           time.Time `json:"alarmClearedTime"`
	Acknowledged      bool      `json:"alarmAcknowledged"`
	Severity          int       `json:"perceivedSeverity"`
	Extensions        struct {
		Labels         map[string]string `json:"labels"`
		Annotations    map[string]string `json:"annotations"`
		Cluster        string            `json:"cluster"`
		Fingerprint    string            `json:"fingerprint"`
		ActiveSeverity int               `json:"activeSeverity"`
	} `json:"extensions"`
}

func (r alarmRecord) open() error {
	if !r.Cleared.IsZero() {
		return fmt.Errorf("it was cleared at %s", r.Cleared)
	}
	return nil
}

func (r alarmRecord) cleared() error {
	if r.Cleared.IsZero() {
		return fmt.Errorf("it is active, perceivedSeverity %d: %w", r.Severity, ocloud.ErrNotYet)
	}
	return nil
}

func alarmsPath(version string) string { return alarm.BasePath + "/" + version + "/alarms" }

// alarmsNamed are the records of a rule; with ";cluster" behind its name of one cluster only.
func alarmsNamed(ctx context.Context, name string) ([]alarmRecord, error) {
	rule, cluster, one := strings.Cut(name, ";")
	filter := "(eq,extensions/rule," + rule + ")"
	if one {
		filter += ";(eq,extensions/cluster," + cluster + ")"
	}
	var list []alarmRecord
	err := cloud.Get(ctx, alarmsPath("v2")+"?"+url.Values{"filter": {filter}}.Encode(), &list)
	return list, err
}

// eventuallyAlarm waits until there is exactly one record of a rule, and it is as it should
// be.
func eventuallyAlarm(ctx context.Context, t *testing.T, name, what string, holds func(alarmRecord) error) alarmRecord {
	t.Helper()
	var found []alarmRecord
	eventually(ctx, t, "one alarm "+name+" "+what, func(ctx context.Context) (err error) {
		if found, err = alarmsNamed(ctx, name); err != nil {
			return err
		}
		if len(found) != 1 {
			return fmt.Errorf("there are %d: %+v: %w", len(found), found, ocloud.ErrNotYet)
		}
		return holds(found[0])
	})
	return found[0]
}

// leadsSomewhere follows every id that a record refers to.
func leadsSomewhere(ctx context.Context, t *testing.T, r alarmRecord) {
	t.Helper()
	// The object, wherever its class is at home.
	object := map[string]string{
		alarm.ClassOCloud:            "",
		alarm.ClassDeploymentManager: "/deploymentManagers/" + r.ObjectID,
	}
	path, known := object[r.ObjectClass]
	if !known {
		path = strings.TrimPrefix(must[string](t)(cloud.PoolPath(ctx, r.Extensions.Cluster)), ocloud.InventoryV1) + "/resources/" + r.ObjectID
	}
	for _, version := range []string{"v1", "v2"} {
		inventory := "/o2ims-infrastructureInventory/" + version
		ofType := inventory + "/resourceTypes/" + r.ObjectTypeID
		for _, path := range []string{
			inventory + path, ofType, ofType + "/alarmDictionary",
			alarm.BasePath + "/" + version + "/probableCauses/" + r.ProbableCauseID, alarmsPath(version) + "/" + r.ID,
		} {
			if got := statusFor(ctx, t, "test-reader", http.MethodGet, path, ""); got != http.StatusOK {
				t.Errorf("%s: GET %s = %d, want 200", r.Extensions.Labels["alertname"], path, got)
			}
		}
		// Replicas that do not lead learn of a new rule within ten seconds.
		eventually(ctx, t, "the definition of "+r.Extensions.Labels["alertname"], func(ctx context.Context) error {
			for _, pod := range cloud.Managers() {
				body, err := cloud.BodyAt(ctx, pod, ofType+"/alarmDictionary")
				if err != nil {
					return err
				}
				if !strings.Contains(body, `"`+r.AlarmDefinitionID+`"`) {
					return fmt.Errorf("%s is not in the dictionary of %s: %s", r.AlarmDefinitionID, pod.Name, body)
				}
			}
			return nil
		})
	}
}

// inV1 compares a record with what version 1 says of it.
func inV1(ctx context.Context, t *testing.T, r alarmRecord) {
	t.Helper()
	var got struct {
		ResourceID        string `json:"resourceID"`
		ResourceTypeID    string `json:"resourceTypeID"`
		AlarmDefinitionID string `json:"alarmDefinitionID"`
		ProbableCauseID   string `json:"probableCauseID"`
	}
	if err := cloud.Get(ctx, alarmsPath("v1")+"/"+r.ID, &got); err != nil {
		t.Fatal(err)
	}
	if got.ResourceID != r.ObjectID || got.ResourceTypeID != r.ObjectTypeID || got.AlarmDefinitionID != r.AlarmDefinitionID || got.ProbableCauseID != r.ProbableCauseID {
		t.Errorf("version 1 says %+v, version 2 %+v", got, r)
	}
}

// --- the SMO

// alarmSMO subscribes to alarms in each version.
type alarmSMO struct{ *simulator.Simulator }

func listenToAlarms(ctx context.Context, t *testing.T) alarmSMO {
	t.Helper()
	smo, err := simulator.New(simulator.Options{Status: http.StatusNoContent, Quiet: true, Listen: "127.0.0.1:0", RegistrationPath: "/registration"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(smo)
	t.Cleanup(listener.Close)
	for _, version := range []string{"v1", "v2"} {
		path := alarm.BasePath + "/" + version + "/alarmSubscriptions"
		var made struct {
			ID string `json:"alarmSubscriptionId"`
		}
		token := must[string](t)(cloud.Token(ctx, "test-client"))
		body := fmt.Sprintf(`{"callback":"%s/%s"}`, listener.URL, version)
		answer := read(t, must[*http.Response](t)(cloud.Do(ctx, http.MethodPost, path, token, strings.NewReader(body))))
		if err := json.Unmarshal([]byte(answer.body), &made); err != nil || answer.status != http.StatusCreated {
			t.Fatalf("POST %s = %d: %s", path, answer.status, answer.body)
		}
		t.Cleanup(func() {
			if got := statusFor(context.WithoutCancel(ctx), t, "test-client", http.MethodDelete, path+"/"+made.ID, ""); got != http.StatusNoContent {
				t.Errorf("DELETE %s/%s = %d, want 204", path, made.ID, got)
			}
		})
	}
	return alarmSMO{smo}
}

// hears waits until the SMO was told this of the alarms of a rule, in each version.
func (s alarmSMO) hears(ctx context.Context, t *testing.T, rule string, want ...int) {
	t.Helper()
	for _, version := range []string{"v1", "v2"} {
		eventually(ctx, t, fmt.Sprintf("the SMO to hear %v of %s in %s", want, rule, version), func(context.Context) error {
			if heard := s.told("/"+version, rule); !slices.Equal(heard, want) {
				return fmt.Errorf("it heard %v: %w", heard, ocloud.ErrNotYet)
			}
			return nil
		})
	}
	for _, e := range s.Entries() {
		if e.Break {
			t.Errorf("%s: a notification before this one is missing: %s", e.Path, e.Body)
		}
	}
}

// told are the types of what a callback was told of a rule, repetitions left out.
func (s alarmSMO) told(path, rule string) []int {
	var types []int
	for _, e := range s.Entries() {
		var body struct {
			Extensions struct{ Rule string }
		}
		if e.Path == path && e.Taken && !e.Duplicate && json.Unmarshal(e.Body, &body) == nil && body.Extensions.Rule == rule {
			types = append(types, e.Type)
		}
	}
	return types
}

// --- alerts

// fired is an alert that fired and ended.
type fired struct {
	name         string
	starts, ends time.Time
	exact        bool // an intake took these very times
}

// isInHistory waits for the one record of the alert.
func (f *fired) isInHistory(ctx context.Context, t *testing.T) {
	t.Helper()
	record := eventuallyAlarm(ctx, t, f.name, "that is cleared", alarmRecord.cleared)
	if f.exact && (!record.Raised.Equal(f.starts) || !record.Cleared.Equal(f.ends)) {
		t.Errorf("%s lasted from %s to %s, want %s to %s", f.name, record.Raised, record.Cleared, f.starts, f.ends)
	}
}

// postedAlert is an alert in the API of Alertmanager.
type postedAlert struct {
	Labels   map[string]string `json:"labels"`
	StartsAt time.Time         `json:"startsAt"`
	EndsAt   time.Time         `json:"endsAt"`
}

func alertNamed(name string, starts, ends time.Time) postedAlert {
	return postedAlert{map[string]string{"alertname": name, "node": edgeDell, "severity": "minor"}, starts, ends}
}

// alertLoad lets alerts fire and end, without a pause, through both doors: some are pushed to
// the agent, others are told to Alertmanager, again and again as Prometheus does.
type alertLoad struct {
	t      *testing.T
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	fired   []fired
	firing  map[string]postedAlert // that Alertmanager is told of
	faults  []error
	pushed  int // alerts that fired and ended since the beginning
	through int
}

// resendEvery and validity are to each other as with Prometheus, and shorter.
const (
	resendEvery = 500 * time.Millisecond
	validity    = 10 * time.Second
)

func startAlerts(ctx context.Context, t *testing.T, s *ocloud.Spoke, m *ocloud.Monitoring) *alertLoad {
	t.Helper()
	door := agentDoor(ctx, t, s)
	l := &alertLoad{t: t, firing: map[string]postedAlert{}}
	running, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	t.Cleanup(cancel)
	resending, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	go l.resend(resending, m)
	for n := range 2 {
		l.done.Go(func() { l.push(running, ctx, door, n) })
	}
	for n := range 4 {
		l.done.Go(func() {
			pause(ctx, time.Duration(n)*seenByPolls/4) // so that some end while others fire
			l.tell(running, ctx, n)
		})
	}
	return l
}

// push sends each transition to the agent until it is acknowledged.
func (l *alertLoad) push(running, ctx context.Context, door *door, worker int) {
	for i := 0; running.Err() == nil; i++ {
		f, err := door.episode(ctx, fmt.Sprintf("Pushed-%d-%d", worker, i))
		if err != nil {
			l.fail(err)
			return
		}
		l.mu.Lock()
		l.fired, l.pushed = append(l.fired, f), l.pushed+1
		l.mu.Unlock()
	}
}

// seenByPolls is how long an alert fires at least, which is three polls. An Alertmanager that
// is killed after an alert's end, and before it has told of that, forgets both. Then polls
// that have seen the alert miss it, and the agent knows for how long it was valid. Of one
// that it has not seen, in this life of its own, it believes five minutes, for which no test
// can wait.
const seenByPolls = 6 * time.Second

// tell has an alert firing until the O-Cloud knows of it, and then ends it.
func (l *alertLoad) tell(running, ctx context.Context, worker int) {
	for i := 0; running.Err() == nil; i++ {
		f := fired{name: fmt.Sprintf("Told-%d-%d", worker, i), starts: time.Now().UTC().Truncate(time.Millisecond)}
		l.set(alertNamed(f.name, f.starts, time.Time{}))
		err := cloud.Eventually(ctx, "alarm "+f.name, func(ctx context.Context) error {
			list, err := alarmsNamed(ctx, f.name)
			if err == nil && len(list) == 0 {
				err = ocloud.ErrNotYet
			}
			return err
		})
		if err != nil {
			l.fail(err)
			return
		}
		pause(ctx, seenByPolls)
		f.ends = time.Now().UTC().Truncate(time.Millisecond)
		l.set(alertNamed(f.name, f.starts, f.ends))
		l.mu.Lock()
		l.fired, l.through = append(l.fired, f), l.through+1
		l.mu.Unlock()
	}
}

func (l *alertLoad) set(a postedAlert) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.firing[a.Labels["alertname"]] = a
}

func (l *alertLoad) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, err)
}

// resend tells Alertmanager of everything, as Prometheus does: what fires is valid for a
// while, what ended is repeated for a quarter of an hour.
func (l *alertLoad) resend(ctx context.Context, m *ocloud.Monitoring) {
	for ctx.Err() == nil {
		var list []postedAlert
		l.mu.Lock()
		for _, a := range l.firing {
			if a.EndsAt.IsZero() {
				a.EndsAt = time.Now().Add(validity).UTC()
			}
			list = append(list, a)
		}
		l.mu.Unlock()
		body, err := json.Marshal(list)
		if err == nil && len(list) > 0 {
			err = m.PostAlerts(ctx, body)
		}
		if err != nil && ctx.Err() == nil {
			l.t.Logf("Alertmanager was not told: %v", err) // it will be
		}
		pause(ctx, resendEvery)
	}
}

// goesOn waits until alerts have come through since. While the hub takes none in, those that
// are pushed still do.
func (l *alertLoad) goesOn(ctx context.Context, t *testing.T) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.pushed
	}
	before := count()
	eventually(ctx, t, "alerts to be acknowledged", func(context.Context) error {
		if count() < before+3 {
			return fmt.Errorf("%d since: %w", count()-before, ocloud.ErrNotYet)
		}
		return nil
	})
}

// settles waits until all that Alertmanager was told to be over is over in the history.
func (l *alertLoad) settles(ctx context.Context, t *testing.T) {
	t.Helper()
	l.mu.Lock()
	ended := slices.Clone(l.fired)
	l.mu.Unlock()
	for _, f := range ended {
		if !f.exact {
			f.isInHistory(ctx, t)
		}
	}
}

// end lets what fires end, and returns all that fired.
func (l *alertLoad) end(t *testing.T) []fired {
	t.Helper()
	l.cancel()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.faults...); err != nil {
		t.Fatal(err)
	}
	if l.pushed == 0 || l.through == 0 {
		t.Fatalf("%d alerts were pushed, %d came through Alertmanager", l.pushed, l.through)
	}
	return l.fired
}

// door is where Prometheus pushes alerts to an agent.
type door struct {
	url, token string
	client     *http.Client
}

// agentDoor is the door of a managed cluster's agent, for its service account
// monitoring/prometheus, which is made and let in where it is not yet.
func agentDoor(ctx context.Context, t *testing.T, s *ocloud.Spoke) *door {
	t.Helper()
	if err := s.LetIn(ctx); err != nil {
		t.Fatal(err)
	}
	var ca corev1.ConfigMap
	eventually(ctx, t, "the agent's CA", func(ctx context.Context) error {
		return s.Client().Get(ctx, client.ObjectKey{Namespace: ocloud.AgentNamespace, Name: "o2ims-alerts-ca"}, &ca)
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca.Data["ca.crt"]))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ocloud.MonitoringNamespace, Name: "prometheus"}}
	request := &authenticationv1.TokenRequest{}
	if err := s.Client().SubResource("token").Create(ctx, account, request); err != nil {
		t.Fatal(err)
	}
	const name = "o2ims-alerts." + ocloud.AgentNamespace + ".svc"
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			address, err := s.Kubelet.ServiceAddress(ocloud.AgentNamespace, "o2ims-alerts")
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		DisableKeepAlives: true,
	}
	return &door{"https://" + name + "/api/v2/alerts", request.Status.Token, &http.Client{Transport: transport, Timeout: 15 * time.Second}}
}

// episode lets an alert fire and, a little later, end.
func (d *door) episode(ctx context.Context, name string) (fired, error) {
	f := fired{name: name, starts: time.Now().UTC().Truncate(time.Millisecond), exact: true}
	if err := d.until200(ctx, alertNamed(name, f.starts, f.starts.Add(time.Hour))); err != nil {
		return f, err
	}
	pause(ctx, 200*time.Millisecond)
	f.ends = time.Now().UTC().Truncate(time.Millisecond)
	return f, d.until200(ctx, alertNamed(name, f.starts, f.ends))
}

// until200 repeats an alert until it is acknowledged. Any answer but 200 and 503 is an error.
func (d *door) until200(ctx context.Context, alerts ...postedAlert) error {
	body, err := json.Marshal(alerts)
	if err != nil {
		return err
	}
	return cloud.Eventually(ctx, "the agent to take "+alerts[0].Labels["alertname"], func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+d.token)
		response, err := d.client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
			return fmt.Errorf("%s: %s", response.Status, text)
		}
		return nil
	})
}

// pushAndEnd pushes an alert to an agent, and its end.
func pushAndEnd(ctx context.Context, t *testing.T, door *door, name string) fired {
	t.Helper()
	f, err := door.episode(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// fire pushes an alert to the agent of a managed cluster, and waits for the alarm.
func fire(ctx context.Context, t *testing.T, s *ocloud.Spoke, name string) alarmRecord {
	t.Helper()
	starts := time.Now().UTC().Truncate(time.Millisecond)
	if err := agentDoor(ctx, t, s).until200(ctx, alertNamed(name, starts, starts.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	return eventuallyAlarm(ctx, t, name, "that is open", alarmRecord.open)
}
