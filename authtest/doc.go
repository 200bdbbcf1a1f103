// Package authtest is an authorization server with a consent page, and a protected MCP server, to test
// OAuth clients against:
//
//	func TestMyClient(t *testing.T) {
//		srv := authtest.New(t, nil)
//		// srv.Browser is the person: it reads the consent page, allows, and goes back to the client.
//		c := myclient.New(srv.MCPURL(), myclient.OpenURL(srv.Browser))
//		c.Ping()
//		srv.Expire()
//		srv.Set(func(f *authtest.Faults) { f.Drop = map[string]int{"refresh": 1} })
//		c.Ping()
//		if srv.Count("authorize") != 1 || srv.Revoked() != 0 {
//			t.Error("one lost request cost the login")
//		}
//	}
//
// Outside of tests it is [Start] and [Server.Close]. It imports the standard library only, without
// testing.
//
// Its goals, in this order: to be strict, so that a client that passes here passes elsewhere; to be
// awkward, so that a client cannot rely on what only most servers do; to show what happened.
//
// # What it insists on
//
//   - PKCE with S256, a state, and response_type=code; no parameter twice.
//   - The same resource, the MCP server's URL, in the authorization request, for the code and at each
//     refresh (RFC 8707). The MCP server takes no token that is for another.
//   - The redirect URI exactly as registered, port included. Only one registered without a port (RFC
//     8252) may have any; plain http is for loopback and application_type=native.
//   - The client authentication that was registered, and that alone, its Basic form encoded as RFC 6749
//     wants it. Refresh tokens only for those who registered the grant.
//   - A code is burnt by the first attempt, good or bad; the second revokes what came from it. Refresh
//     tokens rotate; when an old one comes back, all that came from the same login is revoked.
//   - With [Options.DPoP] a proof for each token and MCP request, with ES256, never the same twice, for the key
//     that the login began with (RFC 9449).
//   - The consent form, sent from its own page, once.
//
// # What makes it awkward
//
// Endpoints have random paths, nothing but the metadata names them. Documents have members that nobody
// knows and nulls; an authentication method that nobody has is announced; registrations answer with
// more scopes than were asked for; secrets need escaping; the token type is spelt "bEARER", while the
// MCP server wants "Bearer"; challenges come in several, with misleading quotes; a 403 names the scope
// that is missing, not those that were granted. [Options.Lenient] takes most of this back, for clients
// that are not under test.
//
// # What can go wrong
//
// [Server.Set] switches [Faults] while the server runs, each its own field:
//
//   - anything: a leg that is slow (Delay), hangs up (Drop), answers 5xx or a captive portal's page
//     (Fail, RetryAfter), or whatever a function wants (Intercept);
//   - the challenge: none, no metadata in it, another one, a token that is never good enough;
//   - the documents: missing, elsewhere, with another resource or issuer, without PKCE;
//   - registration: none, another authentication method, secrets that end, foreign redirect URIs;
//   - authorization: an error, a wrong issuer or none, pushed requests only, extra parameters wanted,
//     the resource refused or any accepted;
//   - tokens: changed, form-encoded, with another status, late, or lost after the work was done;
//   - DPoP: nonces that are used up, or never good enough; tokens that are not bound after all;
//   - revocation: a form field that must be there.
//
// [Server.Expire], [Server.RevokeAll], [Server.ForgetClients], [Server.ForgetSessions] and
// [Server.AdvanceClock] are what a server's operator, and time, do to a client.
//
// # What it shows
//
// [Server.Requests] has every request in order, [Server.Count] how many there were of a leg,
// [Server.Revoked] how many logins were lost by reuse, and [Server.Secrets] all that must not be found
// in a client's output.
//
// It is no authorization server for anything else: it listens on loopback only, keeps everything in
// memory, has new paths at each start, knows one user, and asks for no password.
package authtest
