package mcpoauth_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// moduleTests returns the tests of the module by name, and by the name of the directory and a dot before that (of the
// root "." alone), each with the strings that its file has (a name of a subtest is one of them), and those whose comment
// says that they have a row in docs/compatibility.md.
var moduleTests = sync.OnceValues(func() (found testsOfModule, err error) {
	found.texts = map[string][]string{}
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (path == "interop" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		var names, texts []string
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && strings.HasPrefix(n.Name.Name, "Test") {
					names = append(names, n.Name.Name)
					if strings.Contains(n.Doc.Text(), "has a row in docs/compatibility.md") {
						found.rows = append(found.rows, n.Name.Name)
					}
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					texts = append(texts, text)
				}
			}
			return true
		})
		for _, name := range names {
			for _, key := range []string{name, filepath.Base(filepath.Dir(path)) + "." + name} {
				found.texts[key] = append(found.texts[key], texts...)
			}
		}
		return nil
	})
	return found, err
})

type testsOfModule struct {
	texts map[string][]string
	rows  []string
}

// lacks says what is missing of a test, with its subtest after a slash; "" if it exists.
func (m testsOfModule) lacks(test string) string {
	name, sub, _ := strings.Cut(test, "/")
	texts, ok := m.texts[name]
	switch {
	case !ok:
		return "there is no test " + name
	case sub != "" && !slices.Contains(texts, sub):
		return fmt.Sprintf("%s has no subtest %q", name, sub)
	}
	return ""
}

var testName = regexp.MustCompile("`(Test[^`]*)`")

// TestEveryRowOfTheCompatibilityTableHasATest compares docs/compatibility.md with the tests: a row names a test, and
// each test that says so has a row.
func TestEveryRowOfTheCompatibilityTableHasATest(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := moduleTests()
	if err != nil {
		t.Fatal(err)
	}
	named, rows := map[string]bool{}, 0
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
			if why := tests.lacks(m[1]); why != "" {
				t.Error(why)
			}
			name, _, _ := strings.Cut(m[1], "/")
			named[name] = true
		}
	}
	if rows == 0 {
		t.Error("the table has no rows")
	}
	for _, name := range tests.rows {
		if !named[name] {
			t.Errorf("%s has no row in docs/compatibility.md", name)
		}
	}
}
