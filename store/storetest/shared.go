package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mcpoauth/mcpoauth/store"
)

// RunRefusesEmptyProfile checks that a store which several users share accepts no record without a
// profile, of any kind and by any method.
func RunRefusesEmptyProfile(t TB, s store.Store) {
	t.Helper()
	for _, kind := range []store.Kind{store.KindLogin, store.KindRegistration, store.KindPending, store.KindIdentityProvider} {
		key := store.Key{Kind: kind, ID: "https://mcp.example/mcp"}
		_, _, load := s.Load(ctx(), key)
		_, save := s.Save(ctx(), key, []byte("x"), 0)
		del := s.Delete(ctx(), key, 0)
		_, unlock, lock := s.Lock(ctx(), key, "refresh")
		if lock == nil {
			_ = unlock()
		}
		for what, err := range map[string]error{"load": load, "save": save, "delete": del, "lock": lock} {
			if !errors.Is(err, store.ErrProfileRequired) {
				t.Errorf("%s of a %s without a profile: %v", what, kind, err)
			}
		}
	}
}

// RunUnreliable checks what must hold while connections to the store are cut and delayed: every method
// may fail, but a save that returned counts once and is not lost, one that failed counts at most once,
// and a lock that is held excludes.
func RunUnreliable(t TB, s store.Store) {
	t.Helper()
	// Several records at once: a lock whose release was lost is waited for until its lease ends.
	const records = 10
	var wg sync.WaitGroup
	for i := range records {
		wg.Go(func() { unreliable(t, s, strconv.Itoa(i)) })
	}
	wg.Wait()
}

// unreliable counts in two records of its own, in one with comparisons alone and in the other under a lock.
func unreliable(t TB, s store.Store, name string) {
	const workers, each = 4, 5
	swapped, locked := login("unreliable-swapped-"+name), login("unreliable-locked-"+name)
	var done, failed, inside, overlaps, lockedDone, lockedFailed atomic.Int64
	var wg sync.WaitGroup
	for who := range workers {
		wg.Go(func() {
			for i := range each {
				switch err := bumpAs(s, swapped, fmt.Sprint(who, i)); {
				case err == nil:
					done.Add(1)
				case !errors.Is(err, store.ErrConflict):
					failed.Add(1)
				}
			}
		})
		wg.Go(func() {
			for i := range each {
				held, unlock, err := s.Lock(ctx(), locked, "refresh")
				if err != nil {
					continue
				}
				if inside.Add(1) > 1 {
					overlaps.Add(1)
				}
				// One that has lost its lock knows it, and is none of two.
				leave := sync.OnceFunc(func() { inside.Add(-1) })
				context.AfterFunc(held, leave)
				err = bumpAs(s, locked, fmt.Sprint(who, i))
				leave()
				_ = unlock()
				switch {
				case err == nil:
					lockedDone.Add(1)
				case !errors.Is(err, store.ErrConflict):
					lockedFailed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	count := func(key store.Key) int64 {
		for range 200 { // the network is still bad
			data, _, err := s.Load(ctx(), key)
			if errors.Is(err, store.ErrNotFound) {
				return 0
			}
			number, _, _ := strings.Cut(string(data), " ")
			if n, aerr := strconv.ParseInt(number, 10, 64); err == nil && aerr == nil {
				return n
			}
		}
		t.Errorf("the counter cannot be read")
		return -1
	}
	if n := count(swapped); n < done.Load() || n > done.Load()+failed.Load() {
		t.Errorf("%d saves returned and %d failed, but the counter says %d", done.Load(), failed.Load(), n)
	}
	if n := count(locked); n < lockedDone.Load() || n > lockedDone.Load()+lockedFailed.Load() {
		t.Errorf("under a lock %d saves returned and %d failed, but the counter says %d", lockedDone.Load(), lockedFailed.Load(), n)
	}
	if n := overlaps.Load(); n > 0 {
		t.Errorf("a lock was held by two, %d times", n)
	}
	if done.Load() == 0 || lockedDone.Load() == 0 {
		t.Errorf("nothing got through: %d and %d", done.Load(), lockedDone.Load())
	}
	t.Logf("compared: %d saved, %d failed; locked: %d saved, %d failed", done.Load(), failed.Load(), lockedDone.Load(), lockedFailed.Load())
}

// bumpAs counts, and signs: what two write is never the same, as tokens are not.
func bumpAs(s store.Store, key store.Key, who string) error {
	n := 0
	data, rev, err := s.Load(ctx(), key)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return err
	default:
		number, _, _ := strings.Cut(string(data), " ")
		if n, err = strconv.Atoi(number); err != nil {
			return err
		}
	}
	_, err = s.Save(ctx(), key, []byte(strconv.Itoa(n+1)+" "+who), rev)
	return err
}
