package mcpoauth

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/discovery"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// resultOf is what discovery finds at an issuer that says little.
func resultOf(issuer string) *discovery.Result {
	return &discovery.Result{Issuer: issuer, Resource: "https://mcp.example.com/mcp", Server: &wire.ServerMetadata{Issuer: issuer}}
}

// TestScopeSelection is every rule of it.
func TestScopeSelection(t *testing.T) {
	t.Parallel()
	const issuer = "https://as.example.com"
	previous := &record.Login{Issuer: issuer, Scopes: []string{"before"}, RequestedScopes: []string{"asked"}}
	elsewhere := &record.Login{Issuer: "https://b.example.com", Scopes: []string{"before"}}
	refreshless := &record.Login{Issuer: issuer, Scopes: []string{"l1", "default"}}
	refreshing := &record.Login{Issuer: issuer, Scopes: []string{"l1", "default"}, RefreshToken: "r"}
	listed, offline := []string{"l1", "l2"}, []string{"offline_access"}
	given := &challenge{scopes: []string{"c1"}, scopeGiven: true}
	for name, tc := range map[string]struct {
		o         ScopeOptions
		challenge *challenge
		listed    []string
		supported []string
		further   []string
		previous  *record.Login
		want      string
	}{
		"nothing":                         {want: ""},
		"the list":                        {listed: listed, want: "l1 l2"},
		"the challenge":                   {challenge: given, listed: listed, want: "c1"},
		"the settings":                    {o: ScopeOptions{Request: []string{"s"}}, challenge: given, listed: listed, want: "s"},
		"the settings, none":              {o: ScopeOptions{Request: []string{}}, challenge: given, listed: listed, want: ""},
		"further":                         {listed: listed, further: []string{"more"}, previous: previous, want: "before more"},
		"further, the challenge's":        {challenge: given, listed: listed, further: []string{"more"}, previous: previous, want: "before more"},
		"further, the settings":           {o: ScopeOptions{Request: []string{"s"}}, listed: listed, further: []string{"more"}, previous: previous, want: "s before more"},
		"further, unsaid":                 {listed: listed, further: []string{"more"}, previous: &record.Login{Issuer: issuer, RequestedScopes: []string{"asked"}}, want: "asked more"},
		"further, defaults":               {listed: listed, further: []string{"more"}, previous: &record.Login{Issuer: issuer}, want: "l1 l2 more"},
		"further, lost":                   {listed: listed, further: []string{"more"}, previous: &record.Login{Issuer: issuer, Scopes: []string{"a"}, LostScopes: []string{"b"}}, want: "a b more"},
		"further, OpenID's":               {further: []string{"more"}, previous: &record.Login{Issuer: issuer, Scopes: []string{"a"}, RequestedScopes: []string{"a", "openid", "x"}}, want: "a openid more"},
		"further, another issuer":         {listed: listed, further: []string{"more"}, previous: elsewhere, want: "l1 l2 more"},
		"further, no login":               {further: []string{"more"}, want: "more"},
		"no further":                      {listed: listed, previous: previous, want: "l1 l2"},
		"added and dropped":               {o: ScopeOptions{Add: []string{"add"}, Drop: []string{"l1"}}, listed: listed, want: "l2 add"},
		"twice":                           {o: ScopeOptions{Add: []string{"l1"}}, listed: listed, want: "l1 l2"},
		"offline":                         {listed: listed, supported: offline, want: "l1 l2 offline_access"},
		"offline, alone":                  {supported: offline, want: "offline_access"},
		"offline, with OpenID's":          {supported: []string{"openid", "offline", "offline_access"}, want: "offline_access"},
		"offline, beside defaults":        {supported: []string{"openid", "l1", "offline_access"}, want: ""},
		"offline, brought none":           {supported: []string{"l1", "l2", "offline_access"}, previous: refreshless, want: "l1 offline_access"},
		"offline, brought one":            {supported: []string{"l1", "l2", "offline_access"}, previous: refreshing, want: ""},
		"offline, brought none, a choice": {o: ScopeOptions{Request: []string{}}, supported: offline, previous: refreshless, want: ""},
		"offline, brought none, never":    {o: ScopeOptions{OfflineAccess: Never}, supported: offline, previous: refreshless, want: ""},
		"offline, not known":              {listed: listed, want: "l1 l2"},
		"offline, not with the settings":  {o: ScopeOptions{Request: []string{"s"}}, supported: offline, want: "s offline_access"},
		"offline always":                  {o: ScopeOptions{OfflineAccess: Always}, want: "offline_access"},
		"offline never":                   {o: ScopeOptions{OfflineAccess: Never}, listed: []string{"l1", "offline_access"}, supported: offline, want: "l1"},
		"offline never, but requested":    {o: ScopeOptions{OfflineAccess: Never, Request: offline}, want: "offline_access"},
		"offline never, the drops remain": {o: ScopeOptions{OfflineAccess: Never, Drop: []string{"l1"}}, listed: listed, supported: offline, want: "l2"},
	} {
		f := &discovered{Result: resultOf(issuer), challenge: tc.challenge}
		if f.challenge == nil {
			f.challenge = &challenge{}
		}
		f.Server.ScopesSupported = tc.supported
		if tc.listed != nil {
			f.ResourceMetadata = &wire.ResourceMetadata{ScopesSupported: tc.listed}
		}
		if got := strings.Join(setOf(t, Options{Scopes: tc.o}).scopesFor(f, tc.further, tc.previous), " "); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestWhichScopesWereNotGranted: those that the answer leaves out, unless it says nothing, spells them otherwise, or they
// are OpenID Connect's.
func TestWhichScopesWereNotGranted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		requested, granted, lost []string
		want                     string
	}{
		"all":              {[]string{"a"}, []string{"a", "b"}, nil, ""},
		"nothing said":     {[]string{"a"}, nil, nil, ""},
		"fewer":            {[]string{"a", "b", "c"}, []string{"a"}, nil, "b c"},
		"lost":             {[]string{"a", "b"}, []string{"a"}, []string{"b"}, ""},
		"OpenID's":         {[]string{"a", "openid", "offline_access"}, []string{"a"}, nil, ""},
		"longer names":     {[]string{"read", "rite"}, []string{"https://api.example/read", "https://api.example/write"}, nil, "rite"},
		"shorter names":    {[]string{"api://x/read", "api://x/write"}, []string{"read"}, nil, "api://x/write"},
		"nothing asked":    {nil, []string{"a"}, nil, ""},
		"a different case": {[]string{"Read"}, []string{"read"}, nil, "Read"},
	} {
		rec := &record.Login{RequestedScopes: tc.requested, Scopes: tc.granted, LostScopes: tc.lost}
		if got := strings.Join(ungranted(rec), " "); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestWhichScopesAreRegistered: those requested and those that the server lists, unless it lists too many.
func TestWhichScopesAreRegistered(t *testing.T) {
	t.Parallel()
	f := &discovered{Result: resultOf("https://as.example.com")}
	f.Server.ScopesSupported = []string{"a", "b", `no"scope`, "b"}
	if got := registeredScope(f, []string{"z", "a"}); got != "z a b" {
		t.Errorf("got %q", got)
	}
	f.Server.ScopesSupported = nil
	for i := range maxRegisteredScopes {
		f.Server.ScopesSupported = append(f.Server.ScopesSupported, fmt.Sprint("s", i))
	}
	if got := registeredScope(f, nil); len(strings.Fields(got)) != maxRegisteredScopes {
		t.Errorf("got %q", got)
	}
	f.Server.ScopesSupported = append(f.Server.ScopesSupported, "more")
	if got := registeredScope(f, []string{"z"}); got != "z" {
		t.Errorf("got %q", got)
	}
}

// TestWhichScopesAreAStepUp: what a login asks for beyond the login before, and what of that nobody has published.
func TestWhichScopesAreAStepUp(t *testing.T) {
	t.Parallel()
	const issuer = "https://as.example.com"
	had := &record.Login{Issuer: issuer, Scopes: []string{"read"}, RequestedScopes: []string{"read", "admin"}}
	unsaid := &record.Login{Issuer: issuer, RequestedScopes: []string{"read", "admin"}}
	elsewhere := &record.Login{Issuer: "https://b.example.com", Scopes: []string{"admin"}}
	further := []string{"read", "admin"}
	for name, tc := range map[string]struct {
		o                 ScopeOptions
		listed, supported []string
		further           []string
		previous          *record.Login
		all, unpublished  string
	}{
		"nothing":                        {supported: []string{"read"}, previous: had},
		"no lists":                       {further: further, previous: had, all: "admin"},
		"another":                        {supported: []string{"read"}, further: further, previous: had, all: "admin", unpublished: "admin"},
		"the resource's list":            {listed: []string{"admin"}, further: further, previous: had, all: "admin"},
		"the authorization server's":     {supported: []string{"admin"}, further: further, previous: had, all: "admin"},
		"the other's list":               {listed: []string{"read"}, supported: []string{"admin"}, further: further, previous: had, all: "admin"},
		"in no list":                     {listed: []string{"read"}, supported: []string{"write"}, further: further, previous: had, all: "admin", unpublished: "admin"},
		"the settings":                   {o: ScopeOptions{Request: []string{"admin"}}, listed: []string{"read"}, further: further, previous: had, all: "admin"},
		"the settings add it":            {o: ScopeOptions{Add: []string{"admin"}}, listed: []string{"read"}, further: further, previous: had, all: "admin"},
		"the settings drop it":           {o: ScopeOptions{Drop: []string{"admin"}}, listed: []string{"read"}, further: further, previous: had},
		"all that was asked was granted": {listed: []string{"read"}, further: further, previous: unsaid},
		"granted elsewhere":              {listed: []string{"read"}, further: further, previous: elsewhere, all: "read admin", unpublished: "admin"},
		"no login before":                {listed: []string{"read"}, further: further, all: "read admin", unpublished: "admin"},
	} {
		f := &discovered{Result: resultOf(issuer), challenge: &challenge{}}
		f.Server.ScopesSupported = tc.supported
		if tc.listed != nil {
			f.ResourceMetadata = &wire.ResourceMetadata{ScopesSupported: tc.listed}
		}
		all, unpublished := setOf(t, Options{Scopes: tc.o}).stepUp(f, tc.further, tc.previous)
		if strings.Join(all, " ") != tc.all || strings.Join(unpublished, " ") != tc.unpublished {
			t.Errorf("%s: %q, %q", name, all, unpublished)
		}
	}
}
