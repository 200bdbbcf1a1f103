//go:build unix

package testserver

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Network is a way to a server that can be made bad.
type Network struct {
	// Addr is where it listens.
	Addr string

	target string
	ln     net.Listener
	cut    atomic.Int64 // one in so many chunks ends its connection; 0 none
	delay  atomic.Int64 // nanoseconds, up to
	down   atomic.Bool
	mu     sync.Mutex
	conns  map[net.Conn]bool
	done   sync.WaitGroup
}

// Between returns a network that leads to the server at target.
func Between(tb TB, target string) *Network {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	n := &Network{Addr: ln.Addr().String(), target: target, ln: ln, conns: make(map[net.Conn]bool)}
	n.done.Go(n.accept)
	tb.Cleanup(func() {
		_ = ln.Close()
		n.CutAll()
		n.done.Wait()
	})
	return n
}

// Bad ends one in so many chunks' connection, before or after it is passed on, and delays each by up to
// delay. Zero values make the network good again.
func (n *Network) Bad(cut int, delay time.Duration) {
	n.cut.Store(int64(cut))
	n.delay.Store(int64(delay))
}

// Down ends all connections and takes no new ones, until it is called with false.
func (n *Network) Down(down bool) {
	n.down.Store(down)
	if down {
		n.CutAll()
	}
}

// CutAll ends all connections.
func (n *Network) CutAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.Close()
	}
}

func (n *Network) accept() {
	for {
		c, err := n.ln.Accept()
		if err != nil {
			return
		}
		if n.down.Load() {
			_ = c.Close()
			continue
		}
		s, err := net.Dial("tcp", n.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		n.mu.Lock()
		n.conns[c], n.conns[s] = true, true
		n.mu.Unlock()
		n.done.Go(func() { n.pass(c, s) })
		n.done.Go(func() { n.pass(s, c) })
	}
}

func (n *Network) pass(to, from net.Conn) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
		n.mu.Lock()
		delete(n.conns, to)
		delete(n.conns, from)
		n.mu.Unlock()
	}()
	buf := make([]byte, 16<<10)
	for {
		k, err := from.Read(buf)
		if k > 0 {
			if d := n.delay.Load(); d > 0 {
				time.Sleep(time.Duration(rand.Int64N(d))) // a test
			}
			cut := n.cut.Load()
			if cut > 0 && rand.Int64N(cut) == 0 { // a test
				if rand.IntN(2) == 0 { // a test
					_, _ = to.Write(buf[:k])
				}
				return
			}
			if _, err := to.Write(buf[:k]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
