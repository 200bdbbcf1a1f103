package proxy

import (
	"strings"
	"testing"
)

func TestWhatIsAMessage(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"jsonrpc":"2.0","id":1,"method":"x"}`:                                       true,
		`{"jsonrpc":"2.0","method":"x"}`:                                              true,
		`{"jsonrpc":"2.0","id":"x","result":null}`:                                    true,
		`{"jsonrpc":"2.0","id":null,"error":{}}`:                                      true,
		`{"jsonrpc":"2.0","error":{}}`:                                                true,
		`{"id":1,"method":"x"}`:                                                       false,
		`{"jsonrpc":"1.0","id":1,"method":"x"}`:                                       false,
		`{"jsonrpc":2.0,"id":1,"method":"x"}`:                                         false,
		`{"jsonrpc":"2.0","id":null,"method":"x"}`:                                    false,
		`{"jsonrpc":"2.0","id":{},"method":"x"}`:                                      false,
		`{"jsonrpc":"2.0","id":true,"method":"x"}`:                                    false,
		`{"jsonrpc":"2.0","id":1,"method":5}`:                                         false,
		`{"jsonrpc":"2.0","id":1}`:                                                    false,
		`{"jsonrpc":"2.0","id":"` + strings.Repeat("x", maxField) + `","method":"x"}`: false,
	} {
		s, _, err := scanned(text, 1000)
		if err != nil || s.top.valid() != want {
			t.Errorf("%.80s: valid = %t, %v", text, s.top.valid(), err)
		}
	}
}

func TestIDsAreTheSameHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, same := range [][2]string{{"1", "1.0"}, {"1", "1e0"}, {"-5", "-5.0"}, {`"é"`, `"\u00e9"`}, {`"a"`, `"\u0061"`}} {
		if idKey([]byte(same[0])) != idKey([]byte(same[1])) {
			t.Errorf("%s and %s differ", same[0], same[1])
		}
	}
	for _, other := range [][2]string{{"1", `"1"`}, {"1", "2"}, {"9007199254740993", "9007199254740992"}, {`"a"`, `"A"`}, {"1.5", "1"}, {`"n1"`, "1"}} {
		if idKey([]byte(other[0])) == idKey([]byte(other[1])) {
			t.Errorf("%s and %s are the same", other[0], other[1])
		}
	}
	for _, none := range []string{"", "null", "true", "{}"} {
		if idKey([]byte(none)) != "" {
			t.Errorf("%s is an id", none)
		}
	}
}
