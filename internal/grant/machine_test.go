package grant

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

func ecKey(t *testing.T, c elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSigners(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		key       crypto.Signer
		algorithm string
		want      string // "" for a refusal
	}{
		"P-256": {ecKey(t, elliptic.P256()), "", "ES256"}, "P-384": {ecKey(t, elliptic.P384()), "", "ES384"}, "P-521": {ecKey(t, elliptic.P521()), "", "ES512"}, "P-224": {ecKey(t, elliptic.P224()), "", ""},
		"Ed25519": {ed, "", "EdDSA"}, "RSA": {long, "", "RS256"}, "RSA by choice": {long, "PS256", "PS256"}, "a short one": {short, "", ""},
		"another's algorithm": {ecKey(t, elliptic.P256()), "ES384", ""}, "none": {long, "none", ""}, "a MAC": {long, "HS256", ""},
	} {
		s, err := NewSigner(tc.key, "kid", tc.algorithm)
		if tc.want == "" != (err != nil) || err == nil && s.Algorithm() != tc.want {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if err != nil {
			continue
		}
		now := time.Now()
		jwt, err := s.Assertion("client", "https://as.example", now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c, err := ReadClaims(jwt)
		if err != nil || c.Issuer != "client" || !c.For("https://as.example") || c.For("") || c.For("https://other.example") || c.Expiry.Sub(c.IssuedAt) != assertionLife || c.IssuedAt.Unix() != now.Unix() {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		if again, _ := s.Assertion("client", "https://as.example", now); again == jwt {
			t.Errorf("%s: an assertion came twice", name)
		}
	}
	s, err := NewSigner(long, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.OneOf([]string{"none", "HS256", "PS384"}); got != "PS384" || s.OneOf([]string{"ES256"}) != "" || s.OneOf(nil) != "" {
		t.Errorf("one of the list: %q", got)
	}
}

// TestMachineAsksOnce, and once more where the client's secret may have been sent in the wrong way: further tries would
// only feed a lockout, whatever the answer.
func TestMachineAsksOnce(t *testing.T) {
	t.Parallel()
	signer, err := NewSigner(ecKey(t, elliptic.P256()), "", "")
	if err != nil {
		t.Fatal(err)
	}
	jwt := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://idp.example","aud":"https://as.example","exp":4102444800}`)) + ".x"
	ended := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"i","aud":"a","exp":1}`)) + ".x"
	fast := http.Header{"Date": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}}
	for name, tc := range map[string]struct {
		method, assertion string
		status            int
		body              string
		header            http.Header
		message, hint     string
	}{
		"a secret":                      {"client_secret_basic", "", 400, `{"error":"invalid_client"}`, nil, "does not accept this client", "secret"},
		"an empty 401":                  {"client_secret_post", "", 401, ``, nil, "does not accept this client", "secret"},
		"a key":                         {"private_key_jwt", "", 400, `{"error":"invalid_client"}`, nil, "does not accept this client", "token-endpoint"},
		"a key, and a clock":            {"private_key_jwt", "", 400, `{"error":"invalid_client"}`, fast, "does not accept this client", "clock"},
		"an assertion":                  {"none", jwt, 400, `{"error":"invalid_grant"}`, nil, "does not accept the assertion", "https://idp.example"},
		"an assertion that has ended":   {"none", ended, 400, `{"error":"invalid_grant"}`, nil, "does not accept the assertion", "it expired at"},
		"an empty 403 for an assertion": {"none", jwt, 403, ``, nil, "does not accept the assertion", "https://idp.example"},
		"what is no assertion":          {"none", "opaque", 400, `{"error":"invalid_grant"}`, nil, "does not accept the assertion", "audience"},
		"another grant":                 {"none", "", 400, `{"error":"unsupported_grant_type"}`, nil, "does not allow", "owner"},
		"scopes":                        {"none", "", 400, `{"error":"invalid_scope"}`, nil, "does not grant these scopes", "--scope"},
		"an assertion that was used":    {"none", jwt, 400, `{"error":"jti_known"}`, nil, "", "used before"},
		"a server in trouble":           {"none", "", 503, ``, nil, "", ""},
	} {
		var header []string
		for k := range tc.header {
			header = append(header, k, tc.header.Get(k))
		}
		s := newServer(t, asJSON(tc.status, tc.body, header...))
		typ := TypeClientCredentials
		if tc.assertion != "" {
			typ = TypeJWTBearer
		}
		_, _, err := Machine(t.Context(), client(t, nil), MachineRequest{
			Endpoint: s.URL, Auth: ClientAuth{ID: "c", Secret: secret.New("a long secret"), Method: tc.method, Signer: signer, Audience: "https://as.example"},
			Type: typ, Assertion: secret.New(tc.assertion), Resource: "https://r", Scopes: []string{"a", "b"}, ScopeSeparator: ",",
		})
		f := wire.AsFault(err, wire.StageToken, "")
		want := 1
		if name == "a secret" || name == "an empty 401" {
			want = 2
		}
		if s.count() != want || !strings.Contains(f.Message, tc.message) || !strings.Contains(f.Hint, tc.hint) || f.Temporary != (tc.status == 503) {
			t.Errorf("%s: %d requests, %+v", name, s.count(), f)
		}
		if _, form := s.sent(0); form.Get("grant_type") != typ || form.Get("assertion") != tc.assertion || form.Get("resource") != "https://r" || form.Get("scope") != "a,b" {
			t.Errorf("%s: sent %v", name, form)
		}
	}
	if _, _, err := Machine(t.Context(), client(t, nil), MachineRequest{Endpoint: "http://127.0.0.1:1", Auth: ClientAuth{ID: "c", Method: "private_key_jwt"}}); !wire.AsFault(err, wire.StageToken, "").Unsent {
		t.Errorf("without a key: %v", err)
	}
}

func TestExchangeForIDJAG(t *testing.T) {
	t.Parallel()
	const right = `"issued_token_type":"urn:ietf:params:oauth:token-type:id-jag"`
	ask := func(body string, status int) (secret.String, *server, *wire.Fault) {
		s := newServer(t, asJSON(status, body))
		got, err := ExchangeForIDJAG(t.Context(), client(t, nil), IDJAGRequest{Endpoint: s.URL, Auth: ClientAuth{ID: "c"}, IDToken: secret.New("the ID token"), Audience: "https://as", Resource: "https://r", Scopes: []string{"a", "b"}})
		if err == nil {
			return got, s, nil
		}
		return got, s, wire.AsFault(err, wire.StageToken, "")
	}
	got, s, f := ask(`{"access_token":"jag",`+right+`,"token_type":"N_A"}`, 200)
	if f != nil || got.Reveal() != "jag" {
		t.Errorf("%q, %v", got.Reveal(), f)
	}
	_, form := s.sent(0)
	if form.Get("subject_token") != "the ID token" || form.Get("audience") != "https://as" || form.Get("resource") != "https://r" || form.Get("scope") != "a b" || form.Get("requested_token_type") != idJAG || form.Get("subject_token_type") != idToken {
		t.Errorf("sent %v", form)
	}
	for body, word := range map[string]string{
		`{"access_token":"at","issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`: "of the type",
		`{"access_token":"at"}`: "of the type",
		`{` + right + `}`:       "cannot be used",
		`[]`:                    "cannot be used",
	} {
		if got, s, f := ask(body, 200); f == nil || !got.IsZero() || !strings.Contains(f.Message, word) || s.count() != 1 {
			t.Errorf("%s: %+v", body, f)
		}
	}
	for code, word := range map[string]string{"invalid_grant": "ID token", "access_denied": "refused the exchange"} {
		if _, s, f := ask(`{"error":"`+code+`","error_description":"about the ID token"}`, 400); f == nil || f.Code != code || !strings.Contains(f.Message, word) || s.count() != 1 || strings.Contains(f.Error(), "about the ID token") {
			t.Errorf("%s: %+v", code, f)
		}
	}
}

func TestReadClaims(t *testing.T) {
	t.Parallel()
	for _, jwt := range []string{"", "a.b", "a.b.c.d", "a.!.c", "a.e30.c d", "a." + base64.RawURLEncoding.EncodeToString([]byte(`[]`)) + ".c"} {
		if c, err := ReadClaims(jwt); err == nil {
			t.Errorf("%q: %+v", jwt, c)
		}
	}
}

// TestBoundTokens: a login whose tokens are bound to a key accepts no other, and repeats a request only for a new nonce.
func TestBoundTokens(t *testing.T) {
	t.Parallel()
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	wants := func(nonce string) http.HandlerFunc {
		return asJSON(400, `{"error":"use_dpop_nonce"}`, "DPoP-Nonce", nonce)
	}
	bound := asJSON(200, `{"access_token":"at","token_type":"DPoP"}`)
	bearer := asJSON(200, `{"access_token":"at","token_type":"Bearer"}`)
	var many []http.HandlerFunc
	for i := range 20 {
		many = append(many, wants(fmt.Sprint("nonce-", i)))
	}
	for name, tc := range map[string]struct {
		answers  []http.HandlerFunc
		unbound  bool // without a key
		requests int
		word     string // of the fault, "" for a token
		err      error
	}{
		"bound":                        {[]http.HandlerFunc{bound}, false, 1, "", nil},
		"anybody's":                    {[]http.HandlerFunc{bearer}, false, 1, "not bound", ErrNotBound},
		"bound, and nobody asked":      {[]http.HandlerFunc{bound}, true, 1, "had no proof", nil},
		"a nonce":                      {[]http.HandlerFunc{wants("n1"), bound}, false, 2, "", nil},
		"two nonces":                   {[]http.HandlerFunc{wants("n1"), wants("n2"), bound}, false, 3, "", nil},
		"the same nonce for ever":      {[]http.HandlerFunc{wants("n1")}, false, 2, "nonce", nil},
		"another nonce for ever":       {many, false, 1 + maxNonces, "nonce", nil},
		"a nonce that is none":         {[]http.HandlerFunc{asJSON(400, `{"error":"use_dpop_nonce"}`)}, false, 1, "nonce", nil},
		"a proof that is not accepted": {[]http.HandlerFunc{asJSON(400, `{"error":"invalid_dpop_proof"}`)}, false, 1, "proof", nil},
	} {
		s := newServer(t, tc.answers...)
		auth := ClientAuth{ID: "c", Prover: &dpop.Prover{Key: key, Nonces: &dpop.Nonces{}}}
		if tc.unbound {
			auth.Prover = nil
		}
		tok, _, err := Refresh(t.Context(), client(t, nil), RefreshRequest{Endpoint: s.URL, Auth: auth, RefreshToken: secret.New("rt")})
		if (err == nil) != (tc.word == "") || err != nil && !strings.Contains(err.Error(), tc.word) || tc.err != nil && !errors.Is(err, tc.err) || s.count() != tc.requests {
			t.Errorf("%s: %+v, %v, %d requests", name, tok, err, s.count())
		}
		if r, _ := s.sent(0); (r.Header.Get("DPoP") == "") != tc.unbound {
			t.Errorf("%s: proof %q", name, r.Header.Get("DPoP"))
		}
	}
}

// TestErrorsThatRepeatSecrets: servers quote in an error what they were sent.
func TestErrorsThatRepeatSecrets(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		asJSON(400, `{"error":"invalid_request","error_description":"you sent the-token-to-revoke with a-long-secret"}`)(w, r)
	}
	s := newServer(t, echo)
	auth := ClientAuth{ID: "c", Secret: secret.New("a-long-secret"), Method: "client_secret_post"}
	err := Revoke(t.Context(), client(t, nil), RevokeRequest{Endpoint: s.URL, Auth: auth, Token: secret.New("the-token-to-revoke"), Hint: "access_token"})
	if err == nil || strings.Contains(err.Error(), "the-token-to-revoke") || strings.Contains(err.Error(), "a-long-secret") || !strings.Contains(err.Error(), "you sent") {
		t.Errorf("got %v", err)
	}
}
