package registration

import (
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/resource"
)

// thisMachine are the names of a loopback address in the text of a refusal.
const thisMachine = `\b(localhost|loopback|127\.0\.0\.1)\b`

var (
	clauses = lazy(`[,;]|[.:] `)
	// missed is a clause that wants such an address: "the redirect URI is not a loopback address".
	missed = lazy(`\b(is|are|was|were) not (an? )?` + thisMachine + `|\bnot an? ` + thisMachine)
	// denied is one that takes none: "localhost is not allowed", "must not be a loopback address".
	denied = lazy(thisMachine + `.*\b(not|cannot|never|forbidden|disallowed|prohibited|denied|invalid|unsupported)\b` +
		`|\b(no|not|cannot|never|without|disallow\w*|forbid\w*|prohibit\w*|reject\w*|block\w*)\b.*` + thisMachine)
	httpsOnly = lazy(`\b(https|tls|ssl|insecure)\b|\bmust be secure\b|\bhttp\b[^:/]*\b(not|cannot|never|forbidden|disallowed|prohibited)\b|\bnot\b[^:/]*\bhttp\b($|[^:])`)
)

// RedirectHint says what helps where a server refuses a redirect URI, from the server's own words. It is "" where they
// do not say.
func RedirectHint(said, redirectURI string) string {
	host := strings.ToLower(resource.Hostname(redirectURI))
	if !resource.IsLoopbackHost(host) {
		return "the redirect URI was " + redirectURI + ": the server's owner has to allow it for this client"
	}
	wanted, refused, https := map[string]bool{}, map[string]bool{}, false
	for _, clause := range clauses().Split(strings.ToLower(strings.ReplaceAll(said, redirectURI, "")), -1) {
		clause = missed().ReplaceAllString(clause, "$3$4")
		https = https || httpsOnly().MatchString(clause)
		into := wanted
		if denied().MatchString(clause) {
			into = refused
		}
		for _, name := range []string{"localhost", "loopback", "127.0.0.1"} {
			into[name] = into[name] || strings.Contains(clause, name)
		}
	}
	hasAny := func(m map[string]bool) bool { return m["localhost"] || m["loopback"] || m["127.0.0.1"] }
	other := OtherHost(redirectURI)
	switch {
	case !hasAny(wanted) && (https || refused["loopback"] || refused[other]):
		return "the server takes no http redirect URI of this machine, and a program that a person runs has no other: ask its owner to allow them for loopback addresses (RFC 8252 section 7.3);" +
			" --grant device-code (DeviceCode) needs none, where the server has that grant; a web application has an https address of its own (Client.BeginLogin)"
	case wanted[other] && !wanted[host], refused[host]:
		return "the server wants another spelling of the redirect URI: --callback-host " + other + " (Options.Callback.Host)"
	}
	return ""
}

// OtherHost returns the other name of this machine than that of a redirect URI.
func OtherHost(redirectURI string) string {
	if strings.EqualFold(resource.Hostname(redirectURI), "localhost") {
		return "127.0.0.1"
	}
	return "localhost"
}
