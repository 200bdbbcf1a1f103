package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// scanned scans a text in pieces of n bytes.
func scanned(text string, n int) (*scanner, string, error) {
	s := &scanner{}
	var out []byte
	for p := []byte(text); len(p) > 0; {
		k := min(n, len(p))
		out = append(out, s.scan(bytes.Clone(p[:k]))...)
		p = p[k:]
	}
	return s, string(out), s.finish()
}

func TestScanFindsWhatTheBridgeNeeds(t *testing.T) {
	t.Parallel()
	const version = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`
	for name, c := range map[string]struct {
		text string
		want map[field]string
	}{
		"a request": {
			`{"jsonrpc":"2.0","id":1,"method":"ping"}`,
			map[field]string{fieldJSONRPC: `"2.0"`, fieldID: "1", fieldMethod: `"ping"`},
		},
		"the id comes last": {
			`{"method":"tools/call","params":{"arguments":{"id":5,"name":"no","uri":"no"},"name":"x"},"jsonrpc":"2.0","id":"a"}`,
			map[field]string{fieldJSONRPC: `"2.0"`, fieldID: `"a"`, fieldMethod: `"tools/call"`, fieldName: `"x"`},
		},
		"names in other cases are other names": {
			`{"jsonrpc":"2.0","ID":1,"Id":2,"Method":"x","iD":3,"params":{"Name":"x"}}`,
			map[field]string{fieldJSONRPC: `"2.0"`},
		},
		"an escaped name is the same name": {
			`{"json\u0072pc":"2.0","\u0069d":4,"meth\u006Fd":"x"}`,
			map[field]string{fieldJSONRPC: `"2.0"`, fieldID: "4", fieldMethod: `"x"`},
		},
		"what stands twice counts the second time": {
			`{"id":1,"method":"a","params":{"name":"a","uri":"a"},"params":{"name":"b"},"method":"b","id":2}`,
			map[field]string{fieldID: "2", fieldMethod: `"b"`, fieldName: `"b"`},
		},
		"members of inner objects do not count": {
			`{"result":{"id":1,"method":"x","jsonrpc":"1","params":{"name":"n"},"a":[{"id":3}]},"id":9}`,
			map[field]string{fieldID: "9"},
		},
		"params in an array": {
			`{"params":[{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"1"}}],"id":9}`,
			map[field]string{fieldID: "9"},
		},
		"a stateless request": {
			`{"id":9.50,"method":"resources/read","params":{` + version + `,"uri":"file:///é","taskId":"t","requestId":7}}`,
			map[field]string{fieldID: "9.50", fieldMethod: `"resources/read"`, fieldURI: `"file:///é"`, fieldMetaVersion: `"2026-07-28"`, fieldTask: `"t"`, fieldRequestID: "7"},
		},
		"_meta elsewhere": {
			`{"_meta":{"io.modelcontextprotocol/protocolVersion":"x"},"params":{"a":{` + version + `}},"result":{` + version + `}}`,
			nil,
		},
	} {
		for n := 1; n < 40; n++ {
			s, out, err := scanned(c.text, n)
			if err != nil || out != c.text {
				t.Fatalf("%s in pieces of %d: %v, %s", name, n, err, out)
			}
			for f := fieldJSONRPC; f < fieldParams; f++ {
				if got := string(s.top.raw(f)); got != c.want[f] {
					t.Errorf("%s in pieces of %d: member %d is %q, want %q", name, n, f, got, c.want[f])
				}
			}
		}
	}
}

func TestScanRemovesLineBreaksBetweenTokensOnly(t *testing.T) {
	t.Parallel()
	in := "\r\n{\r\n  \"a\" :\n[ 1\n,\r2 ,\"x\\ny\"\n]\n}\n"
	want := `{  "a" :[ 1,2 ,"x\ny"]}`
	for n := 1; n < len(in)+1; n++ {
		if _, out, err := scanned(in, n); err != nil || out != want {
			t.Errorf("in pieces of %d: %q, %v", n, out, err)
		}
	}
}

func TestScanKeepsNumbersAndTextAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, v := range []string{
		"1.0", "1e400", "-0", "123456789012345678901234567890", "0.1E+2", `"\ud800"`, `"\u00e9 é \/"`, "[ ]", "{ }", `{"a":1,"a":2}`, "null", "true", "false",
	} {
		in := `{"result":` + v + `}`
		if _, out, err := scanned(in, 3); err != nil || out != in {
			t.Errorf("%s: %s, %v", in, out, err)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 4_000_000)
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":               {"", errSyntax},
		"a number":              {"1", errSyntax},
		"a string":              {`"x"`, errSyntax},
		"half":                  {`{"id":1`, errSyntax},
		"two messages":          {`{}{}`, errSyntax},
		"a value missing":       {`{"a":}`, errSyntax},
		"a comma too many":      {`{"a":1,}`, errSyntax},
		"a comma in an array":   {`[1,]`, errSyntax},
		"no colon":              {`{"a" 1}`, errSyntax},
		"mixed brackets":        {`{"a":[1}]`, errSyntax},
		"a line break in text":  {"{\"a\":\"x\ny\"}", errSyntax},
		"a tab in text":         {"{\"a\":\"x\ty\"}", errSyntax},
		"a bad escape":          {`{"a":"\x"}`, errSyntax},
		"a bad unicode escape":  {`{"a":"\u12g4"}`, errSyntax},
		"a leading zero":        {`{"a":01}`, errSyntax},
		"a plus":                {`{"a":+1}`, errSyntax},
		"a dot at the end":      {`{"a":1.}`, errSyntax},
		"an exponent cut":       {`{"a":1e}`, errSyntax},
		"a number cut by lines": {"{\"a\":1\n2}", errSyntax},
		"NaN":                   {`{"a":NaN}`, errSyntax},
		"True":                  {`{"a":True}`, errSyntax},
		"a comment":             {`{"a":1} // x`, errSyntax},
		"a member in an array":  {`[{"a":1},"b":2]`, errSyntax},
		"HTML":                  {`<html></html>`, errSyntax},
		"deep":                  {`{"a":` + deep, errDepth},
		"deep and ended":        {`{"a":` + deep[:maxDepth] + strings.Repeat("]", maxDepth) + "}", errDepth},
		"not UTF-8":             {"{\"a\":\"\xff\"}", errUTF8},
		"a surrogate in UTF-8":  {"{\"a\":\"\xed\xa0\x80\"}", errUTF8},
		"a character cut":       {"{\"a\":\"\xc3\"}", errUTF8},
		"overlong":              {"{\"a\":\"\xc0\xaf\"}", errUTF8},
	} {
		for _, n := range []int{1, 2, 3, 7, 1 << 20} {
			if len(c.text) > 1<<20 && n < 3 {
				continue
			}
			if _, _, err := scanned(c.text, n); !errors.Is(err, c.want) {
				t.Errorf("%s in pieces of %d: %v, want %v", name, n, err, c.want)
			}
		}
	}
}

func TestScanFindsTheIDOfWhatIsNotUTF8(t *testing.T) {
	t.Parallel()
	s, _, err := scanned("{\"params\":\"\xff\",\"id\":5,\"method\":\"x\"}", 4)
	if !errors.Is(err, errUTF8) || string(s.top.raw(fieldID)) != "5" {
		t.Errorf("%v, %s", err, s.top.raw(fieldID))
	}
}

func TestScanSplitsBatches(t *testing.T) {
	t.Parallel()
	in := "[ {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":{\"name\":\"n\"}},\n{\"jsonrpc\":\"2.0\",\"method\":\"b\"} , 5, [1], {\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{}} ]"
	for n := 1; n < 50; n++ {
		s, out, err := scanned(in, n)
		if err != nil || len(s.elems) != 5 {
			t.Fatalf("in pieces of %d: %v, %d elements", n, err, len(s.elems))
		}
		var got []string
		for i := range s.elems {
			got = append(got, out[s.elems[i].start:s.elems[i].end])
		}
		if want := []string{
			`{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"n"}}`, `{"jsonrpc":"2.0","method":"b"}`, "5", "[1]", `{"jsonrpc":"2.0","id":"x","result":{}}`,
		}; strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("in pieces of %d: %q", n, got)
		}
		e := s.elems
		if !e[0].request() || e[0].text(fieldName) != "n" || !e[1].notification() || e[1].text(fieldName) != "" || e[2].valid() || e[3].valid() || !e[4].response() {
			t.Errorf("in pieces of %d: %+v", n, e)
		}
	}
	if _, _, err := scanned("["+strings.Repeat("{},", maxElements)+"{}]", 100); !errors.Is(err, errElements) {
		t.Errorf("a batch without end: %v", err)
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":"v"}}}`, "[{},1]", "{\"a\":\n\"\xff\"}",
		`{"\u0069d":"\ud83d\ude00"}`, `{"a":-0.5e+7,"b":[[],{}]}`, `{"id":1,"id":{"id":2}}`,
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		if n < 1 || n > 1000 {
			n = 1
		}
		s, out, err := scanned(string(text), n)
		whole, outWhole, errWhole := scanned(string(text), len(text)+1)
		if !errors.Is(err, errWhole) {
			t.Fatalf("in pieces %v, whole %v", err, errWhole)
		}
		trimmed := bytes.TrimSpace(text)
		container := len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[')
		want := json.Valid(text) && utf8.Valid(text) && container
		if err == nil != want && !errors.Is(err, errDepth) && !errors.Is(err, errElements) {
			t.Fatalf("%v, but valid = %t", err, want)
		}
		if err != nil {
			return
		}
		if out != outWhole || strings.ContainsAny(out, "\r\n") {
			t.Fatalf("%q in pieces, %q whole", out, outWhole)
		}
		var a, b any
		if json.Unmarshal(text, &a) == nil && (json.Unmarshal([]byte(out), &b) != nil || !sameJSON(text, []byte(out))) {
			t.Fatalf("%q became %q", text, out)
		}
		for f := range s.top.field {
			if !bytes.Equal(s.top.field[f], whole.top.field[f]) {
				t.Fatalf("member %d is %q in pieces, %q whole", f, s.top.field[f], whole.top.field[f])
			}
		}
		if s.batch {
			for _, e := range s.elems {
				if !json.Valid([]byte(out[e.start:e.end])) {
					t.Fatalf("an element is %q", out[e.start:e.end])
				}
			}
			return
		}
		var top map[string]json.RawMessage
		if err := json.Unmarshal([]byte(out), &top); err != nil {
			t.Fatal(err)
		}
		id := top["id"]
		if len(id) > 0 && (id[0] == '{' || id[0] == '[') || len(id) > maxField {
			id = nil
		}
		if string(id) != string(s.top.raw(fieldID)) && !s.top.badID {
			t.Fatalf("the id is %q, want %q", s.top.raw(fieldID), id)
		}
		if got := member([]byte(out), "id"); string(got) != string(top["id"]) && len(top["id"]) > 0 {
			t.Fatalf("member says %q, want %q", got, top["id"])
		}
	})
}

func BenchmarkScan(b *testing.B) {
	text := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("a line of text as tools return it, with a few \\\"quotes\\\".\\n", 260) + `"}]}}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var s scanner
	for b.Loop() {
		s = scanner{arena: s.arena[:0], key: s.key[:0]}
		s.scan(text)
		if s.finish() != nil {
			b.Fatal("refused")
		}
	}
}
