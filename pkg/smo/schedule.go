package smo

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Backoff spreads attempts: the wait doubles from Min to Max, and goes on for ever. It is a
// value and has no state.
type Backoff struct {
	Min, Max time.Duration
}

// registrationBackoff is between attempts at registration.
var registrationBackoff = Backoff{Min: 5 * time.Second, Max: 5 * time.Minute}

// Delay returns how long to wait after so many failures before this one, 0 at the first. It
// lies in the upper half of the doubled wait, and never below Min or above Max; where, is
// decided by a seed, so that those who failed together do not come back together, and that
// who asks twice is told the same.
func (b Backoff) Delay(failures int, seed string) time.Duration {
	longest := b.Min * 2
	for n := 0; n < failures && longest < b.Max; n++ {
		longest *= 2
	}
	longest = min(longest, b.Max)
	shortest := max(longest/2, b.Min)
	sum := sha256.Sum256(fmt.Append(nil, failures, "/", seed))
	share := float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53) // 0 to 1
	return shortest + time.Duration(share*float64(longest-shortest))
}

// Attempt is what has to be remembered of registration over a restart.
type Attempt struct {
	Digest   string    // Registration.Digest of what was sent; empty: nothing was
	Trigger  string    // who asked for it, such as the value of an annotation
	At       time.Time // when it ended
	Failures int       // in a row, of this digest; 0: it succeeded

	Wish time.Duration // how long we were asked to wait after At; 0: we were not
}

// Next tells whether a registration with this digest and trigger is due, and if not, when;
// zero is never. It is due at once when it was never tried or something has changed since,
// and after a failure when the backoff has passed, and the pause that was asked for. What
// succeeded is not repeated.
func (a Attempt) Next(digest, trigger string, now time.Time) (due bool, at time.Time) {
	switch {
	case a.Digest != digest, a.Trigger != trigger, a.At.IsZero():
		return true, now
	case a.Failures == 0:
		return false, time.Time{}
	}
	at = a.At.Add(max(a.Wish, registrationBackoff.Delay(a.Failures-1, digest)))
	if !now.Before(at) || a.At.Sub(now) > registrationBackoff.Max { // the clock was set back
		return true, now
	}
	return false, at
}

// Then returns what to remember after an attempt that ended now with an error, such as Register
// returns, or without.
func (a Attempt) Then(digest, trigger string, err error, now time.Time) Attempt {
	next := Attempt{Digest: digest, Trigger: trigger, At: now}
	if err != nil {
		next.Failures = 1
		next.Wish, _ = fault.RetryAfter(err)
		if a.Digest == digest && a.Trigger == trigger {
			next.Failures += a.Failures
		}
	}
	return next
}
