package main

// keepingMutants are faults in how the library makes, keeps, renews and ends logins and registrations.
var keepingMutants = []mutant{
	{
		file: "loginstore.go", tests: ".",
		old: `now != nil && now.rev > rev || `,
		new: ``,
		why: "a slow read brings back an older token",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `	case !st.session.usable(time.Now()) && !st.session.renewable():`,
		new: `	case false:`,
		why: "a login that is over is returned as one that can be used",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `s.usable(time.Now()) && ctx.Err() == nil`,
		new: `ctx.Err() == nil`,
		why: "an expired token is used while the store is away",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `		return l.resolveConflict(ctx)`,
		new: `		return l.keep(ctx, rec, rev, err), nil`,
		why: "a login that another process made is overwritten",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `		return nil, errForgotten`,
		new: `		return nil, nil`,
		why: "a logout during a refresh is not noticed",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `	if l.unsaved != u {
		return nil
	}
`,
		new: ``,
		why: "a login that was made during a failed save is lost",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `	if err != nil && !conflict {
		return err
	}
`,
		new: ``,
		why: "a save that fails twice is given up",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `		l.current.CompareAndSwap(u.session, newSession(u.rec, next, l.set))
`,
		new: `		_ = next
`,
		why: "after a late save the session keeps the old revision, so the next save conflicts",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `		if !errors.Is(err, store.ErrConflict) {
			return l.keep`,
		new: `		if true {
			return l.keep`,
		why: "a login that a person made gives way to a refresh",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `st.rec.AccessToken != rejected || `,
		new: ``,
		why: "a demand is noted for a token that was never refused",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `st.rec.Required != nil && *st.rec.Required == *a`,
		new: `false`,
		why: "the same demand is written for each request",
	},
	{
		file: "loginstore.go", tests: ".",
		old: ` && !isCorrupt(err) && !excuse(err)`,
		new: ` && !isCorrupt(err)`,
		why: "a logout removes a record that another key sealed",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `		l.current.CompareAndSwap(st.session, newSession(&rec, st.rev, l.set))
`,
		new: ``,
		why: "a login whose end cannot be saved is tried for each request",
	},
	{
		file: "journal.go", tests: ".",
		old: `old.Digest == e.Digest && `,
		new: ``,
		why: "the lost answers of one refresh token hold up another",
	},
	{
		file: "journal.go", tests: ".",
		old: `now.Sub(old.At).Abs() < journalMemory`,
		new: `true`,
		why: "two lost answers hold up a login for ever",
	},
	{
		file: "journal.go", tests: ".",
		old: `	if e.Posts >= maxPosts {`,
		new: `	if false {`,
		why: "a refresh token is sent again and again without an answer",
	},
	{
		file: "journal.go", tests: ".",
		old: `f.Status == 0 && !f.Unsent`,
		new: `f.Status == 0`,
		why: "a request that never left counts as one",
	},
	{
		file: "journal.go", tests: ".",
		old: `	e.Posts, e.NotBefore = 0, time.Now().Add(pause)`,
		new: `	e.Posts = 0`,
		why: "a pause that the server asked for is not kept",
	},
	{
		file: "journal.go", tests: ".",
		old: `min(wait, time.Minute)`,
		new: `wait`,
		why: "a caller is told to wait for an hour",
	},
	{
		file: "refresh.go", tests: ".",
		old: `	if wait := r.pause.Wait(); wait > 0 {`,
		new: `	if wait := r.pause.Wait(); false {`,
		why: "a server in trouble gets a refresh for each request",
	},
	{
		file: "refresh.go", tests: ".",
		old: `err != nil && s.usable(time.Now()) && ctx.Err() == nil`,
		new: `false`,
		why: "a good token is withheld since it could not be renewed early",
	},
	{
		file: "refresh.go", tests: ".",
		old: `now.rec.RefreshToken != previous.rec.RefreshToken && `,
		new: ``,
		why: "a refused refresh token is no end",
	},
	{
		file: "refresh.go", tests: ".",
		old: ` && now.session.usable(time.Now())`,
		new: ``,
		why: "a token that is over is taken for another process's renewal",
	},
	{
		file: "refresh.go", tests: ".",
		old: `			st.rec = ended.rec
`,
		new: ``,
		why: "what a server rotated before the end is lost",
	},
	{
		file: "refresh.go", tests: ".",
		old: `	if !ended.noted {`,
		new: `	if true {`,
		why: "an end that is noted already is written again",
	},
	{
		file: "tokensource.go", tests: ".",
		old: `s.access() != r.rejected && `,
		new: ``,
		why: "a rejected token is the answer to its rejection",
	},
	{
		file: "tokensource.go", tests: ".",
		old: ` && s.tokens.set.client.Secret == ""`,
		new: ``,
		why: "a secret that replaces an expired one is not used",
	},
	{
		file: "tokensource.go", tests: ".",
		old: `	if old.Grant != "" {
		return nil, errNotConfigured
	}
`,
		new: ``,
		why: "a machine's login is refreshed with a token that it does not have",
	},
	{
		file: "tokensource.go", tests: ".",
		old: `	if f.Code != "" || !slices`,
		new: `	if !slices`,
		why: "an endpoint that answers is taken for one that is gone",
	},
	{
		file: "tokensource.go", tests: ".",
		old: `src == SourceDynamic || src == SourceImported`,
		new: `src != ""`,
		why: "a client that was registered by hand is forgotten",
	},
	{
		file: "tokensource.go", tests: ".",
		old: `		s.pause.Fail(0)
`,
		new: ``,
		why: "a success without a token is asked for at once again",
	},
	{
		file: "tokensource.go", tests: ".",
		old: `	case f.Code == "invalid_grant" && entry.Posts > 1:`,
		new: `	case f.Code == "invalid_grant" && entry.Posts > 2:`,
		why: "a person is not told that an answer was lost",
	},
	{
		file: "tokensource.go", tests: ".",
		old: ` || s.tokens.set.server.Resource != "" {`,
		new: ` {`,
		why: "a resource that the person chose is left out",
	},
	{
		file: "tokensource_machine.go", tests: ".",
		old: `set.mismatch(previous.rec) == "" && `,
		new: ``,
		why: "a machine's token of another issuer is kept",
	},
	{
		file: "tokensource_machine.go", tests: ".",
		old: `(set.scopes.Request == nil || covers(previous.rec.RequestedScopes, set.scopes.Request))`,
		new: `true`,
		why: "a machine never gets the scopes that were added",
	},
	{
		file: "tokensource_machine.go", tests: ".",
		old: `	if errors.Is(err, ErrTemporary) {
		s.pause.Fail(0)`,
		new: `	if errors.Is(err, ErrTemporary) {`,
		why: "a platform in trouble is asked for each request",
	},
	{
		file: "tokensource_machine.go", tests: ".",
		old: `		s.pause.Fail(f.RetryAfter)
`,
		new: ``,
		why: "a machine's server in trouble is asked for each request",
	},
	{
		file: "tokenclient.go", tests: ".",
		old: ` && previous.Issuer == f.Issuer`,
		new: ``,
		why: "the key of one issuer binds the tokens of another",
	},
	{
		file: "tokenclient.go", tests: ".",
		old: `needed || previous != nil && previous.DPoPKey != "" && previous.Issuer == f.Issuer`,
		new: `needed`,
		why: "a login that was bound can be had unbound",
	},
	{
		file: "tokenclient.go", tests: ".",
		old: `	if t.set.dpop == Never {
		return nil, nil // no key is an answer
	}
`,
		new: ``,
		why: "tokens are bound though the person forbade it",
	},
	{
		file: "tokenclient.go", tests: ".",
		old: `	rec.LoginRequired, rec.LoginRequiredFor, rec.LoginRequiredAt = "", "", time.Time{}
`,
		new: ``,
		why: "a new token leaves the login ended",
	},
	{
		file: "idtoken.go", tests: ".",
		old: `!claims.IssuedAt.IsZero() && life > 0`,
		new: `life > 0`,
		why: "an ID token that does not say since when lasts for decades",
	},
	{
		file: "idtoken.go", tests: ".",
		old: `	case claims.Expiry.IsZero():
		return bad("it does not say when it ends")
`,
		new: ``,
		why: "an ID token without an end lasts for ever",
	},
	{
		file: "discover.go", tests: ".",
		old: `reg.ClientID != o.client.ID || `,
		new: ``,
		why: "a new client cannot be used where an old one was",
	},
	{
		file: "discover.go", tests: ".",
		old: ` && !o.nonInteractive(), HasDocument`,
		new: `, HasDocument`,
		why: "a machine prefers servers that register clients",
	},
	{
		file: "discover.go", tests: ".",
		old: `o.server.Issuer != "" || o.server.Endpoints`,
		new: `o.server.Endpoints`,
		why: "a client cannot be moved to the issuer that the person names",
	},
	{
		file: "registermanage.go", tests: ".",
		old: `reg.ClientURI != "" && reg.AccessToken != "" && `,
		new: `reg.ClientURI != "" && `,
		why: "a registration without a token is managed with none",
	},
	{
		file: "internal/registration/update.go", tests: "./internal/registration",
		old: `was != "" && reg.AuthMethod != "" && reg.AuthMethod != was {`,
		new: `was == "-" {`,
		why: "a changed registration authenticates in a way that nobody knows",
	},
	{
		file: "registermanage.go", tests: ".",
		old: `		reg.AccessToken = got.RegistrationAccessToken.Reveal()
`,
		new: `		_ = got.RegistrationAccessToken
`,
		why: "a registration whose token was rotated cannot be managed any more",
	},
	{
		file: "registermanage.go", tests: ".",
		old: `		reg.ClientSecret, reg.SecretExpiry = got.ClientSecret.Reveal(), got.SecretExpiry
`,
		new: `		_ = got.ClientSecret
`,
		why: "a rotated client secret is lost",
	},
	{
		file: "registermanage.go", tests: ".",
		old: `	if portOf(reg.RedirectURI) != portOf(need.redirectURI) {
		return false
	}
`,
		new: ``,
		why: "a browser is sent to a port that is not registered",
	},
	{
		file: "registermanage.go", tests: ".",
		old: `err == nil && now.ClientID == reg.ClientID {`,
		new: `err == nil {`,
		why: "the registration token of another client is used to delete this one",
	},
	{
		file: "registermanage.go", tests: ".",
		old: `rec.Issuer == reg.Issuer && rec.Registration`,
		new: `rec.Registration`,
		why: "a client is kept for a login at another issuer",
	},
	{
		file: "register.go", tests: ".",
		old: `	case "unauthorized_client", "invalid_scope":`,
		new: `	case "unauthorized_client":`,
		why: "a client that was registered for too few scopes is a dead end",
	},
	{
		file: "register.go", tests: ".",
		old: `len(listed) == 0 || slices`,
		new: `slices`,
		why: "a key cannot be used where the server lists nothing",
	},
	{
		file: "register.go", tests: ".",
		old: `methods == nil || slices.Contains(methods, method)`,
		new: `true`,
		why: "a metadata document is used where the server takes no client without a secret",
	},
	{
		file: "import.go", tests: ".",
		old: `!l.ClientSecretExpiry.IsZero() && now`,
		new: `now`,
		why: "a login whose client secret never expires cannot be imported",
	},
	{
		file: "import.go", tests: ".",
		old: `l.RefreshToken == "" && !l.Expiry`,
		new: `!l.Expiry`,
		why: "a login that could be refreshed is not imported",
	},
	{
		file: "import.go", tests: ".",
		old: `!strings.EqualFold(l.TokenType, "Bearer")`,
		new: `strings.EqualFold(l.TokenType, "")`,
		why: "a token of an unknown type is imported as a bearer token",
	},
	{
		file: "status.go", tests: ".",
		old: `	case s.renewable():
		st.State = StateRefreshable
`,
		new: ``,
		why: "a login that will be refreshed is said to need a person",
	},
	{
		file: "status.go", tests: ".",
		old: `rec.RefreshToken != "" || rec.Grant != ""`,
		new: `rec.RefreshToken != ""`,
		why: "a machine's login is said not to be renewed",
	},
	{
		file: "logout.go", tests: ".",
		old: `		if t.token == "" {
			continue
		}
`,
		new: ``,
		why: "a logout without a refresh token revokes nothing by name",
	},
	{
		file: "login.go", tests: ".",
		old: `err != nil && !turn && ctx.Err() != nil`,
		new: `err != nil && (turn || !turn) && ctx.Err() != nil`,
		why: "a login that timed out blames another process",
	},
	{
		file: "login.go", tests: ".",
		old: ` && !isCorrupt(err):`,
		new: `:`,
		why: "a damaged record is a dead end",
	},
	{
		file: "scopes.go", tests: ".",
		old: `previous != nil && previous.Issuer == f.Issuer {
		return previous.Required`,
		new: `previous != nil {
		return previous.Required`,
		why: "the demands of one issuer are made at another",
	},
	{
		file: "authorizer.go", tests: ".",
		old: `s.required == nil && r.rejected == ""`,
		new: `r.rejected == ""`,
		why: "a login that the server does not accept any more serves",
	},
}
