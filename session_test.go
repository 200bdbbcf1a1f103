package mcpoauth

import (
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/dpop"
	"github.com/mcpoauth/mcpoauth/internal/record"
)

// TestTheLifeOfASession: it counts as expired a little before its end, is renewed ahead of that, and is used for a second
// whatever the server says.
func TestTheLifeOfASession(t *testing.T) {
	t.Parallel()
	issued := time.Now()
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		life, until       time.Duration
		earliest, latest  time.Duration // of the renewal; 0 is none
		unissued, endless bool
	}{
		"an hour":              {life: time.Hour, until: time.Hour - time.Second, earliest: time.Hour - 72*time.Second, latest: time.Hour - time.Minute},
		"a day":                {life: day, until: day - time.Second, earliest: day - 72*time.Second, latest: day - time.Minute},
		"half a minute":        {life: 30 * time.Second, until: 29 * time.Second, earliest: 26400 * time.Millisecond, latest: 27 * time.Second},
		"ten seconds":          {life: 10 * time.Second, until: 9500 * time.Millisecond, earliest: 8800 * time.Millisecond, latest: 9 * time.Second},
		"nothing":              {life: 0, until: time.Second},
		"less than nothing":    {life: -time.Hour, until: time.Second},
		"half a second":        {life: 500 * time.Millisecond, until: time.Second, earliest: 440 * time.Millisecond, latest: 450 * time.Millisecond},
		"nobody knows since":   {life: time.Hour, until: time.Hour, unissued: true},
		"over, and since when": {life: -time.Hour, until: -time.Hour, unissued: true},
		"no end":               {endless: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 20 { // the renewal is spread at random
				s := heldSession("a", func(r *record.Login) {
					r.IssuedAt, r.Expiry = issued, issued.Add(tc.life)
					if tc.unissued {
						r.IssuedAt = time.Time{}
					}
					if tc.endless {
						r.Expiry = time.Time{}
					}
				})
				if tc.endless {
					if !s.until.IsZero() || !s.renewAt.IsZero() || !s.usable(issued.Add(100*day)) || s.due(issued.Add(100*day)) || !s.lasts(issued, 100*day) {
						t.Fatalf("it ends: %v, %v", s.until, s.renewAt)
					}
					continue
				}
				if got := s.until.Sub(issued); got != tc.until {
					t.Fatalf("usable for %v, want %v", got, tc.until)
				}
				if tc.latest == 0 {
					if !s.renewAt.IsZero() || s.due(issued.Add(day)) {
						t.Fatalf("renewed at %v", s.renewAt)
					}
					continue
				}
				if got := s.renewAt.Sub(issued); got < tc.earliest || got > tc.latest {
					t.Fatalf("renewed after %v, want %v to %v", got, tc.earliest, tc.latest)
				}
			}
		})
	}
}

// TestWhatASessionMayDo at the borders of its life.
func TestWhatASessionMayDo(t *testing.T) {
	t.Parallel()
	s := heldSession("a")
	ended := heldSession("a", func(r *record.Login) { r.LoginRequired = "it is over" })
	single := heldSession("a", func(r *record.Login) { r.RefreshToken = "" })
	machine := heldSession("a", func(r *record.Login) { r.RefreshToken, r.Grant = "", "client_credentials" })
	end, moment := s.until, time.Nanosecond
	if !s.usable(end.Add(-moment)) || s.usable(end) || s.usable(end.Add(moment)) {
		t.Error("the end of a token")
	}
	if s.due(s.renewAt) || !s.due(s.renewAt.Add(moment)) || single.due(end) || !machine.due(end) || ended.due(end) {
		t.Error("the renewal of a token")
	}
	if now := time.Now(); !s.lasts(now, end.Sub(now)) || s.lasts(now, end.Sub(now)+moment) || s.lasts(end, 0) || ended.lasts(now, 0) {
		t.Error("how long a token lasts")
	}
	var none *session
	if none.usable(time.Now()) || none.access() != "" || none.lasts(time.Now(), 0) || ended.usable(time.Now()) {
		t.Error("a session that is none, or over, is usable")
	}
	if !s.renewable() || single.renewable() || !machine.renewable() || ended.renewable() {
		t.Error("what can be renewed")
	}
	if ended.why() != "it is over" || !strings.Contains(single.why(), "no refresh token") {
		t.Errorf("why: %q, %q", ended.why(), single.why())
	}
}

// TestTheKeyOfASession: a damaged one ends the login, and says so unless something else has ended it.
func TestTheKeyOfASession(t *testing.T) {
	t.Parallel()
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Text()
	if err != nil {
		t.Fatal(err)
	}
	good := heldSession("a", func(r *record.Login) { r.DPoPKey = text })
	if good.binding == nil || good.binding.key == nil || good.binding.hash != dpop.Hash("a") || good.ended != "" {
		t.Errorf("bound: %v, %q", good.binding, good.ended)
	}
	if s := heldSession("a"); s.binding != nil {
		t.Error("a token without a key is bound")
	}
	if s := heldSession("a", func(r *record.Login) { r.DPoPKey = "damaged" }); s.ended == "" || s.usable(time.Now()) || s.renewable() {
		t.Errorf("a damaged key: %q", s.ended)
	}
	if s := heldSession("a", func(r *record.Login) { r.DPoPKey, r.LoginRequired = "damaged", "it is over" }); s.ended != "it is over" {
		t.Errorf("ended before: %q", s.ended)
	}
}

// TestWhichScopesASessionAskedFor: those granted and those requested count, and what is the same is kept once.
func TestWhichScopesASessionAskedFor(t *testing.T) {
	t.Parallel()
	s := heldSession("a", func(r *record.Login) { r.RequestedScopes = []string{"write"} })
	if !s.asked([]string{"read", "write"}) || s.asked([]string{"admin"}) || !s.asked(nil) {
		t.Errorf("granted %v, requested %v", s.token.scopes, s.requested)
	}
	if same := heldSession("a"); same.requested != nil || !same.asked([]string{"read"}) {
		t.Errorf("kept twice: %v", same.requested)
	}
}

// TestALoginThatWasIssuedInTheFuture: a clock was wrong. That lengthens no life.
func TestALoginThatWasIssuedInTheFuture(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{-time.Hour, time.Minute, 40 * time.Hour} {
		expiry := time.Now().Add(life)
		s := heldSession("a", func(r *record.Login) { r.IssuedAt, r.Expiry = time.Now().Add(30*time.Hour), expiry })
		if s.until.After(expiry) || s.usable(time.Now()) != (life > 0) {
			t.Errorf("%v: until %v", life, s.until)
		}
	}
}
