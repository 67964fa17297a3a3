package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Subscription is what a consumer asked for. It changes by ReplaceSubscription only.
type Subscription struct {
	ID       uuid.UUID `json:"id"`
	Service  string    `json:"service"` // whose events, such as "inventory"
	Version  string    `json:"version"` // major in which states are shown, such as "v2"
	Callback string    `json:"callback"`

	// Filter and ConsumerID are nil when the consumer gave none, which is echoed as such.
	Filter     *string `json:"filter,omitempty"`
	ConsumerID *string `json:"consumerSubscriptionId,omitempty"`

	// EventFilter are the names of the event types that are told; nil: all.
	EventFilter []string `json:"eventFilter,omitempty"`

	Owner   string    `json:"owner,omitempty"`   // on whose behalf it exists
	Creator string    `json:"creator,omitempty"` // who sent the request, as authentication verified
	Created time.Time `json:"created"`
}

// unique is what no two subscriptions may have in common: service, version, callback,
// filter, consumerSubscriptionId and eventFilter together.
func (s *Subscription) unique() string {
	text := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	consumer := text(s.ConsumerID)
	if _, err := uuid.Parse(consumer); err == nil { // which is the same in either case; other texts are not
		consumer = strings.ToLower(consumer)
	}
	parts := []string{s.Service, s.Version, s.Callback, text(s.Filter), consumer}
	sum := sha256.Sum256([]byte(strings.Join(append(parts, s.EventFilter...), "\x00")))
	return string(sum[:])
}

// Progress is how far a subscription has got. Every event after Start up to Cursor is
// counted exactly once, as delivered, filtered or dropped.
type Progress struct {
	Start     uint64 // newest event when the subscription was made
	Cursor    uint64 // last event that was dealt with
	Delivered uint64 // acknowledged by the consumer
	Filtered  uint64 // none of its business: of another service, or by its filter
	Dropped   uint64 // gone by retention before they could be delivered
	Status    Status
}

// Status is how a subscription fares.
type Status struct {
	Suspended   bool      `json:"suspended,omitempty"`
	SuspendedAt time.Time `json:"suspendedAt,omitzero"`
	Reason      string    `json:"reason,omitempty"` // of the suspension

	FailingFor    time.Duration `json:"failingFor,omitempty"` // without a success between; time when nobody tried does not count
	Failures      int           `json:"failures,omitempty"`   // attempts since the last success
	LastError     string        `json:"lastError,omitempty"`
	LastAttempt   time.Time     `json:"lastAttempt,omitzero"`
	LastDelivered time.Time     `json:"lastDelivered,omitzero"`

	// Resync is the range of events that retention dropped and that the consumer has not
	// been told of.
	Resync *Range `json:"resync,omitempty"`
}

// Range is a range of sequences, both included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// CreateSubscription stores a subscription whose cursor is the newest event. An error
// wraps fault.Conflict and names the other when there is an equal one, and fault.TooLarge
// when there are limit subscriptions already.
func (s *Store) CreateSubscription(ctx context.Context, sub Subscription, limit int) error {
	spec, err := json.Marshal(sub)
	if err != nil {
		return err
	}
	reply, err := s.run(ctx, scriptSubscribe, []string{keySubscriptions, keyUnique, keyProgress + sub.ID.String(), keySeq, keyEvents},
		sub.ID.String(), sub.unique(), spec, limit, s.now().UnixMilli())
	switch {
	case errors.Is(err, fault.Conflict) && len(reply) > 0:
		return fmt.Errorf("subscription %v asks for the same: %w", reply[0], fault.Conflict)
	case errors.Is(err, fault.TooLarge):
		return fmt.Errorf("there are %d subscriptions, no more are allowed: %w", limit, fault.TooLarge)
	case err != nil:
		return fmt.Errorf("create subscription: %w", err)
	}
	return s.AwaitDurable(ctx)
}

// ReplaceSubscription changes what a consumer asked for; the cursor stays where it is. An
// error wraps fault.NotFound when the subscription is not as it was read, and
// fault.Conflict, naming the other, when there is an equal one.
func (s *Store) ReplaceSubscription(ctx context.Context, old, changed Subscription) error {
	before, err := json.Marshal(old)
	if err != nil {
		return err
	}
	after, err := json.Marshal(changed)
	if err != nil {
		return err
	}
	reply, err := s.run(ctx, scriptResubscribe, []string{keySubscriptions, keyUnique, keySeq, keyEvents},
		old.ID.String(), old.unique(), before, changed.unique(), after, s.now().UnixMilli())
	if errors.Is(err, fault.Conflict) && len(reply) > 0 {
		return fmt.Errorf("subscription %v asks for the same: %w", reply[0], fault.Conflict)
	}
	if err != nil {
		return fmt.Errorf("subscription %s: %w", old.ID, err)
	}
	return s.AwaitDurable(ctx)
}

var scriptResubscribe = newScript("resubscribe", note+`
local spec = redis.call('HGET', KEYS[1], ARGV[1])
if spec == ARGV[5] then return {'OK'} end -- sent twice
if spec ~= ARGV[3] then return {'NOTFOUND'} end
local other = redis.call('HGET', KEYS[2], ARGV[4])
if other and other ~= ARGV[1] then return {'CONFLICT', other} end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[4], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[5])
note(KEYS[3], KEYS[4], ARGV[1], '-1', ARGV[6])
return {'OK'}`)

// note adds an entry about a subscription to the stream, so that the leader hears of it
// in order. It expects the keys of the sequence and of the stream in seqKey and eventsKey.
const note = `
local function note(seqKey, eventsKey, id, kind, ms)
  local seq = redis.call('INCR', seqKey)
  redis.call('XADD', eventsKey, string.format('%.0f-0', seq), 's', '', 'o', 'subscription/' .. id, 't', kind, 'm', ms)
end
`

var scriptSubscribe = newScript("subscribe", note+`
local other = redis.call('HGET', KEYS[2], ARGV[2])
if other == ARGV[1] then return {'OK'} end -- our own, sent twice
if other then return {'CONFLICT', other} end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return {'FULL'} end
local newest = redis.call('GET', KEYS[4]) or '0'
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[3], 'start', newest, 'cursor', newest)
note(KEYS[4], KEYS[5], ARGV[1], '-1', ARGV[5])
return {'OK'}`)

// DeleteSubscription removes a subscription and what it had not got yet. The error wraps
// fault.NotFound when there is none.
func (s *Store) DeleteSubscription(ctx context.Context, sub Subscription) error {
	_, err := s.run(ctx, scriptUnsubscribe, []string{keySubscriptions, keyUnique, keyProgress + sub.ID.String(), keySeq, keyEvents},
		sub.ID.String(), sub.unique(), s.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("subscription %s: %w", sub.ID, err)
	}
	return s.AwaitDurable(ctx)
}

var scriptUnsubscribe = newScript("unsubscribe", note+`
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return {'NOTFOUND'} end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3])
note(KEYS[4], KEYS[5], ARGV[1], '-2', ARGV[3])
return {'OK'}`)

// Subscription returns one subscription. The error wraps fault.NotFound when there is none.
func (s *Store) Subscription(ctx context.Context, id uuid.UUID) (Subscription, error) {
	spec, err := s.client.HGet(ctx, keySubscriptions, id.String()).Result()
	if isNil(err) {
		return Subscription{}, fmt.Errorf("subscription %s: %w", id, fault.NotFound)
	}
	if err := s.observe("subscription", err); err != nil {
		return Subscription{}, fmt.Errorf("subscription %s: %w", id, err)
	}
	return subscriptionOf(id.String(), spec)
}

// Subscriptions returns those of one service, or all when service is empty, ascending by ID.
func (s *Store) Subscriptions(ctx context.Context, service string) ([]Subscription, error) {
	specs, err := s.client.HGetAll(ctx, keySubscriptions).Result()
	if err := s.observe("subscriptions", err); err != nil {
		return nil, fmt.Errorf("subscriptions: %w", err)
	}
	list := make([]Subscription, 0, len(specs))
	for id, spec := range specs {
		sub, err := subscriptionOf(id, spec)
		if err != nil {
			return nil, err
		}
		if service == "" || sub.Service == service {
			list = append(list, sub)
		}
	}
	slices.SortFunc(list, func(a, b Subscription) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return list, nil
}

func subscriptionOf(id, spec string) (Subscription, error) {
	var sub Subscription
	if err := json.Unmarshal([]byte(spec), &sub); err != nil {
		return Subscription{}, fmt.Errorf("stored subscription %s: %w", id, err)
	}
	return sub, nil
}

// ProgressOf returns how far subscriptions have got. Those that do not exist are absent.
func (s *Store) ProgressOf(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]Progress, error) {
	all := make(map[uuid.UUID]Progress, len(ids))
	for part := range slices.Chunk(ids, 500) {
		p := s.client.Pipeline()
		replies := make([]*redis.MapStringStringCmd, len(part))
		for i, id := range part {
			replies[i] = p.HGetAll(ctx, keyProgress+id.String())
		}
		_, err := p.Exec(ctx)
		if err := s.observe("progress", err); err != nil {
			return nil, fmt.Errorf("progress of subscriptions: %w", err)
		}
		for i, reply := range replies {
			fields := reply.Val()
			if len(fields) == 0 {
				continue
			}
			progress, err := progressOf(fields)
			if err != nil {
				return nil, fmt.Errorf("progress of subscription %s: %w", part[i], err)
			}
			all[part[i]] = progress
		}
	}
	return all, nil
}

func progressOf(fields map[string]string) (p Progress, err error) {
	for name, value := range map[string]*uint64{
		"start": &p.Start, "cursor": &p.Cursor, "delivered": &p.Delivered, "filtered": &p.Filtered, "dropped": &p.Dropped,
	} {
		if fields[name] == "" {
			continue
		}
		if *value, err = strconv.ParseUint(fields[name], 10, 64); err != nil {
			return Progress{}, err
		}
	}
	if text := fields["status"]; text != "" {
		err = json.Unmarshal([]byte(text), &p.Status)
	}
	return p, err
}

// Step moves the cursor of one subscription.
type Step struct {
	ID       uuid.UUID
	From, To uint64 // cursor before and after

	// What became of the events in between: together they are To - From.
	Delivered, Filtered, Dropped uint64

	Status Status
}

// Move saves steps of several subscriptions. gone are the IDs of those that have been
// deleted: nothing was written for them. An error is ErrFenced, ErrRewound when a cursor
// is not where its step begins, or wraps fault.Unavailable; then some steps may be saved
// already, and saving them again does no harm.
func (t *Term) Move(ctx context.Context, steps []Step) (gone []uuid.UUID, err error) {
	const perScript = 100
	for part := range slices.Chunk(steps, perScript) {
		keys := []string{keyLeader}
		args := []any{t.token}
		for _, step := range part {
			status, err := json.Marshal(step.Status)
			if err != nil {
				return gone, err
			}
			keys = append(keys, keyProgress+step.ID.String())
			args = append(args, step.From, step.To, step.Delivered, step.Filtered, step.Dropped, status)
		}
		reply, err := t.run(ctx, scriptMove, keys, args...)
		if err != nil {
			return gone, fmt.Errorf("move cursors: %w", err)
		}
		for _, index := range reply {
			gone = append(gone, part[number(index)].ID)
		}
	}
	return gone, nil
}

// scriptMove answers with the indices of what is gone, from 0.
var scriptMove = newScript("move", fenced+`
local gone = {'OK'}
for i = 2, #KEYS do
  local a = 2 + (i - 2) * 6
  local cursor = redis.call('HGET', KEYS[i], 'cursor')
  if not cursor then
    gone[#gone + 1] = i - 2
  elseif cursor == ARGV[a] and ARGV[a] ~= ARGV[a+1] then
    redis.call('HSET', KEYS[i], 'cursor', ARGV[a+1], 'status', ARGV[a+5])
    redis.call('HINCRBY', KEYS[i], 'delivered', ARGV[a+2])
    redis.call('HINCRBY', KEYS[i], 'filtered', ARGV[a+3])
    redis.call('HINCRBY', KEYS[i], 'dropped', ARGV[a+4])
  elseif cursor == ARGV[a+1] then -- sent twice, or a change of status alone
    redis.call('HSET', KEYS[i], 'status', ARGV[a+5])
  else
    return {'REWOUND'}
  end
end
return gone`)

// Resume ends the suspension of a subscription: it goes on where it stopped. The error
// wraps fault.NotFound when there is none.
func (s *Store) Resume(ctx context.Context, id uuid.UUID) error {
	all, err := s.ProgressOf(ctx, id)
	if err != nil {
		return err
	}
	progress, found := all[id]
	if !found {
		return fmt.Errorf("subscription %s: %w", id, fault.NotFound)
	}
	before, err := json.Marshal(progress.Status)
	if err != nil {
		return err
	}
	after, err := json.Marshal(Status{Resync: progress.Status.Resync, LastDelivered: progress.Status.LastDelivered})
	if err != nil {
		return err
	}
	_, err = s.run(ctx, scriptResume, []string{keyProgress + id.String(), keySeq, keyEvents}, id.String(), before, after, s.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("subscription %s: %w", id, err)
	}
	return s.AwaitDurable(ctx)
}

// scriptResume notes the wish even when the status has changed since it was read: the
// leader looks at the record when it hears of it.
var scriptResume = newScript("resume", note+`
local status = redis.call('HGET', KEYS[1], 'status')
if redis.call('EXISTS', KEYS[1]) == 0 then return {'NOTFOUND'} end
if not status or status == ARGV[2] then redis.call('HSET', KEYS[1], 'status', ARGV[3]) end
note(KEYS[2], KEYS[3], ARGV[1], '-1', ARGV[4])
return {'OK'}`)
