package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
)

// oryHydra goes through its cycle in TestHydra.
var oryHydra = product{
	name: "Ory Hydra", version: found("Ory Hydra", "../setup-hydra.sh", `(?m)^hydra=(\S+)$`),
	special: "Registration is off by default; where it is on, the metadata lists its endpoint only if `webfinger.oidc_discovery.client_registration_url` is set too. A client that registers without scopes gets those of `default_scope`. " +
		"It has OpenID Connect metadata only. Login and consent are pages of the program that it stands behind. A redirect URI with 127.0.0.1 matches every port, one with localhost only its own. " +
		"`aud` comes from a parameter `audience` of its own, which the client must be allowed. `scope` is in the callback.",
	setting: "None where registration is on and listed; `--registration-endpoint` where it is on and not listed; else `--client-id`",
}

// hydra is a running Ory Hydra.
type hydra struct{ issuer, admin string }

// startHydra starts an Ory Hydra at which programs may register, and the pages of a login and of the consent to it.
// discovery is what its metadata has besides the defaults, with the endpoints under the issuer.
func startHydra(t *testing.T, life time.Duration, discovery func(issuer string) object) hydra {
	t.Helper()
	binary := installed(t, "Ory Hydra (interop/setup-hydra.sh)", "hydra/hydra")
	port := freePort(t)
	h := hydra{"http://127.0.0.1:" + strconv.Itoa(port), "http://127.0.0.1:" + strconv.Itoa(port+1)}
	pages := httptest.NewServer(h.pages())
	t.Cleanup(pages.Close)
	config, err := json.Marshal(object{
		"dsn": "memory", "log": object{"level": "warn"}, "secrets": object{"system": []string{"a secret of the tests alone"}},
		"serve":     object{"public": object{"host": "127.0.0.1", "port": port}, "admin": object{"host": "127.0.0.1", "port": port + 1}},
		"urls":      object{"self": object{"issuer": h.issuer}, "login": pages.URL + "/login", "consent": pages.URL + "/consent", "error": pages.URL + "/error"},
		"ttl":       object{"access_token": life.String()},
		"oidc":      object{"dynamic_client_registration": object{"enabled": true, "default_scope": []string{"mcp:read", "offline_access"}}},
		"oauth2":    object{"pkce": object{"enforced_for_public_clients": true}},
		"webfinger": object{"oidc_discovery": discovery(h.issuer)},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "hydra.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, h.issuer+"/.well-known/openid-configuration", nil, binary, "serve", "all", "--dev", "--sqa-opt-out", "-c", path)
	return h
}

// registration is where programs register.
func (h hydra) registration() string { return h.issuer + "/oauth2/register" }

// introspection is where the audience and the scopes of a token are asked for.
func (h hydra) introspection() string { return h.admin + "/admin/oauth2/introspect" }

// protect starts an MCP server that takes its tokens, and that names the scope unless it is empty.
func (h hydra) protect(t *testing.T, scope string) peer {
	t.Helper()
	return peer{protect(t, h.issuer, scope, introspected(h.introspection())), h.introspection()}
}

// steps is where the steps of a login are decided, each named by its challenge, a parameter of the page.
const steps = "/admin/oauth2/auth/requests/"

// pages are those that Hydra sends the browser to: a person logs in, and consents to what was asked for.
func (h hydra) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{step}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.PathValue("step") == "error" {
			_, _ = fmt.Fprintf(w, "<p>%s</p>", html.EscapeString(r.URL.RawQuery))
			return
		}
		_, _ = fmt.Fprint(w, `<form method="post"><button type="submit">Go on</button></form>`) // the query stays
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		h.accept(w, r, "login", object{"subject": "alice"})
	})
	mux.HandleFunc("POST /consent", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Scopes    []string `json:"requested_scope"`
			Audiences []string `json:"requested_access_token_audience"`
		}
		if err := h.request(r.Context(), http.MethodGet, steps+"consent?"+r.URL.RawQuery, nil, &asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		h.accept(w, r, "consent", object{"grant_scope": asked.Scopes, "grant_access_token_audience": asked.Audiences})
	})
	return mux
}

// accept tells Hydra that the person has taken a step, and sends the browser on.
func (h hydra) accept(w http.ResponseWriter, r *http.Request, step string, content object) {
	var next struct {
		To string `json:"redirect_to"`
	}
	if err := h.request(r.Context(), http.MethodPut, steps+step+"/accept?"+r.URL.RawQuery, content, &next); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	http.Redirect(w, r, next.To, http.StatusSeeOther)
}

// request makes a request to the administration interface.
func (h hydra) request(ctx context.Context, method, path string, content, result any) error {
	var sent io.Reader = http.NoBody
	if content != nil {
		data, err := json.Marshal(content)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, h.admin+path, sent)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if result == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(result)
}

// TestHydra starts two: one whose metadata lists what a program needs to know, and one that keeps its registration to
// itself and lists scopes of its own.
func TestHydra(t *testing.T) {
	const lifetime = 5 * time.Second
	open := startHydra(t, lifetime, func(issuer string) object {
		return object{"client_registration_url": issuer + "/oauth2/register"}
	})
	silent := startHydra(t, lifetime, func(string) object { return object{"supported_scope": []string{"mcp:read"}} })
	t.Run("cycle", func(t *testing.T) {
		t.Parallel()
		p := oryHydra
		p.start = func(t *testing.T, _ time.Duration) peer { return open.protect(t, "mcp:read") }
		p.cycle(t)
	})
	t.Run("registration that is not listed", func(t *testing.T) {
		t.Parallel()
		running := silent.protect(t, "mcp:read")
		if in, _ := inspectServer(t, running.mcpURL); in.Login.Possible {
			t.Errorf("inspect: %+v", in.Login)
		}
		s := &seat{dir: t.TempDir(), url: running.mcpURL, flags: []string{"--registration-endpoint", silent.registration()}}
		log, callback := s.login(t)
		rec := s.stored(t)
		if legs(log, mcpoauth.LegRegistration) != 1 || rec.Registration.Source != "dynamic" || rec.RefreshToken == "" {
			t.Errorf("a %s client, a refresh token: %v\n%s", rec.Registration.Source, rec.RefreshToken != "", log)
		}
		if got := callback.Get("scope"); got != strings.Join(rec.RequestedScopes, " ") {
			t.Errorf("the callback has the scopes %q; the page says that it has them", got)
		}
		if n := listTools(t.Context(), t, s.client(t)); n == 0 {
			t.Error("no tools")
		}
		untilEnd(rec)
		if _, refreshes := s.tokens(t, 1); refreshes != 1 {
			t.Errorf("at the end of the token: %d refreshes", refreshes)
		}
		// The registration is deleted although its endpoint is not listed.
		if said := s.logout(t, true, s.stored(t)); !strings.Contains(said, "the client is deleted too") {
			t.Errorf("logout: %s", said)
		}
	})
	t.Run("registration without scopes", func(t *testing.T) {
		t.Parallel()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, open.registration(), strings.NewReader(`{"redirect_uris":["http://127.0.0.1/callback"]}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var client struct{ Scope string }
		text := body(t, resp)
		if err := json.Unmarshal([]byte(text), &client); err != nil || client.Scope != "mcp:read offline_access" {
			t.Errorf("%v: %s %s", err, resp.Status, text)
		}
	})
	t.Run("no scopes", func(t *testing.T) {
		t.Parallel()
		s := &seat{dir: t.TempDir(), url: open.protect(t, "").mcpURL}
		s.login(t)
		// The metadata lists OpenID Connect's scopes alone, so nothing is lost with offline_access.
		rec := s.stored(t)
		if rec.RefreshToken == "" || !slices.Equal(rec.RequestedScopes, []string{"offline_access"}) {
			t.Errorf("%q were requested, a refresh token: %v", rec.RequestedScopes, rec.RefreshToken != "")
		}
		if n := listTools(t.Context(), t, s.client(t)); n == 0 {
			t.Error("no tools")
		}
	})
	t.Run("no scopes, and the second login learns", func(t *testing.T) {
		t.Parallel()
		s := &seat{dir: t.TempDir(), url: silent.protect(t, "").mcpURL, flags: []string{"--registration-endpoint", silent.registration()}}
		log, _ := s.login(t)
		if rec := s.stored(t); rec.RefreshToken != "" || len(rec.RequestedScopes) != 0 || !strings.Contains(log, "offline_access") {
			t.Errorf("%q were requested, a refresh token: %v; what may help is not said?\n%s", rec.RequestedScopes, rec.RefreshToken != "", log)
		}
		s.login(t, "--force")
		rec := s.stored(t)
		if rec.RefreshToken == "" || !slices.Contains(rec.RequestedScopes, "offline_access") {
			t.Errorf("%q were requested, a refresh token: %v", rec.RequestedScopes, rec.RefreshToken != "")
		}
		untilEnd(rec)
		if _, refreshes := s.tokens(t, 1); refreshes != 1 {
			t.Errorf("at the end of the token: %d refreshes", refreshes)
		}
	})
	t.Run("a client by hand", func(t *testing.T) {
		t.Parallel()
		client := object{
			"client_id": "by-hand", "token_endpoint_auth_method": "none", "scope": "mcp:read offline_access", "grant_types": []string{"authorization_code", "refresh_token"},
			"redirect_uris": []string{"http://127.0.0.1/callback", "http://localhost/callback"},
		}
		if err := open.request(t.Context(), http.MethodPost, "/admin/clients", client, nil); err != nil {
			t.Fatal(err)
		}
		life(t, open.protect(t, "mcp:read").mcpURL, mcpoauth.Options{Client: mcpoauth.ClientOptions{ID: "by-hand"}}, lifetime)
		for host, want := range map[string]string{"127.0.0.1:4711": "/login", "localhost": "/login", "localhost:4711": "/error"} {
			if got := open.sends(t, "http://"+host+"/callback"); got != want {
				t.Errorf("a redirect URI with %s: the browser is sent to %s", host, got)
			}
		}
	})
}

// sends returns the page that a request for authorization with a redirect URI leads to.
func (h hydra) sends(t *testing.T, redirectURI string) string {
	t.Helper()
	q := url.Values{
		"client_id": {"by-hand"}, "response_type": {"code"}, "state": {"a state that is long"}, "redirect_uri": {redirectURI},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.issuer+"/oauth2/auth?"+q.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return to.Path
}
