package grant

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Ways of client authentication (RFC 7591 section 2).
const (
	methodNone  = "none"
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
)

// ClientAuth is a client and its way to authenticate. One way is used in a request, never two (RFC 6749 section 2.3).
type ClientAuth struct {
	ID     string
	Secret secret.String
	// Method is none, client_secret_basic, client_secret_post or private_key_jwt.
	Method string
	// Chosen means that a person chose the method, so that no other one is tried.
	Chosen bool
	// IDInBody sends client_id in the body beside client_secret_basic (RFC 6749 section 3.2.1 allows it).
	IDInBody bool
	// Signer and Audience are for private_key_jwt. The audience is the issuer, or the token endpoint
	// where a server insists on that.
	Signer   *Signer
	Audience string
	// Prover proves the possession of the key that tokens are bound to (RFC 9449). Nil: they are not bound.
	Prover *dpop.Prover
}

func (a ClientAuth) apply(form url.Values, h http.Header) error {
	switch a.Method {
	case methodAssertion:
		if a.Signer == nil {
			return errNoAssertion
		}
		assertion, err := a.Signer.Assertion(a.ID, a.Audience, time.Now())
		if err != nil {
			return fmt.Errorf("the client assertion cannot be signed: %w", err)
		}
		form.Set("client_id", a.ID)
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	case methodBasic:
		// RFC 6749 section 2.3.1: both are form-encoded first.
		pair := url.QueryEscape(a.ID) + ":" + url.QueryEscape(a.Secret.Reveal())
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		if a.IDInBody {
			form.Set("client_id", a.ID)
		}
	case methodPost:
		form.Set("client_id", a.ID)
		form.Set("client_secret", a.Secret.Reveal())
	default:
		form.Set("client_id", a.ID)
	}
	return nil
}

// next returns how to authenticate the client after the server has refused it with f, if there is another way.
func (a ClientAuth) next(f *wire.Fault) (ClientAuth, bool) {
	if a.Secret.IsZero() {
		return a, false
	}
	switch {
	case a.Method == methodBasic && !a.IDInBody && f.Status == http.StatusUnauthorized && missesID(f.Description):
		// A server that has read the header says so: the MCP Python SDK looks the client up by the body.
		a.IDInBody = true
		return a, true
	case a.Chosen:
		return a, false
	case a.Method == methodBasic, a.Method == methodNone: // a secret may come with a registration for none
		a.Method, a.IDInBody = methodPost, false
	case a.Method == methodPost:
		a.Method = methodBasic
	default:
		return a, false
	}
	return a, true
}
