package wire

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func seed(f *testing.F, add func(document)) {
	f.Helper()
	for _, d := range corpus(f) {
		add(d)
	}
	for _, s := range []string{"", "{}", "[]", "null", "\xef\xbb\xbf{}", `{"error":{"code":"x"}}`, `{"ok":false}`, "access_token=a&x=y", "error=x", `{"a":1}{}`, `{"expires_in":1e400,"access_token":"a"}`, `{"expires_in":3600000,"access_token":"a"}`, `{"expires_in":"1764223467","access_token":"a"}`, `{"expires_in":3600000000000,"access_token":"a"}`, `{"errorCode":"E0000011","errorSummary":"x"}`, strings.Repeat("[", 200)} {
		add(document{body: []byte(s), header: http.Header{"Content-Type": {"application/json"}}})
	}
}

func FuzzParseObject(f *testing.F) {
	seed(f, func(d document) { f.Add(d.body) })
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseObject(b)
		if err != nil {
			return
		}
		if !json.Valid([]byte(strings.TrimPrefix(string(b), "\xef\xbb\xbf"))) {
			t.Errorf("accepted what is no JSON: %q", b)
		}
		for name := range o {
			_, _, _, _ = o.String(name), o.Text(name), o.Strings(name), o.Bool(name)
			for _, s := range o.Scopes(name) {
				if !ValidScope(s) {
					t.Errorf("%q is no scope", s)
				}
			}
			if n, ok := o.Seconds(name); ok && (n > maxSeconds || n < -maxSeconds) {
				t.Errorf("%d is out of bounds", n)
			}
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	seed(f, func(d document) { f.Add(d.body) })
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseServerMetadata(b); err == nil && m.Issuer == "" {
			t.Error("no issuer")
		}
		_, _ = ParseResourceMetadata(b)
	})
}

func FuzzParseRegistration(f *testing.F) {
	seed(f, func(d document) { f.Add(d.body) })
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRegistration(b)
		if err != nil {
			return
		}
		if r.ClientID == "" || !visible(r.ClientID) || !visible(r.ClientSecret.Reveal()) || !headerSafe(r.RegistrationAccessToken.Reveal()) {
			t.Errorf("unsafe: %+v", r)
		}
		for _, at := range []time.Time{r.SecretExpiry, r.IssuedAt} {
			if _, err := json.Marshal(at); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzParseToken(f *testing.F) {
	seed(f, func(d document) {
		f.Add(200, d.header.Get("Content-Type"), d.body, "", "")
		f.Add(200, d.header.Get("Content-Type"), d.body, "authed_user", "user")
	})
	f.Add(503, "text/html", []byte("<html>"), "", "")
	f.Fuzz(func(t *testing.T, status int, contentType string, b []byte, member, bearerType string) {
		h := http.Header{"Content-Type": {contentType}}
		tok, err := ParseToken(status, h, Unwrap(h, b, member, bearerType), received)
		if (tok == nil) == (err == nil) {
			t.Fatalf("%+v, %v", tok, err)
		}
		if err != nil {
			var fault *Fault
			if !errors.As(err, &fault) || fault.Message == "" {
				t.Fatalf("%#v", err)
			}
			harmless(t, fault.Error())
			return
		}
		if tok.AccessToken.IsZero() || !headerSafe(tok.AccessToken.Reveal()) || tok.TokenType != "Bearer" {
			t.Errorf("unsafe: %+v", tok)
		}
		if !tok.Expiry.IsZero() && (tok.Expiry.Before(received) || tok.Expiry.Sub(received) > MaxLifetime) {
			t.Errorf("expiry %v", tok.Expiry)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[2Jb", 5)
	f.Add("\u202e\u200bé\xff", 1)
	f.Fuzz(func(t *testing.T, s string, n int) {
		got := CleanN(s, n)
		harmless(t, got)
		if c := utf8.RuneCountInString(got); c > max(n, 0) {
			t.Errorf("%d characters of %d", c, n)
		}
		if again := CleanN(got, n); again != got {
			t.Errorf("%q becomes %q", got, again)
		}
	})
}

func harmless(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%q is not UTF-8", s)
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			t.Errorf("%U is in %q", r, s)
		}
	}
}
