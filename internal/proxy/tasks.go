package proxy

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// maxIdle is how many goroutines wait for the next task. A new one would grow its stack anew for each request.
const maxIdle = 16

// tasks runs the goroutines of a bridge. A panic in one of them does not end the others.
type tasks struct {
	log     *slog.Logger
	running sync.WaitGroup

	mu     sync.Mutex
	idle   []chan<- task // of goroutines that wait for a task, the last one first
	closed bool          // nothing more is started
}

// task is one function to run.
type task struct {
	name   string
	run    func()
	failed func(error) // called if run panics, unless it is nil
}

// start runs fn in a goroutine of its own, unless tasks is closed. failed, if not nil, is called if fn panics.
func (t *tasks) start(name string, fn func(), failed func(error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	next := task{name, fn, failed}
	if last := len(t.idle) - 1; last >= 0 {
		t.idle[last] <- next
		t.idle = t.idle[:last]
		return
	}
	t.running.Go(func() { t.work(next) })
}

// work runs a task, and further ones as they come.
func (t *tasks) work(next task) {
	more := make(chan task, 1)
	for ok := true; ok; next, ok = <-more {
		t.runOne(next)
		if !t.rest(more) {
			return
		}
	}
}

func (t *tasks) runOne(one task) {
	defer t.recovered(one.name, one.failed)
	one.run()
}

// rest makes a goroutine wait for a task from more. It reports false if there are enough that do.
func (t *tasks) rest(more chan<- task) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.idle) >= maxIdle {
		return false
	}
	t.idle = append(t.idle, more)
	return true
}

// recovered is deferred. It logs a panic and reports it to failed, if that is not nil.
func (t *tasks) recovered(name string, failed func(error)) {
	if p := recover(); p != nil {
		// The value and the stack may hold secrets and what a message says.
		t.log.Error("internal error", "while", name)
		t.log.Debug("internal error", "while", name, "panic", wire.Clean(fmt.Sprint(p)), "stack", string(debug.Stack()))
		if failed != nil {
			failed(fmt.Errorf("internal error while %s", name))
		}
	}
}

// close makes start do nothing from now on.
func (t *tasks) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, more := range t.idle {
		close(more)
	}
	t.idle = nil
}

// wait returns when everything that was started has ended. It is called after close.
func (t *tasks) wait() { t.running.Wait() }

// repeated is a warning whose cause a server can repeat as often as it likes.
type repeated struct{ times atomic.Int64 }

// warn logs the first warnings, and later one at each power of two.
func (r *repeated) warn(log *slog.Logger, text string, args ...any) {
	if n := r.times.Add(1); n <= 32 || n&(n-1) == 0 {
		log.Warn(text, append(args, "times", n)...)
	}
}
