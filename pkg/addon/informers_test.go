package addon

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	fcache "k8s.io/client-go/tools/cache/testing"
	"open-cluster-management.io/addon-framework/pkg/index"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	addonfake "open-cluster-management.io/api/client/addon/clientset/versioned/fake"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lentCache is the cache of a process: it runs before the add-on controllers do.
type lentCache struct {
	ctrlcache.Informers
	addons, clusters cache.SharedIndexInformer
}

func (l lentCache) GetInformer(_ context.Context, object client.Object, _ ...ctrlcache.InformerGetOption) (ctrlcache.Informer, error) {
	switch object.(type) {
	case *addonv1beta1.ManagedClusterAddOn:
		return l.addons, nil
	case *clusterv1.ManagedCluster:
		return l.clusters, nil
	}
	return nil, errors.New("not expected")
}

func runningInformer(t *testing.T, example, object runtime.Object) cache.SharedIndexInformer {
	t.Helper()
	source := fcache.NewFakeControllerSource()
	source.Add(object)
	informer := cache.NewSharedIndexInformer(source, example, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	go informer.Run(t.Context().Done())
	if !cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced) {
		t.Fatal("no objects")
	}
	return informer
}

func TestControllersShareTheCacheOfTheProcess(t *testing.T) {
	addon := &addonv1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "edge-1", Name: Name}}
	lent := lentCache{
		addons:   runningInformer(t, &addonv1beta1.ManagedClusterAddOn{}, addon),
		clusters: runningInformer(t, &clusterv1.ManagedCluster{}, &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "edge-1"}}),
	}
	client := addonfake.NewSimpleClientset() // nothing is on this hub: what is found is from the cache
	in, err := newInformers(t.Context(), &rest.Config{Host: "127.0.0.1:1"}, client, kubefake.NewClientset(), lent)
	if err != nil {
		t.Fatal(err)
	}
	in.addons.Start(t.Context().Done())
	in.clusters.Start(t.Context().Done())

	found, err := in.addons.Addon().V1beta1().ManagedClusterAddOns().Lister().ManagedClusterAddOns("edge-1").Get(Name)
	if err != nil {
		t.Fatal(err)
	}
	if inCache, _, _ := lent.addons.GetStore().GetByKey("edge-1/" + Name); inCache != any(found) {
		t.Error("the add-on is in memory twice")
	}
	if _, err := in.clusters.Cluster().V1().ManagedClusters().Lister().Get("edge-1"); err != nil {
		t.Error(err)
	}
	indexed, err := in.addons.Addon().V1beta1().ManagedClusterAddOns().Informer().GetIndexer().ByIndex(index.ManagedClusterAddonByNamespace, "edge-1")
	if err != nil || len(indexed) != 1 {
		t.Errorf("by namespace of the managed cluster: %v, %v", indexed, err)
	}
	for _, action := range client.Actions() {
		if action.GetResource().Resource == "managedclusteraddons" {
			t.Errorf("the hub is asked all the same: %s", action.GetVerb())
		}
	}
}
