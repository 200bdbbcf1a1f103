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
	// maxPosts is how often one refresh token is sent while no response arrives. The first post may have been
	// processed; a second one finds out; more would only trigger a server's reuse detection.
	maxPosts = 2
	// journalMemory is how long posts without a response count.
	journalMemory = 10 * time.Minute
)

// refreshJournal notes beside the login that a refresh is under way. The note is shared by all processes and
// outlives one that dies between the post and the save.
type refreshJournal struct{ logins *loginStore }

func (j refreshJournal) key() store.Key {
	login := j.logins.key
	return store.Key{Kind: store.KindPending, ID: "refresh " + login.Digest(), Profile: login.Profile}
}

// journalEntry is the note of one refresh token.
type journalEntry struct {
	// Digest is of the refresh token that was posted.
	Digest string `json:"digest"`
	// Posts counts the posts without a response.
	Posts int `json:"posts"`
	// At is when the last one was made.
	At time.Time `json:"at"`
	// NotBefore is when the server accepts the next request.
	NotBefore time.Time `json:"not_before,omitzero"`

	rev store.Revision
}

// begin notes that a refresh token is about to be posted. The caller holds the refresh lock. It fails while the
// server has asked to wait, and after maxPosts.
func (j refreshJournal) begin(ctx context.Context, refreshToken string) (*journalEntry, error) {
	sum := sha256.Sum256([]byte(refreshToken))
	e := &journalEntry{Digest: hex.EncodeToString(sum[:])}
	data, rev, err := j.logins.store.Load(ctx, j.key())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, storeError("read", err)
	}
	now := time.Now()
	if err == nil {
		e.rev = rev
		var old journalEntry
		if json.Unmarshal(data, &old) == nil && old.Digest == e.Digest && now.Sub(old.At).Abs() < journalMemory {
			if wait := old.NotBefore.Sub(now); wait > 0 {
				return nil, &TemporaryError{RetryAfter: min(wait, time.Minute), Err: errors.New("the authorization server asked to wait before the next refresh")}
			}
			e.Posts = old.Posts
		}
	}
	if e.Posts >= maxPosts {
		return nil, &TemporaryError{RetryAfter: time.Minute, Err: errors.New("two refreshes were sent and no response arrived; if this lasts, log in again")}
	}
	e.Posts++
	e.At = now
	j.save(ctx, e)
	return e, nil
}

// save writes the note. A store that cannot be written does not stop a refresh: a token that is only in memory is
// better than none, and the save of the token says what is wrong.
func (j refreshJournal) save(ctx context.Context, e *journalEntry) {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	data, err := json.Marshal(e)
	if err == nil {
		e.rev, err = j.logins.store.Save(ctx, j.key(), data, e.rev)
	}
	if err != nil {
		j.logins.trace.log.WarnContext(ctx, "the refresh could not be noted", "server", j.logins.trace.server, "err", err)
	}
}

// failed notes what a temporary fault means for the next refresh by any process. pause is how long to wait.
func (j refreshJournal) failed(ctx context.Context, e *journalEntry, f *wire.Fault, pause time.Duration) {
	if f.Status == 0 && !f.Unsent {
		return // the post may have been processed: it stays counted
	}
	if f.RetryAfter == 0 {
		j.clear(ctx)
		return
	}
	e.Posts, e.NotBefore = 0, time.Now().Add(pause)
	j.save(ctx, e)
}

// clear removes the note.
func (j refreshJournal) clear(ctx context.Context) {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	if err := j.logins.store.Delete(ctx, j.key(), 0); err != nil {
		j.logins.trace.log.WarnContext(ctx, "the note of the refresh could not be removed", "server", j.logins.trace.server, "err", err)
	}
}
