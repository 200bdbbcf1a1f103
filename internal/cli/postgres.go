package cli

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/lib/pq"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/pgstore"
)

// socketDir is where a server on this machine has its socket, on most systems.
const socketDir = "/var/run/postgresql"

// maxIdle is how long a connection is kept: one that a server or a network has dropped meanwhile costs a failure.
const maxIdle = 10 * time.Second

// openPostgres returns the store of a postgres URL. Nothing is connected before it is used.
//
// The driver is lib/pq and not pgx, whose initialization takes a fifth of the time of a program that only links net/http:
// each `mcpoauth token` would pay for it, whatever its store is.
func openPostgres(rawURL string) (store.Store, error) {
	db, err := openDatabase(rawURL)
	if err != nil {
		return nil, err
	}
	s, err := pgstore.New(db, nil)
	if err != nil {
		return nil, err
	}
	return &migrating{Store: s}, nil
}

func openDatabase(rawURL string) (*sql.DB, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" {
		return nil, &usageError{"--store: the postgres URL cannot be read", "as in postgres://USER@HOST/DATABASE; MCPOAUTH_STORE or PGPASSWORD keep the password off the command line"}
	}
	cfg, err := pq.NewConfig(rawURL)
	if err != nil {
		return nil, &usageError{"--store: the postgres URL cannot be used", "as in postgres://USER@HOST/DATABASE"}
	}
	if cfg.SSLMode == "" {
		cfg.SSLMode = pq.SSLModePrefer // as psql does
	}
	if u.Host == "" && !u.Query().Has("host") && os.Getenv("PGHOST") == "" && os.Getenv("PGHOSTADDR") == "" {
		if info, err := os.Stat(socketDir); err == nil && info.IsDir() {
			cfg.Host, cfg.SSLMode = socketDir, pq.SSLModeDisable
		}
	}
	// A statement in one round trip, which poolers in transaction mode need.
	cfg.BinaryParameters = true
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(onceConnector{connector})
	db.SetMaxOpenConns(4)
	db.SetConnMaxIdleTime(maxIdle)
	return db, nil
}

// onceConnector makes connections on which no statement is run twice. lib/pq reports a connection that broke, even after
// the statement was sent, by driver.ErrBadConn, upon which database/sql runs the statement again on another connection.
// A save whose answer was lost would then be taken for one of somebody else.
type onceConnector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c onceConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(pqConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("the driver of PostgreSQL has not the methods that are expected of it")
	}
	return &onceConn{pqConn: full}, nil
}

// pqConn has the methods of lib/pq's connections that database/sql calls.
type pqConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.QueryerContext
	driver.ExecerContext
	driver.Pinger
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
}

// onceConn is a connection that is given up after it broke.
type onceConn struct {
	pqConn
	broken atomic.Bool
}

// errBroken says that the answer to a statement was lost.
var errBroken = errors.New("the connection to the database broke")

// once replaces the error that makes database/sql try again.
func (c *onceConn) once(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		c.broken.Store(true)
		return errBroken
	}
	return err
}

// QueryContext implements driver.QueryerContext.
func (c *onceConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.pqConn.QueryContext(ctx, query, args)
	return rows, c.once(err)
}

// ExecContext implements driver.ExecerContext.
func (c *onceConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.pqConn.ExecContext(ctx, query, args)
	return result, c.once(err)
}

// ResetSession implements driver.SessionResetter: nothing was sent yet, another connection may be taken.
func (c *onceConn) ResetSession(ctx context.Context) error {
	if c.broken.Load() {
		return driver.ErrBadConn
	}
	return c.pqConn.ResetSession(ctx)
}

// IsValid implements driver.Validator.
func (c *onceConn) IsValid() bool { return !c.broken.Load() && c.pqConn.IsValid() }
