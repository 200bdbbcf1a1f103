package main

// rootMutants are faults in the library itself.
var rootMutants = []mutant{
	{
		file: "refresh.go", old: `now.rec.RefreshToken != previous.rec.RefreshToken && now.session.usable(time.Now())`, new: `now.rec.RefreshToken == ""`, tests: ".",
		why: "a login that another process has just refreshed is reported as lost",
	},
	{
		file: "authorizer.go", old: `Verifier: secret.New(pending.Verifier),`, new: `Verifier: secret.New(""),`, tests: ".",
		why: "the authorization code is exchanged without its PKCE verifier, so every login fails",
	},
	{
		file: "begin.go", old: `if !sameState(callback.Get("state"), pending.State) {`, new: `if false {`, tests: ".",
		why: "a callback with the state of another login finishes this one",
	},
	{
		file: "authorizer.go", old: `Issuer: rec.Issuer, Promised: rec.IssParameterPromised}`, new: `Issuer: rec.Issuer}`, tests: ".",
		why: "an authorization server that promised its issuer in the callback may leave it out (RFC 9207 section 2.4)",
	},
	{
		file: "tokensource.go", old: `if !sameOrigin(d.Server.TokenEndpoint, rec.TokenEndpoint) && !sameOrigin(`, new: `if d.Server.TokenEndpoint == "" && !sameOrigin(`, tests: ".",
		why: "the refresh token goes to any host that the metadata names as the moved token endpoint",
	},
	{
		file: "register.go", old: `(sameOrigin(reg.ClientURI, reg.Endpoint) || sameOrigin(reg.ClientURI, reg.Issuer))`, new: `(reg.ClientURI != "" || sameOrigin(reg.ClientURI, reg.Issuer))`, tests: ".",
		why: "the registration access token goes to any host that the server named",
	},
}
