package manager

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/o2ims/o2ims/pkg/alarm"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/server"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
)

// inventoryService is the name of the inventory in the store and in metrics.
const inventoryService = "inventory"

// notifications tell consumers what changes: the subscriptions to the inventory, and the
// engine that delivers for every service.
type notifications struct {
	store         *store.Store
	engine        *subscription.Engine
	subscriptions *subscription.API
	admin         subscription.Admin
}

// newNotifications puts the delivery of changes together.
func newNotifications(f *foundation, infra *infrastructure) (*notifications, error) {
	o := f.options
	rootKind, rootID := infra.api.RootObject()
	service := subscription.Service{
		Name: inventoryService, Versions: infra.api.VersionNames(), RootKind: rootKind, RootID: rootID,
		Kinds: func(version string) subscription.Kinds { return infra.api.ObjectTypes(version) },
	}
	feed := &inventoryFeed{api: infra.api, ready: infra.ingest.WaitForFirstIngest}
	engine, err := subscription.New(o.Delivery, subscription.Parts{
		Store: f.store, Client: f.out, BaseURL: o.externalURL(), Registerer: f.registry,
		Services: []subscription.Service{service, alarm.Service(o.Alarms.Versions, infra.globalCloudID)},
		Sources:  []subscription.Source{feed},
	})
	if err != nil {
		return nil, err
	}
	feed.changed = engine.Changed
	return &notifications{
		store: f.store, engine: engine,
		subscriptions: subscription.NewAPI(o.Delivery, subscription.APIParts{
			Store: f.store, Service: service, Callbacks: f.out, Pager: f.pager, BaseURL: o.Server.ExternalURL, Access: f.access.authorizer,
		}),
		admin: subscription.Admin{Store: f.store, Clusters: clusterLedgers(f.mgr.GetCache(), infra.model, f.store)},
	}, nil
}

// runnables are what the manager runs: on every replica what a request may need, on the
// leader the delivery.
func (n *notifications) runnables() []ctrl.Runnable {
	return []ctrl.Runnable{everywhere{n.prepare}, ctrl.RunnableFunc(n.engine.Run)}
}

// prepare waits for Redis and makes it ours. Requests that need it are answered with 503
// until then; those that do not, never notice.
func (n *notifications) prepare(ctx context.Context) error {
	last := ""
	err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		err := n.store.Prepare(ctx)
		if err != nil && err.Error() != last {
			last = err.Error()
			slog.WarnContext(ctx, "Redis not ready; subscriptions have to wait", "error", err)
		}
		return err == nil, nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// mounts are the paths below prefixes of their own.
func (n *notifications) mounts() []server.Mount {
	prefix, _, _ := strings.Cut(strings.TrimPrefix(subscription.AdminPath, "/"), "/")
	return []server.Mount{{Prefix: "/" + prefix, Routes: n.admin.Routes}}
}

// inventoryRoutes are the paths of subscriptions below those of the inventory.
func (n *notifications) inventoryRoutes(r *mux.Router) { n.subscriptions.Routes(r, inventory.BasePath) }

// inventoryFeed hands the inventory over to the engine. Nothing is handed over before a
// leader has asked for everything: the first reports after a start change nothing that
// consumers do not know.
type inventoryFeed struct {
	api     *inventory.API
	ready   func(context.Context) error
	changed func(source string, version uint64, objects ...subscription.Object)
	watched bool
}

// Name implements subscription.Source.
func (*inventoryFeed) Name() string { return inventoryService }

// Objects implements subscription.Source. The engine calls it from one goroutine at a time.
func (f *inventoryFeed) Objects(ctx context.Context) (uint64, iter.Seq[subscription.Object], error) {
	if err := f.ready(ctx); err != nil {
		return 0, nil, err
	}
	if !f.watched {
		f.watched = true
		f.api.Watch(func(version uint64, changes []inventory.Change) {
			objects := make([]subscription.Object, len(changes))
			for i, c := range changes {
				objects[i] = objectOf(c)
			}
			f.changed(inventoryService, version, objects...)
		})
	}
	version, all := f.api.Everything()
	return version, func(yield func(subscription.Object) bool) {
		for c := range all {
			if !yield(objectOf(c)) {
				return
			}
		}
	}, nil
}

func objectOf(c inventory.Change) subscription.Object {
	o := subscription.Object{Kind: c.ObjectType, ID: c.ID}
	if c.Views != nil {
		o.Render = func() subscription.Document {
			views := c.Views()
			document := make(subscription.Document, len(views))
			for version, view := range views {
				document[version] = subscription.View{Ref: view.Path, State: view.State}
			}
			return document
		}
	}
	return o
}

// clusterLedgers tells how far the reports of each managed cluster got: which is the newest
// in its add-on's status, which one the inventory shows, and which alerts are in the history.
func clusterLedgers(reader client.Reader, model *inventory.Model, db *store.Store) func(context.Context) ([]subscription.ClusterLedger, error) {
	return func(ctx context.Context) ([]subscription.ClusterLedger, error) {
		var addons addonv1beta1.ManagedClusterAddOnList
		if err := reader.List(ctx, &addons, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("reports of managed clusters: %w", err)
		}
		journals, err := db.AlarmJournals(ctx)
		if err != nil {
			return nil, err
		}
		var ledgers []subscription.ClusterLedger
		for i := range addons.Items {
			addon := &addons.Items[i]
			head := meta.FindStatusCondition(addon.Status.Conditions, report.KindInventory.HeadType())
			if addon.Name != report.AddOnName || head == nil {
				continue
			}
			ledger := subscription.ClusterLedger{Cluster: addon.Namespace}
			if newest, err := report.ParseHead(head.Message); err == nil {
				ledger.Epoch, ledger.Reported = newest.Epoch, newest.Seq
			}
			if shown, found := model.Head(addon.Namespace); found && shown.Epoch == ledger.Epoch {
				ledger.Applied = shown.Seq
			}
			if newest, found := report.FindAlertsHead(addon.Status.Conditions); found {
				ledger.Alerts = alertsLedger(newest, journals[addon.Namespace])
			}
			ledgers = append(ledgers, ledger)
		}
		slices.SortFunc(ledgers, func(a, b subscription.ClusterLedger) int { return strings.Compare(a.Cluster, b.Cluster) })
		return ledgers, nil
	}
}

func alertsLedger(newest report.AlertsHead, j store.Journal) *subscription.AlertsLedger {
	l := &subscription.AlertsLedger{Epoch: newest.Epoch, Journalled: newest.End, Lost: j.Lost, Compacted: j.Compacted}
	if j.Epoch == newest.Epoch {
		l.Applied = j.Applied
		l.Journalled = max(newest.End, j.Applied) // the cache may lag behind
	}
	return l
}
