package mcpoauth

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/record"
)

func challengeOf(line string) *challenge {
	h := http.Header{}
	if line != "" {
		h.Set("WWW-Authenticate", line)
	}
	return readChallenge(h, nil)
}

// TestWhatAChallengeSays about tokens, keys and scopes.
func TestWhatAChallengeSays(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct {
		bearer, dpop, given bool
		scopes              string
	}{
		"":                         {},
		`Basic realm="x"`:          {},
		`Bearer`:                   {bearer: true},
		`DPoP algs="ES256 EdDSA"`:  {bearer: true, dpop: true},
		`Bearer, DPoP algs="E"`:    {bearer: true},
		`Bearer scope="a b"`:       {bearer: true, given: true, scopes: "a b"},
		`Bearer scope=""`:          {bearer: true},
		`Bearer scope="a \"b\" c"`: {bearer: true},
	} {
		c := challengeOf(line)
		if c.bearer != want.bearer || c.dpop != want.dpop || c.scopeGiven != want.given || strings.Join(c.scopes, " ") != want.scopes || c.required != nil {
			t.Errorf("%s: %+v", line, c)
		}
	}
	if c := challengeOf(`DPoP algs="ES256 EdDSA"`); strings.Join(c.dpopAlgs, " ") != "ES256 EdDSA" {
		t.Errorf("algorithms %v", c.dpopAlgs)
	}
	h := http.Header{"Www-Authenticate": {`Bearer error="invalid_token", error_description="the token secret-access is old"`}}
	if c := readChallenge(h, heldSession("secret-access")); c.code != "invalid_token" || strings.Contains(c.description, "secret-access") || !strings.Contains(c.description, "is old") {
		t.Errorf("%q, %q", c.code, c.description)
	}
}

// TestWhatAChallengeMayDemand of a person's login: it becomes part of a URL, so what is odd or long is left out.
func TestWhatAChallengeMayDemand(t *testing.T) {
	t.Parallel()
	long, encoded := strings.Repeat("a", maxRequirement+1), base64.StdEncoding.EncodeToString([]byte(`{"a": 1}`))
	const step = `Bearer error="insufficient_user_authentication", `
	for line, want := range map[string]record.Authentication{
		step + `acr_values="a  b"`:                                           {ACRValues: "a b"},
		step + `max_age=60`:                                                  {MaxAge: "60"},
		step + `max_age=1234567890`:                                          {MaxAge: "1234567890"},
		step + `max_age=12345678901`:                                         {},
		step + `max_age="-1"`:                                                {},
		step + `max_age="1x"`:                                                {},
		step + `acr_values="` + long + `", max_age=60`:                       {MaxAge: "60"},
		step + `acr_values="` + long[:maxRequirement] + `"`:                  {ACRValues: long[:maxRequirement]},
		step + "acr_values=\"a\x01b\", max_age=60":                           {MaxAge: "60"},
		step + `acr_values="ä", max_age=60`:                                  {MaxAge: "60"},
		`Bearer acr_values="a"`:                                              {},
		`Bearer error="invalid_token", acr_values="a"`:                       {},
		`Bearer error="insufficient_claims", claims="` + encoded + `"`:       {Claims: `{"a":1}`},
		step + `claims="` + encoded + `"`:                                    {Claims: `{"a":1}`},
		step + `claims="{\"b\":2}"`:                                          {Claims: `{"b":2}`},
		step + `claims="e30="`:                                               {},
		step + `claims="bm8=", max_age=1`:                                    {MaxAge: "1"},
		step + `claims="???", max_age=1`:                                     {MaxAge: "1"},
		step + `claims="{\"b\":\"` + long + `\"}", acr_values="a"`:           {ACRValues: "a"},
		step + `claims="` + strings.TrimRight(encoded, "=") + `"`:            {Claims: `{"a":1}`},
		step + `acr_values="` + strings.Repeat("a ", maxRequirement/2) + `"`: {ACRValues: strings.TrimSpace(strings.Repeat("a ", maxRequirement/2))},
	} {
		got := challengeOf(line).required
		if (got == nil) != (want == record.Authentication{}) || got != nil && *got != want {
			t.Errorf("%.120s: %+v", line, got)
		}
	}
	// The alphabet of base64url is the same.
	if got := claimsJSON(base64.RawURLEncoding.EncodeToString([]byte(`{"a":"ÿ~?"}`))); got != `{"a":"ÿ~?"}` {
		t.Errorf("got %q", got)
	}
}

// TestDescribe names each part of what is demanded, and nothing else.
func TestDescribe(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]*record.Authentication{
		`of the kind "mfa"`: {ACRValues: "mfa"}, "not older than 60 seconds": {MaxAge: "60"}, "that meets its conditions": {Claims: "{}"},
		`of the kind "mfa", not older than 1 seconds, that meets its conditions`: {ACRValues: "mfa", MaxAge: "1", Claims: "{}"},
	} {
		if got := describe(a); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWhatIsAPage(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]bool{"text/html; charset=utf-8": true, "application/xhtml+xml": true, "text/plain": false, "application/json": false, "": false} {
		if isPage(http.Header{"Content-Type": {kind}}) != want {
			t.Errorf("%q", kind)
		}
	}
}
