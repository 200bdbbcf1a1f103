package takeover

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// fileTree is py-key-value's FileTreeStore, which FastMCP 2.13 and later recommend and fastmcp-remote
// uses: a directory for each collection, a file for each entry, both named by a hash.
type fileTree struct {
	// resources means that a resource has a directory of its own (fastmcp-remote).
	resources bool
}

const fileTreeProgram = "FastMCP 2.13 and later"

// The collections and what ends their keys.
const (
	tokenCollection  = "mcp-oauth-token"
	clientCollection = "mcp-oauth-client-info"
	expiryCollection = "mcp-oauth-token-expiry"
)

func hash8(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// named returns the path in dir whose name is that of s, "" if there is none: a name ends in the hash of
// what it stands for, and what comes before may be cut.
func named(dir, s, suffix string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if e.Name() == s+suffix || strings.HasPrefix(e.Name(), "S_") && strings.HasSuffix(e.Name(), "-"+hash8(s)+suffix) {
			return filepath.Join(dir, e.Name())
		}
	}
	return ""
}

// entry is a stored value.
type entry struct {
	Value     json.RawMessage `json:"value"`
	CreatedAt time.Time       `json:"created_at"`
}

// entries returns the entry of a key in a collection and the file that it lies in, "" if there is none.
type entries func(collection, key string) (path string, e *entry, err error)

// get reads the value of an entry.
func (s entries) get(collection, key string, v any) (path string, at time.Time, err error) {
	path, e, err := s(collection, key)
	if err != nil || path == "" {
		return "", at, err
	}
	if e.sealed() {
		return "", at, &Problem{fileTreeProgram, path, "it is encrypted (FernetEncryptionWrapper) with a key that only the other program has", loginAgain}
	}
	if err := json.Unmarshal(e.Value, v); err != nil {
		return "", at, &Problem{fileTreeProgram, path, "it is not what this program writes", loginAgain}
	}
	return path, e.CreatedAt, nil
}

// sealed reports whether the value is encrypted.
func (e *entry) sealed() bool {
	var v struct {
		Data json.RawMessage `json:"__encrypted_data__"`
	}
	return json.Unmarshal(e.Value, &v) == nil && len(v.Data) > 0
}

// entriesIn returns the entries of a FileTreeStore.
func (fileTree) entriesIn(dir string) entries {
	return func(collection, key string) (string, *entry, error) {
		in := named(dir, collection, "")
		if in == "" {
			return "", nil, nil
		}
		path := named(in, key, ".json")
		if path == "" {
			return "", nil, nil
		}
		var e entry
		if _, ok, err := readJSON(fileTreeProgram, path, &e); err != nil || !ok {
			return "", nil, err
		}
		return path, &e, nil
	}
}

func (f fileTree) find(dir string, q Query) (*Login, error) {
	if f.resources && q.Resource != "" {
		sum := sha256.Sum256([]byte(q.Resource))
		if l, err := (fileTree{}).find(filepath.Join(dir, "resources", hex.EncodeToString(sum[:8])), q); l != nil || err != nil {
			return l, err
		}
	}
	return f.entriesIn(dir).find(q)
}

// find returns the login that q asks for, nil if there is none.
func (s entries) find(q Query) (*Login, error) {
	scheme, authority := origin(q.URL)
	for _, server := range []string{strings.TrimRight(q.URL, "/"), scheme + "://" + authority} {
		l, err := s.read(server)
		if err != nil {
			return nil, err
		}
		if l != nil {
			// Releases 2.13 kept one for the host.
			l.Shared = server != strings.TrimRight(q.URL, "/")
			return l, nil
		}
	}
	return nil, nil
}

func (s entries) read(server string) (*Login, error) {
	var t tokens
	path, at, err := s.get(tokenCollection, server+"/tokens", &t)
	if err != nil || path == "" {
		return nil, err
	}
	var c client
	clientPath, _, err := s.get(clientCollection, server+"/client_info", &c)
	if err != nil {
		return nil, err
	}
	var e struct {
		ExpiresAt float64 `json:"expires_at"`
	}
	if _, _, err := s.get(expiryCollection, server+"/token_expiry", &e); err != nil {
		return nil, err
	}
	files := []string{path}
	if clientPath != "" && clientPath != path {
		files = append(files, clientPath)
	}
	l, err := login(fileTreeProgram, t, c, files...)
	if err != nil {
		return nil, err
	}
	l.Written = at
	// The entry's own expires_at is the store's, not the token's.
	if l.Expiry = seconds(e.ExpiresAt); l.Expiry.IsZero() {
		l.Expiry = ends(at, t.ExpiresIn)
	}
	return l, nil
}

func (f fileTree) survey(dir string) (n int, servers []string, problems []error) {
	in := named(dir, tokenCollection, "")
	if in != "" {
		files, _ := filepath.Glob(filepath.Join(in, "S_*.json"))
		n += len(files)
	}
	if clients := named(dir, clientCollection, ""); clients != "" {
		files, _ := filepath.Glob(filepath.Join(clients, "S_*.json"))
		for _, path := range files {
			var e struct {
				Value struct {
					client
					Sealed json.RawMessage `json:"__encrypted_data__"`
				} `json:"value"`
			}
			if _, ok, err := readJSON(fileTreeProgram, path, &e); err != nil || !ok {
				continue
			}
			if len(e.Value.Sealed) > 0 {
				problems = append(problems, &Problem{fileTreeProgram, path, "it is encrypted (FernetEncryptionWrapper) with a key that only the other program has", loginAgain})
			} else if e.Value.Issuer != "" {
				servers = append(servers, e.Value.Issuer)
			}
		}
	}
	if f.resources {
		more, _ := filepath.Glob(filepath.Join(dir, "resources", "*"))
		for _, m := range more {
			k, s, p := (fileTree{}).survey(m)
			n, servers, problems = n+k, append(servers, s...), append(problems, p...)
		}
	}
	return n, servers, problems
}
