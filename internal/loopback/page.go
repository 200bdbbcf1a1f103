package loopback

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"html"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/mcpoauth/mcpoauth/internal/wire"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// page is a page for the browser. Its texts are fixed: nothing from the request is repeated.
type page struct {
	status            int
	title, text, mark string
}

var (
	pageCode = page{
		status: http.StatusOK, mark: "good", title: "The answer has arrived",
		text: "mcpoauth has received the authorization server's answer and finishes the login now.",
	}
	pageRefused = page{
		status: http.StatusOK, mark: "bad", title: "No access was given",
		// Who answered is not checked yet (RFC 9207), so the page does not say it.
		text: "The answer that arrived gives no access, and nothing was stored. mcpoauth says more.",
	}
	pageSettled = page{
		status: http.StatusOK, mark: "wait", title: "This login is settled",
		text: "The answer was received before. There is nothing more to do here.",
	}
	pageStray = page{
		status: http.StatusBadRequest, mark: "bad", title: "Not part of this login",
		text: "This address belongs to a login in progress, but the request does not. The login goes on.",
	}
	pageFragment = page{
		status: http.StatusBadRequest, mark: "bad", title: "No answer has arrived",
		text: "If the address of this page has an answer after a # sign, which a browser does not send, copy the whole address and paste it where you started the login. The login goes on.",
	}
	pageMissing = page{
		status: http.StatusNotFound, mark: "bad", title: "Nothing here",
		text: "There is no page at this address.",
	}
	pageMethod = page{
		status: http.StatusMethodNotAllowed, mark: "bad", title: "Not part of this login",
		text: "Only a browser's navigation ends a login. The login goes on.",
	}
)

// write sends the page with headers that forbid scripts, forms, frames and caching.
func (p page) write(w http.ResponseWriter, server string) {
	// Replaced by hand: html/template costs every program that links this half a millisecond at its
	// start, and all but the server's URL is our own text.
	body := strings.NewReplacer(
		"{style}", pageCSS, "{title}", p.title, "{text}", p.text, "{mark}", p.mark, "{server}", html.EscapeString(wire.CleanN(server, 255)),
	).Replace(pageHTML)
	sum := sha256.Sum256([]byte(pageCSS))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Connection", "close")
	if p.status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodGet+", "+http.MethodPost)
	}
	w.WriteHeader(p.status)
	_, _ = io.WriteString(w, body)
}
