package proxy

import (
	"encoding/json"
	"slices"
	"strconv"
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
	// The bridge handles those below itself: the host never gets them.
	reasonMismatch
	reasonDetect
)

func (r reason) String() string { return wording[r].name }

// wording are the errors that the host gets. They are fixed, so that no text of an authorization server or of an
// error page reaches a model. The codes lie outside the range that JSON-RPC reserves, except for those it defines, so
// that they cannot be taken for the server's.
var wording = [reasonDetect + 1]struct {
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

// knownCodes are the OAuth error codes that the host may get. A code is the server's text; only those that a
// specification defines cannot carry anything else.
var knownCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
	"unsupported_grant_type", "invalid_scope", "access_denied", "unsupported_response_type",
	"server_error", "temporarily_unavailable", "invalid_target", "invalid_token",
	"insufficient_scope", "invalid_redirect_uri", "invalid_client_metadata", "invalid_dpop_proof",
	"use_dpop_nonce", "login_required", "interaction_required", "consent_required",
	"account_selection_required", "expired_token", "slow_down", "authorization_pending",
	"insufficient_user_authentication", "invalid_authorization_details", "invalid_software_statement",
	"unapproved_software_statement", "invalid_request_uri", "invalid_request_object",
}

// errorTexts makes the errors that the host gets.
type errorTexts struct {
	loginCommand string // "" if there is none
	maxMessage   int64  // bytes
}

// answer returns an error in answer to the request with an id, raw JSON or nil for null.
func (t *errorTexts) answer(id []byte, f *fault) []byte {
	w := wording[f.reason]
	if w.text == "" {
		w = wording[reasonInternal]
	}
	text := w.text
	switch f.reason {
	case reasonLogin, reasonLoginPending, reasonDenied, reasonAuthorization:
		if c := t.loginCommand; c != "" {
			text += " To log in, run: " + c
		}
	case reasonStatus, reasonRefused:
		if f.status != 0 {
			text = text[:len(text)-1] + " (HTTP " + strconv.Itoa(f.status) + ")."
		}
	case reasonTooLarge:
		text = text[:len(text)-1] + " of " + strconv.FormatInt(t.maxMessage, 10) + " bytes."
	default:
	}
	data := struct {
		Source string `json:"source"`
		Reason string `json:"reason"`
		Status int    `json:"httpStatus,omitempty"`
		Code   string `json:"oauthError,omitempty"`
	}{"mcpoauth", w.name, f.status, ""}
	if slices.Contains(knownCodes, f.code) {
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
