package manager

import (
	"context"
	"time"

	"github.com/google/uuid"
	ctrl "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/controller"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/server"
)

// alarms are the alarm path on the hub: reports become records, silence becomes an alarm,
// and the monitoring API shows both.
type alarms struct {
	api       *alarm.API
	catalogue *alarm.Catalogue
	records   *alarm.RedisRecords
	watch     *alarm.Watch
	webhook   *alarm.Webhook
	model     *inventory.Model
}

// defaultRetention is how long cleared alarms are kept until a client says otherwise.
const defaultRetention = 15 // days

// newAlarms adds the intake of alerts to the manager's controllers.
func newAlarms(f *foundation, follow *configured, records *alarm.RedisRecords, infra *infrastructure, told *notifications) (*alarms, error) {
	o := f.options
	catalogue := alarm.NewCatalogue(f.store)
	mapper, err := alarm.NewMapper(o.AlarmMapping, alarmObjects{infra.model}, catalogue)
	if err != nil {
		return nil, err
	}
	o.AlarmIngest.Registerer = f.registry
	intake := alarm.NewIngest(o.AlarmIngest, f.store, told.engine.Term, mapper)
	ready := func() bool { return infra.ingest.Synced() && catalogue.Loaded() }
	if err := controller.SetUpAlerts(f.mgr, intake, ready, o.Ingest); err != nil {
		return nil, err
	}
	return &alarms{
		api: alarm.NewAPI(o.Alarms, alarm.Parts{
			Records: records, Pager: f.pager, Store: f.store, Subscriptions: o.Delivery, Callbacks: f.out,
			BaseURL: o.Server.ExternalURL, GlobalCloudID: infra.globalCloudID,
			Access: f.access.authorizer, Served: follow.serves(monitoringName), Now: time.Now,
		}),
		catalogue: catalogue, records: records, model: infra.model,
		watch:   alarm.NewWatch(o.AlarmWatch, intake, controller.Fleet{Reader: f.mgr.GetCache()}),
		webhook: alarm.NewWebhook(o.AlarmWebhook, intake, infra.model),
	}, nil
}

// runnables are what the manager runs: dictionaries on every replica; on the leader the watch
// over silence, retention, and purges that took too long for a request.
func (a *alarms) runnables() []ctrl.Runnable {
	return []ctrl.Runnable{
		everywhere{func(ctx context.Context) error { return a.catalogue.Run(ctx, a.fillDictionaries) }},
		ctrl.RunnableFunc(a.watch.Run), ctrl.RunnableFunc(a.records.Retain),
		ctrl.RunnableFunc(func(ctx context.Context) error { return alarm.EndTasks(ctx, a.records, time.Now) }),
	}
}

func (a *alarms) mounts() []server.Mount {
	return []server.Mount{
		{Prefix: alarm.BasePath, Alias: alarm.Alias, Routes: a.api.Routes},
		{Prefix: "/internal", Routes: a.webhook.Routes, MaxBodyBytes: alarm.MaxWebhookBytes, Retries5xxOnly: true},
	}
}

// fillDictionaries brings what is known of alerting rules into the alarm dictionaries.
func (a *alarms) fillDictionaries() {
	known := a.catalogue.Known() // as it is now: a dictionary must not change by itself
	a.model.SetDefinitions(inventory.Definitions{
		Causes: probableCauses(),
		Alarms: func(dictionary uuid.UUID, s inventory.Subject) []inventory.AlarmDefinition {
			return alarmDefinitions(known.Definitions(dictionary, classOf(s)))
		},
	})
}

func alarmDefinitions(known []alarm.Definition) []inventory.AlarmDefinition {
	list := make([]inventory.AlarmDefinition, len(known))
	for i, d := range known {
		list[i] = inventory.AlarmDefinition{
			ID: d.ID, Name: d.Name, LastChange: "1.0.0", ChangeType: "ADDED", Description: d.Description,
			RepairActions: d.RepairActions, ClearingType: "AUTOMATIC", AdditionalFields: d.Fields,
		}
		if d.Manual {
			list[i].ClearingType = "MANUAL"
		}
		if d.Deleted {
			list[i].ChangeType = "DELETED"
		}
	}
	return list
}

func probableCauses() []inventory.ProbableCause {
	var list []inventory.ProbableCause
	for _, c := range alarm.ProbableCauses() {
		list = append(list, inventory.ProbableCause{
			ID: c.ID, Code: c.Code, Description: c.Description,
			Standard: inventory.StandardReference{
				Organization: alarm.StandardOrganization, Specification: alarm.StandardSpecification, Version: alarm.StandardVersion,
			},
		})
	}
	return list
}

func classOf(s inventory.Subject) string {
	switch s {
	case inventory.SubjectCluster:
		return alarm.ClassDeploymentManager
	case inventory.SubjectOCloud:
		return alarm.ClassOCloud
	default:
		return alarm.ClassResource
	}
}

// alarmObjects finds what alarms are about in the inventory.
type alarmObjects struct{ model *inventory.Model }

// OCloud implements alarm.Objects.
func (o alarmObjects) OCloud() alarm.Object {
	return objectFor(alarm.ClassOCloud, o.model.OCloudThing())
}

// Cluster implements alarm.Objects.
func (o alarmObjects) Cluster(cluster string) (alarm.Object, bool) {
	t, found := o.model.ClusterThing(cluster)
	return objectFor(alarm.ClassDeploymentManager, t), found
}

// Node implements alarm.Objects.
func (o alarmObjects) Node(cluster, node string) (alarm.Object, bool) {
	t, found := o.model.NodeThing(cluster, node)
	return objectFor(alarm.ClassResource, t), found
}

// Device implements alarm.Objects.
func (o alarmObjects) Device(cluster, node, device string) (alarm.Object, bool) {
	t, found := o.model.DeviceThing(cluster, node, device)
	return objectFor(alarm.ClassResource, t), found
}

func objectFor(class string, t inventory.Thing) alarm.Object {
	return alarm.Object{Class: class, ID: t.ID, TypeID: t.TypeID, DictionaryID: t.DictionaryID}
}
