package mcpoauth_test

import (
	"context"
	"errors"
	"net/http"

	"github.com/mcpoauth/mcpoauth"
)

func clientOf(p *provider) *http.Client { return &http.Client{Transport: p} }

// showTo is a Prompt that notes the address and ends the login.
func showTo(shown *string) mcpoauth.Prompt {
	return func(_ context.Context, lp *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		*shown = lp.URL
		return nil, errors.New("shown")
	}
}
