package subscription

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
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
