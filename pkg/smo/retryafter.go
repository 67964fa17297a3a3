package smo

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestWish bounds what a token endpoint or the SMO's registration endpoint can ask for by
// Retry-After. Everything waits for the one, and the SMO knows nothing of us before the other:
// one request in so long is no burden to a server that has meanwhile recovered.
const longestWish = 10 * time.Minute

// RetryAfter is the pause that an answer asks for, from now on and at most the longest: 0 when
// it is neither 429 nor 503, or says nothing that can be understood.
//
// Source: RFC 9110, 10.2.3; RFC 6585, 4.
func RetryAfter(r *http.Response, now time.Time, longest time.Duration) time.Duration {
	if r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	return min(parseRetryAfter(r.Header.Get("Retry-After"), now), longest)
}

// parseRetryAfter reads a number of seconds, or the date until which to wait. A date that has
// passed is no wait, and neither is what is none of both.
func parseRetryAfter(text string, now time.Time) time.Duration {
	const longest = math.MaxInt64 / uint64(time.Second)
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseUint(text, 10, 64)
		if err != nil { // too many digits
			seconds = longest
		}
		return time.Duration(min(seconds, longest)) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}
