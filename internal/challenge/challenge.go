// Package challenge parses the WWW-Authenticate header (RFC 9110 section 11.6.1, RFC 6750 section 3).
package challenge

import (
	"encoding/json"
	"net/http"
	"strings"
)

const (
	maxHeader     = 64 << 10
	maxChallenges = 64
	maxParams     = 64
)

// Challenge is one challenge.
type Challenge struct {
	// Scheme in lower case.
	Scheme string
	// Token68 is the scheme's single value, if it has one.
	Token68 string
	// Params are the parameters, their names in lower case.
	Params map[string]string
	// Broken means that a parameter occurs twice or the challenge ends within a quoted string. Its
	// parameters must not be used.
	Broken bool
}

// Parse reads the challenges of all WWW-Authenticate lines in one pass. A broken challenge does not
// affect the others. Anything beyond 64 KiB or 64 challenges is ignored.
func Parse(lines []string) []Challenge {
	var out []Challenge
	total := 0
	for _, line := range lines {
		if total += len(line); total > maxHeader || len(out) >= maxChallenges {
			break
		}
		p := parser{s: line}
		out = append(out, p.line()...)
	}
	if len(out) > maxChallenges {
		out = out[:maxChallenges]
	}
	return out
}

type parser struct {
	s string
	i int
}

func isToken(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func (p *parser) spaces() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

func (p *parser) separators() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t' || p.s[p.i] == ',') {
		p.i++
	}
}

func (p *parser) token() string {
	start := p.i
	for p.i < len(p.s) && isToken(p.s[p.i]) {
		p.i++
	}
	return p.s[start:p.i]
}

// line reads the challenges of one header line: schemes, each followed by a token68 or by
// parameters. A word followed by "=" is a parameter of the scheme before it, any other a scheme.
func (p *parser) line() []Challenge {
	var out []Challenge
	for {
		p.separators()
		if p.i >= len(p.s) {
			return out
		}
		word := p.token()
		if word == "" {
			p.skip()
			continue
		}
		if name, ok := p.parameter(); ok {
			// A parameter without a scheme, or after what was skipped: it belongs to the challenge
			// before it, if there is one.
			value, whole := p.value()
			if len(out) > 0 {
				out[len(out)-1].add(word, value, whole && name)
			}
			continue
		}
		if len(out) == maxChallenges {
			return out
		}
		c := Challenge{Scheme: strings.ToLower(word)}
		if p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
			c.Token68 = p.token68()
		}
		out = append(out, c)
	}
}

// parameter reports whether an "=" follows, and steps over it.
func (p *parser) parameter() (fine, ok bool) {
	at := p.i
	p.spaces()
	if p.i < len(p.s) && p.s[p.i] == '=' {
		p.i++
		p.spaces()
		return true, true
	}
	p.i = at
	return false, false
}

// token68 reads a token68 (RFC 9110 section 11.2), if the next word is one and no parameter.
func (p *parser) token68() string {
	at := p.i
	p.spaces()
	start := p.i
	for p.i < len(p.s) && (isToken(p.s[p.i]) || p.s[p.i] == '/') {
		p.i++
	}
	end := p.i
	for p.i < len(p.s) && p.s[p.i] == '=' {
		p.i++
	}
	word, pad := p.s[start:end], p.i-end
	p.spaces()
	if word == "" || p.i < len(p.s) && p.s[p.i] != ',' || pad == 0 && !looksEncoded(word) {
		p.i = at
		return ""
	}
	return p.s[start : end+pad]
}

// looksEncoded distinguishes a token68 without padding from the scheme of a following challenge whose comma is
// missing.
func looksEncoded(word string) bool {
	return strings.ContainsAny(word, "/+0123456789") || len(word) > 16
}

// value reads a parameter's value: a token, a quoted string, or, as some servers write, a URL
// without quotes or something in single quotes. whole is false if the quote is never closed.
func (p *parser) value() (v string, whole bool) {
	if p.i >= len(p.s) {
		return "", true
	}
	switch p.s[p.i] {
	case '"':
		return p.quoted()
	case '{':
		// Microsoft writes claims as JSON, without quotes around it.
		var object json.RawMessage
		if dec := json.NewDecoder(strings.NewReader(p.s[p.i:])); dec.Decode(&object) == nil {
			p.i += int(dec.InputOffset())
			return string(object), true
		}
	case '\'':
		if end := strings.IndexByte(p.s[p.i+1:], '\''); end >= 0 {
			v = p.s[p.i+1 : p.i+1+end]
			p.i += end + 2
			return v, true
		}
	}
	start := p.i
	for p.i < len(p.s) && p.s[p.i] != ',' && p.s[p.i] != ' ' && p.s[p.i] != '\t' {
		p.i++
	}
	return p.s[start:p.i], true
}

func (p *parser) quoted() (string, bool) {
	p.i++
	var b strings.Builder
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case '"':
			p.i++
			return b.String(), true
		case '\\':
			if p.i++; p.i < len(p.s) {
				b.WriteByte(p.s[p.i])
			}
		default:
			b.WriteByte(c)
		}
		p.i++
	}
	return b.String(), false
}

// skip skips input that starts neither a scheme nor a parameter, up to the next comma.
func (p *parser) skip() {
	if p.s[p.i] == '"' {
		p.quoted()
		return
	}
	for p.i < len(p.s) && p.s[p.i] != ',' {
		if p.s[p.i] == '"' {
			p.quoted()
			continue
		}
		p.i++
	}
}

func (c *Challenge) add(name, value string, fine bool) {
	name = strings.ToLower(name)
	if _, twice := c.Params[name]; twice || !fine || len(c.Params) >= maxParams {
		c.Broken = true
		return
	}
	if c.Params == nil {
		c.Params = make(map[string]string)
	}
	c.Params[name] = value
}

// Bearer merges the Bearer and DPoP challenges of one response.
type Bearer struct {
	// Found reports a Bearer challenge, DPoP one of that scheme.
	Found, DPoP bool
	// Broken reports a challenge of these schemes whose parameters were ignored, because one occurs twice or the
	// challenge ends within a quoted string.
	Broken bool
	// WantNonce: one of them asks for a DPoP nonce (RFC 9449 section 9).
	WantNonce bool
	// Algorithms are those that a DPoP challenge lists for proofs (RFC 9449 section 7.1), "" if it lists none.
	Algorithms string
	// The parameters of RFC 6750 section 3, RFC 9728 section 5.1 and RFC 9470 section 3, "" if absent.
	ResourceMetadata, Scope, Error, ErrorDescription, ErrorURI, Realm, ACRValues, MaxAge, Claims string
}

// FindBearer merges the Bearer challenges of a response. The first sound challenge that has a parameter
// sets its value; a DPoP challenge sets only parameters that no Bearer challenge has.
func FindBearer(h http.Header) Bearer {
	var b Bearer
	all := Parse(h.Values("WWW-Authenticate"))
	for _, scheme := range []string{"bearer", "dpop"} {
		for _, c := range all {
			if c.Scheme != scheme {
				continue
			}
			b.Found = b.Found || scheme == "bearer"
			b.DPoP = b.DPoP || scheme == "dpop"
			if c.Broken {
				b.Broken = true
				continue
			}
			b.WantNonce = b.WantNonce || c.Params["error"] == "use_dpop_nonce"
			if scheme == "dpop" && b.Algorithms == "" {
				b.Algorithms = c.Params["algs"]
			}
			for name, at := range map[string]*string{
				"resource_metadata": &b.ResourceMetadata, "scope": &b.Scope, "error": &b.Error, "error_description": &b.ErrorDescription,
				"error_uri": &b.ErrorURI, "realm": &b.Realm, "acr_values": &b.ACRValues, "max_age": &b.MaxAge, "claims": &b.Claims,
			} {
				if *at == "" {
					*at = c.Params[name]
				}
			}
		}
	}
	return b
}
