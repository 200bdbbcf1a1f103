package cli

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

// testBrowser is what BROWSER runs in the tests: it plays a person at the consent page.
func testBrowser() {
	target := os.Args[len(os.Args)-1]
	mode := os.Getenv("TESTBROWSER")
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "MCPOAUTH_") {
			fmt.Fprintln(os.Stderr, "the browser was given", kv)
			os.Exit(1)
		}
	}
	fmt.Println("noise of a browser on its stdout")
	switch mode {
	case "never":
		return
	case "fail":
		os.Exit(1)
	case "slow":
		time.Sleep(700 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	back, err := visit(ctx, target, mode != "deny")
	if err == nil {
		_, err = get(ctx, http.DefaultClient, back)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// testProgram is a program that mcpoauth run runs: it makes some requests and says nothing.
func testProgram() {
	for range 2 {
		resp, err := http.Post(os.Getenv("MCPOAUTH_URL"), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_ = resp.Body.Close()
	}
}

// visit opens the login page, presses a button of its form and returns where it leads, which is
// the redirect URI, without going there.
func visit(ctx context.Context, target string, approve bool) (string, error) {
	jar, _ := cookiejar.New(nil)
	first, err := url.Parse(target)
	if err != nil {
		return "", err
	}
	c := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host != first.Host {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := get(ctx, c, target)
	if err != nil {
		return "", err
	}
	if l := resp.Header.Get("Location"); l != "" {
		return l, nil
	}
	action, form := readForm(resp.page, approve)
	at, err := resp.Request.URL.Parse(action)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", at.Scheme+"://"+at.Host)
	r, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	if l := r.Header.Get("Location"); l != "" {
		return l, nil
	}
	b, _ := io.ReadAll(io.LimitReader(r.Body, 2000))
	return "", fmt.Errorf("the form led nowhere: %s %s", r.Status, b)
}

type page struct {
	*http.Response
	page string
}

func get(ctx context.Context, c *http.Client, target string) (*page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/html")
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		return nil, fmt.Errorf("%s: %.300s", resp.Status, b)
	}
	return &page{resp, string(b)}, nil
}

var (
	formTag   = regexp.MustCompile(`(?is)<form[^>]*>`)
	fieldTag  = regexp.MustCompile(`(?is)<(?:input|button)[^>]*>`)
	attribute = regexp.MustCompile(`(?is)([a-z-]+)\s*=\s*"([^"]*)"`)
)

func attributes(tag string) map[string]string {
	m := map[string]string{}
	for _, a := range attribute.FindAllStringSubmatch(tag, -1) {
		m[strings.ToLower(a[1])] = html.UnescapeString(a[2])
	}
	return m
}

// readForm fills the page's form in: what is hidden, and the button that allows or refuses.
func readForm(page string, approve bool) (action string, form url.Values) {
	action = attributes(formTag.FindString(page))["action"]
	form = url.Values{}
	for _, tag := range fieldTag.FindAllString(page, -1) {
		a := attributes(tag)
		button := a["type"] == "submit" || strings.HasPrefix(strings.ToLower(tag), "<button")
		no := regexp.MustCompile(`(?i)deny|refuse|cancel|reject|no$`).MatchString(a["value"] + " " + a["name"])
		if a["name"] == "" || button && no == approve {
			continue
		}
		form.Set(a["name"], a["value"])
	}
	return action, form
}
