package mcpoauth

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
)

// gate has the parts of a Client that a Transport needs.
type gate struct {
	*network
	logins  *loginStore
	refresh *refresher
	// login asks a person.
	login    *coordinator
	discover *discoverer
	nonces   *dpop.Nonces
	provider bool

	closed atomic.Bool
	// rejections spaces attempts while the server rejects new tokens. unprotected spaces discovery after a 401
	// without a challenge.
	rejections, unprotected cooldown
	steps                   stepBudget
	cookies                 cookieJar
}

// outcome is how a refusal was overcome.
type outcome struct {
	// next is the session to send, nil if the response is the caller's.
	next *session
	// obtained means that next was obtained for this request.
	obtained bool
}

// overcome decides what follows a refusal and does it. It is the only caller of decide.
func (g *gate) overcome(ctx context.Context, r refusal) (outcome, error) {
	r.now = time.Now()
	if r.sent != nil && !r.final() {
		var err error
		if r.stored, err = g.logins.reload(ctx); err != nil {
			r.reason = "not logged in"
			if required, ok := errors.AsType[*LoginRequiredError](err); ok {
				r.reason = required.Reason
			}
		}
	}
	if r.redirect && r.obtained {
		g.rejections.Fail(0) // the token is not what the redirect is about
	}
	can := g.abilities()
	a := decide(r, can)
	if a.kind == renewToken && g.steps.take(a.once) {
		s, err := g.refresh.renew(ctx, a.token)
		required, ok := errors.AsType[*LoginRequiredError](err)
		if !ok || can.nonInteractive && !can.provider {
			return outcome{s, true}, err
		}
		a = r.afterRenewal(can, required)
		a.once = ""
	} else if a.kind == renewToken {
		return outcome{}, a.exhausted
	}
	return g.perform(ctx, r, a)
}

func (g *gate) abilities() abilities {
	return abilities{
		server: g.trace.server, profile: g.trace.profile, person: g.set.prompt != nil, nonInteractive: g.set.nonInteractive(), provider: g.provider,
		bind: g.set.dpop != Never, fixedClient: g.set.client.ID != "", cooling: g.rejections.Wait(),
	}
}

// perform carries out a decision, other than to renew.
func (g *gate) perform(ctx context.Context, r refusal, a action) (outcome, error) {
	switch a.kind {
	case passThrough, renewToken:
		return outcome{}, nil
	case useStored:
		return outcome{next: r.stored}, nil
	case suspectServer:
		return g.suspect(ctx, r)
	case logIn, fail:
	}
	if a.ifOffered && g.unoffered(ctx, r, a) {
		return outcome{}, nil
	}
	if a.kind == fail {
		if a.require != nil {
			g.logins.require(ctx, r.sent.access(), a.require)
		}
		return outcome{}, a.err
	}
	if !g.steps.take(a.once) {
		return outcome{}, a.exhausted
	}
	s, err := g.login.login(ctx, a.login)
	if errors.Is(err, ErrNoOAuth) && a.login.rejected == "" {
		return outcome{}, nil
	}
	return outcome{s, true}, err
}

// unoffered reports whether a server that sent a 401 without a challenge offers no OAuth. That is remembered for a
// minute. If a person can be asked, the discovery of the login finds out instead.
func (g *gate) unoffered(ctx context.Context, r refusal, a action) bool {
	if g.unprotected.Wait() > 0 {
		return true
	}
	if a.kind == logIn || g.discover.offered(ctx, r.challenge) {
		return false
	}
	g.unprotected.Fail(0)
	return true
}

// suspect handles a server that refuses a token that was just issued for it: either it has moved to another
// authorization server, or it is at fault.
func (g *gate) suspect(ctx context.Context, r refusal) (outcome, error) {
	if r.now.Sub(r.sent.issuedAt) < time.Minute {
		g.rejections.Fail(0)
	}
	if r.sent.issuer != "" {
		if f, err := g.discover.discover(ctx, r.challenge, nil); err == nil && f.Issuer != r.sent.issuer {
			can := g.abilities()
			can.cooling = 0 // the next token is another server's
			return g.perform(ctx, r, r.loginFor(can, "the server has moved to another authorization server"))
		}
	}
	return outcome{}, rejectedNew(g.trace.server, r.status, r.challenge)
}

// accepted resets the cooldown and the budget after the server has accepted a token.
func (g *gate) accepted() {
	g.rejections.Reset()
	g.steps.reset()
}

const (
	// maxSteps is how often a login is tried for one demand of the server. maxStepSets is how many different demands
	// are tried, so that a server that demands another scope each time cannot ask for logins without end.
	maxSteps    = 1
	maxStepSets = 5
)

// stepBudget counts the logins that were tried for what a server demands.
type stepBudget struct {
	mu    sync.Mutex
	tried map[string]int
}

// take reports whether a login for a demand may be tried: once for each demand, and for a limited number of demands.
// "" is not limited.
func (b *stepBudget) take(demand string) bool {
	if demand == "" {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tried[demand] >= maxSteps || len(b.tried) >= maxStepSets && b.tried[demand] == 0 {
		return false
	}
	if b.tried == nil {
		b.tried = make(map[string]int)
	}
	b.tried[demand]++
	return true
}

func (b *stepBudget) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tried = nil
}
