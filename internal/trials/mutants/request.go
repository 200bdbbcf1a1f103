package main

// requestMutants are faults in what a request and a refresh go through.
var requestMutants = []mutant{
	{
		file: "refresh.go", tests: ".",
		old: `now.rec.RefreshToken != previous.rec.RefreshToken && now.session.usable(time.Now())`,
		new: `now.rec.RefreshToken == ""`,
		why: "a login that another process has just refreshed is reported as lost",
	},
	{
		file: "tokensource.go", tests: ".",
		old: `if !resource.SameOriginOf(d.Server.TokenEndpoint, rec.TokenEndpoint) && !resource.SameOriginOf(d.Server.TokenEndpoint, rec.Issuer) {`,
		new: `if !resource.SameOriginOf(d.Server.TokenEndpoint, d.Server.TokenEndpoint) {`,
		why: "the refresh token goes to any host that the metadata names as the moved token endpoint",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `case errors.Is(err, store.ErrConflict):
		return l.resolveConflict(ctx)`,
		new: `case errors.Is(err, store.ErrConflict):
		return l.keep(ctx, rec, rev, err), nil`,
		why: "a conflict is taken for a failed save, and the loser's token is kept and written again",
	},
	{
		file: "refresh.go", tests: ".",
		old: `		r.tokens.revokeLate(ctx, rec)
`,
		new: ``,
		why: "a token that arrives after a logout stays valid",
	},
	{
		file: "tokensource.go", tests: ".",
		old: `time.Now().After(exp) && s.tokens.set.client.Secret == ""`,
		new: `time.Now().Before(exp) && s.tokens.set.client.Secret == "-"`,
		why: "an expired client secret is posted",
	},
	{
		file: "refresh.go", tests: ".",
		old: `	r.pause.Reset()
`,
		new: ``,
		why: "a refresh that succeeds does not end the pauses of those that failed before",
	},
	{
		file: "overcome.go", tests: ".",
		old: `	case useStored:
		return outcome{next: r.stored}, nil`,
		new: `	case useStored:
		return outcome{next: r.sent}, nil`,
		why: "the token that another process obtained is not used",
	},
	{
		file: "decide.go", tests: ".",
		old: `	return r.sent == nil || r.sent.token.expiry.IsZero() || r.now.Before(r.sent.token.expiry)`,
		new: `	return r.sent == nil || r.sent.token.expiry.IsZero() || r.now.After(r.sent.token.expiry)`,
		why: "a 403 to a good token causes a refresh, one to an expired token is final",
	},
	{
		file: "decide.go", tests: ".",
		old: `	case r.obtained:
		return action{kind: suspectServer}`,
		new: `	case r.obtained:
		return action{kind: passThrough}`,
		why: "a server that rejects every token is not named as the cause",
	},
	{
		file: "decide.go", tests: ".",
		old: `	case can.cooling > 0:
		return action{kind: fail, err: coolingError(can)}
	case r.challenge.dpop`,
		new: `	case can.cooling < 0:
		return action{kind: fail, err: coolingError(can)}
	case r.challenge.dpop`,
		why: "a server that rejects every token gets a refresh per request",
	},
	{
		file: "decide.go", tests: ".",
		old: `r.challenge.dpop && r.sent.binding == nil && can.bind`,
		new: `r.challenge.dpop && r.sent.binding != nil && can.bind`,
		why: "a server that demands bound tokens never gets one",
	},
	{
		file: "decide.go", tests: ".",
		old: `	case r.elsewhere() && covers(r.stored.token.scopes, demanded):`,
		new: `	case r.elsewhere():`,
		why: "a token that lacks the scopes is sent again for a step-up",
	},
	{
		file: "decide.go", tests: ".",
		old: `	case !can.person && !can.nonInteractive:`,
		new: `	case !can.person:`,
		why: "a job without a person never steps up",
	},
	{
		file: "decide.go", tests: ".",
		old: `	case can.nonInteractive && !can.provider:`,
		new: `	case can.provider:`,
		why: "a job without a person opens a browser for a second factor",
	},
	{
		file: "decide.go", tests: ".",
		old: `ok && can.fixedClient && (e.Code`,
		new: `ok && !can.fixedClient && (e.Code`,
		why: "a person is asked although the configured secret is wrong",
	},
	{
		file: "transport.go", tests: ".",
		old: `		if sends == maxSends {
			return resp, nil
		}
`,
		new: ``,
		why: "a server that demands something new each time is asked for ever",
	},
	{
		file: "transport.go", tests: ".",
		old: `		s, obtained = o.next, o.obtained`,
		new: `		s, obtained = o.next, false`,
		why: "a token that was just issued and is refused is refreshed again and again",
	},
	{
		file: "transport.go", tests: ".",
		old: `	if req.Header["Authorization"] != nil {`,
		new: `	if false {`,
		why: "credentials that the program set are replaced",
	},
	{
		file: "transport.go", tests: ".",
		old: `		if !g.mayFollow(to.URL, r.Request.URL) {`,
		new: `		if !g.mayFollow(to.URL, to.URL) {`,
		why: "a request follows a redirect to another origin",
	},
	{
		file: "transport.go", tests: ".",
		old: `	return resource.Below(g.server, to) || resource.Below(from, to) || resource.Below(g.audience(), to)`,
		new: `	return true`,
		why: "the token follows a redirect to another path of a shared host",
	},
	{
		file: "transport.go", tests: ".",
		old: `	if !resource.SameOrigin(to, g.server) {
		return false
	}
`,
		new: ``,
		why: "the token follows a redirect to another origin",
	},
	{
		file: "transport.go", tests: ".",
		old: `	if !g.mayFollow(req.URL, via[len(via)-1].URL) {`,
		new: `	if !g.mayFollow(via[0].URL, via[len(via)-1].URL) {`,
		why: "the HTTP client follows a redirect to another origin",
	},
	{
		file: "transport.go", tests: ".",
		old: `t.req.ContentLength > 0 && t.req.ContentLength <= maxReplay`,
		new: `t.req.ContentLength > 0`,
		why: "a body of any size is read into memory",
	},
	{
		file: "transport.go", tests: ".",
		old: `	if g.closed.Load() {
		closeBody(req)
		return nil, errClosed
	}
	base := t.base()`,
		new: `	base := t.base()`,
		why: "a closed Client sends requests",
	},
	{
		file: "transport.go", tests: ".",
		old: `	case s.binding != nil:
		return t.sendBound(s)`,
		new: `	case s.binding == nil && false:
		return t.sendBound(s)`,
		why: "a bound token is sent without its proof",
	},
	{
		file: "overcome.go", tests: ".",
		old: `	if errors.Is(err, ErrNoOAuth) && a.login.rejected == "" {`,
		new: `	if errors.Is(err, ErrNoOAuth) && a.login.rejected != "" {`,
		why: "a 401 of a server without OAuth is an error of ours",
	},
	{
		file: "overcome.go", tests: ".",
		old: `	g.unprotected.Fail(0)
`,
		new: ``,
		why: "each bare 401 costs a discovery",
	},
	{
		file: "overcome.go", tests: ".",
		old: `		g.rejections.Fail(0)
`,
		new: ``,
		why: "a server that rejects new tokens gets one after the other",
	},
	{
		file: "overcome.go", tests: ".",
		old: `b.tried[demand] >= maxSteps || len(b.tried) >= maxStepSets && b.tried[demand] == 0`,
		new: `b.tried[demand] >= maxSteps`,
		why: "a server that demands a new scope each time opens a browser each time",
	},
	{
		file: "overcome.go", tests: ".",
		old: `b.tried[demand] >= maxSteps || len`,
		new: `len`,
		why: "a person is asked for the same scopes again and again",
	},
	{
		file: "overcome.go", tests: ".",
		old: `	g.rejections.Reset()
`,
		new: ``,
		why: "a server that recovers stays in its cooldown",
	},
	{
		file: "overcome.go", tests: ".",
		old: `err == nil && f.Issuer != r.sent.issuer`,
		new: `err == nil && f.Issuer == r.sent.issuer`,
		why: "a server that has moved to another authorization server gets no new login",
	},
	{
		file: "overcome.go", tests: ".",
		old: `			g.logins.require(ctx, r.sent.access(), a.require)
`,
		new: ``,
		why: "a token that the server rejects makes no later login ask",
	},
	{
		file: "tokensource_machine.go", tests: ".",
		old: `	rec.RefreshToken, rec.RefreshExpiry = "", time.Time{} // RFC`,
		new: `	rec.RefreshExpiry = time.Time{} // RFC`,
		why: "a job keeps a refresh token that it does not need",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `		if now != nil && now.rev > rev || l.current.CompareAndSwap(now, s) {`,
		new: `		if l.current.CompareAndSwap(now, s) {`,
		why: "an older record replaces a newer session",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `	l.unsaved = &stored{rec, rev, s}
`,
		new: ``,
		why: "a token that could not be saved is lost at the next look",
	},
	{
		file: "loginstore.go", tests: ".",
		old: `s.usable(time.Now()) && ctx.Err() == nil {
			l.trace.note`,
		new: `false {
			l.trace.note`,
		why: "a store that is away stops requests whose token is good",
	},
	{
		file: "session.go", tests: ".",
		old: `s != nil && s.ended == "" && (s.until`,
		new: `s != nil && (s.until`,
		why: "the token of a login that has ended is sent",
	},
	{
		file: "session.go", tests: ".",
		old: `		s.until = used
`,
		new: ``,
		why: "a server whose tokens live for 0 seconds causes a refresh per request",
	},
	{
		file: "session.go", tests: ".",
		old: `maxSkew  = time.Second`,
		new: `maxSkew  = time.Hour`,
		why: "tokens count as expired long before they are",
	},
	{
		file: "given.go", tests: ".",
		old: `	case s.client.ID != "" && reg.ClientID != s.client.ID:`,
		new: `	case false:`,
		why: "another client's login is used",
	},
	{
		file: "given.go", tests: ".",
		old: `	case s.dpop == Always && rec.DPoPKey == "":`,
		new: `	case false:`,
		why: "a token that is not bound is used although binding is demanded",
	},
	{
		file: "given.go", tests: ".",
		old: `s.client.Secret != "" && !s.nonInteractive()`,
		new: `s.client.Secret != ""`,
		why: "a job's secret is stored",
	},
	{
		file: "given.go", tests: ".",
		old: `rec.LoginRequiredFor == "" || rec.LoginRequiredFor == s.refusalDigest(rec)`,
		new: `rec.LoginRequiredFor == ""`,
		why: "a refresh token that was refused is posted again and again",
	},
	{
		file: "given.go", tests: ".",
		old: `if a.ID != "" && a.ID == s.client.ID && s.client.Secret != "" {`,
		new: `if false {`,
		why: "a new client secret is ignored",
	},
	{
		file: "cooldown.go", tests: ".",
		old: `	c.failures, c.until = 0, 0`,
		new: `	c.until = 0`,
		why: "a single failure after a recovery pauses for long",
	},
	{
		file: "cooldown.go", tests: ".",
		old: `		pause = retryAfter
`,
		new: `		pause = c.base
`,
		why: "Retry-After is ignored",
	},
	{
		file: "journal.go", tests: ".",
		old: `	if e.Posts >= maxPosts {`,
		new: `	if e.Posts > maxPosts+100 {`,
		why: "a refresh token is presented again and again without an answer",
	},
	{
		file: "journal.go", tests: ".",
		old: `			e.Posts = old.Posts
`,
		new: ``,
		why: "the post of a process that died is forgotten",
	},
	{
		file: "tokenclient.go", tests: ".",
		old: `	if !tok.RefreshToken.IsZero() {`,
		new: `	if true {`,
		why: "a refresh that brings no new refresh token loses the old one",
	},
	{
		file: "tokenclient.go", tests: ".",
		old: `previous != nil && previous.DPoPKey != "" && previous.Issuer == f.Issuer`,
		new: `false`,
		why: "a login that was bound becomes one whose token can be stolen",
	},
}
