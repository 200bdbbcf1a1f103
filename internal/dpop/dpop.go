// Package dpop proves the possession of a key with each request, so that a stolen token that is bound to the key
// is useless without it (RFC 9449).
package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcpoauth/mcpoauth/internal/resource"
)

const (
	// TokenType is the type of tokens that are bound to a key, and the scheme that they are sent with.
	TokenType = "DPoP"
	// Header carries a proof.
	Header = "Dpop"
	// NonceHeader carries the nonce that the next proof must contain.
	NonceHeader = "Dpop-Nonce"
	// WantNonce is the error code that asks for a nonce (RFC 9449 sections 8 and 9).
	WantNonce = "use_dpop_nonce"

	// maxNonce bounds a nonce, bytes; maxOrigins for how many origins one is remembered.
	maxNonce   = 1 << 10
	maxOrigins = 16
)

// algorithms lists our signature algorithms, the preferred one first. Ed25519 is the newer name of EdDSA
// with that curve (RFC 9864).
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.ES384}

// ErrAlgorithms means that the server accepts none of our algorithms.
var ErrAlgorithms = errors.New("none of the algorithms that the server accepts for DPoP proofs is supported here: it should accept ES256")

// Key is the key of one login. It is safe for concurrent use.
type Key struct {
	jwk        jose.JSONWebKey
	signer     jose.Signer
	thumbprint string
}

// NewKey makes a key for an algorithm that is in each of the lists. An empty list is ignored.
func NewKey(lists ...[]string) (*Key, error) {
	for _, alg := range algorithms {
		fits := func(list []string) bool { return len(list) == 0 || slices.Contains(list, string(alg)) }
		if slices.ContainsFunc(lists, func(list []string) bool { return !fits(list) }) {
			continue
		}
		var private crypto.Signer
		var err error
		switch alg {
		case jose.EdDSA:
			_, private, err = ed25519.GenerateKey(rand.Reader)
		case jose.ES384:
			private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		default:
			private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
		if err != nil {
			return nil, err
		}
		return newKey(jose.JSONWebKey{Key: private, Algorithm: string(alg)})
	}
	return nil, ErrAlgorithms
}

// ParseKey parses the text that [Key.Text] returned.
func ParseKey(text string) (*Key, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON([]byte(text)); err != nil {
		return nil, errors.New("the DPoP key is damaged")
	}
	if _, ok := jwk.Key.(crypto.Signer); !ok || !slices.Contains(algorithms, jose.SignatureAlgorithm(jwk.Algorithm)) {
		return nil, errors.New("the DPoP key cannot sign")
	}
	return newKey(jwk)
}

func newKey(jwk jose.JSONWebKey) (*Key, error) {
	opts := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(jwk.Algorithm), Key: jwk.Key}, opts)
	if err != nil {
		return nil, err
	}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return &Key{jwk, signer, base64.RawURLEncoding.EncodeToString(sum)}, nil
}

// Text returns the private key as a JWK, for the record of the login.
func (k *Key) Text() (string, error) {
	b, err := k.jwk.MarshalJSON()
	return string(b), err
}

// Thumbprint is the key's (RFC 7638), the value of dpop_jkt (RFC 9449 section 10).
func (k *Key) Thumbprint() string { return k.thumbprint }

// Format keeps the key out of what is printed.
func (k *Key) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, "DPoP key "+k.thumbprint) }

// proof has the claims of RFC 9449 section 4.2.
type proof struct {
	ID     string `json:"jti"`
	Method string `json:"htm"`
	URL    string `json:"htu"`
	Issued int64  `json:"iat"`
	Hash   string `json:"ath,omitempty"`
	Nonce  string `json:"nonce,omitempty"`
}

// Proof proves the possession for one request. hash is the token's [Hash], "" where none is sent.
func (k *Key) Proof(method string, u *url.URL, hash, nonce string, now time.Time) (string, error) {
	claims, err := json.Marshal(proof{rand.Text(), method, target(u), now.Unix(), hash, nonce})
	if err != nil {
		return "", err
	}
	signed, err := k.signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// target is the URL of a request without query and fragment, normalized as servers compare it (RFC 9449
// section 4.3).
func target(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return resource.Origin(u) + path
}

// Hash is the ath of proofs that come with a token.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Nonces remembers the newest nonce of each origin. The zero value is ready; it is safe for concurrent use.
type Nonces struct {
	mu  sync.Mutex
	all map[string]string
}

// For returns the nonce to use in a request to u, "" if none is known.
func (n *Nonces) For(u *url.URL) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[resource.Origin(u)]
}

// Learn remembers the nonce of an answer from u, if it has one, and reports whether it differs from the one that
// was sent.
func (n *Nonces) Learn(u *url.URL, h http.Header, sent string) bool {
	values := h[NonceHeader]
	if len(values) != 1 || !wellFormed(values[0]) {
		return false
	}
	origin := resource.Origin(u)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all == nil {
		n.all = make(map[string]string)
	}
	if _, known := n.all[origin]; !known && len(n.all) >= maxOrigins {
		return false
	}
	n.all[origin] = values[0]
	return values[0] != sent
}

// wellFormed reports whether s is a nonce (RFC 9449 section 8.1: NQCHAR).
func wellFormed(s string) bool {
	bad := func(r rune) bool { return r <= 0x20 || r > 0x7e || r == '"' || r == '\\' }
	return s != "" && len(s) <= maxNonce && !strings.ContainsFunc(s, bad)
}

// Prover proves the possession of a login's key. Nil proves nothing.
type Prover struct {
	Key    *Key
	Nonces *Nonces
}

// Prove returns the proof for a request and the nonce in it.
func (p *Prover) Prove(method string, u *url.URL, hash string) (proof, nonce string, err error) {
	nonce = p.Nonces.For(u)
	proof, err = p.Key.Proof(method, u, hash, nonce, time.Now())
	return proof, nonce, err
}
