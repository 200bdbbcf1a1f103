package interop

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write interop/servers.json and docs/servers.md")

// products are the authorization servers that go through a cycle.
var products = []product{
	{
		name: "Authlib", version: fromPyPI("authlib"), start: startAuthlib,
		special: "An unknown client is 400 `invalid_client`, a wrong secret 401. A client that registers with the method `none` gets a secret all the same.",
	},
	{
		name: "@node-oauth/oauth2-server", version: fromNPM("@node-oauth/oauth2-server"), start: startNodeOAuth2Server, flags: []string{"--client-id", "pub"},
		special: "A library of the two endpoints: registration, metadata, revocation and what a reused refresh token leads to are the program's. An unknown client is 400 `invalid_client`.",
		setting: "`--client-id`",
	},
	{
		name: "django-oauth-toolkit", version: fromPyPI("django-oauth-toolkit"), start: startDjango, flags: []string{"--client-id", "pub"},
		special: "Registration is off by default (`DCR_ENABLED`), and so is the detection of a reused refresh token (`REFRESH_TOKEN_REUSE_PROTECTION`). The methods listed are Basic and body, yet public clients work. " +
			"Mounted at `/o`, its metadata lies at `/o/.well-known/oauth-authorization-server`.",
		setting: "`--client-id`, unless registration is on",
	},
	{
		name: "oidc-provider", version: fromNPM("oidc-provider"), start: startOIDCProviderFor,
		special: "What it does is configuration: here PKCE, rotation, registration with RFC 7592, resource indicators (without them its tokens are opaque and for nobody in particular). A JWT is refused at the revocation endpoint, so a logout revokes the refresh token.",
	},
	{
		name: "FastMCP, InMemoryOAuthProvider", version: fromPyPI("fastmcp"), start: fastMCPFor("memory"),
		special: "`invalid_grant` is 401. Its clients are gone after a restart; the next login registers again.",
	},
	{
		name: "FastMCP, OAuthProxy", version: fromPyPI("fastmcp"), start: fastMCPFor("proxy"),
		special: "Stands before another authorization server (here oidc-provider) and has a consent page of its own. `invalid_grant` is 401.",
	},
	{
		name: "FastMCP, OIDCProxy", version: fromPyPI("fastmcp"), start: fastMCPFor("oidc"),
		special: "As OAuthProxy, with the endpoints from OpenID Connect metadata.",
	},
	{
		name: "FastMCP, RemoteAuthProvider", version: fromPyPI("fastmcp"), start: fastMCPFor("remote"),
		special: "Names another authorization server (here oidc-provider) and checks its tokens: what the row says is that one's doing.",
	},
	{
		name: "MCP Python SDK", version: fromPyPI("mcp"), start: startPythonSDK,
		special: "The endpoints are the SDK's, what they keep is the program's. There is no page: the program decides.",
	},
	{
		name: "MCP TypeScript SDK v2", version: fromNPM("@modelcontextprotocol/server"), start: startTypeScriptSDK,
		special: "A resource server; its tokens are those of another authorization server (here oidc-provider), whose metadata it serves too.",
	},
	{
		name: "fosite", version: found("fosite", "fosite/go.mod", `(?m)^\s*github.com/ory/fosite v(\S+)`), start: startFositeFor, flags: []string{"--client-id", "pub"},
		special: "A library, the core of Ory Hydra. `scope` is in the callback. `aud` comes from a parameter `audience` of its own. A refresh token comes with the scopes that the program names, by default `offline` or `offline_access`.",
		setting: "`--client-id`",
	},
	{
		name: "zitadel/oidc", version: found("zitadel/oidc", "zitadel/go.mod", `(?m)^\s*github.com/zitadel/oidc/v3 v(\S+)`), start: startZitadelFor, flags: []string{"--client-id", "native"},
		special: "The example provider of the library. It has OpenID Connect metadata only.",
		setting: "`--client-id`",
	},
	{
		name: "workers-oauth-provider", version: fromNPM("@cloudflare/workers-oauth-provider"), start: startWorkersOAuthProvider, life: time.Minute,
		special: "Access tokens live for a minute at least. The old refresh token stays good until the new one is used, so that an answer that was lost costs no login.",
	},
}

// TestProducts takes each product through a cycle.
func TestProducts(t *testing.T) {
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			p.cycle(t)
		})
	}
}

// fromNPM returns the version that package.json has.
func fromNPM(name string) func(*testing.T) string {
	return func(t *testing.T) string {
		var p struct{ Dependencies map[string]string }
		if err := json.Unmarshal(file(t, "package.json"), &p); err != nil {
			t.Fatal(err)
		}
		return pinned(t, name, p.Dependencies[name])
	}
}

// fromPyPI returns the version that the requirements have.
func fromPyPI(name string) func(*testing.T) string {
	return found(name, "products/requirements.txt", `(?m)^`+regexp.QuoteMeta(name)+`==(\S+)$`)
}

// found returns the version that an expression finds in a file.
func found(name, path, expression string) func(*testing.T) string {
	return func(t *testing.T) string {
		if m := regexp.MustCompile(expression).FindSubmatch(file(t, path)); m != nil {
			return pinned(t, name, string(m[1]))
		}
		return pinned(t, name, "")
	}
}

func pinned(t *testing.T, name, version string) string {
	t.Helper()
	if version == "" {
		t.Fatalf("the version of %s is not known", name)
	}
	return version
}

func file(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("peers", path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// startAt starts a server at a free port, and returns its origin.
func startAt(t *testing.T, life time.Duration, ready string, env []string, argv ...string) (origin string) {
	t.Helper()
	port := strconv.Itoa(freePort(t))
	origin = "http://127.0.0.1:" + port
	start(t, origin+ready, append(env, "PORT="+port, seconds(life)), argv...)
	return origin
}

// productsPython is the Python with the products that are written in it.
func productsPython(t *testing.T, name string) string {
	t.Helper()
	return installed(t, name, "products/venv/bin/python")
}

func startAuthlib(t *testing.T, life time.Duration) peer {
	issuer := startAt(t, life, "/.well-known/oauth-authorization-server", nil, productsPython(t, "Authlib"), "products/authlib-server.py")
	return peer{mcpURL: protect(t, issuer, "mcp:read", introspected(issuer+"/introspect"))}
}

func startNodeOAuth2Server(t *testing.T, life time.Duration) peer {
	installed(t, "@node-oauth/oauth2-server", "node_modules/@node-oauth/oauth2-server/package.json")
	issuer := startAt(t, life, "/.well-known/oauth-authorization-server", nil, node(t), "node-oauth2-server.mjs")
	return peer{mcpURL: protect(t, issuer, "mcp:read", introspected(issuer+"/introspect"))}
}

func startDjango(t *testing.T, life time.Duration) peer {
	issuer := startAt(t, life, "/o/.well-known/oauth-authorization-server", []string{"DB=" + filepath.Join(t.TempDir(), "db.sqlite3")},
		productsPython(t, "django-oauth-toolkit"), "products/django-server.py") + "/o"
	return peer{protect(t, issuer, "mcp:read", introspected(issuer+"/introspect/")), issuer + "/introspect/"}
}

func startOIDCProviderFor(t *testing.T, life time.Duration) peer {
	url, _ := startOIDCProvider(t, seconds(life))
	return peer{mcpURL: url}
}

func seconds(life time.Duration) string { return "AT_TTL=" + strconv.Itoa(int(life/time.Second)) }

// fastMCPFor returns what starts FastMCP with one of its ways to do OAuth, with an oidc-provider behind it if need be.
func fastMCPFor(mode string) func(*testing.T, time.Duration) peer {
	return func(t *testing.T, life time.Duration) peer {
		py := productsPython(t, "FastMCP")
		base := "http://127.0.0.1:" + strconv.Itoa(freePort(t))
		env := []string{"MODE=" + mode, seconds(life), "PORT=" + base[strings.LastIndex(base, ":")+1:]}
		if mode != "memory" {
			issuer := startAt(t, life, "/jwks", []string{"MCP=" + base + "/mcp"}, node(t), "oidc-provider.mjs")
			env = append(env, "OP="+issuer)
		}
		start(t, base+"/mcp", env, py, "products/fastmcp-server.py")
		return peer{mcpURL: base + "/mcp"}
	}
}

func startFositeFor(t *testing.T, life time.Duration) peer {
	issuer := startPeerInGo(t, "fosite", fosite, elliptical(t).env(t), "AT_TTL="+life.String())
	return peer{mcpURL: protect(t, issuer, "mcp:read", introspected(issuer+"/introspect")), introspection: issuer + "/introspect"}
}

func startZitadelFor(t *testing.T, life time.Duration) peer {
	issuer := startPeerInGo(t, "zitadel", zitadel, rsaPlatform(t).env(t), seconds(life))
	return peer{mcpURL: protect(t, issuer, "openid", userinfo(issuer))}
}

func startPythonSDK(t *testing.T, life time.Duration) peer {
	return peer{mcpURL: startAt(t, life, "/mcp", nil, productsPython(t, "the MCP Python SDK"), "products/python-sdk-server.py") + "/mcp"}
}

func startTypeScriptSDK(t *testing.T, life time.Duration) peer {
	installed(t, "@modelcontextprotocol/server", "node_modules/@modelcontextprotocol/server/package.json")
	port := strconv.Itoa(freePort(t))
	url := "http://127.0.0.1:" + port + "/mcp"
	issuer := startAt(t, life, "/jwks", []string{"MCP=" + url}, node(t), "oidc-provider.mjs")
	start(t, url, []string{"PORT=" + port, "AS=" + issuer}, node(t), "ts-sdk-v2.mjs")
	return peer{mcpURL: url}
}

func startWorkersOAuthProvider(t *testing.T, life time.Duration) peer {
	port := strconv.Itoa(freePort(t))
	url := "http://localhost:" + port + "/mcp"
	start(t, url, []string{"PORT=" + port, seconds(life)}, node(t), "cloudflare.mjs")
	return peer{mcpURL: url}
}
