package main

// refusalMutants are faults in what answers refusals, makes logins, and registers clients.
var refusalMutants = []mutant{
	{
		file: "begin.go", old: "\tif !sameState(callback.Get(\"state\"), pending.State) {", new: "\tif false {", tests: ".",
		why: "a callback with the state of another login finishes this one",
	},
	{
		file: "begin.go", old: `client.reg != nil && client.reg.RedirectURI != redirectURI {`, new: `false {`, tests: ".",
		why: "a login uses a client that was registered with another redirect URI",
	},
	{
		file: "authorizer.go", old: "\tcase r.force, !s.usable(time.Now()), s.access() == r.rejected, !covers(s.token.scopes, r.scopes):", new: "\tcase r.force, !s.usable(time.Now()), s.access() == r.rejected:", tests: ".",
		why: "a login with fewer scopes than needed settles the request",
	},
	{
		file: "authorizer.go", old: "\tcase s.access() != r.known:\n\t\treturn true\n", new: ``, tests: ".",
		why: "a login that another process has just made is made again",
	},
	{
		file: "authorizer.go", old: "\treturn s.required == nil && r.rejected == \"\" && len(r.scopes) == 0", new: "\treturn r.rejected == \"\" && len(r.scopes) == 0", tests: ".",
		why: "a demand for another kind of login is forgotten",
	},
	{
		file: "register.go", old: "\t\treturn r.mayReplace(c)", new: "\t\treturn true", tests: ".",
		why: "each login that is refused leaves another client at the server",
	},
	{
		file: "authorizer.go", old: "\t\tif !extra.Has(k) {", new: "\t\tif true {", tests: ".",
		why: "what the caller gave is replaced by what is known of the provider",
	},
	{
		file: "authorizer_browser.go", old: "\tif cfg.Port == 0 && client.reg != nil && RegistrationSource(client.reg.Source) == SourceDynamic {", new: "\tif false {", tests: ".",
		why: "each login needs another port, and servers that compare ports another registration",
	},
	{
		file: "authorizer_browser.go", old: `busy && a.set.callback.Port == 0 {`, new: `busy {`, tests: ".",
		why: "a port that was chosen is replaced by another",
	},
	{
		file: "register.go", old: "\tcase !reg.SecretExpiry.IsZero() && time.Now().After(reg.SecretExpiry):", new: "\tcase false:", tests: ".",
		why: "a login uses a client whose secret has expired",
	},
	{
		file: "registermanage.go", old: `time.Now().Before(stored.LoginUntil) || r.used`, new: `r.used`, tests: ".",
		why: "a client is deleted while a person logs in with it",
	},
	{
		file: "registermanage.go", old: ` || r.used(ctx, reg) {`, new: ` {`, tests: ".",
		why: "a client is deleted that other logins use",
	},
	{
		file: "registermanage.go", old: "\tif r.store.Delete(ctx, key, rev) != nil {", new: "\tif r.store.Delete(ctx, key, rev&0) != nil {", tests: ".",
		why: "a client is deleted that a login has begun to use",
	},
	{
		file: "registermanage.go", old: `stored.ClientID != reg.ClientID || time`, new: `time`, tests: ".",
		why: "a client of another login is deleted",
	},
	{
		file: "register.go", old: "\tr.save(ctx, c)\n\treturn r.complete(", new: "\treturn r.complete(", tests: ".",
		why: "each interrupted login registers another client",
	},
	{
		file: "register.go", old: "\tif k == nil || k.chosen || len(listed)", new: "\tif k == nil || len(listed)", tests: ".",
		why: "an algorithm that was chosen is refused",
	},
	{
		file: "registermanage.go", old: "\tif !manageable(reg) {\n\t\treturn &Error{", new: "\tif false {\n\t\treturn &Error{", tests: ".",
		why: "Clear sends the registration access token to any host",
	},
	{
		file: "registermanage.go", old: "err == nil && now.ClientID == reg.ClientID {\n\t\treg = now", new: "err != nil && now != nil {\n\t\treg = now", tests: ".",
		why: "Clear uses a registration access token that was replaced",
	},
	{
		file: "register.go", old: "\t\tc.key = store.Key{}\n", new: ``, tests: ".",
		why: "a registration that another key sealed is overwritten",
	},
	{
		file: "registermanage.go", old: "\tif RegistrationSource(reg.Source) != SourceDynamic || !manageable(reg) {", new: "\tif !manageable(reg) {", tests: ".",
		why: "a client that was not registered by itself is deleted",
	},
	{
		file: "transport.go", old: "\t\t\tif err == nil && sends > 1 {\n\t\t\t\tt.accepted()\n\t\t\t}\n", new: ``, tests: ".",
		why: "what refusals began does not end with a success",
	},
	{
		file: "transport.go", old: "\t\tif sends == maxSends {", new: "\t\tif sends == 99 {", tests: ".",
		why: "a server that refuses for ever is asked for ever",
	},
	{
		file: "transport.go", old: "\t\tif o.next == nil || !t.repeatable() {", new: "\t\tif o.next == nil {", tests: ".",
		why: "a request is sent again without its body",
	},
	{
		file: "transport.go", old: `t.req.ContentLength <= maxReplay:`, new: `t.req.ContentLength <= 1<<40:`, tests: ".",
		why: "bodies of any size are kept in memory",
	},
	{
		file: "transport.go", old: ` || resource.Below(g.audience(), to)`, new: ``, tests: ".",
		why: "a redirect within the token's audience is not followed",
	},
	{
		file: "transport.go", old: "\tcase t.req.GetBody != nil:\n\t\tt.body = t.req.GetBody\n", new: ``, tests: ".",
		why: "large bodies that can be had again are not sent again",
	},
	{
		file: "transport.go", old: "\tif len(via) >= 10 {", new: "\tif len(via) >= 1000 {", tests: ".",
		why: "redirects without end are followed",
	},
	{
		file: "transport.go", old: "\t\tcase !t.repeatable():\n\t\t\treturn nil, &TemporaryError{Err: errors.New(\"the MCP server demands", new: "\t\tcase false:\n\t\t\treturn nil, &TemporaryError{Err: errors.New(\"the MCP server demands", tests: ".",
		why: "a request is sent again without its body",
	},
	{
		file: "transport.go", old: "\t\tif s.due(now) {\n\t\t\tg.refresh.ahead(req.Context(), s)\n\t\t}\n", new: ``, tests: ".",
		why: "no token is renewed ahead of its end, and requests wait for it",
	},
	{
		file: "overcome.go", old: "\tif r.now.Sub(r.sent.issuedAt) < time.Minute {", new: "\tif false {", tests: ".",
		why: "a server that rejects new tokens is asked for one with each request",
	},
	{
		file: "overcome.go", old: "\tif g.unprotected.Wait() > 0 {\n\t\treturn true\n\t}\n", new: ``, tests: ".",
		why: "each request to a server without OAuth makes a discovery",
	},
	{
		file: "overcome.go", old: `b.tried[demand] >= maxSteps || `, new: ``, tests: ".",
		why: "a person is asked again and again for a scope that is never granted",
	},
	{
		file: "overcome.go", old: ` || len(b.tried) >= maxStepSets && b.tried[demand] == 0`, new: ``, tests: ".",
		why: "a server that demands a new scope each time keeps a person logging in",
	},
	{
		file: "overcome.go", old: "\tif errors.Is(err, ErrNoOAuth) && a.login.rejected == \"\" {\n\t\treturn outcome{}, nil\n\t}\n", new: ``, tests: ".",
		why: "a 401 of a server without OAuth is not the caller's",
	},
	{
		file: "decide.go", old: "\tcase r.obtained:\n\t\treturn action{kind: suspectServer}\n", new: ``, tests: ".",
		why: "a server that rejects each new token gets another request for one",
	},
	{
		file: "probe.go", old: `resp.StatusCode >= 500 || resp`, new: `resp`, tests: ".",
		why: "a server in trouble is reported as one without OAuth",
	},
	{
		file: "adapters.go", old: "\tcase resp.StatusCode == http.StatusUnauthorized && s.usable(time.Now()):\n\t\treturn nil // renewed since\n", new: ``, tests: ".",
		why: "the SDK's retry refreshes a token that was renewed meanwhile",
	},
	{
		file: "adapters.go", old: "\tif o.next == nil {", new: "\tif false && o.next == nil {", tests: ".",
		why: "the SDK repeats a request that nothing can authorize",
	},
	{
		file: "adapters.go", old: "\tif err == nil && tok.Type() == dpop.TokenType {", new: "\tif err == nil && tok.Type() == dpop.TokenType && false {", tests: ".",
		why: "a token that is bound to a key is handed out to programs without the key",
	},
	{
		file: "scopes.go", old: "\t\tscopes = append(scopes, had...)\n", new: "\t\t_ = had\n", tests: ".",
		why: "a step-up loses the scopes that the login had",
	},
	{
		file: "adapters.go", old: "\tif s != nil && s.binding != nil && (s.usable(time.Now()) || s.renewable()) {", new: "\tif s != nil && s.binding != nil && false {", tests: ".",
		why: "a login whose tokens are bound to a key is refreshed for a program that cannot use them",
	},
	{
		file: "scopes.go", old: "\t\tscopes = append(scopes, regranted(previous)...)\n", new: ``, tests: ".",
		why: "a login anew loses the scopes of a step-up",
	},
	{
		file: "scopes.go", old: "return common(rec.RequestedScopes, slices.Concat(rec.Scopes, rec.LostScopes))", new: "return rec.RequestedScopes", tests: ".",
		why: "a login anew requests scopes that were refused before",
	},
	{
		file: "decide.go", old: `cmp.Or(strings.Join(slices.Sorted(slices.Values(demanded)), " "), unnamedScopes)`, new: `cmp.Or(strings.Join(slices.Sorted(slices.Values(demanded)), " "))`, tests: ".",
		why: "a server that demands scopes and names none asks a person without end",
	},
	{
		file: "begin.go", old: `case u.Scheme == "http" && !resource.IsLoopbackHost(u.Hostname()) && !c.browser.set.allow.InsecureHTTP:`, new: `case u.Scheme == "http" && !resource.IsLoopbackHost(u.Hostname()) && false:`, tests: ".",
		why: "a code is sent over a network in the clear",
	},
	{
		file: "authorizer_device.go", old: "\tif d.code.Expiry.Before(deadline) {", new: "\tif false {", tests: ".",
		why: "a code is polled for after its end",
	},
	{
		file: "tokensource_machine.go", old: "\tif f.Temporary {\n\t\ts.pause.Fail(f.RetryAfter)\n", new: "\tif f.Temporary {\n", tests: ".",
		why: "a machine asks a server in trouble again and again",
	},
}
