package mcpoauth_test

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var quotedName = regexp.MustCompile("`([a-z_*]+)`")

// TestContributingTellsTheOrderOfTheFiles compares the table of layers in CONTRIBUTING.md with the order that
// TestCallsRunOneWay holds.
func TestContributingTellsTheOrderOfTheFiles(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(b), "\n| layer |")
	if !found {
		t.Fatal("there is no table of layers")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var told []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range quotedName.FindAllStringSubmatch(cells[2], -1) {
				told = append(told, m[1])
			}
		}
	}
	at, fits := -1, func(i int, name string) bool {
		ok, err := path.Match(told[i], name)
		return err == nil && ok
	}
	for _, file := range layers {
		name := strings.TrimSuffix(file, ".go")
		if at >= 0 && strings.Contains(told[at], "*") && fits(at, name) {
			continue
		}
		if at++; at == len(told) || !fits(at, name) {
			t.Fatalf("%s is place %d of the table in CONTRIBUTING.md, which has %q", file, at+1, told)
		}
	}
	if at != len(told)-1 {
		t.Errorf("CONTRIBUTING.md has more: %q", told[at+1:])
	}
}
