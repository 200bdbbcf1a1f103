// Package mcpoauth is the OAuth client for MCP servers: a server's URL goes in, authorized
// requests come out, and they stay authorized across restarts, processes and machines.
//
//	client, err := mcpoauth.New("https://mcp.example.com/mcp", &mcpoauth.Options{
//		Prompt: mcpoauth.TerminalPrompt(os.Stdin, os.Stderr, nil),
//	})
//	if err != nil {
//		return err
//	}
//	defer client.Close(context.Background())
//	resp, err := client.HTTPClient().Get(client.ServerURL())
//
// # What happens
//
// [Client.HTTPClient] and [Transport] attach the token. When the server refuses, its challenge leads
// to discovery (RFC 9728, RFC 8414), to a client registration (pre-registered, Client ID Metadata
// Document, or RFC 7591), to the authorization code grant with PKCE in the user's browser, and into
// the store, from where the next process takes it. Expired tokens are refreshed by one process,
// while the others wait for its result.
//
// # Who may be asked
//
// Without [Options.Prompt] nothing ever opens a browser: what would need a person fails with
// [ErrLoginRequired]. [Client.Token] never prompts at all. Faults that may pass are [ErrTemporary]
// and end no login. [TerminalPrompt] is the Prompt for a person at a terminal, the one of the command too.
//
// # Without a browser, without a person
//
// [Options.Grant] is another way to tokens than the authorization code: [DeviceCode] for a person with
// another device, [ClientCredentials], [WorkloadIdentity] and [EnterpriseManaged] for programs alone. A login
// of another program is taken over by [Client.Import]; [Client.Inspect] says how a server does OAuth.
//
// # Security
//
// Tokens go to the origin of the server they were issued for, in the Authorization header, and
// nowhere else. What weakens that has Allow in its name. Types that hold secrets print redacted.
//
// # Compatibility
//
// The exported API, the stored records, the --json output of the command and its exit codes are
// kept within a major version. A record of a newer version is refused, never damaged; members that
// this version does not know survive a rewrite.
package mcpoauth
