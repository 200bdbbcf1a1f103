package record_test

import (
	"errors"
	"fmt"

	"github.com/mcpoauth/mcpoauth/internal/record"
	"github.com/mcpoauth/mcpoauth/store"
)

func ExampleDecodeLogin() {
	for _, data := range []string{`{"format":1,"access_tok`, `{"format":2}`} {
		_, err := record.DecodeLogin([]byte(data))
		if damaged, ok := errors.AsType[*store.CorruptError](err); ok {
			fmt.Println("damaged:", damaged.Err)
		} else if newer, ok := errors.AsType[*store.VersionError](err); ok {
			fmt.Println("of a newer version, format", newer.Format)
		}
	}
	// Output:
	// damaged: it is not a JSON object
	// of a newer version, format 2
}

// A record keeps what a newer version added to it.
func ExampleLogin_Encode() {
	login, err := record.DecodeLogin([]byte(`{"format":1,"access_token":"old","registration":{"format":1,"client_id":"c"},"added_later":[1,2]}`))
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

func ExampleLogin_print() {
	login := record.Login{ServerURL: "https://mcp.example.com/mcp", AccessToken: "a-secret"}
	fmt.Printf("%v %+v", login, &login)
	// Output: login https://mcp.example.com/mcp [redacted] login https://mcp.example.com/mcp [redacted]
}
