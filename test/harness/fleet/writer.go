package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/report"
)

// Label marks the ManagedClusters that we wrote; its value is the fleet's prefix.
const Label = report.Prefix + "/fleet"

// Who we are to the apiserver when we write what a klusterlet does. What an agent does is
// written in the agent's name.
const fieldManagerKlusterlet = "fleet-klusterlet"

// Names of what OCM and clusteradm decide.
const (
	clusterSetLabel  = "cluster.open-cluster-management.io/clusterset"
	defaultSet       = "default"
	installNamespace = "open-cluster-management-agent-addon"
	nodeImageVersion = "v1.31.6"
)

// leaseSeconds is how long OCM waits for the heartbeat of a klusterlet. Ours have none;
// with OCM's minute they would all be lost within five.
const leaseSeconds = 24 * 60 * 60

// attempts bounds how often a write is tried when others write the same object.
const attempts = 10

// Writer writes fleets to a hub. It is safe for concurrent use.
type Writer struct {
	hub     client.Client
	encoder *report.Encoder
	decoder *report.Decoder
	epoch   string // of all agents that we play
	now     func() time.Time
}

// NewWriter returns a Writer to the hub. The connection needs the rights of an
// administrator; it is not rate limited here, Load's number of workers does that.
func NewWriter(hub *rest.Config) (*Writer, error) {
	config := rest.CopyConfig(hub)
	config.QPS, config.Burst, config.RateLimiter = -1, 0, nil
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, clusterv1.Install, addonv1alpha1.Install, addonv1beta1.Install, workv1.Install} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	encoder, err := report.NewEncoder(report.DefaultInventoryParts)
	if err != nil {
		return nil, err
	}
	decoder, err := report.NewDecoder()
	if err != nil {
		return nil, err
	}
	return &Writer{hub: c, encoder: encoder, decoder: decoder, epoch: uuid.NewString(), now: time.Now}, nil
}

// Progress is how far Load has come.
type Progress struct {
	Done, All int
	Elapsed   time.Duration
}

// String is a line for a person: how far, how fast, how long still.
func (p Progress) String() string {
	rate := float64(p.Done) / max(p.Elapsed.Seconds(), 0.001)
	left := time.Duration(float64(p.All-p.Done) / max(rate, 0.001) * float64(time.Second))
	return fmt.Sprintf("%5d of %d managed clusters, %.1f/s, %s left", p.Done, p.All, rate, left.Round(time.Second))
}

// LoadOptions say how a fleet is written.
type LoadOptions struct {
	// Workers is how many managed clusters are written side by side.
	Workers int

	// Settled writes add-ons and their ManifestWorks in the state in which OCM's controllers,
	// the manager and the spoke leave them, which they need two dozen writes each to reach.
	// The state is that of the first managed cluster, which is left to them, so they must be
	// running. They still look at every add-on; they find less to do.
	Settled bool

	// Tell is called about once a second and at the end; nil is not.
	Tell func(Progress)
}

// Load writes a whole fleet. What is there already is left as it is, so Load goes on where
// an earlier one was interrupted. The first error ends it.
func (w *Writer) Load(ctx context.Context, f Fleet, o LoadOptions) error {
	if err := f.Validate(); err != nil {
		return err
	}
	var like *pattern
	if o.Settled {
		var err error
		if like, err = w.settle(ctx, f); err != nil {
			return fmt.Errorf("managed cluster %s: %w", f.Name(0), err)
		}
	}
	began := time.Now()
	var mu sync.Mutex
	done, told := 0, began
	written := func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		if now := time.Now(); o.Tell != nil && (done == f.Clusters || now.Sub(told) >= time.Second) {
			told = now
			o.Tell(Progress{Done: done, All: f.Clusters, Elapsed: now.Sub(began)})
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Workers)
	for i := range f.Clusters {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			if like == nil || i > 0 { // the pattern itself is there
				if err := w.writeCluster(ctx, f, i, like); err != nil {
					return fmt.Errorf("managed cluster %s: %w", f.Name(i), err)
				}
			}
			written()
			return nil
		})
	}
	return group.Wait()
}

// writeCluster does what an administrator, a klusterlet and an agent do, in their order.
// With like it looks afterwards as if everybody else had done their part already.
func (w *Writer) writeCluster(ctx context.Context, f Fleet, i int, like *pattern) error {
	inv := f.Inventory(i)
	name := inv.Cluster
	cluster, status := managedCluster(f, name), clusterStatus(inv, w.now())
	if like != nil { // what the hub's registration controller says of a cluster
		cluster.Finalizers = like.cluster.Finalizers
		accepted := meta.FindStatusCondition(like.cluster.Status.Conditions, clusterv1.ManagedClusterConditionHubAccepted)
		if accepted != nil {
			addCondition(status, condition(accepted.Type, accepted.Reason, accepted.Message, w.now()))
		}
	}
	for _, object := range []client.Object{
		cluster,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{clusterv1.ClusterNameLabelKey: name}}},
	} {
		if err := w.hub.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	if err := w.applyStatus(ctx, status, fieldManagerKlusterlet); err != nil {
		return err
	}
	if like != nil {
		return w.copyTo(ctx, like, inv)
	}
	if err := client.IgnoreAlreadyExists(w.hub.Create(ctx, newAddOn(name))); err != nil {
		return err
	}
	if _, _, err := w.readAndReport(ctx, inv); err != nil {
		return err
	}
	return w.applyStatus(ctx, addOnStatus(name, w.now()), fieldManagerKlusterlet)
}

// newAddOn is what `clusteradm addon enable` makes.
func newAddOn(cluster string) *addonv1alpha1.ManagedClusterAddOn {
	return &addonv1alpha1.ManagedClusterAddOn{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: report.AddOnName},
		Spec:       addonv1alpha1.ManagedClusterAddOnSpec{InstallNamespace: installNamespace}, //nolint:staticcheck // what clusteradm writes
	}
}

// managedCluster is a ManagedCluster that its administrator accepted.
func managedCluster(f Fleet, name string) *clusterv1.ManagedCluster {
	return &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			clusterSetLabel: defaultSet, "cloud": "BareMetal", "vendor": "OpenShift", "name": name, Label: f.Prefix,
		}},
		Spec: clusterv1.ManagedClusterSpec{
			HubAcceptsClient:            true,
			LeaseDurationSeconds:        leaseSeconds,
			ManagedClusterClientConfigs: []clusterv1.ClientConfig{{URL: "https://api." + name + ".example.net:6443"}},
		},
	}
}

// clusterStatus is what a klusterlet says of its cluster.
func clusterStatus(inv report.Inventory, now time.Time) *unstructured.Unstructured {
	capacity, allocatable := totals(inv)
	return object("cluster.open-cluster-management.io/v1", "ManagedCluster", "", inv.Cluster, map[string]any{
		"version":     map[string]any{"kubernetes": nodeImageVersion},
		"capacity":    capacity,
		"allocatable": allocatable,
		"clusterClaims": []any{
			map[string]any{"name": "id.k8s.io", "value": claimedID(inv.Cluster)},
			map[string]any{"name": "kubeversion.open-cluster-management.io", "value": nodeImageVersion},
			map[string]any{"name": "platform.open-cluster-management.io", "value": "BareMetal"},
			map[string]any{"name": "product.open-cluster-management.io", "value": "OpenShift"},
			map[string]any{"name": "version.openshift.io", "value": "4.18.6"},
		},
		"conditions": []any{
			condition(clusterv1.ManagedClusterConditionJoined, "ManagedClusterJoined", "Managed cluster joined", now),
			condition(clusterv1.ManagedClusterConditionAvailable, "ManagedClusterAvailable", "Managed cluster is available", now),
		},
	})
}

// claimedID is the UID that the cluster's namespace kube-system would have.
func claimedID(cluster string) string {
	return uuid.NewSHA1(uuid.NameSpaceDNS, []byte(cluster)).String()
}

// totals adds up what the nodes have.
func totals(inv report.Inventory) (capacity, allocatable map[string]any) {
	sum := func(of func(i int) map[string]string) map[string]any {
		total := map[string]resource.Quantity{}
		for i := range inv.Nodes {
			for name, text := range of(i) {
				q := total[name]
				q.Add(resource.MustParse(text))
				total[name] = q
			}
		}
		texts := map[string]any{}
		for name, q := range total {
			texts[name] = q.String()
		}
		return texts
	}
	return sum(func(i int) map[string]string { return inv.Nodes[i].Server.Node.Capacity }),
		sum(func(i int) map[string]string { return inv.Nodes[i].Server.Node.Allocatable })
}

// addOnStatus is what a klusterlet says of an add-on agent that renews its Lease.
func addOnStatus(cluster string, now time.Time) *unstructured.Unstructured {
	return object("addon.open-cluster-management.io/v1alpha1", "ManagedClusterAddOn", cluster, report.AddOnName, map[string]any{
		"conditions": []any{
			condition("ClusterCertificateRotated", "ClientCertificateUpdated", "client certificate rotated starting from now", now),
			condition(addonv1beta1.ManagedClusterAddOnConditionAvailable, "ManagedClusterAddOnLeaseUpdated", report.AddOnName+" add-on is available.", now),
		},
	})
}

func condition(kind, reason, message string, since time.Time) map[string]any {
	return map[string]any{
		"type": kind, "status": "True", "reason": reason, "message": message,
		"lastTransitionTime": since.UTC().Format(time.RFC3339),
	}
}

// addCondition adds a condition to one of the objects below.
func addCondition(o *unstructured.Unstructured, c map[string]any) {
	status := o.Object["status"].(map[string]any)
	status["conditions"] = append(status["conditions"].([]any), c)
}

func object(version, kind, namespace, name string, status map[string]any) *unstructured.Unstructured {
	metadata := map[string]any{"name": name}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind, "metadata": metadata, "status": status}}
}

// readAndReport brings the report on the hub to what inv says, as the agent does.
func (w *Writer) readAndReport(ctx context.Context, inv report.Inventory) (written bool, took time.Duration, err error) {
	var addon addonv1beta1.ManagedClusterAddOn
	if err := w.hub.Get(ctx, client.ObjectKey{Namespace: inv.Cluster, Name: report.AddOnName}, &addon); err != nil {
		return false, 0, err
	}
	encoded, err := w.encoder.Encode(inv)
	if err != nil {
		return false, 0, err
	}
	update := w.encoder.Compose(addon.Status.Conditions, w.stamp(), encoded)
	if !update.Changed {
		return false, 0, nil
	}
	began := time.Now()
	err = w.report(ctx, inv.Cluster, update)
	return true, time.Since(began), err
}

func (w *Writer) stamp() report.Stamp { return report.Stamp{Epoch: w.epoch, Now: w.now()} }

// report writes a report by a server-side apply of all its entries.
func (w *Writer) report(ctx context.Context, cluster string, update report.Update) error {
	return w.applyStatus(ctx, report.ApplyObject(cluster, update.Entries), report.FieldManagerInventory)
}

// applyStatus applies the status of an object. An apply carries no resourceVersion, yet
// the apiserver gives up when others keep writing the object in between.
func (w *Writer) applyStatus(ctx context.Context, o *unstructured.Unstructured, manager string) error {
	for attempt := 1; ; attempt++ {
		err := w.hub.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner(manager), client.ForceOwnership)
		if err == nil || attempt == attempts || !apierrors.IsConflict(err) {
			return err
		}
	}
}

// Counts says how far the hub's own controllers have come with a fleet.
type Counts struct {
	Clusters int // ManagedClusters of the fleet
	Reported int // of their add-ons, those whose report the manager has acknowledged
	Deployed int // of them, those for which the agent's ManifestWork was made
}

// Count looks at a whole fleet. It is as expensive as a look at the whole hub.
func (w *Writer) Count(ctx context.Context, f Fleet) (Counts, error) {
	var c Counts
	clusters := &metav1.PartialObjectMetadataList{}
	clusters.APIVersion, clusters.Kind = clusterv1.GroupVersion.String(), "ManagedClusterList"
	works := &metav1.PartialObjectMetadataList{}
	works.APIVersion, works.Kind = workv1.GroupVersion.String(), "ManifestWorkList"
	addons := &addonv1alpha1.ManagedClusterAddOnList{} // the stored version: no conversion
	err := errors.Join(
		w.hub.List(ctx, clusters, client.MatchingLabels{Label: f.Prefix}),
		w.hub.List(ctx, works, client.MatchingLabels{addonv1beta1.AddonLabelKey: report.AddOnName}),
		w.hub.List(ctx, addons, client.MatchingFields{"metadata.name": report.AddOnName}),
	)
	if err != nil {
		return c, err
	}
	ours := make(map[string]bool, len(clusters.Items))
	for i := range clusters.Items {
		ours[clusters.Items[i].Name] = true
	}
	c.Clusters = len(ours)
	for i := range works.Items {
		if ours[works.Items[i].Namespace] {
			c.Deployed++
		}
	}
	for i := range addons.Items {
		a := &addons.Items[i]
		if ours[a.Namespace] && meta.IsStatusConditionTrue(a.Status.Conditions, report.KindInventory.IngestedType()) {
			c.Reported++
		}
	}
	return c, nil
}
