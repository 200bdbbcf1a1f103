package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/internal/takeover"
	"github.com/mcpoauth/mcpoauth/internal/terminal"
)

// importing is the import command at work.
type importing struct {
	f                  *flags
	from               []string
	dryRun, yes, force bool
}

func newImport(f *flags) *cobra.Command {
	i := &importing{f: f}
	cmd := &cobra.Command{
		Use:   "import [URL…]",
		Short: "take over logins of FastMCP, fastmcp-remote and mcp-remote",
		Long: `Take over logins that FastMCP (its file cache, FileTreeStore and DiskStore), fastmcp-remote or mcp-remote have made,
without a new login if there is a refresh token. Their file names are hashes: name the servers exactly as
they were named to the other program, with the --header and --resource that mcp-remote was given. Without
a URL the logins found are listed.

The other program's files are not changed. But a refresh token has one owner: the first refresh by
either program ends the other's login, and at servers that detect reuse both. Use one of them.`,
		Example: `  mcpoauth import
  mcpoauth import https://mcp.example.com/mcp --dry-run
  mcpoauth import https://mcp.example.com/mcp --from ~/app/tokens --yes`,
	}
	cmd.Flags().StringArrayVar(&i.from, "from", nil, "look in this `DIR` instead of the programs' own (repeatable)")
	cmd.Flags().BoolVar(&i.dryRun, "dry-run", false, "show what would be done, and do nothing")
	cmd.Flags().BoolVarP(&i.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&i.force, "force", false, "replace existing logins")
	f.addAll(cmd)
	cmd.RunE = f.runLimited(func(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
		places, err := i.places()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return i.survey(places)
		}
		return i.all(ctx, places, args, o)
	})
	return cmd
}

func (i *importing) places() ([]takeover.Place, error) {
	if len(i.from) > 0 {
		var out []takeover.Place
		for _, dir := range i.from {
			if info, err := os.Stat(dir); err != nil || !info.IsDir() {
				return nil, &usageError{"--from " + quote(dir) + " is not a directory", "name the directory in which the other program keeps its tokens"}
			}
			out = append(out, takeover.PlaceOf(dir))
		}
		return out, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, &usageError{"the home directory is not known", "set HOME, or name the directory with --from"}
	}
	return takeover.Places(home, os.Getenv), nil
}

// survey says what there is.
func (i *importing) survey(places []takeover.Place) error {
	u := i.f.u
	found, problems := takeover.Survey(places)
	for _, s := range found {
		what := s.Program
		if what == "" {
			what = "another program"
		}
		u.say("%s of %s in %s", count(s.Logins, "login"), what, clean(s.Dir))
		for _, server := range s.Servers {
			u.say("  %s", clean(server))
		}
	}
	i.problems(problems)
	if len(found) == 0 {
		var dirs []string
		for _, p := range places {
			dirs = append(dirs, clean(p.Dir))
		}
		u.say("no logins of other programs in %s; --from names another directory", strings.Join(dirs, ", "))
		return nil
	}
	u.say("the names do not say which servers they are for: name those, as in: mcpoauth import https://mcp.example.com/mcp")
	return nil
}

func (i *importing) problems(list []error) {
	for _, p := range list {
		i.f.u.warn("%s", p)
		i.f.u.hint(mcpoauth.Hint(p))
	}
}

// candidate is a login that can be taken over.
type candidate struct {
	server string
	login  *takeover.Login
}

// all finds the logins of the servers, asks, and takes them over.
func (i *importing) all(ctx context.Context, places []takeover.Place, servers []string, o *mcpoauth.Options) error {
	u := i.f.u
	var found []candidate
	var failed error
	for _, server := range servers {
		logins, problems := takeover.Find(places, i.query(server))
		if len(logins) == 0 {
			if len(problems) == 0 {
				problems = []error{withHint(fmt.Errorf("no login to %s was found", clean(server)),
					"name the URL as the other program was given it, with its --header and --resource; mcpoauth import lists the logins found, --from names another directory")}
			}
			if failed = problems[0]; len(servers) > 1 {
				i.problems(problems[:1])
			}
			continue
		}
		i.problems(problems)
		l := logins[0]
		u.say("%s: a login of %s, %s", clean(server), l.Program, describe(l, time.Now()))
		for _, file := range l.Files {
			u.say("  %s", clean(file))
		}
		if l.Shared {
			u.say("  it was shared by all servers of that host and may belong to another one: if it is refused, log in again")
		}
		if more := len(logins) - 1; more > 0 {
			u.say("  %s older; the newest is used", count(more, "other login"))
		}
		found = append(found, candidate{server, l})
	}
	if len(found) == 0 {
		return failed
	}
	if err := i.ask(ctx, found); err != nil {
		return err
	}
	for _, c := range found {
		if err := i.one(ctx, c, o); err != nil {
			if failed != nil || len(found) > 1 {
				u.warn("%s: %s", clean(c.server), trimPrefix(err))
			}
			failed = err
		}
	}
	return failed
}

func (i *importing) query(server string) takeover.Query {
	q := takeover.Query{URL: server, Resource: i.f.resource, Headers: i.f.headers}
	for _, p := range i.f.authParams {
		name, value, _ := strings.Cut(p, "=")
		if q.AuthorizeParams == nil {
			q.AuthorizeParams = make(map[string]string)
		}
		q.AuthorizeParams[name] = value
	}
	return q
}

func describe(l *takeover.Login, now time.Time) string {
	switch {
	case l.RefreshToken == "" && !l.Expiry.IsZero() && now.After(l.Expiry):
		return "which has expired and cannot be refreshed"
	case l.RefreshToken == "":
		return "without a refresh token"
	case l.Expiry.IsZero():
		return "which does not say when it expires, and will be refreshed when the server rejects it"
	case now.After(l.Expiry):
		return "which will be refreshed when first used"
	}
	return "valid for " + short(l.Expiry.Sub(now)) + ", then refreshed"
}

// ask says what taking over means, and waits for a yes.
func (i *importing) ask(ctx context.Context, found []candidate) error {
	u := i.f.u
	u.say("After the first refresh only one program can use the login: stop using the other program for %s.", count(len(found), "server"))
	if i.dryRun || i.yes {
		return nil
	}
	if !terminal.IsTerminal(u.in) {
		return &usageError{"a confirmation is needed, and standard input is not a terminal", "--yes confirms, --dry-run shows what would be done"}
	}
	fmt.Fprint(u.err, "Take over? [y/N] ")
	typing := terminal.NewInput(u.in).Await(nil)
	defer typing.End()
	select {
	case line := <-typing.Lines:
		if a := strings.ToLower(line.Text); a == "y" || a == "yes" {
			return nil
		}
		return withHint(errors.New("nothing was taken over"), "answer y, or give --yes")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// one takes a login over.
func (i *importing) one(ctx context.Context, c candidate, o *mcpoauth.Options) error {
	return i.f.withClient(ctx, c.server, o, func(client *mcpoauth.Client) error {
		l := c.login
		_, err := client.Import(ctx, &mcpoauth.ImportedLogin{
			AccessToken: l.AccessToken, RefreshToken: l.RefreshToken, TokenType: l.TokenType, Expiry: l.Expiry, Scopes: strings.Fields(l.Scope),
			Issuer: l.Issuer, ClientID: l.ClientID, ClientSecret: l.ClientSecret, ClientSecretExpiry: l.SecretExpiry, ClientAuthMethod: mcpoauth.AuthMethod(l.AuthMethod),
		}, &mcpoauth.ImportOptions{Force: i.force, DryRun: i.dryRun})
		switch {
		case errors.Is(err, mcpoauth.ErrLoginExists):
			return withHint(err, "it was not changed; --force replaces it")
		case err != nil:
			return err
		case i.dryRun:
			i.f.u.say("would take over the login to %s", clean(client.ServerURL()))
			return nil
		}
		i.f.u.say("took over the login to %s; try it: mcpoauth token %s", clean(client.ServerURL()), clean(client.ServerURL()))
		return nil
	})
}
