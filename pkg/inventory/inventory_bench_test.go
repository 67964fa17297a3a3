package inventory

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// fleet is a model of clusters with so many nodes of 35 elements each. As texts that the
// report decoder shares are shared here, its size is that of a real one.
func fleet(t testing.TB, clusters, nodes int) *Model {
	t.Helper()
	m := newModel(t)
	for c := range clusters {
		name := fmt.Sprintf("cluster-%d", c)
		m.SetCluster(facts(name, c))
		list := make([]hardware.Machine, nodes)
		for n := range list {
			list[n] = fullMachine(fmt.Sprintf("node-%d.%s", n, name), fmt.Sprintf("uuid:%d-%d", c, n))
		}
		m.setNodes(name, list...)
	}
	return m
}

var labelKeys = func() (keys [50]string) {
	for i := range keys {
		keys[i] = fmt.Sprintf("feature.node.kubernetes.io/cpu-cpuid.FEATURE%d", i)
	}
	return keys
}()

func fullMachine(name, key string) hardware.Machine {
	m := machine(name, key)
	for _, label := range labelKeys {
		m.Server.Node.Labels[label] = "true"
	}
	for i := len(m.Elements); i < 35; i++ {
		e := m.Elements[i%7]
		e.Slot = fmt.Sprintf("%s-%d", e.Slot, i)
		m.Elements = append(m.Elements, e)
	}
	return m
}

// discard is a client that takes everything and keeps nothing.
type discard struct {
	header http.Header
	bytes  int64
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(int)     {}
func (d *discard) Write(b []byte) (int, error) {
	d.bytes += int64(len(b))
	return len(b), nil
}

// BenchmarkListResources lists 10,000 servers of one pool, first as the API does, then, for
// comparison, by writing the same bytes from one piece and by encoding the records anew.
func BenchmarkListResources(b *testing.B) {
	m := fleet(b, 1, 10_000)
	router := mux.NewRouter()
	newAPI(m, &access{}).Routes(router)
	list := func(b *testing.B, path string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		for b.Loop() {
			w := &discard{header: make(http.Header)}
			router.ServeHTTP(w, r)
			b.SetBytes(w.bytes)
		}
	}
	path := BasePath + "/v1/resourcePools/" + PoolID(oCloudID, "default", "cluster-0").String() + "/resources"
	b.Run("api", func(b *testing.B) { list(b, path) })
	b.Run("elements", func(b *testing.B) { list(b, path+"?all_fields") })

	all := servers(m)
	b.Run("copy", func(b *testing.B) {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		body, buffer := w.Body.Bytes(), make([]byte, w.Body.Len())
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			copy(buffer, body)
		}
	})
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			w := &discard{header: make(http.Header)}
			e := json.NewEncoder(w)
			for _, srv := range all {
				if err := e.Encode(srv.view()); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(w.bytes)
		}
	})
}

// BenchmarkSetReport changes one cluster of three nodes in fleets of two sizes: the cost
// must be that of the cluster.
func BenchmarkSetReport(b *testing.B) {
	for _, clusters := range []int{10, 3500} {
		b.Run(fmt.Sprint(clusters), func(b *testing.B) {
			m := fleet(b, clusters, 3)
			var before runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			list := make([]hardware.Machine, 3)
			for n := range list {
				list[n] = fullMachine(fmt.Sprintf("node-%d.cluster-7", n), fmt.Sprintf("uuid:7-%d", n))
			}
			for b.Loop() {
				m.setNodes("cluster-7", list...)
			}
			b.ReportMetric(float64(before.HeapAlloc)/(1<<20), "fleet-MiB")
		})
	}
}

func BenchmarkSnapshotResourceByID(b *testing.B) {
	m := fleet(b, 1, 10_000)
	all := servers(m)
	last := all[len(all)-1]
	for b.Loop() {
		if _, _, found := m.Snapshot().Resource(last.PoolID, last.elements[34].id); !found {
			b.Fatal("not found")
		}
	}
}
