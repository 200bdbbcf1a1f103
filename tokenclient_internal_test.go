package mcpoauth

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// plainClient returns a Client that sends nothing anywhere.
func plainClient(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Store == nil {
		o.Store = memstore.New()
	}
	if o.Network.HTTPClient == nil {
		o.Network.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			return nil, errors.New("nothing is sent to " + r.URL.Host)
		})}
	}
	c, err := New("https://mcp.example.com/mcp", &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return c
}

// TestWhenATokenIsBound to a key: when the settings, the server or its metadata say so, and always after it was once.
func TestWhenATokenIsBound(t *testing.T) {
	t.Parallel()
	const issuer = "https://as.example.com"
	before := &record.Login{Issuer: issuer, DPoPKey: "k"}
	for name, tc := range map[string]struct {
		mode     Mode
		demanded bool
		metadata bool
		previous *record.Login
		algs     []string // the authorization server's, the challenge's and the resource's
		at       int
		want     bool
		fails    bool
	}{
		"nothing":                    {},
		"always":                     {mode: Always, want: true},
		"the challenge":              {demanded: true, want: true},
		"the metadata":               {metadata: true, want: true},
		"the login before":           {previous: before, want: true},
		"a login before, unbound":    {previous: &record.Login{Issuer: issuer}},
		"a login elsewhere before":   {previous: &record.Login{Issuer: "https://b.example.com", DPoPKey: "k"}},
		"never":                      {mode: Never, demanded: true, metadata: true, previous: before},
		"no algorithm of ours":       {mode: Always, algs: []string{"XX999"}, at: 0, fails: true},
		"no algorithm, challenge":    {mode: Always, algs: []string{"XX999"}, at: 1, fails: true},
		"no algorithm, the resource": {metadata: true, algs: []string{"XX999"}, at: 2, fails: true},
		"no algorithm, not needed":   {algs: []string{"XX999"}},
	} {
		c := plainClient(t, Options{DPoP: tc.mode})
		f := &discovered{Result: resultOf(issuer), challenge: &challenge{dpop: tc.demanded}}
		if tc.metadata {
			f.ResourceMetadata = &wire.ResourceMetadata{DPoPBoundAccessTokensRequired: true}
		}
		switch {
		case tc.algs == nil:
		case tc.at == 0:
			f.Server.DPoPSigningAlgValuesSupported = tc.algs
		case tc.at == 1:
			f.challenge.dpopAlgs = tc.algs
		default:
			f.ResourceMetadata.DPoPSigningAlgValuesSupported = tc.algs
		}
		rec := &record.Login{}
		thumbprint, err := c.tokens.bindRecord(rec, f, tc.previous)
		if (err != nil) != tc.fails || (thumbprint != "") != tc.want || (rec.DPoPKey != "") != tc.want {
			t.Errorf("%s: %q, key %t, %v", name, thumbprint, rec.DPoPKey != "", err)
		}
		if tc.fails && !strings.Contains(Hint(err), "--dpop never") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatATokenResponseLeavesOut stays as it was, and a new token ends what was noted of the login's end.
func TestWhatATokenResponseLeavesOut(t *testing.T) {
	t.Parallel()
	old := record.Login{
		AccessToken: "old", TokenType: "Bearer", RefreshToken: "r", IDToken: "i", Scopes: []string{"read"}, Expiry: time.Now(), LoginRequired: "ended", LoginRequiredFor: "x", LoginRequiredAt: time.Now(),
	}
	rec := old
	applyToken(&rec, &wire.Token{AccessToken: secret.New("new"), TokenType: "DPoP"})
	if rec.AccessToken != "new" || rec.TokenType != "DPoP" || rec.RefreshToken != "r" || rec.IDToken != "i" || len(rec.Scopes) != 1 || !rec.Expiry.IsZero() || time.Since(rec.IssuedAt) > time.Minute {
		t.Errorf("got %+v", rec)
	}
	if rec.LoginRequired != "" || rec.LoginRequiredFor != "" || !rec.LoginRequiredAt.IsZero() {
		t.Errorf("it has ended still: %+v", rec)
	}
	rec, end := old, time.Now().Add(time.Hour)
	applyToken(&rec, &wire.Token{AccessToken: secret.New("new"), TokenType: "Bearer", RefreshToken: secret.New("r2"), IDToken: secret.New("i2"), Expiry: end, ScopePresent: true})
	if rec.RefreshToken != "r2" || rec.IDToken != "i2" || len(rec.Scopes) != 0 || !rec.Expiry.Equal(end) {
		t.Errorf("got %+v", rec)
	}
}

// TestHowTokenResponsesAreWritten: the settings come first, then the login, then what is known of the provider.
func TestHowTokenResponsesAreWritten(t *testing.T) {
	t.Parallel()
	set := Options{Server: ServerOptions{TokenMember: "set"}, Allow: Allow{TokenType: "settype"}}
	rec := &record.Login{Issuer: "https://slack.com", TokenMember: "rec", BearerType: "rectype"}
	if f := plainClient(t, set).tokens.format(rec); f.Member != "set" || f.BearerType != "settype" {
		t.Errorf("the settings: %+v", f)
	}
	if f := plainClient(t, Options{}).tokens.format(rec); f.Member != "rec" || f.BearerType != "rectype" {
		t.Errorf("the login: %+v", f)
	}
	known := plainClient(t, Options{}).tokens.format(&record.Login{Issuer: "https://slack.com"})
	if known.Member == "" && known.BearerType == "" {
		t.Errorf("the provider: %+v", known)
	}
	if f := plainClient(t, Options{Server: ServerOptions{IgnoreProviders: true}}).tokens.format(&record.Login{Issuer: "https://slack.com"}); f.Member != "" || f.BearerType != "" {
		t.Errorf("providers are ignored: %+v", f)
	}
}

// TestADamagedKeyProvesNothing.
func TestADamagedKeyProvesNothing(t *testing.T) {
	t.Parallel()
	c := plainClient(t, Options{})
	if _, err := c.tokens.auth(&record.Login{DPoPKey: "damaged"}); Hint(err) != "log in again" {
		t.Errorf("got %v", err)
	}
	if a, err := c.tokens.auth(&record.Login{}); err != nil || a.Prover != nil {
		t.Errorf("without a key: %v, %v", a.Prover, err)
	}
}
