// Package registration registers clients at an authorization server (RFC 7591, RFC 7592), and checks the URLs of
// Client ID Metadata Documents.
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
	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Request is a dynamic registration (RFC 7591 section 2).
type Request struct {
	// Endpoint is the registration endpoint.
	Endpoint string
	// RedirectURIs: the first is the one that will be used.
	RedirectURIs []string
	// ClientName is what people see on the consent page; ApplicationType is native or web (OpenID
	// Connect Dynamic Client Registration section 2).
	ClientName      string
	ApplicationType string
	GrantTypes      []string
	// NeededGrants are those of GrantTypes that the login cannot do without.
	NeededGrants []string
	// Those that are empty are left out.
	Scope, AuthMethod string
	// LoginScope has the scopes of the login at hand, to register where the server refuses Scope.
	LoginScope string
	// AuthMethodChosen means that a person chose AuthMethod.
	AuthMethodChosen                               bool
	SoftwareID, SoftwareVersion, SoftwareStatement string
	// InitialAccessToken is sent as Bearer token if the server wants one (RFC 7591 section 3).
	InitialAccessToken secret.String
	// AllowForeignEndpoints: the address that manages the registration need not be on the site of Endpoint.
	AllowForeignEndpoints bool
	// Extra members replace those of the same names; those of the flow itself cannot be replaced.
	Extra map[string]any
	// ByHand says how to register the client by hand instead; hints end with it.
	ByHand string
	// Note, if not nil, is told of each refusal that is tried again, and how.
	Note func(text string)
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

// Register registers a client (RFC 7591 section 3). Any 2xx with a client_id is success. What the server refuses is
// left out or changed, once each, in the order of concessions; the result says what. If the server asks for a short
// pause, it waits, once. The error is a *wire.Fault.
func Register(ctx context.Context, c *netguard.Client, r Request) (*Registered, error) {
	if len(r.RedirectURIs) == 0 {
		return nil, &wire.Fault{Stage: wire.StageRegistration, Message: "there is no redirect URI to register"}
	}
	m := r.metadata()
	var changed []string
	var refused *wire.Fault
	waited := false
	for left := maxRequests; ; left-- {
		reg, body, f := register(ctx, c, r, m)
		busy := f != nil && f.Status == http.StatusTooManyRequests
		switch {
		case f == nil:
			return &Registered{Registration: reg, Changed: changed}, nil
		case busy && left > 1 && f.RetryAfter > 0 && f.RetryAfter <= maxPause && !waited:
			// A 429 is an answer: nothing was registered.
			waited = true
			if sleep(ctx, f.RetryAfter) {
				continue
			}
			return nil, f
		case busy && refused != nil:
			// The refusal is what a person must know; the server only wants no further tries now.
			return nil, r.tried(refused, changed[:len(changed)-1])
		case left <= 1:
			return nil, r.tried(f, changed)
		}
		what, again := r.retry(m, f, body)
		if !again {
			return nil, r.tried(f, changed)
		}
		if r.Note != nil {
			r.Note("the server refused the registration (" + said(f) + "); trying it " + what)
		}
		changed, refused = append(changed, what), f
	}
}

// Registered is a new registration.
type Registered struct {
	*wire.Registration
	// Changed says what the server refused at first, in the words of the concessions: "without scope".
	Changed []string
}

// tried adds to a refusal what was tried in vain.
func (r *Request) tried(f *wire.Fault, changed []string) *wire.Fault {
	if len(changed) > 0 {
		f.Message += ", also " + strings.Join(changed, ", ")
	}
	return f
}

const (
	// maxRequests is how many registrations are sent for one client: one, one after a pause, and some with less
	// metadata.
	maxRequests = 9
	// maxPause is the longest pause that a person is kept waiting for.
	maxPause = 5 * time.Second
)

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func register(ctx context.Context, c *netguard.Client, r Request, m map[string]any) (*wire.Registration, []byte, *wire.Fault) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, nil, &wire.Fault{Stage: wire.StageRegistration, Message: "the client metadata cannot be written as JSON: " + err.Error(), Err: err, Hint: "check Options.Client.Metadata"}
	}
	h := http.Header{}
	if !r.InitialAccessToken.IsZero() {
		h.Set("Authorization", "Bearer "+r.InitialAccessToken.Reveal())
	}
	a, err := c.PostJSON(ctx, netguard.Request{Leg: "registration", URL: r.Endpoint, Header: h}, body)
	if err != nil {
		return nil, nil, r.fault(err)
	}
	if a.Status/100 != 2 {
		return nil, a.Body, r.refused(wire.ParseOAuthError(a.Status, a.Header, a.Body))
	}
	reg, err := wire.ParseRegistration(a.Body)
	if err != nil {
		if f := wire.ErrorIn(a.Status, a.Header, a.Body); f != nil {
			return nil, a.Body, r.refused(f)
		}
		f := &wire.Fault{Status: a.Status, Message: "the answer to the registration cannot be used: " + err.Error(), Hint: "the server is at fault"}
		if page := wire.ParseOAuthError(a.Status, a.Header, a.Body); page.Temporary {
			f = page
		}
		return nil, nil, r.fault(f)
	}
	if err := check(reg, a.Received); err != nil {
		return nil, nil, r.fault(&wire.Fault{
			Status: a.Status, Message: "the registered client cannot be used: " + err.Error(),
			Hint: r.ByHand,
		})
	}
	r.remark(reg)
	return reg, nil, nil
}

// remark drops a management address that must not be used, and says so.
func (r *Request) remark(reg *wire.Registration) {
	if reg.RegistrationClientURI != "" && !r.AllowForeignEndpoints && !resource.SameSite(resource.Hostname(reg.RegistrationClientURI), resource.Hostname(r.Endpoint)) {
		reg.Notes = append(reg.Notes, "the server names "+wire.PlainURL(reg.RegistrationClientURI)+" to manage the registration, which is on another site and is not used; --allow-foreign-endpoints (Options.Allow.ForeignEndpoints) uses it")
		reg.RegistrationClientURI, reg.RegistrationAccessToken = "", secret.String{}
	}
}

// Serves reports whether a login with redirectURI can come back to a client with these registered redirect URIs. None
// means that the server did not say (RFC 7591 section 3.2.1 has them in the answer).
func Serves(registered []string, redirectURI string) bool {
	return len(registered) == 0 || slices.ContainsFunc(registered, func(s string) bool { return sameRedirect(s, redirectURI) })
}

// sameRedirect reports whether a redirect URI that a server registered serves for ours: it is the same, or the same
// but for the port of a loopback address (RFC 8252 section 7.3).
func sameRedirect(registered, ours string) bool {
	if registered == ours {
		return true
	}
	r, err := url.Parse(registered)
	if err != nil {
		return false
	}
	o, err := url.Parse(ours)
	return err == nil && resource.IsLoopbackHost(o.Hostname()) && r.Scheme == o.Scheme && r.Hostname() == o.Hostname() &&
		r.EscapedPath() == o.EscapedPath() && r.RawQuery == o.RawQuery && r.User == nil && r.Fragment == ""
}

// refused completes the fault of a registration that the server refused.
func (r *Request) refused(f *wire.Fault) *wire.Fault {
	switch {
	case f.Temporary && f.Code == "" && f.Description == "":
	case f.Temporary:
		f.Message = "the server cannot register a client at the moment"
	default:
		f.Message = "the server refused to register a client"
		f.Hint = r.hint(f)
	}
	return r.fault(f)
}

const wantsToken = "the server may want a token for registrations: --initial-access-token-file (Options.Client.InitialAccessToken)"

// hint says what helps against a refusal.
func (r *Request) hint(f *wire.Fault) string {
	about := understand(f, nil, nil).about
	unauthorized := f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden
	switch {
	case about&aboutLimit != 0:
		return "the server takes no further clients: only its administrator can help, by removing unused ones or raising the limit"
	case unauthorized && !r.InitialAccessToken.IsZero() && (f.Status == http.StatusUnauthorized || about == 0 || about&aboutToken != 0):
		return "the token of --initial-access-token-file (Options.Client.InitialAccessToken) is used up, has ended or is wrong: ask the server's administrator for another one"
	case about&aboutRedirect != 0:
		if hint := RedirectHint(f.Description, r.RedirectURIs[0]); hint != "" {
			return hint + "; or " + r.ByHand
		}
		return "the server may accept another spelling: try --callback-host " + OtherHost(r.RedirectURIs[0]) + " (Options.Callback.Host), or " + r.ByHand
	case about&aboutStatement != 0 && r.SoftwareStatement != "":
		return "the server does not accept the software statement of --software-statement-file (Options.Client.SoftwareStatement): ask who issued it, or " + r.ByHand
	case unauthorized && r.InitialAccessToken.IsZero() && about&aboutToken != 0:
		return wantsToken + "; or " + r.ByHand
	case unauthorized && r.InitialAccessToken.IsZero():
		return "the server may admit only programs that it knows: ask its owner to admit this one, or " + r.ByHand + "; or " + wantsToken
	case unauthorized:
		return "the server may admit only programs that it knows, whatever their token: ask its owner to admit this one, or " + r.ByHand
	}
	return r.ByHand
}

func (r *Request) fault(err error) *wire.Fault {
	return wire.AsFault(err, wire.StageRegistration, r.Endpoint)
}

// check settles the authentication method: the server's word counts (RFC 7591 section 3.2.1). It refuses a
// client with which no login could succeed, before a browser is opened.
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

// AuthMethodWithSecret chooses how a client with a secret authenticates at the token endpoint, before anything is
// sent, from the methods that the server's metadata lists. No list means client_secret_basic (RFC 8414 section 2).
func AuthMethodWithSecret(supported []string) string {
	if len(supported) == 0 || slices.Contains(supported, "client_secret_basic") {
		return "client_secret_basic"
	}
	return "client_secret_post"
}

// AuthMethodWithoutSecret chooses the method of a client that has no secret, which is also the one to register:
// none, unless the server's metadata lists only methods that need a secret.
func AuthMethodWithoutSecret(supported []string) string {
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

// CheckMetadataURL reports why a URL cannot be that of a Client ID Metadata Document
// (draft-ietf-oauth-client-id-metadata-document section 3): https, a path, no dot segments, no
// fragment, no user information.
func CheckMetadataURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "":
		return errors.New("it is not an absolute URL")
	case u.Scheme != "https":
		return errors.New("it is not https")
	case u.User != nil:
		return errors.New("it holds a user name or password")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return errors.New("it has a fragment")
	case strings.Trim(u.Path, "/") == "":
		return errors.New("it has no path")
	case path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/"):
		return errors.New("its path has dot segments or empty segments")
	}
	return nil
}
