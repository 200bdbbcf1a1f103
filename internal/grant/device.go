package grant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/secret"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// TypeDeviceCode is the grant type of RFC 8628.
const TypeDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"

const (
	defaultInterval = 5 * time.Second
	defaultCodeLife = 10 * time.Minute
	maxCodeLife     = time.Hour
	// maxInterval is beyond the end of any code: a longer interval changes nothing.
	maxInterval = maxCodeLife
	// maxBackoff is the longest interval that a server in trouble is given without asking for it.
	maxBackoff  = time.Minute
	maxUserCode = 64
)

// Device is a device authorization response (RFC 8628 section 3.2).
type Device struct {
	Code     secret.String
	UserCode string
	// URI is where the person goes; Complete has the code in it already, "" if there is none.
	URI, Complete string
	Expiry        time.Time
	Interval      time.Duration
	// Verifier is the code verifier of a request with PKCE, the zero value without.
	Verifier secret.String
}

// DeviceRequest begins a device authorization (RFC 8628 section 3.1).
type DeviceRequest struct {
	Endpoint string
	Auth     ClientAuth
	Scopes   []string
	// ScopeSeparator is as in an AuthorizationRequest.
	ScopeSeparator string
	Resource       string
	// PKCE sends a code challenge (RFC 7636), and the verifier with the token request. RFC 8628 does not know it, but
	// Keycloak demands it of some clients.
	PKCE  bool
	Extra url.Values
}

// WantsChallenge reports whether a fault of [StartDevice] says that PKCE is missing.
func WantsChallenge(f *wire.Fault) bool {
	if f.Code != "invalid_request" {
		return false
	}
	text := strings.ToLower(f.Description)
	return f.Description == "" || strings.Contains(text, "code_challenge") || strings.Contains(text, "code challenge") || strings.Contains(text, "pkce") || strings.Contains(text, "proof key")
}

// StartDevice asks for a device code and a user code. It returns them with the client authentication that counts. The
// error is a *wire.Fault.
func StartDevice(ctx context.Context, c *netguard.Client, r DeviceRequest) (d *Device, auth ClientAuth, err error) {
	form := url.Values{}
	if len(r.Scopes) > 0 {
		form.Set("scope", strings.Join(r.Scopes, cmp.Or(r.ScopeSeparator, " ")))
	}
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	var verifier secret.String
	if r.PKCE {
		var challenge string
		verifier, challenge = NewVerifier()
		form.Set("code_challenge", challenge)
		form.Set("code_challenge_method", "S256")
	}
	addExtra(form, r.Extra)
	auth, err = call{client: c, leg: "device", endpoint: r.Endpoint, auth: r.Auth, form: form}.negotiate(func(q call) error {
		var err error
		if d, err = q.startDevice(ctx); err == nil {
			d.Verifier = verifier
		}
		return err
	})
	return d, auth, err
}

func (r call) startDevice(ctx context.Context) (*Device, error) {
	a, err := r.send(ctx, nil)
	if err != nil {
		return nil, wire.AsFault(err, wire.StageAuthorization, r.endpoint)
	}
	o, err := wire.ParseObject(a.Body)
	d := &Device{Code: secret.New(o.String("device_code")), UserCode: o.String("user_code"), URI: o.String("verification_uri"), Complete: o.String("verification_uri_complete")}
	if d.URI == "" {
		d.URI = o.String("verification_url") // how some servers spell it
	}
	if a.Status/100 != 2 || d.Code.IsZero() || d.UserCode == "" || d.URI == "" {
		f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
		if a.Status/100 == 2 && f.Code == "" && !f.Temporary {
			if err == nil {
				err = errors.New("it has no device_code, user_code or verification_uri")
			}
			f.Message, f.Hint = fmt.Sprintf("the device authorization response cannot be used: %v", err), "the server is at fault"
		} else if f.Code != "" {
			f.Message = "the server refused the device authorization"
		}
		return nil, wire.AsFault(f, wire.StageAuthorization, r.endpoint)
	}
	if clean := wire.CleanN(d.UserCode, maxUserCode); clean != d.UserCode {
		return nil, &wire.Fault{Stage: wire.StageAuthorization, URL: wire.PlainURL(r.endpoint), Message: "the server's user code has characters that cannot be typed", Hint: "the server is at fault"}
	}
	d.Expiry = a.Received.Add(defaultCodeLife)
	if n, ok := o.Seconds("expires_in"); ok && n > 0 {
		d.Expiry = a.Received.Add(time.Duration(min(n, int64(maxCodeLife/time.Second))) * time.Second)
	}
	d.Interval = defaultInterval
	if n, ok := o.Seconds("interval"); ok && n > 0 {
		d.Interval = time.Duration(min(n, int64(maxInterval/time.Second))) * time.Second
	}
	return d, nil
}

// DevicePoll asks for the token of a device authorization (RFC 8628 section 3.4, RFC 8707).
type DevicePoll struct {
	// Endpoint is the token endpoint.
	Endpoint string
	Auth     ClientAuth
	// Device is the authorization that was started; its Interval is lengthened when the server asks for it.
	Device   *Device
	Resource string
	Extra    url.Values
	Format   TokenResponseFormat
}

// PollDevice asks once whether the person has decided. pending means that the next request may be made after
// r.Device.Interval, which a slow_down lengthens. r.Auth becomes the client authentication that counts. The error is a
// *wire.Fault.
func PollDevice(ctx context.Context, c *netguard.Client, r *DevicePoll) (tok *wire.Token, pending bool, err error) {
	d := r.Device
	form := url.Values{"grant_type": {TypeDeviceCode}, "device_code": {d.Code.Reveal()}}
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	if !d.Verifier.IsZero() {
		form.Set("code_verifier", d.Verifier.Reveal())
	}
	addExtra(form, r.Extra)
	tok, r.Auth, err = call{client: c, leg: "token", endpoint: r.Endpoint, auth: r.Auth, form: form, format: r.Format}.token(ctx)
	if err == nil {
		return tok, false, nil
	}
	f := wire.AsFault(err, wire.StageToken, r.Endpoint)
	switch {
	case f.Code == "authorization_pending":
		return nil, true, nil
	case f.Code == "slow_down":
		d.Interval = min(d.Interval+5*time.Second, maxInterval)
		return nil, true, nil
	case f.Temporary:
		// RFC 8628 section 3.5: after a time-out ask less often.
		d.Interval = min(max(d.Interval, min(2*d.Interval, maxBackoff), f.RetryAfter), maxInterval)
		return nil, true, nil
	case f.Code == "expired_token":
		f.Message, f.Hint = "the code was not entered in time", "begin the login again"
	case f.Code == "access_denied", f.Code == "authorization_declined": // the latter is Microsoft's
		f.Message, f.Hint = "access was denied at the authorization server", "run the login again and allow the access"
	}
	return nil, false, f
}
