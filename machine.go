package mcpoauth

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// Grant is another way to obtain tokens than the authorization code: [ClientCredentials],
// [WorkloadIdentity] and [EnterpriseManaged] need no person, so no login is ever needed: [Client.Token] and the requests obtain a
// token, keep it like any other, and obtain the next when it ends. [DeviceCode] is a login without a browser
// on this machine.
type Grant interface {
	// name is what the record says; assertion is nil where the grant has none.
	name() string
	assertion(ctx context.Context, c *Client, a asked) (string, error)
	check(o *Options) error
}

// asked is what an assertion is for.
type asked struct {
	// issuer is the authorization server's.
	issuer, tokenEndpoint, resource string
	scopes                          []string
}

// ClientCredentials is the client credentials grant (RFC 6749 section 4.4; MCP extension
// io.modelcontextprotocol/oauth-client-credentials). [Options.ClientID] and [Options.ClientSecret] or
// [Options.ClientKey] are the credentials.
type ClientCredentials struct{}

func (ClientCredentials) name() string { return grant.TypeClientCredentials }

func (ClientCredentials) assertion(context.Context, *Client, asked) (string, error) { return "", nil }

func (ClientCredentials) check(o *Options) error {
	if o.ClientID == "" || o.ClientSecret == "" && o.ClientKey == nil {
		return optionError("Grant", errors.New("client credentials need a client ID and its secret or key"), "set --client-id with --client-secret-env, --client-secret-file or --client-key-file (Options.ClientID, ClientSecret, ClientKey)")
	}
	return nil
}

// ClientKey is a private key by which a client authenticates (private_key_jwt, RFC 7523 section 2.2). It
// prints without the key.
type ClientKey struct {
	signer *grant.Signer
	// chosen means that the algorithm was asked for.
	chosen bool
	// AudienceTokenEndpoint names the token endpoint as the audience of assertions instead of the issuer,
	// for servers that insist on it.
	AudienceTokenEndpoint bool
}

// String returns a description without the key.
func (k *ClientKey) String() string {
	if k == nil || k.signer == nil {
		return "no client key"
	}
	return "client key (" + k.signer.Algorithm() + ")"
}

// GoString returns the same as String.
func (k *ClientKey) GoString() string { return k.String() }

// Format prints the same for every verb.
func (k *ClientKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// NewClientKey returns the key that signer signs with; it may lie in a KMS or a TPM. id is its kid, ""
// for none. An empty algorithm is the key's usual one: ES256 (384, 512), RS256, EdDSA; RSA keys can PS256
// and its relatives too. A server whose metadata lists others than the usual one is not asked; an algorithm
// that is given here is used in any case.
func NewClientKey(signer crypto.Signer, id, algorithm string) (*ClientKey, error) {
	s, err := grant.NewSigner(signer, id, algorithm)
	if err != nil {
		return nil, fmt.Errorf("mcpoauth: client key: %w", err)
	}
	return &ClientKey{signer: s, chosen: algorithm != ""}, nil
}

// ParseClientKey reads a private key in PEM (PKCS #8, PKCS #1 or SEC 1) or a JWK (RFC 7517), whose kid and
// alg it takes where id and algorithm are empty.
func ParseClientKey(data []byte, id, algorithm string) (*ClientKey, error) {
	if strings.HasPrefix(strings.TrimSpace(string(data)), "{") {
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(data); err != nil {
			return nil, errors.New("mcpoauth: client key: it is not a JWK")
		}
		signer, ok := jwk.Key.(crypto.Signer)
		if !ok {
			return nil, errors.New("mcpoauth: client key: the JWK is not a private key")
		}
		key, err := NewClientKey(signer, cmp.Or(id, jwk.KeyID), cmp.Or(algorithm, jwk.Algorithm))
		if err != nil {
			return nil, err
		}
		key.chosen = algorithm != ""
		return key, nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if strings.HasPrefix(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("mcpoauth: client key: it is encrypted; decrypt it first")
		}
		var key any
		var err error
		switch block.Type {
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, errors.New("mcpoauth: client key: the PEM block is damaged")
		}
		if signer, ok := key.(crypto.Signer); ok {
			return NewClientKey(signer, id, algorithm)
		}
		return nil, fmt.Errorf("mcpoauth: client key: a %T cannot sign", key)
	}
	return nil, errors.New("mcpoauth: client key: it is neither PEM nor a JWK with a private key")
}

// machine reports whether tokens are obtained without a person.
func (c *Client) machine() bool { return c.opts.Grant != nil && !c.device() }

// acquire obtains a token by the machine grant. The caller holds the refresh lock. before is the stored
// login, nil if there is none; its endpoints are used as they are, so that a restart asks no metadata.
func (c *Client) acquire(ctx context.Context, before *session, d *demand) (*session, error) {
	rec := &store.Record{}
	var scopes []string
	if before != nil && d == nil && c.sameMachine(before.rec) {
		*rec = *before.rec
		scopes = rec.RequestedScopes
	} else {
		f, err := c.discover(ctx, d)
		if err != nil {
			return nil, err
		}
		if err := c.checkKey(f); err != nil {
			return nil, err
		}
		w := want{}
		if d != nil && before != nil {
			w.scopes = d.scopes
		}
		scopes = c.scopesFor(ctx, f, w)
		if !slices.Contains(c.opts.Scopes, offlineAccess) {
			// It would bring a refresh token, which a machine does not need.
			scopes = slices.DeleteFunc(scopes, func(s string) bool { return s == offlineAccess })
		}
		*rec = store.Record{
			ServerURL: c.id, Profile: c.opts.Profile, ResourceOverride: c.opts.Resource, Resource: f.Resource, Issuer: f.Issuer,
			TokenEndpoint: f.Server.TokenEndpoint, RevocationEndpoint: f.Server.RevocationEndpoint, ServerMetadataURL: f.ServerMetadataURL, TokenMember: c.opts.TokenMember, BearerType: c.opts.AllowTokenType,
			Registration: store.Registration{Issuer: f.Issuer, ClientID: c.opts.ClientID, Source: sourcePreRegistered, AuthMethod: c.machineMethod(f)},
		}
		if rec.DPoPKey, err = c.newDPoPKey(ctx, f); err != nil {
			return nil, err
		}
	}
	rec.Grant, rec.RequestedScopes, rec.Scopes = c.opts.Grant.name(), scopes, scopes
	assertion, err := c.opts.Grant.assertion(ctx, c, asked{rec.Issuer, rec.TokenEndpoint, rec.Resource, scopes})
	var fault *wire.Fault
	var refused *TokenError
	var absent *DiscoveryError
	switch {
	case err == nil:
	case errors.As(err, &fault):
		return nil, c.acquireFailed(err)
	case errors.Is(err, ErrTemporary):
		c.backOff(0)
		return nil, err
	case errors.Is(err, ErrLoginRequired), errors.As(err, &refused), errors.As(err, &absent):
		return nil, err
	default:
		fact := Fact{Message: err.Error(), Err: err, Hint: "check where the assertion comes from"}
		var option *OptionError
		if errors.As(err, &option) {
			fact.Message, fact.Hint = "the assertion: "+option.Err.Error(), option.Hint
		}
		return nil, &TokenError{fact}
	}
	auth, err := c.boundAuth(&rec.Registration, rec.DPoPKey)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	tok, err := grant.Machine(ctx, c.http, grant.MachineRequest{
		Endpoint: rec.TokenEndpoint, Auth: auth, Type: rec.Grant, Assertion: secret.New(assertion),
		Resource: rec.Resource, Scopes: scopes, ScopeSeparator: c.opts.ScopeSeparator, Extra: c.opts.TokenParams, Format: c.dialect(rec),
	})
	if err != nil {
		return nil, c.acquireFailed(err)
	}
	c.notes(tok.Notes)
	applyToken(rec, tok)
	rec.RefreshToken = "" // RFC 6749 section 4.4.3: the credentials are as good
	c.mu.Lock()
	c.failures, c.notBefore = 0, time.Time{}
	c.mu.Unlock()
	return c.replace(ctx, rec)
}

// sameMachine reports whether rec was obtained with what the options say now.
func (c *Client) sameMachine(rec *store.Record) bool {
	return rec.Grant == c.opts.Grant.name() && rec.Registration.ClientID == c.opts.ClientID &&
		(c.opts.Scopes == nil || covers(rec.RequestedScopes, c.opts.Scopes))
}

// acquireFor obtains a token under the lock, as the server demands; nil is without a demand.
func (c *Client) acquireFor(ctx context.Context, d *demand) (*session, error) {
	what := "acquire"
	if d != nil {
		what += " " + strings.Join(d.scopes, " ")
	}
	return c.tokens.Do(ctx, what, func(ctx context.Context) (*session, error) {
		ctx, cancel := context.WithTimeout(ctx, lockWait+exchangeTimeout)
		defer cancel()
		_, unlock, err := c.store.Lock(ctx, c.key, refreshLock)
		if err != nil {
			return nil, storeError("lock", err)
		}
		defer func() { _ = unlock() }()
		s, err := c.look(ctx)
		if err != nil && !errors.Is(err, ErrLoginRequired) {
			return nil, err
		}
		return c.acquire(ctx, s, d)
	})
}

// machineMethod is how the client authenticates.
func (c *Client) machineMethod(f *facts) string {
	switch {
	case c.opts.ClientAuthMethod != "":
		return c.opts.ClientAuthMethod
	case c.opts.ClientKey != nil:
		return methodPrivateKey
	case c.opts.ClientSecret == "":
		return "none"
	}
	return c.fixedIdentity(f).reg.AuthMethod
}

// acquireFailed makes the error of a token request that a machine made. What the server refuses it
// refuses again: nobody is asked, and no other grant is tried.
func (c *Client) acquireFailed(err error) error {
	f := faultOf(err)
	if f.Temporary {
		c.backOff(f.RetryAfter)
		return publicError(f)
	}
	if f.Code != "" || f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden {
		f.Err = errors.Join(ErrAccessDenied, f.Err)
	}
	return publicError(f)
}

// clientAuth is how the client of r authenticates. A machine's secret and a key are not stored: they are
// those of the options.
func (c *Client) clientAuth(r *store.Registration) grant.ClientAuth {
	a := grant.ClientAuth{ID: r.ClientID, Secret: secret.New(r.ClientSecret), Method: r.AuthMethod}
	if a.ID != "" && a.ID == c.opts.ClientID && a.Secret.IsZero() {
		a.Secret = secret.New(c.opts.ClientSecret)
	}
	if k := c.opts.ClientKey; k != nil && r.AuthMethod == methodPrivateKey {
		a.Signer = k.signer
		if !k.AudienceTokenEndpoint {
			a.Audience = r.Issuer
		}
	}
	return a
}

const methodPrivateKey = "private_key_jwt"
