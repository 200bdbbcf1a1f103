// Package servers keeps what the tests measured at other people's authorization servers, and renders it as
// docs/servers.md.
package servers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Server is what was measured at one product, in the words of the page.
type Server struct {
	Product string `json:"product"`
	Version string `json:"version"`

	// Registration is where the client came from and how it authenticates.
	Registration string `json:"registration"`
	// Documents is whether Client ID Metadata Documents are announced.
	Documents string `json:"client_id_metadata_documents"`
	// Resource is what became of the resource parameter (RFC 8707).
	Resource string `json:"resource"`
	// Issuer is whether a callback has iss (RFC 9207), and whether the metadata says so.
	Issuer string `json:"iss"`
	// PAR, DPoP and Device are what the metadata says of RFC 9126, RFC 9449 and RFC 8628, and what came of it.
	PAR    string `json:"par"`
	DPoP   string `json:"dpop"`
	Device string `json:"device"`

	// Rotation is whether a refresh returns a new refresh token, Reuse what an old one leads to.
	Rotation string `json:"rotation"`
	Reuse    string `json:"reuse"`
	// Offline is what offline_access does.
	Offline string `json:"offline_access"`
	// Revocation is what a logout led to, and the answer to the refresh token afterwards.
	Revocation string `json:"revocation"`

	// Special is what to know, Setting what mcpoauth needs for a login.
	Special string `json:"special,omitempty"`
	Setting string `json:"setting,omitempty"`
}

// Load reads what was measured.
func Load(path string) ([]Server, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Server
	return list, json.Unmarshal(data, &list)
}

// Save writes it, sorted by product.
func Save(path string, list []Server) error {
	list = slices.SortedFunc(slices.Values(list), func(a, b Server) int {
		return cmp.Compare(strings.ToLower(a.Product), strings.ToLower(b.Product))
	})
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(list); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

const head = `# Servers

What authorization servers do, measured: each was started, and ` + "`mcpoauth`" + ` went through a whole cycle with it
(inspect, a login through its pages in Chromium, the end of a token and one refresh, five processes at the end of the next and
one refresh, a logout, the old refresh token sent by hand, a login again). The tests in ` + "`interop`" + ` do that on every change, and
fail where a server does something else than this page says; ` + "`go test -run 'TestProducts|TestKeycloak|TestSpring|TestHydra' -update`" + ` writes it anew.

A library has no settings of its own: what is measured is the library in a small server of ours, with its defaults where it has some.

`

// Page renders docs/servers.md.
func Page(list []Server) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("## Logins\n\n")
	table(&b, list, []string{"Registration", "`resource`", "`iss` in the callback", "PAR", "DPoP", "Device code", "Client ID metadata documents"}, func(s Server) []string {
		return []string{s.Registration, s.Resource, s.Issuer, s.PAR, s.DPoP, s.Device, s.Documents}
	})
	b.WriteString("\n## Refresh tokens\n\n")
	table(&b, list, []string{"Refresh token after a refresh", "The old one, used again", "`offline_access`", "After a logout"}, func(s Server) []string {
		return []string{s.Rotation, s.Reuse, s.Offline, s.Revocation}
	})
	b.WriteString("\n## What to know, and what to set\n\n")
	table(&b, list, []string{"What is special", "Setting"}, func(s Server) []string { return []string{s.Special, s.Setting} })
	return b.String()
}

func table(b *strings.Builder, list []Server, columns []string, row func(Server) []string) {
	fmt.Fprintf(b, "| Server | %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)+1))
	for _, s := range list {
		fmt.Fprintf(b, "| %s %s | %s |\n", s.Product, s.Version, strings.Join(row(s), " | "))
	}
}
