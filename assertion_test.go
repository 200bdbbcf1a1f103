package mcpoauth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
)

// unsigned makes a JWT that nobody has signed.
func unsigned(t *testing.T, claims map[string]any) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
}

func TestAWorkloadsIdentity(t *testing.T) {
	var good string
	judge := func(form map[string]string, _ *http.Request) string {
		if form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer" || form["assertion"] != good {
			return "invalid_grant"
		}
		return ""
	}
	srv := startRobots(t, judge)
	good = unsigned(t, map[string]any{"aud": []string{"x", srv.URL}})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(good+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WORKLOAD_TOKEN", good)
	// answer is what the platform answers at an address; the audience and the header must be right.
	answer := map[string]func(w http.ResponseWriter){
		"/text":  func(w http.ResponseWriter) { fmt.Fprintln(w, good) },
		"/value": func(w http.ResponseWriter) { fmt.Fprintf(w, `{"count":1,"value":%q}`, good) },
		"/json": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			fmt.Fprintf(w, `{"access_token":%q,"expires_in":"86399"}`, good)
		},
		"/string": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "%q", good)
		},
		"/busy": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"/redirect": func(w http.ResponseWriter) { w.Header().Set("Location", "/text"); w.WriteHeader(http.StatusFound) },
		"/none":     func(w http.ResponseWriter) { fmt.Fprint(w, `{"error":"x"}`) },
	}
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("audience") != srv.URL || r.Header.Get("Authorization") != "Bearer job" && r.Header.Get("X-Platform") != "yes" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		answer[r.URL.Path](w)
	}))
	defer platform.Close()
	// A proxy must not see what the machine says to itself.
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	at := func(path string) mcpoauth.AssertionSource {
		return mcpoauth.AssertionURL(platform.URL+path+"?audience={audience}", http.Header{"X-Platform": {"yes"}})
	}
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", platform.URL+"/value?api=1")
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job")
	github, err := mcpoauth.AssertionPlatform("github-actions")
	if err != nil {
		t.Fatal(err)
	}
	open := func(t *testing.T, w mcpoauth.WorkloadIdentity) *mcpoauth.Client {
		return newClient(t, srv.url(), mcpoauth.Options{Grant: w})
	}
	for name, source := range map[string]mcpoauth.AssertionSource{
		"a file": mcpoauth.AssertionFile(file), "the environment": mcpoauth.AssertionEnv("WORKLOAD_TOKEN"), "a command": mcpoauth.AssertionCommand("echo", good),
		"an address with text": at("/text"), "one with an object": at("/value"), "one with a token response": at("/json"), "one with a JSON string": at("/string"), "GitHub Actions": github,
	} {
		t.Run(name, func(t *testing.T) {
			if s := ping(t, open(t, mcpoauth.WorkloadIdentity{Assertion: source})); s != 200 {
				t.Errorf("status %d", s)
			}
		})
	}
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
	for name, tc := range map[string]struct {
		source mcpoauth.AssertionSource
		says   string
		posts  int
	}{
		"no file":                       {mcpoauth.AssertionFile(file + "-not"), "no such file", 0},
		"no variable":                   {mcpoauth.AssertionEnv("NO_SUCH"), "not set", 0},
		"a command that fails":          {mcpoauth.AssertionCommand("false"), "false", 0},
		"no command":                    {mcpoauth.AssertionCommand(), "no command", 0},
		"what is no JWT":                {mcpoauth.AssertionCommand("echo", "{audience}"), "not a JWT", 0},
		"a JWT that the server refuses": {mcpoauth.AssertionCommand("echo", unsigned(t, map[string]any{"aud": srv.URL, "n": 1})), "does not accept the assertion", 1},
		"a JWT for another server":      {mcpoauth.AssertionCommand("echo", unsigned(t, map[string]any{"aud": "https://other.example"})), "was not sent", 0},
		"a JWT for nobody":              {mcpoauth.AssertionCommand("echo", unsigned(t, map[string]any{"sub": "x"})), "was not sent", 0},
		"a redirect":                    {at("/redirect"), "status 302", 0},
		"an object without a token":     {at("/none"), "not a JWT", 0},
		"a platform that refuses":       {mcpoauth.AssertionURL(platform.URL+"/text", nil), "status 403", 0},
		"an address of another kind":    {mcpoauth.AssertionURL("file:///etc/passwd", nil), "http or https", 0},
		"a header that cannot be sent":  {mcpoauth.AssertionURL(platform.URL+"/text", http.Header{"X-Key": {"a\r\nb"}}), "no header field may have", 0},
		"a job without the permission":  {github, "id-token: write", 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := srv.tokens
			_, err := open(t, mcpoauth.WorkloadIdentity{Assertion: tc.source}).Token(t.Context(), nil)
			var te *mcpoauth.Error
			if !errorAt(err, mcpoauth.OpToken, &te) || te.Hint == "" || !strings.Contains(err.Error(), tc.says) || srv.tokens != before+tc.posts {
				t.Errorf("%v, %d token requests", err, srv.tokens-before)
			}
		})
	}
	for name, source := range map[string]mcpoauth.AssertionSource{"a platform in trouble": at("/busy"), "a platform that is not there": mcpoauth.AssertionURL("http://127.0.0.1:1/", nil)} {
		var temporary *mcpoauth.TemporaryError
		_, err := open(t, mcpoauth.WorkloadIdentity{Assertion: source}).Token(t.Context(), nil)
		if !errors.As(err, &temporary) || strings.Contains(name, "trouble") && temporary.RetryAfter != 7*time.Second {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The administrator may want another audience.
	good = unsigned(t, map[string]any{"aud": "api://mcp"})
	c := open(t, mcpoauth.WorkloadIdentity{Audience: "api://mcp", Assertion: mcpoauth.AssertionCommand("sh", "-c", `test "$0" = api://mcp && echo "$1"`, "{audience}", good)})
	if s := ping(t, c); s != 200 {
		t.Errorf("another audience: %d", s)
	}
	var oe *mcpoauth.OptionError
	if _, err := mcpoauth.AssertionPlatform("mainframe"); !errors.As(err, &oe) || !strings.Contains(oe.Hint, "google") {
		t.Errorf("an unknown platform: %v", err)
	}
}
