package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

const storeID = "33333333-5a3c-4b3e-9f55-0a6f2f3b8a11"

var errInjected = errors.New("injected")

// world is a managed cluster's apiserver and a hub, with what can go wrong between them and
// the journal.
type world struct {
	tb     testing.TB
	store  client.WithWatch // the ConfigMaps, as they are
	clock  *testingclock.FakeClock
	hub    hub
	budget int

	mu      sync.Mutex
	writes  int                                       // of ConfigMaps
	onWrite func(name string) (apply bool, err error) // nil: all goes well
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		tb.Fatal(err)
	}
	w := &world{tb: tb, store: fake.NewClientBuilder().WithScheme(scheme).Build(), clock: testingclock.NewFakeClock(noon)}
	var err error
	if w.hub.encoder, err = report.NewAlertsEncoder(); err == nil {
		w.hub.decoder, err = report.NewDecoder()
	}
	if err != nil {
		tb.Fatal(err)
	}
	w.hub.history = map[report.Episode]*seen{}
	return w
}

// client is one process' way to the apiserver: dead says that the process is.
func (w *world) client(dead *bool) client.Client {
	write := func(name string, do func() error) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if dead != nil && *dead {
			return errInjected
		}
		w.writes++
		if w.onWrite == nil {
			return do()
		}
		apply, err := w.onWrite(name)
		if apply {
			if doErr := do(); doErr != nil {
				return doErr
			}
		}
		return err
	}
	return interceptor.NewClient(w.store, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return write(o.GetName(), func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return write(o.GetName(), func() error { return c.Update(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return write(o.GetName(), func() error { return c.Delete(ctx, o, opts...) })
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if dead != nil && *dead {
				return errInjected
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
}

func (w *world) options(dead *bool) JournalOptions {
	return JournalOptions{
		Client: w.client(dead), Namespace: "agent", Cluster: "edge-1", Clock: w.clock, Budget: w.budget,
		LastReport: func(context.Context) ([]metav1.Condition, error) { return w.hub.conditions() },
	}
}

func (w *world) open(dead *bool) *Journal {
	w.tb.Helper()
	j, err := OpenJournal(context.Background(), w.options(dead))
	if err != nil {
		w.tb.Fatal(err)
	}
	return j
}

// fails makes the next writes end as told, and the ones after them well.
func (w *world) fails(endings ...func() (bool, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onWrite = func(string) (bool, error) {
		if len(endings) == 0 {
			return true, nil
		}
		next := endings[0]
		endings = endings[1:]
		return next()
	}
}

func refused() (bool, error)   { return false, errInjected }
func lostReply() (bool, error) { return true, errInjected }

func (w *world) configMaps() map[string]*corev1.ConfigMap {
	w.tb.Helper()
	var list corev1.ConfigMapList
	if err := w.store.List(context.Background(), &list); err != nil {
		w.tb.Fatal(err)
	}
	all := map[string]*corev1.ConfigMap{}
	for i := range list.Items {
		all[list.Items[i].Name] = &list.Items[i]
	}
	return all
}

// hub is the add-on's status and what ingests it.
type hub struct {
	encoder *report.AlertsEncoder
	decoder *report.Decoder

	gone    bool // the add-on is not there
	silent  bool // the hub does not answer
	report  []metav1.Condition
	answer  *metav1.Condition
	store   string
	epoch   string
	applied uint64
	gaps    int
	open    map[report.Episode]bool
	history map[report.Episode]*seen
	merged  uint64
}

// seen is what the history has of an episode.
type seen struct{ begun, ended int }

func (h *hub) conditions() ([]metav1.Condition, error) {
	switch {
	case h.silent:
		return nil, errInjected
	case h.gone:
		return nil, fmt.Errorf("add-on: %w", fault.NotFound)
	}
	all := h.report
	if h.answer != nil {
		all = append(all[:len(all):len(all)], *h.answer)
	}
	return all, nil
}

// publish writes what the journal has to say.
func (w *world) publish(j *Journal) {
	w.tb.Helper()
	content, err := j.Report(context.Background())
	if err != nil {
		w.tb.Fatal(err)
	}
	content.Rules = report.RulesUnknown
	encoded, err := w.hub.encoder.Encode(content)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.hub.report = w.hub.encoder.Compose(w.hub.report, report.Stamp{Epoch: j.Epoch(), Now: w.clock.Now()}, encoded).Entries
	j.Published(j.Epoch(), encoded.Head.Last)
}

// ingest applies what is published, once.
func (w *world) ingest() {
	w.tb.Helper()
	h := &w.hub
	head, alerts, err := h.decoder.DecodeAlerts("edge-1", h.report)
	if err != nil {
		w.tb.Fatal(err)
	}
	if head.Epoch != h.epoch {
		h.epoch, h.applied = head.Epoch, 0
	}
	for i := range alerts.Transitions {
		t := &alerts.Transitions[i]
		if t.Seq <= h.applied {
			continue
		}
		if t.First() > h.applied+1 {
			h.gaps++
		}
		h.applied = t.Seq
		s := h.history[t.Episode]
		if s == nil {
			s = &seen{}
			h.history[t.Episode] = s
		}
		switch t.Type {
		case report.Fired:
			s.begun++
		case report.Resolved:
			s.ended++
		case report.CompactedTransitions:
			h.merged += max(1, t.Count) - 1
			s.begun = 1
			if t.Ends != 0 {
				s.ended++
			}
		}
	}
	h.open = map[report.Episode]bool{}
	for _, o := range alerts.Active.Alerts {
		h.open[o.Episode] = true
	}
}

// acknowledge answers, and tells the journal.
func (w *world) acknowledge(j *Journal) {
	w.tb.Helper()
	if w.hub.store == "" {
		w.hub.store = storeID
	}
	a := report.AlertsIngested{Store: w.hub.store, Epoch: w.hub.epoch, Seq: w.hub.applied, Reason: report.ReasonIngested}
	c := a.Condition(w.hub.answer, w.clock.Now())
	w.hub.answer = &c
	if j != nil {
		if err := j.Acknowledge(context.Background(), a); err != nil {
			w.tb.Log(err)
		}
	}
}

// catchUp publishes, ingests and acknowledges until the hub has everything.
func (w *world) catchUp(j *Journal) {
	w.tb.Helper()
	for range 1000 {
		w.publish(j)
		w.ingest()
		w.acknowledge(j)
		if s := mustState(w.tb, j); s.First == 0 {
			w.publish(j)
			w.ingest()
			return
		}
	}
	w.tb.Fatal("the hub never has everything")
}

func mustState(tb testing.TB, j *Journal) State {
	tb.Helper()
	s, err := j.State(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func named(n int) map[string]string {
	return map[string]string{"alertname": "A", "n": fmt.Sprint(n), "severity": "critical", "namespace": "openshift-monitoring"}
}

func firing(n int, starts int64) Observation {
	return said{at: starts + 5, starts: starts, annotation: fmt.Sprint("pod ", n, " is ill")}.observation(named(n))
}

func resolved(n int, starts, ends int64) Observation {
	return said{at: ends + 5, starts: starts, ends: ends, resolved: true, annotation: fmt.Sprint("pod ", n, " is ill")}.observation(named(n))
}

func episodeOf(n int, starts int64) report.Episode {
	return report.Episode{Fingerprint: Fingerprint(named(n)), Starts: after(starts).UnixMilli()}
}

func mustRecord(tb testing.TB, j *Journal, all ...Observation) {
	tb.Helper()
	for _, o := range all {
		if err := j.Record(context.Background(), o); err != nil {
			tb.Fatal(err)
		}
	}
}
