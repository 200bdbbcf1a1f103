package proxy

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAHostAsksForTheLogin: one that takes addresses is asked to open the login's, and hears when it is over. What
// it answers is not the server's.
func TestAHostAsksForTheLogin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		capabilities, answer string
		action               string
		ok                   bool
	}{
		"accepted":                  {`{"elicitation":{"url":{}}}`, `"result":{"action":"accept"}`, "accept", true},
		"declined":                  {`{"elicitation":{"form":{},"url":{}}}`, `"result":{"action":"decline"}`, "decline", true},
		"a host that cannot, after": {`{"elicitation":{"url":{}}}`, `"error":{"code":-32601,"message":"no"}`, "", false},
		"a host with forms only":    {`{"elicitation":{"form":{}}}`, "", "", false},
		"an older host":             {`{"elicitation":{}}`, "", "", false},
		"a host without":            {`{}`, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := &far{loggedIn: true}
			var action string
			var ok bool
			o := Options{HTTP: f, Login: func(ctx context.Context, _ error) error {
				var done func()
				action, done, ok = AskHost(ctx, "server.example needs a login.", "https://as.example/authorize?state=a\"b")
				if ok {
					defer done()
				}
				if ok && action != "accept" {
					return errDenied
				}
				f.login(true)
				return nil
			}}
			bubble(t, o, func(t *testing.T, h *host) {
				h.send(strings.Replace(fmt.Sprintf(initRequest, old), `"capabilities":{}`, `"capabilities":`+tc.capabilities, 1))
				h.expect(fmt.Sprintf(initAnswer, old))
				h.send(initNotified)
				synctest.Wait()
				f.login(false)
				h.send(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}`)
				if tc.answer != "" {
					request := []byte(h.line())
					id := string(member(request, "id"))
					if unquote(member(request, "method")) != "elicitation/create" || unquote(member(member(request, "params"), "mode")) != "url" ||
						unquote(member(member(request, "params"), "url")) != `https://as.example/authorize?state=a"b` || unquote(member(member(request, "params"), "elicitationId")) == "" {
						t.Errorf("the host was asked %s", request)
					}
					for range 2 { // a host that says it twice
						h.send(`{"jsonrpc":"2.0","id":` + id + `,` + tc.answer + `}`)
					}
					if tc.ok {
						if note := []byte(h.line()); unquote(member(note, "method")) != "notifications/elicitation/complete" || unquote(member(member(note, "params"), "elicitationId")) != unquote(member(request, "id")) {
							t.Errorf("at the end the host heard %s", note)
						}
					}
				}
				if tc.action == "decline" {
					h.refused("7", "access_denied")
				} else {
					h.expect(`{"jsonrpc":"2.0","id":7,"result":{}}`)
				}
			})
			if action != tc.action || ok != tc.ok {
				t.Errorf("%q, %t", action, ok)
			}
			if strings.Contains(f.requests(), "POST") && tc.ok {
				t.Errorf("the server got the host's answer: %s", f.requests())
			}
		})
	}
	if _, _, ok := AskHost(t.Context(), "m", "u"); ok {
		t.Error("somebody was asked without a bridge")
	}
}

// TestALoginThatIsFasterThanTheHost: it is over before the host has said that the person has the address.
func TestALoginThatIsFasterThanTheHost(t *testing.T) {
	t.Parallel()
	f := &far{loggedIn: true}
	o := Options{HTTP: f, Login: func(ctx context.Context, _ error) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, _, ok := AskHost(ctx, "m", "https://as.example/authorize"); ok {
			t.Error("the host has answered")
		}
		f.login(true)
		return nil
	}}
	bubble(t, o, func(t *testing.T, h *host) {
		h.send(strings.Replace(fmt.Sprintf(initRequest, old), `"capabilities":{}`, `"capabilities":{"elicitation":{"url":{}}}`, 1))
		h.expect(fmt.Sprintf(initAnswer, old))
		h.send(initNotified)
		synctest.Wait()
		f.login(false)
		h.send(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}`)
		request := []byte(h.line())
		if note := []byte(h.line()); unquote(member(note, "method")) != "notifications/elicitation/complete" || unquote(member(member(note, "params"), "elicitationId")) != unquote(member(request, "id")) {
			t.Errorf("the host heard %s", note)
		}
		h.expect(`{"jsonrpc":"2.0","id":7,"result":{}}`)
		h.send(`{"jsonrpc":"2.0","id":` + string(member(request, "id")) + `,"result":{"action":"accept"}}`)
		synctest.Wait()
		h.nothing()
	})
}

// TestAHostIsNotAskedBeforeItsSession: it may not take requests before it sent notifications/initialized.
func TestAHostIsNotAskedBeforeItsSession(t *testing.T) {
	t.Parallel()
	f := &far{loggedIn: true}
	o := Options{HTTP: f, Login: func(ctx context.Context, _ error) error {
		if _, _, ok := AskHost(ctx, "m", "https://as.example/authorize"); ok {
			t.Error("the host was asked")
		}
		f.login(true)
		return nil
	}}
	bubble(t, o, func(t *testing.T, h *host) {
		h.send(strings.Replace(fmt.Sprintf(initRequest, old), `"capabilities":{}`, `"capabilities":{"elicitation":{"url":{}}}`, 1))
		h.expect(fmt.Sprintf(initAnswer, old))
		f.login(false)
		h.send(initNotified)
		synctest.Wait()
		h.nothing()
		h.send(`{"jsonrpc":"2.0","id":7,"method":"ping"}`)
		h.expect(`{"jsonrpc":"2.0","id":7,"result":{}}`)
	})
}
