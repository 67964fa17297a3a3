package alarms

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// TestTakesAlertsWithoutHub starts an agent while the hub cannot be reached. Its journal is
// on its own cluster, so alerts must be taken all the same, and arrive when the hub is back.
func TestTakesAlertsWithoutHub(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real apiserver")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w := newWorld(ctx, t, impatient())
	if err := w.ready(ctx); err != nil {
		t.Fatalf("%v\n%s", err, w.logs(40))
	}
	g := newGenerator(1, w.spokes, 0)
	random := rand.New(rand.NewPCG(1, 1))
	for _, link := range []struct {
		is   string
		fail func()
	}{{"there", w.agentsToHub.heal}, {"cut", w.agentsToHub.sever}, {"hung", w.agentsToHub.hang}} {
		link.fail()
		w.agent(0).kill()
		began := time.Now()
		patience, done := context.WithTimeout(ctx, 40*time.Second)
		a := &alert{spoke: w.spokes[0], name: "while it is " + link.is, severity: "major"}
		g.begin(a)
		err := g.tell(patience, random, []*alert{a}, []*act{g.note(a, fire)}, false)
		done()
		if err != nil {
			t.Fatalf("the link to the hub is %s: %v\n%s", link.is, err, w.agent(0).log.last(20))
		}
		t.Logf("the link to the hub is %s: an alert is taken %.1f s after the agent was killed", link.is, time.Since(began).Seconds())
		w.agentsToHub.heal()
	}
	for {
		records, err := w.history(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 3 {
			return
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			t.Fatalf("%d of 3 alerts arrived\n%s", len(records), w.logs(20))
		}
	}
}
