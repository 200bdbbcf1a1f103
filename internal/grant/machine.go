package grant

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

const (
	methodAssertion = "private_key_jwt"
	assertionType   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	// TypeClientCredentials is the grant type of RFC 6749 section 4.4.
	TypeClientCredentials = "client_credentials"
	// TypeJWTBearer is the grant type of RFC 7523 section 2.1.
	TypeJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

	// assertionLife is the lifetime of our assertions, which are used at once.
	assertionLife = time.Minute
	// maxSkew is the difference between two clocks that is not mentioned.
	maxSkew = 30 * time.Second
)

// Signer signs client assertions (RFC 7523 section 2.2).
type Signer struct {
	key  crypto.Signer
	id   string
	alg  jose.SignatureAlgorithm
	able []jose.SignatureAlgorithm
}

// NewSigner returns a signer for a key. Without an algorithm it uses the usual one for the key: ES256, ES384
// or ES512, RS256, EdDSA.
func NewSigner(key crypto.Signer, id, algorithm string) (*Signer, error) {
	var able []jose.SignatureAlgorithm
	switch pub := key.Public().(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve.Params().BitSize {
		case 256:
			able = []jose.SignatureAlgorithm{jose.ES256}
		case 384:
			able = []jose.SignatureAlgorithm{jose.ES384}
		case 521:
			able = []jose.SignatureAlgorithm{jose.ES512}
		}
	case *rsa.PublicKey:
		if pub.N.BitLen() < 2048 {
			return nil, fmt.Errorf("an RSA key of %d bits is too short", pub.N.BitLen())
		}
		able = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.RS384, jose.PS384, jose.RS512, jose.PS512}
	case ed25519.PublicKey:
		able = []jose.SignatureAlgorithm{jose.EdDSA}
	}
	if len(able) == 0 {
		return nil, fmt.Errorf("a key of the type %T cannot sign assertions", key.Public())
	}
	alg := able[0]
	if algorithm != "" {
		if alg = jose.SignatureAlgorithm(algorithm); !slices.Contains(able, alg) {
			return nil, fmt.Errorf("this key cannot sign with %s", wire.CleanN(algorithm, 20))
		}
	}
	return &Signer{key, id, alg, able}, nil
}

// Algorithm returns the name of the signature algorithm.
func (s *Signer) Algorithm() string { return string(s.alg) }

// PublicKey returns the public half.
func (s *Signer) PublicKey() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.key.Public(), KeyID: s.id, Algorithm: string(s.alg), Use: "sig"}
}

// OneOf returns an algorithm of a list that the key can sign with, "" for none.
func (s *Signer) OneOf(list []string) string {
	for _, alg := range s.able {
		if slices.Contains(list, string(alg)) {
			return string(alg)
		}
	}
	return ""
}

// Assertion returns a new client assertion for one audience (RFC 7523 section 3).
func (s *Signer) Assertion(clientID, audience string, now time.Time) (string, error) {
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if s.id != "" {
		opts = opts.WithHeader("kid", s.id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: cryptosigner.Opaque(s.key)}, opts)
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": NewState(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// MachineRequest asks for a token without a person (RFC 6749 section 4.4, RFC 7523 section 2.1).
type MachineRequest struct {
	Endpoint string
	Auth     ClientAuth
	// Type is TypeClientCredentials or TypeJWTBearer; Assertion belongs to the latter.
	Type      string
	Assertion secret.String
	Resource  string
	Scopes    []string
	// ScopeSeparator is as in an AuthorizationRequest.
	ScopeSeparator string
	Extra          url.Values
	Format         TokenResponseFormat
}

// Machine asks for a token and returns it with the client authentication that counts. The error is a *wire.Fault.
func Machine(ctx context.Context, c *netguard.Client, r MachineRequest) (tok *wire.Token, auth ClientAuth, err error) {
	form := url.Values{"grant_type": {r.Type}}
	if !r.Assertion.IsZero() {
		form.Set("assertion", r.Assertion.Reveal())
	}
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	if len(r.Scopes) > 0 {
		form.Set("scope", strings.Join(r.Scopes, cmp.Or(r.ScopeSeparator, " ")))
	}
	addExtra(form, r.Extra)
	var a *netguard.Answer
	auth, err = call{client: c, leg: "token", endpoint: r.Endpoint, auth: r.Auth, form: form, format: r.Format}.negotiate(func(q call) error {
		var err error
		if tok, a, err = q.sendForToken(ctx); err != nil {
			return wire.AsFault(err, wire.StageToken, r.Endpoint)
		}
		return nil
	})
	if f, ok := errors.AsType[*wire.Fault](err); ok && a != nil {
		r.explain(f, a)
	}
	return tok, auth, err
}

// explain says in words why the request was refused, and what to do about it.
func (r *MachineRequest) explain(f *wire.Fault, a *netguard.Answer) {
	silent := f.Code == "" && !f.Temporary && (f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden)
	switch {
	case f.Code == "invalid_grant", silent && r.Type == TypeJWTBearer:
		f.Message, f.Hint = "the server does not accept the assertion", about(r.Assertion, a)
	case notAuthenticated(f), silent:
		if silent {
			call{auth: r.Auth, form: url.Values{"grant_type": {r.Type}}}.explainClient(f)
		}
		if r.Auth.Method != methodAssertion {
			break
		}
		if off := skew(a.Header, a.Received); off != 0 {
			f.Hint = clockHint(off) + ": an assertion is only good for a minute"
		} else if r.Auth.Audience != "" && r.Auth.Audience != r.Endpoint {
			f.Hint += "; some servers insist on --client-key-audience token-endpoint (ClientKey.AudienceTokenEndpoint)"
		}
	case f.Code == "jti_known": // Ory's
		f.Hint = "the assertion was used before: its source must supply a new one for each request"
	case f.Code == "unauthorized_client", f.Code == "unsupported_grant_type":
		f.Message, f.Hint = "the server does not allow this client the grant "+r.Type, "ask its owner to allow it"
	case f.Code == "invalid_scope":
		f.Message, f.Hint = "the server does not grant these scopes", "choose others with --scope (Options.Scopes.Request)"
	}
}

// about says what a server checks in an assertion that it refused.
func about(assertion secret.String, a *netguard.Answer) string {
	off := skew(a.Header, a.Received)
	hint := "check its audience, which must be the issuer, and that it has not expired"
	c, err := ReadClaims(assertion.Reveal())
	switch {
	case err != nil:
	case !c.Expiry.IsZero() && a.Received.Add(-off).After(c.Expiry): // the server's clock decides
		hint = "it expired at " + c.Expiry.UTC().Format("2006-01-02 15:04:05 MST") + ": its source must supply a newer one"
	default:
		hint = fmt.Sprintf("it is from %q and for %q: the server must trust the one and expect the other, its issuer mostly, its token endpoint sometimes",
			wire.Clean(c.Issuer), wire.Clean(strings.Join(c.Audience, " ")))
	}
	if off != 0 {
		hint += "; " + clockHint(off)
	}
	return hint
}

// clockHint says how far this machine's clock is ahead. A server's clock is only read to the second.
func clockHint(off time.Duration) string {
	where := "ahead of"
	if off < 0 {
		where = "behind"
	}
	return fmt.Sprintf("this machine's clock is %v %s the server's: set it right", off.Abs().Round(10*time.Second), where)
}

// skew returns how far our clock is ahead of the server's, 0 if it says nothing or it is little.
func skew(h http.Header, received time.Time) time.Duration {
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	off := received.Sub(at).Round(time.Second)
	if off.Abs() <= maxSkew {
		return 0
	}
	return off
}

var errNoAssertion = errors.New("the client has no key to sign with")
