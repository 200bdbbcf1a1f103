// Package loopback receives the authorization response on this machine (RFC 8252 section 7.3).
//
// The listener binds loopback addresses only, once, and holds them until the login is over. Only a
// browser's navigation to the exact path with the login's state completes it, with the parameters in the query or in a
// form (OAuth 2.0 Form Post Response Mode); any other request gets a 4xx and changes nothing.
package loopback

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	maxQuery      = 16 << 10
	maxParameters = 64
	// lastPage is how long a page under way may take after the login is over.
	lastPage = time.Second
)

// Config configures a [Listener].
type Config struct {
	// Host in the redirect URI: 127.0.0.1 ("" too), localhost, ::1 or another address of the loopback
	// networks. localhost binds both families.
	Host string
	// Port to bind, 0 for a free one.
	Port int
	// Path of the redirect URI, "" for /callback.
	Path string
	// ServerName is shown on the page: the MCP server's host.
	ServerName string
	// Bind makes the listeners; nil is net.Listen.
	Bind func(network, address string) (net.Listener, error)
}

// Listener receives one authorization response. Use [Listen].
type Listener struct {
	cfg       Config
	port      int
	listeners []net.Listener
	server    *http.Server

	mu      sync.Mutex
	state   string
	settled bool
	answer  chan url.Values
	once    sync.Once
	done    sync.WaitGroup
}

// PortBusyError means that another program or the system has the port.
type PortBusyError struct {
	// Port that cannot be bound.
	Port int
	// Err is the system's.
	Err error
}

// Error implements error.
func (e *PortBusyError) Error() string {
	if e.Reserved() {
		return fmt.Sprintf("port %d is reserved by the system", e.Port)
	}
	return fmt.Sprintf("port %d is taken by another program", e.Port)
}

// Reserved reports whether the system keeps the port from programs, as Windows does with ranges that change when it
// starts.
func (e *PortBusyError) Reserved() bool {
	return errors.Is(e.Err, os.ErrPermission) || errors.Is(e.Err, errWindowsAccess)
}

// Unwrap returns the system's error.
func (e *PortBusyError) Unwrap() error { return e.Err }

// Listen binds the port and starts to answer. Until [Listener.Arm] every callback is refused.
func Listen(cfg Config) (*Listener, error) {
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	if cfg.Path == "" {
		cfg.Path = "/callback"
	}
	cfg.Host = strings.TrimSuffix(strings.TrimPrefix(cfg.Host, "["), "]")
	if a, err := netip.ParseAddr(cfg.Host); !strings.EqualFold(cfg.Host, "localhost") && (err != nil || !a.IsLoopback() || a.Zone() != "") {
		return nil, fmt.Errorf("%q is not a loopback host", cfg.Host)
	}
	l := &Listener{cfg: cfg, answer: make(chan url.Values, 1)}
	if err := l.bind(); err != nil {
		return nil, err
	}
	l.server = newServer(l)
	for _, ln := range l.listeners {
		l.done.Go(func() { _ = l.server.Serve(ln) })
	}
	return l, nil
}

// newServer returns a server with short timeouts.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 5 * time.Second,
		MaxHeaderBytes: 32 << 10, DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0),
	}
}

// bind binds the address of the redirect URI's host: for localhost both families on one port, since
// browsers may try either first, and another program must not have the other one.
func (l *Listener) bind() error {
	hosts := []string{l.cfg.Host}
	if strings.EqualFold(l.cfg.Host, "localhost") {
		hosts = []string{"127.0.0.1", "::1"}
	}
	for range 10 {
		first, err := l.cfg.listen(hosts[0], l.cfg.Port)
		if err != nil {
			return err
		}
		l.port = first.Addr().(*net.TCPAddr).Port // a TCP listener's
		l.listeners = []net.Listener{first}
		if len(hosts) == 1 {
			return nil
		}
		second, err := l.cfg.listen(hosts[1], l.port)
		var busy *PortBusyError
		switch {
		case err == nil:
			l.listeners = append(l.listeners, second)
			return nil
		case !errors.As(err, &busy):
			return nil // no IPv6 on this machine
		}
		_ = first.Close()
		if l.cfg.Port != 0 {
			return err
		}
	}
	return errors.New("no port is free in both address families")
}

// The errors of Windows have numbers of their own: a port that is in use, and one that is reserved.
const (
	errWindowsInUse  = syscall.Errno(10048)
	errWindowsAccess = syscall.Errno(10013)
)

func (c Config) listen(host string, port int) (net.Listener, error) {
	bind := c.Bind
	if bind == nil {
		bind = net.Listen
	}
	ln, err := bind("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	isAny := func(numbers ...error) bool {
		return slices.ContainsFunc(numbers, func(n error) bool { return errors.Is(err, n) })
	}
	if err != nil && (errors.Is(err, syscall.EADDRINUSE) || port != 0 && isAny(errWindowsInUse, syscall.EACCES, errWindowsAccess)) {
		return nil, &PortBusyError{Port: port, Err: err}
	}
	return ln, err
}

// Port returns the bound port.
func (l *Listener) Port() int { return l.port }

// RedirectURI returns the redirect URI that leads here.
func (l *Listener) RedirectURI() string {
	return "http://" + net.JoinHostPort(l.cfg.Host, strconv.Itoa(l.port)) + l.cfg.Path
}

// Arm sets the state that a callback must carry, and awaits another callback if there was one. It fails on an empty
// state.
func (l *Listener) Arm(state string) error {
	if state == "" {
		return errors.New("a login needs a state")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.settled = state, false
	return nil
}

// Wait returns the parameters of the callback.
func (l *Listener) Wait(ctx context.Context) (url.Values, error) {
	select {
	case v := <-l.answer:
		return v, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close frees the port. A page under way is finished within a second.
func (l *Listener) Close() error {
	var err error
	l.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), lastPage)
		defer cancel()
		if err = l.server.Shutdown(ctx); err != nil {
			err = l.server.Close()
		}
		l.done.Wait()
	})
	return err
}

// ServeHTTP implements http.Handler.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, settle := l.judge(r)
	p.write(w, l.cfg.ServerName)
	if settle == nil {
		return
	}
	// The page first: once the login is over the program may end.
	_ = http.NewResponseController(w).Flush()
	l.answer <- settle
}

// judge decides on a request: the page to show and, once, the answer to settle with.
func (l *Listener) judge(r *http.Request) (page, url.Values) {
	if !l.ownHost(r.Host) || r.URL.IsAbs() {
		return pageStray, nil
	}
	if r.RequestURI != l.cfg.Path && !strings.HasPrefix(r.RequestURI, l.cfg.Path+"?") {
		return pageMissing, nil
	}
	form := r.Method == http.MethodPost && formType(r.Header)
	if r.Method != http.MethodGet && !form {
		return pageMethod, nil
	}
	if !navigation(r.Header) {
		return pageStray, nil
	}
	raw := r.URL.RawQuery
	if form {
		b, err := io.ReadAll(io.LimitReader(r.Body, maxQuery+1))
		if err != nil || raw != "" {
			return pageStray, nil
		}
		raw = string(b)
	} else if raw == "" {
		return pageFragment, nil
	}
	if len(raw) > maxQuery || strings.Count(raw, "&") > maxParameters {
		return pageStray, nil
	}
	q, err := url.ParseQuery(raw)
	if err != nil || !q.Has("state") || q.Get("code") == "" && q.Get("error") == "" {
		return pageStray, nil
	}
	for _, k := range []string{"state", "code", "iss", "error", "error_description", "error_uri"} {
		if len(q[k]) > 1 {
			return pageStray, nil
		}
	}
	if strings.ContainsFunc(q.Get("code"), func(c rune) bool { return c < 0x20 || c > 0x7e }) {
		return pageStray, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == "" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(l.state)) != 1 {
		return pageStray, nil
	}
	if l.settled {
		return pageSettled, nil
	}
	l.settled = true
	if q.Has("error") {
		return pageRefused, q
	}
	return pageCode, q
}

// ownHost reports whether the Host header names this listener. Another name means that a page has
// made its own name lead here.
func (l *Listener) ownHost(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		// Browsers leave the scheme's own port out.
		name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), "80"
	}
	if port != strconv.Itoa(l.port) {
		return false
	}
	switch name = strings.ToLower(name); name {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return name == l.cfg.Host
}

// navigation reports whether a request can be a person's arrival: not a sub-resource of another
// page, not a prefetch. Clients that send none of these headers pass.
func navigation(h http.Header) bool {
	if strings.Contains(strings.ToLower(h.Get("Purpose")+h.Get("Sec-Purpose")+h.Get("X-Moz")), "prefetch") {
		return false
	}
	if m := h.Get("Sec-Fetch-Mode"); m != "" && m != "navigate" {
		return false
	}
	if d := h.Get("Sec-Fetch-Dest"); d != "" && d != "document" {
		return false
	}
	return true
}

// formType reports whether a request has the body of a form.
func formType(h http.Header) bool {
	return wire.MediaType(h) == "application/x-www-form-urlencoded"
}

// PasteError says why a pasted text cannot complete a login.
type PasteError struct{ message string }

// Error implements error.
func (e *PasteError) Error() string { return e.message }

// ParsePasted parses a pasted text: the whole redirect URL, or its query.
// A bare code is refused, since nothing then says which login it belongs to.
func ParsePasted(text, redirectURI string) (url.Values, error) {
	text = strings.Trim(strings.TrimSpace(text), `"'<>`)
	if text == "" || len(text) > maxQuery {
		return nil, &PasteError{"it is empty or too long"}
	}
	query := strings.TrimLeft(text, "?#")
	if scheme, _, ok := strings.Cut(text, "://"); ok && !strings.ContainsAny(scheme, "?&=") { // an iss may hold a URL
		u, err := url.Parse(text)
		if err != nil {
			return nil, &PasteError{"it is not a URL"}
		}
		want, err := url.Parse(redirectURI)
		if err != nil || u.Scheme != want.Scheme || u.Host != want.Host || u.Path != want.Path {
			return nil, &PasteError{"it does not begin with " + redirectURI}
		}
		if query = u.RawQuery; query == "" {
			query = u.EscapedFragment() // some servers put the answer there
		}
	}
	v, err := url.ParseQuery(query)
	if err != nil || !v.Has("state") || !v.Has("code") && !v.Has("error") {
		return nil, &PasteError{"it has no state and code in it; the whole address is needed, not just the code"}
	}
	return v, nil
}
