// Package controller holds the reconcilers of the hub: what OCM knows of managed clusters,
// what their agents report, and what the administrator says of places and pools becomes the
// inventory.
//
// Every replica of the manager runs them and keeps a read model of its own; nothing here
// waits for a leader but what writes: the hub's answers (InventoryIngested), and the status
// of our own resources.
//
// A report is read whole, so it does not matter which events were missed. A report that
// cannot be used changes nothing but the reporting state of its own cluster: the last good
// one stands, and the other clusters never notice.
package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/inventory"
	"github.com/o2ims/o2ims/pkg/report"
)

// Inventory is the read model that the reconcilers feed. Implementations are safe for
// concurrent use.
type Inventory interface {
	// SetCluster creates or replaces what is known of a ManagedCluster.
	SetCluster(f inventory.ClusterFacts)

	// RemoveCluster removes a detached cluster and all that came from it.
	RemoveCluster(name string)

	// SetReport replaces the machines of a cluster, all at once.
	SetReport(cluster string, inv report.Inventory, head report.Head)

	// SetReporting tells how well the reports of a cluster reach us.
	SetReporting(cluster string, r inventory.Reporting)

	// RemoveReport removes the machines of a cluster that stays.
	RemoveReport(cluster string)

	// OCloud returns what is said of the O-Cloud itself. It does not change.
	OCloud() *inventory.OCloud

	// SetOCloud replaces what is said of the O-Cloud itself.
	SetOCloud(o inventory.OCloud) error

	// SetHierarchy replaces what the administrator says of places and pools.
	SetHierarchy(h inventory.Hierarchy)

	// Status tells what became of the hierarchy.
	Status() inventory.Status

	// Snapshot returns the inventory as it is now. An equal pointer means that nothing
	// has changed.
	Snapshot() *inventory.Snapshot
}

// Options are the settings of the reconcilers.
type Options struct {
	// RemovalGrace is how long the machines of a cluster stay when its add-on has been
	// disabled.
	RemovalGrace time.Duration

	// ReportWorkers is how many reports are read at the same time.
	ReportWorkers int
}

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.DurationVar(&o.RemovalGrace, "removal-grace", 24*time.Hour, "how long the resources of a managed cluster stay after its add-on was disabled")
	flags.IntVar(&o.ReportWorkers, "report-workers", 4, "how many reports are read at the same time")
}

// Validate reports every bad setting.
func (o *Options) Validate() error {
	var faults []error
	if o.RemovalGrace < 0 {
		faults = append(faults, fmt.Errorf("--removal-grace %s is negative: %w", o.RemovalGrace, fault.Invalid))
	}
	if o.ReportWorkers < 1 || o.ReportWorkers > 64 {
		faults = append(faults, fmt.Errorf("--report-workers %d is not between 1 and 64: %w", o.ReportWorkers, fault.Invalid))
	}
	return errors.Join(faults...)
}

// AddToScheme registers the types that the reconcilers read.
func AddToScheme(scheme *runtime.Scheme) error {
	return errors.Join(clusterv1.Install(scheme), addonv1beta1.Install(scheme), apiv1alpha1.AddToScheme(scheme))
}

// CacheOptions say what the manager's cache keeps for the reconcilers: of all add-ons only
// ours, and nothing that the hub's apiserver writes for itself. What it returns must not be
// changed, and never be written back: other controllers' conditions in it may be old.
//
// The add-on controllers share this cache. They write conditions back, so nothing but
// managedFields may be left out of an add-on, and it is by the add-on's period that they
// find out what somebody deleted by hand.
//
// Of Secrets and ConfigMaps it keeps those in namespace, the manager's own, which the
// Inventory may name.
func CacheOptions(namespace string) map[client.Object]cache.ByObject {
	readOnly, lookAgain := true, 10*time.Minute
	here := map[string]cache.Config{namespace: {}}
	plain := cache.ByObject{Transform: cache.TransformStripManagedFields(), UnsafeDisableDeepCopy: &readOnly}
	return map[client.Object]cache.ByObject{
		&addonv1beta1.ManagedClusterAddOn{}: {
			Field:                 fields.OneTermEqualSelector("metadata.name", report.AddOnName),
			Transform:             cache.TransformStripManagedFields(),
			UnsafeDisableDeepCopy: &readOnly,
			SyncPeriod:            &lookAgain,
		},
		&clusterv1.ManagedCluster{}: plain,
		&apiv1alpha1.Inventory{}:    plain,
		&apiv1alpha1.Location{}:     plain,
		&apiv1alpha1.OCloudSite{}:   plain,
		&apiv1alpha1.ResourcePool{}: plain,
		&corev1.ConfigMap{}:         {Namespaces: here, Transform: cache.TransformStripManagedFields(), UnsafeDisableDeepCopy: &readOnly},
		&corev1.Secret{}: {
			Namespaces: here, Field: fields.OneTermNotEqualSelector("type", helmRelease), // large, and nobody names one
			Transform: cache.TransformStripManagedFields(), UnsafeDisableDeepCopy: &readOnly,
		},
	}
}

// helmRelease is the type of the Secrets in which Helm keeps what it installed.
const helmRelease = "helm.sh/release.v1"

// Ingest is the running set of reconcilers.
type Ingest struct {
	first *firstPass

	// Configuration follows the Inventory.
	Configuration *Configuration

	// Registration keeps the SMO informed.
	Registration *Registration
}

// Parts are what the reconcilers reach out to.
type Parts struct {
	Namespace  string // the manager's own
	Configured Configured
	SMO        SMO
}

// SetUp adds the reconcilers to the manager. Its cache must have been made with
// CacheOptions, its scheme with AddToScheme; its client is used to write the hub's answers and
// the status of our own resources.
func SetUp(mgr manager.Manager, inv Inventory, o Options, p Parts, metrics prometheus.Registerer) (*Ingest, error) {
	decoder, err := report.NewDecoder()
	if err != nil {
		return nil, err
	}
	meters, err := newMeters(metrics)
	if err != nil {
		return nil, err
	}
	first := newFirstPass(mgr.GetCache())
	answers := newAnswers()
	clusters := newManagedClusterReconciler(mgr.GetClient(), inv, first.done)
	reports := newReportReconciler(mgr.GetClient(), inv, decoder, o.RemovalGrace)
	reports.answers, reports.meters, reports.done = answers, meters, first.done
	hierarchy := newHierarchyReconciler(mgr.GetClient(), inv, first.done)
	statuses := newStatusWriter(mgr.GetClient(), inv, first, hierarchy.generation.Load)
	hierarchy.changed = statuses.change
	ingest := &Ingest{first: first, Configuration: newConfiguration(mgr.GetClient(), p.Namespace, p.Configured)}
	ingest.Registration = newRegistration(mgr.GetClient(), p.SMO, hierarchy.flags, ingest.readyToBeFound)
	ingest.Registration.changed = statuses.change
	ingest.Configuration.changed = func() {
		statuses.change()
		ingest.Registration.Again()
	}
	statuses.extend = []extension{ingest.Configuration.extend, ingest.Registration.extend}
	for _, add := range []func(manager.Manager) error{
		hierarchy.setUp,
		ingest.Configuration.setUp,
		ingest.Registration.setUp,
		clusters.setUp,
		func(m manager.Manager) error { return reports.setUp(m, o.ReportWorkers) },
		func(m manager.Manager) error { return m.Add(first) },
		func(m manager.Manager) error { return m.Add(newIngestedWriter(mgr.GetClient(), answers)) },
		func(m manager.Manager) error { return m.Add(statuses) },
	} {
		if err := add(mgr); err != nil {
			return nil, fmt.Errorf("reconcilers: %w", err)
		}
	}
	return ingest, nil
}

// Synced tells whether the hierarchy, every managed cluster and every report that the hub
// had when the manager started has been looked at once.
func (i *Ingest) Synced() bool { return i.first.isComplete() }

// WaitForFirstIngest waits until Synced, or for the end of ctx, whose error it returns.
func (i *Ingest) WaitForFirstIngest(ctx context.Context) error {
	select {
	case <-i.first.complete:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readyToBeFound tells why an SMO that came now would not be served as it should.
func (i *Ingest) readyToBeFound() error {
	if err := i.Configuration.Ready(); err != nil {
		return err
	}
	return i.Ready(nil)
}

// Ready is a check for /readyz.
func (i *Ingest) Ready(*http.Request) error {
	if !i.Synced() {
		return fmt.Errorf("first ingest of reports: not complete: %w", fault.Unavailable)
	}
	return nil
}
