package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/record"
)

// server is an MCP server that answers each request as the test wants, and what it got.
type server struct {
	answer func(n int, r *http.Request) *http.Response
	got    []*http.Request
	bodies []string
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		body = string(b)
	}
	s.got, s.bodies = append(s.got, r), append(s.bodies, body)
	return s.answer(len(s.got), r), nil
}

func responseOf(status int, line string) *http.Response {
	h := http.Header{}
	if line != "" {
		h.Set("WWW-Authenticate", line)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("x"))}
}

func ok200(int, *http.Request) *http.Response { return responseOf(200, "") }

func requestTo(t *testing.T, address string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// closing is a body that tells whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// TestWhichRequestsGetTheToken: those to the server's origin that carry no Authorization of their own.
func TestWhichRequestsGetTheToken(t *testing.T) {
	t.Parallel()
	c, _ := newLogin(t, newScripted())
	for address, want := range map[string]string{
		"https://mcp.example.com/mcp": "Bearer a", "https://mcp.example.com/other": "Bearer a", "https://MCP.example.com:443/mcp": "Bearer a", "http://mcp.example.com/mcp": "",
		"https://mcp.example.com:444/mcp": "", "https://evil.example/mcp": "", "https://mcp.example.com.evil.example/mcp": "",
	} {
		s, r := &server{answer: ok200}, requestTo(t, address)
		resp, err := (&Transport{Client: c, Base: s}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Header) != 0 {
			t.Errorf("the caller's request to %s has %v", address, r.Header)
		}
		_ = resp.Body.Close()
		if got := s.got[0].Header.Get("Authorization"); got != want {
			t.Errorf("%s got %q", address, got)
		}
	}
	s := &server{answer: func(int, *http.Request) *http.Response { return responseOf(401, "Bearer") }}
	r := requestTo(t, "https://mcp.example.com/mcp")
	r.Header.Set("Authorization", "Basic own")
	resp, err := (&Transport{Client: c, Base: s}).RoundTrip(r)
	if err != nil || resp.StatusCode != 401 || len(s.got) != 1 || s.got[0].Header.Get("Authorization") != "Basic own" {
		t.Errorf("a header of its own: %v, %d requests", err, len(s.got))
	}
	// A request without a table of headers is none the worse.
	r = requestTo(t, "https://mcp.example.com/mcp")
	r.Header = nil
	s = &server{answer: ok200}
	if _, err := (&Transport{Client: c, Base: s}).RoundTrip(r); err != nil || s.got[0].Header.Get("Authorization") != "Bearer a" || r.Header != nil {
		t.Errorf("no headers: %v, the caller's request has %v", err, r.Header)
	}
}

// TestRedirectsThatKeepTheToken: within the server's origin, at its path or below, or below the token's resource.
func TestRedirectsThatKeepTheToken(t *testing.T) {
	t.Parallel()
	const mcp = "https://mcp.example.com/mcp"
	for name, tc := range map[string]struct {
		from, to, resource string
		want               bool
	}{
		"the same":                      {mcp, mcp, mcp, true},
		"below":                         {mcp, mcp + "/a", mcp, true},
		"with a slash":                  {mcp, mcp + "/", mcp, true},
		"beside":                        {mcp, "https://mcp.example.com/other", mcp, false},
		"above":                         {mcp, "https://mcp.example.com/", mcp, false},
		"a longer name":                 {mcp, "https://mcp.example.com/mcp2", mcp, false},
		"below where it was":            {"https://mcp.example.com/v2", "https://mcp.example.com/v2/a", mcp, true},
		"the resource's":                {mcp, "https://mcp.example.com/other", "https://mcp.example.com/", true},
		"the resource's, another's":     {mcp, "https://mcp.example.com/other", "https://evil.example/", false},
		"a resource that is no address": {mcp, "https://mcp.example.com/other", "urn:x", false},
		"a damaged resource":            {mcp, "https://mcp.example.com/other", "https://mcp.example.com/%zz", false},
		"another origin":                {mcp, "https://evil.example/mcp", mcp, false},
		"another scheme":                {mcp, "http://mcp.example.com/mcp", mcp, false},
		"of another origin, at home":    {"https://a.example/x", "https://a.example/y", mcp, true},
		"of another origin, elsewhere":  {"https://a.example/x", "https://b.example/x", mcp, false},
		"of another origin, to ours":    {"https://a.example/x", mcp, mcp, false},
	} {
		c, _ := newLogin(t, newScripted(), func(r *record.Login) { r.Resource = tc.resource })
		from, err := url.Parse(tc.from)
		if err != nil {
			t.Fatal(err)
		}
		to := requestTo(t, tc.to)
		if c.mayFollow(to.URL, from) != tc.want {
			t.Errorf("%s", name)
		}
		via := []*http.Request{requestTo(t, tc.from)}
		if err := c.checkRedirect(to, via); (err == nil) != tc.want || err != nil && !errors.Is(err, http.ErrUseLastResponse) {
			t.Errorf("%s: %v", name, err)
		}
		// The same for a client of the caller's own, that follows redirects.
		to.Response = &http.Response{Request: via[0]}
		body := &closing{Reader: strings.NewReader("body")}
		to.Body = body
		s := &server{answer: ok200}
		_, err = (&Transport{Client: c, Base: s}).RoundTrip(to)
		if (err == nil) != tc.want || (len(s.got) == 1) != tc.want || !body.closed {
			t.Errorf("%s: %v, %d requests, closed %t", name, err, len(s.got), body.closed)
		}
		if err == nil && (s.got[0].Header.Get("Authorization") != "") != strings.HasPrefix(tc.to, "https://mcp.example.com") {
			t.Errorf("%s: got %q", name, s.got[0].Header.Get("Authorization"))
		}
	}
	c := plainClient(t, Options{})
	if to, err := url.Parse(mcp + "/a"); err != nil || c.audience() != c.server || !c.mayFollow(to, c.server) {
		t.Error("without a login")
	}
	var via []*http.Request
	for range 10 {
		via = append(via, requestTo(t, mcp))
	}
	if err := c.checkRedirect(requestTo(t, mcp), via); err == nil || errors.Is(err, http.ErrUseLastResponse) {
		t.Errorf("the eleventh: %v", err)
	}
	if err := c.checkRedirect(requestTo(t, mcp), via[:9]); err != nil {
		t.Errorf("the tenth: %v", err)
	}
	// A chain that has left the path and comes back to it is refused.
	beside, back := requestTo(t, "https://mcp.example.com/other"), requestTo(t, mcp)
	beside.Response = &http.Response{Request: requestTo(t, mcp)}
	back.Response = &http.Response{Request: beside}
	if _, err := (&Transport{Client: c, Base: &server{answer: ok200}}).RoundTrip(back); err == nil {
		t.Error("back from another path")
	}
	// A chain that has left the origin is refused wherever it leads.
	last := requestTo(t, mcp)
	middle := requestTo(t, "https://evil.example/")
	middle.Response = &http.Response{Request: requestTo(t, mcp)}
	last.Response = &http.Response{Request: middle}
	s := &server{answer: ok200}
	if _, err := (&Transport{Client: c, Base: s}).RoundTrip(last); err == nil || len(s.got) != 0 {
		t.Errorf("back from another origin: %v", err)
	}
}

// breaking fails once and ends then.
type breaking struct{ err error }

func (b *breaking) Read([]byte) (int, error) {
	err := b.err
	if b.err = io.EOF; err == nil {
		err = io.EOF
	}
	return 0, err
}

// TestWhichBodiesAreSentAgain: those that the request can produce, and small ones; all others once, whole.
func TestWhichBodiesAreSentAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		size, length int
		getBody      bool
		fails        error
		again        bool
	}{
		"small":              {size: 10, length: 10, again: true},
		"the largest":        {size: maxReplay, length: maxReplay, again: true},
		"too large":          {size: maxReplay + 1, length: maxReplay + 1},
		"of unknown length":  {size: 10, length: -1},
		"too short":          {size: 9, length: 10},
		"too long":           {size: 11, length: 10},
		"produced":           {size: maxReplay + 1, length: -1, getBody: true, again: true},
		"one that breaks":    {size: 5, length: 10, fails: errDisk},
		"no body":            {again: true},
		"a body that is nil": {length: -2, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := newLogin(t, newScripted())
			next := *c.store.previous(t.Context())
			s := &server{answer: func(n int, _ *http.Request) *http.Response {
				if n > 1 {
					return responseOf(200, "")
				}
				next.AccessToken = "b" // another process has renewed it
				if _, err := c.store.save(t.Context(), &next, c.store.current.Load().rev); err != nil {
					t.Error(err)
				}
				return responseOf(401, `Bearer error="invalid_token"`)
			}}
			text := strings.Repeat("x", tc.size)
			r := requestTo(t, c.ServerURL())
			body := &closing{Reader: strings.NewReader(text)}
			if tc.fails != nil {
				body.Reader = io.MultiReader(body.Reader, &breaking{tc.fails})
			}
			switch {
			case tc.length == -2:
				r.Body = nil
			case tc.length != 0:
				r.Body, r.ContentLength = body, int64(tc.length)
			}
			if tc.getBody {
				r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
			}
			resp, err := (&Transport{Client: c, Base: s}).RoundTrip(r)
			if tc.fails != nil {
				if !errors.Is(err, tc.fails) || len(s.got) != 0 {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := map[bool]int{true: 200, false: 401}[tc.again]
			if resp.StatusCode != want || len(s.got) != 1+(want/200)%2 && tc.again || r.Body != nil && tc.length > 0 && !body.closed {
				t.Errorf("status %d, %d requests, closed %t", resp.StatusCode, len(s.got), body.closed)
			}
			for i, got := range s.bodies {
				if got != text {
					t.Errorf("send %d had %d bytes of %d", i+1, len(got), len(text))
				}
			}
			if tc.again && (s.got[0].Header.Get("Authorization") != "Bearer a" || s.got[1].Header.Get("Authorization") != "Bearer b") {
				t.Errorf("sent with %q, then %q", s.got[0].Header.Get("Authorization"), s.got[1].Header.Get("Authorization"))
			}
		})
	}
}

// TestARequestIsSentSixTimesAtMost, whatever the server answers.
func TestARequestIsSentSixTimesAtMost(t *testing.T) {
	t.Parallel()
	c, _ := newLogin(t, newScripted())
	s := &server{}
	s.answer = func(n int, _ *http.Request) *http.Response {
		next := *c.store.previous(t.Context())
		next.AccessToken = fmt.Sprint("token-", n) // each is renewed elsewhere at once
		if _, err := c.store.save(t.Context(), &next, c.store.current.Load().rev); err != nil {
			t.Error(err)
		}
		return responseOf(401, `Bearer error="invalid_token"`)
	}
	resp, err := (&Transport{Client: c, Base: s}).RoundTrip(requestTo(t, c.ServerURL()))
	if err != nil || resp.StatusCode != 401 || len(s.got) != maxSends {
		t.Errorf("%v, %d requests", err, len(s.got))
	}
}

// TestWhatEndsARequest: its own context, or the Client's end, each by its name.
func TestWhatEndsARequest(t *testing.T) {
	t.Parallel()
	c, _ := newLogin(t, newScripted())
	left, cancel := context.WithCancel(t.Context())
	cancel()
	open, gone := requestTo(t, c.ServerURL()), requestTo(t, c.ServerURL()).WithContext(left)
	for _, tc := range []struct {
		req    *http.Request
		closed bool
		err    error
		want   error
	}{
		{open, false, context.Canceled, context.Canceled}, {open, true, context.Canceled, ErrClosed}, {open, true, errDisk, errDisk}, {gone, true, context.Canceled, context.Canceled}, {open, true, nil, nil},
	} {
		c.closed.Store(tc.closed)
		trip := &trip{gate: &c.gate, req: tc.req}
		if err := trip.ended(tc.err); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
	body := &closing{Reader: strings.NewReader("x")}
	r := requestTo(t, c.ServerURL())
	r.Body = body
	s := &server{answer: ok200}
	if _, err := (&Transport{Client: c, Base: s}).RoundTrip(r); !errors.Is(err, ErrClosed) || !body.closed || len(s.got) != 0 {
		t.Errorf("a closed Client: %v, body closed %t", err, body.closed)
	}
	trip := &trip{gate: &c.gate, req: r, base: s}
	trip.prepare()
	again := &closing{Reader: strings.NewReader("x")}
	trip.out.Body = again
	if _, err := trip.send(nil); !errors.Is(err, ErrClosed) || len(s.got) != 0 || !again.closed {
		t.Errorf("closed between two sends: %v", err)
	}
	c.closed.Store(false)
}

// TestATransportFailsWithoutAToken: a store that cannot be read is the caller's to know, and the body is closed.
func TestATransportFailsWithoutAToken(t *testing.T) {
	t.Parallel()
	st := newScripted()
	c, _ := newLogin(t, st, expiredLogin)
	c.store.current.Store(nil)
	st.load = always(errDisk)
	body := &closing{Reader: strings.NewReader("x")}
	r := requestTo(t, c.ServerURL())
	r.Body = body
	s := &server{answer: ok200}
	if _, err := (&Transport{Client: c, Base: s}).RoundTrip(r); !errors.Is(err, errDisk) || !body.closed || len(s.got) != 0 {
		t.Errorf("%v, body closed %t", err, body.closed)
	}
	// Without a login the request is sent without a token, since the server may need none.
	open := plainClient(t, Options{})
	if resp, err := (&Transport{Client: open, Base: s}).RoundTrip(requestTo(t, open.ServerURL())); err != nil || resp.StatusCode != 200 || s.got[0].Header.Get("Authorization") != "" {
		t.Errorf("no login: %v", err)
	}
}
