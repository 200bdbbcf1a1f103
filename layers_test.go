package mcpoauth_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// layers are the files of the package in the order in which a request meets them: a function is called only from its
// own file and from files above it. CONTRIBUTING.md tells the story.
var layers = []string{
	// What a program calls.
	"adapters.go", "provider.go", "inspect.go", "import.go", "logout.go", "begin.go", "metadata.go", "client_metadata.go", "client.go", "status.go",
	// A request: send, read the refusal, decide, act.
	"transport.go", "overcome.go", "decide.go",
	// A person's login: one at a time, by a browser, a code, or an identity provider.
	"authorizer_provider.go", "login.go", "authorizer_device.go", "authorizer_browser.go", "authorizer.go", "authorizer_pushed.go", "authorizer_refused.go", "idtoken.go",
	// Tokens without a person.
	"refresh.go", "tokensource_machine.go", "tokensource.go", "tokenclient.go", "journal.go",
	// What the server wants, and who the program is there.
	"register.go", "registermanage.go", "discover.go", "scopes.go", "probe.go", "challenge.go", "cookies.go", "network.go",
	// The login in memory and in the store.
	"loginstore.go", "storeguard.go", "session.go", "given.go", "cooldown.go",
	// What all of them know.
	"settings.go", "assertion.go", "grants.go", "prompt_terminal.go", "prompt.go", "findings.go", "redact.go", "token.go", "trace.go", "options.go", "errors.go", "urls.go", "version.go", "doc.go",
}

// typeCheck parses and checks the package's own files, with the export data of what they import.
func typeCheck(t *testing.T) (*token.FileSet, []*ast.File, *types.Info) {
	t.Helper()
	all, err := dependencies()
	if err != nil {
		t.Skip(err)
	}
	exports := map[string]string{}
	for _, p := range all {
		exports[p.ImportPath] = p.Export
	}
	fset := token.NewFileSet()
	var files []*ast.File
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data for %s", path)
		}
		return os.Open(file)
	})
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	cfg := types.Config{Importer: imports}
	if _, err := cfg.Check(module, fset, files, info); err != nil {
		t.Fatal(err)
	}
	return fset, files, info
}

// TestCallsRunOneWay holds the order of the files, so that the package can be read from above to below.
func TestCallsRunOneWay(t *testing.T) {
	t.Parallel()
	fset, files, info := typeCheck(t)
	rank := map[string]int{}
	for i, name := range layers {
		rank[name] = i
	}
	for _, f := range files {
		name := filepath.Base(fset.Position(f.Pos()).Filename)
		if _, ok := rank[name]; !ok {
			t.Errorf("%s has no place in layers: decide which files may call it", name)
		}
	}
	if len(files) != len(layers) {
		t.Errorf("%d files and %d places in layers", len(files), len(layers))
	}
	var upwards []string
	for id, object := range info.Uses {
		f, ok := object.(*types.Func)
		if !ok || f.Pkg() == nil || f.Pkg().Path() != module || !f.Pos().IsValid() {
			continue
		}
		if recv := f.Signature().Recv(); recv != nil && types.IsInterface(recv.Type()) {
			continue // which function that calls is not decided there
		}
		from, to := filepath.Base(fset.Position(id.Pos()).Filename), filepath.Base(fset.Position(f.Pos()).Filename)
		if rank[from] > rank[to] {
			upwards = append(upwards, fmt.Sprintf("%s calls %s of %s", fset.Position(id.Pos()), f.Name(), to))
		}
	}
	slices.Sort(upwards)
	for _, u := range upwards {
		t.Error(u)
	}
}

const (
	maxFileLines     = 500
	maxFunctionLines = 80
	maxParameters    = 5
)

// TestSizes keeps files, functions and parameter lists short, in the whole module.
func TestSizes(t *testing.T) {
	t.Parallel()
	var names []string
	for dir, p := range packages(t, runtime.GOOS) {
		for _, name := range p.GoFiles {
			names = append(names, filepath.Join(filepath.FromSlash(dir), name))
		}
	}
	for _, name := range names {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if n := fset.File(f.Pos()).LineCount(); n > maxFileLines {
			t.Errorf("%s has %d lines, more than %d", name, n, maxFileLines)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			d, ok := n.(*ast.FuncDecl)
			if !ok {
				return true
			}
			at := fset.Position(d.Pos())
			if lines := fset.Position(d.End()).Line - at.Line + 1; lines > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, more than %d", at, d.Name.Name, lines, maxFunctionLines)
			}
			if n := d.Type.Params.NumFields(); n > maxParameters {
				t.Errorf("%s: %s has %d parameters, more than %d", at, d.Name.Name, n, maxParameters)
			}
			return true
		})
	}
}
