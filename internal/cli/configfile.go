package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcpoauth/mcpoauth/internal/resource"
)

// document is a configuration file that is being read.
type document struct {
	path string
	// lines are the numbers of the lines on which keys and sections begin.
	lines map[string]int
	// known are the flags that may stand in it; open means that others may read it.
	known *pflag.FlagSet
	open  bool
	// secretEnv are the environment variables that its settings name because they hold secrets, those of other servers
	// too.
	secretEnv []string
}

// table is a section, or what holds sections.
type table = map[string]any

// place is the path to a key or a section from the top of the document.
type place []string

func (p place) at(key string) place { return append(slices.Clip(p), key) }

func (p place) String() string { return strings.Join(p, "\x00") }

// linesOf returns the lines on which the keys and sections of a document begin. Of what lies in an inline table it says
// nothing.
func linesOf(b []byte) map[string]int {
	lines := map[string]int{}
	var p unstable.Parser
	var section place
	for p.Reset(b); p.NextExpression(); {
		e := p.Expression()
		if e.Kind == unstable.Table || e.Kind == unstable.ArrayTable {
			section = nil
		}
		at, keys := section, e.Key()
		for keys.Next() {
			key := keys.Node()
			at = at.at(string(key.Data))
			if _, known := lines[at.String()]; !known {
				lines[at.String()] = p.Shape(key.Raw).Start.Line
			}
		}
		if e.Kind != unstable.KeyValue {
			section = at
		}
	}
	return lines
}

// bad is what is wrong with the file, at a place or at the nearest one above it whose line is known.
func (d *document) bad(p place, text, hint string) error {
	line := ""
	for ; len(p) > 0; p = p[:len(p)-1] {
		if n := d.lines[p.String()]; n > 0 {
			line = fmt.Sprintf("line %d: ", n)
			break
		}
	}
	return &usageError{"the configuration file " + quote(d.path) + ": " + line + text, cmp.Or(hint, "docs/configuration.md describes it")}
}

// takeProfiles takes the section of profiles out of that of a server, if it has one.
func takeProfiles(t table) table {
	profiles, ok := t["profile"].(table)
	if ok { // else it is the setting of that name
		delete(t, "profile")
	}
	return profiles
}

// settings reads the settings of a section, all of which must be good.
func (d *document) settings(name string, p place, t table) (map[string][]string, error) {
	got := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(t)) {
		p := p.at(key)
		fl := d.known.Lookup(key)
		if fl == nil || fl.Annotations == nil || key == configFlag {
			return nil, d.bad(p, name+": unknown setting "+quote(key), "settings have the names of flags: mcpoauth login --help")
		}
		values, err := valuesFor(fl, t[key])
		if err != nil {
			return nil, d.bad(p, name+": "+key+": "+err.Error(), "a value as for --"+key+": "+strings.ReplaceAll(fl.Usage, "`", ""))
		}
		if d.open && slices.ContainsFunc(values, func(v string) bool { return holdsSecret(key, v) }) {
			return nil, d.bad(p, name+": "+key+" holds a secret, and the file is readable by other users", "run: chmod go-r "+quote(d.path)+"; or put it into an environment variable (docs/configuration.md)")
		}
		for _, v := range values {
			d.secretEnv = append(d.secretEnv, secretVariables(key, v)...)
		}
		got[key] = values
	}
	return got, nil
}

// errUnreadable means that nobody can tell whether there is a configuration file: the home is another user's.
var errUnreadable = errors.New("the configuration directory cannot be read; continuing without a configuration file")

// readConfig returns a file's text, and whose it is.
func readConfig(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path) // the user's own
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(b) > maxConfig {
		err = errors.New("it is too long")
	}
	return b, info, err
}

// layers reads the sections of the configuration file that apply to a server, the one that counts most first.
// profile is what flags and environment say.
func (d *document) layers(must bool, server string, profile *pflag.Flag) ([]layer, error) {
	b, info, err := readConfig(d.path)
	if err != nil && !must {
		// A file that is there and cannot be read is an error: to go on without its settings may be a downgrade.
		switch _, err := os.Lstat(d.path); {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case errors.Is(err, fs.ErrPermission):
			return nil, errUnreadable
		}
	}
	if err != nil {
		return nil, d.bad(nil, trimPrefix(err), "name another file with --"+configFlag+" or "+envName(configFlag)+", or remove that setting")
	}
	if err := d.checkOwner(info); err != nil {
		return nil, err
	}
	d.known = settings()
	var doc table
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // as some editors of Windows write it
	if err := toml.Unmarshal(b, &doc); err != nil {
		text := clean(strings.TrimPrefix(err.Error(), "toml: "))
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ := at.Position()
			text = fmt.Sprintf("line %d: %s", line, text)
		}
		return nil, d.bad(nil, text, "it must be TOML")
	}
	d.lines = linesOf(b)
	return d.sections(doc, server, profile)
}

// checkOwner refuses a file that other users can change, and notes whether they can read it.
func (d *document) checkOwner(info fs.FileInfo) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if info.Mode().Perm()&0o022 != 0 {
		return d.bad(nil, "it is writable by other users, who could redirect your logins", "run: chmod go-w "+quote(d.path))
	}
	if why := foreign(info); why != "" {
		return d.bad(nil, why+", who could redirect your logins and run programs as you", "name one of your own with --"+configFlag+" or "+envName(configFlag)+", or run as that user")
	}
	if err := d.checkPlace(); err != nil {
		return err
	}
	d.open = info.Mode().Perm()&0o044 != 0
	return nil
}

// checkPlace refuses a file in whose place others could put another one: in its directory, or in the one that a link
// leads to.
func (d *document) checkPlace() error {
	dirs := []string{filepath.Dir(d.path)}
	if target, err := filepath.EvalSymlinks(d.path); err == nil && filepath.Dir(target) != dirs[0] {
		dirs = append(dirs, filepath.Dir(target))
	}
	for _, dir := range dirs {
		at, err := os.Stat(dir)
		switch {
		case err != nil:
		case at.Mode().Perm()&0o022 != 0 && at.Mode()&fs.ModeSticky == 0:
			return d.bad(nil, "other users could put another file in its place, since they can write to "+quote(dir), "run: chmod go-w "+quote(dir))
		case foreign(at) != "":
			return d.bad(nil, "another user could put another file in its place, since "+quote(dir)+" is theirs", "keep it in a directory of your own, and name it with --"+configFlag+" or "+envName(configFlag))
		}
	}
	return nil
}

// sections reads all sections, so that a mistake in any of them is found, and returns those that apply.
func (d *document) sections(doc table, server string, profile *pflag.Flag) ([]layer, error) {
	const sections = `sections are [defaults] and [server."https://mcp.example.com/mcp"]`
	var defaults map[string][]string
	var found []layer
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		at := place{name}
		t, section := doc[name].(table)
		var err error
		switch {
		case name != "defaults" && name != "server":
			err = d.bad(at, "there is no section "+quote(name), sections)
		case !section:
			err = d.bad(at, name+" is not a section", sections)
		case name == "defaults":
			defaults, err = d.settings(name, at, t)
		default:
			// Sorted by name, defaults were read before.
			chosen := ""
			if profile != nil && profile.Changed {
				chosen = profile.Value.String()
			} else if p := defaults["profile"]; len(p) == 1 {
				chosen = p[0]
			}
			found, err = d.server(t, server, chosen)
		}
		if err != nil {
			return nil, err
		}
	}
	if defaults != nil {
		found = append(found, layer{"defaults", defaults})
	}
	return found, nil
}

// server reads the sections of all servers, and returns those that apply to one server and profile.
func (d *document) server(servers table, server, profile string) ([]layer, error) {
	var best []layer
	longest, names := -1, map[string]string{}
	for _, raw := range slices.Sorted(maps.Keys(servers)) {
		at, title := place{"server", raw}, "server."+quote(raw)
		t, ok := servers[raw].(table)
		if !ok {
			return nil, d.bad(at, title+" is not a section", "")
		}
		profiles := takeProfiles(t)
		own, err := d.settings(title, at, t)
		if err != nil {
			return nil, err
		}
		var all []layer
		for _, each := range slices.Sorted(maps.Keys(profiles)) {
			inner, innerAt := title+".profile."+quote(each), at.at("profile").at(each)
			pt, ok := profiles[each].(table)
			if !ok {
				return nil, d.bad(innerAt, inner+" is not a section", "")
			}
			of, err := d.settings(inner, innerAt, pt)
			if err != nil {
				return nil, err
			}
			if each == profile {
				all = append(all, layer{inner, of})
			}
		}
		base, n, err := covers(raw, server)
		if err != nil {
			return nil, d.bad(at, title+": "+err.Error(), "name a server by its URL")
		}
		if other := names[base]; other != "" {
			return nil, d.bad(at, title+" is the same server as "+other, "put both into one section")
		}
		if names[base] = title; n > longest {
			longest, best = n, append(all, layer{title, own})
		}
	}
	return best, nil
}

// settings are the flags that may stand in the file.
func settings() *pflag.FlagSet {
	cmd := &cobra.Command{Use: "login"}
	(&flags{args: []string{"login"}}).addAll(cmd)
	return cmd.Flags()
}

// valuesFor returns what a flag is to be set to for a value of the file, each of which it takes.
func valuesFor(fl *pflag.Flag, value any) ([]string, error) {
	var values []string
	many := fl.Value.Type() == "stringArray"
	switch v := value.(type) {
	case string:
		if fl.Value.Type() == "bool" || fl.Value.Type() == "int" {
			return nil, errors.New("write it without quotes")
		}
		values = []string{v}
	case bool, int64:
		if many || fl.Value.Type() == "string" || fl.Value.Type() == "duration" {
			return nil, errors.New("it must be a string in quotes")
		}
		values = []string{fmt.Sprint(v)}
	case []any:
		if !many {
			return nil, errors.New("it accepts one value")
		}
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, errors.New("its list must contain strings")
			}
			values = append(values, s)
		}
		if len(values) == 0 {
			return nil, errors.New("its list is empty")
		}
	default:
		return nil, errors.New("it must be a string, a number, true or false, or a list of strings")
	}
	for _, v := range values {
		// The flags of settings are nobody's: they only tell what they take.
		if err := fl.Value.Set(v); err != nil {
			return nil, errors.New("invalid value")
		}
	}
	return values, nil
}

// covers returns a section's URL in its canonical form, and how much of a server's it is: all of it, or whole
// segments of its path; -1 if it is another server's.
func covers(section, server string) (base string, n int, err error) {
	want, err := canonical(section)
	if err != nil {
		return "", 0, err
	}
	base = strings.TrimSuffix(want, "/")
	got, err := canonical(server)
	if err != nil {
		return base, -1, nil //nolint:nilerr // the command says what is wrong with it
	}
	if got == want || got == base || strings.HasPrefix(got, base+"/") || strings.HasPrefix(got, base+"?") {
		return base, len(base), nil
	}
	return base, -1, nil
}

// canonical is the URL by which the library knows a server.
func canonical(raw string) (string, error) {
	u, err := resource.ParseServer(raw)
	if err != nil {
		return "", err
	}
	return resource.Canonical(u), nil
}
