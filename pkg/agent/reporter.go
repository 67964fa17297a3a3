package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/report"
)

// reporter writes the inventory report whenever the cluster's hardware, or the report
// that stands on the hub, is not what it should be.
type reporter struct {
	cluster    string
	epoch      string // names this run of the agent
	assembler  *assembler
	encoder    *report.Encoder
	identities identityStore
	hub        client.Client // reads of the add-on come from a cache that watches it
	pace       pace
	clock      clock.PassiveClock

	known identities // nil until the first pass has loaded it
}

// Reconcile brings the report up to date, or says when that may be done. There is one
// report per cluster, so the request says nothing; everything is read afresh.
func (r *reporter) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var addon addonv1beta1.ManagedClusterAddOn
	if err := r.hub.Get(ctx, client.ObjectKey{Namespace: r.cluster, Name: report.AddOnName}, &addon); err != nil {
		return reconcile.Result{}, fmt.Errorf("ManagedClusterAddOn %s/%s on the hub: %w", r.cluster, report.AddOnName, err)
	}
	if wait := r.pace.wait(r.clock.Now()); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	if err := r.loadIdentities(ctx, addon.Status.Conditions); err != nil {
		return reconcile.Result{}, err
	}

	update, waiting, err := r.compose(ctx, addon.Status.Conditions)
	if err != nil {
		return reconcile.Result{}, err
	}
	if len(waiting) > 0 {
		slog.InfoContext(ctx, "report waits for the node probe, so that new machines get lasting names", "nodes", waiting)
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	if !update.Changed {
		r.pace.settled()
		return reconcile.Result{}, nil
	}
	if wait := r.pace.changed(r.clock.Now()); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	if err := r.apply(ctx, update.Entries); err != nil {
		return reconcile.Result{}, err
	}
	r.pace.written(r.clock.Now())
	return reconcile.Result{}, nil
}

func (r *reporter) loadIdentities(ctx context.Context, conditions []metav1.Condition) error {
	if r.known != nil {
		return nil
	}
	decoder, err := report.NewDecoder()
	if err != nil {
		return err
	}
	// A report that cannot be read tells nothing; the ConfigMap is what counts.
	last, _ := decoder.Decode(r.cluster, conditions)
	known, err := r.identities.load(ctx, last.Inventory)
	if err != nil {
		return err
	}
	r.known = known
	return nil
}

// compose makes the report of what the sources say now. Identities are saved before
// anybody can see them: a crash in between must not give a machine two names.
func (r *reporter) compose(ctx context.Context, current []metav1.Condition) (report.Update, []string, error) {
	stamp := report.Stamp{Epoch: r.epoch, Now: r.clock.Now()}
	inventory, waiting, err := r.assembler.assemble(ctx, r.known)
	if err != nil {
		slog.ErrorContext(ctx, "hardware not collected", "error", err)
		return r.encoder.ComposeCollectFailed(current, stamp), nil, nil
	}
	if len(waiting) > 0 {
		return report.Update{}, waiting, nil
	}
	next := r.known.assign(r.cluster, inventory.Nodes)
	if !next.equal(r.known) {
		if err := r.identities.save(ctx, next); err != nil {
			return report.Update{}, nil, err
		}
		r.known = next
	}
	encoded, err := r.encoder.Encode(inventory)
	if err != nil {
		return report.Update{}, nil, fmt.Errorf("inventory report: %w", err)
	}
	return r.encoder.Compose(current, stamp, encoded), nil, nil
}

func (r *reporter) apply(ctx context.Context, entries []metav1.Condition) error {
	object := client.ApplyConfigurationFromUnstructured(report.ApplyObject(r.cluster, entries))
	err := r.hub.Status().Apply(ctx, object, client.FieldOwner(report.FieldManagerInventory), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("inventory report to ManagedClusterAddOn %s/%s: %w", r.cluster, report.AddOnName, err)
	}
	slog.InfoContext(ctx, "inventory reported", "head", entries[0].Message, "reason", entries[0].Reason)
	return nil
}
