package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

// inspected carries the exit code of an inspection whose login could not proceed.
type inspected struct{ code int }

func (e *inspected) Error() string { return "a login could not proceed" }

func newInspect(f *flags) *cobra.Command {
	var asJSON bool
	var htmlFile string
	cmd := &cobra.Command{
		Use:   "inspect URL",
		Short: "show how a server does OAuth, what is wrong, and what a login would do",
		Long: `Send a server the requests of a client before a login, and show how it does OAuth: its challenge, each
metadata request, the authorization server, what is wrong and how the owner fixes it, and what a login
would do. No client is registered and no login is made. Exit code 0 if a login could proceed, 1 if not,
5 if a temporary failure prevents an answer.`,
		Example: `  mcpoauth inspect https://mcp.example.com/mcp
  mcpoauth inspect https://mcp.example.com/mcp --html report.html`,
		Args:              exactURL,
		ValidArgsFunction: f.complete,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	cmd.Flags().StringVar(&htmlFile, "html", "", "write the result to this `FILE` as one page, to attach to a report")
	f.addAll(cmd)
	cmd.RunE = f.runLimited(func(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
		return f.withClient(ctx, args[0], o, func(c *mcpoauth.Client) error {
			in, err := c.Inspect(ctx)
			if err != nil {
				return err
			}
			if htmlFile != "" {
				if err := os.WriteFile(htmlFile, []byte(inspectionPage(in)), 0o600); err != nil {
					return &usageError{"--html: " + trimPrefix(err), "name a file that can be written"}
				}
				f.u.say("wrote %s", quote(htmlFile))
			}
			if asJSON {
				err = f.u.printJSON(in)
			} else {
				_, err = fmt.Fprint(f.u.out, inspectionText(in, painter(f.u.out)))
			}
			switch {
			case err != nil:
				return err
			case in.Login.Possible:
				return nil
			case in.Temporary:
				return &inspected{exitTemporary}
			}
			return &inspected{exitFailed}
		})
	})
	return cmd
}

// stage is a step of the way to a token, and how far it got.
type stage struct {
	name, what string
	done       bool
}

// stages are the steps that a login goes, as far as they are known to work.
func stages(in *mcpoauth.Inspection) []stage {
	ch, authServer := in.Challenge, in.AuthorizationServer != nil
	challenge := "not reached"
	if ch != nil {
		challenge = fmt.Sprintf("status %d", ch.Status)
	}
	return []stage{
		{"server", clean(in.URL), ch != nil},
		{"challenge", challenge, ch != nil && (ch.Status == http.StatusUnauthorized || ch.Status == http.StatusForbidden || authServer)},
		{"resource", cmp.Or(in.Resource, "no resource indicator"), in.ProtectedResource != nil || authServer},
		{"issuer", cmp.Or(in.Issuer, "not found"), authServer},
		{"client", cmp.Or(in.Login.Registration, "unknown"), authServer && in.Login.Registration != "none"},
		{"login", cmp.Or(in.Login.Grant, "impossible"), in.Login.Possible},
	}
}

func inspectionText(in *mcpoauth.Inspection, paint func(colour, s string) string) string {
	var b strings.Builder
	for i, s := range stages(in) {
		mark := paint(green, "✓")
		if !s.done {
			mark = paint(red, "✗")
		}
		fmt.Fprintf(&b, "%s %-9s %s\n", mark, s.name, s.what)
		if i < 5 {
			b.WriteString("│\n")
		}
	}
	if in.Challenge != nil {
		for i, h := range in.Challenge.Headers {
			if i == 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "WWW-Authenticate: %s\n", h)
		}
	}
	if len(in.Requests) > 0 {
		b.WriteString("\nmetadata requests\n")
		for _, r := range in.Requests {
			status := "-"
			if r.Status != 0 {
				status = fmt.Sprint(r.Status)
			}
			fmt.Fprintf(&b, "  %3s %5d ms  %s  %s\n", status, r.Milliseconds, r.URL, r.Outcome)
		}
	}
	if len(in.Findings) > 0 {
		b.WriteString("\nfindings\n")
		for _, f := range in.Findings {
			colour := map[mcpoauth.Severity]string{mcpoauth.SeverityError: red, mcpoauth.SeverityWarning: yellow, mcpoauth.SeverityInfo: ""}[f.Severity]
			fmt.Fprintf(&b, "  %s %s [%s]\n", paint(colour, string(f.Severity)+":"), f.Message, f.ID)
			if f.Fix != "" {
				fmt.Fprintf(&b, "      fix: %s\n", f.Fix)
			}
			fmt.Fprintf(&b, "      see: %s\n", f.Reference)
		}
	}
	b.WriteString("\n")
	if in.Login.Possible {
		fmt.Fprintf(&b, "a login could proceed: grant %s, client %s, scopes %s\n  mcpoauth login %s\n", in.Login.Grant, in.Login.Registration, cmp.Or(strings.Join(in.Login.Scopes, " "), "none"), shellWord(in.URL))
	} else {
		b.WriteString("a login could not proceed:\n")
		for _, why := range in.Login.Blockers {
			fmt.Fprintf(&b, "  %s\n", why)
		}
	}
	return b.String()
}

const inspectionStyle = `:root{color-scheme:light dark;--bg:#f4f5f8;--card:#fff;--ink:#1b1f2a;--soft:#5b6275;--line:#e3e6ee;--good:#1d7a46;--bad:#b3261e;--warn:#8a6100}
@media (prefers-color-scheme:dark){:root{--bg:#12141b;--card:#1c202b;--ink:#eef0f6;--soft:#a2a9bd;--line:#2d3342;--good:#4cc38a;--bad:#ff8a80;--warn:#f0c865}}
*{box-sizing:border-box}body{margin:0;padding:32px 20px;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,sans-serif}
main{max-width:860px;margin:auto}h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:28px 0 10px}p{margin:0;color:var(--soft);overflow-wrap:anywhere}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 20px}
ol{list-style:none;margin:0;padding:0}li+li{border-top:1px solid var(--line)}li{padding:9px 0;display:flex;gap:12px;overflow-wrap:anywhere}
.mark{flex:none;width:1.4em;font-weight:700}.good{color:var(--good)}.bad,.error{color:var(--bad)}.warning{color:var(--warn)}.info{color:var(--soft)}
b{flex:none;width:6.5em}table{width:100%;border-collapse:collapse;font-size:13px}td{padding:6px 10px 6px 0;vertical-align:top;overflow-wrap:anywhere}tr+tr td{border-top:1px solid var(--line)}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:12.5px/1.5 ui-monospace,Menlo,Consolas,monospace}small{display:block;color:var(--soft)}`

// inspectionPage is the inspection as one page without scripts. Everything of the server's is escaped.
func inspectionPage(in *mcpoauth.Inspection) string {
	var b strings.Builder
	e := html.EscapeString
	verdict, class := "A login could proceed", "good"
	if !in.Login.Possible {
		verdict, class = "A login could not proceed", "bad"
	}
	fmt.Fprintf(&b, `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">`+
		`<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>mcpoauth inspect</title><style>%s</style></head><body><main>`, inspectionStyle)
	fmt.Fprintf(&b, `<h1 class="%s">%s</h1><p>%s</p>`, class, verdict, e(in.URL))
	b.WriteString(`<h2>Steps to a token</h2><div class="card"><ol>`)
	for _, s := range stages(in) {
		mark, class := "✓", "good"
		if !s.done {
			mark, class = "✗", "bad"
		}
		fmt.Fprintf(&b, `<li><span class="mark %s">%s</span><b>%s</b><span>%s</span></li>`, class, mark, s.name, e(s.what))
	}
	b.WriteString(`</ol></div>`)
	if len(in.Findings) > 0 {
		b.WriteString(`<h2>Findings</h2><div class="card"><ol>`)
		for _, f := range in.Findings {
			fmt.Fprintf(&b, `<li><b class="%s">%s</b><span>%s<small>Fix: %s</small><small>%s · %s</small></span></li>`, f.Severity, f.Severity, e(f.Message), e(cmp.Or(f.Fix, "-")), e(f.Reference), e(f.ID))
		}
		b.WriteString(`</ol></div>`)
	}
	if len(in.Requests) > 0 {
		b.WriteString(`<h2>Metadata requests</h2><div class="card"><table>`)
		for _, r := range in.Requests {
			fmt.Fprintf(&b, `<tr><td>%d</td><td>%d ms</td><td>%s</td><td>%s</td></tr>`, r.Status, r.Milliseconds, e(r.URL), e(r.Outcome))
		}
		b.WriteString(`</table></div>`)
	}
	if in.Challenge != nil && len(in.Challenge.Headers) > 0 {
		fmt.Fprintf(&b, `<h2>Challenge</h2><div class="card"><pre>%s</pre></div>`, e("WWW-Authenticate: "+strings.Join(in.Challenge.Headers, "\nWWW-Authenticate: ")))
	}
	for _, d := range []struct {
		title string
		text  []byte
	}{{"Protected resource metadata", in.ProtectedResource}, {"Authorization server metadata", in.AuthorizationServer}} {
		if d.text != nil {
			fmt.Fprintf(&b, `<h2>%s</h2><div class="card"><pre>%s</pre></div>`, d.title, e(indented(d.text)))
		}
	}
	b.WriteString("</main></body></html>\n")
	return b.String()
}

// indented is a document as people read it, without control characters.
func indented(doc []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, doc, "", "  ") != nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return -1
		}
		return r
	}, b.String())
}
