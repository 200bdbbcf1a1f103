package main

// bridgeMutants are faults in the guards of the bridge between stdio and HTTP.
var bridgeMutants = []mutant{
	// The host's messages.
	{file: "internal/proxy/hostreader.go", old: `case h.tools.hides(e):`, new: `case false:`, tests: "./internal/proxy", why: "a tool that the configuration hides can be called"},
	{file: "internal/proxy/hostreader.go", old: `return !e.valid() || e.text(fieldMethod) == "initialize" })`, new: `return !e.valid() })`, tests: "./internal/proxy", why: "an initialize in a batch begins a session that the bridge does not know"},
	{file: "internal/proxy/hostreader.go", old: `case h.conn.session.Load().version != batches:`, new: `case false:`, tests: "./internal/proxy", why: "a server gets a batch in a revision that has none"},
	{file: "internal/proxy/hostreader.go", old: `	case e.response() && id != nil:`, new: `	case false:`, tests: "./internal/proxy", why: "a server waits for ever for a response that was too large"},
	{file: "internal/proxy/hostreader.go", old: `	if idKey(id) == "" || e.badID {`, new: `	if false {`, tests: "./internal/proxy", why: "an error repeats an id that is not UTF-8, and the host cannot read the line"},
	{file: "internal/proxy/hostreader.go", old: `if h.questions.takeAnswer(m) {`, new: `if h.questions.takeAnswer(m) && false {`, tests: "./internal/proxy", why: "the server gets the host's answer to a question of the bridge's"},
	{file: "internal/proxy/hostreader.go", old: `if c.method == "notifications/cancelled" && !h.queue.cancel(c) {`, new: `if c.method == "notifications/cancelled" && h.queue.cancel(c) {`, tests: "./internal/proxy", why: "a server does not learn that a request was cancelled"},
	{file: "internal/proxy/hostreader.go", old: `			h.queue.takeAll(c)
			c.cancel()`, new: `			c.cancel()`, tests: "./internal/proxy", why: "the ids of a refused batch stay in use for ever"},
	// The queue.
	{file: "internal/proxy/queue.go", old: `if q.pending[e.key] != nil || q.closed {`, new: `if q.closed {`, tests: "./internal/proxy", why: "two requests with one id are in flight, and one is never answered"},
	{file: "internal/proxy/queue.go", old: `for len(q.waiting) >= maxQueue && !q.closed {`, new: `for false {`, tests: "./internal/proxy", why: "a host that sends without end fills the memory"},
	{file: "internal/proxy/queue.go", old: `len(q.waiting) > 0 && !q.barrier && !q.closed`, new: `len(q.waiting) > 0 && !q.closed`, tests: "./internal/proxy", why: "a request overtakes the initialize that it belongs to"},
	{file: "internal/proxy/queue.go", old: `	if q.inFlight >= q.maxInFlight {`, new: `	if false {`, tests: "./internal/proxy", why: "the limit of requests in flight does not hold"},
	{file: "internal/proxy/queue.go", old: `		if len(q.notes) >= maxQueue {`, new: `		if false {`, tests: "./internal/proxy", why: "notifications that a server does not take fill the memory"},
	{file: "internal/proxy/queue.go", old: `		if q.pending[e.key] == e {`, new: `		if q.pending[e.key] != nil {`, tests: "./internal/proxy", why: "a call that ends takes the answer of a later one with the same id"},
	{file: "internal/proxy/queue.go", old: `e == nil || e.sink != nil || e.method == "initialize"`, new: `e == nil || e.sink != nil`, tests: "./internal/proxy", why: "an answer to initialize in a batch begins no session"},
	{file: "internal/proxy/queue.go", old: `	if len(c.entries) > 1 {`, new: `	if false {`, tests: "./internal/proxy", why: "cancelling one request of a batch cancels the others"},
	{file: "internal/proxy/queue.go", old: `if c.version == "" && c.started && !c.suspended && c.method != "initialize" {`, new: `if c.version == "" && c.started && c.method != "initialize" {`, tests: "./internal/proxy", why: "a server is told to cancel what it never got"},
	{file: "internal/proxy/queue.go", old: `		time.AfterFunc(cancelWait, c.cancel)
`, new: ``, tests: "./internal/proxy", why: "a cancelled request that a server ignores holds its place for ever"},
	{file: "internal/proxy/queue.go", old: `		q.waiting = slices.Concat(q.waiting[:i], q.waiting[i+1:])`, new: `		q.waiting = slices.Clone(q.waiting)`, tests: "./internal/proxy", why: "a request that was cancelled while it waited is sent"},
	{file: "internal/proxy/queue.go", old: `		q.barrier, c.isBarrier = false, false`, new: `		c.isBarrier = false`, tests: "./internal/proxy", why: "nothing is sent after initialize"},
	// Delivery of one call.
	{file: "internal/proxy/sender.go", old: `	if resp.ContentLength > s.mem.maxMessage {`, new: `	if false {`, tests: "./internal/proxy", why: "an answer that says it is too large is read all the same"},
	{file: "internal/proxy/sender.go", old: `if id := resp.Header.Get("Mcp-Session-Id"); fitsSessionID(id) {`, new: `if id := resp.Header.Get("Mcp-Session-Id"); true {`, tests: "./internal/proxy", why: "a session id that cannot stand in a header breaks each later request"},
	{file: "internal/proxy/sender.go", old: `isEvents(resp.Header) && s.extras.Add(1) > maxExtras:`, new: `isEvents(resp.Header) && s.extras.Add(1) < 0:`, tests: "./internal/proxy", why: "a server opens connections without limit"},
	{file: "internal/proxy/sender.go", old: `	if inSession && f.status == http.StatusNotFound {`, new: `	if f.status == http.StatusNotFound {`, tests: "./internal/proxy", why: "a plain 404 begins sessions that nobody lost"},
	{file: "internal/proxy/sender.go", old: `	if f.reason == reasonRefused {
		return f
	}
	inSession`, new: `	inSession`, tests: "./internal/proxy", why: "the text of a 401 or 403 reaches a model"},
	{file: "internal/proxy/sender.go", old: `m.batch || m.size >= 4096 || !m.top.isError || idKey(m.top.raw(fieldID)) != ""`, new: `m.batch || m.size >= 4096 || !m.top.isError`, tests: "./internal/proxy", why: "an error about one request that speaks of a session ends the session"},
	{file: "internal/proxy/sender.go", old: `return key == "" && status < http.StatusInternalServerError && status != http.StatusTooManyRequests`, new: `return key == ""`, tests: "./internal/proxy", why: "the error of a gateway passes as the server's answer"},
	{file: "internal/proxy/sender.go", old: `m.fill(io.LimitReader(resp.Body, maxErrorBody)) == nil`, new: `m.fill(io.LimitReader(resp.Body, 1<<40)) == nil`, tests: "./internal/proxy", why: "the body of an error is read without end"},
	{file: "internal/proxy/sender.go", old: `	t := time.AfterFunc(errorWait, func() { _ = resp.Body.Close() })
	defer t.Stop()
`, new: ``, tests: "./internal/proxy", why: "a request waits for ever for the body of an error"},
	{file: "internal/proxy/sender.go", old: `c.initializes() && s.mode == HTTPFirst {`, new: `c.initializes() {`, tests: "./internal/proxy", why: "HTTP+SSE is tried though only Streamable HTTP is wanted"},
	{file: "internal/proxy/sender.go", old: `	case s.queue.wasCancelled(c):
		s.delivery.dropAll(c)
`, new: ``, tests: "./internal/proxy", why: "a host gets an answer to what it cancelled"},
	{file: "internal/proxy/sender.go", old: `&& !c.relisted && errorCode(m)`, new: `&& errorCode(m)`, tests: "./internal/proxy", why: "a server that refuses its own headers is asked without end"},
	// What follows a failure.
	{file: "internal/proxy/retry.go", old: `	return f.unsent || c.repeatable()`, new: `	return true`, tests: "./internal/proxy", why: "a tool is called twice after the connection broke"},
	{file: "internal/proxy/retry.go", old: `	if f.final || !mayRepeat(c, f) ||`, new: `	if !mayRepeat(c, f) ||`, tests: "./internal/proxy", why: "a server whose certificate is refused is asked for 15 seconds"},
	{file: "internal/proxy/retry.go", old: ` || time.Since(t.since)+wait > s.retryFor {`, new: ` {`, tests: "./internal/proxy", why: "a request is repeated for ever"},
	{file: "internal/proxy/retry.go", old: `if t.logins++; t.logins > maxCallLogins {`, new: `if t.logins++; false {`, tests: "./internal/proxy", why: "a server that refuses each token makes a person log in without end"},
	{file: "internal/proxy/retry.go", old: `if t.renewals++; t.renewals > maxCallRenewals {`, new: `if t.renewals++; false {`, tests: "./internal/proxy", why: "a server that loses each session gets new ones without end"},
	{file: "internal/proxy/retry.go", old: `wait := max(backoff(t.fails), f.wait)`, new: `wait := backoff(t.fails)`, tests: "./internal/proxy", why: "Retry-After is not heeded"},
	{file: "internal/proxy/retry.go", old: `	for page := range maxPages {`, new: `	for page := 0; ; page++ {`, tests: "./internal/proxy", why: "a server whose list of tools has no end holds a call until its time is over"},
	{file: "internal/proxy/fault.go", old: `		f.unsent = f.wait > 0`, new: `		f.unsent = true`, tests: "./internal/proxy", why: "a tool is called again after a 503 that may have come after it ran"},
	{file: "internal/proxy/fault.go", old: `return min(max(0, d), time.Minute)`, new: `return max(0, d)`, tests: "./internal/proxy", why: "a server makes the bridge wait for hours"},
	// Streams.
	{file: "internal/proxy/stream.go", old: `	case a.queue.wasCancelled(a.call):`, new: `	case false:`, tests: "./internal/proxy", why: "the stream of a cancelled request is resumed"},
	{file: "internal/proxy/stream.go", old: `!fitsHeader(ev.id) || a.call.version != "":`, new: `a.call.version != "":`, tests: "./internal/proxy", why: "an event id that cannot stand in a header is sent"},
	{file: "internal/proxy/stream.go", old: `!fitsHeader(ev.id) || a.call.version != "":`, new: `!fitsHeader(ev.id):`, tests: "./internal/proxy", why: "a stream is resumed in a revision that has no resumption"},
	{file: "internal/proxy/stream.go", old: `		wait = max(wait, atLeast(a.idle))`, new: `		wait = max(wait, 0)`, tests: "./internal/proxy", why: "a server that sends retry: 0 is asked without a pause"},
	{file: "internal/proxy/stream.go", old: `		if fails > maxFails && time.Since(a.progress) > a.retryFor {`, new: `		if false {`, tests: "./internal/proxy", why: "a stream that never comes back is asked for without end"},
	{file: "internal/proxy/linger.go", old: `	if len(l.until) >= maxLinger {`, new: `	if false {`, tests: "./internal/proxy", why: "a server that never ends its streams holds connections without limit"},
	{file: "internal/proxy/sse.go", old: `len(e.value)+len(p) <= maxSSEField`, new: `true`, tests: "./internal/proxy", why: "an event id without end fills the memory"},
	{file: "internal/proxy/sse.go", old: `		if bytes.IndexByte(e.value, 0) < 0 {`, new: `		if true {`, tests: "./internal/proxy", why: "an event id with NUL is taken, against the standard"},
	{file: "internal/proxy/sse.go", old: `			e.retry = maxRetry
`, new: ``, tests: "./internal/proxy", why: "a wait beyond reason is taken for none"},
	// The login.
	{file: "internal/proxy/login.go", old: `	if !c.mayAskForLogin() {`, new: `	if false {`, tests: "./internal/proxy", why: "a notification opens a browser"},
	{file: "internal/proxy/login.go", old: `	if time.Now().Before(l.until) {`, new: `	if false {`, tests: "./internal/proxy", why: "a person who declined is asked again at once"},
	{file: "internal/proxy/login.go", old: `	if len(l.made) >= maxLogins {`, new: `	if false {`, tests: "./internal/proxy", why: "a server that is never content costs a person logins without end"},
	{file: "internal/proxy/login.go", old: `	if l.run != nil {
		return l.run, nil
	}
`, new: ``, tests: "./internal/proxy", why: "each waiting request opens a browser of its own"},
	{file: "internal/proxy/login.go", old: `		r.err.unsent = false
`, new: ``, tests: "./internal/proxy", why: "a tool is called twice after its stream broke and the login failed for now"},
	{file: "internal/proxy/elicit.go", old: `return q != nil && q.conn.opensAddresses()`, new: `return q != nil`, tests: "./internal/proxy", why: "a host that cannot open addresses is asked to"},
	{file: "internal/proxy/connection.go", old: `return err == nil && begun && member(`, new: `return err == nil && (begun || true) && member(`, tests: "./internal/proxy", why: "a host is asked before its session has begun"},
	// Sessions and origins.
	{file: "internal/proxy/legacy.go", old: `err != nil || !sameOrigin(u, l.remote.url) || u.User != nil`, new: `err != nil || u.User != nil`, tests: "./internal/proxy", why: "the access token goes to another origin that the stream names"},
	{file: "internal/proxy/legacy.go", old: `strings.EqualFold(a.Scheme, b.Scheme) && `, new: ``, tests: "./internal/proxy", why: "the access token goes over http to a server of https on the same port"},
	{file: "internal/proxy/legacy.go", old: ` || u.User != nil {`, new: ` {`, tests: "./internal/proxy", why: "a server makes the client send credentials of the server's choice"},
	{file: "internal/proxy/legacy.go", old: `	ctx, cancel := context.WithTimeout(ctx, l.patience)
`, new: `	ctx, cancel := context.WithCancel(ctx)
`, tests: "./internal/proxy", why: "a stream without an endpoint holds initialize for ever"},
	{file: "internal/proxy/sessions.go", old: `	if !agreed.same(t.agreement) {`, new: `	if false {`, tests: "./internal/proxy", why: "a new session with other capabilities is used as if it were the old one"},
	{file: "internal/proxy/sessions.go", old: `	if s.renewal != nil {
		return s.renewal
	}
`, new: ``, tests: "./internal/proxy", why: "each request that finds its session lost begins one"},
	{file: "internal/proxy/sessions.go", old: `	if s.conn.session.Load() != old {
		return nil
	}
`, new: ``, tests: "./internal/proxy", why: "a session that was just begun is replaced again"},
	{file: "internal/proxy/remote.go", old: `		delete(h, "Mcp-Session-Id")
`, new: ``, tests: "./internal/proxy", why: "a message of a revision without sessions carries a session id"},
	{file: "internal/proxy/remote.go", old: `s.version != "" && fitsSessionID(s.version)`, new: `s.version != ""`, tests: "./internal/proxy", why: "a version that cannot stand in a header breaks each request"},
	{file: "internal/proxy/remote.go", old: `		err = withURL.Err // a URL's query may hold a secret
`, new: `		_ = withURL
`, tests: "./internal/proxy", why: "a secret in the URL reaches the log"},
	{file: "internal/proxy/remote.go", old: `resp.Request.Method != http.MethodPost:`, new: `false:`, tests: "./internal/proxy", why: "the answer to a GET after a redirect passes as the answer to the message"},
	{file: "internal/proxy/remote.go", old: `		t := time.AfterFunc(r.patience, cancel)
		defer t.Stop()
	}
	if out.version`, new: `		defer cancel()
	}
	if out.version`, tests: "./internal/proxy", why: "a notification that a server never takes holds up those after it"},
	{file: "internal/proxy/listen.go", old: `code == http.StatusNotFound && l.opened:`, new: `code == http.StatusNotFound:`, tests: "./internal/proxy", why: "a server without a stream of its own gets one session after the other"},
	{file: "internal/proxy/listen.go", old: `if sleep(l.session.ctx, backoff(l.flap())) != nil {`, new: `if sleep(l.session.ctx, 0) != nil {`, tests: "./internal/proxy", why: "a server that loses each session at once gets new ones without a pause"},
	{file: "internal/proxy/exchange.go", old: `	if !fitsSessionID(id) {`, new: `	if false {`, tests: "./internal/proxy", why: "a new session takes an id that cannot stand in a header"},
	// The server's messages.
	{file: "internal/proxy/delivery.go", old: `	if !e.valid() {
		d.invalid.warn`, new: `	if false {
		d.invalid.warn`, tests: "./internal/proxy", why: "a host gets lines that are no JSON-RPC messages"},
	{file: "internal/proxy/delivery.go", old: `	if en := d.queue.take(key); en != nil {`, new: `	en := d.queue.take(key)
	if en == nil {
		d.out.message(m)
		return
	}
	if en != nil {`, tests: "./internal/proxy", why: "a host gets an answer to what it never asked, or a second one"},
	{file: "internal/proxy/delivery.go", old: `	if e.call != c {
		e.call.cancel()
	}`, new: `	_ = c`, tests: "./internal/proxy", why: "the stream of a call that was answered elsewhere stays open"},
	{file: "internal/proxy/delivery.go", old: `version != batches || d.tools.hidesAny()`, new: `version != batches`, tests: "./internal/proxy", why: "a batch shows a hidden tool"},
	{file: "internal/proxy/delivery.go", old: `			if keys[key] {
				return nil, false
			}
`, new: ``, tests: "./internal/proxy", why: "a host gets two answers to one request in a batch"},
	// Sizes, memory and fixed words.
	{file: "internal/proxy/message.go", old: `if m.read += int64(n); m.read > m.b.maxMessage {`, new: `if m.read += int64(n); m.size > m.b.maxMessage {`, tests: "./internal/proxy", why: "white space without end is read"},
	{file: "internal/proxy/message.go", old: `full && len(m.chunks) >= softChunks && m.b.used.Load() > m.b.memory`, new: `false`, tests: "./internal/proxy", why: "the memory for all messages has no limit"},
	{file: "internal/proxy/scan.go", old: `	if s.depth++; s.depth >= maxDepth {`, new: `	if s.depth++; false {`, tests: "./internal/proxy", why: "a message nests so deeply that its reader overflows"},
	{file: "internal/proxy/scan.go", old: `		if len(s.elems) == maxElements {`, new: `		if false {`, tests: "./internal/proxy", why: "a batch of empty messages costs many times its size"},
	{file: "internal/proxy/wording.go", old: `	if slices.Contains(knownCodes, f.code) {`, new: `	if slices.Contains(knownCodes, f.code) || true {`, tests: "./internal/proxy", why: "text of an authorization server reaches a model"},
	{file: "internal/proxy/schema.go", old: `w.work < 0 || at.nesting > maxSchemaDepth`, new: `w.work < 0`, tests: "./internal/proxy", why: "a tool's schema overflows the stack"},
	{file: "internal/proxy/schema.go", old: `	case at.aside || len(at.path) == 0:`, new: `	case false:`, tests: "./internal/proxy", why: "a header repeats an argument that is somewhere else"},
	{file: "internal/proxy/tools.go", old: `known || len(t.headers) < maxTools`, new: `known || true`, tests: "./internal/proxy", why: "a server fills the memory with tools"},
	{file: "internal/proxy/body.go", old: `	m.refs.Add(1)
`, new: ``, tests: "./internal/proxy", why: "a request sends the memory of another message"},
	{file: "internal/proxy/tasks.go", old: `len(t.idle) >= maxIdle`, new: `false`, tests: "./internal/proxy", why: "goroutines pile up after a burst"},
	{file: "internal/proxy/tasks.go", old: `	if t.closed || len`, new: `	if len`, tests: "./internal/proxy", why: "a goroutine is left behind when the bridge ends"},
	{file: "internal/proxy/connection.go", old: "|| *s.login.id.Load() == login {", new: `|| *s.login.id.Load() != "" {`, tests: "./internal/proxy", why: "one person's session is used with another's token"},
	{file: "internal/proxy/connection.go", old: "\tnext.login = s.login\n", new: "", tests: "./internal/proxy", why: "a session that was begun by one login is taken over by the next"},
	{file: "internal/proxy/connection.go", old: `if s.id == "" && s.sse == nil {`, new: `if s.id == "" {`, tests: "./internal/proxy", why: "a connection of 2024 is used with another person's token"},
	{file: "internal/proxy/legacy.go", old: ", login: s.login}", new: ", login: new(loginOf)}", tests: "./internal/proxy", why: "a connection of 2024 that one login opened is taken over by the next"},
	{file: "internal/proxy/remote.go", old: "\tif out.version == \"\" {\n\t\tlimited = s.with(limited)\n\t}\n", new: "", tests: "./internal/proxy", why: "one person's messages reach the session of another"},
	{file: "internal/proxy/remote.go", old: "newRequest(s.with(ctx), http.MethodGet,", new: "newRequest(ctx, http.MethodGet,", tests: "./internal/proxy", why: "one person's stream is opened with another's token"},
	{file: "internal/proxy/remote.go", old: "newRequest(s.with(ctx), http.MethodDelete,", new: "newRequest(ctx, http.MethodDelete,", tests: "./internal/proxy", why: "one person ends the session of another"},
	{file: "internal/proxy/listen.go", old: "\t\tif f.reason == reasonSession {", new: "\t\tif false {", tests: "./internal/proxy", why: "the server's messages are lost once another login began"},
}
