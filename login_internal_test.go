package mcpoauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

// fakeAuthorizer makes logins as the test wants.
type fakeAuthorizer struct {
	plans []loginPlan
	make  func(ctx context.Context, plan loginPlan) (*session, error)
}

func (a *fakeAuthorizer) authorize(ctx context.Context, plan loginPlan) (*session, error) {
	a.plans = append(a.plans, plan)
	return a.make(ctx, plan)
}

func someone(context.Context, *LoginPrompt) (*LoginReply, error) { return nil, nil }

// newFakeLogin returns a Client with a person, whose logins are made by the returned authorizer.
func newFakeLogin(t *testing.T, st store.Store) (*Client, *fakeAuthorizer) {
	t.Helper()
	c := plainClient(t, Options{Store: st, Prompt: someone, LoginTimeout: time.Minute})
	a := &fakeAuthorizer{make: func(context.Context, loginPlan) (*session, error) { return heldSession("made"), nil }}
	c.login.authorizer = a
	return c, a
}

// TestALoginsTurn: it is made once nothing stored serves, and ends what was noted of failures before.
func TestALoginsTurn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		load    error
		request loginRequest
		made    bool
		known   bool // the stored login is known to the plan
		err     error
	}{
		"nothing is stored":   {load: store.ErrNotFound, made: true},
		"damaged":             {load: &store.CorruptError{Err: errDisk}, made: true},
		"unreadable":          {load: errDisk, err: errDisk},
		"one that serves":     {request: loginRequest{known: "older"}},
		"one that does not":   {request: loginRequest{force: true}, made: true, known: true},
		"one that is refused": {request: loginRequest{rejected: "a", known: "a"}, made: true, known: true},
	} {
		st := newScripted()
		_, login := newLogin(t, st)
		c, a := newFakeLogin(t, st)
		events := 0
		c.trace.hooks = &Trace{LoggedIn: func(_ context.Context, ev LoginEvent) {
			events++
			if ev.Issuer != testIssuer || len(ev.Scopes) != 1 || ev.Expiry.IsZero() {
				t.Errorf("%s: %+v", name, ev)
			}
		}}
		c.refresher.pause.Fail(0)
		if _, err := c.login.journal.begin(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		if tc.load != nil {
			st.load = always(tc.load)
		}
		_, err := c.login.login(t.Context(), tc.request)
		st.load = nil
		if !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) || (len(a.plans) == 1) != tc.made {
			t.Errorf("%s: %v, %d logins", name, err, len(a.plans))
			continue
		}
		if tc.made && (a.plans[0].previous != nil) != tc.known || tc.known && a.plans[0].rev != login.rev {
			t.Errorf("%s: the plan is %+v", name, a.plans[0])
		}
		_, _, err = st.Load(t.Context(), c.login.journal.key())
		if cleared := errors.Is(err, store.ErrNotFound); cleared != tc.made || (c.refresher.pause.Wait() == 0) != tc.made || (events == 1) != tc.made {
			t.Errorf("%s: cleared %t, a pause of %v, %d events", name, cleared, c.refresher.pause.Wait(), events)
		}
	}
}

// TestALoginWithoutAPerson is required, and not begun.
func TestALoginWithoutAPerson(t *testing.T) {
	t.Parallel()
	c := plainClient(t, Options{})
	if _, err := c.login.login(t.Context(), loginRequest{}); !errors.Is(err, ErrLoginRequired) || !strings.Contains(err.Error(), "no prompt is configured") {
		t.Errorf("got %v", err)
	}
}

// TestHowLongALoginWaits for another one's turn, and for the person.
func TestHowLongALoginWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := newScripted()
		c, a := newFakeLogin(t, st)
		_, unlock, err := st.Store.Lock(t.Context(), c.store.key, "login")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = c.login.login(t.Context(), loginRequest{})
		if !errors.Is(err, ErrTemporary) || !strings.Contains(err.Error(), "another process is logging in") || time.Since(start) != time.Minute || len(a.plans) != 0 {
			t.Errorf("another's turn: %v after %v", err, time.Since(start))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.login.login(short, loginRequest{}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrTemporary) {
			t.Errorf("the caller leaves: %v", err)
		}
		synctest.Wait()
		if err := unlock(); err != nil {
			t.Fatal(err)
		}
		a.make = func(ctx context.Context, plan loginPlan) (*session, error) {
			if time.Until(plan.deadline) != time.Minute {
				t.Errorf("it may take %v", time.Until(plan.deadline))
			}
			<-ctx.Done()
			return nil, timedOut(ctx, errDisk)
		}
		start = time.Now()
		if _, err := c.login.login(t.Context(), loginRequest{}); !errors.Is(err, errDisk) || time.Since(start) != time.Minute || strings.Contains(err.Error(), "another process") {
			t.Errorf("its own turn: %v after %v", err, time.Since(start))
		}
		a.make = func(context.Context, loginPlan) (*session, error) { return nil, errDisk }
		if _, err := c.login.login(t.Context(), loginRequest{}); !errors.Is(err, errDisk) {
			t.Errorf("a failure: %v", err)
		}
		st.lock = always(errDisk)
		if _, err := c.login.login(t.Context(), loginRequest{}); !errors.Is(err, errDisk) || errors.Is(err, ErrTemporary) {
			t.Errorf("no lock: %v", err)
		}
	})
}

// TestWhenAMachineStartsAnew: whenever its settings, or what the server demands, are not those of the stored token.
func TestWhenAMachineStartsAnew(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		o       func(*Options)
		change  func(*record.Login)
		request tokenRequest
		anew    bool
	}{
		"as before":             {},
		"rejected":              {request: tokenRequest{rejected: "a"}},
		"scopes are demanded":   {request: tokenRequest{scopes: []string{"write"}}, anew: true},
		"a challenge":           {request: tokenRequest{challenge: &challenge{}}, anew: true},
		"another grant":         {change: func(r *record.Login) { r.Grant = "" }, anew: true},
		"another client":        {change: func(r *record.Login) { r.Registration.ClientID = "d" }, anew: true},
		"another issuer":        {o: func(o *Options) { o.Server.Issuer = "https://b.example.com" }, anew: true},
		"scopes that it asked":  {o: func(o *Options) { o.Scopes.Request = []string{"read"} }},
		"other scopes":          {o: func(o *Options) { o.Scopes.Request = []string{"write"} }, anew: true},
		"bound tokens":          {o: func(o *Options) { o.DPoP = Always }, anew: true},
		"the platform's client": {o: func(o *Options) { o.Grant, o.Client = WorkloadIdentity{Assertion: AssertionEnv("X")}, ClientOptions{} }, anew: true},
	} {
		looks := 0
		o := Options{Grant: ClientCredentials{}, Client: ClientOptions{ID: "c", Secret: "s"}, Network: NetworkOptions{HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			looks++
			return nil, errors.New("away")
		})}}}
		if tc.o != nil {
			tc.o(&o)
		}
		c := plainClient(t, o)
		rec := givenLogin(func(r *record.Login) {
			r.Grant, r.RequestedScopes, r.Scopes, r.RefreshToken = "client_credentials", []string{"read"}, []string{"granted"}, ""
			if tc.change != nil {
				tc.change(r)
			}
		})
		m, ok := c.refresher.source.(*machineSource)
		if !ok {
			t.Fatalf("%s: a %T", name, c.refresher.source)
		}
		got, err := m.plan(t.Context(), &stored{rec: rec}, tc.request)
		if (err != nil) != tc.anew || (looks > 0) != tc.anew {
			t.Errorf("%s: %v, %d looks", name, err, looks)
		}
		if err == nil && (got.Grant != "client_credentials" || strings.Join(got.Scopes, " ") != "read") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, tc := range map[string]struct {
		client ClientOptions
		want   AuthMethod
	}{
		"a secret": {ClientOptions{ID: "c", Secret: "s"}, AuthMethodBasic}, "a key": {ClientOptions{ID: "c", Key: newTestKey(t)}, AuthMethodPrivateKeyJWT},
		"a method": {ClientOptions{ID: "c", Secret: "s", Key: newTestKey(t), AuthMethod: AuthMethodPost}, AuthMethodPost}, "nothing": {ClientOptions{ID: "c"}, AuthMethodNone},
	} {
		c := plainClient(t, Options{Client: tc.client})
		if got := c.machine(noAssertion).method(&discovered{Result: resultOf(testIssuer)}); got != string(tc.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestWhatAGateDoes with a refusal, beyond what decide says.
func TestWhatAGateDoes(t *testing.T) {
	t.Parallel()
	refused := &LoginRequiredError{Reason: "refused"}
	newGate := func(t *testing.T, o Options) (*Client, *fakeAuthorizer, *session) {
		t.Helper()
		st := newScripted()
		o.Store = st
		c := plainClient(t, o)
		rec := givenLogin(func(r *record.Login) {
			r.ServerURL, r.TokenType, r.IssuedAt, r.Expiry = c.ServerURL(), "Bearer", time.Now(), time.Now().Add(time.Hour)
			if o.Grant != nil {
				r.Grant = o.Grant.grantType()
			}
		})
		s := c.store.replace(t.Context(), rec, 0)
		a := &fakeAuthorizer{make: func(context.Context, loginPlan) (*session, error) { return heldSession("made"), nil }}
		c.login.authorizer = a
		c.refresher.source = &fakeSource{answer: func(*stored) (*record.Login, error) { return nil, &endedError{reason: refused.Reason, noted: true} }}
		return c, a, s
	}
	unauthorized := func(s *session) refusal {
		return refusal{status: http.StatusUnauthorized, challenge: &challenge{bearer: true}, sent: s}
	}

	c, a, s := newGate(t, Options{Prompt: someone})
	if o, err := c.overcome(t.Context(), unauthorized(s)); err != nil || o.next.access() != "made" || !o.obtained || len(a.plans) != 1 {
		t.Errorf("a person: %+v, %v", o, err)
	}
	c, a, s = newGate(t, Options{})
	if _, err := c.overcome(t.Context(), unauthorized(s)); !errors.Is(err, ErrLoginRequired) || len(a.plans) != 0 {
		t.Errorf("nobody: %v", err)
	}
	c, a, s = newGate(t, Options{Prompt: someone, Grant: ClientCredentials{}, Client: ClientOptions{ID: "c", Secret: "s"}})
	if _, err := c.overcome(t.Context(), unauthorized(s)); !errors.Is(err, ErrLoginRequired) || len(a.plans) != 0 {
		t.Errorf("a machine asks nobody: %v, %d logins", err, len(a.plans))
	}
	// What the server demands is tried once.
	c, a, s = newGate(t, Options{Prompt: someone})
	demand := refusal{status: http.StatusForbidden, challenge: forbiddenScope, sent: s}
	if _, err := c.overcome(t.Context(), demand); err != nil || len(a.plans) != 1 {
		t.Errorf("a demand: %v, %d logins", err, len(a.plans))
	}
	_, err := c.overcome(t.Context(), demand)
	if e, ok := errors.AsType[*ScopeError](err); !ok || !e.Asked || len(a.plans) != 1 {
		t.Errorf("the same demand: %v, %d logins", err, len(a.plans))
	}
	c.accepted()
	if _, err := c.overcome(t.Context(), demand); err != nil || len(a.plans) != 2 {
		t.Errorf("after a success: %v, %d logins", err, len(a.plans))
	}
	// A login that finds no OAuth: the response is the caller's, unless a token was refused.
	c, a, s = newGate(t, Options{Prompt: someone})
	a.make = func(context.Context, loginPlan) (*session, error) { return nil, &Error{Err: ErrNoOAuth} }
	if _, err := c.overcome(t.Context(), unauthorized(s)); !errors.Is(err, ErrNoOAuth) {
		t.Errorf("no OAuth any more: %v", err)
	}
	if err := c.store.store.Delete(t.Context(), c.store.key, 0); err != nil {
		t.Fatal(err)
	}
	if o, err := c.overcome(t.Context(), refusal{status: http.StatusUnauthorized, challenge: &challenge{}}); err != nil || o.next != nil {
		t.Errorf("no OAuth: %+v, %v", o, err)
	}
	// What is not about the token is not looked up.
	c, _, s = newGate(t, Options{})
	c.store.store.(guardedStore).Store.(*scripted).load = func() error { t.Error("the store is read"); return nil }
	if o, err := c.overcome(t.Context(), refusal{status: http.StatusForbidden, challenge: &challenge{}, sent: s}); err != nil || o.next != nil {
		t.Errorf("forbidden: %+v, %v", o, err)
	}
	// A store that cannot be read is no reason to be silent about what is missing.
	c, _, s = newGate(t, Options{})
	if err := c.store.store.Delete(t.Context(), c.store.key, 0); err != nil {
		t.Fatal(err)
	}
	required := refusal{status: http.StatusUnauthorized, challenge: &challenge{bearer: true, dpop: true}, sent: s}
	if _, err := c.overcome(t.Context(), required); !errors.Is(err, ErrLoginRequired) {
		t.Errorf("logged out: %v", err)
	}
}

// TestABareRefusalIsRemembered for a minute: no OAuth is looked for meanwhile.
func TestABareRefusalIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		c := plainClient(t, Options{Network: NetworkOptions{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			looks++
			return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})}}})
		bare := refusal{status: http.StatusUnauthorized, challenge: &challenge{}, reason: "not logged in"}
		for range 3 {
			if o, err := c.overcome(t.Context(), bare); err != nil || o.next != nil {
				t.Errorf("%+v, %v", o, err)
			}
		}
		first := looks
		if first == 0 {
			t.Error("no OAuth was looked for")
		}
		time.Sleep(time.Minute - time.Nanosecond)
		if _, err := c.overcome(t.Context(), bare); err != nil || looks != first {
			t.Errorf("%v, %d looks more", err, looks-first)
		}
		time.Sleep(time.Nanosecond)
		if _, err := c.overcome(t.Context(), bare); err != nil || looks == first {
			t.Errorf("after a minute: %v, %d looks more", err, looks-first)
		}
		// A challenge says that there is some.
		if _, err := c.overcome(t.Context(), refusal{status: http.StatusUnauthorized, challenge: &challenge{bearer: true}, reason: "not logged in"}); !errors.Is(err, ErrLoginRequired) {
			t.Errorf("a challenge: %v", err)
		}
	})
}
