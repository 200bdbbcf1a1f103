// Package record holds what a client keeps in its store, and the encoding of it: logins, registrations, and
// logins that have begun.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
)

// format is the version of the encoding. Members may be added without a new one.
const format = 1

// maxRecord bounds what is decoded, bytes.
const maxRecord = 1 << 20

// Login is a login: all that a restart needs to refresh without asking anybody. It holds secrets as
// plain strings and prints redacted. Package fmt asks no methods for the verbs %p and %w, nor of a
// value in an unexported field: there it prints the secrets.
type Login struct {
	ServerURL        string `json:"server_url"`
	Profile          string `json:"profile,omitempty"`
	ResourceOverride string `json:"resource_override,omitempty"`
	// Resource is the resource indicator of every request of this login, "" for none.
	Resource string `json:"resource,omitempty"`
	Issuer   string `json:"issuer"`

	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	TokenType    string `json:"token_type"`
	// Expiry of the access token, the zero time if unknown; IssuedAt is when it was received. Both by
	// the local clock.
	Expiry   time.Time `json:"expiry,omitzero"`
	IssuedAt time.Time `json:"issued_at,omitzero"`
	// Scopes are those granted.
	Scopes          []string `json:"scopes,omitempty"`
	RequestedScopes []string `json:"requested_scopes,omitempty"`

	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string `json:"token_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint,omitempty"`
	ServerMetadataURL     string `json:"server_metadata_url,omitempty"`
	IssParameterPromised  bool   `json:"iss_parameter_promised,omitempty"`

	// TokenMember and BearerType are how the server's token responses differ: the member that holds them,
	// and what they call Bearer. A refresh whose answer cannot be read costs the login.
	TokenMember string `json:"token_member,omitempty"`
	BearerType  string `json:"bearer_type,omitempty"`

	// Registration is a copy of the client that the tokens were issued to.
	Registration Registration `json:"registration"`

	// Grant is how the tokens were obtained, "" by the authorization code (and then the refresh token),
	// else the grant type of a machine.
	Grant string `json:"grant,omitempty"`

	// DPoPKey is the private key that the tokens are bound to, a JWK; "" if they are not (RFC 9449).
	DPoPKey string `json:"dpop_key,omitempty"`

	// Wanted is what the MCP server asks of the next login, nil if nothing. The zero value is a login of any kind,
	// because it does not take the access token.
	Wanted *Authentication `json:"wanted,omitempty"`

	// LoginRequired is why the login has ended, "" while it has not.
	LoginRequired   string    `json:"login_required,omitempty"`
	LoginRequiredAt time.Time `json:"login_required_at,omitzero"`
	SavedAt         time.Time `json:"saved_at,omitzero"`

	extra map[string]json.RawMessage
}

// Authentication is how a person is to be authenticated: RFC 9470 section 4, and OpenID Connect Core 1.0
// section 5.5 for the claims, as JSON. "" is unasked.
type Authentication struct {
	ACRValues string `json:"acr_values,omitempty"`
	MaxAge    string `json:"max_age,omitempty"`
	Claims    string `json:"claims,omitempty"`
}

// Registration is a client at an authorization server. It holds secrets and prints redacted, as a
// [Login] does.
type Registration struct {
	Issuer       string `json:"issuer"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret,omitempty"`
	// AuthMethod is none, client_secret_basic or client_secret_post.
	AuthMethod string `json:"auth_method"`
	// Source is pre-registered, metadata-document, dynamic or imported.
	Source string `json:"source"`
	// RedirectURI is the one used, RedirectURIs those the server registered.
	RedirectURI  string   `json:"redirect_uri,omitempty"`
	RedirectURIs []string `json:"redirect_uris,omitempty"`
	Endpoint     string   `json:"endpoint,omitempty"`
	Scope        string   `json:"scope,omitempty"`
	// SecretExpiry is the zero time for never.
	SecretExpiry time.Time `json:"secret_expiry,omitzero"`
	CreatedAt    time.Time `json:"created_at,omitzero"`
	// AccessToken and ClientURI manage the registration (RFC 7592).
	AccessToken string `json:"registration_access_token,omitempty"`
	ClientURI   string `json:"registration_client_uri,omitempty"`
	// Unanswered: a login with this registration has begun and not come back.
	Unanswered bool `json:"unanswered,omitempty"`
	// LoginUntil is how long a login with it may be under way, the zero time if none is.
	LoginUntil time.Time `json:"login_until,omitzero"`

	extra map[string]json.RawMessage
}

// Pending is a login begun and not finished. It holds secrets and prints redacted, as a [Login] does.
type Pending struct {
	ID                    string       `json:"id"`
	ServerURL             string       `json:"server_url"`
	Profile               string       `json:"profile,omitempty"`
	State                 string       `json:"state"`
	Verifier              string       `json:"verifier"`
	RedirectURI           string       `json:"redirect_uri"`
	CreatedAt             time.Time    `json:"created_at"`
	Scopes                []string     `json:"scopes,omitempty"`
	Resource              string       `json:"resource,omitempty"`
	Issuer                string       `json:"issuer"`
	AuthorizationEndpoint string       `json:"authorization_endpoint"`
	TokenEndpoint         string       `json:"token_endpoint"`
	RevocationEndpoint    string       `json:"revocation_endpoint,omitempty"`
	ServerMetadataURL     string       `json:"server_metadata_url,omitempty"`
	IssParameterPromised  bool         `json:"iss_parameter_promised,omitempty"`
	DPoPKey               string       `json:"dpop_key,omitempty"`
	Registration          Registration `json:"registration"`

	extra map[string]json.RawMessage
}

// Encode returns the record's stored form, secrets included. Members that DecodeLogin did not know
// are kept.
func (r *Login) Encode() ([]byte, error) {
	c := *r
	fixTimes(&c.Expiry, &c.IssuedAt, &c.LoginRequiredAt, &c.SavedAt)
	type plain Login
	return encode((*plain)(&c), c.extra, "registration", &c.Registration)
}

// Encode returns the registration's stored form, secrets included.
func (r *Registration) Encode() ([]byte, error) {
	c := *r
	fixTimes(&c.SecretExpiry, &c.CreatedAt, &c.LoginUntil)
	type plain Registration
	return encode((*plain)(&c), c.extra, "", nil)
}

// Encode returns the pending login's stored form, secrets included.
func (p *Pending) Encode() ([]byte, error) {
	c := *p
	fixTimes(&c.CreatedAt)
	type plain Pending
	return encode((*plain)(&c), c.extra, "registration", &c.Registration)
}

// fixTimes makes times that JSON cannot hold unknown: a save must not fail because of one.
func fixTimes(times ...*time.Time) {
	for _, t := range times {
		*t = t.Round(0).UTC()
		if y := t.Year(); y < 1970 || y > 9999 {
			*t = time.Time{}
		}
	}
}

func encode(v any, extra map[string]json.RawMessage, nestedName string, nested *Registration) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage)
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, err
	}
	if nested != nil {
		if out[nestedName], err = nested.Encode(); err != nil {
			return nil, err
		}
	}
	for k, raw := range extra {
		if _, known := out[k]; !known {
			out[k] = raw
		}
	}
	out["format"] = json.RawMessage(fmt.Sprint(format))
	if b, err = json.Marshal(out); err != nil {
		return nil, err
	}
	if len(b) > maxRecord {
		return nil, fmt.Errorf("the record is longer than %d bytes and could not be read back", maxRecord)
	}
	return b, nil
}

// DecodeLogin reads a stored login. The error is a *CorruptError or a *VersionError.
func DecodeLogin(data []byte) (*Login, error) {
	r := &Login{}
	type plain Login
	extra, err := decode(data, (*plain)(r), "registration", &r.Registration)
	if err != nil {
		return nil, err
	}
	r.extra = extra
	if r.AccessToken == "" || r.TokenEndpoint == "" && r.RefreshToken != "" {
		return nil, &store.CorruptError{Err: errors.New("it has no token or no token endpoint")}
	}
	if r.Registration.ClientID == "" && r.Grant == "" {
		// A machine's assertion may stand for its client.
		return nil, &store.CorruptError{Err: errNoClient}
	}
	return r, nil
}

var errNoClient = errors.New("it has no client_id")

// DecodeRegistration reads a stored registration. The error is a *CorruptError or a *VersionError.
func DecodeRegistration(data []byte) (*Registration, error) {
	r, err := decodeRegistration(data)
	if err == nil && r.ClientID == "" {
		return nil, &store.CorruptError{Err: errNoClient}
	}
	return r, err
}

func decodeRegistration(data []byte) (*Registration, error) {
	r := &Registration{}
	type plain Registration
	extra, err := decode(data, (*plain)(r), "", nil)
	if err != nil {
		return nil, err
	}
	r.extra = extra
	return r, nil
}

// DecodePending reads a stored pending login. The error is a *CorruptError or a *VersionError.
func DecodePending(data []byte) (*Pending, error) {
	p := &Pending{}
	type plain Pending
	extra, err := decode(data, (*plain)(p), "registration", &p.Registration)
	if err != nil {
		return nil, err
	}
	p.extra = extra
	if p.State == "" || p.ServerURL == "" {
		return nil, &store.CorruptError{Err: errors.New("it has no state or no server")}
	}
	if p.Registration.ClientID == "" {
		return nil, &store.CorruptError{Err: errNoClient}
	}
	return p, nil
}

func decode(data []byte, v any, nestedName string, nested *Registration) (map[string]json.RawMessage, error) {
	corrupt := func(err error) error { return &store.CorruptError{Err: err} }
	if len(data) > maxRecord {
		return nil, corrupt(fmt.Errorf("it is longer than %d bytes", maxRecord))
	}
	var members map[string]json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&members); err != nil || members == nil {
		return nil, corrupt(errors.New("it is not a JSON object"))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, corrupt(errors.New("something follows it"))
	}
	if _, ok := members["sealed"]; ok && members["format"] == nil {
		return nil, &store.SealedError{}
	}
	var f int
	if err := json.Unmarshal(members["format"], &f); err != nil || f < 1 {
		return nil, corrupt(errors.New("it has no format"))
	}
	if f > format {
		return nil, &store.VersionError{Format: f, Known: format}
	}
	rv := reflect.ValueOf(v).Elem()
	known := map[string]bool{"format": true}
	for i := range rv.NumField() {
		name, _, _ := strings.Cut(rv.Type().Field(i).Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		known[name] = true
		raw, ok := members[name]
		if !ok {
			continue
		}
		if name == nestedName {
			// A registration inside a record has no format of its own to speak of.
			inner, err := decodeRegistration(raw)
			if err != nil {
				return nil, err
			}
			*nested = *inner
			continue
		}
		if t, isTime := rv.Field(i).Addr().Interface().(*time.Time); isTime {
			// A time that cannot be read is unknown: it must not cost the login.
			if json.Unmarshal(raw, t) != nil {
				*t = time.Time{}
			}
			fixTimes(t)
			continue
		}
		if err := json.Unmarshal(raw, rv.Field(i).Addr().Interface()); err != nil {
			return nil, corrupt(fmt.Errorf("its member %s has the wrong type", name))
		}
	}
	extra := maps.Clone(members)
	maps.DeleteFunc(extra, func(k string, _ json.RawMessage) bool { return known[k] })
	return extra, nil
}

const redacted = "[redacted]"

// String names the login without its secrets.
func (r Login) String() string { return "login " + r.ServerURL + " " + redacted }

// GoString is String.
func (r Login) GoString() string { return r.String() }

// Format prints String for every verb but %p and %w.
func (r Login) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, r.String()) }

// LogValue is String, for log/slog.
func (r Login) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText is String: use Encode to store.
func (r Login) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String names the client without its secrets.
func (r Registration) String() string {
	return "client " + r.ClientID + " at " + r.Issuer + " " + redacted
}

// GoString is String.
func (r Registration) GoString() string { return r.String() }

// Format prints String for every verb but %p and %w.
func (r Registration) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, r.String()) }

// LogValue is String, for log/slog.
func (r Registration) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText is String: use Encode to store.
func (r Registration) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String names the pending login without its secrets.
func (p Pending) String() string { return "pending login " + p.ServerURL + " " + redacted }

// GoString is String.
func (p Pending) GoString() string { return p.String() }

// Format prints String for every verb but %p and %w.
func (p Pending) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, p.String()) }

// LogValue is String, for log/slog.
func (p Pending) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText is String: use Encode to store.
func (p Pending) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
