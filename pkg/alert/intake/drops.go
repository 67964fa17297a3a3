package intake

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Reasons why something was not taken, beside those of package alert. They are keys of
// report.Alerts.Dropped.
const (
	reasonMalformed     = "Malformed"     // an alert that is no alert
	reasonStatus        = "Status"        // an alert of a webhook that is neither firing nor resolved
	reasonBodyTooLarge  = "BodyTooLarge"  // a body beyond the bound; what came before it was taken
	reasonBodyMalformed = "BodyMalformed" // a body that is no JSON, or is cut off; what came before was taken
)

// dropsLogInterval keeps a sender of garbage from filling the log.
const dropsLogInterval = time.Minute

// drops counts what could not be taken, tells whoever reports it, and logs it now and then.
type drops struct {
	tell func(reason string, n uint64) // may be nil
	now  func() time.Time

	mu       sync.Mutex
	logged   time.Time
	unlogged map[string]uint64
}

func (d *drops) add(ctx context.Context, via string, counts map[string]uint64, cause error) {
	if len(counts) == 0 {
		return
	}
	if d.tell != nil {
		for reason, n := range counts {
			d.tell(reason, n)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unlogged == nil {
		d.unlogged = make(map[string]uint64)
	}
	for reason, n := range counts {
		d.unlogged[reason] += n
	}
	if now := d.now(); now.Sub(d.logged) >= dropsLogInterval {
		slog.WarnContext(ctx, "alerts not taken", "via", via, "reasons", maps.Clone(d.unlogged), "last", cause)
		d.logged = now
		clear(d.unlogged)
	}
}
