package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
)

// The keys of alarms. Members of the sorted sets all have the same score and are ordered by
// their bytes, which begin with a time or a fingerprint: so a place in the order is exact
// however many alarms share a millisecond.
const (
	keyAlarms          = "{o2}:alarms"              // HASH id → version, blank, document
	keyAlarmOrder      = "{o2}:alarm-order"         // ZSET of raised, id
	keyAlarmCleared    = "{o2}:alarm-cleared"       // ZSET of cleared, raised, id: those that are not open
	keyAlarmOpen       = "{o2}:alarm-open:"         // + cluster: ZSET of origin, fingerprint, starts, id
	keyAlarmClusters   = "{o2}:alarm-open-clusters" // SET of the clusters with open alarms
	keyAlarmJournals   = "{o2}:alarm-journals"      // HASH cluster → Journal
	keyAlarmGaps       = "{o2}:alarm-gaps"          // LIST of Gap, the newest first
	keyAlarmTasks      = "{o2}:alarm-tasks"         // HASH id → task
	keyAlarmSettings   = "{o2}:alarm-settings"      // STRING version, blank, document
	keyAlarmRules      = "{o2}:alarm-rules"         // HASH SHA-256 → rules
	keyAlarmRulesInUse = "{o2}:alarm-rules-in-use"  // HASH cluster → SHA-256

	keyAlarmRulesUnused = "{o2}:alarm-rules-unused" // ZSET of SHA-256, by when nobody had them any more
)

// Alarm is one alarm as it is kept. The store does not look into its document.
type Alarm struct {
	ID       uuid.UUID
	Version  uint64 // 1, 2, 3 …; 0: there is none
	Document []byte // JSON
}

// AlarmPlace is a place in the order of alarms: by the moment they were raised, then by ID.
type AlarmPlace struct {
	Raised time.Time
	ID     uuid.UUID
}

// Origin tells alarms apart by who says when they end.
type Origin byte

// The origins.
const (
	FromAgent Origin = 'a' // the journal of a managed cluster's agent
	FromHub   Origin = 'h' // an Alertmanager of the hub
	FromWatch Origin = 'w' // our own watch over the fleet
)

// OpenAlarm names an alarm that is not cleared: among those of its cluster and origin by
// fingerprint and the moment it fired.
type OpenAlarm struct {
	Origin      Origin
	Fingerprint string // 16 characters
	Starts      int64  // Unix milliseconds
	ID          uuid.UUID
}

func (o *OpenAlarm) member() string {
	b := append([]byte{byte(o.Origin)}, o.Fingerprint...)
	b = append(b, '|')
	return string(append(append(b, sortable(o.Starts)...), o.ID[:]...))
}

func openAlarmOf(member string) (o OpenAlarm, err error) {
	const tail = 8 + 16
	head, rest, found := strings.Cut(member, "|")
	if !found || head == "" || len(rest) != tail {
		return OpenAlarm{}, fmt.Errorf("open alarm %q: not of our form", member)
	}
	o.Origin, o.Fingerprint = Origin(head[0]), head[1:]
	o.Starts = unsorted(rest[:8])
	copy(o.ID[:], rest[8:])
	return o, nil
}

// sortable are the bytes of a number, in the order of the numbers.
func sortable(ms int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(ms)^1<<63)
}

func unsorted(b string) int64 { return int64(binary.BigEndian.Uint64([]byte(b)) ^ 1<<63) }

func orderMember(raised time.Time, id uuid.UUID) string {
	return string(append(sortable(raised.UnixMilli()), id[:]...))
}

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

// Journal is how far the alerts of a cluster have been taken in. It outlives the cluster:
// one that is attached again goes on where it was.
type Journal struct {
	Epoch   string `json:"epoch"`
	Applied uint64 `json:"applied"` // every transition of the epoch up to it

	// The epoch before, which a restored managed cluster can come back to.
	PriorEpoch   string `json:"priorEpoch,omitempty"`
	PriorApplied uint64 `json:"priorApplied,omitempty"`

	Gaps      uint64 `json:"gaps,omitempty"`      // of all epochs
	Lost      uint64 `json:"lost,omitempty"`      // transitions in these gaps
	Compacted uint64 `json:"compacted,omitempty"` // transitions that arrived merged into others

	// Watchdogs counts the open alerts Watchdog; WatchdogEnded is when the last of them
	// ended, in Unix milliseconds, and 0 while there is one or never was.
	Watchdogs     int   `json:"watchdogs,omitempty"`
	WatchdogEnded int64 `json:"watchdogEnded,omitempty"`

	// Exact says that the open alarms are those that the agent has open: since the whole
	// set was compared, nothing was missed.
	Exact bool `json:"exact,omitempty"`
}

func (j *Journal) text() string {
	if *j == (Journal{}) {
		return ""
	}
	b, err := json.Marshal(j)
	if err != nil { // texts and numbers always can
		panic(err)
	}
	return string(b)
}

// Gap is a range of transitions that never arrived.
type Gap struct {
	Cluster string    `json:"cluster"`
	Epoch   string    `json:"epoch"`
	First   uint64    `json:"first"`
	Last    uint64    `json:"last"`
	Time    time.Time `json:"time"`
}

const keepGaps = 1000

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

func value(version uint64, document []byte) []byte {
	packed := pack(document)
	return append(append(strconv.AppendUint(make([]byte, 0, len(packed)+8), version, 10), ' '), packed...)
}

func alarmOf(id uuid.UUID, value string) (Alarm, error) {
	version, packed, found := strings.Cut(value, " ")
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil || !found {
		return Alarm{}, fmt.Errorf("stored alarm %s: not of our form", id)
	}
	document, err := unpack(packed)
	if err != nil {
		return Alarm{}, fmt.Errorf("alarm %s: %w", id, err)
	}
	return Alarm{ID: id, Version: n, Document: document}, nil
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

// Alarm returns one alarm. The error wraps fault.NotFound when there is none.
func (s *Store) Alarm(ctx context.Context, id uuid.UUID) (Alarm, error) {
	list, err := s.Alarms(ctx, []uuid.UUID{id})
	if err != nil {
		return Alarm{}, err
	}
	if list[0].Version == 0 {
		return Alarm{}, fmt.Errorf("alarm %s: %w", id, fault.NotFound)
	}
	return list[0], nil
}

// alarmsAtOnce bounds one command.
const alarmsAtOnce = 500

// Alarms returns alarms in the order in which they are asked for; those that do not exist
// have version 0.
func (s *Store) Alarms(ctx context.Context, ids []uuid.UUID) ([]Alarm, error) {
	list := make([]Alarm, 0, len(ids))
	for part := range slices.Chunk(ids, alarmsAtOnce) {
		fields := make([]string, len(part))
		for i := range part {
			fields[i] = string(part[i][:])
		}
		values, err := s.client.HMGet(ctx, keyAlarms, fields...).Result()
		if err := s.observe("alarms", err); err != nil {
			return nil, fmt.Errorf("alarms: %w", err)
		}
		for i, v := range values {
			a := Alarm{ID: part[i]}
			if text, there := v.(string); there {
				if a, err = alarmOf(part[i], text); err != nil {
					return nil, err
				}
			}
			list = append(list, a)
		}
	}
	return list, nil
}

// AlarmsAfter returns up to limit alarms that come after a place in the order; the zero
// place is before all. One that is removed at the same moment may be missing, and there
// are more all the same: next is the place of the last that was looked at, and more says
// whether the order goes on after it.
func (s *Store) AlarmsAfter(ctx context.Context, after AlarmPlace, limit int) (list []Alarm, next AlarmPlace, more bool, err error) {
	from := "-"
	if after != (AlarmPlace{}) {
		from = "(" + orderMember(after.Raised, after.ID)
	}
	members, err := s.client.ZRangeArgs(ctx, lexRange(keyAlarmOrder, from, "+", limit)).Result()
	if err := s.observe("alarm-order", err); err != nil {
		return nil, after, false, fmt.Errorf("order of alarms: %w", err)
	}
	ids := make([]uuid.UUID, len(members))
	for i, m := range members {
		place, err := placeOf(m)
		if err != nil {
			return nil, after, false, err
		}
		ids[i], after = place.ID, place
	}
	all, err := s.Alarms(ctx, ids)
	if err != nil {
		return nil, after, false, err
	}
	return slices.DeleteFunc(all, func(a Alarm) bool { return a.Version == 0 }), after, len(members) == limit, nil
}

func placeOf(member string) (AlarmPlace, error) {
	if len(member) != 8+16 {
		return AlarmPlace{}, fmt.Errorf("order of alarms: %q is not of our form", member)
	}
	return AlarmPlace{Raised: time.UnixMilli(unsorted(member[:8])).UTC(), ID: uuid.UUID([]byte(member[8:]))}, nil
}

// CountAlarms returns how many alarms there are.
func (s *Store) CountAlarms(ctx context.Context) (int, error) {
	n, err := s.client.HLen(ctx, keyAlarms).Result()
	return int(n), s.observe("count-alarms", err)
}

// OpenAlarms returns the open alarms of a cluster and origin whose fingerprint is greater
// than after and, unless through is empty, not greater than through; ascending by
// fingerprint.
func (s *Store) OpenAlarms(ctx context.Context, cluster string, origin Origin, after, through string) ([]OpenAlarm, error) {
	from, to := "["+string(origin), "("+string(origin+1)
	if after != "" {
		from = "(" + string(origin) + after + "}" // which comes after |
	}
	if through != "" {
		to = "(" + string(origin) + through + "}"
	}
	return s.openAlarms(ctx, cluster, from, to)
}

// AllOpenAlarms returns the open alarms of a cluster, of every origin.
func (s *Store) AllOpenAlarms(ctx context.Context, cluster string) ([]OpenAlarm, error) {
	return s.openAlarms(ctx, cluster, "-", "+")
}

func (s *Store) openAlarms(ctx context.Context, cluster, from, to string) ([]OpenAlarm, error) {
	members, err := s.client.ZRangeArgs(ctx, lexRange(keyAlarmOpen+cluster, from, to, -1)).Result()
	if err := s.observe("open-alarms", err); err != nil {
		return nil, fmt.Errorf("open alarms of %q: %w", cluster, err)
	}
	list := make([]OpenAlarm, len(members))
	for i, m := range members {
		if list[i], err = openAlarmOf(m); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// OpenAlarmClusters returns the clusters that have open alarms, in no order.
func (s *Store) OpenAlarmClusters(ctx context.Context) ([]string, error) {
	clusters, err := s.client.SMembers(ctx, keyAlarmClusters).Result()
	if err := s.observe("open-alarm-clusters", err); err != nil {
		return nil, fmt.Errorf("clusters with open alarms: %w", err)
	}
	return clusters, nil
}

// AlarmJournal returns the journal of a cluster, the zero Journal when there is none.
func (s *Store) AlarmJournal(ctx context.Context, cluster string) (Journal, error) {
	text, err := s.client.HGet(ctx, keyAlarmJournals, cluster).Result()
	if isNil(err) {
		return Journal{}, nil
	}
	if err := s.observe("alarm-journal", err); err != nil {
		return Journal{}, fmt.Errorf("journal of %q: %w", cluster, err)
	}
	return journalOf(cluster, text)
}

// AlarmJournals returns the journals of all clusters.
func (s *Store) AlarmJournals(ctx context.Context) (map[string]Journal, error) {
	texts, err := s.client.HGetAll(ctx, keyAlarmJournals).Result()
	if err := s.observe("alarm-journals", err); err != nil {
		return nil, fmt.Errorf("journals: %w", err)
	}
	all := make(map[string]Journal, len(texts))
	for cluster, text := range texts {
		if all[cluster], err = journalOf(cluster, text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func journalOf(cluster, text string) (j Journal, err error) {
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return Journal{}, fmt.Errorf("stored journal of %q: %w", cluster, err)
	}
	return j, nil
}

// AlarmGaps returns the newest gaps, the newest first.
func (s *Store) AlarmGaps(ctx context.Context) ([]Gap, error) {
	texts, err := s.client.LRange(ctx, keyAlarmGaps, 0, -1).Result()
	if err := s.observe("alarm-gaps", err); err != nil {
		return nil, fmt.Errorf("gaps: %w", err)
	}
	list := make([]Gap, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), &list[i]); err != nil {
			return nil, fmt.Errorf("stored gap: %w", err)
		}
	}
	return list, nil
}
