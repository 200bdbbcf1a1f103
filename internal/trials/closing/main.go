// Command closing closes Clients while others call them, for a time: a panic, an error other than the documented ones,
// or a request after Close ends it with a failure. It is meant for the race detector:
//
//	go run -race ./internal/trials/closing -duration 10m
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

func main() {
	span := flag.Duration("duration", time.Minute, "how long to go on")
	flag.Parse()
	rounds, err := run(*span)
	fmt.Printf("%d Clients were closed while they were in use\n", rounds)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// trial is what all rounds share.
type trial struct {
	srv   *authtest.Server
	store *memstore.Store
}

func run(span time.Duration) (rounds int, err error) {
	srv, err := authtest.Start(&authtest.Options{AutoApprove: true, AccessTokenLifetime: 3 * time.Second})
	if err != nil {
		return 0, err
	}
	defer srv.Close()
	t := &trial{srv: srv, store: memstore.New()}
	for end := time.Now().Add(span); time.Now().Before(end); rounds++ {
		if err := t.round(time.Duration(rounds%7) * 150 * time.Microsecond); err != nil {
			return rounds, err
		}
		if rounds%500 == 499 { // what the server remembers must not grow for ever
			t.store = memstore.New()
		}
	}
	return rounds, nil
}

// round uses a Client from eight goroutines until it is closed.
func (t *trial) round(open time.Duration) error {
	c, err := mcpoauth.New(t.srv.MCPURL(), &mcpoauth.Options{
		Store: t.store,
		Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			_, err := t.srv.Browser(ctx, p.URL)
			return nil, err
		},
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	var wg sync.WaitGroup
	failures := make(chan error, 16)
	for i, use := range t.uses(ctx, c) {
		for range 2 {
			wg.Go(func() {
				for {
					err := use()
					if errors.Is(err, mcpoauth.ErrClosed) {
						return
					}
					if err != nil {
						failures <- fmt.Errorf("call %d: %w", i, err)
						return
					}
				}
			})
		}
	}
	time.Sleep(open)
	err = c.Close(ctx)
	wg.Wait()
	select {
	case failure := <-failures:
		err = errors.Join(err, failure)
	default:
	}
	return errors.Join(err, t.silent(c))
}

// silent reports a request that a closed Client sends.
func (t *trial) silent(c *mcpoauth.Client) error {
	time.Sleep(5 * time.Millisecond) // a request that was cancelled on its way may still arrive
	before := len(t.srv.Requests())
	for _, use := range t.uses(context.Background(), c) {
		if err := use(); !errors.Is(err, mcpoauth.ErrClosed) {
			return fmt.Errorf("a closed Client returned another error: %w", err)
		}
	}
	if n := len(t.srv.Requests()) - before; n != 0 {
		return fmt.Errorf("%d requests of a closed Client", n)
	}
	return nil
}

// uses are the calls of a program.
func (t *trial) uses(ctx context.Context, c *mcpoauth.Client) []func() error {
	return []func() error{
		func() error { _, err := c.Token(ctx, nil); return unlessAbsent(err) },
		func() error { _, err := c.Login(ctx, nil); return err },
		func() error {
			leaving, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			_, err := c.Token(leaving, &mcpoauth.TokenOptions{MinValidity: time.Hour})
			if errors.Is(err, context.DeadlineExceeded) {
				return nil
			}
			return unlessAbsent(err)
		},
		func() error {
			resp, err := c.HTTPClient().Post(c.ServerURL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
			if err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d", resp.StatusCode)
			}
			return nil
		},
	}
}

// unlessAbsent drops the error of a Client that nobody has logged in yet.
func unlessAbsent(err error) error {
	if errors.Is(err, mcpoauth.ErrLoginRequired) {
		return nil
	}
	return err
}
