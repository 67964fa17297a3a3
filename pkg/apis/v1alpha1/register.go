package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of the kinds in this package.
const GroupName = "o2ims.open-cluster-management.io"

// GroupVersion is that of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

// AddToScheme registers the kinds in this package.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Inventory{}, &InventoryList{},
		&Location{}, &LocationList{},
		&OCloudSite{}, &OCloudSiteList{},
		&ResourcePool{}, &ResourcePoolList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
