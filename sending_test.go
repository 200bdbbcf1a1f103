package mcpoauth_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// TestWhichLoginARequestBelongsTo: a refresh does not change that, another login does, in whatever process it is made.
func TestWhichLoginARequestBelongsTo(t *testing.T) {
	t.Parallel()
	inWorld(t, authtest.Options{}, func(t *testing.T, w *world) {
		w.loggedIn(mcpoauth.Options{})
		c := w.open(mcpoauth.Options{})
		var logins []string
		var refuse error
		hc := c.HTTPClient()
		hc.Transport = &mcpoauth.Transport{Client: c, Sending: func(req *http.Request, login string) error {
			if req.Method != http.MethodPost || login == "" {
				t.Errorf("%s of the login %q", req.Method, login)
			}
			logins = append(logins, login)
			return refuse
		}}
		send := func() error {
			resp, err := hc.Post(c.ServerURL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		}
		must := func() {
			t.Helper()
			if err := send(); err != nil {
				t.Fatal(err)
			}
		}
		must()
		w.srv.Expire()
		must() // is refused, and sent again with the next token
		if len(logins) != 3 || len(slices.Compact(slices.Clone(logins))) != 1 || w.srv.Count("refresh") != 1 {
			t.Errorf("a refresh: %q, %d refreshes", logins, w.srv.Count("refresh"))
		}
		another := w.open(mcpoauth.Options{Prompt: w.net.person(t, &w.asked)})
		if err := login(t.Context(), another); err != nil {
			t.Fatal(err)
		}
		w.srv.Expire()
		if err := login(t.Context(), another); err != nil {
			t.Fatal(err)
		}
		logins = nil
		must() // with the token of before, which is refused, and then with that of the other process
		if len(logins) != 2 || logins[0] == logins[1] {
			t.Errorf("another login: %q", logins)
		}
		// What must not be sent is not.
		refuse = errors.New("not with this login")
		before := w.srv.Count("mcp")
		if err := send(); !errors.Is(err, refuse) || w.srv.Count("mcp") != before {
			t.Errorf("%v, %d requests", err, w.srv.Count("mcp")-before)
		}
	})
}

// TestAMachinesLoginStaysTheSame: a token of its own credentials is the same machine's, for whatever scopes.
func TestAMachinesLoginStaysTheSame(t *testing.T) {
	t.Parallel()
	srv := startRobots(t, basic("robot", "s3cret"))
	c := newClient(t, srv.url(), mcpoauth.Options{Grant: mcpoauth.ClientCredentials{}, Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s3cret"}})
	var logins []string
	hc := c.HTTPClient()
	hc.Transport = &mcpoauth.Transport{Client: c, Sending: func(_ *http.Request, login string) error {
		logins = append(logins, login)
		return nil
	}}
	for _, more := range []string{"", "jobs", "more"} {
		if more != "" {
			if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true, Scopes: []string{more}}); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := hc.Post(c.ServerURL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if len(logins) != 3 || logins[0] == "" || len(slices.Compact(logins)) != 1 {
		t.Errorf("%q", logins)
	}
}
