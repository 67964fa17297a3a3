package alarm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/alarm/openapi"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
)

// BasePath is where the API is served.
const BasePath = "/o2ims-infrastructureMonitoring"

// Alias is the service's name as the standard spells it. Requests below it are meant for
// BasePath.
const Alias = "/O2ims_infrastructureMonitoring"

// APIOptions are the settings of the API, one flag each.
type APIOptions struct {
	// Versions are the names of the major versions to serve, such as v1. What is not
	// among them does not exist.
	Versions []string
}

// AddFlags registers the settings with their defaults.
func (o *APIOptions) AddFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.Versions, "monitoring-versions", []string{"v1", "v2"}, "versions of the monitoring API to serve")
}

// Validate reports everything that is wrong with o.
func (o *APIOptions) Validate() error {
	return versions(nil).Check("--monitoring-versions", o.Versions)
}

// Parts are what the API works with.
type Parts struct {
	Records Records
	Pager   *rest.Pager

	// Store keeps the subscriptions; Subscriptions are the settings of those of every API.
	Store         *store.Store
	Subscriptions subscription.Options
	Callbacks     subscription.Callbacks

	// Access tells who may act for others; nil: nobody but by scope of its token.
	Access auth.Access

	// BaseURL is https://host[:port] by which clients reach us; empty: the host that the
	// client named.
	BaseURL string

	// Served tells which versions are switched on at the moment; nil: all.
	Served func(version string) bool

	// GlobalCloudID returns the O-Cloud's globalCloudId, empty while the SMO has given none.
	GlobalCloudID func() string

	// RetentionLowered is called after cleared records were given less time; nil: nobody
	// needs to know at once.
	RetentionLowered func()

	// Now tells the time.
	Now func() time.Time
}

// API serves the alarms.
type API struct {
	parts    Parts
	versions []*version // ascending
	service  subscription.Service
	causes   []ProbableCause // ascending by ID
}

// NewAPI returns the API. o must be valid.
func NewAPI(o APIOptions, p Parts) *API {
	api := &API{
		parts: p, versions: versions(p.Pager).Named(o.Versions), service: Service(o.Versions, p.GlobalCloudID), causes: ProbableCauses(),
	}
	slices.SortFunc(api.causes, func(a, b ProbableCause) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return api
}

// Routes registers the paths below BasePath.
func (a *API) Routes(r *mux.Router) {
	var served []rest.Version
	for _, v := range a.versions {
		served = append(served, v.Version)
		for path, methods := range map[string]rest.Methods{
			"/openapi.yaml": rest.OpenAPI(openapi.Document(v.Name)),
			"/alarms":       {http.MethodGet: a.listAlarms(v)},
			"/alarmServiceConfiguration": {
				http.MethodGet: a.getConfiguration(v), http.MethodPut: a.putConfiguration(v), http.MethodPatch: a.patchConfiguration(v),
			},
			"/alarmSubscriptions": {http.MethodGet: a.listSubscriptions(v), http.MethodPost: a.createSubscription(v)},
			"/alarmSubscriptions/{alarmSubscriptionId}": {
				http.MethodGet: a.getSubscription(v), http.MethodPatch: a.patchSubscription(v), http.MethodDelete: a.deleteSubscription(v),
			},
			"/probableCauses":                         {http.MethodGet: a.listCauses(v)},
			"/probableCauses/{probableCauseId}":       {http.MethodGet: a.getCause(v)},
			"/taskOperations":                         {http.MethodGet: a.listTasks(v)},
			"/taskOperations/{operationOccurrenceId}": {http.MethodGet: a.getTask(v)},
		} {
			r.Handle(v.base()+path, methods)
		}
		r.Handle(v.base()+"/alarms/purge", rest.Methods{http.MethodPost: a.purge(v)}) // before the next, which it would match
		r.Handle(v.base()+"/alarms/{alarmEventRecordId}", rest.Methods{http.MethodGet: a.getAlarm(v), http.MethodPatch: a.patchAlarm(v)})
	}
	rest.VersionLists{BasePath: BasePath, BaseURL: a.baseURL, Served: a.parts.Served}.Routes(r, served...)
}

func (a *API) baseURL(r *http.Request) string {
	if a.parts.BaseURL != "" {
		return strings.TrimSuffix(a.parts.BaseURL, "/")
	}
	return "https://" + r.Host
}

// now is the time as records have it: in UTC, to the millisecond.
func (a *API) now() time.Time { return a.parts.Now().UTC().Truncate(time.Millisecond) }

// sliceRecords is how many records are read from the store at once.
const sliceRecords = 500

// maxLookedAt is how many records a request with a filter looks at: some seconds of work in
// the worst case, where a history may be a million. The link to the next page goes on.
const maxLookedAt = 50_000

// listAlarms serves all records, active and cleared, ascending by when they were raised.
func (a *API) listAlarms(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := v.records.ListQuery(r)
		if err != nil {
			return err
		}
		first, last := raisedBetween(r.URL.Query()["filter"])
		return q.Stream(w, rest.Stream[*row]{
			Place: placeOf,
			After: func(ctx context.Context, place string) iter.Seq2[*row, error] {
				return a.rows(ctx, place, first, last)
			},
			Get:   a.row,
			Len:   a.parts.Records.Count,
			Limit: maxLookedAt,
		})
	}
}

// placeOf is the text of a record's place, as markers have it.
func placeOf(r *row) string { return r.Raised.UTC().Format(time.RFC3339Nano) + "|" + r.ID.String() }

func parsePlace(text string) (Place, error) {
	at, id, _ := strings.Cut(text, "|")
	raised, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return Place{}, fmt.Errorf("place %q: %w", text, err)
	}
	p := Place{Raised: raised}
	p.ID, err = uuid.Parse(id)
	return p, err
}

// rows yields the records behind a place, slice by slice. Of those that were raised before
// first, or after last, it need not yield any; zero times bound nothing.
func (a *API) rows(ctx context.Context, place string, first, last time.Time) iter.Seq2[*row, error] {
	return func(yield func(*row, error) bool) {
		var from Place
		if place != "" {
			var err error
			if from, err = parsePlace(place); err != nil { // a marker of ours that we did not write
				yield(nil, err)
				return
			}
		}
		if from.Raised.Before(first) {
			from = Place{Raised: first}
		}
		for {
			records, err := a.parts.Records.Page(ctx, from, sliceRecords)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range records {
				if !last.IsZero() && records[i].Raised.After(last) || !yield(&row{Record: &records[i]}, nil) {
					return
				}
			}
			if len(records) < sliceRecords {
				return
			}
			end := &records[len(records)-1]
			from = Place{Raised: end.Raised, ID: end.ID}
		}
	}
}

// raisedBetween returns the times between which every record was raised that matches the
// filters; zero where they do not say. With them history need not be read from its
// beginning. What is wrong with the filters is somebody else's to say.
func raisedBetween(filters []string) (first, last time.Time) {
	terms, err := filter.ParseAll(filters)
	if err != nil {
		return first, last
	}
	for _, t := range terms {
		if len(t.Path) != 1 || t.Path[0] != "alarmRaisedTime" || len(t.Values) != 1 {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, t.Values[0])
		if err != nil {
			continue
		}
		if begin := at.UTC().Truncate(time.Millisecond); (t.Op == filter.Gt || t.Op == filter.Gte || t.Op == filter.Eq) && begin.After(first) && begin.Unix() > 0 {
			first = begin
		}
		if (t.Op == filter.Lt || t.Op == filter.Lte || t.Op == filter.Eq) && (last.IsZero() || at.Before(last)) {
			last = at
		}
	}
	return first, last
}

// row returns the record with an id, if it is one.
func (a *API) row(ctx context.Context, id string) (*row, bool, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return nil, false, nil
	}
	record, err := a.parts.Records.Record(ctx, parsed)
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	return &row{Record: &record}, true, nil
}

func (a *API) getAlarm(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, v.records.IDName)
		if err != nil {
			return err
		}
		q, err := v.records.Query(r)
		if err != nil {
			return err
		}
		record, err := a.parts.Records.Record(r.Context(), id)
		if err != nil {
			return err
		}
		return q.Object(w, &row{Record: &record})
	}
}

// modifications are what a PATCH may change of a record, one in each request.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmEventRecordModifications.
type modifications struct {
	AlarmAcknowledged *bool `json:"alarmAcknowledged,omitempty"`
	PerceivedSeverity *int  `json:"perceivedSeverity,omitempty"`
}

func parseModifications(body map[string]json.RawMessage) (m modifications, err error) {
	invalid := func(text string) error { return fmt.Errorf("%s: %w", text, fault.Invalid) }
	if err := only(body, "alarmAcknowledged", "perceivedSeverity"); err != nil {
		return m, err
	}
	acknowledged, acknowledges := body["alarmAcknowledged"]
	severity, clears := body["perceivedSeverity"]
	switch {
	case acknowledges && clears:
		return m, invalid("alarmAcknowledged and perceivedSeverity cannot be changed by one request")
	case acknowledges:
		if json.Unmarshal(acknowledged, &m.AlarmAcknowledged) != nil || m.AlarmAcknowledged == nil {
			return m, invalid("alarmAcknowledged is neither true nor false")
		}
		if !*m.AlarmAcknowledged {
			return m, invalid("alarmAcknowledged: an acknowledgement cannot be taken back")
		}
	case clears:
		if json.Unmarshal(severity, &m.PerceivedSeverity) != nil || m.PerceivedSeverity == nil || *m.PerceivedSeverity != int(Cleared) {
			return m, invalid(fmt.Sprintf("perceivedSeverity can only be changed to %d, cleared", Cleared))
		}
	default:
		return m, invalid("neither alarmAcknowledged nor perceivedSeverity is there")
	}
	return m, nil
}

// patchAlarm acknowledges an alarm or clears it, and answers with what it changed.
func (a *API) patchAlarm(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, v.records.IDName)
		if err != nil {
			return err
		}
		body, err := readObject(w, r)
		if err != nil {
			return err
		}
		m, err := parseModifications(body)
		if err != nil {
			return fmt.Errorf("alarm: %w", err)
		}
		now, by := a.now(), actor(r)
		changed, err := a.parts.Records.Update(r.Context(), id, func(record *Record) (Event, error) {
			if err := rest.CheckMatch(r, v.records.Encoded(&row{Record: record}).Digest); err != nil {
				return Event{}, fmt.Errorf("alarm %s: %w", id, err)
			}
			event, err := record.modify(m, now, by)
			if err != nil {
				return Event{}, fmt.Errorf("alarm %s: %w", id, err)
			}
			return event, nil
		})
		if err != nil {
			return err
		}
		what := "alarm acknowledged"
		if m.PerceivedSeverity != nil {
			what = "alarm cleared by consumer"
		}
		slog.InfoContext(r.Context(), what, "alarmEventRecordId", id, "user", user(r), "version", changed.Version)
		rest.SetETag(w, v.records.Encoded(&row{Record: &changed}).Digest)
		return rest.WriteJSON(w, http.StatusOK, m)
	}
}

// modify changes a record as a consumer wants it. The errors wrap fault.Conflict.
func (r *Record) modify(m modifications, now time.Time, by string) (Event, error) {
	conflict := func(text string) (Event, error) { return Event{}, fmt.Errorf("%s: %w", text, fault.Conflict) }
	switch {
	case m.AlarmAcknowledged != nil && r.acknowledged():
		return conflict("it is acknowledged already")
	case m.AlarmAcknowledged != nil:
		r.Acknowledged, r.AcknowledgedBy, r.Changed = now, by, now
		return Event{Tell: true, Type: EventAcknowledge}, nil
	case !r.Active():
		return conflict("it is cleared already")
	case !r.Manual:
		return conflict("the clearingType of its definition is " + clearingAutomatic + ": it is cleared when its cause is gone")
	default:
		// The clock of where the alarm comes from may be ahead of ours.
		if now.Before(r.Raised) {
			now = r.Raised
		}
		r.Cleared, r.ClearedBy, r.Changed = now, ClearedByConsumer, now
		return Event{Tell: true, Type: EventClear}, nil
	}
}

func (a *API) listCauses(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := v.causes.ListQuery(r)
		if err != nil {
			return err
		}
		return q.List(w, sorted(a.causes, v.causes.ID))
	}
}

func (a *API) getCause(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, v.causes.IDName)
		if err != nil {
			return err
		}
		q, err := v.causes.Query(r)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(a.causes, func(c ProbableCause) bool { return c.ID == id })
		if i < 0 {
			return fmt.Errorf("probable cause %s: %w", id, fault.NotFound)
		}
		return q.Object(w, a.causes[i])
	}
}
