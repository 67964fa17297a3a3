package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
)

// AlarmSettings returns the stored alarmServiceConfiguration and its version, which is 0
// when nobody has set one.
func (s *Store) AlarmSettings(ctx context.Context) (version uint64, document []byte, err error) {
	text, err := s.client.Get(ctx, keyAlarmSettings).Result()
	if isNil(err) {
		return 0, nil, nil
	}
	if err := s.observe("alarm-settings", err); err != nil {
		return 0, nil, fmt.Errorf("alarm settings: %w", err)
	}
	a, err := alarmOf(uuid.Nil, text)
	return a.Version, a.Document, err
}

// SetAlarmSettings replaces the configuration when it is of the version that was read.
// Otherwise the error is ErrAlarmsMoved.
func (s *Store) SetAlarmSettings(ctx context.Context, read uint64, document []byte) error {
	_, err := s.run(ctx, scriptAlarmSettings, []string{keyAlarmSettings}, read, value(read+1, document))
	switch {
	case errors.Is(err, fault.Conflict):
		return ErrAlarmsMoved
	case err != nil:
		return fmt.Errorf("alarm settings: %w", err)
	}
	return s.AwaitDurable(ctx)
}

var scriptAlarmSettings = newScript("alarm-settings", `
local stored = redis.call('GET', KEYS[1])
if stored == ARGV[2] then return {'OK'} end -- sent twice
local version = '0'
if stored then version = string.match(stored, '^%d+') end
if version ~= ARGV[1] then return {'CONFLICT'} end
redis.call('SET', KEYS[1], ARGV[2])
return {'OK'}`)

// AlarmTasks returns the documents of all tasks, by ID.
func (s *Store) AlarmTasks(ctx context.Context) (map[uuid.UUID][]byte, error) {
	texts, err := s.client.HGetAll(ctx, keyAlarmTasks).Result()
	if err := s.observe("alarm-tasks", err); err != nil {
		return nil, fmt.Errorf("tasks: %w", err)
	}
	all := make(map[uuid.UUID][]byte, len(texts))
	for name, packed := range texts {
		id, err := uuid.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("stored task %q: %w", name, err)
		}
		if all[id], err = unpack(packed); err != nil {
			return nil, fmt.Errorf("task %s: %w", id, err)
		}
	}
	return all, nil
}

// PutAlarmTask creates or replaces a task.
func (s *Store) PutAlarmTask(ctx context.Context, id uuid.UUID, document []byte) error {
	err := s.client.HSet(ctx, keyAlarmTasks, id.String(), pack(document)).Err()
	if err := s.observe("put-alarm-task", err); err != nil {
		return fmt.Errorf("task %s: %w", id, err)
	}
	return s.AwaitDurable(ctx)
}

// ForgetAlarmTasks removes tasks. Those that do not exist are no error.
func (s *Store) ForgetAlarmTasks(ctx context.Context, ids ...uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	return s.observe("forget-alarm-tasks", s.client.HDel(ctx, keyAlarmTasks, names...).Err())
}

// UseAlarmRules notes which rules a cluster has, and tells whether their body is there.
func (t *Term) UseAlarmRules(ctx context.Context, cluster, sha256 string) (known bool, err error) {
	reply, err := t.run(ctx, scriptUseRules, []string{keyLeader, keyAlarmRules, keyAlarmRulesInUse}, t.token, cluster, sha256)
	if err != nil {
		return false, fmt.Errorf("rules of %q: %w", cluster, err)
	}
	return number(reply[0]) == 1, nil
}

var scriptUseRules = newScript("use-alarm-rules", fenced+`
if redis.call('HGET', KEYS[3], ARGV[2]) ~= ARGV[3] then redis.call('HSET', KEYS[3], ARGV[2], ARGV[3]) end
return {'OK', redis.call('HEXISTS', KEYS[2], ARGV[3])}`)

// ForgetAlarmRules notes that a cluster is gone, and its rules with it.
func (t *Term) ForgetAlarmRules(ctx context.Context, cluster string) error {
	_, err := t.run(ctx, scriptForgetRules, []string{keyLeader, keyAlarmRulesInUse}, t.token, cluster)
	return err
}

var scriptForgetRules = newScript("forget-alarm-rules", fenced+`
redis.call('HDEL', KEYS[2], ARGV[2])
return {'OK'}`)

// Bounds of the rules that are kept. Rules that nobody has any more stay for a while,
// because alarms refer to what they define.
const (
	MaxAlarmRulesBytes = 64 << 20 // of all bodies, as they are stored
	maxUnusedRules     = 32       // bodies that no cluster has
	unusedRulesAge     = 30 * 24 * time.Hour
)

// PutAlarmRules stores the body of rules under its SHA-256, which the caller has verified.
// The error wraps fault.TooLarge when there is no room for it.
func (t *Term) PutAlarmRules(ctx context.Context, sha256 string, body []byte) error {
	packed := pack(body)
	err := t.tidyRules(ctx, sha256, packed)
	if err != nil {
		return fmt.Errorf("rules %s of %d bytes: %w", sha256, len(packed), err)
	}
	return nil
}

// TidyAlarmRules removes bodies that no cluster has had for long, or that are too many.
func (t *Term) TidyAlarmRules(ctx context.Context) error { return t.tidyRules(ctx, "", nil) }

func (t *Term) tidyRules(ctx context.Context, sha256 string, packed []byte) error {
	now := t.store.now()
	_, err := t.run(ctx, scriptTidyRules, []string{keyLeader, keyAlarmRules, keyAlarmRulesInUse, keyAlarmRulesUnused},
		t.token, sha256, packed, now.UnixMilli(), now.Add(-unusedRulesAge).UnixMilli(), maxUnusedRules, MaxAlarmRulesBytes)
	if errors.Is(err, fault.Conflict) && !errors.Is(err, ErrFenced) && !errors.Is(err, ErrRewound) {
		return fmt.Errorf("there is no room for them: %w", fault.TooLarge)
	}
	return err
}

// scriptTidyRules notes since when rules are without use, forgets the oldest of those, and
// adds a body.
var scriptTidyRules = newScript("tidy-alarm-rules", fenced+`
local used = {}
for _, hash in ipairs(redis.call('HVALS', KEYS[3])) do used[hash] = true end
local size = #ARGV[3]
for _, hash in ipairs(redis.call('HKEYS', KEYS[2])) do
  if used[hash] then
    redis.call('ZREM', KEYS[4], hash)
  else
    redis.call('ZADD', KEYS[4], 'NX', ARGV[4], hash)
  end
  if hash ~= ARGV[2] then size = size + redis.call('HSTRLEN', KEYS[2], hash) end
end
local unused = redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES')
local left = #unused / 2
for i = 1, #unused, 2 do
  if left > tonumber(ARGV[6]) or tonumber(unused[i+1]) < tonumber(ARGV[5]) then
    size = size - redis.call('HSTRLEN', KEYS[2], unused[i])
    redis.call('HDEL', KEYS[2], unused[i])
    redis.call('ZREM', KEYS[4], unused[i])
    left = left - 1
  end
end
if ARGV[2] ~= '' then
  if size > tonumber(ARGV[7]) then return {'CONFLICT'} end
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
end
return {'OK'}`)

// AlarmRules returns the body of rules. The error wraps fault.NotFound when it is not there.
func (s *Store) AlarmRules(ctx context.Context, sha256 string) ([]byte, error) {
	packed, err := s.client.HGet(ctx, keyAlarmRules, sha256).Result()
	if isNil(err) {
		return nil, fmt.Errorf("rules %s: %w", sha256, fault.NotFound)
	}
	if err := s.observe("alarm-rules", err); err != nil {
		return nil, fmt.Errorf("rules %s: %w", sha256, err)
	}
	return unpack(packed)
}

// AlarmRulesKept returns the SHA-256 of all rules whose bodies are kept, ascending, and
// those that clusters have, by cluster.
func (s *Store) AlarmRulesKept(ctx context.Context) (kept []string, inUse map[string]string, err error) {
	p := s.client.Pipeline()
	bodies, use := p.HKeys(ctx, keyAlarmRules), p.HGetAll(ctx, keyAlarmRulesInUse)
	_, err = p.Exec(ctx)
	if err := s.observe("alarm-rules-kept", err); err != nil {
		return nil, nil, fmt.Errorf("rules: %w", err)
	}
	kept = bodies.Val()
	slices.SortFunc(kept, strings.Compare)
	return kept, use.Val(), nil
}
