//go:build unix

package pgstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver

	"github.com/mcpoauth/mcpoauth/internal/testserver"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/pgstore"
	"github.com/mcpoauth/mcpoauth/store/storetest"
)

const urlEnv = "PGSTORE_TEST_URL"

func TestMain(m *testing.M) {
	storetest.Child(func() (store.Store, error) { return connect(os.Getenv(urlEnv), options()) })
	testserver.Parallel(8)
	os.Exit(server.Main(m))
}

var (
	server  = testserver.Shared{Start: testserver.Postgres}
	schemas atomic.Int32
)

// database returns the URL of a part of the database that is empty.
func database(t *testing.T) string {
	t.Helper()
	at := server.At(t)
	db, err := sql.Open("pgx", at)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("test%d", schemas.Add(1))
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return at + "&search_path=" + name
}

func options() *pgstore.Options {
	return &pgstore.Options{AllowEmptyProfile: true, Lease: 2 * time.Second, Timeout: 2 * time.Second}
}

func connect(url string, opt *pgstore.Options) (*pgstore.Store, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	return pgstore.New(db, opt)
}

func open(t testing.TB, url string, opt *pgstore.Options) *pgstore.Store {
	t.Helper()
	s, err := connect(url, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

var key = store.Key{Kind: store.KindLogin, ID: "https://mcp.example/mcp", Profile: "user-17"}

func TestContract(t *testing.T) {
	t.Parallel()
	url := database(t)
	s := open(t, url, options())
	storetest.Run(t, func() (store.Store, error) { return s, nil })
	storetest.RunProcesses(t, func() (store.Store, error) { return s, nil }, urlEnv+"="+url)
}

func TestAStoppedHolderIsFenced(t *testing.T) {
	t.Parallel()
	url := database(t)
	s := open(t, url, options())
	signal := func(sig os.Signal) func(*os.Process) error {
		return func(p *os.Process) error { return p.Signal(sig) }
	}
	storetest.RunStalledHolder(t, func() (store.Store, error) { return s, nil }, signal(syscall.SIGSTOP), signal(syscall.SIGCONT), urlEnv+"="+url)
}

func TestContractOverABadNetwork(t *testing.T) {
	t.Parallel()
	target, _ := url.Parse(database(t))
	n := testserver.Between(t, target.Host)
	// A lock whose release was cut off is free after its lease.
	s := open(t, strings.Replace(target.String(), target.Host, n.Addr, 1), &pgstore.Options{AllowEmptyProfile: true, Lease: 2 * time.Second, Timeout: time.Second})
	n.Bad(60, 3*time.Millisecond)
	storetest.RunUnreliable(t, s)
	n.Bad(0, 0)
	n.Down(true)
	if _, _, err := s.Load(t.Context(), key); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a database: %v", err)
	}
	n.Down(false)
	for range 100 { // the pool may have several dead connections
		if _, _, err := s.Load(t.Context(), key); errors.Is(err, store.ErrNotFound) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("it does not come back")
}

func TestTheTablesMustBeMadeFirst(t *testing.T) {
	t.Parallel()
	url := database(t)
	s, err := connect(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	var missing *pgstore.NotMigratedError
	if _, _, err := s.Load(t.Context(), key); !errors.As(err, &missing) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("load: %v", err)
	}
	if err := s.Probe(t.Context()); !errors.As(err, &missing) {
		t.Errorf("probe: %v", err)
	}
	errs := make(chan error)
	for range 8 {
		go func() { errs <- s.Migrate(t.Context()) }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Errorf("many migrate at once: %v", err)
		}
	}
	if err := s.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTablesOfAnotherName(t *testing.T) {
	t.Parallel()
	url := database(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	schema := fmt.Sprintf("auth%d", schemas.Add(1))
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	a, b := open(t, url, nil), open(t, url, &pgstore.Options{Table: schema + ".logins"})
	if _, err := a.Save(t.Context(), key, []byte("a"), 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Load(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the other tables' record was found: %v", err)
	}
	if _, err := b.Save(t.Context(), key, []byte("b"), 0); err != nil {
		t.Error(err)
	}
	if _, unlock, err := b.Lock(t.Context(), key, "x"); err != nil {
		t.Error(err)
	} else if err := unlock(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{`x"; DROP TABLE y`, "A", "a.b.c", "a b", strings.Repeat("a", 100)} {
		if _, err := pgstore.New(db, &pgstore.Options{Table: bad}); err == nil {
			t.Errorf("the table name %q was taken", bad)
		}
	}
}

func TestAnEmptyProfileIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, database(t), nil)
	storetest.RunRefusesEmptyProfile(t, s)
}

func TestWhatIsUnderWayIsForgotten(t *testing.T) {
	t.Parallel()
	url := database(t)
	s := open(t, url, nil)
	pending := store.Key{Kind: store.KindPending, ID: "x", Profile: "p"}
	if _, err := s.Save(t.Context(), pending, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(t.Context(), key, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "UPDATE mcpoauth_records SET expires_at = expires_at - interval '20 minutes'"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Load(t.Context(), pending); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was under way: %v", err)
	}
	if _, _, err := s.Load(t.Context(), key); err != nil {
		t.Errorf("the login: %v", err)
	}
	if _, err := s.Save(t.Context(), pending, []byte("y"), 0); err != nil {
		t.Errorf("begun again: %v", err)
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM mcpoauth_records").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d records, %v", n, err)
	}
}
