package mcpoauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// devices returns a server for devices and a Client for it that has an hour to log in.
func devices(t *testing.T, o mcpoauth.Options, answers ...string) (*television, *mcpoauth.Client) {
	t.Helper()
	n := newMemoryNetwork()
	srv := startTelevision(t, n, answers...)
	srv.response["expires_in"] = 3600
	o.Grant, o.Network.HTTPClient, o.LoginTimeout = mcpoauth.DeviceCode{}, n.client(t), time.Hour
	if o.Prompt == nil {
		o.Prompt = func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) { return nil, nil }
	}
	return srv, newClient(t, srv.URL+"/mcp", o)
}

// TestHowOftenACodeIsAskedAbout: after the interval that the server gives, five seconds if it gives none, and five seconds
// more after each slow_down; after a request without an answer, half as often (RFC 8628 section 3.5).
func TestHowOftenACodeIsAskedAbout(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		interval any
		answers  []string
		want     []int // seconds between the requests, the first from the beginning
	}{
		"no interval":      {nil, []string{"authorization_pending", "authorization_pending"}, []int{5, 5, 5}},
		"an interval":      {9, []string{"authorization_pending"}, []int{9, 9}},
		"a long interval":  {300, []string{"authorization_pending", "slow_down"}, []int{300, 300, 305}},
		"slower and again": {2, []string{"slow_down", "slow_down", "authorization_pending"}, []int{2, 7, 12, 12}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, c := devices(t, mcpoauth.Options{}, tc.answers...)
				srv.response["interval"] = tc.interval
				last := time.Now()
				if _, err := c.Login(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				var got []int
				for _, at := range srv.polls {
					got, last = append(got, int(at.Sub(last)/time.Second)), at
				}
				if !slices.Equal(got, tc.want) {
					t.Errorf("asked after %v seconds, want %v", got, tc.want)
				}
			})
		})
	}
	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			srv, c := devices(t, mcpoauth.Options{}, "authorization_pending", "silence", "silence")
			srv.response["interval"] = 3
			if _, err := c.Login(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			limit := srv.polls[2].Sub(srv.polls[1]) - 6*time.Second // how long an answer is waited for
			if len(srv.polls) != 4 || limit < time.Second || srv.polls[3].Sub(srv.polls[2]) != limit+12*time.Second {
				t.Errorf("asked at %v", srv.polls)
			}
		})
	})
}

// TestACodeIsBegunOnceAndForAPerson: neither a program that only wants a token nor the end of a code begins another one.
func TestACodeIsBegunOnceAndForAPerson(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, c := devices(t, mcpoauth.Options{}, "expired_token")
		if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrLoginRequired) || srv.begins != 0 {
			t.Errorf("%v, %d codes", err, srv.begins)
		}
		var e *mcpoauth.Error
		if _, err := c.Login(t.Context(), nil); !errorAt(err, mcpoauth.OpToken, &e) || e.Code != "expired_token" || mcpoauth.Hint(err) == "" {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Hour)
		if srv.begins != 1 || len(srv.polls) != 1 {
			t.Errorf("%d codes, %d requests", srv.begins, len(srv.polls))
		}
		if _, err := c.Login(t.Context(), nil); err != nil || srv.begins != 2 {
			t.Errorf("the next login: %v, %d codes", err, srv.begins)
		}
	})
}

// TestADeviceWithASecret shows it at both endpoints (RFC 8628 sections 3.1 and 3.4).
func TestADeviceWithASecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, c := devices(t, mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "tv", Secret: "a secret"}}, "authorization_pending")
		if _, err := c.Login(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte("tv:a+secret"))
		if !slices.Equal(srv.clients, []string{want, want, want}) {
			t.Errorf("authenticated with %q", srv.clients)
		}
	})
}

// TestAPersonSeesTheCodeAndTheAddress, also where an address has the code in it, and never the device's own code.
func TestAPersonSeesTheCodeAndTheAddress(t *testing.T) {
	t.Parallel()
	for _, qr := range []mcpoauth.Mode{mcpoauth.Always, mcpoauth.Never} {
		synctest.Test(t, func(t *testing.T) {
			var out screen
			srv, c := devices(t, mcpoauth.Options{Prompt: mcpoauth.TerminalPrompt(nil, &out, &mcpoauth.TerminalOptions{QR: qr})})
			if _, err := c.Login(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			s := out.String()
			for _, line := range []string{"\n  " + srv.URL + "/device\n", "\n  WDJB-MJHT\n", "?user_code=WDJB-MJHT\n"} {
				if !strings.Contains(s, line) {
					t.Errorf("%q is not in\n%s", line, s)
				}
			}
			if strings.Contains(s, "dev-secret") || strings.Contains(s, "█") != (qr == mcpoauth.Always) {
				t.Errorf("shown:\n%s", s)
			}
		})
	}
}

// TestANonceThatComesWithAToken is in the proof of the next token request (RFC 9449 section 8.2), and in none for the MCP
// server.
func TestANonceThatComesWithAToken(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{DPoP: true}, func(t *testing.T, w *world) {
		o := w.options(mcpoauth.Options{Prompt: w.net.person(t, &w.asked)})
		network := o.Network.HTTPClient.Transport
		o.Network.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := network.RoundTrip(r)
			if err == nil && r.URL.String() == w.srv.TokenEndpoint() {
				resp.Header.Set("DPoP-Nonce", "of-the-token-endpoint")
			}
			return resp, err
		})}
		c := newClient(t, w.srv.MCPURL(), o)
		ping(t, c)
		w.srv.Expire()
		ping(t, c)
		nonces := map[string][]string{}
		for _, r := range w.srv.Requests() {
			proof := strings.Split(r.Header.Get("DPoP"), ".")
			if len(proof) != 3 {
				continue
			}
			var claims struct {
				Nonce string `json:"nonce"`
			}
			b, err := base64.RawURLEncoding.DecodeString(proof[1])
			if err == nil {
				err = json.Unmarshal(b, &claims)
			}
			if err != nil {
				t.Fatal(err)
			}
			nonces[r.Leg] = append(nonces[r.Leg], claims.Nonce)
		}
		if !slices.Equal(nonces["token"], []string{""}) || !slices.Equal(nonces["refresh"], []string{"of-the-token-endpoint"}) || !slices.Equal(slices.Compact(nonces["mcp"]), []string{""}) {
			t.Errorf("the nonces were %q", nonces)
		}
	})
}

// roundTrip is an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestNobodyReadsAnIDJAG: neither the ID token nor the grant that it was exchanged for is in a log, an error, a trace or an
// address.
func TestNobodyReadsAnIDJAG(t *testing.T) {
	t.Parallel()
	idp := startCompany(t)
	refuse := false
	srv := startRobots(t, func(form map[string]string, r *http.Request) string {
		if r.URL.RawQuery != "" || !strings.HasPrefix(form["assertion"], "jag.") {
			t.Errorf("sent to %s with %v", r.URL, form)
		}
		if refuse {
			return "invalid_grant"
		}
		return ""
	})
	var log screen // discovery writes from several goroutines
	var asked atomic.Int32
	o := mcpoauth.Options{
		Store: memstore.New(), Prompt: visitor(&asked), Client: mcpoauth.ClientOptions{ID: "agent", Secret: "s"},
		Grant:  mcpoauth.EnterpriseManaged{Issuer: idp.URL, ClientID: "at-idp", ClientSecret: "idp-secret"},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Trace: &mcpoauth.Trace{
			Exchange: func(_ context.Context, e mcpoauth.Exchange) { _, _ = log.Write([]byte(e.URL)) },
			Note:     func(_ context.Context, n mcpoauth.Note) { _, _ = log.Write([]byte(n.Text)) },
		},
	}
	c := newClient(t, srv.url(), o)
	ping(t, c)
	srv.do(func() { refuse, srv.valid = true, nil })
	_, err := tryPing(c)
	if err == nil {
		t.Fatal("the grant was refused, and there is no error")
	}
	text := log.String() + err.Error() + mcpoauth.Hint(err)
	if !strings.Contains(text, "leg=token") {
		t.Errorf("the log is\n%s", text)
	}
	for _, secret := range []string{"jag.", "eyJ", "idp-secret"} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%q is in the log: …%s", secret, text[max(0, i-200):min(len(text), i+50)])
		}
	}
}

// TestTheCompanysEndpointsAreEncrypted: nothing is sent to a provider over http, unless it is on this machine.
func TestTheCompanysEndpointsAreEncrypted(t *testing.T) {
	t.Parallel()
	token := mcpoauth.AssertionCommand("echo", unsigned(t, map[string]any{"aud": "at-idp"}))
	for name, g := range map[string]mcpoauth.EnterpriseManaged{
		"the token endpoint": {IDToken: token, TokenEndpoint: "http://idp.example/token", ClientID: "at-idp", ClientSecret: "idp-secret"},
		"the issuer":         {Issuer: "http://idp.example", ClientID: "at-idp", ClientSecret: "idp-secret"},
	} {
		srv := startRobots(t, func(map[string]string, *http.Request) string { return "" })
		sent := 0
		o := mcpoauth.Options{Store: memstore.New(), Prompt: nobody(t), Client: mcpoauth.ClientOptions{ID: "agent", Secret: "s"}, Grant: g}
		o.Network.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Hostname() == "idp.example" {
				sent++
				return nil, errors.New("sent")
			}
			return http.DefaultTransport.RoundTrip(r)
		})}
		c, err := mcpoauth.New(srv.url(), &o)
		if err == nil {
			_, err = c.Login(t.Context(), nil)
			if cerr := c.Close(t.Context()); cerr != nil {
				t.Error(cerr)
			}
		}
		if err == nil || sent != 0 || srv.tokens != 0 || mcpoauth.Hint(err) == "" {
			t.Errorf("%s: %v (%s), %d requests", name, err, mcpoauth.Hint(err), sent)
		}
	}
}
