package record_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

// encoder is what a record, a registration and a pending login have in common.
type encoder interface{ Encode() ([]byte, error) }

// kinds decodes each of the three.
var kinds = map[string]func([]byte) (encoder, error){
	"login":        func(b []byte) (encoder, error) { return orNil(record.DecodeLogin(b)) },
	"registration": func(b []byte) (encoder, error) { return orNil(record.DecodeRegistration(b)) },
	"pending":      func(b []byte) (encoder, error) { return orNil(record.DecodePending(b)) },
}

func orNil[T encoder](v T, err error) (encoder, error) {
	if reflect.ValueOf(v).IsNil() {
		return nil, err
	}
	return v, err
}

// stored returns the stored form of a login, a registration or a pending login as an earlier version
// wrote it, all members set.
func stored(t testing.TB, kind string) []byte {
	t.Helper()
	name := kind
	if kind == "registration" {
		name = "login"
	}
	b, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if kind == "registration" {
		b = members(t, b)["registration"]
	}
	return b
}

func members(t testing.TB, b []byte) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return m
}

// with returns b with one member changed, "" to leave it out.
func with(t testing.TB, b []byte, name, raw string) []byte {
	t.Helper()
	m := members(t, b)
	if m[name] = json.RawMessage(raw); raw == "" {
		delete(m, name)
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameJSON reports whether two documents say the same, numbers digit by digit.
func sameJSON(t testing.TB, a, b []byte) bool {
	t.Helper()
	parse := func(data []byte) (v any) {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		return v
	}
	return reflect.DeepEqual(parse(a), parse(b))
}

func encode(t testing.TB, e encoder) []byte {
	t.Helper()
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fill sets all exported fields below v to values of their own, and returns the strings.
func fill(t testing.TB, v reflect.Value, path string) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for i := range v.NumField() {
		f, name := v.Field(i), path+v.Type().Field(i).Name
		if !v.Type().Field(i).IsExported() {
			continue
		}
		switch p := f.Addr().Interface().(type) {
		case *bool:
			*p = true
		case *time.Time:
			*p = time.Date(2026, 10, 2, 11, i, 0, 123456789, time.UTC)
		case *[]string:
			*p = []string{name + "-canary", name + "-second"}
			texts[name] = name + "-canary"
		case *record.Registration, *record.Login:
			for k, s := range fill(t, f, name+".") {
				texts[k] = s
			}
		case **record.Authentication:
			*p = &record.Authentication{}
			for k, s := range fill(t, reflect.ValueOf(*p).Elem(), name+".") {
				texts[k] = s
			}
		default:
			if f.Kind() != reflect.String {
				t.Fatalf("this test knows no fields of type %s", f.Type())
			}
			f.SetString(name + "-canary")
			texts[name] = name + "-canary"
		}
	}
	return texts
}

func filled(t testing.TB) (r *record.Login, reg *record.Registration, p *record.Pending) {
	r, reg, p = &record.Login{}, &record.Registration{}, &record.Pending{}
	for _, v := range []any{r, reg, p} {
		fill(t, reflect.ValueOf(v).Elem(), "")
	}
	return r, reg, p
}

// TestEveryFieldIsStored: a field that is forgotten would cost a login at the next restart.
func TestEveryFieldIsStored(t *testing.T) {
	r, reg, p := filled(t)
	for kind, v := range map[string]encoder{"login": r, "registration": reg, "pending": p} {
		first := encode(t, v)
		got, err := kinds[kind](first)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		a := reflect.ValueOf(v).Elem()
		sameFields(t, kind, a, reflect.ValueOf(got).Elem())
		if second := encode(t, got); !bytes.Equal(first, second) {
			t.Errorf("%s: written as\n%s\nand again as\n%s", kind, first, second)
		}
		for name, text := range fill(t, reflect.New(a.Type()).Elem(), "") {
			if n := bytes.Count(first, []byte(`"`+text+`"`)); n != 1 {
				t.Errorf("%s: %s is stored %d times", kind, name, n)
			}
		}
	}
}

// sameFields compares the exported fields of two records.
func sameFields(t *testing.T, kind string, a, b reflect.Value) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		switch {
		case !f.IsExported() || f.Type == reflect.TypeFor[record.Registration]():
			// the registration within is compared by what is written
		case f.Type == reflect.TypeFor[record.Login]():
			sameFields(t, kind+"."+f.Name, a.Field(i), b.Field(i))
		case a.Field(i).IsZero() || !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()):
			t.Errorf("%s: %s was %v and came back as %v", kind, f.Name, a.Field(i), b.Field(i))
		}
	}
}

// TestStoredForm: what an earlier version wrote keeps its meaning, and its names.
func TestStoredForm(t *testing.T) {
	at := func(day, hour, sec, nsec int) time.Time {
		return time.Date(2026, 10, day, hour, 0, sec, nsec, time.UTC)
	}
	reg := record.Registration{
		Issuer: "https://auth.example.com", ClientID: "client-1", ClientSecret: "client-canary", AuthMethod: "client_secret_basic", Source: "dynamic",
		RedirectURI: "http://127.0.0.1:3118/callback", RedirectURIs: []string{"http://127.0.0.1/callback"}, Endpoint: "https://auth.example.com/register",
		Scope: "read write", SecretExpiry: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), CreatedAt: at(1, 0, 0, 0), AccessToken: "registration-canary",
		ClientURI: "https://auth.example.com/register/client-1", Unanswered: true,
	}
	want := map[string]encoder{
		"registration": &reg,
		"login": &record.Login{
			ServerURL: "https://mcp.example.com/mcp", Profile: "alice", ResourceOverride: "https://api.example.com", Resource: "https://mcp.example.com",
			Issuer: "https://auth.example.com", AccessToken: "access-canary", RefreshToken: "refresh-canary", IDToken: "id-canary", TokenType: "Bearer",
			Expiry: at(2, 12, 0, 0), IssuedAt: at(2, 11, 0, 123456789), Scopes: []string{"read", "write"}, RequestedScopes: []string{"read", "write", "admin"},
			AuthorizationEndpoint: "https://auth.example.com/authorize?tenant=a&b=<c>", TokenEndpoint: "https://auth.example.com/token",
			RevocationEndpoint: "https://auth.example.com/revoke", ServerMetadataURL: "https://auth.example.com/.well-known/oauth-authorization-server",
			IssParameterPromised: true, Registration: reg, LoginRequired: "invalid_grant", LoginRequiredAt: at(3, 0, 0, 0), SavedAt: at(2, 11, 1, 0),
		},
		"pending": &record.Pending{
			ID: "pending-1", State: "state-canary", Verifier: "verifier-canary",
			RedirectURI: "http://127.0.0.1:3118/callback", CreatedAt: time.Date(2026, 10, 2, 10, 59, 0, 0, time.UTC),
			Login: record.Login{
				ServerURL: "https://mcp.example.com/mcp", Profile: "alice", Scopes: []string{"read"},
				Resource: "https://mcp.example.com", Issuer: "https://auth.example.com", AuthorizationEndpoint: "https://auth.example.com/authorize?tenant=a&b=<c>",
				TokenEndpoint: "https://auth.example.com/token", RevocationEndpoint: "https://auth.example.com/revoke",
				ServerMetadataURL: "https://auth.example.com/.well-known/oauth-authorization-server", IssParameterPromised: true, Registration: reg,
			},
		},
	}
	for kind, w := range want {
		old := stored(t, kind)
		got, err := kinds[kind](old)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if now := encode(t, got); !sameJSON(t, now, old) {
			t.Errorf("%s: read and written again it is\n%s", kind, now)
		}
		if now := encode(t, w); !sameJSON(t, now, old) {
			t.Errorf("%s: the same values are written as\n%s", kind, now)
		}
	}
}

// TestWhatIsEmptyIsLeftOut: and what must be there is written even if it is empty.
func TestWhatIsEmptyIsLeftOut(t *testing.T) {
	for kind, c := range map[string]struct {
		v    encoder
		want string
	}{
		"registration": {&record.Registration{ClientID: "c"}, `{"auth_method":"","client_id":"c","format":1,"issuer":"","source":""}`},
		"login": {
			&record.Login{AccessToken: "a", Registration: record.Registration{ClientID: "c"}},
			`{"access_token":"a","format":1,"issuer":"","registration":{"auth_method":"","client_id":"c","format":1,"issuer":"","source":""},"server_url":"","token_endpoint":"","token_type":""}`,
		},
	} {
		b := encode(t, c.v)
		if string(b) != c.want {
			t.Errorf("%s: %s", kind, b)
		}
		if _, err := kinds[kind](b); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestTimes: a clock or a server gone mad must not make a login that cannot be saved or read.
func TestTimes(t *testing.T) {
	paris := time.FixedZone("", 2*3600)
	for name, c := range map[string]struct{ in, want time.Time }{
		"unknown":                      {time.Time{}, time.Time{}},
		"another zone":                 {time.Date(2026, 10, 2, 13, 0, 0, 5, paris), time.Date(2026, 10, 2, 11, 0, 0, 5, time.UTC)},
		"the start of the epoch":       {time.Unix(0, 0), time.Unix(0, 0).UTC()},
		"before the epoch":             {time.Unix(-1, 0), time.Time{}},
		"in the epoch only over there": {time.Date(1970, 1, 1, 1, 0, 0, 0, paris), time.Time{}},
		"the last one":                 {time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"too late":                     {time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}},
		"too late in UTC":              {time.Date(9999, 12, 31, 23, 30, 0, 0, time.FixedZone("", -3600)), time.Time{}},
		"too late only over there":     {time.Date(10000, 1, 1, 0, 30, 0, 0, paris), time.Date(9999, 12, 31, 22, 30, 0, 0, time.UTC)},
		"a zone that has seconds":      {time.Date(2026, 10, 2, 13, 0, 0, 0, time.FixedZone("", 61)), time.Date(2026, 10, 2, 12, 58, 59, 0, time.UTC)},
		"a zone of a day":              {time.Date(2026, 10, 2, 13, 0, 0, 0, time.FixedZone("", 86400)), time.Date(2026, 10, 1, 13, 0, 0, 0, time.UTC)},
		"the end of what there is":     {time.Unix(1<<62, 0), time.Time{}},
	} {
		r := &record.Login{AccessToken: "a", Expiry: c.in, IssuedAt: c.in, LoginRequiredAt: c.in, SavedAt: c.in}
		r.Registration = record.Registration{ClientID: "c", SecretExpiry: c.in, CreatedAt: c.in}
		before := *r
		b, err := r.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(*r, before) {
			t.Errorf("%s: writing changed the record", name)
		}
		got, err := record.DecodeLogin(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for field, g := range map[string]time.Time{
			"Expiry": got.Expiry, "IssuedAt": got.IssuedAt, "LoginRequiredAt": got.LoginRequiredAt, "SavedAt": got.SavedAt,
			"SecretExpiry": got.Registration.SecretExpiry, "CreatedAt": got.Registration.CreatedAt,
		} {
			if g != c.want {
				t.Errorf("%s: %s is %v, want %v", name, field, g, c.want)
			}
		}
		p := &record.Pending{ID: "i", State: "s", CreatedAt: c.in, Login: record.Login{ServerURL: "u", Registration: r.Registration}}
		if b, err = p.Encode(); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got, err := record.DecodePending(b); err != nil || got.CreatedAt != c.want {
			t.Errorf("%s: a pending login of %v: %v", name, got, err)
		}
	}

	now := time.Now() // has a monotonic reading, which no restart survives
	r, err := record.DecodeLogin(encode(t, &record.Login{AccessToken: "a", Expiry: now, Registration: record.Registration{ClientID: "c"}}))
	if err != nil || !r.Expiry.Equal(now) {
		t.Errorf("%v became %v: %v", now, r.Expiry, err)
	}

	// One that cannot be read is unknown. It does not cost the login.
	for _, raw := range []string{`"soon"`, `1790000000`, `null`, `{}`, `""`, `"2026-13-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"9999-12-31T23:30:00-01:00"`} {
		b := with(t, stored(t, "login"), "expiry", raw)
		r, err := record.DecodeLogin(with(t, b, "registration", string(with(t, members(t, b)["registration"], "secret_expiry", raw))))
		if err != nil || !r.Expiry.IsZero() || !r.Registration.SecretExpiry.IsZero() || r.IssuedAt.IsZero() || r.AccessToken != "access-canary" {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if m := members(t, encode(t, r)); m["expiry"] != nil || members(t, m["registration"])["secret_expiry"] != nil {
			t.Errorf("%s: written again as %s", raw, m["expiry"])
		}
	}
}

// TestUnknownMembersSurvive: an older version that shares the store does not take from a newer one what
// it does not know.
func TestUnknownMembersSurvive(t *testing.T) {
	unknown := map[string]string{
		"a_later_key":  `{"kty":"EC","d":"x","nested":{"deep":[1,[2,{"a":null}]]}}`,
		"a_number":     `12345678901234567890.10e1`,
		"a_null":       `null`,
		"a_bool":       `false`,
		"an_empty":     `""`,
		"a_list":       `[{"b":1,"a":2},[],"<&>"]`,
		"Access_Token": `"another member"`,
		"ACCESS_TOKEN": `7`,
		"":             `"no name"`,
		"\u0000\u2028": `"odd name"`,
	}
	for kind := range kinds {
		old := stored(t, kind)
		for name, raw := range unknown {
			old = with(t, old, name, raw)
		}
		if kind != "registration" {
			inner := members(t, old)["registration"]
			for name, raw := range unknown {
				inner = with(t, inner, name, raw)
			}
			old = with(t, old, "registration", string(inner))
		}
		v, err := kinds[kind](old)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		once := encode(t, v)
		if !sameJSON(t, once, old) {
			t.Errorf("%s: written again it is\n%s\nnot\n%s", kind, once, old)
		}
		if raw := members(t, once)["a_number"]; string(raw) != unknown["a_number"] {
			t.Errorf("%s: a number became %s", kind, raw)
		}
		again, err := kinds[kind](once)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if twice := encode(t, again); !bytes.Equal(once, twice) {
			t.Errorf("%s: the second time it is\n%s", kind, twice)
		}
	}

	// What is known changes, what is unknown stays, in copies too.
	old := with(t, stored(t, "login"), "x", `{"y":1}`)
	old = with(t, old, "registration", string(with(t, members(t, old)["registration"], "z", `2`)))
	r, err := record.DecodeLogin(old)
	if err != nil {
		t.Fatal(err)
	}
	c := *r
	c.AccessToken, c.RefreshToken, c.Scopes, c.Expiry = "new", "", nil, time.Time{}
	c.Registration.ClientSecret = ""
	m := members(t, encode(t, &c))
	for _, gone := range []string{"refresh_token", "scopes", "expiry"} {
		if m[gone] != nil {
			t.Errorf("%s came back: %s", gone, m[gone])
		}
	}
	inner := members(t, m["registration"])
	if string(m["access_token"]) != `"new"` || string(m["x"]) != `{"y":1}` || string(inner["z"]) != "2" || inner["client_secret"] != nil {
		t.Errorf("the copy was written as %s", encode(t, &c))
	}
	if !sameJSON(t, encode(t, r), old) {
		t.Error("changing a copy changed the record")
	}
	// A login's copy of its registration takes along what that has.
	reg, err := record.DecodeRegistration(m["registration"])
	if err != nil {
		t.Fatal(err)
	}
	fresh := record.Login{AccessToken: "a", Registration: *reg}
	if got := members(t, members(t, encode(t, &fresh))["registration"]); string(got["z"]) != "2" {
		t.Errorf("the registration lost a member: %s", got)
	}
}

// TestNewerVersions: what a newer version wrote is refused, not misread.
func TestNewerVersions(t *testing.T) {
	for kind, decode := range kinds {
		for _, raw := range []string{"2", "3", "1000000"} {
			// Nothing else counts: a newer format may have other members, of other types.
			for _, b := range [][]byte{with(t, stored(t, kind), "format", raw), []byte(`{"format":` + raw + `}`), []byte(`{"format":` + raw + `,"access_token":{"enc":"x"},"client_id":7,"state":[]}`)} {
				v, err := decode(b)
				var newer *store.VersionError
				if v != nil || !errors.As(err, &newer) || fmt.Sprint(newer.Format) != raw || newer.Known != 1 || newer.Path != "" {
					t.Errorf("%s, format %s: %v, %v", kind, raw, v, err)
				}
				var corrupt *store.CorruptError
				if errors.As(err, &corrupt) {
					t.Errorf("%s, format %s counts as damaged", kind, raw)
				}
			}
		}
		for _, raw := range []string{"", "0", "-1", "null", `"1"`, "1.5", "[1]", "true", "99999999999999999999"} {
			v, err := decode(with(t, stored(t, kind), "format", raw))
			var corrupt *store.CorruptError
			if v != nil || !errors.As(err, &corrupt) {
				t.Errorf("%s, format %q: %v, %v", kind, raw, v, err)
			}
		}
		if kind == "registration" {
			continue
		}
		b := stored(t, kind)
		_, err := decode(with(t, b, "registration", string(with(t, members(t, b)["registration"], "format", "2"))))
		var newer *store.VersionError
		if !errors.As(err, &newer) || newer.Format != 2 {
			t.Errorf("%s with a newer registration: %v", kind, err)
		}
	}
}

// TestDamage: damage is an error of its own, says nothing of what it found, and is never half a login.
func TestDamage(t *testing.T) {
	refuse := func(what, kind string, b []byte) {
		t.Helper()
		v, err := kinds[kind](b)
		var corrupt *store.CorruptError
		if v != nil || !errors.As(err, &corrupt) || corrupt.Err == nil || corrupt.Path != "" || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s, %s: %v, %v", kind, what, v, err)
		} else if strings.Contains(err.Error(), "canary") || len(err.Error()) > 200 {
			t.Errorf("%s, %s: the error tells what was read: %v", kind, what, err)
		}
	}
	for kind := range kinds {
		good := stored(t, kind)
		if _, err := kinds[kind](append([]byte(" \r\n\t"), append(good, "\n \n"...)...)); err != nil {
			t.Errorf("%s in white space: %v", kind, err)
		}
		trimmed := bytes.TrimSpace(good)
		for i := range trimmed {
			refuse(fmt.Sprintf("cut off after %d bytes", i), kind, trimmed[:i])
		}
		for what, b := range map[string][]byte{
			"nothing": nil, "null": []byte("null"), "a list": []byte("[" + string(good) + "]"), "a text": []byte(`"x"`), "a number": []byte("1"),
			"an empty object": []byte("{}"), "zeros": make([]byte, 512), "a page": []byte("<html></html>"), "two of them": append(bytes.Clone(good), good...),
			"something after it": append(bytes.Clone(good), 'x'), "a brace after it": append(bytes.Clone(good), '}'),
			"a mark before it": append([]byte("\xef\xbb\xbf"), good...), "depth": []byte(strings.Repeat(`{"format":`, 20000)),
			"only a format": []byte(`{"format":1}`),
		} {
			refuse(what, kind, b)
		}
		// Any member of the wrong type, but for times.
		for name, raw := range members(t, good) {
			wrong := map[byte]string{'"': `{"canary":"canary"}`, '[': `"canary"`, 't': `"canary"`, '{': `"canary"`}[raw[0]]
			if wrong == "" || strings.Contains(string(raw), "Z\"") {
				continue
			}
			refuse(name+" of another type", kind, with(t, good, name, wrong))
		}
		pad := func(n int) []byte { return append(bytes.Clone(good), bytes.Repeat([]byte(" "), n-len(good))...) }
		if _, err := kinds[kind](pad(1 << 20)); err != nil {
			t.Errorf("%s of one megabyte: %v", kind, err)
		}
		refuse("longer than a megabyte", kind, pad(1<<20+1))
	}

	// What a login cannot do without.
	for what, c := range map[string]struct{ kind, member, raw string }{
		"a login without a token":              {"login", "access_token", ""},
		"a login with an empty token":          {"login", "access_token", `""`},
		"a login with a null token":            {"login", "access_token", "null"},
		"a refresh token without its endpoint": {"login", "token_endpoint", `""`},
		"a login with a null registration":     {"login", "registration", "null"},
		"a registration without a client":      {"registration", "client_id", ""},
		"a registration with a null client":    {"registration", "client_id", "null"},
		"a login whose registration has none":  {"login", "registration", `{"format":1,"issuer":"x"}`},
		"a login without a registration":       {"login", "registration", ""},
		"a pending login without one":          {"pending", "registration", ""},
		"a pending login whose one has none":   {"pending", "registration", `{"format":1,"issuer":"x"}`},
		"a pending login without a state":      {"pending", "state", `""`},
		"a pending login without a server":     {"pending", "server_url", ""},
		"a pending login's damaged client":     {"pending", "registration", `{}`},
	} {
		refuse(what, c.kind, with(t, stored(t, c.kind), c.member, c.raw))
	}
	b := with(t, with(t, stored(t, "login"), "refresh_token", ""), "token_endpoint", "")
	if r, err := record.DecodeLogin(b); err != nil || r.RefreshToken != "" {
		t.Errorf("a login that is never refreshed needs no endpoint: %v", err)
	}
	// A machine that its platform vouches for need not be a client.
	machine := record.Login{
		AccessToken: "a", TokenEndpoint: "https://auth.example.com/token", Grant: "urn:ietf:params:oauth:grant-type:jwt-bearer",
		Registration: record.Registration{Issuer: "https://auth.example.com", Source: "pre-registered"},
	}
	if r, err := record.DecodeLogin(encode(t, &machine)); err != nil || r.Grant != machine.Grant || r.Registration.Issuer != machine.Registration.Issuer {
		t.Errorf("a machine's login without a client: %v", err)
	}
}

// key is a key of maps that prints without complaint by every verb and as JSON.
type key struct{}

func (key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "k") }

func (key) MarshalText() ([]byte, error) { return []byte("k"), nil }

// TestRedaction: a login that somebody prints or logs shows no secret, whatever holds it.
func TestRedaction(t *testing.T) {
	r, reg, p := filled(t)
	for kind, c := range map[string]struct {
		v     any // the value
		ptr   encoder
		says  []string
		texts map[string]string
	}{
		"login":        {*r, r, []string{"ServerURL"}, fill(t, reflect.ValueOf(r).Elem(), "")},
		"registration": {*reg, reg, []string{"ClientID", "Issuer"}, fill(t, reflect.ValueOf(reg).Elem(), "")},
		"pending":      {*p, p, []string{"Login.ServerURL"}, fill(t, reflect.ValueOf(p).Elem(), "")},
	} {
		raw := encode(t, c.ptr)
		for name, text := range c.texts {
			if !bytes.Contains(raw, []byte(text)) {
				t.Errorf("%s: %s is not in what is stored, so this test proves nothing", kind, name)
			}
		}
		check := func(way, out string, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s, %s: %v", kind, way, err)
			}
			if strings.Contains(out, "%!") && !strings.Contains(out, "%!(EXTRA") {
				t.Errorf("%s, %s: %s", kind, way, out)
			}
			if !strings.Contains(out, "[redacted]") {
				t.Errorf("%s, %s: it does not say that something is left out: %.200s", kind, way, out)
			}
			for name, text := range c.texts {
				for _, form := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("% x", text), fmt.Sprint([]byte(text))} {
					if strings.Contains(out, form) && !slices.Contains(c.says, name) {
						t.Errorf("%s, %s: %s is printed", kind, way, name)
					}
				}
			}
		}
		ptr, v := reflect.ValueOf(c.ptr), c.v
		list := reflect.MakeSlice(reflect.SliceOf(ptr.Elem().Type()), 0, 1)
		list = reflect.Append(list, ptr.Elem())
		type holder struct {
			Value any
		}
		for where, x := range map[string]any{
			"itself": v, "a pointer": c.ptr, "a slice": list.Interface(), "pointers": []any{c.ptr}, "a map": map[key]any{{}: v},
			"a struct": holder{v}, "a struct's pointer": &holder{c.ptr}, "an array": [1]any{v},
		} {
			for _, verb := range "vsqxXdtbcoOUeEfFgGTz" {
				for _, flags := range []string{"", "+", "#", "-30", "+#.2"} {
					if format := "%" + flags + string(verb); verb != 'T' {
						check(where+", "+format, fmt.Sprintf(format, x), nil)
					}
				}
			}
			check(where+", Sprint", fmt.Sprint(x), nil)
			check(where+", Sprintln", fmt.Sprintln(1, x), nil)
			check(where+", too many arguments", fmt.Sprintf("%s", []any{"", x}...), nil)
			check(where+", an error", fmt.Errorf("it failed: %v", x).Error(), nil)
			b, err := json.Marshal(x)
			check(where+", JSON", string(b), err)
			var out bytes.Buffer
			log.New(&out, "", 0).Print(x)
			check(where+", log", out.String(), nil)
			for way, h := range map[string]slog.Handler{"slog text": slog.NewTextHandler(&out, nil), "slog JSON": slog.NewJSONHandler(&out, nil)} {
				out.Reset()
				slog.New(h).With("with", x).WithGroup("g").Info("m", "v", x, slog.Group("h", "v", x))
				check(where+", "+way, out.String(), nil)
				if n := strings.Count(out.String(), "[redacted]"); n != 3 {
					t.Errorf("%s, %s, %s: redacted %d times", kind, where, way, n)
				}
			}
			out.Reset()
			err = template.Must(template.New("").Parse(`{{.}} {{printf "%+v" .}} {{js .}}`)).Execute(&out, x)
			check(where+", a template", out.String(), err)
		}
		b, err := xml.Marshal(v)
		check("XML", string(b), err)
		// A pointer in a field that fmt cannot ask is an address.
		if out := fmt.Sprintf("%+v", struct{ hidden encoder }{c.ptr}); strings.Contains(out, "canary") && !strings.Contains(out, "redacted") {
			t.Errorf("%s in an unexported field: %s", kind, out)
		}
		text := fmt.Sprint(v)
		if s := v.(fmt.Stringer).String(); s != text || v.(fmt.GoStringer).GoString() != text || v.(slog.LogValuer).LogValue().String() != text {
			t.Errorf("%s: String says %q, printed it is %q", kind, s, text)
		}
		for _, name := range c.says {
			if !strings.Contains(text, c.texts[name]) {
				t.Errorf("%s: %q does not name its %s", kind, text, name)
			}
		}
	}
	var none *record.Login
	if got := fmt.Sprintf("%v", none); got != "<nil>" {
		t.Errorf("no record prints as %q", got)
	}
}

// TestRedactedIsNotStored: what was printed as JSON does not pass for a stored login.
func TestRedactedIsNotStored(t *testing.T) {
	r, reg, p := filled(t)
	for kind, v := range map[string]encoder{"login": r, "registration": reg, "pending": p} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var corrupt *store.CorruptError
		if got, err := kinds[kind](b); got != nil || !errors.As(err, &corrupt) {
			t.Errorf("%s: %s was read as %v: %v", kind, b, got, err)
		}
	}
}

func TestARecordThatCouldNotBeReadBackIsNotWritten(t *testing.T) {
	r := &record.Login{AccessToken: strings.Repeat("<", 1<<18), TokenEndpoint: "https://as.example/token", Registration: record.Registration{ClientID: "c"}}
	if _, err := r.Encode(); err == nil {
		t.Error("it was encoded")
	}
}

// TestALifetimeOfACentury is no lifetime: an older version believed nanoseconds.
func TestALifetimeOfACentury(t *testing.T) {
	issued := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	for life, known := range map[time.Duration]bool{time.Hour: true, 365 * 24 * time.Hour: true, 100 * 365 * 24 * time.Hour: false} {
		data, err := (&record.Login{ServerURL: "https://s", AccessToken: "a", TokenEndpoint: "https://t", IssuedAt: issued, Expiry: issued.Add(life), Registration: record.Registration{ClientID: "c"}}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		r, err := record.DecodeLogin(data)
		if err != nil || r.Expiry.IsZero() == known {
			t.Errorf("%v: %v, %v", life, r.Expiry, err)
		}
	}
}
