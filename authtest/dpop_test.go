package authtest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
)

var b64 = base64.RawURLEncoding

// signer makes DPoP proofs by hand.
type signer struct {
	t   testing.TB
	key *ecdsa.PrivateKey
	// spoil changes the header or the claims before they are signed.
	spoil func(header, claims map[string]any)
	nonce string
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t: t, key: key}
}

func (s *signer) jwk() map[string]any {
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		s.t.Fatal(err)
	}
	return map[string]any{"kty": "EC", "crv": "P-256", "x": b64.EncodeToString(point[1:33]), "y": b64.EncodeToString(point[33:])}
}

func (s *signer) thumbprint() string {
	j, err := json.Marshal(s.jwk()) // sorted, as RFC 7638 wants it
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(j)
	return b64.EncodeToString(sum[:])
}

func (s *signer) proof(target, token string) string {
	s.t.Helper()
	header := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": s.jwk()}
	claims := map[string]any{"jti": rand.Text(), "htm": "POST", "htu": target, "iat": time.Now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = b64.EncodeToString(sum[:])
	}
	if s.nonce != "" {
		claims["nonce"] = s.nonce
	}
	if s.spoil != nil {
		s.spoil(header, claims)
	}
	text := ""
	for _, part := range []any{header, claims} {
		b, err := json.Marshal(part)
		if err != nil {
			s.t.Fatal(err)
		}
		text += b64.EncodeToString(b) + "."
	}
	digest := sha256.Sum256([]byte(text[:len(text)-1]))
	r, z, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return text + b64.EncodeToString(append(r.FillBytes(make([]byte, 32)), z.FillBytes(make([]byte, 32))...))
}

// exchangeBound exchanges a new code, with a proof.
func (c *client) exchangeBound(s *signer) answer {
	c.t.Helper()
	return postForm(c.t, c.srv.TokenEndpoint(), url.Values{
		"grant_type": {"authorization_code"}, "code": {c.newCode()}, "redirect_uri": {redirect},
		"client_id": {c.id}, "code_verifier": {c.verify}, "resource": {c.srv.MCPURL()},
	}, "DPoP", s.proof(c.srv.TokenEndpoint(), ""))
}

// callBound sends a ping with a token and a proof.
func (c *client) callBound(s *signer, token string) answer {
	c.t.Helper()
	return do(c.t, http.MethodPost, c.srv.MCPURL(), ping, "Authorization", "DPoP "+token, "DPoP", s.proof(c.srv.MCPURL(), token))
}

// useBound logs in and calls, and says what came of it.
func useBound(c *client) string {
	s := newSigner(c.t)
	a := c.exchangeBound(s)
	if a.status != http.StatusOK {
		return sprint(a.status, a.err(), a.header.Get("DPoP-Nonce") != "")
	}
	token, _ := a.json["access_token"].(string)
	return sprint(a.json["token_type"], c.callBound(s, token).status)
}

func TestProofsThatAreNotGoodEnough(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	c := newClient(t, srv)
	for name, spoil := range map[string]func(header, claims map[string]any){
		"another type":            func(h, _ map[string]any) { h["typ"] = "JWT" },
		"another algorithm":       func(h, _ map[string]any) { h["alg"] = "none" },
		"no key":                  func(h, _ map[string]any) { delete(h, "jwk") },
		"the private key":         func(h, _ map[string]any) { h["jwk"].(map[string]any)["d"] = "AAAA" },
		"another key":             func(h, _ map[string]any) { h["jwk"] = newSigner(t).jwk() },
		"a point off the curve":   func(h, _ map[string]any) { h["jwk"].(map[string]any)["x"] = b64.EncodeToString(make([]byte, 32)) },
		"another method":          func(_, c map[string]any) { c["htm"] = "GET" },
		"another URL":             func(_, c map[string]any) { c["htu"] = srv.MCPURL() + "?" },
		"a proof from yesterday":  func(_, c map[string]any) { c["iat"] = time.Now().Add(-24 * time.Hour).Unix() },
		"a proof from the future": func(_, c map[string]any) { c["iat"] = time.Now().Add(2 * time.Minute).Unix() },
		"no ID":                   func(_, c map[string]any) { delete(c, "jti") },
		"a token where none is":   func(_, c map[string]any) { c["ath"] = "x" },
	} {
		s := newSigner(t)
		s.spoil = spoil
		if a := c.exchangeBound(s); a.status != http.StatusBadRequest || a.err() != "invalid_dpop_proof" {
			t.Errorf("%s: %d, %s", name, a.status, a.body)
		}
	}
	s := newSigner(t)
	token, _ := c.exchangeBound(s).json["access_token"].(string)
	if a := c.callBound(s, token); a.status != http.StatusOK {
		t.Fatalf("a good one: %d, %s", a.status, a.body)
	}
	once := s.proof(srv.MCPURL(), token)
	for name, want := range map[string]struct {
		status int
		header []string
	}{
		"no proof":             {401, []string{"Authorization", "DPoP " + token}},
		"as a bearer token":    {401, []string{"Authorization", "Bearer " + token, "DPoP", s.proof(srv.MCPURL(), token)}},
		"somebody else's key":  {401, []string{"Authorization", "DPoP " + token, "DPoP", newSigner(t).proof(srv.MCPURL(), token)}},
		"for another token":    {401, []string{"Authorization", "DPoP " + token, "DPoP", s.proof(srv.MCPURL(), "x")}},
		"without a hash":       {401, []string{"Authorization", "DPoP " + token, "DPoP", s.proof(srv.MCPURL(), "")}},
		"for another endpoint": {401, []string{"Authorization", "DPoP " + token, "DPoP", s.proof(srv.TokenEndpoint(), token)}},
	} {
		if a := do(t, http.MethodPost, srv.MCPURL(), ping, want.header...); a.status != want.status {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	for i, want := range []int{200, 401} {
		if a := do(t, http.MethodPost, srv.MCPURL(), ping, "Authorization", "DPoP "+token, "DPoP", once); a.status != want {
			t.Errorf("the same proof, use %d: %d", i+1, a.status)
		}
	}
}

func TestAKeyThatWasPromisedIsTheOneToUse(t *testing.T) {
	srv := authtest.New(t, &authtest.Options{DPoP: true})
	c, s := newClient(t, srv), newSigner(t)
	c.change = set("dpop_jkt", s.thumbprint())
	if a := c.exchangeBound(newSigner(t)); a.err() != "invalid_grant" {
		t.Errorf("another key: %d, %s", a.status, a.body)
	}
	a := c.exchangeBound(s)
	if a.status != http.StatusOK {
		t.Fatalf("the same key: %d, %s", a.status, a.body)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.json["refresh_token"].(string)}, "client_id": {c.id}, "resource": {srv.MCPURL()}}
	for _, with := range []struct {
		header []string
		want   int
	}{
		{nil, 400},
		{[]string{"DPoP", newSigner(t).proof(srv.TokenEndpoint(), "")}, 400},
		{[]string{"DPoP", s.proof(srv.TokenEndpoint(), "")}, 200},
	} {
		if a := postForm(t, srv.TokenEndpoint(), form, with.header...); a.status != with.want {
			t.Errorf("a refresh: %d, want %d: %s", a.status, with.want, a.body)
		}
	}
}
