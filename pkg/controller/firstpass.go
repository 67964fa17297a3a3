package controller

import (
	"context"
	"fmt"
	"sync"

	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/report"
)

// itemKind tells which reconciler an item belongs to.
type itemKind int

const (
	clusterItem itemKind = iota
	reportItem
	hierarchyItem // there is one, without a name
)

// item is one thing to be looked at, by the name of the managed cluster.
type item struct {
	kind itemKind
	name string
}

// firstPass knows when the read model is worth reading: everything that the hub had when
// the caches were full has been looked at once. What comes later does not make the manager
// unready again.
type firstPass struct {
	reader   client.Reader
	complete chan struct{} // closed when complete

	mu      sync.Mutex
	listed  bool
	looked  map[item]bool // until listed: what has been looked at
	pending map[item]bool // since then: what has not
}

func newFirstPass(reader client.Reader) *firstPass {
	return &firstPass{reader: reader, complete: make(chan struct{}), looked: make(map[item]bool)}
}

// NeedLeaderElection makes the first pass run on every replica.
func (*firstPass) NeedLeaderElection() bool { return false }

// Start lists what there is. A list from the cache waits for the cache.
func (f *firstPass) Start(ctx context.Context) error {
	var clusters clusterv1.ManagedClusterList
	if err := f.reader.List(ctx, &clusters, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("managed clusters at start: %w", err)
	}
	var addons addonv1beta1.ManagedClusterAddOnList
	if err := f.reader.List(ctx, &addons, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("add-ons at start: %w", err)
	}
	items := make([]item, 0, 1+len(clusters.Items)+len(addons.Items))
	items = append(items, item{kind: hierarchyItem})
	for i := range clusters.Items {
		items = append(items, item{clusterItem, clusters.Items[i].Name})
	}
	for i := range addons.Items {
		if addons.Items[i].Name == report.AddOnName {
			items = append(items, item{reportItem, addons.Items[i].Namespace})
		}
	}
	f.list(items)
	return nil
}

func (f *firstPass) list(items []item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending = make(map[item]bool)
	for _, i := range items {
		if !f.looked[i] {
			f.pending[i] = true
		}
	}
	f.looked, f.listed = nil, true
	if len(f.pending) == 0 {
		close(f.complete)
	}
}

// done notes that an item has been looked at.
func (f *firstPass) done(i item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.listed {
		f.looked[i] = true
		return
	}
	if !f.pending[i] {
		return
	}
	if delete(f.pending, i); len(f.pending) == 0 {
		close(f.complete)
	}
}

func (f *firstPass) isComplete() bool {
	select {
	case <-f.complete:
		return true
	default:
		return false
	}
}
