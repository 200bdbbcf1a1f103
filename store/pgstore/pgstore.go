// Package pgstore keeps logins in PostgreSQL, for programs on many machines that share them.
//
// It promises what the contract asks for, between all machines, and what PostgreSQL promises: a save
// that returned survives a crash. A save compares the revision in one statement; a lock is a row with an
// owner and a lease ([Options.Lease]), by the database's clock, that is renewed while it is held. No
// transaction and no connection is held meanwhile, so a refresh that takes a minute blocks no one, and
// poolers in transaction mode are fine. A holder that stands still for longer than its lease loses the
// lock, and what it then saves is refused by its revision.
//
// The tables are made by [Store.Migrate] or by hand from [Schema], never by themselves: many roles may
// not run DDL. Afterwards SELECT, INSERT, UPDATE and DELETE on both tables and USAGE on the sequence
// are enough. It takes a *sql.DB and imports no driver. An empty profile is refused, since it would mix
// users ([Options.AllowEmptyProfile]). Values are not encrypted: put package sealed around it where
// others can read the database or its backups.
//
// With synchronous_commit off, or asynchronous replicas and a failover, the last saves may be lost; a
// server that rotates refresh tokens will then want a new login.
//
// Choose it for services that act for many users, and wherever a database is at hand already.
package pgstore

import (
	"context"
	"database/sql"
	_ "embed" // the schema
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/lease"
	"github.com/mcpoauth/mcpoauth/store"
)

// Schema is the tables' definition (DDL), for those who migrate by hand. It may be run again. Tables of
// another name than the default's: see [Options.Table] and [Store.Schema].
//
//go:embed schema.sql
var Schema string

const (
	defaultTable   = "mcpoauth"
	defaultTimeout = 10 * time.Second
	// pendingLife is how long pending records are kept.
	pendingLife = 15 * time.Minute
	pageSize    = 500
	undefined   = "42P01" // undefined_table
)

// Options configure a [Store]. Nil is the zero value.
type Options struct {
	// Table begins the names of the tables, with a schema if need be ("auth.mcpoauth"). Empty is
	// "mcpoauth".
	Table string
	// Lease is how long a lock outlives a holder that died. 0 is 30 seconds; less than a second is
	// refused.
	Lease time.Duration
	// Timeout limits each statement. 0 is ten seconds.
	Timeout time.Duration
	// AllowEmptyProfile accepts records without a profile. Set it only if all programs on this database
	// act for one and the same user.
	AllowEmptyProfile bool
}

// Store is a store in PostgreSQL. Use [New].
type Store struct {
	db    *sql.DB
	opt   Options
	names *strings.Replacer
}

// New returns a store in db. It does no I/O.
func New(db *sql.DB, opt *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("pgstore: there is no database")
	}
	s := &Store{db: db}
	if opt != nil {
		s.opt = *opt
	}
	if s.opt.Table == "" {
		s.opt.Table = defaultTable
	}
	if !plainName(s.opt.Table) {
		return nil, fmt.Errorf("pgstore: the table name %q is not plain: lower-case letters, digits and _", s.opt.Table)
	}
	limits, err := lease.Options{Lease: s.opt.Lease, Timeout: s.opt.Timeout}.WithDefaults(defaultTimeout)
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	s.opt.Lease, s.opt.Timeout = limits.Lease, limits.Timeout
	s.names = namesFor(s.opt.Table)
	return s, nil
}

// plainName reports whether a table's name, perhaps with a schema, needs no quotes.
func plainName(table string) bool {
	parts := strings.Split(table, ".")
	for _, p := range parts {
		if p == "" || len(p) > 40 || p[0] >= '0' && p[0] <= '9' || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return len(parts) <= 2
}

// Schema returns the definition of this store's tables.
func (s *Store) Schema() string { return s.named(Schema) }

// named puts the tables' names into SQL that is written for the default ones.
func (s *Store) named(query string) string {
	if s.names == nil {
		return query
	}
	return s.names.Replace(query)
}

// namesFor returns what named does, nil for the default.
func namesFor(table string) *strings.Replacer {
	if table == defaultTable {
		return nil
	}
	// An index lies in its table's schema, and must be named without it.
	plain := table[strings.IndexByte(table, '.')+1:]
	return strings.NewReplacer(
		"EXISTS mcpoauth_records_profile", "EXISTS "+plain+"_records_profile", "EXISTS mcpoauth_records_expiry", "EXISTS "+plain+"_records_expiry",
		"mcpoauth_records", table+"_records", "mcpoauth_locks", table+"_locks", "mcpoauth_revision", table+"_revision",
	)
}

// Migrate makes the tables, if they are not there. It may be called by many at once.
func (s *Store) Migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.explain(err)
	}
	defer func() { _ = tx.Rollback() }()
	// CREATE IF NOT EXISTS fails where two run it at once.
	for _, q := range []string{`SELECT pg_advisory_xact_lock(hashtext('mcpoauth migrate'))`, s.Schema()} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return s.explain(err)
		}
	}
	return s.explain(tx.Commit())
}

// NotMigratedError means that the tables are not there.
type NotMigratedError struct {
	// Table begins their names.
	Table string
	// Err is the database's.
	Err error
}

// Error implements error.
func (e *NotMigratedError) Error() string {
	return "the tables " + e.Table + "_* are not in the database"
}

// Unwrap returns the database's error.
func (e *NotMigratedError) Unwrap() error { return e.Err }

// HintText says what to do.
func (e *NotMigratedError) HintText() string {
	return "call Store.Migrate, run the SQL in pgstore.Schema, or name the database once to the command: mcpoauth list --store postgres://…"
}

// explain adds to an error of the database what it means here. Drivers say the SQLSTATE by a method of
// that name.
func (s *Store) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var state interface{ SQLState() string }
	if errors.As(err, &state) && state.SQLState() == undefined {
		return &NotMigratedError{Table: s.opt.Table, Err: err}
	}
	return store.Unreachable("postgres", err)
}

// row runs a statement that returns at most one row. It reports false if there is none.
func (s *Store) row(ctx context.Context, dest []any, query string, args ...any) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	err := s.db.QueryRowContext(limited, s.named(query), args...).Scan(dest...)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	}
	return false, s.explain(err)
}

func (s *Store) check(key store.Key) error {
	if key.Profile == "" && !s.opt.AllowEmptyProfile {
		return store.ErrProfileRequired
	}
	return nil
}

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if err := s.check(key); err != nil {
		return nil, 0, err
	}
	var data []byte
	var rev int64
	const query = `SELECT data, revision FROM mcpoauth_records WHERE key = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp())`
	ok, err := s.row(ctx, []any{&data, &rev}, query, key.Digest())
	var gone *store.UnreachableError
	if errors.As(err, &gone) && ctx.Err() == nil {
		// After a restart of the database the pool has connections that are dead and do not know it.
		ok, err = s.row(ctx, []any{&data, &rev}, query, key.Digest())
	}
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		return nil, 0, fmt.Errorf("%v: %w", key, store.ErrNotFound)
	}
	if data == nil {
		data = []byte{}
	}
	return data, store.Revision(rev), nil // the sequence begins at 1
}

// Save implements store.Store. Pending records (store.KindPending) are kept for a quarter of an hour,
// and removed with a later save of that kind.
func (s *Store) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	if err := s.check(key); err != nil {
		return 0, err
	}
	if data == nil {
		data = []byte{}
	}
	var life any
	if key.Kind == store.KindPending {
		life = pendingLife.Seconds()
		if err := s.sweep(ctx); err != nil {
			return 0, err
		}
	}
	var next int64
	var ok bool
	var err error
	if rev == 0 {
		ok, err = s.row(ctx, []any{&next}, `INSERT INTO mcpoauth_records (key, kind, id, profile, revision, data, expires_at)
			VALUES ($1, $2, $3, $4, nextval('mcpoauth_revision'), $5, clock_timestamp() + $6::float8 * interval '1 second')
			ON CONFLICT (key) DO NOTHING RETURNING revision`, key.Digest(), string(key.Kind), []byte(key.ID), []byte(key.Profile), data, life)
	} else {
		ok, err = s.row(ctx, []any{&next}, `UPDATE mcpoauth_records
			SET revision = nextval('mcpoauth_revision'), data = $3, saved_at = clock_timestamp(), expires_at = clock_timestamp() + $4::float8 * interval '1 second'
			WHERE key = $1 AND revision = $2 RETURNING revision`, key.Digest(), int64(rev), data, life) // a revision of the sequence
	}
	if err != nil {
		return s.perhapsSaved(ctx, key, data, rev, err)
	}
	if !ok {
		return 0, fmt.Errorf("%v: %w", key, store.ErrConflict)
	}
	return store.Revision(next), nil // the sequence begins at 1
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

// sweep removes expired pending records.
func (s *Store) sweep(ctx context.Context) error {
	return s.exec(ctx, `DELETE FROM mcpoauth_records WHERE expires_at < clock_timestamp()`)
}

func (s *Store) exec(ctx context.Context, query string, args ...any) error {
	limited, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	_, err := s.db.ExecContext(limited, s.named(query), args...)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return s.explain(err)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key, rev store.Revision) error {
	if err := s.check(key); err != nil {
		return err
	}
	if rev == 0 {
		return s.exec(ctx, `DELETE FROM mcpoauth_records WHERE key = $1`, key.Digest())
	}
	var gone int64
	ok, err := s.row(ctx, []any{&gone}, `DELETE FROM mcpoauth_records WHERE key = $1 AND revision = $2 RETURNING revision`, key.Digest(), int64(rev)) // a revision of the sequence
	if err == nil && !ok {
		err = fmt.Errorf("%v: %w", key, store.ErrConflict)
	}
	return err
}

// List implements store.Store. It reads page by page, by the index of profile and kind where the filter
// names profiles.
func (s *Store) List(ctx context.Context, f store.Filter) iter.Seq2[store.Key, error] {
	return func(yield func(store.Key, error) bool) {
		if f.Profiles == nil {
			s.listAll(ctx, f, yield)
			return
		}
		profiles := slices.Clone(f.Profiles)
		slices.Sort(profiles)
		for _, p := range slices.Compact(profiles) {
			if !s.pages(ctx, f, yield, `profile = $4`, []byte(p)) {
				return
			}
		}
	}
}

func (s *Store) listAll(ctx context.Context, f store.Filter, yield func(store.Key, error) bool) {
	s.pages(ctx, f, yield, `$4::bytea IS NULL`, nil)
}

// pages yields the keys that a condition selects, and reports whether more are wanted.
func (s *Store) pages(ctx context.Context, f store.Filter, yield func(store.Key, error) bool, condition string, arg any) bool {
	after := ""
	for {
		page, err := s.page(ctx, condition, after, string(f.Kind), arg)
		if err != nil {
			yield(store.Key{}, err)
			return false
		}
		for _, k := range page {
			after = k.digest
			if !yield(k.key, nil) {
				return false
			}
		}
		if len(page) < pageSize {
			return true
		}
	}
}

type listed struct {
	digest string
	key    store.Key
}

func (s *Store) page(ctx context.Context, condition, after, kind string, arg any) ([]listed, error) {
	limited, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	rows, err := s.db.QueryContext(limited, s.named(`SELECT key, kind, id, profile FROM mcpoauth_records
		WHERE key > $1 AND ($2 = '' OR kind = $2) AND (expires_at IS NULL OR expires_at > clock_timestamp()) AND `+condition+`
		ORDER BY key LIMIT $3`), after, kind, pageSize, arg)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.explain(err)
	}
	defer func() { _ = rows.Close() }()
	var out []listed
	for rows.Next() {
		var l listed
		var kind string
		var id, profile []byte
		if err := rows.Scan(&l.digest, &kind, &id, &profile); err != nil {
			return nil, s.explain(err)
		}
		l.key = store.Key{Kind: store.Kind(kind), ID: string(id), Profile: string(profile)}
		out = append(out, l)
	}
	return out, s.explain(rows.Err())
}

// Lock implements store.Store. The lock of a holder that died is free after [Options.Lease].
func (s *Store) Lock(ctx context.Context, key store.Key, name string) (context.Context, func() error, error) {
	if err := s.check(key); err != nil {
		return nil, nil, err
	}
	return lease.Lock(ctx, &entry{s, key.Digest() + " " + name}, s.opt.Lease)
}

// Probe implements store.Prober: it asks whether the tables can be written.
func (s *Store) Probe(ctx context.Context) error {
	return s.exec(ctx, `DELETE FROM mcpoauth_locks WHERE name = 'probe' AND expires_at < clock_timestamp()`)
}

// entry is a lock's row.
type entry struct {
	s    *Store
	name string
}

// Acquire implements lease.Entry.
func (e *entry) Acquire(ctx context.Context, owner string, d time.Duration) (bool, error) {
	var got string
	return e.s.row(ctx, []any{&got}, `INSERT INTO mcpoauth_locks AS l (name, owner, expires_at)
		VALUES ($1, $2, clock_timestamp() + $3::float8 * interval '1 second')
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
		WHERE l.expires_at < clock_timestamp() RETURNING owner`, e.name, owner, d.Seconds())
}

// Renew implements lease.Entry.
func (e *entry) Renew(ctx context.Context, owner string, d time.Duration) (bool, error) {
	var got string
	return e.s.row(ctx, []any{&got}, `UPDATE mcpoauth_locks SET expires_at = clock_timestamp() + $3::float8 * interval '1 second'
		WHERE name = $1 AND owner = $2 AND expires_at > clock_timestamp() RETURNING owner`, e.name, owner, d.Seconds())
}

// Release implements lease.Entry.
func (e *entry) Release(ctx context.Context, owner string) error {
	return e.s.exec(ctx, `DELETE FROM mcpoauth_locks WHERE name = $1 AND owner = $2`, e.name, owner)
}
