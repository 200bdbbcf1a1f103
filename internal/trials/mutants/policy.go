package main

// policyMutants are faults in what the library decides: about refusals, sessions, settings and challenges.
var policyMutants = []mutant{
	{
		file: "transport.go", tests: ".",
		old: `	if len(via) >= 10 {`,
		new: `	if false {`,
		why: "redirects within the origin are followed for ever",
	},
	{
		file: "transport.go", tests: ".",
		old: `resource.Below(g.server, to) || resource.Below(from, to) || resource.Below(g.audience(), to)`,
		new: `resource.Below(g.server, to) || resource.Below(g.audience(), to)`,
		why: "a redirect below the address that redirects loses its token",
	},
	{
		file: "transport.go", tests: ".",
		old: `		if !g.mayFollow(to.URL, r.Request.URL) {`,
		new: `		if false {`,
		why: "the token follows a redirect to any address",
	},
	{
		file: "transport.go", tests: ".",
		old: `		to = r.Request
`,
		new: ``,
		why: "a chain of redirects over another origin comes back with the token",
	},
	{
		file: "transport.go", tests: ".",
		old: `	case t.req.ContentLength > 0 && t.req.ContentLength <= maxReplay:`,
		new: `	case t.req.ContentLength > 0:`,
		why: "a body of any size is read into memory",
	},
	{
		file: "transport.go", tests: ".",
		old: `	if err != nil || int64(len(b)) != t.req.ContentLength {`,
		new: `	if err != nil {`,
		why: "a body that is longer than it says is cut",
	},
	{
		file: "transport.go", tests: ".",
		old: `errReader{err}, rest), rest}`,
		new: `rest), rest}`,
		why: "a body that breaks is sent as if it were whole",
	},
	{
		file: "transport.go", tests: ".",
		old: `		if sends == maxSends {`,
		new: `		if false {`,
		why: "a request is repeated without end",
	},
	{
		file: "transport.go", tests: ".",
		old: `o.next == nil || !t.repeatable()`,
		new: `o.next == nil`,
		why: "a request whose body is spent is repeated with none",
	},
	{
		file: "transport.go", tests: ".",
		old: `t.closed.Load() && t.req.Context().Err() == nil && `,
		new: `t.closed.Load() && `,
		why: "a caller that leaves is told that the Client was closed",
	},
	{
		file: "transport.go", tests: ".",
		old: `	if t.closed.Load() {
		closeBody(t.out)
		return nil, errClosed
	}`,
		new: ``,
		why: "a closed Client repeats a request",
	},
	{
		file: "transport.go", tests: ".",
		old: `	if r.Header = maps.Clone(t.req.Header); r.Header == nil {`,
		new: `	if r.Header = t.req.Header; r.Header == nil {`,
		why: "the token is left in the caller's request",
	},
	{
		file: "overcome.go", tests: ".",
		old: `if !ok || can.nonInteractive && !can.provider {`,
		new: `if !ok {`,
		why: "a machine's refused token sends a person to a browser",
	},
	{
		file: "overcome.go", tests: ".",
		old: `	if !g.steps.take(a.once) {
		return outcome{}, a.exhausted
	}
`,
		new: ``,
		why: "a server that demands scopes for ever asks the person for ever",
	},
	{
		file: "overcome.go", tests: ".",
		old: `errors.Is(err, ErrNoOAuth) && a.login.rejected == ""`,
		new: `errors.Is(err, ErrNoOAuth)`,
		why: "a refused token is passed on as if the server had no OAuth",
	},
	{
		file: "overcome.go", tests: ".",
		old: `len(b.tried) >= maxStepSets && b.tried[demand] == 0`,
		new: `false`,
		why: "a server that demands a new scope each time asks without end",
	},
	{
		file: "overcome.go", tests: ".",
		old: `	g.steps.reset()
`,
		new: ``,
		why: "a demand that was met once is never met again",
	},
	{
		file: "decide.go", tests: ".",
		old: `	case r.challenge.required != nil && r.sent != nil:
`,
		new: `	case false:
`,
		why: "a demand for another kind of login is answered by a refresh",
	},
	{
		file: "decide.go", tests: ".",
		old: `r.now.Before(r.sent.token.expiry)`,
		new: `true`,
		why: "a 403 for an expired token ends the request",
	},
	{
		file: "decide.go", tests: ".",
		old: `r.stored.usable(r.now) && r.stored`,
		new: `r.stored`,
		why: "a stored token that is over is sent",
	},
	{
		file: "decide.go", tests: ".",
		old: ` && r.stored.access() != r.sent.access()`,
		new: ``,
		why: "the token that was refused is sent again",
	},
	{
		file: "decide.go", tests: ".",
		old: `	case r.obtained:
`,
		new: `	case false:
`,
		why: "a server that refuses new tokens causes one refresh after the other",
	},
	{
		file: "decide.go", tests: ".",
		old: `	case r.challenge.dpop && r.sent.binding == nil && can.bind:`,
		new: `	case r.challenge.dpop && can.bind:`,
		why: "a bound token that has expired asks a person",
	},
	{
		file: "decide.go", tests: ".",
		old: `		return action{kind: fail, err: required} // a person could not change that either`,
		new: `		_ = required`,
		why: "a person is asked though the client was registered by hand and is unknown",
	},
	{
		file: "decide.go", tests: ".",
		old: `r.elsewhere() && covers(r.stored.token.scopes, demanded)`,
		new: `r.elsewhere()`,
		why: "a token without the demanded scopes is sent again",
	},
	{
		file: "decide.go", tests: ".",
		old: `!r.challenge.bearer && rejected == ""`,
		new: `!r.challenge.bearer`,
		why: "a refused token is passed on as if the server had no OAuth",
	},
	{
		file: "decide.go", tests: ".",
		old: `			a.require = noRequirement
`,
		new: ``,
		why: "the next login is content with a token that the server rejects",
	},
	{
		file: "decide.go", tests: ".",
		old: ` + required.Claims, exhausted`,
		new: `, exhausted`,
		why: "demands for different claims count as one",
	},
	{
		file: "session.go", tests: ".",
		old: `	maxSkew  = time.Second`,
		new: `	maxSkew  = 0`,
		why: "a token expires on its way to the server",
	},
	{
		file: "session.go", tests: ".",
		old: `	if used := issuedAt.Add(minUse); !issuedAt.IsZero() && s.until.Before(used) {`,
		new: `	if used := issuedAt.Add(minUse); false {`,
		why: "a lifetime of 0 causes a refresh for each request",
	},
	{
		file: "session.go", tests: ".",
		old: `min(maxEarly, lifetime/earlyPart)`,
		new: `maxEarly`,
		why: "a token of half a minute is renewed for each request",
	},
	{
		file: "session.go", tests: ".",
		old: `err != nil && s.ended == ""`,
		new: `err == nil`,
		why: "a login with a damaged key is used",
	},
	{
		file: "session.go", tests: ".",
		old: `!now.Add(d).After(s.until)`,
		new: `true`,
		why: "a caller that needs a validity gets less",
	},
	{
		file: "given.go", tests: ".",
		old: `s.client.ID == r.Registration.ClientID && s.client.Secret != ""`,
		new: `s.client.Secret != ""`,
		why: "the secret of one client is sent for another",
	},
	{
		file: "given.go", tests: ".",
		old: `	case s.client.Issuer != "" && !resource.SameIssuer(s.client.Issuer, rec.Issuer):`,
		new: `	case false:`,
		why: "a client is used at an issuer that it does not belong to",
	},
	{
		file: "given.go", tests: ".",
		old: `a.ID != "" && a.ID == s.client.ID && s.client.Secret != ""`,
		new: `s.client.Secret != ""`,
		why: "the secret of one client authenticates another",
	},
	{
		file: "given.go", tests: ".",
		old: `rec.LoginRequiredFor == s.refusalDigest(rec)`,
		new: `true`,
		why: "a login that was refused for a wrong secret stays over with the right one",
	},
	{
		file: "given.go", tests: ".",
		old: `r.RefreshToken, auth.ID, auth.Secret.Reveal(),`,
		new: `r.RefreshToken, auth.ID,`,
		why: "a secret that was corrected is not tried",
	},
	{
		file: "given.go", tests: ".",
		old: `			a.Audience = reg.Issuer
`,
		new: ``,
		why: "an assertion is made for the token endpoint instead of the issuer",
	},
	{
		file: "scopes.go", tests: ".",
		old: `	case f.challenge.scopeGiven:`,
		new: `	case false:`,
		why: "the scopes of the challenge are not requested",
	},
	{
		file: "scopes.go", tests: ".",
		old: `return f.Provider == nil && covers(identityScopes, f.Server.ScopesSupported)`,
		new: `return true`,
		why: "offline_access alone replaces the scopes that a server gives by itself",
	},
	{
		file: "scopes.go", tests: ".",
		old: ` && !slices.Contains(s.scopes.Request, offlineAccess)`,
		new: ``,
		why: "a scope that the person requests is dropped",
	},
	{
		file: "scopes.go", tests: ".",
		old: `len(all) <= maxRegisteredScopes`,
		new: `true`,
		why: "a client is registered for hundreds of scopes",
	},
	{
		file: "challenge.go", tests: ".",
		old: `	b.ErrorDescription = secret.Hide(b.ErrorDescription, sent.access())
`,
		new: `	_ = secret.Hide
`,
		why: "a server that repeats the token has it in an error",
	},
	{
		file: "challenge.go", tests: ".",
		old: `b.DPoP && !b.Found, strings`,
		new: `b.DPoP, strings`,
		why: "a server that takes both kinds of token gets a new login",
	},
	{
		file: "challenge.go", tests: ".",
		old: `len(a.MaxAge) > 10 || `,
		new: ``,
		why: "a challenge makes a URL of any length",
	},
	{
		file: "challenge.go", tests: ".",
		old: `len(a.ACRValues) > maxRequirement || `,
		new: ``,
		why: "a challenge makes a URL of any length by its kinds of login",
	},
	{
		file: "challenge.go", tests: ".",
		old: `b.Error != needsAuthentication && b.Error != needsClaims`,
		new: `false`,
		why: "any refusal with a kind of login asks the person",
	},
	{
		file: "challenge.go", tests: ".",
		old: ` || len(object) == 0`,
		new: ``,
		why: "empty claims ask the person for another login",
	},
	{
		file: "settings.go", tests: ".",
		old: `!strings.HasPrefix(c.Path, "/") || path`,
		new: `path`,
		why: "a callback path without a slash makes a redirect URI that nothing answers",
	},
	{
		file: "settings.go", tests: ".",
		old: `c.Port < 0 || c.Port > 65535`,
		new: `c.Port > 65535`,
		why: "a negative port is taken",
	},
	{
		file: "settings.go", tests: ".",
		old: `r <= 0x20 || `,
		new: ``,
		why: "two scopes in one are requested as one",
	},
	{
		file: "settings.go", tests: ".",
		old: `o.Resource != "" && o.NoResource`,
		new: `false`,
		why: "a resource is set and left out",
	},
	{
		file: "settings.go", tests: ".",
		old: `s.dpop < Auto || s.dpop > Never`,
		new: `s.dpop > Never`,
		why: "a mode that does not exist is taken",
	},
	{
		file: "settings.go", tests: ".",
		old: `	if s.loginTimeout < 0 {`,
		new: `	if false {`,
		why: "a negative limit ends each login at once",
	},
	{
		file: "settings.go", tests: ".",
		old: `g.Assertion == nil`,
		new: `false`,
		why: "a workload without assertions panics at its first request",
	},
	{
		file: "settings.go", tests: ".",
		old: `o.Request, o.Add, o.Drop = slices.Clone(o.Request), slices.Clone(o.Add), slices.Clone(o.Drop)
`,
		new: ``,
		why: "a caller's slice changes the scopes of a Client",
	},
	{
		file: "errors.go", tests: ".",
		old: `		if f.Code == "access_denied" {`,
		new: `		if false {`,
		why: "a person's refusal is not told from a fault",
	},
	{
		file: "errors.go", tests: ".",
		old: `	if f.Temporary {
`,
		new: `	if false {
`,
		why: "a fault that may pass looks final",
	},
	{
		file: "errors.go", tests: ".",
		old: `		if f.NotOffered {`,
		new: `		if false {`,
		why: "a server without OAuth is not told from one in trouble",
	},
	{
		file: "cooldown.go", tests: ".",
		old: `	if retryAfter > 0 {`,
		new: `	if false {`,
		why: "the pause that a server asks for is cut short",
	},
	{
		file: "client.go", tests: ".",
		old: `errors.Is(err, ErrLoginRequired) && !c.set.nonInteractive() {`,
		new: `false {`,
		why: "the next login is content with a token that was rejected",
	},
	{
		file: "client.go", tests: ".",
		old: `!covers(s.token.scopes, request.scopes) || `,
		new: ``,
		why: "a login for further scopes refreshes the old ones",
	},
	{
		file: "client.go", tests: ".",
		old: `c.set.nonInteractive() && !errors.Is(err, ErrLoginRequired):`,
		new: `false:`,
		why: "a caller that left while the token was renewed sends a person to a browser",
	},
	{
		file: "adapters.go", tests: ".",
		old: `	if g.closed.Load() {
		return errClosed
	}
`,
		new: ``,
		why: "a closed Client says that a request can be repeated",
	},
	{
		file: "adapters.go", tests: ".",
		old: `resp.StatusCode == http.StatusUnauthorized && s`,
		new: `s`,
		why: "a 403 for an older token is taken for renewed",
	},
	{
		file: "network.go", tests: ".",
		old: `		if _, ok := r2.Header[k]; !ok {`,
		new: `		if true {`,
		why: "a configured header replaces the request's own",
	},
}
