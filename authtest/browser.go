package authtest

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Browser plays a person at a browser: it opens the authorization URL, allows what the consent page
// asks, and goes where it is sent. It returns that place.
func (s *Server) Browser(ctx context.Context, authorizationURL string) (string, error) {
	back, err := s.Decide(ctx, authorizationURL, true)
	if err != nil {
		return "", err
	}
	return back, visit(ctx, back)
}

// Decide plays a person at a browser who allows or refuses, and returns where that sends the browser,
// without going there.
func (s *Server) Decide(ctx context.Context, authorizationURL string, allow bool) (string, error) {
	body, back, err := fetch(ctx, http.MethodGet, authorizationURL, nil)
	if err != nil || back != "" {
		return back, err
	}
	action, id := between(body, `<form method="post" action="`, `"`), between(body, `name="request" value="`, `"`)
	if action == "" || id == "" {
		return "", errors.New("authtest: the page has no form")
	}
	u, err := url.Parse(authorizationURL)
	if err != nil {
		return "", err
	}
	if u, err = u.Parse(action); err != nil {
		return "", err
	}
	decision := "deny"
	if allow {
		decision = "allow"
	}
	_, back, err = fetch(ctx, http.MethodPost, u.String(), url.Values{"request": {id}, "decision": {decision}})
	if err == nil && back == "" {
		err = errors.New("authtest: the form leads nowhere")
	}
	return back, err
}

// between returns the text of a page after one mark and before the next, "" if there is none.
func between(page, start, end string) string {
	_, rest, _ := strings.Cut(page, start)
	text, _, found := strings.Cut(rest, end)
	if !found {
		return ""
	}
	return html.UnescapeString(text)
}

// fetch requests a page as a navigation and follows no redirect.
func fetch(ctx context.Context, method, target string, form url.Values) (body, location string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return "", "", err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (authtest)")
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	// The connections are its own: closing those of http.DefaultTransport would cut off the program's other requests.
	c := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", "", err
	}
	if resp.StatusCode >= 400 {
		return "", "", fmt.Errorf("authtest: the page says %s: %s", resp.Status, between(string(b), "<p>", "<"))
	}
	return string(b), resp.Header.Get("Location"), nil
}

// visit goes where the browser is sent.
func visit(ctx context.Context, target string) error {
	_, _, err := fetch(ctx, http.MethodGet, target, nil)
	return err
}
