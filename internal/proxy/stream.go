package proxy

import (
	"errors"
	"net/http"
	"time"
)

// maxFails is how many times in a row a stream may fail, however long that takes.
const maxFails = 4

// answerStream is the stream that answers a call. It goes on with another when it breaks.
type answerStream struct {
	*sender
	call    *call
	session *session // that the call was sent in

	id       string        // of the last event, to go on after
	retry    time.Duration // the wait that the server asks for
	fails    int           // in a row
	idle     int           // streams in a row that brought nothing
	progress time.Time     // when there last was an event
}

// readStream reads the answer to a call from a stream, and goes on with the stream when it breaks.
func (s *sender) readStream(c *call, current *session, resp *http.Response) error {
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	a := &answerStream{sender: s, call: c, session: current, retry: noRetry, progress: time.Now()}
	for {
		over, err := a.read(resp, buf[:])
		if over {
			return err
		}
		if resp, err = a.resume(); err != nil {
			return err
		}
	}
}

// read delivers the messages of a stream. It reports false if the call has no answer yet and the stream can be
// resumed.
func (a *answerStream) read(resp *http.Response, buf []byte) (over bool, err error) {
	ev := newEvents(resp.Body, buf)
	ev.id, ev.nextID, ev.retry = a.id, a.id, a.retry
	err = a.delivery.stream(ev, a.call)
	_ = resp.Body.Close()
	switch {
	case a.call.answered():
		return true, nil
	case a.call.ctx.Err() != nil:
		return true, a.call.ctx.Err()
	case errors.Is(err, errTooLarge):
		return true, &fault{reason: reasonTooLarge, err: err}
	case a.queue.wasCancelled(a.call):
		return true, &fault{reason: reasonLost}
	case ev.id == "" || !fitsHeader(ev.id) || a.call.version != "":
		// There is no event to go on after, or the revision has no resumption.
		return true, &fault{reason: reasonLost, err: err}
	}
	if a.fails++; ev.count > 0 {
		a.fails, a.progress = 0, time.Now()
	}
	if a.idle++; ev.full > 0 {
		a.idle = 0
	}
	a.id, a.retry = ev.id, ev.retry
	return false, nil
}

// resume asks for the rest of the stream until it gets it or gives up.
func (a *answerStream) resume() (*http.Response, error) {
	var t tries
	for lost, fails := (&fault{reason: reasonLost}), a.fails; ; fails++ {
		if fails > maxFails && time.Since(a.progress) > a.retryFor {
			return nil, lost
		}
		wait := a.retry
		if wait < 0 {
			wait = max(backoff(1), lost.wait)
		}
		wait = max(wait, atLeast(a.idle))
		if err := sleep(a.call.ctx, wait+backoff(fails)); err != nil {
			return nil, err
		}
		resp, err := a.remote.get(a.call.ctx, a.session, a.id)
		switch {
		case err != nil && a.call.ctx.Err() != nil:
			return nil, a.call.ctx.Err()
		case err != nil:
			lost.err = err
			if err := a.afterRequest(a.remote.failure(err), &t); err != nil {
				return nil, err
			}
		case success(resp) && isEvents(resp.Header):
			return resp, nil
		default:
			_ = resp.Body.Close()
			f := statusFault(resp)
			lost.err, lost.wait = f.err, f.wait
			if !a.mayResume(resp.StatusCode, lost) {
				return nil, lost
			}
		}
	}
}

// afterRequest decides after a failure to ask for the rest of the stream. Nil means another attempt.
func (a *answerStream) afterRequest(f *fault, t *tries) error {
	switch f.reason {
	case reasonLogin:
		if t.logins++; t.logins > maxCallLogins {
			return f
		}
		return a.login(a.call, f)
	case reasonDenied, reasonAuthorization:
		return f
	default:
		return nil
	}
}

// mayResume reports whether asking for the rest of the stream may succeed after a response with a status. It notes
// in lost if the session is lost.
func (a *answerStream) mayResume(status int, lost *fault) bool {
	switch {
	case status == http.StatusNotFound && a.session.id != "":
		lost.session = a.session
		return false
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status > http.StatusNotImplemented:
		return true
	}
	return false // the server cannot resume streams
}
