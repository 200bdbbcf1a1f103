// Command zitadel is the example OpenID provider of zitadel/oidc. It has neither registration nor the
// metadata of RFC 8414, only that of OpenID Connect.
//
// It prints its issuer. From the environment it takes JWK, the public key of the service user "service".
// Beyond that one there are the service user "sid1" (secret "verysecret"), the client "device" (secret
// "secret"), the public client "native", whose access tokens live for AT_TTL seconds if that is set, and the person "test-user@localhost" (password "verysecure").
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	log.SetFlags(0)
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON([]byte(os.Getenv("JWK"))); err != nil {
		return fmt.Errorf("JWK: %w", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	issuer := fmt.Sprintf("http://localhost:%d", ln.Addr().(*net.TCPAddr).Port)
	storage.RegisterClients(storage.DeviceClient("device", "secret"), storage.NativeClient("native", "http://127.0.0.1/callback"))
	life, _ := strconv.Atoi(os.Getenv("AT_TTL"))
	st := &keyed{storage.NewStorage(users{storage.NewUserStore(issuer)}), &key, time.Duration(life) * time.Second}
	h := exampleop.SetupServer(issuer, st, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), false)
	fmt.Println(issuer)
	return http.Serve(ln, h)
}

// keyed gives the service user a key of ours, and the tokens of people a life of ours.
type keyed struct {
	*storage.Storage
	key  *jose.JSONWebKey
	life time.Duration
}

func (k *keyed) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, current string) (accessTokenID, newRefreshToken string, expiration time.Time, err error) {
	accessTokenID, newRefreshToken, expiration, err = k.Storage.CreateAccessAndRefreshTokens(ctx, request, current)
	if k.life > 0 {
		expiration = time.Now().Add(k.life)
	}
	return accessTokenID, newRefreshToken, expiration, err
}

func (k *keyed) GetKeyByIDAndClientID(ctx context.Context, keyID, clientID string) (*jose.JSONWebKey, error) {
	if clientID == storage.ServiceUserID && keyID == k.key.KeyID {
		return k.key, nil
	}
	return k.Storage.GetKeyByIDAndClientID(ctx, keyID, clientID)
}

// users also finds persons by their names and the service users: the subjects of the tokens of the
// device and machine grants, about which the userinfo endpoint is asked.
type users struct{ storage.UserStore }

func (u users) GetUserByID(id string) *storage.User {
	if found := u.UserStore.GetUserByID(id); found != nil {
		return found
	}
	if id == "sid1" || id == storage.ServiceUserID || u.GetUserByUsername(id) != nil {
		return &storage.User{ID: id}
	}
	return nil
}
