package controller

import (
	"context"
	"reflect"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/o2ims/o2ims/pkg/inventory"
)

// ManagedClusterReconciler projects managed clusters into the read model.
type ManagedClusterReconciler struct {
	reader    client.Reader
	inventory Inventory
	done      func(item)

	mu    sync.Mutex
	known map[string]inventory.ClusterFacts
}

// newManagedClusterReconciler returns a reconciler that calls done after each cluster it
// has looked at.
func newManagedClusterReconciler(reader client.Reader, inv Inventory, done func(item)) *ManagedClusterReconciler {
	return &ManagedClusterReconciler{reader: reader, inventory: inv, done: done, known: make(map[string]inventory.ClusterFacts)}
}

func (r *ManagedClusterReconciler) setUp(mgr manager.Manager) error {
	everywhere, again := false, true
	return builder.ControllerManagedBy(mgr).Named("managedcluster").
		For(&clusterv1.ManagedCluster{}).
		WithOptions(controller.Options{NeedLeaderElection: &everywhere, SkipNameValidation: &again}).
		Complete(r)
}

// Reconcile projects one managed cluster. It runs on every replica. A cluster that is being
// detached stays until OCM has finished with it.
func (r *ManagedClusterReconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var mc clusterv1.ManagedCluster
	err := r.reader.Get(ctx, req.NamespacedName, &mc)
	switch {
	case apierrors.IsNotFound(err):
		r.remove(req.Name)
	case err != nil:
		return reconcile.Result{}, err
	default:
		r.set(factsOf(&mc))
	}
	r.done(item{clusterItem, req.Name})
	return reconcile.Result{}, nil
}

// set tells the read model only what is news: OCM touches a ManagedCluster far more often
// than it changes.
func (r *ManagedClusterReconciler) set(f inventory.ClusterFacts) {
	r.mu.Lock()
	last, known := r.known[f.Name]
	r.known[f.Name] = f
	r.mu.Unlock()
	if !known || !reflect.DeepEqual(last, f) {
		r.inventory.SetCluster(f)
	}
}

func (r *ManagedClusterReconciler) remove(name string) {
	r.mu.Lock()
	delete(r.known, name)
	r.mu.Unlock()
	r.inventory.RemoveCluster(name)
}

// clusterIDLabel is the label by which products of OCM name a cluster.
const clusterIDLabel = "clusterID"

// Claims that name a cluster, the more specific one first.
const (
	openshiftIDClaim   = "id.openshift.io"
	kubernetesIDClaim  = "id.k8s.io"
	kubeVersionClaim   = "kubeversion.open-cluster-management.io"
	clusterSetLabelKey = clusterv1beta2.ClusterSetLabel
)

// factsOf is what the read model needs of a ManagedCluster. It shares maps with mc, which
// nobody changes.
func factsOf(mc *clusterv1.ManagedCluster) inventory.ClusterFacts {
	f := inventory.ClusterFacts{
		Name:              mc.Name,
		UID:               string(mc.UID),
		Created:           mc.CreationTimestamp.UTC(),
		ClusterSet:        mc.Labels[clusterSetLabelKey],
		Labels:            mc.Labels,
		Claims:            claimsOf(mc),
		Capacity:          quantities(mc.Status.Capacity),
		Allocatable:       quantities(mc.Status.Allocatable),
		KubernetesVersion: mc.Status.Version.Kubernetes,
		Available:         string(corev1.ConditionUnknown),
		Accepted:          mc.Spec.HubAcceptsClient,
	}
	f.ClusterID = firstOf(mc.Labels[clusterIDLabel], f.Claims[openshiftIDClaim], f.Claims[kubernetesIDClaim], f.UID)
	f.KubernetesVersion = firstOf(f.KubernetesVersion, f.Claims[kubeVersionClaim])
	if configs := mc.Spec.ManagedClusterClientConfigs; len(configs) > 0 {
		f.ServiceURI, f.CABundle = configs[0].URL, configs[0].CABundle
	}
	if c := meta.FindStatusCondition(mc.Status.Conditions, clusterv1.ManagedClusterConditionAvailable); c != nil {
		f.Available = string(c.Status)
	}
	return f
}

func claimsOf(mc *clusterv1.ManagedCluster) map[string]string {
	claims := make(map[string]string, len(mc.Status.ClusterClaims))
	for _, c := range mc.Status.ClusterClaims {
		claims[c.Name] = c.Value
	}
	return claims
}

func quantities(list clusterv1.ResourceList) map[string]string {
	texts := make(map[string]string, len(list))
	for name, quantity := range list {
		texts[string(name)] = quantity.String()
	}
	return texts
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
