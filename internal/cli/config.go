package cli

import (
	"errors"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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

// exclusive are settings of which one at a higher place replaces the others at a lower one.
var exclusive = [][]string{
	{"client-secret-env", "client-secret-file", "client-key-file"},
	{"resource", "no-resource"},
	{"assertion-file", "assertion-env", "assertion-command", "assertion-url", "assertion-platform"},
}

// ofClient are settings that belong to the client beside them, and to no client of another place.
var ofClient = []string{"client-secret-env", "client-secret-file", "client-key-file", "client-key-alg", "client-key-audience", "client-auth-method", "client-issuer"}

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

// secretVariables returns the environment variables that a setting names because they hold secrets.
func secretVariables(name, value string) (variables []string) {
	kind, variable, _ := strings.Cut(value, ":")
	switch {
	case strings.HasSuffix(name, "-env"):
		return []string{value}
	case name == "seal" && strings.HasSuffix(kind, "env"):
		return []string{variable}
	case strings.HasSuffix(name, "header"):
		for rest, ok := value, true; ok; {
			if _, rest, ok = strings.Cut(rest, "${"); ok {
				variable, rest, ok = strings.Cut(rest, "}")
				variables = append(variables, variable)
			}
		}
	}
	return variables
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
	d := &document{path: path}
	all, err := d.layers(must, server, cmd.Flags().Lookup("profile"))
	if errors.Is(err, errUnreadable) {
		f.u.warn("%s", err)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	f.secretEnv = append(f.secretEnv, d.secretEnv...)
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
		Short: "show which settings apply and where each comes from",
		Long: `Read the configuration file, report mistakes in it, and show the settings that apply to the server of the
URL and where each comes from: the command line, the environment, or a section of the file. Secrets are not shown.`,
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
			f.u.say("there is no configuration file; it would be read from %s", quote(path))
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
