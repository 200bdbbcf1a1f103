// Package redisstore keeps logins in Redis or Valkey, for programs on many machines that share them.
//
// It promises what the contract asks for, between all machines: a save compares the revision on the
// server, in one script; a lock excludes while its holder runs. A lock is a lease ([Options.Lease]) that
// is renewed while it is held. A holder that stands still for longer than that loses it, and what it
// then saves is refused by its revision: two refreshes may be posted in that case, but no record is lost
// or torn. It holds no connection while it holds a lock.
//
// What Redis itself may lose: it acknowledges a write before it is on disk (appendfsync everysec: up to
// a second) and before its replicas have it. After a crash or a failover the last writes may be gone, and
// the lock with them. A lost save of a refresh brings back the spent refresh token; a server that rotates
// them will then want a new login. Where that must not be, run Redis with appendonly yes and appendfsync
// always and without automatic failover, or choose package pgstore. Evictions must be off
// (maxmemory-policy noeviction), or logins vanish as a cache's entries do.
//
// It needs Redis 5 or any Valkey, one primary; List asks only the node it is sent to, so a cluster shows
// part of it. It imports no driver: [Conn] is the one method it needs. An empty profile is refused, since
// it would mix users ([Options.AllowEmptyProfile]). Values are not encrypted: put package sealed around
// it where others can read the server.
//
// Choose it where a Redis is at hand that is run as a database rather than as a cache.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/lease"
	"github.com/mcpoauth/mcpoauth/store"
)

// Conn sends one command and returns its reply: nil for a null reply, a string or []byte, an integer,
// or a slice of those. A reply that is an error is returned as the error. It must be safe for concurrent
// use. Most clients fit in a line, github.com/redis/go-redis for example:
//
//	type conn struct{ c *redis.Client }
//
//	func (c conn) Do(ctx context.Context, args ...any) (any, error) {
//		v, err := c.c.Do(ctx, args...).Result()
//		if err == redis.Nil {
//			return nil, nil
//		}
//		return v, err
//	}
type Conn interface {
	Do(ctx context.Context, args ...any) (any, error)
}

const (
	defaultPrefix  = "mcpoauth:"
	defaultTimeout = 5 * time.Second
	// pendingLife is how long pending records are kept: a login is begun and finished within ten
	// minutes, and posts without an answer are remembered as long.
	pendingLife = 15 * time.Minute
	scanCount   = 500
)

// Options configure a [Store]. Nil is the zero value.
type Options struct {
	// Prefix begins every key. Empty is "mcpoauth:".
	Prefix string
	// Lease is how long a lock outlives a holder that died. 0 is 30 seconds; less than a second is
	// refused.
	Lease time.Duration
	// Timeout limits each command. 0 is five seconds.
	Timeout time.Duration
	// AllowEmptyProfile accepts records without a profile. Set it only if all programs on this server
	// act for one and the same user.
	AllowEmptyProfile bool
}

// Store is a store in Redis. Use [New].
type Store struct {
	conn Conn
	opt  Options
}

// New returns a store over conn. It does no I/O.
func New(conn Conn, opt *Options) (*Store, error) {
	if conn == nil {
		return nil, errors.New("redisstore: there is no connection")
	}
	s := &Store{conn: conn}
	if opt != nil {
		s.opt = *opt
	}
	if s.opt.Prefix == "" {
		s.opt.Prefix = defaultPrefix
	}
	if strings.ContainsAny(s.opt.Prefix, "*?[]\\{}") {
		return nil, fmt.Errorf("redisstore: the prefix %q has characters that mean something in a pattern", s.opt.Prefix)
	}
	limits, err := lease.Options{Lease: s.opt.Lease, Timeout: s.opt.Timeout}.WithDefaults(defaultTimeout)
	if err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	s.opt.Lease, s.opt.Timeout = limits.Lease, limits.Timeout
	return s, nil
}

// The keys of one record and its locks share a hash tag, so that they lie on one node.
func (s *Store) record(key store.Key) string { return s.opt.Prefix + "record:{" + key.Digest() + "}" }

func (s *Store) lockName(key store.Key, name string) string {
	return s.opt.Prefix + "lock:{" + key.Digest() + "}:" + name
}

func (s *Store) check(key store.Key) error {
	if key.Profile == "" && !s.opt.AllowEmptyProfile {
		return store.ErrProfileRequired
	}
	return nil
}

// do sends a command within the time limit.
func (s *Store) do(ctx context.Context, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	v, err := s.conn.Do(limited, args...)
	if err != nil {
		if cause := ctx.Err(); cause != nil {
			return nil, cause
		}
		return nil, store.Unreachable("redis", err)
	}
	return v, nil
}

// eval runs a script, whose text names its keys by KEYS and its arguments by ARGV.
func (s *Store) eval(ctx context.Context, script, key string, args ...any) (any, error) {
	return s.do(ctx, append([]any{"EVAL", script, "1", key}, args...)...)
}

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if err := s.check(key); err != nil {
		return nil, 0, err
	}
	v, err := s.do(ctx, "HMGET", s.record(key), "rev", "data")
	if err != nil {
		return nil, 0, err
	}
	fields, ok := v.([]any)
	if !ok || len(fields) != 2 {
		return nil, 0, fmt.Errorf("redis: HMGET answered %T", v)
	}
	if fields[0] == nil {
		return nil, 0, fmt.Errorf("%v: %w", key, store.ErrNotFound)
	}
	rev, err := strconv.ParseUint(text(fields[0]), 10, 64)
	if err != nil || rev == 0 || fields[1] == nil {
		return nil, 0, &store.CorruptError{Path: s.record(key), Err: errors.New("it has no revision or no data")}
	}
	return []byte(text(fields[1])), store.Revision(rev), nil
}

// saveScript compares and writes. The revision is the server's time in microseconds, or one more than
// the last: so none is given out twice, deletion included.
const saveScript = `
local old = redis.call('HGET', KEYS[1], 'rev') or '0'
if old ~= ARGV[1] then return '' end
local t = redis.call('TIME')
local rev = t[1] .. string.format('%06d', t[2])
if tonumber(rev) <= tonumber(old) then rev = string.format('%.0f', tonumber(old) + 1) end
redis.call('HSET', KEYS[1], 'rev', rev, 'data', ARGV[2], 'kind', ARGV[3], 'id', ARGV[4], 'profile', ARGV[5])
if ARGV[6] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
return rev`

// Save implements store.Store. Pending records (store.KindPending) are kept for a quarter of an hour.
func (s *Store) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	if err := s.check(key); err != nil {
		return 0, err
	}
	var life time.Duration
	if key.Kind == store.KindPending {
		life = pendingLife
	}
	v, err := s.eval(ctx, saveScript, s.record(key), strconv.FormatUint(uint64(rev), 10), data, string(key.Kind), key.ID, key.Profile,
		strconv.FormatInt(life.Milliseconds(), 10))
	if err != nil {
		return s.perhapsSaved(ctx, key, data, rev, err)
	}
	if text(v) == "" {
		return 0, fmt.Errorf("%v: %w", key, store.ErrConflict)
	}
	next, err := strconv.ParseUint(text(v), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("redis: the script answered %q", text(v))
	}
	return store.Revision(next), nil
}

// perhapsSaved finds out whether a save whose answer was lost took place: the caller must not mistake its own
// record for another one's.
func (s *Store) perhapsSaved(ctx context.Context, key store.Key, data []byte, rev store.Revision, err error) (store.Revision, error) {
	got, now, lerr := s.Load(context.WithoutCancel(ctx), key)
	if lerr == nil && now != rev && string(got) == string(data) {
		return now, nil
	}
	return 0, err
}

const deleteScript = `
if ARGV[1] ~= '0' and (redis.call('HGET', KEYS[1], 'rev') or '0') ~= ARGV[1] then return '0' end
redis.call('DEL', KEYS[1])
return '1'`

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	if err := s.check(key); err != nil {
		return err
	}
	v, err := s.eval(ctx, deleteScript, s.record(key), strconv.FormatUint(uint64(rev), 10))
	if err != nil {
		return err
	}
	if text(v) != "1" {
		return fmt.Errorf("%v: %w", key, store.ErrConflict)
	}
	return nil
}

// List implements store.Store. It looks at every key of the server (SCAN) and then at those of this
// store, so it is for people and administration rather than for each request.
func (s *Store) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	return func(yield func(store.Key, error) bool) {
		cursor := "0"
		seen := make(map[string]bool) // SCAN may give a key twice
		for {
			v, err := s.do(ctx, "SCAN", cursor, "MATCH", s.opt.Prefix+"record:*", "COUNT", strconv.Itoa(scanCount))
			if err != nil {
				yield(store.Key{}, err)
				return
			}
			page, _ := v.([]any)
			var names []any
			ok := len(page) == 2
			if ok {
				names, ok = page[1].([]any)
			}
			if !ok {
				yield(store.Key{}, fmt.Errorf("redis: SCAN answered %T", v))
				return
			}
			for _, n := range names {
				name := text(n)
				if seen[name] {
					continue
				}
				seen[name] = true
				key, ok, err := s.keyOf(ctx, name)
				if err == nil && (!ok || !f.Match(key)) {
					continue
				}
				if !yield(key, err) {
					return
				}
			}
			if cursor = text(page[0]); cursor == "0" {
				return
			}
		}
	}
}

// keyOf returns the key of the record under a name, false if it is gone.
func (s *Store) keyOf(ctx context.Context, name string) (store.Key, bool, error) {
	v, err := s.do(ctx, "HMGET", name, "kind", "id", "profile")
	if err != nil {
		return store.Key{}, false, err
	}
	fields, _ := v.([]any)
	if len(fields) != 3 || fields[0] == nil {
		return store.Key{}, false, nil
	}
	key := store.Key{Kind: store.Kind(text(fields[0])), ID: text(fields[1]), Profile: text(fields[2])}
	if s.record(key) != name {
		return store.Key{}, false, &store.CorruptError{Path: name, Err: errors.New("it belongs to another login")}
	}
	return key, true, nil
}

// Lock implements store.Store. The lock of a holder that died is free after [Options.Lease].
func (s *Store) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	if err := s.check(key); err != nil {
		return nil, nil, err
	}
	return lease.Lock(ctx, &entry{s, s.lockName(key, name)}, s.opt.Lease)
}

// Probe implements store.Prober: it asks whether the server is there and takes writes.
func (s *Store) Probe(ctx context.Context) error {
	name := s.opt.Prefix + "probe"
	if _, err := s.do(ctx, "SET", name, "1", "PX", "1000"); err != nil {
		return err
	}
	return nil
}

// entry is a lock's key.
type entry struct {
	s    *Store
	name string
}

// Acquire implements lease.Entry.
func (e *entry) Acquire(ctx context.Context, owner string, d time.Duration) (bool, error) {
	v, err := e.s.do(ctx, "SET", e.name, owner, "NX", "PX", strconv.FormatInt(d.Milliseconds(), 10))
	return v != nil, err
}

const renewScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return '0' end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return '1'`

// Renew implements lease.Entry.
func (e *entry) Renew(ctx context.Context, owner string, d time.Duration) (bool, error) {
	v, err := e.s.eval(ctx, renewScript, e.name, owner, strconv.FormatInt(d.Milliseconds(), 10))
	return text(v) == "1", err
}

const releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return '1'`

// Release implements lease.Entry.
func (e *entry) Release(ctx context.Context, owner string) error {
	_, err := e.s.eval(ctx, releaseScript, e.name, owner)
	return err
}

// text returns a reply as a string, "" for null.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}
