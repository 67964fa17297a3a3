package alarms

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/smo/simulator"
	"github.com/o2ims/o2ims/pkg/store"
)

// TestNothingIsLost is the test that the package exists for. O2IMS_LOSS_SEED repeats what
// was printed, as far as processes let themselves be repeated; O2IMS_LOSS_CHANGES makes it
// longer.
func TestNothingIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute and a real apiserver, etcd and Redis")
	}
	seed := fromEnvironment(t, "O2IMS_LOSS_SEED", uint64(time.Now().UnixNano()))
	transitions := int(fromEnvironment(t, "O2IMS_LOSS_CHANGES", 1200))
	t.Logf("seed %d: O2IMS_LOSS_SEED=%d repeats it", seed, seed)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute+time.Duration(transitions)*60*time.Millisecond)
	defer cancel()

	w := newWorld(ctx, t, impatient())
	w.smos = startSubscribers(t, seed)
	w.begin(ctx)

	g := newGenerator(seed, w.spokes, transitions)
	c := &chaos{w: w, random: rand.New(rand.NewPCG(seed, 1)), long: transitions > 5000, counts: make(map[string]int)}
	began := time.Now()
	chaosCtx, peace := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { c.run(chaosCtx) })
	group.Go(func() { w.joinLate(chaosCtx, g, transitions) })
	err := g.run(ctx)
	peace()
	group.Wait()
	sent := time.Since(began)
	if err != nil {
		t.Fatalf("generator: %v\n%s", err, w.logs(40))
	}
	if err := w.smos[dead].up(); err != nil {
		t.Fatal(err)
	}
	w.settle(ctx)
	t.Logf("%d transitions of %d managed clusters in %.1f s, settled after %.1f s; intakes acknowledged %d messages and refused %d; %s",
		len(g.acts()), clusters, sent.Seconds(), time.Since(began).Seconds(), g.taken, g.refused, c.tally())
	w.conclude(ctx, g, c)
}

func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, text, err)
	}
	return n
}

// startPatience is how long a busy machine may take to start everything.
const startPatience = time.Minute

// begin subscribes everybody but the late comer, and waits until alerts are taken.
func (w *world) begin(ctx context.Context) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for i, s := range w.smos {
		if i == lateComer {
			continue
		}
		if err := w.subscribe(ctx, s); err != nil {
			w.t.Fatalf("subscription of %s: %v\n%s", s.name, err, w.logs(40))
		}
	}
	if err := w.ready(ctx); err != nil {
		w.t.Fatalf("%v\n%s", err, w.logs(40))
	}
}

// joinLate subscribes the late comer when a third has been sent.
func (w *world) joinLate(ctx context.Context, g *generator, transitions int) {
	for g.left.Load() > int64(transitions*2/3) {
		if wait(ctx, 10*time.Millisecond) != nil {
			return
		}
	}
	if err := w.subscribe(context.WithoutCancel(ctx), w.smos[lateComer]); err != nil {
		w.t.Errorf("subscription of %s: %v", w.smos[lateComer].name, err)
	}
}

// settle waits until nothing is on its way any more.
func (w *world) settle(ctx context.Context) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		why := w.unsettled(ctx)
		if why == "" {
			return
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			w.t.Errorf("not everything arrived: %s\n%s", why, w.logs(60))
			return // the checker says what that means
		}
	}
}

func (w *world) unsettled(ctx context.Context) string {
	records, err := w.history(ctx)
	if err != nil {
		return err.Error()
	}
	arrived := 0
	for i := range records {
		if records[i].Extensions.Labels["alert"] == sentinel {
			arrived++
		}
	}
	if arrived < clusters {
		return fmt.Sprintf("the last alert of %d of %d managed clusters is in the history", arrived, clusters)
	}
	why, err := w.unanswered(ctx)
	if err != nil {
		return err.Error()
	}
	if why != "" {
		return "a journal is not confirmed: " + why
	}
	ledger, err := w.ledger(ctx)
	if err != nil {
		return err.Error()
	}
	if lost, late := ledger.Judge(); len(lost)+len(late) > 0 {
		return fmt.Sprintf("the ledger says lost %q, late %q", lost, late)
	}
	return ""
}

// conclude lets the checker judge.
func (w *world) conclude(ctx context.Context, g *generator, c *chaos) {
	t := w.t
	t.Helper()
	acts := g.acts()
	var v verdict
	records, err := w.history(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v.add(judgeHistory(records, expect(acts, time.Time{})))
	inHistory := len(v.faults) + len(v.missing)
	acked := 0
	for _, a := range acts {
		if a.Acked {
			acked++
		}
	}
	t.Logf("%d of %d transitions were acknowledged; %d records in the history", acked, len(acts), len(records))

	duplicates, late, lostAcks := 0, 0, 0
	var reference []told
	for i, s := range w.smos {
		entries, err := simulator.ReadJournal(s.journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Taken && e.Status == 0 {
				lostAcks++
			}
		}
		taken, err := toldOf(entries)
		if err != nil {
			t.Fatal(err)
		}
		list, again, lateOnes := once(taken)
		if i == plain {
			reference = list
		}
		since := time.Time{}
		if s.wishes.partial {
			since = s.since
		}
		v.add(judgeTold(s.name, list, expect(acts, since), s.wishes))
		if err := sameOrder(list, reference); err != nil {
			v.fault("%s: %v", s.name, err)
		}
		duplicates, late = duplicates+again, late+lateOnes
		t.Logf("%-20s %d notifications, %d duplicates, %d attempts", s.name, len(list), again, len(entries))
	}
	compacted := w.judgeStore(ctx, &v)
	w.judgeDuplicates(&v, c, duplicates, late, lostAcks)
	v.faults = append(append(v.faults, g.odd...), c.faults...)
	if ledger, err := w.ledger(ctx); err != nil {
		t.Error(err)
	} else if lost, late := ledger.Judge(); len(lost)+len(late) > 0 {
		v.fault("the ledger says lost %q, late %q", lost, late)
	}
	if uint64(len(v.missing)) > compacted {
		v.faults = append(v.faults, v.missing...)
	}
	if lossInjected {
		v.proveInjected(t, inHistory)
		return
	}
	for _, f := range v.faults[:min(len(v.faults), mostFaults)] {
		t.Error(f)
	}
	if len(v.faults) > 0 {
		t.Logf("%d faults. %s", len(v.faults), w.logs(60))
	}
}

// proveInjected is the test of a build that loses transitions on their way into the
// history, and an event on its way to the subscribers.
func (v *verdict) proveInjected(t testing.TB, inHistory int) {
	t.Helper()
	if elsewhere := len(v.faults) - inHistory; inHistory == 0 || elsewhere == 0 {
		t.Errorf("this build drops transitions and an event on purpose, and the checker noticed %d faults in the history and %d elsewhere: want some of each", inHistory, elsewhere)
	} else {
		t.Logf("the checker noticed what was dropped on purpose: %d faults in the history and %d elsewhere, the first of them: %s", inHistory, elsewhere, v.faults[0])
	}
}

func (v *verdict) add(o verdict) {
	v.faults, v.missing = append(v.faults, o.faults...), append(v.missing, o.missing...)
}

// judgeStore looks for gaps that the hub knows of, and returns how many transitions
// compactions have merged.
func (w *world) judgeStore(ctx context.Context, v *verdict) (compacted uint64) {
	w.t.Helper()
	db, err := store.Open(store.Options{URL: w.redis.URL(), Timeout: 5 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	journals, err := db.AlarmJournals(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	applied := uint64(0)
	for cluster, j := range journals {
		if j.Gaps > 0 || j.Lost > 0 {
			v.fault("the hub knows of %d gaps in the journal of %s, with %d transitions", j.Gaps, cluster, j.Lost)
		}
		if j.PriorEpoch != "" {
			v.fault("the journal of %s began anew, and nobody deleted it", cluster)
		}
		applied += j.Applied
		compacted += j.Compacted
	}
	w.t.Logf("the agents' journals had %d transitions, of which %d were compacted", applied, compacted)
	return compacted
}

func (w *world) judgeDuplicates(v *verdict, c *chaos, duplicates, late, lostAcks int) {
	restarts := 0
	for _, m := range w.replicas {
		restarts += m.endedAlone()
	}
	allowed := lostAcks + (c.interruptions()+restarts)*subscribers
	w.t.Logf("%d duplicates, %d of them late; %d acknowledgements were lost by subscribers, %d interruptions, %d managers that ended by themselves",
		duplicates, late, lostAcks, c.interruptions(), restarts)
	if duplicates > allowed {
		v.fault("%d duplicates, want at most %d", duplicates, allowed)
	}
	if most := (c.counts["manager frozen"] + restarts) * subscribers; late > most {
		v.fault("%d notifications came again late, want at most %d", late, most)
	}
}
