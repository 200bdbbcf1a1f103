package mcpoauth_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// statementCell is the second cell of a row: the key words, and what the statement says.
	statementCell = regexp.MustCompile(`^\*\*(?:(?:MUST NOT|MUST|SHOULD NOT|SHOULD|MAY|REQUIRED|RECOMMENDED|OPTIONAL)(?:, )?)+\*\* \S`)
	placeCell     = regexp.MustCompile(`^\[[^\]]+\]\[([^\]]+)\]$`)
	placeAddress  = regexp.MustCompile(`(?m)^\[([^\]]+)\]: https://[^ #]+#\S+$`)
	statementTest = regexp.MustCompile("`([^`]+)`")
	countedCell   = regexp.MustCompile(`^\[([^\]]+)\]\(#[^)]+\)$`)
)

// TestEveryStatementHasATest compares docs/conformance.md with the tests: a row names one that exists, or says why there
// is none, and the first table counts the rows.
func TestEveryStatementHasATest(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := moduleTests()
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]bool{}
	for _, m := range placeAddress.FindAllStringSubmatch(string(b), -1) {
		if places[m[1]] {
			t.Errorf("the place %s has two addresses", m[1])
		}
		places[m[1]] = true
	}
	counted, rows, section := map[string]string{}, map[string]int{}, ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) != 4 || !strings.HasSuffix(line, "|"):
			t.Errorf("not four cells: %s", line)
		case slices.Contains([]string{"Specification", "Place"}, cells[0]):
		case section == "":
			m := countedCell.FindStringSubmatch(cells[0])
			if m == nil {
				t.Errorf("no section is counted: %s", line)
				continue
			}
			counted[m[1]] = cells[2]
		default:
			rows[section]++
			for _, why := range faultsOfRow(tests, places, cells) {
				t.Errorf("%s: %s", why, line)
			}
		}
	}
	if len(rows) == 0 {
		t.Error("there are no rows")
	}
	for section, n := range rows {
		if counted[section] != fmt.Sprint(n) {
			t.Errorf("%s has %d rows, and the first table counts %q", section, n, counted[section])
		}
	}
	for section := range counted {
		if rows[section] == 0 {
			t.Errorf("there is no section %s", section)
		}
	}
}

// faultsOfRow says what is wrong with a row of docs/conformance.md.
func faultsOfRow(tests testsOfModule, places map[string]bool, cells []string) (why []string) {
	if m := placeCell.FindStringSubmatch(cells[0]); m == nil || !places[m[1]] {
		why = append(why, "no place with an address")
	}
	if !statementCell.MatchString(cells[1]) {
		why = append(why, "no key word and statement")
	}
	if cells[2] == "" {
		why = append(why, "nothing is said about what is done")
	}
	named := statementTest.FindAllStringSubmatch(cells[3], -1)
	if reason, ok := strings.CutPrefix(cells[3], "None: "); ok && len(reason) > 10 && len(named) == 0 {
		return why
	}
	if len(named) == 0 {
		why = append(why, "neither a test nor a reason")
	}
	for _, m := range named {
		name := m[1]
		if before, _, _ := strings.Cut(name, "/"); !strings.Contains(before, ".") {
			name = ".." + name // of the root
		}
		if lacks := tests.lacks(name); lacks != "" {
			why = append(why, lacks)
		}
	}
	return why
}

// TestFaultsOfRow: what TestEveryStatementHasATest finds.
func TestFaultsOfRow(t *testing.T) {
	t.Parallel()
	tests := testsOfModule{texts: map[string][]string{"TestA": {"x"}, "..TestA": {"x"}, "TestB": nil, "pkg.TestB": nil}}
	good := []string{"[a][a1]", "**MUST, MAY** be", "It is", "`TestA/x`, `pkg.TestB`"}
	for name, tc := range map[string]struct {
		cell int
		text string
		want int
	}{
		"good": {3, good[3], 0}, "a reason": {3, "None: there is nothing to do", 0}, "a key word": {1, "**RECOMMENDED** be", 0},
		"no place": {0, "a", 1}, "a place without an address": {0, "[a][b]", 1}, "no key word": {1, "be", 1}, "another key word": {1, "**WILL** be", 1}, "nothing done": {2, "", 1},
		"no test": {3, "", 1}, "no reason": {3, "None: no", 1}, "no such test": {3, "`TestC`", 1}, "no such subtest": {3, "`TestA/y`", 1},
		"a test of another package": {3, "`TestB`", 1}, "no such package": {3, "`other.TestB`", 1}, "a reason and a test": {3, "None: see `TestC` for that", 1},
	} {
		cells := slices.Clone(good)
		cells[tc.cell] = tc.text
		if why := faultsOfRow(tests, map[string]bool{"a1": true}, cells); len(why) != tc.want {
			t.Errorf("%s: %q", name, why)
		}
	}
}
