package store_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// Every program that reads a stored login finds all it needs to go on with it.
func Example() {
	ctx, logins := context.Background(), memstore.New()
	key := store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp", Profile: "alice"}

	login := &store.Record{
		ServerURL: key.ID, Profile: key.Profile, Issuer: "https://auth.example.com", TokenEndpoint: "https://auth.example.com/token",
		AccessToken: "a-secret", RefreshToken: "another-secret", TokenType: "Bearer", Expiry: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		Registration: store.Registration{Issuer: "https://auth.example.com", ClientID: "client-1", AuthMethod: "none", Source: "dynamic"},
	}
	data, err := login.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	// Revision 0: there must be none yet.
	if _, err := logins.Save(ctx, key, data, 0); err != nil {
		fmt.Println(err)
		return
	}

	data, revision, err := logins.Load(ctx, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := store.DecodeRecord(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(again.Registration.ClientID, again.Expiry.Year(), revision > 0)
	fmt.Println(again) // shows no secret
	// Output:
	// client-1 2030 true
	// login https://mcp.example.com/mcp [redacted]
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

// Only ErrNotFound means that there is no login. All else leaves it open.
func ExampleDecodeRecord() {
	_, _, err := memstore.New().Load(context.Background(), store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"})
	fmt.Println(errors.Is(err, store.ErrNotFound))

	for _, data := range []string{`{"format":1,"access_tok`, `{"format":2}`} {
		_, err := store.DecodeRecord([]byte(data))
		var damaged *store.CorruptError
		var newer *store.VersionError
		switch {
		case errors.As(err, &damaged):
			fmt.Println("damaged:", damaged.Err)
		case errors.As(err, &newer):
			fmt.Println("of a newer version, format", newer.Format)
		}
	}
	// Output:
	// true
	// damaged: it is not a JSON object
	// of a newer version, format 2
}

// A record keeps what a newer version added to it.
func ExampleRecord_Encode() {
	login, err := store.DecodeRecord([]byte(`{"format":1,"access_token":"old","registration":{"format":1,"client_id":"c"},"added_later":[1,2]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	login.AccessToken = "new"
	data, err := login.Encode()
	fmt.Println(string(data), err)
	// Output:
	// {"access_token":"new","added_later":[1,2],"format":1,"issuer":"","registration":{"auth_method":"","client_id":"c","format":1,"issuer":"","source":""},"server_url":"","token_endpoint":"","token_type":""} <nil>
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
