package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

// Figures of the journal.
const (
	// TailLength is how many transitions are kept after the hub has confirmed them: a hub
	// that lost its store is told them again.
	TailLength = 1000

	// maxHeadBytes is how large the head becomes before its log moves to a chunk. Every
	// Record writes the head.
	maxHeadBytes = 64_000

	// maxHeadEntries is the same in transitions: many of one alert take little room, but
	// time.
	maxHeadEntries = 512

	// maxChunkEntries is how many transitions a chunk has to which more are added.
	maxChunkEntries = 8192

	// DefaultBudget is how many bytes of log the journal keeps, compressed.
	DefaultBudget = 3 * maxChunkBytes

	// maxPending is how many observations wait for their turn.
	maxPending = 1024
)

// JournalOptions say where a journal is and whom it serves.
type JournalOptions struct {
	Client    client.Client // of the managed cluster; must not cache
	Namespace string        // of the ConfigMaps
	Cluster   string        // name of the managed cluster
	Clock     clock.PassiveClock
	Budget    int // bytes of log; 0: DefaultBudget

	// LastReport returns the conditions of the add-on on the hub, and an error wrapping
	// fault.NotFound when there is no add-on. They tell the rest when the ConfigMaps are
	// lost.
	LastReport func(ctx context.Context) ([]metav1.Condition, error)

	// Changed is called after the journal has something new to report. It must not block.
	Changed func()

	// Lost is called once when somebody else writes the journal: the process must end. It
	// must not block.
	Lost func(error)
}

// Journal keeps every transition until the hub has it. Record returns after they are
// written; observations that come during a write go together with the next. Make it with
// OpenJournal. It is safe for concurrent use.
type Journal struct {
	options JournalOptions
	writer  string

	queue struct {
		sync.Mutex
		pending []*request
		writing bool
		closed  bool
		idle    sync.Cond // writing became false
	}

	mu    sync.Mutex // held during writes: nobody sees what is not written
	disk  *disk
	state state
	lost  error // why nothing can be written any more

	compactAgain int // bytes of log below which compaction is not tried again
}

// request is an observation that waits.
type request struct {
	observation Observation
	done        chan error
}

// state is what the journal knows.
type state struct {
	epoch     string
	store     string // of the hub
	end       uint64 // newest sequence
	acked     uint64 // the hub has all up to here
	published uint64 // the hub may have seen all up to here
	compacted uint64
	dropped   map[string]uint64
	writes    uint64

	log    []*entry   // ascending; what was confirmed last, then what was not
	chunks []chunkRef // these hold the first transitions of the log
	book   *Book

	bookChunks []chunkRef
	bookEnd    uint64 // these hold the book up to here; 0: the head holds it

	staged staged
}

// staged is how to go back to what is written.
type staged struct {
	log                 []*entry
	chunks, bookChunks  []chunkRef
	end, acked, bookEnd uint64
	compacted           uint64
	store               string
	dropped             map[string]uint64
	doubt               bool // it is not known whether what is staged is written
}

// Record implements Recorder.
func (j *Journal) Record(ctx context.Context, o Observation) error {
	r := &request{observation: o, done: make(chan error, 1)}
	if err := j.enqueue(r); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("alert journal: %w: %w", fault.Unavailable, ctx.Err())
	}
}

func (j *Journal) enqueue(r *request) error {
	q := &j.queue
	q.Lock()
	defer q.Unlock()
	switch {
	case q.closed:
		return fmt.Errorf("alert journal: it is closed: %w", fault.Unavailable)
	case len(q.pending) >= maxPending:
		return fmt.Errorf("alert journal: %d observations wait already: %w", len(q.pending), fault.Unavailable)
	}
	q.pending = append(q.pending, r)
	if !q.writing {
		q.writing = true
		go j.drain()
	}
	return nil
}

// drain writes until nobody waits. The first to come does not wait for others.
func (j *Journal) drain() {
	q := &j.queue
	for {
		q.Lock()
		batch := q.pending
		q.pending = nil
		if len(batch) == 0 {
			q.writing = false
			q.idle.Broadcast()
			q.Unlock()
			return
		}
		q.Unlock()
		err := j.commit(context.Background(), batch)
		for _, r := range batch {
			r.done <- err
		}
	}
}

// Close waits for what is being written. Record refuses from then on.
func (j *Journal) Close() {
	q := &j.queue
	q.Lock()
	defer q.Unlock()
	q.closed = true
	for q.writing {
		q.idle.Wait()
	}
}

// commit notes what a batch says and writes it.
func (j *Journal) commit(ctx context.Context, batch []*request) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return err
	}
	s := &j.state
	s.stage()
	changed := false
	for _, r := range batch {
		entries, dropped := s.book.Observe(r.observation, s.end)
		for reason, n := range dropped {
			s.dropped[reason] += n
		}
		for _, e := range entries {
			s.log = append(s.log, e)
			s.end = e.Seq
			changed = true
		}
	}
	if !changed {
		s.commit()
		return nil
	}
	if err := j.write(ctx); err != nil {
		return err
	}
	if j.options.Changed != nil {
		j.options.Changed()
	}
	return nil
}

// usable settles a write that ended in doubt.
func (j *Journal) usable(ctx context.Context) error {
	if j.lost != nil {
		return j.lost
	}
	if !j.state.staged.doubt {
		return nil
	}
	taken, err := j.disk.resolve(ctx)
	if err != nil {
		return j.failed(err)
	}
	if taken {
		j.state.commit()
	} else {
		j.state.rollback()
	}
	return nil
}

// failed turns the error of a write into what Record returns.
func (j *Journal) failed(err error) error {
	if errors.Is(err, fault.Conflict) && j.lost == nil {
		j.lost = fmt.Errorf("alert journal: %w: %w", fault.Unavailable, err)
		if j.options.Lost != nil {
			j.options.Lost(j.lost)
		}
	}
	return fmt.Errorf("alert journal: %w: %w", fault.Unavailable, err)
}

// write makes what is staged durable, or takes it back.
func (j *Journal) write(ctx context.Context) error {
	err := j.persist(ctx)
	switch {
	case err == nil:
		j.state.commit()
		return nil
	case errors.Is(err, errDoubt):
		j.state.staged.doubt = true
	default:
		j.state.rollback()
	}
	return j.failed(err)
}

func (s *state) stage() {
	s.staged = staged{
		log: s.log, chunks: s.chunks, bookChunks: s.bookChunks, end: s.end, acked: s.acked, bookEnd: s.bookEnd,
		compacted: s.compacted, store: s.store, dropped: maps.Clone(s.dropped),
	}
}

func (s *state) commit() {
	s.book.commit()
	s.staged = staged{}
}

func (s *state) rollback() {
	s.book.rollback()
	was := s.staged
	s.log, s.chunks, s.bookChunks = was.log, was.chunks, was.bookChunks
	s.end, s.acked, s.bookEnd = was.end, was.acked, was.bookEnd
	s.compacted, s.store, s.dropped = was.compacted, was.store, was.dropped
	s.staged = staged{}
}

// Open implements Recorder.
func (j *Journal) Open() []Open {
	j.mu.Lock()
	defer j.mu.Unlock()
	open := make([]Open, 0, len(j.state.book.open))
	for fp, e := range j.state.book.open {
		open = append(open, Open{
			Fingerprint: fp, Labels: e.text.Labels, Starts: timeOf(e.Starts), Seen: timeOf(e.seen), Via: e.via,
		})
	}
	return open
}

// maxReasons is how many reasons are counted apart.
const maxReasons = 32

// Dropped counts alerts that an intake could not take. The figure is written along with the
// next transition.
func (j *Journal) Dropped(reason string, n uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, known := j.state.dropped[reason]; !known && len(j.state.dropped) >= maxReasons {
		reason = "Other"
	}
	j.state.dropped[reason] += n
}

// Epoch names this journal. It changes only when all that is known of it got lost.
func (j *Journal) Epoch() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.epoch
}

// State is the journal in figures.
type State struct {
	Epoch            string
	End, Acked       uint64
	Open             int
	First            uint64 // first sequence that is not confirmed; 0: all are
	Compacted        uint64
	Dropped          uint64
	Chunks, LogBytes int
}

// State returns the figures. An error wraps fault.Unavailable.
func (j *Journal) State(ctx context.Context) (State, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return State{}, err
	}
	s := &j.state
	st := State{Epoch: s.epoch, End: s.end, Acked: s.acked, Open: len(s.book.open), Compacted: s.compacted, Chunks: len(s.chunks)}
	for _, n := range s.dropped {
		st.Dropped += n
	}
	for _, c := range s.chunks {
		st.LogBytes += c.Bytes
	}
	if fresh := s.fresh(); len(fresh) > 0 {
		st.First = fresh[0].First()
	}
	return st, nil
}

// fresh are the transitions that the hub has not confirmed.
func (s *state) fresh() []*entry { return s.after(s.acked) }

// after are the transitions that end after a sequence.
func (s *state) after(seq uint64) []*entry {
	i, _ := slices.BinarySearchFunc(s.log, seq+1, func(e *entry, seq uint64) int {
		if e.Seq < seq {
			return -1
		}
		return 1
	})
	return s.log[i:]
}

// Report is what there is to report now. An error wraps fault.Unavailable.
func (j *Journal) Report(ctx context.Context) (report.Journal, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return report.Journal{}, err
	}
	s := &j.state
	t := textTable{}
	out := report.Journal{End: s.end, Alerts: report.Alerts{
		Cluster: j.options.Cluster, Compacted: s.compacted, Dropped: maps.Clone(s.dropped),
	}}
	fresh := s.fresh()
	fresh = fresh[:min(len(fresh), report.MaxWindow)]
	for _, e := range fresh {
		tr := e.Transition
		tr.Text = t.place(e.text)
		out.Alerts.Transitions = append(out.Alerts.Transitions, tr)
	}
	for _, e := range s.book.episodes() {
		out.Alerts.Active.Alerts = append(out.Alerts.Active.Alerts, report.OpenAlert{
			Opened: e.opened, Suppress: e.suppressed, Text: t.place(e.text), Episode: e.Episode,
		})
	}
	for _, text := range t.texts {
		out.Alerts.Texts = append(out.Alerts.Texts, *text)
	}
	return out, nil
}

// Published notes that the hub may have seen all transitions up to seq: they are not
// compacted any more.
func (j *Journal) Published(epoch string, seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := &j.state; s.epoch == epoch {
		s.published = max(s.published, min(seq, s.end))
	}
}

// Acknowledge notes what the hub says it has. That may be less than before: then the hub
// has another store, and what is left is reported again.
//
// What was acknowledged is written along with the next transition: to report one again does
// no harm.
func (j *Journal) Acknowledge(ctx context.Context, a report.AlertsIngested) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &j.state
	if a.Epoch != s.epoch || a.Seq == s.acked && a.Store == s.store {
		return nil
	}
	if err := j.usable(ctx); err != nil {
		return err
	}
	if a.Seq > s.end {
		s.stage()
		s.renumber(a.Seq)
		slog.WarnContext(ctx, "the hub has seen more of the alert journal than there is: it goes on after that", "seq", a.Seq)
		s.store, s.acked = a.Store, a.Seq
		return j.write(ctx)
	}
	if a.Seq < s.acked {
		slog.WarnContext(ctx, "the hub has lost alerts, they are reported again",
			"store", a.Store, "lastStore", s.store, "seq", a.Seq, "acknowledged", s.acked)
	}
	s.store, s.acked = a.Store, a.Seq
	s.stage()
	if chunks := len(s.chunks); s.trim() && len(s.chunks) < chunks {
		return j.write(ctx)
	}
	s.commit()
	return nil
}

// trim forgets what the hub has, but for the tail. Chunks go when nothing in them is kept.
func (s *state) trim() (changed bool) {
	excess := s.excess()
	for len(s.chunks) > 0 && excess >= s.chunks[0].Count {
		excess -= s.chunks[0].Count
		s.log = s.log[s.chunks[0].Count:]
		s.chunks = s.chunks[1:]
		changed = true
	}
	n := 0 // of those in the head, which the book may still need
	for len(s.chunks) == 0 && n < excess && (s.bookEnd == 0 || s.log[n].Seq <= s.bookEnd) {
		n++
	}
	s.log = s.log[n:]
	changed = changed || n > 0
	if changed {
		s.log = slices.Clone(s.log) // let go of what is in front
	}
	return changed
}

// excess is how many transitions the hub has had for longer than the tail goes back.
func (s *state) excess() int { return len(s.log) - len(s.fresh()) - TailLength }

// renumber makes the transitions that are not confirmed follow after seq.
func (s *state) renumber(seq uint64) {
	fresh := s.fresh()
	moved := make([]*entry, len(fresh))
	numbers := make(map[uint64]uint64, len(fresh))
	for i, e := range fresh {
		next := *e
		next.From, next.Seq = 0, seq+uint64(i)+1
		for n := e.First(); n <= e.Seq && n-e.First() < 1<<16; n++ {
			numbers[n] = next.Seq
		}
		moved[i] = &next
	}
	for fp, e := range s.book.open {
		if to, ok := numbers[e.opened]; ok {
			next := *e
			next.opened = to
			s.book.replace(fp, &next)
		}
	}
	s.log, s.end, s.chunks = moved, seq+uint64(len(moved)), nil
	s.bookChunks, s.bookEnd = nil, 0
}

// newWriter names a process.
func newWriter() string { return uuid.NewString() }
