package interop

import (
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// inspection is what mcpoauth inspect --json prints, as far as it is looked at here.
type inspection struct {
	Version   int
	URL       string
	Resource  string
	Issuer    string
	Temporary bool
	Challenge *struct {
		Status           int
		ResourceMetadata string `json:"resource_metadata"`
	}
	Requests []struct {
		URL    string
		Status int
	}
	ProtectedResource   map[string]any `json:"protected_resource"`
	AuthorizationServer map[string]any `json:"authorization_server"`
	Findings            []struct{ ID, Severity string }
	Login               struct {
		Possible     bool
		Blockers     []string
		Registration string
		Grant        string
		Scopes       []string
	}
}

// inspectServer runs the command.
func inspectServer(t *testing.T, url string, args ...string) (in inspection, code int) {
	t.Helper()
	path, err := command()
	if err != nil {
		t.Fatalf("%v: %s", err, path)
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"inspect", "--json", url}, args...)...)
	cmd.Env = append(cmd.Environ(), "MCPOAUTH_DIR="+t.TempDir())
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &in); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if in.Version != 1 || in.URL != url || in.Temporary {
		t.Errorf("%+v", in)
	}
	return in, code
}

func (in *inspection) ids() []string {
	out := []string{}
	for _, f := range in.Findings {
		out = append(out, f.ID)
	}
	slices.Sort(out)
	return out
}

// loginPossible checks what is the same at every server that is in order. That a server knows DPoP is not
// looked at.
func (in *inspection) loginPossible(t *testing.T, code int, issuer string, findings ...string) {
	t.Helper()
	if code != 0 || !in.Login.Possible || len(in.Login.Blockers) > 0 || in.Login.Registration != "dynamic" || in.Login.Grant != "authorization_code" {
		t.Errorf("exit code %d, %+v", code, in.Login)
	}
	if in.Resource != in.URL || in.Issuer != issuer || in.Challenge == nil || in.Challenge.Status != http.StatusUnauthorized || in.Challenge.ResourceMetadata == "" {
		t.Errorf("resource %s, issuer %s, challenge %+v", in.Resource, in.Issuer, in.Challenge)
	}
	if in.ProtectedResource["resource"] != in.URL || in.AuthorizationServer["issuer"] != issuer || len(in.Requests) < 2 {
		t.Errorf("%v, %v, %v", in.ProtectedResource, in.AuthorizationServer, in.Requests)
	}
	got := slices.DeleteFunc(in.ids(), func(id string) bool { return id == "dpop" })
	if !slices.Equal(got, append([]string{}, findings...)) {
		t.Errorf("findings %v, want %v", got, findings)
	}
}

// register registers a client by hand and waits until the peer's log shows it, so that its silence before
// meant something.
func register(t *testing.T, in inspection, log *lockedBuffer, shows string) {
	t.Helper()
	if strings.Contains(log.String(), shows) {
		t.Errorf("inspect registered a client:\n%s", log)
	}
	at, _ := in.AuthorizationServer["registration_endpoint"].(string)
	resp, err := http.Post(at, "application/json", strings.NewReader(`{"redirect_uris":["http://127.0.0.1:1/callback"],"token_endpoint_auth_method":"none","application_type":"native"}`))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, body(t, resp))
	}
	_ = resp.Body.Close()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), shows); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not show registrations:\n%s", log)
		}
	}
}

func TestInspectOIDCProvider(t *testing.T) {
	mcpURL, issuer, log := oidcProvider(t)
	in, code := inspectServer(t, mcpURL)
	in.loginPossible(t, code, issuer, "registration-unseen")
	register(t, in, log, "registration_create.success")

	// With a client of one's own nothing would be registered either.
	in, code = inspectServer(t, mcpURL, "--client-id", "pub")
	if code != 0 || in.Login.Registration != "pre-registered" {
		t.Errorf("exit code %d, %+v", code, in.Login)
	}
	// What a pin does not fit is what a login would stop at.
	in, code = inspectServer(t, mcpURL, "--auth-server", issuer+"/other")
	if code != 1 || in.Login.Possible || !slices.Equal(in.ids(), []string{"login-impossible"}) || !strings.Contains(strings.Join(in.Login.Blockers, " "), "/other") {
		t.Errorf("exit code %d, %+v", code, in)
	}
}

func TestInspectOIDCProviderThatInsistsOnPushedRequests(t *testing.T) {
	mcpURL, issuer := startOIDCProvider(t, "REQUIRE_PAR=1")
	in, code := inspectServer(t, mcpURL)
	in.loginPossible(t, code, issuer, "par-required", "registration-unseen")
}

// FastMCP's issuer ends in a slash, in both documents.
func TestInspectFastMCP(t *testing.T) {
	mcpURL, log := fastMCP(t)
	in, code := inspectServer(t, mcpURL)
	in.loginPossible(t, code, strings.TrimSuffix(mcpURL, "mcp"), "no-iss", "registration-unseen")
	register(t, in, log, "POST /register")
}

func TestInspectFastMCPOAuthProxy(t *testing.T) {
	_, upstream, upstreamLog := oidcProvider(t)
	mcpURL, log := fastMCP(t, "MODE=proxy", "OP="+upstream)
	in, code := inspectServer(t, mcpURL)
	in.loginPossible(t, code, strings.TrimSuffix(mcpURL, "mcp"), "registration-unseen")
	register(t, in, log, "POST /register")
	if strings.Contains(upstreamLog.String(), "registration_create") {
		t.Errorf("a client was registered upstream:\n%s", upstreamLog)
	}
}
