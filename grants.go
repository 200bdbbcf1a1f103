package mcpoauth

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcpoauth/mcpoauth/internal/grant"
)

// Grant is a way to obtain tokens other than the authorization code grant. [ClientCredentials], [WorkloadIdentity]
// and [EnterpriseManaged] need no person at the MCP server's authorization server: [Client.Token] and requests obtain
// a token, store it, and obtain the next one when it expires. [DeviceCode] is a login without a browser on this
// machine.
type Grant interface {
	// grantType is the grant_type of the token request; records keep it.
	grantType() string
}

// ClientCredentials is the client credentials grant (RFC 6749 section 4.4; MCP extension
// io.modelcontextprotocol/oauth-client-credentials). [ClientOptions.ID] and [ClientOptions.Secret] or
// [ClientOptions.Key] are the credentials.
type ClientCredentials struct{}

func (ClientCredentials) grantType() string { return grant.TypeClientCredentials }

// WorkloadIdentity is the JWT bearer grant (RFC 7523 section 2.1, SEP-1933): the program presents a token that its
// platform issued to it. [ClientOptions.ID] may be empty.
type WorkloadIdentity struct {
	// Assertion returns the platform's token. It is called for each token request. It must not be nil.
	Assertion AssertionSource
	// Audience is the audience that the token must have. Empty is the authorization server's issuer or its token
	// endpoint. A token for another audience is not sent, since its receiver could use it there.
	Audience string
}

func (WorkloadIdentity) grantType() string { return grant.TypeJWTBearer }

// EnterpriseManaged is enterprise-managed authorization (SEP-990): a company's identity provider says which MCP
// servers its people may use. The person's ID token is exchanged there for a grant (ID-JAG, RFC 8693), which the MCP
// server's authorization server accepts for a token (RFC 7523). [ClientOptions.ID] and its secret or key are the
// client at that server. It prints without its secret.
//
// The person logs in at the identity provider once, by [Options.Prompt]: that login is stored, renewed, and shared by
// all MCP servers whose logins name the same Issuer, so that none of them needs a login of its own.
type EnterpriseManaged struct {
	// Issuer is the identity provider's (OpenID Connect). It may be empty if IDToken and TokenEndpoint are given.
	Issuer string
	// ClientID and ClientSecret are the client there. Without a secret it is a public client.
	ClientID     string
	ClientSecret string
	// IDToken returns the person's ID token, with ClientID as its audience, if another program logs in at the
	// identity provider. It is called for each token request. If it is nil, this Client logs in there.
	IDToken AssertionSource
	// TokenEndpoint is the identity provider's, for IDToken. Empty reads it from the provider's metadata.
	TokenEndpoint string
}

func (EnterpriseManaged) grantType() string { return grant.TypeJWTBearer }

// DeviceCode is the device authorization grant (RFC 8628), for programs on machines without any browser: the person
// opens an address on another device and enters a code there. [Options.Prompt] shows both ([LoginPrompt.UserCode]). The
// login is refreshed like any other.
type DeviceCode struct{}

func (DeviceCode) grantType() string { return grant.TypeDeviceCode }

// ClientKey is a private key that a client authenticates with (private_key_jwt, RFC 7523 section 2.2). It prints
// without the key.
type ClientKey struct {
	signer *grant.Signer
	// chosen means that the caller has chosen the algorithm.
	chosen bool
	// AudienceTokenEndpoint names the token endpoint as the audience of assertions instead of the issuer, for
	// servers that insist on it.
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

// NewClientKey returns the key that signer signs with; it may be in a KMS or a TPM. id is its kid, "" for none. An
// empty algorithm is the usual one for the key: ES256 (ES384, ES512), RS256 or EdDSA; an RSA key can sign with PS256,
// PS384 and PS512 too. If a server's metadata lists algorithms without the usual one, nothing is sent and the error
// is an [OptionError]; an algorithm that is given here is used in any case.
func NewClientKey(signer crypto.Signer, id, algorithm string) (*ClientKey, error) {
	s, err := grant.NewSigner(signer, id, algorithm)
	if err != nil {
		return nil, fmt.Errorf("mcpoauth: client key: %w", err)
	}
	return &ClientKey{signer: s, chosen: algorithm != ""}, nil
}

// ParseClientKey reads a private key in PEM (PKCS #8, PKCS #1 or SEC 1) or a JWK (RFC 7517), whose kid and alg are
// used if id and algorithm are empty. The key must not be encrypted.
func ParseClientKey(data []byte, id, algorithm string) (*ClientKey, error) {
	if strings.HasPrefix(strings.TrimSpace(string(data)), "{") {
		return parseJWK(data, id, algorithm)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		signer, err := parsePEM(block)
		if err != nil {
			return nil, err
		}
		return NewClientKey(signer, id, algorithm)
	}
	return nil, errors.New("mcpoauth: client key: it is neither PEM nor a JWK with a private key")
}

func parseJWK(data []byte, id, algorithm string) (*ClientKey, error) {
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

func parsePEM(block *pem.Block) (crypto.Signer, error) {
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
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("mcpoauth: client key: a %T cannot sign", key)
	}
	return signer, nil
}
