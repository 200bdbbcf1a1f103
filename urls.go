package mcpoauth

import (
	"net/url"
	"strconv"
)

// plain returns u without its query, for messages.
func plain(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

// portOf returns the port of a redirect URI, 0 if it has none.
func portOf(redirectURI string) int {
	u, err := url.Parse(redirectURI)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(u.Port())
	return n
}
