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

// judge is MCP's conformance suite and a client that it judges.
func judge(t *testing.T, program string) (nodeJS, suite, client string) {
	t.Helper()
	suite = installed(t, "the npm package @modelcontextprotocol/conformance", "node_modules/@modelcontextprotocol/conformance/dist/index.js")
	client = filepath.Join(t.TempDir(), "client")
	if out, err := exec.Command("go", "build", "-o", client, program).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return node(t), suite, client
}

// everyRun runs the client scenarios whose names match, each at every specification version that it lists, and
// returns how many runs that were.
func everyRun(t *testing.T, names, node, suite, client string) (runs int) {
	t.Helper()
	list, err := exec.Command(node, suite, "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(list), "Client scenarios")
	text, _, _ = strings.Cut(text, "Authorization server")
	for _, s := range regexp.MustCompile(`(?m)^\s+- (`+names+`) \[([^\]]+)\]`).FindAllStringSubmatch(text, -1) {
		for version := range strings.SplitSeq(s[2], ",") {
			if !strings.HasPrefix(version, "20") {
				continue // an extension
			}
			runs++
			t.Run(s[1]+"@"+version, func(t *testing.T) {
				t.Parallel()
				passes(t, node, suite, client, "--scenario", s[1], "--spec-version", version)
			})
		}
	}
	return runs
}

// TestConformanceThroughTheBridge: a plain stdio client without OAuth, and the bridge before it.
func TestConformanceThroughTheBridge(t *testing.T) {
	n, suite, client := judge(t, "./stdioclient")
	bridge, err := command()
	if err != nil {
		t.Fatalf("%v: %s", err, bridge)
	}
	t.Setenv("MCPOAUTH", bridge)
	t.Run("all", func(t *testing.T) {
		if runs := everyRun(t, `auth/\S+|initialize|tools_call|sse-retry|request-metadata|http-\S+`, n, suite, client); runs != 54 {
			t.Errorf("%d runs, want 54", runs)
		}
	})
}

// TestConformance runs MCP's own client scenarios.
func TestConformance(t *testing.T) {
	n, suite, client := judge(t, "./conformanceclient")
	if runs := everyRun(t, `auth/\S+`, n, suite, client); runs != 44 {
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
