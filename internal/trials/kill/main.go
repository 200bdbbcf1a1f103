//go:build unix

// Command kill starts a program that refreshes, logs in or logs out, kills it (SIGKILL) at a random
// instant, and looks at what is left: is every record whole, is every lock free, is the login still
// there? It does so with two servers. One honours the last refresh token until the new one is used:
// nothing may be lost there. The other revokes the login when a spent refresh token comes back: a kill
// between its rotation and our save loses the login, no client can help that; those are counted, and
// each must be said to be a login that is required, after at most two posts.
//
//	go run ./internal/trials/kill -rounds 300
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

const (
	urlEnv  = "KILL_URL"
	workEnv = "KILL_WORK"
	dirEnv  = "KILL_DIR"
)

func main() {
	if os.Getenv(urlEnv) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	rounds := flag.Int("rounds", 100, "how many `KILLS` of each kind of work, at each kind of server")
	flag.Parse()
	if err := all(*rounds); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// totals of one kind of work at one kind of server.
type totals struct {
	rounds, lost, window, torn, stuck, wrong int
	first                                    string // what was wrong first
}

func all(rounds int) error {
	const row = "%-8s %-34s %7v %7v %10v %6v %12v\n"
	fmt.Printf(row, "WORK", "SERVER", "KILLS", "LOST", "IN WINDOW", "TORN", "STALE LOCKS")
	var bad []string
	for _, server := range []struct {
		name  string
		grace bool
	}{{"honours the last refresh token", true}, {"revokes when one comes back", false}} {
		for _, work := range []string{"refresh", "login", "logout"} {
			t, err := trial(work, server.grace, rounds)
			if err != nil {
				return fmt.Errorf("%s: %w", work, err)
			}
			fmt.Printf(row, work, server.name, t.rounds, t.lost, t.window, t.torn, t.stuck)
			if t.torn+t.stuck+t.wrong > 0 || t.lost != t.window || server.grace && t.lost > 0 {
				bad = append(bad, fmt.Sprintf("%s at a server that %s: %d wrong (%s)", work, server.name, t.wrong, t.first))
			}
		}
	}
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, "; "))
	}
	return nil
}

// trial kills one kind of work again and again.
func trial(work string, grace bool, rounds int) (t totals, err error) {
	srv, err := authtest.Start(&authtest.Options{AutoApprove: true, GraceForOldRefreshToken: grace})
	if err != nil {
		return t, err
	}
	defer srv.Close()
	dir, err := os.MkdirTemp("", "mcpoauth")
	if err != nil {
		return t, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	logins := filepath.Join(dir, "logins")
	length, err := measure(srv, work, logins)
	if err != nil {
		return t, err
	}
	for range rounds {
		if err := round(srv, work, logins, length, &t); err != nil {
			return t, err
		}
	}
	return t, nil
}

// measure returns how long the work takes when nobody kills it.
func measure(srv *authtest.Server, work, dir string) (time.Duration, error) {
	if err := ensure(srv, dir); err != nil {
		return 0, err
	}
	srv.Expire()
	cmd := begin(srv, work, dir)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	return time.Since(start), nil
}

func begin(srv *authtest.Server, work, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0]) // this program; it is killed or ends
	cmd.Env = append(os.Environ(), urlEnv+"="+srv.MCPURL(), workEnv+"="+work, dirEnv+"="+dir)
	return cmd
}

// ensure logs in if that is needed.
func ensure(srv *authtest.Server, dir string) error {
	c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{CacheDir: dir, Prompt: person})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.Background()) }()
	_, err = c.Login(context.Background(), nil)
	return err
}

// round does the work once, kills it, and looks.
func round(srv *authtest.Server, work, dir string, length time.Duration, t *totals) error {
	if err := ensure(srv, dir); err != nil {
		return err
	}
	t.rounds++
	if work == "refresh" {
		srv.Expire()
	}
	before, _ := stored(srv, dir)
	posts := srv.Count("refresh")
	cmd := begin(srv, work, dir)
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(time.Duration(rand.Int64N(int64(length) * 5 / 4))) // an instant
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	// What the server began for the dead it may still be finishing.
	time.Sleep(5 * time.Millisecond)

	after, err := stored(srv, dir)
	if err != nil {
		t.torn++
		t.say("the record: %v", err)
		return os.RemoveAll(dir)
	}
	if stale(srv, dir) {
		t.stuck++
		t.say("a lock is still held")
	}
	rotated := work == "refresh" && srv.Count("refresh") > posts
	unsaved := before != nil && after != nil && after.RefreshToken == before.RefreshToken
	return judge(leftover{srv: srv, work: work, dir: dir, window: rotated && unsaved, posts: posts}, t)
}

// leftover is what a program that was killed has left.
type leftover struct {
	srv       *authtest.Server
	work, dir string
	// window means that it was killed between the server's rotation and the save.
	window bool
	// posts counts the refreshes before.
	posts int
}

// judge uses what is left, as the next program does.
func judge(l leftover, t *totals) error {
	srv, work, dir, window, posts := l.srv, l.work, l.dir, l.window, l.posts
	c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{CacheDir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.Background()) }()
	resp, err := c.HTTPClient().Post(srv.MCPURL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.say("status %d", resp.StatusCode)
		}
		return nil
	}
	switch {
	case work == "logout" && errors.Is(err, mcpoauth.ErrLoginRequired):
		return nil // that was what was wanted
	case window && errors.Is(err, mcpoauth.ErrLoginRequired):
		t.window++
		t.lost++
		if n := srv.Count("refresh") - posts; n > 2 {
			t.say("%d posts for one refresh token", n)
		}
	case errors.Is(err, mcpoauth.ErrLoginRequired):
		t.lost++
		t.say("lost outside the window: %v", err)
	default:
		t.say("%v", err)
	}
	return nil
}

func (t *totals) say(format string, args ...any) {
	t.wrong++
	if t.first == "" {
		t.first = fmt.Sprintf(format, args...)
	}
}

// stored returns the login on disk, nil if there is none. An error means that it is torn.
func stored(srv *authtest.Server, dir string) (*record.Login, error) {
	s, err := filestore.New(dir)
	if err != nil {
		return nil, err
	}
	for _, err := range s.List(context.Background(), store.Filter{}) {
		if err != nil {
			return nil, err
		}
	}
	data, _, err := s.Load(context.Background(), key(srv))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return record.DecodeLogin(data)
}

func key(srv *authtest.Server) store.Key {
	return store.Key{Kind: store.KindLogin, ID: srv.MCPURL()}
}

// stale reports whether a lock of the login is still held although its holder is dead.
func stale(srv *authtest.Server, dir string) bool {
	s, err := filestore.New(dir)
	if err != nil {
		return true
	}
	for _, name := range []string{"login", "refresh"} {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, unlock, err := s.Lock(ctx, key(srv), name)
		cancel()
		if err != nil {
			return true
		}
		_ = unlock()
	}
	return false
}

// person is a Prompt that allows everything.
func person(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
	return nil, visit(ctx, p.URL)
}

// visit plays the browser of a person at a server that asks nothing.
func visit(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := new(http.Client).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// child does the work.
func child() error {
	c, err := mcpoauth.New(os.Getenv(urlEnv), &mcpoauth.Options{CacheDir: os.Getenv(dirEnv), Prompt: person})
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch os.Getenv(workEnv) {
	case "refresh":
		var resp *http.Response
		resp, err = c.HTTPClient().Post(c.ServerURL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err == nil {
			_ = resp.Body.Close()
		}
	case "login":
		_, err = c.Login(ctx, &mcpoauth.LoginOptions{Force: true})
	case "logout":
		_, err = c.Logout(ctx)
	}
	if cerr := c.Close(ctx); err == nil {
		err = cerr
	}
	return err
}
