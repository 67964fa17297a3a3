package registration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/smo"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
	"github.com/o2ims/o2ims/test/redisserver"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(m.Run())
}

const (
	changes = 600
	every   = 20 * time.Millisecond // a change each, so that one run takes 12 s
)

// BenchmarkNotificationsBesideRegistration reports how long it takes from a change to the
// beginning of its callback, while the O-Cloud registers at the same SMO, and, in the same
// run, while it does not.
func BenchmarkNotificationsBesideRegistration(b *testing.B) {
	for _, bc := range []struct {
		name  string
		smo   behaviour
		begin func(*world) (stop func())
	}{
		{"no-registration", behaviour{}, func(*world) func() { return func() {} }},
		{"answers-after-2s", behaviour{delay: 2 * time.Second}, func(w *world) func() { return w.registerNowAndThen() }},
		{"fails-5-times", behaviour{failures: 5}, func(w *world) func() { return w.registerUntilItSucceeds() }},
		{"fails-5-times-after-1s-each", behaviour{failures: 5, delay: time.Second}, func(w *world) func() { return w.registerUntilItSucceeds() }},
	} {
		for _, http2 := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/http2=%t", bc.name, http2), func(b *testing.B) {
				w := newWorld(b, bc.smo, http2)
				for b.Loop() {
					stop := bc.begin(w)
					w.measure()
					stop()
				}
				w.report()
			})
		}
	}
}

// world is an O-Cloud that delivers notifications to an SMO.
type world struct {
	*testing.B
	smo    *fakeSMO
	client *smo.Client
	engine *subscription.Engine

	registering atomic.Bool
	version     uint64
	begun       map[uint64]change
	during      []time.Duration // of changes made while a registration was under way
	between     []time.Duration // of others
}

// change is when a change was made, and whether a registration was under way.
type change struct {
	at     time.Time
	during bool
}

// nothing is a model in which there is nothing yet.
type nothing struct{}

func (nothing) Name() string { return "inventory" }

func (nothing) Objects(context.Context) (uint64, iter.Seq[subscription.Object], error) {
	return 0, func(func(subscription.Object) bool) {}, nil
}

func newWorld(b *testing.B, of behaviour, http2 bool) *world {
	b.Helper()
	redis, err := redisserver.Start(b.Context(), redisserver.Options{Dir: b.TempDir()})
	if errors.Is(err, redisserver.ErrMissing) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(redis.Stop)
	db, err := store.Open(store.Options{URL: redis.URL(), Timeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	if err := db.Prepare(b.Context()); err != nil {
		b.Fatal(err)
	}
	w := &world{B: b, smo: newFakeSMO(b, of, http2), begun: make(map[uint64]change)}
	w.connect()
	if err := db.CreateSubscription(b.Context(), store.Subscription{ID: uuid.New(), Service: "inventory", Version: "v2", Callback: w.smo.URL + "/callback"}, 1); err != nil {
		b.Fatal(err)
	}
	w.deliver(db)
	return w
}

// connect makes the client that notifications and registration share.
func (w *world) connect() {
	w.Helper()
	client, err := smo.New(smo.Options{AllowNetworks: []string{"127.0.0.1"}, Timeout: 10 * time.Second}, smo.Parts{})
	if err != nil {
		w.Fatal(err)
	}
	w.client = client
	if err := client.Configure(smo.Settings{
		CABundle: w.smo.ca(), Hosts: []string{w.smo.Listener.Addr().String()},
		OAuth: &smo.OAuth{TokenURL: w.smo.URL + "/token", ClientID: "o-cloud", ClientSecret: "secret"},
	}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) deliver(db *store.Store) {
	w.Helper()
	engine, err := subscription.New(subscription.Options{
		RequestTimeout: 10 * time.Second, FirstRetry: time.Second, LongestRetry: time.Minute, SuspendAfter: time.Hour,
		RetainFor: time.Hour, RetainEvents: 1_000_000, MaxSubscriptions: 100, WindowBytes: 8 << 20,
		FilterMode: string(subscription.Exclude), CallbackCheck: string(subscription.CheckOff), DuplicateStatus: 400,
	}, subscription.Parts{
		Store: db, Client: w.client, BaseURL: "https://o2ims.example.net", Sources: []subscription.Source{nothing{}},
		Services: []subscription.Service{{Name: "inventory", Versions: []string{"v2"}, Kinds: func(string) subscription.Kinds {
			return subscription.Kinds{"ResourceInfo": func([]string) error { return nil }}
		}}},
	})
	if err != nil {
		w.Fatal(err)
	}
	w.engine = engine
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		_ = engine.Run(ctx) // ends with ctx
		close(ended)
	}()
	w.Cleanup(func() { cancel(); <-ended })
	for _, leads := engine.Announced("inventory"); !leads; _, leads = engine.Announced("inventory") {
		runtime.Gosched()
	}
	w.change() // the first needs a connection and a token
	w.smo.await(w.Context(), 1)
}

// change adds an object with a state of about 1 kB. It is another each time: changes of one
// could be told as one.
func (w *world) change() {
	w.version++
	version := w.version
	w.begun[version] = change{time.Now(), w.registering.Load()}
	w.engine.Changed("inventory", version, subscription.Object{Kind: "ResourceInfo", ID: fmt.Sprint("server-", version), Render: func() subscription.Document {
		return subscription.Document{"v2": {Ref: fmt.Sprint("/o2ims-infrastructureInventory/v2/resources/server-", version), State: fmt.Appendf(nil, `{"version":%d,"padding":"%0960d"}`, version, version)}}
	}})
}

// measure makes changes at a steady rate, whatever becomes of them, and waits for the last.
func (w *world) measure() {
	w.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	first := w.version + 1
	for range changes {
		<-tick.C
		w.change()
	}
	w.smo.await(w.Context(), w.version)
	for version := first; version <= w.version; version++ {
		heard, found := w.smo.heardOf(version)
		if !found {
			w.Fatalf("change %d was not notified", version)
		}
		took := heard.Sub(w.begun[version].at)
		if w.begun[version].during {
			w.during = append(w.during, took)
		} else {
			w.between = append(w.between, took)
		}
	}
}

func (w *world) report() {
	for name, took := range map[string][]time.Duration{"during": w.during, "between": w.between} {
		if len(took) == 0 {
			continue
		}
		slices.Sort(took)
		at := func(share float64) float64 {
			return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
		}
		w.ReportMetric(at(0.5), "p50-ms-"+name)
		w.ReportMetric(at(0.99), "p99-ms-"+name)
		w.ReportMetric(at(1), "max-ms-"+name)
		w.ReportMetric(float64(len(took)), "n-"+name)
	}
	w.ReportMetric(float64(w.smo.attempts.Load()), "registrations")
	w.ReportMetric(0, "ns/op")
}
