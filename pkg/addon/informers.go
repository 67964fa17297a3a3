package addon

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	kubeinformers "k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"open-cluster-management.io/addon-framework/pkg/index"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	addonclient "open-cluster-management.io/api/client/addon/clientset/versioned"
	addoninformers "open-cluster-management.io/api/client/addon/informers/externalversions"
	clusterclient "open-cluster-management.io/api/client/cluster/clientset/versioned"
	clusterinformers "open-cluster-management.io/api/client/cluster/informers/externalversions"
	workclient "open-cluster-management.io/api/client/work/clientset/versioned"
	workinformers "open-cluster-management.io/api/client/work/informers/externalversions"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
)

// resync is the period of addon-framework's own manager.
const resync = 10 * time.Minute

// informers are the caches of the add-on controllers. They differ from those that
// addon-framework would make by holding our own add-on only: on a hub with a dozen
// add-ons, the others' ManagedClusterAddOns are most of what there is. The two that hold
// something of every managed cluster are the process's own, where it has them: a second
// copy of every report would cost as much memory again, and every report would be decoded
// once more.
type informers struct {
	workClient workclient.Interface

	works    workinformers.SharedInformerFactory
	kube     kubeinformers.SharedInformerFactory
	addons   addoninformers.SharedInformerFactory
	clusters clusterinformers.SharedInformerFactory
	objects  dynamicinformer.DynamicSharedInformerFactory
}

func newInformers(ctx context.Context, config *rest.Config, addons addonclient.Interface, kube kubernetes.Interface, shared ctrlcache.Informers) (*informers, error) {
	works, err := workclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	clusters, err := clusterclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	in := &informers{
		workClient: works,
		works: workinformers.NewSharedInformerFactoryWithOptions(works, resync,
			workinformers.WithTweakListOptions(ofOurAddOn), workinformers.WithTransform(newLeanWorks().transform)),
		kube: kubeinformers.NewSharedInformerFactoryWithOptions(kube, resync,
			kubeinformers.WithTweakListOptions(ofOurAddOn), kubeinformers.WithTransform(stripManagedFields)),
		addons: addoninformers.NewSharedInformerFactoryWithOptions(addons, resync,
			addoninformers.WithTweakListOptions(withOurName), addoninformers.WithTransform(stripManagedFields)),
		clusters: clusterinformers.NewSharedInformerFactoryWithOptions(clusters, resync,
			clusterinformers.WithTransform(stripManagedFields)),
		objects: dynamicinformer.NewDynamicSharedInformerFactory(objects, resync),
	}
	if shared != nil {
		if err := in.take(ctx, shared); err != nil {
			return nil, err
		}
	}
	return in, in.addIndexers()
}

// addIndexers adds the indexes by which addon-framework's controllers look things up.
func (in *informers) addIndexers() error {
	for _, i := range []struct {
		informer cache.SharedIndexInformer
		indexers cache.Indexers
	}{
		{in.works.Work().V1().ManifestWorks().Informer(), cache.Indexers{
			index.ManifestWorkByAddon:           index.IndexManifestWorkByAddon,
			index.ManifestWorkByHostedAddon:     index.IndexManifestWorkByHostedAddon,
			index.ManifestWorkHookByHostedAddon: index.IndexManifestWorkHookByHostedAddon,
		}},
		{in.addons.Addon().V1beta1().ManagedClusterAddOns().Informer(), cache.Indexers{
			index.ManagedClusterAddonByNamespace: index.IndexManagedClusterAddonByNamespace,
			index.AddonByConfig:                  index.IndexAddonByConfig,
		}},
		{in.addons.Addon().V1beta1().ClusterManagementAddOns().Informer(), cache.Indexers{
			index.ClusterManagementAddonByConfig: index.IndexClusterManagementAddonByConfig,
		}},
	} {
		if err := i.informer.AddIndexers(i.indexers); err != nil {
			return fmt.Errorf("add-on caches: %w", err)
		}
	}
	return nil
}

// take puts informers of a running cache in the place of our own.
func (in *informers) take(ctx context.Context, from ctrlcache.Informers) error {
	addons, err := from.GetInformer(ctx, &addonv1beta1.ManagedClusterAddOn{})
	if err != nil {
		return fmt.Errorf("cache of ManagedClusterAddOns: %w", err)
	}
	clusters, err := from.GetInformer(ctx, &clusterv1.ManagedCluster{})
	if err != nil {
		return fmt.Errorf("cache of ManagedClusters: %w", err)
	}
	sharedAddons, ok := addons.(cache.SharedIndexInformer)
	sharedClusters, ok2 := clusters.(cache.SharedIndexInformer)
	if !ok || !ok2 {
		return fmt.Errorf("add-on caches: %T and %T cannot be shared", addons, clusters)
	}
	// A factory makes an informer only for types that it has none for.
	in.addons.InformerFor(&addonv1beta1.ManagedClusterAddOn{}, func(addonclient.Interface, time.Duration) cache.SharedIndexInformer {
		return running{sharedAddons}
	})
	in.clusters.InformerFor(&clusterv1.ManagedCluster{}, func(clusterclient.Interface, time.Duration) cache.SharedIndexInformer {
		return running{sharedClusters}
	})
	return nil
}

// running is an informer that somebody else has set up and runs.
type running struct{ cache.SharedIndexInformer }

// Run does nothing: a factory would run it a second time.
func (running) Run(<-chan struct{}) {}

// RunWithContext does nothing either.
func (running) RunWithContext(context.Context) {}

// SetTransform leaves the objects as they are in the cache.
func (running) SetTransform(cache.TransformFunc) error { return nil }

func (in *informers) start(ctx context.Context) {
	in.kube.Start(ctx.Done())
	in.works.Start(ctx.Done())
	in.addons.Start(ctx.Done())
	in.clusters.Start(ctx.Done())
	in.objects.Start(ctx.Done())
}

// shutdown waits for the watches to end, which they do when start's context does.
func (in *informers) shutdown() {
	in.kube.Shutdown()
	in.works.Shutdown()
	in.addons.Shutdown()
	in.clusters.Shutdown()
	in.objects.Shutdown()
}

// withOurName selects ManagedClusterAddOns, and the ClusterManagementAddOn, by their one
// name. RBAC reads a selector on metadata.name as a resource name, so the manager's
// ClusterRole can be limited to it.
func withOurName(o *metav1.ListOptions) {
	o.FieldSelector = fields.OneTermEqualSelector("metadata.name", Name).String()
}

// ofOurAddOn selects the ManifestWorks and certificate requests of our add-on.
func ofOurAddOn(o *metav1.ListOptions) {
	o.LabelSelector = labels.Set{addonv1beta1.AddonLabelKey: Name}.String()
}

// stripManagedFields drops what server-side apply remembers about owners, and nothing else:
// see the package comment.
func stripManagedFields(obj any) (any, error) {
	if o, err := meta.Accessor(obj); err == nil {
		o.SetManagedFields(nil)
	}
	return obj, nil
}
