package manager

import (
	"context"
	"log/slog"
	"net/http"
	"slices"

	"github.com/gorilla/mux"
	ctrl "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/o2ims/o2ims/pkg/addon"
	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/server"
)

// Run serves the hub until ctx ends. It returns an error when it cannot start, or when
// it loses the Lease of the leader: what it did as the leader cannot be undone by half,
// so the process starts anew.
func Run(ctx context.Context, o Options) error {
	f, err := newFoundation(ctx, o)
	if err != nil {
		return err
	}
	defer f.store.Close()
	records := alarm.NewRedisRecords(f.store, alarm.Configuration{RetentionDays: defaultRetention})
	follow := newConfigured(f, records)
	infra, err := newInfrastructure(f, follow)
	if err != nil {
		return err
	}
	addons, err := newAddOn(f)
	if err != nil {
		return err
	}
	told, err := newNotifications(f, infra)
	if err != nil {
		return err
	}
	ill, err := newAlarms(f, follow, records, infra, told)
	if err != nil {
		return err
	}
	apis, err := newServer(f, follow, infra, told, ill)
	if err != nil {
		return err
	}
	for _, r := range slices.Concat(told.runnables(), ill.runnables(), []ctrl.Runnable{addons, everywhere{follow.askIssuers}, everywhere{apis.Run}}) {
		if err := f.mgr.Add(r); err != nil {
			return err
		}
	}
	slog.InfoContext(ctx, "manager starts", "oCloudId", f.options.OCloudID, "hub", f.hub.Host, "namespace", o.Namespace)
	return f.mgr.Start(ctx)
}

// newAddOn deploys agents.
func newAddOn(f *foundation) (*addon.Manager, error) {
	o := f.options.AddOn
	o.RESTConfig, o.Registerer, o.Cache = f.hub, f.registry, f.mgr.GetCache()
	return addon.New(o)
}

// newServer serves the APIs of all services.
func newServer(f *foundation, follow *configured, infra *infrastructure, told *notifications, ill *alarms) (*server.Server, error) {
	o := f.options.Server
	o.Namespace = f.options.Namespace
	parts := server.Parts{
		Mounts: slices.Concat(told.mounts(), ill.mounts(), []server.Mount{{Prefix: inventory.BasePath, Routes: func(r *mux.Router) {
			infra.api.Routes(r)
			told.inventoryRoutes(r)
		}}}),
		Checks: []server.Check{
			{Name: "configuration", Ready: infra.ingest.Configuration.Ready},
			{Name: "inventory", Ready: func() error { return infra.ingest.Ready(&http.Request{}) }},
		},
		Hidden:    follow.hidden,
		ClientCAs: f.access.callers.ClientCAs, TrustedProxy: f.access.callers.TrustsProxy,
		Gate:    f.access.gate,
		Metrics: f.registry,
	}
	if o.CertFile == "" {
		parts.Secrets = f.kube.CoreV1().Secrets(o.Namespace)
	}
	return server.New(o, parts)
}

// everywhere is a Runnable of every replica, leader or not.
type everywhere struct{ run func(context.Context) error }

func (e everywhere) Start(ctx context.Context) error { return e.run(ctx) }

// NeedLeaderElection implements controller-runtime's LeaderElectionRunnable.
func (everywhere) NeedLeaderElection() bool { return false }
