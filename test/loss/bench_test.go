package loss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
	"github.com/o2ims/o2ims/test/redisserver"
)

// These benchmarks run the engine in this process on a real Redis that waits for the disk,
// with consumers that answer at once over HTTP on loopback.

// bench is an engine with subscriptions.
type bench struct {
	b       *testing.B
	db      *store.Store
	model   *model
	engine  *subscription.Engine
	version uint64
	stop    func()

	acks   atomic.Int64
	wanted atomic.Int64
	done   chan struct{} // receives when acks reaches wanted
}

func newBench(b *testing.B) *bench {
	b.Helper()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	server, err := redisserver.Start(b.Context(), redisserver.Options{Dir: b.TempDir()})
	if errors.Is(err, redisserver.ErrMissing) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	db, err := store.Open(store.Options{URL: server.URL(), Timeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	if err := db.Prepare(b.Context()); err != nil {
		b.Fatal(err)
	}
	m := &model{objects: make(map[string]object), ready: make(chan struct{})}
	close(m.ready)
	return &bench{b: b, db: db, model: m, done: make(chan struct{}, 1)}
}

// consumer returns the URL of consumers that answer at once.
func (n *bench) consumer() string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
		if n.acks.Add(1) == n.wanted.Load() {
			n.done <- struct{}{}
		}
	}))
	n.b.Cleanup(server.Close)
	return server.URL
}

func (n *bench) subscribe(url string, count int) {
	n.b.Helper()
	var wg sync.WaitGroup
	for part := range 10 {
		wg.Go(func() {
			for i := part; i < count; i += 10 {
				sub := store.Subscription{ID: uuid.New(), Service: "inventory", Version: "v2", Callback: fmt.Sprintf("%s/%d", url, i)}
				if err := n.db.CreateSubscription(context.Background(), sub, 1_000_000); err != nil {
					n.b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func (n *bench) run() {
	n.b.Helper()
	o := engineOptions()
	o.RequestTimeout, o.FirstRetry, o.LongestRetry = 10*time.Second, time.Second, time.Minute
	transport := &http.Transport{MaxIdleConns: 2000, MaxIdleConnsPerHost: 2000}
	engine, err := subscription.New(o, subscription.Parts{
		Store: n.db, Client: &http.Client{Transport: transport}, BaseURL: "https://o2ims.example.net",
		Services: []subscription.Service{service()}, Sources: []subscription.Source{n.model},
	})
	if err != nil {
		n.b.Fatal(err)
	}
	n.engine = engine
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		_ = engine.Run(ctx) // ends with ctx
		close(ended)
	}()
	n.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		transport.CloseIdleConnections()
	})
	n.b.Cleanup(n.stop)
	for _, leads := engine.Announced("inventory"); !leads; _, leads = engine.Announced("inventory") {
		runtime.Gosched()
	}
}

// change changes one of some objects to a state of about 1 kB.
func (n *bench) change(i, objects int) {
	n.version++
	name := fmt.Sprintf("object-%d", i%objects)
	number, padding := int(n.version), strings.Repeat("0123456789abcdef", 60)
	n.engine.Changed("inventory", n.version, subscription.Object{Kind: "ResourceInfo", ID: name, Render: func() subscription.Document {
		state := fmt.Sprintf(`{"name":%q,"number":%d,"padding":%q}`, name, number, padding)
		return subscription.Document{"v2": {Ref: "/o2ims-infrastructureInventory/v2/resources/" + name, State: []byte(state)}}
	}})
}

// expect says how many acknowledgements to wait for.
func (n *bench) expect(acks int) {
	n.acks.Store(0)
	n.wanted.Store(int64(acks))
}

// BenchmarkFanOut announces one change to a thousand subscriptions. An operation ends with
// the last acknowledgement.
func BenchmarkFanOut(b *testing.B) {
	for _, dead := range []int{0, 10} {
		b.Run(fmt.Sprintf("1000 subscriptions, %d of them dead", dead), func(b *testing.B) {
			n := newBench(b)
			before := heap()
			n.subscribe(n.consumer(), 1000-dead)
			n.subscribe(hanging(b), dead)
			n.run()
			i := 0
			n.expect(1000 - dead)
			n.change(i, 10) // opens the connections
			<-n.done
			each := float64(heap()-before) / 1000 // with the consumers' side of the connections
			for b.Loop() {
				i++
				n.expect(1000 - dead)
				n.change(i, 10)
				<-n.done
			}
			b.ReportMetric(each, "B/subscription")
		})
	}
}

// hanging returns the URL of a consumer that accepts connections and says nothing.
func hanging(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	return "http://" + l.Addr().String()
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// BenchmarkStream delivers ten thousand changes to ten subscriptions.
func BenchmarkStream(b *testing.B) {
	const changes, subscriptions = 10_000, 10
	n := newBench(b)
	n.subscribe(n.consumer(), subscriptions)
	n.run()
	for b.Loop() {
		n.expect(changes * subscriptions)
		for i := range changes {
			n.change(i, 500)
		}
		<-n.done
	}
	b.ReportMetric(float64(b.N)*changes*subscriptions/b.Elapsed().Seconds(), "notifications/s")
}

// BenchmarkCatchUp starts an engine with many events behind, for a subscription that has
// got none of them and one that wants none. O2IMS_BENCH_BEHIND sets how many.
func BenchmarkCatchUp(b *testing.B) {
	behind := 20_000
	if text := os.Getenv("O2IMS_BENCH_BEHIND"); text != "" {
		if _, err := fmt.Sscan(text, &behind); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		b.StopTimer()
		n := newBench(b)
		n.subscribe(n.consumer(), 1)
		term, err := n.db.Lead(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		padding := strings.Repeat("0123456789abcdef", 60)
		for done := 0; done < behind; {
			var batch []store.Change
			for range 256 {
				done++
				document := fmt.Appendf(nil, `{"v2":{"ref":"/r/a","state":{"number":%d,"padding":%q}}}`, done, padding)
				batch = append(batch, store.Change{Kind: "ResourceInfo", ID: fmt.Sprint(done % 100), Document: document, Digest: store.DigestOf(document)})
			}
			if _, err := term.Announce(b.Context(), "other", batch[:len(batch)-1]); err != nil { // none of its business
				b.Fatal(err)
			}
			if _, err := term.Announce(b.Context(), "inventory", batch[len(batch)-1:]); err != nil {
				b.Fatal(err)
			}
		}
		wanted := (behind + 255) / 256
		n.expect(wanted)
		b.StartTimer()
		n.run()
		<-n.done
		b.StopTimer()
		n.stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*behind)/b.Elapsed().Seconds(), "events/s")
}
