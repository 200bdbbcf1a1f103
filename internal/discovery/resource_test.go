package discovery

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/resource"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

func TestTwoRequestsFindEverything(t *testing.T) {
	w := newWeb(t, usual())
	res := w.found(Request{})
	w.only(atPath, issuer+oauthName)
	if res.Resource != mcp || res.Issuer != issuer || res.Announced != issuer || res.ResourceMetadataURL != atPath || res.ServerMetadataURL != issuer+oauthName ||
		res.Server.TokenEndpoint != issuer+"/token" || res.ResourceMetadata.Resource != mcp || res.Legacy || res.Guessed || len(res.Notes) != 0 {
		t.Errorf("%+v", res)
	}
	want := atPath + " 200 application/json read\n" + issuer + oauthName + " 200 application/json read\n"
	if got := outcomes(res.Tried); got != want {
		t.Errorf("tried\n%swant\n%s", got, want)
	}
	if !slices.Equal(w.legs, []string{"resource-metadata", "server-metadata"}) {
		t.Errorf("traced as %v", w.legs)
	}
	for i := range w.asked() {
		h := w.header(i)
		// Firewalls refuse what does not say who it is.
		if h.Get("Accept") != "application/json" || h.Get("User-Agent") != "test" || h.Get("Authorization") != "" {
			t.Errorf("request %d: %v", i, h)
		}
	}
}

// Where nothing is anywhere, every address is asked once, the most specific first, and last the origin
// as an authorization server of 2025-03-26.
func TestWhereResourceMetadataIsSought(t *testing.T) {
	const part = "/.well-known/oauth-protected-resource"
	for name, c := range map[string]struct {
		server, header string
		want           []string
		noLegacy       bool
	}{
		"no path":                        {"https://mcp.example.com", "", []string{part}, false},
		"slash alone":                    {"https://mcp.example.com/", "", []string{part}, false},
		"path":                           {mcp, "", []string{part + "/mcp", part}, false},
		"deep path":                      {"https://mcp.example.com/a/b/mcp", "", []string{part + "/a/b/mcp", part}, false},
		"path with a slash at its end":   {mcp + "/", "", []string{part + "/mcp/", part + "/mcp", part}, false},
		"path with an escape":            {"https://mcp.example.com/a%2Fb", "", []string{part + "/a%2Fb", part}, false},
		"query":                          {mcp + "?tenant=1", "", []string{part + "/mcp?tenant=1", part + "/mcp", part}, false},
		"query without a path":           {"https://mcp.example.com/?tenant=1", "", []string{part + "?tenant=1", part}, false},
		"port":                           {"https://mcp.example.com:8443/mcp", "", []string{part + "/mcp", part}, false},
		"the header first":               {mcp, mcpOrigin + "/meta", []string{"/meta", part + "/mcp", part}, true},
		"the header's query is kept":     {mcp, mcpOrigin + "/meta?r=mcp", []string{"/meta?r=mcp", part + "/mcp", part}, true},
		"the header is a path":           {mcp, "/meta?r=mcp", []string{"/meta?r=mcp", part + "/mcp", part}, true},
		"the header says the usual":      {mcp, atPath, []string{part + "/mcp", part}, true},
		"the header says the root":       {mcp, atRoot, []string{part, part + "/mcp"}, true},
		"the header spells the host big": {mcp, "https://MCP.example.com:443/meta", []string{"/meta", part + "/mcp", part}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, nil)
			_, f := w.discover(Request{ServerURL: c.server, MetadataURL: c.header})
			u, err := url.Parse(c.server)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			origin := strings.TrimSuffix(strings.Join(strings.SplitAfter(c.server, "/")[:3], ""), "/")
			for _, p := range c.want {
				want = append(want, origin+p)
			}
			if path := strings.TrimSuffix(u.EscapedPath(), "/"); !c.noLegacy && path != "" {
				want = append(want, origin+oauthName+path, origin+oauthName, origin+oidcName, origin+oidcName+path, origin+path+oidcName)
			} else if !c.noLegacy {
				want = append(want, origin+oauthName, origin+oidcName)
			}
			for i := range w.requests {
				w.requests[i] = strings.Replace(w.requests[i], "https://MCP.example.com:443", origin, 1)
			}
			for i := range w.tried {
				w.tried[i].URL = strings.Replace(w.tried[i].URL, "https://MCP.example.com:443", origin, 1)
			}
			w.only(want...)
			if f == nil || f.NotOffered == c.noLegacy || f.Temporary {
				t.Errorf("%+v", f)
			}
		})
	}
}

// It has a row in docs/compatibility.md.
func TestPlacesOfResourceMetadata(t *testing.T) {
	const header = mcpOrigin + "/meta"
	all := []string{header, atPath, atRoot}
	for i, at := range all {
		w := newWeb(t, usual().with(pages{atPath: nil, at: prm(mcp, issuer)}))
		res := w.found(Request{MetadataURL: header})
		if res.ResourceMetadataURL != at {
			t.Errorf("found at %s, want %s", res.ResourceMetadataURL, at)
		}
		w.only(append(slices.Clone(all[:i+1]), issuer+oauthName)...)
	}
}

// What leads on to the next candidate.
var notThere = map[string]http.HandlerFunc{
	"404":                           nil,
	"400":                           answer(400, "application/json", `{"error":"bad request"}`),
	"401":                           answer(401, "application/json", `{"error":"unauthorized"}`),
	"403 page":                      answer(403, "text/html", htmlPage),
	"405":                           answer(405, "text/plain", ""),
	"410":                           answer(410, "", ""),
	"204":                           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
	"200, empty":                    doc(""),
	"200, page of an app":           answer(200, "text/html", htmlPage),
	"200, page called JSON":         doc("\n" + htmlPage),
	"200, page behind a BOM":        doc("\xef\xbb\xbf" + htmlPage),
	"200, text":                     answer(200, "text/plain", "not here"),
	"200, list":                     doc(`[{"resource":"` + mcp + `"}]`),
	"200, null":                     doc("null"),
	"200, another JSON":             doc(`{"detail":"not found"}`),
	"redirect to another host":      redirectTo(evil + "/prm"),
	"redirect to http":              redirectTo("http://mcp.example.com/prm"),
	"redirect to itself, for ever":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
	"redirect to nowhere":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) },
	"document in place of redirect": answer(300, "application/json", `{"resource":"`+mcp+`","authorization_servers":["`+evil+`"]}`),
}

// What makes the whole result temporary.
var mayBeThere = map[string]http.HandlerFunc{
	"408":           answer(408, "", ""),
	"425":           answer(425, "", ""),
	"429":           answer(429, "text/html", htmlPage),
	"500":           answer(500, "application/json", `{"error":"x"}`),
	"502":           answer(502, "text/html", htmlPage),
	"503":           answer(503, "text/plain", ""),
	"520":           answer(520, "text/html", htmlPage),
	"a broken line": broken,
	"a cut off answer": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(200)
	},
	"an endless header": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 200<<10)) },
}

func TestWhatIsNotThereLeadsToTheNext(t *testing.T) {
	for name, page := range notThere {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, usual().with(pages{atPath: page, atRoot: prm(mcpOrigin, issuer)}))
			res := w.found(Request{})
			if res.ResourceMetadataURL != atRoot || res.Resource != mcpOrigin || res.Legacy {
				t.Errorf("%+v", res)
			}
			w.untouched(evil)
			w.untouched("http://mcp.example.com")
			want := map[string]string{"200, another JSON": "JSON, but no resource metadata", "200, page of an app": `no JSON object: it begins with "<!doctype html><html><b…"`}[name]
			if got := res.Tried[0]; got.URL != atPath || got.Outcome == "read" || got.Outcome == "" || want != "" && got.Outcome != want {
				t.Errorf("%+v", res.Tried[0])
			}
		})
		t.Run(name+", everywhere", func(t *testing.T) {
			w := newWeb(t, pages{atPath: page, atRoot: page, mcpOrigin + oauthName: asm(mcpOrigin, nil), issuer + oauthName: asm(issuer, nil)})
			res := w.found(Request{})
			if !res.Legacy || res.Guessed || res.Issuer != mcpOrigin || res.Resource != mcp || res.ResourceMetadata != nil || !hasNote(res, "its origin is taken") {
				t.Errorf("%+v", res)
			}
		})
	}
}

// A server in trouble may have a document after all, so the origin is not taken for the authorization
// server, and nothing is guessed.
func TestTroubleBarsTheFallback(t *testing.T) {
	legacy := pages{mcpOrigin + oauthName: asm(mcpOrigin, nil)}
	for name, page := range mayBeThere {
		for at, other := range map[string]string{atPath: atRoot, atRoot: atPath} {
			t.Run(name+" at "+at, func(t *testing.T) {
				w := newWeb(t, legacy.with(pages{at: page}))
				w.passing(Request{AllowGuessedEndpoints: true})
				w.only(atPath, atRoot)
				// With a document at the other place nothing is missing.
				w = newWeb(t, usual().with(pages{at: page, other: prm(mcp, issuer)}))
				if res := w.found(Request{}); res.ResourceMetadataURL != other || res.Legacy {
					t.Errorf("%+v", res)
				}
			})
		}
	}
}

func TestAServerInTroubleSaysHowLong(t *testing.T) {
	busy := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "7"); w.WriteHeader(503) }
	f := newWeb(t, pages{atPath: busy}).passing(Request{})
	if f.RetryAfter != 7*time.Second || f.Status != 503 || f.URL != atPath || len(f.Tried) != 2 || f.Tried[0].Outcome != "temporarily unavailable" || f.Tried[1].Outcome != "not there" {
		t.Errorf("%+v", f)
	}
}

func TestAHostThatTakesNoConnectionsIsAskedOnce(t *testing.T) {
	w := newWeb(t, nil)
	w.down = []string{"mcp.example.com:443"}
	f := w.passing(Request{AllowGuessedEndpoints: true})
	if len(f.Tried) != 1 || !f.Unsent || !strings.Contains(f.Message, "cannot be reached") || f.Tried[0].Status != 0 || f.Tried[0].Outcome != f.Message {
		t.Errorf("%+v", f)
	}
}

// What is there and wrong ends the search: neither another address nor the fallback may replace it.
func TestBrokenResourceMetadataIsNotReplaced(t *testing.T) {
	body := text(map[string]any{"resource": mcp, "authorization_servers": []string{issuer}}, nil)
	for name, c := range map[string]struct{ body, word string }{
		"cut off":            {body[:len(body)-1], "not valid JSON"},
		"twice":              {body + body, "followed by something"},
		"trailing text":      {body + " garbage", "followed by something"},
		"duplicate name":     {`{"resource":"` + mcp + `","authorization_servers":["` + issuer + `"],"authorization_servers":["` + evil + `"]}`, "occurs twice"},
		"not UTF-8":          {strings.Replace(body, "{", "{\"x\":\"\xff\",", 1), "UTF-8"},
		"deep":               {`{"resource":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "nested deeper"},
		"no resource":        {`{"authorization_servers":["` + issuer + `"]}`, "names no resource"},
		"resource is null":   {`{"resource":null,"authorization_servers":["` + issuer + `"]}`, "names no resource"},
		"resource is a list": {`{"resource":["` + mcp + `"],"authorization_servers":["` + issuer + `"]}`, "names no resource"},
		"no servers":         {`{"resource":"` + mcp + `"}`, "announces no authorization server"},
		"empty list":         {`{"resource":"` + mcp + `","authorization_servers":[]}`, "announces no authorization server"},
		"list of no texts":   {`{"resource":"` + mcp + `","authorization_servers":[1,null,{}]}`, "announces no authorization server"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, usual().with(pages{atPath: doc(c.body), atRoot: prm(mcpOrigin, issuer), mcpOrigin + oauthName: asm(mcpOrigin, nil)}))
			f := w.refused(Request{AllowGuessedEndpoints: true}, c.word)
			w.only(atPath)
			if name != "no servers" && name != "empty list" && name != "list of no texts" && f.Tried[0].Outcome != "wrong" {
				t.Errorf("%+v", f.Tried[0])
			}
		})
	}
}

// TestOneDocumentAtEveryAddress: some servers give the host's document at the paths' addresses as well. It counts because
// the root has it, and only then.
func TestOneDocumentAtEveryAddress(t *testing.T) {
	for _, r := range []Request{{}, {MetadataURL: atPath}} {
		w := newWeb(t, usual().with(pages{atPath: prm(mcpOrigin, issuer), atRoot: prm(mcpOrigin, issuer)}))
		if res := w.found(r); res.Resource != mcpOrigin || res.ResourceMetadataURL != atRoot {
			t.Errorf("%+v", res)
		}
		w.only(atPath, atRoot, issuer+oauthName)
		// What the root says decides, whatever the other one announces.
		w = newWeb(t, usual().with(pages{atPath: prm(mcpOrigin, evil), atRoot: prm(mcpOrigin, issuer)}))
		if res := w.found(r); res.Issuer != issuer {
			t.Errorf("%+v", res)
		}
		w.untouched(evil)
		w = newWeb(t, usual().with(pages{atPath: prm(mcpOrigin, issuer), atRoot: prm(evil, issuer)}))
		w.refused(r, evil)
		w = newWeb(t, usual().with(pages{atPath: prm(mcpOrigin, issuer), mcpOrigin + oauthName: asm(mcpOrigin, nil)}))
		w.refused(r, "is about", mcpOrigin, "--resource")
		w = newWeb(t, usual().with(pages{atPath: prm(mcpOrigin, issuer), atRoot: answer(503, "", "")}))
		w.passing(r)
	}
	// Another origin's well-known address is not the host's.
	elsewhere := evil + "/.well-known/oauth-protected-resource/mcp"
	w := newWeb(t, usual().with(pages{elsewhere: prm(mcpOrigin, evil), atPath: nil, atRoot: prm(mcpOrigin, issuer)}))
	w.refused(Request{MetadataURL: elsewhere, AllowCrossOriginMetadata: true}, "is about")
	w.only(elsewhere)
	elsewhere = evil + "/.well-known/oauth-protected-resource"
	w = newWeb(t, usual().with(pages{elsewhere: prm(mcpOrigin, evil), atPath: nil}))
	w.refused(Request{MetadataURL: elsewhere, AllowCrossOriginMetadata: true}, "is about")
}

func TestOnlyExactNamesAreRead(t *testing.T) {
	for name, body := range map[string]string{
		"case":       `{"resource":"` + mcp + `","authorization_servers":["` + issuer + `"],"AUTHORIZATION_SERVERS":["` + evil + `"],"Resource":"` + evil + `"}`,
		"folded":     `{"resource":"` + mcp + `","authorization_servers":["` + issuer + `"],"authorization_\u017Fervers":["` + evil + `"]}`,
		"case first": `{"AUTHORIZATION_SERVERS":["` + evil + `"],"authorization_servers":["` + issuer + `"],"resource":"` + mcp + `"}`,
	} {
		w := newWeb(t, usual().with(pages{atPath: doc(body)}))
		if res := w.found(Request{}); res.Issuer != issuer || res.Resource != mcp {
			t.Errorf("%s: %+v", name, res)
		}
		w.untouched(evil)
	}
	// The same for the authorization server's own document.
	w := newWeb(t, usual().with(pages{issuer + oauthName: asm(issuer, map[string]any{"TOKEN_ENDPOINT": evil + "/token", "to\u212aen_endpoint": evil + "/token"})}))
	if res := w.found(Request{}); res.Server.TokenEndpoint != issuer+"/token" {
		t.Errorf("%+v", res.Server)
	}
	newWeb(t, usual().with(pages{issuer + oauthName: asm(issuer, map[string]any{"token_endpoint": nil, "Token_Endpoint": issuer + "/token"})})).refused(Request{}, "no usable token_endpoint")
}

func TestWhoseResourceMetadataItIs(t *testing.T) {
	const header = mcpOrigin + "/meta"
	for _, c := range []struct {
		server, at, resource string
		ok                   bool
	}{
		{mcp, atPath, mcp, true},
		{mcp, atPath, "https://MCP.example.com:443/mcp", true},
		{mcpOrigin, atRoot, mcpOrigin + "/", true},
		{mcpOrigin + "/", atRoot, mcpOrigin, true},
		// One document for all of an origin, but only at the root: a path's own document is about that path.
		{mcp, atRoot, mcpOrigin, true},
		{mcp, atPath, mcpOrigin, false},
		{mcp, atPath, mcpOrigin + "/", false},
		{mcpOrigin + "/team/mcp", atRoot + "/team/mcp", mcpOrigin + "/team", false},
		{mcpOrigin + "/team/mcp", atRoot + "/team/mcp", mcpOrigin + "/team/mcp", true},
		{mcp + "?tenant=1", atPath, mcp, true},
		{mcp + "?tenant=1", atRoot, mcp, true},
		{mcp + "?tenant=1", atPath, mcpOrigin, false},
		{mcp + "?tenant=1", atPath, mcp + "?tenant=2", false},
		{mcp + "/", atPath, mcp, true},
		{mcp, header, mcpOrigin, false},
		{mcp, header, mcp, true},
		{mcpOrigin + "/team/mcp", atRoot, mcpOrigin + "/team", true},
		{mcpOrigin + "/team/mcp", atRoot, mcpOrigin + "/te", false},
		{mcpOrigin + "/team/mcp", atRoot, mcpOrigin + "/other/mcp", false},
		{mcp, atPath, mcp + "/", true},
		{mcp, atPath, mcp + "EVIL", false},
		{mcp, atPath, mcp + "/deeper", false},
		{mcp, atPath, mcp + "#x", false},
		{mcp, atPath, mcp + "?x", false},
		{mcp, atPath, "http://mcp.example.com:8080/mcp", false},
		{mcp, atPath, "http://www.mcp.example.com/mcp", false},
		{mcp, atPath, "https://mcp.example.com:8443/mcp", false},
		{mcp, atPath, "https://user@mcp.example.com/mcp", false},
		{mcp, atPath, mcpOrigin + "/x/../mcp", false},
		{mcp, atPath, mcpOrigin + "/x%2f..%2fmcp", false},
		{mcp, atPath, "https://victim.example.org/mcp", false},
		{mcp, atPath, "mcp.example.com/mcp", false},
		{mcp, atPath, "urn:mcp", false},
	} {
		t.Run(c.resource+" at "+c.at, func(t *testing.T) {
			w := newWeb(t, pages{
				c.at: prm(c.resource, issuer), issuer + oauthName: asm(issuer, nil),
				// What must not be fallen back to.
				mcpOrigin + oauthName: asm(mcpOrigin, nil),
			})
			r := Request{ServerURL: c.server}
			if c.at == header {
				r.MetadataURL = header
			}
			if c.ok {
				// What is sent is the document's text, byte for byte.
				if res := w.found(r); res.Resource != c.resource {
					t.Errorf("the resource is %q", res.Resource)
				}
				return
			}
			w.refused(r, c.resource, wire.PlainURL(c.server), "--resource")
			w.untouched(issuer)
			// The setting that the hint names.
			r.ResourceOverride = c.resource
			if res := newWeb(t, w.pages).found(r); res.Resource != c.resource {
				t.Errorf("with the setting: %+v", res)
			}
			want := c.at
			if resource.SameOrParent(c.resource, c.server) && c.at != header {
				want = atRoot // which may say the same, and be right
			}
			if last := w.used()[len(w.used())-1]; last != want {
				t.Errorf("after the wrong document %s was asked", last)
			}
		})
	}
}

// A confirmed other name is the way out that the error offers.
func TestAConfiguredResource(t *testing.T) {
	const other = "https://gateway.example.org/mcp"
	w := newWeb(t, usual().with(pages{atPath: prm(other, issuer)}))
	if res := w.found(Request{ResourceOverride: other}); res.Resource != other {
		t.Errorf("%+v", res)
	}
	newWeb(t, usual().with(pages{atPath: prm(other, issuer)})).refused(Request{ResourceOverride: other + "/"}, other)
	w = newWeb(t, usual().with(pages{atPath: doc(`{"authorization_servers":["` + issuer + `"]}`)}))
	if res := w.found(Request{ResourceOverride: other}); res.Resource != other || !hasNote(res, "names no resource") {
		t.Errorf("%+v", res)
	}
	w = newWeb(t, usual())
	if res := w.found(Request{ResourceOverride: other}); res.Resource != other {
		t.Errorf("over a document that is right: %+v", res)
	}
	w = newWeb(t, usual())
	if res := w.found(Request{ResourceOverride: other, NoResource: true}); res.Resource != "" || res.ResourceMetadata.Resource != mcp {
		t.Errorf("without: %+v", res)
	}
	w = newWeb(t, pages{mcpOrigin + oauthName: asm(mcpOrigin, nil)})
	if res := w.found(Request{NoResource: true}); res.Resource != "" {
		t.Errorf("without, on an older server: %+v", res)
	}
}

func TestMetadataOnAnotherOrigin(t *testing.T) {
	for _, header := range []string{
		evil + "/prm", "//evil.example.net/prm", "http://mcp.example.com:8080/prm", "https://mcp.example.com:8443/prm", "https://x.mcp.example.com/prm", "https://mcp.example.com.evil.example.net/prm",
		"http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://127.0.0.1:1/prm", "file://mcp.example.com/etc/passwd", "ftp://mcp.example.com/prm",
	} {
		w := newWeb(t, usual().with(pages{evil + "/prm": prm(mcp, evil)}))
		if f := w.refused(Request{MetadataURL: header}, "another origin"); !strings.Contains(f.Hint, "--allow-cross-origin-metadata") {
			t.Errorf("%s: %s", header, f.Hint)
		}
		w.only()
	}
	for _, header := range []string{"https://user:pw@mcp.example.com/prm", mcpOrigin + "/prm#x", mcpOrigin + "/prm#", "prm", "?x", "https:///prm", "https:mcp.example.com", "http://[::1/", "javascript:alert(1)", " "} {
		w := newWeb(t, usual())
		w.refused(Request{MetadataURL: header, AllowCrossOriginMetadata: true}, "not a usable URL")
		w.only()
	}

	// Followed if a setting says so: over https, and never to an address that is not public.
	w := newWeb(t, usual().with(pages{atPath: nil, evil + "/prm": prm(mcp, issuer)}))
	if res := w.found(Request{MetadataURL: evil + "/prm", AllowCrossOriginMetadata: true}); res.ResourceMetadataURL != evil+"/prm" {
		t.Errorf("%+v", res)
	}
	w.only(evil+"/prm", issuer+oauthName)
	w = newWeb(t, nil)
	w.refused(Request{MetadataURL: "http://evil.example.net/prm", AllowCrossOriginMetadata: true}, "plain http")
	w = newWeb(t, pages{"http://evil.example.net/prm": prm(mcp, issuer)})
	w.policy.AllowInsecureHTTP = true // allows plain http, but not to be sent there
	w.refused(Request{MetadataURL: "http://evil.example.net/prm", AllowCrossOriginMetadata: true}, "to another origin over plain http")
	w.only()
	for _, header := range []string{"https://169.254.169.254/prm", "https://10.0.0.1/prm", "http://127.0.0.1:8080/prm", "https://metadata.google.internal/prm"} {
		w.refused(Request{MetadataURL: header, AllowCrossOriginMetadata: true}, "is not requested")
	}
	w.only()
	// What another origin says is still about the server that was asked for, and not about its parent unless at a
	// well-known address.
	w = newWeb(t, pages{evil + "/prm": prm(evil, evil), evil + oauthName: asm(evil, nil)})
	w.refused(Request{MetadataURL: evil + "/prm", AllowCrossOriginMetadata: true}, evil)
	w.only(evil + "/prm")
}

// A server of loopback may name another port of loopback without TLS.
func TestCrossOriginMetadataOnLoopback(t *testing.T) {
	const server, other = "http://127.0.0.1:8000/mcp", "http://localhost:9000"
	w := newWeb(t, pages{other + "/prm": prm(server, other), other + oauthName: asm(other, nil)})
	w.policy.Class = 2 // loopback
	if res := w.found(Request{ServerURL: server, MetadataURL: other + "/prm", AllowCrossOriginMetadata: true}); res.Issuer != other {
		t.Errorf("%+v", res)
	}
}

// The challenge promised a document. If there is none, somebody may be keeping it from us.
//
// It has a row in docs/compatibility.md.
func TestMetadataThatTheChallengeNamesIsGone(t *testing.T) {
	w := newWeb(t, pages{mcpOrigin + oauthName: asm(mcpOrigin, nil)})
	w.refused(Request{MetadataURL: mcpOrigin + "/meta", AllowGuessedEndpoints: true}, "challenge names")
	w.only(mcpOrigin+"/meta", atPath, atRoot)
}

func TestRedirectsOfMetadata(t *testing.T) {
	chain := pages{
		atPath: redirectTo("/1"), mcpOrigin + "/1": redirectTo(mcpOrigin + "/2"), mcpOrigin + "/2": redirectTo("https://MCP.example.com:443/3"),
		"https://MCP.example.com:443/3": prm(mcp, issuer), mcpOrigin + "/3": prm(mcp, issuer), issuer + oauthName: asm(issuer, nil),
	}
	w := newWeb(t, chain)
	if res := w.found(Request{}); res.ResourceMetadataURL != atPath || len(w.asked()) != 5 || len(res.Tried) != 2 {
		t.Errorf("three redirects: asked %v, %+v", w.asked(), res)
	}
	// One more is not followed; the next candidate is asked.
	w = newWeb(t, chain.with(pages{mcpOrigin + "/2": redirectTo("/4"), mcpOrigin + "/4": redirectTo("/3"), atRoot: prm(mcpOrigin, issuer)}))
	if res := w.found(Request{}); res.ResourceMetadataURL != atRoot || res.Tried[0].Outcome != "redirects elsewhere" || res.Tried[0].Status != 302 {
		t.Errorf("four redirects: %+v", res)
	}
	// A redirect on the way does not turn a document about the parent into one that may be.
	w = newWeb(t, pages{mcpOrigin + "/meta": redirectTo(atRoot), atRoot: prm(mcpOrigin, issuer)})
	w.refused(Request{MetadataURL: mcpOrigin + "/meta"}, mcpOrigin)
	// The authorization server's redirect to another host is not followed either.
	w = newWeb(t, usual().with(pages{issuer + oauthName: redirectTo(evil + "/x"), evil + "/x": asm(issuer, nil), issuer + oidcName: asm(issuer, nil)}))
	if res := w.found(Request{}); res.ServerMetadataURL != issuer+oidcName {
		t.Errorf("%+v", res)
	}
	w.untouched(evil)
}

// Some servers gate on the version of MCP and do not know ours.
//
// It has a row in docs/compatibility.md.
func TestTheProtocolVersion(t *testing.T) {
	const version = "2026-07-28"
	w := newWeb(t, usual())
	w.found(Request{ProtocolVersion: version})
	if got := w.header(0).Get("Mcp-Protocol-Version"); got != version {
		t.Errorf("the resource server got %q", got)
	}
	if got := w.header(1).Get("Mcp-Protocol-Version"); got != "" {
		t.Errorf("the authorization server got %q, it is no MCP server", got)
	}
	gate := func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") != "" {
			rw.WriteHeader(400)
			return
		}
		prm(mcp, issuer)(rw, r)
	}
	w = newWeb(t, usual().with(pages{atPath: gate}))
	w.found(Request{ProtocolVersion: version})
	w.only(atPath, atPath, issuer+oauthName)
	if !slices.Equal(w.legs, []string{"resource-metadata", "resource-metadata", "server-metadata"}) {
		t.Errorf("traced as %v", w.legs)
	}
	// Once without, always without; and nothing is repeated that was not refused for it.
	w = newWeb(t, usual().with(pages{atPath: answer(400, "", ""), atRoot: gate}))
	w.found(Request{ProtocolVersion: version})
	w.only(atPath, atPath, atRoot, issuer+oauthName)
	w = newWeb(t, usual().with(pages{atPath: answer(400, "", ""), atRoot: prm(mcp, issuer)}))
	w.found(Request{})
	w.only(atPath, atRoot, issuer+oauthName)
	w = newWeb(t, usual().with(pages{atPath: nil, atRoot: prm(mcp, issuer)}))
	w.found(Request{ProtocolVersion: version})
	w.only(atPath, atRoot, issuer+oauthName)
}

func TestHowMuchIsRead(t *testing.T) {
	filler := strings.Repeat(" ", 1<<20-len(`{"resource":"","authorization_servers":[""]}`)-len(mcp)-len(issuer))
	full := `{"resource":"` + mcp + `","authorization_servers":["` + issuer + `"]` + filler + `}`
	if len(full) != 1<<20 {
		t.Fatal(len(full))
	}
	newWeb(t, usual().with(pages{atPath: doc(full)})).found(Request{})
	w := newWeb(t, usual().with(pages{atPath: doc(full + " "), atRoot: prm(mcp, issuer)}))
	w.refused(Request{}, "longer than 1048576 bytes")
	w.only(atPath)
	// Without an end: what is not read is not waited for.
	stopped := make(chan error, 1)
	endless := func(rw http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat("x", 64<<10))
		for {
			if _, err := rw.Write(chunk); err != nil {
				stopped <- err
				return
			}
		}
	}
	w = newWeb(t, usual().with(pages{issuer + oauthName: endless}))
	w.refused(Request{}, "longer than")
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("the answer is still being read")
	}
}

func TestRemarksOnTheResource(t *testing.T) {
	for body, want := range map[string]string{
		`"bearer_methods_supported":["query","body"]`:   "does not list the Authorization header",
		`"bearer_methods_supported":[]`:                 "does not list the Authorization header",
		`"bearer_methods_supported":["header","query"]`: "",
		`"dpop_bound_access_tokens_required":true`:      "DPoP",
		`"dpop_bound_access_tokens_required":false`:     "",
	} {
		w := newWeb(t, usual().with(pages{atPath: doc(fmt.Sprintf(`{"resource":%q,"authorization_servers":[%q],%s}`, mcp, issuer, body))}))
		res := w.found(Request{})
		if want == "" && len(res.Notes) != 0 || want != "" && (len(res.Notes) != 1 || !hasNote(res, want)) {
			t.Errorf("%s: %q", body, res.Notes)
		}
	}
}

// TestSignedMetadataIsIgnored (RFC 9728 section 2.2): nobody here checks the signature, so nothing in it counts.
func TestSignedMetadataIsIgnored(t *testing.T) {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"` + evil + `","resource":"` + mcp + `","authorization_servers":["` + evil + `"],"scopes_supported":["all"]}`))
	w := newWeb(t, usual().with(pages{atPath: doc(`{"resource":"` + mcp + `","authorization_servers":["` + issuer + `"],"signed_metadata":"eyJhbGciOiJFUzI1NiJ9.` + claims + `.c2ln"}`)}))
	if res := w.found(Request{}); res.Issuer != issuer || len(res.ResourceMetadata.ScopesSupported) != 0 {
		t.Errorf("%+v", res)
	}
	w.untouched(evil)
}

func TestServersThatAreNoIssuers(t *testing.T) {
	for _, s := range []string{"javascript:alert(1)", "//evil.example.net", "evil.example.net", "https://", "https://u:p@evil.example.net", evil + "/?x=", evil + "/#f", evil + "?", "file:///etc/passwd", "\x1b[2J"} {
		w := newWeb(t, usual().with(pages{atPath: prm(mcp, s, issuer)}))
		f := w.refused(Request{}, "no issuer")
		w.only(atPath)
		if strings.Contains(f.Message, "\x1b") {
			t.Errorf("%q is in the message", f.Message)
		}
	}
	for _, s := range []string{"http://evil.example.net", "https://169.254.169.254", "https://10.0.0.1", "http://127.0.0.1:9", "https://localhost", "https://2130706433"} {
		w := newWeb(t, usual().with(pages{atPath: prm(mcp, s)}))
		w.refused(Request{}, "is not requested")
		w.only(atPath)
	}
	// A single text in place of a list is taken.
	w := newWeb(t, usual().with(pages{atPath: doc(`{"resource":"` + mcp + `","authorization_servers":"` + issuer + `"}`)}))
	w.found(Request{})
}
