//go:build unix

package testserver

import (
	"errors"
	"sync"
)

// Shared is a server that the tests of a package share.
type Shared struct {
	// Start starts it: [Redis] or [Postgres].
	Start func(TB) string

	once sync.Once
	p    Program
	at   string
	err  error
}

// At returns where the server is, which is started for the first test that asks.
func (s *Shared) At(tb TB) string {
	tb.Helper()
	s.once.Do(func() {
		s.err = s.p.try(func(tb TB) error {
			s.at = s.Start(tb)
			return nil
		})
	})
	if errors.Is(s.err, ErrSkipped) {
		tb.Skipf("%v", s.err)
	} else if s.err != nil {
		tb.Fatal(s.err)
	}
	return s.at
}

// Main runs the tests and ends the server after them. TestMain exits with what it returns.
func (s *Shared) Main(m interface{ Run() int }) int {
	defer s.p.end()
	return m.Run()
}
