package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/netguard"
	"github.com/mcpoauth/mcpoauth/internal/wire"
)

// Pushed is the answer to a pushed authorization request (RFC 9126 section 2.2).
type Pushed struct {
	// URI is its request_uri, Expiry when that ends.
	URI    string
	Expiry time.Time
	// Auth is the client authentication that counts.
	Auth ClientAuth
}

// Push pushes an authorization request (RFC 9126). The error is a *wire.Fault.
func Push(ctx context.Context, c *netguard.Client, endpoint string, auth ClientAuth, r AuthorizationRequest) (p Pushed, err error) {
	idInBody := auth.IDInBody
	auth.IDInBody = true // RFC 9126 section 2.1: the parameters of the request, client_id among them
	form := r.parameters()
	form.Del("client_id")
	p.Auth, err = call{client: c, leg: "par", endpoint: endpoint, auth: auth, form: form}.negotiate(func(r call) (err error) {
		p.URI, p.Expiry, err = r.push(ctx)
		return err
	})
	p.Auth.IDInBody = idInBody
	return p, err
}

func (r call) push(ctx context.Context) (string, time.Time, error) {
	a, err := r.send(ctx, nil)
	if err != nil {
		return "", time.Time{}, wire.AsFault(err, wire.StagePushedRequest, r.endpoint)
	}
	o, err := wire.ParseObject(a.Body)
	if uri := o.String("request_uri"); a.Status/100 == 2 && uri != "" {
		n, _ := o.Seconds("expires_in")
		return uri, a.Received.Add(time.Duration(max(0, min(n, 3600))) * time.Second), nil
	}
	// An error may hide in a 200, and a page may come from something in between.
	f := wire.ParseOAuthError(a.Status, a.Header, a.Body)
	switch {
	case f.Code != "":
		f.Message = "the server refused the authorization request"
	case a.Status/100 == 2 && !f.Temporary:
		if err == nil {
			err = errors.New("it has no request_uri")
		}
		f.Message, f.Hint = fmt.Sprintf("the answer to the pushed authorization request cannot be used: %v", err), "the server is at fault"
	}
	return "", time.Time{}, wire.AsFault(f, wire.StagePushedRequest, r.endpoint)
}
