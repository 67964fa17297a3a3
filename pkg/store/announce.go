package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Term is the time in which one process leads. Only it may announce, move cursors and
// trim; a later Term of any process takes that away from it.
type Term struct {
	store *Store
	token string

	// announced counts the events of this term as far as Redis confirmed them. When Redis
	// knows of fewer, it lost some. Only Announce and Check use it, one after another.
	announced atomic.Int64

	confirming sync.Mutex
	confirmed  atomic.Pointer[time.Time] // when a call began that showed that the term goes on
}

// run calls a script that only the leader may run.
func (t *Term) run(ctx context.Context, sc script, keys []string, args ...any) ([]any, error) {
	began := time.Now()
	reply, err := t.store.run(ctx, sc, keys, args...)
	if err == nil {
		t.confirmed.Store(&began)
	}
	return reply, err
}

// Confirm tells whether the term went on a short while ago at most. A process that was
// stopped for long, and did not notice, so does not act on what is no longer true.
func (t *Term) Confirm(ctx context.Context, within time.Duration) error {
	recent := func() bool { c := t.confirmed.Load(); return c != nil && time.Since(*c) < within }
	if recent() {
		return nil
	}
	t.confirming.Lock()
	defer t.confirming.Unlock()
	if recent() {
		return nil
	}
	_, err := t.run(ctx, scriptConfirm, []string{keyLeader}, t.token)
	return err
}

var scriptConfirm = newScript("confirm", fenced+`return {'OK'}`)

// Lead begins a term and ends the one before. Whoever calls it must be the leader by a
// Lease: a process that only believes so would fence the real leader off, which then has
// to begin a term of its own.
func (s *Store) Lead(ctx context.Context) (*Term, error) {
	token := uuid.NewString()
	if _, err := s.run(ctx, scriptLead, []string{keyLeader}, token); err != nil {
		return nil, fmt.Errorf("begin term: %w", err)
	}
	return &Term{store: s, token: token}, nil
}

var scriptLead = newScript("lead", `
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'token', ARGV[1], 'announced', 0)
end
return {'OK'}`)

// Check tells whether the term goes on: an error is ErrFenced, ErrRewound, or wraps
// fault.Unavailable. It must not be called while Announce runs.
func (t *Term) Check(ctx context.Context) error {
	reply, err := t.run(ctx, scriptCheck, []string{keyLeader}, t.token)
	if err != nil {
		return err
	}
	if number(reply[0]) < t.announced.Load() {
		return ErrRewound
	}
	return nil
}

var scriptCheck = newScript("check", fenced+`
return {'OK', redis.call('HGET', KEYS[1], 'announced')}`)

// Change is the state of one object as it is to be announced.
type Change struct {
	Kind     string // such as ResourceInfo; without slash
	ID       string // unique in its kind
	Document []byte // what is announced; nil when the object is gone
	Digest   Digest // of Document
}

func (c Change) field() string { return c.Kind + "/" + c.ID }

// Digest tells documents apart: the first half of their SHA-256.
type Digest [16]byte

// DigestOf returns the digest of a document.
func DigestOf(document []byte) Digest {
	whole := sha256.Sum256(document)
	return Digest(whole[:])
}

// Bounds of one script: Redis does nothing else while it runs.
const (
	maxBatchChanges = 256
	maxBatchBytes   = 1 << 20
)

// Announce stores the state of objects and, for each whose state differs from the one
// announced before, adds an event to the stream: both or neither. It goes on to the end or
// the first error, in bounded steps; repeating it whole does no harm, because what was
// announced does not differ any more.
//
// It returns how many events were added. An error is ErrFenced, ErrRewound, or wraps
// fault.Unavailable.
func (t *Term) Announce(ctx context.Context, source string, changes []Change) (events int, err error) {
	for len(changes) > 0 {
		n, bytes := 0, 0
		args := []any{t.token, t.announced.Load(), t.store.now().UnixMilli(), source}
		for n < len(changes) && n < maxBatchChanges && bytes < maxBatchBytes {
			c := changes[n]
			digest, packed := "", ""
			if c.Document != nil {
				digest, packed = string(c.Digest[:]), string(pack(c.Document))
			}
			args = append(args, c.field(), digest, packed)
			bytes += len(packed)
			n++
		}
		keys := []string{keyLeader, keySeq, keyEvents, keyDocuments + source, keyDigests + source}
		reply, err := t.run(ctx, scriptAnnounce, keys, args...)
		if err != nil {
			return events, fmt.Errorf("announce: %w", err)
		}
		t.announced.Store(number(reply[0]))
		events += int(number(reply[1]))
		changes = changes[n:]
	}
	return events, nil
}

// scriptAnnounce: the fields of an entry are s(ource), o(bject), t(ype), m(illiseconds of
// Unix time), p(rior) and n(ew) document.
var scriptAnnounce = newScript("announce", fenced+`
local announced = tonumber(redis.call('HGET', KEYS[1], 'announced'))
if announced < tonumber(ARGV[2]) then return {'REWOUND'} end
local events = 0
for a = 5, #ARGV, 3 do
  local object, digest, document = ARGV[a], ARGV[a+1], ARGV[a+2]
  local known = redis.call('HGET', KEYS[5], object)
  if digest ~= (known or '') then
    local prior = known and redis.call('HGET', KEYS[4], object) or ''
    local kind = '1'
    if not known then kind = '0' end
    if digest == '' then
      kind = '2'
      redis.call('HDEL', KEYS[4], object)
      redis.call('HDEL', KEYS[5], object)
    else
      redis.call('HSET', KEYS[4], object, document)
      redis.call('HSET', KEYS[5], object, digest)
    end
    local seq = redis.call('INCR', KEYS[2])
    redis.call('XADD', KEYS[3], string.format('%.0f-0', seq),
      's', ARGV[4], 'o', object, 't', kind, 'm', ARGV[3], 'p', prior, 'n', document)
    events = events + 1
  end
end
if events > 0 then announced = redis.call('HINCRBY', KEYS[1], 'announced', events) end
return {'OK', announced, events}`)

// Digests returns what was announced of a source: the digest of every object, by kind and
// ID with a slash between.
func (s *Store) Digests(ctx context.Context, source string) (map[string]Digest, error) {
	digests := make(map[string]Digest)
	iter := s.client.HScan(ctx, keyDigests+source, 0, "", 1000).Iterator()
	for iter.Next(ctx) {
		field := iter.Val()
		if !iter.Next(ctx) {
			break
		}
		var d Digest
		copy(d[:], iter.Val())
		digests[field] = d
	}
	if err := s.observe("digests", iter.Err()); err != nil {
		return nil, fmt.Errorf("what was announced: %w", err)
	}
	return digests, nil
}

// Document returns what was announced last of one object. The error wraps fault.NotFound
// when that is nothing.
func (s *Store) Document(ctx context.Context, source, kind, id string) ([]byte, error) {
	packed, err := s.client.HGet(ctx, keyDocuments+source, kind+"/"+id).Result()
	if isNil(err) {
		return nil, fmt.Errorf("%s %s: %w", kind, id, fault.NotFound)
	}
	if err := s.observe("document", err); err != nil {
		return nil, err
	}
	return unpack(packed)
}

// SplitObject parts what names an object among those of its source.
func SplitObject(object string) (kind, id string) {
	kind, id, _ = strings.Cut(object, "/")
	return kind, id
}
