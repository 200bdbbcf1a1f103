package mcpoauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// answerWith makes the server answer refreshes so.
func answerWith(srv *authtest.Server, status int, contentType, body string) {
	srv.Set(func(f *authtest.Faults) {
		f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"refresh": func(w http.ResponseWriter, _ *http.Request) bool {
			if contentType != "" {
				w.Header().Set("Content-Type", contentType)
			}
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
			return true
		}}
	})
}

// TestARefreshThatIsRefused: what will not change is a login that is required, with one post for that refresh token by
// any process, and the refresh token kept; what may pass is temporary.
func TestARefreshThatIsRefused(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	for name, tc := range map[string]struct {
		status    int
		kind      string
		body      string
		temporary bool
	}{
		"invalid_grant":            {400, json, `{"error":"invalid_grant"}`, false},
		"an unknown code":          {400, json, `{"error":"out_of_cheese"}`, false},
		"invalid_request":          {400, json, `{"error":"invalid_request"}`, false},
		"an empty body":            {400, "", "", false},
		"401 without a body":       {401, "", "", false},
		"403":                      {403, json, `{}`, false},
		"a text":                   {400, "text/plain", "no", false},
		"unsupported_grant_type":   {400, json, `{"error":"unsupported_grant_type"}`, false},
		"404":                      {404, json, `{"error":"not_found"}`, false},
		"405 without a body":       {405, "", "", false},
		"410":                      {410, json, `{}`, false},
		"422 of FastAPI":           {422, json, `{"detail":[{"loc":["body","x"],"msg":"Field required"}]}`, false},
		"401 invalid_request":      {401, json, `{"error":"invalid_request"}`, false},
		"401 invalid_token":        {401, json, `{"error":"invalid_token"}`, false},
		"401 token_inactive":       {401, json, `{"error":"token_inactive"}`, false},
		"401 unauthorized_client":  {401, json, `{"error":"unauthorized_client"}`, false},
		"403 access_denied":        {403, json, `{"error":"access_denied"}`, false},
		"invalid_scope":            {400, json, `{"error":"invalid_scope"}`, false},
		"invalid_dpop_proof":       {400, json, `{"error":"invalid_dpop_proof"}`, false},
		"a code in capitals":       {400, json, `{"error":"INVALID_REFRESH_TOKEN"}`, false},
		"an error in an object":    {400, json, `{"error":{"code":"bad","message":"no"}}`, false},
		"invalid_client":           {401, json, `{"error":"invalid_client"}`, false},
		"slow_down":                {400, json, `{"error":"slow_down"}`, true},
		"temporarily_unavailable":  {400, json, `{"error":"temporarily_unavailable"}`, true},
		"429":                      {429, json, `{"error":"too_many"}`, true},
		"408":                      {408, "", "", true},
		"500":                      {500, json, `{"error":"server_error"}`, true},
		"503 without a body":       {503, "", "", true},
		"a page of something else": {403, "text/html", "<html>blocked</html>", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := authtest.New(t, nil)
			st := memstore.New()
			c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
			tok, err := c.Login(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			before := stored(t, st, c)
			answerWith(srv, tc.status, tc.kind, tc.body)
			for range 3 {
				other := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st})
				_, err := other.TokenRejected(t.Context(), tok)
				if errors.Is(err, mcpoauth.ErrTemporary) != tc.temporary || errors.Is(err, mcpoauth.ErrLoginRequired) == tc.temporary {
					t.Errorf("got %v", err)
				}
			}
			after := stored(t, st, c)
			if after.RefreshToken != before.RefreshToken || after.Registration.ClientID != before.Registration.ClientID {
				t.Error("the refresh token or the registration was lost")
			}
			if n := srv.Count("refresh"); !tc.temporary && n != 1 {
				t.Errorf("%d refreshes were sent", n)
			}
			if (after.LoginRequired != "") == tc.temporary {
				t.Errorf("the record says %q", after.LoginRequired)
			}
			// A person is not stopped by it.
			p := &person{srv: srv}
			mine := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: p.prompt})
			rec := stored(t, st, c)
			rec.IssuedAt, rec.Expiry = rec.IssuedAt.Add(-time.Hour), rec.IssuedAt.Add(-time.Minute) // it has ended
			overwrite(t, st, c, rec)
			if _, err := mine.Login(t.Context(), nil); err != nil || p.asked() != 1 {
				t.Errorf("a login: %v, asked %d times", err, p.asked())
			}
			srv.Set(func(f *authtest.Faults) { *f = authtest.Faults{} })
			if status := ping(t, mine); status != http.StatusOK {
				t.Errorf("after the login: status %d", status)
			}
		})
	}
}

// TestARefreshWithoutItsResource: an authorization server that refuses the resource indicator when refreshing is asked
// without, once, and from then on.
func TestARefreshWithoutItsResource(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, &authtest.Options{Lenient: true, AccessTokenLifetime: 3600e9})
	st := memstore.New()
	c := newClient(t, srv.MCPURL(), mcpoauth.Options{Store: st, Prompt: (&person{srv: srv}).prompt})
	tok, err := c.Login(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	srv.Set(func(f *authtest.Faults) { f.RejectResource = true })
	for i, want := range []int{2, 3} {
		next, err := c.TokenRejected(t.Context(), tok)
		if err != nil || srv.Count("refresh") != want {
			t.Fatalf("refresh %d: %v, %d requests", i+1, err, srv.Count("refresh"))
		}
		tok = next
	}
	if stored(t, st, c).Resource == "" {
		t.Error("the login forgot what it is for")
	}
}
