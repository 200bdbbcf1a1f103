package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingPrintsASecret(t *testing.T) {
	const text = "hunter2-canary"
	s := New(text)
	type nested struct {
		Public  String
		private String
		Pointer *String
		Slice   []String
		Map     map[string]String
	}
	n := nested{s, s, &s, []String{s}, map[string]String{"k": s}}
	var out bytes.Buffer
	for _, v := range []any{s, &s, n, &n, []any{s, n}, map[string]any{"k": n}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s", "%c", "%U", "%e", "%p", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(b)
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("m", "v", v, slog.Group("g", "v", v))
		}
	}
	for _, form := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("%d", []byte(text))} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret was printed as %q", form)
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing says that something was left out")
	}
	if s.Reveal() != text {
		t.Error("the secret is lost")
	}
}

func TestTheEmptySecret(t *testing.T) {
	var s String
	if !s.IsZero() || s.Reveal() != "" || s.String() != "" || !New("").IsZero() || New("x").IsZero() {
		t.Error("the zero value is not the empty secret")
	}
}
