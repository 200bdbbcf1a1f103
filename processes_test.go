package mcpoauth_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/testserver"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

// childEnv makes this test binary a program that wants an authorized request, and nothing else.
const childEnv = "MCPOAUTH_TEST_CHILD"

func TestMain(m *testing.M) {
	if url := os.Getenv(childEnv); url != "" {
		child(url)
	}
	if path := os.Getenv(copyEnv); path != "" {
		if err := copyProgram(os.Args[1], path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testserver.Parallel(6)
	testserver.ClearSettings()
	os.Exit(m.Run())
}

// child waits for its standard input to end, so that all begin at once, sends one request and prints
// the status and the token.
func child(url string) {
	c, err := mcpoauth.New(url, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	status, err := tryPing(c)
	if err == nil {
		var token *mcpoauth.Token
		if token, err = c.Token(context.Background(), nil); err == nil {
			fmt.Println(status, token.AccessToken())
		}
	}
	if cerr := c.Close(context.Background()); err == nil {
		err = cerr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestManyProcessesRefreshOnce lets twenty processes find the same expired token at a server that
// revokes the whole login when an old refresh token comes back.
//
// It has a row in docs/compatibility.md.
func TestManyProcessesRefreshOnce(t *testing.T) {
	t.Parallel()
	t.Run("refused by the server", func(t *testing.T) {
		srv := authtest.New(t, nil)
		twentyProcesses(t, srv, func(store.Store, *mcpoauth.Client) { srv.Expire() })
	})
	t.Run("ended by the clock", func(t *testing.T) {
		srv := authtest.New(t, nil)
		twentyProcesses(t, srv, func(st store.Store, c *mcpoauth.Client) {
			rec := stored(t, st, c)
			rec.IssuedAt, rec.Expiry = rec.IssuedAt.Add(-2*time.Hour), rec.Expiry.Add(-2*time.Hour)
			overwrite(t, st, c, rec)
		})
	})
}

func twentyProcesses(t *testing.T, srv *authtest.Server, expire func(store.Store, *mcpoauth.Client)) {
	const n = 20
	dir := t.TempDir()
	p := &person{srv: srv}
	first := newClient(t, srv.MCPURL(), mcpoauth.Options{CacheDir: dir, Prompt: p.prompt})
	if _, err := first.Login(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	old, err := first.Token(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	srv.Set(func(f *authtest.Faults) { f.TokenDelay = 300 * time.Millisecond }) // all of them arrive meanwhile
	st, err := filestore.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	expire(st, first)
	before := srv.Count("refresh")

	type result struct {
		out, errs bytes.Buffer
		err       error
	}
	results := make([]result, n)
	var starts []io.Closer
	var done sync.WaitGroup
	for i := range results {
		r := &results[i]
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+srv.MCPURL(), "MCPOAUTH_DIR="+dir)
		cmd.Stdout, cmd.Stderr = &r.out, &r.errs
		start, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		starts = append(starts, start)
		done.Go(func() { r.err = cmd.Wait() })
	}
	for _, s := range starts {
		s.Close()
	}
	done.Wait()

	tokens := map[string]bool{}
	for i := range results {
		r := &results[i]
		status, token, _ := strings.Cut(strings.TrimSpace(r.out.String()), " ")
		if r.err != nil || status != "200" {
			t.Errorf("process %d: %v, status %q: %s", i, r.err, status, &r.errs)
			continue
		}
		tokens[token] = true
	}
	if len(tokens) != 1 || tokens[old.AccessToken()] {
		t.Errorf("%d different tokens, the expired one among them: %t", len(tokens), tokens[old.AccessToken()])
	}
	if got := srv.Count("refresh") - before; got != 1 {
		t.Errorf("%d refreshes, want 1", got)
	}
	if srv.Revoked() != 0 {
		t.Errorf("the server revoked %d logins", srv.Revoked())
	}
}
