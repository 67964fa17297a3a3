// Package fault names the kinds of failure a caller can act on.
//
// An error wraps the kind that fits it, and whoever stops the error decides by kind:
// pkg/rest turns it into an HTTP status, a reconciler into a condition or a retry.
// An error of no kind is a fault of our own.
package fault

import (
	"errors"
	"time"
)

var (
	// Invalid means the input is at fault: sending it again unchanged cannot help.
	Invalid = errors.New("invalid")

	// NotFound means the thing that was named does not exist.
	NotFound = errors.New("not found")

	// Conflict means the thing exists already, or changed since it was read.
	Conflict = errors.New("conflict")

	// TooLarge means the input, or what it asks for, is beyond a stated limit.
	TooLarge = errors.New("too large")

	// Unauthenticated means the caller did not prove who it is.
	Unauthenticated = errors.New("unauthenticated")

	// Forbidden means the caller is known and may not do this.
	Forbidden = errors.New("forbidden")

	// RateLimited means the caller asks too often. RetryAfter says when it may ask again.
	RateLimited = errors.New("too many requests")

	// Upstream means a system that we depend on answered with a failure.
	Upstream = errors.New("upstream failure")

	// Unavailable means the answer is not to be had at the moment: try again.
	Unavailable = errors.New("unavailable")
)

// WithRetryAfter adds to an error how long a caller should wait before it tries again.
func WithRetryAfter(err error, wait time.Duration) error { return &waiting{err, wait} }

// RetryAfter returns how long a caller should wait before it tries again, if the error says.
func RetryAfter(err error) (time.Duration, bool) {
	var w *waiting
	if !errors.As(err, &w) {
		return 0, false
	}
	return w.wait, true
}

type waiting struct {
	error
	wait time.Duration
}

func (w *waiting) Unwrap() error { return w.error }
