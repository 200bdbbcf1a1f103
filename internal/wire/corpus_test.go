package wire

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var received = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

type document struct {
	name, kind string
	body       []byte
	header     http.Header
}

func corpus(t testing.TB) []document {
	t.Helper()
	files, err := filepath.Glob("../../testdata/corpus/*")
	if err != nil || len(files) < 50 {
		t.Fatalf("the corpus is not there: %d files, %v", len(files), err)
	}
	var out []document
	for _, f := range files {
		ext := filepath.Ext(f)
		if ext == ".md" {
			continue
		}
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(f), ext)
		d := document{name: name, body: body, header: http.Header{}}
		for _, kind := range []string{"as-metadata", "oidc", "prm", "dcr-response", "token-response", "token-error"} {
			if strings.HasSuffix(name, "-"+kind) {
				d.kind = kind
			}
		}
		d.header.Set("Content-Type", map[string]string{".json": "application/json", ".form": "application/x-www-form-urlencoded", ".html": "text/html"}[ext])
		out = append(out, d)
	}
	return out
}

func TestRealDocumentsAreDecoded(t *testing.T) {
	// What cannot be used, and must be refused for this reason.
	refused := map[string]string{
		"outline-prm":               "not a JSON object",
		"slack-token-response":      "the nonstandard member",
		"slack-flat-token-response": `of the type "user"`,
	}
	for _, d := range corpus(t) {
		t.Run(d.name, func(t *testing.T) {
			var err error
			switch d.kind {
			case "as-metadata", "oidc":
				var m *ServerMetadata
				if m, err = ParseServerMetadata(d.body); err == nil && (m.Issuer == "" || m.AuthorizationEndpoint == "" || m.TokenEndpoint == "") {
					t.Errorf("something is missing: %+v", m)
				}
			case "prm":
				var m *ResourceMetadata
				if m, err = ParseResourceMetadata(d.body); err == nil && len(m.AuthorizationServers) == 0 {
					t.Errorf("something is missing: %+v", m)
				}
			case "dcr-response":
				var r *Registration
				if r, err = ParseRegistration(d.body); err == nil && (r.ClientID == "" || r.ClientSecret.IsZero() || len(r.RedirectURIs) != 1) {
					t.Errorf("something is missing: %+v", r)
				}
			case "token-response":
				var tok *Token
				if tok, err = ParseToken(200, d.header, d.body, received); err == nil && (tok.AccessToken.IsZero() || tok.TokenType != "Bearer") {
					t.Errorf("something is missing: %+v", tok)
				}
			case "token-error":
				status := 400
				if strings.HasPrefix(d.name, "github") {
					status = 200
				}
				var tok *Token
				tok, terr := ParseToken(status, d.header, d.body, received)
				var f *Fault
				if tok != nil || !errors.As(terr, &f) || f.Code == "" || f.Description == "" || f.Temporary {
					t.Errorf("%+v, %+v", tok, f)
				}
			default:
				t.Fatalf("the kind of %s is unknown", d.name)
			}
			want, isRefused := refused[d.name]
			if (err != nil) != isRefused || isRefused && !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		})
	}
}

func byName(t *testing.T, name string) document {
	t.Helper()
	docs := corpus(t)
	i := slices.IndexFunc(docs, func(d document) bool { return d.name == name })
	if i < 0 {
		t.Fatalf("there is no %s", name)
	}
	return docs[i]
}

func TestSlackNestsItsTokenAndHasATypeOfItsOwn(t *testing.T) {
	nested, flat := byName(t, "slack-token-response"), byName(t, "slack-flat-token-response")
	for _, tc := range []struct {
		d                  document
		member, bearerType string
		refresh            string
		scopes             int
		works              bool
	}{
		{nested, "authed_user", "user", "xoxe-1-FAKEFAKEFAKEFAKEFAKE", 4, true},
		{flat, "authed_user", "user", "", 2, true},
		{flat, "", "user", "", 2, true},
		{nested, "", "user", "", 0, false},
		{nested, "team", "user", "", 0, false},
		{nested, "authed_user", "", "", 0, false},
		{nested, "authed_user", "bot", "", 0, false},
	} {
		tok, err := ParseToken(200, tc.d.header, Unwrap(tc.d.header, tc.d.body, tc.member, tc.bearerType), received)
		if (err == nil) != tc.works {
			t.Errorf("%q, %q: %v", tc.member, tc.bearerType, err)
		}
		if tc.works && (!strings.HasPrefix(tok.AccessToken.Reveal(), "xox") || tok.RefreshToken.Reveal() != tc.refresh || len(tok.Scope) != tc.scopes || tok.TokenType != "Bearer" || tok.Expiry.IsZero()) {
			t.Errorf("%+v", tok)
		}
	}
	// An error stays one, and a token at its usual place is the one.
	for body, want := range map[string]string{
		`{"ok":false,"error":"invalid_code","authed_user":{"access_token":"a"}}`:             "",
		`{"access_token":"outer","authed_user":{"access_token":"inner"}}`:                    "outer",
		`{"error":"","authed_user":{"access_token":"inner","token_type":"Bearer"}}`:          "inner",
		`{"authed_user":{"token_type":"user"},"access_token":"outer","token_type":"bEARER"}`: "outer",
	} {
		tok, err := ParseToken(200, http.Header{}, Unwrap(http.Header{}, []byte(body), "authed_user", "user"), received)
		if (err != nil) != (want == "") || want != "" && tok.AccessToken.Reveal() != want {
			t.Errorf("%s: %+v, %v", body, tok, err)
		}
	}
}

func TestGitHubAnswersWithAForm(t *testing.T) {
	d := byName(t, "github-token-response")
	// The content type is right, wrong, or made up.
	for _, ct := range []string{"application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8", "text/plain", "text/html", ""} {
		tok, err := ParseToken(200, http.Header{"Content-Type": {ct}}, append(d.body, '\n'), received)
		if err != nil {
			t.Fatalf("%s: %v", ct, err)
		}
		if !strings.HasPrefix(tok.RefreshToken.Reveal(), "ghr_") || !tok.Expiry.Equal(received.Add(28800*time.Second)) || tok.TokenType != "Bearer" {
			t.Errorf("%s: %+v", ct, tok)
		}
	}
}

func TestEntraSendsItsLifetimesAsStrings(t *testing.T) {
	d := byName(t, "entra-token-response")
	tok, err := ParseToken(200, d.header, d.body, received)
	if err != nil || !tok.Expiry.Equal(received.Add(5250*time.Second)) || !slices.Equal(tok.Scope, []string{"manage"}) {
		t.Errorf("%+v, %v", tok, err)
	}
}

func TestSalesforceSendsNoLifetime(t *testing.T) {
	d := byName(t, "salesforce-token-response")
	tok, err := ParseToken(200, d.header, d.body, received)
	if err != nil || !tok.Expiry.IsZero() || !tok.RefreshToken.IsZero() {
		t.Errorf("%+v, %v", tok, err)
	}
}

func TestEntraWritesItsErrorsInSeveralLines(t *testing.T) {
	d := byName(t, "entra-token-error")
	f := ParseOAuthError(400, d.header, d.body)
	if f.Code != "invalid_grant" || strings.ContainsAny(f.Description, "\r\n") || len([]rune(f.Description)) > 200 || !strings.HasPrefix(f.URI, "https://login.windows.net/") {
		t.Errorf("%+v", f)
	}
}

func TestGitHubHasItsOwnErrorCodes(t *testing.T) {
	for _, name := range []string{"github-bad-code-token-error", "github-form-token-error"} {
		d := byName(t, name)
		f := ParseOAuthError(200, d.header, d.body)
		if f.Code != "invalid_grant" || !strings.Contains(f.Description, "bad_verification_code: The code passed is incorrect") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestHubSpotListsNoScopesAtAll(t *testing.T) {
	m, err := ParseResourceMetadata(byName(t, "hubspot-prm").body)
	if err != nil || m.ScopesSupported == nil || len(m.ScopesSupported) != 0 {
		t.Errorf("an empty list means to ask for none, absence means nothing: %#v, %v", m.ScopesSupported, err)
	}
	if m, err = ParseResourceMetadata(byName(t, "cloudflare-prm").body); err != nil || m.ScopesSupported != nil {
		t.Errorf("an absent list became %#v, %v", m.ScopesSupported, err)
	}
}

func TestHydraEchoesEmptyStrings(t *testing.T) {
	r, err := ParseRegistration(byName(t, "hydra-dcr-response").body)
	if err != nil || r.AuthMethod != "client_secret_basic" || !r.SecretExpiry.IsZero() || r.Scope != "openid offline" || r.RegistrationAccessToken.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestUnknownAuthenticationMethodsSurvive(t *testing.T) {
	m, err := ParseServerMetadata(byName(t, "auth0-as-metadata").body)
	if err != nil || !slices.Contains(m.TokenEndpointAuthMethodsSupported, "self_signed_tls_client_auth") || m.Raw["mfa_challenge_endpoint"] == nil {
		t.Errorf("%+v, %v", m, err)
	}
}
