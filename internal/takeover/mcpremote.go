package takeover

import (
	"bytes"
	"crypto/md5" // how the other program names its files
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mcpRemoteFiles is mcp-remote's directory: one folder for each version, two files for each login, named
// by a hash of what the program was started with.
type mcpRemoteFiles struct{}

const mcpRemoteProgram = "mcp-remote"

// hashes are the names that a query's login may have.
func (mcpRemoteFiles) hashes(q Query) []string {
	var out []string
	for _, url := range spellings(q.URL) {
		parts := []string{url}
		if q.Resource != "" {
			parts = append(parts, q.Resource)
		}
		if len(q.AuthorizeParams) > 0 {
			parts = append(parts, object(q.AuthorizeParams))
		}
		if len(q.Headers) > 0 {
			headers := make(map[string]string)
			for _, h := range q.Headers {
				name, value, _ := strings.Cut(h, ":")
				headers[name] = strings.TrimSpace(value)
			}
			parts = append(parts, object(headers))
		}
		sum := md5.Sum([]byte(strings.Join(parts, "|"))) // as above
		out = append(out, hex.EncodeToString(sum[:]))
	}
	return out
}

// object is JSON as JavaScript writes it: compact, and no character escaped that need not be.
func object(m map[string]string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(m) // strings always can be
	return strings.TrimSuffix(b.String(), "\n")
}

// folders are the versions' folders, and dir itself where it is one.
func (mcpRemoteFiles) folders(dir string) []string {
	folders, _ := filepath.Glob(filepath.Join(dir, "mcp-remote-*"))
	slices.Reverse(folders)
	return append(folders, dir)
}

func (m mcpRemoteFiles) find(dir string, q Query) (*Login, error) {
	var newest *Login
	var problem error
	for _, folder := range m.folders(dir) {
		for _, hash := range m.hashes(q) {
			l, err := m.read(filepath.Join(folder, hash+tokensSuffix), filepath.Join(folder, hash+clientSuffix))
			if err != nil {
				problem = err
			}
			if l != nil && (newest == nil || l.Written.After(newest.Written)) {
				newest = l
			}
		}
	}
	if newest != nil {
		problem = nil
	}
	return newest, problem
}

func (mcpRemoteFiles) read(tokensPath, clientPath string) (*Login, error) {
	t := struct {
		tokens
		ExpiresAt float64 `json:"expires_at"`
		Issuer    string  `json:"issuer"`
	}{}
	written, ok, err := readJSON(mcpRemoteProgram, tokensPath, &t)
	if err != nil || !ok {
		return nil, err
	}
	var c client
	if _, _, err := readJSON(mcpRemoteProgram, clientPath, &c); err != nil {
		return nil, err
	}
	if c.Issuer == "" {
		c.Issuer = t.Issuer
	}
	if t.Issuer != "" && t.Issuer != c.Issuer {
		return nil, &Problem{mcpRemoteProgram, tokensPath, "its token and its client are of different issuers", loginAgain}
	}
	l, err := login(mcpRemoteProgram, t.tokens, c, tokensPath, clientPath)
	if err != nil {
		return nil, err
	}
	l.Written = written
	// Milliseconds.
	if l.Expiry = seconds(t.ExpiresAt / 1000); l.Expiry.IsZero() {
		l.Expiry = ends(written, t.ExpiresIn)
	} else if life := ends(time.Time{}, t.ExpiresIn).Sub(time.Time{}); t.ExpiresIn != nil {
		l.Written = l.Expiry.Add(-life)
	}
	return l, nil
}

func (m mcpRemoteFiles) survey(dir string) (n int, servers []string, problems []error) {
	for _, folder := range m.folders(dir) {
		files, _ := filepath.Glob(filepath.Join(folder, "*"+tokensSuffix))
		for _, f := range files {
			name := strings.TrimSuffix(filepath.Base(f), tokensSuffix)
			if b, err := hex.DecodeString(name); err != nil || len(b) != md5.Size {
				continue
			}
			n++
			var c client
			if _, ok, err := readJSON(mcpRemoteProgram, filepath.Join(folder, name+clientSuffix), &c); ok && err == nil && c.Issuer != "" {
				servers = append(servers, c.Issuer)
			}
		}
	}
	return n, servers, nil
}
