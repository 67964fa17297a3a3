package alert

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

func TestARestartForgetsNothing(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	mustRecord(t, j, firing(1, 0), firing(2, 0), resolved(1, 0, 1000))
	j.Dropped("Garbage", 3)
	mustRecord(t, j, firing(3, 5000))
	before, epoch := shown(j.state.book), j.Epoch()
	j.Close()
	if err := j.Record(context.Background(), firing(4, 0)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a closed journal: error %v", err)
	}
	j = w.open(nil)
	if got := shown(j.state.book); got != before || j.Epoch() != epoch {
		t.Errorf("epoch %s, book\n%s\nwant %s\n%s", j.Epoch(), got, epoch, before)
	}
	if s := mustState(t, j); s.End != 4 || s.First != 1 || s.Open != 2 || s.Dropped != 3 {
		t.Errorf("state %+v", s)
	}
	if open := j.Open(); len(open) != 2 || open[0].Via != ViaWebhook || open[0].Labels["alertname"] != "A" {
		t.Errorf("open %+v", open)
	}
}

func TestWhatSaysNothingNewIsNoWrite(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	mustRecord(t, j, firing(1, 0))
	before := w.writes
	mustRecord(t, j, firing(1, 0), firing(1, 0), resolved(9, unset, 5))
	if w.writes != before+1 { // of the last one
		t.Errorf("%d writes, want 1", w.writes-before)
	}
}

func TestAFailedWriteIsNotAcknowledged(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write func() (bool, error)
		ok    bool // the observation is durable in the end
	}{
		{"refused", refused, false},
		{"written, but the answer is lost", lostReply, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			j := w.open(nil)
			mustRecord(t, j, firing(1, 0))
			w.fails(tc.write)
			err := j.Record(context.Background(), firing(2, 0))
			if (err == nil) != tc.ok || err != nil && !errors.Is(err, fault.Unavailable) {
				t.Fatalf("error %v", err)
			}
			if got := len(j.Open()); (got == 2) != tc.ok {
				t.Errorf("%d open", got)
			}
			mustRecord(t, j, firing(2, 0), firing(3, 0))
			if s := mustState(t, w.open(nil)); s.End != 3 || s.Open != 3 {
				t.Errorf("state %+v", s)
			}
		})
	}
}

// While it is not known how a write ended, nothing is told or taken. Afterwards all is as
// the ConfigMap says.
func TestAWriteInDoubt(t *testing.T) {
	for _, happened := range []bool{true, false} {
		t.Run(fmt.Sprint("it happened: ", happened), func(t *testing.T) {
			w := newWorld(t)
			dead := false
			j := w.open(&dead)
			mustRecord(t, j, firing(1, 0))
			w.fails(func() (bool, error) { dead = true; return happened, errInjected })
			if err := j.Record(context.Background(), firing(2, 0)); !errors.Is(err, fault.Unavailable) {
				t.Fatalf("error %v", err)
			}
			if err := j.Record(context.Background(), firing(3, 0)); !errors.Is(err, fault.Unavailable) {
				t.Fatalf("error %v while it is in doubt", err)
			}
			if _, err := j.Report(context.Background()); !errors.Is(err, fault.Unavailable) {
				t.Errorf("something is told in doubt, error %v", err)
			}
			dead = false
			want := uint64(1)
			if happened {
				want = 2
			}
			if s := mustState(t, j); s.End != want {
				t.Errorf("end %d, want %d", s.End, want)
			}
			mustRecord(t, j, firing(2, 0), firing(3, 0))
			if s := mustState(t, w.open(nil)); s.End != 3 || s.Open != 3 {
				t.Errorf("state %+v", s)
			}
		})
	}
}

// Of two agents the one that opens the journal later goes on, the other must end.
func TestASecondAgentFencesTheFirst(t *testing.T) {
	w := newWorld(t)
	lost := make(chan error, 2)
	o := w.options(nil)
	o.Lost = func(err error) { lost <- err }
	first, err := OpenJournal(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	mustRecord(t, first, firing(1, 0))
	second := w.open(nil)
	for range 2 {
		if err := first.Record(context.Background(), firing(2, 0)); !errors.Is(err, fault.Conflict) || !errors.Is(err, fault.Unavailable) {
			t.Errorf("the first: error %v", err)
		}
	}
	if len(lost) != 1 || !errors.Is(<-lost, fault.Conflict) {
		t.Error("it is not told once that the journal is lost")
	}
	mustRecord(t, second, firing(3, 0))
	if s := mustState(t, w.open(nil)); s.End != 2 || s.Open != 2 {
		t.Errorf("state %+v", s)
	}
}

// A first agent that was about to move its log must not harm the second's.
func TestASecondAgentFencesTheFirstsChunks(t *testing.T) {
	w := newWorld(t)
	first := w.open(nil)
	bulky(t, first, 0, 1000)
	second := w.open(nil)
	bulky(t, second, 1000, 1000)
	if len(first.state.chunks) == 0 || len(second.state.chunks) == 0 {
		t.Fatal("one of them has no chunks")
	}
	for n := 2000; n < 2600; n++ { // more than the head takes
		if err := first.Record(context.Background(), firing(n, 0)); !errors.Is(err, fault.Conflict) {
			t.Fatalf("alert %d: error %v", n, err)
		}
	}
	if s := mustState(t, w.open(nil)); s.Open != 2000 || s.First != 1 {
		t.Errorf("state %+v", s)
	}
}

// bulky records many alerts, some at once.
func bulky(tb testing.TB, j *Journal, from, count int) {
	tb.Helper()
	const atOnce = 250
	for n := from; n < from+count; n += atOnce {
		o := firing(n, 0)
		for i := 1; i < atOnce; i++ {
			o.Alerts = append(o.Alerts, firing(n+i, 0).Alerts...)
		}
		mustRecord(tb, j, o)
	}
}

// What was not written, but only labelled by somebody, is still ours; what was deleted is
// written again.
func TestSomebodyTouchesTheConfigMap(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	bulky(t, j, 0, 2000)
	if len(j.state.chunks) == 0 || len(j.state.bookChunks) == 0 {
		t.Fatal("there are no chunks")
	}
	cm := w.configMaps()[ConfigMapName]
	cm.Labels["owner"] = "me"
	if err := w.store.Update(context.Background(), cm); err != nil {
		t.Fatal(err)
	}
	mustRecord(t, j, firing(7001, 0))
	for _, cm := range w.configMaps() {
		if err := w.store.Delete(context.Background(), cm); err != nil {
			t.Fatal(err)
		}
	}
	mustRecord(t, j, firing(7002, 0))
	if s := mustState(t, w.open(nil)); s.Open != 2002 || s.First != 1 || s.End != 2002 {
		t.Errorf("state %+v", s)
	}
}

// Observations that come during a write go together; the first waits for nobody.
func TestGroupCommit(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	before := w.writes
	entered, proceed := make(chan bool), make(chan bool)
	w.onWrite = func(string) (bool, error) { entered <- true; <-proceed; return true, nil }
	errs := make(chan error)
	record := func(n int) { go func() { errs <- j.Record(context.Background(), firing(n, 0)) }() }
	record(0)
	<-entered
	for n := 1; n <= 50; n++ {
		record(n)
	}
	for {
		j.queue.Lock()
		n := len(j.queue.pending)
		j.queue.Unlock()
		if n == 50 {
			break
		}
		runtime.Gosched()
	}
	close(proceed)
	go func() {
		for range entered { //nolint:revive // whoever writes goes on
		}
	}()
	for range 51 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if w.writes != before+2 {
		t.Errorf("%d writes, want 2", w.writes-before)
	}
}

func TestRecordGivesUpWithItsCaller(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	proceed := make(chan bool)
	w.onWrite = func(string) (bool, error) { <-proceed; return true, nil }
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.Record(ctx, firing(1, 0)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("error %v", err)
	}
	close(proceed)
	j.Close()
	if len(j.Open()) != 1 {
		t.Error("what was under way is not in the journal")
	}
}

func TestAcknowledgedTransitionsGoToTheTail(t *testing.T) {
	skipUnderRace(t)
	w := newWorld(t)
	j := w.open(nil)
	for n := range 600 {
		mustRecord(t, j, firing(n%10, int64(n)*1000), resolved(n%10, int64(n)*1000, int64(n)*1000+500))
		if n%100 == 0 {
			w.catchUp(j)
		}
	}
	w.catchUp(j)
	mustRecord(t, j, firing(11, 5))
	if n := len(j.state.log); n > TailLength+maxHeadEntries+200 || n < TailLength {
		t.Errorf("%d transitions are kept, want the %d last", n, TailLength)
	}
	for name, cm := range w.configMaps() {
		if n := len(cm.BinaryData[journalKey]); n > maxChunkBytes {
			t.Errorf("%s has %d bytes", name, n)
		}
	}
	// The hub loses its store: it is told again what is left, and that there is a gap.
	w.hub.applied, w.hub.store, w.hub.history = 0, "44444444-5a3c-4b3e-9f55-0a6f2f3b8a11", map[report.Episode]*seen{}
	w.acknowledge(j)
	w.catchUp(j)
	if got := len(w.hub.history); got < TailLength/2 || w.hub.gaps != 1 {
		t.Errorf("%d episodes are told again, %d gaps", got, w.hub.gaps)
	}
	if len(w.hub.open) != 1 {
		t.Errorf("open %v", w.hub.open)
	}
}

func TestAcknowledgementsOfOthersCountNothing(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	mustRecord(t, j, firing(1, 0))
	if err := j.Acknowledge(context.Background(), report.AlertsIngested{Store: storeID, Epoch: storeID, Seq: 1}); err != nil {
		t.Fatal(err)
	}
	if s := mustState(t, j); s.First != 1 {
		t.Errorf("state %+v", s)
	}
}

// The spoke's etcd was restored from a backup: the hub is ahead of the journal.
func TestTheHubIsAheadOfTheJournal(t *testing.T) {
	backup := func(w *world) *corev1.ConfigMap { return w.configMaps()[ConfigMapName].DeepCopy() }
	restore := func(w *world, cm *corev1.ConfigMap) {
		now := w.configMaps()[ConfigMapName]
		now.BinaryData = cm.BinaryData
		if err := w.store.Update(context.Background(), now); err != nil {
			w.tb.Fatal(err)
		}
	}
	t.Run("the hub says so at the start", func(t *testing.T) {
		w := newWorld(t)
		j := w.open(nil)
		mustRecord(t, j, firing(1, 0))
		old := backup(w)
		mustRecord(t, j, firing(2, 0), resolved(1, 0, 500))
		w.catchUp(j)
		restore(w, old)
		j = w.open(nil)
		mustRecord(t, j, firing(3, 0))
		w.catchUp(j)
		if s := w.hub.history[episodeOf(3, 0)]; s == nil || s.begun != 1 || w.hub.gaps != 0 {
			t.Errorf("history %v, %d gaps", w.hub.history, w.hub.gaps)
		}
		if !w.hub.open[episodeOf(2, 0)] || w.hub.open[episodeOf(1, 0)] {
			t.Errorf("open %v", w.hub.open)
		}
	})
	t.Run("the hub says so later", func(t *testing.T) {
		w := newWorld(t)
		j := w.open(nil)
		mustRecord(t, j, firing(1, 0))
		old := backup(w)
		mustRecord(t, j, firing(2, 0), resolved(1, 0, 500))
		w.catchUp(j)
		restore(w, old)
		w.hub.silent = true
		j = w.open(nil)
		mustRecord(t, j, firing(3, 0))
		w.hub.silent = false
		w.acknowledge(j)
		w.catchUp(j)
		if s := w.hub.history[episodeOf(3, 0)]; s == nil || s.begun != 1 || !w.hub.open[episodeOf(3, 0)] {
			t.Errorf("history %v, open %v", w.hub.history, w.hub.open)
		}
	})
}

func (w *world) lose(name string) {
	w.tb.Helper()
	if err := w.store.Delete(context.Background(), w.configMaps()[name]); err != nil {
		w.tb.Fatal(err)
	}
}

func TestALostJournalIsMadeFromTheReport(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	mustRecord(t, j, firing(1, 0), firing(2, 0), resolved(2, 0, 900))
	w.catchUp(j)
	mustRecord(t, j, firing(3, 1000))
	w.publish(j)
	epoch := j.Epoch()
	w.lose(ConfigMapName)

	w.hub.silent = true
	if _, err := OpenJournal(context.Background(), w.options(nil)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("neither the journal nor the hub: error %v", err)
	}
	w.hub.silent = false
	j = w.open(nil)
	if j.Epoch() != epoch || len(j.Open()) != 2 {
		t.Fatalf("epoch %s, %d open, want %s and 2", j.Epoch(), len(j.Open()), epoch)
	}
	mustRecord(t, j, resolved(3, 1000, 2000), firing(4, 3000))
	w.catchUp(j)
	for n, want := range map[int]seen{1: {1, 0}, 2: {1, 1}, 3: {1, 1}, 4: {1, 0}} {
		starts := map[int]int64{3: 1000, 4: 3000}[n]
		if got := w.hub.history[episodeOf(n, starts)]; got == nil || *got != want {
			t.Errorf("alert %d: %v, want %v", n, got, want)
		}
	}
	if w.hub.gaps != 0 {
		t.Errorf("%d gaps", w.hub.gaps)
	}
}

func TestAReportThatWasBehindTheLostJournal(t *testing.T) {
	skipUnderRace(t)
	w := newWorld(t)
	j := w.open(nil)
	bulky(t, j, 0, 4000) // more than one report has
	w.publish(j)
	w.lose(ConfigMapName)
	j = w.open(nil)
	mustRecord(t, j, firing(9000, 0))
	w.catchUp(j)
	if w.hub.gaps != 0 || !w.hub.open[episodeOf(9000, 0)] {
		t.Errorf("%d gaps, open %t", w.hub.gaps, w.hub.open[episodeOf(9000, 0)])
	}
}

func TestANewEpochWhenNothingIsLeft(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	mustRecord(t, j, firing(1, 0))
	w.catchUp(j)
	epoch := j.Epoch()
	w.lose(ConfigMapName)
	w.hub.gone, w.hub.report, w.hub.answer = true, nil, nil
	j = w.open(nil)
	if j.Epoch() == epoch {
		t.Error("the epoch stays")
	}
	w.hub.gone = false
	mustRecord(t, j, firing(1, 0))
	w.catchUp(j)
	if !w.hub.open[episodeOf(1, 0)] {
		t.Error("the alert has another episode")
	}
}

func TestAnUnreadableJournalIsALostOne(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	mustRecord(t, j, firing(1, 0))
	w.publish(j)
	cm := w.configMaps()[ConfigMapName]
	cm.BinaryData[journalKey] = []byte("garbage")
	if err := w.store.Update(context.Background(), cm); err != nil {
		t.Fatal(err)
	}
	epoch := j.Epoch()
	j = w.open(nil)
	if j.Epoch() != epoch || len(j.Open()) != 1 {
		t.Errorf("epoch %s, %d open", j.Epoch(), len(j.Open()))
	}
}

func TestALostChunkIsAGapAndNoMore(t *testing.T) {
	skipUnderRace(t)
	for _, slots := range [][]string{{"log"}, {"book"}, {"log", "book"}} {
		t.Run(strings.Join(slots, " and "), func(t *testing.T) {
			w := newWorld(t)
			j := w.open(nil)
			bulky(t, j, 0, 2000)
			w.publish(j)
			lose := map[string][]chunkRef{"log": j.state.chunks, "book": j.state.bookChunks}
			for _, what := range slots {
				if len(lose[what]) == 0 {
					t.Fatalf("there is no chunk of the %s", what)
				}
				w.lose(j.disk.name(lose[what][0].Slot))
			}
			j = w.open(nil)
			mustRecord(t, j, firing(7000, 0))
			w.catchUp(j)
			if !w.hub.open[episodeOf(7000, 0)] && mustState(t, j).Open < 2 {
				t.Error("it does not go on")
			}
			if mustState(t, j).End != 2001 {
				t.Errorf("state %+v", mustState(t, j))
			}
		})
	}
}

// While the hub is away the journal is compacted, within its budget: what is open stays,
// the count is told, and no sequence is missing.
func TestCompaction(t *testing.T) {
	skipUnderRace(t)
	w := newWorld(t)
	w.budget = 200_000
	j := w.open(nil)
	mustRecord(t, j, firing(9999, 0))
	rng := rand.New(rand.NewPCG(1, 1))
	transitions := 1
	for n := 0; n < 1000 && mustState(t, j).Compacted < 3000; n++ {
		var o, end Observation
		for i := range 50 {
			s := said{at: int64(n)*1000 + 5, starts: int64(n) * 1000, annotation: fmt.Sprint(rng.Uint64(), rng.Uint64())}
			one := s.observation(named((n*50 + i) % 300))
			o.Via, o.At, o.Alerts = one.Via, one.At, append(o.Alerts, one.Alerts...)
			s.resolved, s.ends = true, s.starts+500
			one = s.observation(named((n*50 + i) % 300))
			end.Via, end.At, end.Alerts = one.Via, one.At, append(end.Alerts, one.Alerts...)
		}
		mustRecord(t, j, o, end)
		transitions += 100
	}
	s := mustState(t, j)
	if s.Compacted == 0 || s.LogBytes > w.budget || s.First != 1 || s.End != uint64(transitions) {
		t.Fatalf("state %+v after %d transitions", s, transitions)
	}
	j = w.open(nil)
	if again := mustState(t, j); again.Compacted != s.Compacted || again.First != 1 {
		t.Errorf("state %+v after a restart, want %+v", again, s)
	}
	w.catchUp(j)
	if w.hub.gaps != 0 || w.hub.applied != uint64(transitions) {
		t.Errorf("%d gaps, applied %d of %d", w.hub.gaps, w.hub.applied, transitions)
	}
	if !w.hub.open[episodeOf(9999, 0)] {
		t.Error("what is open is gone")
	}
	if w.hub.merged == 0 || w.hub.merged > s.Compacted {
		t.Errorf("transitions say that %d were merged, the report says %d", w.hub.merged, s.Compacted)
	}
}

func TestWhatTheHubMayHaveSeenIsNotCompacted(t *testing.T) {
	w := newWorld(t)
	j := w.open(nil)
	for n := range 20 {
		mustRecord(t, j, firing(n, 0), resolved(n, 0, 5))
	}
	w.publish(j)
	w.ingest()
	for n := range 20 {
		mustRecord(t, j, firing(n, 1000), resolved(n, 1000, 1005))
	}
	j.options.Budget = 1
	j.compact(context.Background())
	j.options.Budget = DefaultBudget
	for i, e := range j.state.log {
		if e.Seq <= 40 && (e.Type == report.CompactedTransitions || e.Seq != uint64(i+1)) {
			t.Fatalf("transition %d is compacted", e.Seq)
		}
	}
	if len(j.state.log) != 60 {
		t.Errorf("%d transitions, want 60", len(j.state.log))
	}
	w.catchUp(j)
	for n := range 20 {
		if got := w.hub.history[episodeOf(n, 1000)]; got == nil || got.begun != 1 || got.ended != 1 {
			t.Errorf("alert %d: %v", n, got)
		}
	}
}

// A journal that cannot be compacted refuses, and goes on when the hub is back.
func TestAFullJournalRefuses(t *testing.T) {
	skipUnderRace(t)
	w := newWorld(t)
	w.budget = 100_000
	j := w.open(nil)
	var err error
	n := 0
	for ; n < 20_000 && err == nil; n += 50 {
		o := firing(n, 0)
		for i := 1; i < 50; i++ {
			o.Alerts = append(o.Alerts, firing(n+i, 0).Alerts...)
		}
		err = j.Record(context.Background(), o)
	}
	if !errors.Is(err, fault.Unavailable) {
		t.Fatalf("%d alerts: error %v", n, err)
	}
	w.catchUp(j)
	mustRecord(t, j, firing(30_000, 0))
	w.catchUp(j)
	if len(w.hub.history) != n-50+1 {
		t.Errorf("%d episodes, want %d", len(w.hub.history), n-50+1)
	}
}

// The promise: whatever happens to agent, apiserver and hub, every transition that was
// acknowledged is in the history exactly once.
func TestEveryAcknowledgedTransitionSurvivesOnce(t *testing.T) {
	seeds := uint64(8)
	if underRace {
		seeds = 2 // they differ in data, not in who runs beside whom
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { survive(t, seed) })
	}
}

func survive(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 42))
	w := newWorld(t)
	w.onWrite = func(string) (bool, error) {
		switch rng.IntN(12) {
		case 0:
			return false, errInjected
		case 1:
			return true, errInjected
		}
		return true, nil
	}
	dead := new(bool)
	var j *Journal
	crash := func() {
		if j != nil {
			*dead = true
			j.Close()
		}
		dead = new(bool)
		for j = nil; j == nil; {
			j, _ = OpenJournal(context.Background(), w.options(dead))
		}
	}
	crash()
	type episode struct {
		n            int
		starts       int64
		begun, ended bool
	}
	var all []*episode
	openOnes := map[int]*episode{}
	many := 1 + rng.IntN(60) // alerts in one message, so that some seeds need chunks
	for step := range 200 {
		now := int64(step) * 10_000
		w.clock.SetTime(after(now))
		switch rng.IntN(10) {
		case 0:
			crash()
		case 1:
			// A crash in the middle of a write, with or without its effect.
			apply, count := rng.IntN(2) == 0, rng.IntN(3)
			w.mu.Lock()
			usual, victim := w.onWrite, dead
			w.onWrite = func(name string) (bool, error) {
				if count--; count < 0 {
					*victim = true
					return apply, errInjected
				}
				return usual(name)
			}
			w.mu.Unlock()
			_ = j.Record(context.Background(), firing(100_000+step, now))
			w.mu.Lock()
			w.onWrite = usual
			w.mu.Unlock()
			crash()
		case 2:
			if _, err := j.Report(context.Background()); err == nil {
				w.publish(j)
			}
		case 3:
			if len(w.hub.report) > 0 {
				w.ingest()
				w.acknowledge(nil)
			}
		case 4:
			if len(w.hub.report) > 0 {
				w.ingest()
				w.acknowledge(j)
			}
		default:
			var batch []*episode
			var o Observation
			end := rng.IntN(2) == 0
			for range many {
				n := rng.IntN(3 * many)
				e := openOnes[n]
				if end != (e != nil) {
					continue
				}
				one := firing(n, now)
				if end {
					one = resolved(n, e.starts, now)
					delete(openOnes, n)
				} else {
					e = &episode{n: n, starts: now}
					all = append(all, e)
					openOnes[n] = e
				}
				o.Via, o.At, o.Alerts = one.Via, one.At, append(o.Alerts, one.Alerts...)
				batch = append(batch, e)
			}
			var err error
			for range 20 { // as senders do
				if err = j.Record(context.Background(), o); err == nil {
					break
				}
			}
			if err != nil {
				crash()
				mustEventually(t, j, o)
			}
			for _, e := range batch {
				if end {
					e.ended = true
				} else {
					e.begun = true
				}
			}
		}
	}
	w.onWrite = nil
	w.catchUp(j)
	if w.hub.gaps != 0 {
		t.Errorf("%d gaps", w.hub.gaps)
	}
	for _, e := range all {
		got := w.hub.history[episodeOf(e.n, e.starts)]
		if got == nil || got.begun != 1 || (got.ended == 1) != e.ended || got.ended > 1 {
			t.Errorf("alert %d from %d: %+v, want begun once, ended %t", e.n, e.starts, got, e.ended)
		}
		if w.hub.open[episodeOf(e.n, e.starts)] == e.ended {
			t.Errorf("alert %d from %d: open %t, ended %t", e.n, e.starts, !e.ended, e.ended)
		}
	}
	for episode, s := range w.hub.history {
		if s.begun != 1 || s.ended > 1 {
			t.Errorf("episode %s: %+v", episode, s)
		}
	}
}

func mustEventually(t *testing.T, j *Journal, o Observation) {
	t.Helper()
	for range 1000 {
		if j.Record(context.Background(), o) == nil {
			return
		}
	}
	t.Fatal("the journal never takes it")
}

func BenchmarkRecord(b *testing.B) {
	for _, backlog := range []int{0, 10_000} {
		b.Run(fmt.Sprint("backlog ", backlog), func(b *testing.B) {
			w := newWorld(b)
			j := w.open(nil)
			for n := range backlog / 2 {
				o := firing(n%200, int64(n)*1000)
				o.Alerts = append(o.Alerts, resolved(n%200, int64(n)*1000, int64(n)*1000+500).Alerts...)
				mustRecord(b, j, o)
			}
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				starts := int64(backlog+n) * 1000
				var o Observation
				if n%2 == 0 {
					o = resolved((n-1)%200, starts-1000, starts)
				} else {
					o = firing(n%200, starts)
				}
				mustRecord(b, j, o)
			}
			var cm corev1.ConfigMap
			if err := w.store.Get(context.Background(), client.ObjectKey{Namespace: "agent", Name: ConfigMapName}, &cm); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(cm.BinaryData[journalKey])), "head-bytes")
		})
	}
}
