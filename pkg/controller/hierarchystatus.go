package controller

import (
	"context"
	"log/slog"
	"slices"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/inventory"
)

// Intervals of the status writer. An administrator who has changed something waits for the
// answer; counts follow the reports and can wait.
const (
	statusAfterChange = 500 * time.Millisecond
	statusInterval    = 10 * time.Second
)

// statusWriter writes what the inventory makes of the administrator's objects into their
// status, when it differs from what stands there. It also creates the Inventory when there
// is none. Only the leader runs it.
type statusWriter struct {
	client     client.Client
	inventory  Inventory
	first      *firstPass
	generation func() int64  // of the Inventory that the read model shows
	changes    chan struct{} // holds one token while the hierarchy has changed
	extend     []extension

	written *inventory.Snapshot // what the last complete round was about
	oCloud  inventory.OCloudStatus
}

// extension adds to the Inventory's status what somebody else knows.
type extension func(ctx context.Context, status *apiv1alpha1.InventoryStatus, generation int64)

func newStatusWriter(c client.Client, inv Inventory, first *firstPass, generation func() int64) *statusWriter {
	return &statusWriter{client: c, inventory: inv, first: first, generation: generation, changes: make(chan struct{}, 1)}
}

// change makes the writer look soon.
func (w *statusWriter) change() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

// NeedLeaderElection is true: replicas would write the same, each at its own time.
func (*statusWriter) NeedLeaderElection() bool { return true }

// Start writes until ctx ends. It waits for the first pass: before, counts are those of a
// hub half read.
func (w *statusWriter) Start(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-w.first.complete:
	}
	w.change()
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if w.inventory.Snapshot() == w.written {
				w.tried(ctx, w.writeInventory(ctx, w.oCloud)) // the world around it may have changed
				continue
			}
		case <-w.changes:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(statusAfterChange):
			}
		}
		w.round(ctx)
	}
}

// round writes every status that is out of date. What could not be written is tried again
// with the next tick.
func (w *statusWriter) round(ctx context.Context) {
	snapshot, status := w.inventory.Snapshot(), w.inventory.Status()
	if w.tried(ctx, w.write(ctx, status)) {
		w.written, w.oCloud = snapshot, status.OCloud
	}
}

// tried tells whether what was written is there.
func (w *statusWriter) tried(ctx context.Context, err error) bool {
	if err != nil && ctx.Err() == nil {
		slog.WarnContext(ctx, "status of the hierarchy not written", "error", err)
	}
	return err == nil
}

func (w *statusWriter) write(ctx context.Context, s inventory.Status) error {
	if err := w.writeInventory(ctx, s.OCloud); err != nil {
		return err
	}
	var locations apiv1alpha1.LocationList
	if err := w.client.List(ctx, &locations, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range locations.Items {
		l := &locations.Items[i]
		if of, known := s.Locations[l.Name]; known {
			status := locationStatus(l.Status, of)
			if err := patch(ctx, w.client, l, l.Status, status, func(o *apiv1alpha1.Location) { o.Status = status }); err != nil {
				return err
			}
		}
	}
	var sites apiv1alpha1.OCloudSiteList
	if err := w.client.List(ctx, &sites, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range sites.Items {
		site := &sites.Items[i]
		if of, known := s.Sites[site.Name]; known {
			status := siteStatus(site.Status, of)
			if err := patch(ctx, w.client, site, site.Status, status, func(o *apiv1alpha1.OCloudSite) { o.Status = status }); err != nil {
				return err
			}
		}
	}
	var pools apiv1alpha1.ResourcePoolList
	if err := w.client.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range pools.Items {
		p := &pools.Items[i]
		if of, known := s.Pools[p.Name]; known {
			status := poolStatus(p.Status, of)
			if err := patch(ctx, w.client, p, p.Status, status, func(o *apiv1alpha1.ResourcePool) { o.Status = status }); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeInventory creates the Inventory when there is none; its status comes with the next
// round, which its creation brings about.
func (w *statusWriter) writeInventory(ctx context.Context, s inventory.OCloudStatus) error {
	var inv apiv1alpha1.Inventory
	err := w.client.Get(ctx, client.ObjectKey{Name: apiv1alpha1.InventoryName}, &inv)
	if apierrors.IsNotFound(err) {
		inv = apiv1alpha1.Inventory{ObjectMeta: metav1.ObjectMeta{Name: apiv1alpha1.InventoryName}}
		if err = w.client.Create(ctx, &inv); apierrors.IsAlreadyExists(err) {
			return nil // the cache is behind
		}
		return err
	}
	if err != nil {
		return err
	}
	status := inventoryStatus(inv.Status, s, w.generation())
	for _, extend := range w.extend {
		extend(ctx, &status, status.ObservedGeneration)
	}
	ready, reason, message := readiness(status.Conditions)
	status.Conditions = with(status.Conditions, status.ObservedGeneration, apiv1alpha1.ConditionReady, ready, reason, message)
	return patch(ctx, w.client, &inv, inv.Status, status, func(o *apiv1alpha1.Inventory) { o.Status = status })
}

// object is a resource of ours.
type object[T any] interface {
	client.Object
	DeepCopy() T
}

// patch writes a status that differs. The object is the cache's and stays as it is. One that
// has gone needs no status.
func patch[T object[T], S any](ctx context.Context, c client.Client, o T, have, want S, set func(T)) error {
	if apiequality.Semantic.DeepEqual(have, want) {
		return nil
	}
	changed := o.DeepCopy()
	set(changed)
	return client.IgnoreNotFound(c.Status().Patch(ctx, changed, client.MergeFrom(o)))
}

func inventoryStatus(old apiv1alpha1.InventoryStatus, s inventory.OCloudStatus, generation int64) apiv1alpha1.InventoryStatus {
	status := apiv1alpha1.InventoryStatus{
		ObservedGeneration: generation,
		OCloudID:           s.ID,
		ServiceURI:         s.ServiceURI,
		DeploymentManagers: int32(s.DeploymentManagers),
		Locations:          int32(s.Locations),
		OCloudSites:        int32(s.OCloudSites),
		ResourcePools:      int32(s.ResourcePools),
		ResourceTypes:      int32(s.ResourceTypes),
		Resources:          int32(s.Resources),
	}
	status.Conditions = slices.Clone(old.Conditions)
	status.SMORegistration = old.SMORegistration
	return status
}

// readiness sums the Inventory's other conditions up: everything is in use as it was
// described, and served. Whether the SMO has heard of it is another matter.
func readiness(conditions []metav1.Condition) (ready bool, reason, message string) {
	for _, c := range conditions {
		switch c.Type {
		case apiv1alpha1.ConditionReady, apiv1alpha1.ConditionSMORegistrationCompleted:
			continue
		}
		if c.Status == metav1.ConditionFalse && c.Reason != apiv1alpha1.ReasonSwitchedOff {
			return false, c.Reason, c.Type + ": " + c.Message
		}
	}
	return true, apiv1alpha1.ReasonReady, "the inventory is complete and served"
}

func locationStatus(old apiv1alpha1.LocationStatus, s inventory.LocationStatus) apiv1alpha1.LocationStatus {
	status := apiv1alpha1.LocationStatus{
		ObservedGeneration: s.Generation, GlobalLocationID: s.GlobalLocationID, OCloudSites: int32(s.Sites),
	}
	status.Conditions = with(old.Conditions, s.Generation, apiv1alpha1.ConditionReady, s.Ready, s.Reason, s.Message)
	return status
}

func siteStatus(old apiv1alpha1.OCloudSiteStatus, s inventory.SiteStatus) apiv1alpha1.OCloudSiteStatus {
	status := apiv1alpha1.OCloudSiteStatus{
		ObservedGeneration: s.Generation, OCloudSiteID: s.ID.String(), GlobalLocationID: s.GlobalLocationID,
		ResourcePools: int32(s.Pools), Resources: int32(s.Resources),
	}
	status.Conditions = with(old.Conditions, s.Generation, apiv1alpha1.ConditionReady, s.Ready, s.Reason, s.Message)
	return status
}

func poolStatus(old apiv1alpha1.ResourcePoolStatus, s inventory.PoolStatus) apiv1alpha1.ResourcePoolStatus {
	status := apiv1alpha1.ResourcePoolStatus{
		ObservedGeneration: s.Generation, ManagedClusters: int32(s.Clusters), Resources: int32(s.Resources),
	}
	if s.Shown {
		status.ResourcePoolID, status.OCloudSiteID = s.ID.String(), s.SiteID.String()
	}
	status.Conditions = with(old.Conditions, s.Generation, apiv1alpha1.ConditionReady, s.Ready, s.Reason, s.Message)
	conflict, reason, message := s.Conflict != "", apiv1alpha1.ReasonNodesClaimed, s.Conflict
	if !conflict {
		reason, message = apiv1alpha1.ReasonNoConflict, "no pool of the same priority selects the same nodes"
	}
	status.Conditions = with(status.Conditions, s.Generation, apiv1alpha1.ConditionConflict, conflict, reason, message)
	return status
}

// maxMessage is what the apiserver allows in a condition.
const maxMessage = 32768

// with returns the conditions with one of them set. Its transition time moves with its
// status only.
func with(conditions []metav1.Condition, generation int64, conditionType string, is bool, reason, message string) []metav1.Condition {
	conditions = append([]metav1.Condition(nil), conditions...)
	status := metav1.ConditionFalse
	if is {
		status = metav1.ConditionTrue
	}
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	meta.SetStatusCondition(&conditions, metav1.Condition{
		Type: conditionType, Status: status, ObservedGeneration: generation, Reason: reason, Message: message,
	})
	return conditions
}
