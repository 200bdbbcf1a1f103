package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"
)

const (
	// deleteWait and stopWait bound the end of the bridge.
	deleteWait = 300 * time.Millisecond
	stopWait   = 400 * time.Millisecond // with deleteWait within it
)

var errEnded = errors.New("the bridge has ended")

// bridge is one [Run]. It makes, starts and ends the parts, and holds no state of its own.
type bridge struct {
	options Options
	log     *slog.Logger
	ctx     context.Context // of everything that runs
	stop    context.CancelCauseFunc
	hungUp  chan struct{} // closed when the input's end was seen before all of it was taken

	tasks    *tasks
	out      *output
	conn     *connection
	queue    *queue
	delivery *delivery
	sessions *sessions
	reader   *hostReader
}

// Run bridges in and out until in ends, ctx ends, or it cannot go on; the first two are no error.
// It ends within a second. It does not close in, and does not wait for a Read of it to return.
func Run(ctx context.Context, in io.Reader, out io.Writer, o *Options) error {
	b, err := newBridge(ctx, in, out, o)
	if err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() {
		var err error
		defer func() { read <- err }()
		defer b.tasks.recovered("reading", func(e error) { err = e })
		err = b.reader.run(b.reader.input)
	}()
	result := b.work(ctx, read)
	if cause := context.Cause(b.ctx); cause != nil && result == nil {
		result = cause
	}
	b.shutdown()
	return result
}

// newBridge builds the parts of a bridge, each from those that it uses.
func newBridge(ctx context.Context, in io.Reader, w io.Writer, o *Options) (*bridge, error) {
	if o == nil || o.HTTP == nil {
		return nil, errors.New("proxy: no HTTP client")
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("proxy: not the URL of a server")
	}
	u.Fragment, u.RawFragment = "", ""
	b := &bridge{options: o.withDefaults(), hungUp: make(chan struct{})}
	b.log = b.options.Logger
	b.ctx, b.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	b.connect(u, in, w)
	return b, nil
}

// connect makes the parts, from the one that uses nothing to the one that uses all.
func (b *bridge) connect(u *url.URL, in io.Reader, w io.Writer) {
	o := &b.options
	mem := &budget{maxMessage: o.MaxMessage, spoolAbove: o.SpoolAbove, memory: o.Memory, dir: o.TempDir}
	b.tasks = &tasks{log: b.log}
	b.out = &output{w: w, errors: errorTexts{o.LoginCommand, o.MaxMessage}, failed: func(err error) { b.stop(fmt.Errorf("writing to the host: %w", err)) }}
	b.conn = newConnection(b.ctx)
	b.queue = newQueue(o.MaxInFlight, b.tasks)
	tools := newToolTable(o.IgnoreTools, b.log)
	remote := &remote{http: o.HTTP, url: u, headers: o.Header, classify: o.Classify, patience: o.Patience, tools: tools, log: b.log}
	b.delivery = &delivery{queue: b.queue, conn: b.conn, tools: tools, out: b.out, mem: mem, log: b.log}
	exchange := &exchanger{remote: remote, queue: b.queue, delivery: b.delivery, mem: mem}
	legacy := &legacy{
		ctx: b.ctx, mode: o.Mode, patience: o.Patience, conn: b.conn, remote: remote,
		delivery: b.delivery, tasks: b.tasks, mem: mem, log: b.log,
	}
	b.sessions = &sessions{
		ctx: b.ctx, stop: b.stop, conn: b.conn, remote: remote, exchange: exchange,
		legacy: legacy, tasks: b.tasks, log: b.log,
	}
	listening := &listening{sessions: b.sessions, remote: remote, delivery: b.delivery, tasks: b.tasks, log: b.log}
	b.sessions.listen = listening.start
	questions := &questions{conn: b.conn, out: b.out}
	logins := &logins{
		ctx: context.WithValue(b.ctx, questionsKey{}, questions), login: o.Login, failure: remote.failure,
		wait: o.LoginWait, pause: o.LoginPause, tasks: b.tasks, log: b.log,
	}
	sender := &sender{
		ctx: b.ctx, mode: o.Mode, retryFor: o.RetryFor, queue: b.queue, conn: b.conn, remote: remote, delivery: b.delivery,
		sessions: b.sessions, legacy: legacy, exchange: exchange, logins: logins, tools: tools, tasks: b.tasks, mem: mem, log: b.log,
	}
	b.reader = &hostReader{
		ctx: b.ctx, input: newAhead(in, func() { close(b.hungUp) }), queue: b.queue, conn: b.conn, sender: sender, questions: questions,
		tools: tools, out: b.out, tasks: b.tasks, mem: mem, log: b.log, replies: make(chan struct{}, maxReplies),
	}
	b.queue.serve, b.queue.full = sender.serve, b.reader.input.watch
}

// work waits until the bridge is over.
func (b *bridge) work(ctx context.Context, read <-chan error) error {
	grace := make(<-chan time.Time)
	hungUp := b.hungUp
	for {
		select {
		case err := <-read:
			switch {
			case errors.Is(err, io.EOF):
				b.drain(ctx)
			case !errors.Is(err, errEnded):
				return fmt.Errorf("reading from the host: %w", err)
			}
			return nil
		case <-hungUp:
			hungUp, grace = nil, time.After(b.options.Grace)
		case <-grace:
			return nil
		case <-ctx.Done():
			return nil
		case <-b.ctx.Done():
			return nil
		}
	}
}

// drain waits a short time for the calls in flight to end.
func (b *bridge) drain(ctx context.Context) {
	idle := b.queue.finish()
	t := time.NewTimer(b.options.Grace)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	case <-ctx.Done():
	case <-b.ctx.Done():
	}
}

// shutdown ends everything, within a second.
func (b *bridge) shutdown() {
	open, unsent := b.queue.close()
	// In a goroutine, because a host that does not read must not keep the bridge from ending.
	b.tasks.start("answering what is open", func() {
		for _, c := range open {
			b.delivery.fail(c, endingFault(b.ctx))
		}
	}, nil)
	b.stop(errEnded)
	for _, c := range unsent {
		c.discard()
	}
	b.tasks.start("ending the session", func() { b.sessions.end(context.WithoutCancel(b.ctx)) }, nil)
	b.tasks.close()
	done := make(chan struct{})
	go func() {
		b.tasks.wait()
		b.conn.release()
		close(done)
	}()
	t := time.NewTimer(stopWait)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		b.log.Warn("something in flight did not end in time")
	}
	if c, ok := b.options.HTTP.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
