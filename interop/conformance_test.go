package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestConformance runs MCP's own client scenarios, each at every specification version that it lists.
func TestConformance(t *testing.T) {
	n := node(t)
	suite := installed(t, "the npm package @modelcontextprotocol/conformance", "node_modules/@modelcontextprotocol/conformance/dist/index.js")
	client := filepath.Join(t.TempDir(), "client")
	if out, err := exec.Command("go", "build", "-o", client, "./conformanceclient").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list, err := exec.Command(n, suite, "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(list), "Authorization server")
	scenarios := regexp.MustCompile(`(?m)^\s+- (auth/\S+) \[([^\]]+)\]`).FindAllStringSubmatch(text, -1)
	runs := 0
	for _, s := range scenarios {
		for version := range strings.SplitSeq(s[2], ",") {
			if !strings.HasPrefix(version, "20") {
				continue // an extension
			}
			runs++
			t.Run(s[1]+"@"+version, func(t *testing.T) {
				t.Parallel()
				passes(t, n, suite, client, "--scenario", s[1], "--spec-version", version)
			})
		}
	}
	if runs != 44 {
		t.Errorf("%d runs, want 44", runs)
	}
	// The extensions that are supported.
	for _, scenario := range []string{"auth/client-credentials-jwt", "auth/client-credentials-basic", "auth/wif-jwt-bearer", "auth/enterprise-managed-authorization", "auth/dpop", "auth/dpop-nonce"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			passes(t, n, suite, client, "--scenario", scenario)
		})
	}
}

// passes runs a scenario of the suite.
func passes(t *testing.T, node, suite, client string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, append([]string{suite, "client", "--command", client}, args...)...)
	cmd.Dir, cmd.Env = t.TempDir(), os.Environ()
	out, err := cmd.CombinedOutput()
	if passed := regexp.MustCompile(`Passed: (\d+)/(\d+), 0 failed, 0 warnings`).FindStringSubmatch(string(out)); err != nil || passed == nil || passed[1] != passed[2] {
		t.Errorf("%v\n%s", err, out)
	}
}
