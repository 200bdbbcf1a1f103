package proxy

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// noImports stands for all other packages: only what this one declares is of interest.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not looked at") }

// TestCallsRunOneWay holds the order of the files that the package comment states: a function calls only functions
// of its own file or of those below it.
func TestCallsRunOneWay(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	src, err := os.ReadFile("options.go")
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(src), "\npackage proxy")
	order := regexp.MustCompile(`[a-z]+\.go`).FindAllString(comment, -1)
	rank := func(name string) int {
		i := slices.Index(order, name)
		if i < 0 {
			t.Errorf("the package comment does not have %s", name)
		}
		return i
	}
	if len(order) < len(files)-1 {
		t.Errorf("the package comment has %d files of %d", len(order), len(files))
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: noImports{}, Error: func(error) {}}
	_, _ = conf.Check("proxy", fset, files, info)
	calls := 0
	for id, obj := range info.Uses {
		fn, ok := obj.(*types.Func)
		if !ok || fn.Pkg() == nil || fn.Pkg().Path() != "proxy" {
			continue
		}
		from, to := fset.Position(id.Pos()), fset.Position(fn.Pos())
		if from.Filename == to.Filename || from.Filename == "options.go" || to.Filename == "options.go" {
			continue
		}
		calls++
		if rank(from.Filename) > rank(to.Filename) {
			t.Errorf("%s calls %s, which is above it, in %s", from, fn.Name(), to.Filename)
		}
	}
	if calls < 200 {
		t.Errorf("only %d calls were found: the check does not work", calls)
	}
}
