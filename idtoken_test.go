package mcpoauth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// unsignedToken makes a JWT that nobody has signed.
func unsignedToken(t *testing.T, claims map[string]any) string {
	t.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(body) + ".c2ln"
}

// TestWhichIDTokensAreTaken, and how long a login lasts with one.
func TestWhichIDTokensAreTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		with := func(k string, v any) map[string]any {
			m := map[string]any{"iss": testIssuer, "aud": "c", "nonce": "n", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
			if m[k] = v; v == nil {
				delete(m, k)
			}
			return m
		}
		for name, tc := range map[string]struct {
			claims map[string]any
			nonce  string
			says   string // why not, "" if it is taken
			life   time.Duration
		}{
			"in order":                  {with("x", 1), "n", "", time.Hour},
			"several audiences":         {with("aud", []string{"b", "c"}), "n", "", time.Hour},
			"after a refresh":           {with("nonce", nil), "", "", time.Hour},
			"another nonce, a refresh":  {with("nonce", "other"), "", "", time.Hour},
			"another issuer":            {with("iss", "https://b.example.com"), "n", "another issuer", 0},
			"another client":            {with("aud", "d"), "n", "another client", 0},
			"another login":             {with("nonce", "other"), "n", "another login", 0},
			"no nonce":                  {with("nonce", nil), "n", "another login", 0},
			"no end":                    {with("exp", nil), "n", "when it ends", 0},
			"since when is not said":    {with("iat", nil), "n", "", time.Hour},
			"by a clock that is ahead":  {with("iat", now.Add(30*time.Minute).Unix()), "n", "", 30 * time.Minute},
			"issued after its own end":  {with("iat", now.Add(2*time.Hour).Unix()), "n", "", time.Hour},
			"by a clock that is behind": {with("iat", now.Add(-time.Hour).Unix()), "n", "", 2 * time.Hour},
		} {
			rec := &record.Login{Issuer: testIssuer, Registration: record.Registration{ClientID: "c"}, Expiry: now.Add(time.Minute)}
			err := acceptIDToken(rec, &wire.Token{IDToken: secret.New(unsignedToken(t, tc.claims))}, tc.nonce)
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: %v", name, err)
			}
			if got := rec.Expiry.Sub(now).Round(time.Second); err == nil && got != tc.life || err != nil && got != time.Minute {
				t.Errorf("%s: it lasts %v", name, got)
			}
		}
		for name, tok := range map[string]*wire.Token{"none": {}, "no JWT": {IDToken: secret.New("x")}} {
			err := acceptIDToken(&record.Login{Issuer: testIssuer}, tok, "n")
			if e, ok := errors.AsType[*Error](err); !ok || e.Op != OpToken || name == "none" && !strings.Contains(e.Message, "there is none") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if nonceOf("a") == nonceOf("b") || strings.Contains(nonceOf("a"), "a ") {
			t.Error("the nonce is not the login's own")
		}
	})
}
