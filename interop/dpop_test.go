package interop

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestDPoPAtOIDCProvider: both servers ask for nonces, and the MCP server for a new one every third request.
// Ten goroutines lose no request; the login survives a restart, a refresh and the end of each nonce.
func TestDPoPAtOIDCProvider(t *testing.T) {
	mcpURL, _ := startOIDCProvider(t, "AT_TTL=5", "DPOP_NONCE=1", "DPOP=1")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	st, j := memstore.New(), &journal{}
	c := newClient(t, mcpURL, mcpoauth.Options{Store: st, Trace: j.trace(), Prompt: chromium(t)})
	if _, err := c.Login(ctx, nil); err != nil {
		t.Fatalf("login: %v (%s)\n%v", err, mcpoauth.Hint(err), j)
	}
	before := stored(t, st, c)
	if before.TokenType != "DPoP" {
		t.Errorf("the token is of the type %s", before.TokenType)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if n := listTools(ctx, t, c); n == 0 {
				t.Error("no tools")
			}
		})
	}
	wg.Wait()
	time.Sleep(time.Until(before.IssuedAt.Add(5*time.Second)) + 500*time.Millisecond)
	restarted := newClient(t, mcpURL, mcpoauth.Options{Store: st, Trace: j.trace()})
	if n := listTools(ctx, t, restarted); n == 0 {
		t.Errorf("no tools after a restart\n%v", j)
	}
	after := stored(t, st, c)
	if after.DPoPKey != before.DPoPKey || after.AccessToken == before.AccessToken {
		t.Error("the refresh has another key, or no other token")
	}
	var bound *mcpoauth.BoundTokenError
	if _, err := restarted.TokenSource(ctx).Token(); !errors.As(err, &bound) {
		t.Errorf("the token alone: %v", err)
	}
	if res, err := restarted.Logout(ctx); err != nil || !res.Revoked {
		t.Errorf("logout: %+v, %v", res, err)
	}
}
