package takeover

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"time"
)

// fastmcpFiles is the cache of FastMCP 2.6 to 2.12: two files for each host.
type fastmcpFiles struct{}

const (
	fastmcpProgram = "FastMCP 2.6 to 2.12"
	tokensSuffix   = "_tokens.json"
	clientSuffix   = "_client_info.json"
)

// names are the base names that the releases gave to a host's files.
func (fastmcpFiles) names(url string) []string {
	scheme, authority := origin(url)
	first := strings.NewReplacer("://", "_", ".", "_", "/", "_", ":", "_").Replace(scheme + "://" + authority)
	var second strings.Builder
	for _, r := range scheme + "://" + authority {
		if strings.ContainsRune(`./\:*?"<>| `, r) {
			r = '_'
		}
		if r == '_' && strings.HasSuffix(second.String(), "_") {
			continue
		}
		second.WriteRune(r)
	}
	names := []string{first}
	if s := strings.Trim(second.String(), "_"); s != first {
		names = append(names, s)
	}
	return names
}

func (f fastmcpFiles) find(dir string, q Query) (*Login, error) {
	for _, name := range f.names(q.URL) {
		l, err := f.read(filepath.Join(dir, name+tokensSuffix), filepath.Join(dir, name+clientSuffix))
		if l != nil || err != nil {
			return l, err
		}
	}
	return nil, nil
}

func (fastmcpFiles) read(tokensPath, clientPath string) (*Login, error) {
	var raw json.RawMessage
	written, ok, err := readJSON(fastmcpProgram, tokensPath, &raw)
	if err != nil || !ok {
		return nil, err
	}
	written, raw = unwrap(raw, written)
	t := struct {
		tokens
		Payload   *tokens `json:"token_payload"`
		ExpiresAt *string `json:"expires_at"`
	}{}
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, &Problem{fastmcpProgram, tokensPath, "it is not what this program writes", loginAgain}
	}
	expiry := time.Time{}
	if t.Payload != nil {
		t.tokens = *t.Payload
		if t.ExpiresAt != nil {
			expiry, _ = time.Parse(time.RFC3339Nano, *t.ExpiresAt)
		}
	} else {
		expiry = ends(written, t.ExpiresIn)
	}
	var c client
	var rawClient json.RawMessage
	if _, _, err := readJSON(fastmcpProgram, clientPath, &rawClient); err != nil {
		return nil, err
	}
	if len(rawClient) > 0 {
		_, rawClient = unwrap(rawClient, written)
		if err := json.Unmarshal(rawClient, &c); err != nil {
			return nil, &Problem{fastmcpProgram, clientPath, "it is not what this program writes", loginAgain}
		}
	}
	l, err := login(fastmcpProgram, t.tokens, c, tokensPath, clientPath)
	if err != nil {
		return nil, err
	}
	l.Expiry, l.Written, l.Shared = expiry, written, true
	return l, nil
}

// unwrap takes the wrapper off that releases 2.12.4 and later put around.
func unwrap(raw json.RawMessage, written time.Time) (time.Time, json.RawMessage) {
	var w struct {
		Data      json.RawMessage `json:"data"`
		Timestamp float64         `json:"timestamp"`
	}
	if json.Unmarshal(raw, &w) != nil || len(w.Data) == 0 || bytes.Equal(w.Data, []byte("null")) {
		return written, raw
	}
	if at := seconds(w.Timestamp); !at.IsZero() {
		written = at
	}
	return written, w.Data
}

func (fastmcpFiles) survey(dir string) (n int, servers []string, problems []error) {
	files, _ := filepath.Glob(filepath.Join(dir, "*"+tokensSuffix))
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), tokensSuffix)
		if !strings.HasPrefix(name, "http_") && !strings.HasPrefix(name, "https_") {
			continue
		}
		n++
		servers = append(servers, name)
	}
	return n, servers, nil
}
