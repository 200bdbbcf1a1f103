package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// verdict says what the tests made of a fault.
type verdict int

const (
	survived verdict = iota // they passed
	killed                  // they failed or exceeded their time
	broken                  // they did not compile, which says nothing about the tests
)

func (v verdict) String() string { return [...]string{"survived", "killed", "broken"}[v] }

// outcome is what one `go test` showed.
type outcome struct {
	verdict verdict
	by      string // the first test that failed, or what else ended the run
	test    string // that test without its subtests, "" if no test is known
	flaky   []string
	text    string // the end of that test's output, or of the compiler's
}

// tries is how often the tests of a package are run for a mutant as long as their failures do not repeat.
const tries = 3

// judge runs the tests of one package for a mutant. A test that fails is run again alone: one that passes then may be
// flaky, and would make any mutant look killed.
func (r *runner) judge(ctx context.Context, w workspace, pkg string) (outcome, error) {
	var flaky []string
	for try := 1; ; try++ {
		out, err := r.goTest(ctx, w, pkg, "")
		if err == nil && out.verdict == killed && out.test != "" && try < tries {
			again, aerr := r.goTest(ctx, w, pkg, out.test)
			if aerr == nil && again.verdict == survived {
				flaky = append(flaky, out.by)
				continue
			}
			err = aerr
		}
		out.flaky = flaky
		return out, err
	}
}

// event is a line of `go test -json`.
type event struct{ Action, Test, Output, FailedBuild string }

// maxText bounds what is kept of the output of a run.
const maxText = 4 << 10

// goTest runs the tests of one package, or only the one that test names. An error means that nothing is known.
func (r *runner) goTest(ctx context.Context, w workspace, pkg, test string) (outcome, error) {
	limited, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	// -trimpath makes the copies share the build cache, since its keys then have no directory in them.
	args := []string{"test", "-json", "-count=1", "-failfast", "-vet=off", "-trimpath", "-timeout", r.limit.String()}
	if test != "" {
		args = append(args, "-run", "^"+regexp.QuoteMeta(test)+"$")
	}
	cmd := exec.CommandContext(limited, "go", append(args, pkg)...) // a package of the lists
	cmd.Dir = w.module
	cmd.Env = append(os.Environ(), "TMPDIR="+w.tmp, "GOWORK=off", "PWD="+w.module)
	inGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = 10 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return outcome{}, err
	}
	if err := cmd.Start(); err != nil {
		return outcome{}, err
	}
	defer func() { _ = killGroup(cmd.Process) }() // what the tests left running
	s := watch(bufio.NewScanner(pipe))
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return outcome{}, ctx.Err()
	case limited.Err() != nil && s.started:
		return outcome{verdict: killed, by: "the time limit", text: s.text}, nil
	case err == nil && s.scan == nil:
		return outcome{verdict: survived, text: s.text}, nil
	case s.build:
		return outcome{verdict: broken, by: "the compiler", text: s.text}, nil
	case s.failed:
		return outcome{verdict: killed, by: s.by, test: s.test, text: s.text}, nil
	}
	return outcome{}, fmt.Errorf("go test %s: %w: %s%s", pkg, errors.Join(err, s.scan, limited.Err()), s.text, stderr.String())
}

// seen is what the events of a run say.
type seen struct {
	started, failed, build bool
	by, test, text         string
	scan                   error
}

// watch reads the events until the output ends.
func watch(lines *bufio.Scanner) (s seen) {
	lines.Buffer(nil, 16<<20)
	texts := map[string]string{} // by test, "" for what belongs to none
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e = event{Output: lines.Text() + "\n"}
		}
		text := texts[e.Test] + e.Output
		texts[e.Test] = text[max(0, len(text)-maxText):]
		switch e.Action {
		case "start":
			s.started = true
		case "pass", "skip":
			delete(texts, e.Test)
		case "fail":
			s.failed = true
			s.build = s.build || e.FailedBuild != ""
			if s.by == "" && e.Test != "" {
				s.by, s.text = e.Test, texts[e.Test]
				s.test, _, _ = strings.Cut(e.Test, "/")
			}
		}
		if strings.Contains(e.Output, "panic: test timed out after") {
			s.by, s.test, s.text = "the time limit", "", ""
		}
	}
	s.by, s.text = cmp.Or(s.by, "the package"), cmp.Or(s.text, texts[""])
	s.scan = lines.Err()
	return s
}
