package mcpoauth_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
)

func TestACompanysIdentityProvider(t *testing.T) {
	const idToken, jag = "id.token.x", "id.jag.x"
	var asked map[string]string
	var answer map[string]any
	status := 200
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		asked = map[string]string{}
		for k := range r.PostForm {
			asked[k] = r.PostForm.Get(k)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer idp.Close()
	srv := startRobots(t, func(form map[string]string, r *http.Request) string {
		if u, _, _ := r.BasicAuth(); u != "agent" || form["assertion"] != jag || form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			return "invalid_grant"
		}
		return ""
	})
	open := func() *mcpoauth.Client {
		return newClient(t, srv.url(), mcpoauth.Options{ClientID: "agent", ClientSecret: "s", Grant: mcpoauth.EnterpriseManaged{
			IDToken: mcpoauth.AssertionCommand("echo", idToken), TokenEndpoint: idp.URL + "/token", ClientID: "at-idp", ClientSecret: "idp-secret",
		}})
	}
	answer = map[string]any{"access_token": jag, "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A"}
	if s := ping(t, open()); s != 200 {
		t.Fatalf("status %d", s)
	}
	for k, want := range map[string]string{
		"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": idToken, "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
		"requested_token_type": "urn:ietf:params:oauth:token-type:id-jag", "audience": srv.URL, "resource": srv.url(), "client_id": "at-idp", "client_secret": "idp-secret", "scope": "jobs",
	} {
		if asked[k] != want {
			t.Errorf("%s is %q, want %q", k, asked[k], want)
		}
	}
	for name, tc := range map[string]struct {
		status int
		answer map[string]any
		hint   string
	}{
		"an ID token that has ended": {400, map[string]any{"error": "invalid_grant"}, "log in at the identity provider"},
		"a policy against it":        {403, map[string]any{"error": "access_denied"}, "administrator"},
		"another kind of token":      {200, map[string]any{"access_token": "x", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}, "enterprise-managed"},
		"nothing":                    {200, map[string]any{}, "at fault"},
	} {
		status, answer = tc.status, tc.answer
		before := srv.tokens
		_, err := open().Token(t.Context(), nil)
		var te *mcpoauth.TokenError
		if !errors.As(err, &te) || !strings.Contains(te.Hint, tc.hint) || srv.tokens != before {
			t.Errorf("%s: %v (%s), %d requests", name, err, mcpoauth.Hint(err), srv.tokens-before)
		}
	}
}
