package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcpoauth/mcpoauth"
)

// configEnv names the configuration file. Empty is mcpoauth/mcpoauth.toml in the user's configuration directory.
const configEnv = "MCPOAUTH_CONFIG"

// layer is a section of the configuration file.
type layer struct {
	name     string // as in the file
	settings map[string]any
}

// configFile returns the file to read and whether it must be there.
func configFile() (path string, must bool) {
	if path = os.Getenv(configEnv); path != "" {
		return path, true
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", false
	}
	return filepath.Join(dir, "mcpoauth", "mcpoauth.toml"), false
}

// errUnreadable means that nobody can tell whether there is a configuration file: the home is another user's.
var errUnreadable = errors.New("the configuration directory cannot be read, going on without a configuration file")

// layers reads the sections of the configuration file that apply to a server, the one that counts most first.
// profile is what flags and environment say.
func layers(path string, must bool, server string, profile *pflag.Flag) ([]layer, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the user's own
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil, nil
	}
	bad := func(text, hint string) error {
		return &usageError{"the configuration file " + quote(path) + ": " + text, firstOf(hint, "docs/configuration.md describes it")}
	}
	if errors.Is(err, fs.ErrPermission) && !must {
		return nil, errUnreadable
	}
	if err != nil {
		return nil, bad(trimPrefix(err), "name another one with "+configEnv+", or leave that out")
	}
	if info, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return nil, bad("others may write it, and could turn your logins elsewhere", "run: chmod go-w "+quote(path))
	}
	var doc map[string]any
	if _, err := toml.Decode(string(b), &doc); err != nil {
		var at toml.ParseError
		if errors.As(err, &at) {
			return nil, bad(fmt.Sprintf("line %d: %s", at.Position.Line, clean(at.Message)), "it must be TOML")
		}
		return nil, bad(clean(err.Error()), "it must be TOML")
	}
	known := settings()
	var all []layer
	section := func(name string, v any) (map[string]any, error) {
		t, ok := v.(map[string]any)
		if !ok {
			return nil, bad(name+" is no section", "")
		}
		for _, key := range slices.Sorted(maps.Keys(t)) {
			fl := known.Lookup(key)
			if key == "profile" {
				if _, table := t[key].(map[string]any); table && strings.HasPrefix(name, "server.") {
					continue
				}
			}
			if fl == nil || fl.Annotations == nil {
				return nil, bad(name+" has the setting "+quote(key)+", which is none", "settings have the names of flags: mcpoauth login --help")
			}
			if err := set(pflag.NewFlagSet("", pflag.ContinueOnError), known, key, t[key]); err != nil {
				return nil, bad(name+": "+key+": "+err.Error(), "a value as for --"+key+": "+strings.ReplaceAll(fl.Usage, "`", ""))
			}
		}
		return t, nil
	}
	var defaults map[string]any
	best, bestName := map[string]any(nil), ""
	longest := -1
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		switch name {
		case "defaults":
			if defaults, err = section("defaults", doc[name]); err != nil {
				return nil, err
			}
		case "server":
			servers, ok := doc[name].(map[string]any)
			if !ok {
				return nil, bad("server is no section", `sections are [server."https://mcp.example.com/mcp"]`)
			}
			for _, raw := range slices.Sorted(maps.Keys(servers)) {
				title := "server." + quote(raw)
				t, err := section(title, servers[raw])
				if err != nil {
					return nil, err
				}
				n, err := covers(raw, server)
				if err != nil {
					return nil, bad(title+": "+err.Error(), "name a server by its URL")
				}
				if n > longest {
					longest, best, bestName = n, t, title
				}
			}
		default:
			return nil, bad("there is no section "+quote(name), `sections are [defaults] and [server."https://mcp.example.com/mcp"]`)
		}
	}
	if best != nil {
		if profiles, ok := best["profile"].(map[string]any); ok {
			name := ""
			if profile != nil {
				name = profile.Value.String()
			}
			if p, _ := defaults["profile"].(string); profile == nil || !profile.Changed {
				name = p
			}
			for _, each := range slices.Sorted(maps.Keys(profiles)) {
				title := bestName + ".profile." + quote(each)
				t, err := section(title, profiles[each])
				if err != nil {
					return nil, err
				}
				if each == name {
					all = append(all, layer{title, t})
				}
			}
		}
		all = append(all, layer{bestName, best})
	}
	if defaults != nil {
		all = append(all, layer{"defaults", defaults})
	}
	return all, nil
}

// covers returns how much of a server's URL a section's is: all of it, or whole segments of its path; -1 if it is
// another server's.
func covers(section, server string) (int, error) {
	canonical := func(raw string) (string, error) {
		c, err := mcpoauth.New(raw, &mcpoauth.Options{AllowInsecureHTTP: true})
		if err != nil {
			return "", errors.New(strings.TrimPrefix(trimPrefix(err), "server URL: "))
		}
		return c.ServerURL(), nil
	}
	want, err := canonical(section)
	if err != nil {
		return 0, err
	}
	got, err := canonical(server)
	if err != nil {
		return -1, nil //nolint:nilerr // the command says what is wrong with it
	}
	base := strings.TrimSuffix(want, "/")
	if got == want || strings.HasPrefix(got, base+"/") || strings.HasPrefix(got, base+"?") || got == base {
		return len(base), nil
	}
	return -1, nil
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

// set gives a flag the value of the file, in dst if it has the flag. like tells its type.
func set(dst, like *pflag.FlagSet, name string, value any) error {
	fl := like.Lookup(name)
	var values []string
	switch v := value.(type) {
	case string:
		values = []string{v}
	case bool, int64:
		values = []string{fmt.Sprint(v)}
	case []any:
		if fl.Value.Type() != "stringArray" {
			return errors.New("it takes one value")
		}
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return errors.New("its list must hold texts")
			}
			values = append(values, s)
		}
	default:
		return errors.New("it takes a text, a number, true or false, or a list of texts")
	}
	target := dst
	if dst.Lookup(name) == nil {
		target = like // only to see whether it can be set
	}
	for _, v := range values {
		if err := target.Set(name, v); err != nil {
			return errors.New("that is no value for it")
		}
	}
	return nil
}

// fromFile sets the flags that neither the command line nor the environment has set.
func (f *flags) fromFile(cmd *cobra.Command, args []string) error {
	path, must := configFile()
	if path == "" {
		return nil
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
	if err != nil || len(all) == 0 {
		return err
	}
	like := settings()
	for _, l := range all {
		taken := map[string]bool{}
		cmd.Flags().Visit(func(fl *pflag.Flag) { taken[fl.Name] = true })
		if taken["client-id"] {
			// A secret belongs to the client beside it.
			taken["client-secret-env"] = true
		}
		for _, group := range exclusive {
			if slices.ContainsFunc(group, func(name string) bool { return taken[name] }) {
				for _, name := range group {
					taken[name] = true
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(l.settings)) {
			if _, table := l.settings[name].(map[string]any); table || taken[name] || cmd.Flags().Lookup(name) == nil {
				continue
			}
			if err := set(cmd.Flags(), like, name, l.settings[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

func newConfig(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config [URL]",
		Short: "which settings of the configuration file apply",
		Long: `Show the configuration file, and with a URL the settings of it that apply to that server, with the section that
each comes from. Flags and environment variables count more than the file.`,
		Example: `  mcpoauth config https://mcp.example.com/mcp
  mcpoauth config https://mcp.example.com/mcp --profile work`,
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
		if err := fromEnv(cmd); err != nil {
			return err
		}
		path, must := configFile()
		server := ""
		if len(args) == 1 {
			server = args[0]
		}
		all, err := layers(path, must, server, cmd.Flags().Lookup("profile"))
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			f.u.say("there is no configuration file: it would be %s", quote(path))
			return nil
		}
		f.u.say("configuration file: %s", quote(path))
		return f.u.printSettings(all)
	}
	return cmd
}

// printSettings prints the settings that count, and where each comes from. Values of headers may be secrets.
func (u *ui) printSettings(all []layer) error {
	rows := [][]cell{{cell{"SETTING", bold}, cell{"VALUE", bold}, cell{"SECTION", bold}}}
	seen := map[string]bool{}
	for _, l := range all {
		for _, name := range slices.Sorted(maps.Keys(l.settings)) {
			if _, table := l.settings[name].(map[string]any); table || seen[name] {
				continue
			}
			seen[name] = true
			value := fmt.Sprint(l.settings[name])
			if strings.HasSuffix(name, "header") || strings.HasSuffix(name, "-param") {
				value = "(not shown)"
			}
			rows = append(rows, []cell{{clean(name), ""}, {clean(value), ""}, {clean(l.name), dim}})
		}
	}
	if len(rows) == 1 {
		u.say("nothing in it applies")
		return nil
	}
	return writeTable(u.out, rows, columns(u.out), painter(u.out))
}
