package main

import "slices"

// rootMutants are faults in the library itself.
var rootMutants = slices.Concat(requestMutants, policyMutants, keepingMutants, []mutant{
	{
		file: "authorizer.go", tests: ".",
		old: `Verifier: secret.New(pending.Verifier),`,
		new: `Verifier: secret.New(""),`,
		why: "the authorization code is exchanged without its PKCE verifier, so every login fails",
	},
	{
		file: "begin.go", tests: ".",
		old: `if !sameState(callback.Get("state"), pending.State) {`,
		new: `if false {`,
		why: "a callback with the state of another login finishes this one",
	},
	{
		file: "authorizer.go", tests: ".",
		old: `rec.IssuerSpelling), Promised: rec.IssParameterPromised}`,
		new: `rec.IssuerSpelling)}`,
		why: "an authorization server that promised its issuer in the callback may leave it out (RFC 9207 section 2.4)",
	},
	{
		file: "registermanage.go", tests: ".",
		old: `(resource.SameOriginOf(reg.ClientURI, reg.Endpoint) || resource.SameOriginOf(reg.ClientURI, reg.Issuer))`,
		new: `resource.SameOriginOf(reg.ClientURI, reg.ClientURI)`,
		why: "the registration access token goes to any host that the server named",
	},
	{
		file: "begin.go", tests: ".",
		old: `age > pendingLife || age < -pendingLife`,
		new: `age < -pendingLife`,
		why: "a login that began long ago can be finished",
	},
	{
		file: "begin.go", tests: ".",
		old: `	if err := st.Delete(ctx, key, rev); err != nil {`,
		new: `	if err := st.Delete(ctx, key, rev); false {`,
		why: "a callback that is delivered twice is finished twice",
	},
	{
		file: "begin.go", tests: ".",
		old: `	if pending.Login.ServerURL != c.trace.server {`,
		new: `	if pending.Login.ServerURL == "" {`,
		why: "a login to one server is finished as one to another",
	},
	{
		file: "login.go", tests: ".",
		old: `	if err := c.logins.probe(ctx); err != nil {`,
		new: `	if err := c.logins.probe(ctx); false {`,
		why: "a person logs in before a store that cannot be written",
	},
	{
		file: "login.go", tests: ".",
		old: `		if request.settledBy(st.session) {`,
		new: `		if false {`,
		why: "each process that waited asks the person again",
	},
	{
		file: "login.go", tests: ".",
		old: `	case !errors.Is(err, store.ErrNotFound) && !isCorrupt(err):`,
		new: `	case errors.Is(err, store.ErrConflict) && isCorrupt(err):`,
		why: "a record that another key sealed is replaced by a login",
	},
	{
		file: "login.go", tests: ".",
		old: `	c.journal.clear(ctx)
`,
		new: ``,
		why: "lost answers of the login before hold up the refresh of the new one",
	},
	{
		file: "authorizer.go", tests: ".",
		old: `	case r.force, !s.usable`,
		new: `	case !s.usable`,
		why: "a login that a person insisted on is skipped",
	},
	{
		file: "authorizer.go", tests: ".",
		old: `s.access() == r.rejected, `,
		new: ``,
		why: "a token that the server rejects is taken for a login",
	},
	{
		file: "authorizer.go", tests: ".",
		old: `!covers(s.token.scopes, r.scopes):`,
		new: `false:`,
		why: "a login for further scopes is taken for done",
	},
	{
		file: "register.go", tests: ".",
		old: `c == nil || !c.reused || `,
		new: `c == nil || `,
		why: "a fresh registration that is refused causes another",
	},
	{
		file: "authorizer.go", tests: ".",
		old: `plan.request.newClient, plan.replaces = true, true`,
		new: `plan.replaces = true`,
		why: "a client that the server forgot is used again",
	},
	{
		file: "authorizer.go", tests: ".",
		old: `if !sameState(cb.State, pending.State) {
		return nil, &Error{Op: OpAuthorization, Message: "the callback`,
		new: `if cb.State == "" {
		return nil, &Error{Op: OpAuthorization, Message: "the callback`,
		why: "the callback of another login is accepted",
	},
	{
		file: "authorizer.go", tests: ".",
		old: `return want != "" && subtle`,
		new: `return want == "" || subtle`,
		why: "a pending login without a state accepts any",
	},
	{
		file: "authorizer_browser.go", tests: ".",
		old: `busy && a.set.callback.Port == 0`,
		new: `busy`,
		why: "a configured port is silently replaced",
	},
	{
		file: "authorizer_browser.go", tests: ".",
		old: `			a.registry.suspect(ctx, client)
`,
		new: ``,
		why: "a client that the server forgot is used for ever",
	},
	{
		file: "authorizer_browser.go", tests: ".",
		old: `	if !sameState(v.Get("state"), p.State) {`,
		new: `	if false {`,
		why: "the pasted address of another login is accepted",
	},
	{
		file: "idtoken.go", tests: ".",
		old: `	case claims.Issuer != rec.Issuer:`,
		new: `	case false:`,
		why: "an ID token of another issuer is accepted",
	},
	{
		file: "idtoken.go", tests: ".",
		old: `	case !claims.For(rec.Registration.ClientID):`,
		new: `	case false:`,
		why: "an ID token for another client is accepted",
	},
	{
		file: "idtoken.go", tests: ".",
		old: `	case nonce != "" && claims.Nonce != nonce:`,
		new: `	case false:`,
		why: "an ID token of another login is accepted",
	},
	{
		file: "register.go", tests: ".",
		old: `	if c.reg.Unanswered {`,
		new: `	if false {`,
		why: "a client that the server forgot is a dead end",
	},
	{
		file: "register.go", tests: ".",
		old: `	case !reg.SecretExpiry.IsZero() && time.Now().After(reg.SecretExpiry):
		note(`,
		new: `	case false:
		note(`,
		why: "a client whose secret has expired is used",
	},
	{
		file: "register.go", tests: ".",
		old: `	case need.fresh, reg.Issuer != issuer:`,
		new: `	case reg.Issuer != issuer:`,
		why: "a new client that was asked for is not registered",
	},
	{
		file: "registermanage.go", tests: ".",
		old: `time.Now().Before(stored.LoginUntil) || r.used(ctx, reg)`,
		new: `r.used(ctx, reg)`,
		why: "the client of a login under way is deleted",
	},
	{
		file: "registermanage.go", tests: ".",
		old: `time.Now().Before(stored.LoginUntil) || r.used(ctx, reg)`,
		new: `time.Now().Before(stored.LoginUntil)`,
		why: "a client that other logins use is deleted",
	},
	{
		file: "discover.go", tests: ".",
		old: `		if resource.SameIssuer(own, issuer) {`,
		new: `		if true {`,
		why: "a client is shown to an authorization server that it does not belong to",
	},
	{
		file: "probe.go", tests: ".",
		old: `	if session := resp.Header.Get("Mcp-Session-Id"); session != "" {`,
		new: `	if session := resp.Header.Get("Mcp-Session-Id"); session == "-" {`,
		why: "a discovery leaves a session at the server",
	},
	{
		file: "probe.go", tests: ".",
		old: `resp.StatusCode >= 500 || `,
		new: ``,
		why: "a server in trouble is said to have no OAuth",
	},
	{
		file: "scopes.go", tests: ".",
		old: `again := previous != nil && previous.Issuer == f.Issuer`,
		new: `again := previous != nil`,
		why: "the scopes of one authorization server are requested at another",
	},
	{
		file: "network.go", tests: ".",
		old: `len(header) == 0 || !resource.SameOrigin(r.URL, n.server)`,
		new: `len(header) == 0`,
		why: "configured headers are sent to other origins",
	},
	{
		file: "import.go", tests: ".",
		old: `	if o.Force {
		return nil
	}
`,
		new: `	if true {
		return nil
	}
`,
		why: "an import replaces a login",
	},
	{
		file: "client.go", tests: ".",
		old: `errors.Is(err, ErrTemporary) && c.set.prompt == nil`,
		new: `errors.Is(err, ErrTemporary)`,
		why: "a person cannot log in while the token endpoint refuses to refresh",
	},
	{
		file: "client.go", tests: ".",
		old: `request.force || s.required != nil || `,
		new: `request.force || `,
		why: "a login that the server rejects is good enough for Login",
	},
	{
		file: "adapters.go", tests: ".",
		old: `	case sent == "":
		s = nil
`,
		new: ``,
		why: "a request without a token is taken for one whose token was refused",
	},
	{
		file: "settings.go", tests: ".",
		old: `	if c.Secret != "" && c.ID == "" {`,
		new: `	if false {`,
		why: "a secret without a client is ignored",
	},
})
