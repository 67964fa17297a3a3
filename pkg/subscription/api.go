package subscription

import (
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

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/filter"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
)

// Callbacks judges URLs that we are asked to call.
type Callbacks interface {
	// CheckURL tells whether a URL may be called as things are. The error wraps
	// fault.Invalid and says what is wrong.
	CheckURL(ctx context.Context, url string) error

	// Reach tells whether a GET is answered with one of the statuses, or any 2xx when none
	// is given. The error wraps fault.Invalid.
	Reach(ctx context.Context, url string, statuses ...int) error
}

// APIParts are what an API works with.
type APIParts struct {
	Store     *store.Store
	Service   Service
	Callbacks Callbacks
	Pager     *rest.Pager

	// Access tells who may act for others; nil: nobody but by scope of its token.
	Access auth.Access

	// BaseURL is https://host[:port] by which clients reach us, for the header Location;
	// empty: the host that the client named.
	BaseURL string
}

// API serves the subscriptions of one service. It writes to the store from whichever
// replica a request reaches; the leader hears of it through the stream.
type API struct {
	options Options
	parts   APIParts
	kind    *rest.Kind[store.Subscription]
}

// NewAPI returns the subscriptions of a service.
func NewAPI(o Options, p APIParts) *API {
	return &API{options: o, parts: p, kind: &rest.Kind[store.Subscription]{
		Schema: filter.NewSchema(view),
		IDName: "subscriptionId", ID: func(s store.Subscription) string { return s.ID.String() },
		Attributes: attributes,
		Encoded:    encoded,
		Pager:      p.Pager,
	}}
}

// Routes registers the paths of every version below basePath.
func (a *API) Routes(r *mux.Router, basePath string) {
	for _, version := range a.parts.Service.Versions {
		collection := basePath + "/" + version + "/subscriptions"
		r.Handle(collection, rest.Methods{
			http.MethodGet:  a.list,
			http.MethodPost: func(w http.ResponseWriter, r *http.Request) error { return a.create(w, r, version, collection) },
		})
		r.Handle(collection+"/{subscriptionId}", rest.Methods{
			http.MethodGet:    a.get,
			http.MethodDelete: func(w http.ResponseWriter, r *http.Request) error { return a.delete(w, r, collection) },
		})
	}
}

// subscriptionInfo is a subscription as a client sees it, in every version.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, InventorySubscription.
type subscriptionInfo struct {
	SubscriptionID         uuid.UUID `json:"subscriptionId"`
	ConsumerSubscriptionID *string   `json:"consumerSubscriptionId,omitempty"`
	Filter                 *string   `json:"filter,omitempty"`
	Callback               string    `json:"callback"`

	Extensions Extensions `json:"extensions"`
}

var attributes = rest.Attributes{Optional: []string{"consumerSubscriptionId", "filter", "extensions"}}

func view(s store.Subscription) subscriptionInfo {
	return subscriptionInfo{
		SubscriptionID: s.ID, ConsumerSubscriptionID: s.ConsumerID, Filter: s.Filter, Callback: s.Callback,
		Extensions: ExtensionsOf(s),
	}
}

func encoded(s store.Subscription) rest.Encoded {
	e, err := attributes.Encode(view(s))
	if err != nil { // texts always can
		panic(err)
	}
	return e
}

func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	query, err := a.kind.ListQuery(r)
	if err != nil {
		return err
	}
	subs, err := a.parts.Store.Subscriptions(r.Context(), a.parts.Service.Name)
	if err != nil {
		return err
	}
	return query.List(w, rest.Source[store.Subscription]{
		After: func(id string) iter.Seq[store.Subscription] {
			first, found := slices.BinarySearchFunc(subs, id, func(s store.Subscription, id string) int { return strings.Compare(s.ID.String(), id) })
			if found {
				first++
			}
			return slices.Values(subs[first:])
		},
		Len: func() int { return len(subs) },
	})
}

func (a *API) get(w http.ResponseWriter, r *http.Request) error {
	query, err := a.kind.Query(r)
	if err != nil {
		return err
	}
	sub, err := a.named(r)
	if err != nil {
		return err
	}
	return query.Object(w, sub)
}

func (a *API) delete(w http.ResponseWriter, r *http.Request, collection string) error {
	sub, err := a.named(r)
	if err != nil {
		return err
	}
	told := rest.AuditOf(r.Context())
	told.Owner, told.Creator = sub.Owner, sub.Creator
	if err := a.options.CheckOwner(r.Context(), a.parts.Access, sub, auth.VerbDeleteAny, collection); err != nil {
		return err
	}
	if err := a.parts.Store.DeleteSubscription(r.Context(), sub); err != nil {
		return err
	}
	slog.InfoContext(r.Context(), "subscription deleted", "subscriptionId", sub.ID, "service", sub.Service)
	w.WriteHeader(http.StatusOK) // and nothing else: the conformance suite wants exactly this
	return nil
}

// named returns the subscription that the path names. One of another service is not found.
func (a *API) named(r *http.Request) (store.Subscription, error) {
	id, err := rest.UUID(r, "subscriptionId")
	if err != nil {
		return store.Subscription{}, err
	}
	sub, err := a.parts.Store.Subscription(r.Context(), id)
	if err == nil && sub.Service != a.parts.Service.Name {
		err = fmt.Errorf("subscription %s: %w", id, fault.NotFound)
	}
	return sub, err
}

// wish is the body of a POST.
type wish struct {
	SubscriptionID         json.RawMessage `json:"subscriptionId"`
	ConsumerSubscriptionID *string         `json:"consumerSubscriptionId"`
	Filter                 *string         `json:"filter"`
	Callback               *string         `json:"callback"`
	Extensions             json.RawMessage `json:"extensions"`
}

func (a *API) create(w http.ResponseWriter, r *http.Request, version, collection string) error {
	var body wish
	if err := rest.ReadJSON(w, r, &body); err != nil {
		return err
	}
	if err := a.check(r.Context(), body, version); err != nil {
		return err
	}
	whose, err := auth.OwnershipOf(r, a.parts.Access, collection)
	if err != nil {
		return fmt.Errorf("subscription: %w", err)
	}
	sub := store.Subscription{
		ID: uuid.New(), Service: a.parts.Service.Name, Version: version,
		Callback: *body.Callback, Filter: body.Filter, ConsumerID: body.ConsumerSubscriptionID,
		Creator: whose.Creator, Owner: whose.Owner, Created: time.Now().UTC().Truncate(time.Millisecond),
	}
	told := rest.AuditOf(r.Context())
	told.ResourceID, told.Owner, told.Creator = sub.ID.String(), sub.Owner, sub.Creator
	err = a.parts.Store.CreateSubscription(r.Context(), sub, a.options.MaxSubscriptions)
	if errors.Is(err, fault.Conflict) && a.options.DuplicateStatus == http.StatusBadRequest {
		err = fmt.Errorf("%w: %w", err, fault.Invalid)
	}
	if err != nil {
		return err
	}
	slog.InfoContext(r.Context(), "subscription created", "subscriptionId", sub.ID, "service", sub.Service, "version", version, "owner", sub.Owner, "creator", sub.Creator)
	w.Header().Set("Location", a.baseURL(r)+collection+"/"+sub.ID.String())
	return rest.WriteEncoded(w, http.StatusCreated, encoded(sub).Whole)
}

func (a *API) baseURL(r *http.Request) string {
	if a.parts.BaseURL != "" {
		return strings.TrimSuffix(a.parts.BaseURL, "/")
	}
	return "https://" + r.Host
}

// maxCallbackBytes is longer than any URL that proxies let through.
const maxCallbackBytes = 2048

// check says everything that is wrong with a wish but whether it was made before.
func (a *API) check(ctx context.Context, body wish, version string) error {
	invalid := func(text string) error { return fmt.Errorf("subscription: %s: %w", text, fault.Invalid) }
	switch {
	case body.SubscriptionID != nil:
		return invalid("subscriptionId is ours to assign")
	case body.Callback == nil || *body.Callback == "":
		return invalid("callback is missing")
	case len(*body.Callback) > maxCallbackBytes:
		return invalid(fmt.Sprintf("callback is longer than %d bytes", maxCallbackBytes))
	}
	if err := CheckExtensions(body.Extensions); err != nil {
		return fmt.Errorf("subscription: %w", err)
	}
	if id := body.ConsumerSubscriptionID; id != nil {
		if _, err := uuid.Parse(*id); err != nil || len(*id) != 36 {
			return invalid("consumerSubscriptionId is not a UUID")
		}
	}
	if body.Filter != nil {
		if _, err := CompileFilter(*body.Filter, a.parts.Service.Kinds(version)); err != nil {
			return fmt.Errorf("subscription: %w", err)
		}
	}
	if err := a.parts.Callbacks.CheckURL(ctx, *body.Callback); err != nil {
		return fmt.Errorf("subscription: %w", err)
	}
	switch CallbackCheck(a.options.CallbackCheck) {
	case Check204:
		return a.parts.Callbacks.Reach(ctx, *body.Callback, http.StatusNoContent)
	case Check2xx:
		return a.parts.Callbacks.Reach(ctx, *body.Callback)
	default:
		return nil
	}
}
