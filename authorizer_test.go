package mcpoauth_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// The port that a person configured belongs to another program: that is said, and no browser opens.
//
// It has a row in docs/compatibility.md.
func TestTheCallbackPortIsTaken(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	srv := authtest.New(t, nil)
	_, err = newClient(t, srv.MCPURL(), mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Port: port}, Prompt: nobody(t)}).Login(t.Context(), nil)
	var ae *mcpoauth.Error
	if !errorAt(err, mcpoauth.OpAuthorization, &ae) || !strings.Contains(err.Error(), strconv.Itoa(port)) || !strings.Contains(mcpoauth.Hint(err), "--callback-port") {
		t.Errorf("got %v (%s)", err, mcpoauth.Hint(err))
	}
	if n := srv.Count("registration"); n != 0 {
		t.Errorf("%d registrations", n)
	}
}

// localhost is 127.0.0.1 in one browser and ::1 in the next.
//
// It has a row in docs/compatibility.md.
func TestLocalhostOfBothFamilies(t *testing.T) {
	t.Parallel()
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			if l, err := net.Listen("tcp", net.JoinHostPort(ip, "0")); err != nil {
				t.Skip("this machine has no " + ip)
			} else {
				l.Close()
			}
			srv := authtest.New(t, nil)
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Callback: mcpoauth.CallbackOptions{Host: "localhost"}, Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
				back, err := srv.Decide(ctx, lp.URL, true)
				if err != nil {
					return nil, err
				}
				u, err := url.Parse(back)
				if err != nil || u.Hostname() != "localhost" {
					t.Errorf("sent back to %s, %v", back, err)
					return nil, errors.New("not localhost")
				}
				dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(ip, u.Port()))
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, back, http.NoBody)
				if err != nil {
					return nil, err
				}
				hc := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
				resp, err := hc.Do(req)
				if err != nil {
					return nil, err
				}
				return nil, resp.Body.Close()
			}})
			if s := ping(t, c); s != 200 {
				t.Errorf("status %d", s)
			}
		})
	}
}

// TestALoginWithoutARefreshToken lasts as long as its token does, restarts included.
//
// It has a row in docs/compatibility.md.
func TestALoginWithoutARefreshToken(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{RefreshNeedsOfflineAccess: true})
	st := memstore.New()
	o := mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt, Scopes: mcpoauth.ScopeOptions{OfflineAccess: mcpoauth.Never}}
	ping(t, newClient(t, srv.MCPURL(), o))
	o.Prompt = nobody(t)
	if status := ping(t, newClient(t, srv.MCPURL(), o)); status != http.StatusOK {
		t.Errorf("after a restart: %d", status)
	}
	srv.RevokeAll()
	o.Prompt = nil
	if _, err := tryPing(newClient(t, srv.MCPURL(), o)); !errors.Is(err, mcpoauth.ErrLoginRequired) || !strings.Contains(err.Error(), "no refresh token") {
		t.Errorf("after its end: %v", err)
	}
}

// TestACodeIsSentOnce, whatever way of client authentication the server wants: no way is tried out.
//
// It has a row in docs/compatibility.md.
func TestACodeIsSentOnce(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		srv := authtest.New(t, nil)
		srv.Set(func(f *authtest.Faults) { f.RegistrationAuthMethod = method })
		ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt}))
		if srv.Count("token") != 1 {
			t.Errorf("%s: the code was sent %d times", method, srv.Count("token"))
		}
	}
}

// TestInvalidGrantIsNoDeadEnd: a Client with a Prompt asks a person, with the same registration.
//
// It has a row in docs/compatibility.md.
func TestInvalidGrantIsNoDeadEnd(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*authtest.Faults){
		"with 400": func(*authtest.Faults) {}, "with 401": func(f *authtest.Faults) { f.UnauthorizedInvalidGrant = true },
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(set)
			p := &person{srv: srv}
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: p.prompt})
			ping(t, c)
			srv.RevokeAll()
			if status := ping(t, c); status != http.StatusOK || p.asked() != 2 || srv.Count("registration") != 1 || srv.Count("refresh") != 1 {
				t.Errorf("status %d, %d logins, %d registrations, %d refreshes", status, p.asked(), srv.Count("registration"), srv.Count("refresh"))
			}
		})
	}
}

// It has a row in docs/compatibility.md.
func TestAnySuccessOfATokenRequest(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 201, 202} {
		srv := authtest.New(t, nil)
		srv.Set(func(f *authtest.Faults) { f.TokenStatus = status })
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: (&person{srv: srv}).prompt})
		ping(t, c)
		srv.Expire()
		if got := ping(t, c); got != http.StatusOK || srv.Count("refresh") != 1 {
			t.Errorf("%d: status %d, %d refreshes", status, got, srv.Count("refresh"))
		}
	}
}

// TestTheAuthorizationPageIsThePersonsAlone: it is never fetched to see whether it works.
//
// It has a row in docs/compatibility.md.
func TestTheAuthorizationPageIsThePersonsAlone(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		if srv.Count("authorize") != 0 {
			t.Error("somebody was there before the person")
		}
		_, err := srv.Browser(ctx, lp.URL)
		return nil, err
	}})
	if status := ping(t, c); status != http.StatusOK || srv.Count("authorize") != 1 {
		t.Errorf("status %d, %d visits", status, srv.Count("authorize"))
	}
}

// The authorization server refuses the resource parameter. The error names the setting that leaves it out of every request.
//
// It has a row in docs/compatibility.md.
func TestTheResourceIsRefused(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { f.RejectResource = true })
	o := mcpoauth.Options{Store: memstore.New(), Prompt: (&person{srv: srv}).prompt}
	if _, err := newClient(t, srv.MCPURL(), o).Login(t.Context(), nil); err == nil || !strings.Contains(mcpoauth.Hint(err), "--no-resource (Options.Server.NoResource)") {
		t.Errorf("got %v (%s)", err, mcpoauth.Hint(err))
	}
	before := len(srv.Requests())
	o.Server.NoResource = true
	ping(t, newClient(t, srv.MCPURL(), o))
	srv.Expire()
	// The login remembers it.
	ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: o.Store}))
	for _, r := range srv.Requests()[before:] {
		if r.Query.Has("resource") || r.Form.Has("resource") {
			t.Errorf("%s has a resource", r.Leg)
		}
	}
	if srv.Count("refresh") != 1 {
		t.Errorf("%d refreshes", srv.Count("refresh"))
	}
}

// TestTheIssuerOfTheCallback: one that was promised must be there, and any must be the right one (RFC 9207 section 2.4),
// in what the browser brings as in what a person pastes. The code goes nowhere otherwise.
func TestTheIssuerOfTheCallback(t *testing.T) {
	t.Parallel()
	unpromised := func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") }
	for name, tc := range map[string]struct {
		faults func(*authtest.Faults)
		ok     bool
	}{
		"the right one":              {func(*authtest.Faults) {}, true},
		"promised and missing":       {func(f *authtest.Faults) { f.NoIssuer = true }, false},
		"another one":                {func(f *authtest.Faults) { f.WrongIssuer = "https://evil.example" }, false},
		"another one, not promised":  {func(f *authtest.Faults) { f.WrongIssuer, f.ServerMetadata = "https://evil.example", unpromised }, false},
		"not promised and missing":   {func(f *authtest.Faults) { f.NoIssuer, f.ServerMetadata = true, unpromised }, true},
		"an error of another issuer": {func(f *authtest.Faults) { f.WrongIssuer, f.AuthorizeError = "https://evil.example", "access_denied" }, false},
	} {
		for way, paste := range map[string]bool{"browser": false, "pasted": true} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				srv := authtest.New(t, nil)
				srv.Set(tc.faults)
				_, err := newClient(t, srv.MCPURL(), mcpoauth.Options{Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
					if !paste {
						_, err := srv.Browser(ctx, lp.URL)
						return nil, err
					}
					back, err := srv.Decide(ctx, lp.URL, true)
					return &mcpoauth.LoginReply{RedirectURL: back}, err
				}}).Login(t.Context(), nil)
				var e *mcpoauth.Error
				if tc.ok && err != nil || !tc.ok && (!errorAt(err, mcpoauth.OpAuthorization, &e) || errors.Is(err, mcpoauth.ErrAccessDenied)) {
					t.Errorf("got %v", err)
				}
				if n := srv.Count("token"); (n == 1) != tc.ok {
					t.Errorf("%d codes were sent", n)
				}
			})
		}
	}
}

// TestWhatTheAuthorizationServerAnswers instead of a code.
func TestWhatTheAuthorizationServerAnswers(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct {
		err  error
		hint string
	}{
		"access_denied":           {mcpoauth.ErrAccessDenied, "allow the access"},
		"temporarily_unavailable": {mcpoauth.ErrTemporary, ""},
		"server_error":            {mcpoauth.ErrTemporary, ""},
		"invalid_target":          {nil, "--no-resource"},
		"invalid_scope":           {nil, "--scope"},
		"unauthorized_client":     {nil, "--new-client"},
		"redirect_uri_mismatch":   {nil, "--callback-"},
		"out_of_cheese":           {nil, ""},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
				w.srv.Set(func(f *authtest.Faults) { f.AuthorizeError = code })
				_, err := w.open(mcpoauth.Options{Prompt: w.net.person(t, &w.asked)}).Login(t.Context(), nil)
				var e *mcpoauth.Error
				if !errorAt(err, mcpoauth.OpAuthorization, &e) || e.Code != code || want.err != nil && !errors.Is(err, want.err) || !strings.Contains(mcpoauth.Hint(err), want.hint) {
					t.Errorf("got %v (%s)", err, mcpoauth.Hint(err))
				}
				if !errors.Is(want.err, mcpoauth.ErrTemporary) && errors.Is(err, mcpoauth.ErrTemporary) || w.asked.Load() != 1 || w.srv.Count("registration") != 1 {
					t.Errorf("%v; asked %d times, %d registrations", err, w.asked.Load(), w.srv.Count("registration"))
				}
			})
		})
	}
}

// TestWhatIsPasted must belong to the login; Check says so before.
func TestWhatIsPasted(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		person := w.net.person(t, &w.asked)
		for name, change := range map[string]func(string) string{
			"as it is":      func(s string) string { return s },
			"another state": func(s string) string { return strings.Replace(s, "state=", "state=x", 1) },
			"another host":  func(s string) string { return strings.Replace(s, "127.0.0.1", "evil.example", 1) },
			"nonsense":      func(string) string { return "nonsense" },
		} {
			good := name == "as it is"
			_, err := w.open(mcpoauth.Options{Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
				reply, err := person(ctx, lp)
				if err != nil {
					return nil, err
				}
				reply.RedirectURL = change(reply.RedirectURL)
				if err := lp.Check(reply); (err == nil) != good {
					t.Errorf("%s: Check says %v", name, err)
				}
				return reply, nil
			}}).Login(t.Context(), &mcpoauth.LoginOptions{Force: true})
			if (err == nil) != good {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := w.srv.Count("token"); n != 1 {
			t.Errorf("%d codes were sent", n)
		}
	})
}

// TestParametersOfTheCallers stay as they are beside those of the protocol.
func TestParametersOfTheCallers(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		for given, want := range map[string]string{"": "", "login": "login"} {
			o := mcpoauth.Options{Prompt: w.net.person(t, &w.asked), Server: mcpoauth.ServerOptions{AuthorizeParams: url.Values{"hint": {"x"}}}}
			if given != "" {
				o.Server.AuthorizeParams.Set("prompt", given)
			}
			if _, err := w.open(o).Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			all := asked(w.srv)
			if q := all[len(all)-1]; q.Get("prompt") != want || q.Get("hint") != "x" || !strings.Contains(q.Get("scope"), "offline_access") {
				t.Errorf("asked with %v", q)
			}
		}
	})
}
