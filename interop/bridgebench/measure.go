//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/trials/host"
)

const (
	warmUp   = 50
	atOnce   = 16
	calls    = 500             // in a row
	rowLimit = 3 * time.Second // but no longer
	span     = time.Second     // of calls at once
	// late is how long after its answer a call's notifications may come.
	late = 2 * time.Second
)

// figures are what one run of a subject shows. Only its JSON passes between processes.
type figures struct {
	Initialize    time.Duration
	P50           time.Duration
	PerSecond     float64       // one after the other
	AtOnce        float64       // per second, 16 in flight
	MB, MB16      time.Duration // 0: it failed
	Notified      time.Duration
	Notifications int
	Peak, PeakBig int64
}

// caller is a client, with a bridge or without.
type caller interface {
	call(tool string) error
	many(span time.Duration) (int, error)
	notify() (time.Duration, int, error)
}

// small measures all but the large results.
func (f *figures) small(c caller) error {
	for range warmUp {
		if err := c.call("echo"); err != nil {
			return err
		}
	}
	var times []time.Duration
	begin := time.Now()
	for len(times) < calls && time.Since(begin) < rowLimit {
		start := time.Now()
		if err := c.call("echo"); err != nil {
			return err
		}
		times = append(times, time.Since(start))
	}
	f.PerSecond = float64(len(times)) / time.Since(begin).Seconds()
	f.P50 = median(times)
	begin = time.Now()
	n, err := c.many(span)
	if err != nil {
		return err
	}
	f.AtOnce = float64(n) / time.Since(begin).Seconds()
	if f.Notified, f.Notifications, err = c.notify(); err != nil {
		return err
	}
	f.MB, err = large(c, "mb")
	return err
}

func (f *figures) big(c caller) (err error) {
	f.MB16, err = large(c, "mb16")
	return err
}

func large(c caller, tool string) (time.Duration, error) {
	var times []time.Duration
	for range 3 {
		start := time.Now()
		if err := c.call(tool); err != nil {
			return 0, err
		}
		times = append(times, time.Since(start))
	}
	return median(times), nil
}

func median[T int | int64 | float64 | time.Duration](all []T) T {
	all = slices.Clone(all)
	slices.Sort(all)
	return all[len(all)/2]
}

// wire calls over a program's standard input and output.
type wire struct {
	p    *host.Program
	next int
}

func (w *wire) send(tool string) (int, error) {
	w.next++
	return w.next, w.p.Send(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{},"_meta":{"progressToken":%[1]d}}}`, w.next, tool)
}

func good(line []byte) error {
	if !bytes.Contains(line[:min(len(line), 128)], []byte(`"result"`)) && !bytes.Contains(line[max(0, len(line)-128):], []byte(`"result"`)) {
		return fmt.Errorf("not a result: %.300s", line)
	}
	return nil
}

func (w *wire) call(tool string) error {
	id, err := w.send(tool)
	if err != nil {
		return err
	}
	line, err := w.p.Answer(id, nil)
	if err != nil {
		return err
	}
	if want := sizes[tool]; len(line) < want {
		return fmt.Errorf("%d bytes came instead of %d: %.300s", len(line), want, line)
	}
	return good(line)
}

func (w *wire) many(span time.Duration) (int, error) {
	open := map[int]bool{}
	done := 0
	for end := time.Now().Add(span); ; {
		for len(open) < atOnce && time.Now().Before(end) {
			id, err := w.send("echo")
			if err != nil {
				return 0, err
			}
			open[id] = true
		}
		if len(open) == 0 {
			return done, nil
		}
		line, err := w.p.Line()
		if err != nil {
			return 0, err
		}
		if id, ok := host.ID(line); ok {
			if !open[id] {
				return 0, fmt.Errorf("an answer that nobody waits for: %.300s", line)
			}
			if err := good(line); err != nil {
				return 0, err
			}
			delete(open, id)
			done++
		}
	}
}

func (w *wire) notify() (time.Duration, int, error) {
	start := time.Now()
	id, err := w.send("notify")
	if err != nil {
		return 0, 0, err
	}
	came, answered, last := 0, false, time.Now()
	for came < notifications || !answered {
		line, err := w.p.LineWithin(late)
		if errors.Is(err, host.ErrNothing) && answered {
			break
		}
		if err != nil {
			return 0, 0, err
		}
		last = time.Now()
		if got, ok := host.ID(line); ok && got == id {
			answered = true
		} else if bytes.Contains(line, []byte("notifications/progress")) {
			came++
		}
	}
	return last.Sub(start), came, nil
}

// measure starts a bridge and measures it.
func measure(argv, env []string) (f figures, err error) {
	begin := time.Now()
	p, err := host.Start(argv, env)
	if err != nil {
		return f, err
	}
	defer p.Kill()
	stop := time.AfterFunc(2*time.Minute, p.Kill)
	defer stop.Stop()
	if err := p.Send(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`); err != nil {
		return f, err
	}
	line, err := p.Answer(0, nil)
	if err != nil {
		return f, err
	}
	f.Initialize = time.Since(begin)
	if err := good(line); err != nil {
		return f, fmt.Errorf("%w; it said: %s", err, p.Said())
	}
	if err := p.Send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`); err != nil {
		return f, err
	}
	w := &wire{p: p}
	if err := f.small(w); err != nil {
		return f, err
	}
	if f.Peak, err = p.Peak(); err != nil {
		return f, err
	}
	if err := f.big(w); err != nil {
		f.MB16 = 0 // some have a limit
	}
	if f.PeakBig, err = p.Peak(); err != nil {
		return f, err
	}
	_ = p.End(5 * time.Second) // how others end is not measured
	return f, nil
}
