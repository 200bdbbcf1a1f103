package mcpoauth_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fieldTests returns the tests of the module that `go test -run Field` runs, by name, each with the strings that
// its file has: a name of a subtest is one of them.
func fieldTests(t *testing.T) map[string][]string {
	tests := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (path == "interop" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		var names, texts []string
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && strings.HasPrefix(n.Name.Name, "TestField") {
					names = append(names, n.Name.Name)
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					texts = append(texts, text)
				}
			}
			return true
		})
		for _, name := range names {
			if tests[name] != nil {
				t.Errorf("there are two tests with the name %s", name)
			}
			tests[name] = texts
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

var testName = regexp.MustCompile("`(Test[^`]*)`")

// TestEveryRowOfTheCompatibilityTableHasATest compares docs/compatibility.md with the tests: a row names one that
// -run Field runs, and each of those has a row.
func TestEveryRowOfTheCompatibilityTableHasATest(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests, named, rows := fieldTests(t), map[string]bool{}, 0
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| What happens |") || strings.HasPrefix(line, "|---") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			t.Errorf("not four cells: %s", line)
			continue
		}
		found := testName.FindAllStringSubmatch(cells[3], -1)
		if len(found) == 0 {
			t.Errorf("no test is named: %s", line)
		}
		for _, m := range found {
			name, sub, _ := strings.Cut(m[1], "/")
			texts, ok := tests[name]
			if !ok {
				t.Errorf("there is no test %s that -run Field runs", name)
			} else if sub != "" && !slices.Contains(texts, sub) {
				t.Errorf("%s has no subtest %q", name, sub)
			}
			named[name] = true
		}
	}
	if rows == 0 {
		t.Error("the table has no rows")
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		if !named[name] {
			t.Errorf("%s has no row in docs/compatibility.md", name)
		}
	}
}
