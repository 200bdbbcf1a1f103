package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/record"
)

// withSecret starts a world with a client that was registered by hand, and authenticates by method.
func withSecret(t *testing.T, method string, fn func(t *testing.T, w *world, o mcpoauth.Options)) {
	t.Helper()
	inWorld(t, authtest.Options{Lenient: true}, func(t *testing.T, w *world) {
		w.srv.AddClient(authtest.Client{ID: "by-hand", Secret: "a+secret", AuthMethod: method, RedirectURIs: []string{"http://127.0.0.1/callback"}})
		w.srv.Set(func(f *authtest.Faults) { f.CodeSurvivesRefusal = true })
		fn(t, w, mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand", Secret: "a+secret"}})
	})
}

// TestTheWayToSendASecretIsFoundOnce: whatever error says that it is the wrong one, the next requests use the right one.
//
// It has a row in docs/compatibility.md.
func TestTheWayToSendASecretIsFoundOnce(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]*authtest.Refusal{
		"invalid_client": nil,
		"Keycloak":       {Status: 401, Code: "unauthorized_client", Description: "Invalid client or Invalid client credentials"},
		"mockoidc":       {Status: 400, Code: "invalid_request", Description: "The request is missing the required parameter: client_id"},
		"no body":        {Status: 401},
		"by the ID":      {Status: 401, Code: "invalid_client", Description: "Missing client_id"},
	} {
		method := "client_secret_post"
		if name == "by the ID" {
			method = "client_secret_basic"
		}
		withSecret(t, method, func(t *testing.T, w *world, o mcpoauth.Options) {
			w.srv.Set(func(f *authtest.Faults) { f.ClientRefusal, f.BasicNeedsID = refusal, name == "by the ID" })
			var notes int
			o.Trace = &mcpoauth.Trace{Note: func(_ context.Context, n mcpoauth.Note) {
				if n.Code == mcpoauth.NoteClientAuthentication {
					notes++
				}
			}}
			c, tok := w.loggedIn(o)
			if rec := stored(t, w.st, c); w.srv.Count("token") != 2 || rec.Registration.AuthMethod != method || rec.Registration.ClientIDInBody != (name == "by the ID") {
				t.Errorf("%s: %d requests, %+v", name, w.srv.Count("token"), rec.Registration.AuthMethod)
			}
			// From here on it is known, in any process, and at the next login.
			if _, err := w.open(o).TokenRejected(t.Context(), tok); err != nil || w.srv.Count("refresh") != 1 {
				t.Errorf("%s: a refresh: %v, %d requests", name, err, w.srv.Count("refresh"))
			}
			if _, err := c.Login(t.Context(), &mcpoauth.LoginOptions{Force: true}); err != nil || w.srv.Count("token") != 3 {
				t.Errorf("%s: the next login: %v, %d requests", name, err, w.srv.Count("token"))
			}
			// A login with another idea of it finds out by its refresh.
			w.change(c, func(r *record.Login) {
				r.Registration.AuthMethod, r.Registration.ClientIDInBody = "client_secret_basic", false
			})
			now, err := c.Token(t.Context(), nil)
			for _, want := range []int{3, 4} {
				if err == nil {
					now, err = c.TokenRejected(t.Context(), now)
				}
				if err != nil || w.srv.Count("refresh") != want {
					t.Fatalf("%s: %v, %d refreshes", name, err, w.srv.Count("refresh"))
				}
			}
			if res, err := c.Logout(t.Context()); err != nil || !res.Revoked || w.srv.Count("revocation") != 2 || notes != 2 {
				t.Errorf("%s: %+v, %v, %d revocations, %d notes", name, res, err, w.srv.Count("revocation"), notes)
			}
		})
	}
}

// TestTheWayToSendASecretThatAPersonChose is the only one, and the hint names it; a wrong secret names both causes where
// the server does not tell them apart.
func TestTheWayToSendASecretThatAPersonChose(t *testing.T) {
	t.Parallel()
	withSecret(t, "client_secret_post", func(t *testing.T, w *world, o mcpoauth.Options) {
		o.Prompt, o.Client.AuthMethod = w.net.person(t, &w.asked), mcpoauth.AuthMethodBasic
		_, err := w.open(o).Login(t.Context(), nil)
		if err == nil || !strings.Contains(mcpoauth.Hint(err), "--client-auth-method") || w.srv.Count("token") != 1 {
			t.Errorf("%v (%s), %d requests", err, mcpoauth.Hint(err), w.srv.Count("token"))
		}
		w.srv.Set(func(f *authtest.Faults) {
			f.ClientRefusal = &authtest.Refusal{Status: 401, Code: "unauthorized_client", Description: "Invalid client or Invalid client credentials"}
		})
		o.Client.AuthMethod, o.Client.Secret = "", "wrong"
		_, err = w.open(o).Login(t.Context(), nil)
		hint := mcpoauth.Hint(err)
		if err == nil || !strings.Contains(err.Error(), "does not accept this client, or does not allow it this grant") || !strings.Contains(hint, "secret") || !strings.Contains(hint, "grant") || w.srv.Count("token") != 3 {
			t.Errorf("%v (%s), %d requests", err, hint, w.srv.Count("token"))
		}
	})
}

// TestASpentCodeNamesTheRightWay: a strict server spends a code that an unauthenticated client presents.
func TestASpentCodeNamesTheRightWay(t *testing.T) {
	t.Parallel()
	withSecret(t, "client_secret_post", func(t *testing.T, w *world, o mcpoauth.Options) {
		w.srv.Set(func(f *authtest.Faults) { f.CodeSurvivesRefusal = false })
		o.Prompt = w.net.person(t, &w.asked)
		_, err := w.open(o).Login(t.Context(), nil)
		if hint := mcpoauth.Hint(err); err == nil || !strings.Contains(hint, "--client-auth-method client_secret_post") {
			t.Errorf("%v (%s)", err, hint)
		}
	})
}

// TestMachinesFindTheWayToSendASecret, once for all their requests.
func TestMachinesFindTheWayToSendASecret(t *testing.T) {
	t.Parallel()
	net := newMemoryNetwork()
	s := startRobotsOn(t, net, func(form map[string]string, r *http.Request) string {
		if _, _, basic := r.BasicAuth(); basic || form["client_secret"] != "s" {
			return "unauthorized_client"
		}
		return ""
	})
	o := mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s"}, Grant: mcpoauth.ClientCredentials{}, Network: mcpoauth.NetworkOptions{HTTPClient: net.client(t)}}
	c := newClient(t, s.url(), o)
	tok, err := c.Token(t.Context(), nil)
	if err != nil || s.tokens != 2 {
		t.Fatalf("%v, %d requests", err, s.tokens)
	}
	if _, err := c.TokenRejected(t.Context(), tok); err != nil || s.tokens != 3 {
		t.Errorf("%v, %d requests", err, s.tokens)
	}
	s.scope = "more"
	if status := ping(t, c); status != http.StatusOK || s.tokens != 4 {
		t.Errorf("a step-up: status %d, %d requests", status, s.tokens)
	}
	o.Client.Secret = "wrong"
	_, err = newClient(t, s.url(), o).Token(t.Context(), nil)
	if !errors.Is(err, mcpoauth.ErrAccessDenied) || !strings.Contains(err.Error(), "or does not allow it this grant") || !strings.Contains(mcpoauth.Hint(err), "--client-auth-method") || s.tokens != 6 {
		t.Errorf("%v (%s), %d requests", err, mcpoauth.Hint(err), s.tokens)
	}
}
