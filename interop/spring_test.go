package interop

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// spring goes through its cycle in TestSpring.
var spring = product{
	name: "Spring Authorization Server", version: found("Spring Authorization Server", "spring/pom.xml", `<spring-security.version>(\S+)</spring-security.version>`),
	special: "Registration is closed by default, and where it is open it refuses every registration that names a scope, unless the program says otherwise (`SIMPLE_SCOPE_VALIDATOR`); a client without scopes cannot pass the consent page. " +
		"A client that registers itself gets tokens of 300 s. A public client gets no refresh token. A refresh returns the same refresh token unless `reuseRefreshTokens(false)` is set, as it is here. `none` is not among the methods listed, but works.",
	setting: "`--client-id`, `--client-secret-env`, unless registration is open",
}

// TestSpring starts one Spring Authorization Server for all that is tried.
func TestSpring(t *testing.T) {
	jar := installed(t, "Spring Authorization Server (interop/setup-jdk.sh)", "spring/target/spring.jar")
	const lifetime = 5 * time.Second
	// A quick start matters more than a quick server.
	issuer := startAt(t, lifetime, "/.well-known/oauth-authorization-server", nil, "java", "-Xmx300m", "-XX:TieredStopAtLevel=1", "-jar", jar)
	running := peer{mcpURL: protect(t, issuer, "mcp:read", signedBy(issuer, issuer+"/oauth2/jwks"))}
	t.Run("cycle", func(t *testing.T) {
		t.Parallel()
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("conf-secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		p := spring
		p.flags = []string{"--client-id", "conf", "--client-secret-file", secret}
		p.start = func(*testing.T, time.Duration) peer { return running }
		p.cycle(t)
	})
	t.Run("registration", func(t *testing.T) {
		t.Parallel()
		s := &seat{dir: t.TempDir(), url: running.mcpURL}
		s.login(t)
		if n := listTools(t.Context(), t, s.client(t)); n == 0 {
			t.Error("no tools")
		}
		rec := s.stored(t)
		if rec.Registration.Source != "dynamic" || rec.RefreshToken == "" || !slices.Equal(rec.Scopes, []string{"mcp:read"}) {
			t.Errorf("a %s client, %q, a refresh token: %v", rec.Registration.Source, rec.Scopes, rec.RefreshToken != "")
		}
		if got := rec.Expiry.Sub(rec.IssuedAt); got < 290*time.Second || got > 300*time.Second { // it counts down
			t.Errorf("tokens of %v", got)
		}
		if a := refreshByHand(t, rec, rec.RefreshToken); !a.ok() {
			t.Errorf("a refresh: %v", a)
		}
	})
	t.Run("a public client", func(t *testing.T) {
		t.Parallel()
		s := &seat{dir: t.TempDir(), url: running.mcpURL, flags: []string{"--client-id", "pub"}}
		s.login(t)
		if rec := s.stored(t); rec.RefreshToken != "" {
			t.Error("it has a refresh token; the page says it gets none")
		}
	})
}
