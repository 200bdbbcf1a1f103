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
	Server       string     `json:"server"`
	Profile      string     `json:"profile"`
	State        string     `json:"state"`  // valid, refreshable, login-required, unreadable
	Reason       string     `json:"reason"` // why a login is required, or what is wrong with the record
	Issuer       string     `json:"issuer"`
	Resource     string     `json:"resource"`
	ClientID     string     `json:"client_id"`
	Registration string     `json:"registration"` // pre-registered, metadata-document, dynamic
	Scopes       []string   `json:"scopes"`
	ExpiresAt    *time.Time `json:"expires_at"` // of the access token; null: unknown
	LoggedInAt   *time.Time `json:"logged_in_at"`
	CanRefresh   bool       `json:"can_refresh"`
	Bound        bool       `json:"bound"`             // to a key (DPoP): of no use to token and headers
	Provider     bool       `json:"identity_provider"` // a login there, and not at an MCP server
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
				Scopes: cleanAll(st.Scopes), ExpiresAt: timeJSON(st.Expiry), LoggedInAt: timeJSON(st.LoggedInAt), CanRefresh: st.CanRefresh, Bound: st.Bound, Provider: st.IdentityProvider,
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
	profiles := false
	for _, st := range found {
		profiles = profiles || st.Profile != ""
	}
	row := func(server, profile, state, token, scopes cell) []cell {
		if profiles {
			return []cell{server, profile, state, token, scopes}
		}
		return []cell{server, state, token, scopes}
	}
	rows := [][]cell{row(cell{"SERVER", bold}, cell{"PROFILE", bold}, cell{"STATE", bold}, cell{"ACCESS TOKEN", bold}, cell{"SCOPES", bold})}
	now := time.Now()
	for _, st := range found {
		server := clean(st.ServerURL)
		if st.IdentityProvider {
			server = clean(st.Issuer) + " (identity provider)"
		}
		rows = append(rows, row(
			cell{server, ""}, cell{clean(st.Profile), ""}, cell{string(st.State), stateColour(st.State)},
			cell{lifetime(st, now), ""}, cell{clean(strings.Join(st.Scopes, " ")), dim},
		))
	}
	return writeTable(u.out, rows, columns(u.out), painter(u.out))
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
		return "until " + st.Expiry.Local().Format("2006-01-02 15:04") + " (" + short(st.Expiry.Sub(now)) + ")"
	}
	return "expired " + st.Expiry.Local().Format("2006-01-02 15:04") + " (" + short(now.Sub(st.Expiry)) + " ago)"
}
