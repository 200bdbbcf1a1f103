// Package registration makes us known to an authorization server: RFC 7591, and what Client ID
// Metadata Documents require of their URL.
package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Request is a dynamic registration (RFC 7591 section 2).
type Request struct {
	Endpoint string
	// RedirectURIs: the first is the one that will be used.
	RedirectURIs    []string
	ClientName      string
	ApplicationType string
	GrantTypes      []string
	// Scope and AuthMethod are left out when empty.
	Scope, AuthMethod                              string
	SoftwareID, SoftwareVersion, SoftwareStatement string
	InitialAccessToken                             secret.String
	// Extra members; those of the flow itself cannot be replaced.
	Extra map[string]any
}

// own are the members that Extra cannot set.
var own = []string{"redirect_uris", "grant_types", "response_types", "token_endpoint_auth_method", "application_type", "software_statement"}

func (r *Request) metadata() map[string]any {
	m := maps.Clone(r.Extra)
	if m == nil {
		m = make(map[string]any)
	}
	for _, k := range own {
		delete(m, k)
	}
	m["redirect_uris"], m["grant_types"], m["response_types"] = r.RedirectURIs, r.GrantTypes, []string{"code"}
	for k, v := range map[string]string{
		"client_name": r.ClientName, "application_type": r.ApplicationType, "scope": r.Scope, "token_endpoint_auth_method": r.AuthMethod,
		"software_id": r.SoftwareID, "software_version": r.SoftwareVersion, "software_statement": r.SoftwareStatement,
	} {
		if _, set := m[k]; v != "" && !set {
			m[k] = v
		}
	}
	return m
}

// Register registers a client. What a server names as the part that it does not take, and that is
// optional, is left out once: the second spelling of the redirect URI, application_type, scope. The
// error is a *wire.Fault.
func Register(ctx context.Context, c *netguard.Client, r Request) (*wire.Registration, error) {
	m := r.metadata()
	var f *wire.Fault
	for range 4 {
		reg, err := register(ctx, c, r, m)
		if err == nil {
			return reg, nil
		}
		if !errors.As(err, &f) || !leaveOut(m, f) {
			return nil, err
		}
	}
	return nil, f
}

// leaveOut removes from m what the fault is about and reports whether there was something.
func leaveOut(m map[string]any, f *wire.Fault) bool {
	if f.Status != http.StatusBadRequest && f.Status != http.StatusUnprocessableEntity && f.Status != http.StatusForbidden || f.Temporary {
		return false
	}
	text := strings.ToLower(f.Code + " " + f.Description)
	if uris, ok := m["redirect_uris"].([]string); ok && len(uris) > 1 && (strings.Contains(text, "redirect") || f.Code == "") {
		m["redirect_uris"] = uris[:1]
		return true
	}
	for _, k := range []string{"application_type", "scope", "software_version", "software_id"} {
		if _, ok := m[k]; ok && (strings.Contains(text, k) || k == "scope" && f.Code == "invalid_scope") {
			delete(m, k)
			return true
		}
	}
	return false
}

func register(ctx context.Context, c *netguard.Client, r Request, m map[string]any) (*wire.Registration, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, &wire.Fault{Stage: "registration", Message: "the client metadata cannot be written as JSON: " + err.Error(), Err: err, Hint: "check Options.ClientMetadata"}
	}
	h := http.Header{}
	if !r.InitialAccessToken.IsZero() {
		h.Set("Authorization", "Bearer "+r.InitialAccessToken.Reveal())
	}
	a, err := c.PostJSON(ctx, "registration", r.Endpoint, body, h)
	if err != nil {
		return nil, fault(err, r.Endpoint)
	}
	if a.Status/100 != 2 {
		f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
		if f.Code != "" || f.Description != "" || !f.Temporary {
			f.Message = "the server refused to register a client"
		}
		if f.Hint == "" && !f.Temporary {
			f.Hint = "register a client by hand with the redirect URI " + r.RedirectURIs[0] + " and give it with --client-id (Options.ClientID)"
		}
		return nil, fault(f, r.Endpoint)
	}
	reg, err := wire.ParseRegistration(a.Body)
	if err != nil {
		return nil, &wire.Fault{Stage: "registration", URL: r.Endpoint, Status: a.Status, Message: "the answer to the registration cannot be used: " + err.Error(), Hint: "the server is at fault"}
	}
	if err := check(reg, a.Received); err != nil {
		return nil, &wire.Fault{
			Stage: "registration", URL: r.Endpoint, Status: a.Status, Message: "the registered client cannot be used: " + err.Error(),
			Hint: "register a client by hand and give it with --client-id (Options.ClientID)",
		}
	}
	return reg, nil
}

func fault(err error, endpoint string) error {
	var f *wire.Fault
	if !errors.As(err, &f) {
		f = &wire.Fault{Message: err.Error(), Err: err}
	}
	f.Stage = "registration"
	if f.URL == "" {
		f.URL = endpoint
	}
	return f
}

// check settles the authentication method: the server's word counts (RFC 7591 section 3.2.1).
func check(reg *wire.Registration, now time.Time) error {
	switch reg.AuthMethod {
	case "":
		reg.AuthMethod = "none"
		if !reg.ClientSecret.IsZero() {
			reg.AuthMethod = "client_secret_basic"
		}
	case "none":
	case "client_secret_basic", "client_secret_post":
		if reg.ClientSecret.IsZero() {
			return fmt.Errorf("it is to authenticate by %s, but got no secret", reg.AuthMethod)
		}
	default:
		return fmt.Errorf("it is to authenticate by %q, which is not supported", wire.CleanN(reg.AuthMethod, 60))
	}
	if !reg.SecretExpiry.IsZero() && !now.Before(reg.SecretExpiry) {
		return errors.New("its secret has already expired")
	}
	return nil
}

// ChooseAuthMethod chooses how a client authenticates at the token endpoint, from the methods that the
// server's metadata lists (nil: it lists none; RFC 8414 section 2 then means client_secret_basic).
func ChooseAuthMethod(supported []string, haveSecret bool) string {
	if !haveSecret {
		if len(supported) == 0 || slices.Contains(supported, "none") {
			return "none"
		}
		for _, m := range []string{"client_secret_post", "client_secret_basic"} {
			if slices.Contains(supported, m) {
				return m
			}
		}
		return "none"
	}
	if slices.Contains(supported, "client_secret_post") && !slices.Contains(supported, "client_secret_basic") {
		return "client_secret_post"
	}
	return "client_secret_basic"
}

// CheckMetadataURL reports why a URL cannot be that of a Client ID Metadata Document
// (draft-ietf-oauth-client-id-metadata-document section 3): https, a path, no dot segments, no
// fragment, no user information.
func CheckMetadataURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return errors.New("it is not an absolute URL")
	case u.Scheme != "https":
		return errors.New("it is not https")
	case u.User != nil:
		return errors.New("it holds a user name or password")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return errors.New("it has a fragment")
	case u.Path == "" || u.Path == "/":
		return errors.New("it has no path")
	case path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/"):
		return errors.New("its path has dot segments or empty segments")
	}
	return nil
}
