package mcpoauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/challenge"
	"github.com/mcpoauth/mcpoauth/internal/record"
)

const (
	// needsAuthentication is the error code of RFC 9470 section 3, needsClaims Microsoft's for the same.
	needsAuthentication = "insufficient_user_authentication"
	needsClaims         = "insufficient_claims"
	// maxAsked bounds what a challenge may ask of a login, bytes: it becomes part of a URL.
	maxAsked = 2 << 10
	// maxStepUps is how often a login is tried for one set of scopes, maxStepUpSets how many such
	// sets a Client tries: a server that asks for a new scope each time ends there.
	maxStepUps    = 1
	maxStepUpSets = 5
)

// wantedBy reads what a challenge asks of the person's login, nil if it is nothing, or nothing that can be
// asked for.
func wantedBy(b *challenge.Bearer) *record.Authentication {
	if b.Error != needsAuthentication && b.Error != needsClaims {
		return nil
	}
	a := &record.Authentication{ACRValues: strings.Join(strings.Fields(b.ACRValues), " "), MaxAge: b.MaxAge, Claims: claimsJSON(b.Claims)}
	if len(a.ACRValues) > maxAsked || strings.ContainsFunc(a.ACRValues, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		a.ACRValues = ""
	}
	if len(a.MaxAge) > 10 || strings.Trim(a.MaxAge, "0123456789") != "" {
		a.MaxAge = ""
	}
	if *a == (record.Authentication{}) {
		return nil
	}
	return a
}

// claimsJSON returns the claims of a challenge as JSON: they come as that, or in base64. "" if they are
// neither.
func claimsJSON(s string) string {
	if len(s) > maxAsked {
		return ""
	}
	raw := []byte(s)
	if !strings.HasPrefix(s, "{") {
		var err error
		s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
		if raw, err = base64.RawStdEncoding.DecodeString(s); err != nil {
			return ""
		}
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || len(object) == 0 {
		return ""
	}
	clean, err := json.Marshal(object)
	if err != nil {
		return ""
	}
	return string(clean)
}

// describe says what is asked for, for a person.
func describe(a *record.Authentication) string {
	var parts []string
	if a.ACRValues != "" {
		parts = append(parts, fmt.Sprintf("of the kind %q", a.ACRValues))
	}
	if a.MaxAge != "" {
		parts = append(parts, "not older than "+a.MaxAge+" seconds")
	}
	if a.Claims != "" {
		parts = append(parts, "that meets its conditions")
	}
	return strings.Join(parts, ", ")
}

// authenticateAgain logs in as the server asks of the person (RFC 9470 section 4): a refresh would bring the
// same again. Where nobody may be asked it is noted for the next login.
func (c *Client) authenticateAgain(ctx context.Context, d *demand, s *session) (*session, error) {
	reason := "the server asks for a login " + describe(d.wanted)
	if c.machine() && c.idp == nil {
		return nil, &Error{Op: OpAuthorization, URL: c.id, Code: d.code, Description: d.description, Message: "the server asks for a person's login, and this is a machine's", Err: ErrAccessDenied, Hint: "ask its owner to allow this client without"}
	}
	if now, err := c.look(ctx); err == nil {
		if now.rec.AccessToken != s.rec.AccessToken && now.usable(time.Now()) {
			return now, nil
		}
		s = now
	}
	if c.opts.Prompt == nil {
		if s.rec.Wanted == nil || *s.rec.Wanted != *d.wanted {
			c.noteWanted(ctx, s, d.wanted)
		}
		return nil, c.loginRequired(reason, nil)
	}
	if !c.firstStep("login " + describe(d.wanted) + d.wanted.Claims) {
		return nil, c.stillWanted(d)
	}
	return c.joinLogin(ctx, want{challenge: d, force: true, refused: s.rec.AccessToken}, nil)
}

// stillWanted is the error of a server that is not content with the login that it asked for.
func (c *Client) stillWanted(d *demand) error {
	return &Error{
		Op:  OpAuthorization,
		URL: c.id, Code: d.code, Description: d.description, Message: "the server still asks for a login " + describe(d.wanted) + ", after one",
		Hint: "the authorization server may not be able to give it: ask the server's owner which account or second factor it expects",
	}
}

// noteWanted keeps what the next login must ask for, whichever process makes it.
func (c *Client) noteWanted(ctx context.Context, s *session, a *record.Authentication) {
	rec := *s.rec
	rec.Wanted = a
	next, err := c.save(ctx, &rec, s.rev)
	if err != nil {
		c.log.Warn("what the server asks of the next login could not be noted", "server", c.id, "err", err)
		return
	}
	c.current.CompareAndSwap(s, newSession(&rec, next))
}

// stepUp logs in for the scopes that a 403 asks for (MCP authorization, step-up authorization
// flow). A refresh would bring the same scopes again.
func (c *Client) stepUp(ctx context.Context, d *demand, s *session) (*session, error) {
	if s == nil {
		return c.loginFor(ctx, d, "not logged in", "")
	}
	if now, err := c.look(ctx); err == nil && now.rec.AccessToken != s.rec.AccessToken && covers(now.rec.Scopes, d.scopes) && now.usable(time.Now()) {
		return now, nil
	}
	lacking := missing(s.rec.Scopes, d.scopes)
	if c.opts.Prompt == nil && !c.machine() {
		return nil, &ScopeError{ServerURL: c.id, Missing: lacking}
	}
	set := slices.Sorted(slices.Values(d.scopes))
	if !c.firstStep(strings.Join(set, " ")) {
		return nil, &ScopeError{ServerURL: c.id, Missing: d.scopes, Asked: true}
	}
	if c.machine() {
		return c.acquireFor(ctx, d)
	}
	return c.joinLogin(ctx, want{scopes: d.scopes, challenge: d, force: true, refused: s.rec.AccessToken}, nil)
}

// firstStep reports whether a login for what a server asks may be tried: once for each thing, and not for too
// many.
func (c *Client) firstStep(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stepUps[what] >= maxStepUps || len(c.stepUps) >= maxStepUpSets && c.stepUps[what] == 0 {
		return false
	}
	if c.stepUps == nil {
		c.stepUps = make(map[string]int)
	}
	c.stepUps[what]++
	return true
}

// wanted is what a login must ask for: what the challenge says, or what was noted before.
func (c *Client) wanted(ctx context.Context, f *facts) *record.Authentication {
	if f.demand.wanted != nil {
		return f.demand.wanted
	}
	if s := c.stored(ctx); s != nil && s.rec.Issuer == f.Issuer {
		return s.rec.Wanted
	}
	return nil
}
