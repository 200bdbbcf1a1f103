package mcpoauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// strict judges the assertions in a form field as a server does by whose clock they must be good.
func strict(s **robots, field, refusal string, key any, e jwt.Expected) func(map[string]string, *http.Request) string {
	used := map[string]bool{}
	return func(form map[string]string, _ *http.Request) string {
		tok, err := jwt.ParseSigned(form[field], []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256})
		if err != nil {
			return "invalid_request"
		}
		var c jwt.Claims
		if tok.Claims(key, &c) != nil {
			return refusal
		}
		e := e
		e.Time = time.Now().Add((*s).clock)
		if len(e.AnyAudience) == 0 {
			e.AnyAudience = jwt.Audience{(*s).URL}
		}
		if c.ValidateWithLeeway(e, time.Second) != nil {
			return refusal
		}
		if used[c.ID] {
			return "jti_known"
		}
		used[c.ID] = true
		return ""
	}
}

func answers(code string) func(map[string]string, *http.Request) string {
	return func(map[string]string, *http.Request) string { return code }
}

func TestWhatGoesWrongForMachines(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	dead := httptest.NewServer(nil)
	dead.Close()

	// The credentials that a program may have.
	type credentials func(s *robots) mcpoauth.Options
	secret := func(*robots) mcpoauth.Options {
		return mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Secret: "s3cret"}, Grant: mcpoauth.ClientCredentials{}}
	}
	key := func(k crypto.Signer, alg string) credentials {
		return func(*robots) mcpoauth.Options {
			signing, err := mcpoauth.NewClientKey(k, "", alg)
			if err != nil {
				t.Fatal(err)
			}
			return mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "robot", Key: signing}, Grant: mcpoauth.ClientCredentials{}}
		}
	}
	workload := func(k crypto.Signer, audience string, change func(*jwt.Claims)) credentials {
		return func(s *robots) mcpoauth.Options {
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return mcpoauth.Options{Grant: mcpoauth.WorkloadIdentity{Audience: audience, Assertion: func(_ context.Context, audience string) (string, error) {
				now := time.Now()
				c := jwt.Claims{Issuer: "https://platform.example", Subject: "job", Audience: jwt.Audience{audience}, ID: rand.Text(), IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute))}
				change(&c)
				return jwt.Signed(signer).Claims(c).Serialize()
			}}}
		}
	}
	as := func(*jwt.Claims) {}
	robot, platform := jwt.Expected{Issuer: "robot", Subject: "robot"}, jwt.Expected{Issuer: "https://platform.example", Subject: "job"}

	var srv *robots
	byKey := strict(&srv, "client_assertion", "invalid_client", ec.Public(), robot)
	byToken := strict(&srv, "assertion", "invalid_grant", ec.Public(), platform)
	plain := basic("robot", "s3cret")
	for name, tc := range map[string]struct {
		with    credentials
		judge   func(map[string]string, *http.Request) string
		prepare func(*robots)
		// code is the server's, is the decision that callers take, hint and not are what the hint says and
		// does not say, sent is how many token requests arrived.
		code      string
		is        error
		hint, not string
		sent      int
	}{
		"a wrong secret": {secret, basic("robot", "another"), nil, "invalid_client", mcpoauth.ErrAccessDenied, "secret or key", "clock is", 2},
		"a wrong key":    {key(other, ""), byKey, nil, "invalid_client", mcpoauth.ErrAccessDenied, "the server knows the public key", "clock is", 1},
		"the server wants the token endpoint as the audience": {
			key(ec, ""), strict(&srv, "client_assertion", "invalid_client", ec.Public(), jwt.Expected{Issuer: "robot", AnyAudience: jwt.Audience{"https://as.example/token"}}), nil,
			"invalid_client", mcpoauth.ErrAccessDenied, "--client-key-audience token-endpoint", "clock is", 1,
		},
		"this machine's clock is ahead":              {key(ec, ""), byKey, func(s *robots) { s.clock = -10 * time.Minute }, "invalid_client", mcpoauth.ErrAccessDenied, "clock is 10m0s ahead of", "knows", 1},
		"this machine's clock is behind":             {key(ec, ""), byKey, func(s *robots) { s.clock = 10 * time.Minute }, "invalid_client", mcpoauth.ErrAccessDenied, "clock is 10m0s behind", "knows", 1},
		"a secret does not care for clocks":          {secret, basic("robot", "another"), func(s *robots) { s.clock = 10 * time.Minute }, "invalid_client", mcpoauth.ErrAccessDenied, "secret or key", "clock is", 2},
		"an algorithm that the key can change to":    {key(rs, ""), plain, func(s *robots) { s.algs = []string{"ES256", "PS256"} }, "", nil, "--client-key-alg PS256", "register", 0},
		"an algorithm that the key cannot":           {key(ec, ""), plain, func(s *robots) { s.algs = []string{"RS256", "PS256"} }, "", nil, "register a key", "PS256", 0},
		"an algorithm that the key cannot, if asked": {key(ec, "ES256"), answers("invalid_client"), func(s *robots) { s.algs = []string{"RS256"} }, "invalid_client", mcpoauth.ErrAccessDenied, "the public key", "register", 1},

		"an assertion for another audience": {
			workload(ec, "", func(c *jwt.Claims) { c.Audience = jwt.Audience{"https://other.example"} }), byToken, nil,
			"", nil, "have the platform issue it for the authorization server", "ended", 0,
		},
		"an assertion for an audience that is not the server's": {
			workload(ec, "https://other.example", as), byToken, nil,
			"invalid_grant", mcpoauth.ErrAccessDenied, `for "https://other.example"`, "ended", 1,
		},
		"an assertion of another issuer": {
			workload(ec, "", func(c *jwt.Claims) { c.Issuer = "https://other.example" }), byToken, nil,
			"invalid_grant", mcpoauth.ErrAccessDenied, `from "https://other.example"`, "ended", 1,
		},
		"an assertion that has ended": {
			workload(ec, "", func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Unix(1e9, 0)) }), byToken, nil,
			"invalid_grant", mcpoauth.ErrAccessDenied, "it expired at 2001-09-09 01:46:40 UTC: its source must supply a newer one", "clock is", 1,
		},
		"an assertion by another key": {workload(other, "", as), byToken, nil, "invalid_grant", mcpoauth.ErrAccessDenied, "the server must trust", "ended", 1},
		"an assertion that is replayed": {
			workload(ec, "", func(c *jwt.Claims) { c.ID = "once" }), func(form map[string]string, r *http.Request) string {
				byToken(form, r)
				return byToken(form, r)
			}, nil,
			"jti_known", mcpoauth.ErrAccessDenied, "used before", "clock is", 1,
		},
		"an assertion, and this machine's clock is behind": {workload(ec, "", as), byToken, func(s *robots) { s.clock = 10 * time.Minute }, "invalid_grant", mcpoauth.ErrAccessDenied, "this machine's clock is 10m0s behind", "from", 1},
		"an assertion, and this machine's clock is ahead":  {workload(ec, "", as), byToken, func(s *robots) { s.clock = -10 * time.Minute }, "invalid_grant", mcpoauth.ErrAccessDenied, "this machine's clock is 10m0s ahead", "ended", 1},

		"the client is not allowed the grant": {secret, answers("unauthorized_client"), nil, "unauthorized_client", mcpoauth.ErrAccessDenied, "ask the server's owner to allow the grant", "clock is", 2},
		"the server does not know the grant":  {workload(ec, "", as), answers("unsupported_grant_type"), nil, "unsupported_grant_type", mcpoauth.ErrAccessDenied, "ask its owner to allow it", "clock is", 1},
		"a scope that nobody knows":           {secret, answers("invalid_scope"), nil, "invalid_scope", mcpoauth.ErrAccessDenied, "--scope", "clock is", 1},
		"a scope, whatever the clocks say":    {key(ec, ""), answers("invalid_scope"), func(s *robots) { s.clock = time.Hour }, "invalid_scope", mcpoauth.ErrAccessDenied, "--scope", "clock is", 1},
		"the resource is not one of its":      {secret, answers("invalid_target"), nil, "invalid_target", mcpoauth.ErrAccessDenied, "--no-resource", "clock is", 1},
		"a bare 401":                          {secret, plain, func(s *robots) { s.status = 401 }, "", mcpoauth.ErrAccessDenied, "secret or key", "clock is", 2},
		"a bare 403 for an assertion":         {workload(ec, "", as), byToken, func(s *robots) { s.status = 403 }, "", mcpoauth.ErrAccessDenied, `from "https://platform.example"`, "secret", 1},

		"the server is in trouble":             {secret, plain, func(s *robots) { s.status = 500 }, "", mcpoauth.ErrTemporary, "", "secret", 1},
		"the server is in trouble and says so": {key(ec, ""), answers("server_error"), func(s *robots) { s.clock = time.Hour }, "server_error", mcpoauth.ErrTemporary, "", "clock is", 1},
		"too many requests":                    {workload(ec, "", as), byToken, func(s *robots) { s.status = 429 }, "", mcpoauth.ErrTemporary, "", "assertion", 1},
		"the token endpoint cannot be reached": {secret, plain, func(s *robots) { s.elsewhere = dead.URL }, "", mcpoauth.ErrTemporary, "network", "secret", 0},
		"the server cannot be reached":         {secret, plain, func(s *robots) { s.Close() }, "", mcpoauth.ErrTemporary, "network", "secret", 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv = startRobots(t, tc.judge)
			if tc.prepare != nil {
				tc.prepare(srv)
			}
			_, err := newClient(t, srv.url(), tc.with(srv)).Token(t.Context(), nil)
			for _, decision := range []error{mcpoauth.ErrAccessDenied, mcpoauth.ErrTemporary, mcpoauth.ErrLoginRequired} {
				if got := errors.Is(err, decision); got != errors.Is(tc.is, decision) {
					t.Errorf("errors.Is(err, %v) is %t", decision, got)
				}
			}
			var token *mcpoauth.Error
			var option *mcpoauth.OptionError
			var discovery *mcpoauth.Error
			switch {
			case errorAt(err, mcpoauth.OpToken, &token):
				if token.Code != tc.code || (token.URL == "") != (tc.is == nil) {
					t.Errorf("the code %q of %s", token.Code, token.URL)
				}
			case tc.is == nil:
				if !errors.As(err, &option) || option.Option != "Client.Key" {
					t.Errorf("neither a TokenError nor an OptionError for the key: %v", err)
				}
			case !errorAt(err, mcpoauth.OpDiscovery, &discovery) || tc.sent != 0 || discovery.URL == "":
				t.Errorf("neither a TokenError nor a DiscoveryError: %v", err)
			}
			var temporary *mcpoauth.TemporaryError
			if errors.As(err, &temporary) != errors.Is(err, mcpoauth.ErrTemporary) {
				t.Errorf("a TemporaryError: %t", temporary != nil)
			}
			hint := mcpoauth.Hint(err)
			if !strings.Contains(hint, tc.hint) || strings.Contains(hint, tc.not) {
				t.Errorf("%v\nhint: %s", err, hint)
			}
			if srv.tokens != tc.sent {
				t.Errorf("%d token requests", srv.tokens)
			}
		})
	}
}

// TestAKeyThatTheServerDoesNotList: the same key authenticates the client of a person's login, and the person
// need not answer a consent page to find out that it is of no use.
func TestAKeyThatTheServerDoesNotList(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.JSONWebKey{Key: key, Algorithm: "ES256"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	usual, err := mcpoauth.ParseClientKey(jwk, "", "")
	if err != nil {
		t.Fatal(err)
	}
	asked, err := mcpoauth.ParseClientKey(jwk, "", "ES256")
	if err != nil {
		t.Fatal(err)
	}
	srv := authtest.New(t, nil)
	list := func(algs ...any) {
		srv.Set(func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { m["token_endpoint_auth_signing_alg_values_supported"] = algs }
		})
	}
	shown := false
	try := func(k *mcpoauth.ClientKey) map[string]error {
		prompt := func(context.Context, *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
			shown = true
			return nil, errors.New("seen enough")
		}
		c := newClient(t, srv.MCPURL(), mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "app", Key: k}, Prompt: prompt})
		_, login := c.Login(t.Context(), nil)
		_, begin := c.BeginLogin(t.Context(), "https://app.example/callback")
		in, err := c.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var possible error
		if !in.Login.Possible {
			possible = errors.New(strings.Join(in.Login.Blockers, ", "))
		}
		return map[string]error{"login": login, "the first half of a login": begin, "inspect": possible}
	}
	list("RS256")
	for what, err := range try(usual) {
		if err == nil || !strings.Contains(err.Error(), "it signs with ES256") || !strings.Contains(err.Error(), "accepts RS256") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if shown {
		t.Error("a person was asked")
	}
	for what, err := range try(asked) {
		if err != nil && !strings.Contains(err.Error(), "seen enough") {
			t.Errorf("an algorithm that was asked for, %s: %v", what, err)
		}
	}
	list("RS256", "ES256")
	for what, err := range try(usual) {
		if err != nil && !strings.Contains(err.Error(), "seen enough") {
			t.Errorf("an algorithm that is listed, %s: %v", what, err)
		}
	}
	if !shown {
		t.Error("nobody was asked")
	}
}
