package proxy

import (
	"strings"
	"testing"
)

func TestMember(t *testing.T) {
	t.Parallel()
	p := []byte(` { "a" : { "b\u0063" : [ 1 , { "x" : "}" } ] , "b" : "\"" , "b" : 2 , "C" : 3 } , "d" : {} } `)
	for path, want := range map[string]string{
		"a/b": "2", "a/bc": `[ 1 , { "x" : "}" } ]`, "d": "{}", "a/c": "", "d/x": "", "a/bc/x": "", "x": "", "a/b/c": "",
	} {
		if got := string(member(p, strings.Split(path, "/")...)); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
