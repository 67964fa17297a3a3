package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
)

// State of an alarm, as far as the indices go by it.
type AlarmState struct {
	Open    *OpenAlarm // nil when it is cleared
	Cleared time.Time  // when it is
}

func (s *AlarmState) members(raised time.Time, id uuid.UUID) (open, cleared string) {
	if s.Open != nil {
		return s.Open.member(), ""
	}
	if s.Cleared.IsZero() { // there is no alarm
		return "", ""
	}
	return "", string(append(sortable(s.Cleared.UnixMilli()), orderMember(raised, id)...))
}

// AlarmWrite is what is to become of one alarm.
type AlarmWrite struct {
	ID            uuid.UUID
	Read          uint64    // version that was read; 0: there was none
	Version       uint64    // that is written
	Raised        time.Time // never changes
	Before, After AlarmState
	Document      []byte
}

// AlarmEvent is what subscribers are told of an alarm that is written at the same time.
type AlarmEvent struct {
	Write    int       // index of the AlarmWrite
	Type     EventType // 0 to 3
	Document []byte    // as it was after this event; nil: the document that is written
}

// AlarmBatch is a change of alarms of one cluster that happens whole or not at all.
type AlarmBatch struct {
	Cluster string
	Writes  []AlarmWrite // at most one for each alarm
	Events  []AlarmEvent // in the order in which they are told

	// The cluster's journal, before and after; nil: whatever it is, it stays.
	Before, After *Journal

	Gap *Gap // recorded with the change; nil: none
}

// AlarmSource is the Event.Source, and AlarmKind the Event.Kind, of events about alarms.
const (
	AlarmSource = "monitoring"
	AlarmKind   = "alarm"
)

// ErrAlarmsMoved means that an alarm or the journal is not as it was read. Nothing was
// written.
var ErrAlarmsMoved = fmt.Errorf("alarms have changed since they were read: %w", fault.Conflict)

// WriteAlarms carries out a change that only the leader may make. An error is
// ErrAlarmsMoved, ErrFenced, ErrRewound, or wraps fault.Unavailable; then the change may
// have been made all the same, and reading anew shows it.
func (t *Term) WriteAlarms(ctx context.Context, b AlarmBatch) error {
	keys, args := b.command(t.token, t.store.now())
	_, err := t.run(ctx, scriptAlarms, keys, args...)
	return moved(b.Cluster, err)
}

// WriteAlarms carries out a change that any replica may make. The journal must stay. An
// error is ErrAlarmsMoved or wraps fault.Unavailable.
func (s *Store) WriteAlarms(ctx context.Context, b AlarmBatch) error {
	if b.After != nil {
		return fmt.Errorf("journal of %q: only the leader may write it: %w", b.Cluster, fault.Invalid)
	}
	keys, args := b.command("", s.now())
	_, err := s.run(ctx, scriptAlarms, keys, args...)
	return moved(b.Cluster, err)
}

func moved(cluster string, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrFenced), errors.Is(err, ErrRewound):
		return err
	case errors.Is(err, fault.Conflict):
		return ErrAlarmsMoved
	default:
		return fmt.Errorf("alarms of %q: %w", cluster, err)
	}
}

// anyJournal is what no journal is.
const anyJournal = "*"

func (b *AlarmBatch) command(token string, now time.Time) (keys []string, args []any) {
	before, after, gap := anyJournal, "", ""
	if b.Before != nil {
		before = b.Before.text()
	}
	if b.After != nil {
		after = b.After.text()
	}
	if b.Gap != nil {
		text, err := json.Marshal(b.Gap)
		if err != nil { // it always can
			panic(err)
		}
		gap = string(text)
	}
	keys = []string{keyLeader, keySeq, keyEvents, keyAlarms, keyAlarmOrder, keyAlarmCleared,
		keyAlarmOpen + b.Cluster, keyAlarmClusters, keyAlarmJournals, keyAlarmGaps}
	args = make([]any, 0, 10+9*len(b.Writes)+3*len(b.Events))
	args = append(args, token, now.UnixMilli(), AlarmSource, AlarmKind, b.Cluster, before, after, gap, keepGaps-1, len(b.Writes))
	for i := range b.Writes {
		w := &b.Writes[i]
		wasOpen, wasCleared := w.Before.members(w.Raised, w.ID)
		open, cleared := w.After.members(w.Raised, w.ID)
		args = append(args, w.ID[:], w.ID.String(), w.Read, value(w.Version, w.Document),
			orderMember(w.Raised, w.ID), wasOpen, wasCleared, open, cleared)
	}
	for _, e := range b.Events {
		var document []byte
		if e.Document != nil {
			document = pack(e.Document)
		}
		args = append(args, e.Write, int(e.Type), document)
	}
	return keys, args
}

// scriptAlarms checks that the journal and every alarm are as they were read, and then
// writes all of it. Sent twice, it finds the second time that they are not.
var scriptAlarms = newScript("alarms", `
if ARGV[1] ~= '' then
`+fenced+`
end
local cluster = ARGV[5]
if ARGV[6] ~= '*' and (redis.call('HGET', KEYS[9], cluster) or '') ~= ARGV[6] then return {'CONFLICT', 'journal'} end
local count = tonumber(ARGV[10])
local last = {}
for i = 0, count - 1 do
  local a = 11 + i * 9
  local stored = redis.call('HGET', KEYS[4], ARGV[a])
  local version = '0'
  last[i] = ''
  if stored then
    local blank = string.find(stored, ' ', 1, true)
    version = string.sub(stored, 1, blank - 1)
    last[i] = string.sub(stored, blank + 1)
  end
  if version ~= ARGV[a+2] then return {'CONFLICT', ARGV[a+1]} end
end
for i = 0, count - 1 do
  local a = 11 + i * 9
  redis.call('HSET', KEYS[4], ARGV[a], ARGV[a+3])
  if ARGV[a+2] == '0' then redis.call('ZADD', KEYS[5], 0, ARGV[a+4]) end
  if ARGV[a+5] ~= ARGV[a+7] then
    if ARGV[a+5] ~= '' then redis.call('ZREM', KEYS[7], ARGV[a+5]) end
    if ARGV[a+7] ~= '' then redis.call('ZADD', KEYS[7], 0, ARGV[a+7]) end
  end
  if ARGV[a+6] ~= ARGV[a+8] then
    if ARGV[a+6] ~= '' then redis.call('ZREM', KEYS[6], ARGV[a+6]) end
    if ARGV[a+8] ~= '' then redis.call('ZADD', KEYS[6], 0, ARGV[a+8]) end
  end
end
if count > 0 then
  if redis.call('EXISTS', KEYS[7]) == 1 then
    redis.call('SADD', KEYS[8], cluster)
  else
    redis.call('SREM', KEYS[8], cluster)
  end
end
for e = 11 + count * 9, #ARGV, 3 do
  local i = tonumber(ARGV[e])
  local a = 11 + i * 9
  local document = ARGV[e+2]
  if document == '' then document = string.sub(ARGV[a+3], string.find(ARGV[a+3], ' ', 1, true) + 1) end
  local seq = redis.call('INCR', KEYS[2])
  redis.call('XADD', KEYS[3], string.format('%.0f-0', seq),
    's', ARGV[3], 'o', ARGV[4] .. '/' .. ARGV[a+1], 't', ARGV[e+1], 'm', ARGV[2], 'p', last[i], 'n', document)
  last[i] = document
end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[9], cluster, ARGV[7]) end
if ARGV[8] ~= '' then
  redis.call('LPUSH', KEYS[10], ARGV[8])
  redis.call('LTRIM', KEYS[10], 0, tonumber(ARGV[9]))
end
return {'OK'}`)
