package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// EventType is the notificationEventType of O2 IMS, or says that the entry is about a
// subscription and not an object.
type EventType int

// The types of entries in the stream.
const (
	Created  EventType = 0
	Modified EventType = 1
	Deleted  EventType = 2

	SubscriptionChanged EventType = -1 // Event.ID was created or resumed; its record says which
	SubscriptionDeleted EventType = -2
)

// Event is one entry of the stream of changes.
type Event struct {
	Seq    uint64 // 1, 2, 3 …, of all sources together
	Source string // service that the object belongs to; empty for subscriptions
	Kind   string
	ID     string
	Type   EventType
	Time   time.Time // when it was announced, by the leader's clock
	Prior  []byte    // document before; nil for Created
	Post   []byte    // document after; nil for Deleted
}

// NotificationID is the same whenever this event is delivered. Should Redis lose the
// event and its number be given to another, then that one has another NotificationID.
func (e *Event) NotificationID(store string) uuid.UUID {
	space, err := uuid.Parse(store)
	if err != nil {
		space = uuid.NameSpaceOID
	}
	prior, post := DigestOf(e.Prior), DigestOf(e.Post)
	name := fmt.Appendf(nil, "%d/%s/%s/%s/%d/", e.Seq, e.Source, e.Kind, e.ID, e.Type)
	name = append(append(name, prior[:]...), post[:]...)
	return uuid.NewSHA1(space, name)
}

// Newest is the sequence of the newest event, 0 when there never was one.
func (s *Store) Newest(ctx context.Context) (uint64, error) {
	n, err := s.client.Get(ctx, keySeq).Uint64()
	if isNil(err) {
		return 0, nil
	}
	return n, s.observe("newest", err)
}

// Events returns up to limit events from the sequence first on, ascending. When the first
// of them is later than asked for, what lies between has been trimmed.
func (s *Store) Events(ctx context.Context, first uint64, limit int) ([]Event, error) {
	entries, err := s.client.XRangeN(ctx, keyEvents, entryID(first), "+", int64(limit)).Result()
	if err := s.observe("events", err); err != nil {
		return nil, fmt.Errorf("events from %d: %w", first, err)
	}
	return events(entries)
}

// AwaitEvents returns up to limit events after the given sequence; it waits for the first
// of them, and returns none when there is none in time or ctx ends.
func (s *Store) AwaitEvents(ctx context.Context, after uint64, limit int, patience time.Duration) ([]Event, error) {
	type answer struct {
		streams []redis.XStream
		err     error
	}
	answered := make(chan answer, 1)
	go func() { // the client does not break off a command that blocks
		streams, err := s.client.XRead(ctx, &redis.XReadArgs{
			Streams: []string{keyEvents}, ID: entryID(after), Count: int64(limit), Block: patience,
		}).Result()
		answered <- answer{streams, err}
	}()
	select {
	case <-ctx.Done():
		return nil, nil
	case a := <-answered:
		if isNil(a.err) || len(a.streams) == 0 && a.err == nil {
			return nil, nil
		}
		if err := s.observe("await-events", a.err); err != nil {
			return nil, fmt.Errorf("events after %d: %w", after, err)
		}
		return events(a.streams[0].Messages)
	}
}

// StreamState is what the stream holds.
type StreamState struct {
	Newest uint64 // sequence of the newest event ever
	Length int64
	First  *Event // oldest that is kept; nil when none is
}

// Stream tells what the stream holds.
func (s *Store) Stream(ctx context.Context) (StreamState, error) {
	newest, err := s.Newest(ctx)
	if err != nil {
		return StreamState{}, err
	}
	length, err := s.client.XLen(ctx, keyEvents).Result()
	if err := s.observe("stream", err); err != nil {
		return StreamState{}, err
	}
	state := StreamState{Newest: newest, Length: length}
	first, err := s.Events(ctx, 0, 1)
	if err != nil {
		return StreamState{}, err
	}
	if len(first) > 0 {
		state.First = &first[0]
	}
	return state, nil
}

// trimStep bounds one script.
const trimStep = 2000

// Trim removes events before the sequence first, in bounded steps.
func (t *Term) Trim(ctx context.Context, first uint64) (removed int64, err error) {
	for {
		reply, err := t.run(ctx, scriptTrim, []string{keyLeader, keyEvents}, t.token, first, trimStep)
		if err != nil {
			return removed, fmt.Errorf("trim events: %w", err)
		}
		removed += number(reply[0])
		if number(reply[1]) == 0 {
			return removed, nil
		}
	}
}

// scriptTrim finds the end of its step by the numbers, which have no gaps: XTRIM takes a
// LIMIT only where it may also leave more than asked.
var scriptTrim = newScript("trim", fenced+`
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
if #oldest == 0 then return {'OK', 0, 0} end
local seq, target = tonumber(string.match(oldest[1][1], '^%d+')), tonumber(ARGV[2])
local upto = math.min(target, seq + tonumber(ARGV[3]))
if upto <= seq then return {'OK', 0, 0} end
local removed = redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', upto))
local more = 0
if upto < target then more = 1 end
return {'OK', removed, more}`)

func entryID(seq uint64) string { return strconv.FormatUint(seq, 10) + "-0" }

func events(entries []redis.XMessage) ([]Event, error) {
	list := make([]Event, 0, len(entries))
	for _, entry := range entries {
		e, err := eventOf(entry)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", entry.ID, err)
		}
		list = append(list, e)
	}
	return list, nil
}

func eventOf(entry redis.XMessage) (e Event, err error) {
	seq, _, _ := strings.Cut(entry.ID, "-")
	if e.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return Event{}, err
	}
	text := func(name string) string { s, _ := entry.Values[name].(string); return s }
	e.Source = text("s")
	e.Kind, e.ID = SplitObject(text("o"))
	kind, err := strconv.Atoi(text("t"))
	if err != nil {
		return Event{}, err
	}
	e.Type = EventType(kind)
	e.Time = time.UnixMilli(number(text("m"))).UTC()
	if e.Prior, err = optional(text("p")); err != nil {
		return Event{}, err
	}
	e.Post, err = optional(text("n"))
	return e, err
}

// optional unpacks a document that may be absent.
func optional(packed string) ([]byte, error) {
	if packed == "" {
		return nil, nil
	}
	return unpack(packed)
}
