// Package externalversions stands in for the informer factory of sigs.k8s.io/about-api.
//
// Its one informer is nil. The agent asks for it only while the feature gate
// ClusterProperty is on, and then a crash at once is better than a watch that never
// sees anything.
package externalversions

import (
	"time"

	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/about-api/pkg/generated/clientset/versioned"
	informers "sigs.k8s.io/about-api/pkg/generated/informers/externalversions/apis/v1alpha1"
	listers "sigs.k8s.io/about-api/pkg/generated/listers/apis/v1alpha1"
)

// SharedInformerFactory leads to the informer the way the generated factory does:
// About().V1alpha1().ClusterProperties().
type SharedInformerFactory interface {
	About() group
	Start(<-chan struct{})
}

// NewSharedInformerFactory returns a factory whose Start does nothing.
func NewSharedInformerFactory(versioned.Interface, time.Duration) SharedInformerFactory {
	return factory{}
}

type (
	factory  struct{}
	group    struct{}
	version  struct{}
	informer struct{}
)

func (factory) About() group          { return group{} }
func (factory) Start(<-chan struct{}) {}

func (group) V1alpha1() version { return version{} }

func (version) ClusterProperties() informers.ClusterPropertyInformer { return informer{} }

func (informer) Informer() cache.SharedIndexInformer   { return nil }
func (informer) Lister() listers.ClusterPropertyLister { return nil }
