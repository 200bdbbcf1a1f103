package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

// fuzzDecode: whatever lies in a store is a record, damage, or another version's. What is read once is
// written again with nothing lost.
func fuzzDecode(f *testing.F, kind string) {
	for k := range kinds {
		f.Add(stored(f, k))
	}
	good := stored(f, kind)
	f.Add(with(f, good, "x", `{"y":[1e400,"\u2028<&>",null]}`))
	f.Add(with(f, good, "format", "2"))
	f.Add(with(f, good, "scopes", "null"))
	f.Add(with(f, good, "created_at", `"9999-12-31T23:30:00-01:00"`))
	f.Add(with(f, good, "issuer", `"\ud800"`))
	f.Add(good[:len(good)/2])
	f.Add([]byte(`{"format":1,"format":2,"access_token":"a","Access_Token":"b","client_id":"c","state":"s","server_url":"u"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		given := bytes.Clone(data)
		v, err := kinds[kind](data)
		if !bytes.Equal(data, given) {
			t.Fatal("reading changed the bytes")
		}
		if err != nil {
			var corrupt *store.CorruptError
			var newer *store.VersionError
			if v != nil || errors.As(err, &corrupt) == errors.As(err, &newer) || newer != nil && newer.Format <= newer.Known || len(err.Error()) > 200 {
				t.Fatalf("%v, %#v", v, err)
			}
			return
		}
		once, err := v.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if len(once) > 1<<20 {
			return // escaped it may be longer than what can be read
		}
		again, err := kinds[kind](once)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once)
		}
		if twice := encode(t, again); !bytes.Equal(once, twice) {
			t.Fatalf("written as\n%s\nand again as\n%s", once, twice)
		}
		// Nothing of what this version does not know is lost, and nothing is made up.
		before, after, known := members(t, data), members(t, once), map[string]bool{"format": true}
		types := []reflect.Type{reflect.TypeOf(v).Elem()}
		if kind == "pending" {
			types = append(types, reflect.TypeFor[record.Login]())
		}
		for _, typ := range types {
			for i := range typ.NumField() {
				if name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ","); name != "" {
					known[name] = typ.Field(i).IsExported()
				}
			}
		}
		for name, raw := range before {
			if !known[name] && !sameJSON(t, raw, after[name]) {
				t.Errorf("the member %q was %s and is %s", name, raw, after[name])
			}
		}
		for name := range after {
			if _, ok := before[name]; !ok && !known[name] {
				t.Errorf("the member %q came from nowhere", name)
			}
		}
		for _, name := range []string{"access_token", "refresh_token", "client_secret", "state", "verifier"} {
			var text string
			if json.Unmarshal(before[name], &text) == nil && len(text) > 20 && strings.Contains(fmt.Sprintf("%v %+v %#v", v, v, v), text) && !strings.Contains(string(before["server_url"])+string(before["issuer"])+string(before["client_id"]), text) {
				t.Errorf("%s is printed: %v", name, v)
			}
		}
	})
}

func FuzzDecodeRecord(f *testing.F) { fuzzDecode(f, "login") }

func FuzzDecodeRegistration(f *testing.F) { fuzzDecode(f, "registration") }

func FuzzDecodePending(f *testing.F) { fuzzDecode(f, "pending") }
