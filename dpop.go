package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/challenge"
	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
)

// bindingKey makes the key for a new login's tokens, nil if they are not to be bound.
func (c *Client) bindingKey(ctx context.Context, f *facts) (*dpop.Key, error) {
	if c.opts.DPoP == Never {
		return nil, nil //nolint:nilnil // no key is an answer
	}
	wanted := c.opts.DPoP == Always || f.demand.dpop
	lists := [][]string{f.Server.DPoPSigningAlgValuesSupported, f.demand.dpopAlgs}
	if m := f.ResourceMetadata; m != nil {
		wanted = wanted || m.DPoPBoundAccessTokensRequired
		lists = append(lists, m.DPoPSigningAlgValuesSupported)
	}
	if !wanted {
		// Who could take that away could use a token that leaks.
		s := c.stored(ctx)
		wanted = s != nil && s.rec.DPoPKey != "" && s.rec.Issuer == f.Issuer
	}
	if !wanted {
		return nil, nil //nolint:nilnil // see above
	}
	key, err := dpop.NewKey(lists...)
	if errors.Is(err, dpop.ErrAlgorithms) {
		return nil, &Error{Op: OpAuthorization, URL: f.Issuer, Message: err.Error(), Err: err, Hint: "--dpop never (Options.DPoP) does without, where the server lets"}
	}
	if err != nil {
		return nil, fmt.Errorf("mcpoauth: %w", err)
	}
	return key, nil
}

// newDPoPKey makes a key as a record keeps it, "" if tokens are not to be bound.
func (c *Client) newDPoPKey(ctx context.Context, f *facts) (string, error) {
	k, err := c.bindingKey(ctx, f)
	if k == nil || err != nil {
		return "", err
	}
	return k.Text()
}

// boundAuth is how a client authenticates and proves the possession of the key, if there is one.
func (c *Client) boundAuth(r *record.Registration, key string) (grant.ClientAuth, error) {
	a := c.clientAuth(r)
	if key == "" {
		return a, nil
	}
	k, err := dpop.ParseKey(key)
	if err != nil {
		return a, &Error{Op: OpToken, URL: c.id, Message: err.Error(), Err: err, Hint: "log in again"}
	}
	a.Prover = &dpop.Prover{Key: k, Nonces: &c.nonces}
	return a, nil
}

// bind replaces a login whose tokens are not bound: the MCP server asks for bound ones only, and a refresh
// would bring another of the same kind.
func (c *Client) bind(ctx context.Context, d *demand, s *session) (*session, error) {
	if now, err := c.look(ctx); err == nil && now.binding != nil && now.usable(time.Now()) {
		return now, nil
	}
	if c.machine() {
		return c.acquireFor(ctx, d)
	}
	return c.loginFor(ctx, d, "the server asks for tokens that are bound to a key (DPoP)", s.rec.AccessToken)
}

// binding is what a session needs to send a token that is bound.
type binding struct {
	key *dpop.Key
	// hash is the token's.
	hash string
}

// sendBound sends a request with a token that is bound. Where the server asks for another nonce the request
// is repeated with that (RFC 9449 section 9): nothing was done.
func (c *Client) sendBound(base http.RoundTripper, r *http.Request, s *session, replay func() (io.ReadCloser, error)) (*http.Response, error) {
	prover := &dpop.Prover{Key: s.binding.key, Nonces: &c.nonces}
	for try := 0; ; try++ {
		proof, nonce, err := prover.Prove(r.Method, r.URL, s.binding.hash)
		if err != nil {
			closeBody(r)
			return nil, fmt.Errorf("mcpoauth: the DPoP proof cannot be signed: %w", err)
		}
		r.Header["Authorization"], r.Header[dpop.Header] = s.header, []string{proof}
		resp, err := c.sendOnce(base, r, "mcp")
		if err != nil {
			return nil, err
		}
		another := c.nonces.Learn(r.URL, resp.Header, nonce)
		if resp.StatusCode != http.StatusUnauthorized || !challenge.FindBearer(resp.Header).WantNonce {
			return resp, nil
		}
		discard(resp.Body)
		switch {
		case !another || try == maxNonces:
			return nil, &Error{
				Op:  OpToken,
				URL: c.id, Status: resp.StatusCode, Code: dpop.WantNonce, Message: "the MCP server asks for one DPoP nonce after the other",
				Hint: "the server is at fault; --dpop never (Never) does without at the next login, where it lets",
			}
		case replay == nil:
			return nil, &TemporaryError{Err: errors.New("the MCP server asks for another DPoP nonce, and the request's body cannot be sent again: repeat the request")}
		}
		if r, err = again(r, replay); err != nil {
			return nil, err
		}
		if try >= patience {
			// Others use up each nonce: let them pass, not all at the same time.
			select {
			case <-time.After(rand.N(nonceWait)): //nolint:gosec // not a secret
			case <-r.Context().Done():
				closeBody(r)
				return nil, r.Context().Err()
			}
		}
	}
}

const (
	// maxNonces is how often one request is repeated because of a nonce, patience how often at once, and nonceWait
	// the longest pause after that.
	maxNonces = 20
	patience  = 3
	nonceWait = 20 * time.Millisecond
)
