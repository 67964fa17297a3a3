package subscription

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
)

// AdminPath is where the ledger is served. It is for administrators.
const AdminPath = "/admin/v1/delivery"

// Ledger is what became of every change: from the reports of managed clusters to the
// acknowledgements of consumers. Whoever reads it can tell whether anything is missing.
type Ledger struct {
	Time          time.Time             `json:"time"`
	Store         StoreLedger           `json:"store"`
	Journal       JournalLedger         `json:"journal"`
	Subscriptions []SubscriptionLedger  `json:"subscriptions"`
	Clusters      []ClusterLedger       `json:"clusters,omitempty"`
	Missing       []string              `json:"missing"` // what is known to be lost, in words; empty is well
	Totals        map[string]StateTotal `json:"totals"`  // by state of subscription
}

// StoreLedger says where all this is kept, and how well.
type StoreLedger struct {
	ID                   string `json:"id"`
	Redis                string `json:"redis"`
	Durability           string `json:"durability"` // appendfsync, or embedded
	AcknowledgementDelay string `json:"acknowledgementDelay"`
	SurvivesCrash        bool   `json:"survivesCrash"`
}

// JournalLedger is the stream of changes. Sequences count from 1 without gaps.
type JournalLedger struct {
	Newest uint64 `json:"newest"` // journalled ever
	Oldest uint64 `json:"oldest"` // that is kept, 0 when none is
	Kept   int64  `json:"kept"`
}

// The states of a subscription.
const (
	Active    = "active"
	Failing   = "failing"
	Suspended = "suspended"
)

// SubscriptionLedger is one subscription. cursor - start is always
// delivered + filtered + dropped: no event is unaccounted for.
type SubscriptionLedger struct {
	ID       uuid.UUID `json:"subscriptionId"`
	Service  string    `json:"service"`
	Version  string    `json:"version"`
	Callback string    `json:"callback"`
	Owner    string    `json:"owner,omitempty"`
	Creator  string    `json:"creator,omitempty"`
	Created  time.Time `json:"created"`

	State     string `json:"state"`
	Start     uint64 `json:"start"`
	Cursor    uint64 `json:"cursor"`
	Delivered uint64 `json:"delivered"` // acknowledged by the consumer
	Filtered  uint64 `json:"filtered"`  // none of its business
	Dropped   uint64 `json:"dropped"`   // by retention
	Pending   uint64 `json:"pending"`   // journalled, not dealt with yet

	Failures      int          `json:"failures,omitempty"` // in a row
	FailingFor    string       `json:"failingFor,omitempty"`
	LastError     string       `json:"lastError,omitempty"`
	LastAttempt   time.Time    `json:"lastAttempt,omitzero"`
	LastDelivered time.Time    `json:"lastDelivered,omitzero"`
	SuspendedAt   time.Time    `json:"suspendedAt,omitzero"`
	Reason        string       `json:"reason,omitempty"` // of the suspension
	Resync        *store.Range `json:"resync,omitempty"` // dropped, and the consumer not told yet
}

// StateTotal sums up the subscriptions in one state.
type StateTotal struct {
	Subscriptions int    `json:"subscriptions"`
	Pending       uint64 `json:"pending"`
	Dropped       uint64 `json:"dropped"`
}

// ClusterLedger is what reached the hub from one managed cluster.
type ClusterLedger struct {
	Cluster  string `json:"cluster"`
	Epoch    string `json:"epoch,omitempty"`
	Reported uint64 `json:"reported"` // sequence of the newest report
	Applied  uint64 `json:"applied"`  // sequence of the report that is shown

	Alerts *AlertsLedger `json:"alerts,omitempty"` // nil: its agent reports none
}

// AlertsLedger is what reached the hub of the transitions of one managed cluster's alerts.
type AlertsLedger struct {
	Epoch      string `json:"epoch"`
	Journalled uint64 `json:"journalled"` // sequence of the newest, as far as the hub can see
	Applied    uint64 `json:"applied"`    // sequence up to which all are in the history
	Lost       uint64 `json:"lost"`       // never arrived, of all epochs
	Compacted  uint64 `json:"compacted"`  // arrived merged into others, of all epochs
}

// Admin serves the ledger and lets an administrator resume subscriptions.
type Admin struct {
	Store *store.Store

	// Clusters returns what is known of managed clusters, ascending by name; nil: nothing.
	Clusters func(context.Context) ([]ClusterLedger, error)
}

// Routes registers the paths below AdminPath.
func (a *Admin) Routes(r *mux.Router) {
	r.Handle(AdminPath, rest.Methods{http.MethodGet: a.get})
	r.Handle(AdminPath+"/{subscriptionId}", rest.Methods{http.MethodGet: a.getOne})
	r.Handle(AdminPath+"/{subscriptionId}/resume", rest.Methods{http.MethodPost: a.resume})
}

func (a *Admin) get(w http.ResponseWriter, r *http.Request) error {
	l, err := a.Ledger(r.Context())
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, l)
}

func (a *Admin) getOne(w http.ResponseWriter, r *http.Request) error {
	id, err := rest.UUID(r, "subscriptionId")
	if err != nil {
		return err
	}
	sub, err := a.Store.Subscription(r.Context(), id)
	if err != nil {
		return err
	}
	newest, err := a.Store.Newest(r.Context())
	if err != nil {
		return err
	}
	progress, err := a.Store.ProgressOf(r.Context(), id)
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, ledgerOf(sub, progress[id], newest))
}

func (a *Admin) resume(w http.ResponseWriter, r *http.Request) error {
	id, err := rest.UUID(r, "subscriptionId")
	if err != nil {
		return err
	}
	if err := a.Store.Resume(r.Context(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// Ledger reads everything.
func (a *Admin) Ledger(ctx context.Context) (Ledger, error) {
	// Events go while this is read. What is kept is read first: events are removed when all
	// have got them, so what is gone by now is behind every cursor that is read later. The
	// newest is read last: what happens in between is pending, not ahead.
	kept, err := a.Store.Stream(ctx)
	if err != nil {
		return Ledger{}, err
	}
	subs, err := a.Store.Subscriptions(ctx, "")
	if err != nil {
		return Ledger{}, err
	}
	ids := make([]uuid.UUID, len(subs))
	for i := range subs {
		ids[i] = subs[i].ID
	}
	progress, err := a.Store.ProgressOf(ctx, ids...)
	if err != nil {
		return Ledger{}, err
	}
	newest, err := a.Store.Newest(ctx)
	if err != nil {
		return Ledger{}, err
	}
	policy := a.Store.Durability(ctx)
	l := Ledger{
		Time: time.Now().UTC().Truncate(time.Millisecond),
		Store: StoreLedger{
			ID: a.Store.ID(), Redis: a.Store.Address(), Durability: string(policy),
			AcknowledgementDelay: policy.Delay().String(), SurvivesCrash: policy.Durable(),
		},
		Journal: JournalLedger{Newest: newest, Kept: kept.Length},
		Totals:  make(map[string]StateTotal), Missing: []string{}, Subscriptions: []SubscriptionLedger{},
	}
	switch {
	case kept.First != nil:
		l.Journal.Oldest = kept.First.Seq
	case newest > kept.Newest: // there was none, and what has come since is kept
		l.Journal.Oldest, l.Journal.Kept = kept.Newest+1, int64(newest-kept.Newest)
	}
	for _, sub := range subs {
		p, found := progress[sub.ID]
		if !found { // deleted meanwhile
			continue
		}
		s := ledgerOf(sub, p, newest)
		l.Subscriptions = append(l.Subscriptions, s)
		total := l.Totals[s.State]
		total.Subscriptions++
		total.Pending += s.Pending
		total.Dropped += s.Dropped
		l.Totals[s.State] = total
	}
	if a.Clusters != nil {
		if l.Clusters, err = a.Clusters(ctx); err != nil {
			return Ledger{}, err
		}
	}
	l.Missing = l.missing()
	return l, nil
}

func ledgerOf(sub store.Subscription, p store.Progress, newest uint64) SubscriptionLedger {
	l := SubscriptionLedger{
		ID: sub.ID, Service: sub.Service, Version: sub.Version, Callback: sub.Callback,
		Owner: sub.Owner, Creator: sub.Creator, Created: sub.Created,
		State: Active, Start: p.Start, Cursor: p.Cursor, Delivered: p.Delivered, Filtered: p.Filtered, Dropped: p.Dropped,
		Failures: p.Status.Failures, LastError: p.Status.LastError, LastAttempt: p.Status.LastAttempt, LastDelivered: p.Status.LastDelivered,
		SuspendedAt: p.Status.SuspendedAt, Reason: p.Status.Reason, Resync: p.Status.Resync,
	}
	if newest > p.Cursor {
		l.Pending = newest - p.Cursor
	}
	if p.Status.FailingFor > 0 {
		l.FailingFor = p.Status.FailingFor.Round(time.Millisecond).String()
	}
	switch {
	case p.Status.Suspended:
		l.State = Suspended
	case p.Status.Failures > 0:
		l.State = Failing
	}
	return l
}

// missing says what is lost, or will be for all that can be seen.
func (l *Ledger) missing() []string {
	missing := []string{}
	say := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	for _, s := range l.Subscriptions {
		if dealt, counted := s.Cursor-s.Start, s.Delivered+s.Filtered+s.Dropped; dealt != counted {
			say("subscription %s: %d events were dealt with and %d are accounted for", s.ID, dealt, counted)
		}
		if s.Dropped > 0 {
			say("subscription %s: %d events were dropped by retention", s.ID, s.Dropped)
		}
		if s.Cursor > l.Journal.Newest {
			say("subscription %s: its cursor %d is ahead of the journal: redis lost events", s.ID, s.Cursor)
		}
		if first := s.Cursor + 1; s.Pending > 0 && (l.Journal.Oldest > first || l.Journal.Oldest == 0) {
			say("subscription %s: events from %d on are pending and kept only from %d", s.ID, first, l.Journal.Oldest)
		}
	}
	for _, c := range l.Clusters {
		if c.Applied > c.Reported {
			say("cluster %s: report %d was applied and the newest is %d: its history began anew", c.Cluster, c.Applied, c.Reported)
		}
		if c.Alerts != nil && c.Alerts.Lost > 0 {
			say("cluster %s: %d transitions of alerts never arrived", c.Cluster, c.Alerts.Lost)
		}
	}
	return missing
}

// Judge tells what is wrong in words, the worst first: what is lost, then what is not
// delivered. Both empty means that every consumer has everything.
func (l *Ledger) Judge() (lost, late []string) {
	lost = slices.Clone(l.Missing)
	subs := slices.Clone(l.Subscriptions)
	slices.SortStableFunc(subs, func(a, b SubscriptionLedger) int { return cmp.Compare(b.Pending, a.Pending) })
	for _, s := range subs {
		switch {
		case s.State == Suspended:
			late = append(late, fmt.Sprintf("subscription %s is suspended with %d events pending: %s", s.ID, s.Pending, s.Reason))
		case s.Resync != nil:
			late = append(late, fmt.Sprintf("subscription %s has not been told that events %d to %d are gone", s.ID, s.Resync.First, s.Resync.Last))
		case s.State == Failing:
			late = append(late, fmt.Sprintf("subscription %s has %d events pending and its callback fails: %s", s.ID, s.Pending, strings.TrimSpace(s.LastError)))
		case s.Pending > 0:
			late = append(late, fmt.Sprintf("subscription %s has %d events pending", s.ID, s.Pending))
		}
	}
	for _, c := range l.Clusters {
		if c.Applied < c.Reported {
			late = append(late, fmt.Sprintf("cluster %s: report %d is not applied, %d is", c.Cluster, c.Reported, c.Applied))
		}
		if a := c.Alerts; a != nil && a.Applied < a.Journalled {
			late = append(late, fmt.Sprintf("cluster %s: %d transitions of alerts are not applied", c.Cluster, a.Journalled-a.Applied))
		}
	}
	return lost, late
}
