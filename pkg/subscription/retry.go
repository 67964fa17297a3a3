package subscription

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// pause is how long to wait after the given number of failures in a row: it doubles from
// first to longest. random is from [0, 1) and spreads consumers that failed at the same
// time over the second half of the pause.
func pause(failures int, first, longest time.Duration, random float64) time.Duration {
	d := longest
	if shift := failures - 1; shift < 40 && first<<shift < longest && first<<shift > 0 {
		d = first << shift
	}
	return d/2 + time.Duration(random*float64(d/2))
}

// longestWish bounds what a consumer can ask for by Retry-After.
const longestWish = time.Hour

// retryAfter is the pause that a consumer asks for with 429 or 503, 0 if it does not.
//
// Source: RFC 9110, clause 10.2.3.
func retryAfter(status int, header string, now time.Time) time.Duration {
	if header == "" || status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	var wish time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wish = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wish = at.Sub(now)
	}
	return min(max(wish, 0), longestWish)
}

// errGone means that the consumer does not want to hear from us any more.
var errGone = errors.New("the callback answered 410 Gone")

// verdict says what an answer means: nil when it acknowledges the notification. Every
// 2xx does. A redirection is not followed, so it is a failure like any other status.
func verdict(status int) error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusGone:
		return errGone
	default:
		return fmt.Errorf("the callback answered %d %s", status, http.StatusText(status))
	}
}

func random() float64 { return rand.Float64() }
