package dpop_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
)

func parse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAProof(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, algs := range [][]string{nil, {"ES256"}, {"RS256", "EdDSA"}, {"ES384"}} {
		t.Run(fmt.Sprint(algs), func(t *testing.T) {
			key, err := dpop.NewKey(algs, nil)
			if err != nil {
				t.Fatal(err)
			}
			text, err := key.Text()
			if err != nil {
				t.Fatal(err)
			}
			if key, err = dpop.ParseKey(text); err != nil { // as after a restart
				t.Fatal(err)
			}
			raw, err := key.Proof("POST", parse(t, "HTTPS://MCP.Example.com:443/a%2Fb?x=1#y"), dpop.Hash("token"), "n1", now)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.EdDSA})
			if err != nil {
				t.Fatal(err)
			}
			h := signed.Signatures[0].Protected
			if h.ExtraHeaders["typ"] != "dpop+jwt" || h.JSONWebKey == nil || !h.JSONWebKey.IsPublic() {
				t.Errorf("the header is %+v", h)
			}
			payload, err := signed.Verify(h.JSONWebKey)
			if err != nil {
				t.Fatal(err)
			}
			if sum, err := h.JSONWebKey.Thumbprint(crypto.SHA256); err != nil || key.Thumbprint() != base64.RawURLEncoding.EncodeToString(sum) {
				t.Errorf("the thumbprint is %q", key.Thumbprint())
			}
			var claims map[string]any
			if err := json.Unmarshal(payload, &claims); err != nil {
				t.Fatal(err)
			}
			id, _ := claims["jti"].(string)
			delete(claims, "jti")
			want := map[string]any{"htm": "POST", "htu": "https://mcp.example.com/a%2Fb", "iat": 1.7e9, "ath": "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A", "nonce": "n1"}
			if len(id) < 22 || fmt.Sprint(claims) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", claims, want)
			}
			if printed := fmt.Sprintf("%v %+v %#v %s", key, key, key, key); strings.Contains(printed, `"d"`) || strings.Contains(text, printed) {
				t.Errorf("the key prints as %s", printed)
			}
		})
	}
	if _, err := dpop.NewKey([]string{"ES256"}, []string{"EdDSA"}); err == nil {
		t.Error("no algorithm is in both lists, and there is a key")
	}
}

func TestKeysThatAreNone(t *testing.T) {
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Text()
	if err != nil {
		t.Fatal(err)
	}
	var jwk map[string]string
	if err := json.Unmarshal([]byte(text), &jwk); err != nil {
		t.Fatal(err)
	}
	delete(jwk, "d")
	public, err := json.Marshal(jwk)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{}", "null", "[]", text[:len(text)-5], string(public), strings.Replace(text, "ES256", "HS256", 1), `{"kty":"oct","k":"AAAA","alg":"HS256"}`} {
		if _, err := dpop.ParseKey(text); err == nil || strings.Contains(err.Error(), jwk["x"]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNonces(t *testing.T) {
	var n dpop.Nonces
	here, there := parse(t, "https://a.example/token"), parse(t, "https://b.example/mcp")
	header := func(v ...string) http.Header { return http.Header{"Dpop-Nonce": v} }
	if n.Learn(here, http.Header{}, "") || n.For(here) != "" {
		t.Error("there is a nonce that nobody gave")
	}
	if !n.Learn(here, header("one"), "") || n.For(parse(t, "https://A.example:443/other")) != "one" || n.For(there) != "" {
		t.Error("a nonce is for its origin, and for no other")
	}
	if n.Learn(here, header("one"), "one") || !n.Learn(here, header("two"), "one") || n.For(here) != "two" {
		t.Error("the newest counts")
	}
	for _, bad := range []http.Header{header(""), header("a b"), header("a\nb"), header(`a"b`), header("a", "b"), header(strings.Repeat("x", 1<<20)), header("é")} {
		if n.Learn(here, bad, "") || n.For(here) != "two" {
			t.Errorf("%.60q was taken for a nonce", bad)
		}
	}
	for i := range 1000 {
		n.Learn(parse(t, fmt.Sprintf("https://h%d.example/", i)), header("x"), "")
	}
	if n.For(parse(t, "https://h999.example/")) != "" || !n.Learn(here, header("three"), "two") {
		t.Error("origins without end are remembered, or known ones forgotten")
	}
}

func BenchmarkProof(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			key, err := dpop.NewKey([]string{alg})
			if err != nil {
				b.Fatal(err)
			}
			u, hash := parse(b, "https://mcp.example.com/mcp"), dpop.Hash("token")
			for b.Loop() {
				if _, err := key.Proof("POST", u, hash, "nonce", time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
