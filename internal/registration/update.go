package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Management is how the registration of ClientID is managed (RFC 7592 section 3).
type Management struct {
	URI      string
	Token    secret.String
	ClientID string
}

// Current is a registration as the server has it.
type Current struct {
	// Management is that of the next request: a server may replace the token each time that it is used.
	Management Management
	// ClientSecret and SecretExpiry are the client's, empty if the server did not say: they, too, may be new.
	ClientSecret secret.String
	SecretExpiry time.Time
	doc          wire.Object
}

// ErrGone means that the server no longer has the registration.
var ErrGone = errors.New("the server no longer has the registration")

func (m *Management) request() netguard.Request {
	return netguard.Request{Leg: "registration", URL: m.URI, Header: http.Header{"Authorization": {"Bearer " + m.Token.Reveal()}}}
}

func (m *Management) fault(err error) *wire.Fault {
	f := wire.AsFault(err, wire.StageRegistration, m.URI)
	f.URL = wire.PlainURL(m.URI)
	return f
}

func (m *Management) refused(a *netguard.Answer, message string) *wire.Fault {
	f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
	f.Message = message
	return m.fault(f)
}

// Read reads the registration (RFC 7592 section 2.1). The error is a *wire.Fault, which wraps ErrGone if the server
// says that there is no such registration, or none that this token manages.
func Read(ctx context.Context, c *netguard.Client, m Management) (*Current, error) {
	a, err := c.Get(ctx, m.request())
	if err != nil {
		return nil, m.fault(err)
	}
	reg, err := wire.ParseRegistration(a.Body)
	if a.Status == http.StatusOK && err == nil && reg.ClientID == m.ClientID {
		now := &Current{Management: m, ClientSecret: reg.ClientSecret, SecretExpiry: reg.SecretExpiry}
		if now.doc, err = wire.ParseObject(a.Body); err == nil {
			now.adopt(reg.RegistrationAccessToken)
			return now, nil
		}
	}
	f := m.refused(a, "the registration could not be read")
	switch {
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusNotFound, a.Status == http.StatusGone,
		a.Status/100 == 4 && (f.Code == "invalid_token" || f.Code == "invalid_client" || f.Code == "invalid_client_id"):
		f.Err = ErrGone
	}
	return nil, f
}

func (n *Current) adopt(token secret.String) {
	if !token.IsZero() {
		n.Management.Token = token
	}
}

// Additions are what a registration is to have besides what it has.
type Additions struct {
	RedirectURIs, Scopes, GrantTypes []string
}

// maxRedirectURIs is how many redirect URIs a registration may come to have.
const maxRedirectURIs = 10

// add appends to a list what it lacks.
func add(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// Change writes the registration back with additions (RFC 7592 section 2.2). It fails if the server refuses. The error
// is a *wire.Fault.
func (n *Current) Change(ctx context.Context, c *netguard.Client, more Additions) (*wire.Registration, error) {
	m := &n.Management
	doc := maps.Clone(n.doc)
	// RFC 7592 section 2.2: everything that was registered, without the members that only the server sets.
	for _, name := range []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"} {
		delete(doc, name)
	}
	uris := add(doc.Strings("redirect_uris"), more.RedirectURIs)
	if len(uris) > maxRedirectURIs {
		uris = uris[len(uris)-maxRedirectURIs:]
	}
	members := map[string]any{"redirect_uris": uris}
	if scopes := add(strings.Fields(strings.Join(doc.Strings("scope"), " ")), more.Scopes); len(scopes) > 0 {
		members["scope"] = strings.Join(scopes, " ")
	}
	if len(more.GrantTypes) > 0 {
		members["grant_types"] = add(doc.Strings("grant_types"), more.GrantTypes)
	}
	for name, value := range members {
		b, err := json.Marshal(value)
		if err != nil {
			return nil, m.fault(err)
		}
		doc[name] = b
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, m.fault(err)
	}
	a, err := c.PutJSON(ctx, m.request(), body)
	if err != nil {
		return nil, m.fault(err)
	}
	reg, err := wire.ParseRegistration(a.Body)
	if a.Status != http.StatusOK || err != nil || reg.ClientID != m.ClientID {
		return nil, m.refused(a, "the server refused to change the registration")
	}
	if was := doc.String("token_endpoint_auth_method"); was != "" && reg.AuthMethod != "" && reg.AuthMethod != was {
		return nil, m.fault(fmt.Errorf("the client would authenticate by %q instead of %q", wire.CleanN(reg.AuthMethod, 60), wire.CleanN(was, 60)))
	}
	if err := check(reg, a.Received); err != nil {
		return nil, m.fault(err)
	}
	n.adopt(reg.RegistrationAccessToken)
	return reg, nil
}
