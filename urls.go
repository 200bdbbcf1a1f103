package mcpoauth

import (
	"errors"
	"net/url"
	"strconv"

	"github.com/mcpoauth/mcpoauth/internal/resource"
)

// plain returns u without its query, for messages.
func plain(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

// hostOf returns the host of a URL, "" if it has none.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// portOf returns the port of a redirect URI, 0 if it has none.
func portOf(redirectURI string) int {
	u, err := url.Parse(redirectURI)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(u.Port())
	return n
}

// sameOrigin reports whether two URLs share an origin.
func sameOrigin(a, b string) bool {
	ua, err := url.Parse(a)
	if err != nil {
		return false
	}
	ub, err := url.Parse(b)
	return err == nil && resource.SameOrigin(ua, ub)
}

// withoutURL removes the URL from an error of net/http: its query may hold what must not be printed.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
