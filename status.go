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

// Status is what the store knows of a login.
type Status struct {
	// ServerURL and Profile identify the login. Resource is the resource indicator sent.
	ServerURL, Profile, Resource string
	// Issuer is the authorization server, ClientID the client there, RegistrationSource where that
	// comes from.
	Issuer, ClientID   string
	RegistrationSource RegistrationSource
	// Scopes are those granted.
	Scopes []string
	// Expiry is when the access token ends; the zero time is unknown. LoggedInAt is when the token
	// was received.
	Expiry, LoggedInAt time.Time
	// IdentityProvider reports that it is a login at an identity provider: see [EnterpriseManaged].
	IdentityProvider bool
	// Bound reports whether the tokens are bound to a key (DPoP): alone they are of no use.
	Bound bool
	// CanRefresh reports whether there is a refresh token.
	CanRefresh bool
	// State is one of the State constants.
	State State
	// Reason is why a login is required.
	Reason string
	// Err is why the login cannot be read. The other fields say what is known nevertheless.
	Err error
}

// State of a login, as far as the store knows without asking anybody.
type State string

const (
	// StateValid means that the access token is good.
	StateValid State = "valid"
	// StateRefreshable means that it has ended and will be refreshed when needed.
	StateRefreshable State = "refreshable"
	// StateLoginRequired means that a person must log in.
	StateLoginRequired State = "login-required"
	// StateUnreadable means that the record is damaged or of a newer version.
	StateUnreadable State = "unreadable"
)

// Status returns what the store knows of this login, without a request to any server. Without a login the error is
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
		RegistrationSource: RegistrationSource(rec.Registration.Source), Scopes: slices.Clone(rec.Scopes), Expiry: rec.Expiry, LoggedInAt: rec.IssuedAt,
		CanRefresh: rec.RefreshToken != "" || rec.Grant != "", Reason: s.ended, Bound: s.binding != nil,
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

// List yields the logins of every profile in st. A login that cannot be read is yielded with
// [Status.Err]; an error of the listing itself is yielded without a Status, and the listing goes on if it
// can.
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

// listed returns the status of one login, nil if it has gone meanwhile.
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
// [ClearOptions.Registration] it removes registrations too; no server is told.
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
