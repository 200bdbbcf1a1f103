package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestALingeringStreamHasItsTime: each call is cancelled after a second, unless its stream ended before.
func TestALingeringStreamHasItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lingering
		began := time.Now()
		ended := map[string]time.Duration{}
		add := func(name string) *call {
			c := &call{cancel: func() { ended[name] = time.Since(began) }}
			if !l.add(c) {
				t.Errorf("there is no place for %s", name)
			}
			return c
		}
		add("first")
		time.Sleep(300 * time.Millisecond)
		gone := add("gone")
		add("second")
		time.Sleep(300 * time.Millisecond)
		l.remove(gone)
		time.Sleep(10 * time.Second)
		add("much later")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := map[string]time.Duration{"first": linger, "second": linger + 300*time.Millisecond, "much later": linger + 10600*time.Millisecond}
		for name, at := range want {
			if ended[name] != at {
				t.Errorf("%s was cancelled after %v, want %v", name, ended[name], at)
			}
		}
		if len(ended) != len(want) {
			t.Errorf("cancelled: %v", ended)
		}
		for range maxLinger {
			add("crowd")
		}
		if l.add(&call{}) {
			t.Error("there is no limit")
		}
		time.Sleep(2 * linger)
		if !l.add(&call{cancel: func() {}}) {
			t.Error("the places are not free again")
		}
	})
}
