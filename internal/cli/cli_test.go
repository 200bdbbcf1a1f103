package cli

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/memstore"
)

// fullStore saves nothing once it is full.
type fullStore struct {
	store.Store
	full atomic.Bool
}

var errFull = errors.New("no space left")

func (s *fullStore) Save(ctx context.Context, key store.Key, data []byte, rev store.Revision) (store.Revision, error) {
	if s.full.Load() {
		return 0, errFull
	}
	return s.Store.Save(ctx, key, data, rev)
}

// TestATokenThatIsNotSavedIsAFailure: it is lost when the program ends, so the exit code must not say that all is well.
func TestATokenThatIsNotSavedIsAFailure(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	st := &fullStore{Store: memstore.New()}
	o := &mcpoauth.Options{Store: st, Prompt: func(ctx context.Context, p *mcpoauth.LoginPrompt) (*mcpoauth.LoginReply, error) {
		st.full.Store(true)
		_, err := srv.Browser(ctx, p.URL)
		return nil, err
	}}
	f := &flags{u: newUI(nil, io.Discard, io.Discard)}
	err := f.withClient(t.Context(), srv.MCPURL(), o, func(c *mcpoauth.Client) error {
		_, err := c.Login(t.Context(), nil)
		if err != nil {
			t.Errorf("the login itself: %v", err)
		}
		return err
	})
	if !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
