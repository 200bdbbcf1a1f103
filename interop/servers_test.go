package interop

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// life is what a login goes through at a real server: a person in a real browser, a tool list, the end
// of the token and exactly one refresh, by a program that was not there before, a logout after which
// the server no longer takes the refresh token.
func life(t *testing.T, mcpURL string, o mcpoauth.Options, ttl time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	st := memstore.New()
	j := &journal{}
	o.Store, o.Trace, o.Prompt = st, j.trace(), chromium(t)
	c := newClient(t, mcpURL, o)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(j)
		}
	})
	if _, err := c.Login(ctx, nil); err != nil {
		t.Fatalf("login: %v (%s)", err, mcpoauth.Hint(err))
	}
	if n := listTools(ctx, t, c); n == 0 {
		t.Error("no tools")
	}

	before := stored(t, st, c)
	time.Sleep(time.Until(before.IssuedAt.Add(ttl)) + 500*time.Millisecond)
	restarted := newClient(t, mcpURL, mcpoauth.Options{Store: st, Trace: o.Trace})
	refreshes, others := j.count("refresh"), len(j.legs)
	tok, err := restarted.Token(ctx, nil)
	if err != nil {
		t.Fatalf("token: %v", err)
	}
	if n := j.count("refresh") - refreshes; n != 1 || tok.AccessToken() == before.AccessToken {
		t.Errorf("%d refreshes", n)
	}
	if len(j.legs) > others+1 {
		t.Errorf("the refresh was not all that was asked: %v", j)
	}
	if n := listTools(ctx, t, restarted); n == 0 {
		t.Error("no tools after the refresh")
	}

	last := stored(t, st, restarted)
	res, err := restarted.Logout(ctx)
	if err != nil || !res.Revoked {
		t.Fatalf("logout: %+v, %v", res, err)
	}
	if _, err := restarted.Token(ctx, nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
		t.Errorf("after the logout: %v", err)
	}
	if code := refreshByHand(t, last, last.RefreshToken).Error; code != "invalid_grant" && !(res.ClientDeleted && code == "invalid_client") {
		t.Errorf("the server still takes the refresh token: %q", code)
	}
}

func stored(t *testing.T, st store.Store, c *mcpoauth.Client) *record.Login {
	t.Helper()
	data, _, err := st.Load(t.Context(), store.Key{Kind: store.KindLogin, ID: c.ServerURL()})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record.DecodeLogin(data)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestOIDCProviderInChromium(t *testing.T) {
	mcpURL, _ := startOIDCProvider(t, "AT_TTL=3")
	life(t, mcpURL, mcpoauth.Options{}, 3*time.Second)
}

// TestClientsAreManagedAtOIDCProvider: a port that is taken changes the registration, and the last logout deletes it
// (RFC 7592).
func TestClientsAreManagedAtOIDCProvider(t *testing.T) {
	mcpURL, _ := startOIDCProvider(t)
	st, j := memstore.New(), &journal{}
	c := newClient(t, mcpURL, mcpoauth.Options{Store: st, Prompt: chromium(t), Trace: j.trace()})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := c.Login(ctx, nil); err != nil {
		t.Fatalf("%v\n%v", err, j)
	}
	first := stored(t, st, c).Registration
	u, err := url.Parse(first.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Skip(err)
	}
	defer busy.Close()
	if _, err := c.Login(ctx, &mcpoauth.LoginOptions{Force: true}); err != nil {
		t.Fatalf("%v\n%v", err, j)
	}
	if now := stored(t, st, c).Registration; now.ClientID != first.ClientID || now.RedirectURI == first.RedirectURI {
		t.Errorf("the client was %s at %s, and is %s at %s", first.ClientID, first.RedirectURI, now.ClientID, now.RedirectURI)
	}
	if res, err := c.Logout(ctx); err != nil || !res.ClientDeleted {
		t.Errorf("%+v, %v\n%v", res, err, j)
	}
}

func TestOIDCProviderThatInsistsOnPushedRequests(t *testing.T) {
	mcpURL, _ := startOIDCProvider(t, "AT_TTL=3", "REQUIRE_PAR=1")
	life(t, mcpURL, mcpoauth.Options{}, 3*time.Second)
}

func TestFastMCPInChromium(t *testing.T) {
	life(t, startFastMCP(t, "AT_TTL=3"), mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}}, 3*time.Second)
}

// FastMCP's OAuthProxy sits before another authorization server and has a consent page of its own.
func TestFastMCPOAuthProxyInChromium(t *testing.T) {
	_, issuer := startOIDCProvider(t, "AT_TTL=3")
	life(t, startFastMCP(t, "MODE=proxy", "OP="+issuer), mcpoauth.Options{Scopes: mcpoauth.ScopeOptions{Request: []string{"mcp:read"}}}, 3*time.Second)
}

func TestStepUpAtOIDCProviderInChromium(t *testing.T) {
	mcpURL, _ := startOIDCProvider(t)
	j := &journal{}
	c := newClient(t, mcpURL, mcpoauth.Options{Prompt: chromium(t), Trace: j.trace()})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := callTool(ctx, c, "write", map[string]any{"text": "x"}); err != nil {
		t.Fatalf("%v\n%v", err, j)
	}
	tok, err := c.Token(ctx, nil)
	if err != nil || !strings.Contains(strings.Join(tok.Scopes(), " "), "mcp:write") {
		t.Errorf("%v, %v", tok, err)
	}
}
