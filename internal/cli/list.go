package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

// listJSON is what list --json prints.
type listJSON struct {
	Version  int         `json:"version"`
	Logins   []entryJSON `json:"logins"`
	Problems []string    `json:"problems"` // what kept the list from being complete
}

type entryJSON struct {
	Server       string   `json:"server"`
	Profile      string   `json:"profile"`
	State        string   `json:"state"`  // valid, refreshable, login-required, unreadable
	Reason       string   `json:"reason"` // why a login is required, or what is wrong with the record
	Issuer       string   `json:"issuer"`
	Resource     string   `json:"resource"`
	ClientID     string   `json:"client_id"`
	Registration string   `json:"registration"` // pre-registered, metadata-document, dynamic
	Scopes       []string `json:"scopes"`
	// MissingScopes were requested and not granted.
	MissingScopes []string   `json:"missing_scopes"`
	LostScopes    []string   `json:"lost_scopes"` // that the login had and a refresh has lost
	ExpiresAt     *time.Time `json:"expires_at"`  // of the access token; null: unknown
	// RefreshExpiresAt: the login ends then unless it is used before; null: never, or unknown.
	RefreshExpiresAt *time.Time `json:"refresh_expires_at"`
	LoggedInAt       *time.Time `json:"logged_in_at"`
	CanRefresh       bool       `json:"can_refresh"`
	RefreshHint      string     `json:"refresh_hint"`      // what may bring a refresh token, or one that lasts longer
	Bound            bool       `json:"bound"`             // to a key (DPoP): of no use to token and headers
	Provider         bool       `json:"identity_provider"` // a login there, and not at an MCP server
}

func newList(f *flags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"status"},
		Short:   "list the stored logins and when they expire",
		Long: `List the stored logins. No server is contacted. The states are

  valid            the access token is valid
  refreshable      it has expired, the next use refreshes it
  login-required   it has expired, or the server ended the login: log in again
  unreadable       the record is damaged, or written by a newer version`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	f.addStore(cmd)
	cmd.RunE = f.runLimited(func(ctx context.Context, cmd *cobra.Command, _ []string, o *mcpoauth.Options) error {
		logins, err := openStore(o)
		if err != nil {
			return err
		}
		var found []*mcpoauth.Status
		var problems []error
		for st, err := range mcpoauth.List(ctx, logins) {
			switch {
			case err != nil:
				problems = append(problems, err)
			case cmd.Flags().Changed("profile") && st.Profile != f.profile:
			default:
				found = append(found, st)
				if st.Err != nil {
					problems = append(problems, st.Err)
				}
			}
		}
		if err := f.u.printList(found, problems, asJSON); err != nil {
			return err
		}
		for i, err := range problems {
			if i == len(problems)-1 {
				return err
			}
			f.u.warn("%s", trimPrefix(err))
		}
		return nil
	})
	return cmd
}

func (u *ui) printList(found []*mcpoauth.Status, problems []error, asJSON bool) error {
	if asJSON {
		doc := listJSON{Version: 1, Logins: []entryJSON{}, Problems: []string{}}
		for _, st := range found {
			doc.Logins = append(doc.Logins, entryJSON{
				Server: clean(st.ServerURL), Profile: clean(st.Profile), State: string(st.State), Reason: clean(reason(st)),
				Issuer: clean(st.Issuer), Resource: clean(st.Resource), ClientID: clean(st.ClientID), Registration: string(st.RegistrationSource),
				Scopes: cleanAll(st.Scopes), MissingScopes: cleanAll(st.MissingScopes), LostScopes: cleanAll(st.LostScopes), ExpiresAt: timeJSON(st.Expiry), RefreshExpiresAt: timeJSON(st.RefreshExpiry), LoggedInAt: timeJSON(st.LoggedInAt), CanRefresh: st.CanRefresh, RefreshHint: st.RefreshHint, Bound: st.Bound, Provider: st.IdentityProvider,
			})
		}
		for _, err := range problems {
			doc.Problems = append(doc.Problems, clean(trimPrefix(err)))
		}
		return u.printJSON(doc)
	}
	if len(found) == 0 {
		if len(problems) == 0 {
			u.say("no logins; start with: mcpoauth login URL")
		}
		return nil
	}
	profiles, refresh := false, false
	for _, st := range found {
		profiles, refresh = profiles || st.Profile != "", refresh || !st.RefreshExpiry.IsZero()
	}
	// The columns for profiles and for refresh tokens are there if a row has something to say in them.
	row := func(server, profile, state, token, login, scopes cell) []cell {
		cells := []cell{server}
		if profiles {
			cells = append(cells, profile)
		}
		cells = append(cells, state, token)
		if refresh {
			cells = append(cells, login)
		}
		return append(cells, scopes)
	}
	rows := [][]cell{row(cell{"SERVER", bold}, cell{"PROFILE", bold}, cell{"STATE", bold}, cell{"ACCESS TOKEN", bold}, cell{"REFRESH TOKEN", bold}, cell{"SCOPES", bold})}
	now := time.Now()
	for _, st := range found {
		server := clean(st.ServerURL)
		if st.IdentityProvider {
			server = clean(st.Issuer) + " (identity provider)"
		}
		rows = append(rows, row(
			cell{server, ""}, cell{clean(st.Profile), ""}, cell{string(st.State), stateColour(st.State)},
			cell{lifetime(st, now), ""}, cell{refreshLifetime(st, now), ""}, cell{clean(strings.Join(st.Scopes, " ")), dim},
		))
	}
	if err := writeTable(u.out, rows, columns(u.out), painter(u.out)); err != nil {
		return err
	}
	for _, st := range found {
		if st.RefreshHint != "" && !st.CanRefresh {
			u.say("%s cannot be refreshed: %s", clean(st.ServerURL), st.RefreshHint)
		}
		if line := missingScopes(st); line != "" {
			u.say("%s: %s", clean(st.ServerURL), line)
		}
		if len(st.LostScopes) > 0 {
			u.say("%s has lost the scopes %q in a refresh: login --force requests them again", clean(st.ServerURL), clean(strings.Join(st.LostScopes, " ")))
		}
	}
	return nil
}

func stateColour(state mcpoauth.State) string {
	switch state {
	case mcpoauth.StateValid:
		return green
	case mcpoauth.StateRefreshable:
		return yellow
	default:
		return red
	}
}

func reason(st *mcpoauth.Status) string {
	if st.Err != nil {
		return trimPrefix(st.Err)
	}
	return st.Reason
}

// lifetime says when an access token ends or ended, in local time.
func lifetime(st *mcpoauth.Status, now time.Time) string {
	switch {
	case st.Err != nil:
		return ""
	case st.Expiry.IsZero():
		return "no expiry given"
	case st.Expiry.After(now):
		return "until " + moment(st.Expiry, now)
	}
	return "expired " + moment(st.Expiry, now)
}

// refreshLifetime says when a login ends or ended by itself, in local time, "" if that is never or unknown.
func refreshLifetime(st *mcpoauth.Status, now time.Time) string {
	switch {
	case st.RefreshExpiry.IsZero():
		return ""
	case st.RefreshExpiry.After(now):
		return "until " + moment(st.RefreshExpiry, now) + " unless used"
	}
	return "expired " + moment(st.RefreshExpiry, now)
}

// moment is a time in local time, and how far it is from now.
func moment(t, now time.Time) string {
	at := t.Local().Format("2006-01-02 15:04")
	if t.After(now) {
		return at + " (" + short(t.Sub(now)) + ")"
	}
	return at + " (" + short(now.Sub(t)) + " ago)"
}
