package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

// OpenJournal reads the journal, or what can be known of it when it is lost, and takes it
// over: an agent that had it open before cannot write any more. An error wraps
// fault.Unavailable, or fault.Conflict when another agent was faster.
func OpenJournal(ctx context.Context, o JournalOptions) (*Journal, error) {
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	d, err := newDisk(o.Client, o.Namespace)
	if err != nil {
		return nil, err
	}
	j := &Journal{options: o, writer: newWriter(), disk: d}
	j.queue.idle.L = &j.queue
	if err := j.load(ctx); err != nil {
		return nil, fmt.Errorf("alert journal: %w", err)
	}
	j.state.stage()
	if err := j.persist(ctx); err != nil {
		return nil, fmt.Errorf("alert journal: %w", err)
	}
	j.state.commit()
	st := &j.state
	slog.InfoContext(ctx, "alert journal open", "epoch", st.epoch, "end", st.end, "acknowledged", st.acked, "open", len(st.book.open))
	return j, nil
}

// load brings state to what the ConfigMaps and the hub say.
func (j *Journal) load(ctx context.Context) error {
	h, found, err := j.disk.load(ctx)
	if err != nil {
		return err
	}
	conditions, err := j.options.LastReport(ctx)
	switch {
	case errors.Is(err, fault.NotFound):
		conditions = nil
	case err != nil && !found:
		return fmt.Errorf("it is not there, and the hub does not tell what was reported: %w: %w", fault.Unavailable, err)
	case err != nil:
		slog.WarnContext(ctx, "alert journal opens without a word of the hub", "error", err)
	}
	last := j.lastReported(conditions)
	if !found || last.epoch == h.Epoch && last.seen > h.End {
		if found {
			slog.ErrorContext(ctx, "alert journal is older than what was reported of it", "end", h.End, "reported", last.seen)
		}
		j.state = last.state()
		j.state.writes = h.Writes
		return nil
	}
	return j.restore(ctx, h, last)
}

// restore takes the state from a head and what it refers to.
func (j *Journal) restore(ctx context.Context, h headDoc, last reported) error {
	j.state = state{
		epoch: h.Epoch, store: h.Store, end: h.End, acked: h.Acked, published: h.Published,
		compacted: h.Compacted, dropped: cloned(h.Dropped), writes: h.Writes, book: NewBook(),
	}
	s := &j.state
	if err := j.restoreLog(ctx, h); err != nil {
		return err
	}
	if err := j.restoreBook(ctx, h, last); err != nil {
		return err
	}
	if last.epoch == s.epoch {
		s.published = max(s.published, last.published)
		if last.ack.Epoch == s.epoch {
			s.acked, s.store = last.ack.Seq, last.ack.Store
		}
	}
	return nil
}

// restoreLog reads the log. When a chunk is lost, what comes after it is still good, and
// the hub sees from the sequence that something is missing.
func (j *Journal) restoreLog(ctx context.Context, h headDoc) error {
	s := &j.state
	for _, ref := range h.Chunks {
		var doc logDoc
		found, err := j.disk.chunk(ctx, ref, &doc)
		if err != nil {
			return err
		}
		entries := doc.entries()
		if !found || len(entries) != ref.Count {
			slog.ErrorContext(ctx, "a part of the alert journal is lost", "configMap", j.disk.name(ref.Slot), "transitions", len(s.log)+ref.Count)
			s.log, s.chunks = nil, nil
			continue
		}
		s.log, s.chunks = append(s.log, entries...), append(s.chunks, ref)
	}
	s.log = append(s.log, h.Log.entries()...)
	return nil
}

// restoreBook reads the book and notes what happened since. When it is lost, the last
// report says what was open.
func (j *Journal) restoreBook(ctx context.Context, h headDoc, last reported) error {
	s := &j.state
	since := h.BookEnd
	if h.Book != nil {
		h.Book.addTo(s.book)
		since = s.end
	}
	s.bookChunks, s.bookEnd = h.BookChunks, h.BookEnd
	for _, ref := range h.BookChunks {
		var doc bookDoc
		found, err := j.disk.chunk(ctx, ref, &doc)
		if err != nil {
			return err
		}
		if !found {
			slog.ErrorContext(ctx, "the open alerts of the journal are lost and taken from the last report", "configMap", j.disk.name(ref.Slot))
			s.bookChunks, s.bookEnd = nil, 0
			if since = 0; last.epoch == s.epoch {
				s.book, since = last.book, last.end
			}
			break
		}
		doc.addTo(s.book)
	}
	for _, e := range s.log {
		if e.Seq > since {
			s.book.note(e)
		}
	}
	s.book.commit()
	return nil
}

// reported is what the conditions on the hub tell of a journal.
type reported struct {
	epoch     string // empty: nothing
	end       uint64
	seen      uint64 // sequence that the hub knows of
	published uint64 // last that is in the report
	ack       report.AlertsIngested
	compacted uint64
	dropped   map[string]uint64
	log       []*entry
	book      *Book
}

func (j *Journal) lastReported(conditions []metav1.Condition) reported {
	r := reported{book: NewBook()}
	ack, acked := report.FindAlertsIngested(conditions)
	decoder, err := report.NewDecoder()
	if err != nil {
		return r
	}
	head, alerts, err := decoder.DecodeAlerts(j.options.Cluster, conditions)
	switch {
	case head.Epoch != "":
		r.epoch, r.published, r.end = head.Epoch, head.Last, head.End
		r.seen = head.Last
	case acked && ack.Seq > 0: // the report is gone, the answer to it is not
		r.epoch = ack.Epoch
	default:
		return r
	}
	if acked && ack.Epoch == r.epoch {
		r.ack = ack
		r.seen = max(r.seen, ack.Seq)
		r.end = max(r.end, ack.Seq)
	}
	if err != nil {
		return r
	}
	r.compacted, r.dropped = alerts.Compacted, alerts.Dropped
	r.read(alerts)
	return r
}

// read takes log and book from a report. The active set is the state at the end, which the
// transitions need not reach.
func (r *reported) read(a report.Alerts) {
	for _, t := range a.Transitions {
		e := &entry{Transition: t, text: &a.Texts[t.Text]}
		e.Text = 0
		r.log = append(r.log, e)
		r.book.note(e)
	}
	r.book.commit()
	if a.Active.Whole() {
		clear(r.book.open)
	}
	for _, o := range a.Active.Alerts {
		text := &a.Texts[o.Text]
		r.book.open[o.Fingerprint] = &episode{Episode: o.Episode, opened: o.Opened, text: text, suppressed: o.Suppress, via: ViaBackfill, seen: o.Starts}
	}
}

// state is a journal made from a report, or a new one.
//
// The journal may have been ahead of the report. Those sequences were never seen by the
// hub; they are used again, so that the log has no gap.
func (r reported) state() state {
	if r.epoch == "" {
		return state{epoch: uuid.NewString(), dropped: cloned(nil), book: r.book}
	}
	s := state{
		epoch: r.epoch, store: r.ack.Store, acked: r.ack.Seq, published: r.seen, compacted: r.compacted,
		dropped: cloned(r.dropped), log: r.log, book: r.book, end: r.end,
	}
	if len(r.log) > 0 {
		s.end = r.seen
		if last := r.log[len(r.log)-1].Seq; last < s.end {
			s.log = nil // they are confirmed
		}
	}
	for fp, e := range s.book.open {
		if e.opened > s.end {
			next := *e
			next.opened = max(1, s.end)
			s.book.open[fp] = &next
		}
	}
	return s
}

func timeOf(milli int64) time.Time { return time.UnixMilli(milli).UTC() }
