package alarm

import (
	"context"
	"log/slog"
	"time"
)

// retentionInterval is how often old records are removed. Which are old is configured in
// days.
const retentionInterval = 10 * time.Minute

// Retain removes records that were cleared longer ago than the configuration says, until
// ctx ends: call it where a Lease is held. It does so at once when a client of this
// replica makes the period shorter, and within seconds when one of another does.
//
// Source: O-RAN.WG6.TS.O2IMS-INTERFACE, clause 2.1.3.1.2.6.
func (r *RedisRecords) Retain(ctx context.Context) error {
	const look = 10 * time.Second
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	var last time.Time // when records were removed
	days := 0          // by which period
	for {
		c, err := r.Configuration(ctx)
		if err == nil && (c.RetentionDays < days || time.Since(last) >= retentionInterval) {
			if err = r.removeOld(ctx, c.RetentionDays); err == nil {
				last, days = time.Now(), c.RetentionDays
			}
		}
		if err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "old alarms not removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.lowered:
		case <-ticker.C:
		}
	}
}

func (r *RedisRecords) removeOld(ctx context.Context, days int) error {
	if days <= 0 {
		return nil
	}
	removed, err := r.Purge(ctx, Purge{To: r.now().AddDate(0, 0, -days)})
	if removed > 0 {
		slog.InfoContext(ctx, "old alarms removed", "alarms", removed, "retentionPeriod", days)
	}
	return err
}
