package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log"
	"log/slog"
	"strings"
	"testing"
	texttemplate "text/template"
)

const text = "hunter2-canary"

// leaked returns the form in which out holds the secret, "" if it does not.
func leaked(out string) string {
	for _, form := range []string{
		text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("% x", text), fmt.Sprintf("%d", []byte(text)), fmt.Sprintf("%#v", []byte(text)),
		base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
	} {
		if strings.Contains(out, form) {
			return form
		}
	}
	return ""
}

type private struct{ s String }

type nested struct {
	Public    String
	private   String
	Pointer   *String
	pointer   *String
	Slice     []String
	slice     []String
	Pointers  []*String
	Array     [1]String
	Map       map[string]String
	hidden    map[string]String
	Keys      map[String]int
	Interface any
	Struct    struct{ S String }
	private2  private
}

// embedded gets all methods of a String, and with them its print.
type embedded struct {
	String
	Other String
}

func values() map[string]any {
	s := New(text)
	n := nested{
		Public: s, private: s, Pointer: &s, pointer: &s, Slice: []String{s}, slice: []String{s}, Pointers: []*String{&s}, Array: [1]String{s},
		Map: map[string]String{"k": s}, hidden: map[string]String{"k": s}, Keys: map[String]int{s: 1}, Interface: s, Struct: struct{ S String }{s}, private2: private{s},
	}
	pp := &s
	return map[string]any{
		"itself": s, "a pointer": &s, "a pointer to a pointer": &pp, "a slice": []String{s, s}, "an array": [2]String{s, s}, "pointers": []*String{&s}, "a map": map[string]String{"k": s},
		"a key": map[String]int{s: 1}, "a struct": n, "a struct's pointer": &n, "structs": []nested{n}, "unexported": private{s}, "embedded": embedded{s, s}, "anything": []any{s, &s, n, map[string]any{"k": n}},
		"a struct as it stands": struct {
			A String
			B *private
		}{s, &private{s}},
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	for name, v := range values() {
		check := func(way, out string, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s, %s: %v", name, way, err)
			}
			if form := leaked(out); form != "" {
				t.Errorf("%s, %s: printed as %q", name, way, form)
			}
		}
		for _, flags := range []string{"", "+", "#", "-", " ", "0", "20", ".3", "+#20.3", "# "} {
			for _, verb := range "vTtbcdoOqxXUeEfFgGspwz!" {
				format := "%" + flags + string(verb)
				check(format, fmt.Sprintf(format, v), nil)
			}
		}
		check("Sprint", fmt.Sprint(v), nil)
		check("Sprintln", fmt.Sprintln(v, v), nil)
		check("too many arguments", fmt.Sprintf("%s", []any{"", v}...), nil)
		check("an error", fmt.Errorf("refused: %v", v).Error(), nil)
		check("a wrapped error", errors.Join(fmt.Errorf("%w: %+v", errors.New("refused"), v)).Error(), nil)
		check("a panic", fmt.Sprint(func() (r any) {
			defer func() { r = recover() }()
			panic(v)
		}()), nil)

		b, err := json.Marshal(v)
		check("JSON", string(b), err)
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetIndent("", " ")
		err = enc.Encode(map[string]any{"v": v})
		check("indented JSON", out.String(), err)
		// XML has no maps; what it writes up to one counts all the same.
		b, _ = xml.Marshal(v)
		check("XML", string(b), nil)

		out.Reset()
		log.New(&out, "", 0).Print(v, "x", v)
		log.New(&out, "", 0).Printf("%v %+v", v, v)
		check("log", out.String(), nil)
		for way, h := range map[string]slog.Handler{
			"slog text": slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}), "slog JSON": slog.NewJSONHandler(&out, nil),
		} {
			out.Reset()
			l := slog.New(h)
			l.Info("m", "v", v, slog.Group("g", "v", v), slog.Any("a", v))
			l.With("v", v).WithGroup("g").Warn("m", "x", []any{v})
			l.Error(fmt.Sprint(v), v, v) //nolint:sloglint // a value without a key
			if strings.Contains(out.String(), "!ERROR") || out.Len() == 0 {
				t.Errorf("%s, %s: %s", name, way, &out)
			}
			check(way, out.String(), nil)
		}

		out.Reset()
		err = texttemplate.Must(texttemplate.New("").Parse(`{{.}} {{printf "%s %x" . .}} {{html .}} {{js .}}`)).Execute(&out, v)
		check("a text template", out.String(), err)
		out.Reset()
		err = htmltemplate.Must(htmltemplate.New("").Parse(`<p title="{{.}}">{{.}}</p><a href="/?q={{.}}">x</a>`)).Execute(&out, v)
		check("an HTML template", out.String(), err)
		out.Reset()
		err = htmltemplate.Must(htmltemplate.New("").Parse(`<script>let x = {{.}}</script>`)).Execute(&out, v)
		check("a script", out.String(), err)
	}
}

func TestWhatIsPrintedInstead(t *testing.T) {
	s := New(text)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%e", "%20s", "%.3s", "%z"} {
		if got := fmt.Sprintf(format, s); got != redacted {
			t.Errorf("%s: %q", format, got)
		}
		if got := fmt.Sprintf(format, &s); got != redacted {
			t.Errorf("%s of a pointer: %q", format, got)
		}
	}
	if s.String() != redacted || s.GoString() != redacted || s.LogValue().String() != redacted {
		t.Errorf("%q, %q, %q", s.String(), s.GoString(), s.LogValue())
	}
	b, err := json.Marshal(map[string]any{"public": struct{ S String }{s}, "list": []*String{&s, nil}, "map": map[String]int{s: 1}})
	if want := `{"list":["[redacted]",null],"map":{"[redacted]":1},"public":{"S":"[redacted]"}}`; err != nil || string(b) != want {
		t.Errorf("JSON: %s, %v", b, err)
	}
	type element struct{ S String }
	b, err = xml.Marshal(element{s})
	if string(b) != "<element><S>[redacted]</S></element>" || err != nil {
		t.Errorf("XML: %s, %v", b, err)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "token", s)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "token", s)
	if !strings.Contains(out.String(), "token=[redacted]\n") || !strings.Contains(out.String(), `"token":"[redacted]"`) {
		t.Errorf("slog: %s", &out)
	}
	if got := fmt.Sprintf("%+v", struct {
		Name  string
		Token String
	}{"n", s}); got != "{Name:n Token:[redacted]}" {
		t.Errorf("in a struct: %s", got)
	}
	if s.Reveal() != text {
		t.Error("the secret is lost")
	}
}

// TestJSONIsOneWay: what was printed does not come back as a token.
func TestJSONIsOneWay(t *testing.T) {
	var v struct{ Token String }
	if err := json.Unmarshal([]byte(`{"Token":"[redacted]"}`), &v); err == nil || !v.Token.IsZero() {
		t.Errorf("a redacted secret was read: %q, %v", v.Token.Reveal(), err)
	}
}

func TestTheEmptySecret(t *testing.T) {
	var s String
	if !s.IsZero() || s.Reveal() != "" || s.String() != "" || !New("").IsZero() || New("").Reveal() != "" || New("x").IsZero() {
		t.Error("the zero value is not the empty secret")
	}
	if got := fmt.Sprintf("%v|%#v|%q", s, s, &s); got != "||" {
		t.Errorf("it prints as %q", got)
	}
	b, err := json.Marshal(struct {
		A String
		B String `json:",omitzero"`
		C *String
	}{})
	if string(b) != `{"A":"","C":null}` || err != nil {
		t.Errorf("JSON: %s, %v", b, err)
	}
	if got := fmt.Sprint((*String)(nil)); got != "<nil>" {
		t.Errorf("a nil pointer prints as %q", got)
	}
}

// FuzzFormat: whatever the format, the output is the same for all secrets.
func FuzzFormat(f *testing.F) {
	for _, format := range []string{"%v", "%+v %#v", "%s%q%x", "%[1]*d", "%-20.3s", "%!", "%", "%[2]v", "%z", "% x", "%.*s"} {
		f.Add(format, text, "x")
	}
	type pair struct {
		A String
		B []String
	}
	f.Fuzz(func(t *testing.T, format, one, other string) {
		// They print the address of what cannot be printed by them.
		if one == "" || other == "" || strings.ContainsAny(format, "pw") {
			return
		}
		printed := func(s String) string { return fmt.Sprintf(format, s, &pair{s, []String{s}}, []any{s}) }
		if a, b := printed(New(one)), printed(New(other)); a != b {
			t.Errorf("%q prints %q as %q and %q as %q", format, one, a, other, b)
		}
	})
}

func TestHide(t *testing.T) {
	for name, tc := range map[string]struct {
		text, want string
		secrets    []string
	}{
		"in the middle":       {"token abc+defgh= is bad", "token [redacted] is bad", []string{"abc+defgh="}},
		"as in a form":        {"token=abc%2Bdefgh%3D&x", "token=[redacted]&x", []string{"abc+defgh="}},
		"several":             {"one-secret two-secret", "[redacted] [redacted]", []string{"one-secret", "", "two-secret"}},
		"too short to look":   {"a message", "a message", []string{"a"}},
		"nothing of the kind": {"a message", "a message", []string{"one-secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Hide(tc.text, tc.secrets...); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
