// Package store keeps in Redis what cannot be rebuilt from anywhere else: what was
// announced last, the stream of changes, subscriptions and how far each has got, and
// alarms with how far the alerts of each managed cluster have been taken in.
//
// Every change of several keys is one Lua script, so it happens whole or not at all: an
// event is in the stream exactly when the state that it announces is stored. What only
// the leader may write is fenced: its scripts carry a token that the next leader replaces.
//
// All keys share the hash tag {o2}, so that scripts also work on Redis Cluster; there all
// of it lives on one shard. Commands are those of Redis 6.2, so that Valkey and the Redis
// of current distributions serve alike.
//
// The stream numbers its entries 1, 2, 3 … without gaps instead of by time, which Redis
// would do: a clock that jumps cannot disturb the order, and what is missing can be
// counted. Consumer groups were the alternative to a cursor of our own; they lose the
// order when an entry must be tried again.
//
// An error wraps fault.Unavailable when Redis cannot do what was asked at the moment,
// whatever the reason; its text says which (see errors.go).
package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Options say where Redis is and how long to wait for it, one flag each unless said
// otherwise.
type Options struct {
	// URL is one of
	//
	//	embedded                                              in this process, lost with it
	//	redis://[user:password@]host:port[/db]                one server
	//	redis+sentinel://[user:password@]host:port,…/name[/db] the server that Sentinels call name
	//	redis+cluster://[user:password@]host:port,…           Redis Cluster
	//
	// and the same with rediss for TLS.
	URL string

	PasswordFile         string // overrides the password in URL; read for every new connection
	SentinelPasswordFile string // for the Sentinels themselves
	CAFile               string // PEM, to trust beside the system's

	Timeout      time.Duration // of one command
	WaitReplicas int           // replicas that must have what is acknowledged to a client

	Registerer prometheus.Registerer // no flag; nil: no metrics
}

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.URL, "redis-url", Embedded, "redis://[user:password@]host:port/db, redis+sentinel://host:port,…/name, redis+cluster://host:port,…, with rediss for TLS; embedded keeps everything in memory and loses it")
	f.StringVar(&o.PasswordFile, "redis-password-file", "", "file with the password of Redis")
	f.StringVar(&o.SentinelPasswordFile, "redis-sentinel-password-file", "", "file with the password of the Sentinels")
	f.StringVar(&o.CAFile, "redis-ca-file", "", "certificates in PEM to trust when talking to Redis")
	f.DurationVar(&o.Timeout, "redis-timeout", 3*time.Second, "how long one command to Redis may take")
	f.IntVar(&o.WaitReplicas, "redis-wait-replicas", 0, "how many replicas must have what a client is told is stored; 1 with Sentinel")
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var faults []error
	t, err := parseURL(o.URL)
	if err != nil {
		faults = append(faults, fmt.Errorf("--redis-url: %w", err))
	}
	if t.cluster && o.WaitReplicas > 0 {
		faults = append(faults, fmt.Errorf("--redis-wait-replicas: Redis Cluster cannot be asked to wait for the replicas of one shard: %w", fault.Invalid))
	}
	if o.Timeout < 10*time.Millisecond {
		faults = append(faults, fmt.Errorf("--redis-timeout is %s, want at least 10ms: %w", o.Timeout, fault.Invalid))
	}
	if o.WaitReplicas < 0 {
		faults = append(faults, fmt.Errorf("--redis-wait-replicas is %d: %w", o.WaitReplicas, fault.Invalid))
	}
	return errors.Join(faults...)
}

// The keys. Field names of hashes and of stream entries are in the file that uses them.
const (
	keySchema        = "{o2}:schema"            // STRING, version of all that follows
	keyID            = "{o2}:id"                // STRING, UUID of this store
	keyLeader        = "{o2}:leader"            // HASH: token, and how much the leader announced
	keySeq           = "{o2}:seq"               // STRING, sequence of the newest stream entry
	keyEvents        = "{o2}:events"            // STREAM, IDs <seq>-0
	keyDocuments     = "{o2}:documents:"        // + source: HASH kind/id → document announced last
	keyDigests       = "{o2}:digests:"          // + source: HASH kind/id → its digest
	keySubscriptions = "{o2}:subscriptions"     // HASH id → Subscription
	keyUnique        = "{o2}:subscription-keys" // HASH what must be unique → id
	keyProgress      = "{o2}:progress:"         // + subscription id: HASH
	keyBarrier       = "{o2}:barrier"           // STRING of no meaning
)

// Store is a connection to Redis. Its methods are safe for concurrent use.
type Store struct {
	client     redis.UniversalClient
	options    Options
	address    string // for people: where Redis is, without credentials
	embedded   *embedded
	metrics    metrics
	durability durability
	id         atomic.Pointer[string] // nil before Prepare
	now        func() time.Time
}

// Open connects to Redis, which need not answer yet: then every method says so until it
// does. What can be told at once, such as a malformed URL, is an error.
func Open(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	target, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	quiet()
	s := &Store{options: o, metrics: newMetrics(o.Registerer), now: time.Now}
	if target.embedded {
		if s.embedded, err = startEmbedded(); err != nil {
			return nil, err
		}
		target.addrs = []string{s.embedded.server.Addr()}
		slog.Warn("Redis is embedded: subscriptions, cursors and undelivered notifications are lost when this process ends, and other replicas do not see them; --redis-url names a real one")
	}
	s.address = target.String()
	options, err := s.clientOptions(target)
	if err != nil {
		s.Close()
		return nil, err
	}
	s.client = redis.NewUniversalClient(options)
	return s, nil
}

func (s *Store) clientOptions(t target) (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Addrs:            t.addrs,
		DB:               t.db,
		MasterName:       t.master,
		IsClusterMode:    t.cluster,
		Username:         t.username,
		Password:         t.password,
		SentinelUsername: t.sentinelUsername,
		SentinelPassword: t.sentinelPassword,

		DialTimeout:           s.options.Timeout,
		ReadTimeout:           s.options.Timeout,
		WriteTimeout:          s.options.Timeout,
		ContextTimeoutEnabled: true,
		DialerRetries:         1, // whoever calls us knows better when to try again
		MaxRetries:            1, // on another connection: one may have died since it was used
		PoolSize:              32,
		ConnMaxIdleTime:       5 * time.Minute,
		DisableIdentity:       true,

		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if s.options.PasswordFile != "" {
		o.CredentialsProviderContext = func(context.Context) (string, string, error) {
			password, err := readPassword(s.options.PasswordFile)
			return t.username, password, err
		}
	}
	if s.options.SentinelPasswordFile != "" {
		password, err := readPassword(s.options.SentinelPasswordFile)
		if err != nil {
			return nil, err
		}
		o.SentinelPassword = password
	}
	if t.tls {
		config, err := tlsConfig(s.options.CAFile)
		if err != nil {
			return nil, err
		}
		o.TLSConfig = config
	}
	return o, nil
}

func readPassword(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("redis password: %w: %w", err, fault.Unavailable)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

func tlsConfig(caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("redis CA: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("redis CA: %s holds no certificate: %w", caFile, fault.Invalid)
	}
	config.RootCAs = pool
	return config, nil
}

// Close ends the connections, and what is embedded with them.
func (s *Store) Close() {
	if s.client != nil {
		_ = s.client.Close() // nothing is buffered
	}
	if s.embedded != nil {
		s.embedded.stop()
	}
}

// Embedded tells whether this store lives and dies with the process.
func (s *Store) Embedded() bool { return s.embedded != nil }

// Address tells a person where Redis is. It holds no credentials.
func (s *Store) Address() string { return s.address }

// ID is the UUID of the data, the same for every replica and for as long as Redis keeps
// them. It is empty before Prepare.
func (s *Store) ID() string {
	if id := s.id.Load(); id != nil {
		return *id
	}
	return ""
}

// Prepare makes the store fit for use: it checks the version of the data, brings them up
// to ours, gives them an identity, and finds out how durable they are. Every replica calls
// it until it succeeds, and again when Redis may have lost something. An error wraps
// fault.Conflict when the data are of a newer version than we know, which waiting does not
// mend.
func (s *Store) Prepare(ctx context.Context) error {
	if err := s.migrate(ctx, migrations); err != nil {
		return err
	}
	id, err := s.text(ctx, scriptIdentify, []string{keyID}, uuid.NewString())
	if err != nil {
		return fmt.Errorf("store id: %w", err)
	}
	if before := s.id.Swap(&id); before != nil && *before != id {
		slog.ErrorContext(ctx, "Redis has lost everything: this is another store", "storeId", id, "before", *before)
	}
	s.durability.detect(ctx, s)
	return nil
}

// Ping tells whether Redis answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	return s.observe("ping", s.client.Ping(ctx).Err())
}

var scriptIdentify = newScript("identify", `
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])`)

// quiet sends what the client would print by itself to our log: failures reach whoever
// called, and need not be said twice.
var quiet = sync.OnceFunc(func() { redis.SetLogger(clientLog{}) })

type clientLog struct{}

// Printf implements the logging interface of the client.
func (clientLog) Printf(ctx context.Context, format string, args ...any) {
	slog.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, args...))
}
