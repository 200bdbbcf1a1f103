package filestore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
)

// FastMCP's FileTokenStorage(server_url, cache_dir). One store serves all servers and profiles: the key says which.
func ExampleNew() {
	dir, _ := os.MkdirTemp("", "logins")
	defer os.RemoveAll(dir)
	s, err := filestore.New(filepath.Join(dir, "mcpoauth"))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	key := store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"}
	rev, err := s.Save(ctx, key, []byte("{}"), 0)
	fmt.Println(rev > 0, err)
	data, _, err := s.Load(ctx, key)
	fmt.Println(string(data), err)
	// Output:
	// true <nil>
	// {} <nil>
}

func ExampleBaseURL() {
	base, err := filestore.BaseURL("https://mcp.example.com:8443/teams/a?x=1")
	fmt.Println(base, err)
	// Output: https://mcp.example.com:8443 <nil>
}

func ExampleCacheKey() {
	fmt.Println(filestore.CacheKey("https://mcp.example.com:8443/teams/a"))
	// Output: https_mcp.example.com_8443
}

func ExampleStore_Clear() {
	dir, _ := os.MkdirTemp("", "logins")
	defer os.RemoveAll(dir)
	s, err := filestore.New(filepath.Join(dir, "mcpoauth"))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	for _, server := range []string{"https://one.example/mcp", "https://two.example/mcp"} {
		if _, err := s.Save(ctx, store.Key{Kind: store.KindLogin, ID: server}, []byte("{}"), 0); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(s.Clear(ctx, "https://one.example/mcp"))
	for key := range s.List(ctx, store.Filter{}) {
		fmt.Println(key.ID)
	}
	// Output:
	// <nil>
	// https://two.example/mcp
}

func ExampleStore_ClearAll() {
	dir, _ := os.MkdirTemp("", "logins")
	defer os.RemoveAll(dir)
	s, err := filestore.New(filepath.Join(dir, "mcpoauth"))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	if _, err := s.Save(ctx, store.Key{Kind: store.KindLogin, ID: "https://one.example/mcp"}, []byte("{}"), 0); err != nil {
		fmt.Println(err)
	}
	fmt.Println(s.ClearAll(ctx))
	for key := range s.List(ctx, store.Filter{}) {
		fmt.Println(key.ID)
	}
	// Output: <nil>
}
