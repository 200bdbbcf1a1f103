package registration

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Update is a change to a dynamic registration (RFC 7592 section 2.2).
type Update struct {
	// URI and Token manage the registration, which is ClientID's.
	URI      string
	Token    secret.String
	ClientID string
	// RedirectURIs and Scopes are added to those that are registered.
	RedirectURIs, Scopes []string
}

// maxRedirectURIs is how many redirect URIs a registration may come to have.
const maxRedirectURIs = 10

// Change reads the registration, and writes it back with the additions. It fails if the server refuses, or if the
// registration is another client's. The error is a *wire.Fault.
func Change(ctx context.Context, c *netguard.Client, u Update) (*wire.Registration, error) {
	target := netguard.Request{Leg: "registration", URL: u.URI, Header: http.Header{"Authorization": {"Bearer " + u.Token.Reveal()}}}
	fault := func(err error) *wire.Fault {
		f := wire.AsFault(err, wire.StageRegistration, u.URI)
		f.URL = wire.PlainURL(u.URI)
		return f
	}
	refused := func(a *netguard.Answer) *wire.Fault {
		f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
		f.Message = "the server refused to change the registration"
		return fault(f)
	}
	a, err := c.Get(ctx, target)
	if err != nil {
		return nil, fault(err)
	}
	doc, err := wire.ParseObject(a.Body)
	if a.Status != http.StatusOK || err != nil || doc.Text("client_id") != u.ClientID {
		return nil, refused(a)
	}
	// RFC 7592 section 2.2: everything that was registered, without the members that only the server sets.
	for _, name := range []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"} {
		delete(doc, name)
	}
	uris := doc.Strings("redirect_uris")
	for _, uri := range u.RedirectURIs {
		if !slices.Contains(uris, uri) {
			uris = append(uris, uri)
		}
	}
	scopes := strings.Fields(doc.String("scope"))
	for _, scope := range u.Scopes {
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	if len(uris) > maxRedirectURIs {
		uris = uris[len(uris)-maxRedirectURIs:]
	}
	if doc["redirect_uris"], err = json.Marshal(uris); err == nil && len(scopes) > 0 {
		doc["scope"], err = json.Marshal(strings.Join(scopes, " "))
	}
	if err != nil {
		return nil, fault(err)
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, fault(err)
	}
	if a, err = c.PutJSON(ctx, target, body); err != nil {
		return nil, fault(err)
	}
	reg, err := wire.ParseRegistration(a.Body)
	if a.Status != http.StatusOK || err != nil || reg.ClientID != u.ClientID {
		return nil, refused(a)
	}
	if err := check(reg, a.Received); err != nil {
		return nil, fault(err)
	}
	return reg, nil
}
