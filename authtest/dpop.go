package authtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// maxProofAge is how far the time in a proof may be off.
const maxProofAge = time.Minute

// proofKey is the public key in a proof; ES256 is all that is accepted.
type proofKey struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	Y     string `json:"y"`
	D     any    `json:"d"`
}

// proof is a DPoP proof, RFC 9449 section 4.2.
type proof struct {
	header struct {
		Type string    `json:"typ"`
		Alg  string    `json:"alg"`
		Key  *proofKey `json:"jwk"`
	}
	claims struct {
		ID     string  `json:"jti"`
		Method string  `json:"htm"`
		URL    string  `json:"htu"`
		Issued float64 `json:"iat"`
		Hash   string  `json:"ath"`
		Nonce  string  `json:"nonce"`
	}
}

// proven checks a request's proof, RFC 9449 section 4.3, and returns the thumbprint of its key. Without a
// proof that is "". token is what the proof comes with, "" for none. The caller holds the lock.
func (s *Server) proven(w http.ResponseWriter, r *http.Request, base, token string) (thumbprint, code, description string) {
	lines := r.Header["Dpop"]
	if len(lines) == 0 {
		return "", "", ""
	}
	bad := func(why string) (string, string, string) { return "", "invalid_dpop_proof", why }
	if len(lines) > 1 {
		return bad("there are several proofs")
	}
	p, thumbprint, err := parseProof(lines[0])
	if err != nil {
		return bad(err.Error())
	}
	sum := sha256.Sum256([]byte(token))
	switch hash := base64.RawURLEncoding.EncodeToString(sum[:]); {
	case p.claims.Method != r.Method:
		return bad("htm is another method")
	case p.claims.URL != base+r.URL.EscapedPath():
		return bad("htu is another URL: " + p.claims.URL)
	case s.now().Sub(time.Unix(int64(p.claims.Issued), 0)).Abs() > maxProofAge:
		return bad("iat is too far off")
	case token != "" && p.claims.Hash != hash:
		return bad("ath is not the token's")
	case token == "" && p.claims.Hash != "":
		return bad("ath belongs to no token")
	case p.claims.ID == "" || s.proofs[p.claims.ID]:
		return bad("jti was used before")
	}
	s.proofs[p.claims.ID] = true
	if !s.nonce(w, base, p.claims.Nonce) {
		return "", "use_dpop_nonce", "the nonce is missing or used up"
	}
	return thumbprint, "", ""
}

// nonce reports whether a nonce is good, and tells the next one where that is due. The caller holds the lock.
func (s *Server) nonce(w http.ResponseWriter, base, got string) bool {
	if s.faults.NonceUses == 0 {
		return true
	}
	n := s.nonces[base]
	if n == nil || n.left <= 0 {
		n = &nonce{value: "nonce-" + random(12), left: s.faults.NonceUses}
		s.nonces[base] = n
		w.Header().Set("DPoP-Nonce", n.value)
	}
	if got != n.value || s.faults.NonceLoop {
		if s.faults.NonceLoop {
			n.left = 0
		}
		w.Header().Set("DPoP-Nonce", n.value)
		return false
	}
	n.left--
	return true
}

// nonce is what proofs must contain at one of the servers, a number of times.
type nonce struct {
	value string
	left  int
}

func parseProof(text string) (*proof, string, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, "", fmt.Errorf("the proof is no JWS")
	}
	p := &proof{}
	for i, v := range []any{&p.header, &p.claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(raw, v)
		}
		if err != nil {
			return nil, "", fmt.Errorf("part %d of the proof cannot be read", i+1)
		}
	}
	k := p.header.Key
	switch {
	case p.header.Type != "dpop+jwt":
		return nil, "", fmt.Errorf("typ is not dpop+jwt")
	case p.header.Alg != "ES256" || k == nil || k.Type != "EC" || k.Curve != "P-256":
		return nil, "", fmt.Errorf("alg is not ES256, or the key is none for it")
	case k.D != nil:
		return nil, "", fmt.Errorf("the proof holds a private key")
	}
	x, errX := base64.RawURLEncoding.DecodeString(k.X)
	y, errY := base64.RawURLEncoding.DecodeString(k.Y)
	sig, errS := base64.RawURLEncoding.DecodeString(parts[2])
	if errX != nil || errY != nil || errS != nil || len(x) != 32 || len(y) != 32 || len(sig) != 64 {
		return nil, "", fmt.Errorf("the key or the signature has another length")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, "", fmt.Errorf("the key is not on the curve")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, "", fmt.Errorf("the signature is wrong")
	}
	// RFC 7638 section 3.
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, k.Curve, k.Type, k.X, k.Y))
	return p, base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
