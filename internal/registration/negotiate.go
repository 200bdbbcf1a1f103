package registration

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// matter is what the text of a refusal is about.
type matter uint

const (
	aboutScopes matter = 1 << iota
	aboutGrants
	aboutURLs
	aboutAuthMethod
	aboutRedirect
	// aboutLimit and aboutToken are refusals that no change of the metadata lifts.
	aboutLimit
	aboutToken
	aboutStatement
	// unsaid is a refusal that names nothing at all.
	unsaid
)

// lazy returns an expression that is compiled when it is first used, since most programs that link this package register
// no client.
func lazy(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// The words of a matter, in any spelling that servers use: grant_types, grantTypes, "grant types".
var words = []struct {
	matter
	pattern func() *regexp.Regexp
}{
	{aboutLimit, lazy(`(?i)\b(max|maximum|limit|quota|too many)\b.*\b(clients|registrations)\b|\b(clients?|registrations?)\b.*\b(limit|quota|exceeded)\b`)},
	{aboutToken, lazy(`(?i)\b(initial|registration|bearer) ?(access)? ?token\b|\baccess token\b`)},
	{aboutStatement, lazy(`(?i)software[_ -]?statement`)},
	{aboutRedirect, lazy(`(?i)redirect`)},
	{aboutScopes, lazy(`(?i)scope`)},
	{aboutGrants, lazy(`(?i)\bgrant|response[_ -]?type`)},
	{aboutURLs, lazy(`(?i)\b(ur[il]|host|domain|website|logo|tos)s?\b|\w_uri\b`)},
	{aboutAuthMethod, lazy(`(?i)auth(entication)?[_ -]?method`)},
}

// urlWords is the index of aboutURLs in words.
const urlWords = 6

var redirectURI = lazy(`(?i)redirect(ion)?[_ -]?ur[il]`)

// listing begins the part of a text that lists what would have been accepted: "Unrecognized field "a" (45 known
// properties: "b", "c")".
var listing = lazy(`(?i)\bknown (properties|fields|members|parameters)\b|\bexpected one of\b|\bmust be one of\b|\ballowed (properties|fields|members|parameters|values)\b`)

// heard is a registration that the server refused, and what its text is about.
type heard struct {
	status int
	about  matter
	// members are those of the client metadata that the text names.
	members []string
}

// maxRead is how much of a refusal is searched for names of members.
const maxRead = 16 << 10

// understand reads a refusal. What it is about is in the description, else in the names of members anywhere in the
// body, else in the error code: Keycloak says insufficient_scope to whatever its policies refuse.
func understand(f *wire.Fault, body []byte, m map[string]any) heard {
	r := heard{status: f.Status}
	text := unlisted(f.Description)
	for _, w := range words {
		if w.pattern().MatchString(text) {
			r.about |= w.matter
		}
	}
	if r.about&aboutRedirect != 0 && !words[urlWords].pattern().MatchString(redirectURI().ReplaceAllString(text, "")) {
		r.about &^= aboutURLs // the only URI that is named is the redirect URI
	}
	r.members = named(text, m)
	if r.about == 0 && len(r.members) == 0 {
		r.members = named(unlisted(string(body[:min(len(body), maxRead)])), m)
		for _, name := range r.members {
			r.about |= matterOf[name]
		}
	}
	if r.about != 0 || len(r.members) > 0 {
		return r
	}
	switch {
	case strings.Contains(f.Code, "scope"):
		r.about = aboutScopes
	case strings.Contains(f.Code, "redirect"):
		r.about = aboutRedirect
	case strings.Contains(f.Code, "statement"):
		r.about = aboutStatement
	case strings.Contains(f.Code, "token"):
		r.about = aboutToken
	case f.Status != http.StatusForbidden:
		// A bare 403 is about who registers, not about what.
		r.about = unsaid
	}
	return r
}

// matterOf is what a member belongs to, where a refusal names it without a sentence.
var matterOf = map[string]matter{
	"scope": aboutScopes, "grant_types": aboutGrants, "response_types": aboutGrants, "token_endpoint_auth_method": aboutAuthMethod,
	"redirect_uris": aboutRedirect, "software_statement": aboutStatement,
}

func unlisted(text string) string {
	if at := listing().FindStringIndex(text); at != nil && at[0] > 0 {
		return text[:at[0]]
	}
	return text
}

// named returns the members of m that a text names, in the text's order: application_type, applicationType or
// "application type".
func named(text string, m map[string]any) []string {
	at := map[string]int{}
	for name := range m {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(name), "_", "[_ -]?")
		if found := regexp.MustCompile(`(?i)\b` + pattern + `\b`).FindStringIndex(text); found != nil {
			at[name] = found[0]
		}
	}
	return slices.SortedFunc(maps.Keys(at), func(a, b string) int {
		if at[a] != at[b] {
			return at[a] - at[b]
		}
		return strings.Compare(a, b)
	})
}

// concession is something that a login can do without, or with less of, where a server refuses it.
type concession struct {
	// about are the matters that a refusal must be about; 0 is any refusal.
	about matter
	// make changes the metadata and says for a person what it left out, "" if there is nothing to change.
	make func(m map[string]any, r *Request, said heard) string
}

// concessions are tried in this order, each once but the last but one, which leaves out one member at a time. The table
// is in docs/registration.md, too.
var concessions = []concession{
	{0, oneSpelling},
	{aboutScopes | unsaid, ownScopes},
	{aboutScopes | unsaid, noScopes},
	{aboutGrants | unsaid, neededGrants},
	{aboutGrants | unsaid, noGrants},
	{aboutURLs | unsaid, noURLs},
	{aboutAuthMethod, noAuthMethod},
	{0, namedMember},
	{unsaid, noDescription},
}

// give makes the next concession to a refusal, and says what it is, "" if there is none left.
func give(m map[string]any, r *Request, said heard) string {
	for _, c := range concessions {
		if c.about == 0 || c.about&said.about != 0 {
			if what := c.make(m, r, said); what != "" {
				return what
			}
		}
	}
	return ""
}

func without(m map[string]any, names ...string) string {
	var gone []string
	for _, name := range names {
		if _, ok := m[name]; ok {
			delete(m, name)
			gone = append(gone, name)
		}
	}
	if gone == nil {
		return ""
	}
	return "without " + strings.Join(gone, ", ")
}

func oneSpelling(m map[string]any, _ *Request, _ heard) string {
	uris, _ := m["redirect_uris"].([]string)
	if len(uris) < 2 {
		return ""
	}
	m["redirect_uris"] = uris[:1]
	return "with one spelling of the redirect URI"
}

func ownScopes(m map[string]any, r *Request, _ heard) string {
	// A scope that the caller set by Extra is as much theirs as it can be.
	if m["scope"] != r.Scope || r.LoginScope == "" || r.LoginScope == r.Scope {
		return ""
	}
	m["scope"] = r.LoginScope
	return "with the scopes of this login alone"
}

func noScopes(m map[string]any, _ *Request, _ heard) string { return without(m, "scope") }

func neededGrants(m map[string]any, r *Request, _ heard) string {
	grants, _ := m["grant_types"].([]string)
	if len(r.NeededGrants) == 0 || len(grants) <= len(r.NeededGrants) {
		return ""
	}
	m["grant_types"] = r.NeededGrants
	return "with the grant type " + strings.Join(r.NeededGrants, " ") + " alone"
}

func noGrants(m map[string]any, _ *Request, _ heard) string {
	return without(m, "grant_types", "response_types")
}

// noURLs leaves out the addresses of pages about the program, which some servers want on hosts of their choice.
func noURLs(m map[string]any, _ *Request, _ heard) string {
	var urls []string
	for name := range m {
		if strings.HasSuffix(name, "_uri") || strings.HasSuffix(name, "_uris") && name != "redirect_uris" {
			urls = append(urls, name)
		}
	}
	slices.Sort(urls)
	return without(m, urls...)
}

// noAuthMethod lets the server choose: its answer says how the client authenticates.
func noAuthMethod(m map[string]any, r *Request, _ heard) string {
	if r.AuthMethodChosen {
		return ""
	}
	return without(m, "token_endpoint_auth_method")
}

// namedMember leaves out a member that the server names, for example one that it does not know. The rest of a member
// that the flow depends on, or that a person has chosen to prove something with, stays.
func namedMember(m map[string]any, r *Request, said heard) string {
	for _, name := range said.members {
		switch {
		case name == "redirect_uris", name == "software_statement", name == "token_endpoint_auth_method" && r.AuthMethodChosen:
			continue
		}
		if what := without(m, name); what != "" {
			return what
		}
	}
	return ""
}

// noDescription leaves out what says which program registers, the last of what a login does not need.
func noDescription(m map[string]any, _ *Request, _ heard) string {
	return without(m, "application_type", "software_id", "software_version")
}

// refusable are the statuses of a refusal that other metadata may lift.
var refusable = []int{http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity}

// retry makes a concession for a refused registration and reports whether to try again.
func (r *Request) retry(m map[string]any, f *wire.Fault, body []byte) (what string, again bool) {
	if f.Temporary || !slices.Contains(refusable, f.Status) {
		return "", false
	}
	what = give(m, r, understand(f, body, m))
	return what, what != ""
}

// said is a refusal in one line, for a note.
func said(f *wire.Fault) string {
	text := fmt.Sprintf("status %d", f.Status)
	if f.Code != "" {
		text += ", " + f.Code
	}
	if f.Description != "" {
		text += fmt.Sprintf(", %q", f.Description)
	}
	return text
}
