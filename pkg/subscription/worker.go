package subscription

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/smo"
	"github.com/o2ims/o2ims/pkg/store"
)

// worker delivers to one subscription, one event after another.
type worker struct {
	tenure  *tenure
	sub     store.Subscription
	service *Service
	wants   wants
	hard    context.Context // ends when even an attempt that is under way must be broken off

	status store.Status
	cursor uint64 // as it is saved
	seen   uint64 // events up to here have been looked at; those after cursor are none of its business
	told   uint64 // notifications that were delivered

	failingBase  time.Duration // failing for so long before failingSince
	failingSince time.Time     // zero while the last attempt succeeded

	complained time.Time  // when the log was told last that the callback fails
	loudness   slog.Level // of what the log is told of this series of failures

	// For metrics, which are collected from elsewhere.
	shownSeen      atomic.Uint64
	shownSuspended atomic.Bool
}

// Skipped events are saved when there are saveSkipped of them, or some for saveSkippedAfter.
const (
	saveSkipped      = 4096
	saveSkippedAfter = 2 * time.Second
)

// complainInterval keeps a consumer that fails now and then from filling the log.
const complainInterval = time.Minute

// run delivers until ctx ends, the subscription is suspended or deleted. An error ends the
// whole term.
func (w *worker) run(ctx context.Context) error {
	w.look(w.cursor)
	w.shownSuspended.Store(w.status.Suspended)
	w.failingBase = w.status.FailingFor
	for !w.status.Suspended {
		err := w.step(ctx)
		switch {
		case errors.Is(err, errDeleted):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// step delivers the next event of interest, or a notice that is due.
func (w *worker) step(ctx context.Context) error {
	if w.status.Resync != nil {
		return w.deliverResync(ctx)
	}
	e, err := w.next(ctx)
	if trimmed := (trimmedError{}); errors.As(err, &trimmed) {
		return w.drop(ctx, trimmed.next)
	}
	if err != nil || e == nil {
		return err
	}
	if e.Source != w.sub.Service {
		return w.skip(ctx, e.Seq)
	}
	shown, err := e.in(w.sub.Version, w.tenure.baseURL, w.service.Render)
	if err != nil {
		slog.ErrorContext(ctx, "event cannot be shown and is skipped", "seq", e.Seq, "error", err)
		return w.drop(ctx, e.Seq+1)
	}
	if shown.body == nil || !w.wants.event(&shown.occurrence) {
		return w.skip(ctx, e.Seq)
	}
	if dropInjected(e.Seq) {
		return w.save(ctx, e.Seq, 1)
	}
	body := shown.body(Notification{ID: e.id, ConsumerID: w.sub.ConsumerID, Sequence: w.told + 1})
	delivered, err := w.deliver(ctx, body)
	if err != nil || !delivered {
		return err
	}
	w.tenure.metrics.delay.WithLabelValues(w.sub.Service).Observe(time.Since(e.Time).Seconds())
	return w.save(ctx, e.Seq, 1)
}

// next waits for the next event. It returns none when it used the wait to save what had
// been skipped.
func (w *worker) next(ctx context.Context) (*event, error) {
	newest, moved := w.tenure.window.newest()
	if w.seen < newest {
		return persist(ctx, "events not read", func() (*event, error) { return w.tenure.window.at(ctx, w.seen+1) })
	}
	var idle <-chan time.Time
	if w.seen > w.cursor {
		timer := time.NewTimer(saveSkippedAfter)
		defer timer.Stop()
		idle = timer.C
	}
	select {
	case <-moved:
		return nil, nil
	case <-idle:
		return nil, w.saveSkipped(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *worker) skip(ctx context.Context, seq uint64) error {
	w.look(seq)
	if w.seen-w.cursor >= saveSkipped {
		return w.saveSkipped(ctx)
	}
	return nil
}

func (w *worker) saveSkipped(ctx context.Context) error {
	return w.move(ctx, store.Step{To: w.seen, Filtered: w.seen - w.cursor})
}

// save moves the cursor to an event that was delivered.
func (w *worker) save(ctx context.Context, seq, delivered uint64) error {
	return w.move(ctx, store.Step{To: seq, Delivered: delivered, Filtered: seq - w.cursor - delivered})
}

// drop moves the cursor over events that cannot be delivered any more, to the one before
// next, and makes a resync notice due. Those that were looked at already are not lost.
func (w *worker) drop(ctx context.Context, next uint64) error {
	skipped, dropped := w.seen-w.cursor, next-1-w.seen
	lost := store.Range{First: w.seen + 1, Last: next - 1}
	if pending := w.status.Resync; pending != nil {
		lost.First = pending.First
	}
	w.status.Resync = &lost
	w.tenure.metrics.dropped.WithLabelValues(w.sub.Service).Add(float64(dropped))
	slog.WarnContext(ctx, "events were dropped before they could be delivered", "subscriptionId", w.sub.ID, "first", lost.First, "last", lost.Last)
	return w.move(ctx, store.Step{To: next - 1, Filtered: skipped, Dropped: dropped})
}

// saveStatus saves how the subscription fares, and what was skipped with it.
func (w *worker) saveStatus(ctx context.Context) error {
	return w.move(ctx, store.Step{To: w.seen, Filtered: w.seen - w.cursor})
}

func (w *worker) move(ctx context.Context, step store.Step) error {
	step.ID, step.From, step.Status = w.sub.ID, w.cursor, w.status
	if err := w.tenure.saver.save(w.hard, step); err != nil {
		return err
	}
	w.cursor = step.To
	w.told += step.Delivered
	w.look(step.To)
	w.shownSuspended.Store(w.status.Suspended)
	return nil
}

func (w *worker) look(seq uint64) {
	w.seen = seq
	w.shownSeen.Store(seq)
}

// confirmWithin is how fresh the knowledge that we lead must be before anything is sent:
// well below the time in which another can have taken the Lease.
const confirmWithin = time.Second

// deliver sends a notification until it is acknowledged. It returns false when the
// subscription was suspended instead.
func (w *worker) deliver(ctx context.Context, body []byte) (bool, error) {
	for {
		_, err := persist(ctx, "term not confirmed", func() (struct{}, error) { return struct{}{}, w.tenure.term.Confirm(ctx, confirmWithin) })
		if err != nil {
			return false, err
		}
		began := time.Now()
		wish, err := w.attempt(body)
		if err != nil && (ctx.Err() != nil || w.hard.Err() != nil) {
			return false, context.Canceled // no fault of the consumer's
		}
		w.status.LastAttempt = began.UTC().Truncate(time.Millisecond)
		if err == nil {
			w.succeeded(ctx)
			return true, nil
		}
		w.failed(ctx, began, err)
		if err := w.saveStatus(ctx); err != nil {
			return false, err
		}
		if w.status.Suspended {
			return false, nil
		}
		o := &w.tenure.options
		if err := wait(ctx, max(wish, pause(w.status.Failures, o.FirstRetry, o.LongestRetry, random()))); err != nil {
			return false, err
		}
	}
}

// attempt sends a notification once. With an error comes the pause that the consumer
// asks for, if it does.
func (w *worker) attempt(body []byte) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(w.hard, w.tenure.options.RequestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.sub.Callback, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	began := time.Now()
	response, err := w.tenure.client.Do(request)
	w.tenure.metrics.attempt(w.sub.Service, began, response, err)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, drainBytes)) // what it says does not matter, that the connection is fit for the next does
	return smo.RetryAfter(response, time.Now(), longestWish), verdict(response.StatusCode)
}

// drainBytes is how much of an answer is read so that its connection can be used again.
const drainBytes = 16 << 10

func (w *worker) succeeded(ctx context.Context) {
	if w.status.Failures > 0 {
		slog.Log(ctx, w.loudness, "callback answers again", "subscriptionId", w.sub.ID, "failures", w.status.Failures, "failingFor", w.status.FailingFor.String())
	}
	w.failingBase, w.failingSince = 0, time.Time{}
	w.status = store.Status{LastAttempt: w.status.LastAttempt, LastDelivered: time.Now().UTC().Truncate(time.Millisecond), Resync: w.status.Resync}
}

// failed notes a failed attempt. Time is taken from the monotonic clock and only while we
// try, so neither a jump of the wall clock nor our own absence suspends anybody.
func (w *worker) failed(ctx context.Context, began time.Time, cause error) {
	if w.failingSince.IsZero() {
		w.failingSince = began
	}
	w.status.Failures++
	w.status.FailingFor = w.failingBase + time.Since(w.failingSince)
	w.status.LastError = clip(cause.Error())
	reason := ""
	switch after := w.tenure.options.SuspendAfter; {
	case errors.Is(cause, errGone):
		reason = cause.Error()
	case w.status.FailingFor >= after:
		reason = fmt.Sprintf("no success for %s; last: %s", after, w.status.LastError)
	}
	switch {
	case reason != "":
		w.status.Suspended, w.status.Reason, w.status.SuspendedAt = true, reason, time.Now().UTC().Truncate(time.Millisecond)
		slog.ErrorContext(ctx, "subscription suspended", "subscriptionId", w.sub.ID, "reason", reason, "failures", w.status.Failures)
	case w.status.Failures == 1:
		w.loudness = slog.LevelDebug
		if time.Since(w.complained) > complainInterval {
			w.complained, w.loudness = time.Now(), slog.LevelWarn
		}
		slog.Log(ctx, w.loudness, "notification not delivered, trying again", "subscriptionId", w.sub.ID, "error", cause)
	}
}

// clip keeps what a stranger causes from filling records.
func clip(text string) string {
	const longest = 300
	if len(text) > longest {
		return text[:longest] + "…"
	}
	return text
}

// deliverResync tells the consumer that events are missing and that it should read anew.
func (w *worker) deliverResync(ctx context.Context) error {
	body, err := persist(ctx, "resync notice not made", func() ([]byte, error) { return w.resyncNotice(ctx) })
	if err != nil {
		return err
	}
	delivered, err := w.deliver(ctx, body)
	if err != nil || !delivered {
		return err
	}
	w.status.Resync = nil
	return w.saveStatus(ctx)
}

// resyncNotice is a notification about the object that stands for the whole service, with
// one attribute more: resync. A consumer that does not know it sees a modification that
// changes nothing.
func (w *worker) resyncNotice(ctx context.Context) ([]byte, error) {
	lost := *w.status.Resync
	name := fmt.Appendf(nil, "resync/%s/%d-%d", w.sub.ID, lost.First, lost.Last)
	id := uuid.NewSHA1(w.sub.ID, name)
	if resync := w.service.Resync; resync != nil {
		return resync(Notification{ID: id, ConsumerID: w.sub.ConsumerID}, lost, w.sub.Version, w.tenure.baseURL)
	}
	var view View
	if kind := w.service.RootKind; kind != "" {
		document, err := w.tenure.store.Document(ctx, w.service.Name, kind, w.service.RootID)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return nil, err
		}
		d, err := decode(document)
		if err != nil {
			return nil, err
		}
		view = d[w.sub.Version]
	}
	extra := fmt.Sprintf(`,"resync":{"firstEvent":%d,"lastEvent":%d}`, lost.First, lost.Last)
	tail := notificationTail(int(store.Modified), w.tenure.baseURL+view.Ref, view.State, view.State, extra)
	return notification(id, w.sub.ConsumerID, tail), nil
}
