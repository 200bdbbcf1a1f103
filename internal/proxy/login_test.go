package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestARequestWaitsForTheLogin(t *testing.T) {
	t.Parallel()
	f := &far{}
	var causes []error
	o := Options{HTTP: f, Login: func(_ context.Context, cause error) error {
		causes = append(causes, cause)
		time.Sleep(20 * time.Second)
		f.login(true)
		return nil
	}}
	bubble(t, o, func(t *testing.T, h *host) {
		began := time.Now()
		h.open(old)
		if d := time.Since(began); d != 20*time.Second {
			t.Errorf("it took %v", d)
		}
	})
	if len(causes) != 1 || !errors.Is(causes[0], errLogin) {
		t.Errorf("logins: %v", causes)
	}
}

func TestALoginThatTakesLongGoesOn(t *testing.T) {
	t.Parallel()
	f := &far{}
	logins := 0
	o := Options{HTTP: f, Login: func(context.Context, error) error {
		logins++
		time.Sleep(80 * time.Second)
		f.login(true)
		return nil
	}}
	bubble(t, o, func(t *testing.T, h *host) {
		for range 3 {
			began := time.Now()
			h.send(fmt.Sprintf(initRequest, old))
			r := h.refused("0", "login_pending")
			if d := time.Since(began); d != 25*time.Second || !strings.Contains(r.Error.Message, "mcpoauth login https://server.example/mcp") || strings.Contains(r.Error.Message, "secret") {
				t.Errorf("after %v: %+v", d, r)
			}
		}
		h.open(old)
	})
	if logins != 1 {
		t.Errorf("%d logins", logins)
	}
}

func TestManyRequestsOneLogin(t *testing.T) {
	t.Parallel()
	f := &far{loggedIn: true}
	logins := 0
	o := Options{HTTP: f, Login: func(context.Context, error) error {
		logins++
		time.Sleep(time.Second)
		f.login(true)
		return nil
	}}
	bubble(t, o, func(t *testing.T, h *host) {
		h.open(old)
		synctest.Wait()
		f.login(false)
		// A notification asks nobody.
		h.send(`{"jsonrpc":"2.0","method":"notifications/x"}`)
		synctest.Wait()
		if logins != 0 {
			t.Error("a notification began a login")
		}
		for i := range 20 {
			h.send(toolCall(i+1, "x"))
		}
		for range 20 {
			if l := h.line(); !strings.Contains(l, "result") {
				t.Error(l)
			}
		}
	})
	if logins != 1 {
		t.Errorf("%d logins", logins)
	}
}

func TestALoginThatFailedIsNotBegunAgainAtOnce(t *testing.T) {
	t.Parallel()
	f := &far{}
	logins := 0
	o := Options{HTTP: f, Login: func(context.Context, error) error {
		logins++
		return fmt.Errorf("%w: text of the server", errDenied)
	}}
	bubble(t, o, func(t *testing.T, h *host) {
		for range 5 {
			h.send(fmt.Sprintf(initRequest, old))
			if r := h.refused("0", "access_denied"); r.Error.Data.OAuthError != "access_denied" || strings.Contains(r.Error.Message, "text") {
				t.Errorf("%+v", r)
			}
		}
		if logins != 1 {
			t.Errorf("%d logins", logins)
		}
		time.Sleep(time.Minute)
		h.send(fmt.Sprintf(initRequest, old))
		h.refused("0", "access_denied")
		if logins != 2 {
			t.Errorf("%d logins after a pause", logins)
		}
	})
}

func TestALoginThatDoesNotHelpEnds(t *testing.T) {
	t.Parallel()
	f := &far{}
	logins := 0
	o := Options{HTTP: f, Login: func(context.Context, error) error { logins++; return nil }}
	bubble(t, o, func(t *testing.T, h *host) {
		h.send(fmt.Sprintf(initRequest, old))
		if r := h.refused("0", "login_required"); r.Error.Data.OAuthError != "invalid_grant" {
			t.Errorf("%+v", r)
		}
	})
	if logins != 2 {
		t.Errorf("%d logins", logins)
	}
}

func TestNobodyToAsk(t *testing.T) {
	t.Parallel()
	bubble(t, Options{HTTP: &far{}}, func(t *testing.T, h *host) {
		h.send(fmt.Sprintf(initRequest, old))
		if r := h.refused("0", "login_required"); !strings.Contains(r.Error.Message, "mcpoauth login https://server.example/mcp") || r.Error.Code != -31001 {
			t.Errorf("%+v", r)
		}
	})
}

func TestALoginEndsWithTheBridge(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	o := Options{HTTP: &far{}, Login: func(ctx context.Context, _ error) error {
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}}
	bubble(t, o, func(t *testing.T, h *host) {
		h.send(fmt.Sprintf(initRequest, old))
		synctest.Wait()
		began := time.Now()
		_ = h.in.Close()
		h.refused("0", "ending")
		<-ended
		h.close()
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

func TestAPanicInALoginIsAnError(t *testing.T) {
	t.Parallel()
	bubble(t, Options{HTTP: &far{}, Login: func(context.Context, error) error { panic("x") }}, func(t *testing.T, h *host) {
		h.send(fmt.Sprintf(initRequest, old))
		h.refused("0", "authorization_failed")
	})
}

func TestWhatAuthorizationSaysReachesNoModel(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{errOther: "authorization_failed", errDenied: "access_denied"} {
		bubble(t, Options{HTTP: &far{err: err}}, func(t *testing.T, h *host) {
			began := time.Now()
			h.send(fmt.Sprintf(initRequest, old))
			r := h.refused("0", want)
			if all := fmt.Sprint(r); strings.Contains(all, "secret") || strings.Contains(all, "instructions") || time.Since(began) != 0 {
				t.Errorf("%s after %v", all, time.Since(began))
			}
		})
	}
}

// TestAServerThatIsNeverContent: each login is for something new, and no person is asked for ever.
func TestAServerThatIsNeverContent(t *testing.T) {
	t.Parallel()
	f := &far{loggedIn: true}
	logins := 0
	o := Options{HTTP: f, Login: func(context.Context, error) error { logins++; return nil }}
	bubble(t, o, func(t *testing.T, h *host) {
		h.open(old)
		synctest.Wait()
		f.login(false)
		for i := range 20 {
			h.send(toolCall(i+1, "x"))
			h.refused(fmt.Sprint(i+1), "login_required")
		}
		if logins != maxLogins {
			t.Errorf("%d logins, want %d", logins, maxLogins)
		}
		// Some time later it may be for something else.
		time.Sleep(loginWindow + time.Second)
		h.send(toolCall(30, "x"))
		h.refused("30", "login_required")
		if logins <= maxLogins {
			t.Error("nobody is asked any more, ever")
		}
	})
}

// TestALoginThatFailedForNow is not repeated by the bridge: a person was asked for it.
func TestALoginThatFailedForNow(t *testing.T) {
	t.Parallel()
	f := &far{loggedIn: true}
	logins := 0
	o := Options{HTTP: f, Login: func(context.Context, error) error { logins++; return errLater }}
	bubble(t, o, func(t *testing.T, h *host) {
		h.open(old)
		synctest.Wait()
		f.login(false)
		began := time.Now()
		h.send(toolCall(5, "x"))
		h.refused("5", "temporary")
		if d := time.Since(began); d != 0 || logins != 1 {
			t.Errorf("%d logins, after %v", logins, d)
		}
	})
}
