// Package v1alpha1 stands in for the informers of sigs.k8s.io/about-api.
package v1alpha1

import (
	"k8s.io/client-go/tools/cache"
	listers "sigs.k8s.io/about-api/pkg/generated/listers/apis/v1alpha1"
)

// ClusterPropertyInformer watches cluster properties.
type ClusterPropertyInformer interface {
	Informer() cache.SharedIndexInformer
	Lister() listers.ClusterPropertyLister
}
