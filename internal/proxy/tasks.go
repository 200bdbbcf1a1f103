package proxy

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// tasks runs the goroutines of a bridge. A panic in one of them does not end the others.
type tasks struct {
	log     *slog.Logger
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool // nothing more is started
}

// start runs fn in a goroutine of its own, unless tasks is closed. failed, if not nil, is called if fn panics.
func (t *tasks) start(name string, fn func(), failed func(error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.running.Add(1)
	go func() {
		defer t.running.Done()
		defer t.recovered(name, failed)
		fn()
	}()
}

// recovered is deferred. It logs a panic and reports it to failed, if that is not nil.
func (t *tasks) recovered(name string, failed func(error)) {
	if p := recover(); p != nil {
		t.log.Error("panic", "while", name, "value", wire.Clean(fmt.Sprint(p)), "stack", string(debug.Stack()))
		if failed != nil {
			failed(fmt.Errorf("panic while %s", name))
		}
	}
}

// close makes start do nothing from now on.
func (t *tasks) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
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
