package mcpoauth

import (
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/resource"
)

// network sends the requests of one Client. Its HTTP client is made when the first request is: a program may
// have a Client for each of its users, and most of them idle.
type network struct {
	set    *settings
	server *url.URL
	trace  *tracer

	client atomic.Pointer[netguard.Client]
	making sync.Mutex
}

// policy returns which addresses may be dialled.
func (n *network) policy() netguard.Policy {
	return netguard.Policy{Class: netguard.ClassOf(n.server), AllowPrivateNetwork: n.set.allow.PrivateNetwork, AllowInsecureHTTP: n.set.allow.InsecureHTTP}
}

// guard returns the HTTP client of the protocol's own requests.
func (n *network) guard() *netguard.Client {
	if c := n.client.Load(); c != nil {
		return c
	}
	n.making.Lock()
	defer n.making.Unlock()
	if c := n.client.Load(); c != nil {
		return c
	}
	o := n.set.network
	agent := o.UserAgent
	if agent == "" {
		agent = "mcpoauth/" + Version()
	}
	c, err := netguard.New(netguard.Config{
		Policy: n.policy(), HTTPClient: o.HTTPClient, RootCAs: o.RootCAs, Certificates: o.ClientCertificates,
		UserAgent: agent, Header: o.Header, HeaderOrigins: append([]string{resource.Origin(n.server)}, o.HeaderOrigins...), Trace: n.trace.exchange,
	})
	if err != nil {
		// newSettings has refused all that makes it fail.
		panic("mcpoauth: " + err.Error())
	}
	n.client.Store(c)
	return c
}

// closeIdle closes the connections that are not in use, if there can be any.
func (n *network) closeIdle() {
	c := n.client.Load()
	if c == nil {
		return
	}
	if t, ok := c.Transport().(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// withHeader adds the configured headers where the request does not have them.
func (n *network) withHeader(r *http.Request) *http.Request {
	header := n.set.network.Header
	if len(header) == 0 || !resource.SameOrigin(r.URL, n.server) {
		return r
	}
	r2 := *r
	r2.Header = r.Header.Clone()
	for k, v := range header {
		if _, ok := r2.Header[k]; !ok {
			r2.Header[k] = slices.Clone(v)
		}
	}
	return &r2
}

// exchange sends r to the MCP server and reports it to the trace.
func (n *network) exchange(leg Leg, base http.RoundTripper, r *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := base.RoundTrip(r)
	e := netguard.Exchange{Leg: string(leg), Method: r.Method, URL: plain(r.URL), Start: start, Duration: time.Since(start)}
	if err != nil {
		e.Err = netguard.WithoutURL(err)
	} else {
		e.Status = resp.StatusCode
	}
	n.trace.exchange(r.Context(), e)
	return resp, err
}
