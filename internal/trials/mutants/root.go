package main

// rootMutants are faults in the library itself.
var rootMutants = []mutant{
	{
		file: "refresh.go", old: `now.rec.RefreshToken != s.rec.RefreshToken && now.usable(time.Now())`, new: `false`, tests: ".",
		why: "a login that another process has just refreshed is reported as lost",
	},
	{
		file: "authorize.go", old: "Endpoint: p.TokenEndpoint, Auth: auth, Code: cb.Code, Verifier: secret.New(p.Verifier),", new: `Endpoint: p.TokenEndpoint, Auth: auth, Code: cb.Code, Verifier: secret.New(""),`, tests: ".",
		why: "the authorization code is exchanged without its PKCE verifier, so every login fails",
	},
	{
		file: "authorize.go", old: `if !sameState(callback.Get("state"), p.State) {`, new: `if false {`, tests: ".",
		why: "a callback with the state of another login finishes this one",
	},
}
