package loopback

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// page is what a browser is shown. Its texts are fixed: nothing of the request is repeated.
type page struct {
	status            int
	Title, Text, Mark string
	Server            string
	Style             template.CSS
}

var (
	pageCode = page{
		status: http.StatusOK, Mark: "good", Title: "The answer has arrived",
		Text: "mcpoauth has received the authorization server's answer and finishes the login now.",
	}
	pageRefused = page{
		status: http.StatusOK, Mark: "bad", Title: "No access was given",
		Text: "The authorization server answered that it does not allow the access. Nothing was stored.",
	}
	pageSettled = page{
		status: http.StatusOK, Mark: "wait", Title: "This login is settled",
		Text: "The answer was received before. There is nothing more to do here.",
	}
	pageStray = page{
		status: http.StatusBadRequest, Mark: "bad", Title: "Not part of this login",
		Text: "This address belongs to a login in progress, but the request does not. The login goes on.",
	}
	pageMissing = page{
		status: http.StatusNotFound, Mark: "bad", Title: "Nothing here",
		Text: "There is no page at this address.",
	}
	pageMethod = page{
		status: http.StatusMethodNotAllowed, Mark: "bad", Title: "Not part of this login",
		Text: "Only a browser's navigation ends a login. The login goes on.",
	}
)

// write sends the page with headers that let nothing else happen on it.
func (p page) write(w http.ResponseWriter, server string) {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		http.Error(w, p.Title, p.status)
		return
	}
	p.Server, p.Style = server, template.CSS(pageCSS) //nolint:gosec // our own file
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		http.Error(w, p.Title, p.status)
		return
	}
	sum := sha256.Sum256([]byte(pageCSS))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Connection", "close")
	w.WriteHeader(p.status)
	_, _ = w.Write(b.Bytes())
}
