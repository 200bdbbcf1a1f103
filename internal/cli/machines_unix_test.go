//go:build unix

package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// cron runs the command as cron does: a session without a terminal, an empty input, and no variables but
// those that are given.
func cron(t *testing.T, env map[string]string, args ...string) (code int, out, errs string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Args[0] = "mcpoauth"
	cmd.Env = []string{"GORACE=" + noRaceSleep}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// machines is an MCP server and its authorization server for the client "robot" (by the secret or the key)
// and for a workload's token.
type machines struct {
	*httptest.Server
	key    *ecdsa.PrivateKey
	tokens atomic.Int32
	busy   atomic.Bool
	// insists: the audience of assertions must be the token endpoint.
	insists atomic.Bool
}

const robotSecret = "s3cret-of-the-robot"

func startMachines(t *testing.T) *machines {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &machines{key: key}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *machines) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	answer := func(status int, v map[string]any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/.well-known/oauth-protected-resource/mcp":
		answer(200, map[string]any{"resource": s.URL + "/mcp", "authorization_servers": []string{s.URL}})
	case "/.well-known/oauth-authorization-server":
		answer(200, map[string]any{
			"issuer": s.URL, "token_endpoint": s.URL + "/token",
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt"}, "token_endpoint_auth_signing_alg_values_supported": []string{"ES256"},
		})
	case "/token":
		s.tokens.Add(1)
		_ = r.ParseForm()
		switch code := s.refuses(r.PostForm.Get); {
		case s.busy.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case code != "":
			answer(400, map[string]any{"error": code})
		default:
			answer(200, map[string]any{"access_token": "machine-token", "token_type": "Bearer", "expires_in": 3600})
		}
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// refuses returns the error code for a token request, "" if it is good.
func (s *machines) refuses(field func(string) string) string {
	if field("scope") == "admin" {
		return "invalid_scope"
	}
	switch field("grant_type") {
	case "client_credentials":
		if field("client_id") != "robot" || field("client_secret") != robotSecret && !s.signed(field("client_assertion"), "robot") {
			return "invalid_client"
		}
		return ""
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		if !s.signed(field("assertion"), "https://platform.example") {
			return "invalid_grant"
		}
		return ""
	}
	return "unsupported_grant_type"
}

func (s *machines) signed(text, issuer string) bool {
	tok, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return false
	}
	var c jwt.Claims
	audience := s.URL
	if s.insists.Load() {
		audience += "/token"
	}
	return tok.Claims(s.key.Public(), &c) == nil && c.Validate(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: time.Now()}) == nil
}

// workload is a platform's token for the server, signed by a key.
func (s *machines) workload(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := jwt.Claims{Issuer: "https://platform.example", Subject: "job", Audience: jwt.Audience{s.URL}, Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour))}
	text, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func with(m map[string]string, k, v string) map[string]string {
	m = maps.Clone(m)
	m[k] = v
	return m
}

// TestMachinesInCron: each kind of credentials comes by the environment alone, and what goes wrong is told
// apart by the exit code.
func TestMachinesInCron(t *testing.T) {
	t.Parallel()
	srv := startMachines(t)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	jwk := func(key *ecdsa.PrivateKey) string {
		b, err := jose.JSONWebKey{Key: key}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good, bad := srv.workload(t, srv.key), srv.workload(t, stranger)
	secrets := []string{robotSecret, "wrong-secret", good, bad, base64.RawURLEncoding.EncodeToString(srv.key.D.Bytes())} //nolint:staticcheck // the secret itself
	client := map[string]string{"MCPOAUTH_GRANT": "client-credentials", "MCPOAUTH_CLIENT_ID": "robot"}
	closed := httptest.NewServer(nil)
	closed.Close()

	for name, kind := range map[string]struct {
		common             map[string]string
		variable           string
		good, bad, nothing string
		// says is what the hint says of bad ones, lacks what is said of nothing.
		says, lacks string
	}{
		"a secret":                     {client, "MCPOAUTH_CLIENT_SECRET", robotSecret, "wrong-secret", "", "hint: check the client ID and its secret", "hint: set --client-id with --client-secret-env"},
		"a secret in a file":           {client, "MCPOAUTH_CLIENT_SECRET_FILE", file("secret", robotSecret), file("wrong", "wrong-secret"), filepath.Join(dir, "no-secret"), "hint: check the client ID and its secret", "no-secret"},
		"a key":                        {client, "MCPOAUTH_CLIENT_KEY_FILE", file("key", jwk(srv.key)), file("strange-key", jwk(stranger)), filepath.Join(dir, "no-key"), "the server knows the public key", "no-key"},
		"a key for the token endpoint": {with(client, "MCPOAUTH_CLIENT_KEY_AUDIENCE", "token-endpoint"), "MCPOAUTH_CLIENT_KEY_FILE", file("key2", jwk(srv.key)), file("strange-key2", jwk(stranger)), filepath.Join(dir, "no-key"), "the server knows the public key", "no-key"},
		"a workload by file":           {nil, "MCPOAUTH_ASSERTION_FILE", file("token", good), file("strange-token", bad), filepath.Join(dir, "no-token"), `hint: it is from "https://platform.example"`, "hint: name the file that the platform writes"},
		"a workload by variable":       {map[string]string{"MCPOAUTH_ASSERTION_ENV": "PLATFORM"}, "PLATFORM", good, bad, "", `hint: it is from "https://platform.example"`, `the environment variable "PLATFORM" is not set`},
	} {
		for what, tc := range map[string]struct {
			value string
			more  map[string]string
			busy  bool
			code  int
			says  string
			sent  int32
		}{
			"good":                             {kind.good, nil, false, exitDone, "", 1},
			"refused":                          {kind.bad, nil, false, exitDenied, kind.says, 1},
			"a scope refused":                  {kind.good, map[string]string{"MCPOAUTH_SCOPE": "admin"}, false, exitDenied, "hint: choose others with --scope", 1},
			"the server in trouble":            {kind.good, nil, true, exitTemporary, "status 503", 1},
			"nobody at the server's address":   {kind.good, map[string]string{"URL": closed.URL + "/mcp"}, false, exitTemporary, "hint: ", 0},
			"the setting missing":              {kind.nothing, nil, false, exitUsage, kind.lacks, 0},
			"no directory for the logins":      {kind.good, map[string]string{"MCPOAUTH_DIR": ""}, false, exitUsage, "MCPOAUTH_DIR", 0},
			"a grant that nobody has heard of": {kind.good, map[string]string{"MCPOAUTH_GRANT": "magic"}, false, exitUsage, "hint: ", 0},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				env := map[string]string{"MCPOAUTH_DIR": t.TempDir()}
				maps.Copy(env, kind.common)
				maps.Copy(env, tc.more)
				env[kind.variable] = tc.value
				url := srv.URL + "/mcp"
				if u := env["URL"]; u != "" {
					url = u
				}
				srv.busy.Store(tc.busy)
				srv.insists.Store(strings.Contains(name, "token endpoint"))
				srv.tokens.Store(0)
				code, out, errs := cron(t, env, "token", url)
				sent := tc.sent
				if strings.HasPrefix(name, "a secret") && what == "refused" {
					sent = 2 // in both ways of sending it
				}
				want := ""
				if tc.code == exitDone {
					want = "machine-token\n"
				}
				if code != tc.code || out != want || !strings.Contains(errs, tc.says) || (errs == "") != (tc.code == exitDone) || srv.tokens.Load() != sent {
					t.Errorf("exit code %d, %d token requests, stdout %q\n%s", code, srv.tokens.Load(), out, errs)
				}
				if i := slices.IndexFunc(secrets, func(s string) bool { return strings.Contains(errs, s) }); i >= 0 {
					t.Errorf("secret %d is shown:\n%s", i, errs)
				}
				if tc.code != exitDone {
					return
				}
				// The next run needs neither the server nor what the credentials are kept in.
				srv.busy.Store(true)
				if code, out, errs := cron(t, env, "token", url); code != exitDone || out != want || srv.tokens.Load() != 1 {
					t.Errorf("the next run: exit code %d, %d token requests, stdout %q\n%s", code, srv.tokens.Load(), out, errs)
				}
			})
		}
	}
}

func TestThereIsNoPlaceForLogins(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"list"}, {"clear", "--all"}, {"token", "https://mcp.example.com/mcp"}, {"list", "--store", "keyring"}} {
		if code, out, errs := cron(t, nil, args...); code != exitUsage || out != "" || !strings.Contains(errs, "HOME is not set") || !strings.Contains(errs, "hint: name the directory for logins") {
			t.Errorf("%s: exit code %d, stdout %q\n%s", args, code, out, errs)
		}
	}
}
