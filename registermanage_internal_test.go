package mcpoauth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// manager answers the requests that manage a registration (RFC 7592) with these members.
func manager(t *testing.T, status int, members map[string]any, requests *[]*http.Request) *http.Client {
	t.Helper()
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		*requests = append(*requests, r)
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		doc := map[string]any{"client_id": "c", "redirect_uris": []string{"http://127.0.0.1:1/callback"}, "token_endpoint_auth_method": "none"}
		if r.Method == http.MethodPut {
			for k, v := range members {
				doc[k] = v
			}
		}
		b, err := json.Marshal(doc)
		if err != nil {
			return nil, err
		}
		if r.Method == http.MethodDelete {
			b = nil
		}
		s := http.StatusOK
		if r.Method != http.MethodGet {
			s = status
		}
		return &http.Response{StatusCode: s, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(b))), Request: r}, nil
	})}
}

func managed() *record.Registration {
	return &record.Registration{
		Issuer: testIssuer, ClientID: "c", AuthMethod: "none", Source: string(SourceDynamic), RedirectURI: "http://127.0.0.1:1/callback", Scope: "read",
		Endpoint: testIssuer + "/register", ClientURI: testIssuer + "/client/c", AccessToken: "manage",
	}
}

// TestChangesOfARegistration: what the server changes beside is kept, and a change that does not serve is none.
func TestChangesOfARegistration(t *testing.T) {
	t.Parallel()
	const same, other = "http://127.0.0.1:1/callback", "http://127.0.0.1:2/callback"
	for name, tc := range map[string]struct {
		redirect string
		status   int
		members  map[string]any
		serves   bool
		changed  bool
	}{
		"another port":                {other, 200, map[string]any{"redirect_uris": []string{other}}, true, true},
		"further scopes":              {same, 200, map[string]any{"scope": "read write"}, true, true},
		"refused, another port":       {other, 400, nil, false, false},
		"refused, further scopes":     {same, 400, nil, true, false},
		"another method":              {other, 200, map[string]any{"redirect_uris": []string{other}, "token_endpoint_auth_method": "client_secret_post", "client_secret": "s"}, false, false},
		"without the redirect URI":    {other, 200, map[string]any{"redirect_uris": []string{same}}, false, false},
		"redirect URIs are not said":  {other, 200, map[string]any{"redirect_uris": []string{}}, true, true},
		"with new means to manage it": {other, 200, map[string]any{"redirect_uris": []string{other}, "client_secret": "new", "registration_access_token": "next", "registration_client_uri": testIssuer + "/client/d"}, true, true},
	} {
		var requests []*http.Request
		c := plainClient(t, Options{Network: NetworkOptions{HTTPClient: manager(t, tc.status, tc.members, &requests)}})
		reg := &clientRegistration{reg: managed(), key: c.registrar.keyOf(testIssuer, same), reused: true}
		got, _ := c.registrar.change(t.Context(), reg, clientNeed{redirectURI: tc.redirect, registered: []string{"read", "write"}}, nil)
		if got != tc.serves {
			t.Errorf("%s: serves %t", name, got)
		}
		stored, _, err := c.registrar.load(t.Context(), reg.key)
		if (err == nil) != tc.changed || tc.changed && (stored.RedirectURI != tc.redirect || reg.reg.RedirectURI != tc.redirect) || !tc.changed && reg.reg.RedirectURI != same {
			t.Errorf("%s: stored %+v, %v", name, stored, err)
		}
		if err != nil {
			continue
		}
		want := [3]string{"", "manage", testIssuer + "/client/c"}
		if name == "with new means to manage it" {
			want = [3]string{"new", "next", testIssuer + "/client/d"}
		}
		if now := [3]string{stored.ClientSecret, stored.AccessToken, stored.ClientURI}; now != want {
			t.Errorf("%s: %q", name, now)
		}
	}
}

// TestAChangeOfAClientThatIsGone: it does not serve, even where the port is the same.
func TestAChangeOfAClientThatIsGone(t *testing.T) {
	t.Parallel()
	gone := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})}
	c := plainClient(t, Options{Network: NetworkOptions{HTTPClient: gone}})
	reg := managed()
	need := clientNeed{redirectURI: reg.RedirectURI, registered: []string{"read", "write"}}
	if serves, gone := c.registrar.change(t.Context(), &clientRegistration{reg: reg, reused: true}, need, nil); serves || !gone {
		t.Errorf("serves %t, gone %t", serves, gone)
	}
}

// TestATokenThatAReadingReplaces is kept, with the old secret if the answer has none (RFC 7592 section 2.1).
func TestATokenThatAReadingReplaces(t *testing.T) {
	t.Parallel()
	answer := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		body := io.NopCloser(strings.NewReader(`{"client_id":"c","registration_access_token":"next"}`))
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Request: r}, nil
	})}
	c := plainClient(t, Options{Network: NetworkOptions{HTTPClient: answer}})
	reg := &clientRegistration{reg: managed(), key: c.registrar.keyOf(testIssuer, managed().RedirectURI), reused: true}
	reg.reg.ClientSecret = "a secret"
	if _, err := c.registrar.read(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	if stored, _, err := c.registrar.load(t.Context(), reg.key); err != nil || stored.AccessToken != "next" || stored.ClientSecret != "a secret" {
		t.Errorf("stored %+v, %v", stored, err)
	}
}

// TestARegistrationIsReplacedOnlyIfItDoesNotServe.
func TestARegistrationIsReplacedOnlyIfItDoesNotServe(t *testing.T) {
	t.Parallel()
	need := clientNeed{redirectURI: "http://127.0.0.1:2/callback"}
	for name, tc := range map[string]struct {
		change func(*record.Registration)
		kept   bool
	}{
		"one that serves":       {func(r *record.Registration) { r.RedirectURI = need.redirectURI }, true},
		"another port":          {func(r *record.Registration) { r.ClientURI = "" }, false},
		"another port, by hand": {func(r *record.Registration) { r.Source = string(SourcePreRegistered) }, true},
	} {
		reg := managed()
		tc.change(reg)
		client := &clientRegistration{reg: reg, reused: true}
		// There is no registration endpoint, so a new registration is an error.
		err := plainClient(t, Options{}).registrar.serve(t.Context(), &discovered{Result: resultOf(testIssuer)}, client, need)
		if (err == nil) != tc.kept || client.reused != tc.kept {
			t.Errorf("%s: %v, reused %t", name, err, client.reused)
		}
	}
}

// TestWhichRegistrationsAreCleared at the server: dynamic ones that it lets us manage, with the token of now.
func TestWhichRegistrationsAreCleared(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		login, stored func(*record.Registration)
		status        int
		token         string // that deletes it, "" if nothing does
		err           bool
		left          bool
	}{
		"in order":              {status: 204, token: "manage"},
		"a token of now":        {stored: func(r *record.Registration) { r.AccessToken = "now" }, status: 204, token: "now"},
		"another client's":      {stored: func(r *record.Registration) { r.ClientID, r.AccessToken = "d", "theirs" }, status: 204, token: "manage", left: true},
		"by hand":               {login: func(r *record.Registration) { r.Source = string(SourcePreRegistered) }, left: true},
		"no address":            {login: func(r *record.Registration) { r.ClientURI = "" }, stored: func(r *record.Registration) { r.ClientURI = "" }},
		"no token":              {login: func(r *record.Registration) { r.AccessToken = "" }, stored: func(r *record.Registration) { r.AccessToken = "" }},
		"on another origin":     {stored: func(r *record.Registration) { r.ClientURI = "https://evil.example/c" }, err: true},
		"the server refuses it": {status: 403, token: "manage", err: true},
	} {
		var requests []*http.Request
		c := plainClient(t, Options{Network: NetworkOptions{HTTPClient: manager(t, tc.status, nil, &requests)}})
		login, stored := managed(), managed()
		for _, f := range []struct {
			reg    *record.Registration
			change func(*record.Registration)
		}{{login, tc.login}, {stored, tc.stored}} {
			if f.change != nil {
				f.change(f.reg)
			}
		}
		key := c.registrar.keyOf(testIssuer, stored.RedirectURI)
		c.registrar.save(t.Context(), &clientRegistration{reg: stored, key: key})
		err := c.registrar.clear(t.Context(), login)
		var tokens []string
		for _, r := range requests {
			tokens = append(tokens, r.Method+" "+r.Header.Get("Authorization"))
		}
		want := ""
		if tc.token != "" {
			want = "DELETE Bearer " + tc.token
		}
		if (err != nil) != tc.err || strings.Join(tokens, ", ") != want {
			t.Errorf("%s: %v, %v", name, err, tokens)
		}
		if _, _, err := c.registrar.load(t.Context(), key); (err == nil) != tc.left {
			t.Errorf("%s: afterwards: %v", name, err)
		}
	}
}

// TestWhichRegistrationsAreInUse: those of a login of the same issuer and client, and any where that cannot be known.
func TestWhichRegistrationsAreInUse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*record.Login)
		load   error
		data   []byte
		used   bool
	}{
		"by a login":              {func(*record.Login) {}, nil, nil, true},
		"another client":          {func(r *record.Login) { r.Registration.ClientID = "d" }, nil, nil, false},
		"another issuer":          {func(r *record.Login) { r.Issuer = "https://b.example.com" }, nil, nil, false},
		"a login that has gone":   {func(*record.Login) {}, store.ErrNotFound, nil, false},
		"one that cannot be read": {func(r *record.Login) { r.Registration.ClientID = "d" }, errDisk, nil, true},
		"one that is damaged":     {func(*record.Login) {}, nil, []byte("{"), true},
	} {
		st := newScripted()
		c, _ := newLogin(t, st, tc.change)
		if tc.data != nil {
			if _, err := st.Store.Save(t.Context(), c.store.key, tc.data, mustRevision(t, st, c.store.key)); err != nil {
				t.Fatal(err)
			}
		}
		if tc.load != nil {
			st.load = always(tc.load)
		}
		if got := c.registrar.used(t.Context(), &record.Registration{Issuer: testIssuer, ClientID: "c"}); got != tc.used {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestErrorsOfMachines: what may pass pauses, what is refused is access denied, and all else says where to look.
func TestErrorsOfMachines(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    error
		is     error
		paused bool
		hint   string
	}{
		"temporary":      {&TemporaryError{Err: errDisk}, ErrTemporary, true, ""},
		"a step's":       {&Error{Op: OpToken, Err: errDisk, Hint: "own"}, errDisk, false, "own"},
		"no login":       {&LoginRequiredError{}, ErrLoginRequired, false, ""},
		"an option's":    {optionError("Grant", errDisk, "set it"), errDisk, false, "set it"},
		"any other":      {errDisk, errDisk, false, "check where the assertion comes from"},
		"a cancellation": {context.Canceled, context.Canceled, false, ""},
	} {
		c := plainClient(t, Options{})
		m := c.machine(noAssertion)
		err := m.noAssertion(tc.err)
		if !errors.Is(err, tc.is) || (m.pause.Wait() > 0) != tc.paused || Hint(err) != tc.hint {
			t.Errorf("%s: %v (%s), a pause of %v", name, err, Hint(err), m.pause.Wait())
		}
		if tc.is == ErrLoginRequired && err != tc.err || tc.is == context.Canceled && err != tc.err { //nolint:errorlint // the very error
			t.Errorf("%s: wrapped: %v", name, err)
		}
	}
	for _, f := range []struct {
		fault  *wire.Fault
		denied bool
	}{
		{&wire.Fault{Temporary: true, RetryAfter: 7 * time.Second}, false},
		{&wire.Fault{Temporary: true, Code: "server_error"}, false},
		{&wire.Fault{Status: 400, Code: "invalid_grant"}, true},
		{&wire.Fault{Status: 401}, true},
		{&wire.Fault{Status: 403}, true},
		{&wire.Fault{Status: 404}, false},
		{&wire.Fault{}, false},
	} {
		c := plainClient(t, Options{})
		m := c.machine(noAssertion)
		err := m.failed(f.fault)
		if errors.Is(err, ErrAccessDenied) != f.denied || errors.Is(err, ErrTemporary) != f.fault.Temporary || (m.pause.Wait() > 0) != f.fault.Temporary || f.fault.RetryAfter > 0 && m.pause.Wait() < 5*time.Second {
			t.Errorf("%+v: %v, a pause of %v", f.fault, err, m.pause.Wait())
		}
	}
}
