package mcpoauth_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestTheLastLoginTakesItsClientAlong, and no other does: they share it.
func TestTheLastLoginTakesItsClientAlong(t *testing.T) {
	srv := authtest.New(t, nil)
	p, st := &person{srv: srv}, memstore.New()
	one := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	// A resource of its own makes another login of it, at the same authorization server.
	two := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt, Server: mcpoauth.ServerOptions{Resource: srv.MCPURL()}})
	ping(t, one)
	ping(t, two)
	if srv.Count("registration") != 1 {
		t.Fatalf("%d registrations", srv.Count("registration"))
	}
	if res, err := one.Logout(t.Context()); err != nil || res.ClientDeleted || srv.Count("client-deletion") != 0 {
		t.Errorf("the first: %+v, %v", res, err)
	}
	if status := ping(t, two); status != http.StatusOK {
		t.Errorf("the other login ended with it: %d", status)
	}
	if res, err := two.Logout(t.Context()); err != nil || !res.Revoked || !res.ClientDeleted || srv.Count("client-deletion") != 1 {
		t.Errorf("the last: %+v, %v", res, err)
	}
	if status := ping(t, one); status != http.StatusOK || srv.Count("registration") != 2 {
		t.Errorf("the next login: %d, %d registrations", status, srv.Count("registration"))
	}
}

// TestAClientThatIsInUseStays: a person may be at the browser while another process logs out.
func TestAClientThatIsInUseStays(t *testing.T) {
	srv := authtest.New(t, nil)
	p, st := &person{srv: srv}, memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	ping(t, c)
	var during *mcpoauth.LogoutResult
	other := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Server: mcpoauth.ServerOptions{Resource: srv.MCPURL()}, Prompt: func(ctx context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		var err error
		if during, err = c.Logout(ctx); err != nil {
			return nil, err
		}
		return p.prompt(ctx, lp)
	}})
	if status := ping(t, other); status != http.StatusOK || during == nil || during.ClientDeleted || srv.Count("client-deletion") != 0 {
		t.Errorf("status %d, %+v", status, during)
	}
	// A login that nobody finished does not keep it for ever, but for as long as it could last.
	if res, err := other.Logout(t.Context()); err != nil || !res.ClientDeleted {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestAServerThatKeepsItsClients(t *testing.T) {
	srv := authtest.New(t, nil)
	p, st := &person{srv: srv}, memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
	ping(t, c)
	srv.Set(func(f *authtest.Faults) { f.Fail = map[string]int{"client-deletion": 403} })
	if res, err := c.Logout(t.Context()); err != nil || !res.Revoked || res.ClientDeleted {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestFieldThePortOfTheRegistrationIsTaken is changed where the server lets, instead of registered again (RFC 7592).
func TestFieldThePortOfTheRegistrationIsTaken(t *testing.T) {
	for name, tc := range map[string]struct {
		faults             func(*authtest.Faults)
		registrations, put int
	}{
		"changed":                       {func(*authtest.Faults) {}, 1, 1},
		"a server that changes nothing": {func(f *authtest.Faults) { f.Fail = map[string]int{"client-change": 405} }, 2, 1},
		"a server that reads nothing":   {func(f *authtest.Faults) { f.Fail = map[string]int{"client-reading": 404} }, 2, 0},
		"a client with a secret":        {func(f *authtest.Faults) { f.RegistrationAuthMethod = "client_secret_basic" }, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := authtest.New(t, nil)
			srv.Set(tc.faults)
			p, st := &person{srv: srv}, memstore.New()
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
			ping(t, c)
			u, err := url.Parse(stored(t, st, c).Registration.RedirectURI)
			if err != nil {
				t.Fatal(err)
			}
			busy, err := net.Listen("tcp", u.Host)
			if err != nil {
				t.Skip(err)
			}
			defer busy.Close()
			for range 2 {
				if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
					t.Fatal(err)
				}
			}
			if srv.Count("registration") != tc.registrations || srv.Count("client-change") != tc.put {
				t.Errorf("%d registrations, %d changes", srv.Count("registration"), srv.Count("client-change"))
			}
			srv.Expire()
			if status := ping(t, newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})); status != http.StatusOK {
				t.Errorf("after a restart: %d", status)
			}
			// The token that manages the client is the new one.
			if res, err := c.Logout(t.Context()); err != nil || !res.ClientDeleted {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
}

// TestARegistrationOfOthers: one that this process cannot read is replaced only if nobody can.
func TestARegistrationOfOthers(t *testing.T) {
	for name, k := range map[string]struct {
		data string
		kept bool
	}{
		"sealed":                   {`{"sealed":1,"key":"000000000000","box":"AAAA"}`, true},
		"of a newer version":       {`{"format":99,"kind":"registration"}`, true},
		"damaged":                  {`{`, false},
		"of no format that exists": {`{"kind":"registration"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv, st := authtest.New(t, nil), memstore.New()
			o := mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt}
			login := func() {
				t.Helper()
				if _, err := newClient(t, srv.MCPURL(), o).Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil {
					t.Fatal(err)
				}
			}
			login()
			var key store.Key
			for k, err := range st.List(t.Context(), store.Filter{Kind: store.KindRegistration}) {
				if err != nil {
					t.Fatal(err)
				}
				key = k
			}
			_, rev, err := st.Load(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = st.Save(t.Context(), key, []byte(k.data), rev); err != nil {
				t.Fatal(err)
			}
			login()
			data, _, err := st.Load(t.Context(), key)
			if err != nil || (string(data) == k.data) != k.kept {
				t.Errorf("%s, %v", data, err)
			}
			login()
			if n := srv.Count("registration"); n != map[bool]int{true: 3, false: 2}[k.kept] {
				t.Errorf("%d registrations", n)
			}
			// The last login that goes does not take it along.
			if _, err := newClient(t, srv.MCPURL(), o).Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
			if data, _, err := st.Load(t.Context(), key); k.kept && (err != nil || string(data) != k.data) {
				t.Errorf("after the logout: %s, %v", data, err)
			}
		})
	}
}
