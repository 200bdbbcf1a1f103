package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// configFlag names the configuration file. Empty is mcpoauth/mcpoauth.toml in the user's configuration directory.
const configFlag = "config"

// maxConfig is how long the file may be, bytes.
const maxConfig = 1 << 20

// layer is a section of the configuration file.
type layer struct {
	name     string // as in the file
	settings map[string][]string
}

// configFile returns the file to read and whether it must be there.
func configFile(named string) (path string, must bool) {
	if named != "" {
		return named, true
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", false
	}
	return filepath.Join(dir, "mcpoauth", "mcpoauth.toml"), false
}

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
	var at toml.ParseError
	line := ""
	if p != nil && errors.As(d.meta.PrimitiveDecode(*p, &refusal{}), &at) && at.Position.Line > 0 {
		line = fmt.Sprintf("line %d: ", at.Position.Line)
	}
	return &usageError{"the configuration file " + quote(d.path) + ": " + line + text, firstOf(hint, "docs/configuration.md describes it")}
}

// table reads a section.
func (d *document) table(name string, p toml.Primitive, hint string) (table, error) {
	var v any
	var t table
	if err := d.meta.PrimitiveDecode(p, &v); err != nil {
		return nil, d.bad(&p, clean(err.Error()), "")
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, d.bad(&p, name+" is no section", hint)
	}
	if err := d.meta.PrimitiveDecode(p, &t); err != nil {
		return nil, d.bad(&p, clean(err.Error()), "")
	}
	return t, nil
}

// settings reads the settings of a section, all of which must be good. Sections of profiles are left to the caller.
func (d *document) settings(name string, t table, profiles bool) (map[string][]string, error) {
	got := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(t)) {
		p := t[key]
		var v any
		if err := d.meta.PrimitiveDecode(p, &v); err != nil {
			return nil, d.bad(&p, clean(err.Error()), "")
		}
		if _, section := v.(map[string]any); section && key == "profile" && profiles {
			continue
		}
		fl := d.known.Lookup(key)
		if fl == nil || fl.Annotations == nil || key == configFlag {
			return nil, d.bad(&p, name+" has the setting "+quote(key)+", which is none", "settings have the names of flags: mcpoauth login --help")
		}
		values, err := valuesFor(fl, v)
		if err != nil {
			return nil, d.bad(&p, name+": "+key+": "+err.Error(), "a value as for --"+key+": "+strings.ReplaceAll(fl.Usage, "`", ""))
		}
		if d.open && slices.ContainsFunc(values, func(v string) bool { return holdsSecret(key, v) }) {
			return nil, d.bad(&p, name+": "+key+" holds a secret, and others may read the file", "run: chmod go-r "+quote(d.path)+"; or let the environment hold it (docs/configuration.md)")
		}
		got[key] = values
	}
	return got, nil
}

// errUnreadable means that nobody can tell whether there is a configuration file: the home is another user's.
var errUnreadable = errors.New("the configuration directory cannot be read, going on without a configuration file")

// readConfig returns a file's text, and whose it is.
func readConfig(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path) //nolint:gosec // the user's own
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
		return nil, d.bad(nil, trimPrefix(err), "name another one with --"+configFlag+" or "+envName(configFlag)+", or leave that out")
	}
	if runtime.GOOS != "windows" {
		if info.Mode().Perm()&0o022 != 0 {
			return nil, d.bad(nil, "others may write it, and could turn your logins elsewhere", "run: chmod go-w "+quote(path))
		}
		if why := foreign(info); why != "" {
			return nil, d.bad(nil, why+", who could turn your logins elsewhere and run programs as you", "name one of your own with --"+configFlag+" or "+envName(configFlag)+", or run as that user")
		}
		dir := filepath.Dir(path)
		if at, err := os.Stat(dir); err == nil && at.Mode().Perm()&0o002 != 0 && at.Mode()&fs.ModeSticky == 0 {
			return nil, d.bad(nil, "others may put another file in its place", "run: chmod o-w "+quote(dir))
		}
		d.open = info.Mode().Perm()&0o044 != 0
	}
	d.known = settings()
	var doc table
	if d.meta, err = toml.Decode(string(b), &doc); err != nil {
		var at toml.ParseError
		if errors.As(err, &at) {
			return nil, d.bad(nil, fmt.Sprintf("line %d: %s", at.Position.Line, clean(at.Message)), "it must be TOML")
		}
		return nil, d.bad(nil, clean(err.Error()), "it must be TOML")
	}
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
			defaults, err = d.settings(name, t, false)
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
		own, err := d.settings(title, t, true)
		if err != nil {
			return nil, err
		}
		var all []layer
		if section, ok := t["profile"]; ok && own["profile"] == nil {
			profiles, err := d.table(title+".profile", section, "")
			if err != nil {
				return nil, err
			}
			for _, each := range slices.Sorted(maps.Keys(profiles)) {
				inner := title + ".profile." + quote(each)
				pt, err := d.table(inner, profiles[each], "")
				if err != nil {
					return nil, err
				}
				of, err := d.settings(inner, pt, false)
				if err != nil {
					return nil, err
				}
				if each == profile {
					all = append(all, layer{inner, of})
				}
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
	c, err := mcpoauth.New(raw, &mcpoauth.Options{Allow: mcpoauth.Allow{InsecureHTTP: true}, Store: memstore.New()})
	if err != nil {
		return "", errors.New(strings.TrimPrefix(trimPrefix(err), "server URL: "))
	}
	return c.ServerURL(), nil
}

// settings are the flags that may stand in the file.
func settings() *pflag.FlagSet {
	cmd := &cobra.Command{Use: "login"}
	(&flags{args: []string{"login"}}).addAll(cmd)
	return cmd.Flags()
}

// exclusive are settings of which one at a higher place replaces the others at a lower one.
var exclusive = [][]string{
	{"client-secret-env", "client-secret-file", "client-key-file"},
	{"resource", "no-resource"},
	{"assertion-file", "assertion-env", "assertion-command", "assertion-url", "assertion-platform"},
}

// ofClient are settings that belong to the client beside them, and to no client of another place.
var ofClient = []string{"client-secret-env", "client-secret-file", "client-key-file", "client-key-alg", "client-key-audience", "client-auth-method", "client-issuer"}

// valuesFor returns what a flag is to be set to for a value of the file, each of which it takes.
func valuesFor(fl *pflag.Flag, value any) ([]string, error) {
	var values []string
	many := fl.Value.Type() == "stringArray"
	switch v := value.(type) {
	case string:
		if fl.Value.Type() == "bool" || fl.Value.Type() == "int" {
			return nil, errors.New("it is written without quotes")
		}
		values = []string{v}
	case bool, int64:
		if many || fl.Value.Type() == "string" || fl.Value.Type() == "duration" {
			return nil, errors.New("it is a text, in quotes")
		}
		values = []string{fmt.Sprint(v)}
	case []any:
		if !many {
			return nil, errors.New("it takes one value")
		}
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, errors.New("its list must hold texts")
			}
			values = append(values, s)
		}
		if len(values) == 0 {
			return nil, errors.New("its list is empty")
		}
	default:
		return nil, errors.New("it takes a text, a number, true or false, or a list of texts")
	}
	for _, v := range values {
		// The flags of settings are nobody's: they only tell what they take.
		if err := fl.Value.Set(v); err != nil {
			return nil, errors.New("that is no value for it")
		}
	}
	return values, nil
}

// holdsSecret reports whether a setting has a secret in it, as far as that can be told. What is taken from the
// environment or another file is none.
func holdsSecret(name, value string) bool {
	secret := func(word string) bool {
		word = strings.ToLower(word)
		return slices.ContainsFunc([]string{"authorization", "cookie", "secret", "token", "password", "key", "credential"}, func(s string) bool { return strings.Contains(word, s) })
	}
	switch {
	case strings.HasSuffix(name, "header"):
		word, _, _ := strings.Cut(value, ":")
		return secret(word) && !strings.Contains(value, "${")
	case strings.HasSuffix(name, "-param"):
		word, _, _ := strings.Cut(value, "=")
		return secret(word)
	case name == "store", name == "assertion-url":
		u, err := url.Parse(value)
		if err != nil {
			return strings.Contains(value, "@")
		}
		_, password := u.User.Password()
		return password || slices.ContainsFunc(slices.Collect(maps.Keys(u.Query())), secret)
	}
	return false
}

// shown is the value of a setting as it may be printed.
func shown(name, value string) string {
	const hidden = "(not shown)"
	switch {
	case strings.HasSuffix(name, "header"), strings.HasSuffix(name, "-param"), name == "assertion-command":
		return hidden
	case name == "store", name == "assertion-url":
		if !strings.Contains(value, "://") && (value == "file" || value == "keyring" || strings.HasPrefix(value, "file:")) {
			return value
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			return hidden
		}
		return u.Scheme + "://" + u.Host + u.EscapedPath()
	case name == "seal":
		// What has no known kind may be a key that somebody gave as it is.
		kind, _, _ := strings.Cut(value, ":")
		if !slices.Contains(sealKinds, kind) {
			return hidden
		}
	}
	return value
}

// fromFile sets the flags that neither the command line nor the environment has set, and returns the section that
// each was taken from.
func (f *flags) fromFile(cmd *cobra.Command, args []string) (map[string]string, error) {
	path, must := configFile(f.config)
	if path == "" {
		return nil, nil
	}
	server := ""
	if len(args) == 1 || len(args) > 0 && cmd.Name() != "import" {
		server = args[0]
	}
	all, err := layers(path, must, server, cmd.Flags().Lookup("profile"))
	if errors.Is(err, errUnreadable) {
		f.u.warn("%s", err)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	from := map[string]string{}
	for _, l := range all {
		taken := map[string]bool{}
		cmd.Flags().Visit(func(fl *pflag.Flag) { taken[fl.Name] = true })
		if taken["client-id"] {
			for _, name := range ofClient {
				taken[name] = true
			}
		}
		for _, group := range exclusive {
			if slices.ContainsFunc(group, func(name string) bool { return taken[name] }) {
				for _, name := range group {
					taken[name] = true
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(l.settings)) {
			if taken[name] || cmd.Flags().Lookup(name) == nil {
				continue
			}
			from[name] = l.name
			for _, v := range l.settings[name] {
				if err := cmd.Flags().Set(name, v); err != nil {
					return nil, err
				}
			}
		}
	}
	f.clientOfFile = from["client-id"] != ""
	return from, nil
}

func newConfig(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config [URL]",
		Short: "which settings apply, and where each comes from",
		Long: `Read the configuration file, say what is wrong with it, and show the settings that apply to the server of the
URL, with where each comes from: the command line, the environment, or a section of the file. Secrets are not shown.`,
		Example: `  mcpoauth config https://mcp.example.com/mcp
  mcpoauth config https://mcp.example.com/mcp --profile work
  mcpoauth config --config new.toml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) <= 1 {
				return nil
			}
			return exactURL(cmd, args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.addAll(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			if _, err := canonical(args[0]); err != nil {
				return &usageError{"server URL: " + err.Error(), "give the URL of the MCP server, as in https://mcp.example.com/mcp"}
			}
		}
		from := map[string]string{}
		given := func(source func(name string) string) {
			cmd.Flags().Visit(func(fl *pflag.Flag) {
				if from[fl.Name] == "" && fl.Annotations != nil && fl.Name != configFlag {
					from[fl.Name] = source(fl.Name)
				}
			})
		}
		given(func(string) string { return "command line" })
		if err := fromEnv(cmd); err != nil {
			return err
		}
		given(envName)
		of, err := f.fromFile(cmd, args)
		if err != nil {
			return err
		}
		maps.Copy(from, of)
		path, _ := configFile(f.config)
		if _, err := os.Stat(path); err != nil {
			f.u.say("there is no configuration file: it would be %s", quote(path))
		} else {
			f.u.say("configuration file: %s", quote(path))
		}
		return f.printSettings(cmd, from)
	}
	return cmd
}

// printSettings prints the settings that count, and where each comes from.
func (f *flags) printSettings(cmd *cobra.Command, from map[string]string) error {
	rows := [][]cell{{cell{"SETTING", bold}, cell{"VALUE", bold}, cell{"FROM", bold}}}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		fl := cmd.Flags().Lookup(name)
		values := []string{fl.Value.String()}
		if list, ok := fl.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for i, v := range values {
			values[i] = clean(shown(name, v))
		}
		rows = append(rows, []cell{{name, ""}, {strings.Join(slices.Compact(values), " "), ""}, {clean(from[name]), dim}})
	}
	if len(rows) == 1 {
		f.u.say("nothing is set")
		return nil
	}
	return writeTable(f.u.out, rows, columns(f.u.out), painter(f.u.out))
}
