package proxy

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
)

// pipeNet is a network inside the program: the tests that use it run in a bubble, where time costs nothing.
type pipeNet struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeNet) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipeNet) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "server.pipe" }

func (p *pipeNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// newPipeMCP is newMCP in a bubble. The client reaches the server.
func newPipeMCP(t *testing.T, version string) (*mcp, *http.Client) {
	p := &pipeNet{conns: make(chan net.Conn), closed: make(chan struct{})}
	c := &http.Client{Transport: &http.Transport{DialContext: p.dial}}
	s := &mcp{t: t, sessions: true, version: version}
	s.Server = &httptest.Server{Listener: p, Config: &http.Server{Handler: s}} // no timeouts in a test
	s.Start()
	t.Cleanup(func() {
		c.CloseIdleConnections()
		s.CloseClientConnections()
		s.Close()
	})
	return s, c
}

// inBubble runs a test in unreal time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, test)
}
