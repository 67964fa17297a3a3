package alarm

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

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
	"github.com/o2ims/o2ims/pkg/subscription"
)

func (a *API) listSubscriptions(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := v.subscriptions.ListQuery(r)
		if err != nil {
			return err
		}
		list, err := a.parts.Store.Subscriptions(r.Context(), ServiceName)
		if err != nil {
			return err
		}
		return q.List(w, sorted(list, v.subscriptions.ID))
	}
}

// sorted is a source of records that are in memory, in ascending order of their IDs.
func sorted[R any](list []R, id func(R) string) rest.Source[R] {
	return rest.Source[R]{
		After: func(after string) iter.Seq[R] {
			first, found := slices.BinarySearchFunc(list, after, func(r R, after string) int { return strings.Compare(id(r), after) })
			if found {
				first++
			}
			return slices.Values(list[first:])
		},
		Len: func() int { return len(list) },
	}
}

func (a *API) getSubscription(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, v.subscriptions.IDName)
		if err != nil {
			return err
		}
		q, err := v.subscriptions.Query(r)
		if err != nil {
			return err
		}
		s, err := a.subscription(r.Context(), id)
		if err != nil {
			return err
		}
		return q.Object(w, s)
	}
}

func (a *API) deleteSubscription(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, v.subscriptions.IDName)
		if err != nil {
			return err
		}
		s, err := a.subscription(r.Context(), id)
		if err != nil {
			return err
		}
		if err := a.checkOwner(r, v, s, auth.VerbDeleteAny); err != nil {
			return err
		}
		if err := rest.CheckMatch(r, v.subscriptions.Encoded(s).Digest); err != nil {
			return fmt.Errorf("alarm subscription %s: %w", id, err)
		}
		if err := a.parts.Store.DeleteSubscription(r.Context(), s); err != nil {
			return err
		}
		slog.InfoContext(r.Context(), "alarm subscription deleted", "alarmSubscriptionId", id, "user", user(r))
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// checkOwner refuses a caller that may not do what verb says to a subscription, and tells the
// audit log whose that is.
func (a *API) checkOwner(r *http.Request, v *version, s store.Subscription, verb string) error {
	told := rest.AuditOf(r.Context())
	told.Owner, told.Creator = s.Owner, s.Creator
	return a.parts.Subscriptions.CheckOwner(r.Context(), a.parts.Access, s, verb, v.collection())
}

func (v *version) collection() string { return v.base() + "/alarmSubscriptions" }

// createSubscription answers a POST. Attributes that are not known are passed over, as is an
// identifier that the consumer made up: the standard wants that here.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, AlarmSubscription.
func (a *API) createSubscription(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := readObject(w, r)
		if err != nil {
			return err
		}
		whose, err := auth.OwnershipOf(r, a.parts.Access, v.collection())
		if err != nil {
			return fmt.Errorf("alarm subscription: %w", err)
		}
		s := store.Subscription{ID: uuid.New(), Service: ServiceName, Version: v.Name, Creator: whose.Creator, Owner: whose.Owner, Created: a.now()}
		if err := apply(&s, body); err != nil {
			return fmt.Errorf("alarm subscription: %w", err)
		}
		if s.Filter, err = optionalText("filter", body["filter"]); err != nil {
			return fmt.Errorf("alarm subscription: %w", err)
		}
		if err := a.judge(r.Context(), s, true); err != nil {
			return fmt.Errorf("alarm subscription: %w", err)
		}
		if a.parts.GlobalCloudID() == "" {
			return fmt.Errorf("alarm subscription: the O-Cloud has no globalCloudId yet, which every notification needs: %w", fault.Conflict)
		}
		told := rest.AuditOf(r.Context())
		told.ResourceID, told.Owner, told.Creator = s.ID.String(), s.Owner, s.Creator
		err = a.duplicate(a.parts.Store.CreateSubscription(r.Context(), s, a.parts.Subscriptions.MaxSubscriptions))
		if err != nil {
			return err
		}
		slog.InfoContext(r.Context(), "alarm subscription created", "alarmSubscriptionId", s.ID, "version", v.Name, "user", user(r), "owner", s.Owner, "creator", s.Creator)
		w.Header().Set("Location", a.baseURL(r)+v.collection()+"/"+s.ID.String())
		e := v.subscriptions.Encoded(s)
		rest.SetETag(w, e.Digest)
		return rest.WriteEncoded(w, http.StatusCreated, e.Whole)
	}
}

// duplicate gives the error for a subscription that exists already the status that is
// configured for it.
func (a *API) duplicate(err error) error {
	if errors.Is(err, fault.Conflict) && a.parts.Subscriptions.DuplicateStatus == http.StatusBadRequest {
		return fmt.Errorf("%w: %w", err, fault.Invalid)
	}
	return err
}

// modifiable are the attributes of AlarmSubscriptionUpdate, and the extensions, in which
// nothing can be changed.
var modifiable = []string{"consumerSubscriptionId", "eventFilter", "callback", "extensions"}

func (a *API) patchSubscription(v *version) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := rest.UUID(r, v.subscriptions.IDName)
		if err != nil {
			return err
		}
		body, err := readObject(w, r)
		if err != nil {
			return err
		}
		if err := only(body, modifiable...); err != nil {
			return fmt.Errorf("alarm subscription: %w", err)
		}
		_, moved := body["callback"]
		s, err := a.updateSubscription(r.Context(), id, func(s *store.Subscription) error {
			if err := a.checkOwner(r, v, *s, auth.VerbPatchAny); err != nil {
				return err
			}
			if err := rest.CheckMatch(r, v.subscriptions.Encoded(*s).Digest); err != nil {
				return fmt.Errorf("alarm subscription %s: %w", id, err)
			}
			if err := apply(s, body); err != nil {
				return fmt.Errorf("alarm subscription: %w", err)
			}
			if err := a.judge(r.Context(), *s, moved); err != nil {
				return fmt.Errorf("alarm subscription: %w", err)
			}
			return nil
		})
		if err := a.duplicate(err); err != nil {
			return err
		}
		slog.InfoContext(r.Context(), "alarm subscription changed", "alarmSubscriptionId", id, "user", user(r))
		e := v.subscriptions.Encoded(s)
		rest.SetETag(w, e.Digest)
		return rest.WriteEncoded(w, http.StatusOK, e.Whole)
	}
}

// subscription returns one of ours. One of another service is not found.
func (a *API) subscription(ctx context.Context, id uuid.UUID) (store.Subscription, error) {
	s, err := a.parts.Store.Subscription(ctx, id)
	if err == nil && s.Service != ServiceName {
		err = fmt.Errorf("alarm subscription %s: %w", id, fault.NotFound)
	}
	return s, err
}

// subscriptionPatience bounds how often a change is tried again because others are faster.
const subscriptionPatience = 20

// updateSubscription stores what change makes of a subscription. One that is suspended goes
// on: its consumer is there, and may have moved.
func (a *API) updateSubscription(ctx context.Context, id uuid.UUID, change func(*store.Subscription) error) (store.Subscription, error) {
	for range subscriptionPatience {
		old, err := a.subscription(ctx, id)
		if err != nil {
			return old, err
		}
		changed := old
		if err := change(&changed); err != nil {
			return old, err
		}
		err = a.parts.Store.ReplaceSubscription(ctx, old, changed)
		if errors.Is(err, fault.NotFound) {
			continue // somebody else changed it, or it is gone
		}
		if err != nil {
			return old, err
		}
		return changed, a.resume(ctx, id)
	}
	return store.Subscription{}, fmt.Errorf("alarm subscription %s is changed by others all the time: %w", id, fault.Unavailable)
}

func (a *API) resume(ctx context.Context, id uuid.UUID) error {
	progress, err := a.parts.Store.ProgressOf(ctx, id)
	if err != nil || !progress[id].Status.Suspended {
		return err
	}
	return a.parts.Store.Resume(ctx, id)
}

// apply sets the attributes of a subscription that are in a body. null removes one, as a
// merge patch does.
func apply(s *store.Subscription, body map[string]json.RawMessage) (err error) {
	if err := subscription.CheckExtensions(body["extensions"]); err != nil {
		return err
	}
	if text, there := body["consumerSubscriptionId"]; there {
		if s.ConsumerID, err = optionalText("consumerSubscriptionId", text); err != nil {
			return err
		}
	}
	if text, there := body["eventFilter"]; there {
		if s.EventFilter, err = eventFilter(text); err != nil {
			return err
		}
	}
	if text, there := body["callback"]; there {
		callback, err := optionalText("callback", text)
		if err != nil {
			return err
		}
		s.Callback = ""
		if callback != nil {
			s.Callback = *callback
		}
	}
	return nil
}

// eventFilter reads an eventFilter: null, one word or a list of words. Words come back in
// the order of their types, each once, so that equal wishes are equal.
func eventFilter(text json.RawMessage) ([]string, error) {
	var words []string
	var word *string
	switch {
	case json.Unmarshal(text, &word) == nil:
		if word == nil {
			return nil, nil
		}
		words = []string{*word}
	case json.Unmarshal(text, &words) != nil || len(words) == 0:
		return nil, fmt.Errorf("eventFilter is neither one of %s nor a list of them: %w", strings.Join(eventNames, ", "), fault.Invalid)
	}
	for _, word := range words {
		if !slices.Contains(eventNames, word) {
			return nil, fmt.Errorf("eventFilter: %q is none of %s: %w", clip(word), strings.Join(eventNames, ", "), fault.Invalid)
		}
	}
	var ordered []string
	for _, known := range eventNames {
		if slices.Contains(words, known) {
			ordered = append(ordered, known)
		}
	}
	return ordered, nil
}

func clip(s string) string {
	const longest = 64
	if len(s) > longest {
		s = s[:longest] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

const (
	maxCallbackBytes   = 2048 // longer than any URL that proxies let through
	maxConsumerIDBytes = 1024
)

// judge says what is wrong with a subscription but whether it was made before. A callback
// is only looked at when it is new.
func (a *API) judge(ctx context.Context, s store.Subscription, callback bool) error {
	switch {
	case s.Callback == "":
		return fmt.Errorf("callback is missing: %w", fault.Invalid)
	case len(s.Callback) > maxCallbackBytes:
		return fmt.Errorf("callback is longer than %d bytes: %w", maxCallbackBytes, fault.Invalid)
	case s.ConsumerID != nil && len(*s.ConsumerID) > maxConsumerIDBytes:
		return fmt.Errorf("consumerSubscriptionId is longer than %d bytes: %w", maxConsumerIDBytes, fault.Invalid)
	}
	if err := a.service.CheckFilters(&s); err != nil {
		return err
	}
	if !callback {
		return nil
	}
	if err := a.parts.Callbacks.CheckURL(ctx, s.Callback); err != nil {
		return err
	}
	switch subscription.CallbackCheck(a.parts.Subscriptions.CallbackCheck) {
	case subscription.Check204:
		return a.parts.Callbacks.Reach(ctx, s.Callback, http.StatusNoContent)
	case subscription.Check2xx:
		return a.parts.Callbacks.Reach(ctx, s.Callback)
	default:
		return nil
	}
}

// user is who sends a request, as the log has it.
func user(r *http.Request) string {
	id, _ := auth.IdentityOf(r.Context())
	return id.Name
}

// actor is who sends a request, as records have it: the client that the token was issued to.
func actor(r *http.Request) string {
	id, _ := auth.IdentityOf(r.Context())
	return auth.ClientOf(id)
}
