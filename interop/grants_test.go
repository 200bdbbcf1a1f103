package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// TestDeviceCodeAtOIDCProvider: the person enters the code in Chromium, which stands for the other device.
func TestDeviceCodeAtOIDCProvider(t *testing.T) {
	mcpURL, _ := startOIDCProvider(t, "AT_TTL=3")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var code string
	show := chromium(t)
	j := &journal{}
	st := memstore.New()
	c := newClient(t, mcpURL, mcpoauth.Options{Store: st, Trace: j.trace(), Grant: mcpoauth.DeviceCode{}, Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		code = p.UserCode
		return show(ctx, p)
	}})
	if _, err := c.Login(ctx, nil); err != nil {
		t.Fatalf("login: %v (%s)\n%v", err, mcpoauth.Hint(err), j)
	}
	if code == "" {
		t.Error("there was no code")
	}
	if n := listTools(ctx, t, c); n == 0 {
		t.Error("no tools")
	}
	time.Sleep(3500 * time.Millisecond)
	if n := listTools(ctx, t, c); n == 0 || j.count("refresh") != 1 {
		t.Errorf("after the token's end: %d tools, %d refreshes", n, j.count("refresh"))
	}
	if res, err := c.Logout(ctx); err != nil || !res.Revoked {
		t.Errorf("logout: %+v, %v", res, err)
	}
}

func TestClientCredentialsAtOIDCProvider(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	coordinate := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(map[string]any{"publicKey": map[string]string{"kty": "EC", "crv": "P-256", "x": coordinate(point[1:33]), "y": coordinate(point[33:]), "alg": "ES256", "use": "sig"}})
	if err != nil {
		t.Fatal(err)
	}
	mcpURL, _ := startOIDCProvider(t, "AT_TTL=3", "PKJWT_JWK="+string(jwk))
	signing, err := mcpoauth.NewClientKey(key, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]mcpoauth.Options{
		"a secret": {Client: mcpoauth.ClientOptions{ID: "conf", Secret: "conf-secret-0123456789abcdef0123456789"}},
		"a key":    {Client: mcpoauth.ClientOptions{ID: "pkjwt", Key: signing}},
	} {
		t.Run(name, func(t *testing.T) {
			j := &journal{}
			o.Store, o.Trace, o.Grant, o.Scopes.Request = memstore.New(), j.trace(), mcpoauth.ClientCredentials{}, []string{"mcp:read"}
			c := newClient(t, mcpURL, o)
			if n := listTools(t.Context(), t, c); n == 0 {
				t.Errorf("no tools\n%v", j)
			}
			time.Sleep(3500 * time.Millisecond)
			if n := listTools(t.Context(), t, c); n == 0 || j.count("token") != 2 {
				t.Errorf("after the token's end: %d tools, %d token requests", n, j.count("token"))
			}
		})
	}
	wrong, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := mcpoauth.NewClientKey(wrong, "", "")
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, mcpURL, mcpoauth.Options{Store: memstore.New(), Client: mcpoauth.ClientOptions{ID: "pkjwt", Key: bad}, Grant: mcpoauth.ClientCredentials{}})
	if _, err := c.Token(t.Context(), nil); !errors.Is(err, mcpoauth.ErrAccessDenied) {
		t.Errorf("a wrong key: %v", err)
	}
}
