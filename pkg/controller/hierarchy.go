package controller

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/inventory"
)

// HierarchyReconciler projects what the administrator says of the O-Cloud, of places and of
// pools into the read model. These objects refer to each other and are few, so all of them
// are read at every change, and the read model finds out what is different.
type HierarchyReconciler struct {
	reader    client.Reader
	inventory Inventory
	flags     inventory.OCloud // what holds where the Inventory says nothing
	done      func(item)
	changed   func() // called after each change of the read model

	// generation is that of the Inventory that the read model shows.
	generation atomic.Int64
}

func newHierarchyReconciler(reader client.Reader, inv Inventory, done func(item)) *HierarchyReconciler {
	return &HierarchyReconciler{reader: reader, inventory: inv, flags: *inv.OCloud(), done: done, changed: func() {}}
}

// gatherHierarchy is how long changes are gathered: somebody who applies one file of
// hierarchy often applies a hundred.
const gatherHierarchy = 50 * time.Millisecond

// theHierarchy is the one request.
var theHierarchy = reconcile.Request{}

func (r *HierarchyReconciler) setUp(mgr manager.Manager) error {
	everywhere, again := false, true
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	gather := func(q queue) { q.AddAfter(theHierarchy, gatherHierarchy) }
	touch := handler.Funcs{
		CreateFunc: func(_ context.Context, _ event.CreateEvent, q queue) { gather(q) },
		UpdateFunc: func(_ context.Context, _ event.UpdateEvent, q queue) { gather(q) },
		DeleteFunc: func(_ context.Context, _ event.DeleteEvent, q queue) { gather(q) },
	}
	// Our own writes of status do not count as changes.
	spec := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	return builder.ControllerManagedBy(mgr).Named("hierarchy").
		Watches(&apiv1alpha1.Inventory{}, touch, spec).
		Watches(&apiv1alpha1.Location{}, touch, spec).
		Watches(&apiv1alpha1.OCloudSite{}, touch, spec).
		Watches(&apiv1alpha1.ResourcePool{}, touch, spec).
		// A hub without any of them is looked at once, too.
		WatchesRawSource(source.Func(func(_ context.Context, q queue) error { q.Add(theHierarchy); return nil })).
		WithOptions(controller.Options{NeedLeaderElection: &everywhere, SkipNameValidation: &again}).
		Complete(r)
}

// Reconcile reads the whole hierarchy. It runs on every replica.
func (r *HierarchyReconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	if err := r.projectOCloud(ctx); err != nil {
		return reconcile.Result{}, err
	}
	if err := r.projectHierarchy(ctx); err != nil {
		return reconcile.Result{}, err
	}
	r.done(item{kind: hierarchyItem})
	r.changed()
	return reconcile.Result{}, nil
}

func (r *HierarchyReconciler) projectOCloud(ctx context.Context) error {
	var inv apiv1alpha1.Inventory
	err := r.reader.Get(ctx, client.ObjectKey{Name: apiv1alpha1.InventoryName}, &inv)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	o, before := overlay(r.flags, inv.Spec), r.inventory.OCloud().ID
	if err := r.inventory.SetOCloud(o); err != nil {
		// The apiserver refuses this by rule; should it pass one day, all else goes on.
		slog.ErrorContext(ctx, "Inventory not used", "name", inv.Name, "error", err)
		return nil
	}
	if before != o.ID {
		slog.WarnContext(ctx, "oCloudId changed, and with it all identifiers but those of servers and their elements", "from", before, "to", o.ID)
	}
	r.generation.Store(inv.Generation)
	return nil
}

// overlay is the O-Cloud as the Inventory says, and as the flags say where that is silent.
func overlay(flags inventory.OCloud, spec apiv1alpha1.InventorySpec) inventory.OCloud {
	o := inventory.OCloud{
		ID:            cmp.Or(spec.OCloudID, flags.ID),
		GlobalCloudID: cmp.Or(spec.GlobalCloudID, flags.GlobalCloudID),
		Name:          cmp.Or(spec.Name, flags.Name),
		Description:   cmp.Or(spec.Description, flags.Description),
		ServiceURI:    cmp.Or(spec.ExternalURL, flags.ServiceURI),
		Extensions:    flags.Extensions,
	}
	if spec.Extensions != nil {
		o.Extensions = spec.Extensions
	}
	return o
}

func (r *HierarchyReconciler) projectHierarchy(ctx context.Context) error {
	var locations apiv1alpha1.LocationList
	if err := r.reader.List(ctx, &locations, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	var sites apiv1alpha1.OCloudSiteList
	if err := r.reader.List(ctx, &sites, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	var pools apiv1alpha1.ResourcePoolList
	if err := r.reader.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	r.inventory.SetHierarchy(inventory.Hierarchy{Locations: locations.Items, Sites: sites.Items, Pools: pools.Items})
	return nil
}
