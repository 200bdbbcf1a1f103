package mcpoauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// television is a server for devices without a browser.
type television struct {
	*httptest.Server
	mu       sync.Mutex
	begun    map[string]string
	polls    []time.Time
	answers  []string // error codes, one a poll, then the token; "page" is a gateway's page, "silence" no answer
	begins   int
	clients  []string // how the clients of both endpoints authenticate
	refresh  int
	grants   []any
	response map[string]any
	// pkce is what the server says to a request without a code challenge, "" if it takes it; verified whether the
	// verifier of the last poll fits the challenge.
	pkce, challenge string
	verified        bool
	// hide leaves the device endpoint out of the metadata.
	hide bool
}

func startTelevision(t *testing.T, n *memoryNetwork, answers ...string) *television {
	s := &television{answers: answers}
	s.Server = n.serve(t, http.HandlerFunc(s.serve))
	s.response = map[string]any{"device_code": "dev-secret", "user_code": "WDJB-MJHT", "verification_uri": s.URL + "/device", "verification_uri_complete": s.URL + "/device?user_code=WDJB-MJHT", "expires_in": 600, "interval": 1}
	return s
}

func (s *television) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = r.ParseForm()
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/.well-known/oauth-protected-resource/mcp":
		answer(200, map[string]any{"resource": s.URL + "/mcp", "authorization_servers": []string{s.URL}, "scopes_supported": []string{"watch"}})
	case "/.well-known/oauth-authorization-server":
		answer(200, map[string]any{"issuer": s.URL, "token_endpoint": s.URL + "/token", "device_authorization_endpoint": s.device(), "registration_endpoint": s.URL + "/register"})
	case "/register":
		var m map[string]any
		_ = json.NewDecoder(r.Body).Decode(&m)
		s.grants, _ = m["grant_types"].([]any)
		m["client_id"] = "tv"
		answer(201, m)
	case "/begin":
		s.begins++
		s.clients = append(s.clients, r.Header.Get("Authorization"))
		if s.challenge = r.PostForm.Get("code_challenge"); s.pkce != "" && s.challenge == "" {
			answer(400, map[string]any{"error": "invalid_request", "error_description": s.pkce})
			return
		}
		s.begun = map[string]string{"scope": r.PostForm.Get("scope"), "resource": r.PostForm.Get("resource"), "client_id": r.PostForm.Get("client_id")}
		answer(200, s.response)
	case "/token":
		if r.PostForm.Get("grant_type") == "refresh_token" {
			s.refresh++
			answer(200, map[string]any{"access_token": "tv-2", "token_type": "Bearer", "expires_in": 3600})
			return
		}
		s.polls = append(s.polls, time.Now())
		s.clients = append(s.clients, r.Header.Get("Authorization"))
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		s.verified = s.challenge == base64.RawURLEncoding.EncodeToString(sum[:])
		if r.PostForm.Get("device_code") != "dev-secret" {
			answer(400, map[string]any{"error": "invalid_grant"})
			return
		}
		if len(s.answers) > 0 {
			code := s.answers[0]
			s.answers = s.answers[1:]
			if code == "silence" {
				s.mu.Unlock()
				<-r.Context().Done()
				s.mu.Lock()
				return
			}
			if code == "page" {
				w.WriteHeader(502)
				_, _ = w.Write([]byte("<html>bad gateway"))
				return
			}
			answer(400, map[string]any{"error": code})
			return
		}
		answer(200, map[string]any{"access_token": "tv-1", "token_type": "Bearer", "expires_in": 1, "refresh_token": "again"})
	case "/mcp":
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer tv-") {
			w.WriteHeader(401)
			return
		}
		answer(200, map[string]any{"jsonrpc": "2.0", "id": 1, "result": map[string]any{}})
	default:
		w.WriteHeader(404)
	}
}

// device returns what the metadata has for the device endpoint.
func (s *television) device() any {
	if s.hide {
		return nil
	}
	return s.URL + "/begin"
}

func TestALoginByACodeOnAnotherDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testALoginByACodeOnAnotherDevice)
}

func testALoginByACodeOnAnotherDevice(t *testing.T) {
	n := newMemoryNetwork()
	srv := startTelevision(t, n, "authorization_pending", "page", "authorization_pending")
	var shown *mcpoauth.LoginPrompt
	c := newClient(t, srv.URL+"/mcp", mcpoauth.Options{Grant: mcpoauth.DeviceCode{}, Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}, Prompt: func(_ context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		shown = p
		return nil, nil
	}})
	if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) {
		t.Errorf("token before the login: %v", err)
	}
	if _, err := c.Login(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if shown == nil || shown.UserCode != "WDJB-MJHT" || shown.VerificationURL != srv.URL+"/device" || !strings.HasSuffix(shown.URL, "?user_code=WDJB-MJHT") || shown.Issuer != srv.URL {
		t.Errorf("shown: %+v", shown)
	}
	if srv.begun["scope"] != "watch" || srv.begun["resource"] != srv.URL+"/mcp" || srv.begun["client_id"] != "tv" || len(srv.grants) != 3 {
		t.Errorf("asked with %v, registered for %v", srv.begun, srv.grants)
	}
	// After a fault of the network it asks half as often.
	if len(srv.polls) != 4 || srv.polls[2].Sub(srv.polls[1]) < 1900*time.Millisecond {
		t.Errorf("polls at %v", srv.polls)
	}
	time.Sleep(1100 * time.Millisecond)
	if s := ping(t, c); s != 200 || srv.refresh != 1 {
		t.Errorf("after the token's end: %d, %d refreshes", s, srv.refresh)
	}
}

func TestHowALoginByACodeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testHowALoginByACodeEnds)
}

func testHowALoginByACodeEnds(t *testing.T) {
	n := newMemoryNetwork()
	network := mcpoauth.NetworkOptions{HTTPClient: n.client(t)}
	for code, want := range map[string]error{"access_denied": mcpoauth.ErrAccessDenied, "authorization_declined": mcpoauth.ErrAccessDenied, "expired_token": nil, "invalid_grant": nil} {
		srv := startTelevision(t, n, code)
		c := newClient(t, srv.URL+"/mcp", mcpoauth.Options{Store: memstore.New(), Network: network, Grant: mcpoauth.DeviceCode{}, Prompt: func(ctx context.Context, _ *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			<-ctx.Done()
			return nil, nil
		}})
		_, err := c.Login(t.Context(), nil)
		var te *mcpoauth.Error
		if !errorAt(err, mcpoauth.OpToken, &te) || te.Code != code || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", code, err)
		}
	}
	for name, change := range map[string]func(m map[string]any){
		"no code":                     func(m map[string]any) { delete(m, "user_code") },
		"an address for a program":    func(m map[string]any) { m["verification_uri"] = "file:///etc/passwd" },
		"a code that cannot be typed": func(m map[string]any) { m["user_code"] = "\x1b[31mAB" },
	} {
		srv := startTelevision(t, n)
		change(srv.response)
		c := newClient(t, srv.URL+"/mcp", mcpoauth.Options{Network: network, Grant: mcpoauth.DeviceCode{}, Prompt: nobody(t)})
		var ae *mcpoauth.Error
		if _, err := c.Login(t.Context(), nil); !errorAt(err, mcpoauth.OpAuthorization, &ae) || len(srv.polls) > 0 {
			t.Errorf("%s: %v, %d polls", name, err, len(srv.polls))
		}
	}
	srv := startTelevision(t, n, "authorization_pending", "authorization_pending", "authorization_pending", "authorization_pending")
	c := newClient(t, srv.URL+"/mcp", mcpoauth.Options{Network: network, Grant: mcpoauth.DeviceCode{}, LoginTimeout: 1500 * time.Millisecond, Prompt: func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) { return nil, nil }})
	if _, err := c.Login(t.Context(), nil); !errors.Is(err, mcpoauth.ErrTemporary) {
		t.Errorf("nobody entered it: %v", err)
	}
}

// TestACodeThatEnds before the login's own limit ends the login, and the person is told when. A Prompt that fails ends it
// too.
func TestACodeThatEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newMemoryNetwork()
		pending := slices.Repeat([]string{"authorization_pending"}, 100)
		srv := startTelevision(t, n, pending...)
		srv.response["expires_in"], srv.response["interval"] = 30, 4
		broken := errors.New("no display")
		for _, failure := range []error{nil, broken} {
			srv.polls = nil
			start := time.Now()
			c := newClient(t, srv.URL+"/mcp", mcpoauth.Options{
				Grant: mcpoauth.DeviceCode{}, Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}, LoginTimeout: time.Hour,
				Prompt: func(_ context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
					if !p.Deadline.Equal(start.Add(30*time.Second)) || p.Check(&mcpoauth.LoginReply{RedirectURL: "http://127.0.0.1/"}) == nil {
						t.Errorf("shown until %v", p.Deadline)
					}
					return nil, failure
				},
			})
			_, err := c.Login(t.Context(), nil)
			took := time.Since(start)
			if failure == nil && (!errors.Is(err, mcpoauth.ErrTemporary) || took != 30*time.Second || len(srv.polls) != 7) {
				t.Errorf("after %v and %d polls: %v", took, len(srv.polls), err)
			}
			if failure != nil && (!errors.Is(err, broken) || took > 4*time.Second || len(srv.polls) > 0) {
				t.Errorf("after %v and %d polls: %v", took, len(srv.polls), err)
			}
		}
	})
}

// Keycloak demands PKCE of a client in the device grant, too.
//
// It has a row in docs/compatibility.md.
func TestADeviceLoginWithPKCE(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newMemoryNetwork()
		network := mcpoauth.NetworkOptions{HTTPClient: n.client(t)}
		shown := func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) { return nil, nil }
		for text, want := range map[string]bool{"Missing parameter: code_challenge_method": true, "PKCE is required": true, "": false, "nonce is missing": false} {
			srv := startTelevision(t, n, "authorization_pending")
			srv.pkce = text
			c := newClient(t, srv.URL+"/mcp", mcpoauth.Options{Grant: mcpoauth.DeviceCode{}, Network: network, Prompt: shown})
			_, err := c.Login(t.Context(), nil)
			if ok := err == nil; ok != (want || text == "") || srv.verified != want {
				t.Errorf("%q: %v, verifier %t", text, err, srv.verified)
			}
		}
	})
}

// Some authorization servers have an endpoint for devices that their metadata lacks.
//
// It has a row in docs/compatibility.md.
func TestADeviceEndpointByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newMemoryNetwork()
		srv := startTelevision(t, n)
		srv.hide = true
		o := mcpoauth.Options{Grant: mcpoauth.DeviceCode{}, Network: mcpoauth.NetworkOptions{HTTPClient: n.client(t)}, Prompt: func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) { return nil, nil }}
		if _, err := newClient(t, srv.URL+"/mcp", o).Login(t.Context(), nil); err == nil || !strings.Contains(mcpoauth.Hint(err), "--device-authorization-endpoint") {
			t.Errorf("%v, hint %q", err, mcpoauth.Hint(err))
		}
		o.Server.Endpoints.DeviceAuthorization = srv.URL + "/begin"
		if _, err := newClient(t, srv.URL+"/mcp", o).Login(t.Context(), nil); err != nil {
			t.Errorf("%v, hint %q", err, mcpoauth.Hint(err))
		}
	})
}
