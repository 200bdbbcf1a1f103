package mcpoauth_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
)

// memoryNetwork connects servers and Clients without sockets: in a synctest bubble the clock stands still while a
// goroutine reads from a socket, and moves while it reads from a pipe. Nil is the machine's network.
type memoryNetwork struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
}

func newMemoryNetwork() *memoryNetwork {
	return &memoryNetwork{listeners: map[string]*memoryListener{}}
}

// Listen makes a listener at an address of its own. Its signature is that of net.Listen.
func (n *memoryNetwork) Listen(string, string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &memoryListener{address: fmt.Sprintf("127.0.0.1:%d", len(n.listeners)+1), conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[l.address] = l
	return l, nil
}

func (n *memoryNetwork) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("no server listens at %s", address)
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// client returns an HTTP client for Options.Network, whose connections end with the test.
func (n *memoryNetwork) client(t *testing.T) *http.Client {
	if n == nil {
		return nil
	}
	transport := &http.Transport{DialContext: n.dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// serve starts a server that ends with the test.
func (n *memoryNetwork) serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	if n != nil {
		_ = srv.Listener.Close()
		srv.Listener, _ = n.Listen("", "")
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

// authtest starts such a server, which shows nobody a page: see person.
func (n *memoryNetwork) authtest(t *testing.T, o authtest.Options) *authtest.Server {
	t.Helper()
	o.AutoApprove, o.Listen = true, n.Listen
	return authtest.New(t, &o)
}

// person is a Prompt that plays a person who agrees, and hands back where the browser is sent: there is no browser that
// could reach the callback from here.
func (n *memoryNetwork) person(t *testing.T, asked *atomic.Int32) mcpoauth.Prompt {
	browser := n.client(t)
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		asked.Add(1)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, http.NoBody)
		if err != nil {
			return nil, err
		}
		resp, err := browser.Do(req)
		if err != nil {
			return nil, err
		}
		back := resp.Header.Get("Location")
		if back == "" {
			t.Errorf("the authorization page sends nobody back: %s", resp.Status)
		}
		return &mcpoauth.LoginReply{RedirectURL: back}, resp.Body.Close()
	}
}

// memoryListener is a listener whose connections are pipes.
type memoryListener struct {
	address string
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddress(l.address) }

type memoryAddress string

func (memoryAddress) Network() string  { return "tcp" }
func (a memoryAddress) String() string { return string(a) }
