package mcpoauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/build"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/mcpoauth/mcpoauth"

// packages returns the packages of this module for an operating system, by their paths within it.
func packages(t *testing.T, goos string) map[string]*build.Package {
	t.Helper()
	ctx := build.Default
	ctx.GOOS, ctx.CgoEnabled = goos, false
	list := map[string]*build.Package{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if path != "." {
			_, other := os.Stat(filepath.Join(path, "go.mod"))
			if other == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") {
				return filepath.SkipDir
			}
		}
		p, err := ctx.ImportDir(path, 0)
		if _, none := errors.AsType[*build.NoGoError](err); none {
			return nil
		}
		list[strings.TrimPrefix(filepath.ToSlash(path), ".")] = p
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// listed is what `go list -json` says of one package.
type listed struct {
	ImportPath string
	Imports    []string
	Export     string
	Module     *struct{ Path string }
}

// dependencies are the packages that the library links, itself included, with their export data.
var dependencies = sync.OnceValues(func() ([]listed, error) {
	out, err := exec.CommandContext(context.Background(), "go", "list", "-export", "-deps", "-json=ImportPath,Imports,Export,Module", ".").Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("go list: %s", exit.Stderr)
	} else if err != nil {
		return nil, err
	}
	var list []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
})

// rule says which packages of ours, and which modules of others, a package may import directly.
type rule struct {
	ours   []string
	others []string
	// tests means that only tests import it.
	tests bool
}

// rules holds one entry for each package, so that a new one cannot be added without a decision. A name
// ending in "/..." stands for everything below it.
var rules = map[string]rule{
	"": {
		ours: []string{
			"store", "store/filestore", "internal/challenge", "internal/discovery", "internal/registration", "internal/grant",
			"internal/resource", "internal/wire", "internal/netguard", "internal/dpop", "internal/loopback", "internal/browser", "internal/flight", "internal/record", "internal/secret", "internal/terminal",
		},
		others: []string{"golang.org/x/oauth2", "github.com/go-jose/go-jose"},
	},
	"internal/challenge":             {},
	"internal/discovery":             {ours: []string{"internal/wire", "internal/resource", "internal/netguard"}},
	"internal/registration":          {ours: []string{"internal/wire", "internal/resource", "internal/netguard", "internal/secret"}},
	"internal/grant":                 {ours: []string{"internal/dpop", "internal/wire", "internal/netguard", "internal/secret"}, others: []string{"github.com/go-jose/go-jose"}},
	"internal/wire":                  {ours: []string{"internal/secret"}},
	"internal/resource":              {others: []string{"golang.org/x/net"}},
	"internal/netguard":              {ours: []string{"internal/resource", "internal/wire"}},
	"internal/loopback":              {ours: []string{"internal/wire"}},
	"internal/browser":               {ours: []string{"internal/resource", "internal/secret"}},
	"internal/dpop":                  {ours: []string{"internal/resource"}, others: []string{"github.com/go-jose/go-jose"}},
	"internal/flight":                {},
	"internal/terminal":              {ours: []string{"internal/wire"}, others: []string{"golang.org/x/sys", "golang.org/x/term", "rsc.io/qr"}},
	"internal/terminal/terminaltest": {others: []string{"golang.org/x/sys"}, tests: true},
	"internal/secret":                {},
	"internal/members":               {},
	"internal/record":                {ours: []string{"store", "internal/members"}},

	"store":           {},
	"store/filestore": {ours: []string{"store", "internal/members"}, others: []string{"golang.org/x/sys"}},
	"store/memstore":  {ours: []string{"store"}},
	"store/storetest": {ours: []string{"store"}},
	"store/sealed":    {ours: []string{"store"}, others: []string{"golang.org/x/crypto"}},
	// The keyring holds a key; the records are sealed files.
	"store/keyringstore":  {ours: []string{"store", "store/filestore", "store/sealed"}, others: []string{"github.com/zalando/go-keyring"}},
	"store/redisstore":    {ours: []string{"store", "internal/lease"}},
	"store/pgstore":       {ours: []string{"store", "internal/lease"}},
	"internal/lease":      {},
	"internal/testserver": {tests: true},
	"authtest":            {},

	"internal/cli": {
		ours:   []string{"", "store", "store/...", "authtest", "internal/wire", "internal/resource", "internal/secret", "internal/browser", "internal/terminal", "internal/takeover", "internal/proxy"},
		others: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/text", "github.com/pelletier/go-toml", "github.com/lib/pq", "github.com/valkey-io/valkey-go"},
	},
	"internal/takeover":   {ours: []string{"internal/wire", "internal/sqlitefile"}},
	"internal/sqlitefile": {},
	"internal/proxy":      {ours: []string{"internal/wire"}},
	"internal/trials/fleet": {
		ours:   []string{"", "authtest", "internal/record", "store", "store/...", "internal/testserver"},
		others: []string{"golang.org/x/oauth2", "github.com/jackc/pgx", "github.com/valkey-io/valkey-go"},
	},
	"internal/trials/closing": {ours: []string{"", "authtest", "store/memstore"}},
	"internal/trials/day":     {ours: []string{"", "authtest", "store/filestore", "internal/cli", "internal/trials/host"}, others: []string{"go.uber.org/goleak"}},
	"internal/trials/host":    {},
	"internal/trials/hostile": {ours: []string{"internal/trials/host"}},
	"internal/trials/mutants": {},
	"internal/trials/kill":    {ours: []string{"", "authtest", "internal/record", "store", "store/..."}},
	"internal/trials/scale":   {ours: []string{"", "internal/record", "store", "store/...", "internal/testserver"}, others: []string{"github.com/jackc/pgx"}},
	"cmd/mcpoauth":            {ours: []string{"internal/cli"}},
}

// TestImportRules keeps the layers apart: stages do not know each other or the store, nothing knows the
// command, drivers stay in the command, and the root package links few modules of others.
func TestImportRules(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	used := map[string]map[string]bool{} // by package and allowance
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for name, p := range packages(t, goos) {
			r, ok := rules[name]
			if !ok {
				t.Errorf("package %q has no rule in %s: decide what it may import", name, "importrules_test.go")
				continue
			}
			seen[name] = true
			if used[name] == nil {
				used[name] = map[string]bool{}
			}
			for _, imp := range p.Imports {
				if why := r.refuses(imp); why != "" {
					t.Errorf("%q imports %q: %s", name, imp, why)
				}
				for _, a := range r.allowances(imp) {
					used[name][a] = true
				}
			}
		}
	}
	for name, r := range rules {
		if !seen[name] {
			t.Errorf("there is a rule for %q but no such package", name)
			continue
		}
		for _, a := range slices.Concat(r.ours, r.others) {
			if !used[name][a] {
				t.Errorf("%q may import %q but does not: delete the stale allowance", name, a)
			}
		}
	}
}

// ourPackage returns the path of a package of this module within it.
func ourPackage(imp string) (path string, ok bool) {
	rest, ok := strings.CutPrefix(imp, module)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

// allowances returns the entries of the rule that permit an import.
func (r rule) allowances(imp string) []string {
	var out []string
	if ours, ok := ourPackage(imp); ok {
		for _, allowed := range r.ours {
			if dir, tree := strings.CutSuffix(allowed, "..."); allowed == ours || tree && strings.HasPrefix(ours, dir) {
				out = append(out, allowed)
			}
		}
		return out
	}
	for _, m := range r.others {
		if imp == m || strings.HasPrefix(imp, m+"/") {
			out = append(out, m)
		}
	}
	return out
}

func (r rule) refuses(imp string) string {
	allowed := len(r.allowances(imp)) > 0
	if _, ok := ourPackage(imp); ok {
		if !allowed {
			return "not one of the packages it may know"
		}
		return ""
	}
	first, _, _ := strings.Cut(imp, "/")
	if !strings.Contains(first, ".") {
		if imp == "testing" && !r.tests {
			return "programs must not link testing"
		}
		return ""
	}
	if !allowed {
		return "not one of the modules it may use"
	}
	return ""
}

// TestFewModules counts the modules of others that the library itself uses. What those use in turn is
// their choice.
func TestFewModules(t *testing.T) {
	t.Parallel()
	moduleOf := map[string]string{}
	all, err := dependencies()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Module != nil {
			moduleOf[p.ImportPath] = p.Module.Path
		}
	}
	used := map[string]bool{}
	for _, p := range all {
		for _, imp := range p.Imports {
			if m := moduleOf[imp]; moduleOf[p.ImportPath] == module && m != "" && m != module {
				used[m] = true
			}
		}
	}
	// x/term and rsc.io/qr are for TerminalPrompt.
	if len(used) == 0 || len(used) > 6 {
		t.Errorf("the library uses %d modules of others (%v), want one to six", len(used), used)
	}
}

func TestAllowances(t *testing.T) {
	r := rule{ours: []string{"", "store", "store/..."}, others: []string{"golang.org/x/net", "golang.org/x"}}
	for imp, want := range map[string]string{
		module: `[""]`, module + "/store": `["store"]`, module + "/store/filestore": `["store/..."]`, module + "x": `[]`,
		"golang.org/x/net/idna": `["golang.org/x/net" "golang.org/x"]`, "golang.org/xnet": `[]`, "fmt": `[]`,
	} {
		if got := fmt.Sprintf("%q", r.allowances(imp)); got != want {
			t.Errorf("%s: %s, want %s", imp, got, want)
		}
	}
}

func TestRefuses(t *testing.T) {
	r := rule{ours: []string{"store/..."}, others: []string{"golang.org/x/net"}}
	for imp, refused := range map[string]bool{
		"net/http": false, "testing": true, "golang.org/x/net/publicsuffix": false, "golang.org/x/netx": true,
		module + "/store/filestore": false, module + "/store": true, module: true, module + "x": true,
	} {
		if got := r.refuses(imp) != ""; got != refused {
			t.Errorf("%s: refused = %t", imp, got)
		}
	}
}
