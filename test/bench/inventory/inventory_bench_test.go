package inventory

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// meter measures requests.
type meter struct {
	took  []time.Duration
	began time.Duration // processor time of the process at the start
}

func newMeter() *meter { return &meter{began: processorTime()} }

// processorTime is what the process has used, client and server and collector of garbage.
// On a machine that others use, too, it tells more than the clock does.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for ourselves
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (m *meter) time(f func()) {
	began := time.Now()
	f()
	m.took = append(m.took, time.Since(began))
}

// report adds to what a benchmark prints: quantiles, and processor time for each request.
func (m *meter) report(b *testing.B) {
	used := processorTime() - m.began
	slices.Sort(m.took)
	quantile := func(q float64) float64 {
		return float64(m.took[min(len(m.took)-1, int(q*float64(len(m.took))))].Microseconds()) / 1000
	}
	b.ReportMetric(quantile(0.5), "p50-ms")
	b.ReportMetric(quantile(0.99), "p99-ms")
	b.ReportMetric(float64(used.Microseconds())/1000/float64(len(m.took)), "cpu-ms")
}

// BenchmarkFullList lists 10,000 servers and, in turn, has the same bytes from memory.
// Metric "ratio" is the throughput of the list as a part of that.
func BenchmarkFullList(b *testing.B) {
	c := newCloud(b, 10_000, 10_000)
	for name, headers := range map[string][]string{"identity": nil, "gzip": {"Accept-Encoding", "gzip"}} {
		b.Run(name, func(b *testing.B) {
			c.memory = c.body(b, c.resources)
			api, memory := newMeter(), newMeter()
			var bytes int64
			for b.Loop() {
				api.time(func() { bytes, _ = c.get(b, c.resources, headers...) })
				memory.time(func() { c.get(b, memoryBase, headers...) })
			}
			b.ReportMetric(float64(len(c.memory))/(1<<20), "MiB")
			b.ReportMetric(float64(bytes)/(1<<20), "MiB-sent")
			b.ReportMetric(float64(sum(memory.took))/float64(sum(api.took)), "ratio")
			api.report(b) // the processor time is that of both
		})
	}
}

func sum(took []time.Duration) (total time.Duration) {
	for _, d := range took {
		total += d
	}
	return total
}

// BenchmarkOneOfAll finds one of 10,000 servers by an attribute of its extensions.
func BenchmarkOneOfAll(b *testing.B) {
	c := newCloud(b, 10_000, 10_000)
	for _, tc := range []struct {
		name, path string
		values     []string
	}{
		{"systemUUID", "extensions/systemUUID", c.systems},
		{"label", "extensions/labels/kubernetes.io~1hostname", c.hosts},
		{"id", "resourceId", c.ids},
	} {
		b.Run(tc.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(seed, 2))
			m := newMeter()
			for b.Loop() {
				path := c.resources + filterFor(tc.path, tc.values[rng.IntN(len(tc.values))])
				var n int64
				m.time(func() { n, _ = c.get(b, path) })
				if n < 100 {
					b.Fatalf("%s found nothing", path)
				}
			}
			m.report(b)
		})
	}
	for name, filter := range map[string]string{
		"nic":      "(gt,extensions/nics/eno1/speedGbps,%d)",
		"elements": "(eq,elements/extensions/class,accelerator);(eq,elements/extensions/serial,none-%d)",
	} {
		b.Run(name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(seed, 2))
			m := newMeter()
			for b.Loop() {
				path := c.resources + "?fields=description&filter=" + fmt.Sprintf(filter, 1000+rng.IntN(1000))
				m.time(func() { c.get(b, path) })
			}
			m.report(b)
		})
	}
}

// BenchmarkPages reads random pages of 100 of 10,000 servers.
func BenchmarkPages(b *testing.B) {
	c := newCloud(b, 10_000, 100)
	var links []string
	for path := c.resources; path != ""; {
		_, header := c.get(b, path)
		path = next(b, header)
		if path != "" {
			links = append(links, path)
		}
	}
	if len(links) != 99 {
		b.Fatalf("%d links to next pages, want 99", len(links))
	}
	rng := rand.New(rand.NewPCG(seed, 3))
	run := func(name string, path func() string) {
		b.Run(name, func(b *testing.B) {
			m := newMeter()
			for b.Loop() {
				page := path()
				m.time(func() { c.get(b, page) })
			}
			m.report(b)
		})
	}
	run("marker", func() string { return links[rng.IntN(len(links))] })
	run("number", func() string { return fmt.Sprintf("%s?nextpage_opaque_marker=%d", c.resources, 1+rng.IntN(100)) })
	run("filter", func() string {
		return fmt.Sprintf("%s?filter=(gt,extensions/systemUUID,%x)&nextpage_opaque_marker=%d", c.resources, rng.IntN(8), 1+rng.IntN(50))
	})
}

// next is the path of the next page, or "".
func next(b testing.TB, header http.Header) string {
	b.Helper()
	link, found := strings.CutSuffix(strings.TrimPrefix(header.Get("Link"), "<https://"), `>; rel="next"`)
	if !found {
		return ""
	}
	return link[strings.IndexByte(link, '/'):]
}

// BenchmarkFields lists 10,000 servers with parts of them.
func BenchmarkFields(b *testing.B) {
	c := newCloud(b, 10_000, 10_000)
	for _, query := range []string{"fields=description", "fields=extensions/vendor,extensions/model", "exclude_fields=extensions/labels", "exclude_fields=extensions"} {
		b.Run(query, func(b *testing.B) {
			m := newMeter()
			var bytes int64
			for b.Loop() {
				m.time(func() { bytes, _ = c.get(b, c.resources+"?"+query) })
			}
			b.ReportMetric(float64(bytes)/(1<<20), "MiB")
			m.report(b)
		})
	}
}

// BenchmarkServer gets random servers with all their elements.
func BenchmarkServer(b *testing.B) {
	c := newCloud(b, 10_000, 10_000)
	rng := rand.New(rand.NewPCG(seed, 4))
	m := newMeter()
	var bytes int64
	for b.Loop() {
		path := c.resources + "/" + c.ids[rng.IntN(len(c.ids))]
		m.time(func() { bytes, _ = c.get(b, path) })
	}
	b.ReportMetric(float64(bytes), "B-sent")
	m.report(b)
}

// BenchmarkUnmodified asks for 10,000 servers that the client has, while nothing changes
// between two requests for most of the time.
func BenchmarkUnmodified(b *testing.B) {
	c := newCloud(b, 10_000, 10_000)
	m := newMeter()
	tag, sent := "", 0
	for b.Loop() {
		m.time(func() {
			n, header := c.get(b, c.resources, "If-None-Match", tag)
			tag = header.Get("ETag")
			if n > 0 {
				sent++
			}
		})
	}
	b.ReportMetric(float64(sent), "bodies")
	m.report(b)
}

// BenchmarkGrowth does all of it with ever more servers in one pool.
func BenchmarkGrowth(b *testing.B) {
	for _, servers := range []int{100, 1_000, 10_000, 100_000} {
		c := newCloud(b, servers, 10_000)
		pages := newPages(b, c)
		rng := rand.New(rand.NewPCG(seed, 5))
		pick := func(list []string) string { return list[rng.IntN(len(list))] }
		for _, tc := range []struct {
			name string
			path func() string
		}{
			{"list", func() string { return c.resources }},
			{"filter", func() string { return c.resources + filterFor("extensions/systemUUID", pick(c.systems)) }},
			{"page", func() string { return pick(pages) }},
			{"server", func() string { return c.resources + "/" + pick(c.ids) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", tc.name, servers), func(b *testing.B) {
				m := newMeter()
				for b.Loop() {
					path := tc.path()
					m.time(func() { c.get(b, path) })
				}
				m.report(b)
			})
		}
		var memory runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&memory)
		b.Logf("%d servers: heap %d MiB", servers, memory.HeapAlloc>>20)
	}
}

// newPages returns paths of random pages of at most 100 servers: those with a systemUUID
// in one 256th of all, of which a fleet of 25,600 has 100.
func newPages(_ testing.TB, c *cloud) []string {
	var paths []string
	for i := range 255 {
		paths = append(paths, fmt.Sprintf("%s?filter=(gte,extensions/systemUUID,%02x);(lt,extensions/systemUUID,%02x)", c.resources, i, i+1))
	}
	return paths
}

// nowhere takes what a handler answers, and counts it.
type nowhere struct {
	header http.Header
	bytes  int
}

func (n *nowhere) Header() http.Header { return n.header }
func (n *nowhere) WriteHeader(int)     {}
func (n *nowhere) Write(b []byte) (int, error) {
	n.bytes += len(b)
	return len(b), nil
}

// BenchmarkAllocs counts what the server alone allocates: no connection, no client.
func BenchmarkAllocs(b *testing.B) {
	c := newCloud(b, 10_000, 100)
	var first []struct {
		ID string `json:"resourceId"`
	}
	if err := json.Unmarshal(c.body(b, c.resources), &first); err != nil {
		b.Fatal(err)
	}
	for name, path := range map[string]string{
		"page of 100":        c.resources,
		"page with fields":   c.resources + "?fields=extensions/vendor",
		"1 of 10,000":        c.resources + filterFor("extensions/systemUUID", c.systems[777]),
		"by id":              c.resources + filterFor("resourceId", c.ids[777]),
		"server":             c.resources + "/" + c.ids[777],
		"server, no element": c.resources + "/" + c.ids[777] + "?exclude_fields=elements",
	} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Authorization", "Bearer token")
			b.ReportAllocs()
			for b.Loop() {
				c.handler.ServeHTTP(&nowhere{header: make(http.Header)}, r.Clone(r.Context()))
			}
		})
	}
}
