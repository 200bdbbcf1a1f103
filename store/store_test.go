package store_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/store"
)

// digest is written by hand: each part after its length, eight bytes, the highest first.
func digest(parts ...string) string {
	var b []byte
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(p))), p...)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestDigest: stores name their records by it, so another digest would lose all logins.
func TestDigest(t *testing.T) {
	t.Parallel()
	for want, k := range map[string]store.Key{
		"db31e8dda001a4d7475e633ba601bd4ed33f5833c3f81a361d9a5b871f640e45": {Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"},
		"da22b3f7c383c901aeaded7ccbcdee68092cc672bfba7959d4369108d3733f65": {Kind: store.KindRegistration, ID: "https://auth.example.com http://127.0.0.1/callback", Profile: "alice"},
	} {
		if got := k.Digest(); got != want {
			t.Errorf("%v: %s, want %s", k, got, want)
		}
	}
	keys := []store.Key{
		{},
		{Kind: store.KindLogin},
		{ID: "login"},
		{Profile: "login"},
		{Kind: store.KindLogin, ID: "a"},
		{Kind: store.KindLogin, Profile: "a"},
		{Kind: store.KindRegistration, ID: "a"},
		{Kind: store.KindPending, ID: "a"},
		{Kind: store.KindIdentityProvider, ID: "a"},
		{Kind: store.KindLogin, ID: "A"},
		{Kind: store.KindLogin, ID: "a "},
		{Kind: store.KindLogin, ID: "a\x00"},
		// What runs into each other without the lengths.
		{Kind: "logina"},
		{Kind: store.KindLogin, ID: "ab", Profile: "c"},
		{Kind: store.KindLogin, ID: "a", Profile: "bc"},
		{Kind: store.KindLogin, ID: "abc"},
		{Kind: store.KindLogin, ID: "a\x00b"},
		{Kind: store.KindLogin, ID: "a", Profile: "\x00b"},
		{Kind: store.KindLogin, ID: "a/b"},
		{Kind: store.KindLogin, ID: "a", Profile: "/b"},
		// Bytes that are no text.
		{Kind: store.KindLogin, ID: "\xff"},
		{Kind: store.KindLogin, ID: "\xfe"},
		{Kind: store.KindLogin, ID: "\ufffd"},
		// One letter, written in two ways.
		{Kind: store.KindLogin, ID: "\u00e9"},
		{Kind: store.KindLogin, ID: "e\u0301"},
		{Kind: store.KindLogin, ID: strings.Repeat("x", 1<<16)},
	}
	seen := make(map[string]store.Key)
	for _, k := range keys {
		d := k.Digest()
		if other, twice := seen[d]; twice {
			t.Errorf("%v and %v have one digest", k, other)
		}
		seen[d] = k
		if want := digest(string(k.Kind), k.ID, k.Profile); d != want || d != k.Digest() {
			t.Errorf("%v: %s, want %s", k, d, want)
		}
		if len(d) != 64 || strings.Trim(d, "0123456789abcdef") != "" {
			t.Errorf("%v: %s is not safe anywhere", k, d)
		}
	}
}

// TestKinds: the names are in every store.
func TestKinds(t *testing.T) {
	t.Parallel()
	for k, want := range map[store.Kind]string{store.KindLogin: "login", store.KindRegistration: "registration", store.KindPending: "pending", store.KindIdentityProvider: "idp"} {
		if string(k) != want {
			t.Errorf("%q is now %q", want, k)
		}
	}
}

// TestKeyInMessages: a key may hold what a server or an address bar put into it.
func TestKeyInMessages(t *testing.T) {
	t.Parallel()
	for want, k := range map[string]store.Key{
		`login "https://mcp.example.com/mcp"`:                   {Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"},
		`login "https://mcp.example.com/mcp" (profile "alice")`: {Kind: store.KindLogin, ID: "https://mcp.example.com/mcp", Profile: "alice"},
		`registration "a b\n\x1b[31m\u202e\xff\"" (profile "p\x00\r")`: {
			Kind: store.KindRegistration, ID: "a b\n\x1b[31m\u202e\xff\"", Profile: "p\x00\r",
		},
		`pending ""`: {Kind: store.KindPending},
	} {
		if got := k.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := fmt.Sprintf("%v|%s", k, k); got != want+"|"+want {
			t.Errorf("printed: %s", got)
		}
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	login := store.Key{Kind: store.KindLogin, ID: "a", Profile: "alice"}
	for name, c := range map[string]struct {
		f    store.Filter
		k    store.Key
		want bool
	}{
		"all":                               {store.Filter{}, login, true},
		"all, a key without anything":       {store.Filter{}, store.Key{}, true},
		"the kind":                          {store.Filter{Kind: store.KindLogin}, login, true},
		"another kind":                      {store.Filter{Kind: store.KindPending}, login, false},
		"the kind's beginning":              {store.Filter{Kind: "log"}, login, false},
		"the kind in another case":          {store.Filter{Kind: "Login"}, login, false},
		"the profile":                       {store.Filter{Profiles: []string{"alice"}}, login, true},
		"one of the profiles":               {store.Filter{Profiles: []string{"bob", "alice"}}, login, true},
		"another profile":                   {store.Filter{Profiles: []string{"bob"}}, login, false},
		"the profile in another case":       {store.Filter{Profiles: []string{"Alice"}}, login, false},
		"the profile's beginning":           {store.Filter{Profiles: []string{"ali"}}, login, false},
		"no profile at all":                 {store.Filter{Profiles: []string{}}, login, false},
		"no profile at all, a key without":  {store.Filter{Profiles: []string{}}, store.Key{Kind: store.KindLogin, ID: "a"}, false},
		"the empty profile":                 {store.Filter{Profiles: []string{""}}, store.Key{Kind: store.KindLogin, ID: "a"}, true},
		"the empty profile is not all":      {store.Filter{Profiles: []string{""}}, login, false},
		"a profile is not the empty one":    {store.Filter{Profiles: []string{"alice"}}, store.Key{Kind: store.KindLogin, ID: "a"}, false},
		"the kind and the profile":          {store.Filter{Kind: store.KindLogin, Profiles: []string{"alice"}}, login, true},
		"the kind and another profile":      {store.Filter{Kind: store.KindLogin, Profiles: []string{"bob"}}, login, false},
		"another kind, the profile":         {store.Filter{Kind: store.KindPending, Profiles: []string{"alice"}}, login, false},
		"the ID is no profile and no kind":  {store.Filter{Kind: "a", Profiles: []string{"a"}}, login, false},
		"a kind of a store's own, selected": {store.Filter{Kind: "key"}, store.Key{Kind: "key", ID: "x"}, true},
	} {
		if got := c.f.Match(c.k); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestErrors: decisions are made by errors.Is and errors.As, and people get a hint.
func TestErrors(t *testing.T) {
	t.Parallel()
	wrapped := fmt.Errorf("%v: %w", store.Key{Kind: store.KindLogin, ID: "a"}, store.ErrNotFound)
	if !errors.Is(wrapped, store.ErrNotFound) || errors.Is(wrapped, store.ErrConflict) || errors.Is(store.ErrConflict, store.ErrProfileRequired) {
		t.Error("the errors cannot be told apart")
	}
	if !errors.Is(fmt.Errorf("x: %w", store.ErrProfileRequired), store.ErrProfileRequired) {
		t.Error("ErrProfileRequired is not found when it is wrapped")
	}
	for want, err := range map[string]error{
		"the record is damaged: unexpected EOF":                     &store.CorruptError{Err: io.ErrUnexpectedEOF},
		"the record in /x/y is damaged: unexpected EOF":             &store.CorruptError{Path: "/x/y", Err: io.ErrUnexpectedEOF},
		"the record has format 3; this version reads up to 1":       &store.VersionError{Format: 3, Known: 1},
		"the record in /x has format 3; this version reads up to 1": &store.VersionError{Path: "/x", Format: 3, Known: 1},
	} {
		if err.Error() != want {
			t.Errorf("got %s, want %s", err, want)
		}
		var corrupt *store.CorruptError
		if isCorrupt := errors.As(err, &corrupt); isCorrupt != errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: its cause is lost, or it passes for a record that is not there", err)
		}
	}
	for word, err := range map[string]error{
		"--profile": store.ErrProfileRequired, "log in again": &store.CorruptError{Err: io.EOF}, "newer version": &store.VersionError{},
	} {
		h, ok := err.(interface{ HintText() string })
		if !ok || !strings.Contains(h.HintText(), word) {
			t.Errorf("%v: no hint about %q", err, word)
		}
	}
}

// FuzzDigest looks for two keys with one digest, and for a digest that depends on more than the key.
func FuzzDigest(f *testing.F) {
	f.Add("login", "ab", "c", "login", "a", "bc")
	f.Add("", "", "", "\x00", "\xff", "\u00e9")
	f.Fuzz(func(t *testing.T, kindA, idA, profileA, kindB, idB, profileB string) {
		a, b := store.Key{Kind: store.Kind(kindA), ID: idA, Profile: profileA}, store.Key{Kind: store.Kind(kindB), ID: idB, Profile: profileB}
		if (a == b) != (a.Digest() == b.Digest()) {
			t.Errorf("%#v and %#v: %s and %s", a, b, a.Digest(), b.Digest())
		}
		if a.Digest() != digest(kindA, idA, profileA) {
			t.Errorf("%#v: %s", a, a.Digest())
		}
		if (a.String() == b.String()) != (a == b) && strings.Trim(kindA+kindB, "abcdefghijklmnopqrstuvwxyz") == "" {
			t.Errorf("%#v and %#v print as %s and %s", a, b, a, b)
		}
		if s := (store.Key{Kind: store.KindLogin, ID: idA, Profile: profileA}).String(); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("control characters in %q", s)
		}
	})
}

func TestIsCorrupt(t *testing.T) {
	t.Parallel()
	damaged := &store.CorruptError{Err: io.ErrUnexpectedEOF}
	for err, want := range map[error]bool{damaged: true, fmt.Errorf("load: %w", damaged): true, store.ErrNotFound: false, &store.VersionError{}: false, io.ErrUnexpectedEOF: false, nil: false} {
		if got := store.IsCorrupt(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}
