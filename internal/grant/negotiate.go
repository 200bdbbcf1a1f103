package grant

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// negotiate makes a request by send, and once more with another client authentication if the answer says that the
// client was not authenticated: the server has not acted on the request then. It returns the authentication of the
// answer that counts. The errors of send are faults.
func (r call) negotiate(send func(call) error) (ClientAuth, error) {
	first := send(r)
	refused, ok := errors.AsType[*wire.Fault](first)
	if !ok || !r.clientRefused(refused) {
		return r.auth, first
	}
	next, ok := r.auth.next(refused)
	if !ok {
		r.explainClient(refused)
		return r.auth, first
	}
	second := r
	second.auth = next
	err := send(second)
	if f, ok := errors.AsType[*wire.Fault](err); ok && second.clientRefused(f) {
		r.explainClient(refused)
		if !next.IDInBody {
			refused.Hint += "; " + r.auth.Method + " and " + next.Method + " were tried"
		}
		return r.auth, first
	}
	return next, err // the client is accepted so, whatever else is wrong
}

// clientRefused reports whether an answer to r says that the client was not authenticated.
func (r call) clientRefused(f *wire.Fault) bool {
	// RFC 8628 section 3.5: access_denied is the person's answer.
	return notAuthenticated(f) && (f.Code != "access_denied" || r.form.Get("grant_type") != TypeDeviceCode)
}

// notAuthenticated reports whether a fault is about the client's authentication (RFC 6749 section 5.2), in the words
// of any server.
func notAuthenticated(f *wire.Fault) bool {
	if f.Temporary || f.Status >= 500 {
		return false
	}
	denied := f.Status == http.StatusUnauthorized
	switch f.Code {
	case "invalid_client":
		return true
	case "":
		return denied || namesClient(f.Description)
	case "unauthorized_client":
		// With 400 it is about the grant. Keycloak sends 401 for a wrong secret, and for a grant as well.
		return denied || strings.Contains(plainWords(f.Description), "client authentication")
	case "invalid_request":
		return namesClient(f.Description)
	case "access_denied", "unauthorized", "invalid_credentials", "invalid_client_credentials", "invalid_client_secret":
		return denied // Auth0 and others
	}
	return false
}

// namesClient reports whether a description names a parameter of the client authentication.
func namesClient(description string) bool {
	text := strings.ReplaceAll(plainWords(description), "client credentials grant", "")
	for _, name := range []string{"client id", "client secret", "client authentication", "client credentials"} {
		if strings.Contains(text, name) {
			return true
		}
	}
	return false
}

// missesID reports whether a description says that client_id is missing.
func missesID(description string) bool {
	text := plainWords(description)
	if !strings.Contains(text, "client id") || strings.Contains(text, "secret") {
		return false
	}
	for _, word := range []string{"missing", "required", "must", "absent", "not provided", "not present", "not found in", "no client id", "misses"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// plainWords returns a text in lower case and with spaces in names.
func plainWords(s string) string {
	return strings.NewReplacer("_", " ", "-", " ").Replace(strings.ToLower(s))
}

// explainClient says in words that the client was not authenticated, and what to do about it.
func (r call) explainClient(f *wire.Fault) {
	f.Message = "the server does not accept this client"
	machine := slices.Contains([]string{TypeClientCredentials, TypeJWTBearer}, r.form.Get("grant_type"))
	hint := "check --client-id and its secret (Options.Client.ID, Options.Client.Secret)"
	if machine {
		hint = "check the client ID and its secret or key (Options.Client)"
	}
	switch a := r.auth; {
	case a.Method == methodAssertion:
		hint = "check the client ID and its key (Options.Client.ID, Options.Client.Key), and that the server knows the public key"
	case a.Chosen:
		hint += "; --client-auth-method (Options.Client.AuthMethod) demands " + a.Method + ", and the server may want another one"
	case machine && a.Secret.IsZero():
		hint += ", and that the server knows the public key"
	case a.Secret.IsZero():
		hint = "check --client-id (Options.Client.ID); if the client has a secret, give it with --client-secret-env (Options.Client.Secret)"
	default:
		hint += " and how it is sent: --client-auth-method (Options.Client.AuthMethod)"
	}
	if !machine {
		hint += ", or register anew with login --new-client (LoginOptions.NewClient)"
	}
	if f.Code == "unauthorized_client" {
		f.Message += ", or does not allow it this grant"
		hint += "; if they are right, ask the server's owner to allow the grant"
	}
	f.Hint = cmp.Or(f.Hint, hint)
}
