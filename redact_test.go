package mcpoauth_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// Logs and errors end up in bug reports: neither has a secret in it, also where the server's answers do.
//
// It has a row in docs/compatibility.md.
func TestLogsAndErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	srv.Set(func(f *authtest.Faults) { f.RegistrationAuthMethod = "client_secret_basic" })
	var log bytes.Buffer
	o := mcpoauth.Options{
		Store:   memstore.New(),
		Prompt:  (&person{srv: srv}).prompt,
		Network: mcpoauth.NetworkOptions{Header: http.Header{"X-Api-Key": {"header-canary"}}},
		Logger:  slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	say := func(err error) {
		if err != nil {
			fmt.Fprintf(&log, "%v %+v %#v %s\n", err, err, err, mcpoauth.Hint(err))
		}
	}
	c := newClient(t, srv.MCPURL(), o)
	ping(t, c)
	echoed := []string{}
	for _, answer := range []struct {
		status     int
		kind, body string
	}{
		{200, "application/json", `{"access_token":"ECHO","token_type":"mac"}`},
		{200, "application/json", `{"access_token":"ECHO","expires_in":`},
		{200, "text/html", `<html>access_token=ECHO</html>`},
		{500, "text/plain", `panic: ECHO`},
		{200, "application/json", `{"access_token":["ECHO"],"refresh_token":{"a":"ECHO"}}`},
		{400, "application/json", `{"error":"invalid_request","error_description":"what is ECHO"}`},
	} {
		srv.Expire()
		srv.Set(func(f *authtest.Faults) {
			f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"refresh": func(w http.ResponseWriter, r *http.Request) bool {
				last := srv.Requests()[len(srv.Requests())-1]
				secret := last.Form.Get("refresh_token")
				if answer.status != 400 {
					secret = fmt.Sprintf("echo-canary-%d", len(echoed))
				}
				echoed = append(echoed, secret)
				return page(answer.status, answer.kind, strings.ReplaceAll(answer.body, "ECHO", secret))(w, r)
			}}
		})
		// Another client, that no pause of the last one holds, and without a person, who would log in anew.
		unattended := o
		unattended.Prompt = nil
		_, err := tryPing(newClient(t, srv.MCPURL(), unattended))
		if err == nil {
			t.Errorf("%+v: no error", answer)
		}
		say(err)
	}
	srv.Set(func(f *authtest.Faults) { f.Intercept = nil })
	again := newClient(t, srv.MCPURL(), o)
	ping(t, again)
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": func(w http.ResponseWriter, r *http.Request) bool {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="not today: `+token+`"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}}
	})
	refused := newClient(t, srv.MCPURL(), o)
	if _, err := tryPing(refused); err == nil || !strings.Contains(err.Error(), "not today") {
		t.Errorf("got %v", err)
	} else {
		say(err)
	}
	srv.Set(func(f *authtest.Faults) { f.Intercept, f.AuthorizeError = nil, "server_error" })
	_, err := again.Login(context.Background(), &mcpoauth.LoginOptions{Force: true})
	say(err)
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"revocation": func(w http.ResponseWriter, r *http.Request) bool {
			last := srv.Requests()[len(srv.Requests())-1]
			return page(400, "application/json", `{"error":"unsupported_token_type","error_description":"never heard of `+last.Form.Get("token")+`"}`)(w, r)
		}}
	})
	res, err := again.Logout(context.Background())
	say(err)
	fmt.Fprintf(&log, "%+v\n", res)
	if len(echoed) != 6 || !strings.Contains(log.String(), "leg=refresh") || !strings.Contains(log.String(), "what is [redacted]") || !strings.Contains(log.String(), "never heard of [redacted]") || !strings.Contains(log.String(), "server_error") {
		t.Errorf("%d answers; the log:\n%s", len(echoed), &log)
	}
	for _, secret := range append(append(srv.Secrets(), echoed...), "header-canary") {
		if i := strings.Index(log.String(), secret); i >= 0 {
			t.Errorf("%.12s… is in the log: …%s", secret, log.String()[max(0, i-200):i])
		}
	}
}

// It has a row in docs/compatibility.md.
func TestNothingThatIsPrintedHoldsASecret(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	tok, err := c.Login(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := stored(t, st, c)
	data, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	found := func(s string) bool {
		return slices.ContainsFunc(srv.Secrets(), func(secret string) bool { return strings.Contains(s, secret) })
	}
	if !found(string(data)) {
		t.Fatal("the search finds nothing in the record either")
	}
	type holder struct {
		Public  any
		private any
	}
	for _, v := range []any{tok, *tok, rec, *rec, rec.Registration, c.TokenSource(context.Background())} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if s := fmt.Sprintf(format, v) + fmt.Sprintf(format, holder{Public: v}); found(s) {
				t.Errorf("%s of %T: %s", format, v, s)
			}
			if s := fmt.Sprintf(format, holder{private: *tok}); found(s) {
				t.Errorf("%s of a token in a private field: %s", format, s)
			}
		}
	}
}
