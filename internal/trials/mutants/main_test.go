package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLists: each text to replace occurs once in its file today, and the tests exist.
func TestLists(t *testing.T) {
	t.Parallel()
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locate(root, areas()); err != nil {
		t.Errorf("the lists have to follow the code:\n%v", err)
	}
}

// tiny makes a module with one function that has a test, one that has none, and one that can hang.
func tiny(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "go.mod", "module tiny\n\ngo 1.26\n")
	write(t, dir, "a/a.go", "package a\n\nfunc Old(n int) bool {\n\treturn n >= 18\n}\n\nfunc New(n int) bool {\n\treturn n < 18\n}\n")
	write(t, dir, "a/a_test.go", "package a\n\nimport \"testing\"\n\nfunc TestOld(t *testing.T) {\n\tif !Old(18) || Old(17) {\n\t\tt.Error(\"wrong\")\n\t}\n}\n")
	write(t, dir, "interop/other.txt", "left out")
	write(t, dir, ".gitignore", "/ignored\n")
	write(t, dir, "ignored", "left out")
	write(t, dir, "deleted", "left out")
	git := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	git("add", "go.mod", "deleted") // the others are new files
	if err := os.Remove(filepath.Join(dir, "deleted")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// temporary makes the command's temporary directories in a place of the test's, and returns what lies there.
func temporary(t *testing.T) func() []string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TEMP", dir)
	t.Setenv("TMP", dir)
	return func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
}

func planting(t *testing.T, root string, list ...mutant) []planted {
	t.Helper()
	all, err := locate(root, []area{{"tiny", list}})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	dead   = mutant{file: "a/a.go", old: "n >= 18", new: "n > 18", tests: "./a", why: "of age a day late"}
	alive  = mutant{file: "a/a.go", old: "n < 18", new: "n <= 18", tests: "./a", why: "a minor at 18"}
	wrong  = mutant{file: "a/a.go", old: "n >= 18", new: "n >= m", tests: "./a", why: "does not compile"}
	known  = mutant{file: "a/a.go", old: "return n < 18", new: "return 18 > n", tests: "./a", why: "nothing", survives: "it means the same"}
	atLast = mutant{file: "a/a.go", old: "n >= 18", new: "n >= 0", tests: "./a", why: "everybody is of age", survives: "no test looks"}
)

func TestVerdicts(t *testing.T) {
	left := temporary(t)
	root := tiny(t)
	var order []string
	r := &runner{root: root, workers: 2, limit: time.Minute, patience: time.Minute, observe: func(res result) { order = append(order, res.why) }}
	results, err := r.run(t.Context(), planting(t, root, dead, alive, wrong, known, atLast))
	if err != nil {
		t.Fatal(err)
	}
	var got []verdict
	for _, res := range results {
		got = append(got, res.verdict)
	}
	if want := []verdict{killed, survived, broken, survived, killed}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if results[0].by != "TestOld" {
		t.Errorf("the first was killed by %q, want the test's name", results[0].by)
	}
	if len(order) != 5 {
		t.Errorf("%d results were shown, want all", len(order))
	}
	if names := left(); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}

	var out strings.Builder
	if err := report(&out, results, 3); err == nil || !strings.Contains(err.Error(), "1 faults do not compile") {
		t.Errorf("a list with a fault that does not compile: %v", err)
	}
	for _, want := range []string{
		"tiny  5        2       2         ",
		"survived: a/a.go:8 (tiny): a minor at 18\n    - return n < 18\n    + return n <= 18\n    no reason is known",
		"survived: a/a.go:8 (tiny): nothing\n    - return n < 18\n    + return 18 > n\n    known: it means the same",
		"does not compile: a/a.go:4 (tiny)",
		"undefined: m",
		"good news: a/a.go:4 (tiny) is killed by TestOld; its reason to survive can go: no test looks",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
	results = slices.Delete(results, 2, 3)
	if err := report(io.Discard, results, 2); err != nil {
		t.Errorf("two survive and two may: %v", err)
	}
	if err := report(io.Discard, results, 1); err == nil {
		t.Error("two survive where one may, and that is no error")
	}
}

// TestCopies: a fault is planted in copies, which have the new files and none that are ignored or deleted.
func TestCopies(t *testing.T) {
	t.Parallel()
	root, dir := tiny(t), t.TempDir()
	r := &runner{root: root}
	spaces, err := r.copies(t.Context(), dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range spaces {
		for name, want := range map[string]bool{"go.mod": true, "a/a.go": true, "a/a_test.go": true, "ignored": false, "deleted": false, "interop": false} {
			_, err := os.Stat(filepath.Join(w.module, name))
			if got := err == nil; got != want {
				t.Errorf("%s is in the copy: %t, want %t", name, got, want)
			}
		}
	}
}

// TestAHang: a test that does not end is a fault noticed, whether Go's own limit ends it or ours.
func TestAHang(t *testing.T) {
	t.Parallel()
	root := tiny(t)
	write(t, root, "a/hang_test.go", "package a\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc TestHang(*testing.T) { time.Sleep(wait) }\n")
	write(t, root, "a/hang.go", "package a\n\nconst wait = 0\n")
	p := planting(t, root, mutant{file: "a/hang.go", old: "const wait = 0", new: "const wait = 1 << 62", tests: "./a", why: "waits"})[0]
	r := &runner{root: root, workers: 1, limit: 100 * time.Millisecond, patience: time.Minute}
	spaces, err := r.copies(t.Context(), t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.try(t.Context(), spaces[0], p)
	if err != nil || out.verdict != killed || out.by != "the time limit" {
		t.Errorf("with Go's limit: %v by %q, %v", out.verdict, out.by, err)
	}
	if b, err := os.ReadFile(filepath.Join(spaces[0].module, "a/hang.go")); err != nil || !bytes.Equal(b, p.intact) {
		t.Errorf("the fault stays in the copy: %s, %v", b, err)
	}
	r.limit = time.Hour
	for r.patience = time.Second; ; r.patience *= 2 {
		out, err := r.try(t.Context(), spaces[0], p)
		if err != nil && strings.Contains(err.Error(), "deadline exceeded") && r.patience < time.Minute {
			continue // the compiler was slow, which says nothing of the fault
		}
		if err != nil || out.verdict != killed || out.by != "the time limit" {
			t.Errorf("with ours: %v by %q, %v", out.verdict, out.by, err)
		}
		return
	}
}

// TestBaseline: where the tests fail without any fault, nothing is said of faults.
func TestBaseline(t *testing.T) {
	left := temporary(t)
	root := tiny(t)
	// Like a flaky test it fails at one run, the first, and would pass at all others.
	mark := filepath.Join(t.TempDir(), "mark")
	t.Setenv("TINY_MARK", mark)
	write(t, root, "a/flaky_test.go", `package a

import (
	"os"
	"testing"
)

func TestFlaky(t *testing.T) {
	if err := os.Mkdir(os.Getenv("TINY_MARK"), 0o700); err == nil {
		t.Error("the first time")
	}
}
`)
	r := &runner{root: root, workers: 1, limit: time.Minute, patience: time.Minute, observe: func(res result) { t.Errorf("%s was planted", res.place()) }}
	_, err := r.run(t.Context(), planting(t, root, dead))
	if err == nil || !strings.Contains(err.Error(), "without any fault (TestFlaky)") || !strings.Contains(err.Error(), "the first time") {
		t.Errorf("got %v", err)
	}
	if names := left(); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

// TestAFlakyTestKillsNothing: a failure counts if it repeats.
func TestAFlakyTestKillsNothing(t *testing.T) {
	root := tiny(t)
	runs := filepath.Join(t.TempDir(), "runs")
	t.Setenv("TINY_RUNS", runs)
	// The first run is the one without a fault, the second the one that counts if nobody looks twice.
	write(t, root, "a/flaky_test.go", `package a

import (
	"os"
	"testing"
)

func TestFlaky(t *testing.T) {
	t.Run("sub", func(t *testing.T) {
		b, _ := os.ReadFile(os.Getenv("TINY_RUNS"))
		if len(b) == 1 {
			t.Error("the second time")
		}
		_ = os.WriteFile(os.Getenv("TINY_RUNS"), append(b, '.'), 0o600)
	})
}
`)
	r := &runner{root: root, workers: 1, limit: time.Minute, patience: time.Minute}
	results, err := r.run(t.Context(), planting(t, root, alive))
	if err != nil {
		t.Fatal(err)
	}
	if res := results[0]; res.verdict != survived || !slices.Equal(res.flaky, []string{"TestFlaky/sub"}) {
		t.Errorf("%v by %q, flaky: %v", res.verdict, res.by, res.flaky)
	}
	// Without a fault, with it, the flaky test alone, with it once more.
	if b, err := os.ReadFile(runs); err != nil || len(b) != 4 {
		t.Errorf("%d runs, %v", len(b), err)
	}
	var out strings.Builder
	if err := report(&out, results, 1); err != nil || !strings.Contains(out.String(), "flaky: TestFlaky/sub failed with the fault at a/a.go:8") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestInterrupt: at a signal nothing stays, neither directories nor the tests that run.
func TestInterrupt(t *testing.T) {
	left := temporary(t)
	root := tiny(t)
	mark := filepath.Join(t.TempDir(), "mark")
	t.Setenv("TINY_MARK", mark)
	write(t, root, "a/slow_test.go", `package a

import (
	"os"
	"testing"
	"time"
)

func TestSlow(t *testing.T) {
	for {
		_ = os.WriteFile(os.Getenv("TINY_MARK"), []byte(time.Now().String()), 0o600)
		time.Sleep(10 * time.Millisecond)
	}
}
`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for {
			if _, err := os.Stat(mark); err == nil || t.Context().Err() != nil {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	r := &runner{root: root, workers: 2, limit: time.Minute, patience: time.Minute}
	if _, err := r.run(ctx, planting(t, root, dead, alive)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if names := left(); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
	before, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if after, _ := os.ReadFile(mark); !bytes.Equal(before, after) {
		t.Error("a test still runs")
	}
}

func TestMistakesInLists(t *testing.T) {
	t.Parallel()
	root := tiny(t)
	for name, c := range map[string]struct {
		m    mutant
		want string
	}{
		"ambiguous":         {mutant{file: "a/a.go", old: "18", new: "19", tests: "./a", why: "x"}, "occurs 2 times"},
		"not there":         {mutant{file: "a/a.go", old: "19", new: "18", tests: "./a", why: "x"}, "occurs 0 times"},
		"no file":           {mutant{file: "a/b.go", old: "x", new: "y", tests: "./a", why: "x"}, "b.go"},
		"outside":           {mutant{file: "../a.go", old: "x", new: "y", tests: "./a", why: "x"}, "file of the module"},
		"a test":            {mutant{file: "a/a_test.go", old: "wrong", new: "y", tests: "./a", why: "x"}, "no test"},
		"nothing changes":   {mutant{file: "a/a.go", old: "n < 18", new: "n < 18", tests: "./a", why: "x"}, "another text"},
		"no reason":         {mutant{file: "a/a.go", old: "n < 18", new: "true", tests: "./a"}, "says why"},
		"no tests named":    {mutant{file: "a/a.go", old: "n < 18", new: "true", why: "x"}, "names no package"},
		"no tests there":    {mutant{file: "a/a.go", old: "n < 18", new: "true", tests: "./b", why: "x"}, "has no tests"},
		"all packages":      {mutant{file: "a/a.go", old: "n < 18", new: "true", tests: "./...", why: "x"}, "one package"},
		"this package":      {mutant{file: "a/a.go", old: "n < 18", new: "true", tests: own, why: "x"}, "one package"},
		"an import's path":  {mutant{file: "a/a.go", old: "n < 18", new: "true", tests: "tiny/a", why: "x"}, "one package"},
		"twice in the list": {alive, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := locate(root, []area{{"tiny", []mutant{alive, c.m}}})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "mutant 2 of tiny") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	var all []planted
	for _, a := range []string{"root", "cli"} {
		for i := range 10 {
			all = append(all, planted{area: a, mutant: mutant{file: a + ".go", why: string(rune('a' + i))}})
		}
	}
	choose := func(s settings) string {
		t.Helper()
		some, err := s.choose(all)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range some {
			names = append(names, p.area+p.why)
		}
		return strings.Join(names, " ")
	}
	one, same, other := choose(settings{sample: 5, seed: 1}), choose(settings{sample: 5, seed: 1}), choose(settings{sample: 5, seed: 2})
	if one != same || one == other || len(strings.Fields(one)) != 5 {
		t.Errorf("samples: %q, %q with the same seed, %q with another", one, same, other)
	}
	if got := len(strings.Fields(choose(settings{sample: 100}))); got != 20 {
		t.Errorf("a sample of 100 of 20 has %d", got)
	}
	if _, err := (settings{area: "cli", only: "root"}).choose(all); err == nil || err.Error() != "no fault is chosen" {
		t.Error("nothing is chosen, and that is no error")
	}
	if got := choose(settings{area: "cli,root", only: "oot"}); len(strings.Fields(got)) != 10 || strings.Contains(got, "cli") {
		t.Errorf("only root: %q", got)
	}
	if _, err := (settings{area: "clio"}).choose(all); err == nil {
		t.Error("an area that does not exist is no error")
	}
	if got := dateSeed(time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC)); got != 20260301 {
		t.Errorf("the seed of a day is %d", got)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-workers", "0"}, {"-timeout", "0s"}, {"-sample", "-1"}, {"x"}, {"-unknown"}} {
		var stderr strings.Builder
		if code := run(t.Context(), args, io.Discard, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr.String())
		}
	}
	var stderr strings.Builder
	if code := run(t.Context(), []string{"-only", "no mutant has this text"}, io.Discard, &stderr); code != 1 || !strings.HasPrefix(stderr.String(), "mutants: ") {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}
