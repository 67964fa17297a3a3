package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/test/contract/serve"
)

// monitoringRoutes registers the monitoring of an O-Cloud on which all that can happen to
// alarms has happened.
func monitoringRoutes(t testing.TB, r *mux.Router, access auth.Access, majors ...string) {
	t.Helper()
	with := serve.NewBacking(t)
	if err := raise(with.Store, alarms()...); err != nil {
		t.Fatal(err)
	}
	alarm.NewAPI(alarm.APIOptions{Versions: majors}, alarm.Parts{
		Records: alarm.NewRedisRecords(with.Store, alarm.Configuration{RetentionDays: 1}),
		Store:   with.Store, Callbacks: with.Callback, Subscriptions: with.Delivery, Access: access,
		Pager:   rest.NewPager(rest.PagingOptions{Size: 3, Decimal: true, BaseURL: serviceURI}, make([]byte, rest.MarkerKeyBytes)),
		BaseURL: serviceURI, GlobalCloudID: func() string { return "18f2dc90-b375-47dd-b8dc-ae80072e6cdb" }, Now: time.Now,
	}).Routes(r)
}

// raise stores alarms as they are.
func raise(db *store.Store, records ...alarm.Record) error {
	for i := range records {
		r := &records[i]
		document, err := json.Marshal(r)
		if err != nil {
			return err
		}
		after := store.AlarmState{Cleared: r.Cleared}
		if r.Active() {
			after = store.AlarmState{Open: &store.OpenAlarm{Origin: store.FromAgent, Fingerprint: r.Fingerprint, Starts: r.Raised.UnixMilli(), ID: r.ID}}
		}
		write := store.AlarmWrite{ID: r.ID, Version: r.Version, Raised: r.Raised, After: after, Document: document}
		if err := db.WriteAlarms(context.Background(), store.AlarmBatch{Cluster: r.Cluster, Writes: []store.AlarmWrite{write}}); err != nil {
			return fmt.Errorf("alarm %s: %w", r.ID, err)
		}
	}
	return nil
}

// alarms are alarms in every state, of every severity, of several clusters and of the O-Cloud
// itself, some raised at the same moment.
func alarms() []alarm.Record {
	id := func(kind, n int) uuid.UUID {
		return uuid.MustParse(fmt.Sprintf("0b6d0c0e-5f1b-5f0e-9f4%d-%012d", kind, n))
	}
	var list []alarm.Record
	for n := range 14 {
		cluster := fmt.Sprintf("edge-%d", 1+n%3)
		r := alarm.Record{
			ID: id(0, n+1), Cluster: cluster, Fingerprint: fmt.Sprintf("%016x", n+1), Version: 1, Via: "webhook",
			ObjectClass: "oran.o2ims.cluster.ClusterResource", ObjectTypeID: id(1, 1+n%2), ObjectID: id(2, 1+n%4), DefinitionID: id(3, 1+n%5), ProbableCauseID: alarm.ProbableCauseID("NODE_DOWN"),
			Severity: alarm.Severity(n % 5), Raised: began.Add(time.Duration(n/2) * time.Minute), Received: began.Add(time.Duration(n/2)*time.Minute + 250*time.Millisecond),
			Labels:      map[string]string{"alertname": []string{"KubeNodeNotReady", "Disk'sFull", "Über(all), etc."}[n%3], "node": fmt.Sprintf("n%d", n%4), "app.kubernetes.io/part-of": "du"},
			Annotations: map[string]string{"summary": "alarm number " + fmt.Sprint(n+1)}, GeneratorURL: "http://prometheus.example.net/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
		}
		r.Changed = r.Raised
		if n%3 == 1 {
			r.Cleared, r.ClearedBy, r.Version = r.Raised.Add(90*time.Second), alarm.ClearedByAlert, 2
			r.Changed = r.Cleared
		}
		if n%4 == 2 {
			r.Acknowledged, r.AcknowledgedBy, r.Version = r.Raised.Add(2*time.Minute), "operator", r.Version+1
			r.Changed = r.Acknowledged
		}
		if n == 7 {
			r.ClearedBy, r.Estimated, r.Compacted = alarm.ClearedByReconcile, true, 3
		}
		list = append(list, r)
	}
	own := list[0]
	own.ID, own.Cluster, own.Fingerprint, own.Via, own.Manual = id(0, 99), "", strings.Repeat("f", 16), alarm.ViaWatch, true
	own.ObjectClass, own.Labels, own.Annotations, own.GeneratorURL = "oran.o2ims.OCloud", nil, nil, ""
	return append(list, own)
}
