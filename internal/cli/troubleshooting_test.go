//go:build linux

package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

var update = flag.Bool("update", false, "rewrite docs/troubleshooting.md")

const troubleshooting = "../../docs/troubleshooting.md"

// desk is the place of a person with one trouble: a server, a directory for logins and a browser.
type desk struct {
	t   *testing.T
	srv *authtest.Server
	dir string
	env map[string]string
}

// run runs the command and returns its exit code and what a person sees last.
func (d *desk) run(args ...string) (int, string) {
	var env []string
	for name, value := range d.env {
		env = append(env, name+"="+value)
	}
	var errs strings.Builder
	code := run(d.t, env, strings.NewReader(""), io.Discard, &errs, args...)
	return code, errs.String()
}

// login logs in without trouble.
func (d *desk) login(args ...string) {
	d.t.Helper()
	if code, text := d.run(append([]string{"login", d.srv.MCPURL()}, args...)...); code != exitDone {
		d.t.Fatalf("exit code %d: %s", code, text)
	}
}

// endedToken logs in and waits until the access token has ended.
func (d *desk) endedToken() {
	d.srv.Set(func(f *authtest.Faults) { f.TokenAnswer = func(m map[string]any) { m["expires_in"] = 1 } })
	d.login()
	time.Sleep(1100 * time.Millisecond)
}

// at serves a handler and returns its MCP URL.
func (d *desk) at(h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	d.t.Cleanup(srv.Close)
	return srv.URL + "/mcp"
}

func (d *desk) fault(set func(*authtest.Faults)) string {
	d.srv.Set(set)
	return d.srv.MCPURL()
}

func welcome(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<!doctype html><html><title>Welcome</title></html>")
}

// trouble is a section of docs/troubleshooting.md.
type trouble struct {
	title string
	// command is what is run, with URL for what meet returns.
	command string
	// meet makes the trouble and returns the URL.
	meet func(d *desk) string
	code int
	// also is a pattern of another line that is shown.
	also string
	// means and do are the text; what the two lines say already is not repeated.
	means, do string
}

var troubles = []trouble{
	{
		title: "The URL has no scheme", command: "mcpoauth login URL", code: exitUsage,
		meet:  func(*desk) string { return "mcp.example.com/mcp" },
		means: "A URL begins with `https://`.", do: "Copy the whole URL from the server's documentation.",
	},
	{
		title: "Plain http", command: "mcpoauth login URL", code: exitUsage,
		meet:  func(*desk) string { return "http://mcp.example.com/mcp" },
		means: "Without TLS anyone on the network path can read the token. On this machine (`127.0.0.1`, `localhost`) plain http is fine.",
		do:    "Use `https://`. In a network of your own, `--allow-insecure-http` allows it.",
	},
	{
		title: "No such host", command: "mcpoauth login URL", code: exitTemporary,
		meet:  func(d *desk) string { d.nameServer(); return "https://mcp.example.invalid/mcp" },
		means: "No name server knows the host. It counts as temporary (exit code 5), because a machine without a network gets the same error.",
		do:    "Check the spelling, whether other sites work, and whether the server can only be reached in a VPN.",
	},
	{
		title: "Connection refused", command: "mcpoauth login URL", code: exitTemporary,
		meet: func(d *desk) string {
			srv := httptest.NewServer(nil)
			srv.Close()
			return srv.URL + "/mcp"
		},
		means: "The machine answers, but nothing listens on this port.", do: "Check the port, and whether the server runs.",
	},
	{
		title: "A certificate from an unknown authority", command: "mcpoauth login URL", code: exitFailed,
		meet:  func(d *desk) string { return d.tls(time.Now().Add(-time.Hour), time.Now().Add(time.Hour)) },
		means: "The server's certificate was issued by an authority that this machine does not trust: a company's own, or that of a proxy that inspects TLS.",
		do:    "Get that authority's certificate as PEM and give it with `--ca-file FILE`. It is used for all OAuth requests as well.",
	},
	{
		title: "An expired certificate, or a wrong clock", command: "mcpoauth login URL", code: exitFailed,
		meet:  func(d *desk) string { return d.tls(time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)) },
		means: "By this machine's clock the certificate is no longer, or not yet, valid.",
		do:    "Compare `date -u` with another machine. If the clock is right, the server's owner has to renew the certificate. Access tokens need no exact clock: their lifetime is counted from when they were received.",
	},
	{
		title: "A web page instead of an MCP server", command: "mcpoauth login URL", code: exitFailed,
		meet:  func(d *desk) string { return d.at(func(w http.ResponseWriter, _ *http.Request) { welcome(w, 200) }) },
		means: "The address of the product is not that of its MCP server.", do: "Look for the MCP endpoint in its documentation: often `/mcp`, `/sse`, or another host such as `mcp.example.com`.",
	},
	{
		title: "A server that requires no login", command: "mcpoauth login URL", code: exitFailed,
		meet: func(d *desk) string {
			return d.at(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/mcp" {
					http.NotFound(w, r)
				}
			})
		},
		means: "It answers without a token and has no OAuth metadata.", do: "Use it without a login. If it should require one, the URL may be that of another server.",
	},
	{
		title: "No OAuth metadata", command: "mcpoauth login URL", code: exitFailed,
		meet: func(d *desk) string {
			return d.at(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/mcp" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				http.NotFound(w, r)
			})
		},
		means: "The server refuses requests without a token, but does not say how to get one. Many such servers accept API keys, not OAuth.",
		do:    "`mcpoauth inspect URL` lists the addresses that were requested. If you have an API key, `mcpoauth proxy --header \"Authorization: Bearer ${KEY}\" URL` sends it.",
	},
	{
		title: "The metadata is about another server", command: "mcpoauth login URL", code: exitFailed,
		meet: func(d *desk) string {
			return d.fault(func(f *authtest.Faults) { f.Resource = "https://mcp.example.com/mcp" })
		},
		means: "A token for another server must not be requested for this one: its operator could use it there. Behind a proxy the cause is often a server that is not configured with its public name.",
		do:    "Use the URL that the message names, if that is the one you meant. Otherwise its owner has to correct the metadata; `--resource` overrides it if you trust both names.",
	},
	{
		title: "The authorization server has another name", command: "mcpoauth login URL", code: exitFailed,
		meet: func(d *desk) string {
			return d.fault(func(f *authtest.Faults) { f.Issuer = "https://login.example.com/other" })
		},
		means: "The MCP server names one issuer, and the document found there names another one (RFC 8414 section 3.3).",
		do:    "If the second name is right - Microsoft's issuers for all tenants have `{tenantid}` in theirs - pin it as the hint says.",
	},
	{
		title: "PKCE is not advertised", command: "mcpoauth login URL", code: exitFailed,
		meet:  func(d *desk) string { return d.fault(func(f *authtest.Faults) { f.NoPKCE = true }) },
		means: "Without PKCE a stolen authorization code can be used by the thief. Some servers support PKCE without advertising it.",
		do:    "Ask the server's owner, or look in its documentation for `S256`; then `--allow-missing-pkce`. PKCE is used in any case.",
	},
	{
		title: "No dynamic registration", command: "mcpoauth login URL", code: exitFailed,
		meet:  func(d *desk) string { return d.fault(func(f *authtest.Faults) { f.NoRegistration = true }) },
		means: "Most companies' servers (GitHub, Google, Microsoft, Slack, Okta) accept only clients that were registered by hand.",
		do: "Register one in the provider's console, as a native, desktop or public application, and log in with it: " +
			"`mcpoauth login URL --client-id ID --callback-port 8910 --client-secret-env SECRET`.",
	},
	{
		title: "The redirect URI is refused", command: "mcpoauth login URL", code: exitFailed,
		meet: func(d *desk) string {
			return d.fault(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"registration": func(w http.ResponseWriter, _ *http.Request) bool {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, `{"error":"invalid_redirect_uri","error_description":"127.0.0.1 is not allowed"}`)
					return true
				}}
			})
		},
		means: "Some servers accept only `localhost`, some only `127.0.0.1`. With a client registered by hand the browser shows such an error instead, and the login gets no response.",
		do:    "Follow the hint; for a client registered by hand make `--callback-host`, `--callback-port` and `--callback-path` exactly those of its registration.",
	},
	{
		title: "The resource parameter is refused", command: "mcpoauth login URL", code: exitFailed,
		meet:  func(d *desk) string { return d.fault(func(f *authtest.Faults) { f.RejectResource = true }) },
		means: "MCP requires the parameter; some authorization servers do not support it (Microsoft Entra ID) or expect another value.",
		do:    "`--no-resource`, or `--resource` with what the server's documentation says. The login remembers it.",
	},
	{
		title: "A scope that is not granted", command: "mcpoauth login URL --scope admin:all", code: exitFailed,
		meet:  func(d *desk) string { return d.srv.MCPURL() },
		means: "The authorization server does not know the scope, or does not grant it to this client or person.",
		do:    "Leave `--scope` out: the server names the scopes that it needs. `mcpoauth inspect URL` shows it.",
	},
	{
		title: "The server demands a scope that a login does not grant", command: "mcpoauth run URL -- PROGRAM", code: exitDone,
		meet: func(d *desk) string {
			return d.fault(func(f *authtest.Faults) {
				f.Intercept = map[string]func(http.ResponseWriter, *http.Request) bool{"mcp": func(w http.ResponseWriter, _ *http.Request) bool {
					w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="mcp:write"`)
					w.WriteHeader(http.StatusForbidden)
					return true
				}}
			})
		},
		means: "The MCP server answered 403 `insufficient_scope`. A login for the scope was made once, and the new token did not help: the server demands a scope that its authorization server does not put into tokens, or that the account does not have.",
		do:    "Compare the scopes in `mcpoauth list` with the one in the message, and ask the server's owner about your account. Where no person can be asked (`token`, a service), run the command in the hint once.",
	},
	{
		title: "Access denied", command: "mcpoauth login URL", code: exitDenied,
		meet:  func(d *desk) string { d.env["TESTBROWSER"] = "deny"; return d.srv.MCPURL() },
		means: "The person pressed \"deny\", or the server's rules do not allow this person or client (exit code 4).",
		do:    "If you did not, ask the server's administrator; some companies must approve an application first.",
	},
	{
		title: "No response from the browser", command: "mcpoauth login URL --timeout 2s", code: exitTemporary,
		meet:  func(d *desk) string { d.env["TESTBROWSER"] = "never"; return d.srv.MCPURL() },
		means: "The page was not finished in time, or the browser runs on another machine and cannot reach this one, or the page showed an error and did not redirect the browser.",
		do: "Look at the page. An error about the client: `mcpoauth login URL --new-client`. A page that does not load at the end: paste its address into the terminal. " +
			"Five minutes are the limit unless `--timeout` says otherwise.",
	},
	{
		title: "No browser and no terminal", command: "mcpoauth login URL --timeout 2s", code: exitTemporary, also: `no browser here .*`,
		meet: func(d *desk) string {
			for _, name := range []string{"BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"} {
				d.env[name] = ""
			}
			d.env["SSH_CONNECTION"] = "192.0.2.1 50000 192.0.2.2 22"
			return d.srv.MCPURL()
		},
		means: "A service, a container or an SSH session cannot open the page.",
		do:    "Log in by hand once, in a terminal, with `--no-browser`; the login is stored and refreshed automatically. If the server supports it, `--grant device-code` needs only a phone. For programs without a person: `--grant client-credentials`.",
	},
	{
		title: "The callback port is taken", command: "mcpoauth login URL --callback-port PORT", code: exitFailed,
		meet: func(d *desk) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				d.t.Fatal(err)
			}
			d.t.Cleanup(func() { _ = l.Close() })
			d.env["PORT"] = fmt.Sprint(l.Addr().(*net.TCPAddr).Port) // a TCP listener's
			return d.srv.MCPURL()
		},
		means: "Another program, or another login with the same port, uses it.", do: "Wait until it ends, or choose another port that the client's registration allows.",
	},
	{
		title: "Another login is under way", command: "mcpoauth login URL --timeout 2s", code: exitTemporary,
		meet: func(d *desk) string {
			st, err := filestore.New(d.dir)
			if err != nil {
				d.t.Fatal(err)
			}
			_, unlock, err := st.Lock(context.Background(), store.Key{Kind: store.KindLogin, ID: d.srv.MCPURL()}, "login")
			if err != nil {
				d.t.Fatal(err)
			}
			d.t.Cleanup(func() { _ = unlock() })
			return d.srv.MCPURL()
		},
		means: "One login per server and profile is enough: a second one waits for it and uses its result. The first may be waiting in a hidden browser window.",
		do:    "Finish or end the first. The lock is released when its process ends, so nothing has to be deleted.",
	},
	{
		title: "Not logged in", command: "mcpoauth token URL", code: exitLoginRequired,
		meet:  func(d *desk) string { return d.srv.MCPURL() },
		means: "Only `login` opens a browser (exit code 3). The URL must be the one that was logged in to: `/mcp` and `/mcp/` are different.", do: "`mcpoauth list` shows the stored logins. Programs of another user, or with another `MCPOAUTH_DIR`, have other logins.",
	},
	{
		title: "The login belongs to another profile", command: "mcpoauth token URL", code: exitLoginRequired,
		meet:  func(d *desk) string { d.login("--profile", "work"); return d.srv.MCPURL() },
		means: "Each profile has a login of its own, so that two accounts never mix.", do: "Add `--profile`, or set `MCPOAUTH_PROFILE`.",
	},
	{
		title: "The refresh token is no longer valid", command: "mcpoauth token URL", code: exitLoginRequired,
		meet: func(d *desk) string {
			d.endedToken()
			d.srv.RevokeAll()
			return d.srv.MCPURL()
		},
		means: "The server ended the login: it was revoked, unused for too long, or used by a copy of it elsewhere (which servers treat as theft).",
		do:    "Log in again. If it happens daily, look for a second program that uses a copy of the stored login; several `mcpoauth` processes that share one directory do not interfere.",
	},
	{
		title: "The server no longer knows this client", command: "mcpoauth token URL", code: exitLoginRequired,
		meet: func(d *desk) string {
			d.endedToken()
			d.srv.ForgetClients()
			return d.srv.MCPURL()
		},
		means: "It lost the dynamic registration, for example by being installed anew.", do: "Log in again; a new client is registered automatically.",
	},
	{
		title: "The server fails", command: "mcpoauth login URL", code: exitTemporary,
		meet: func(d *desk) string {
			return d.fault(func(f *authtest.Faults) { f.Fail = map[string]int{"server-metadata": 503} })
		},
		means: "A 5xx response, or 429, is temporary (exit code 5). It does not change a stored login.", do: "Try again later; a script can retry on exit code 5.",
	},
	{
		title: "A web page instead of a token", command: "mcpoauth token URL", code: exitTemporary,
		meet: func(d *desk) string {
			d.endedToken()
			return d.fault(func(f *authtest.Faults) { f.Fail = map[string]int{"refresh": 200} })
		},
		means: "A captive portal (hotel, train) or a firewall answers for the server. The login is kept.", do: "Open any page in a browser and sign in to the network, then try again. In a company, the proxy's administrator may have to allow the authorization server.",
	},
	{
		title: "The directory cannot be written", command: "mcpoauth login URL", code: exitFailed,
		meet:  func(d *desk) string { d.readOnly(); return d.srv.MCPURL() },
		means: "This is checked before the browser opens, so that no login is lost.", do: "Logins are in `~/.local/state/mcpoauth` (macOS: `~/Library/Application Support/mcpoauth`, Windows: `%LocalAppData%\\mcpoauth`) unless `MCPOAUTH_DIR` or `--store` says otherwise; a container needs a volume there.",
	},
	{
		title: "A stored login is damaged", command: "mcpoauth token URL", code: exitFailed,
		meet: func(d *desk) string {
			d.login()
			files, err := filepath.Glob(filepath.Join(d.dir, "*.json"))
			if err != nil || len(files) == 0 {
				d.t.Fatal("no records", err)
			}
			for _, f := range files {
				if err := os.Truncate(f, 40); err != nil {
					d.t.Fatal(err)
				}
			}
			return d.srv.MCPURL()
		},
		means: "Something other than `mcpoauth` changed the file, for example folder synchronisation.", do: "Log in again. The damaged file is kept under another name.",
	},
}

// nameServer makes a name server on loopback that knows nobody the one to ask.
func (d *desk) nameServer() {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			// The question comes back as an answer: NXDOMAIN, no other record (RFC 1035 section 4.1.1).
			b[2], b[3] = b[2]|0x80, 0x83
			_, _ = conn.WriteTo(b[:n], from)
		}
	}()
	d.t.Cleanup(func() { _ = conn.Close() })
	d.env[resolverEnv] = conn.LocalAddr().String()
}

// Variables by which a command of a desk is another user's, or asks another name server.
const (
	userEnv     = "TESTUSER"
	resolverEnv = "TESTRESOLVER"
)

// beforeMain changes what a command finds outside its environment.
func beforeMain() {
	if at := os.Getenv(resolverEnv); at != "" {
		net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", at)
		}}
	}
	if id, err := strconv.Atoi(os.Getenv(userEnv)); err == nil {
		if err := syscall.Seteuid(id); err != nil {
			panic(err)
		}
	}
}

// tls serves with a certificate of its own making.
func (d *desk) tls(from, until time.Time) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		d.t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	d.t.Cleanup(srv.Close)
	return srv.URL + "/mcp"
}

// readOnly takes the right to write to the directory away, from root too.
func (d *desk) readOnly() {
	if err := os.Mkdir(d.dir, 0o500); err != nil {
		d.t.Fatal(err)
	}
	if os.Getuid() != 0 {
		return
	}
	for _, dir := range []string{d.dir, filepath.Dir(d.dir), filepath.Dir(filepath.Dir(d.dir))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			d.t.Fatal(err)
		}
	}
	const nobody = 65534
	if err := os.Chown(d.dir, nobody, nobody); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Chmod(d.dir, 0o500); err != nil {
		d.t.Fatal(err)
	}
	d.env[userEnv] = strconv.Itoa(nobody)
}

// normal takes what differs from run to run out of a text.
func (d *desk) normal(text string) string {
	for _, r := range []struct{ pattern, with string }{
		{regexp.QuoteMeta(d.dir), "DIR"},
		{`(127\.0\.0\.1|ssh -L |port |--callback-port )(:?)[0-9]{4,5}`, "${1}${2}PORT"},
		{`:[0-9]{4,5}:127\.0\.0\.1:`, ":127.0.0.1:"},
		{`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]+Z`, "TIME"},
		{`DIR/[A-Za-z0-9_.-]+`, "DIR/FILE"},
		{`ssh -L (\S+) \S+`, "ssh -L $1 you@this-machine"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.with)
	}
	return text
}

// wrap breaks a paragraph into lines.
func wrap(text string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		if column > 0 && column+1+len(word) > 130 {
			b.WriteString("\n")
			column = 0
		} else if column > 0 {
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// TestTroubleshooting meets each trouble and compares docs/troubleshooting.md with what a person sees.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	have, err := os.ReadFile(troubleshooting)
	if err != nil && !*update {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Troubleshooting\n\n" + wrap("An error is two lines: what happened, and what to do about it. These are the commonest ones, as the command prints them, with "+
		"what is behind them. `mcpoauth inspect URL` shows how a server does OAuth and what a login there would do; `--log-level debug` tells every exchange, without secrets.") +
		"\n\nExit codes: 1 it failed for good, 2 the command line is wrong, 3 a person has to log in, 4 refused, 5 try again later.\n")
	browser := asBrowser(t)
	sections := make([]string, len(troubles))
	t.Run("met", func(t *testing.T) {
		for i, tr := range troubles {
			t.Run(tr.title, func(t *testing.T) {
				t.Parallel()
				sections[i] = tr.section(t, browser)
			})
		}
	})
	for i, tr := range troubles {
		section := sections[i]
		if section == "" {
			// It could not be met here.
			_, rest, _ := strings.Cut(string(have), "\n## "+tr.title+"\n")
			text, _, _ := strings.Cut(rest, "\n## ")
			section = "\n## " + tr.title + "\n" + text
		}
		b.WriteString(section)
	}
	switch {
	case t.Failed():
	case *update:
		if err := os.WriteFile(troubleshooting, []byte(b.String()), 0o644); err != nil { // a public document
			t.Fatal(err)
		}
	case string(have) != b.String():
		want := strings.Split(b.String(), "\n")
		for i, line := range strings.Split(string(have), "\n") {
			if i >= len(want) || line != want[i] {
				t.Fatalf("docs/troubleshooting.md is not what the command says; run: go test ./internal/cli -run TestTroubleshooting -update\nline %d is %q\nwant    %q", i+1, line, append(want, "")[min(i, len(want))])
			}
		}
		t.Fatal("docs/troubleshooting.md lacks its end; run: go test ./internal/cli -run TestTroubleshooting -update")
	}
}

// section meets the trouble and writes it down.
func (tr *trouble) section(t *testing.T, browser string) string {
	d := &desk{t: t, srv: authtest.New(t, &authtest.Options{Lenient: true}), dir: filepath.Join(t.TempDir(), "logins")}
	d.env = map[string]string{"MCPOAUTH_DIR": d.dir, "BROWSER": browser, "USER": "you"}
	url := tr.meet(d)
	args := strings.Fields(strings.NewReplacer("URL", url, "PORT", d.env["PORT"], "PROGRAM", "testprogram").Replace(tr.command))[1:]
	code, text := d.run(args...)
	if code != tr.code {
		t.Errorf("exit code %d, want %d\n%s", code, tr.code, text)
	}
	lines := regexp.MustCompile(`(mcpoauth: [^\n]+\nhint: [^\n]+\n)$`).FindString(text)
	if lines == "" {
		t.Fatalf("it does not end in two lines:\n%s", text)
	}
	mustBePlain(fatalf(t.Errorf), text)
	if tr.also != "" {
		line := regexp.MustCompile(tr.also).FindString(text)
		if line == "" {
			t.Fatalf("%q is missing in:\n%s", tr.also, text)
		}
		lines = line + "\n" + lines
	}
	return fmt.Sprintf("\n## %s\n\n```console\n$ %s\n%s```\n\n%s\n",
		tr.title, d.normal(strings.ReplaceAll(tr.command, "URL", url)), d.normal(lines), wrap(tr.means+" "+tr.do))
}
