package alarms

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// kind says what an act tells of an episode.
type kind int

const (
	fire    kind = iota // it began
	change              // its annotations are others
	resolve             // it ended
)

// act is one line of the generator's journal: a transition that was sent.
type act struct {
	Cluster, Alert string
	Kind           kind
	Starts         time.Time // of the episode: with cluster and alert, it identifies it
	Ends           time.Time // of a resolve
	Revision       int       // that the annotations tell
	Begun          time.Time // when it was sent first
	Acked          bool      // an intake answered 200
}

// spoke is a managed cluster as senders of alerts see it.
type spoke struct {
	name  string // of the cluster
	token string

	mu    sync.Mutex
	doors []string // URLs of agents that may be there
}

func (s *spoke) openDoor(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doors = append(s.doors, url)
}

// closeFirstDoor is for when who was behind it is gone for good.
func (s *spoke) closeFirstDoor() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doors = s.doors[1:]
}

// inTransition tells whether two agents are there.
func (s *spoke) inTransition() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.doors) > 1
}

func (s *spoke) door(random *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doors[random.IntN(len(s.doors))]
}

// alert is one alert of a managed cluster, and what its sender knows of it.
type alert struct {
	spoke    *spoke
	name     string
	severity string
	revises  bool // its annotations change; then its sender gives up no resolve

	open         bool
	starts, ends time.Time // of the episode that is open, or was
	revision     int
	before       *alert // the episode before, as it ended; nil: none, or nobody heard of its end
	doubtful     bool   // the resolve of the episode before was given up
}

// generator sends alerts as Alertmanagers and Prometheuses do: again and again until an
// intake takes them, twice, through both doors, and late.
type generator struct {
	seed   uint64
	spokes []*spoke
	alerts int           // of each managed cluster
	pause  time.Duration // of a worker between two messages, on average
	left   atomic.Int64  // transitions to send
	client *http.Client

	mu      sync.Mutex
	journal []*act
	odd     []string // answers that no intake should give
	refused int      // messages that were not acknowledged
	taken   int      // that were
}

func newGenerator(seed uint64, spokes []*spoke, transitions int) *generator {
	g := &generator{seed: seed, spokes: spokes, alerts: 24, pause: 120 * time.Millisecond, client: &http.Client{
		Timeout: time.Minute, // longer than an intake takes to make up its mind
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // who answers is not the question here
			MaxIdleConnsPerHost: 16,
		},
	}}
	g.left.Store(int64(transitions))
	return g
}

const workers = 4 // for each managed cluster

// run sends until all has been sent, then ends most episodes, and at last has one alert
// fire on every managed cluster by whose arrival one sees that all before has arrived.
func (g *generator) run(ctx context.Context) error {
	var group sync.WaitGroup
	failed := make(chan error, len(g.spokes)*workers)
	for i, s := range g.spokes {
		var all sync.WaitGroup
		for w := range workers {
			random := rand.New(rand.NewPCG(g.seed, uint64(100+i*workers+w)))
			own := g.alertsOf(s, w)
			all.Go(func() {
				if err := g.work(ctx, random, own); err != nil {
					failed <- fmt.Errorf("alerts of %s: %w", s.name, err)
				}
			})
		}
		group.Go(func() {
			all.Wait()
			last := &alert{spoke: s, name: sentinel, severity: "info"}
			g.begin(last)
			random := rand.New(rand.NewPCG(g.seed, uint64(i)))
			if err := g.tell(ctx, random, []*alert{last}, []*act{g.note(last, fire)}, false); err != nil {
				failed <- err
			}
		})
	}
	group.Wait()
	close(failed)
	return <-failed
}

const sentinel = "sentinel"

func (g *generator) alertsOf(s *spoke, worker int) []*alert {
	var own []*alert
	severities := []string{"critical", "major", "minor", "warning"}
	for i := worker; i < g.alerts; i += workers {
		own = append(own, &alert{
			spoke: s, name: fmt.Sprintf("alert-%02d", i), severity: severities[i%len(severities)], revises: i%3 == 0,
		})
	}
	return own
}

// work is one sender with alerts of its own.
func (g *generator) work(ctx context.Context, random *rand.Rand, own []*alert) error {
	for {
		if err := wait(ctx, time.Duration(random.ExpFloat64()*float64(g.pause))); err != nil {
			return err
		}
		batch := pick(random, own)
		if g.left.Add(-int64(len(batch))) < 0 {
			break
		}
		var acts []*act
		mayGiveUp := true
		for _, a := range batch {
			if one := g.next(random, a); one != nil {
				acts = append(acts, one)
				mayGiveUp = mayGiveUp && (one.Kind != resolve || !a.revises && !a.doubtful)
			}
		}
		if err := g.tell(ctx, random, batch, acts, mayGiveUp); err != nil {
			return err
		}
		g.tellLate(ctx, random, batch[0])
	}
	for i, a := range own {
		var acts []*act
		switch {
		case a.open && i%5 == 0 && !a.doubtful: // goes on to the end
			acts = []*act{g.note(a, fire)}
		case a.open:
			acts = []*act{g.finish(a)}
		case a.doubtful: // nobody may have heard that it is over
			acts = []*act{g.note(a, resolve)}
		default:
			continue
		}
		if err := g.tell(ctx, random, []*alert{a}, acts, false); err != nil {
			return err
		}
	}
	return nil
}

// pick chooses the alerts of one message: one, or some of a small storm.
func pick(random *rand.Rand, own []*alert) []*alert {
	n := 1
	if random.IntN(5) == 0 {
		n = 2 + random.IntN(len(own)-1)
	}
	var batch []*alert
	for _, i := range random.Perm(len(own))[:n] {
		batch = append(batch, own[i])
	}
	return batch
}

// next decides what happens to an alert; nil: it is only told again.
func (g *generator) next(random *rand.Rand, a *alert) *act {
	switch chance := random.IntN(10); {
	case !a.open:
		g.begin(a)
		return g.note(a, fire)
	case chance < 6:
		return g.finish(a)
	case chance < 9 && a.revises:
		a.revision++
		return g.note(a, change)
	}
	return nil
}

// begin opens an episode that begins after the one before has ended, not at a full second:
// for times without fractions, episodes within a second are the same.
func (g *generator) begin(a *alert) {
	a.before = nil
	if !a.doubtful && !a.starts.IsZero() {
		was := *a
		a.before = &was
	}
	starts := later(a.ends)
	for starts.UnixMilli()%1000 == 0 {
		starts = later(starts)
	}
	a.open, a.starts, a.ends = true, starts, time.Time{}
	if a.revises {
		a.revision++
	}
}

func (g *generator) finish(a *alert) *act {
	a.open, a.ends = false, later(a.starts)
	return g.note(a, resolve)
}

// later is now, in milliseconds, and in any case after t.
func later(t time.Time) time.Time {
	for {
		now := time.Now().UTC().Truncate(time.Millisecond)
		if now.After(t) {
			return now
		}
		time.Sleep(time.Until(t) + time.Millisecond) // clocks do not wait for conditions
	}
}

func (g *generator) note(a *alert, k kind) *act {
	one := &act{Cluster: a.spoke.name, Alert: a.name, Kind: k, Starts: a.starts, Revision: a.revision, Begun: time.Now()}
	if k == resolve {
		one.Ends = a.ends
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.journal = append(g.journal, one)
	return one
}

// tell sends a message until an intake takes it, or gives up after a failure.
func (g *generator) tell(ctx context.Context, random *rand.Rand, batch []*alert, acts []*act, mayGiveUp bool) error {
	for {
		taken := false
		switch random.IntN(4) {
		case 0:
			taken = g.send(ctx, random, pushPath, push(batch))
		case 1: // both; what one of them takes is taken
			taken = g.send(ctx, random, webhookPath, webhook(batch))
			taken = g.send(ctx, random, pushPath, push(batch)) || taken
		default:
			taken = g.send(ctx, random, webhookPath, webhook(batch))
		}
		if taken {
			g.settle(batch, acts, true)
			return nil
		}
		if mayGiveUp && random.IntN(8) == 0 {
			g.settle(batch, acts, false)
			return nil
		}
		if err := wait(ctx, time.Duration(20+random.IntN(200))*time.Millisecond); err != nil {
			return err
		}
	}
}

func (g *generator) settle(batch []*alert, acts []*act, acked bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range acts {
		one.Acked = acked
		for _, a := range batch {
			if a.name == one.Alert && one.Kind == resolve {
				a.doubtful = !acked
			}
		}
	}
}

// tellLate repeats what is over, as senders do for a while. Nothing may come of it.
func (g *generator) tellLate(ctx context.Context, random *rand.Rand, a *alert) {
	if a.doubtful || random.IntN(8) != 0 {
		return
	}
	switch {
	case !a.open: // that it fires, which somebody was about to say when it ended
		was := *a
		was.open = true
		g.send(ctx, random, pushPath, push([]*alert{&was}))
	case a.before != nil: // that the episode before has ended
		g.send(ctx, random, webhookPath, webhook([]*alert{a.before}))
	}
}

// Paths of the intakes.
const (
	webhookPath = "/alerts/v1/webhook"
	pushPath    = "/api/v2/alerts"
)

// send posts a message and tells whether it was acknowledged.
func (g *generator) send(ctx context.Context, random *rand.Rand, path string, m message) bool {
	s, body := m.to, m.body
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.door(random)+path, bytes.NewReader(body))
	if err != nil {
		panic(err) // of parts that are fixed
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Content-Type", "application/json")
	status := 0
	answer, err := g.client.Do(request)
	if err == nil {
		status = answer.StatusCode
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch status {
	case http.StatusOK:
		g.taken++
		return true
	case 0, http.StatusServiceUnavailable:
	default:
		g.odd = append(g.odd, fmt.Sprintf("%s %s answered %d", s.name, path, status))
	}
	g.refused++
	return false
}

// wireAlert is an alert as Alertmanager and Prometheus send it.
type wireAlert struct {
	Status       string            `json:"status,omitempty"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

func (a *alert) wire() wireAlert {
	return wireAlert{
		Labels:       map[string]string{"alertname": "Loss", "alert": a.name, "severity": a.severity, "node": "node-1"},
		Annotations:  map[string]string{"revision": strconv.Itoa(a.revision), "summary": "Something is not as it should be."},
		StartsAt:     a.starts,
		GeneratorURL: "https://prometheus.example.net/graph?g0.expr=up",
	}
}

// webhook is a notification of Alertmanager's.
func webhook(batch []*alert) message {
	var alerts []wireAlert
	for _, a := range batch {
		w := a.wire()
		if w.Status = "firing"; !a.open {
			w.Status, w.EndsAt = "resolved", a.ends
		}
		alerts = append(alerts, w)
	}
	return newMessage(batch, map[string]any{"version": "4", "receiver": "o2ims", "groupKey": "{}", "alerts": alerts})
}

// push is what Prometheus posts.
func push(batch []*alert) message {
	var alerts []wireAlert
	for _, a := range batch {
		w := a.wire()
		if w.EndsAt = time.Now().UTC().Add(4 * time.Minute); !a.open {
			w.EndsAt = a.ends
		}
		alerts = append(alerts, w)
	}
	return newMessage(batch, alerts)
}

// message is a body on its way to the agent of a managed cluster.
type message struct {
	to   *spoke
	body []byte
}

func newMessage(batch []*alert, body any) message {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // of texts and times
	}
	return message{batch[0].spoke, text}
}

// acts returns a copy of the journal.
func (g *generator) acts() []act {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]act, len(g.journal))
	for i, a := range g.journal {
		all[i] = *a
	}
	return all
}
