package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// own is the package of this command. Its tests look for the text that a mutant replaces, so they would fail
// for any mutant.
const own = "./internal/trials/mutants"

// planted is a mutant whose place in the module is known.
type planted struct {
	mutant
	area          string
	line          int // the first line that changes, from 1
	diff          []string
	intact, wrong []byte // the file without and with the fault
}

// place is where the mutant is, for people.
func (p planted) place() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// locate finds the place of every mutant and reports all mistakes of the lists together.
func locate(root string, lists []area) ([]planted, error) {
	var all []planted
	var bad []error
	seen := map[string]bool{}
	for _, a := range lists {
		for i, m := range a.mutants {
			p, err := m.locate(root)
			if key := m.file + "\x00" + m.old + "\x00" + m.new; err == nil && seen[key] {
				err = errors.New("it is in the lists twice")
			} else {
				seen[key] = true
			}
			if err != nil {
				bad = append(bad, fmt.Errorf("mutant %d of %s (%s: %q): %w", i+1, a.name, m.file, m.old, err))
				continue
			}
			p.area = a.name
			all = append(all, p)
		}
	}
	return all, errors.Join(bad...)
}

// locate applies the mutant to the text of its file.
func (m mutant) locate(root string) (planted, error) {
	if m.why == "" || m.old == "" || m.old == m.new {
		return planted{}, errors.New("it needs a text to replace, another text instead, and a sentence that says why")
	}
	if err := m.checkTests(root); err != nil {
		return planted{}, err
	}
	if !filepath.IsLocal(filepath.FromSlash(m.file)) || strings.HasSuffix(m.file, "_test.go") {
		return planted{}, errors.New("its file must be a file of the module and no test")
	}
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return planted{}, err
	}
	text := string(b)
	if n := strings.Count(text, m.old); n != 1 {
		return planted{}, fmt.Errorf("its text occurs %d times in the file, and must occur once", n)
	}
	p := planted{mutant: m, intact: b, wrong: []byte(strings.Replace(text, m.old, m.new, 1))}
	p.line, p.diff = difference(text, string(p.wrong))
	return p, nil
}

// checkTests refuses packages that are not there, have no tests, or would fail for any mutant.
func (m mutant) checkTests(root string) error {
	packages := strings.Fields(m.tests)
	if len(packages) == 0 {
		return errors.New("it names no package of tests")
	}
	for _, pkg := range packages {
		if pkg == own || strings.Contains(pkg, "...") || pkg != "." && !strings.HasPrefix(pkg, "./") {
			return fmt.Errorf("%s must be one package as in ./internal/x, and not the package of the lists", pkg)
		}
		tests, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pkg), "*_test.go"))
		if err != nil || len(tests) == 0 {
			return fmt.Errorf("%s has no tests", pkg)
		}
	}
	return nil
}

// difference returns the number of the first line in which two texts differ, and the lines that do, as in a diff.
func difference(before, after string) (line int, diff []string) {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
		line++
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	for _, s := range a {
		diff = append(diff, "- "+strings.TrimSpace(s))
	}
	for _, s := range b {
		diff = append(diff, "+ "+strings.TrimSpace(s))
	}
	return line + 1, diff
}
