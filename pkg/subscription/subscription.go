// Package subscription tells consumers what changed: who wants to hear what, and delivery
// to the SMO with retry.
//
// There is one engine for all services. A model hands over its objects (Source); what
// differs from what was announced before becomes an event in one global, ordered stream,
// in the same script that stores the new state. Every subscription has a cursor in that
// stream and a worker that delivers strictly one event after another. The cursor moves
// when the consumer has acknowledged an event and before the next is sent, so a crash
// repeats at most one notification per subscription, with the same notificationId.
//
// Nothing is fanned out in the store: an event is one entry however many subscribe. All
// workers read through one window of recent events in memory. Each has at most one
// request under way and nobody waits for anybody else, so a dead consumer costs a socket.
// A pool of workers was the alternative; a few dozen consumers that answer slowly would
// occupy it and delay all others.
//
// Only the leader announces and delivers. It is fenced (see store.Term), and when the
// store has lost something, it forgets what it knows and begins anew from what is stored.
//
// Sources: O-RAN.WG6.TS.O2IMS-INTERFACE, subscriptions of the inventory; ETSI GS NFV-SOL
// 015, clause 5.9, for the check of a callback.
package subscription

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/store"
)

// FilterMode says what a subscription's filter does with the events that match it.
type FilterMode string

// The standard describes the filter as criteria for events that need not be reported.
// Some consumers read it the other way.
const (
	Exclude FilterMode = "exclude"
	Include FilterMode = "include"
)

// CallbackCheck says how a callback must answer before a subscription to it is accepted.
type CallbackCheck string

// The checks of a callback: none, GET answered with exactly 204, GET answered with any 2xx.
const (
	CheckOff CallbackCheck = "off"
	Check204 CallbackCheck = "get204"
	Check2xx CallbackCheck = "get2xx"
)

// Options are the settings of subscriptions and their delivery, one flag each.
type Options struct {
	RequestTimeout time.Duration // of one attempt
	FirstRetry     time.Duration // pause after the first failure; each further one is twice as long
	LongestRetry   time.Duration // the longest of these pauses
	SuspendAfter   time.Duration // failing without a break for so long suspends a subscription

	RetainFor    time.Duration // events that somebody has not got are kept at most so long
	RetainEvents int           // and at most so many of them

	MaxSubscriptions int
	WindowBytes      int // memory for events that are being delivered
	FilterMode       string
	CallbackCheck    string
	DuplicateStatus  int // HTTP status for a subscription that exists already: 400 or 409

	// DeleteSubscriptions is the Removal of the subscriptions of every service; empty stands
	// for RemovalAny.
	DeleteSubscriptions string
}

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.DurationVar(&o.RequestTimeout, "notification-timeout", 10*time.Second, "how long a callback may take to answer")
	f.DurationVar(&o.FirstRetry, "notification-first-retry", time.Second, "pause after the first failed attempt; doubles with every further one")
	f.DurationVar(&o.LongestRetry, "notification-longest-retry", 5*time.Minute, "the longest pause between two attempts")
	f.DurationVar(&o.SuspendAfter, "notification-suspend-after", 24*time.Hour, "a subscription whose callback has failed for so long without a break is suspended")
	f.DurationVar(&o.RetainFor, "notification-retain-for", 7*24*time.Hour, "how long events are kept for subscriptions that lag behind or are suspended")
	f.IntVar(&o.RetainEvents, "notification-retain-events", 1_000_000, "how many events are kept for such subscriptions")
	f.IntVar(&o.MaxSubscriptions, "max-subscriptions", 2000, "how many subscriptions there may be; each may have one notification under way")
	f.IntVar(&o.WindowBytes, "notification-window-bytes", 32<<20, "memory for events that are being delivered")
	f.StringVar(&o.FilterMode, "subscription-filter-mode", string(Exclude), "exclude: events that match a subscription's filter are not reported, as the standard says; include: only those are")
	f.StringVar(&o.CallbackCheck, "verify-callback", string(CheckOff), "what a callback must answer to a GET before a subscription is accepted: off, get204 or get2xx")
	f.IntVar(&o.DuplicateStatus, "duplicate-subscription-status", 400, "HTTP status for a subscription that exists already: 400 or 409")
	f.StringVar(&o.DeleteSubscriptions, "delete-subscriptions", string(RemovalAny), "who may delete or change a subscription: any client that may delete subscriptions at all, or owner: its owner, its creator and administrators")
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var faults []error
	bad := func(flag string, value any, want string) {
		faults = append(faults, fmt.Errorf("--%s is %v, want %s: %w", flag, value, want, fault.Invalid))
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"notification-timeout", o.RequestTimeout}, {"notification-first-retry", o.FirstRetry},
		{"notification-longest-retry", o.LongestRetry}, {"notification-suspend-after", o.SuspendAfter},
		{"notification-retain-for", o.RetainFor},
	} {
		if d.value <= 0 {
			bad(d.flag, d.value, "more than 0")
		}
	}
	if o.FirstRetry > o.LongestRetry {
		bad("notification-first-retry", o.FirstRetry, "at most --notification-longest-retry")
	}
	if o.RetainEvents < 1 {
		bad("notification-retain-events", o.RetainEvents, "at least 1")
	}
	if o.MaxSubscriptions < 1 {
		bad("max-subscriptions", o.MaxSubscriptions, "at least 1")
	}
	if o.WindowBytes < 1<<20 {
		bad("notification-window-bytes", o.WindowBytes, "at least 1048576")
	}
	switch FilterMode(o.FilterMode) {
	case Exclude, Include:
	default:
		bad("subscription-filter-mode", o.FilterMode, "exclude or include")
	}
	switch CallbackCheck(o.CallbackCheck) {
	case CheckOff, Check204, Check2xx:
	default:
		bad("verify-callback", o.CallbackCheck, "off, get204 or get2xx")
	}
	switch Removal(o.DeleteSubscriptions) {
	case "", RemovalAny, RemovalOwner:
	default:
		bad("delete-subscriptions", o.DeleteSubscriptions, "any or owner")
	}
	if o.DuplicateStatus != 400 && o.DuplicateStatus != 409 {
		bad("duplicate-subscription-status", o.DuplicateStatus, "400 or 409")
	}
	return errors.Join(faults...)
}

// Service is an API whose changes can be subscribed to.
type Service struct {
	Name     string   // in the store and in metrics, such as "inventory"
	Versions []string // majors that are served, such as "v1", "v2"

	// Kinds returns the objectTypes that filters may be about in one version.
	Kinds func(version string) Kinds

	// RootKind and RootID name the object that stands for all of the service, such as the
	// O-Cloud: a resync notice is about it. They may be empty.
	RootKind, RootID string

	// Render shows events whose stored documents are the service's own; nil: they are
	// Documents, and notifications those of the inventory.
	Render Renderer

	// Resync makes the body of a resync notice; nil: that of a modification of the root
	// object. It is called from several goroutines at once.
	Resync func(n Notification, lost store.Range, version, baseURL string) ([]byte, error)

	// EventTypes are the notificationEventTypes there are; nil: 0, 1 and 2.
	EventTypes []int

	// EventNames are words for event types, such as NEW. A filter may consist of one of
	// them, and an eventFilter does. nil: there are no such words.
	EventNames map[string]int
}
