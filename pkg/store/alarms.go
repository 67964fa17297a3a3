package store

import (
	"context"
	"encoding/binary"
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
