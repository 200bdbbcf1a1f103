package sealed_test

import (
	"context"
	"fmt"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
	"github.com/mcpoauth/mcpoauth/store/sealed"
)

// Any store can be sealed; give the result to Options.Store.
func ExampleNew() {
	key := sealed.GenerateKey() // sealed.KeyFile("/run/secrets/mcpoauth-key") in a program
	logins, err := sealed.New(memstore.New(), nil, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, id := context.Background(), store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"}
	if _, err := logins.Save(ctx, id, []byte("a token"), 0); err != nil {
		fmt.Println(err)
		return
	}
	data, _, err := logins.Load(ctx, id)
	fmt.Println(string(data), err)
	// Output: a token <nil>
}
