//go:build unix

// Command scale measures a store in PostgreSQL that holds few and many logins, side by side: the time of
// a load by key, of a list of one profile, and the throughput of refreshes as a client makes them (lock,
// load, save, unlock), with the bytes that a record takes; and the memory of an idle Client.
//
//	go run ./internal/trials/scale -n 1000000
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/testserver"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
	"github.com/mcpoauth/mcpoauth/store/pgstore"
)

const (
	few        = 1000
	perProfile = 10
	batch      = 10000
	workers    = 16
	// maxIdle is what an idle Client may take, its token of 800 bytes included.
	maxIdle = 2560
)

func main() {
	n := flag.Int("n", 100000, "how many `LOGINS` are many")
	span := flag.Duration("duration", 5*time.Second, "how long each throughput is measured")
	flag.Parse()
	err := testserver.Run(func(tb testserver.TB) error { return all(testserver.Postgres(tb), *n, *span) })
	if err == nil {
		err = idle(10000)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// figures of one size.
type figures struct {
	load, list time.Duration
	refreshes  float64
	bytes      int64
}

func all(url string, many int, span time.Duration) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	var got []figures
	for i, n := range []int{few, many} {
		s, err := pgstore.New(db, &pgstore.Options{Table: fmt.Sprintf("size%d", i)})
		if err != nil {
			return err
		}
		ctx := context.Background()
		if err := s.Migrate(ctx); err != nil {
			return err
		}
		if err := fill(ctx, db, fmt.Sprintf("size%d", i), n); err != nil {
			return err
		}
		f, err := measure(ctx, s, size{db: db, table: fmt.Sprintf("size%d", i), logins: n, span: span})
		if err != nil {
			return err
		}
		got = append(got, f)
	}
	a, b := got[0], got[1]
	const row = "%-38s %14v %14v %8.2f\n"
	fmt.Printf("%-38s %14d %14d %8s\n", "LOGINS", few, many, "RATIO")
	fmt.Printf(row, "load by key, median", a.load.Round(time.Microsecond), b.load.Round(time.Microsecond), float64(b.load)/float64(a.load))
	fmt.Printf(row, fmt.Sprintf("list of a profile with %d, median", perProfile), a.list.Round(time.Microsecond), b.list.Round(time.Microsecond), float64(b.list)/float64(a.list))
	fmt.Printf(row, fmt.Sprintf("refreshes a second, %d at once", workers), int(a.refreshes), int(b.refreshes), b.refreshes/a.refreshes)
	fmt.Printf(row, "bytes a record, indexes included", a.bytes, b.bytes, float64(b.bytes)/float64(a.bytes))
	return nil
}

func key(i int) store.Key {
	return store.Key{Kind: store.KindLogin, ID: fmt.Sprintf("https://mcp-%d.example.com/mcp", i%997), Profile: fmt.Sprintf("user-%d", i/perProfile)}
}

// encoded is a login as it is stored.
func encoded(i int) ([]byte, error) {
	k := key(i)
	r := record.Login{
		ServerURL: k.ID, Profile: k.Profile, Resource: k.ID, Issuer: "https://auth.example.com", AccessToken: token(800), RefreshToken: token(40), TokenType: "Bearer",
		Expiry: time.Now().Add(time.Hour), IssuedAt: time.Now(), Scopes: []string{"mcp:read", "offline_access"}, TokenEndpoint: "https://auth.example.com/token",
		Registration: record.Registration{Issuer: "https://auth.example.com", ClientID: token(20), AuthMethod: "none", Source: "dynamic", RedirectURI: "http://127.0.0.1:3118/callback"},
	}
	return r.Encode()
}

func token(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[rand.IntN(64)] // it only has to be as long
	}
	return string(b)
}

// fill writes n records past the store: by its own way it would take an hour.
func fill(ctx context.Context, db *sql.DB, table string, n int) error {
	for from := 0; from < n; from += batch {
		var keys, kinds []string
		var ids, profiles, data [][]byte
		for i := from; i < min(from+batch, n); i++ {
			k := key(i)
			b, err := encoded(i)
			if err != nil {
				return err
			}
			keys, kinds = append(keys, k.Digest()), append(kinds, string(k.Kind))
			ids, profiles, data = append(ids, []byte(k.ID)), append(profiles, []byte(k.Profile)), append(data, b)
		}
		if _, err := db.ExecContext(ctx, `INSERT INTO `+table+`_records (key, kind, id, profile, revision, data)
			SELECT k, kind, id, profile, nextval('`+table+`_revision'), d
			FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[]) AS t(k, kind, id, profile, d)`, keys, kinds, ids, profiles, data); err != nil {
			return err
		}
	}
	_, err := db.ExecContext(ctx, `VACUUM ANALYZE `+table+`_records`)
	return err
}

// size is a table to measure.
type size struct {
	db     *sql.DB
	table  string
	logins int
	// span is how long each throughput is measured.
	span time.Duration
}

func measure(ctx context.Context, s *pgstore.Store, of size) (f figures, err error) {
	db, table, n, span := of.db, of.table, of.logins, of.span
	var total int64
	if err := db.QueryRowContext(ctx, `SELECT pg_total_relation_size($1::regclass)`, table+"_records").Scan(&total); err != nil {
		return f, err
	}
	f.bytes = total / int64(n)
	if f.load, err = median(1000, func() error {
		_, _, err := s.Load(ctx, key(rand.IntN(n))) // any of them
		return err
	}); err != nil {
		return f, err
	}
	if f.list, err = median(300, func() error {
		found := 0
		for _, err := range s.List(ctx, store.Filter{Profiles: []string{key(rand.IntN(n)).Profile}}) { // any of them
			if err != nil {
				return err
			}
			found++
		}
		if found != perProfile {
			return fmt.Errorf("%d logins were listed", found)
		}
		return nil
	}); err != nil {
		return f, err
	}
	f.refreshes, err = refreshes(ctx, s, n, span)
	return f, err
}

func median(times int, f func() error) (time.Duration, error) {
	all := make([]time.Duration, times)
	for i := range all {
		start := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		all[i] = time.Since(start)
	}
	slices.Sort(all)
	return all[times/2], nil
}

// refreshes counts how many logins a second are locked, read, written and unlocked.
func refreshes(ctx context.Context, s *pgstore.Store, n int, span time.Duration) (float64, error) {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	end := time.Now().Add(span)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for time.Now().Before(end) && failed.Load() == nil {
				if err := refresh(ctx, s, rand.IntN(n)); err != nil { // any of them
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / span.Seconds(), nil
}

func refresh(ctx context.Context, s *pgstore.Store, i int) error {
	_, unlock, err := s.Lock(ctx, key(i), "refresh")
	if err != nil {
		return err
	}
	_, rev, err := s.Load(ctx, key(i))
	if err == nil {
		var data []byte
		if data, err = encoded(i); err == nil {
			_, err = s.Save(ctx, key(i), data, rev)
		}
	}
	return errors.Join(err, unlock())
}

// idle measures the memory of Clients that have a login and do nothing.
func idle(n int) error {
	logins := memstore.New()
	clients := make([]*mcpoauth.Client, n)
	ctx := context.Background()
	for i := range n {
		data, err := encoded(i)
		if err != nil {
			return err
		}
		if _, err := logins.Save(ctx, key(i), data, 0); err != nil {
			return err
		}
	}
	before, goroutines := heap(), runtime.NumGoroutine()
	for i := range clients {
		c, err := mcpoauth.New(key(i).ID, &mcpoauth.Options{Store: logins, Profile: key(i).Profile})
		if err != nil {
			return err
		}
		if _, err := c.Token(ctx, nil); err != nil {
			return err
		}
		clients[i] = c
	}
	each := (heap() - before) / uint64(n) // positive
	fmt.Printf("%-38s %14d\n", "bytes of memory an idle Client", each)
	fmt.Printf("%-38s %14d\n", "goroutines of all of them", runtime.NumGoroutine()-goroutines)
	runtime.KeepAlive(clients)
	if each > maxIdle {
		return fmt.Errorf("an idle Client takes %d bytes, more than %d", each, maxIdle)
	}
	return nil
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
