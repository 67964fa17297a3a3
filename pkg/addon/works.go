package addon

import (
	"bytes"
	"sync"

	workv1 "open-cluster-management.io/api/work/v1"
)

// sharedManifests bounds how many manifests are kept for sharing. All clusters that are
// configured alike have the same ones, so a fleet has some dozens.
const sharedManifests = 4096

// leanWorks makes the cache of ManifestWorks small. There is one for each managed cluster,
// and as they come from the apiserver they would be a tenth of the manager's memory at
// fleet size, though nearly all they hold is the same.
//
// Manifests are kept once. Nobody writes into a manifest of a cached ManifestWork:
// addon-framework compares and copies. The state of single manifests on the spoke is left
// out: it serves probers and hooks that look at them, and our add-on has neither. Unlike a
// ManagedClusterAddOn's, the status of a ManifestWork is never written from this cache.
type leanWorks struct {
	mu    sync.Mutex
	known map[string][]byte // by themselves
}

func newLeanWorks() *leanWorks { return &leanWorks{known: map[string][]byte{}} }

// transform is a TransformFunc of an informer: it may change the object, which nobody else
// has seen yet.
func (l *leanWorks) transform(obj any) (any, error) {
	work, ok := obj.(*workv1.ManifestWork)
	if !ok {
		return stripManagedFields(obj)
	}
	work.ManagedFields = nil
	work.Status.ResourceStatus = workv1.ManifestResourceStatus{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range work.Spec.Workload.Manifests {
		m := &work.Spec.Workload.Manifests[i]
		m.Raw = l.share(m.Raw, work.Namespace)
	}
	return work, nil
}

// share returns the bytes that are kept already where there are equal ones. What names the
// cluster is no other's manifest.
func (l *leanWorks) share(raw []byte, cluster string) []byte {
	if bytes.Contains(raw, []byte(cluster)) {
		return raw
	}
	if known, ok := l.known[string(raw)]; ok {
		return known
	}
	if len(l.known) >= sharedManifests {
		clear(l.known)
	}
	l.known[string(raw)] = raw
	return raw
}
