//go:build unix

// Command fleet lets many processes find one expired token at the same time, at a server that rotates
// refresh tokens and revokes the whole login when an old one comes back, and prints how many refreshes
// that made and how many processes were logged out: for each store, and for a program that keeps
// golang.org/x/oauth2's token in a file, as it is commonly done.
//
//	go run ./internal/trials/fleet -processes 1,20,100
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	"github.com/valkey-io/valkey-go"
	"golang.org/x/oauth2"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/testserver"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
	"github.com/mcpoauth/mcpoauth/store/keyringstore"
	"github.com/mcpoauth/mcpoauth/store/pgstore"
	"github.com/mcpoauth/mcpoauth/store/redisstore"
	"github.com/mcpoauth/mcpoauth/store/sealed"
)

// The environment of a child.
const (
	urlEnv   = "FLEET_URL"
	storeEnv = "FLEET_STORE"
	whereEnv = "FLEET_WHERE"
	tokenEnv = "FLEET_TOKEN_URL"
)

func main() {
	if os.Getenv(urlEnv) != "" {
		end(child())
	}
	sizes := flag.String("processes", "1,20", "how many `PROCESSES` there are, one row each")
	names := flag.String("stores", "file,sealed,keyring,redis,postgres,oauth2", "which `STORES`")
	flag.Parse()
	if strings.Contains(*names, "keyring") && os.Getenv("DBUS_SESSION_BUS_ADDRESS") == "" {
		err := testserver.Run(func(tb testserver.TB) error {
			cmd := testserver.Desktop(tb, tb.TempDir(), testserver.UnlockedKeyring, os.Args[0], os.Args[1:]...)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			return cmd.Run()
		})
		if !errors.Is(err, testserver.ErrSkipped) {
			end(err)
		}
	}
	end(all(strings.Split(*names, ","), strings.Split(*sizes, ",")))
}

// end ends the program.
func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// all prints the table. It fails if a store of ours made more than one refresh or lost a login.
func all(names, sizes []string) error {
	const row = "%-10s %10v %10v %11v %9v\n"
	fmt.Printf(row, "STORE", "PROCESSES", "REFRESHES", "LOGGED OUT", "TIME")
	var bad []string
	for _, name := range names {
		for _, size := range sizes {
			n, err := strconv.Atoi(size)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is not a number of processes", size)
			}
			start := time.Now()
			refreshes, out, err := trial(name, n)
			if errors.Is(err, testserver.ErrSkipped) || errors.As(err, new(*keyringstore.UnavailableError)) {
				fmt.Printf("%-10s %v\n", name, err)
				break
			}
			if err != nil {
				return fmt.Errorf("%s, %d processes: %w", name, n, err)
			}
			fmt.Printf(row, name, n, refreshes, out, time.Since(start).Round(10*time.Millisecond))
			if name != "oauth2" && (refreshes != 1 || out != 0) {
				bad = append(bad, fmt.Sprintf("%s with %d processes", name, n))
			}
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("not one refresh and nobody logged out: %s", strings.Join(bad, ", "))
	}
	return nil
}

// trial logs in, lets the token expire and starts n processes.
func trial(name string, n int) (refreshes, loggedOut int, err error) {
	err = testserver.Run(func(tb testserver.TB) error {
		srv, err := authtest.Start(&authtest.Options{AutoApprove: true})
		if err != nil {
			return err
		}
		defer srv.Close()
		var where string
		switch name {
		case "redis":
			where = testserver.Redis(tb)
		case "postgres":
			where = testserver.Postgres(tb)
		default:
			where = filepath.Join(tb.TempDir(), "logins")
		}
		// The first token ends soon; those that refreshes bring live on.
		srv.Set(func(f *authtest.Faults) { f.TokenAnswer = func(m map[string]any) { m["expires_in"] = 1 } })
		if err := login(srv, name, where); err != nil {
			return err
		}
		srv.Set(func(f *authtest.Faults) { f.TokenAnswer, f.TokenDelay = nil, 100*time.Millisecond })
		time.Sleep(1100 * time.Millisecond)
		loggedOut, err = start(n, []string{urlEnv + "=" + srv.MCPURL(), storeEnv + "=" + name, whereEnv + "=" + where, tokenEnv + "=" + srv.TokenEndpoint()})
		refreshes = srv.Count("refresh")
		return err
	})
	return refreshes, loggedOut, err
}

// start runs n processes at once and returns how many did not get an authorized answer.
func start(n int, env []string) (failed int, err error) {
	type process struct {
		cmd  *exec.Cmd
		gate io.Closer
	}
	var all []*process
	for range n {
		p := &process{cmd: exec.Command(os.Args[0])} // this program; it ends by itself
		p.cmd.Env = append(os.Environ(), env...)
		if p.gate, err = p.cmd.StdinPipe(); err != nil {
			return 0, err
		}
		if err := p.cmd.Start(); err != nil {
			return 0, err
		}
		all = append(all, p)
	}
	for _, p := range all {
		_ = p.gate.Close()
	}
	for _, p := range all {
		if err := p.cmd.Wait(); err != nil {
			failed++
		}
	}
	return failed, nil
}

func login(srv *authtest.Server, name, where string) error {
	var keep store.Store
	var err error
	if name == "oauth2" {
		if keep, err = filestore.New(where); err != nil {
			return err
		}
	} else if keep, err = open(name, where); err != nil {
		return err
	}
	if pg, ok := keep.(*pgstore.Store); ok {
		if err := pg.Migrate(context.Background()); err != nil {
			return err
		}
	}
	c, err := mcpoauth.New(srv.MCPURL(), &mcpoauth.Options{Store: keep, Profile: "fleet", Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		_, err := srv.Browser(ctx, p.URL)
		return nil, err
	}})
	if err != nil {
		return err
	}
	if _, err := c.Login(context.Background(), nil); err != nil {
		return err
	}
	if name == "oauth2" {
		return export(keep, c.ServerURL(), where)
	}
	return c.Close(context.Background())
}

// file is how a program commonly keeps x/oauth2's token.
type file struct {
	Token  *oauth2.Token
	Client string
}

// export writes the login's tokens as the common program has them.
func export(s store.Store, server, where string) error {
	data, _, err := s.Load(context.Background(), store.Key{Kind: store.KindLogin, ID: server, Profile: "fleet"})
	if err != nil {
		return err
	}
	rec, err := record.DecodeLogin(data)
	if err != nil {
		return err
	}
	b, err := json.Marshal(file{&oauth2.Token{AccessToken: rec.AccessToken, RefreshToken: rec.RefreshToken, Expiry: rec.Expiry}, rec.Registration.ClientID})
	if err != nil {
		return err
	}
	return os.WriteFile(where+".token", b, 0o600)
}

func open(name, where string) (store.Store, error) {
	switch name {
	case "file":
		return filestore.New(where)
	case "sealed":
		inner, err := filestore.New(where)
		if err != nil {
			return nil, err
		}
		key, err := sealed.ParseKeys("q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=")
		if err != nil {
			return nil, err
		}
		return sealed.New(inner, nil, key...)
	case "keyring":
		return keyringstore.New(&keyringstore.Options{Dir: where, Service: "mcpoauth fleet"})
	case "redis":
		c, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{where}, DisableCache: true, ForceSingleClient: true})
		if err != nil {
			return nil, err
		}
		return redisstore.New(conn{c}, nil)
	case "postgres":
		db, err := sql.Open("pgx", where)
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		return pgstore.New(db, nil)
	}
	return nil, fmt.Errorf("there is no store %q", name)
}

type conn struct{ c valkey.Client }

// Do implements redisstore.Conn.
func (c conn) Do(ctx context.Context, args ...any) (any, error) {
	words := make([]string, len(args))
	for i, a := range args {
		if b, ok := a.([]byte); ok {
			a = string(b)
		}
		words[i] = fmt.Sprint(a)
	}
	v, err := c.c.Do(ctx, c.c.B().Arbitrary(words...).Build()).ToAny()
	if valkey.IsValkeyNil(err) {
		return nil, nil
	}
	return v, err
}

// child waits until all are there and sends one request.
func child() error {
	hc, done, err := client(os.Getenv(urlEnv), os.Getenv(storeEnv), os.Getenv(whereEnv))
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	resp, err := hc.Post(os.Getenv(urlEnv), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return done()
}

func client(url, name, where string) (*http.Client, func() error, error) {
	if name == "oauth2" {
		return common(where + ".token")
	}
	s, err := open(name, where)
	if err != nil {
		return nil, nil, err
	}
	c, err := mcpoauth.New(url, &mcpoauth.Options{Store: s, Profile: "fleet"})
	if err != nil {
		return nil, nil, err
	}
	return c.HTTPClient(), func() error { return c.Close(context.Background()) }, nil
}

// common is a program that reads a token from a file, lets x/oauth2 refresh it, and writes it back.
func common(path string) (*http.Client, func() error, error) {
	b, err := os.ReadFile(path) // the trial's own
	if err != nil {
		return nil, nil, err
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, nil, err
	}
	cfg := &oauth2.Config{ClientID: f.Client, Endpoint: oauth2.Endpoint{TokenURL: os.Getenv(tokenEnv), AuthStyle: oauth2.AuthStyleInParams}}
	// x/oauth2 sends no resource parameter with a refresh; this server wants it, so it is added below.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: withResource{os.Getenv(urlEnv)}})
	src := &saving{src: cfg.TokenSource(ctx, f.Token), path: path, client: f.Client}
	return oauth2.NewClient(ctx, src), func() error { return nil }, nil
}

// saving writes each token it sees.
type saving struct {
	src    oauth2.TokenSource
	path   string
	client string
	mu     sync.Mutex
}

// Token implements oauth2.TokenSource.
func (s *saving) Token() (*oauth2.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.src.Token()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(file{t, s.client})
	if err != nil {
		return nil, err
	}
	return t, os.WriteFile(s.path, b, 0o600)
}

// withResource adds the resource parameter to token requests.
type withResource struct{ resource string }

// RoundTrip implements http.RoundTripper.
func (w withResource) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" && r.ParseForm() == nil {
		form := r.PostForm
		form.Set("resource", w.resource)
		body := form.Encode()
		r = r.Clone(r.Context())
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	return new(http.Transport).RoundTrip(r)
}
