package mcpoauth

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestCookieJar(t *testing.T) {
	t.Parallel()
	request := func(raw string) *http.Request {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Request{URL: u, Header: http.Header{}}
	}
	const mcp = "https://mcp.example.com/a/mcp"
	for name, tc := range map[string]struct {
		set   []string
		to    string
		login string
		want  string
	}{
		"sticky":                 {[]string{"AWSALB=n1; Path=/", "AWSALBCORS=n1; Path=/; SameSite=None; Secure"}, mcp, "l", "AWSALB=n1; AWSALBCORS=n1"},
		"replaced":               {[]string{"a=1; Path=/", "a=2; Path=/"}, mcp, "l", "a=2"},
		"its own path":           {[]string{"a=1"}, mcp, "l", "a=1"},
		"below its own path":     {[]string{"a=1"}, "https://mcp.example.com/a/mcp/x", "l", "a=1"},
		"another path":           {[]string{"a=1; Path=/b"}, mcp, "l", ""},
		"half a segment":         {[]string{"a=1; Path=/a/mc"}, mcp, "l", ""},
		"removed":                {[]string{"a=1; Path=/", "a=; Path=/; Max-Age=0"}, mcp, "l", ""},
		"over":                   {[]string{"a=1; Path=/; Expires=Thu, 01 Jan 2015 00:00:00 GMT"}, mcp, "l", ""},
		"a while":                {[]string{"a=1; Path=/; Max-Age=60"}, mcp, "l", "a=1"},
		"its domain":             {[]string{"a=1; Path=/; Domain=example.com"}, mcp, "l", "a=1"},
		"another domain":         {[]string{"a=1; Path=/; Domain=example.org"}, mcp, "l", ""},
		"half a domain":          {[]string{"a=1; Path=/; Domain=ample.com"}, mcp, "l", ""},
		"secure over http":       {[]string{"a=1; Path=/; Secure"}, "http://mcp.example.com/a/mcp", "l", ""},
		"secure on this machine": {[]string{"a=1; Path=/; Secure"}, "http://127.0.0.1/a/mcp", "l", "a=1"},
		"of another login":       {[]string{"a=1; Path=/"}, mcp, "m", ""},
		"too long":               {[]string{"a=" + strings.Repeat("x", maxCookie) + "; Path=/"}, mcp, "l", ""},
		"none":                   {nil, mcp, "l", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var j cookieJar
			j.keep(request(mcp), http.Header{"Set-Cookie": tc.set}, "l")
			r := request(tc.to)
			r.Header.Set("Cookie", "old=1") // of an earlier send
			j.attach(r, tc.login)
			if got := r.Header.Get("Cookie"); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
	var j cookieJar
	for i := range 3 * maxCookies {
		j.keep(request(mcp), http.Header{"Set-Cookie": {fmt.Sprintf("c%d=1; Path=/", i)}}, "l")
	}
	if len(j.kept.Load().list) != maxCookies {
		t.Errorf("%d cookies are kept", len(j.kept.Load().list))
	}
	// Another login's begin anew.
	j.keep(request(mcp), http.Header{"Set-Cookie": {"a=1; Path=/"}}, "m")
	r := request(mcp)
	if j.attach(r, "m"); r.Header.Get("Cookie") != "a=1" {
		t.Errorf("%q", r.Header.Get("Cookie"))
	}
	j.kept.Load().list[0].Expires = time.Now().Add(-time.Second)
	if j.attach(r, "m"); r.Header["Cookie"] != nil {
		t.Errorf("an old one is sent: %v", r.Header)
	}
}

func FuzzCookies(f *testing.F) {
	f.Add("a=1; Path=/; Domain=.example.com; Max-Age=99999999999999", "/mcp")
	f.Add("a=\x00;Path=", "")
	f.Fuzz(func(t *testing.T, line, path string) {
		r := &http.Request{URL: &url.URL{Scheme: "https", Host: "mcp.example.com", Path: path}, Header: http.Header{}}
		var j cookieJar
		j.keep(r, http.Header{"Set-Cookie": {line}}, "")
		j.attach(r, "")
		if strings.ContainsAny(r.Header.Get("Cookie"), "\r\n\x00") {
			t.Errorf("%q", r.Header)
		}
	})
}
