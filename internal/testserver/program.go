//go:build unix

package testserver

import (
	"errors"
	"fmt"
	"os"
)

// Program is a TB for programs. Use [Run].
type Program struct {
	ends []func()
}

// ErrSkipped means that something is not installed.
var ErrSkipped = errors.New("skipped")

// failure is how Fatal and Skip leave.
type failure struct{ err error }

// Run calls f with a TB, and ends what it started. Fatal and Skip end f and become the error.
func Run(f func(TB) error) error {
	p := &Program{}
	defer p.end()
	return p.try(f)
}

// end ends what was started.
func (p *Program) end() {
	for i := len(p.ends) - 1; i >= 0; i-- {
		p.ends[i]()
	}
}

// try calls f. Fatal and Skip end f and become the error.
func (p *Program) try(f func(TB) error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.err
		default:
			panic(r)
		}
	}()
	return f(p)
}

// Helper does nothing.
func (p *Program) Helper() {}

// Cleanup implements TB.
func (p *Program) Cleanup(f func()) { p.ends = append(p.ends, f) }

// TempDir implements TB.
func (p *Program) TempDir() string {
	dir, err := os.MkdirTemp("", "mcpoauth")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Fatal implements TB.
func (p *Program) Fatal(args ...any) { panic(failure{errors.New(fmt.Sprint(args...))}) }

// Fatalf implements TB.
func (p *Program) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// Skipf implements TB.
func (p *Program) Skipf(format string, args ...any) {
	panic(failure{fmt.Errorf(format+": %w", append(args, ErrSkipped)...)})
}
