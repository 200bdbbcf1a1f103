package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// runner tests mutants in copies of a module.
type runner struct {
	root    string
	workers int
	// limit is how long the tests of one package may run. patience bounds one `go test` as a whole, with the
	// compilation before it.
	limit, patience time.Duration
	// observe, if set, gets each result as it arrives, one at a time.
	observe func(result)
}

// result is what became of one mutant.
type result struct {
	planted
	outcome
	took time.Duration
}

// workspace is one copy of the module, used by one worker.
type workspace struct{ module, tmp string }

// run tests each mutant and returns the results in the order of the list. The copies are gone when it returns,
// also if ctx ends.
func (r *runner) run(ctx context.Context, list []planted) (_ []result, err error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // tests start servers as other users
		return nil, err
	}
	spaces, err := r.copies(ctx, dir, min(r.workers, len(list)))
	if err != nil {
		return nil, err
	}
	if err := r.baseline(ctx, spaces, list); err != nil {
		return nil, err
	}
	results := make([]result, len(list))
	var seen sync.Mutex
	err = each(ctx, spaces, len(list), func(ctx context.Context, w workspace, i int) error {
		start := time.Now()
		out, err := r.try(ctx, w, list[i])
		if err != nil {
			return fmt.Errorf("%s: %w", list[i].place(), err)
		}
		results[i] = result{planted: list[i], outcome: out, took: time.Since(start)}
		if r.observe != nil {
			seen.Lock()
			defer seen.Unlock()
			r.observe(results[i])
		}
		return nil
	})
	return results, err
}

// copies makes the workspaces.
func (r *runner) copies(ctx context.Context, dir string, n int) ([]workspace, error) {
	files, err := moduleFiles(ctx, r.root)
	if err != nil {
		return nil, err
	}
	var spaces []workspace
	for i := range n {
		// The names are short because tests make sockets below them.
		w := workspace{module: filepath.Join(dir, fmt.Sprint(i)), tmp: filepath.Join(dir, fmt.Sprint("t", i))}
		if err := errors.Join(copyFiles(r.root, w.module, files), openDir(w.tmp, 0o777|os.ModeSticky)); err != nil {
			return nil, err
		}
		spaces = append(spaces, w)
	}
	return spaces, nil
}

// baseline runs the tests without a fault. If they fail, every mutant would look killed.
func (r *runner) baseline(ctx context.Context, spaces []workspace, list []planted) error {
	var packages []string
	known := map[string]bool{}
	for _, p := range list {
		for _, pkg := range strings.Fields(p.tests) {
			if !known[pkg] {
				known[pkg] = true
				packages = append(packages, pkg)
			}
		}
	}
	return each(ctx, spaces, len(packages), func(ctx context.Context, w workspace, i int) error {
		out, err := r.goTest(ctx, w, packages[i], "")
		if err != nil {
			return err
		}
		if out.verdict != survived {
			return fmt.Errorf("the tests of %s fail without any fault (%s), so they cannot judge one:\n%s", packages[i], out.by, out.text)
		}
		return nil
	})
}

// try plants one mutant, runs its packages until one of them notices it, and takes it out again.
func (r *runner) try(ctx context.Context, w workspace, p planted) (out outcome, err error) {
	path := filepath.Join(w.module, filepath.FromSlash(p.file))
	if err := os.WriteFile(path, p.wrong, 0o600); err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, p.intact, 0o600)) }()
	var flaky []string
	for _, pkg := range strings.Fields(p.tests) {
		out, err = r.judge(ctx, w, pkg)
		flaky = append(flaky, out.flaky...)
		if out.flaky = flaky; err != nil || out.verdict != survived {
			return out, err
		}
	}
	return out, nil
}

// each calls work for 0 to n-1, with one goroutine for each workspace. The first error ends all.
func each(ctx context.Context, spaces []workspace, n int, work func(ctx context.Context, w workspace, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs := make(chan int, n)
	for i := range n {
		jobs <- i
	}
	close(jobs)
	var wg sync.WaitGroup
	for _, w := range spaces {
		wg.Go(func() {
			for i := range jobs {
				if ctx.Err() != nil {
					return
				}
				if err := work(ctx, w, i); err != nil {
					cancel(err) // only the first counts
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
