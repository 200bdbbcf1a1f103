//go:build unix

package main

import (
	"net"
	"sync"
	"time"
)

// network is what lies between the bridge and the servers.
type network struct {
	mu        sync.Mutex
	listeners []*listener
	conns     map[*conn]bool
	whole     chan struct{} // closed while nothing is cut
}

func newNetwork() *network {
	n := &network{conns: map[*conn]bool{}, whole: make(chan struct{})}
	close(n.whole)
	return n
}

// listener is one that can go and come back at its address.
type listener struct {
	n        *network
	addr     net.Addr
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
	ln       net.Listener // nil while it is down; the network's mu holds it
}

func (n *network) listen(kind, address string) (net.Listener, error) {
	ln, err := net.Listen(kind, address)
	if err != nil {
		return nil, err
	}
	l := &listener{n: n, addr: ln.Addr(), accepted: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners = append(n.listeners, l)
	l.open(ln)
	return l, nil
}

// open accepts from ln until that is closed.
func (l *listener) open(ln net.Listener) {
	l.ln = ln
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			select {
			case l.accepted <- l.n.join(c):
			case <-l.closed:
				_ = c.Close()
				return
			}
		}
	}()
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.ln == nil {
		return nil
	}
	return l.ln.Close()
}

func (l *listener) Addr() net.Addr { return l.addr }

// down ends all connections, and refuses others.
func (n *network) down() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.listeners {
		if l.ln != nil {
			_ = l.ln.Close()
			l.ln = nil
		}
	}
	for c := range n.conns {
		_ = c.Conn.Close()
	}
}

// cut lets nothing through. Connections are held, and lost when it is healed if lose is set.
func (n *network) cut(lose bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.whole = make(chan struct{})
	for c := range n.conns {
		c.lost = lose
	}
}

// heal takes back what down and cut did.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.whole:
	default:
		for c := range n.conns {
			if c.lost {
				_ = c.Conn.Close()
			}
		}
		close(n.whole)
	}
	for _, l := range n.listeners {
		if l.ln != nil {
			continue
		}
		// A connection to elsewhere may have got the port for its own end meanwhile.
		for range 200 {
			if ln, err := net.Listen("tcp", l.addr.String()); err == nil {
				l.open(ln)
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

func (n *network) join(c net.Conn) net.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := &conn{Conn: c, n: n}
	n.conns[k] = true
	return k
}

func (n *network) passable() chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.whole
}

// conn is the servers' end of a connection.
type conn struct {
	net.Conn
	n    *network
	lost bool
}

func (c *conn) Read(p []byte) (int, error) {
	k, err := c.Conn.Read(p)
	<-c.n.passable()
	return k, err
}

func (c *conn) Write(p []byte) (int, error) {
	<-c.n.passable()
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.n.mu.Lock()
	delete(c.n.conns, c)
	c.n.mu.Unlock()
	return c.Conn.Close()
}
