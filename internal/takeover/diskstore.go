package takeover

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/sqlitefile"
)

// diskStore is py-key-value's DiskStore, which FastMCP 2.13 and 2.14 keep logins in: an SQLite database of python's
// diskcache with one table for all entries.
type diskStore struct{}

const (
	diskStoreProgram = "FastMCP 2.13 and later (DiskStore)"
	// diskStoreCopy is the way out of what is not read.
	diskStoreCopy = loginAgain + "; or let FastMCP copy it into a FileTreeStore, and name that directory with --from"
)

// load returns the values of a DiskStore by collection, "::" and key, nil if there is no database in dir.
func (diskStore) load(dir string) (path string, values map[string]*entry, err error) {
	path = filepath.Join(dir, "cache.db")
	ours, err := sqlitefile.IsDatabase(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !ours:
		return "", nil, nil
	case err != nil:
		return "", nil, &Problem{diskStoreProgram, path, "it cannot be read: " + err.Error(), "check its permissions"}
	}
	rows, err := sqlitefile.Rows(path, "Cache")
	if err != nil {
		return "", nil, &Problem{diskStoreProgram, path, err.Error(), diskStoreCopy}
	}
	values = map[string]*entry{}
	for _, r := range rows {
		key, ok := r["key"].(string)
		if !ok {
			continue // another program's
		}
		var e entry
		if text, ok := r["value"].(string); !ok || json.Unmarshal([]byte(text), &e) != nil {
			// A large value is a file beside the database. No login is that large.
			e = entry{}
		}
		values[key] = &e
	}
	return path, values, nil
}

// entriesIn returns the entries of a DiskStore.
func (d diskStore) entriesIn(path string, values map[string]*entry) entries {
	return func(collection, key string) (string, *entry, error) {
		e := values[collection+"::"+key]
		if e == nil {
			return "", nil, nil
		}
		return path, e, nil
	}
}

func (d diskStore) find(dir string, q Query) (*Login, error) {
	path, values, err := d.load(dir)
	if err != nil || values == nil {
		return nil, err
	}
	return d.entriesIn(path, values).find(q)
}

func (d diskStore) survey(dir string) (n int, servers []string, problems []error) {
	path, values, err := d.load(dir)
	if err != nil {
		return 0, nil, []error{err}
	}
	sealed := false
	for key, e := range values {
		server, isToken := strings.CutPrefix(key, tokenCollection+"::")
		if !isToken {
			continue
		}
		n++
		servers = append(servers, strings.TrimSuffix(server, "/tokens"))
		sealed = sealed || e.sealed()
	}
	if sealed {
		problems = append(problems, &Problem{diskStoreProgram, path, "it is encrypted (FernetEncryptionWrapper) with a key that only the other program has", loginAgain})
	}
	return n, servers, problems
}
