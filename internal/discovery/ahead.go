package discovery

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
)

// Ahead are requests for documents that were sent before it is known that they are needed. Nil has none. A round trip
// is most of what a discovery takes, and a person waits for it.
type Ahead struct {
	c      *netguard.Client
	ctx    context.Context // of all its requests; End cancels it
	cancel context.CancelFunc
	sent   sync.WaitGroup

	mu   sync.Mutex
	gets map[string]*pendingGet // by URL, until somebody takes the answer
}

// pendingGet is one of them. What it returned is there when done is closed.
type pendingGet struct {
	done   chan struct{}
	answer *netguard.Answer
	err    error
	took   time.Duration
}

// Begin asks for the resource metadata at the address that a challenge usually names, while that challenge is still on its
// way: the first one that Discover asks for without a challenge. End must be called.
func Begin(ctx context.Context, c *netguard.Client, r Request) *Ahead {
	a := newAhead(ctx, c)
	if server, err := url.Parse(r.ServerURL); err == nil && server.Host != "" {
		a.get(legResource, wellKnownResource(server)[0], r.versionHeader())
	}
	return a
}

func newAhead(ctx context.Context, c *netguard.Client) *Ahead {
	a := &Ahead{c: c, gets: make(map[string]*pendingGet)}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// End cancels the requests whose answers nobody took, and waits for them.
func (a *Ahead) End() {
	a.cancel()
	a.sent.Wait()
}

// get sends a request, unless there is one for this URL.
func (a *Ahead) get(leg, target string, extra http.Header) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gets[target] != nil {
		return
	}
	p := &pendingGet{done: make(chan struct{})}
	a.gets[target] = p
	a.sent.Go(func() {
		defer close(p.done)
		start := time.Now()
		p.answer, p.err = a.c.Get(a.ctx, netguard.Request{Leg: leg, URL: target, Header: extra})
		p.took = time.Since(start)
	})
}

// take returns the answer to the request for a URL, which is sent now if it was not before, and what the request took.
func (a *Ahead) take(ctx context.Context, leg, target string, extra http.Header) (*netguard.Answer, time.Duration, error) {
	a.get(leg, target, extra)
	a.mu.Lock()
	p := a.gets[target]
	delete(a.gets, target)
	a.mu.Unlock()
	select {
	case <-p.done:
		return p.answer, p.took, p.err
	case <-ctx.Done():
		a.cancel() // Get returns with an error that says what it waited for
		<-p.done
		return p.answer, p.took, p.err
	}
}
