package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ParseOAuthError reads an error response (RFC 6749 section 5.2), and what servers send in its
// place. The error code decides, the status only where there is no readable code. The body never
// gets into the result: only its code and its description do, cleaned.
func ParseOAuthError(status int, h http.Header, body []byte) *Fault {
	o, err := message(h, body)
	if err != nil {
		o, err = firstObject(body)
	}
	switch {
	case err == nil:
		return errorFrom(status, h, o, time.Now())
	case looksLikePage(h, body):
		return pageFault(status, h)
	}
	return &Fault{
		Stage: StageToken, Status: status, RetryAfter: RetryAfter(h, time.Now()), Temporary: TemporaryStatus(status),
		Message: "the server answered with an error that cannot be read",
	}
}

// ErrorIn returns the error that a successful status hides, nil if there is none.
func ErrorIn(status int, h http.Header, body []byte) *Fault {
	o, err := message(h, body)
	if err == nil && o.isError() {
		return errorFrom(status, h, o, time.Now())
	}
	return nil
}

// firstObject reads the first element of a list of errors.
func firstObject(body []byte) (Object, error) {
	if err := checkDepth(body); err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), &list); err != nil || len(list) == 0 {
		return nil, errNoObject
	}
	return ParseObject(list[0])
}

// isError reports whether an object is an error whatever the status said: GitHub has an error
// member, Slack "ok": false.
func (o Object) isError() bool {
	switch string(o["error"]) {
	case "", "null", `""`, "false", "{}", "[]":
		return string(o["ok"]) == "false"
	}
	return true
}

// looksLikePage reports whether an answer is meant for a browser.
func looksLikePage(h http.Header, body []byte) bool {
	return strings.Contains(MediaType(h), "html") || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
}

// gone are the statuses by which a page says that there is no such endpoint. Any other page comes
// from something in between, which may go away.
var gone = []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone}

func pageFault(status int, h http.Header) *Fault {
	return &Fault{
		Stage: StageToken, Status: status, RetryAfter: RetryAfter(h, time.Now()), Temporary: !slices.Contains(gone, status),
		Message: "the server answered with a web page instead of an OAuth answer",
		Hint:    "a firewall, a proxy or a captive portal may have answered in the server's place: try again when it is out of the way",
	}
}

// sameCode returns the code of RFC 6749 for one of a single provider, "" for the others.
func sameCode(code string) string {
	switch code {
	case "bad_refresh_token", "bad_verification_code", // GitHub
		"invalid_refresh_token", "invalid_code", "code_already_used": // Slack
		return "invalid_grant"
	case "incorrect_client_credentials", // GitHub
		"bad_client_secret", "invalid_client_id": // Slack
		return "invalid_client"
	case "ratelimited", "service_unavailable", "request_timeout": // Slack
		return "temporarily_unavailable"
	case "internal_error", "fatal_error": // Slack
		return "server_error"
	}
	return ""
}

// detail reads the member of that name: a text, or FastAPI's list of what is wrong with which parameter.
func (o Object) detail() string {
	if s := o.String("detail"); s != "" {
		return s
	}
	first, err := firstObject(o["detail"])
	if err != nil {
		return ""
	}
	var where []string
	for _, part := range first.Strings("loc") {
		if part != "body" {
			where = append(where, part)
		}
	}
	return strings.TrimPrefix(strings.Join(where, ".")+": "+first.String("msg"), ": ")
}

// errorFrom reads an error response.
func errorFrom(status int, h http.Header, o Object, now time.Time) *Fault {
	f := &Fault{Stage: StageToken, Status: status, RetryAfter: RetryAfter(h, now), Message: "the server refused"}
	code, desc := o.String("error"), o.String("error_description")
	if code == "" && o.Has("error") {
		if inner, err := ParseObject(o["error"]); err == nil {
			code = cmp.Or(inner.String("code"), inner.String("type"), inner.String("status"))
			desc = cmp.Or(desc, inner.String("message"))
		}
	}
	// Okta's own members, where it answers before its OAuth endpoint does.
	code = cmp.Or(code, o.String("errorCode"))
	desc = cmp.Or(desc, o.String("message"), o.detail(), o.String("msg"), o.String("errorSummary"))
	f.Description = Clean(desc)
	if same := sameCode(code); same != "" {
		// The server's own code stays visible.
		f.Description = oneLine(code, desc)
		code = same
	}
	f.Code = CleanN(code, 64)
	if uri := o.String("error_uri"); strings.HasPrefix(uri, "https://") {
		f.URI = Clean(uri)
	}
	switch f.Code {
	case "temporarily_unavailable", "server_error", "slow_down":
		f.Temporary = true
	case "invalid_grant", "invalid_client", "unauthorized_client":
		// Whatever the status: these are about the token or the client, and permanent.
	default:
		f.Temporary = TemporaryStatus(status)
	}
	if f.Code == "invalid_target" || strings.Contains(desc, "AADSTS901002") || strings.Contains(desc, "AADSTS9010010") {
		f.Hint = "the server does not accept the resource indicator: try --no-resource (Options.Server.NoResource) or --resource (Options.Server.Resource)"
	}
	return f
}
