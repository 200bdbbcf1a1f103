package mcpoauth

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/browser"
	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// loginRequest is what a login is for. Two requests that differ are two logins.
type loginRequest struct {
	// force demands a login even if there is a usable one; newClient a new registration, too.
	force, newClient bool
	// scopes are needed beyond those that the login has.
	scopes []string
	// rejected is a token that the server rejects, "" if none was.
	rejected string
	// known is the token that the caller knew, "" if none. If another one is stored, a login was made since.
	known string
	// challenge is the server's demand, nil where none is at hand.
	challenge *challenge
}

// key distinguishes requests that one login may not serve.
func (r loginRequest) key() string {
	key := fmt.Sprintf("login %t %t %q %q", r.force, r.newClient, r.scopes, r.rejected)
	if c := r.challenge; c != nil {
		key += fmt.Sprintf(" %t %q", c.dpop, c.scopes)
		if c.required != nil {
			key += fmt.Sprintf(" %q", *c.required)
		}
	}
	return key
}

// settledBy reports whether the stored login satisfies the request, because it was made since or because it is valid
// and nothing more is demanded.
func (r loginRequest) settledBy(s *session) bool {
	switch {
	case r.force, !s.usable(time.Now()), s.access() == r.rejected, !covers(s.token.scopes, r.scopes):
		return false
	case r.challenge != nil && r.challenge.dpop && s.binding == nil:
		return false
	case s.access() != r.known:
		return true
	}
	return s.required == nil && r.rejected == "" && len(r.scopes) == 0
}

// loginPlan is a login that holds the login lock.
type loginPlan struct {
	request loginRequest
	// previous is the stored login, nil if there is no readable one; rev is its revision.
	previous *record.Login
	rev      store.Revision
	// deadline is when the wait for the person ends.
	deadline time.Time
	// push means that the authorization server wants the request to be pushed (RFC 9126), whatever its metadata says.
	push bool
	// replaces means that the login is made again, with a new client that nobody asked for.
	replaces bool
}

// authorizer makes one login and saves it. The caller holds the login lock.
type authorizer interface {
	authorize(ctx context.Context, plan loginPlan) (*session, error)
}

// personLogin is what the logins by a browser and by a code on another device have in common.
type personLogin struct {
	*network
	discover *discoverer
	registry *registrar
	tokens   *tokenClient
	logins   *loginStore
	// accept checks a token response beyond what all have in common; nil accepts it.
	accept acceptance
}

// attempt is one try of a login with a client. It reports which client it used, nil if it got none.
type attempt func(ctx context.Context, f *discovered, plan loginPlan) (*record.Login, *clientRegistration, error)

// authorize discovers the server, makes the login and saves it. A registration that the server turns out to have
// forgotten is replaced once.
func (p *personLogin) authorize(ctx context.Context, plan loginPlan, try attempt) (*session, error) {
	f, err := p.discover.discover(ctx, plan.request.challenge, plan.previous)
	if err == nil {
		err = p.registry.checkKey(f)
	}
	if err != nil {
		return nil, err
	}
	rec, client, err := try(ctx, f, plan)
	if err != nil && p.registry.replaceable(client, err) {
		p.trace.note(ctx, NoteRegistration, "the server does not know the stored client, or not for these scopes; registering a new one")
		plan.request.newClient, plan.replaces = true, true
		rec, client, err = try(ctx, f, plan)
	}
	if err != nil {
		return nil, err
	}
	s := p.logins.replace(ctx, rec, plan.rev)
	client.reg.AuthMethod, client.reg.ClientIDInBody = rec.Registration.AuthMethod, rec.Registration.ClientIDInBody
	p.registry.confirm(ctx, client)
	return s, nil
}

// need returns what a login needs of its client.
func (p *personLogin) need(f *discovered, plan loginPlan, redirectURI string) clientNeed {
	scopes := p.scopes(f, plan)
	return clientNeed{
		redirectURI: redirectURI, scopes: scopes, registered: p.set.registrable(scopes, plan.request.scopes),
		fresh: plan.request.newClient, unasked: plan.replaces, doubtful: plan.request.force,
	}
}

// scopes returns the scopes that a login requests.
func (p *personLogin) scopes(f *discovered, plan loginPlan) []string {
	return p.set.scopesFor(f, plan.request.scopes, plan.previous)
}

// stepUp returns what a person is told of the scopes that are asked for in addition.
func (p *personLogin) stepUp(f *discovered, plan loginPlan) (all, unpublished []string) {
	return p.set.stepUp(f, plan.request.scopes, plan.previous)
}

// begin makes the pending login and the authorization URL. From here on the login uses only the metadata that
// discovery found, even if the server's changes.
func (p *personLogin) begin(ctx context.Context, f *discovered, reg *record.Registration, need clientNeed, plan loginPlan) (*record.Pending, string, error) {
	p.set.rememberMethod(reg, plan.previous)
	if err := scopesNeeded(f, need.scopes); err != nil {
		return nil, "", err
	}
	verifier, codeChallenge := grant.NewVerifier()
	pending := &record.Pending{
		ID: grant.NewState(), State: grant.NewState(), Verifier: verifier.Reveal(), RedirectURI: need.redirectURI, CreatedAt: time.Now(),
		Login: *p.tokens.newRecord(f, reg, need.scopes),
	}
	pending.Login.PushInsisted = plan.push || plan.previous != nil && plan.previous.PushInsisted && plan.previous.Issuer == f.Issuer
	thumbprint, err := p.tokens.bindRecord(&pending.Login, f, plan.previous)
	if err != nil {
		return nil, "", err
	}
	r := grant.AuthorizationRequest{
		Endpoint: pending.Login.AuthorizationEndpoint, ClientID: reg.ClientID, RedirectURI: need.redirectURI, State: pending.State, Challenge: codeChallenge,
		Resource: pending.Login.Resource, Scopes: need.scopes, ScopeSeparator: string(p.set.scopes.Separator), KeyThumbprint: thumbprint,
		Extra: p.extra(f, pending),
	}
	if a := requirementFor(f, plan.previous); a != nil {
		r.ACRValues, r.MaxAge, r.Claims = a.ACRValues, a.MaxAge, a.Claims
	}
	if slices.Contains(need.scopes, offlineAccess) && !r.Extra.Has("prompt") && p.set.consent(f, plan.previous) {
		r.Prompt, pending.Login.ConsentPrompt = "consent", true
	}
	if r, err = p.push(ctx, f, pending, r, plan); err != nil {
		return nil, "", err
	}
	target, err := grant.AuthorizationURL(r)
	if err != nil {
		return nil, "", publicError(err)
	}
	if target, err = browser.Sanitize(target); err != nil {
		return nil, "", &Error{Op: OpAuthorization, URL: pending.Login.AuthorizationEndpoint, Message: "the authorization endpoint cannot be opened safely: " + err.Error(), Err: err}
	}
	return pending, target, nil
}

// extra returns the parameters of the authorization request that are not OAuth's own.
func (p *personLogin) extra(f *discovered, pending *record.Pending) url.Values {
	if p.discover.provider {
		return url.Values{"nonce": {nonceOf(pending.Verifier)}}
	}
	extra := cloneValues(p.set.server.AuthorizeParams)
	if extra == nil {
		extra = url.Values{}
	}
	for k, v := range f.parameters() {
		if !extra.Has(k) {
			extra.Set(k, v)
		}
	}
	if slices.Contains(pending.Login.RequestedScopes, openID) && !extra.Has("nonce") {
		pending.Nonce = nonceOf(pending.Verifier)
		extra.Set("nonce", pending.Nonce)
	}
	return extra
}

// finish checks the callback and exchanges the code. The state was compared when the callback was received.
func (p *personLogin) finish(ctx context.Context, pending *record.Pending, values url.Values) (*record.Login, error) {
	cb, err := grant.ParseCallback(values)
	if err != nil {
		return nil, publicError(err)
	}
	if !sameState(cb.State, pending.State) {
		return nil, &Error{Op: OpAuthorization, Message: "the callback belongs to another login"}
	}
	rec := pending.Login
	if rec.RequestedScopes == nil {
		rec.RequestedScopes = rec.Scopes
	}
	// Errors too count only if they come from the right issuer (RFC 9207 section 2.4).
	if err := cb.CheckIssuer(grant.ExpectedIssuer{Issuer: rec.Issuer, Also: cmp.Or(p.set.server.CallbackIssuer, rec.IssuerSpelling), Promised: rec.IssParameterPromised}); err != nil {
		return nil, publicError(err)
	}
	if cb.Error != "" {
		return nil, authorizationRefusal{p.set, &rec, pending.RedirectURI, cb.Error, cb.ErrorDescription}.err()
	}
	auth, err := p.tokens.auth(&rec)
	if err != nil {
		return nil, err
	}
	// The code can be used once: the exchange is finished even if the caller leaves.
	ctx, cancel := detached(ctx, exchangeTimeout)
	defer cancel()
	tok, auth, err := grant.ExchangeCode(ctx, p.guard(), grant.CodeRequest{
		Endpoint: rec.TokenEndpoint, Auth: auth, Code: cb.Code, Verifier: secret.New(pending.Verifier),
		RedirectURI: pending.RedirectURI, Resource: rec.Resource, Extra: p.set.server.TokenParams, Format: p.tokens.format(&rec),
	})
	if err != nil {
		return nil, publicError(err)
	}
	p.tokens.authenticated(ctx, &rec, auth)
	rec.Registration.Unanswered, rec.Registration.LoginUntil = false, time.Time{}
	if pending.Nonce != "" {
		if err := p.checkNonce(ctx, &rec, tok, pending.Nonce); err != nil {
			return nil, err
		}
	}
	return p.received(ctx, &rec, tok, nonceOf(pending.Verifier))
}

// received copies the token response of a login into its record.
func (p *personLogin) received(ctx context.Context, rec *record.Login, tok *wire.Token, nonce string) (*record.Login, error) {
	p.trace.notes(ctx, NoteTokenResponse, tok.Notes)
	applyToken(rec, tok)
	if p.accept != nil {
		if err := p.accept(rec, tok, nonce); err != nil {
			return nil, err
		}
	}
	if lacking := ungranted(rec); len(lacking) > 0 {
		p.trace.note(ctx, NoteFewerScopes, fmt.Sprintf("the server granted fewer scopes than requested: it left out %q", strings.Join(lacking, " ")))
	}
	if rec.RefreshToken == "" {
		text := "the server issued no refresh token: when the access token ends, a new login is needed"
		if hint := refreshHint(rec); hint != "" {
			text += "; " + hint
		}
		p.trace.note(ctx, NoteNoRefreshToken, text)
	}
	return rec, nil
}

func sameState(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

var errLoginTimeout = errors.New("the login took too long")

// timedOut returns err if ctx ended by the login's own limit, ctx's error otherwise.
func timedOut(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errLoginTimeout) {
		return err
	}
	return fmt.Errorf("mcpoauth: login: %w", ctx.Err())
}

// promptGrace is how long a login waits for its Prompt to return after the login has completed.
const promptGrace = time.Second

// prompting is a Prompt that was called.
type prompting struct {
	// result has its answer, once.
	result chan promptResult
	cancel context.CancelFunc
}

type promptResult struct {
	reply *LoginReply
	err   error
}

// show calls the Prompt in a goroutine.
func (p *personLogin) show(ctx context.Context, lp *LoginPrompt) *prompting {
	ctx, cancel := context.WithCancel(ctx)
	shown := &prompting{result: make(chan promptResult, 1), cancel: cancel}
	go func() { shown.result <- p.call(ctx, lp) }()
	return shown
}

// call calls the Prompt. A panic in it fails the login and not the program, as a panic in the rest of a login does.
func (p *personLogin) call(ctx context.Context, lp *LoginPrompt) (r promptResult) {
	defer func() {
		if v := recover(); v != nil {
			r.err = p.trace.panicked(ctx, v, debug.Stack())
		}
	}()
	r.reply, r.err = p.set.prompt(ctx, lp)
	return r
}

// end cancels the Prompt's context and waits a moment for it to return, so that it can remove what it shows. A Prompt
// that ignores its context does not hold the login.
func (s *prompting) end() {
	s.cancel()
	if s.result == nil {
		return
	}
	t := time.NewTimer(promptGrace)
	defer t.Stop()
	select {
	case <-s.result:
	case <-t.C:
	}
}
