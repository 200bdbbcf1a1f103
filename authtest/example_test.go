package authtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcpoauth/mcpoauth/authtest"
)

// In a test it is authtest.New(t, nil), which ends by itself.
func ExampleStart() {
	srv, err := authtest.Start(&authtest.Options{Lenient: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	resp, err := http.Post(srv.MCPURL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode, len(resp.Header.Values("WWW-Authenticate")) > 0)
	for _, r := range srv.Requests() {
		fmt.Println(r.Leg, r.Method, r.Status)
	}
	// Output:
	// 401 true
	// challenge POST 401
}

// Faults are switched while the server runs: here the person refuses, whatever the client does.
func ExampleServer_Set() {
	srv, err := authtest.Start(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.AddClient(authtest.Client{ID: "mine", RedirectURIs: []string{"http://127.0.0.1:9/callback"}})
	srv.Set(func(f *authtest.Faults) { f.AuthorizeError = "temporarily_unavailable" })

	back, err := srv.Decide(context.Background(), authorizationURL(srv, "mine"), true)
	if err != nil {
		fmt.Println(err)
		return
	}
	u, _ := url.Parse(back)
	fmt.Println(u.Query().Get("error"))
	// Output: temporarily_unavailable
}

// authorizationURL is what a client would open in the browser.
func authorizationURL(srv *authtest.Server, clientID string) string {
	resp, err := http.Get(srv.Issuer() + "/.well-known/oauth-authorization-server")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	var metadata struct {
		AuthorizationEndpoint string `json:"authorization_endpoint"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&metadata); err != nil {
		panic(err)
	}
	return metadata.AuthorizationEndpoint + "?" + url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {"http://127.0.0.1:9/callback"}, "state": {"x"}, "resource": {srv.MCPURL()},
		"code_challenge": {strings.Repeat("A", 43)}, "code_challenge_method": {"S256"},
	}.Encode()
}
