package mcpoauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/grant"
	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

// TestWhichRefusalsMayPass.
func TestWhichRefusalsMayPass(t *testing.T) {
	t.Parallel()
	for _, f := range []*wire.Fault{
		{Temporary: true}, {Code: "temporarily_unavailable", Status: 400}, {Code: "server_error", Status: 400}, {Code: "slow_down", Status: 400}, {Status: 408}, {Status: 425}, {Status: 429},
	} {
		if !temporaryRefusal(f) {
			t.Errorf("%+v ends a login", f)
		}
	}
	for _, f := range []*wire.Fault{{}, {Status: 400, Code: "invalid_grant"}, {Status: 401}, {Status: 403}, {Status: 404}, {Status: 410}, {Status: 200}} {
		if temporaryRefusal(f) {
			t.Errorf("%+v passes", f)
		}
	}
}

// TestWhichRefusalsAreOfTheResource.
func TestWhichRefusalsAreOfTheResource(t *testing.T) {
	t.Parallel()
	const resource = "https://mcp.example.com/mcp"
	target := &wire.Fault{Code: "invalid_target"}
	for name, tc := range map[string]struct {
		o    Options
		rec  record.Login
		err  error
		want bool
	}{
		"it says so":             {Options{}, record.Login{Resource: resource}, target, true},
		"it hints":               {Options{}, record.Login{Resource: resource}, &wire.Fault{Code: "invalid_request", Description: "Resource is not known"}, true},
		"another parameter":      {Options{}, record.Login{Resource: resource}, &wire.Fault{Code: "invalid_request", Description: "no scope"}, false},
		"another code":           {Options{}, record.Login{Resource: resource}, &wire.Fault{Code: "invalid_grant", Description: "resource"}, false},
		"no error":               {Options{}, record.Login{Resource: resource}, nil, false},
		"none was sent":          {Options{}, record.Login{}, target, false},
		"none was sent any more": {Options{}, record.Login{Resource: resource, NoRefreshResource: true}, target, false},
		"the person's":           {Options{Server: ServerOptions{Resource: resource}}, record.Login{Resource: resource}, target, false},
	} {
		s := &refreshSource{tokens: &plainClient(t, tc.o).tokens}
		if s.resourceRefused(&tc.rec, tc.err) != tc.want {
			t.Errorf("%s", name)
		}
	}
}

// TestWhichEndpointsMayHaveMoved: only one that is gone is looked for again, at an issuer that is known.
func TestWhichEndpointsMayHaveMoved(t *testing.T) {
	t.Parallel()
	endpoints := Options{Server: ServerOptions{Endpoints: Endpoints{Token: "https://a/t", Authorization: "https://a/a"}}}
	for name, tc := range map[string]struct {
		o     Options
		rec   record.Login
		err   error
		looks bool
	}{
		"gone":            {Options{}, record.Login{Issuer: testIssuer}, &wire.Fault{Status: 404}, true},
		"gone for good":   {Options{}, record.Login{Issuer: testIssuer}, &wire.Fault{Status: 410}, true},
		"no method":       {Options{}, record.Login{Issuer: testIssuer}, &wire.Fault{Status: 405}, true},
		"a code":          {Options{}, record.Login{Issuer: testIssuer}, &wire.Fault{Status: 404, Code: "invalid_grant"}, false},
		"another status":  {Options{}, record.Login{Issuer: testIssuer}, &wire.Fault{Status: 400}, false},
		"no error":        {Options{}, record.Login{Issuer: testIssuer}, nil, false},
		"no issuer":       {Options{}, record.Login{}, &wire.Fault{Status: 404}, false},
		"given endpoints": {endpoints, record.Login{Issuer: testIssuer}, &wire.Fault{Status: 404}, false},
	} {
		requests := 0
		tc.o.Network.HTTPClient = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			requests++
			return nil, errors.New("away")
		})}
		c := plainClient(t, tc.o)
		s := &refreshSource{tokens: &c.tokens, discover: &c.discoverer}
		if moved := s.movedEndpoint(t.Context(), &tc.rec, tc.err); moved != nil || (requests > 0) != tc.looks {
			t.Errorf("%s: %v, %d requests", name, moved, requests)
		}
	}
}

// TestWhatAFailedRefreshMeans for the login.
func TestWhatAFailedRefreshMeans(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err       error
		posts     int
		source    RegistrationSource
		reason    string // of the end, "" if it goes on
		temporary bool
		paused    bool
		forgotten bool
	}{
		"the token":                 {err: &wire.Fault{Status: 400, Code: "invalid_grant"}, posts: 1, reason: "no longer accepts the refresh token"},
		"the token, after a loss":   {err: &wire.Fault{Status: 400, Code: "invalid_grant"}, posts: 2, reason: "an earlier refresh was lost"},
		"the client":                {err: &wire.Fault{Status: 401, Code: "invalid_client"}, posts: 1, source: SourceDynamic, reason: "no longer accepts this client", forgotten: true},
		"the imported client":       {err: &wire.Fault{Status: 401, Code: "unauthorized_client"}, posts: 1, source: SourceImported, reason: "no longer accepts this client", forgotten: true},
		"the person's client":       {err: &wire.Fault{Status: 401, Code: "invalid_client"}, posts: 1, source: SourcePreRegistered, reason: "no longer accepts this client"},
		"a document's client":       {err: &wire.Fault{Status: 401, Code: "unauthorized_client"}, posts: 1, source: SourceMetadataDocument, reason: "no longer accepts this client"},
		"another code":              {err: &wire.Fault{Status: 400, Code: "invalid_scope", Description: "no"}, posts: 1, reason: `refused to refresh the login: invalid_scope: it says "no"`},
		"no code":                   {err: &wire.Fault{Status: 403}, posts: 1, reason: "refused to refresh the login"},
		"the key":                   {err: grant.ErrNotBound, posts: 1, reason: "no longer binds tokens"},
		"trouble":                   {err: &wire.Fault{Status: 503, Temporary: true}, posts: 1, temporary: true, paused: true},
		"trouble with a code":       {err: &wire.Fault{Status: 400, Code: "server_error"}, posts: 1, temporary: true, paused: true},
		"a rate limit":              {err: &wire.Fault{Status: 429}, posts: 1, temporary: true, paused: true},
		"a success without a token": {err: &wire.Fault{Status: 200}, posts: 1, paused: true},
	} {
		st := newScripted()
		c, login := newLogin(t, st, func(r *record.Login) {
			r.Registration.Source, r.Registration.RedirectURI = string(tc.source), "http://127.0.0.1/callback"
		})
		reg := login.rec.Registration
		c.registrar.save(t.Context(), &clientRegistration{reg: &reg, key: c.registrar.keyOf(reg.Issuer, reg.RedirectURI)})
		s := c.refresher.source.(*refreshSource)
		if _, err := s.journal.begin(t.Context(), login.rec.RefreshToken); err != nil {
			t.Fatal(err)
		}
		err := s.failed(t.Context(), login.rec, &journalEntry{Posts: tc.posts}, tc.err)
		ended, ok := errors.AsType[*endedError](err)
		if ok != (tc.reason != "") || ok && (!strings.Contains(ended.reason, tc.reason) || ended.noted || ended.digest != c.set.refusalDigest(login.rec)) {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, ErrTemporary) != tc.temporary || (c.refresher.pause.Wait() > 0) != tc.paused {
			t.Errorf("%s: %v, a pause of %v", name, err, c.refresher.pause.Wait())
		}
		if _, _, err := c.registrar.load(t.Context(), c.registrar.keyOf(reg.Issuer, reg.RedirectURI)); errors.Is(err, store.ErrNotFound) != tc.forgotten {
			t.Errorf("%s: the registration: %v", name, err)
		}
		if _, _, err := st.Load(t.Context(), s.journal.key()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: the post is still counted: %v", name, err)
		}
	}
}

// TestWhatIsNotPresented: a login that is over, one of another grant, and one whose client's secret has expired.
func TestWhatIsNotPresented(t *testing.T) {
	t.Parallel()
	past := time.Now().Add(-time.Second)
	for name, tc := range map[string]struct {
		o      Options
		change func(*record.Login)
		posted bool
		noted  bool
	}{
		"in order":                    {Options{}, func(*record.Login) {}, true, false},
		"over":                        {Options{}, func(r *record.Login) { r.LoginRequired = "over" }, false, true},
		"no refresh token":            {Options{}, func(r *record.Login) { r.RefreshToken = "" }, false, true},
		"another grant":               {Options{}, func(r *record.Login) { r.Grant = "client_credentials" }, false, false},
		"an expired secret":           {Options{}, func(r *record.Login) { r.Registration.SecretExpiry = past }, false, false},
		"a secret that is good":       {Options{}, func(r *record.Login) { r.Registration.SecretExpiry = past.Add(time.Hour) }, true, false},
		"an expired one, another now": {Options{Client: ClientOptions{ID: "c", Secret: "new"}}, func(r *record.Login) { r.Registration.SecretExpiry = past }, true, false},
	} {
		posts := 0
		tc.o.Network.HTTPClient = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			posts++
			return nil, errors.New("away")
		})}
		c := plainClient(t, tc.o)
		rec := givenLogin(func(r *record.Login) { r.ServerURL = c.ServerURL(); tc.change(r) })
		c.store.replace(t.Context(), rec, 0)
		st, err := c.store.load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.refresher.source.next(t.Context(), st, tokenRequest{})
		ended, ok := errors.AsType[*endedError](err)
		if (posts == 1) != tc.posted || ok && ended.noted != tc.noted || !tc.posted && !ok && !errors.Is(err, errNotConfigured) || errors.Is(err, errNotConfigured) != (name == "another grant") {
			t.Errorf("%s: %d posts, %v", name, posts, err)
		}
	}
}

// TestWhatARefresherTells: each outcome is an event, once.
func TestWhatARefresherTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, source := newFakeRefresher(t)
		var events []error
		var notes []NoteCode
		r.logins.trace.hooks = &Trace{
			Refreshed: func(_ context.Context, ev LoginEvent, err error) {
				if ev.Issuer != testIssuer {
					t.Errorf("the event is of %q", ev.Issuer)
				}
				events = append(events, err)
			},
			Note: func(_ context.Context, n Note) { notes = append(notes, n.Code) },
		}
		if _, err := r.renew(t.Context(), tokenRequest{rejected: "first"}); err != nil || len(events) != 1 || events[0] != nil {
			t.Errorf("a success: %v, %v", err, events)
		}
		answer := source.answer
		source.answer = func(*stored) (*record.Login, error) { return nil, errDisk }
		if _, err := r.renew(t.Context(), tokenRequest{rejected: "first+"}); !errors.Is(err, errDisk) || len(events) != 2 || !errors.Is(events[1], errDisk) {
			t.Errorf("a failure: %v, %v", err, events)
		}
		if s, err := r.ensure(t.Context(), 2*time.Hour); err != nil || s.access() != "first+" || len(notes) != 1 || notes[0] != NoteRenewal {
			t.Errorf("early: %v, %v", err, notes)
		}
		source.answer = func(*stored) (*record.Login, error) { return nil, errNotConfigured }
		if _, err := r.renew(t.Context(), tokenRequest{rejected: "first+"}); !errors.Is(err, ErrLoginRequired) || len(events) != 3 {
			t.Errorf("another grant: %v, %v", err, events)
		}
		source.answer = func(p *stored) (*record.Login, error) {
			if err := r.logins.store.Delete(t.Context(), r.logins.key, 0); err != nil {
				t.Error(err)
			}
			return answer(p)
		}
		if _, err := r.renew(t.Context(), tokenRequest{rejected: "first+"}); !errors.Is(err, ErrLoginRequired) || !strings.Contains(err.Error(), errForgotten.Error()) || len(events) != 3 {
			t.Errorf("logged out meanwhile: %v, %v", err, events)
		}
		if _, err := r.renew(t.Context(), tokenRequest{}); !errors.Is(err, ErrLoginRequired) || !strings.Contains(err.Error(), "not logged in") {
			t.Errorf("not logged in: %v", err)
		}
	})
}

// TestTheEndThatARefreshFinds is noted once, in what is known of the login now, unless another process has renewed it.
func TestTheEndThatARefreshFinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, source := newFakeRefresher(t)
		var events []error
		r.logins.trace.hooks = &Trace{Refreshed: func(_ context.Context, _ LoginEvent, err error) { events = append(events, err) }}
		refused := &endedError{reason: "refused", cause: errDisk}
		meanwhile := func(change func(*record.Login)) {
			source.answer = func(p *stored) (*record.Login, error) {
				rec := *p.rec
				change(&rec)
				if _, err := r.logins.save(t.Context(), &rec, p.rev); err != nil {
					t.Error(err)
				}
				return nil, refused
			}
		}
		meanwhile(func(rec *record.Login) { rec.RefreshToken, rec.AccessToken = "r2", "theirs" })
		if s, err := r.renew(t.Context(), tokenRequest{rejected: "first"}); err != nil || s.access() != "theirs" || len(events) != 1 {
			t.Errorf("renewed elsewhere: %v, %v", err, events)
		}
		meanwhile(func(rec *record.Login) {
			rec.RefreshToken, rec.AccessToken, rec.IssuedAt, rec.Expiry = "r3", "over", time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
		})
		if _, err := r.renew(t.Context(), tokenRequest{rejected: "theirs"}); !errors.Is(err, ErrLoginRequired) {
			t.Errorf("renewed elsewhere, and over: %v", err)
		}
		source.answer = func(p *stored) (*record.Login, error) {
			rec := *p.rec
			rec.IDToken = "rotated"
			return nil, &endedError{reason: "it is over", rec: &rec, cause: errDisk}
		}
		if _, err := r.renew(t.Context(), tokenRequest{rejected: "over"}); !errors.Is(err, ErrLoginRequired) || !errors.Is(err, errDisk) {
			t.Errorf("over: %v", err)
		}
		if rec := r.logins.previous(t.Context()); rec.LoginRequired != "it is over" || rec.IDToken != "rotated" {
			t.Errorf("stored: %q, %q", rec.LoginRequired, rec.IDToken)
		}
		before := mustRevision(t, r.logins.store, r.logins.key)
		source.answer = func(*stored) (*record.Login, error) { return nil, &endedError{reason: "noted", noted: true} }
		if _, err := r.renew(t.Context(), tokenRequest{rejected: "over"}); !errors.Is(err, ErrLoginRequired) || mustRevision(t, r.logins.store, r.logins.key) != before {
			t.Errorf("noted before: %v", err)
		}
	})
}

// TestARefusalThatNobodyExplains ends a login whose token still looks good.
func TestARefusalThatNobodyExplains(t *testing.T) {
	r, source := newFakeRefresher(t)
	source.answer = func(*stored) (*record.Login, error) { return nil, &endedError{reason: "refused", cause: errDisk} }
	if s, err := r.renew(t.Context(), tokenRequest{rejected: "first"}); !errors.Is(err, ErrLoginRequired) || s != nil {
		t.Errorf("%v, %v", s, err)
	}
	if rec := r.logins.previous(t.Context()); rec.LoginRequired != "refused" {
		t.Errorf("stored: %q", rec.LoginRequired)
	}
}
