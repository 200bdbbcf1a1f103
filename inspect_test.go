package mcpoauth_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

func inspect(t *testing.T, url string, o mcpoauth.Options) *mcpoauth.Inspection {
	t.Helper()
	in, err := newClient(t, url, o).Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func ids(in *mcpoauth.Inspection) []string {
	var out []string
	for _, f := range in.Findings {
		out = append(out, f.ID)
	}
	return out
}

func TestInspectChangesNothing(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	in := inspect(t, srv.MCPURL(), mcpoauth.Options{})
	if !in.Login.Possible || in.Login.Registration != "dynamic" || in.Login.Grant != "authorization_code" || in.Issuer != srv.Issuer() || in.Resource != srv.MCPURL() {
		t.Errorf("%+v", in.Login)
	}
	if in.Challenge == nil || in.Challenge.Status != http.StatusUnauthorized || len(in.Challenge.Headers) == 0 || len(in.Requests) < 2 {
		t.Errorf("challenge %+v, %d requests", in.Challenge, len(in.Requests))
	}
	for _, doc := range []json.RawMessage{in.ProtectedResource, in.AuthorizationServer} {
		var m map[string]any
		if err := json.Unmarshal(doc, &m); err != nil || len(m) == 0 {
			t.Errorf("document %s: %v", doc, err)
		}
	}
	for _, leg := range []string{"registration", "authorize", "token"} {
		if srv.Count(leg) > 0 {
			t.Errorf("it asked for %s", leg)
		}
	}
}

func TestWhatInspectFinds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault    func(*authtest.Faults)
		want     string
		possible bool
	}{
		"a bare challenge":            {func(f *authtest.Faults) { f.BareChallenge = true }, "no-challenge", true},
		"a challenge without address": {func(f *authtest.Faults) { f.ChallengeWithoutMetadata = true }, "challenge-no-metadata", true},
		"a challenge with two addresses": {func(f *authtest.Faults) {
			f.Challenge = []string{`Bearer resource_metadata="https://a.example/x", resource_metadata="https://b.example/x"`}
		}, "challenge-broken", true},
		"no registration": {func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { delete(m, "registration_endpoint") }
		}, "no-registration", false},
		"no revocation": {func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { delete(m, "revocation_endpoint") }
		}, "no-revocation", true},
		"no iss": {func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") }
		}, "no-iss", true},
		"no PKCE": {func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { delete(m, "code_challenge_methods_supported") }
		}, "login-impossible", false},
		"another resource": {func(f *authtest.Faults) { f.Resource = "https://other.example" }, "login-impossible", false},
		"no refresh": {func(f *authtest.Faults) {
			f.ServerMetadata = func(m map[string]any) { m["grant_types_supported"] = []string{"authorization_code"} }
		}, "no-refresh", true},
		"pushed requests": {func(f *authtest.Faults) { f.RequirePAR = true }, "par-required", true},
		"a server in trouble": {func(f *authtest.Faults) {
			f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"server-metadata": func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusBadGateway)
				return true
			}}
		}, "login-impossible", false},
	} {
		srv := authtest.New(t, nil)
		srv.Set(tc.fault)
		in := inspect(t, srv.MCPURL(), mcpoauth.Options{})
		if !slices.Contains(ids(in), tc.want) || in.Login.Possible != tc.possible || in.Temporary != (name == "a server in trouble") || !tc.possible && len(in.Login.Blockers) == 0 {
			t.Errorf("%s: %v, %+v, temporary %t", name, ids(in), in.Login, in.Temporary)
		}
		for _, f := range in.Findings {
			if f.Message == "" || f.Reference == "" || f.Severity == "" || !slices.Contains(mcpoauth.FindingIDs(), f.ID) {
				t.Errorf("%s: an incomplete finding: %+v", name, f)
			}
		}
	}
}

// TestInspectOfRealDocuments serves what real servers do: nothing may fail, and nothing may reach a
// terminal that does not print.
func TestInspectOfRealDocuments(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/corpus/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d documents, %v", len(files), err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		srv := authtest.New(t, nil)
		answer := func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
			return true
		}
		leg := "server-metadata"
		if strings.Contains(file, "prm") {
			leg = "resource-metadata"
		}
		srv.Set(func(f *authtest.Faults) {
			f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{leg: answer}
		})
		b, err := json.Marshal(inspect(t, srv.MCPURL(), mcpoauth.Options{}))
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if i := strings.IndexFunc(string(b), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%s: %q", file, b[i:min(i+20, len(b))])
		}
	}
}

// TestFindingsAreDocumented keeps docs/inspect.md complete.
func TestFindingsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("docs/inspect.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range mcpoauth.FindingIDs() {
		if !strings.Contains(string(doc), "| `"+id+"` |") {
			t.Errorf("%s is not in docs/inspect.md", id)
		}
	}
}
