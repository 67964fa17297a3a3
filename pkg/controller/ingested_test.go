package controller

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/o2ims/o2ims/pkg/report"
)

// applied is one server-side apply that reached the hub.
type applied struct {
	cluster, fieldManager string
	force                 bool
	status                map[string]any
}

// recorder takes the applies of status in place of the fake client, which knows nothing of
// the list of conditions being a map.
type recorder struct {
	mu  sync.Mutex
	all []applied
	err error
}

func (r *recorder) over(hub client.WithWatch) client.WithWatch {
	return interceptor.NewClient(hub, interceptor.Funcs{
		SubResourceApply: func(_ context.Context, _ client.Client, subresource string, object runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.err != nil {
				return r.err
			}
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
			if err != nil {
				return err
			}
			u := unstructured.Unstructured{Object: content}
			var o client.SubResourceApplyOptions
			o.ApplyOpts(opts)
			a := applied{cluster: u.GetNamespace(), fieldManager: o.FieldManager, force: o.Force != nil && *o.Force}
			a.status, _, _ = unstructured.NestedMap(u.Object, "status")
			if subresource != "status" || u.GetName() != report.AddOnName {
				return errors.New("apply of " + u.GetName() + "/" + subresource)
			}
			r.all = append(r.all, a)
			return nil
		},
	})
}

func (r *recorder) taken() []applied {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

func answerOf(seq uint64, reason string) *report.Ingested {
	a := report.Answer(report.Head{Envelope: report.Envelope{Epoch: epoch, Seq: seq, SHA256: "00"}}, nil)
	a.Reason = reason
	return &a
}

func newTestWriter(t testing.TB, objects ...client.Object) (*ingestedWriter, *recorder) {
	r := &recorder{}
	w := newIngestedWriter(r.over(newHub(t, objects...)), newAnswers())
	w.now = newClock().now
	return w, r
}

func TestAnAnswerIsOneConditionAndNothingElse(t *testing.T) {
	w, r := newTestWriter(t, addonOf("edge-1", condition("Available", "Lease", ""), condition(report.KindInventory.PartType(0), "Data", "AAAA")))
	w.answers.compare("edge-1", answerOf(7, report.ReasonIngested), nil)
	if !w.flush(t.Context()) {
		t.Fatal("flush could not write")
	}
	want := []applied{{cluster: "edge-1", fieldManager: "o2ims-hub-inventory", force: true, status: map[string]any{"conditions": []any{map[string]any{
		"type": "o2ims.open-cluster-management.io/InventoryIngested", "status": "True", "reason": "Ingested",
		"message": "epoch=" + epoch + " seq=7 sha256=00", "lastTransitionTime": "2026-11-22T10:00:00Z",
	}}}}}
	if got := r.taken(); !reflect.DeepEqual(got, want) {
		t.Errorf("applied %+v, want %+v", got, want)
	}
	if w.flush(t.Context()); len(r.taken()) != 0 {
		t.Error("an answer was written twice")
	}
}

func TestAnAnswerKeepsItsTransition(t *testing.T) {
	old := answerOf(6, report.ReasonIngested).Condition(nil, newClock().now().Add(-time.Hour))
	w, r := newTestWriter(t, addonOf("edge-1", old))
	w.answers.compare("edge-1", answerOf(7, report.ReasonIngested), nil)
	w.flush(t.Context())
	got := r.taken()
	if len(got) != 1 || got[0].status["conditions"].([]any)[0].(map[string]any)["lastTransitionTime"] != "2026-11-22T09:00:00Z" {
		t.Errorf("applied %+v, want the old transition time", got)
	}
}

func TestNobodyIsLeftToAnswer(t *testing.T) {
	w, r := newTestWriter(t)
	w.answers.compare("edge-1", answerOf(7, report.ReasonIngested), nil)
	if !w.flush(t.Context()) || len(r.taken()) != 0 || len(w.answers.pending()) != 0 {
		t.Error("an answer to an add-on that is gone stays pending")
	}
}

func TestANewerAnswerSurvivesTheWriteOfTheOlder(t *testing.T) {
	a := newAnswers()
	older, newer := answerOf(7, report.ReasonIngested), answerOf(8, report.ReasonIngested)
	a.compare("edge-1", older, nil)
	a.compare("edge-1", newer, older)
	a.settle("edge-1", *older)
	if got := a.pending()["edge-1"]; got != *newer {
		t.Errorf("pending %+v, want %+v", got, *newer)
	}
}

// In the bubble of synctest, time passes when everybody waits.
func TestAnswersAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := newTestWriter(t, addonOf("edge-1"), addonOf("edge-2"))
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- w.Start(ctx) }()
		time.Sleep(time.Hour)
		if got := r.taken(); len(got) != 0 {
			t.Errorf("applied %+v without news", got)
		}
		for seq := range uint64(5) {
			w.answers.compare("edge-1", answerOf(seq, report.ReasonIngested), nil)
			time.Sleep(300 * time.Millisecond)
		}
		w.answers.compare("edge-2", answerOf(1, report.ReasonCorrupt), nil)
		time.Sleep(answerInterval)
		got := r.taken()
		if len(got) != 2 {
			t.Errorf("%d applies, want one for each cluster: %+v", len(got), got)
		}
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("Start() = %v", err)
		}
	})
}

func TestANewLeaderWritesWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := newTestWriter(t, addonOf("edge-1"))
		w.answers.compare("edge-1", answerOf(1, report.ReasonIngested), nil)
		<-w.answers.news // it was heard while another replica led
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- w.Start(ctx) }()
		time.Sleep(answerInterval + time.Second)
		if got := r.taken(); len(got) != 1 {
			t.Errorf("applied %+v, want the pending answer", got)
		}
		cancel()
		<-stopped
	})
}

func TestAnswersThatFailAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := newTestWriter(t, addonOf("edge-1"))
		r.err = errors.New("the hub is away")
		w.answers.compare("edge-1", answerOf(1, report.ReasonIngested), nil)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- w.Start(ctx) }()
		time.Sleep(5 * time.Minute)
		r.mu.Lock()
		r.err = nil
		r.mu.Unlock()
		time.Sleep(answerRetryLimit + time.Second)
		if got := r.taken(); len(got) != 1 {
			t.Errorf("applied %+v, want the answer once", got)
		}
		cancel()
		<-stopped
	})
}
