package proxy

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	// maxLogins is how many logins a server may cost a person within loginWindow: each may be for something new.
	maxLogins   = 5
	loginWindow = 10 * time.Minute
)

// logins has a person log in, once for all calls that need it, and limits how often.
type logins struct {
	ctx     context.Context // of a login: it ends with the bridge and carries the questions for AskHost
	login   func(ctx context.Context, cause error) error
	failure func(error) *fault
	wait    time.Duration // of a call for a login
	pause   time.Duration // after a login that failed
	tasks   *tasks
	log     *slog.Logger
	tooMany repeated

	mu     sync.Mutex
	run    *loginRun // that runs, nil if none does
	failed *fault    // of the last login, until pause is over
	until  time.Time // the end of that pause
	made   []time.Time
}

// loginRun is one login.
type loginRun struct {
	done chan struct{}
	err  *fault // valid after done
}

// await has a person log in for a call that failed with cause, and waits for it for a limited time. Only a call that
// the host waits for may begin a login.
func (l *logins) await(c *call, cause *fault) error {
	if l.login == nil {
		return cause
	}
	r, err := l.join(c, cause)
	if err != nil {
		return err
	}
	t := time.NewTimer(l.wait)
	defer t.Stop()
	select {
	case <-r.done:
		if r.err != nil {
			failed := *r.err
			return &failed
		}
		return nil
	case <-t.C:
		return &fault{reason: reasonLoginPending}
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// join returns the login that runs. It begins one if none does and a person may be asked.
func (l *logins) join(c *call, cause *fault) (*loginRun, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run != nil {
		return l.run, nil
	}
	if !c.mayAskForLogin() {
		return nil, cause
	}
	if time.Now().Before(l.until) {
		failed := *l.failed
		return nil, &failed
	}
	l.made = slices.DeleteFunc(l.made, func(at time.Time) bool { return time.Since(at) > loginWindow })
	if len(l.made) >= maxLogins {
		l.tooMany.warn(l.log, "the server asks for one login after the other; for a while nobody is asked any more")
		return nil, &fault{reason: reasonLogin, err: cause.err, final: true}
	}
	r := &loginRun{done: make(chan struct{})}
	l.run = r
	finish := func(err error) { l.finish(r, err) }
	l.tasks.start("logging in", func() { finish(l.login(l.ctx, cause.err)) }, finish)
	return r, nil
}

// finish records how a login ended.
func (l *logins) finish(r *loginRun, err error) {
	l.mu.Lock()
	l.run = nil
	if err != nil {
		r.err = l.failure(err)
		if r.err.reason == reasonLost {
			r.err.reason = reasonAuthorization
		}
		r.err.unsent = false
		l.failed, l.until = r.err, time.Now().Add(l.pause)
	} else {
		l.made = append(l.made, time.Now())
	}
	l.mu.Unlock()
	if err != nil {
		l.log.Warn("the login failed", "why", wire.CleanN(err.Error(), 500))
	}
	close(r.done)
}
