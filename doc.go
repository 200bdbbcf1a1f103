// Package mcpoauth is an OAuth client for MCP servers: a server's URL goes in, an http.Client whose requests are
// authorized comes out. It discovers the authorization server, registers a client, asks a person to log in, keeps the
// login in a store and refreshes it, for any number of processes at once.
//
//	client, err := mcpoauth.New("https://mcp.example.com/mcp", &mcpoauth.Options{
//		Prompt: mcpoauth.TerminalPrompt(os.Stdin, os.Stderr, nil), // without it no person is ever asked
//	})
//	if err != nil {
//		return err
//	}
//	defer client.Close(context.Background())
//	httpClient := client.HTTPClient() // give it to any HTTP library or MCP SDK
//
// # Which type for which job
//
//   - [Client.HTTPClient] and [Transport] send requests. [Client.OAuthHandler] is for the hook of the official Go SDK,
//     [Client.TokenSource] for golang.org/x/oauth2.
//   - [Client.Login], [Client.Token], [Client.Status] and [Client.Logout] are for a program that manages its login
//     itself. Token never asks a person; [Client.TokenRejected] reports a 401.
//   - [Options.Prompt] asks a person; [TerminalPrompt] is ready-made. [Client.BeginLogin] and [FinishLogin] are the two
//     halves of a login in a web application.
//   - [Options.Grant] is another way to tokens: [DeviceCode] for a person with another device; [ClientCredentials],
//     [WorkloadIdentity] and [EnterpriseManaged] for programs without a person.
//   - [Options.Store] keeps logins, in files by default: see the package store. [List] and [ClearAll] work on any store.
//   - [Client.Inspect] and [Client.Discover] show how a server does OAuth. [Client.Import] takes over another program's
//     login. [Trace] reports events.
//
// # Errors
//
// Decide with errors.Is: [ErrLoginRequired] needs a person, [ErrTemporary] may pass and has ended no login,
// [ErrAccessDenied] is a refusal. Facts are structs: [Error] says in which step of the protocol it failed and what the
// server said, [OptionError] which option is wrong, [ScopeError] which scopes are missing. [Hint] says what to do.
//
// # Security and compatibility
//
// A token goes to the origin of the server that it was issued for, in the Authorization header, and nowhere else.
// [Options.Allow] has all that weakens the checks. Types that hold secrets print without them. The exported API and the
// stored records are kept within a major version; a record of a newer version is refused, never damaged.
package mcpoauth
