package mcpoauth

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

// Status is the stored state of a login.
type Status struct {
	// ServerURL and Profile identify the login. Resource is the resource indicator that it sends (RFC 8707), empty
	// for none.
	ServerURL, Profile, Resource string
	// Issuer is the authorization server, ClientID the client there, RegistrationSource where that
	// comes from.
	Issuer, ClientID   string
	RegistrationSource RegistrationSource
	// Scopes are those granted.
	Scopes []string
	// MissingScopes are those that the login requested and the server did not grant.
	MissingScopes []string
	// LostScopes are those that the login had and a refresh has lost.
	LostScopes []string
	// Expiry is when the access token expires; the zero time is unknown. LoggedInAt is when it was received.
	Expiry, LoggedInAt time.Time
	// RefreshExpiry is when the login ends unless it is used before, by what the server says of its refresh token. The
	// zero time is never or unknown. A refresh mostly moves it.
	RefreshExpiry time.Time
	// RefreshHint is what may bring a refresh token to a login that has none, or one that lasts longer; empty if nothing
	// is known.
	RefreshHint string
	// IdentityProvider reports that it is a login at an identity provider: see [EnterpriseManaged].
	IdentityProvider bool
	// Bound reports whether the tokens are bound to a key (DPoP, RFC 9449), so that they cannot be used by
	// themselves.
	Bound bool
	// CanRefresh reports whether a new token can be obtained without a person.
	CanRefresh bool
	// State is one of the State constants.
	State State
	// Reason is why a login is required, empty if it is not.
	Reason string
	// Err is why the login cannot be read, nil if it can. Only ServerURL, Profile, IdentityProvider and State are set
	// then.
	Err error
}

// State is the state of a login by the store alone: no server is asked.
type State string

const (
	// StateValid means that the access token has not expired.
	StateValid State = "valid"
	// StateRefreshable means that the access token has expired and will be renewed when it is needed.
	StateRefreshable State = "refreshable"
	// StateLoginRequired means that a person must log in.
	StateLoginRequired State = "login-required"
	// StateUnreadable means that the record is damaged or of a newer version.
	StateUnreadable State = "unreadable"
)

// Status reads this login from the store, without a request to any server. Without a login the error is
// [ErrLoginRequired].
func (c *Client) Status(ctx context.Context) (*Status, error) {
	if c.closed.Load() {
		return nil, errClosed
	}
	st, err := c.store.load(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, c.store.loginRequired("not logged in", nil)
	}
	if err != nil {
		return nil, err
	}
	return statusOf(st.rec, st.session), nil
}

func statusOf(rec *record.Login, s *session) *Status {
	st := &Status{
		ServerURL: rec.ServerURL, Profile: rec.Profile, Resource: rec.Resource, Issuer: rec.Issuer, ClientID: rec.Registration.ClientID,
		RegistrationSource: RegistrationSource(rec.Registration.Source), Scopes: slices.Clone(rec.Scopes), MissingScopes: ungranted(rec), LostScopes: slices.Clone(rec.LostScopes), Expiry: rec.Expiry, LoggedInAt: rec.IssuedAt,
		CanRefresh: rec.RefreshToken != "" || rec.Grant != "", Reason: s.ended, Bound: s.binding != nil, RefreshHint: refreshHint(rec),
	}
	if st.CanRefresh {
		st.RefreshExpiry = rec.RefreshExpiry
	}
	switch {
	case s.ended != "":
		st.State = StateLoginRequired
	case s.usable(time.Now()):
		st.State = StateValid
	case s.renewable():
		st.State = StateRefreshable
	default:
		st.State, st.Reason = StateLoginRequired, s.why()
	}
	return st
}

// List yields the logins in st, of every profile. A login that cannot be read is yielded with [Status.Err]. An error
// of the listing itself is yielded with a nil Status, and the listing goes on if it can.
func List(ctx context.Context, st store.Store) iter.Seq2[*Status, error] {
	return func(yield func(*Status, error) bool) {
		for _, kind := range []store.Kind{store.KindLogin, store.KindIdentityProvider} {
			for key, err := range st.List(ctx, store.Filter{Kind: kind}) {
				if err != nil {
					if !yield(nil, storeError("list", err)) {
						return
					}
					continue
				}
				s := listed(ctx, st, key)
				if s == nil {
					continue
				}
				s.IdentityProvider = kind == store.KindIdentityProvider
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

// plainSettings are those of a Client whose options set nothing.
var plainSettings = &settings{client: noClient, callback: noCallback, scopes: noScopes, server: noServer, network: noNetwork, allow: noAllow}

// listed returns the status of one login, nil if it was removed meanwhile.
func listed(ctx context.Context, st store.Store, key store.Key) *Status {
	data, _, err := st.Load(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	var rec *record.Login
	if err == nil {
		rec, err = record.DecodeLogin(data)
	}
	if err != nil {
		return &Status{ServerURL: key.ID, Profile: key.Profile, State: StateUnreadable, Err: storeError("read", err)}
	}
	return statusOf(rec, newSession(rec, 0, plainSettings))
}

// ClearAll removes every login from st, of every profile, and returns how many there were. With
// [ClearOptions.Registration] it removes registrations too. Nothing is sent to a server. Nil opts are the zero value.
// The error joins all failures.
func ClearAll(ctx context.Context, st store.Store, opts *ClearOptions) (int, error) {
	kinds := []store.Kind{store.KindLogin, store.KindIdentityProvider, store.KindPending}
	if opts != nil && opts.Registration {
		kinds = append(kinds, store.KindRegistration)
	}
	var n int
	var failures []error
	for _, kind := range kinds {
		for key, err := range st.List(ctx, store.Filter{Kind: kind}) {
			if err == nil {
				err = st.Delete(ctx, key, 0)
			}
			if err != nil {
				failures = append(failures, storeError("remove", err))
			} else if kind != store.KindPending && kind != store.KindRegistration {
				n++
			}
		}
	}
	return n, errors.Join(failures...)
}
