package grant

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/secret"
)

// Ways of client authentication (RFC 7591 section 2).
const (
	methodNone  = "none"
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
)

// ClientAuth is a client and its way to authenticate. One way is used, never two (RFC 6749 section
// 2.3), and it is known before anything is sent.
type ClientAuth struct {
	ID     string
	Secret secret.String
	// Method is none, client_secret_basic, client_secret_post or private_key_jwt.
	Method string
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
	case methodPost:
		form.Set("client_id", a.ID)
		form.Set("client_secret", a.Secret.Reveal())
	default:
		form.Set("client_id", a.ID)
	}
	return nil
}

// other returns another way to authenticate the same client, if there is one.
func (a ClientAuth) other() (ClientAuth, bool) {
	switch a.Method {
	case methodBasic:
		a.Method = methodPost
	case methodPost:
		a.Method = methodBasic
	default:
		return a, false
	}
	return a, true
}
