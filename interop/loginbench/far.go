//go:build unix

package main

import (
	"net"
	"sync"
	"time"
)

// far makes the connections of a listener as slow as those to a distant server: what a client sends first arrives one delay
// after it connected, and each answer one delay after it was sent.
type far struct {
	net.Listener
	delay time.Duration
}

func (f far) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	fc := &farConn{Conn: c, delay: f.delay, open: time.Now().Add(f.delay), queue: make(chan answer, 1024)}
	go fc.deliver()
	return fc, nil
}

type farConn struct {
	net.Conn
	delay time.Duration
	open  time.Time // when the connection is there
	queue chan answer
	once  sync.Once
}

// answer is what the server has written, and when the client gets it.
type answer struct {
	data []byte
	due  time.Time
}

func (c *farConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	time.Sleep(time.Until(c.open))
	return n, err
}

func (c *farConn) Write(p []byte) (int, error) {
	c.queue <- answer{append([]byte(nil), p...), time.Now().Add(c.delay)}
	return len(p), nil
}

func (c *farConn) deliver() {
	for a := range c.queue {
		time.Sleep(time.Until(a.due))
		if _, err := c.Conn.Write(a.data); err != nil {
			break
		}
	}
	_ = c.Conn.Close()
	for range c.queue { // the client has gone
		continue
	}
}

// Close lets what is written arrive first.
func (c *farConn) Close() error {
	c.once.Do(func() { close(c.queue) })
	return nil
}
