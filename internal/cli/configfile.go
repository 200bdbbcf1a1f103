package cli

import (
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

	"github.com/BurntSushi/toml"
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// document is a configuration file that is being read.
type document struct {
	path string
	meta toml.MetaData
	// known are the flags that may stand in it; open means that others may read it.
	known *pflag.FlagSet
	open  bool
}

// table is a section, or what holds sections.
type table = map[string]toml.Primitive

// refusal takes no value: the library tells where a value lies in an error of it only.
type refusal struct{}

// UnmarshalTOML implements toml.Unmarshaler.
func (refusal) UnmarshalTOML(any) error { return errors.New("refused") }

// bad is what is wrong with the file, at the place of p if it has one.
func (d *document) bad(p *toml.Primitive, text, hint string) error {
	line := ""
	if p != nil {
		if at, ok := errors.AsType[toml.ParseError](d.meta.PrimitiveDecode(*p, &refusal{})); ok && at.Position.Line > 0 {
			line = fmt.Sprintf("line %d: ", at.Position.Line)
		}
	}
	return &usageError{"the configuration file " + quote(d.path) + ": " + line + text, cmp.Or(hint, "docs/configuration.md describes it")}
}

// table reads a section.
func (d *document) table(name string, p toml.Primitive, hint string) (table, error) {
	var v any
	var t table
	if err := d.meta.PrimitiveDecode(p, &v); err != nil {
		return nil, d.bad(&p, clean(err.Error()), "")
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, d.bad(&p, name+" is not a section", hint)
	}
	if err := d.meta.PrimitiveDecode(p, &t); err != nil {
		return nil, d.bad(&p, clean(err.Error()), "")
	}
	return t, nil
}

// profiles takes the section of profiles out of that of a server, if it has one.
func (d *document) profiles(name string, t table) (table, error) {
	p, ok := t["profile"]
	if !ok {
		return nil, nil
	}
	var v any
	if err := d.meta.PrimitiveDecode(p, &v); err != nil {
		return nil, d.bad(&p, clean(err.Error()), "")
	}
	if _, section := v.(map[string]any); !section {
		return nil, nil // the setting of that name
	}
	delete(t, "profile")
	return d.table(name+".profile", p, "")
}

// settings reads the settings of a section, all of which must be good.
func (d *document) settings(name string, t table) (map[string][]string, error) {
	got := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(t)) {
		p := t[key]
		var v any
		if err := d.meta.PrimitiveDecode(p, &v); err != nil {
			return nil, d.bad(&p, clean(err.Error()), "")
		}
		fl := d.known.Lookup(key)
		if fl == nil || fl.Annotations == nil || key == configFlag {
			return nil, d.bad(&p, name+": unknown setting "+quote(key), "settings have the names of flags: mcpoauth login --help")
		}
		values, err := valuesFor(fl, v)
		if err != nil {
			return nil, d.bad(&p, name+": "+key+": "+err.Error(), "a value as for --"+key+": "+strings.ReplaceAll(fl.Usage, "`", ""))
		}
		if d.open && slices.ContainsFunc(values, func(v string) bool { return holdsSecret(key, v) }) {
			return nil, d.bad(&p, name+": "+key+" holds a secret, and the file is readable by other users", "run: chmod go-r "+quote(d.path)+"; or put it into an environment variable (docs/configuration.md)")
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
func layers(path string, must bool, server string, profile *pflag.Flag) ([]layer, error) {
	d := &document{path: path}
	b, info, err := readConfig(path)
	if err != nil && !must {
		// A file that is there and cannot be read is an error: to go on without its settings may be a downgrade.
		switch _, err := os.Lstat(path); {
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
	if d.meta, err = toml.Decode(string(b), &doc); err != nil {
		if at, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, d.bad(nil, fmt.Sprintf("line %d: %s", at.Position.Line, clean(at.Message)), "it must be TOML")
		}
		return nil, d.bad(nil, clean(err.Error()), "it must be TOML")
	}
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
	dir := filepath.Dir(d.path)
	if at, err := os.Stat(dir); err == nil && at.Mode().Perm()&0o002 != 0 && at.Mode()&fs.ModeSticky == 0 {
		return d.bad(nil, "other users could put another file in its place", "run: chmod o-w "+quote(dir))
	}
	d.open = info.Mode().Perm()&0o044 != 0
	return nil
}

// sections reads all sections, so that a mistake in any of them is found, and returns those that apply.
func (d *document) sections(doc table, server string, profile *pflag.Flag) ([]layer, error) {
	const sections = `sections are [defaults] and [server."https://mcp.example.com/mcp"]`
	var defaults map[string][]string
	var found []layer
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		t, err := table(nil), error(nil)
		if name == "defaults" || name == "server" {
			t, err = d.table(name, doc[name], sections)
		}
		switch {
		case err != nil:
		case name == "defaults":
			defaults, err = d.settings(name, t)
		case name == "server":
			// Sorted by name, defaults were read before.
			chosen := ""
			if profile != nil && profile.Changed {
				chosen = profile.Value.String()
			} else if p := defaults["profile"]; len(p) == 1 {
				chosen = p[0]
			}
			found, err = d.server(t, server, chosen)
		default:
			p := doc[name]
			err = d.bad(&p, "there is no section "+quote(name), sections)
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
		p, title := servers[raw], "server."+quote(raw)
		t, err := d.table(title, p, "")
		if err != nil {
			return nil, err
		}
		profiles, err := d.profiles(title, t)
		if err != nil {
			return nil, err
		}
		own, err := d.settings(title, t)
		if err != nil {
			return nil, err
		}
		var all []layer
		for _, each := range slices.Sorted(maps.Keys(profiles)) {
			inner := title + ".profile." + quote(each)
			pt, err := d.table(inner, profiles[each], "")
			if err != nil {
				return nil, err
			}
			of, err := d.settings(inner, pt)
			if err != nil {
				return nil, err
			}
			if each == profile {
				all = append(all, layer{inner, of})
			}
		}
		base, n, err := covers(raw, server)
		if err != nil {
			return nil, d.bad(&p, title+": "+err.Error(), "name a server by its URL")
		}
		if other := names[base]; other != "" {
			return nil, d.bad(&p, title+" is the same server as "+other, "put both into one section")
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
