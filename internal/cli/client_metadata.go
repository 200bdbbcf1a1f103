package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
)

// clientMetadataJSON is what client-metadata --check --json prints.
type clientMetadataJSON struct {
	Version int                            `json:"version"`
	URL     string                         `json:"url"`
	Usable  bool                           `json:"usable"`
	Faults  []mcpoauth.ClientMetadataFault `json:"faults"`
}

func newClientMetadata(f *flags) *cobra.Command {
	var check, asJSON bool
	var file, clientURI, logoURI string
	var contacts []string
	cmd := &cobra.Command{
		Use:   "client-metadata URL",
		Short: "write or check a Client ID Metadata Document",
		Long: `Write the Client ID Metadata Document of your own client: serve the output at URL, and that URL is the
client's ID at every server that supports such documents, without a registration. With --check the
document is fetched as an authorization server does, and compared with what a login with the same
flags needs. Exit code 1 if logins with it fail, 5 if a temporary failure prevents an answer.`,
		Example: `  mcpoauth client-metadata https://app.example.com/oauth/client.json --client-name Example > client.json
  mcpoauth client-metadata https://app.example.com/oauth/client.json --check
  mcpoauth login https://mcp.example.com/mcp --client-metadata-url https://app.example.com/oauth/client.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return nil
			}
			return &usageError{"mcpoauth client-metadata needs the URL of the document", "as in: mcpoauth client-metadata https://app.example.com/oauth/client.json"}
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	fs := cmd.Flags()
	fs.BoolVar(&check, "check", false, "fetch the document and report what is wrong with it")
	fs.StringVar(&file, "file", "", "check this `FILE` instead, before it is served there")
	fs.BoolVar(&asJSON, "json", false, "print what --check finds as JSON")
	fs.StringVar(&clientURI, "client-uri", "", "`URL` of a page about the client")
	fs.StringVar(&logoURI, "logo-uri", "", "`URL` of its logo")
	fs.StringArrayVar(&contacts, "contact", nil, "`ADDRESS` of a person responsible for it (repeatable)")
	f.addAll(cmd)
	cmd.RunE = f.runLimited(func(ctx context.Context, _ *cobra.Command, args []string, o *mcpoauth.Options) error {
		o.Client.MetadataURL, o.Client.Metadata = args[0], map[string]any{"client_uri": clientURI, "logo_uri": logoURI, "contacts": contacts}
		m, err := mcpoauth.NewClientMetadata(o)
		if err != nil {
			return newFailed(err)
		}
		var faults []mcpoauth.ClientMetadataFault
		switch {
		case file != "":
			b, err := readFile("--file", file)
			if err != nil {
				return err
			}
			faults = m.Check(b)
		case check:
			if faults, err = mcpoauth.CheckClientMetadata(ctx, o); err != nil {
				return err
			}
		default:
			b, err := m.JSON()
			if err != nil {
				return err
			}
			_, err = f.u.out.Write(b)
			return err
		}
		return f.u.printFaults(m.ClientID, faults, asJSON)
	})
	return cmd
}

// printFaults prints what is wrong with a document. Grave faults become the exit code.
func (u *ui) printFaults(url string, faults []mcpoauth.ClientMetadataFault, asJSON bool) error {
	doc := clientMetadataJSON{Version: 1, URL: clean(url), Usable: true, Faults: []mcpoauth.ClientMetadataFault{}}
	for _, fault := range faults {
		doc.Usable = doc.Usable && !fault.Grave
		doc.Faults = append(doc.Faults, mcpoauth.ClientMetadataFault{Member: fault.Member, Grave: fault.Grave, Message: clean(fault.Message), Fix: clean(fault.Fix)})
	}
	if asJSON {
		if err := u.printJSON(doc); err != nil {
			return err
		}
	} else {
		for _, fault := range doc.Faults {
			severity := "warning"
			if fault.Grave {
				severity = "error"
			}
			if _, err := fmt.Fprintf(u.out, "%s: %s: %s\n  %s\n", severity, cmp.Or(fault.Member, "the document"), fault.Message, fault.Fix); err != nil {
				return err
			}
		}
		if len(faults) == 0 {
			u.say("%s is good: log in with --client-metadata-url", clean(url))
		}
	}
	if !doc.Usable {
		return &inspected{exitFailed}
	}
	return nil
}
