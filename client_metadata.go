package mcpoauth

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// ClientMetadata is a Client ID Metadata Document: the description of a client, served at the https URL that is the
// client's ID (OAuth Client ID Metadata Document draft; MCP authorization, client registration).
type ClientMetadata struct {
	// ClientID is the document's own URL, byte for byte.
	ClientID   string   `json:"client_id"`
	ClientName string   `json:"client_name"`
	ClientURI  string   `json:"client_uri,omitempty"`
	LogoURI    string   `json:"logo_uri,omitempty"`
	Contacts   []string `json:"contacts,omitempty"`
	// RedirectURIs of loopback hosts have no port unless one is configured: authorization servers accept any port
	// there (RFC 8252 section 7.3).
	RedirectURIs            []string `json:"redirect_uris"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	ApplicationType         string   `json:"application_type"`
	// Keys is the JWK Set (RFC 7517) with the public keys of a client that authenticates by
	// private_key_jwt, nil for a public client.
	Keys json.RawMessage `json:"jwks,omitempty"`
}

// maxClientMetadata is the size, in bytes, up to which authorization servers are expected to read a document.
const maxClientMetadata = 5 << 10

// NewClientMetadata returns the document for clients with these options: it uses [ClientOptions.MetadataURL], which
// must be set, [ClientOptions.Name], [Options.Callback], the public half of [ClientOptions.Key], and the members
// client_uri, logo_uri and contacts of [ClientOptions.Metadata]. Serve it as JSON at that URL. The error is an
// [OptionError].
func NewClientMetadata(opts *Options) (*ClientMetadata, error) {
	if opts == nil {
		opts = &Options{}
	}
	set, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	o := set.client
	if o.MetadataURL == "" {
		return nil, optionError("Client.MetadataURL", fmt.Errorf("it says where the document will be, and is missing"), "give the https URL at which the document will be served")
	}
	m := &ClientMetadata{
		ClientID: o.MetadataURL, ClientName: o.Name, RedirectURIs: set.callbacks(), GrantTypes: []string{"authorization_code", "refresh_token"},
		ResponseTypes: []string{"code"}, TokenEndpointAuthMethod: "none", ApplicationType: "native",
	}
	m.ClientURI, _ = o.Metadata["client_uri"].(string)
	m.LogoURI, _ = o.Metadata["logo_uri"].(string)
	m.Contacts, _ = o.Metadata["contacts"].([]string)
	if o.Key != nil {
		m.TokenEndpointAuthMethod = string(AuthMethodPrivateKeyJWT)
		if m.Keys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{o.Key.signer.PublicKey()}}); err != nil {
			return nil, fmt.Errorf("mcpoauth: client key: %w", err)
		}
	}
	return m, nil
}

// callbacks are the redirect URIs that a login may use, in both spellings of the host.
func (s *settings) callbacks() []string {
	hosts := []string{s.callback.Host}
	for _, other := range []string{"127.0.0.1", "localhost"} {
		if !slices.Contains(hosts, other) {
			hosts = append(hosts, other)
		}
	}
	var uris []string
	for _, host := range hosts {
		base := &settings{callback: &CallbackOptions{Host: host, Path: s.callback.Path}}
		u := base.redirectBase(base.callback.Path)
		if s.callback.Port != 0 {
			u = strings.TrimSuffix(u, s.callback.Path) + fmt.Sprintf(":%d", s.callback.Port) + s.callback.Path
		}
		uris = append(uris, u)
	}
	return uris
}

// ClientMetadataFault is a problem of a Client ID Metadata Document.
type ClientMetadataFault struct {
	// Member is the document's member, "" if the problem concerns the whole.
	Member string `json:"member"`
	// Grave means that logins with the document fail; otherwise some may.
	Grave bool `json:"grave"`
	// Message is what is wrong, and Fix what to do about it.
	Message string `json:"message"`
	Fix     string `json:"fix"`
}

// CheckClientMetadata fetches the document at [ClientOptions.MetadataURL] as an authorization server does, and
// returns its problems for clients with these options. A fault that may pass is [ErrTemporary].
func CheckClientMetadata(ctx context.Context, opts *Options) ([]ClientMetadataFault, error) {
	want, err := NewClientMetadata(opts)
	if err != nil {
		return nil, err
	}
	c, err := New(want.ClientID, opts)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close(ctx) }()
	a, err := c.guard().Get(ctx, netguard.Request{Leg: string(LegClientMetadata), URL: want.ClientID})
	if err != nil {
		return nil, publicError(wire.AsFault(err, wire.StageRegistration, want.ClientID))
	}
	fault := func(message, fix string) []ClientMetadataFault {
		return []ClientMetadataFault{{Grave: true, Message: message, Fix: fix}}
	}
	switch {
	case a.Status >= 500 || a.Status == http.StatusTooManyRequests:
		return nil, &TemporaryError{RetryAfter: wire.RetryAfter(a.Header, a.Received), Err: &Error{Op: OpRegistration, URL: want.ClientID, Status: a.Status, Message: "the document's server is in trouble", Hint: "try again later"}}
	case a.URL != want.ClientID || a.Status/100 == 3:
		return fault("the address redirects, which authorization servers do not follow", "serve the document at "+want.ClientID+" itself"), nil
	case a.Status != http.StatusOK:
		return fault(fmt.Sprintf("the address answers with status %d", a.Status), "serve the document there, to anybody"), nil
	}
	faults := want.Check(a.Body)
	if t, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); t != "application/json" && !strings.HasSuffix(t, "+json") {
		faults = append(faults, ClientMetadataFault{Message: fmt.Sprintf("it is served as %q", wire.CleanN(t, 80)), Fix: "serve it as application/json"})
	}
	return faults, nil
}

// Check returns the problems of a document that is served in place of m.
func (m *ClientMetadata) Check(document []byte) []ClientMetadataFault {
	var faults []ClientMetadataFault
	add := func(member string, grave bool, message, fix string) {
		faults = append(faults, ClientMetadataFault{member, grave, message, fix})
	}
	if len(document) > maxClientMetadata {
		add("", false, fmt.Sprintf("it is longer than %d bytes, which is what authorization servers read at least", maxClientMetadata), "leave out what nobody needs")
	}
	o, err := wire.ParseObject(document)
	if err != nil {
		add("", true, "it cannot be read: "+err.Error(), "serve one JSON object and nothing else")
		return faults
	}
	if got := o.String("client_id"); got != m.ClientID {
		add("client_id", true, fmt.Sprintf("it is %q", wire.CleanN(got, 200)), "it must be the document's own URL, byte for byte: "+m.ClientID)
	}
	if o.String("client_name") == "" {
		add("client_name", false, "it is missing, so people cannot tell who asks", "name the program")
	}
	uris := o.Strings("redirect_uris")
	for _, uri := range m.RedirectURIs[:1] {
		if !slices.ContainsFunc(uris, func(u string) bool { return sameCallback(u, uri) }) {
			add("redirect_uris", true, "a login's redirect URI is not among them", "add "+uri)
		}
	}
	if method := o.String("token_endpoint_auth_method"); method != m.TokenEndpointAuthMethod {
		add("token_endpoint_auth_method", true, fmt.Sprintf("it is %q", wire.CleanN(method, 60)), "this client uses "+m.TokenEndpointAuthMethod)
	}
	if m.Keys != nil && !o.Has("jwks") && !o.Has("jwks_uri") {
		add("jwks", true, "it is missing, so assertions cannot be checked", "add the public key: mcpoauth client-metadata prints it")
	}
	if o.Has("client_secret") || o.Has("client_secret_expires_at") {
		add("client_secret", true, "anybody can read the document", "remove it, and replace the secret wherever it is used")
	}
	if grants := o.Strings("grant_types"); grants != nil && !slices.Contains(grants, "authorization_code") {
		add("grant_types", true, "authorization_code is not among them", "add it")
	} else if !slices.Contains(grants, "refresh_token") {
		add("grant_types", false, "refresh_token is not among them, so people may have to log in again whenever a token ends", "add it")
	}
	if types := o.Strings("response_types"); types != nil && !slices.Contains(types, "code") {
		add("response_types", true, "code is not among them", "add it")
	}
	for _, name := range []string{"client_uri", "logo_uri"} {
		if v := o.String(name); v != "" && !sameHost(v, m.ClientID) {
			add(name, false, "it is on another host than the document, which consent pages may leave out", "use one on the document's host")
		}
	}
	return faults
}

// sameCallback reports whether a redirect URI of the document permits a login to use want. If the document's has no
// port, ports are not compared.
func sameCallback(documented, want string) bool {
	d, err := url.Parse(documented)
	if err != nil {
		return false
	}
	w, err := url.Parse(want)
	if err != nil {
		return false
	}
	return documented == want || d.Port() == "" && d.Scheme == w.Scheme && d.Hostname() == w.Hostname() && d.Path == w.Path && d.RawQuery == ""
}

func sameHost(a, b string) bool {
	ua, err := url.Parse(a)
	if err != nil {
		return false
	}
	ub, err := url.Parse(b)
	return err == nil && ua.Hostname() == ub.Hostname()
}

// ServeHTTP serves the document, for programs with a web server of their own.
func (m *ClientMetadata) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b, err := m.JSON()
	if err != nil {
		http.Error(w, "the document cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b)
}

// JSON returns the document as it is to be served.
func (m *ClientMetadata) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}
