package inventory

import (
	"fmt"
	"runtime"
	"testing"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
)

// BenchmarkFleet builds fleets of two shapes and says how much memory one takes.
func BenchmarkFleet(b *testing.B) {
	for _, size := range []struct{ clusters, nodes int }{{3500, 3}, {500, 10}} {
		b.Run(fmt.Sprintf("%dx%d", size.clusters, size.nodes), func(b *testing.B) {
			var m *Model
			var before, after runtime.MemStats
			for b.Loop() {
				m = nil //nolint:ineffassign // lets the collector have the last round's fleet
				runtime.GC()
				runtime.ReadMemStats(&before)
				m = fleet(b, size.clusters, size.nodes)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "live-MiB")
			runtime.KeepAlive(m)
		})
	}
}

// BenchmarkSetHierarchy changes one of many pools in a fleet: first what is said of it, then
// the one node that it selects.
func BenchmarkSetHierarchy(b *testing.B) {
	m := fleet(b, 3500, 3)
	h := Hierarchy{Sites: []apiv1alpha1.OCloudSite{siteAt("dc1", "ottawa")}, Locations: []apiv1alpha1.Location{location("ottawa", "", "1 Main St")}}
	for i := range 1000 {
		h.Pools = append(h.Pools, poolAt(fmt.Sprintf("p%d", i), "dc1", 0, clustersNamed(fmt.Sprintf("cluster-%d", i))))
	}
	m.SetHierarchy(h)
	p := &h.Pools[500].Spec
	i := 0
	b.Run("description", func(b *testing.B) {
		for b.Loop() {
			i++
			p.Description = fmt.Sprint(i)
			m.SetHierarchy(h)
		}
	})
	b.Run("selector", func(b *testing.B) {
		for b.Loop() {
			i++
			p.Selectors = []poolSelector{clustersNamed(fmt.Sprintf("cluster-%d", 2000+i%1000))}
			m.SetHierarchy(h)
		}
	})
	b.Run("status", func(b *testing.B) {
		for b.Loop() {
			m.Status()
		}
	})
}
