package grant

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// server is an authorization server that answers each request with the next of its answers, and then with the
// last one for ever.
type server struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	answers  []http.HandlerFunc
	requests []*http.Request
	bodies   []string
}

func newServer(t *testing.T, answers ...http.HandlerFunc) *server {
	t.Helper()
	s := &server{t: t, answers: answers}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	s.mu.Lock()
	if err != nil {
		s.t.Error(err)
	}
	s.requests, s.bodies = append(s.requests, r), append(s.bodies, string(b))
	next := s.answers[0]
	s.answers = s.answers[min(1, len(s.answers)-1):]
	s.mu.Unlock()
	next(w, r)
}

// sent returns one of the requests and its form.
func (s *server) sent(i int) (*http.Request, url.Values) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.requests) {
		s.t.Fatalf("there are %d requests", len(s.requests))
	}
	r := s.requests[i]
	form, err := url.ParseQuery(s.bodies[i])
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.Header.Get("Accept") != "application/json" {
		s.t.Errorf("%s %v: %v", r.Method, r.Header, err)
	}
	return r, form
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func client(t testing.TB, rt http.RoundTripper) *netguard.Client {
	t.Helper()
	if rt == nil {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		rt = transport
	}
	c, err := netguard.New(netguard.Config{Policy: netguard.Policy{Class: netguard.Loopback}, HTTPClient: &http.Client{Transport: rt}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(status int, contentType, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func asJSON(status int, body string, header ...string) http.HandlerFunc {
	return answer(status, "application/json", body, header...)
}

// broken ends the connection without an answer.
func broken(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const (
	good     = `{"access_token":"at","token_type":"Bearer","expires_in":3600,"refresh_token":"rt2","scope":"a"}`
	htmlPage = "<!doctype html><html>CANARY</html>"
)

// auths are the ways to authenticate; ID and secret have what must be encoded (RFC 6749 section 2.3.1).
const (
	oddID     = "my client:1"
	oddSecret = "p%a+s&s/ü"
	oddPair   = "my+client%3A1:p%25a%2Bs%26s%2F%C3%BC"
)

var auths = map[string]struct {
	auth   ClientAuth
	header string
	form   url.Values
}{
	"none":                {ClientAuth{ID: oddID, Method: "none"}, "", url.Values{"client_id": {oddID}}},
	"unknown":             {ClientAuth{ID: oddID, Secret: secret.New("unused"), Method: ""}, "", url.Values{"client_id": {oddID}}},
	"client_secret_post":  {ClientAuth{ID: oddID, Secret: secret.New(oddSecret), Method: "client_secret_post"}, "", url.Values{"client_id": {oddID}, "client_secret": {oddSecret}}},
	"client_secret_basic": {ClientAuth{ID: oddID, Secret: secret.New(oddSecret), Method: "client_secret_basic"}, "Basic " + base64.StdEncoding.EncodeToString([]byte(oddPair)), nil},
}

func exchange(s *server, c *netguard.Client, auth ClientAuth) (*wire.Token, ClientAuth, error) {
	return ExchangeCode(context.Background(), c, CodeRequest{
		Endpoint: s.URL + "/token?tenant=1", Auth: auth, Code: secret.New("c/o+de"), Verifier: secret.New("verifier"), RedirectURI: redirect, Resource: resource,
	})
}

func refresh(s *server, c *netguard.Client, auth ClientAuth) (*wire.Token, error) {
	tok, _, err := Refresh(context.Background(), c, RefreshRequest{Endpoint: s.URL + "/token?tenant=1", Auth: auth, RefreshToken: secret.New("r t"), Resource: resource})
	return tok, err
}

func with(a, b url.Values) url.Values {
	out := url.Values{}
	for _, m := range []url.Values{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func TestTheFormsOfBothGrants(t *testing.T) {
	code := url.Values{"grant_type": {"authorization_code"}, "code": {"c/o+de"}, "code_verifier": {"verifier"}, "redirect_uri": {redirect}, "resource": {resource}}
	again := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"r t"}, "resource": {resource}}
	for name, a := range auths {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, asJSON(200, good))
			c := client(t, nil)
			if tok, auth, err := exchange(s, c, a.auth); err != nil || tok.AccessToken.Reveal() != "at" || auth != a.auth {
				t.Fatalf("%+v, %+v, %v", tok, auth, err)
			}
			if tok, err := refresh(s, c, a.auth); err != nil || tok.RefreshToken.Reveal() != "rt2" {
				t.Fatalf("%+v, %v", tok, err)
			}
			for i, want := range []url.Values{with(code, a.form), with(again, a.form)} {
				r, form := s.sent(i)
				if !reflect.DeepEqual(form, want) {
					t.Errorf("the form is %v, want %v", form, want)
				}
				if got := r.Header.Get("Authorization"); got != a.header {
					t.Errorf("the header is %q, want %q", got, a.header)
				}
				// The endpoint's query stays, and nothing is added to it.
				if r.RequestURI != "/token?tenant=1" || r.Header.Get("Idempotency-Key") != "" {
					t.Errorf("%s, %v", r.RequestURI, r.Header)
				}
			}
			if s.count() != 2 {
				t.Errorf("%d requests", s.count())
			}
		})
	}
}

func TestNoResourceNoParameter(t *testing.T) {
	s := newServer(t, asJSON(200, good))
	c := client(t, nil)
	if _, _, err := ExchangeCode(context.Background(), c, CodeRequest{Endpoint: s.URL, Auth: ClientAuth{ID: "x"}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Refresh(context.Background(), c, RefreshRequest{Endpoint: s.URL, Auth: ClientAuth{ID: "x"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if _, form := s.sent(i); form.Has("resource") || form.Has("scope") {
			t.Errorf("%v", form)
		}
	}
}

func TestExtraTokenParametersCannotReplaceOurs(t *testing.T) {
	for name, a := range auths {
		t.Run(name, func(t *testing.T) {
			extra := url.Values{"audience": {"x", "y"}}
			for _, k := range protocolParameters {
				extra[k] = []string{"EVIL"}
			}
			s := newServer(t, asJSON(200, good))
			c := client(t, nil)
			for _, noResource := range []bool{false, true} {
				code := CodeRequest{Endpoint: s.URL, Auth: a.auth, Code: secret.New("c"), Verifier: secret.New("v"), RedirectURI: redirect, Resource: resource, Extra: extra}
				again := RefreshRequest{Endpoint: s.URL, Auth: a.auth, RefreshToken: secret.New("r"), Resource: resource, Extra: extra}
				if noResource {
					code.Resource, again.Resource = "", ""
				}
				if _, _, err := ExchangeCode(context.Background(), c, code); err != nil {
					t.Fatal(err)
				}
				if _, _, err := Refresh(context.Background(), c, again); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 4 {
				_, form := s.sent(i)
				for k, v := range form {
					if slices.Contains(v, "EVIL") || k != "audience" && len(v) != 1 {
						t.Errorf("%s is %v", k, v)
					}
				}
				if !slices.Equal(form["audience"], []string{"x", "y"}) || form.Has("resource") != (i < 2) {
					t.Errorf("%v", form)
				}
			}
			if len(extra) != len(protocolParameters)+1 || extra.Get("client_id") != "EVIL" {
				t.Errorf("the caller's parameters were changed: %v", extra)
			}
		})
	}
}

// Which of both ways a server takes is often not what it says: one other try.
func TestAfterInvalidClient(t *testing.T) {
	refused := asJSON(401, `{"error":"invalid_client","error_description":"first"}`)
	for method, other := range map[string]string{"client_secret_basic": "client_secret_post", "client_secret_post": "client_secret_basic"} {
		s := newServer(t, refused, asJSON(200, good))
		c := client(t, nil)
		tok, auth, err := exchange(s, c, auths[method].auth)
		if err != nil || tok == nil || auth.Method != other || auth.ID != oddID || auth.Secret.Reveal() != oddSecret {
			t.Fatalf("%s: %+v, %+v, %v", method, tok, auth, err)
		}
		for i, m := range []string{method, other} {
			r, form := s.sent(i)
			if r.Header.Get("Authorization") != auths[m].header || form.Get("client_secret") != auths[m].form.Get("client_secret") || form.Has("client_id") != (auths[m].form != nil) || form.Get("code") != "c/o+de" {
				t.Errorf("%s: request %d: %v, %v", method, i, r.Header, form)
			}
		}
		if s.count() != 2 {
			t.Errorf("%s: %d requests", method, s.count())
		}

		// Where that is refused in the same way, the first answer is the one to tell.
		s = newServer(t, refused, asJSON(401, `{"error":"invalid_client","error_description":"second"}`))
		tok, auth, err = exchange(s, c, auths[method].auth)
		var f *wire.Fault
		if tok != nil || auth != auths[method].auth || !errors.As(err, &f) || f.Description != "first" || !strings.Contains(f.Hint, "--client-auth-method") || s.count() != 2 {
			t.Errorf("%s: %+v, %+v, %v after %d requests", method, tok, auth, err, s.count())
		}
		// Where the client is accepted then, the second one is: a strict server has spent the code.
		s = newServer(t, refused, asJSON(400, `{"error":"invalid_grant","error_description":"second"}`))
		tok, auth, err = exchange(s, c, auths[method].auth)
		if tok != nil || auth.Method != other || !errors.As(err, &f) || f.Code != "invalid_grant" || !strings.Contains(f.Hint, "--client-auth-method "+other) || s.count() != 2 {
			t.Errorf("%s: %+v, %+v, %v after %d requests", method, tok, auth, err, s.count())
		}

		s = newServer(t, refused, asJSON(200, good))
		if tok, err := refresh(s, c, auths[method].auth); tok == nil || err != nil || s.count() != 2 {
			t.Errorf("%s: %+v, %v after %d requests", method, tok, err, s.count())
		}
	}
	s := newServer(t, refused, asJSON(200, good))
	if tok, _, err := exchange(s, client(t, nil), auths["none"].auth); tok != nil || err == nil || s.count() != 1 {
		t.Errorf("without a secret: %+v, %v after %d requests", tok, err, s.count())
	}
}

func TestAnswersThatAreNoToken(t *testing.T) {
	for name, c := range map[string]struct {
		page      http.HandlerFunc
		code      string
		status    int
		temporary bool
		wait      time.Duration
		// says must be in the message; %s stands for what was sent.
		says string
	}{
		"invalid_grant":           {asJSON(400, `{"error":"invalid_grant","error_description":"expired"}`), "invalid_grant", 400, false, 0, "does not accept %s"},
		"invalid_grant in a 401":  {asJSON(401, `{"error":"invalid_grant"}`), "invalid_grant", 401, false, 0, "does not accept %s"},
		"invalid_grant in a 200":  {asJSON(200, `{"error":"invalid_grant"}`), "invalid_grant", 200, false, 0, "does not accept %s"},
		"GitHub's bad code":       {asJSON(200, `{"error":"bad_verification_code"}`), "invalid_grant", 200, false, 0, "does not accept %s"},
		"as a form":               {answer(200, "application/x-www-form-urlencoded", "error=bad_refresh_token&error_description=x"), "invalid_grant", 200, false, 0, "does not accept %s"},
		"invalid_client":          {asJSON(401, `{"error":"invalid_client"}`), "invalid_client", 401, false, 0, "does not accept this client"},
		"unauthorized_client":     {asJSON(400, `{"error":"unauthorized_client"}`), "unauthorized_client", 400, false, 0, "does not allow this client the grant"},
		"invalid_request":         {asJSON(400, `{"error":"invalid_request"}`), "invalid_request", 400, false, 0, "token endpoint refused"},
		"invalid_target":          {asJSON(400, `{"error":"invalid_target"}`), "invalid_target", 400, false, 0, "token endpoint refused"},
		"server_error":            {asJSON(400, `{"error":"server_error"}`), "server_error", 400, true, 0, "token endpoint refused"},
		"429":                     {answer(429, "text/plain", "CANARY", "Retry-After", "9"), "", 429, true, 9 * time.Second, "cannot be read"},
		"429 with a code":         {asJSON(429, `{"error":"slow_down"}`, "Retry-After", "3600"), "slow_down", 429, true, time.Minute, "refused"},
		"500":                     {asJSON(500, `{}`), "", 500, true, 0, ""},
		"502 page":                {answer(502, "text/html", htmlPage), "", 502, true, 0, "web page"},
		"503 with Retry-After":    {answer(503, "", "", "Retry-After", "2"), "", 503, true, 2 * time.Second, ""},
		"page with status 200":    {answer(200, "text/html", htmlPage), "", 200, true, 0, "web page"},
		"firewall's page":         {answer(403, "text/html", htmlPage), "", 403, true, 0, "web page"},
		"there is no endpoint":    {answer(404, "text/html", htmlPage), "", 404, false, 0, "web page"},
		"empty":                   {answer(200, "application/json", ""), "", 200, false, 0, "cannot be read"},
		"cut off within the JSON": {asJSON(200, good[:40]), "", 200, false, 0, "cannot be read"},
		"cut off on the way":      {asJSON(200, good[:40], "Content-Length", "400"), "", 0, true, 0, "broke"},
		"no answer":               {broken, "", 0, true, 0, "broke"},
		"too long":                {asJSON(200, strings.Repeat(" ", 2<<20)+good), "", 0, true, 0, "not read"},
		"only an id_token":        {asJSON(200, `{"id_token":"CANARY"}`), "", 200, false, 0, "no access_token"},
		"type DPoP":               {asJSON(200, `{"access_token":"CANARY","token_type":"DPoP"}`), "", 200, false, 0, "had no proof"},
		"type MAC":                {asJSON(200, `{"access_token":"CANARY","token_type":"mac"}`), "", 200, false, 0, `"mac"`},
		"a redirect":              {answer(302, "", "", "Location", "/elsewhere"), "", 302, false, 0, "redirect"},
		"a redirect with body":    {answer(307, "", "", "Location", "/elsewhere"), "", 307, false, 0, "redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c.page, asJSON(200, good))
			http1 := &http.Transport{DisableKeepAlives: true}
			for _, what := range []string{"the authorization code", "the refresh token"} {
				s.mu.Lock()
				s.answers = []http.HandlerFunc{c.page, asJSON(200, good)}
				s.mu.Unlock()
				before := s.count()
				var tok *wire.Token
				var err error
				if what == "the refresh token" {
					tok, err = refresh(s, client(t, http1), auths["none"].auth)
				} else {
					tok, _, err = exchange(s, client(t, http1), auths["none"].auth)
				}
				var f *wire.Fault
				if tok != nil || !errors.As(err, &f) {
					t.Fatalf("%+v, %v", tok, err)
				}
				if f.Stage != "token" || f.URL != s.URL+"/token" || f.Code != c.code || f.Status != c.status || f.Temporary != c.temporary || f.RetryAfter != c.wait || f.Unsent || f.NotOffered {
					t.Errorf("%+v", f)
				}
				if says := strings.ReplaceAll(c.says, "%s", what); !strings.Contains(f.Message, says) || f.Message == "" {
					t.Errorf("%q does not say %q", f.Message, says)
				}
				if all := fmt.Sprintf("%+v %v", *f, f); strings.Contains(all, "CANARY") || strings.Contains(all, "c/o+de") || strings.Contains(all, "tenant=1") {
					t.Errorf("a secret is in %s", all)
				}
				// A code and a refresh token are for once.
				if n := s.count() - before; n != 1 {
					t.Errorf("%d requests", n)
				}
			}
		})
	}
}

func TestAClientThatIsNotAcceptedIsToldWhatToDo(t *testing.T) {
	s := newServer(t, asJSON(400, `{"error":"unauthorized_client"}`), asJSON(400, `{"error":"invalid_client","error_description":"AADSTS901002: resource"}`))
	var f *wire.Fault
	if _, err := refresh(s, client(t, nil), auths["none"].auth); !errors.As(err, &f) || !strings.Contains(f.Hint, "--new-client") {
		t.Errorf("%v", err)
	}
	// A better hint is kept.
	if _, err := refresh(s, client(t, nil), auths["none"].auth); !errors.As(err, &f) || !strings.Contains(f.Hint, "--no-resource") {
		t.Errorf("%+v", f)
	}
}

func TestAnswersThatAreATokenAllTheSame(t *testing.T) {
	for name, page := range map[string]http.HandlerFunc{
		"201":              asJSON(201, good),
		"202":              asJSON(202, good),
		"BOM":              asJSON(200, "\xef\xbb\xbf"+good),
		"called text":      answer(200, "text/plain", good),
		"no content type":  answer(200, "", good),
		"form":             answer(200, "application/x-www-form-urlencoded", "access_token=at&token_type=bearer&expires_in=3600&refresh_token=rt2"),
		"form called HTML": answer(200, "text/html", "access_token=at&token_type=bearer&expires_in=3600&refresh_token=rt2"),
		"texts":            asJSON(200, `{"access_token":"at","token_type":"bearer","expires_in":"3600","refresh_token":"rt2"}`),
		"no type":          asJSON(200, `{"access_token":"at","expires_in":3600,"refresh_token":"rt2"}`),
		"foreign members":  asJSON(200, `{"access_token":"at","token_type":"BEARER","expires_in":3600,"refresh_token":"rt2","issuer":"https://e","expires_at":"2999-01-01T00:00:00Z","version":99}`),
	} {
		s := newServer(t, page)
		before := time.Now().Add(-time.Second)
		tok, err := refresh(s, client(t, nil), auths["none"].auth)
		if err != nil || tok.AccessToken.Reveal() != "at" || tok.RefreshToken.Reveal() != "rt2" || tok.TokenType != "Bearer" {
			t.Errorf("%s: %+v, %v", name, tok, err)
			continue
		}
		if d := tok.Expiry.Sub(before); d < time.Hour || d > time.Hour+time.Minute {
			t.Errorf("%s: until %v", name, tok.Expiry)
		}
	}
}

func TestARequestThatDoesNotArriveIsKnownToBeUnsent(t *testing.T) {
	s := newServer(t, asJSON(200, good))
	s.Close()
	var f *wire.Fault
	if _, err := refresh(s, client(t, nil), auths["none"].auth); !errors.As(err, &f) || !f.Temporary || !f.Unsent || f.Stage != "token" {
		t.Errorf("%+v", f)
	}
	down := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		t.Error("it was dialled")
		return nil, errors.New("no")
	}}
	for _, endpoint := range []string{"https://10.0.0.1/token", "http://auth.example.com/token", "https://169.254.169.254/token", "ftp://auth.example.com/", "token"} {
		_, _, err := Refresh(context.Background(), client(t, down), RefreshRequest{Endpoint: endpoint, Auth: ClientAuth{ID: "x"}})
		if !errors.As(err, &f) || f.Temporary || !f.Unsent {
			t.Errorf("%s: %+v", endpoint, f)
		}
	}
}

func TestACancelledRefresh(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	release := make(chan bool)
	s := newServer(t, func(http.ResponseWriter, *http.Request) { cancel(); <-release })
	defer close(release)
	_, _, err := Refresh(ctx, client(t, nil), RefreshRequest{Endpoint: s.URL, Auth: ClientAuth{ID: "x"}})
	var f *wire.Fault
	if !errors.As(err, &f) || !errors.Is(err, context.Canceled) || f.Temporary || f.Unsent || f.Stage != "token" {
		t.Errorf("%+v", f)
	}
}

func TestRevocation(t *testing.T) {
	for name, c := range map[string]struct {
		page      http.HandlerFunc
		ok        bool
		temporary bool
		says      string
	}{
		"200":                     {answer(200, "", ""), true, false, ""},
		"200 with a body":         {asJSON(200, `{"ok":true}`), true, false, ""},
		"204":                     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, true, false, ""},
		"unknown token":           {asJSON(400, `{"error":"invalid_token"}`), true, false, ""},
		"unknown refresh token":   {asJSON(400, `{"error":"invalid_grant"}`), true, false, ""},
		"unsupported type":        {asJSON(400, `{"error":"unsupported_token_type"}`), false, false, "refused to revoke"},
		"another request":         {asJSON(400, `{"error":"invalid_request","error_description":"token missing"}`), false, false, "refused to revoke"},
		"unknown client":          {asJSON(401, `{"error":"invalid_client"}`), false, false, "does not accept this client"},
		"503":                     {answer(503, "", ""), false, true, ""},
		"503 with a code":         {asJSON(503, `{"error":"temporarily_unavailable"}`), false, true, "refused to revoke"},
		"page":                    {answer(403, "text/html", htmlPage), false, true, "web page"},
		"there is no endpoint":    {answer(404, "text/html", htmlPage), false, false, "web page"},
		"broken":                  {broken, false, true, "broke"},
		"a redirect":              {answer(307, "", "", "Location", "/x"), false, false, "redirect"},
		"secret missing, but 401": {asJSON(401, `{"error":"invalid_request","error_description":"client_secret missing"}`), false, false, "does not accept this client"},
	} {
		for method, a := range auths {
			t.Run(name+", "+method, func(t *testing.T) {
				s := newServer(t, c.page)
				err := Revoke(context.Background(), client(t, &http.Transport{DisableKeepAlives: true}), RevokeRequest{Endpoint: s.URL + "/revoke?k=CANARY", Auth: a.auth, Token: secret.New("t k"), Hint: "refresh_token"})
				r, form := s.sent(0)
				if want := with(a.form, url.Values{"token": {"t k"}, "token_type_hint": {"refresh_token"}}); !reflect.DeepEqual(form, want) || r.Header.Get("Authorization") != a.header {
					t.Errorf("sent %v, %v", form, r.Header)
				}
				want := 1
				if strings.Contains(c.says, "this client") && strings.HasPrefix(method, "client_secret") {
					want = 2
				}
				if s.count() != want {
					t.Errorf("%d requests", s.count())
				}
				var f *wire.Fault
				if c.ok {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if !errors.As(err, &f) || f.Stage != "revocation" || f.Temporary != c.temporary || f.URL != s.URL+"/revoke" || !strings.Contains(f.Message, c.says) || strings.Contains(fmt.Sprintf("%+v", *f), "CANARY") {
					t.Errorf("%+v", f)
				}
			})
		}
	}
}

// Some servers want the field from clients that have no secret.
//
// It has a row in docs/compatibility.md.
func TestRevocationWantsASecretField(t *testing.T) {
	wants := asJSON(400, `{"error":"invalid_request","error_description":"The client_secret field is required"}`)
	ok := answer(200, "", "")
	revoke := func(s *server, auth ClientAuth) error {
		return Revoke(context.Background(), client(t, nil), RevokeRequest{Endpoint: s.URL, Auth: auth, Token: secret.New("t"), Hint: "access_token"})
	}
	s := newServer(t, wants, ok)
	if err := revoke(s, auths["none"].auth); err != nil || s.count() != 2 {
		t.Fatalf("%v after %d requests", err, s.count())
	}
	_, first := s.sent(0)
	_, second := s.sent(1)
	if first.Has("client_secret") || !reflect.DeepEqual(second, with(first, url.Values{"client_secret": {""}})) {
		t.Errorf("%v, then %v", first, second)
	}
	s = newServer(t, wants, ok)
	if err := revoke(s, ClientAuth{ID: "x", Method: "client_secret_basic"}); err == nil || s.count() != 1 {
		t.Errorf("an empty secret by Basic: %v after %d requests", err, s.count())
	}
	s = newServer(t, wants, wants, ok)
	if err := revoke(s, auths["none"].auth); err == nil || s.count() != 2 {
		t.Errorf("for ever: %v after %d requests", err, s.count())
	}
}

func TestDeletingARegistration(t *testing.T) {
	for name, c := range map[string]struct {
		page      http.HandlerFunc
		ok        bool
		temporary bool
	}{
		"204":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, true, false},
		"200":          {answer(200, "", ""), true, false},
		"gone: 401":    {asJSON(401, `{"error":"invalid_token"}`), true, false},
		"gone: 404":    {answer(404, "text/html", htmlPage), true, false},
		"gone: 410":    {answer(410, "", ""), true, false},
		"refused":      {asJSON(403, `{"error":"access_denied"}`), false, false},
		"unsupported":  {answer(405, "", ""), false, false},
		"503":          {answer(503, "", ""), false, true},
		"broken":       {broken, false, true},
		"a redirect":   {answer(307, "", "", "Location", "/x"), false, false},
		"bad request":  {asJSON(400, `{"error":"invalid_request"}`), false, false},
		"rate limited": {answer(429, "", ""), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c.page)
			err := DeleteClient(context.Background(), client(t, &http.Transport{DisableKeepAlives: true}), s.URL+"/register/x", secret.New("CANARY"))
			if s.count() != 1 {
				t.Fatalf("%d requests", s.count())
			}
			r := s.requests[0]
			if r.Method != http.MethodDelete || r.URL.Path != "/register/x" || r.Header.Get("Authorization") != "Bearer CANARY" || s.bodies[0] != "" || r.Header.Get("Content-Type") != "" {
				t.Errorf("%s %s %v %q", r.Method, r.URL, r.Header, s.bodies[0])
			}
			var f *wire.Fault
			if c.ok != (err == nil) || !c.ok && (!errors.As(err, &f) || f.Stage != "registration" || f.Temporary != c.temporary || f.URL != s.URL+"/register/x" || f.Status != 0 && f.Status != 307 && !strings.Contains(f.Message, "refused to delete") || strings.Contains(fmt.Sprintf("%+v", *f), "CANARY")) {
				t.Errorf("%+v", err)
			}
		})
	}
}

func push(t *testing.T, s *server, auth ClientAuth) (string, time.Time, error) {
	t.Helper()
	r := usual()
	r.ClientID, r.Extra = auth.ID, url.Values{"audience": {"x"}, "state": {"EVIL"}}
	p, err := Push(context.Background(), client(t, &http.Transport{DisableKeepAlives: true}), s.URL+"/par?k=CANARY", auth, r)
	return p.URI, p.Expiry, err
}

func TestPushedAuthorizationRequests(t *testing.T) {
	for name, a := range auths {
		s := newServer(t, asJSON(201, `{"request_uri":"urn:x","expires_in":60}`))
		before := time.Now()
		uri, expiry, err := push(t, s, a.auth)
		if err != nil || uri != "urn:x" || expiry.Before(before.Add(time.Minute)) || expiry.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s: %q, %v, %v", name, uri, expiry, err)
		}
		r, form := s.sent(0)
		want := with(usualQuery(), a.form)
		// RFC 9126 section 2.1: client_id is among the parameters however the client authenticates.
		want["client_id"], want["audience"] = []string{oddID}, []string{"x"}
		if !reflect.DeepEqual(form, want) || r.Header.Get("Authorization") != a.header || r.RequestURI != "/par?k=CANARY" {
			t.Errorf("%s: sent %v, %v", name, form, r.Header)
		}
	}
	// How long it is good for is only a hint.
	for body, want := range map[string]time.Duration{
		`{"request_uri":"urn:x"}`: 0, `{"request_uri":"urn:x","expires_in":-5}`: 0, `{"request_uri":"urn:x","expires_in":"90"}`: 90 * time.Second, `{"request_uri":"urn:x","expires_in":1e300}`: time.Hour,
	} {
		s := newServer(t, asJSON(200, body))
		before := time.Now()
		if uri, expiry, err := push(t, s, auths["none"].auth); err != nil || uri != "urn:x" || expiry.Before(before.Add(want)) || expiry.After(time.Now().Add(want)) {
			t.Errorf("%s: %q, %v, %v", body, uri, expiry, err)
		}
	}
}

func TestPushedRequestsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		page      http.HandlerFunc
		code      string
		status    int
		temporary bool
		says      string
	}{
		"invalid_request":      {asJSON(400, `{"error":"invalid_request","error_description":"no"}`), "invalid_request", 400, false, "refused the authorization request"},
		"an error in a 200":    {asJSON(200, `{"error":"invalid_scope"}`), "invalid_scope", 200, false, "refused the authorization request"},
		"no request_uri":       {asJSON(201, `{"expires_in":60}`), "", 201, false, "no request_uri"},
		"request_uri is odd":   {asJSON(201, `{"request_uri":["CANARY"]}`), "", 201, false, "no request_uri"},
		"request_uri in a 400": {asJSON(400, `{"request_uri":"CANARY"}`), "", 400, false, "refused"},
		"empty":                {asJSON(201, ""), "", 201, false, "cannot be used: empty"},
		"cut off":              {asJSON(201, `{"request_uri":"CANARY"`), "", 201, false, "cannot be used: not valid JSON"},
		"page with 200":        {answer(200, "text/html", htmlPage), "", 200, true, "web page"},
		"no endpoint":          {answer(404, "text/html", htmlPage), "", 404, false, "web page"},
		"503":                  {answer(503, "", "", "Retry-After", "5"), "", 503, true, ""},
		"429":                  {asJSON(429, `{}`), "", 429, true, ""},
		"broken":               {broken, "", 0, true, "broke"},
		"a redirect":           {answer(302, "", "", "Location", "/x"), "", 302, false, "redirect"},
		"unknown client":       {asJSON(401, `{"error":"invalid_client"}`), "invalid_client", 401, false, "does not accept this client"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c.page)
			uri, expiry, err := push(t, s, auths["none"].auth)
			var f *wire.Fault
			if uri != "" || !expiry.IsZero() || !errors.As(err, &f) {
				t.Fatalf("%q, %v, %v", uri, expiry, err)
			}
			if f.Stage != "par" || f.URL != s.URL+"/par" || f.Code != c.code || f.Status != c.status || f.Temporary != c.temporary || !strings.Contains(f.Message, c.says) || f.Message == "" {
				t.Errorf("%+v", f)
			}
			if strings.Contains(fmt.Sprintf("%+v %v", *f, f), "CANARY") || s.count() != 1 {
				t.Errorf("%+v after %d requests", f, s.count())
			}
		})
	}
}

// What a trace calls the requests is what a person reads.
func TestTheRequestsHaveNames(t *testing.T) {
	s := newServer(t, asJSON(401, `{"error":"invalid_client"}`))
	var legs []string
	c, err := netguard.New(netguard.Config{Policy: netguard.Policy{Class: netguard.Loopback}, Trace: func(_ context.Context, e netguard.Exchange) { legs = append(legs, e.Leg) }})
	if err != nil {
		t.Fatal(err)
	}
	auth := auths["client_secret_post"].auth
	_, _, _ = exchange(s, c, auth)
	_, _ = refresh(s, c, auth)
	_ = Revoke(context.Background(), c, RevokeRequest{Endpoint: s.URL, Auth: auth})
	_, _ = Push(context.Background(), c, s.URL, auth, usual())
	_ = DeleteClient(context.Background(), c, s.URL, secret.New("x"))
	if want := []string{"token", "token", "refresh", "refresh", "revocation", "revocation", "par", "par", "client-deletion"}; !slices.Equal(legs, want) {
		t.Errorf("got %v, want %v", legs, want)
	}
}

// TestWhatErrorCodesMean: every refusal says what to do, those aside that are part of a flow.
func TestWhatErrorCodesMean(t *testing.T) {
	t.Parallel()
	for code, word := range map[string]string{
		"invalid_grant": "log in again", "invalid_client": "--client-id", "unauthorized_client": "--new-client", "invalid_request": "parameter", "invalid_scope": "--scope",
		"unsupported_grant_type": "owner", "access_denied": "owner", "interaction_required": "log in again", "consent_required": "log in again", "invalid_target": "--no-resource",
		"E0000011": "server's own", "some_code_of_theirs": "server's own", "slow_down": "", "authorization_pending": "", "temporarily_unavailable": "",
	} {
		s := newServer(t, asJSON(400, `{"error":"`+code+`"}`))
		_, _, err := Refresh(t.Context(), client(t, nil), RefreshRequest{Endpoint: s.URL, Auth: ClientAuth{ID: "c"}, RefreshToken: secret.New("rt")})
		var f *wire.Fault
		if !errors.As(err, &f) || f.Code != code || !strings.Contains(f.Hint, word) || (word == "") != (f.Hint == "") {
			t.Errorf("%s: %+v", code, f)
		}
	}
}
