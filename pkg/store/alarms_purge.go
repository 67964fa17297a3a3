package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// lexRange are the members of a sorted set between two bounds, at most limit of them, or
// all when limit is negative.
func lexRange(key, from, to string, limit int) redis.ZRangeArgs {
	z := redis.ZRangeArgs{Key: key, Start: from, Stop: to, ByLex: true}
	if limit >= 0 {
		z.Count = int64(limit)
	}
	return z
}

// ClearedAlarm names an alarm that is cleared.
type ClearedAlarm struct {
	ID      uuid.UUID
	Raised  time.Time
	Cleared time.Time
}

func (c *ClearedAlarm) member() string {
	return string(append(sortable(c.Cleared.UnixMilli()), orderMember(c.Raised, c.ID)...))
}

// ClearedAlarms returns up to limit alarms that were cleared from one moment on and before
// another, ascending, and after a given one; the zero moment from is before all, and nil is
// before all alarms.
func (s *Store) ClearedAlarms(ctx context.Context, from, to time.Time, after *ClearedAlarm, limit int) ([]ClearedAlarm, error) {
	low := "-"
	switch {
	case after != nil:
		low = "(" + after.member()
	case !from.IsZero():
		low = "[" + string(sortable(from.UnixMilli()))
	}
	members, err := s.client.ZRangeArgs(ctx, lexRange(keyAlarmCleared, low, "("+string(sortable(to.UnixMilli())), limit)).Result()
	if err := s.observe("cleared-alarms", err); err != nil {
		return nil, fmt.Errorf("cleared alarms: %w", err)
	}
	list := make([]ClearedAlarm, len(members))
	for i, m := range members {
		if len(m) != 8+8+16 {
			return nil, fmt.Errorf("cleared alarm %q: not of our form", m)
		}
		place, err := placeOf(m[8:])
		if err != nil {
			return nil, err
		}
		list[i] = ClearedAlarm{ID: place.ID, Raised: place.Raised, Cleared: time.UnixMilli(unsorted(m[:8])).UTC()}
	}
	return list, nil
}

// RemoveAlarms removes those of the given alarms that are cleared as they say, and returns
// how many. It is for at most a few hundred at once.
func (s *Store) RemoveAlarms(ctx context.Context, alarms []ClearedAlarm) (int, error) {
	if len(alarms) == 0 {
		return 0, nil
	}
	args := make([]any, 0, 3*len(alarms))
	for i := range alarms {
		a := &alarms[i]
		args = append(args, a.ID[:], orderMember(a.Raised, a.ID), a.member())
	}
	reply, err := s.run(ctx, scriptRemoveAlarms, []string{keyAlarms, keyAlarmOrder, keyAlarmCleared}, args...)
	if err != nil {
		return 0, fmt.Errorf("remove alarms: %w", err)
	}
	return int(number(reply[0])), nil
}

// scriptRemoveAlarms goes by the index of what is cleared: an alarm that was opened again
// meanwhile is not in it any more.
var scriptRemoveAlarms = newScript("remove-alarms", `
local removed = 0
for a = 1, #ARGV, 3 do
  if redis.call('ZREM', KEYS[3], ARGV[a+2]) == 1 then
    redis.call('HDEL', KEYS[1], ARGV[a])
    redis.call('ZREM', KEYS[2], ARGV[a+1])
    removed = removed + 1
  end
end
return {'OK', removed}`)
