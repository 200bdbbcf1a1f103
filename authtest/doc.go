// Package authtest is an authorization server and a protected MCP server to test OAuth clients against.
//
// Its goals, in this order: to be strict, so that a client that passes here passes elsewhere; to be
// awkward, so that a client cannot rely on what only most servers do; to show what happened. By
// default its paths are random, its documents have members nobody knows, the token type is oddly
// spelt, challenges come in several, redirect URIs match exactly, codes burn at the first attempt,
// refresh tokens rotate and their reuse revokes all that came from the same login, and every request
// must carry the same resource. [Options.Lenient] takes most of that back, for clients that are not
// under test. [Server.Set] switches faults while it runs.
//
// It is no authorization server for anything else: it listens on loopback only, keeps everything in
// memory, has new keys and paths at each start, knows one user, and asks for no password.
package authtest
