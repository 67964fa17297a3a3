package loss

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/smo/simulator"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
	"github.com/o2ims/o2ims/test/redisserver"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(settingsVariable); text != "" {
		if err := replica(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	subscribers = 20
	flaky       = 3 // the first ones after the reference, which is number 0
	dead        = subscribers - 1
)

// TestNothingIsLost is the test that the package exists for. O2IMS_LOSS_SEED repeats what
// was printed; O2IMS_LOSS_CHANGES makes it longer.
func TestNothingIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute and a real Redis")
	}
	seed := fromEnvironment(t, "O2IMS_LOSS_SEED", uint64(time.Now().UnixNano()))
	changes := int(fromEnvironment(t, "O2IMS_LOSS_CHANGES", 1000))
	t.Logf("seed %d: O2IMS_LOSS_SEED=%d repeats it", seed, seed)
	random := rand.New(rand.NewPCG(seed, 1))
	limit := 60*time.Second + time.Duration(changes)*60*time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()

	server, err := redisserver.Start(ctx, redisserver.Options{Dir: t.TempDir()})
	if errors.Is(err, redisserver.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	world := newTruth()
	truthServer := httptest.NewServer(world)
	t.Cleanup(truthServer.Close)
	smos := startSubscribers(t, seed)
	db := subscribeAll(t, ctx, server.URL(), smos)

	reference := smos[0].simulator
	seen := newSeen(reference)
	c := &chaos{t: t, random: random, redis: server, settings: settings{Redis: server.URL(), Truth: truthServer.URL}}
	c.begin(ctx)
	began := time.Now()
	chaosCtx, peace := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.run(chaosCtx) })
	g := &generator{truth: world, random: rand.New(rand.NewPCG(seed, 2)), objects: 60, pause: 5 * time.Millisecond, seen: seen.has}
	err = g.run(ctx, changes)
	peace()
	wg.Wait()
	if err != nil {
		t.Fatalf("generator: %v\n%s", err, c.logs())
	}
	smos[dead].revive(t)
	ledger := settle(t, ctx, db, c)
	t.Logf("%d changes to %d subscribers in %.1f s; %s", changes, subscribers, time.Since(began).Seconds(), c.tally())
	conclude(t, smos, world.changes(), ledger, c)
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

// subscriber is one SMO.
type subscriber struct {
	name      string
	simulator *simulator.Simulator
	journal   string
	url       string
	address   string // where the dead one will listen when it comes back
	filter    string
	mine      func(Change) bool
}

func startSubscribers(t *testing.T, seed uint64) []*subscriber {
	t.Helper()
	dir := t.TempDir()
	var all []*subscriber
	for i := range subscribers {
		s := &subscriber{name: fmt.Sprintf("smo-%02d", i), journal: filepath.Join(dir, fmt.Sprintf("smo-%02d", i)), mine: func(Change) bool { return true }}
		o := simulator.Options{Listen: "127.0.0.1:0", Status: http.StatusNoContent, Journal: s.journal, Quiet: true, Seed: seed + uint64(i)}
		switch {
		case i >= 1 && i <= flaky:
			s.name += " (flaky)"
			o.FailRate, o.LostAckRate = 0.2, 0.1
		case i == flaky+1:
			s.name += " (resources only)"
			s.filter, s.mine = "(eq,objectType,ResourcePoolInfo)", func(c Change) bool { return c.Kind == "ResourceInfo" }
		case i == flaky+2:
			s.name += " (no deletions)"
			s.filter, s.mine = "(eq,notificationEventType,2)", func(c Change) bool { return c.Type != 2 }
		case i == dead:
			s.name += " (dead)"
		}
		var err error
		if s.simulator, err = simulator.New(o, io.Discard); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.simulator.Close() })
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.address = listener.Addr().String()
		s.url = fmt.Sprintf("http://%s/smo-%02d", s.address, i)
		if i == dead {
			listener.Close() // so that connections are refused
		} else {
			s.serve(t, listener)
		}
		all = append(all, s)
	}
	return all
}

func (s *subscriber) serve(t *testing.T, listener net.Listener) {
	server := &http.Server{Handler: s.simulator}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
}

func (s *subscriber) revive(t *testing.T) {
	t.Helper()
	if n := len(s.simulator.Entries()); n > 0 {
		t.Errorf("the dead subscriber got %d notifications", n)
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, listener)
}

func subscribeAll(t *testing.T, ctx context.Context, url string, smos []*subscriber) *store.Store {
	t.Helper()
	db, err := store.Open(store.Options{URL: url, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	for _, s := range smos {
		sub := store.Subscription{ID: uuid.New(), Service: "inventory", Version: "v2", Callback: s.url, Created: time.Now()}
		if s.filter != "" {
			sub.Filter = &s.filter
		}
		if err := db.CreateSubscription(ctx, sub, 100); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// seen knows which changes the reference subscriber has taken.
type seen struct {
	simulator *simulator.Simulator
	read      int
	at        time.Time
	numbers   map[[2]int]bool // prior and post number
}

func newSeen(s *simulator.Simulator) *seen {
	return &seen{simulator: s, numbers: make(map[[2]int]bool)}
}

func (s *seen) has(c Change) bool {
	number := c.Number
	if c.Type == 2 {
		number = 0
	}
	if key := [2]int{c.Prior, number}; s.numbers[key] || time.Since(s.at) < time.Millisecond {
		return s.numbers[key]
	}
	s.at = time.Now()
	entries := s.simulator.Entries()
	fresh, err := receivedOf(entries[s.read:])
	if err != nil {
		return false
	}
	s.read = len(entries)
	for _, r := range fresh {
		s.numbers[[2]int{r.prior, r.number}] = true
	}
	return s.numbers[[2]int{c.Prior, number}]
}

// settle waits until nothing is pending any more.
func settle(t *testing.T, ctx context.Context, db *store.Store, c *chaos) subscription.Ledger {
	t.Helper()
	admin := subscription.Admin{Store: db}
	for {
		ledger, err := admin.Ledger(ctx)
		if err == nil {
			if lost, late := ledger.Judge(); len(late) == 0 || len(lost) > 0 {
				return ledger
			}
		}
		if waitErr := wait(ctx, 50*time.Millisecond); waitErr != nil {
			lost, late := ledger.Judge()
			t.Fatalf("not everything was delivered: %v\nlost: %q\nlate: %q\n%s", err, lost, late, c.logs())
		}
	}
}

// conclude lets the checker judge every subscriber.
func conclude(t *testing.T, smos []*subscriber, changes []Change, ledger subscription.Ledger, c *chaos) {
	t.Helper()
	var all [][]received
	faults := 0
	duplicates, late, lostAcks := 0, 0, 0
	for _, s := range smos {
		entries, err := simulator.ReadJournal(s.journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Taken && e.Status == 0 {
				lostAcks++
			}
		}
		taken, err := receivedOf(entries)
		if err != nil {
			t.Fatal(err)
		}
		v := judge(s.name, taken, changes, s.mine)
		if len(all) > 0 {
			if err := sameOrder(taken, all[0]); err != nil {
				v.Faults = append(v.Faults, err.Error())
			}
		}
		all = append(all, taken)
		duplicates += v.Duplicates
		late += v.Late
		faults += len(v.Faults)
		t.Logf("%-26s %d of %d changes, %d duplicates, %d attempts", v.Subscriber, v.Got, v.Wanted, v.Duplicates, len(entries))
		if !lossInjected {
			for _, f := range v.Faults {
				t.Errorf("%s: %s", v.Subscriber, f)
			}
		}
	}
	allowed := lostAcks + c.interruptions()*subscribers
	t.Logf("%d duplicates, %d of them late; %d acknowledgements were lost by subscribers, %d interruptions", duplicates, late, lostAcks, c.interruptions())
	if duplicates > allowed {
		t.Errorf("%d duplicates, want at most %d", duplicates, allowed)
	}
	if most := c.counts["leader stopped"] * subscribers; late > most {
		t.Errorf("%d notifications came again late, want at most %d", late, most)
	}
	switch lost, late := ledger.Judge(); {
	case len(lost)+len(late) == 0:
	case lossInjected: // the ledger may notice what was dropped on purpose, too
		faults += len(lost)
		t.Logf("the ledger says lost %q, late %q", lost, late)
	default:
		t.Errorf("the ledger says lost %q, late %q", lost, late)
	}
	switch {
	case lossInjected && faults == 0:
		t.Error("this build drops an event on purpose, and the checker did not notice")
	case lossInjected:
		t.Logf("the checker noticed the event that was dropped on purpose: %d faults", faults)
	case t.Failed():
		t.Log(c.logs())
	}
}

// chaos kills and stops what the engine is made of.
type chaos struct {
	t        *testing.T
	random   *rand.Rand
	redis    *redisserver.Server
	settings settings

	leader, standby *process
	stopped         []*process // lead no more, and will find out when they may go on

	mu     sync.Mutex
	counts map[string]int
	log    lockedBuffer
}

// process is a replica.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{}
	led   bool
}

func (c *chaos) begin(ctx context.Context) {
	c.counts = make(map[string]int)
	c.leader, c.standby = c.start(ctx), c.start(ctx)
	c.promote(c.leader)
	c.t.Cleanup(func() {
		for _, p := range append(c.stopped, c.leader, c.standby) {
			p.kill()
		}
	})
}

func (c *chaos) start(ctx context.Context) *process {
	text, err := json.Marshal(c.settings)
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), settingsVariable+"="+string(text), "GOMAXPROCS=1")
	cmd.Stderr = &c.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it ends with its standard input
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		if ctx.Err() == nil {
			c.t.Errorf("replica: %v", err)
		}
		runtime.Goexit()
	}
	p := &process{cmd: cmd, in: in, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how is in ProcessState
		close(p.ended)
	}()
	return p
}

func (c *chaos) promote(p *process) {
	p.led = true
	_, _ = fmt.Fprintln(p.in, "lead") // one that is dead already is replaced soon
}

func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // gone already is what we want
	<-p.ended
}

// run does harm until ctx ends, then makes good.
func (c *chaos) run(ctx context.Context) {
	actions := []struct {
		name string
		do   func(context.Context)
	}{
		{"leader killed", c.killLeader},
		{"leader stopped", c.stopLeader},
		{"redis killed", c.killRedis},
		{"redis hung", c.hangRedis},
		{"both killed", func(ctx context.Context) { c.redis.Kill(); c.killLeader(ctx); c.restartRedis(ctx) }},
	}
	for wait(ctx, time.Duration(200+c.random.IntN(1300))*time.Millisecond) == nil {
		action := actions[c.random.IntN(len(actions))]
		c.count(action.name)
		action.do(context.WithoutCancel(ctx))
	}
	for _, p := range c.stopped {
		c.letGo(p)
	}
	c.stopped = nil
}

// killLeader kills the leader; the standby takes over at once, as after a Lease that was
// released, or a while later.
func (c *chaos) killLeader(ctx context.Context) {
	c.leader.kill()
	_ = wait(ctx, time.Duration(c.random.IntN(300))*time.Millisecond) // never ends early
	c.takeOver(ctx)
}

// leaseDuration is how long a leader must have been silent before another takes over. In
// production it is 15 s.
const leaseDuration = 1200 * time.Millisecond

// stopLeader makes the leader hang so long that another takes over, and lets it go on:
// it must find out and write nothing.
func (c *chaos) stopLeader(ctx context.Context) {
	old := c.leader
	_ = old.cmd.Process.Signal(syscall.SIGSTOP)
	_ = wait(ctx, leaseDuration) // never ends early
	c.takeOver(ctx)
	if c.random.IntN(2) == 0 {
		c.letGo(old)
		return
	}
	c.stopped = append(c.stopped, old)
}

// letGo lets a stopped leader go on. It has to end by itself.
func (c *chaos) letGo(p *process) {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-p.ended:
		if status := p.cmd.ProcessState.ExitCode(); status != fencedStatus {
			c.t.Errorf("a leader that another took over from ended with %d", status)
		}
	case <-time.After(time.Minute):
		c.t.Errorf("a leader that another took over from goes on")
		p.kill()
	}
}

func (c *chaos) takeOver(ctx context.Context) {
	c.leader = c.standby
	c.promote(c.leader)
	c.standby = c.start(ctx)
}

func (c *chaos) killRedis(ctx context.Context) {
	c.redis.Kill()
	c.restartRedis(ctx)
}

func (c *chaos) restartRedis(ctx context.Context) {
	_ = wait(ctx, time.Duration(c.random.IntN(700))*time.Millisecond) // never ends early
	if err := c.redis.Restart(ctx); err != nil {
		c.t.Errorf("redis: %v", err)
	}
}

func (c *chaos) hangRedis(ctx context.Context) {
	_ = c.redis.Signal(syscall.SIGSTOP)
	_ = wait(ctx, time.Duration(c.random.IntN(1800))*time.Millisecond) // never ends early
	_ = c.redis.Signal(syscall.SIGCONT)
}

func (c *chaos) count(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[name]++
}

func (c *chaos) interruptions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.counts {
		n += k
	}
	return n
}

func (c *chaos) tally() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Trim(fmt.Sprint(c.counts), "map[]")
}

// logs returns the end of what the replicas said.
func (c *chaos) logs() string { return "replicas said:\n" + c.log.tail(60) }

// lockedBuffer is written to by several processes.
type lockedBuffer struct {
	mu    sync.Mutex
	lines []string
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	scanner := bufio.NewScanner(strings.NewReader(string(p)))
	for scanner.Scan() {
		b.lines = append(b.lines, scanner.Text())
	}
	if len(b.lines) > 1000 {
		b.lines = b.lines[len(b.lines)-500:]
	}
	return len(p), nil
}

func (b *lockedBuffer) tail(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines[max(0, len(b.lines)-n):], "\n")
}
