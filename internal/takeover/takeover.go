// Package takeover reads the logins that other programs keep in files: FastMCP and its bridge, and
// mcp-remote. It reads and changes nothing.
package takeover

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// maxFile bounds what is read, bytes.
const maxFile = 1 << 20

// Login is what another program has stored for a server. It holds secrets.
type Login struct {
	// Program that wrote it, and its files.
	Program string
	Files   []string

	AccessToken, RefreshToken, TokenType string
	Scope                                string
	// Expiry of the access token, the zero time if it is not known. Written is when it was received.
	Expiry, Written time.Time
	// Issuer that the client was registered with, "" if the program did not note it.
	Issuer string
	// Shared means that the program kept one login for all endpoints of a host.
	Shared bool

	ClientID, ClientSecret, AuthMethod string
	SecretExpiry                       time.Time
	RedirectURIs                       []string
}

// Problem is something that was found and cannot be taken over.
type Problem struct {
	// Program it belongs to, Path where it lies, Reason why not, Hint what to do instead.
	Program, Path, Reason, Hint string
}

// Error implements error.
func (p *Problem) Error() string { return p.Program + ": " + p.Path + ": " + p.Reason }

// HintText says what to do.
func (p *Problem) HintText() string { return p.Hint }

const loginAgain = "log in again: mcpoauth login URL"

// Query says which login is wanted.
type Query struct {
	// URL of the server, as it was typed to the other program.
	URL string
	// Resource, Headers ("Name: value", values before any ${VAR} is replaced) and AuthorizeParams are
	// what the other program was started with: they are part of mcp-remote's names.
	Resource        string
	Headers         []string
	AuthorizeParams map[string]string
}

// Place is a directory to look in.
type Place struct {
	// Dir is the directory; Program what is expected there, "" if nothing is known.
	Dir, Program string
	// formats that may lie there.
	formats []format
}

// format is one way of keeping logins.
type format interface {
	// find returns the login that q asks for, nil if there is none in dir.
	find(dir string, q Query) (*Login, error)
	// survey reports how many logins there are in dir, and what can be said of their servers.
	survey(dir string) (n int, servers []string, problems []error)
}

// Places returns where the programs keep their logins by default, by their own environment variables.
func Places(home string, getenv func(string) string) []Place {
	fastmcp := getenv("FASTMCP_HOME")
	if fastmcp == "" {
		fastmcp = filepath.Join(home, ".fastmcp")
	}
	bridge := getenv("FASTMCP_REMOTE_CONFIG_DIR")
	if bridge == "" {
		bridge = filepath.Join(home, ".fastmcp", "remote")
	}
	mcpRemote := getenv("MCP_REMOTE_CONFIG_DIR")
	if mcpRemote == "" {
		mcpRemote = filepath.Join(home, ".mcp-auth")
	}
	return []Place{
		{filepath.Join(fastmcp, "oauth-mcp-client-cache"), "FastMCP", []format{fastmcpFiles{}}},
		{filepath.Join(fastmcp, "oauth-tokens"), "FastMCP", []format{fileTree{}, diskStore{}}},
		{bridge, "fastmcp-remote", []format{fileTree{resources: true}}},
		{mcpRemote, "mcp-remote", []format{mcpRemoteFiles{}}},
	}
}

// PlaceOf returns a directory that may hold any format.
func PlaceOf(dir string) Place {
	return Place{dir, "", []format{fastmcpFiles{}, fileTree{resources: true}, diskStore{}, mcpRemoteFiles{}}}
}

// Find returns the logins for a server in these places, the newest first, and what cannot be read.
func Find(places []Place, q Query) (found []*Login, problems []error) {
	for _, p := range places {
		for _, f := range p.formats {
			l, err := f.find(p.Dir, q)
			if err != nil {
				problems = append(problems, err)
			}
			if l != nil {
				if l.Program == "" {
					l.Program = p.Program
				}
				found = append(found, l)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b *Login) int { return b.Written.Compare(a.Written) })
	return found, problems
}

// Summary says what lies in a place.
type Summary struct {
	Place
	// Logins counts them; Servers is what is known of theirs: issuers, or names that may be read.
	Logins  int
	Servers []string
}

// Survey says what lies in these places. Names are hashes or lossy, so most servers are not known.
func Survey(places []Place) (found []Summary, problems []error) {
	for _, p := range places {
		s := Summary{Place: p}
		for _, f := range p.formats {
			n, servers, bad := f.survey(p.Dir)
			s.Logins += n
			s.Servers = append(s.Servers, servers...)
			problems = append(problems, bad...)
		}
		slices.Sort(s.Servers)
		s.Servers = slices.Compact(s.Servers)
		if s.Logins > 0 {
			found = append(found, s)
		}
	}
	return found, problems
}

// readJSON reads a file into v. Without a file it reports false.
func readJSON(program, path string, v any) (written time.Time, ok bool, err error) {
	f, err := os.Open(path) // where the other program keeps it
	if errors.Is(err, os.ErrNotExist) {
		return written, false, nil
	}
	if err != nil {
		return written, false, &Problem{program, path, "it cannot be read: " + plainError(err), "check its permissions"}
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return written, false, &Problem{program, path, "it is not a file", loginAgain}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(b) > maxFile {
		return written, false, &Problem{program, path, "it cannot be read, or is too long", loginAgain}
	}
	if err := json.Unmarshal(b, v); err != nil {
		return written, false, &Problem{program, path, "it is damaged", loginAgain}
	}
	return info.ModTime(), true, nil
}

func plainError(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// tokens is a token response as the programs keep it.
type tokens struct {
	AccessToken  string   `json:"access_token"`
	TokenType    string   `json:"token_type"`
	ExpiresIn    *float64 `json:"expires_in"`
	Scope        string   `json:"scope"`
	RefreshToken string   `json:"refresh_token"`
}

// client is a registration (RFC 7591) as the programs keep it.
type client struct {
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	SecretExpiry float64  `json:"client_secret_expires_at"`
	AuthMethod   string   `json:"token_endpoint_auth_method"`
	RedirectURIs []string `json:"redirect_uris"`
	Issuer       string   `json:"issuer"`
}

// login puts the parts together. They are strangers' data: nothing in them may reach a terminal as it is.
func login(program string, t tokens, c client, files ...string) (*Login, error) {
	switch {
	case t.AccessToken == "":
		return nil, &Problem{program, files[0], "there is no access token in it", loginAgain}
	case c.ClientID == "":
		return nil, &Problem{program, files[0], "the client that it was issued to is not stored, without which it cannot be refreshed", loginAgain}
	}
	for _, s := range []string{t.AccessToken, t.RefreshToken, c.ClientID, c.ClientSecret, c.Issuer} {
		if wire.Clean(s) != s && len(s) < 256 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, &Problem{program, files[0], "it has characters that no token has", loginAgain}
		}
	}
	l := &Login{
		Program: program, Files: files, AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, TokenType: t.TokenType, Scope: t.Scope,
		Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: c.ClientSecret, AuthMethod: c.AuthMethod, RedirectURIs: c.RedirectURIs,
		SecretExpiry: seconds(c.SecretExpiry),
	}
	if c.ClientSecret == "" {
		l.AuthMethod = "none" // what the client asked for is no matter without a secret
	}
	return l, nil
}

// seconds is a time in seconds since 1970, the zero time for 0 and for what no calendar has.
func seconds(s float64) time.Time {
	if s <= 0 || s > 1e11 {
		return time.Time{}
	}
	return time.UnixMilli(int64(s * 1000))
}

// ends returns when a token ends that was written at a time with a lifetime, the zero time if it does
// not say.
func ends(written time.Time, expiresIn *float64) time.Time {
	if expiresIn == nil || *expiresIn < 0 || *expiresIn > 1e9 {
		return time.Time{}
	}
	return written.Add(time.Duration(*expiresIn * float64(time.Second)))
}

// spellings are the ways in which the same URL may have been typed.
func spellings(url string) []string {
	short := strings.TrimRight(url, "/")
	return slices.Compact([]string{url, short, short + "/"})
}

// origin returns scheme and authority of a URL as typed.
func origin(url string) (scheme, authority string) {
	scheme, rest, _ := strings.Cut(url, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return scheme, rest
}
