package mcpoauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/mcpoauth/mcpoauth/internal/wire"
	"github.com/mcpoauth/mcpoauth/store"
)

const (
	// maxPosts is how often one refresh token is sent while no answer is seen. The first post may
	// have been processed; a second one finds out; more would only feed a server's reuse detection.
	maxPosts = 2
	// attemptMemory is how long posts without an answer are remembered.
	attemptMemory = 10 * time.Minute
)

// attempt is the note that a refresh is under way. It lies beside the login, is shared by all
// processes, and outlives one that dies between the post and the save.
type attempt struct {
	// Digest is of the refresh token that was posted.
	Digest string `json:"digest"`
	// Posts counts the posts without an answer.
	Posts int `json:"posts"`
	// At is when the last one was made.
	At time.Time `json:"at"`
	// NotBefore is when the server wants to be asked again.
	NotBefore time.Time `json:"not_before,omitzero"`

	rev store.Revision
}

func (c *Client) attemptKey() store.Key {
	return store.Key{Kind: store.KindPending, ID: "refresh " + c.key.Digest(), Profile: c.opts.Profile}
}

// markAttempt notes that the refresh token of s is about to be posted. The caller holds the
// refresh lock. It fails while the server asked to be left alone, and after maxPosts.
func (c *Client) markAttempt(ctx context.Context, s *session) (*attempt, error) {
	sum := sha256.Sum256([]byte(s.rec.RefreshToken))
	a := &attempt{Digest: hex.EncodeToString(sum[:])}
	data, rev, err := c.store.Load(ctx, c.attemptKey())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, storeError("read", err)
	}
	now := time.Now()
	if err == nil {
		a.rev = rev
		var old attempt
		if json.Unmarshal(data, &old) == nil && old.Digest == a.Digest && now.Sub(old.At).Abs() < attemptMemory {
			if wait := old.NotBefore.Sub(now); wait > 0 {
				return nil, &TemporaryError{RetryAfter: min(wait, time.Minute), Err: errors.New("the authorization server asked to wait before the next refresh")}
			}
			a.Posts = old.Posts
		}
	}
	if a.Posts >= maxPosts {
		return nil, &TemporaryError{RetryAfter: time.Minute, Err: errors.New("two refreshes were sent and no answer came back; if this lasts, log in again")}
	}
	a.Posts++
	a.At = now
	c.saveMark(ctx, a)
	return a, nil
}

// saveMark writes the note. A store that cannot be written does not stop a refresh: a token that
// is only in memory is better than none, and the save of the token says what is wrong.
func (c *Client) saveMark(ctx context.Context, a *attempt) {
	data, err := json.Marshal(a)
	if err == nil {
		a.rev, err = c.store.Save(ctx, c.attemptKey(), data, a.rev)
	}
	if err != nil {
		c.log.Warn("the refresh could not be noted", "server", c.id, "err", err)
	}
}

// answered notes what a fault that may pass means for the next attempt of any process.
func (c *Client) answered(ctx context.Context, a *attempt, f *wire.Fault, pause time.Duration) {
	if f.Status == 0 && !f.Unsent {
		return // the post may have been processed: it stays counted
	}
	if f.RetryAfter == 0 {
		c.clearMark(ctx)
		return
	}
	a.Posts, a.NotBefore = 0, time.Now().Add(pause)
	c.saveMark(ctx, a)
}

func (c *Client) clearMark(ctx context.Context) {
	if err := c.store.Delete(ctx, c.attemptKey(), 0); err != nil {
		c.log.Warn("the note of the refresh could not be removed", "server", c.id, "err", err)
	}
}
