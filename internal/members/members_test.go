package members

import (
	"encoding/json"
	"reflect"
	"testing"
)

var seeds = []string{
	`{}`, ` {"a" : 1 , "b":[1,{"c":"}"},"\\\""] }`, `{"a":"x","a":"y"}`, `{"\u0061":{"b":{}},"b":null}`, `{"a":"\ud800","b":"\"}{:,"}`,
	`{"a":1}{"b":2}`, `[]`, `null`, ``, `{"a":}`, `{"a":1,}`, "{\"\xff\":\"\xff\"}", `{"":{},"x":[[],[]]}`,
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, s := range seeds {
		compare(t, []byte(s))
	}
}

// compare holds Split and Decode to what encoding/json makes of the same bytes.
func compare(t *testing.T, data []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	err := json.Unmarshal(data, &want)
	got, gotErr := Split(data)
	if wrong := err != nil || want == nil; wrong != (gotErr != nil) {
		t.Fatalf("%q: %v, encoding/json says %v", data, gotErr, err)
	}
	if gotErr != nil {
		return
	}
	if len(want) != len(got) {
		t.Fatalf("%q: %q, want %q", data, got, want)
	}
	for name, raw := range want {
		if string(got[name]) != string(raw) {
			t.Fatalf("%q: member %q is %s, want %s", data, name, got[name], raw)
		}
		var s, wantS string
		var v, wantV any
		if errS, errWant := Decode(got[name], &s), json.Unmarshal(raw, &wantS); (errS == nil) != (errWant == nil) || s != wantS {
			t.Fatalf("%q: member %q is the string %q (%v), want %q (%v)", data, name, s, errS, wantS, errWant)
		}
		if Decode(got[name], &v) != nil || json.Unmarshal(raw, &wantV) != nil || !reflect.DeepEqual(v, wantV) {
			t.Fatalf("%q: member %q is %v, want %v", data, name, v, wantV)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(compare)
}
