package mcpoauth_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// TestNoExportedValuePrintsASecret formats, logs and encodes each exported value that can hold one.
func TestNoExportedValuePrintsASecret(t *testing.T) {
	t.Parallel()
	const canary = "canary-secret-0123456789"
	srv := authtest.New(t, nil)
	opts := mcpoauth.Options{
		Prompt:  (&person{srv: srv}).prompt,
		Client:  mcpoauth.ClientOptions{ID: "", InitialAccessToken: canary, SoftwareStatement: canary},
		Server:  mcpoauth.ServerOptions{TokenParams: url.Values{"api_key": {canary}}, AuthorizeParams: url.Values{"api_key": {canary}}},
		Network: mcpoauth.NetworkOptions{Header: http.Header{"X-Api-Key": {canary}}},
		Grant:   nil,
	}
	c := newClient(t, srv.MCPURL(), opts)
	tok, err := c.Login(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	provider, err := mcpoauth.NewIdentityProvider("https://idp.example", &mcpoauth.Options{Store: opts.Store, CacheDir: t.TempDir(), Client: mcpoauth.ClientOptions{ID: "c", Secret: canary}})
	if err != nil {
		t.Fatal(err)
	}
	enterprise := mcpoauth.EnterpriseManaged{Issuer: "https://idp.example", ClientID: "c", ClientSecret: canary}
	withGrant := opts
	withGrant.Grant, withGrant.Client.Secret = enterprise, canary
	status, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{
		"Client": c, "Token": tok, "Status": status, "IdentityProvider": provider, "HTTPClient": c.HTTPClient(), "Transport": &mcpoauth.Transport{Client: c},
		"OAuthHandler": c.OAuthHandler(), "TokenSource": c.TokenSource(t.Context()),
		"Options": withGrant, "*Options": &withGrant, "ClientOptions": withGrant.Client, "ServerOptions": opts.Server, "NetworkOptions": opts.Network,
		"EnterpriseManaged": enterprise, "ImportedLogin": mcpoauth.ImportedLogin{AccessToken: canary, RefreshToken: canary, ClientSecret: canary},
		"PendingLogin": mcpoauth.PendingLogin{ID: canary, URL: "https://as.example/authorize?state=" + canary},
		"LoginReply":   mcpoauth.LoginReply{RedirectURL: "http://127.0.0.1/callback?code=" + canary}, "LoginPrompt": mcpoauth.LoginPrompt{URL: "https://as.example/authorize?state=" + canary},
	}
	secrets := append(srv.Secrets(), canary)
	for name, v := range values {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			fmt.Fprintf(&out, verb+"\n", v)
			fmt.Fprintf(&out, verb+"\n", []any{v})
			fmt.Fprintf(&out, verb+"\n", struct{ V any }{v})
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("value", "v", v, "in", struct{ V any }{v})
		slog.New(slog.NewJSONHandler(&out, nil)).Info("value", "v", v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		for _, s := range secrets {
			if strings.Contains(out.String(), s) || strings.Contains(out.String(), fmt.Sprintf("%x", s)) {
				t.Errorf("%s prints a secret", name)
				break
			}
		}
	}
	// The test can fail.
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v", struct{ Secret string }{canary})
	if !strings.Contains(out.String(), canary) {
		t.Error("a planted secret is not found")
	}
}
