package grant

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// call is one request to an endpoint of an authorization server.
type call struct {
	client *netguard.Client
	// leg names the request for traces.
	leg, endpoint string
	auth          ClientAuth
	// form has the parameters without those of the client authentication.
	form url.Values
	// format is that of the endpoint's token responses.
	format TokenResponseFormat
}

// token makes a token request and returns the token and the client authentication that counts. Its errors are explained
// for a person.
func (r call) token(ctx context.Context) (tok *wire.Token, auth ClientAuth, err error) {
	auth, err = r.negotiate(func(r call) error {
		var err error
		if tok, _, err = r.sendForToken(ctx); err != nil {
			return explain(wire.AsFault(err, wire.StageToken, r.endpoint), r.form)
		}
		return nil
	})
	return tok, auth, err
}

// sendForToken makes a token request and reads the answer, which is nil if there was none.
func (r call) sendForToken(ctx context.Context) (*wire.Token, *netguard.Answer, error) {
	for try := 0; ; try++ {
		h := http.Header{}
		renewed, err := prove(r.auth.Prover, r.endpoint, h)
		if err != nil {
			return nil, nil, &wire.Fault{Message: "the DPoP proof cannot be signed: " + err.Error(), Err: err, Unsent: true}
		}
		a, err := r.send(ctx, h)
		if err != nil {
			return nil, nil, err
		}
		another := renewed(a.Header)
		read := func(body []byte) (*wire.Token, error) {
			return wire.ParseToken(a.Status, a.Header, wire.Unwrap(a.Header, body, r.format.Member, r.format.BearerType), a.Received)
		}
		tok, err := read(a.Body)
		if err != nil {
			tok, err = read(r.hide(a.Body, r.form)) // an error in a successful status repeats the request, too
		}
		f, isFault := errors.AsType[*wire.Fault](err)
		switch {
		case err == nil:
			if f := bound(tok, r.auth.Prover); f != nil {
				f.Status = a.Status
				return nil, a, f
			}
			if c, err := ReadClaims(tok.AccessToken.Reveal()); err == nil {
				tok.CheckLifetime(c.IssuedAt, c.Expiry, a.Received)
			}
			return tok, a, nil
		case !isFault || r.auth.Prover == nil:
		case f.Code == dpop.WantNonce && another && try < maxNonces:
			continue // RFC 9449 section 8: the server has not acted on the request
		case f.Code == dpop.WantNonce:
			f.Message = "the server rejects each DPoP nonce and asks for another one"
			f.Hint = "the server is at fault; --dpop never (Options.DPoP) does without, if the server allows it"
		case f.Code == "invalid_dpop_proof":
			f.Message = "the server does not accept the DPoP proof"
			if off := skew(a.Header, a.Received); off != 0 {
				f.Hint = clockHint(off)
			}
		}
		return nil, a, err
	}
}

// maxNonces is how often one request is repeated with the nonce that the server asks for.
const maxNonces = 3

// prove adds a proof to a token request. The returned function remembers the nonce of the answer, and
// reports whether it is a new one.
func prove(p *dpop.Prover, endpoint string, h http.Header) (func(http.Header) bool, error) {
	if p == nil {
		return func(http.Header) bool { return false }, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	proof, nonce, err := p.Prove(http.MethodPost, u, "")
	h[dpop.Header] = []string{proof}
	return func(answer http.Header) bool { return p.Nonces.Learn(u, answer, nonce) }, err
}

// ErrNotBound means that a token bound to a key was requested, and the server issued one that is not bound.
var ErrNotBound = errors.New("the token is not bound to the key (DPoP)")

// bound returns a fault if the token is not of the requested kind.
func bound(tok *wire.Token, p *dpop.Prover) *wire.Fault {
	switch {
	case p != nil && tok.TokenType != dpop.TokenType:
		return &wire.Fault{Message: "the server issued a token that is not bound to the key of this login (DPoP)", Err: ErrNotBound, Hint: "ask its owner why it does not bind tokens; --dpop never (Options.DPoP) requests tokens that are not bound"}
	case p == nil && tok.TokenType == dpop.TokenType:
		return &wire.Fault{Message: "the server issued a token of the type DPoP, although the request had no proof", Hint: "the server is at fault; --dpop always (Options.DPoP) sends proofs"}
	}
	return nil
}

// send makes the request with the client's authentication. h has further headers and may be nil.
func (r call) send(ctx context.Context, h http.Header) (*netguard.Answer, error) {
	if h == nil {
		h = make(http.Header)
	}
	body := maps.Clone(r.form)
	if body == nil {
		body = make(url.Values)
	}
	auth := r.auth
	if auth.Audience == "" {
		auth.Audience = r.endpoint
	}
	if err := auth.apply(body, h); err != nil {
		return nil, &wire.Fault{Message: err.Error(), Err: err, Unsent: true, Hint: "check the client's key"}
	}
	a, err := r.client.PostForm(ctx, netguard.Request{Leg: r.leg, URL: r.endpoint, Header: h}, body)
	if err == nil && a.Status/100 != 2 {
		a.Body = r.hide(a.Body, body)
	}
	return a, err
}

// hide removes the secrets that were sent from an answer that may be quoted.
func (r call) hide(answer []byte, form url.Values) []byte {
	sent := []string{r.auth.Secret.Reveal()}
	for _, k := range []string{"code", "code_verifier", "refresh_token", "client_secret", "client_assertion", "assertion", "subject_token", "actor_token", "device_code", "token"} {
		sent = append(sent, form.Get(k))
	}
	return []byte(secret.Hide(string(answer), sent...))
}
