package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/members"
	"github.com/mcpoauth/mcpoauth/store"
)

// format is the version of the encoding. Members may be added without a new one.
const format = 1

// maxLifetime is the longest lifetime of a token that is believed.
const maxLifetime = 5 * 365 * 24 * time.Hour

// maxRecord bounds what is decoded, bytes.
const maxRecord = 1 << 20

// Encode returns the record's stored form, secrets included. Members that DecodeLogin did not know
// are kept.
func (r *Login) Encode() ([]byte, error) {
	c := *r
	fixTimes(&c.Expiry, &c.IssuedAt, &c.RefreshExpiry, &c.LoginRequiredAt, &c.SavedAt)
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
	login, err := c.Login.Encode()
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(login, &members); err != nil {
		return nil, err
	}
	for _, name := range [...]string{"access_token", "token_type"} { // there is none yet
		if string(members[name]) == `""` {
			delete(members, name)
		}
	}
	type plain Pending
	return encode((*plain)(&c), members, "", nil)
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
	if !r.IssuedAt.IsZero() && r.Expiry.Sub(r.IssuedAt) > maxLifetime {
		r.Expiry = time.Time{} // no token lives as long: its writer counted other units
	}
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
	if _, err := decode(data, (*plain)(p), "", nil); err != nil {
		return nil, err
	}
	type plainLogin Login
	extra, err := decode(data, (*plainLogin)(&p.Login), "registration", &p.Login.Registration)
	if err != nil {
		return nil, err
	}
	for _, name := range [...]string{"id", "state", "verifier", "redirect_uri", "created_at", "nonce"} {
		delete(extra, name)
	}
	p.Login.extra = extra
	if p.State == "" || p.Login.ServerURL == "" {
		return nil, &store.CorruptError{Err: errors.New("it has no state or no server")}
	}
	if p.Login.Registration.ClientID == "" {
		return nil, &store.CorruptError{Err: errNoClient}
	}
	return p, nil
}

func decode(data []byte, v any, nestedName string, nested *Registration) (map[string]json.RawMessage, error) {
	corrupt := func(err error) error { return &store.CorruptError{Err: err} }
	if len(data) > maxRecord {
		return nil, corrupt(fmt.Errorf("it is longer than %d bytes", maxRecord))
	}
	parts, err := members.Split(data)
	if err != nil {
		return nil, corrupt(err)
	}
	if _, ok := parts["sealed"]; ok && parts["format"] == nil {
		return nil, &store.SealedError{}
	}
	var f int
	if err := members.Decode(parts["format"], &f); err != nil || f < 1 {
		return nil, corrupt(errors.New("it has no format"))
	}
	if f > format {
		return nil, &store.VersionError{Format: f, Known: format}
	}
	rv := reflect.ValueOf(v).Elem()
	delete(parts, "format")
	for i := range rv.NumField() {
		name, _, _ := strings.Cut(rv.Type().Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		raw, ok := parts[name]
		if !ok {
			continue
		}
		delete(parts, name)
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
			if t.UnmarshalJSON(raw) != nil {
				*t = time.Time{}
			}
			fixTimes(t)
			continue
		}
		if err := members.Decode(raw, rv.Field(i).Addr().Interface()); err != nil {
			return nil, corrupt(fmt.Errorf("its member %s has the wrong type", name))
		}
	}
	var extra map[string]json.RawMessage
	for name, raw := range parts {
		if extra == nil {
			extra = make(map[string]json.RawMessage, len(parts))
		}
		extra[name] = bytes.Clone(raw) // it outlives data, which is longer
	}
	return extra, nil
}
