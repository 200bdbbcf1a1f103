package proxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// reason is why a request got no answer from the server.
type reason int

const (
	reasonNetwork reason = iota
	reasonLost
	reasonLogin
	reasonLoginPending
	reasonDenied
	reasonTemporary
	reasonAuthorization
	reasonRefused
	reasonStatus
	reasonAnswer
	reasonTooLarge
	reasonStorage
	reasonSession
	reasonEnding
	reasonInternal
	reasonParse
	reasonInvalid
	reasonBatch
	reasonInUse
	reasonHidden
	// Those below are never shown: they are dealt with.
	reasonMismatch
	reasonDetect
)

// wording is what the host reads. It is fixed, so that no text of an authorization server or of an
// error page reaches a model. The codes lie outside the range that JSON-RPC reserves, but for those it
// defines, so that they cannot be taken for the server's.
var wording = map[reason]struct {
	code       int
	name, text string
}{
	reasonParse:         {-32700, "parse_error", "The message is not valid JSON."},
	reasonInvalid:       {-32600, "invalid_request", "The message is not a valid JSON-RPC message."},
	reasonBatch:         {-32600, "no_batches", "Batches are not part of this revision of MCP."},
	reasonInUse:         {-32600, "id_in_use", "A request with this id is still being answered."},
	reasonHidden:        {-32602, "tool_hidden", "This tool is not available: it is hidden by the bridge's configuration."},
	reasonInternal:      {-32603, "internal_error", "The bridge failed; its standard error says how."},
	reasonLogin:         {-31001, "login_required", "The server requires a login."},
	reasonLoginPending:  {-31001, "login_pending", "The server requires a login, and it is not finished yet."},
	reasonDenied:        {-31002, "access_denied", "The login or the access was refused."},
	reasonTemporary:     {-31003, "temporary", "The authorization for the server failed for now. Try again later."},
	reasonAuthorization: {-31004, "authorization_failed", "The authorization for the server failed."},
	reasonRefused:       {-31005, "refused", "The server refused the request."},
	reasonNetwork:       {-31006, "unreachable", "The server cannot be reached."},
	reasonLost:          {-31007, "connection_lost", "The connection to the server was lost before the answer. The request may have been carried out."},
	reasonStatus:        {-31008, "http_error", "The server answered with an HTTP error."},
	reasonAnswer:        {-31009, "bad_answer", "The server's answer is not a valid answer to this request."},
	reasonTooLarge:      {-31010, "too_large", "The message is larger than the limit."},
	reasonStorage:       {-31011, "storage", "A large message could not be kept."},
	reasonSession:       {-31012, "session_changed", "The server lost the session, and a new one would differ. Restart the connection."},
	reasonEnding:        {-31013, "ending", "The bridge is ending."},
}

// knownCodes are the OAuth error codes that may be shown. A code is the server's text, and only those
// that a specification defines say nothing else.
var knownCodes = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true,
	"unsupported_grant_type": true, "invalid_scope": true, "access_denied": true, "unsupported_response_type": true,
	"server_error": true, "temporarily_unavailable": true, "invalid_target": true, "invalid_token": true,
	"insufficient_scope": true, "invalid_redirect_uri": true, "invalid_client_metadata": true, "invalid_dpop_proof": true,
	"use_dpop_nonce": true, "login_required": true, "interaction_required": true, "consent_required": true,
	"account_selection_required": true, "expired_token": true, "slow_down": true, "authorization_pending": true,
	"insufficient_user_authentication": true, "invalid_authorization_details": true, "invalid_software_statement": true,
	"unapproved_software_statement": true, "invalid_request_uri": true, "invalid_request_object": true,
}

// fault is why an attempt failed.
type fault struct {
	reason reason
	status int
	code   string
	// wait is what the server asked for.
	wait time.Duration
	// unsent means that the server did not act on the request, so it may be sent again.
	unsent bool
	// final means that trying again does not help.
	final bool
	// session is the one that was lost.
	session *session
	// err is the cause, for people.
	err error
}

func (f *fault) Error() string {
	w := wording[f.reason]
	s := w.name
	if f.status != 0 {
		s += fmt.Sprintf(" (HTTP %d)", f.status)
	}
	if f.err != nil {
		s += ": " + f.err.Error()
	}
	return s
}

func (f *fault) Unwrap() error { return f.err }

// faultOf returns err as a fault.
func faultOf(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	switch {
	case errors.Is(err, errTooLarge):
		return &fault{reason: reasonTooLarge, err: err}
	case errors.Is(err, errStorage):
		return &fault{reason: reasonStorage, err: err}
	case errors.Is(err, errSyntax), errors.Is(err, errUTF8), errors.Is(err, errDepth), errors.Is(err, errElements):
		return &fault{reason: reasonAnswer, err: err}
	}
	return &fault{reason: reasonInternal, err: err}
}

// failure is faultOf for what the HTTP client says.
func (b *bridge) failure(err error) *fault {
	c := b.o.Classify(err)
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err // a URL's query may hold what must not be printed
	}
	f := &fault{code: c.Code, wait: c.RetryAfter, err: err}
	switch c.Kind {
	case FailedLogin:
		f.reason, f.unsent = reasonLogin, true
	case FailedDenied:
		f.reason = reasonDenied
	case FailedTemporary:
		f.reason, f.unsent = reasonTemporary, true
	case FailedOther:
		f.reason = reasonAuthorization
	default:
		f.reason, f.unsent = reasonLost, false
		var op *net.OpError
		var cert *tls.CertificateVerificationError
		switch {
		case errors.As(err, &cert), wire.TLSRefusalOf(err) != wire.NotRefused:
			f.reason, f.final = reasonNetwork, true
		case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
			f.reason, f.unsent = reasonNetwork, true
		}
	}
	return f
}

// errorFor writes the answer that the host gets. id is raw JSON, nil for null.
func (b *bridge) errorFor(id []byte, f *fault) []byte {
	w, ok := wording[f.reason]
	if !ok {
		w = wording[reasonInternal]
	}
	text := w.text
	switch f.reason {
	case reasonLogin, reasonLoginPending, reasonDenied, reasonAuthorization:
		if c := b.o.LoginCommand; c != "" {
			text += " To log in, run: " + c
		}
	case reasonStatus, reasonRefused:
		if f.status != 0 {
			text = text[:len(text)-1] + " (HTTP " + strconv.Itoa(f.status) + ")."
		}
	case reasonTooLarge:
		text = text[:len(text)-1] + " of " + strconv.FormatInt(b.mem.maxMessage, 10) + " bytes."
	default:
	}
	data := struct {
		Source string `json:"source"`
		Reason string `json:"reason"`
		Status int    `json:"httpStatus,omitempty"`
		Code   string `json:"oauthError,omitempty"`
	}{"mcpoauth", w.name, f.status, ""}
	if knownCodes[f.code] {
		data.Code = f.code
	}
	if id == nil {
		id = []byte("null")
	}
	quoted, _ := json.Marshal(text)
	detail, _ := json.Marshal(data)
	p := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
	p = append(p, `,"error":{"code":`...)
	p = strconv.AppendInt(p, int64(w.code), 10)
	p = append(p, `,"message":`...)
	p = append(p, quoted...)
	p = append(p, `,"data":`...)
	p = append(p, detail...)
	return append(p, "}}"...)
}

// repeatable are the methods that do the same when done twice.
var repeatable = map[string]bool{
	"initialize": true, "ping": true, "server/discover": true, "subscriptions/listen": true,
	"tools/list": true, "prompts/list": true, "prompts/get": true, "resources/list": true, "resources/templates/list": true,
	"resources/read": true, "resources/subscribe": true, "resources/unsubscribe": true, "logging/setLevel": true,
	"completion/complete": true, "tasks/get": true, "tasks/list": true, "tasks/result": true, "tasks/cancel": true,
	"notifications/initialized": true, "notifications/cancelled": true, "notifications/progress": true,
	"notifications/roots/list_changed": true, "notifications/message": true,
}

// sleep waits, or returns why it did not.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
