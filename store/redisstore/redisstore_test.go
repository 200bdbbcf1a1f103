//go:build unix

package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/mcpoauth/mcpoauth/internal/testserver"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/redisstore"
	"github.com/mcpoauth/mcpoauth/store/storetest"
)

const addrEnv = "REDISSTORE_TEST_ADDR"

func TestMain(m *testing.M) {
	storetest.Child(func() (store.Store, error) { return connect(os.Getenv(addrEnv), options()) })
	testserver.Parallel(8)
	os.Exit(m.Run())
}

func options() *redisstore.Options {
	return &redisstore.Options{AllowEmptyProfile: true, Lease: 2 * time.Second, Timeout: 2 * time.Second}
}

// conn makes a Conn of a driver.
type conn struct{ c valkey.Client }

func (c conn) Do(ctx context.Context, args ...any) (any, error) {
	words := make([]string, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case string:
			words[i] = a
		case []byte:
			words[i] = string(a)
		default:
			return nil, fmt.Errorf("an argument of type %T", a)
		}
	}
	v, err := c.c.Do(ctx, c.c.B().Arbitrary(words...).Build()).ToAny()
	if valkey.IsValkeyNil(err) {
		return nil, nil
	}
	return v, err
}

func connect(addr string, opt *redisstore.Options) (*redisstore.Store, error) {
	c, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		return nil, err
	}
	return redisstore.New(conn{c}, opt)
}

func open(t testing.TB, addr string, opt *redisstore.Options) *redisstore.Store {
	t.Helper()
	s, err := connect(addr, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var key = store.Key{Kind: store.KindLogin, ID: "https://mcp.example/mcp", Profile: "user-17"}

func TestContract(t *testing.T) {
	t.Parallel()
	addr := testserver.Redis(t)
	s := open(t, addr, options())
	storetest.Run(t, func() (store.Store, error) { return s, nil })
	storetest.RunProcesses(t, func() (store.Store, error) { return s, nil }, addrEnv+"="+addr)
}

func TestAStoppedHolderIsFenced(t *testing.T) {
	t.Parallel()
	addr := testserver.Redis(t)
	s := open(t, addr, options())
	signal := func(sig os.Signal) func(*os.Process) error {
		return func(p *os.Process) error { return p.Signal(sig) }
	}
	storetest.RunStalledHolder(t, func() (store.Store, error) { return s, nil }, signal(syscall.SIGSTOP), signal(syscall.SIGCONT), addrEnv+"="+addr)
}

func TestContractOverABadNetwork(t *testing.T) {
	t.Parallel()
	n := testserver.Between(t, testserver.Redis(t))
	// A lock whose release was cut off is free after its lease.
	s := open(t, n.Addr, &redisstore.Options{AllowEmptyProfile: true, Lease: 2 * time.Second, Timeout: time.Second})
	n.Bad(60, 3*time.Millisecond)
	storetest.RunUnreliable(t, s)
	n.Bad(0, 0)
	n.Down(true)
	if _, _, err := s.Load(t.Context(), key); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a server: %v", err)
	}
	n.Down(false)
	for range 100 { // the driver waits a little before it connects again
		if _, _, err := s.Load(t.Context(), key); errors.Is(err, store.ErrNotFound) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("it does not come back")
}

func TestAnEmptyProfileIsRefused(t *testing.T) {
	t.Parallel()
	storetest.RunRefusesEmptyProfile(t, open(t, testserver.Redis(t), nil))
}

func TestPrefixesKeepStoresApart(t *testing.T) {
	t.Parallel()
	addr := testserver.Redis(t)
	a, b := open(t, addr, nil), open(t, addr, &redisstore.Options{Prefix: "other:"})
	if _, err := a.Save(t.Context(), key, []byte("a"), 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Load(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("load: %v", err)
	}
	for k, err := range b.List(t.Context(), store.Filter{}) {
		t.Errorf("list: %v, %v", k, err)
	}
	if _, err := redisstore.New(conn{}, &redisstore.Options{Prefix: "a*"}); err == nil {
		t.Error("a pattern was taken for a prefix")
	}
}

func TestWhatIsUnderWayIsForgotten(t *testing.T) {
	t.Parallel()
	addr := testserver.Redis(t)
	s := open(t, addr, nil)
	pending := store.Key{Kind: store.KindPending, ID: "x", Profile: "p"}
	for _, k := range []store.Key{pending, key} {
		if _, err := s.Save(t.Context(), k, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	c, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ttl := func(k store.Key) int64 {
		n, err := c.Do(t.Context(), c.B().Arbitrary("PTTL", "mcpoauth:record:{"+k.Digest()+"}").Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := ttl(pending); got < 10*60*1000 || got > 15*60*1000 {
		t.Errorf("what is under way lives for %d ms", got)
	}
	if got := ttl(key); got != -1 {
		t.Errorf("the login lives for %d ms", got)
	}
}

// broken answers what no Redis does.
type broken struct{ answer any }

func (b broken) Do(context.Context, ...any) (any, error) { return b.answer, nil }

func TestStrangeAnswersAreErrors(t *testing.T) {
	t.Parallel()
	for _, answer := range []any{nil, "x", []any{}, []any{"x", "y"}, []any{"0", "y"}, []any{"7", nil}, int64(3), []any{int64(1)}} {
		s, err := redisstore.New(broken{answer}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if data, rev, err := s.Load(t.Context(), key); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v: %q, %d, %v", answer, data, rev, err)
		}
		for _, err := range s.List(t.Context(), store.Filter{}) {
			if err == nil {
				t.Errorf("%v: something was listed", answer)
			}
		}
		if rev, err := s.Save(t.Context(), key, []byte("x"), 0); err == nil && !strings.Contains(fmt.Sprint(answer), fmt.Sprint(uint64(rev))) {
			t.Errorf("%v: saved as %d", answer, rev)
		}
	}
}
