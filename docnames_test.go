package mcpoauth_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth"
)

// optionTypes are the types whose fields the documents name.
var optionTypes = map[string]reflect.Type{
	"Options":         reflect.TypeFor[mcpoauth.Options](),
	"LoginOptions":    reflect.TypeFor[mcpoauth.LoginOptions](),
	"TerminalOptions": reflect.TypeFor[mcpoauth.TerminalOptions](),
	"ClientKey":       reflect.TypeFor[mcpoauth.ClientKey](),
}

// isField reports whether a path of names leads from a type to a field.
func isField(t reflect.Type, path []string) bool {
	for _, name := range path {
		if t.Kind() != reflect.Struct {
			return false
		}
		f, ok := t.FieldByName(name)
		if !ok {
			return false
		}
		t = f.Type
	}
	return len(path) > 0
}

var (
	optionPath = regexp.MustCompile(`([\w.]*\b\w+)\.?`)
	quotedPath = regexp.MustCompile("`([A-Z][A-Za-z.]*)`")
)

// TestOptionsThatTheDocumentsNameExist compares each Options.… of the documents, and each setting of
// docs/compatibility.md, with the types. CHANGELOG.md names old ones too.
func TestOptionsThatTheDocumentsNameExist(t *testing.T) {
	t.Parallel()
	documents := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	for _, pattern := range []string{"docs/*.md", "docs/decisions/*.md"} {
		found, err := filepath.Glob(filepath.FromSlash(pattern))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, found...)
	}
	named := 0
	for _, name := range documents {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range optionPath.FindAllStringSubmatch(string(b), -1) {
			typ, path, _ := strings.Cut(m[1], ".")
			if typ == "mcpoauth" {
				typ, path, _ = strings.Cut(path, ".")
			}
			if optionTypes[typ] == nil || path == "" {
				continue
			}
			if named++; !isField(optionTypes[typ], strings.Split(path, ".")) {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d options are named", named)
	}
	b, err := os.ReadFile(filepath.Join("docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 {
			continue
		}
		for _, m := range quotedPath.FindAllStringSubmatch(cells[3], -1) {
			path := strings.Split(m[1], ".")
			typ := optionTypes["Options"]
			if other := optionTypes[path[0]]; other != nil {
				typ, path = other, path[1:]
			}
			if !isField(typ, path) {
				t.Errorf("docs/compatibility.md names the setting %s, which does not exist", m[1])
			}
		}
	}
}
