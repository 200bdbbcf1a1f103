package cli

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
)

// breaking makes connections that break after a statement was sent.
type breaking struct {
	connects, statements int
	// whole means that the connections do not break.
	whole bool
}

func (b *breaking) Connect(context.Context) (driver.Conn, error) {
	b.connects++
	return &breakingConn{b: b}, nil
}

func (b *breaking) Driver() driver.Driver { return nil }

type breakingConn struct {
	pqConn
	b *breaking
}

func (c *breakingConn) sent() error {
	c.b.statements++
	if c.b.whole {
		return nil
	}
	return driver.ErrBadConn
}

func (c *breakingConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), c.sent()
}

func (c *breakingConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return nil, c.sent()
}

func (c *breakingConn) CheckNamedValue(*driver.NamedValue) error { return nil }
func (c *breakingConn) ResetSession(context.Context) error       { return nil }
func (c *breakingConn) IsValid() bool                            { return true }
func (c *breakingConn) Close() error                             { return nil }

// TestNoStatementIsRunTwice: a save whose answer was lost must not be made again by database/sql, which would find the
// first one in its way and report somebody else's.
func TestNoStatementIsRunTwice(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(*sql.DB) error{
		"exec":  func(db *sql.DB) error { _, err := db.ExecContext(t.Context(), "UPDATE"); return err },
		"query": func(db *sql.DB) error { return db.QueryRowContext(t.Context(), "UPDATE … RETURNING").Err() },
	} {
		b := &breaking{}
		db := sql.OpenDB(onceConnector{b})
		if err := send(db); !errors.Is(err, errBroken) || errors.Is(err, driver.ErrBadConn) {
			t.Errorf("%s: %v", name, err)
		}
		if b.statements != 1 {
			t.Errorf("%s: it was sent %d times", name, b.statements)
		}
		b.whole = true
		if _, err := db.ExecContext(t.Context(), "SELECT"); err != nil || b.connects != 2 {
			t.Errorf("%s: after that: %v, %d connections", name, err, b.connects)
		}
		if _, err := db.ExecContext(t.Context(), "SELECT"); err != nil || b.connects != 2 {
			t.Errorf("%s: a connection that is whole is not kept: %v, %d connections", name, err, b.connects)
		}
		_ = db.Close()
	}
}

// TestHowADatabaseIsReached pins what the URL leaves open.
func TestHowADatabaseIsReached(t *testing.T) {
	for _, bad := range []string{"postgres:x", "postgres://h/db?sslmode=hunter2", "postgres://h/db?connect_timeout=hunter2"} {
		var usage *usageError
		if db, err := openDatabase(bad); !errors.As(err, &usage) || db != nil {
			t.Errorf("%s: %v", bad, err)
		}
	}
	db, err := openDatabase("postgres://127.0.0.1:1/db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("there is a server on port 1")
	}
}
