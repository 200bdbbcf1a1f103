package discovery

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of providers into the documentation")

// TestProvidersAreDocumented: the table of docs/configuration.md is made of what is known.
func TestProvidersAreDocumented(t *testing.T) {
	var rows strings.Builder
	for _, p := range known {
		if p.Name == "" || p.Source == "" || len(p.Issuers) == 0 || p.Register == "" {
			t.Errorf("%+v lacks something", p)
		}
		for _, issuer := range p.Issuers {
			if ProviderOf(strings.ReplaceAll(issuer, "*", "a")) == nil || strings.HasSuffix(issuer, "/") || !strings.HasPrefix(issuer, "https://") {
				t.Errorf("the issuer %s of %s is never found", issuer, p.Name)
			}
		}
		for announced := range p.Aliases {
			if ProviderOf(announced) != p {
				t.Errorf("the alias %s of %s is another's", announced, p.Name)
			}
		}
		var used []string
		for _, k := range slices.Sorted(maps.Keys(p.Authorize)) {
			used = append(used, fmt.Sprintf("`--auth-param %s=%s`", k, p.Authorize[k]))
		}
		for _, fact := range []struct {
			is   bool
			says string
		}{
			{p.NoResource, "`--no-resource`"},
			{p.NoConsent, "consent is never asked for anew (`--auth-param prompt=consent`)"},
			{p.NeedsScopes, "it refuses to be asked for no scopes: `--scope`"},
			{p.TokenMember != "", "`--token-member " + p.TokenMember + "`"},
			{p.TokenType != "", "`--allow-token-type " + p.TokenType + "`"},
			{len(p.Aliases) > 0, "tenant aliases whose document names `{tenantid}`"},
			{p.traits&silentPKCE != 0, "PKCE works although it is not announced"},
			{p.traits&spreadEndpoints != 0, "its endpoints lie under several domains"},
		} {
			if fact.is {
				used = append(used, fact.says)
			}
		}
		what := strings.Join(used, "; ")
		if what == "" {
			what = "where to register a client"
		}
		fmt.Fprintf(&rows, "| %s | %s | %s |\n", p.Name, what, p.Source)
	}
	const path = "../../docs/configuration.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), "|---|---|---|\n")
	_, after, found := strings.Cut(rest, "\n\n")
	if !ok || !found {
		t.Fatal("the table is not there")
	}
	want := before + "|---|---|---|\n" + rows.String() + "\n" + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(b) != want {
		t.Errorf("%s is not what is known; write it with -update", path)
	}
}
