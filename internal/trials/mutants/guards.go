package main

// guardMutants are faults in the guards around a login that is kept: whose it is, how often it is renewed, and what ends it.
var guardMutants = append(refusalMutants, []mutant{
	{
		file: "tokensource.go", old: `if exp := old.Registration.SecretExpiry; !exp.IsZero() && time.Now().After(exp) && s.tokens.set.client.Secret == "" {`, new: `if exp := old.Registration.SecretExpiry; false && exp.IsZero() {`, tests: ".",
		why: "an expired client secret is posted, and a server may take that for an attack",
	},
	{
		file: "tokensource.go", old: `if old.Grant != "" {`, new: `if false {`, tests: ".",
		why: "a machine's login is refreshed as if a person had made it",
	},
	{
		file: "tokensource.go", old: `if derr != nil || d.Issuer != rec.Issuer || d.Server.TokenEndpoint == rec.TokenEndpoint {`, new: `if derr != nil || d.Server.TokenEndpoint == rec.TokenEndpoint {`, tests: ".",
		why: "the refresh token follows a server that names another issuer",
	},
	{
		file: "tokensource.go", old: `if f.Code != "" || !slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone}, f.Status) {`, new: `if f.Code != "" {`, tests: ".",
		why: "any failure of a refresh makes a discovery and a second post of the refresh token",
	},
	{
		file: "tokensource.go", old: `if err == nil || rec.Resource == "" || rec.NoRefreshResource || s.tokens.set.server.Resource != "" {`, new: `if err == nil || rec.Resource == "" || rec.NoRefreshResource {`, tests: ".",
		why: "a resource indicator that was given by hand is left out",
	},
	{
		file: "tokensource.go", old: `return f.Code == "invalid_target" || f.Code == "invalid_request" && strings.Contains`, new: `return f.Code == "invalid_target" || strings.Contains`, tests: ".",
		why: "any error whose text has the word resource costs a second post",
	},
	{
		file: "tokensource.go", old: "ctx, cancel := detached(ctx, 3*exchangeTimeout)\n\tdefer cancel()\n\trec, tok", new: "ctx, cancel := context.WithCancel(ctx)\n\tdefer cancel()\n\trec, tok", tests: ".",
		why: "a caller that leaves cancels a refresh that the server has already made, and the login is lost",
	},
	{
		file: "tokensource.go", old: `case f.Code == "invalid_grant" && entry.Posts > 1:`, new: `case f.Code == "invalid_grant" && entry.Posts > 5:`, tests: ".",
		why: "a lost answer is reported as if the server had revoked the login",
	},
	{
		file: "tokensource.go", old: `if src := RegistrationSource(rec.Registration.Source); src == SourceDynamic || src == SourceImported {`, new: `if false {`, tests: ".",
		why: "the next login uses the client that the server no longer accepts",
	},
	{
		file: "tokensource.go", old: "\t\ts.journal.failed(ctx, entry, f, s.pause.Fail(f.RetryAfter))", new: "\t\ts.journal.failed(ctx, entry, f, f.RetryAfter)", tests: ".",
		why: "a token endpoint in trouble gets a post for each request",
	},
	{
		file: "tokensource.go", old: `return s.usable(now) && s.access() != r.rejected &&`, new: `return s.usable(now) &&`, tests: ".",
		why: "a token that the server rejected is handed out again",
	},
	{
		file: "tokensource.go", old: `&& s.asked(r.scopes) && (`, new: `&& (`, tests: ".",
		why: "a token without the demanded scopes is taken for one with them",
	},
	{
		file: "tokensource.go", old: "\t\t// The response was a success that cannot be used, or nothing was sent at all: the login is as it was.\n\t\ts.pause.Fail(0)\n", new: ``, tests: ".",
		why: "a token endpoint that answers rubbish gets a post for each request",
	},
	{
		file: "refresh.go", old: "\t\tif now, err := r.logins.load(ctx); err == nil && now.rec.RefreshToken != previous.rec.RefreshToken && now.session.usable(time.Now()) {", new: "\t\tif now, err := r.logins.load(ctx); err != nil && now != nil {", tests: ".",
		why: "a login that another process has just refreshed is reported as lost",
	},
	{
		file: "refresh.go", old: "\tif errors.Is(err, errForgotten) {\n\t\tr.tokens.revokeLate(ctx, rec)\n", new: "\tif errors.Is(err, errForgotten) {\n", tests: ".",
		why: "the token of a refresh that a logout overtook stays good at the server",
	},
	{
		file: "refresh.go", old: "\tif !s.due(time.Now()) || r.pause", new: "\tif true || r.pause", tests: ".",
		why: "no token is renewed ahead of its end, and requests wait for it",
	},
	{
		file: "refresh.go", old: "\tif wait := r.pause.Wait(); wait > 0 {", new: "\tif wait := r.pause.Wait(); wait < 0 {", tests: ".",
		why: "a token endpoint in trouble gets a request at once again",
	},
	{
		file: "refresh.go", old: "\t\tif err != nil && s.usable(time.Now()) && ctx.Err() == nil {", new: "\t\tif err != nil && ctx.Err() == nil && false {", tests: ".",
		why: "a request for a longer validity fails although the token is good",
	},
	{
		file: "refresh.go", old: "\t\tif rev = previous.rev; request.satisfiedBy(previous.session, time.Now()) {", new: "\t\tif rev = previous.rev; false {", tests: ".",
		why: "processes that waited for the lock refresh once more each",
	},
	{
		file: "refresh.go", old: "\tr.source.saved(ctx)\n", new: ``, tests: ".",
		why: "the note of a refresh stays, and later ones count as posts without an answer",
	},
	{
		file: "refresh.go", old: "\t\tr.logins.end(ctx, &st, ended.reason, ended.digest)", new: "\t\t_ = st", tests: ".",
		why: "each process posts a refresh token that the server has refused for good",
	},
	{
		file: "loginstore.go", old: "\tcase errors.Is(err, store.ErrConflict):\n\t\treturn l.resolveConflict(ctx)\n", new: ``, tests: ".",
		why: "a conflict counts as a failed save: the loser's token is kept and written again",
	},
	{
		file: "loginstore.go", old: "\tif errors.Is(err, store.ErrNotFound) {\n\t\treturn nil, errForgotten\n\t}\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\tif !theirs", new: "\tif err != nil {\n\t\treturn nil, err\n\t}\n\tif !theirs", tests: ".",
		why: "a logout during a refresh is reported as a broken store, and the late token is not revoked",
	},
	{
		file: "loginstore.go", old: "\tif !theirs.session.usable(time.Now()) {", new: "\tif false {", tests: ".",
		why: "a login that another process has ended is used on",
	},
	{
		file: "loginstore.go", old: "\t\treturn l.keep(ctx, rec, rev, err), nil\n\t}\n\tl.dropUnsaved()", new: "\t\treturn nil, err\n\t}\n\tl.dropUnsaved()", tests: ".",
		why: "a full disk loses a rotated token",
	},
	{
		file: "loginstore.go", old: "\t\tif s := l.current.Load(); s.usable(time.Now()) && ctx.Err() == nil {", new: "\t\tif s := l.current.Load(); s == nil {", tests: ".",
		why: "a store that cannot be read stops requests whose token is good",
	},
	{
		file: "loginstore.go", old: "\tif err != nil || st.rec.AccessToken != rejected || st.rec.Required", new: "\tif err != nil || st.rec.Required", tests: ".",
		why: "a login made since is noted as insufficient, and the person is asked again",
	},
	{
		file: "loginstore.go", old: "\tif err != nil && !errors.Is(err, store.ErrNotFound) && !isCorrupt(err) && !excuse(err) {", new: "\tif err != nil && !errors.Is(err, store.ErrNotFound) && !excuse(err) {", tests: ".",
		why: "a damaged login cannot be logged out",
	},
	{
		file: "loginstore.go", old: "\tif err := l.store.Delete(ctx, l.key, 0); err != nil {\n\t\treturn nil, storeError(\"remove\", err)\n\t}\n\tl.current.Store(nil)", new: "\tif err := l.store.Delete(ctx, l.key, 0); err != nil {\n\t\treturn nil, storeError(\"remove\", err)\n\t}", tests: ".",
		why: "after a logout the Client goes on with the token",
	},
	{
		file: "loginstore.go", old: "\tcase errors.Is(err, store.ErrNotFound):\n\t\treturn 0, nil\n\tcase isCorrupt(err):\n\t\treturn 0, l.setAside(ctx, err)", new: "\tcase errors.Is(err, store.ErrNotFound):\n\t\treturn 0, nil", tests: ".",
		why: "a damaged record makes each login one that cannot be saved",
	},
	{
		file: "loginstore.go", old: "\tcase err != nil && wait.Err() != nil:\n\t\treturn errLockTimeout\n", new: ``, tests: ".",
		why: "a process that hangs with the lock makes others fail for good",
	},
	{
		file: "loginstore.go", old: "\t\tl.current.CompareAndSwap(before, nil)", new: "\t\t_ = before", tests: ".",
		why: "a login that another process has removed is used on",
	},
	{
		file: "journal.go", old: "\t\t\tif wait := old.NotBefore.Sub(now); wait > 0 {", new: "\t\t\tif wait := old.NotBefore.Sub(now); wait < 0 {", tests: ".",
		why: "another process asks at once where the server has asked to wait",
	},
	{
		file: "journal.go", old: `old.Digest == e.Digest && now`, new: `now`, tests: ".",
		why: "the posts of an earlier refresh token count for the next",
	},
	{
		file: "journal.go", old: "\tif f.Status == 0 && !f.Unsent {\n\t\treturn // the post may have been processed: it stays counted\n\t}\n", new: ``, tests: ".",
		why: "a post whose answer was lost is not counted",
	},
	{
		file: "journal.go", old: "\tif f.RetryAfter == 0 {\n\t\tj.clear(ctx)\n\t\treturn\n\t}", new: "\tif f.RetryAfter == 0 {\n\t\treturn\n\t}", tests: ".",
		why: "an answered refresh counts as one without an answer",
	},
	{
		file: "cooldown.go", old: "\tif retryAfter > 0 {", new: "\tif retryAfter < 0 {", tests: ".",
		why: "the time that a server asks for is not kept",
	},
	{
		file: "cooldown.go", old: "\tc.failures++\n", new: ``, tests: ".",
		why: "pauses do not grow",
	},
	{
		file: "session.go", old: "\tif used := issuedAt.Add(minUse); !issuedAt.IsZero() && s.until.Before(used) {", new: "\tif used := issuedAt.Add(minUse); false && s.until.Before(used) {", tests: ".",
		why: "a lifetime of 0 makes a refresh for each request",
	},
	{
		file: "session.go", old: `return s.ended == "" && (s.refreshToken`, new: `return (s.refreshToken`, tests: ".",
		why: "a refresh token that was refused is posted again",
	},
	{
		file: "session.go", old: "\treturn s != nil && s.ended == \"\" && (", new: "\treturn s != nil && (", tests: ".",
		why: "the token of a login that has ended is sent",
	},
	{
		file: "login.go", old: "\tc.refresh.pause.Reset()\n", new: ``, tests: ".",
		why: "requests fail after a login because of the faults before it",
	},
	{
		file: "logout.go", old: `rec == nil || opts == nil || !opts.Registration {`, new: `rec == nil {`, tests: ".",
		why: "Clear deletes the client as well",
	},
	{
		file: "logout.go", old: "\t\treturn struct{}{}, c.registrar.clear(ctx, &rec.Registration)", new: "\t\treturn struct{}{}, nil", tests: ".",
		why: "Clear leaves the client",
	},
	{
		file: "status.go", old: "\tif opts != nil && opts.Registration {\n\t\tkinds", new: "\tif true {\n\t\tkinds", tests: ".",
		why: "ClearAll removes registrations that it was not asked to",
	},
	{
		file: "import.go", old: "\t\treturn c.store.saveUnsaved(ctx)", new: "\t\treturn nil", tests: ".",
		why: "an import that was not saved reports success",
	},
	{
		file: "import.go", old: "\tif o.Force {", new: "\tif true {", tests: ".",
		why: "an import replaces a login",
	},
}...)
