package store_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// A store moves bytes; what they mean is the client's affair.
func Example() {
	ctx, logins := context.Background(), memstore.New()
	key := store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp", Profile: "alice"}
	// Revision 0: there must be none yet.
	if _, err := logins.Save(ctx, key, []byte("a login"), 0); err != nil {
		fmt.Println(err)
		return
	}
	data, revision, err := logins.Load(ctx, key)
	fmt.Println(string(data), revision > 0, err)
	// Only ErrNotFound means that there is no login. All else leaves it open.
	_, _, err = logins.Load(ctx, store.Key{Kind: store.KindLogin, ID: key.ID, Profile: "bob"})
	fmt.Println(errors.Is(err, store.ErrNotFound))
	// Output:
	// a login true <nil>
	// true
}

// A save names the revision that it replaces, so that nobody's change is lost.
func ExampleStore_save() {
	ctx := context.Background()
	var logins store.Store = memstore.New()
	key := store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"}
	first, err := logins.Save(ctx, key, []byte("one"), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := logins.Save(ctx, key, []byte("two, of another process"), first); err != nil {
		fmt.Println(err)
		return
	}
	_, err = logins.Save(ctx, key, []byte("three"), first)
	fmt.Println(errors.Is(err, store.ErrConflict))
	data, _, err := logins.Load(ctx, key)
	fmt.Println(string(data), err)
	// Output:
	// true
	// two, of another process <nil>
}

// A lock excludes all other holders, in other processes too if the store is shared by them.
func ExampleStore_lock() {
	ctx := context.Background()
	var logins store.Store = memstore.New()
	held, unlock, err := logins.Lock(ctx, store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"}, "refresh")
	if err != nil {
		fmt.Println(err)
		return
	}
	// What must happen alone takes held as its context: it ends when the lock is lost.
	fmt.Println(held.Err())
	fmt.Println(unlock(), held.Err())
	// Output:
	// <nil>
	// <nil> context canceled
}

func ExampleFilter() {
	ctx, logins := context.Background(), memstore.New()
	for _, key := range []store.Key{
		{Kind: store.KindLogin, ID: "https://one.example/mcp", Profile: "alice"},
		{Kind: store.KindLogin, ID: "https://two.example/mcp", Profile: "bob"},
		{Kind: store.KindRegistration, ID: "https://auth.example.com http://127.0.0.1/callback", Profile: "alice"},
	} {
		if _, err := logins.Save(ctx, key, []byte("{}"), 0); err != nil {
			fmt.Println(err)
			return
		}
	}
	for key, err := range logins.List(ctx, store.Filter{Kind: store.KindLogin, Profiles: []string{"alice"}}) {
		fmt.Println(key, err)
	}
	// Output: login "https://one.example/mcp" (profile "alice") <nil>
}

// The digest is a name that is safe in a file system, a database and a key-value store.
func ExampleKey_Digest() {
	key := store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"}
	fmt.Println(key.Digest())
	// Output: db31e8dda001a4d7475e633ba601bd4ed33f5833c3f81a361d9a5b871f640e45
}
