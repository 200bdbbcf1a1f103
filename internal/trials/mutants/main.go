// Command mutants plants one-line faults in copies of the module, one at a time, and runs the tests that
// must notice each of them. A fault that no test notices is a guard that the next change may remove
// unseen.
//
//	go run ./internal/trials/mutants                     # all of them; this takes minutes
//	go run ./internal/trials/mutants -area cli -only run.go -v
//	go run ./internal/trials/mutants -sample 20 -seed 7  # a random sample that can be repeated
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A mutant is a fault: one text of one file replaced.
type mutant struct {
	file  string // path in the module, with slashes
	old   string // text that occurs exactly once in the file
	new   string // text that replaces it; the result compiles
	tests string // packages whose tests notice it, separated by spaces, the likeliest one first
	why   string // one sentence: what the fault breaks for a user
	// survives says why no test can notice the fault. A mutant that has a reason still counts as a survivor.
	survives string
}

// An area is a part of the module with a list of its own.
type area struct {
	name    string
	mutants []mutant
}

// areas are all lists. A new list needs a line here.
func areas() []area {
	return []area{
		{"root", rootMutants},
		{"guards", guardMutants},
		{"logins", loginMutants},
		{"stages", stagesMutants},
		{"stores", storesMutants},
		{"bridge", bridgeMutants},
		{"cli", cliMutants},
		{"terminal", terminalMutants},
		{"start", startMutants},
	}
}

// settings are the flags.
type settings struct {
	area, only string
	sample     int
	seed       uint64
	workers    int
	limit      time.Duration
	survivors  int
	verbose    bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the command without its process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if err != nil {
		return 2 // the flag package has said why
	}
	if err := s.try(ctx, stdout); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(stderr, "mutants:", err)
		return 1
	}
	return 0
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("mutants", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&s.area, "area", "", "plant only the faults of these `AREAS`, separated by commas")
	fs.StringVar(&s.only, "only", "", "plant only the faults whose file, texts or reason contain this `TEXT`")
	fs.IntVar(&s.sample, "sample", 0, "plant `N` faults chosen at random; 0 means all")
	fs.Uint64Var(&s.seed, "seed", dateSeed(time.Now()), "`SEED` of the sample; the default changes daily")
	fs.IntVar(&s.workers, "workers", 2, "how many copies of the module are tested at a time")
	fs.DurationVar(&s.limit, "timeout", 2*time.Minute, "`TIME` that the tests of one package may take; a fault that exceeds it is killed")
	fs.IntVar(&s.survivors, "survivors", 3, "fail if more than `N` faults survive, with or without a known reason")
	fs.BoolVar(&s.verbose, "v", false, "print each result as it arrives")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 || s.workers < 1 || s.limit <= 0 || s.sample < 0 {
		err := errors.New("-workers and -timeout must be positive, -sample must not be negative, and arguments are not accepted")
		fmt.Fprintln(stderr, err)
		return s, err
	}
	return s, nil
}

// dateSeed is the default seed: the date, so that each day samples other faults and a failure can be repeated.
func dateSeed(now time.Time) uint64 {
	seed, _ := strconv.ParseUint(now.UTC().Format("20060102"), 10, 64)
	return seed
}

// try plants the chosen faults and prints the report. It fails if the lists are wrong or too many faults survive.
func (s settings) try(ctx context.Context, stdout io.Writer) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	all, err := locate(root, areas()) // also those that are not chosen: a list must not rot unseen
	if err != nil {
		return err
	}
	chosen, err := s.choose(all)
	if err != nil {
		return err
	}
	if s.sample > 0 {
		fmt.Fprintf(stdout, "a sample of %d of %d faults, -seed %d\n", len(chosen), len(all), s.seed)
	}
	r := &runner{root: root, workers: s.workers, limit: s.limit, patience: s.limit + 5*time.Minute}
	if s.verbose {
		r.observe = func(res result) { printResult(stdout, res) }
	}
	results, err := r.run(ctx, chosen)
	if err != nil {
		return err
	}
	return report(stdout, results, s.survivors)
}

// choose applies -area, -only and -sample.
func (s settings) choose(all []planted) ([]planted, error) {
	if s.area != "" {
		names := strings.Split(s.area, ",")
		for _, name := range names {
			if !slices.ContainsFunc(areas(), func(a area) bool { return a.name == name }) {
				return nil, fmt.Errorf("there is no area %q", name)
			}
		}
		all = slices.DeleteFunc(slices.Clone(all), func(p planted) bool { return !slices.Contains(names, p.area) })
	}
	if s.only != "" {
		all = slices.DeleteFunc(slices.Clone(all), func(p planted) bool {
			return !strings.Contains(strings.Join([]string{p.file, p.old, p.new, p.why}, "\n"), s.only)
		})
	}
	if len(all) == 0 {
		return nil, errors.New("no fault is chosen")
	}
	if s.sample == 0 || s.sample >= len(all) {
		return all, nil
	}
	order := rand.New(rand.NewPCG(s.seed, 0)).Perm(len(all))[:s.sample] // a sample that can be repeated
	slices.Sort(order)
	var some []planted
	for _, i := range order {
		some = append(some, all[i])
	}
	return some, nil
}

// moduleRoot is the directory of the module that the command is run in.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
