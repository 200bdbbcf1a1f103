package mcpoauth

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/record"
)

// Trace holds hooks in the manner of net/http/httptrace. They are called synchronously, from any
// goroutine and from several at once, with the context of the call that caused the event, and must not block or call back into the
// Client. No event carries a secret.
type Trace struct {
	// Exchange is called after every HTTP exchange, OAuth and MCP alike.
	Exchange func(context.Context, Exchange)
	// Waiting is called when a call has waited for 200 ms for something that may take long.
	Waiting func(context.Context, Waiting)
	// LoggedIn is called after a login was saved.
	LoggedIn func(context.Context, LoginEvent)
	// Refreshed is called after a refresh. err is nil if it succeeded.
	Refreshed func(ctx context.Context, ev LoginEvent, err error)
	// LoginRequired is called when a stored login was found to have ended.
	LoginRequired func(ctx context.Context, ev LoginEvent, reason string)
	// SaveFailed is called when a token could not be saved. The token is used and the save is tried again.
	SaveFailed func(ctx context.Context, ev LoginEvent, err error)
	// Note is called with remarks, mostly on how the server deviates from its specifications.
	Note func(context.Context, Note)
}

// Leg is the part of the protocol that an [Exchange] belongs to.
type Leg string

// The legs of the protocol.
const (
	LegChallenge          Leg = "challenge"
	LegResourceMetadata   Leg = "resource-metadata"
	LegServerMetadata     Leg = "server-metadata"
	LegClientMetadata     Leg = "client-metadata"
	LegRegistration       Leg = "registration"
	LegRegistrationChange Leg = "registration-change"
	LegPAR                Leg = "par"
	LegDevice             Leg = "device"
	LegToken              Leg = "token"
	LegRefresh            Leg = "refresh"
	LegRevocation         Leg = "revocation"
	LegClientDeletion     Leg = "client-deletion"
	LegMCP                Leg = "mcp"
)

// Exchange is one HTTP exchange.
type Exchange struct {
	// ServerURL and Profile identify the login that it was made for.
	ServerURL, Profile string
	// Leg is the part of the protocol.
	Leg Leg
	// Method and URL of the request. The URL has no query.
	Method, URL string
	// Status is the response's, 0 without one.
	Status int
	// Err is why there was no response, nil if there was one.
	Err error
	// Start is when the exchange began, Duration how long it took.
	Start    time.Time
	Duration time.Duration
	// Note is a remark on the exchange. It may be empty.
	Note string
}

// WaitReason is what a call waits for.
type WaitReason string

const (
	// WaitLogin is a person who logs in.
	WaitLogin WaitReason = "login"
	// WaitLoginElsewhere is a login in another process.
	WaitLoginElsewhere WaitReason = "login-elsewhere"
	// WaitRefreshElsewhere is a refresh in another process.
	WaitRefreshElsewhere WaitReason = "refresh-elsewhere"
)

// Waiting is a call that waits.
type Waiting struct {
	// ServerURL and Profile identify the login.
	ServerURL, Profile string
	// For is the reason.
	For WaitReason
	// Deadline is when the wait ends; the zero time if it has no limit of its own.
	Deadline time.Time
}

// NoteCode says what a [Note] is about. Texts may change; codes do not.
type NoteCode string

const (
	// NoteMetadata is about the server's metadata.
	NoteMetadata NoteCode = "metadata"
	// NoteTokenResponse is about a token response.
	NoteTokenResponse NoteCode = "token-response"
	// NoteRegistration is about the client's registration.
	NoteRegistration NoteCode = "registration"
	// NoteAuthorization is about the authorization request.
	NoteAuthorization NoteCode = "authorization"
	// NoteFewerScopes means that the server granted fewer scopes than were requested.
	NoteFewerScopes NoteCode = "fewer-scopes"
	// NoteNoRefreshToken means that the server issued no refresh token.
	NoteNoRefreshToken NoteCode = "no-refresh-token"
	// NoteClientAuthentication means that the server authenticates the client in another way than was tried first.
	NoteClientAuthentication NoteCode = "client-authentication"
	// NoteResourceRefused means that a refresh succeeded only without the resource indicator.
	NoteResourceRefused NoteCode = "resource-refused"
	// NoteEndpointMoved means that an endpoint is at another address than the login's record says.
	NoteEndpointMoved NoteCode = "endpoint-moved"
	// NoteRenewal means that a token could not be renewed early.
	NoteRenewal NoteCode = "renewal"
	// NoteStore is about the store.
	NoteStore NoteCode = "store"
)

// Note is a remark. It is not the reason why a call fails.
type Note struct {
	// ServerURL and Profile identify the login.
	ServerURL, Profile string
	// Code is what it is about.
	Code NoteCode
	// Text is for people: one line, cleaned.
	Text string
}

// LoginEvent identifies a login and, where there is one, its token's expiry.
type LoginEvent struct {
	// ServerURL and Profile identify the login.
	ServerURL, Profile string
	// Issuer is its authorization server.
	Issuer string
	// Expiry is when the access token expires; the zero time is unknown.
	Expiry time.Time
	// Scopes are those granted.
	Scopes []string
}

// tracer reports events of one login to the hooks and the log. It never fails.
type tracer struct {
	hooks           *Trace
	log             *slog.Logger
	server, profile string
}

// internalError is the error of a call in which something panicked.
type internalError struct{}

func (internalError) Error() string { return "internal error" }
func (internalError) HintText() string {
	return "the log at level debug says what happened: --log-level debug (Options.Logger)"
}

// panicked logs a panic and returns the error that stands for it: its value and its stack may hold secrets.
func (t *tracer) panicked(ctx context.Context, value any, stack []byte) error {
	t.log.DebugContext(ctx, "internal error", "server", t.server, "panic", fmt.Sprint(value), "stack", string(stack))
	return fmt.Errorf("mcpoauth: %w", internalError{})
}

func (t *tracer) event(rec *record.Login) LoginEvent {
	ev := LoginEvent{ServerURL: t.server, Profile: t.profile}
	if rec != nil {
		ev.Issuer, ev.Expiry, ev.Scopes = rec.Issuer, rec.Expiry, slices.Clone(rec.Scopes)
	}
	return ev
}

func (t *tracer) exchange(ctx context.Context, e netguard.Exchange) {
	t.log.DebugContext(ctx, "exchange", "leg", e.Leg, "method", e.Method, "url", e.URL, "status", e.Status, "took", e.Duration, "note", e.Note, "err", e.Err)
	if t.hooks.Exchange != nil {
		t.hooks.Exchange(ctx, Exchange{
			ServerURL: t.server, Profile: t.profile, Leg: Leg(e.Leg), Method: e.Method, URL: e.URL,
			Status: e.Status, Err: e.Err, Start: e.Start, Duration: e.Duration, Note: e.Note,
		})
	}
}

func (t *tracer) note(ctx context.Context, code NoteCode, text string) {
	t.log.InfoContext(ctx, "note", "server", t.server, "code", string(code), "text", text)
	if t.hooks.Note != nil {
		t.hooks.Note(ctx, Note{ServerURL: t.server, Profile: t.profile, Code: code, Text: text})
	}
}

func (t *tracer) notes(ctx context.Context, code NoteCode, texts []string) {
	for _, text := range texts {
		t.note(ctx, code, text)
	}
}

// waiting arranges that the hook is called if a wait lasts. The returned function ends the wait.
func (t *tracer) waiting(ctx context.Context, reason WaitReason, deadline time.Time) (stop func()) {
	if t.hooks.Waiting == nil {
		return func() {}
	}
	timer := time.AfterFunc(200*time.Millisecond, func() {
		t.hooks.Waiting(ctx, Waiting{ServerURL: t.server, Profile: t.profile, For: reason, Deadline: deadline})
	})
	return func() { timer.Stop() }
}

func (t *tracer) loggedIn(ctx context.Context, rec *record.Login) {
	if t.hooks.LoggedIn != nil {
		t.hooks.LoggedIn(ctx, t.event(rec))
	}
}

func (t *tracer) refreshed(ctx context.Context, rec *record.Login, err error) {
	if t.hooks.Refreshed != nil {
		t.hooks.Refreshed(ctx, t.event(rec), err)
	}
}

func (t *tracer) loginRequired(ctx context.Context, rec *record.Login, reason string) {
	if t.hooks.LoginRequired != nil {
		t.hooks.LoginRequired(ctx, t.event(rec), reason)
	}
}

func (t *tracer) saveFailed(ctx context.Context, rec *record.Login, err error) {
	t.log.ErrorContext(ctx, "the token could not be saved", "server", t.server, "err", err)
	if t.hooks.SaveFailed != nil {
		t.hooks.SaveFailed(ctx, t.event(rec), err)
	}
}
