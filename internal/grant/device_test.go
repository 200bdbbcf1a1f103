package grant

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

func TestStartDevice(t *testing.T) {
	t.Parallel()
	const base = `"device_code":"dc","user_code":"WDJB-MJHT"`
	for name, tc := range map[string]struct {
		body     string
		uri      string
		life     time.Duration
		interval time.Duration
	}{
		"all":              {`{` + base + `,"verification_uri":"https://a/d","expires_in":600,"interval":7}`, "https://a/d", 10 * time.Minute, 7 * time.Second},
		"no times":         {`{` + base + `,"verification_uri":"https://a/d"}`, "https://a/d", defaultCodeLife, defaultInterval},
		"another spelling": {`{` + base + `,"verification_url":"https://a/u"}`, "https://a/u", defaultCodeLife, defaultInterval},
		"a long life":      {`{` + base + `,"verification_uri":"https://a/d","expires_in":1e9,"interval":1e9}`, "https://a/d", time.Hour, maxInterval},
		"times that are 0": {`{` + base + `,"verification_uri":"https://a/d","expires_in":0,"interval":-1}`, "https://a/d", defaultCodeLife, defaultInterval},
	} {
		s := newServer(t, asJSON(200, tc.body))
		before := time.Now()
		d, _, err := StartDevice(t.Context(), client(t, nil), DeviceRequest{Endpoint: s.URL, Auth: ClientAuth{ID: "c"}, Scopes: []string{"a", "b"}, Resource: "https://r", Extra: url.Values{"x": {"1"}, "scope": {"evil"}}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if life := d.Expiry.Sub(before); d.Code.Reveal() != "dc" || d.UserCode != "WDJB-MJHT" || d.URI != tc.uri || d.Interval != tc.interval || life < tc.life || life > tc.life+time.Minute {
			t.Errorf("%s: %+v", name, d)
		}
		if _, form := s.sent(0); form.Get("scope") != "a b" || form.Get("resource") != "https://r" || form.Get("client_id") != "c" || form.Get("x") != "1" {
			t.Errorf("%s: sent %v", name, form)
		}
	}
	for name, body := range map[string]string{
		"no code":      `{"user_code":"X","verification_uri":"https://a"}`,
		"no user code": `{"device_code":"dc","verification_uri":"https://a"}`,
		"no URI":       `{` + base + `}`,
		"a terminal's codes in what is to be typed": `{"device_code":"dc","user_code":"A\u001b[2JB","verification_uri":"https://a"}`,
		"a user code nobody types":                  `{"device_code":"dc","user_code":"` + strings.Repeat("A", maxUserCode+1) + `","verification_uri":"https://a"}`,
		"no object":                                 `[]`,
	} {
		s := newServer(t, asJSON(200, body))
		d, _, err := StartDevice(t.Context(), client(t, nil), DeviceRequest{Endpoint: s.URL, Auth: ClientAuth{ID: "c"}})
		var f *wire.Fault
		if d != nil || !errors.As(err, &f) || f.Stage != wire.StageAuthorization || f.Temporary || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	s := newServer(t, asJSON(400, `{"error":"invalid_client"}`))
	_, _, err := StartDevice(t.Context(), client(t, nil), DeviceRequest{Endpoint: s.URL, Auth: ClientAuth{ID: "c"}})
	if f := wire.AsFault(err, wire.StageAuthorization, ""); f.Code != "invalid_client" || s.count() != 1 {
		t.Errorf("refused: %+v, %d requests", f, s.count())
	}
}

func TestPollDevice(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status   int
		body     string
		header   []string
		pending  bool
		interval time.Duration // afterwards; it was 10 s
		code     string        // of the fault
	}{
		"a token":              {200, good, nil, false, 10 * time.Second, ""},
		"not yet":              {400, `{"error":"authorization_pending"}`, nil, true, 10 * time.Second, ""},
		"too often":            {400, `{"error":"slow_down"}`, nil, true, 15 * time.Second, ""},
		"in trouble":           {503, "", nil, true, 20 * time.Second, ""},
		"in trouble, for long": {503, "", []string{"Retry-After", "40"}, true, 40 * time.Second, ""},
		"too late":             {400, `{"error":"expired_token"}`, nil, false, 10 * time.Second, "expired_token"},
		"denied":               {400, `{"error":"access_denied"}`, nil, false, 10 * time.Second, "access_denied"},
		"refused":              {400, `{"error":"invalid_grant"}`, nil, false, 10 * time.Second, "invalid_grant"},
	} {
		s := newServer(t, answer(tc.status, "application/json", tc.body, tc.header...))
		d := &Device{Code: secret.New("dc"), Interval: 10 * time.Second}
		r := DevicePoll{Endpoint: s.URL, Auth: ClientAuth{ID: "c"}, Device: d, Resource: "https://r", Extra: url.Values{"x": {"1"}, "device_code": {"kept"}}}
		tok, pending, err := PollDevice(t.Context(), client(t, nil), &r)
		if pending != tc.pending || d.Interval != tc.interval || (tok != nil) != (name == "a token") {
			t.Errorf("%s: %+v, pending %t, interval %v, %v", name, tok, pending, d.Interval, err)
		}
		if tc.code == "" && err != nil || tc.code != "" && wire.AsFault(err, wire.StageToken, "").Code != tc.code {
			t.Errorf("%s: %v", name, err)
		}
		if _, form := s.sent(0); form.Get("grant_type") != TypeDeviceCode || form.Get("resource") != "https://r" || form.Get("x") != "1" || s.count() != 1 {
			t.Errorf("%s: sent %v, %d requests", name, form, s.count())
		}
	}
	// There is an end of slowing down.
	d := &Device{Code: secret.New("dc"), Interval: maxInterval - time.Second}
	s := newServer(t, asJSON(400, `{"error":"slow_down"}`))
	if _, _, err := PollDevice(t.Context(), client(t, nil), &DevicePoll{Endpoint: s.URL, Auth: ClientAuth{ID: "c"}, Device: d}); err != nil || d.Interval != maxInterval {
		t.Errorf("interval %v, %v", d.Interval, err)
	}
}

// TestWhatWantsAChallenge: an invalid_request that speaks of PKCE, or of nothing.
func TestWhatWantsAChallenge(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": true, "Missing parameter: code_challenge_method": true, "PKCE is required": true, "the scope is missing": false} {
		for _, code := range []string{"invalid_request", "invalid_client", "invalid_scope"} {
			if got := WantsChallenge(&wire.Fault{Code: code, Description: text}); got != (want && code == "invalid_request") {
				t.Errorf("%s, %q: %t", code, text, got)
			}
		}
	}
}
