package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAMachineInACronJob has no display, no terminal, no browser and no HOME: environment variables are
// all that it is given.
func TestAMachineInACronJob(t *testing.T) {
	secret, workload := "s3cret", ""
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
		switch r.URL.Path {
		case "/.well-known/oauth-protected-resource/mcp":
			answer(map[string]any{"resource": srv.URL + "/mcp", "authorization_servers": []string{srv.URL}})
		case "/.well-known/oauth-authorization-server":
			answer(map[string]any{"issuer": srv.URL, "token_endpoint": srv.URL + "/token", "token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt"}})
		case "/token":
			_ = r.ParseForm()
			switch {
			case r.PostForm.Get("client_secret") == secret, r.PostForm.Get("client_assertion") != "", r.PostForm.Get("assertion") == workload:
				answer(map[string]any{"access_token": "machine-token", "token_type": "Bearer", "expires_in": 3600})
			default:
				w.WriteHeader(http.StatusUnauthorized)
				answer(map[string]any{"error": "invalid_client"})
			}
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer srv.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pemFile := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(pemFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"HOME", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "XDG_STATE_HOME", "TERM"} {
		t.Setenv(name, "")
	}
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"aud":"` + srv.URL + `"}`))
	workload = "e30." + claims + ".c2ln"
	for name, tc := range map[string]struct {
		env  map[string]string
		code int
		says string
	}{
		"a secret":       {map[string]string{"MCPOAUTH_GRANT": "client-credentials", "MCPOAUTH_CLIENT_ID": "robot", "MCPOAUTH_CLIENT_SECRET": secret}, exitDone, ""},
		"a key":          {map[string]string{"MCPOAUTH_GRANT": "client-credentials", "MCPOAUTH_CLIENT_ID": "robot", "MCPOAUTH_CLIENT_KEY_FILE": pemFile}, exitDone, ""},
		"a workload":     {map[string]string{"MCPOAUTH_ASSERTION_ENV": "PLATFORM_TOKEN", "PLATFORM_TOKEN": workload}, exitDone, ""},
		"a wrong secret": {map[string]string{"MCPOAUTH_GRANT": "client-credentials", "MCPOAUTH_CLIENT_ID": "robot", "MCPOAUTH_CLIENT_SECRET": "wrong"}, exitDenied, "hint: check the client ID and its secret or key"},
		"no assertion":   {map[string]string{"MCPOAUTH_ASSERTION_ENV": "NO_SUCH"}, exitUsage, "NO_SUCH"},
		"no client":      {map[string]string{"MCPOAUTH_GRANT": "client-credentials"}, exitUsage, "--client-id"},
		"no grant":       {map[string]string{}, exitLoginRequired, "hint: run: mcpoauth login"},
		"a strange one":  {map[string]string{"MCPOAUTH_GRANT": "magic"}, exitUsage, "client-credentials, workload-identity, enterprise-managed or device-code"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("MCPOAUTH_DIR", t.TempDir())
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			var out, errs strings.Builder
			code := Main([]string{"token", srv.URL + "/mcp"}, strings.NewReader(""), &out, &errs)
			if code != tc.code || (code == exitDone) != (out.String() == "machine-token\n") || !strings.Contains(errs.String(), tc.says) || strings.Contains(errs.String(), secret) {
				t.Errorf("%d, %q, %s", code, out.String(), errs.String())
			}
		})
	}
}
